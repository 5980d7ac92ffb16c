"""The broker against the books: at start, every night, on demand.

Every account is compared (`comparing`); what the broker itself explains is repaired at once and
journaled: executions that we had not read are read and booked. What is left is kept as breaks with
a proposed repair. A real break stops trading in that account, or in that name of a firm's shared
account, and nowhere else, until it is gone or an operator clears it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError, NotFoundError
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import AccountModel, Activity, Broker, BrokerOrder, Execution
from robo.services import (
    awaiting,
    charging,
    comparing,
    finishing,
    hearing,
    journaling,
    telling,
    trusting,
)
from robo.services.comparing import Place, Told
from robo.store import (
    activities,
    blocks,
    breaks,
    comparisons,
    controls,
    cursors,
    firms,
    tellings,
)
from robo.store.breaks import Break, KnownBreak
from robo.store.database import Database
from robo.store.keyring import Keyring

_AUTOMATIC: Final = frozenset({"collect"})
_NOTE_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconciliation found.

    Attributes:
        places: How many accounts at the broker were compared.
        unheard: Accounts whose broker did not answer: nothing is known of them, nothing is closed.
        found: Breaks that are open now.
        repaired: How many were mended on the way.
        spared: How many were left out because nothing had moved since they agreed.
    """

    places: int
    unheard: tuple[str, ...]
    found: tuple[KnownBreak, ...]
    repaired: int
    spared: int = 0


def reconcile(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    firm_id: str = "",
    *,
    sparing: bool = False,
) -> Report:
    """Compare every account, or a firm's, with the broker; repair what can be, keep the rest.

    Args:
        db: Owns its transactions.
        keyring: Signs the chains.
        broker: What is compared with.
        clock: The present instant.
        calendar: Which orders should have ended.
        policy: How long what explains a difference may take.
        firm_id: Whose accounts; everybody's for ''.
        sparing: Whether accounts in which nothing has moved since they agreed may be left out.
    """
    unheard: list[str] = []
    repaired = 0
    every = [one for one in _places(db, broker) if firm_id in {"", one.firm_id}]
    with db.read() as session:
        nobodys = trusting.of_nobody(session)
    left_out = set[str]()
    if sparing:
        left_out = trusting.spared(db, broker, clock.now(), calendar, policy, every)
    every = [one for one in every if one.broker_account not in left_out]
    again: dict[Place, list[Break]] = {}
    overdue = telling.overdue_since(calendar, clock.now(), policy)
    ask = partial(_compare, db, broker, overdue, policy, nobodys)
    for place, left, books in _heard(ask, every, unheard):
        if any(one.repair in _AUTOMATIC or _may_have_ended(one) for one in left):
            again[place] = [one for one in left if one.repair in _AUTOMATIC]
        else:
            _keep(db, keyring, clock, policy, place, [], left, books)
    try:
        # Once for all: it asks for every order that is open.
        if again:
            with db.read() as session:
                until = awaiting.day_to_come(session, calendar)
            finishing.collect(db, keyring, broker, clock, policy, until)
    except BrokerUnavailableError:
        unheard += [one.broker_account for one in again]
        again = {}
    for place, left, books in _heard(ask, again, unheard):
        repaired += _keep(db, keyring, clock, policy, place, again[place], left, books)
    with db.read() as session:
        concerned = [one for one in firms.ids(session) if firm_id in {"", one}]
        told = {one: _of_nobody(session, one) for one in concerned}
    at_micros = to_micros(clock.now())
    for one, left in told.items():
        journaling.keep(db, keyring, Place("", one), [], left, at_micros)
    with db.read() as session:
        found = breaks.listed(session, "open", firm_id)
    return Report(len(every), tuple(unheard), tuple(found), repaired, len(left_out))


def _of_nobody(session: Session, firm_id: str) -> list[Break]:
    """Return what the broker told of no account at all, as breaks of one firm.

    That one of its sources is silent or left something out concerns everybody whose it is.
    """
    return [
        replace(one, id=child_id("brk", firm_id, "activity", 0, one.reference))
        for one in comparing.unknown(session, Place("", firm_id))
    ]


def _places(db: Database, broker: Broker) -> list[Place]:
    with db.read() as session:
        if broker.capabilities.account_model is AccountModel.SEGREGATED:
            owners = controls.owners_of_broker_accounts(session)
            return [Place(reference, firm, account) for reference, firm, account in owners]
        known = dict(tellings.places(session))
        for firm_id in firms.ids(session):
            known.setdefault(f"omnibus/{firm_id}", firm_id)
        return [Place(account, firm_id) for account, firm_id in sorted(known.items())]


def _may_have_ended(one: Break) -> bool:
    """Return whether an order looks overdue: its end may only have to be read, after a downtime."""
    return one.subject == "order" and one.repair == "ask_operator"


def _keep(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    place: Place,
    mended: Sequence[Break],
    left: Sequence[Break],
    books: str,
) -> int:
    """Write what differs in one account, and what no longer does; return how much was repaired."""
    at_micros = to_micros(clock.now())
    with db.read() as session:
        left = [journaling.aged(session, one, policy, at_micros) for one in left]
    there = {one.id for one in left}
    healed = [one for one in mended if one.id not in there]
    journaling.keep(db, keyring, place, healed, left, at_micros)
    if place.account_id is not None:
        with db.write() as session:
            if left:
                comparisons.differ(session, place.broker_account)
            else:
                comparisons.agree(session, place.broker_account, books, at_micros)
    return len(healed)


def _heard(
    ask: Callable[[Place], tuple[list[Break], str]], places: Iterable[Place], unheard: list[str]
) -> Iterator[tuple[Place, list[Break], str]]:
    """Yield what differs account by account; those of which the broker says nothing are noted."""
    for place in places:
        try:
            left, books = ask(place)
        except BrokerUnavailableError:
            unheard.append(place.broker_account)
        else:
            yield place, left, books


def _compare(
    db: Database,
    broker: Broker,
    overdue_since: int,
    policy: Policy,
    nobodys: str,
    place: Place,
) -> tuple[list[Break], str]:
    """Ask the broker with no transaction open, then compare in one snapshot.

    Returns the differences, and a digest of what the books said, where it is worth keeping.
    """
    with db.read() as session:
        mine = [
            block
            for block in blocks.in_states(session, "open")
            if block.broker_account == place.broker_account
        ]
        after = cursors.cursor(session, hearing.CURSOR)
        read = cursors.cursor(session, activities.CURSOR)
        # As they are before it is asked: what it tells meanwhile, it may not have answered by.
        books = "" if place.account_id is None else trusting.books(session, place, nobodys)
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
        return comparing.compare(session, place, told), books


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
            _take(session, keyring, found, at_micros)
        journaling.close(session, keyring, found, "cleared", actor, told, at_micros)
        cleared = breaks.get(session, break_id)
    assert cleared is not None
    return cleared


def _take(session: Session, keyring: Keyring, found: KnownBreak, at_micros: int) -> None:
    """Book what nobody could explain on the firm whose operator has looked, and on no other.

    What was told of no account is a break of every firm: it is over for the others, and theirs is
    neither who has looked nor what was said of it.
    """
    if not activities.settle(session, found.reference, "booked"):
        return  # another firm has it
    charging.take(session, keyring, found.firm_id, found.reference, found.theirs, at_micros)
    for one in breaks.of_activity(session, found.reference):
        if one.id != found.id:
            by, note = journaling.RECONCILER, one.repair
            journaling.close(session, keyring, one, "gone", by, note, at_micros)
