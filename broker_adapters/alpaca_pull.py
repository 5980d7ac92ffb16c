"""Reads Alpaca's activities into our journal: from the list and from the stream, each row once.

Both tell the same rows, under one id; what is booked after 11 February 2026 only the stream may
tell. A pull asks each for what comes after what was seen. The list is sorted by an id that begins
with the day, so a dividend that is booked at noon sorts before the morning's fills: a sweep reads
the last days again, some pages at a time, and remembers how far it has come.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from broker_adapters.alpaca_fields import UnreadableError, rows_of
from broker_adapters.alpaca_fills import FillDesk
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_pace import Lane, ThrottledError
from broker_adapters.alpaca_stream import NOT_OFFERED, ActivityStream, NotOfferedError
from robo.core.clock import Clock, from_micros, iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError

_PAGE: Final = 100
"""The most activities that Alpaca puts on a page."""
_SWEEP_EVERY: Final = timedelta(minutes=15)
_SWEEP_BACK: Final = timedelta(days=4)
"""A long weekend: rows are booked late, not later than that before a sweep that was finished."""
_SWEEP_PAGES: Final = 5
"""Pages of a sweep that one pull reads: the rest is read by the next ones."""
_FRESH: Final = timedelta(seconds=30)
_MOMENT: Final = timedelta(seconds=2)
_STAMP_DIGITS: Final = 17
_PENDING_DAYS: Final = 90
"""So long a row may be pending and still be looked for."""
_TOKEN: Final = "token"  # noqa: S105 - the name of a mark
_SWEPT, _SWEEPING, _PENDING, _CURSOR = "swept", "sweeping", "pending", "stream"
"""Marks: when the last finished sweep began; the one under way; rows to come; the stream's id."""
_NAMELESS: Final = "#unreadable"
"""What the id ends with that we give a row without one: nobody can book it."""
_SILENT: Final = "silent "
"""The mark that says since when a source fails, and whether a person was told."""
_SILENCE_MAX: Final = timedelta(hours=1)
"""A source that fails for longer is a person's; nothing waits for it any more."""
_LIST, _STREAM = "list", "stream"


