"""Lots: which shares a sale takes, and that nothing is lost or made on the way."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.core.ids import LotId, SecurityId
from robo.tax.lots import Lot, close, fifo, free, rescale

DAY = date(2026, 3, 2)


def lot(name: str, nanos: int, basis_cents: int, days: int = 0, hold: int | None = None) -> Lot:
    until = None if hold is None else DAY + timedelta(days=hold)
    return Lot(LotId(name), SecurityId(1), DAY + timedelta(days=days), nanos, basis_cents, until)


def test_first_in_is_first_out_and_ties_go_by_id() -> None:
    young, b, a = lot("x", 1, 1, days=2), lot("b", 1, 1), lot("a", 1, 1)

    assert fifo([young, b, a]) == [a, b, young]


def test_a_held_lot_is_free_on_the_day_its_hold_ends() -> None:
    held = lot("a", 1, 1, hold=3)

    assert free([held, lot("b", 1, 1)], DAY + timedelta(days=2)) == [lot("b", 1, 1)]
    assert free([held], DAY + timedelta(days=3)) == [held]


def test_a_sale_by_hand() -> None:
    # 3 shares for $30 and 2 for $25; 4 are sold for $50: all of the first, half of the second.
    taken = close([lot("a", 3, 30_00), lot("b", 2, 25_00)], 4, 50_00)

    assert [(c.lot_id, c.nanos, c.basis_cents, c.proceeds_cents) for c in taken] == [
        ("a", 3, 30_00, 37_50),
        ("b", 1, 12_50, 12_50),
    ]
    assert [c.gain_cents for c in taken] == [7_50, 0]


def test_half_a_cent_of_basis_goes_with_what_is_sold() -> None:
    (taken,) = close([lot("a", 2, 5)], 1, 9)

    assert taken.basis_cents == 3  # 2.5 rounds away from zero; 2 stay


def test_selling_everything_leaves_no_basis_behind_even_in_empty_lots() -> None:
    # A reverse split can leave a lot without shares but with what was paid for it.
    taken = close([lot("a", 0, 7), lot("b", 5, 10), lot("c", 0, 3), lot("d", 0, 1)], 5, 100)

    assert {c.lot_id: (c.nanos, c.basis_cents, c.proceeds_cents) for c in taken} == {
        "a": (0, 7, 0),
        "b": (5, 10, 100),
        "c": (0, 3, 0),
        "d": (0, 1, 0),
    }


def test_an_empty_lot_behind_one_that_stays_is_left_alone() -> None:
    taken = close([lot("a", 5, 10), lot("b", 5, 10), lot("c", 0, 3)], 5, 100)

    assert [c.lot_id for c in taken] == ["a"]


@pytest.mark.parametrize("nanos", [0, -1, 6])
def test_more_than_there_is_or_nothing_cannot_be_sold(nanos: int) -> None:
    with pytest.raises(ValueError, match="less than is sold"):
        close([lot("a", 5, 10)], nanos, 1)


def test_nothing_can_be_sold_out_of_nothing() -> None:
    with pytest.raises(ValueError, match="less than is sold"):
        close([], 1, 1)
    with pytest.raises(ValueError, match="less than is sold"):
        close([lot("a", 0, 10)], 1, 1)


sizes = st.integers(0, 10**18) | st.integers(0, 5)
books = st.lists(st.tuples(sizes, st.integers(0, 10**15) | st.integers(0, 3)), min_size=1).filter(
    lambda found: any(nanos for nanos, _ in found)
)


@given(books, st.data())
def test_a_sale_conserves_shares_basis_and_proceeds(
    book: list[tuple[int, int]], data: st.DataObject
) -> None:
    lots = [lot(f"{n:03}", nanos, basis) for n, (nanos, basis) in enumerate(book)]
    nanos = data.draw(st.integers(1, sum(one.nanos for one in lots)))
    proceeds = data.draw(st.integers(0, 10**15) | st.integers(0, 3))

    taken = close(lots, nanos, proceeds)

    by_id = {c.lot_id: c for c in taken}
    assert len(by_id) == len(taken)
    assert sum(c.nanos for c in taken) == nanos
    assert sum(c.proceeds_cents for c in taken) == proceeds
    assert [c.lot_id for c in taken] == [one.id for one in lots[: len(taken)]]
    for one in lots:
        if one.id not in by_id:
            continue
        c = by_id[one.id]
        exact = Fraction(one.basis_cents * c.nanos, one.nanos) if one.nanos else one.basis_cents
        assert 0 <= c.nanos <= one.nanos
        assert 0 <= c.basis_cents <= one.basis_cents
        assert abs(c.basis_cents - exact) <= Fraction(1, 2)
        assert c.proceeds_cents >= 0
        assert abs(c.proceeds_cents - Fraction(proceeds * c.nanos, nanos)) < 1
    if nanos == sum(one.nanos for one in lots):
        assert sum(c.basis_cents for c in taken) == sum(one.basis_cents for one in lots)


@settings(max_examples=30)  # each sells a whole book, in dozens of pieces
@given(books, st.data())
def test_selling_in_pieces_uses_up_exactly_the_basis(
    book: list[tuple[int, int]], data: st.DataObject
) -> None:
    lots = [lot(f"{n:03}", nanos, basis) for n, (nanos, basis) in enumerate(book)]
    total, basis = sum(one.nanos for one in lots), sum(one.basis_cents for one in lots)
    left, given_up = total, 0

    while left:
        nanos = data.draw(st.integers(1, left)) if left < total or total == 1 else left // 2 or 1
        taken = {c.lot_id: c for c in close(lots, nanos, 0)}
        lots = [
            lot(
                one.id, one.nanos - taken[one.id].nanos, one.basis_cents - taken[one.id].basis_cents
            )
            if one.id in taken
            else one
            for one in lots
        ]
        lots = [one for one in lots if one.nanos or one.basis_cents]
        given_up += sum(c.basis_cents for c in taken.values())
        left -= nanos
        assert all(one.nanos >= 0 and one.basis_cents >= 0 for one in lots)

    assert given_up == basis
    assert lots == []


@given(books, sizes)
def test_a_split_gives_every_lot_its_part_and_loses_no_share(
    book: list[tuple[int, int]], after: int
) -> None:
    lots = [lot(f"{n:03}", nanos, basis) for n, (nanos, basis) in enumerate(book)]
    total = sum(one.nanos for one in lots)

    got = rescale(lots, after)

    assert sum(got) == after
    for one, nanos in zip(lots, got, strict=True):
        assert abs(nanos - Fraction(one.nanos * after, total)) < 1
        assert one.nanos or not nanos


def test_a_split_of_nothing_is_nothing_and_shares_do_not_appear() -> None:
    assert rescale([], 0) == []
    with pytest.raises(ValueError, match="appeared"):
        rescale([], 1)
    with pytest.raises(ValueError, match="weight"):
        rescale([lot("a", 0, 5)], 1)
