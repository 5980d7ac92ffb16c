"""The books of households: every member's history folded together for as long as they were one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.services.washing import streams
from robo.services.washing.streams import Dated
from robo.store import arrivals, households, lot_history, outside_trades
from robo.store.database import once
from robo.store.households import Membership
from robo.tax.wash_events import AccountKind, Event
from robo.tax.wash_sales import Books
from robo.tax.wash_unions import join, part

IRAS = frozenset({"traditional_ira", "roth_ira", "ira"})
"""Kinds of accounts whose sales are not taxed, ours and others'."""


Days = dict[date, dict[str, list[Event]]]
"""What happened, by day and person."""


@dataclass(slots=True)
class People:
    """Some people, those they ever shared a household with, and all their accounts."""

    memberships: dict[str, list[Membership]]
    """By person; nobody without a household."""
    homes: dict[str, list[str]]
    """Household -> everybody who ever was of it."""
    accounts: dict[str, dict[AccountId, AccountKind]]
    """By person: ours and those elsewhere."""
    ours: list[AccountId]
    elsewhere: list[AccountId]

    def ever_with(self, customer_id: str) -> frozenset[str]:
        """Return everybody connected with a person through households, now or before."""
        found, fresh = {customer_id}, {customer_id}
        while fresh:
            mine = [m for one in fresh for m in self.memberships.get(one, ())]
            near = {one for m in mine for one in self.homes[m.household_id]}
            fresh = near - found
            found |= near
        return frozenset(found)

    def together(self, customer_id: str, on: date) -> frozenset[str]:
        """Return who counts together with a person on a day; the person at least."""
        day = on.isoformat()
        found = {customer_id}
        for mine in self.memberships.get(customer_id, ()):
            if mine.since_on <= day and not _over(mine, day):
                found.update(self.homes[mine.household_id])
        return frozenset(found)


def people(session: Session, customer_ids: Collection[str]) -> People:
    """Return people with everybody they ever shared a household with, and their accounts."""
    known: frozenset[str] = frozenset()
    wanted = frozenset(customer_ids)
    found: list[Membership] = []
    while wanted != known:
        known = wanted
        found = households.memberships(session, sorted(known))
        wanted = known | {one.customer_id for one in found}
    made = People({}, {}, {customer: {} for customer in sorted(known)}, [], [])
    for one in found:
        made.memberships.setdefault(one.customer_id, []).append(one)
        made.homes.setdefault(one.household_id, []).append(one.customer_id)
    for ours in households.accounts_of(session, sorted(known)):
        made.accounts[ours.customer_id][ours.id] = kind_of(ours.kind)
        made.ours.append(ours.id)
    for theirs in outside_trades.accounts_of(session, sorted(known)):
        made.accounts[theirs.customer_id][AccountId(theirs.id)] = kind_of(theirs.kind)
        made.elsewhere.append(AccountId(theirs.id))
    return made


def kind_of(kind: str) -> AccountKind:
    """Return what a kind of account is to the tax."""
    return AccountKind.IRA if kind in IRAS else AccountKind.TAXABLE


def books_of(
    session: Session,
    customer_ids: Collection[str],
    until: date,
    security_ids: Collection[int] | None = None,
) -> dict[str, Books]:
    """Return customer -> the books of everybody who counts together with them, up to a day.

    Nothing is assumed: the history begins with the first lot that any of them ever bought, here or,
    as far as it was imported, elsewhere. Two people of one household get the same books.

    Args:
        session: Of one snapshot.
        customer_ids: Who is asked for; others are read as far as they matter.
        until: The last day, itself included.
        security_ids: Only these names, and those that corporate actions tie to them; None for all.
            A name's books do not depend on other names.

    Raises:
        ValueError: If what is booked of somebody present does not fit together.
    """
    known = people(session, customer_ids)
    names = None
    if security_ids is not None:
        names = dict.fromkeys(known.accounts, frozenset(tied(session, security_ids)))
    return fold(session, known, customer_ids, until, names)


def fold(
    session: Session,
    known: People,
    customer_ids: Collection[str],
    until: date,
    names: Mapping[str, frozenset[int]] | None = None,
) -> dict[str, Books]:
    """Return `books_of` for people who were read before.

    Raises:
        ValueError: If what is booked of somebody who counts together with one who is asked for, on
            the last day, does not fit together.
    """
    made, wrong = attempt(session, known, customer_ids, until, names)
    for customer in customer_ids:
        if customer in wrong:
            raise wrong[customer]
    return {customer: made[customer] for customer in customer_ids}