class Puller:
    """Keeps the journal up to date; not for two threads at once."""

    def __init__(
        self,
        http: AlpacaHttp,
        journal: AlpacaJournal,
        clock: Clock,
        fills: FillDesk,
        activities: str = "/account/activities",
    ) -> None:
        """Take what it reads with, and where the list of activities is."""
        self._http, self._journal, self._clock = http, journal, clock
        self._fills, self._activities = fills, activities
        self._stream = ActivityStream(http, clock)
        self._heard_at: datetime | None = None
        self._going_on = ""
        """Where the stream is read on, if the last reading of it did not come to its end."""

    def pull(self, *, thoroughly: bool = False, whole: bool = False) -> None:
        """Read what is new; with what came late too, if asked to, or now and then.

        One source is enough: what the other one has to tell is told as soon as it answers.

        Args:
            thoroughly: Read what came late, too.
            whole: Whether what was heard is to be compared with something else: then a source that
                fails is waited for, but not for ever.

        Raises:
            BrokerUnavailableError: If neither source was answered, or one is waited for; what the
                other one told is written all the same.
        """
        failed: dict[str, BrokerUnavailableError] = {}
        missing: list[NotOfferedError] = []
        sources = {_LIST: self._list, _STREAM: self._follow}
        for name, read in sources.items():
            try:
                read(thoroughly=thoroughly)
            except NotOfferedError as error:
                missing.append(error)
            except BrokerUnavailableError as error:
                failed[name] = error
            if name not in failed:
                self._hear(name)
        waited_for = [error for name, error in failed.items() if not self._given_up(name)]
        if len(failed) + len(missing) == len(sources):
            raise [*failed.values(), *missing][0]
        self._fills.settle()
        self._heard_at = self._clock.now()
        if whole and waited_for:
            raise waited_for[0]

    def is_fresh(self) -> bool:
        """Return whether a pull was answered a moment ago: many questions need one only."""
        before = self._heard_at
        return before is not None and timedelta() <= self._clock.now() - before < _FRESH

    def sweep(self, account_id: str) -> None:
        """Read the last days of one account again, where the list is of many: a page or two.

        Raises:
            BrokerUnavailableError: If a page was not answered.
        """
        query = {"account_id": account_id, "after": self._since()}
        try:
            self._read(query, Lane.READS)
        except NotOfferedError:
            return  # the stream has told everything
        except BrokerUnavailableError:
            if not self._journal.mark(_SILENT + _LIST) or not self._given_up(_LIST):
                raise

    def _hear(self, source: str) -> None:
        """Forget that a source has failed."""
        if self._journal.mark(_SILENT + source):
            self._journal.note(_SILENT + source, "")

    def _given_up(self, source: str) -> bool:
        """Return whether a source that fails now has failed for long; a person is told once."""
        now, mark = to_micros(self._clock.now()), _SILENT + source
        since, _, told = self._journal.mark(mark).partition(" ")
        if not since:
            self._journal.note(mark, str(now))
        if not since or from_micros(now) - from_micros(int(since)) < _SILENCE_MAX:
            return False
        if not told:
            row = {"activity_type": source, "since": iso_instant(int(since))}
            key = f"{source}-{since}#silent"
            self._journal.write([], [(key, row)], [(mark, f"{since} told")])
        return True

    def _list(self, *, thoroughly: bool) -> None:
        """Read what is new in the list, and what came late."""
        token = self._journal.mark(_TOKEN)
        begun = self._clock.now()
        if token and thoroughly:
            self._read({"after": self._since()}, Lane.READS)
            self._journal.note(_SWEPT, str(to_micros(begun)))
        elif token:
            self._sweep_on(begun)
        query = {"page_token": token} if token else {}
        self._read(query, Lane.READS, keep=True)
        if not token:
            self._journal.note(_SWEPT, str(to_micros(begun)))

    def _follow(self, *, thoroughly: bool) -> None:
        """Read what is new in the stream, and from a while before it; thoroughly, a long while.

        Raises:
            BrokerUnavailableError: If Alpaca left out some of it, which is asked for again.
        """
        cursor = self._journal.mark(_CURSOR)
        begin = self._going_on or self._stream.begin(cursor, thoroughly=thoroughly)
        while True:
            told = self._stream.read(begin, Lane.READS)
            marks = [(_CURSOR, told.reach)] if told.reach > cursor else []
            if told.lost:
                row = {"activity_type": _STREAM, "before": told.reach}
                self._journal.write([], [(f"{_STREAM}-{begin}-{told.reach}#dropped", row)])
            self._write(told.rows, marks, _CURSOR)
            self._going_on, cursor = told.next, max(cursor, told.reach)
            if not told.whole:
                message = "the stream of activities left something out"
                raise BrokerUnavailableError(message, code="dropped")
            if not told.next:
                self._stream.done()
                return
            begin = told.next

    def _sweep_on(self, now: datetime) -> None:
        """Go on with the sweep under way, or begin one if it is time; a few pages."""
        swept = self._journal.mark(_SWEPT)
        kept = self._journal.mark(_SWEEPING)
        due = not swept or not timedelta() <= now - from_micros(int(swept)) < _SWEEP_EVERY
        if not (kept or due):
            return
        state: dict[str, Any] = (
            json.loads(kept) if kept else {"begun": to_micros(now), "after": self._since()}
        )
        for _ in range(_SWEEP_PAGES):
            query = {name: state[name] for name in ("after", "page_token") if state.get(name)}
            try:
                rows = self._page(query, Lane.HEALING)
            except ThrottledError:
                return  # it has time until the next round, which goes on here
            last = _last(rows)
            if len(rows) < _PAGE or state.get("page_token") == last:
                marks = [(_SWEEPING, ""), (_SWEPT, str(state["begun"]))]
                self._write(rows, marks, self._activities)
                return
            state["page_token"] = last
            self._write(rows, [(_SWEEPING, json.dumps(state))], self._activities)

    def _since(self) -> str:
        """Return from when a sweep reads: well before the last one, and before what is pending."""
        swept, now = self._journal.mark(_SWEPT), self._clock.now()
        last = from_micros(int(swept)) if swept else _stamp(self._journal.mark(_TOKEN))
        start = min(now, last.replace(tzinfo=now.tzinfo) if last else now) - _SWEEP_BACK
        waiting = json.loads(self._journal.mark(_PENDING) or "{}")
        oldest = min(waiting.values(), default=to_micros(now))
        return iso_instant(min(to_micros(start), oldest))

    def _read(self, query: Mapping[str, str], lane: Lane, *, keep: bool = False) -> None:
        """Read pages to the end; `keep` notes where to go on: a moment before the last row."""
        asked = dict(query)
        while True:
            rows = self._page(asked, lane)
            last = _last(rows)
            settled = _before(rows) if keep and last else ""
            if keep and len(rows) == _PAGE and not settled:
                settled = last  # a page of one instant; what comes before it late, a sweep finds
            self._write(rows, [(_TOKEN, settled)] if settled else [], self._activities)
            if len(rows) < _PAGE or asked.get("page_token") == last:
                return
            asked["page_token"] = last

    def _page(self, query: Mapping[str, str], lane: Lane) -> list[Any]:
        asked = {"direction": "asc", "page_size": str(_PAGE), **query}
        reply = self._http.get(self._activities, asked, lane)
        if not reply.fine:
            message = "the activities were not answered"
            kind = NotOfferedError if reply.status in NOT_OFFERED else BrokerUnavailableError
            raise kind(message, code=f"http_{reply.status}")
        return [_named(row) for row in rows_of(reply.body)]

    def _write(self, rows: Sequence[Any], marks: Sequence[tuple[str, str]], source: str) -> None:
        """Write rows that are new together with how far was read."""
        keys = [_key(row) for row in rows]
        known = self._journal.known(keys)
        fresh = [(key, row) for key, row in zip(keys, rows, strict=True) if key not in known]
        others: list[tuple[str, Any]] = []
        trades: list[tuple[str, Any]] = []
        pending: list[str] = []
        traded: set[str] = set()
        for key, row in fresh:
            if row.get("status") == "pending":
                pending.append(key)
            elif row.get("activity_type") == "FILL" and not key.endswith(_NAMELESS):
                # Said twice on a page, an amendment would take back what is gone already.
                trades += [] if key in traded else [(key, row)]
                traded.add(key)
            else:
                others.append((key, row))
        noted = [*marks, *self._await(pending, keys)]
        if trades or others or noted:
            self._fills.write(trades, others, noted, source)

    def _await(self, pending: Sequence[str], told: Sequence[str]) -> list[tuple[str, str]]:
        """Return the mark that remembers since when rows are pending, if it changes."""
        before = self._journal.mark(_PENDING)
        now = to_micros(self._clock.now())
        oldest = now - _PENDING_DAYS * 86_400 * 1_000_000
        waiting: dict[str, int] = json.loads(before or "{}")
        since = now - int(_SWEEP_BACK.total_seconds()) * 1_000_000
        still = set(pending)
        kept = {
            key: at
            for key, at in waiting.items()
            if at > oldest and (key in still or key not in told)
        }
        kept |= {key: since for key in pending if key not in kept}
        after = json.dumps(kept, sort_keys=True) if kept else ""
        return [] if after == before else [(_PENDING, after)]


