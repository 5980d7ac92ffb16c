"""Blocks split over partial fills: nothing lost, nobody overfilled, nobody favoured by place."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.portfolio import blocks, kernels


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile before the first example, whose deadline would count it."""
    kernels.warm()


sizes = st.one_of(
    st.lists(st.integers(0, 2**62 // 50), min_size=1, max_size=50),
    st.lists(st.integers(0, 12), min_size=1, max_size=50),
)


def ids(count: int) -> list[str]:
    return [f"ord_{number}" for number in range(count)]


@settings(max_examples=300)
@given(open_units=sizes, share=st.fractions(0, 1), seed=st.text(max_size=8))
def test_a_split_is_largest_remainder_in_python_integers(
    open_units: list[int], share: Fraction, seed: str
) -> None:
    total = sum(open_units)
    executed = int(total * share)
    keys = blocks.tie_keys(seed, ids(len(open_units)))

    got = blocks.split_execution(open_units, executed, keys).tolist()

    floors = [executed * size // total if total else 0 for size in open_units]
    rests = [executed * size % total if total else 0 for size in open_units]
    first = sorted(range(len(open_units)), key=lambda i: (rests[i], int(keys[i])), reverse=True)
    for place in first[: executed - sum(floors)]:
        floors[place] += 1
    assert got == floors


@settings(max_examples=150)
@given(
    orders=st.lists(st.integers(1, 10**12), min_size=1, max_size=60),
    cuts=st.lists(st.fractions(0, 1), max_size=8),
)
def test_partial_fills_of_a_buy_close_every_order_exactly(
    orders: list[int], cuts: list[Fraction]
) -> None:
    open_cents = np.array(orders)
    total, nanos_booked = sum(orders), np.zeros(len(orders), np.int64)
    edges = [0, *sorted(int(total * cut) for cut in cuts), total]

    nanos_total = 0
    for number, cents in enumerate(np.diff(edges).tolist()):
        keys = blocks.tie_keys(f"exe_{number}", ids(len(orders)))
        nanos = 1 + 7 * cents
        if open_cents.sum() == 0:
            break
        got = blocks.split_buy(open_cents, cents, nanos, keys)
        assert got.cents.sum() == cents
        assert got.nanos.sum() == nanos
        assert (got.nanos[open_cents == 0] == 0).all()
        nanos_total += nanos
        nanos_booked += got.nanos
        open_cents = open_cents - got.cents
        assert (open_cents >= 0).all()

    assert (open_cents == 0).all()
    assert nanos_booked.sum() == nanos_total


@settings(max_examples=150)
@given(
    orders=st.lists(st.integers(1, 10**16), min_size=1, max_size=60),
    cuts=st.lists(st.fractions(0, 1), max_size=8),
    price=st.integers(1, 10**9),
)
def test_partial_fills_of_a_sell_conserve_nanoshares_cents_and_fees(
    orders: list[int], cuts: list[Fraction], price: int
) -> None:
    open_nanos = np.array(orders)
    total = sum(orders)
    edges = [0, *sorted(int(total * cut) for cut in cuts), total]

    for number, nanos in enumerate(np.diff(edges).tolist()):
        keys = blocks.tie_keys(f"exe_{number}", ids(len(orders)))
        gross = nanos * price // 10**13
        fee = min(gross, 1 + gross // 1_000)
        if nanos == 0:
            continue
        got = blocks.split_sell(open_nanos, nanos, gross, fee, keys)
        assert got.nanos.sum() == nanos
        assert got.gross_cents.sum() == gross
        assert got.fee_cents.sum() == fee
        assert (got.fee_cents <= got.gross_cents).all()
        assert (got.gross_cents[got.nanos == 0] == 0).all()
        open_nanos = open_nanos - got.nanos
        assert (open_nanos >= 0).all()

    assert (open_nanos == 0).all()


@settings(max_examples=300)
@given(orders=st.lists(st.integers(1, 40), min_size=1, max_size=12), data=st.data())
def test_no_order_pays_more_in_fees_than_it_gets_however_small(
    orders: list[int], data: st.DataObject
) -> None:
    gross = data.draw(st.integers(0, 2 * len(orders)))
    fee = data.draw(st.integers(0, gross))
    keys = blocks.tie_keys("exe", ids(len(orders)))

    got = blocks.split_sell(orders, sum(orders), gross, fee, keys)

    assert got.fee_cents.sum() == fee
    assert (got.fee_cents <= got.gross_cents).all()


def test_fees_do_not_fall_into_the_alabama_paradox() -> None:
    # Of 11 cents the third gets 1 (quotas 4.71, 4.71, 1.57); of 10 it would get 2.
    got = blocks.split_sell([6, 6, 2], 14, 11, 10, blocks.tie_keys("exe", ids(3)))

    assert got.gross_cents.tolist() == [5, 5, 1]
    assert (got.fee_cents <= got.gross_cents).all()


@settings(max_examples=100)
@given(orders=st.lists(st.integers(0, 30), min_size=2, max_size=40), data=st.data())
def test_shuffling_the_orders_shuffles_the_result(orders: list[int], data: st.DataObject) -> None:
    executed = data.draw(st.integers(0, sum(orders)))
    shuffled = data.draw(st.permutations(range(len(orders))))
    names = ids(len(orders))
    keys = blocks.tie_keys("exe", names)

    straight = blocks.split_execution(orders, executed, keys)
    other = blocks.split_execution(
        [orders[i] for i in shuffled],
        executed,
        blocks.tie_keys("exe", [names[i] for i in shuffled]),
    )

    assert other.tolist() == straight[list(shuffled)].tolist()


def test_equal_orders_get_the_odd_unit_equally_often() -> None:
    orders, executions = 10, 20_000
    hashes = blocks.order_hashes(ids(orders))
    won = np.zeros(orders)

    for number in range(executions):
        won += blocks.split_execution([5] * orders, 3, blocks.mix_keys(f"exe_{number}", hashes))

    # Each order wins 3 of 10: mean 6,000, standard deviation sqrt(20,000 x 0.3 x 0.7) = 65.
    assert np.abs(won - 6_000).max() < 5 * 65


def test_a_million_orders_are_split_exactly() -> None:
    rng = np.random.default_rng(2)
    open_cents = rng.integers(0, 10**12, 1_000_000)
    keys = blocks.mix_keys("exe", rng.integers(0, 2**63, 1_000_000).astype(np.uint64))
    cents = int(open_cents.sum()) * 2 // 3

    got = blocks.split_buy(open_cents, cents, 10**18, keys)

    assert got.cents.sum() == cents
    assert got.nanos.sum() == 10**18
    assert (got.cents <= open_cents).all()
    assert np.abs(got.cents - open_cents * (2 / 3)).max() < 1.001


@pytest.mark.parametrize(
    ("open_units", "executed"), [([1, 2], 4), ([-1, 5], 1), ([5], -1), ([2**62, 1], 1), ([], 1)]
)
def test_an_execution_that_cannot_be_is_refused(open_units: list[int], executed: int) -> None:
    keys = blocks.tie_keys("exe", ids(len(open_units)))

    with pytest.raises(ValueError, match=r"open_units|weight|units|what is open"):
        blocks.split_execution(open_units, executed, keys)
