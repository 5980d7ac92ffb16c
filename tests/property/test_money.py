"""Money against exact fractions: what is written is read back, what is split adds up."""

import json
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from robo.core.money import (
    AMOUNT_CENTS_MAX,
    NOTIONAL_SCALE,
    Money,
    format_cents,
    format_micros,
    nanos_for_cents,
    notional_cents,
    parse_cents,
    parse_micros,
    round_ratio,
    split_cents,
)
from robo.core.shares import SHARES_MAX, format_nanos, parse_nanos


@given(st.integers(-AMOUNT_CENTS_MAX, AMOUNT_CENTS_MAX))
def test_what_is_written_is_read_back(cents: int) -> None:
    written = format_cents(cents)

    assert parse_cents(written) == cents
    assert str(Money(cents)) == written
    assert Fraction(written) == Fraction(cents, 100)
    assert json.loads(json.dumps(written)) == written


@given(st.integers(-(10**12), 10**12))
def test_prices_are_read_back_with_two_to_six_decimals(micros: int) -> None:
    written = format_micros(micros)

    assert parse_micros(written) == micros
    assert 2 <= len(written.partition(".")[2]) <= 6


@given(st.integers(0, SHARES_MAX * 10**9))
def test_share_counts_are_read_back_without_trailing_zeros(nanos: int) -> None:
    written = format_nanos(nanos)

    assert parse_nanos(written) == nanos
    assert "." not in written or not written.endswith("0")


def rounded(exact: Fraction, rounding: str) -> int:
    """Return the reference: exact fractions, no arithmetic of ours."""
    size = abs(exact)
    whole = size.numerator // size.denominator
    rest = size - whole
    if rounding == "up":
        whole += rest > 0
    elif rounding == "half_away":
        whole += rest >= Fraction(1, 2)
    return -whole if exact < 0 else whole


big = st.integers(-(10**40), 10**40) | st.integers(-20, 20)
roundings = st.sampled_from(["half_away", "down", "up"])


@example(1, 2, "half_away")
@example(-3, 2, "half_away")
@example(5 * 10**29, 10**30, "half_away")
@example(5 * 10**29 - 1, 10**30, "half_away")
@given(big, st.integers(1, 10**30) | st.integers(1, 8), roundings)
def test_a_ratio_is_rounded_as_fractions_say(top: int, bottom: int, rounding) -> None:
    assert round_ratio(top, bottom, rounding) == rounded(Fraction(top, bottom), rounding)


@given(big, st.integers(1, 10**30), roundings)
def test_rounding_is_symmetric_about_zero(top: int, bottom: int, rounding) -> None:
    assert round_ratio(-top, bottom, rounding) == -round_ratio(top, bottom, rounding)


@given(
    st.integers(0, 10**18) | st.integers(0, 3),
    st.integers(1, 10**12) | st.sampled_from([1, 100, 10**12]),
    roundings,
)
def test_a_notional_is_what_exact_fractions_say(nanos: int, price: int, rounding) -> None:
    exact = Fraction(nanos, 10**9) * Fraction(price, 10**6) * 100

    assert notional_cents(nanos, price, rounding) == rounded(exact, rounding)


@given(st.integers(0, 10**17), st.integers(1, 10**12) | st.sampled_from([1, 100, 10**12]))
def test_the_shares_for_an_amount_cost_no_more_and_one_more_would(cents: int, price: int) -> None:
    nanos = nanos_for_cents(cents, price)

    assert nanos * price <= cents * NOTIONAL_SCALE < (nanos + 1) * price


weights = st.lists(st.integers(0, 10**18) | st.integers(0, 4), min_size=1, max_size=40).filter(any)


@settings(max_examples=300)
@given(st.integers(0, 10**18) | st.integers(0, 30), weights)
def test_a_split_is_the_largest_remainder_and_loses_nothing(total: int, weight: list[int]) -> None:
    parts = split_cents(total, weight)

    exact = [Fraction(total * w, sum(weight)) for w in weight]
    floors = [int(one) for one in exact]
    first = sorted(range(len(weight)), key=lambda i: (floors[i] - exact[i], i))
    for place in first[: total - sum(floors)]:
        floors[place] += 1
    assert parts == floors
    assert sum(parts) == total
    assert all(part == 0 for part, w in zip(parts, weight, strict=True) if w == 0)


fills = st.lists(st.integers(1, 10**13), min_size=1, max_size=12)


@given(fills, st.integers(1, 10**12))
def test_cents_booked_by_cumulative_rounding_never_drift(nanos: list[int], price: int) -> None:
    # How a broker states the cents of partial fills: the rounded sum so far, less what was stated.
    done = stated = 0
    for part in nanos:
        done += part
        cents = notional_cents(done, price) - stated
        stated += cents
        assert cents >= 0
        assert abs(cents - Fraction(part * price, NOTIONAL_SCALE)) <= 1

    assert stated == notional_cents(sum(nanos), price)


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=30).filter(any), st.data())
def test_splitting_a_split_again_by_its_own_parts_changes_nothing(
    weight: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(1, 10**15))
    parts = split_cents(total, weight)

    assert split_cents(total, parts) == parts
    assert split_cents(2 * total, [2 * part for part in parts]) == [2 * part for part in parts]
