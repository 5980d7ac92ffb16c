"""Nanoshares against prices in arrays: the same cents as Python integers, beyond int64 too."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robo.core import money
from robo.portfolio import allocator, chunk, kernels


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile before the first example, whose deadline would count it."""
    kernels.warm()


NANOS_MAX, PRICE_MAX = 10**18, 10**12
holdings = st.one_of(st.integers(-NANOS_MAX, NANOS_MAX), st.integers(-(10**10), 10**10))
prices = st.one_of(st.integers(0, PRICE_MAX), st.integers(0, 10**8))


@settings(max_examples=300)
@given(pairs=st.lists(st.tuples(holdings, prices), min_size=1, max_size=20))
@example(pairs=[(NANOS_MAX, PRICE_MAX), (-NANOS_MAX, PRICE_MAX)])
@example(pairs=[(5 * 10**12, 1), (-5 * 10**12, 1), (5 * 10**12 - 1, 1)])  # half a cent exactly
@example(pairs=[(10**9, 9_223_372_037)])  # the first price at which int64 wraps
def test_notional_in_arrays_is_notional_in_python(pairs: list[tuple[int, int]]) -> None:
    nanos, price = [list(column) for column in zip(*pairs, strict=True)]

    cents = chunk.notional_cents(nanos, price)

    assert cents.tolist() == [money.notional_cents(n, p) for n, p in pairs]


def test_notional_of_a_million_random_pairs_is_exact_where_int64_wraps() -> None:
    rng = np.random.default_rng(1)
    nanos = np.floor(10 ** rng.uniform(0, 18, 1_000_000)).astype(np.int64)
    price = np.floor(10 ** rng.uniform(0, 12, 1_000_000)).astype(np.int64)

    cents = chunk.notional_cents(nanos, price)

    # Exact check in two residues instead of slow Python integers: the error, cents x 1e13 minus
    # the product, is within half of 1e13, so it must be the same modulo 2^64 as computed wrapped.
    scale, half = np.uint64(money.NOTIONAL_SCALE), money.NOTIONAL_SCALE // 2
    wrapped = cents.astype(np.uint64) * scale - nanos.astype(np.uint64) * price.astype(np.uint64)
    error = wrapped.astype(np.int64)
    assert np.abs(error).max() <= half
    assert (error > -half).all()  # a half rounds away from zero
    assert (nanos.astype(float) * price > 2.0**63).mean() > 0.25  # the naive product would not do
    # 1e13 is 2^13 x 5^13, so another amount with this residue would be 2^51 cents away.
    near = nanos.astype(float) * price / money.NOTIONAL_SCALE
    assert np.abs(cents - near).max() < 2.0**40


@settings(max_examples=300)
@given(cents=st.integers(0, 10**17), price=st.integers(1, PRICE_MAX))
@example(cents=10**17, price=PRICE_MAX)
def test_nanos_for_cents_is_the_most_that_the_cents_can_pay(cents: int, price: int) -> None:
    expected = money.nanos_for_cents(cents, price)
    if expected > NANOS_MAX:
        with pytest.raises(ValueError, match="out of range"):
            chunk.nanos_for_cents([cents], [price])
        return

    down = int(chunk.nanos_for_cents([cents], [price])[0])

    assert down == expected
    exact = cents * money.NOTIONAL_SCALE
    assert down * price <= exact < (down + 1) * price
    if down < NANOS_MAX:
        up = int(chunk.nanos_for_cents([cents], [price], rounding="up")[0])
        assert (up - 1) * price < exact <= up * price


@settings(max_examples=300)
@given(
    held=st.integers(0, NANOS_MAX),
    price=st.integers(1, PRICE_MAX),
    cents=st.integers(0, 10**17),
    dust=st.integers(0, 500),
)
def test_sold_nanoshares_bring_the_cents_and_leave_no_dust(
    held: int, price: int, cents: int, dust: int
) -> None:
    sold = int(allocator.sell_nanos([cents], [held], [price], dust_cents=dust)[0])

    assert 0 <= sold <= held
    assert money.notional_cents(sold, price) >= min(cents, money.notional_cents(held, price))
    left = held - sold
    assert cents == 0 or left == 0 or left * price >= dust * money.NOTIONAL_SCALE
    if sold and left:  # not a nanoshare more than the cents ask for
        assert (sold - 1) * price < cents * money.NOTIONAL_SCALE


@pytest.mark.parametrize(
    ("nanos", "price"),
    [(NANOS_MAX + 1, 1), (-NANOS_MAX - 1, 1), (1, PRICE_MAX + 1), (1, -1), (-(2**63), 1)],
)
def test_counts_and_prices_beyond_the_bounds_are_refused(nanos: int, price: int) -> None:
    with pytest.raises(ValueError, match="out of range at flat position 1"):
        chunk.notional_cents([0, nanos], [1, price])