def _before(rows: Sequence[Any]) -> str:
    """Return the id of the last row that is a moment older than the newest; empty if none is.

    Rows of one instant are in no order: one that is told later may stand before one told now.
    """
    ids = _ids(rows)
    newest = _stamp(ids[-1])
    if newest is None:
        return ids[-1]
    for one in reversed(ids):
        at = _stamp(one)
        if at is None or newest - at >= _MOMENT:
            return one
    return ""


def _stamp(identity: str) -> datetime | None:
    """Return the instant that an id begins with (in New York, without its zone), or None."""
    digits = identity[:_STAMP_DIGITS]
    if not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return datetime.strptime(f"{digits}000", "%Y%m%d%H%M%S%f")  # noqa: DTZ007 - only compared
    except ValueError:
        return None


def _identity(row: Any) -> str:
    return str(row["id"])


def _named(row: Any) -> Any:
    """Return a row with an id; one without is for a person, under what it says."""
    body: dict[str, Any] = dict(row) if isinstance(row, Mapping) else {"said": str(row)}
    if isinstance(body.get("id"), str) and body["id"]:
        return body
    said = json.dumps(body, sort_keys=True, default=str)
    return {**body, "id": hashlib.sha256(said.encode()).hexdigest()[:24] + _NAMELESS}


def _ids(rows: Sequence[Any]) -> list[str]:
    """Return the ids that Alpaca has given, from which one can read on."""
    return [one for one in map(_identity, rows) if not one.endswith(_NAMELESS)]


def _last(rows: Sequence[Any]) -> str:
    """Return the id to read on from after a page; empty if there is nothing more to read.

    Raises:
        UnreadableError: If a whole page has none.
    """
    ids = _ids(rows)
    if len(rows) >= _PAGE and not ids:
        message = "a page of activities has no ids"
        raise UnreadableError(message)
    return ids[-1] if ids else ""


def _key(row: Any) -> str:
    """Return what makes a row one row: it may be told again when it is corrected or cancelled.

    Only the id's own part: the list puts the time before it, the stream does not.
    """
    identity = _identity(row).rpartition("::")[2]
    status = row.get("status", "executed")
    plain = status in {"executed", None, "pending"} or row.get("activity_type") == "FILL"
    return identity if plain else f"{identity}#{status}"
