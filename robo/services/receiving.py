"""Positions from other firms: the broker is asked, and what it has received is booked, once.

The border's three steps. The customer's confirmation wrote the intention; the broker is told with
no transaction open; what it received becomes transfers, lots and arrivals in one transaction.

Shares arrive while we ask, and we ask only after the day's corporate actions. What arrived before
a crash is booked before the next day's actions: so nobody is entitled twice, or not at all.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.ids import AccountId, FirmId, SecurityId, child_id
from robo.ledger import recipes
from robo.ledger.entries import Transfer
from robo.ports.broker import AccountModel, Broker
from robo.ports.in_kind import InKind, MoveInRequest, MoveInState, SharesIn
from robo.ports.terms import Group
from robo.services.isolating import Blame
from robo.services.mailing import payload
from robo.store import accounts, arrivals, controls, events, ledger, lot_history, lots, universe
from robo.store.arrivals import Arrival, MoveIn, MoveInLot
from robo.store.database import Database
from robo.store.keyring import Keyring

_JOB: Final = "receive-positions"


def in_kind(broker: Broker) -> InKind:
    """Return the broker as one that receives positions; its capabilities say that it is."""
    assert Group.IN_KIND in broker.capabilities.groups
    return broker  # type: ignore[return-value] # the group says that it has these methods


def ask(db: Database, keyring: Keyring, broker: Broker, clock: Clock) -> int:
    """Ask for everything that was confirmed, book what has come; return how many ended.

    Runs after the day's corporate actions; twice changes nothing.
    """
    return _each(db, broker, clock, lambda one: _ask(db, keyring, broker, clock, one))


def book(db: Database, keyring: Keyring, broker: Broker, clock: Clock) -> int:
    """Book what had come before a crash; asks for nothing. Runs before a day's actions."""
    return _each(db, broker, clock, lambda one: _heard(db, keyring, broker, clock, one))


def _each(db: Database, broker: Broker, clock: Clock, do: Callable[[MoveIn], int]) -> int:
    if Group.IN_KIND not in broker.capabilities.groups:
        return 0
    blame = Blame[MoveIn](db, clock, _JOB, lambda one: one.account_id)
    ended, after = 0, ""
    while True:
        with db.read() as session:
            page = arrivals.requested(session, after)
        if not page:
            return ended
        ended += blame.each(page, do)
        after = page[-1].id


def _ask(db: Database, keyring: Keyring, broker: Broker, clock: Clock, one: MoveIn) -> int:
    with db.read() as session:
        lots_in = arrivals.lots_of(session, one.id)
        place, code = _place(session, broker, one, lots_in)
        symbols = universe.by_id(session, sorted({lot.security_id for lot in lots_in}))
    if in_kind(broker).moved_in(one.id) is None:
        if code:
            return _refuse(db, clock, one, code)
        if not place:
            return 0  # the account is not open at the broker yet
    total: dict[int, int] = {}
    for lot in lots_in:
        total[lot.security_id] = total.get(lot.security_id, 0) + lot.nanos
    positions = [
        SharesIn(SecurityId(i), symbols[SecurityId(i)].symbol, nanos)
        for i, nanos in sorted(total.items())
    ]
    in_kind(broker).move_in(MoveInRequest(one.id, place, positions))
    return _heard(db, keyring, broker, clock, one)


def _heard(db: Database, keyring: Keyring, broker: Broker, clock: Clock, one: MoveIn) -> int:
    """Book what the broker says of a transfer; return whether it has ended."""
    found = in_kind(broker).moved_in(one.id)
    if found is None or found.state is MoveInState.PENDING:
        return 0
    if found.state is MoveInState.REFUSED:
        return _refuse(db, clock, one, found.code)
    assert found.on is not None, "what was received has a day"
    with db.write() as session:
        now = arrivals.find(session, one.id)
        if now is None or now.state != "requested":
            return 0
        _book(session, keyring, now, found.on, to_micros(clock.now()))
    return 1


