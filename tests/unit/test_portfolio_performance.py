"""Returns by hand."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.core.errors import InvalidInputError
from robo.portfolio import performance

YEAR = (date(2025, 3, 2), date(2026, 3, 2))


def test_gain_is_value_less_what_was_put_in() -> None:
    got = performance.simple_gain(11_500, [10_000, 2_000, -1_000])

    assert got == performance.Change(500, 500 / 12_000)


def test_a_deposit_is_no_gain_of_the_day() -> None:
    assert performance.day_change(12_200, 10_000, 2_000) == performance.Change(200, 200 / 12_000)
    assert performance.day_change(0, 0) == performance.Change(0, None)


def test_time_weighted_return_ignores_when_money_came() -> None:
    # +10 %, then a deposit of 1,000 works through -10 %: 1.1 x 0.9 - 1 = -1 %.
    got = performance.twr([1_000, 1_100, 1_890], [0, 1_000])

    assert got == pytest.approx(-0.01)


def test_time_weighted_return_survives_a_full_withdrawal_and_a_fresh_start() -> None:
    got = performance.twr([1_000, 0, 0, 550], [-1_050, 0, 500])

    assert got == pytest.approx(1.05 * 1.10 - 1)


def test_money_from_nowhere_has_no_time_weighted_return() -> None:
    with pytest.raises(InvalidInputError) as caught:
        performance.twr([0, 5], [0])

    assert caught.value.code == "twr_undefined"


def test_irr_of_one_deposit_is_its_growth() -> None:
    assert performance.irr([YEAR[0]], [10_000], 10_700, YEAR[1]) == pytest.approx(0.07)
    assert performance.irr([YEAR[0]], [10_000], 10_000, YEAR[1]) == pytest.approx(0.0, abs=1e-12)


@given(
    rate=st.floats(-0.9, 3.0),
    flows=st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 10**9)), min_size=1),
)
def test_irr_finds_the_rate_that_deposits_grew_at(rate: float, flows: list) -> None:
    on = date(2026, 3, 2)
    flows = [(days + 300, cents) for days, cents in flows]
    days = [date.fromordinal(on.toordinal() - ago) for ago, _ in flows]
    value = sum(cents * (1 + rate) ** (ago / 365) for ago, cents in flows)
    if value < 10**6:
        return  # whole cents would blur the rate

    got = performance.irr(days, [cents for _, cents in flows], round(value), on)

    assert got == pytest.approx(rate, rel=1e-4, abs=1e-4)


def test_irr_says_when_there_is_none() -> None:
    for days, flows, value in (
        ([YEAR[0]], [10_000], 0),  # all lost: no finite rate
        ([YEAR[1]], [10_000], 10_000),  # no time passed
        ([YEAR[0]], [0], 0),
        ([YEAR[0]], [10_000], -1),
    ):
        with pytest.raises(InvalidInputError) as caught:
            performance.irr(days, flows, value, YEAR[1])
        assert caught.value.code == "irr_undefined"


def test_two_days_of_a_wild_rate_do_not_overflow() -> None:
    got = performance.irr([date(2026, 2, 28)], [10_000], 12_000, YEAR[1])

    assert performance.period_return(got, 2) == pytest.approx(0.20)


def test_withdrawals_count_as_money_taken_out() -> None:
    # 10,000 for half a year, 5,000 back at 10,500 worth: what remains grows on.
    middle = date(2025, 8, 31)
    got = performance.irr([YEAR[0], middle], [10_000, -5_000], 5_500, YEAR[1])

    assert 10_000 * (1 + got) - 5_000 * (1 + got) ** (183 / 365) == pytest.approx(5_500, abs=0.1)
