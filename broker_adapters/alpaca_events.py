"""Alpaca's server-sent events, read by ourselves: a page at a time, by a cursor that others keep.

The stock client's reader calls a path that is gone, loses ids and comments, ends in silence on an
error and waits for ever on a dead line. This one continues from an id, goes back a few minutes
(order is promised for each account only, and ids of one millisecond are random), leaves out what it
has handed out before, and says so when the broker has dropped messages.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import requests

from broker_adapters.alpaca_fields import UnreadableError, parse_instant
from broker_adapters.alpaca_http import AlpacaHttp
from robo.core.clock import Clock
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.ports.brokerage import CustodyEvent, CustodyEventPage

STREAMS: Final = {
    "accounts": ("v1", "/events/accounts/status", "since_ulid"),
    "transfers": ("v2", "/events/funding/status", "since_id"),
    "journals": ("v2", "/events/journals/status", "since_id"),
}
"""Stream -> (version, path, the name of its cursor)."""
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_LETTERS, _LENGTH = 10, 26
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BACK: Final = timedelta(minutes=3)
_AHEAD: Final = timedelta(days=1)
"""How far Alpaca's clock may be before ours: an id beyond that is none to go on from."""
_ODD_MAX: Final = 10_000
_EVENT_BYTES_MAX: Final = 1_000_000
_SUBJECTS: Final = ("transfer_id", "journal_id", "bank_relationship_id", "entity_id", "account_id")


class EventReader:
    """Reads pages of the three status streams."""

    def __init__(self, http: AlpacaHttp, clock: Clock, silence_seconds: float = 2.0) -> None:
        """Take the client, the time, and how long nothing must come for a page to be at its end."""
        self._http, self._clock, self._silence = http, clock, silence_seconds
        self._handed: dict[str, dict[str, str]] = {}
        """Stream -> id -> the cursor that it was handed out with."""
        self._odd: dict[str, dict[str, None]] = {}
        """Stream -> events with an id that nobody can read, or that are none: told once."""

    def page(self, stream: str, after: str, limit: int) -> CustodyEventPage:
        """Return what is new after a cursor; the same event may come again after a restart.

        Raises:
            InvalidInputError: If there is no such stream, or the cursor is no id.
            BrokerUnavailableError: If the stream was not opened.
        """
        if stream not in STREAMS:
            message = f"there is no stream {stream}"
            raise InvalidInputError(message, code="unknown_stream")
        handed = self._handed.setdefault(stream, {})
        # What was handed out with a cursor that came back has been kept by whoever asked.
        known = {one for one, cursor in handed.items() if after and cursor <= after}
        version, path, name = STREAMS[stream]
        query = {name: earlier(after)} if after else {"since": "1970-01-01"}
        with self._http.stream(path, query, version, self._silence) as response:
            if response.status_code != requests.codes.ok:
                message = "the stream of events was not opened"
                raise BrokerUnavailableError(message, code=f"http_{response.status_code}")
            events, gap = self._collect(response, stream, known, limit)
        latest = self._clock.now() + _AHEAD
        # An id that cannot be read, or lies in the future, is no place to go on from.
        cursor = max([after, *(one for one in events if _is_past(one, latest))])
        handed |= {one: cursor for one in events if _is_past(one, latest)}
        if cursor:
            oldest = earlier(earlier(cursor))
            for one in [one for one in handed if one < oldest]:
                del handed[one]
        return CustodyEventPage(list(events.values()), cursor, gap)

    def _collect(
        self, response: requests.Response, stream: str, known: set[str], limit: int
    ) -> tuple[dict[str, CustodyEvent], bool]:
        """Return events by id that are not known, and whether something was left out."""
        events: dict[str, CustodyEvent] = {}
        gap = False
        latest = self._clock.now() + _AHEAD
        for told in told_by(response):
            if isinstance(told, str):
                gap = gap or "dropped" in told
                if "heartbeat" in told:
                    break  # everything that waited has been told
                continue
            event = _event(told)
            if event is None:
                gap = self._is_odd(stream, repr(told)) or gap
            elif not _is_past(event.id, latest):
                if self._is_odd(stream, event.id):
                    events.setdefault(event.id, event)
            elif event.id not in known:
                events.setdefault(event.id, event)
            if len(events) >= limit:
                break
        return events, gap

    def _is_odd(self, stream: str, what: str) -> bool:
        """Return whether something odd is told for the first time; it will be told again."""
        seen = self._odd.setdefault(stream, {})
        if what in seen:
            return False
        seen[what] = None
        if len(seen) > _ODD_MAX:
            del seen[next(iter(seen))]
        return True


