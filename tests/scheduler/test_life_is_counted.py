"""What `make life` counts, draws and compares with: each count can find what it looks for."""

from datetime import date, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from robo.tax import gains
from scheduler import life_check, life_rules
from scheduler.life_check import Moved
from scheduler.life_pictures import Lines, svg

DAY = date(2030, 3, 4)


def moved(after: int, lot: str, nanos: int, basis: int, proceeds: int = 0, kind: str = "") -> Moved:
    told = kind or ("buy" if nanos > 0 else "sell")
    return Moved(DAY + timedelta(days=after), 7, lot, nanos, basis, proceeds, told)


def test_a_gain_within_the_budget_is_not_forced_and_one_beyond_it_is() -> None:
    life = [moved(0, "a", 10, 1_000), moved(400, "a", -10, 1_000, 1_600)]

    inside, outside = (
        life_check.count(life, 600, harvests=True),
        life_check.count(life, 599, harvests=True),
    )

    assert (inside.forced, inside.over_budget) == (0, 0)
    assert (outside.forced, outside.over_budget, outside.over_budget_cents) == (1, 1, 1)


def test_losses_of_the_same_year_make_room_for_gains() -> None:
    life = [
        moved(0, "a", 10, 1_000),
        moved(0, "b", 10, 1_000),
        moved(100, "a", -10, 1_000, 400),
        moved(200, "b", -10, 1_000, 1_600),
    ]

    assert life_check.count(life, 0, harvests=True).forced == 0


def test_a_loss_that_nobody_wanted_is_forced() -> None:
    life = [moved(0, "a", 10, 1_000), moved(100, "a", -10, 1_000, 400)]

    assert life_check.count(life, 0, harvests=False).forced == 1
    assert life_check.count(life, 0, harvests=True).forced == 0


def test_what_the_customer_asked_for_and_corporate_actions_are_not_our_choice() -> None:
    life = [
        moved(0, "a", 10, 1_000),
        moved(0, "b", 10, 1_000),
        moved(40, "a", -10, 1_000, 9_000, "asked"),
        moved(40, "b", -10, 1_000, 9_000, "action"),
    ]

    counts = life_check.count(life, 0, harvests=False)

    assert (counts.forced, counts.over_budget, counts.sales) == (0, 0, 0)


@pytest.mark.parametrize(
    ("bought", "sold_on", "again", "washed"),
    [
        (-40, 0, 30, 1),
        (-40, 0, 31, 0),
        (-40, 0, -30, 1),
        (-40, 0, -31, 0),
        (-40, 0, 0, 1),
    ],
)
def test_a_purchase_within_thirty_days_either_side_washes_a_loss(
    bought: int, sold_on: int, again: int, washed: int
) -> None:
    life = [
        moved(bought, "a", 10, 1_000),
        moved(again, "b", 5, 400),
        moved(sold_on, "a", -10, 1_000, 800),
    ]

    assert life_check.washed(sorted(life, key=lambda one: one.on)) == washed


def test_shares_sold_with_the_rest_are_not_their_own_replacement() -> None:
    life = [
        moved(-40, "a", 10, 1_000),
        moved(-5, "b", 5, 500),
        moved(0, "a", -10, 1_000, 800),
        moved(0, "b", -5, 500, 400),
    ]

    assert life_check.washed(life) == 0


def test_terms_are_told_apart_by_the_calendar() -> None:
    life = [
        moved(0, "a", 10, 1_000),
        moved(0, "b", 10, 1_000),
        moved(365, "a", -10, 1_000, 900),
        moved(366, "b", -10, 1_000, 800),
    ]

    counts = life_check.count(life, 0, harvests=True)

    # 2030-03-04 to 2031-03-04 is a year to the day: short; a day later it is long.
    assert (counts.harvested_short_cents, counts.harvested_long_cents) == (100, 200)


@pytest.mark.parametrize(
    "bought", [date(y, 2, d) for y in (2023, 2024, 2027, 2028) for d in (27, 28)]
)
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_year_is_over_on_the_same_day_for_the_checker_as_for_the_tax(
    bought: date, after: int
) -> None:
    for day in (bought, bought + timedelta(days=2), date(2024, 2, 29)):
        sold = day + timedelta(days=364 + after)

        assert life_check.is_long(day, sold) == gains.is_long(day, sold)


def test_bought_on_the_last_of_february_and_sold_on_the_next_leap_day_is_short() -> None:
    assert not life_check.is_long(date(2023, 2, 28), date(2024, 2, 29))
    assert life_check.is_long(date(2023, 2, 28), date(2024, 3, 1))


def _falling_and_rising() -> tuple[list[date], np.ndarray]:
    days = [date(2030, 1, 7) + timedelta(weeks=2 * n) for n in range(130)]
    dice = np.random.default_rng(3)
    growth = dice.normal(0.003, 0.05, (len(days), 120))
    return days, growth


def test_every_rule_keeps_the_money_that_it_is_given() -> None:
    days, growth = _falling_and_rising()
    still = np.zeros_like(growth)

    made = life_rules.play(days, [1_000.0] * len(days), still, np.arange(120, 0, -1.0))

    for name, one in made.items():
        assert one.worth[-1] == pytest.approx(1_000.0 * len(days), rel=1e-3), name


def test_rules_of_others_are_counted_by_the_same_code() -> None:
    days, growth = _falling_and_rising()

    made = life_rules.play(days, [1_500.0] * len(days), growth, np.arange(120, 0, -1.0))
    counts = {name: life_check.count(one.moved, 0, harvests=True) for name, one in made.items()}

    assert counts["fund, swapped in December"].forced == 0
    assert counts["3 % drift bands"].forced > 0
    assert counts["direct from $100k, off below $50k"].forced > 0
    assert counts["harvest at year-end only"].washed > 0


def test_pictures_are_drawings_with_every_name() -> None:
    drawn = svg(
        Lines("Value <now>", "$", [19.0, 20.0], {"a & b": [100.0, 2_000.0]}, logarithmic=True)
    )

    tree = ET.fromstring(drawn)
    assert "a & b" in [element.text for element in tree.iter() if element.text]
