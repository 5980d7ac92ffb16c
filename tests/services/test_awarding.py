"""A parked corporate action that a person books by hand: as it came, once, all of it or nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from acting import NEW, SHARE, basis, firms_own, holders, late_fill, lots_of, publish
from desk import Desk, breaking, broker_equals_books, desk_from, write_template

from robo.core.errors import RefusedError, RoboError
from robo.core.ids import AccountId, SecurityId
from robo.ports.broker import AccountModel, Activity, Position, Side
from robo.ports.prices import ActionKind
from robo.services import adjusting, awarding, dividing, partaking, reconciling
from robo.services.awarding import Terms
from robo.services.dividing import Part
from robo.services.resolving import Word
from robo.store import ledger, lots
from robo.store.database import insert_many

WORD = Word("the broker's statement says so", "op")
SPLIT: dict[str, Any] = {"ratio_num": 2, "ratio_den": 1}
SPUN: dict[str, Any] = {
    "ratio_num": 1,
    "ratio_den": 4,
    "new_security_id": NEW,
    "basis_ppm": 200_000,
}
MERGED: dict[str, Any] = {"ratio_num": 3, "ratio_den": 8, "new_security_id": NEW}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("awarding") / "template.db"
    return write_template(path, "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def park(
    desk: Desk, kind: ActionKind, more: dict[str, Any], nanos: tuple[int, ...], **came: Any
) -> list[AccountId]:
    """Return holders of an action that the broker says it divided otherwise than they held."""
    accounts = holders(desk, "firm_a", list(nanos))
    told = publish(desk, kind, **more, **came)
    desk.broker.brought = [replace(one, nanos_before=one.nanos_before + 7) for one in told]
    desk.adjust()
    assert {desk.held(one).holdings_nanos.get(1) for one in accounts} == set(nanos)
    return accounts


def named(desk: Desk) -> str:
    (found,) = desk.column("SELECT id FROM recon_break WHERE subject = 'activity'")
    return str(found)


def award(desk: Desk, terms: Terms, break_id: str = "") -> awarding.Parked:
    return awarding.award(
        desk.db, desk.keyring, desk.broker, desk.clock, break_id or named(desk), terms, WORD
    )


def waiting(desk: Desk) -> list[awarding.Parked]:
    with desk.db.read() as session:
        return awarding.parked(session)


@pytest.mark.parametrize("cleared", [False, True])
def test_a_parked_split_is_booked_in_the_terms_that_a_person_gives(
    desk: Desk, *, cleared: bool
) -> None:
    accounts = park(desk, ActionKind.SPLIT, SPLIT, (10 * SHARE, 333_333_333))
    before = [basis(desk, one) for one in accounts]
    (shown,) = waiting(desk)
    if cleared:
        reconciling.clear(desk.db, desk.keyring, desk.clock, named(desk), "looked", actor="op")

    award(desk, Terms(ratio=(2, 1)))

    assert (shown.held, len(shown.waiting), shown.kind) == (10_333_333_333, 2, ActionKind.SPLIT)
    held = [desk.held(one).holdings_nanos for one in accounts]
    assert held == [{1: 20 * SHARE}, {1: 666_666_666}]
    assert [basis(desk, one) for one in accounts] == before
    assert desk.column("SELECT state FROM recon_break") == ["cleared" if cleared else "repaired"]
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    assert desk.column("SELECT action FROM audit WHERE action LIKE 'action.%'") == [
        "action.awarded"
    ]
    assert (waiting(desk), desk.findings()) == ([], [])
    broker_equals_books(desk, "firm_a")


@pytest.mark.parametrize(
    ("kind", "more", "came", "terms", "after"),
    [
        (
            ActionKind.SPIN_OFF,
            SPUN,
            {"new_nanos": 2 * SHARE, "cents": 5_00},
            Terms(nanos=2 * SHARE),
            ({1: 8 * SHARE, NEW: 1_600_000_000}, 4_00),
        ),
        (
            ActionKind.SPIN_OFF,
            SPUN,
            {"new_nanos": 0, "cents": 25_00},
            Terms(nanos=0),
            ({1: 8 * SHARE}, 20_00),
        ),
        (
            ActionKind.STOCK_MERGER,
            MERGED,
            {"cents": 10},
            Terms(ratio=(3, 8)),
            ({NEW: 3 * SHARE}, 8),
        ),
    ],
)
def test_what_came_of_a_spin_off_or_a_merger_is_divided_by_what_was_held(
    desk: Desk,
    kind: ActionKind,
    more: dict[str, Any],
    came: dict[str, int],
    terms: Terms,
    after: tuple[dict[int, int], int],
) -> None:
    (first, second) = park(desk, kind, more, (8 * SHARE, 2 * SHARE), **came)
    before = basis(desk, first)

    award(desk, terms)

    held = desk.held(first)
    assert (held.holdings_nanos, held.cash_cents) == after
    assert desk.held(second).cash_cents * 4 == held.cash_cents
    moved = before if kind is ActionKind.STOCK_MERGER else before // 5
    sold = desk.rows("SELECT -sum(basis_delta_cents) FROM lot_event WHERE kind = 'close'")
    gone = 0 if after[0].get(NEW) else moved + basis(desk, second) // 4
    assert (basis(desk, first), basis(desk, first, NEW)) == (
        before - moved,
        moved if after[0].get(NEW) else 0,
    )
    assert sold == [(gone or None,)]
    assert (waiting(desk), desk.findings()) == ([], [])


def test_what_the_firm_holds_for_itself_takes_part_and_the_firm_may_take_other_cash(
    desk: Desk,
) -> None:
    (account,) = holders(desk, "firm_a", [10 * SHARE])
    late_fill(desk, Side.BUY)
    told = publish(desk, ActionKind.SPLIT, **SPLIT, cents=10)
    desk.broker.brought = [replace(one, nanos_before=5) for one in told]
    desk.adjust()
    own = firms_own(desk, "firm_a")["S1/9"]
    whole = sum(int(str(n)) for n in desk.column("SELECT nanos FROM entitlement")) + own

    award(desk, Terms(nanos=whole, cents=24, firm_takes_rest=True))

    assert desk.held(account).holdings_nanos == {1: 20 * SHARE}
    assert firms_own(desk, "firm_a")["S1/9"] == 2 * own
    paid = desk.scalar(
        "SELECT coalesce(sum(amount), 0) FROM balance WHERE asset = 'USD/2' AND "
        "book LIKE 'firm/firm_a/rounding'"
    )
    assert paid == -14
    assert desk.held(account).cash_cents == 20
    assert desk.findings() == []
    broker_equals_books(desk, "firm_a")


def test_a_dividend_that_waits_is_paid_by_what_a_person_says_that_the_firm_held(desk: Desk) -> None:
    (account,) = holders(desk, "firm_a", [10 * SHARE])
    late_fill(desk, Side.BUY)
    (told,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.brought = [replace(told, cents=14_00, nanos_before=14 * SHARE)]
    desk.adjust()
    own, late = firms_own(desk, "firm_a"), SHARE
    codes = []

    for terms in (Terms(ratio=(1, 1)), Terms(own_nanos=-11 * SHARE)):
        with pytest.raises(RoboError) as refused:
            award(desk, terms)
        codes.append(refused.value.code)
    award(desk, Terms(own_nanos=3 * SHARE))

    assert codes == ["terms_unfit", "terms_unfit"]
    assert desk.held(account).cash_cents == 10_00
    assert firms_own(desk, "firm_a") == {"S1/9": late, "USD/2": own["USD/2"] + 3_00}
    assert (waiting(desk), desk.findings()) == ([], [])
    assert desk.column("SELECT state FROM recon_break") == ["repaired"]


def holder_apart(desk: Desk, nanos: int) -> AccountId:
    """Return one who holds shares of security 1 in an account of its own at the broker."""
    desk.broker.can = {"account_model": AccountModel.SEGREGATED}
    (holder,) = desk.open("firm_a", 1, "apart")
    with desk.db.write() as session:
        names = ("account_id", "broker", "reference", "opened_at")
        insert_many(session, "broker_account", names, [(holder, "scripted", "acc-0", 1)])
    desk.fund({holder: 10_00}, "apart")
    desk.broker.fill(desk.buy({holder: 10_00}), nanos, 10_00)
    desk.collect()
    return holder


@pytest.mark.parametrize("apart", [False, True], ids=["shared", "apart"])
@pytest.mark.parametrize(
    ("kind", "more", "terms", "after"),
    [
        (ActionKind.SPLIT, {**SPLIT, "cents": 12}, Terms(ratio=(2, 1)), ({1: 4 * SHARE}, 4)),
        (ActionKind.CASH_MERGER, {"cash_micros": 5_000_000}, Terms(), ({}, 10_00)),
        (ActionKind.CASH_DIVIDEND, {"cash_micros": 500_000}, Terms(), ({1: 2 * SHARE}, 1_00)),
    ],
)
def test_who_was_left_out_of_an_action_gets_it_by_hand_and_stops_nobody_else_meanwhile(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    kind: ActionKind,
    more: dict[str, Any],
    terms: Terms,
    after: tuple[dict[int, int], int],
    *,
    apart: bool,
) -> None:
    left = holder_apart(desk, 2 * SHARE) if apart else holders(desk, "firm_a", [2 * SHARE] * 3)[0]
    (told,) = publish(desk, kind, **more)
    if apart:
        desk.broker.brought = [
            replace(told, cents=after[1], broker_account="acc-0"),
        ]
    book = dividing.book

    def stumble(activity: Activity, action: Any, part: Part, mine: Any) -> dividing.Booked:
        if part.account_id == left:
            raise KeyError(left)
        return book(activity, action, part, mine)

    with monkeypatch.context() as patched:
        patched.setattr(dividing, "book", stumble)
        desk.adjust()
    (shown,) = waiting(desk)
    stops = desk.scalar("SELECT blocks FROM recon_break WHERE subject = 'activity'")
    award(desk, terms)

    assert shown.waiting == {left}
    assert stops == int(apart and kind is not ActionKind.CASH_DIVIDEND)
    held = desk.held(left)
    assert (held.holdings_nanos, held.cash_cents + held.unsettled_cents) == after
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    assert (waiting(desk), desk.findings()) == ([], [])


REFUSED: list[tuple[Terms, str]] = [
    (Terms(), "terms_unfit"),
    (Terms(ratio=(2, 1), nanos=1), "terms_unfit"),
    (Terms(ratio=(0, 1)), "terms_unfit"),
    (Terms(ratio=(2, -1)), "terms_unfit"),
    (Terms(ratio=(10**9, 1)), "terms_unfit"),
    (Terms(ratio=(1, 1)), "terms_unfit"),
    (Terms(nanos=-10 * SHARE - 1), "terms_unfit"),
    (Terms(ratio=(2, 1), cents=-1), "terms_unfit"),
    (Terms(ratio=(2, 1), cents=10**17), "terms_unfit"),
    (Terms(ratio=(2, 1), new_security_id=2), "terms_unfit"),
    (Terms(ratio=(2, 1), basis_ppm=1), "terms_unfit"),
    (Terms(ratio=(2, 1), cents=1), "cash_differs"),
    (Terms(ratio=(3, 1)), "position_differs"),
    (Terms(nanos=10 * SHARE - 1), "position_differs"),
]


def test_terms_that_are_of_no_sense_or_not_as_the_broker_has_it_book_nothing(desk: Desk) -> None:
    (account,) = park(desk, ActionKind.SPLIT, SPLIT, (10 * SHARE,))
    codes = []

    for terms, _ in REFUSED:
        with pytest.raises(RoboError) as refused:
            award(desk, terms)
        codes.append(refused.value.code)

    assert codes == [code for _, code in REFUSED]
    assert desk.held(account).holdings_nanos == {1: 10 * SHARE}
    assert (len(waiting(desk)), desk.findings()) == (1, [])


@pytest.mark.parametrize("new_id", [1, 5_000, None])
def test_what_comes_of_a_spin_off_must_be_another_security_of_our_list(
    desk: Desk, new_id: int | None
) -> None:
    park(desk, ActionKind.SPIN_OFF, SPUN if new_id else {**SPUN, "new_security_id": 5}, (SHARE,))
    desk.broker.brought[:] = [replace(one, new_security_id=None) for one in desk.broker.brought]

    with pytest.raises(RoboError) as refused:
        award(desk, Terms(ratio=(1, 4), new_security_id=new_id, basis_ppm=10**6 + (not new_id)))

    assert refused.value.code == "terms_unfit"


def test_twice_books_once_and_nothing_parked_books_nothing(desk: Desk) -> None:
    (account,) = park(desk, ActionKind.SPLIT, SPLIT, (10 * SHARE,))
    award(desk, Terms(ratio=(2, 1)))
    codes = []

    for given in ("", "brk_none"):
        with pytest.raises(RoboError) as refused:
            award(desk, Terms(ratio=(2, 1)), given)
        codes.append(refused.value.code)
    desk.broker.brought += [replace(one, id="again") for one in desk.broker.brought]
    adjusting.bring(desk.db, desk.keyring, desk.broker, desk.clock, desk.policy, desk.today())

    assert codes == ["already_booked", "not_parked"]
    assert desk.held(account).holdings_nanos == {1: 20 * SHARE}
    assert desk.findings() == []


def test_positions_may_differ_if_a_person_says_so_and_a_name_on_its_way_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = park(desk, ActionKind.SPLIT, SPLIT, (10 * SHARE,))
    real = desk.broker.mass_status
    monkeypatch.setattr(
        desk.broker,
        "mass_status",
        lambda where: replace(
            real(where), positions=[Position(NEW, 1)], moving=frozenset({SecurityId(1)})
        ),
    )

    with pytest.raises(RoboError) as refused:
        award(desk, Terms(ratio=(2, 1)))
    award(desk, Terms(ratio=(2, 1), despite_positions=True))

    assert refused.value.code == "still_moving"
    assert desk.held(account).holdings_nanos == {1: 20 * SHARE}


@pytest.mark.parametrize("why", ["crash", "unfit"])
def test_what_cannot_be_booked_for_one_is_booked_for_nobody(
    desk: Desk, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = park(desk, ActionKind.SPIN_OFF, SPUN, (8 * SHARE, 4 * SHARE))
    if why == "crash":
        monkeypatch.setattr(lots, "fulfil", breaking(lots.fulfil, 1, ArithmeticError()))
    else:
        reconciling.clear(desk.db, desk.keyring, desk.clock, named(desk), "looked", actor="op")
        desk.broker.fill_at(desk.sell({second: SHARE}), 10_000_000)
        desk.collect()

    with pytest.raises((ArithmeticError, RefusedError)):
        award(desk, Terms(ratio=(1, 4)))
    monkeypatch.undo()

    assert desk.held(first) == ledger.AccountBalances(0, 0, 0, 0, {1: 8 * SHARE})
    assert lots_of(desk, first, NEW) == []
    assert (len(waiting(desk)), desk.findings()) == (1, [])


def test_a_sale_that_waited_for_a_parked_split_is_booked_in_new_shares_once_that_is(
    desk: Desk,
) -> None:
    (account,) = holders(desk, "firm_a", [10 * SHARE])
    block = desk.sell({account: 2 * SHARE})
    told = publish(desk, ActionKind.SPLIT, **SPLIT)
    desk.broker.brought = [replace(one, nanos_before=5) for one in told]
    desk.adjust()
    desk.broker.at = desk.clock.now()
    desk.broker.fill_at(block, 5_000_000)
    desk.collect()
    before = desk.held(account).holdings_nanos

    award(desk, Terms(ratio=(2, 1)))
    desk.collect()

    assert before == {1: 10 * SHARE}
    assert desk.held(account).holdings_nanos == {1: 18 * SHARE}
    assert (basis(desk, account), desk.held(account).unsettled_cents) == (90_00, 10_00)
    assert desk.findings() == []
    broker_equals_books(desk, "firm_a")


def test_what_a_person_books_while_the_broker_tells_it_again_is_booked_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = park(desk, ActionKind.SPLIT, SPLIT, (10 * SHARE,))
    again = [replace(one, id="again", nanos_before=10 * SHARE) for one in desk.broker.brought]
    desk.broker.brought += again
    real = partaking.take

    def meanwhile(*args: Any) -> None:
        award(desk, Terms(ratio=(2, 1), despite_positions=True))
        real(*args)

    monkeypatch.setattr(partaking, "take", meanwhile)
    adjusting.bring(desk.db, desk.keyring, desk.broker, desk.clock, desk.policy, desk.today())

    assert desk.held(account).holdings_nanos == {1: 20 * SHARE}
    assert desk.scalar("SELECT count(*) FROM event WHERE kind = 'action.applied'") == 1
    assert desk.findings() == []
