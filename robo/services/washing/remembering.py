"""Books that go on where they stood: what was folded is kept, and only what is new is applied.

A household's history grows for decades, and a night asks for its books a dozen times. Rows of lot
events are never changed and are numbered by account, so the number of the last row says what books
have seen. They are kept as of a day that is over, since a day is applied whole. Whatever does not
simply go on, such as rows of a day that is over, an execution taken back, a changed household, or
trades elsewhere, is folded from its beginning. Property-tested equal to folding everything.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from threading import Lock
from typing import Final

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.services.washing import folding, streams
from robo.services.washing.folding import Days, People
from robo.services.washing.streams import Stream
from robo.store import arrivals, chains, lot_history
from robo.store.database import kept
from robo.store.lot_history import Action
from robo.store.lots import LotEvent
from robo.tax.wash_events import Event
from robo.tax.wash_sales import Books

_CIRCLES_MAX: Final = 1_000
"""Of a household with a hundred names over decades, the books take about a megabyte."""
_DAY: Final = timedelta(days=1)
_FOREVER: Final = "9999-12-31"
Rows = Mapping[AccountId, Sequence[LotEvent]]


class _NotOnwardError(Exception):
    """What came does not go on from where the books stand."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The books of names tied together by corporate actions; a part that was made never changes.

    Attributes:
        day: A day that is over; the books are as of its end.
        actions: Those up to that day.
        books: By person.
        streams: By account, as far as rows were read.
        waiting: What rows say of later days.
        on: The day that was asked for last.
        shown: The books at the end of it, by person.
    """

    day: date
    actions: tuple[Action, ...]
    books: Mapping[str, Books]
    streams: Mapping[AccountId, Stream]
    waiting: Mapping[date, Mapping[AccountId, Sequence[Event]]]
    on: date
    shown: Mapping[str, Books]


@dataclass(frozen=True, slots=True)
class _Circle:
    """What is kept of people connected through households.

    Attributes:
        stamp: Their households and accounts.
        seen: By account, the number of the last row that the books have seen.
        parts: By the names tied together.
    """

    stamp: object
    seen: Mapping[AccountId, int]
    parts: Mapping[frozenset[int], _Part]


@dataclass(slots=True)
class _Memory:
    """The circles asked for last."""

    lock: Lock = field(default_factory=Lock)
    circles: OrderedDict[frozenset[str], _Circle] = field(default_factory=OrderedDict)

    def find(self, persons: frozenset[str]) -> _Circle | None:
        with self.lock:
            return self.circles.get(persons)

    def put(self, persons: frozenset[str], one: _Circle) -> None:
        with self.lock:
            self.circles[persons] = one
            self.circles.move_to_end(persons)
            while len(self.circles) > _CIRCLES_MAX:
                self.circles.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is the same for every circle of one question."""

    session: Session
    known: People
    on: date
    near: Mapping[int, set[int]]
    heads: Mapping[str, tuple[int, bytes]]
    brought: Mapping[str, str]
    actions: Sequence[Action]

    def of_names(self, names: frozenset[int]) -> tuple[Action, ...]:
        """Return the actions of names up to the day."""
        last = self.on.isoformat()
        return tuple(one for one in self.actions if one.security_id in names and one.ex_on <= last)


def fold(
    session: Session,
    known: People,
    names: Mapping[str, frozenset[int]],
    on: date,
    asked: Collection[str],
) -> dict[str, tuple[Books, ...]]:
    """Return by person the books of some names up to a day, one for each group tied together.

    Others than those who are asked for, and who count together with them, may be left out.

    Args:
        session: Of one snapshot; in a writing session nothing is kept.
        known: The people, read with it.
        names: By person, with all that corporate actions tie to them; the same for everybody who
            was ever connected.
        on: The last day.
        asked: Whose books must be there.

    Raises:
        ValueError: If what is booked of them does not fit together.
    """
    memory = kept(session, "wash_books", _Memory)
    elsewhere = frozenset(known.elsewhere)
    circles = {known.ever_with(person) for person in names}
    plain: list[frozenset[str]] = []
    simple: list[frozenset[str]] = []
    for persons in sorted(circles, key=sorted):
        accounts = {account for one in persons for account in known.accounts[one]}
        away = memory is None or accounts & elsewhere
        (plain if away else simple).append(persons)
    made: dict[str, tuple[Books, ...]] = {}
    if memory is not None and simple:
        question = _asked(session, known, simple, names, on)
        for persons in simple:
            mine = names[min(persons)]
            try:
                found = _circle(question, persons, mine, memory.find(persons))
            except ValueError:
                found = None  # somebody's does not fit: folding finds out whose
            if found is None:
                plain.append(persons)
                continue
            memory.put(persons, found)
            for one in persons:
                made[one] = tuple(part.shown[one] for part in found.parts.values())
    persons_left = sorted({one for persons in plain for one in persons})
    if persons_left:
        whole, wrong = folding.attempt(session, known, persons_left, on, names)
        for one in asked:
            if one in wrong:
                raise wrong[one]
        made |= {one: (books,) for one, books in whole.items()}
    return made


def _asked(
    session: Session,
    known: People,
    circles: Sequence[frozenset[str]],
    names: Mapping[str, frozenset[int]],
    on: date,
) -> _Question:
    accounts = sorted(
        {account for persons in circles for one in persons for account in known.accounts[one]}
    )
    wanted = sorted({name for persons in circles for name in names[min(persons)]})
    return _Question(
        session,
        known,
        on,
        folding.kin(session),
        chains.heads_of(session, accounts),
        arrivals.bought_on(session, accounts),
        lot_history.actions_of(session, wanted),
    )


