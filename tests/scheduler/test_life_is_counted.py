"""What `make life` counts, draws and compares with: each count can find what it looks for."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from robo.tax import gains
from scheduler import life_check, life_moves, life_rules, life_wash
from scheduler.life_check import Counts
from scheduler.life_moves import ACTION, ASKED, BUY, MONEY, SELL, WITHDRAWN, Moved, Stream, Wish
from scheduler.life_pictures import Lines, svg

DAY = date(2030, 3, 4)


def moved(
    after: int,
    lot: str,
    nanos: int,
    basis: int,
    proceeds: int = 0,
    kind: str = "",
    *,
    name: int | None = None,
) -> Moved:
    told = kind or (BUY if nanos > 0 else SELL)
    security = ord(lot[0]) if name is None else name
    return Moved(DAY + timedelta(days=after), security, lot, nanos, basis, proceeds, told)


def paid(after: int, cents: int) -> Moved:
    return Moved(DAY + timedelta(days=after), 0, "", 0, 0, cents, MONEY)


def counted(
    life: Sequence[Moved],
    budget: int | None = 0,
    *,
    harvests: bool = True,
    defers: bool = False,
    until: date | None = None,
) -> Counts:
    wish = Wish(date.min, harvests, budget, defers)
    rows = sorted(life, key=lambda one: one.on)
    return life_check.count(Stream(rows, (), [wish]), until=until)


def crashed(*after: Moved) -> list[Moved]:
    """Three names bought for a thousand each; on day 40 all are sold at 40 % less."""
    bought = [moved(0, lot, 10, 1_000) for lot in "abc"]
    sold = [moved(40, lot, -10, 1_000, 600) for lot in "abc"]
    return [paid(0, 3_000), *bought, *sold, *after]


def test_a_gain_within_the_budget_is_not_forced_and_one_beyond_it_is() -> None:
    life = [paid(0, 1_000), moved(0, "a", 10, 1_000), moved(400, "a", -10, 1_000, 1_600)]

    inside, outside, free = counted(life, 600), counted(life, 599), counted(life, None)

    assert (inside.forced, inside.over_budget) == (0, 0)
    assert (outside.forced, outside.over_budget, outside.over_budget_cents) == (1, 1, 1)
    assert (free.forced, free.over_budget) == (0, 0)


def test_a_crashed_account_that_is_sold_and_left_in_cash_was_forced() -> None:
    assert counted(crashed()).forced == 3


def test_a_crashed_account_whose_money_buys_other_names_was_harvested() -> None:
    again = [moved(43, lot, 10, 600) for lot in "xyz"]

    counts = counted(crashed(*again))

    assert (counts.forced, counts.harvested_short_cents) == (0, 1_200)
    assert counted(crashed(*again), harvests=False).forced == 3


def many(names: int, sold: int, *after: Moved) -> list[Moved]:
    """Names bought for ten dollars each, some of which are sold 200 days later at 40 % less."""
    bought = [moved(0, f"l{n}", 10, 1_000, name=n) for n in range(names)]
    gone = [moved(200, f"l{n}", -10, 1_000, 600, name=n) for n in range(sold)]
    return [paid(0, names * 1_000), *bought, *gone, *after]


def others(count: int, cents: int) -> list[Moved]:
    return [moved(201, f"o{n}", 10, cents, name=500 + n) for n in range(count)]


@pytest.mark.parametrize(
    ("life", "forced"),
    [
        (many(80, 6), 6),
        (many(80, 1), 1),
        (many(80, 6, *others(1, 3_600)), 0),
        (many(10, 5, paid(203, -3_000)), 5),
        (many(80, 80, *others(40, 1_200)), 80),
        (many(80, 80, *others(60, 800)), 0),
        (many(10, 10, *others(5, 1_200)), 0),
    ],
    ids=[
        "six of eighty, kept as cash",
        "one of eighty, kept as cash",
        "six of eighty, bought again",
        "half, taken out by the customer",
        "eighty into forty",
        "eighty into sixty",
        "ten into the five stand-ins of a basket",
    ],
)
def test_a_part_of_an_account_that_is_sold_in_a_crash_and_not_bought_again_was_forced(
    life: list[Moved], forced: int
) -> None:
    assert counted([*life, moved(400, "z", 1, 1, name=999)]).forced == forced


def test_money_taken_out_beside_a_harvest_that_was_bought_again_forces_nothing() -> None:
    out = [moved(202, "l9", -10, 1_000, 600, WITHDRAWN, name=9), paid(203, -600)]

    assert counted(many(10, 4, *others(4, 600), *out)).forced == 0


def test_a_deposit_that_is_invested_does_not_hide_money_left_idle() -> None:
    new = [paid(43, 1_800), *(moved(43, lot, 10, 600) for lot in "xyz")]

    assert counted(crashed(*new)).forced == 3


def test_money_that_comes_back_after_more_than_settlement_was_forced_out() -> None:
    again = [moved(40 + life_check.AGAIN_DAYS + 1, lot, 10, 600) for lot in "xyz"]

    assert counted(crashed(*again)).forced == 3


@pytest.mark.parametrize(("sold", "day", "forced"), [(6, 256, 0), (7, 256, 7), (7, 228, 0)])
def test_in_thinned_time_only_a_little_of_a_harvest_waits_for_the_second_look(
    sold: int, day: int, forced: int
) -> None:
    again = moved(day, "o", 10, sold * 600, name=500)
    life = many(80, sold, again, moved(400, "z", 1, 1, name=999))
    stream = Stream(life, (), [Wish(date.min, harvests=True, budget_cents=0)])

    # Six sales on day 200 brought $36 of $776 at cost, seven $42 of $772: more than 5 %.
    assert life_check.count(stream, again_days=63, soon_days=35).forced == forced
    assert life_check.count(stream, again_days=63).forced == 0


def test_an_account_switched_into_one_fund_at_a_loss_was_forced() -> None:
    assert counted(crashed(moved(40, "f", 10, 1_800))).forced == 3


def test_losses_at_the_end_of_a_life_can_be_left_unjudged() -> None:
    counts = counted(crashed(), until=DAY + timedelta(days=39))

    assert (counts.forced, counts.young) == (0, 3)


def test_losses_of_the_same_year_make_room_for_gains_and_forced_ones_none() -> None:
    life = [
        paid(0, 2_000),
        moved(0, "a", 10, 1_000),
        moved(0, "b", 10, 1_000),
        moved(100, "a", -10, 1_000, 400),
        moved(200, "b", -10, 1_000, 1_600),
    ]

    harvested = counted([*life, moved(101, "c", 10, 400)])
    forced = counted(life)

    assert (harvested.forced, harvested.over_budget) == (0, 0)
    assert (forced.forced, forced.over_budget) == (2, 0)


def test_a_disallowed_loss_makes_no_room_for_gains() -> None:
    life = [
        paid(0, 2_000),
        moved(0, "a", 10, 1_000),
        moved(0, "b", 10, 1_000),
        moved(100, "a", -10, 1_000, 400),
        moved(109, "a2", 10, 400),
        moved(200, "b", -10, 1_000, 1_600),
    ]

    counts = counted(life)

    assert (counts.washed, counts.deferred_cents) == (1, 600)
    assert (counts.over_budget, counts.over_budget_cents) == (1, 600)


def test_a_replacement_sold_at_a_gain_that_its_added_basis_takes_up_is_no_gain() -> None:
    life = [
        moved(0, "a", 10, 1_000),
        moved(100, "a", -10, 1_000, 400),
        moved(109, "a2", 10, 400),
        moved(200, "a2", -10, 400, 1_000),
    ]

    counts = counted(life)

    assert (counts.over_budget, counts.gains_short_cents) == (0, 0)


def test_what_the_customer_asked_for_and_corporate_actions_are_not_our_choice() -> None:
    kinds = (ASKED, WITHDRAWN, ACTION)
    life = [moved(0, lot, 10, 1_000) for lot in "abc"]
    life += [
        moved(40, lot, -10, 1_000, 9_000, kind) for lot, kind in zip("abc", kinds, strict=True)
    ]

    counts = counted(life, harvests=False)

    assert (counts.forced, counts.over_budget, counts.sales) == (0, 0, 0)
    assert (counts.apart, counts.apart_cents) == (3, 24_000)


@pytest.mark.parametrize(
    ("kind", "bought", "choice", "unmeant", "meant"),
    [
        (SELL, 90, "", 1, 0),
        (SELL, 90, "defers", 0, 1),
        (SELL, 110, "defers", 1, 0),
        (ASKED, 90, "", 1, 0),
        (ASKED, 110, "", 1, 0),
        (WITHDRAWN, 90, "", 0, 1),
        (WITHDRAWN, 110, "", 1, 0),
    ],
)
def test_only_a_withdrawal_or_deferral_by_choice_excuses_a_wash_sale_and_never_a_later_purchase(
    kind: str, bought: int, choice: str, unmeant: int, meant: int
) -> None:
    beside = moved(bought, "a2", 5, 400)
    life = [moved(0, "a", 10, 1_000), moved(100, "a", -10, 1_000, 800, kind), beside]

    counts = counted(life, defers=choice == "defers")

    assert (counts.washed, counts.washed_meant, counts.deferred_cents) == (unmeant, meant, 100)


def test_a_purchase_later_on_the_day_of_a_withdrawals_loss_is_no_part_of_the_withdrawal() -> None:
    sold = moved(100, "a", -10, 1_000, 800, WITHDRAWN)

    after = counted([moved(0, "a", 10, 1_000), sold, moved(100, "a2", 5, 400)])
    before = counted([moved(0, "a", 10, 1_000), moved(100, "a2", 5, 400), sold])

    assert (after.washed, after.washed_meant) == (1, 0)
    assert (before.washed, before.washed_meant) == (0, 1)


def test_what_a_customer_chose_holds_from_that_day_on() -> None:
    life = [moved(0, "a", 10, 1_000), moved(100, "a", -10, 1_000, 1_600)]
    before = Wish(date.min, harvests=True, budget_cents=0)
    later, too_late = (
        replace(before, on=DAY + timedelta(days=n), budget_cents=600) for n in (0, 101)
    )

    assert life_check.count(Stream(life, (), [before, later])).forced == 0
    assert life_check.count(Stream(life, (), [before, too_late])).forced == 1
    assert life_check.count(Stream(life)).forced == 1  # nothing chosen: no gains


@pytest.mark.parametrize(
    ("budgets", "over"),
    [
        ({-60: None, 1: 0}, 600),
        ({-60: 0, 299: 10_000}, 600),
        ({-60: 600, 101: 0}, 0),
        ({-60: 0, 100: 600}, 0),
    ],
    ids=["no limit at first", "more at the end", "less afterwards", "more on the day"],
)
def test_a_gain_is_held_to_the_budget_of_its_day(budgets: dict[int, int | None], over: int) -> None:
    life = [moved(0, "a", 10, 1_000), moved(100, "a", -10, 1_000, 1_600)]
    wishes = [
        Wish(DAY + timedelta(days=on), harvests=True, budget_cents=cents)
        for on, cents in budgets.items()
    ]

    counts = life_check.count(Stream(life, (), wishes))

    assert (counts.over_budget_cents, counts.over_budget) == (over, int(over > 0))


def test_terms_are_told_apart_by_the_calendar() -> None:
    life = [
        moved(0, "a", 10, 1_000),
        moved(0, "b", 10, 1_000),
        moved(365, "a", -10, 1_000, 900),
        moved(366, "b", -10, 1_000, 800),
    ]

    counts = counted(life)

    # 2030-03-04 to 2031-03-04 is a year to the day: short; a day later it is long.
    assert (counts.harvested_short_cents, counts.harvested_long_cents) == (100, 200)


@pytest.mark.parametrize("bought", [date(y, 2, d) for y in (2023, 2024, 2027) for d in (27, 28)])
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


def test_the_checker_imports_nothing_but_the_standard_library_and_itself() -> None:
    own = {life_check, life_moves, life_wash}
    names = {module.__name__ for module in own}

    for module in own:
        tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
        found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {one for one in found if one and one.split(".")[0] in {"robo", "scheduler"}} <= names


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
    counts = {name: life_check.count(one.stream()) for name, one in made.items()}

    assert counts["fund, swapped in December"].forced == 0
    assert counts["3 % drift bands"].forced > 0
    assert counts["direct from $100k, off below $50k"].forced > 0
    assert counts["harvest at year-end only"].washed > 0


def test_to_sell_everything_below_fifty_thousand_dollars_is_forced() -> None:
    days = [date(2030, 1, 7) + timedelta(weeks=4 * n) for n in range(40)]
    growth = np.full((len(days), 120), 0.0)
    growth[20] = -0.6
    money = [110_000.0 if n == 0 else 100.0 for n in range(len(days))]

    made = life_rules.play(days, money, growth, np.arange(120, 0, -1.0))
    ruled = made["direct from $100k, off below $50k"]
    counts = life_check.count(ruled.stream())

    assert not ruled.direct
    assert counts.forced >= 100  # each of the names it held, all at a loss


def test_pictures_are_drawings_with_every_name() -> None:
    drawn = svg(
        Lines("Value <now>", "$", [19.0, 20.0], {"a & b": [100.0, 2_000.0]}, logarithmic=True)
    )

    tree = ET.fromstring(drawn)
    assert "a & b" in [element.text for element in tree.iter() if element.text]
