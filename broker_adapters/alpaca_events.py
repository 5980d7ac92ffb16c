"""Alpaca's server-sent events, read by ourselves: a page at a time, by a cursor that others keep.

The stock client's reader calls a path that is gone, loses ids and comments, ends in silence on an
error and waits for ever on a dead line. This one continues from an id, goes back a few minutes
(order is promised for each account only, and ids of one millisecond are random), leaves out what it
has handed out before, and says so when the broker has dropped messages.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
        self._odd: dict[str, dict[str, str]] = {}
        """The same of events with an id that nobody can read, or that are none."""

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
        odd = self._odd.setdefault(stream, {})
        # What was handed out with a cursor that came back has been kept by whoever asked.
        told = (*handed.items(), *odd.items())
        known = {one for one, cursor in told if after and cursor <= after}
        version, path, name = STREAMS[stream]
        query = {name: earlier(after)} if after else {"since": "1970-01-01"}
        with self._http.stream(path, query, version, self._silence) as response:
            if response.status_code != requests.codes.ok:
                message = "the stream of events was not opened"
                raise BrokerUnavailableError(message, code=f"http_{response.status_code}")
            found = self._collect(response, known, limit)
        # An id that cannot be read, or lies in the future, is no place to go on from.
        cursor = max([after, *found.past])
        if cursor == after and (found.events or found.odd):
            # Late and odd ones too have a place of their own: who asks again has kept nothing.
            cursor = following(after or id_at(_EPOCH))
        handed |= dict.fromkeys(found.past, cursor)
        odd |= dict.fromkeys(found.odd, cursor)
        if cursor:
            oldest = earlier(earlier(cursor))
            for one in [one for one in handed if one < oldest]:
                del handed[one]
        for one in list(odd)[: max(0, len(odd) - _ODD_MAX)]:
            del odd[one]
        return CustodyEventPage(list(found.events.values()), cursor, found.gap)

    def _collect(self, response: requests.Response, known: set[str], limit: int) -> "_Found":
        """Return what comes until everything that waited has been told."""
        found = _Found()
        latest = self._clock.now() + _AHEAD
        for told in told_by(response):
            if isinstance(told, str):
                found.gap = found.gap or "dropped" in told
                if "heartbeat" in told:
                    break
                continue
            event = _event(told)
            if event is None:
                found.strange(repr(told), known)
            elif event.id not in known:
                found.events.setdefault(event.id, event)
                (found.past if _is_past(event.id, latest) else found.odd).append(event.id)
            if len(found.events) >= limit:
                break
        return found


@dataclass(slots=True)
class _Found:
    """What a stream told that was not known."""

    events: dict[str, CustodyEvent] = field(default_factory=dict)
    past: list[str] = field(default_factory=list)
    """Events with an id that says when."""
    odd: list[str] = field(default_factory=list)
    gap: bool = False

    def strange(self, what: str, known: set[str]) -> None:
        """Take note of something that is no event; it will be told again."""
        if what not in known:
            self.odd.append(what)
            self.gap = True


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


def following(ulid: str) -> str:
    """Return an id of the same instant that sorts after another, for events to come."""
    for place in range(_LENGTH - 1, _TIME_LETTERS - 1, -1):
        later = [letter for letter in _LETTERS if letter > ulid[place]]
        if later:
            return f"{ulid[:place]}{later[0]}".ljust(_LENGTH, "0")
    at = instant_of(ulid)
    assert at is not None  # it was asked for by `earlier`
    return id_at(at + timedelta(milliseconds=1))


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
