"""Wash sales by hand: windows, order, fractions, holding periods, IRAs, splits, mergers."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from robo.core.ids import AccountId, LotId, SecurityId
from robo.core.money import NANOS_PER_SHARE as SHARE
from robo.tax.wash_events import (
    AccountKind,
    Disposal,
    Event,
    Move,
    Position,
    Purchase,
    Rescale,
    Sale,
    Succession,
)
from robo.tax.wash_sales import Books, fold

ME, SPOUSE, IRA = AccountId("me"), AccountId("spouse"), AccountId("ira")
KINDS = {ME: AccountKind.TAXABLE, SPOUSE: AccountKind.TAXABLE, IRA: AccountKind.IRA}
NAME = SecurityId(7)
SOLD = date(2026, 6, 1)
OLD = date(2025, 1, 2)


def buy(lot: str, nanos: int, cents: int, account: AccountId = ME) -> Purchase:
    return Purchase(account, NAME, LotId(lot), nanos, cents)


def sell(lot: str, nanos: int, basis: int, proceeds: int) -> Sale:
    return Sale(f"sale of {lot}", LotId(lot), nanos, basis, proceeds)


def lived(*dated: tuple[date, Event]) -> Books:
    return fold(KINDS, dated)


def only(found: Sequence[Disposal]) -> Disposal:
    (one,) = found
    return one


def lot_of(books: Books, lot: str) -> list[Position]:
    return [position for position in books.positions() if position.lot_id == lot]


@pytest.mark.parametrize(("gap", "washed"), [(-31, 0), (-30, 100), (0, 100), (30, 100), (31, 0)])
def test_the_window_is_61_days(gap: int, washed: int) -> None:
    # $10.00 paid, $9.00 got: $1.00 lost.
    dated: list[tuple[date, Event]] = [
        (OLD, buy("old", SHARE, 10_00)),
        (SOLD, sell("old", SHARE, 10_00, 9_00)),
        (SOLD + timedelta(days=gap), buy("new", SHARE, 9_00)),
    ]
    books = lived(*sorted(dated, key=lambda one: one[0]))

    assert only(books.disposals).deferred_cents == washed
    assert lot_of(books, "new")[0].adjusted_cents == 9_00 + washed


def test_the_replacement_takes_on_basis_and_holding_period() -> None:
    bought = SOLD + timedelta(days=10)

    books = lived(
        (OLD, buy("old", 10 * SHARE, 1_000_00)),
        (SOLD, sell("old", 10 * SHARE, 1_000_00, 750_00)),
        (bought, buy("new", 10 * SHARE, 800_00, SPOUSE)),
    )

    (new,) = lot_of(books, "new")
    assert (new.adjusted_cents, new.added_cents) == (1_050_00, 250_00)
    assert new.held_from == bought - (SOLD - OLD)
    assert new.bought_on == bought
    row = only(books.disposals)
    assert (row.recognised_cents, row.elsewhere_cents, row.lost_cents) == (0, 250_00, 0)


def test_an_ira_takes_the_loss_for_good_and_gets_nothing() -> None:
    books = lived(
        (OLD, buy("old", 10 * SHARE, 1_000_00)),
        (SOLD, sell("old", 10 * SHARE, 1_000_00, 750_00)),
        (SOLD, buy("ira", 4 * SHARE, 300_00, IRA)),
    )

    row = only(books.disposals)
    assert (row.deferred_cents, row.lost_cents, row.recognised_cents) == (0, 100_00, -150_00)
    assert sum(p.added_cents for p in lot_of(books, "ira")) == 0


def test_a_part_is_matched_share_for_share_to_the_nano() -> None:
    # 3 shares lose $1.00; a third of a share less one nano comes back: 11.1 cents.
    books = lived(
        (OLD, buy("old", 3 * SHARE, 31_00)),
        (SOLD, sell("old", 3 * SHARE, 31_00, 30_00)),
        (SOLD + timedelta(days=1), buy("new", 333_333_333, 3_33)),
    )

    assert only(books.disposals).deferred_cents == 11
    assert lot_of(books, "new")[0].adjusted_cents == 3_44


def test_parts_of_a_loss_add_up_to_it() -> None:
    # Ten cents over three shares, one at a time: 3, then 7 - 3, then 10 - 7.
    dated: list[tuple[date, Event]] = [
        (OLD, buy("old", 3 * SHARE, 10)),
        (SOLD, sell("old", 3 * SHARE, 10, 0)),
    ]
    dated += [(SOLD + timedelta(days=n), buy(f"{n}", SHARE, 5)) for n in (1, 2, 3)]

    books = lived(*dated)

    assert [p.added_cents for p in books.positions()] == [3, 4, 3]
    assert only(books.disposals).recognised_cents == 0


def test_the_earliest_purchase_replaces_first_and_only_once() -> None:
    books = lived(
        (OLD, buy("old", 2 * SHARE, 20_00)),
        (SOLD - timedelta(days=20), buy("early", SHARE, 9_00, SPOUSE)),
        (SOLD - timedelta(days=10), buy("late", SHARE, 9_00)),
        (SOLD, sell("old", SHARE, 10_00, 8_00)),
        (SOLD + timedelta(days=5), sell("old", SHARE, 10_00, 7_00)),
    )

    assert [p.added_cents for p in books.positions()] == [2_00, 3_00]  # early, late
    assert [m.bought_first for m in books.matches] == [True, True]


def test_the_earliest_sale_is_replaced_first() -> None:
    books = lived(
        (OLD, buy("old", 2 * SHARE, 20_00)),
        (SOLD, sell("old", SHARE, 10_00, 9_00)),
        (SOLD + timedelta(days=5), sell("old", SHARE, 10_00, 5_00)),
        (SOLD + timedelta(days=6), buy("new", SHARE, 9_00)),
    )

    assert [d.deferred_cents for d in books.disposals] == [1_00, 0]


def test_shares_sold_are_not_their_own_replacement() -> None:
    books = lived(
        (SOLD - timedelta(days=3), buy("a", SHARE, 10_00)),
        (SOLD - timedelta(days=2), buy("b", SHARE, 10_00)),
        (SOLD, sell("a", SHARE, 10_00, 9_00)),
        (SOLD, sell("b", SHARE, 10_00, 9_00)),
    )

    assert books.matches == []


def test_what_is_left_of_a_fresh_lot_replaces_what_is_sold_of_it() -> None:
    books = lived(
        (SOLD - timedelta(days=3), buy("a", 3 * SHARE, 30_00)),
        (SOLD, sell("a", SHARE, 10_00, 9_00)),
    )

    assert only(books.disposals).deferred_cents == 1_00
    assert sum(p.adjusted_cents for p in books.positions()) == 21_00


def test_a_wash_sale_can_wash_again() -> None:
    # The dollar lost on "old" goes to "new", and with a second dollar to "newer".
    books = lived(
        (OLD, buy("old", SHARE, 10_00)),
        (SOLD, sell("old", SHARE, 10_00, 9_00)),
        (SOLD + timedelta(days=5), buy("new", SHARE, 9_00)),
        (SOLD + timedelta(days=40), sell("new", SHARE, 9_00, 8_00)),
        (SOLD + timedelta(days=50), buy("newer", SHARE, 8_00)),
    )

    (newer,) = books.positions()
    assert newer.adjusted_cents == 10_00
    assert newer.held_from == SOLD + timedelta(days=50) - (SOLD - OLD) - timedelta(days=35)
    assert [d.recognised_cents for d in books.disposals] == [0, 0]


def test_a_gain_is_never_a_wash_sale_and_sales_of_an_ira_are_no_sales() -> None:
    books = lived(
        (OLD, buy("old", SHARE, 10_00)),
        (OLD, buy("ira", SHARE, 10_00, IRA)),
        (SOLD, sell("old", SHARE, 10_00, 10_00)),
        (SOLD, sell("ira", SHARE, 10_00, 1_00)),
        (SOLD + timedelta(days=1), buy("new", SHARE, 9_00)),
    )

    assert len(books.disposals) == 1
    assert books.matches == []


def test_a_split_between_sale_and_purchase_scales_what_waits() -> None:
    # 10 shares lose $20.00, then split 2:1: buying 5 of the new shares replaces a quarter.
    books = lived(
        (OLD, buy("old", 11 * SHARE, 110_00)),
        (SOLD, sell("old", 10 * SHARE, 100_00, 80_00)),
        (SOLD + timedelta(days=3), Rescale(LotId("old"), 2 * SHARE)),
        (SOLD + timedelta(days=3), Succession(NAME, NAME, 2, 1)),
        (SOLD + timedelta(days=4), buy("new", 5 * SHARE, 20_00)),
    )

    assert only(books.disposals).deferred_cents == 5_00
    assert [p.nanos for p in lot_of(books, "old")] == [2 * SHARE]


def test_a_mergers_successor_replaces_what_was_sold_before_it() -> None:
    heir = SecurityId(8)
    on = SOLD + timedelta(days=3)

    books = lived(
        (OLD, buy("old", 2 * SHARE, 20_00)),
        (SOLD, sell("old", SHARE, 10_00, 8_00)),
        (on, Move(LotId("old"), LotId("heir"), heir, 3 * SHARE, 10_00, leaving=True)),
        (on, Succession(NAME, heir, 3, 1)),
        (on + timedelta(days=1), Purchase(ME, heir, LotId("new"), 3 * SHARE, 9_00)),
    )

    heirs = {p.lot_id: (p.bought_on, p.nanos, p.adjusted_cents) for p in books.positions()}
    assert heirs == {
        "heir": (OLD, 3 * SHARE, 10_00),
        "new": (on + timedelta(days=1), 3 * SHARE, 11_00),
    }
    assert only(books.disposals).elsewhere_cents == 2_00  # another CUSIP: no broker tells


def test_a_spun_off_share_is_not_bought() -> None:
    child = SecurityId(9)

    books = lived(
        (SOLD, buy("parent", SHARE, 10_00)),
        (SOLD, Move(LotId("parent"), LotId("child"), child, SHARE, 4_00, leaving=False)),
    )

    assert [(f.lot_id, f.security_id) for f in books.fresh(SOLD)] == [("parent", NAME)]
    assert {p.lot_id: p.basis_cents for p in books.positions()} == {"parent": 6_00, "child": 4_00}


def test_bans_name_the_first_day_a_name_may_be_bought_again() -> None:
    books = lived(
        (OLD, buy("old", 2 * SHARE, 20_00)),
        (SOLD, sell("old", SHARE, 10_00, 9_00)),
    )
    last = SOLD + timedelta(days=30)

    assert books.bans(SOLD) == {NAME: last + timedelta(days=1)}
    assert books.bans(last) == {NAME: last + timedelta(days=1)}
    assert books.bans(last + timedelta(days=1)) == {}


def test_what_does_not_fit_is_refused() -> None:
    cases: list[tuple[list[Event], str]] = [
        ([sell("nobody", 1, 0, 0)], "not held"),
        ([buy("a", -1, 0)], "negative"),
        ([buy("a", 1, 1), buy("a", 1, 1)], "already"),
        ([buy("a", 1, 1, AccountId("stranger"))], "household"),
        ([buy("a", 1, 1), sell("a", 2, 1, 0)], "does not hold"),
        ([buy("a", 2, 1), sell("a", 0, 1, 0)], "nothing"),
        ([buy("a", 1, 1), sell("a", 1, 0, 0)], "leaves a basis"),
        ([buy("a", 1, 1), Rescale(LotId("a"), -1)], "negative"),
        ([Succession(NAME, NAME, 0, 1)], "ratio"),
        ([buy("a", 1, 1), Move(LotId("a"), LotId("b"), NAME, 1, 2, leaving=True)], "lacks"),
    ]
    for events, message in cases:
        with pytest.raises(ValueError, match=message):
            Books(KINDS).apply(SOLD, events)