def told_by(response: requests.Response) -> Iterator[str | Mapping[str, Any] | None]:
    """Yield a stream's comments as text, events as objects, None for what is no object."""
    data: list[str] = []
    for line in _lines(response):
        if not line:
            if data:
                yield _object("\n".join(data))
            data = []
        elif line.startswith(":"):
            yield line[1:]
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
    # What stands after the last blank line broke off in the middle: it will be told again.


def earlier(ulid: str) -> str:
    """Return the first id of a few minutes before another.

    Raises:
        InvalidInputError: If it is no id of Alpaca's.
    """
    at = instant_of(ulid)
    if at is None:
        message = "that is no cursor of this broker"
        raise InvalidInputError(message, code="bad_cursor")
    return id_at(max(_EPOCH, at - _BACK))


def instant_of(identity: str) -> datetime | None:
    """Return the instant that an id begins with; None if none can be read from it.

    Only the time is read: Alpaca's own samples have letters after it that no such id should have.
    """
    head = identity[:_TIME_LETTERS].upper()
    if len(identity) != _LENGTH or any(letter not in _LETTERS for letter in head):
        return None
    number = 0
    for letter in head:
        number = number * 32 + _LETTERS.index(letter)
    try:
        return _EPOCH + timedelta(milliseconds=number)
    except OverflowError:
        return None


def id_at(instant: datetime, *, last: bool = False) -> str:
    """Return the first, or the last, id of an instant's millisecond."""
    number = max(0, (instant - _EPOCH) // timedelta(milliseconds=1))
    letters = [_LETTERS[(number >> (5 * place)) & 31] for place in range(_TIME_LETTERS)]
    return "".join(reversed(letters)).ljust(_LENGTH, "Z" if last else "0")


def _is_past(identity: str, latest: datetime) -> bool:
    at = instant_of(identity)
    return at is not None and at <= latest


def _lines(response: requests.Response) -> Iterator[str]:
    """Yield whole lines as they come, until nothing comes for too long or the line breaks."""
    rest = b""
    chunked = bool(getattr(response.raw, "chunked", False))
    try:
        for part in response.iter_content(None if chunked else 1):
            rest += part
            *whole, rest = rest.replace(b"\r\n", b"\n").split(b"\n")
            if len(rest) > _EVENT_BYTES_MAX:
                return
            for line in whole:
                yield line.decode("utf-8", "replace")
    except (requests.RequestException, OSError):
        return  # silence, or the end: what was told before it counts


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        body = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        return None
    return body if isinstance(body, dict) else None


def _event(body: Mapping[str, Any] | None) -> CustodyEvent | None:
    """Return an event; None if it has no id or no instant, and so cannot be one."""
    if body is None:
        return None
    identity = body.get("event_ulid") or body.get("event_id")
    subject = next((str(body[name]) for name in _SUBJECTS if body.get(name)), "")
    try:
        at = parse_instant(body, "at")
    except UnreadableError:
        return None
    if not isinstance(identity, str) or not subject:
        return None
    return CustodyEvent(
        id=identity,
        subject=subject,
        broker_account=str(body.get("account_id") or ""),
        word_from=str(body.get("status_from") or ""),
        word_to=str(body.get("status_to") or ""),
        at=at,
    )
