"""What is booked and imported, as tax events: small cases by hand."""

import json
from datetime import date

import pytest

from robo.core.ids import AccountId, LotId, SecurityId, child_id
from robo.services.washing import streams
from robo.store.lot_history import Action
from robo.store.lots import LotEvent
from robo.store.outside_trades import OutsideTrade
from robo.tax.wash_events import AccountKind, Move, Purchase, Rescale, Sale, Succession
from robo.tax.wash_sales import Books
from robo.tax.wash_unions import join, part

ME, SPOUSE = AccountId("me"), AccountId("spouse")
X = SecurityId(7)


def row(
    number: int,
    lot: str,
    kind: str,
    nanos: int,
    basis: int,
    on: str,
    *,
    proceeds: int = 0,
    cause: str = "",
    name: int = 7,
) -> LotEvent:
    cause = cause or f"fil_{number}"
    return LotEvent(f"lev_{number}", lot, ME, name, kind, nanos, basis, proceeds, cause, on)


def action(kind: str, on: str, **detail: object) -> Action:
    whole = {"ratio_num": 1, "ratio_den": 1, "new_security_id": None, "basis_ppm": 0, **detail}
    return Action(f"ca_{kind}_{on}", kind, 7, on, json.dumps(whole))


def trade(number: int, kind: str, on: str, nanos: int, cents: int, lot: str = "") -> OutsideTrade:
    return OutsideTrade(
        f"otr_{number}", "out", "imp", number, kind, on, 7, nanos, cents, lot or None
    )


def test_purchases_sales_and_splits_keep_their_days() -> None:
    found = streams.booked(
        ME,
        [
            row(1, "a", "open", 10, 1000, "2026-01-05"),
            row(2, "a", "close", -4, -400, "2026-01-06", proceeds=300),
            row(3, "a", "split", 6, 0, "2026-01-07", cause="act_1"),
        ],
    )

    assert found == [
        (date(2026, 1, 5), Purchase(ME, X, LotId("a"), 10, 1000)),
        (date(2026, 1, 6), Sale("fil_2", LotId("a"), 4, 400, 300)),
        (date(2026, 1, 7), Rescale(LotId("a"), 12)),
    ]


def test_a_merger_moves_lots_and_a_spin_off_leaves_them() -> None:
    merged = child_id("lot", "act_1", "a")
    spun = child_id("lot", "act_2", merged)

    found = streams.booked(
        ME,
        [
            row(1, "a", "open", 10, 1000, "2026-01-05"),
            row(2, "a", "merge", -10, -1000, "2026-02-02", cause="act_1"),
            row(3, merged, "open", 5, 1000, "2026-02-02", cause="act_1", name=8),
            # A spin-off that takes no basis along says nothing of the old lot.
            row(4, spun, "open", 1, 0, "2026-03-02", cause="act_2", name=9),
        ],
    )

    assert [event for _, event in found[1:]] == [
        Move(LotId("a"), LotId(merged), SecurityId(8), 5, 1000, leaving=True),
        Move(LotId(merged), LotId(spun), SecurityId(9), 1, 0, leaving=False),
    ]


def test_what_is_booked_late_counts_after_what_was_booked_before() -> None:
    found = streams.booked(
        ME,
        [
            row(1, "a", "open", 10, 1000, "2026-01-09"),
            row(2, "a", "split", 10, 0, "2026-01-08", cause="act_1"),
        ],
    )

    assert [on for on, _ in found] == [date(2026, 1, 9)] * 2


def test_executions_taken_back_never_happened() -> None:
    found = streams.booked(
        ME,
        [
            row(1, "a", "open", 10, 1000, "2026-01-05"),
            row(2, "b", "open", 3, 330, "2026-01-05"),
            row(3, "a", "close", -4, -400, "2026-01-06", proceeds=300),
            row(4, "b", "close", -3, -330, "2026-01-07", proceeds=330, cause="und_1"),
            row(5, "a", "close", 4, 400, "2026-01-06", proceeds=-300, cause="und_2"),
        ],
    )

    assert found == [(date(2026, 1, 5), Purchase(ME, X, LotId("a"), 10, 1000))]


def test_taking_back_what_never_happened_is_told() -> None:
    with pytest.raises(ValueError, match="takes back nothing"):
        streams.happened([row(5, "a", "close", 4, 400, "2026-01-06", proceeds=-300, cause="und_2")])


