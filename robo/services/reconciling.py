"""The broker against the books: at start, every night, on demand.

Every account is compared (`comparing`); what the broker itself explains is repaired at once and
journaled: executions that we had not read are read and booked. What is left is kept as breaks with
a proposed repair. A real break stops trading in that account, or in that name of a firm's shared
account, and nowhere else, until it is gone or an operator clears it.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError, NotFoundError
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import AccountModel, Activity, Broker, BrokerOrder, Execution
from robo.services import booking, charging, comparing, hearing, licensing, telling, undoing
from robo.services.comparing import Place, Told
from robo.services.turns import Turns
from robo.store import activities, blocks, breaks, controls, cursors, events, firms, tellings
from robo.store.breaks import Break, KnownBreak
from robo.store.database import Database
from robo.store.keyring import Keyring

RECONCILER: Final = "reconciler"
"""The actor of what is repaired without a person."""
_ACTIVITIES: Final = "activities"
_AUTOMATIC: Final = frozenset({"collect"})
_NOTE_MAX: Final = 500
_HOUR: Final = 3_600_000_000
_ONE_BY_ONE_MAX: Final = 20
"""Orders of one account that are asked for one by one; more are looked up in the broker's list."""
_ALIVE: Final = frozenset({"intended", "open", "unknown"})


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconciliation found.

    Attributes:
        places: How many accounts at the broker were compared.
        unheard: Accounts whose broker did not answer: nothing is known of them, nothing is closed.
        found: Breaks that are open now.
        repaired: How many were mended on the way.
    """

    places: int
    unheard: tuple[str, ...]
    found: tuple[KnownBreak, ...]
    repaired: int


def reconcile(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    firm_id: str = "",
) -> Report:
    """Compare every account, or a firm's, with the broker; repair what can be, keep the rest."""
    unheard: list[str] = []
    repaired = 0
    every = [one for one in _places(db, broker) if firm_id in {"", one.firm_id}]
    for place in every:
        try:
            repaired += _one(db, keyring, broker, clock, calendar, policy, place)
        except BrokerUnavailableError:
            unheard.append(place.broker_account)
    with db.read() as session:
        found = breaks.listed(session, "open", firm_id)
    return Report(len(every), tuple(unheard), tuple(found), repaired)


def _places(db: Database, broker: Broker) -> list[Place]:
    with db.read() as session:
        if broker.capabilities.account_model is AccountModel.SEGREGATED:
            owners = controls.owners_of_broker_accounts(session)
            return [Place(reference, firm, account) for reference, firm, account in owners]
        known = dict(tellings.places(session))
        for firm_id in firms.ids(session):
            known.setdefault(f"omnibus/{firm_id}", firm_id)
        return [Place(account, firm_id) for account, firm_id in sorted(known.items())]


def _one(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    place: Place,
) -> int:
    """Compare one account; return how many breaks were repaired."""
    overdue = telling.overdue_since(calendar, clock.now(), policy)
    first = _compare(db, broker, place, overdue, policy)
    mended = [one for one in first if one.repair in _AUTOMATIC]
    left = first
    if mended:
        hearing.accept(db, keyring, broker, clock)
        turns = Turns(db, policy)
        undoing.undo(db, keyring, clock, turns)
        with db.read() as session:
            waiting = blocks.unbooked(session)
        booking.book(db, keyring, clock, waiting, turns)
        left = _compare(db, broker, place, overdue, policy)
    at_micros = to_micros(clock.now())
    with db.read() as session:
        left = [_aged(session, one, policy, at_micros) for one in left]
    there = {one.id for one in left}
    healed = [one for one in mended if one.id not in there]
    with db.write() as session:
        fresh = breaks.put(session, [*healed, *left], at_micros)
        _tell(session, "break.found", fresh, at_micros)
        for one in healed:
            _close(session, keyring, one, "repaired", RECONCILER, one.repair, at_micros)
        for old in breaks.listed(session, "open", place.firm_id, limit=100_000):
            if old.broker_account == place.broker_account and old.id not in there:
                state = "gone" if old.category in {"real", "unknown_activity"} else "repaired"
                _close(session, keyring, old, state, RECONCILER, old.repair, at_micros)
    return len(healed)


def _aged(session: Session, one: Break, policy: Policy, at_micros: int) -> Break:
    """Return a difference, as a real one if what explains it has not come for too long."""
    known = breaks.get(session, one.id)
    hours = {
        "missing_execution": policy.block_hours_max,
        "corporate_action": policy.action_days_max * 24,
    }.get(one.category)
    if known is None or known.state != "open" or hours is None:
        return one
    if at_micros - known.found_at <= hours * _HOUR:
        return one
    return replace(one, category="real", repair="ask_operator", blocks=1)


def _compare(
    db: Database, broker: Broker, place: Place, overdue_since: int, policy: Policy
) -> list[Break]:
    """Ask the broker with no transaction open, then compare in one snapshot."""
    with db.read() as session:
        mine = [
            block
            for block in blocks.in_states(session, "open")
            if block.broker_account == place.broker_account
        ]
        after = cursors.cursor(session, hearing.CURSOR)
        read = cursors.cursor(session, _ACTIVITIES)
    status = broker.mass_status(place.broker_account)
    listed = {order.client_id for order in status.open_orders}
    orders: dict[str, BrokerOrder | None] = {
        block.id: broker.find(block.id) for block in mine if block.id not in listed
    }
    executions: Sequence[Execution] = broker.executions(after).executions
    unread: Sequence[Activity] = [
        one
        for one in broker.activities(read).activities
        if one.broker_account == place.broker_account
    ]
    with db.read() as session:
        ours = blocks.many(session, sorted({one.client_id for one in executions}))
        here = [
            one
            for one in executions
            if one.client_id in ours and ours[one.client_id].broker_account == place.broker_account
        ]
        told = Told(status, here, unread, orders, overdue_since, policy.action_days_max)
        return comparing.compare(session, place, told)