def attempt(
    session: Session,
    known: People,
    customer_ids: Collection[str],
    until: date,
    names: Mapping[str, frozenset[int]] | None = None,
) -> tuple[dict[str, Books], dict[str, ValueError]]:
    """Return the books of people and everybody connected with them, and why some have none.

    Who has left a household is no trouble to it: what of theirs does not fit is left out.

    Args:
        session: The one they were read with.
        known: The people.
        customer_ids: Who is asked for.
        until: The last day.
        names: By person, the same for all who were ever connected: only these names, with all
            that corporate actions tie to them; None for all.
    """
    histories = _read(session, known, customer_ids, until, names)
    made: dict[str, Books] = {}
    for customer in sorted(customer_ids):
        if customer not in made:
            made |= _endured(known, histories, known.ever_with(customer), until)
    wrong = {
        one: error
        for one in made
        for other in sorted(known.together(one, until))
        if (error := histories.wrong.get(other)) is not None
    }
    return {one: books for one, books in made.items() if one not in wrong}, wrong


@dataclass(slots=True)
class _Histories:
    """What happened, by person; and what happens to names whoever holds them."""

    events: dict[str, list[Dated]] = field(default_factory=dict)
    actions: list[lot_history.Action] = field(default_factory=list)
    wrong: dict[str, ValueError] = field(default_factory=dict)
    """Of whom something does not fit, and is not among the events."""


def _read(
    session: Session,
    known: People,
    customer_ids: Collection[str],
    until: date,
    names: Mapping[str, frozenset[int]] | None,
) -> _Histories:
    persons = sorted({other for one in customer_ids for other in known.ever_with(one)})
    asked = {account for one in persons for account in known.accounts[one]}
    wanted = None if names is None else {name for one in persons for name in names[one]}
    day = until.isoformat()
    ours = [account for account in known.ours if account in asked]
    rows = lot_history.events_of(session, ours, day, None if wanted is None else list(wanted))
    trades: dict[AccountId, list[outside_trades.OutsideTrade]] = {}
    elsewhere = [account for account in known.elsewhere if account in asked]
    for trade in outside_trades.trades_of(session, elsewhere):
        if trade.on_date <= day and (wanted is None or trade.security_id in wanted):
            trades.setdefault(AccountId(trade.account_id), []).append(trade)
    seen = {row.security_id for mine in rows.values() for row in mine}
    seen |= {trade.security_id for mine in trades.values() for trade in mine}
    seen = tied(session, seen)
    actions = [one for one in lot_history.actions_of(session, list(seen)) if one.ex_on <= day]
    brought = arrivals.bought_on(session, ours)
    made = _Histories(actions=actions)
    for customer in persons:
        mine: list[Dated] = []
        only = None if names is None else names[customer]
        for account in sorted(known.accounts[customer]):
            booked = rows.get(account, ())
            traded = trades.get(account, ())
            if only is not None:
                booked = [row for row in booked if row.security_id in only]
                traded = [trade for trade in traded if trade.security_id in only]
            try:
                mine += streams.booked(account, booked, brought, actions)
                mine += streams.outside(traded, actions)
            except ValueError as error:
                made.wrong[customer] = error
        mine.sort(key=lambda one: one[0])  # stable: each account keeps its order
        made.events[customer] = mine
    return made


def kin(session: Session) -> dict[int, set[int]]:
    """Return name -> names that a merger or spin-off has made of it, or it of; not to be changed.

    One question for a day's limits wants it several times; a reading session asks once.
    """
    return once(session, ("kin",), lambda: _kin(session))


def _kin(session: Session) -> dict[int, set[int]]:
    near: dict[int, set[int]] = {}
    for old, new in lot_history.heirs(session):
        near.setdefault(old, set()).add(new)
        near.setdefault(new, set()).add(old)
    return near


def tied(session: Session, security_ids: Collection[int]) -> set[int]:
    """Return names with all that mergers and spin-offs tie to them."""
    return spread(kin(session), security_ids)


