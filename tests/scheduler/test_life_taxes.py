"""What losses have saved: only what a year can use, and never what a wash sale took."""

from datetime import date

import pytest

from scheduler import life_taxes, life_wash
from scheduler.life_moves import BUY, SELL, Moved
from scheduler.life_taxes import saved


def life(*trades: tuple[date, str, int, int, int]) -> list[life_wash.Sold]:
    """Ten shares of a lot that are bought for, or sold for, so many dollars, basis in between."""
    rows = [
        Moved(on, ord(lot[0]), lot, nanos, basis * 100, got * 100, BUY if nanos > 0 else SELL)
        for on, lot, nanos, basis, got in trades
    ]
    return life_wash.adjust(rows)


def day(year: int, month: int = 12) -> date:
    return date(year, month, 20)


def test_three_thousand_dollars_a_year_are_used_and_the_rest_is_carried() -> None:
    lost = life((day(2030, 1), "a", 10, 9_000, 0), (day(2030), "a", -10, 9_000, 1_000))

    told = saved(lost, [day(2030), day(2031), day(2032), day(2033)])

    # 8,000 lost: 3,000, 3,000 and 2,000 at 22 %.
    assert told.dollars == pytest.approx((660.0, 1_320.0, 1_760.0, 1_760.0))
    assert told.carried_cents == 0
    assert saved(lost, [day(2031)]).carried_cents == 2_000_00


def test_carried_losses_meet_gains_of_later_years_and_the_rest_of_a_gain_is_taxed() -> None:
    sold = life(
        (day(2030, 1), "a", 10, 9_000, 0),
        (day(2030, 1), "b", 10, 1_000, 0),
        (day(2030), "a", -10, 9_000, 1_000),
        (day(2031), "b", -10, 1_000, 8_000),
    )

    told = saved(sold, [day(2030), day(2031)])

    # 5,000 carried against 7,000 gained over more than a year: 2,000 are taxed at 15 %.
    assert told.dollars == pytest.approx((660.0, 360.0))


def test_a_disallowed_loss_saves_nothing() -> None:
    sold = life(
        (day(2030, 1), "a", 10, 2_000, 0),
        (day(2030, 12), "a", -10, 2_000, 1_000),
        (date(2031, 1, 5), "a2", 10, 1_000, 0),
    )

    assert saved(sold, [day(2030), day(2031)]) == life_taxes.Saved((0.0, 0.0), 0)


def test_a_year_is_drawn_as_it_stands_on_each_day() -> None:
    sold = life(
        (day(2029, 1), "a", 10, 2_000, 0),
        (day(2029, 1), "b", 10, 1_000, 0),
        (day(2030, 2), "a", -10, 2_000, 1_000),
        (day(2030, 6), "b", -10, 1_000, 2_500),
    )

    told = saved(sold, [day(2030, 1), day(2030, 3), day(2030, 7)])

    # 1,000 lost, then 1,500 gained, both long: 500 are taxed at 15 %.
    assert told.dollars == pytest.approx((0.0, 220.0, -75.0))