def chase(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
) -> int:
    """Put orders whose executions the broker counts and does not tell among the breaks.

    Those told longer ago than `execution_minutes_max`, whether the broker calls them final or not;
    an order that needs a person is a break of its own already. Between the comparisons of two
    sessions nobody else would see them. Returns how many there are.
    """
    now = clock.now()
    at_micros, overdue = to_micros(now), telling.overdue_since(calendar, now, policy)
    late = to_micros(now - timedelta(minutes=policy.execution_minutes_max))
    mine = _working(db, late, overdue)
    shown = _shown(broker, mine)
    if any(shown[one.id].filled_nanos != one.executed_nanos for one in mine if one.id in shown):
        # They may have come since the last page was read.
        with suppress(BrokerUnavailableError):
            hearing.accept(db, keyring, broker, clock)
        mine = _working(db, late, overdue)
        shown = _shown(broker, mine)
    with db.write() as session:
        seen = [
            comparing.untold(_place(session, one), one, shown[one.id])
            for one in mine
            if one.id in shown
        ]
        found = [_aged(session, one, policy, at_micros) for one in seen if one is not None]
        _tell(session, "break.found", breaks.put(session, found, at_micros), at_micros)
        _close_told(session, keyring, {one.id for one in found}, set(shown), at_micros)
    return len(found)


def _working(db: Database, late: int, overdue: int) -> list[blocks.Block]:
    """Return open blocks that were told before an instant and need nobody yet."""
    with db.read() as session:
        return [
            one
            for one in blocks.in_states(session, "open")
            if one.told_at < late
            and not one.code.startswith("rejected:")
            and not telling.is_stuck(one, overdue)
        ]


def _shown(broker: Broker, mine: Sequence[blocks.Block]) -> dict[str, BrokerOrder]:
    """Return what the broker says of blocks; of what it did not answer nothing is concluded.

    Many of one account cost one listing, not a question each.
    """
    by_account: dict[str, list[blocks.Block]] = {}
    for block in mine:
        by_account.setdefault(block.broker_account, []).append(block)
    shown: dict[str, BrokerOrder] = {}
    for account, part in by_account.items():
        with suppress(BrokerUnavailableError):
            many = len(part) > _ONE_BY_ONE_MAX
            listed = broker.mass_status(account).open_orders if many else ()
            known = {order.client_id: order for order in listed}
            for block in part:
                order = known.get(block.id) or broker.find(block.id)
                if order is not None:
                    shown[block.id] = order
    return shown


def _place(session: Session, block: blocks.Block) -> Place:
    owner = controls.owner_of_broker_account(session, block.broker_account)
    return Place(block.broker_account, block.firm_id, owner[1] if owner else None)


def _close_told(
    session: Session, keyring: Keyring, still: set[str], asked: set[str], at_micros: int
) -> None:
    """End the breaks of orders that have ended since, or of which everything has been told."""
    old = [one for one in breaks.listed(session, "open", limit=100_000) if one.id not in still]
    old = [one for one in old if one.subject == "execution"]
    orders = blocks.many(session, sorted({one.reference for one in old}))
    for one in old:
        order = orders.get(one.reference)  # none: an execution that could not be accepted
        if order is not None and (order.id in asked or order.state not in _ALIVE):
            _close(session, keyring, one, "repaired", RECONCILER, one.repair, at_micros)


def clear(
    db: Database, keyring: Keyring, clock: Clock, break_id: str, note: str, *, actor: str
) -> KnownBreak:
    """Let trading go on in spite of a break, because a person has looked; journaled.

    It stays cleared while its figures stay what they are; if they change, it is open again.

    Raises:
        NotFoundError: If there is no such break.
        InvalidInputError: If the note is empty or too long.
    """
    told = note.strip()
    if not 0 < len(told) <= _NOTE_MAX:
        message = f"Say why, in at most {_NOTE_MAX} characters."
        raise InvalidInputError(message, code="note_missing", fields={"note": [message]})
    at_micros = to_micros(clock.now())
    with db.write() as session:
        found = breaks.get(session, break_id)
        if found is None:
            message = "There is no such break."
            raise NotFoundError(message)
        if found.subject == "activity":
            charging.take(session, keyring, found.firm_id, found.reference, found.theirs, at_micros)
            activities.settle(session, found.reference, "booked")
        _close(session, keyring, found, "cleared", actor, told, at_micros)
        cleared = breaks.get(session, break_id)
    assert cleared is not None
    return cleared


def _close(
    session: Session,
    keyring: Keyring,
    one: Break,
    state: str,
    actor: str,
    note: str,
    at_micros: int,
) -> None:
    """End a break, in the audit trail of its firm and in its feed."""
    if not breaks.close(session, one.id, state, actor, note, at_micros):
        return
    detail = {"state": state, "note": note, "ours": one.ours, "theirs": one.theirs}
    licensing.record(
        session, keyring, one.firm_id, actor, f"break.{state}", one.id, detail, at_micros
    )
    _tell(session, f"break.{state}", [one], at_micros)


def _tell(session: Session, kind: str, some: Sequence[Break], at_micros: int) -> None:
    events.emit(
        session,
        [
            events.NewEvent(
                one.firm_id,
                kind,
                one.id,
                json.dumps(
                    {
                        "subject": one.subject,
                        "category": one.category,
                        "security_id": one.security_id,
                        "ours": one.ours,
                        "theirs": one.theirs,
                        "repair": one.repair,
                    }
                ),
                account_id=one.account_id,
            )
            for one in some
        ],
        at_micros,
    )
