"""Short or long by the calendar, and a year's netting by hand."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.tax.gains import Net, Year, close_year, is_long, long_from, tacked, total


@pytest.mark.parametrize(
    ("acquired", "first_long"),
    [
        (date(2025, 3, 2), date(2026, 3, 3)),  # more than a year: the anniversary itself is short
        (date(2024, 2, 28), date(2025, 3, 1)),  # counts from 29 February
        (date(2024, 2, 29), date(2025, 3, 1)),  # counts from 1 March
        (date(2023, 2, 28), date(2024, 3, 1)),  # counts from 1 March: 29 February 2024 is short
        (date(2023, 3, 1), date(2024, 3, 2)),
        (date(2024, 12, 31), date(2026, 1, 1)),
        (date(2023, 12, 31), date(2025, 1, 1)),
    ],
)
def test_long_term_begins_the_day_after_the_year_is_over(acquired: date, first_long: date) -> None:
    assert long_from(acquired) == first_long
    assert is_long(acquired, first_long)
    assert not is_long(acquired, first_long - timedelta(days=1))


@given(acquired=st.dates(date(1990, 1, 1), date(2090, 1, 1)))
def test_a_year_has_365_or_366_days_and_later_purchases_are_never_long_earlier(
    acquired: date,
) -> None:
    later = acquired + timedelta(days=1)

    assert (long_from(acquired) - acquired).days in {366, 367}
    assert long_from(acquired) <= long_from(later)


def test_a_replacement_counts_as_held_for_the_days_of_what_was_sold_too() -> None:
    # Held 100 days, replaced after a gap of 20: the gap does not count.
    bought, sold = date(2026, 5, 1), date(2026, 4, 11)

    assert tacked(bought, sold - timedelta(days=100), sold) == bought - timedelta(days=100)


def test_sales_add_up_by_holding_period() -> None:
    old, young, on = date(2024, 1, 1), date(2025, 12, 1), date(2026, 1, 5)

    assert total([(old, on, 5_00), (young, on, -2_00), (young, on, 1_00)]) == Net(-1_00, 5_00)


@pytest.mark.parametrize(
    ("realised", "carried", "year"),
    [
        (Net(5, 7), Net(), Year(Net(5, 7), 0, Net())),
        (Net(10, -4), Net(), Year(Net(6, 0), 0, Net())),
        (Net(-4, 10), Net(), Year(Net(0, 6), 0, Net())),
        (Net(10, 10), Net(-4, -12), Year(Net(4, 0), 0, Net())),  # 6 short, -2 long
        # $5,000 short and $2,000 long lost: 3,000 of the short are deducted.
        (
            Net(-5_000_00, -2_000_00),
            Net(),
            Year(Net(), 3_000_00, Net(-2_000_00, -2_000_00)),
        ),
        # $1,000 short and $5,000 long lost: the short first, then 2,000 of the long.
        (Net(-1_000_00, -5_000_00), Net(), Year(Net(), 3_000_00, Net(0, -3_000_00))),
        (Net(2_000_00, -9_000_00), Net(), Year(Net(), 3_000_00, Net(0, -4_000_00))),
        (Net(1), Net(-1_000_00, -50), Year(Net(), 1_000_49, Net())),
    ],
)
def test_a_year_by_hand(realised: Net, carried: Net, year: Year) -> None:
    assert close_year(realised, carried, 3_000_00) == year


cents = st.integers(-(10**9), 10**9)
losses = st.integers(-(10**9), 0)


@given(short=cents, long=cents, short_carry=losses, long_carry=losses)
def test_no_cent_is_lost_or_made_in_a_year(
    short: int, long: int, short_carry: int, long_carry: int
) -> None:
    year = close_year(Net(short, long), Net(short_carry, long_carry), 3_000_00)

    assert year.taxed.cents - year.deducted_cents + year.carried.cents == (
        short + long + short_carry + long_carry
    )
    assert min(year.taxed.short_cents, year.taxed.long_cents) >= 0
    assert max(year.carried.short_cents, year.carried.long_cents) <= 0
    assert 0 <= year.deducted_cents <= 3_000_00
    assert not (year.taxed.cents and year.deducted_cents)


def test_what_is_carried_must_be_a_loss_and_the_limit_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="carried"):
        close_year(Net(), Net(1, 0), 3_000_00)
    with pytest.raises(ValueError, match="limit_cents"):
        close_year(Net(), Net(), -1)