def _place(
    session: Session, broker: Broker, one: MoveIn, lots_in: Sequence[MoveInLot]
) -> tuple[str, str]:
    """Return the account at the broker that it goes to, and why it cannot go there any more."""
    owner = accounts.sleeves(session, [one.account_id]).get(one.account_id)
    if owner is None or owner.state != "open":
        return "", "account_not_open"
    code = "stale_positions" if stale(session, one, lots_in) else ""
    if broker.capabilities.account_model is AccountModel.OMNIBUS:
        return f"omnibus/{owner.firm_id}", code
    return controls.broker_accounts(session, [one.account_id]).get(one.account_id, ""), code


def stale(session: Session, one: MoveIn, lots_in: Sequence[MoveInLot]) -> bool:
    """Return whether a corporate action has changed the shares since a file was made."""
    since = business_date(from_micros(one.created_at)).isoformat()
    ids = sorted({lot.security_id for lot in lots_in})
    gone = universe.gone(session)
    acted = any(action.ex_on > since for action in lot_history.actions_of(session, ids))
    return acted or any(i in gone for i in ids)


def _refuse(db: Database, clock: Clock, one: MoveIn, code: str) -> int:
    at_micros = to_micros(clock.now())
    with db.write() as session:
        now = arrivals.find(session, one.id)
        if now is None or now.state != "requested":
            return 0
        arrivals.change(session, one.id, "refused", at_micros=at_micros, code=code)
        _tell(session, one, "move_in.refused", at_micros, code=code)
    return 1


def _book(session: Session, keyring: Keyring, one: MoveIn, on: date, at_micros: int) -> None:
    """Write what arrived: shares, lots with the dates of their purchase, chained rows."""
    made = [_arrival(one, lot, on) for lot in arrivals.lots_of(session, one.id)]
    transfers: list[Transfer] = []
    for arrival in made:
        security = SecurityId(arrival.security_id)
        transfers += recipes.arrive(one.account_id, security, arrival.nanos, arrival.id)
    opened = [_opened(arrival) for arrival in made]
    also = [*(arrival.link() for arrival in made), *(event.link() for event in opened)]
    owner = accounts.sleeves(session, [one.account_id])[one.account_id]
    firm_id = FirmId(owner.firm_id)
    ledger.post(session, keyring.chain, transfers, firm_id, at_micros, also=also)
    bought = {arrival.lot_id: arrival.acquired_on for arrival in made}
    lots.apply_events(session, opened, None, bought)
    arrivals.change(session, one.id, "received", at_micros=at_micros, received_on=on.isoformat())
    _tell(session, one, "move_in.received", at_micros, lots=len(made), on=on.isoformat())


def _arrival(one: MoveIn, lot: MoveInLot, on: date) -> Arrival:
    arrival_id = child_id("arr", one.id, lot.place)
    return Arrival(
        id=arrival_id,
        move_in_id=one.id,
        account_id=AccountId(one.account_id),
        lot_id=child_id("lot", arrival_id),
        security_id=lot.security_id,
        nanos=lot.nanos,
        basis_cents=lot.basis_cents,
        acquired_on=lot.acquired_on,
        on_date=on.isoformat(),
    )


def _opened(arrival: Arrival) -> lots.LotEvent:
    return lots.LotEvent(
        id=child_id("lev", arrival.id, "open"),
        lot_id=arrival.lot_id,
        account_id=arrival.account_id,
        security_id=arrival.security_id,
        kind="open",
        nanos_delta=arrival.nanos,
        basis_delta_cents=arrival.basis_cents,
        proceeds_cents=0,
        cause=arrival.id,
        on_date=arrival.on_date,
    )


def _tell(session: Session, one: MoveIn, kind: str, at_micros: int, **detail: object) -> None:
    owner = accounts.sleeves(session, [one.account_id]).get(one.account_id)
    firm_id = owner.firm_id if owner else ""
    told = events.NewEvent(firm_id, kind, one.id, payload(**detail), account_id=one.account_id)
    events.emit(session, [told], at_micros)