def spread(near: Mapping[int, Collection[int]], security_ids: Collection[int]) -> set[int]:
    """Return names with all that are tied to them, near or far."""
    found = set(security_ids)
    fresh = set(found)
    while fresh:
        fresh = {other for one in fresh for other in near.get(one, ())} - found
        found |= fresh
    return found


def _endured(
    known: People, histories: _Histories, persons: Collection[str], until: date
) -> dict[str, Books]:
    """Return person -> books, without what of somebody does not fit even alone.

    Raises:
        ValueError: If something does not fit together, and everybody's does alone.
    """
    try:
        return _lived(known, histories, persons, until)
    except ValueError:
        found = {one: _fitting(known.accounts[one], histories, one) for one in persons}
        wrong = {one: error for one, (_, error) in found.items() if error is not None}
        if not wrong:
            raise
    histories.wrong |= wrong
    histories.events |= {one: events for one, (events, _) in found.items()}
    return _lived(known, histories, persons, until)


def _fitting(
    accounts: Mapping[AccountId, AccountKind], histories: _Histories, person: str
) -> tuple[list[Dated], ValueError | None]:
    """Return what happened to one person up to the first day that does not fit, and why not."""
    events = histories.events[person]
    days: dict[date, list[Event]] = {}
    for on, event in (*streams.successions(histories.actions), *events):
        days.setdefault(on, []).append(event)
    books = Books(accounts)
    for day in sorted(days):
        try:
            books.apply(day, days[day])
        except ValueError as error:
            return [one for one in events if one[0] < day], error
    return events, None


def _lived(
    known: People, histories: _Histories, persons: Collection[str], until: date
) -> dict[str, Books]:
    """Return person -> books, for people connected through households."""
    books = {one: Books(known.accounts[one]) for one in sorted(persons)}
    days: Days = {}
    for one in sorted(persons):
        for on, event in histories.events[one]:
            days.setdefault(on, {}).setdefault(one, []).append(event)
    live(known, books, days, histories.actions, (date.min, until))
    return books


def live(
    known: People,
    books: dict[str, Books],
    days: Days,
    actions: Sequence[lot_history.Action],
    span: tuple[date, date],
) -> None:
    """Let days happen to the books of people connected through households.

    Args:
        known: The people.
        books: By person, as of the day before; who counts together shares them. Changed.
        days: What happened on each day of the span to each of them, in order.
        actions: Of all names in these books, in the order of ex-dates.
        span: The first and the last day, inclusive.
    """
    first, last = span
    told: dict[date, list[Event]] = {}
    for on, event in streams.successions(actions):
        if first <= on <= last:
            told.setdefault(on, []).append(event)
    mine = [m for one in sorted(books) for m in known.memberships.get(one, ())]
    changes = {m.since_on for m in mine} | {m.left_on for m in mine if m.left_on}
    turns = {on for on in map(date.fromisoformat, changes) if first <= on <= last}
    for on in sorted(days.keys() | told.keys() | turns):
        if on in turns:
            _regroup(known, books, mine, on)
        for group in _groups(books):
            events = [*told.get(on, ())]
            for one in group:
                events += days.get(on, {}).get(one, ())
            if events:
                books[group[0]].apply(on, events)


def _groups(books: Mapping[str, Books]) -> list[list[str]]:
    """Return people by the books they share."""
    found: dict[int, list[str]] = {}
    for one in sorted(books):
        found.setdefault(id(books[one]), []).append(one)
    return list(found.values())


def _regroup(
    known: People, books: dict[str, Books], memberships: Sequence[Membership], on: date
) -> None:
    """Part who leaves on a day, then join who comes together."""
    day = on.isoformat()
    for membership in memberships:
        if membership.left_on == day:
            one = membership.customer_id
            books[one] = part(books[one], known.accounts[one])
    by_home: dict[str, list[str]] = {}
    for membership in memberships:
        if membership.since_on == day and not _over(membership, day):
            by_home.setdefault(membership.household_id, []).append(membership.customer_id)
    for together in by_home.values():
        shared = books[together[0]]
        for one in together[1:]:
            if books[one] is not shared:
                shared = join(shared, books[one])
        books.update(dict.fromkeys(together, shared))


def _over(membership: Membership, day: str) -> bool:
    return membership.left_on is not None and membership.left_on <= day