def test_outside_sales_take_the_oldest_or_the_lot_they_name() -> None:
    found = streams.outside(
        [
            trade(1, "lot", "2024-01-02", 10, 1000),
            trade(2, "buy", "2025-01-02", 10, 2000),
            trade(3, "sell", "2026-01-05", 4, 600),
            trade(4, "sell", "2026-01-06", 4, 600, "2025-01-02"),
            trade(5, "sell", "2026-01-07", 100, 1000),
        ],
        [],
    )

    sales = [event for _, event in found if isinstance(event, Sale)]
    assert [(s.lot_id, s.nanos, s.basis_cents, s.proceeds_cents) for s in sales] == [
        ("otr_1", 4, 400, 600),
        ("otr_2", 4, 800, 600),
        # More than there is: 12 are left, and bring 12 / 100 of what was told.
        ("otr_1", 6, 600, 60),
        ("otr_2", 6, 1200, 60),
    ]


def test_outside_lots_follow_splits_and_mergers() -> None:
    actions = [
        action("split", "2026-02-02", ratio_num=3, ratio_den=2),
        action("stock_merger", "2026-03-02", ratio_num=1, ratio_den=3, new_security_id=8),
    ]

    found = streams.outside([trade(1, "buy", "2026-01-05", 10, 1000)], actions)

    assert found[1][1] == Rescale(LotId("otr_1"), 15)
    moved = found[2][1]
    assert isinstance(moved, Move)
    assert (moved.security_id, moved.nanos, moved.basis_cents, moved.leaving) == (8, 5, 1000, True)
    assert streams.successions(actions) == [
        (date(2026, 2, 2), Succession(X, X, 3, 2)),
        (date(2026, 3, 2), Succession(X, SecurityId(8), 1, 3)),
    ]


def books(account: AccountId) -> Books:
    return Books({account: AccountKind.TAXABLE})


def lost(account: AccountId, lot: str, on: date) -> Books:
    """Somebody who bought in January and sold on a day for half: 10 shares, a loss of 500."""
    made = books(account)
    made.apply(date(2026, 1, 5), [Purchase(account, X, LotId(lot), 10, 1000)])
    made.apply(on, [Sale(f"sale-{lot}", LotId(lot), 10, 1000, 500)])
    return made


def test_a_spouse_who_buys_after_the_wedding_takes_the_loss_on() -> None:
    both = join(lost(ME, "a", date(2026, 3, 2)), books(SPOUSE))

    both.apply(date(2026, 3, 20), [Purchase(SPOUSE, X, LotId("b"), 4, 240)])

    (sold,) = both.disposals
    assert (sold.deferred_cents, sold.elsewhere_cents) == (200, 200)
    assert sum(position.added_cents for position in both.positions()) == 200
    assert both.bans(date(2026, 3, 20)) == {X: date(2026, 4, 2)}


def test_joined_books_keep_each_ones_sales_apart() -> None:
    both = join(lost(ME, "a", date(2026, 3, 2)), lost(SPOUSE, "b", date(2026, 3, 3)))

    both.apply(date(2026, 3, 20), [Purchase(ME, X, LotId("c"), 14, 700)])

    # The earlier sale first: all ten of mine, then four of the spouse's.
    assert [(d.account_id, d.deferred_cents) for d in both.disposals] == [(ME, 500), (SPOUSE, 200)]
    assert [both.disposals[m.disposal].account_id for m in both.matches] == [ME, SPOUSE]


def test_after_parting_neither_replaces_what_the_other_sold() -> None:
    both = join(lost(ME, "a", date(2026, 3, 2)), books(SPOUSE))
    mine, theirs = part(both, [ME]), part(both, [SPOUSE])

    theirs.apply(date(2026, 3, 20), [Purchase(SPOUSE, X, LotId("b"), 4, 240)])
    mine.apply(date(2026, 3, 21), [Purchase(ME, X, LotId("c"), 3, 150)])

    assert theirs.disposals == []
    assert theirs.matches == []
    assert [d.deferred_cents for d in mine.disposals] == [150]
    assert mine.bans(date(2026, 3, 21)) == {X: date(2026, 4, 2)}


def test_what_was_added_before_parting_stays_with_the_shares() -> None:
    both = join(lost(ME, "a", date(2026, 3, 2)), books(SPOUSE))
    both.apply(date(2026, 3, 20), [Purchase(SPOUSE, X, LotId("b"), 10, 600)])

    mine, theirs = part(both, [ME]), part(both, [SPOUSE])

    assert [d.deferred_cents for d in mine.disposals] == [500]
    assert [p.adjusted_cents for p in theirs.positions()] == [1100]
    assert mine.bans(date(2026, 3, 20)) == {}


def test_nobody_is_joined_with_themselves() -> None:
    with pytest.raises(ValueError, match="both households"):
        join(books(ME), books(ME))