def _circle(
    question: _Question, persons: frozenset[str], names: frozenset[int], before: _Circle | None
) -> _Circle | None:
    """Return the books of a circle; None if they have to be folded without being kept."""
    known = question.known
    accounts = sorted({account for one in persons for account in known.accounts[one]})
    stamp = (
        tuple(tuple(known.memberships.get(one, ())) for one in sorted(persons)),
        tuple(tuple(sorted(known.accounts[one].items())) for one in sorted(persons)),
    )
    seen = {one: question.heads.get(one, (0, b""))[0] for one in accounts}
    if before is None or before.stamp != stamp:
        before = _Circle(stamp, seen, {})
    if any(seen[one] < before.seen[one] for one in accounts):
        return None  # an older snapshot than the one that was seen
    news = {
        one: lot_history.events_after(question.session, one, before.seen[one])
        for one in accounts
        if before.parts and seen[one] > before.seen[one]
    }
    parts: dict[frozenset[int], _Part] = {}
    anew: list[frozenset[int]] = []
    for group in _groups(question.near, names):
        part = _onward(question, persons, group, before.parts.get(group), news)
        if part is None:
            anew.append(group)
        else:
            parts[group] = part
    if anew:
        wanted = sorted({name for group in anew for name in group})
        rows = lot_history.events_of(question.session, accounts, _FOREVER, wanted)
        last = question.on.isoformat()
        if any(row.on_date > last for mine in rows.values() for row in mine):
            return None  # a day is asked for before one that is booked
        for group in anew:
            parts[group] = _from_the_beginning(question, persons, group, rows)
    return _Circle(stamp, seen, parts)


def _groups(near: Mapping[int, set[int]], names: frozenset[int]) -> list[frozenset[int]]:
    """Return names by what corporate actions tie together, in the order of their first."""
    left, found = set(names), []
    while left:
        group = frozenset(folding.spread(near, (min(left),)))
        found.append(group)
        left -= group
    return found


def _from_the_beginning(
    question: _Question, persons: frozenset[str], group: frozenset[int], rows: Rows
) -> _Part:
    books = {one: Books(question.known.accounts[one]) for one in sorted(persons)}
    empty = _Part(date.min, (), books, {}, {}, date.min, books)
    mine = {
        account: streams.happened(row for row in booked if row.security_id in group)
        for account, booked in rows.items()
    }
    return _fed(question, persons, group, empty, mine)


def _onward(
    question: _Question,
    persons: frozenset[str],
    group: frozenset[int],
    part: _Part | None,
    news: Rows,
) -> _Part | None:
    """Return a part after its new rows; None if they do not go on from where it stands."""
    if part is None:
        return None
    mine: dict[AccountId, list[LotEvent]] = {}
    for account, booked in news.items():
        if rows := [row for row in booked if row.security_id in group]:
            mine[account] = rows
    latest = max((row.on_date for rows in mine.values() for row in rows), default="")
    back = question.on < part.on or latest > question.on.isoformat()
    if back or any(streams.takes_back(rows) for rows in mine.values()):
        return None
    over = tuple(one for one in question.of_names(group) if one.ex_on <= part.day.isoformat())
    if over != part.actions:
        return None
    try:
        return _fed(question, persons, group, part, mine)
    except _NotOnwardError:
        return None


def _fed(
    question: _Question,
    persons: frozenset[str],
    group: frozenset[int],
    part: _Part,
    rows: Rows,
) -> _Part:
    """Return a part with rows added, and all days before the one asked for closed.

    Raises:
        _NotOnwardError: If a row tells of a day that is closed.
    """
    on, actions = question.on, question.of_names(group)
    if not rows and on == part.on:
        new = any(part.day.isoformat() < one.ex_on for one in actions)
        if not new:
            return part
    feeds = dict(part.streams)
    waiting = {day: dict(by_account) for day, by_account in part.waiting.items()}
    for account, booked in rows.items():
        stream = feeds[account].copy() if account in feeds else Stream(account)
        feeds[account] = stream
        for day, event in stream.feed(booked, question.brought, actions):
            if day <= part.day:
                raise _NotOnwardError
            todays = waiting.setdefault(day, {})
            todays[account] = [*todays.get(account, ()), event]
    over = on - _DAY
    books = part.books
    if over > part.day:
        due = {day: waiting.pop(day) for day in sorted(waiting) if day <= over}
        books = _lived(question, persons, books, due, actions, (part.day + _DAY, over))
    day = max(over, part.day)
    shown = _lived(question, persons, books, waiting, actions, (on, on))
    told = tuple(one for one in actions if one.ex_on <= day.isoformat())
    return _Part(day, told, books, feeds, waiting, on, shown)


def _lived(
    question: _Question,
    persons: frozenset[str],
    books: Mapping[str, Books],
    happened: Mapping[date, Mapping[AccountId, Sequence[Event]]],
    actions: Sequence[Action],
    span: tuple[date, date],
) -> Mapping[str, Books]:
    """Return books after a span of days; the same ones if nothing happened in it."""
    known = question.known
    first, last = span[0].isoformat(), span[1].isoformat()
    turns = any(
        first <= on <= last
        for one in persons
        for mine in known.memberships.get(one, ())
        for on in (mine.since_on, mine.left_on)
        if on is not None
    )
    if not happened and not turns and not any(first <= one.ex_on <= last for one in actions):
        return books
    copies = {id(one): one.copy() for one in books.values()}
    made = {person: copies[id(one)] for person, one in books.items()}
    days: Days = {}
    for day, by_account in happened.items():
        for person in sorted(persons):
            for account in sorted(known.accounts[person]):
                if events := by_account.get(account):
                    days.setdefault(day, {}).setdefault(person, []).extend(events)
    folding.live(known, made, days, actions, span)
    return made
