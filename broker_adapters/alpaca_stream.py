"""Alpaca's stream of activities: what was booked, in the order in which it became known.

It supersedes the list of activities for everything booked after 11 February 2026, in other words:
an envelope (`ref_id`, the list's id without the time before it) and `details`. Here it is read a
stretch at a time, up to the present instant, and its events are put into the list's words, so that
whichever of the two tells a row first, it is one row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import requests

from broker_adapters.alpaca_events import id_at, instant_of, told_by
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_pace import Lane
from robo.core.clock import Clock, iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError

_VERSION, _PATH = "v2beta1", "/events/activities"
_BEGINS: Final = datetime(2026, 2, 11, tzinfo=UTC)
"""The first day of which the stream tells."""
_BACK: Final = timedelta(seconds=10)
"""How far every reading goes back: ids of one millisecond are in no order."""
_LOOKS: Final = (
    (timedelta(seconds=30), timedelta(minutes=3)),
    (timedelta(minutes=15), timedelta(hours=1)),
)
"""(how often, how far) one goes back further: order is promised for each account only, and what
comes late of one account may have an id of minutes before what was read of another."""
_FAR_EVERY, _FAR = timedelta(hours=6), timedelta(days=1)
"""How often, and how far, one goes back for what came later still; not at a start, which is busy,
and where a short-lived process would do nothing else."""
_EVENTS_MAX: Final = 2_000
"""Events of one stretch; more are read by the next."""
_SILENCE_SECONDS: Final = 2.0
NOT_OFFERED: Final = frozenset({403, 404, 405, 410, 501})
"""Statuses of a source of activities that does not exist for these keys."""
_ASK_EVERY: Final = timedelta(hours=1)
"""How often a stream is asked for that there was not."""
_DROPS_MAX: Final = 10
"""So often a stretch is read that Alpaca leaves events out of, each time a shorter one."""
_SHORTER: Final = 4
_SHORTEST: Final = timedelta(seconds=1)
_TRADES: Final = frozenset({"TRD", "FILL"})


class NotOfferedError(BrokerUnavailableError):
    """This source of activities does not exist for these keys; the other one may."""

    code = "not_offered"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of the stream."""

    rows: list[dict[str, Any]]
    """Activities in the list's words."""
    reach: str
    """The id up to which everything was told; empty if none was."""
    next: str
    """Where the next stretch begins; empty if this one is the last."""
    whole: bool
    """Whether nothing is left out before `reach`, or so often that one has to go on without it."""
    lost: bool = False
    """Whether one goes on without something: for a person."""


class ActivityStream:
    """Reads stretches; the caller keeps the cursor."""

    def __init__(self, http: AlpacaHttp, clock: Clock) -> None:
        """Take the client and the time."""
        self._http, self._clock = http, clock
        self._missing_at: datetime | None = None
        self._looked_at: dict[timedelta, datetime] = {}
        """How far back -> when one last did."""
        self._looking: dict[timedelta, datetime] = {}
        self._drops = 0

    def begin(self, cursor: str, *, thoroughly: bool = False) -> str:
        """Return the id to begin at to read what comes after a cursor, and what came late."""
        at = instant_of(cursor) if cursor else None
        now, back = self._clock.now(), _BACK
        self._looking = {}
        for every, far in _LOOKS:
            before = self._looked_at.get(far)
            fresh = before is not None and timedelta() <= now - before < every
            if thoroughly or at is None or not fresh:
                self._looking[far] = now
                back = far
        if not timedelta() <= now - self._looked_at.setdefault(_FAR, now) < _FAR_EVERY:
            self._looking[_FAR] = now
            back = _FAR
        return "" if at is None else id_at(max(_BEGINS, at - back))

    def done(self) -> None:
        """Note that everything from where one began has been read, and kept."""
        self._looked_at |= self._looking

    def read(self, begin: str, lane: Lane) -> Stretch:
        """Return what was told from an id on.

        What Alpaca says to have dropped is asked for again, in shorter stretches each time.

        Raises:
            NotOfferedError: If there is no such stream for these keys.
            BrokerUnavailableError: If it was not opened.
        """
        now = self._clock.now()
        if self._missing_at is not None and timedelta() <= now - self._missing_at < _ASK_EVERY:
            _refuse(404)
        since = (instant_of(begin) if begin else None) or _BEGINS
        last_try = self._drops >= _DROPS_MAX
        until = now
        if self._drops and not last_try:
            short = max(_SHORTEST, (now - since) / _SHORTER**self._drops)
            until = min(now, since + short)
        query = {"since_id": id_at(since), "until_id": id_at(until, last=True)}
        if not begin:
            query = {"since": _instant(since), "until": _instant(until)}
        with self._http.stream(_PATH, query, _VERSION, _SILENCE_SECONDS, lane) as response:
            self._missing_at = now if response.status_code in NOT_OFFERED else None
            if response.status_code != requests.codes.ok:
                _refuse(response.status_code)
            heard = _listen(response, now)
        if heard.dropped and not last_try:
            self._drops += 1
            going_on = id_at(instant_of(heard.sure) or since) if heard.sure else begin
            return Stretch(heard.rows, heard.sure, going_on, whole=False)
        # A stretch that came whole may be followed by a longer one.
        self._drops = 0 if last_try else max(0, self._drops - 1)
        full, reach = len(heard.rows) >= _EVENTS_MAX, heard.newest
        if not full and until < now:
            reach = max(reach, id_at(until))
        more = _after(reach, since) if (full or until < now) and reach else ""
        return Stretch(heard.rows, reach, more, whole=True, lost=heard.dropped)


@dataclass(slots=True)
class _Heard:
    """What one answer told."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    newest: str = ""
    sure: str = ""
    """The newest id before anything was left out."""
    dropped: bool = False


def _listen(response: requests.Response, now: datetime) -> _Heard:
    heard = _Heard()
    for told in told_by(response):
        if isinstance(told, str):
            heard.dropped = heard.dropped or "dropped" in told
            if "heartbeat" in told:
                break
        elif told is not None:  # what broke off is told again
            heard.rows.append(as_row(told))
            heard.newest = max(heard.newest, _cursor(told, now + timedelta(days=1)))
            heard.sure = heard.sure if heard.dropped else heard.newest
            if len(heard.rows) >= _EVENTS_MAX:
                break
    return heard


def _after(newest: str, since: datetime) -> str:
    """Return where to go on after an id: at its instant, but always later than before."""
    at = instant_of(newest) or since
    return id_at(max(at, since + timedelta(milliseconds=1)))


def _instant(at: datetime) -> str:
    return iso_instant(to_micros(at))


def as_row(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of the stream in the words of the list of activities."""
    details = event.get("details")
    more: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
    word = str(event.get("activity_type") or "")
    row: dict[str, Any] = {
        "id": str(event.get("ref_id") or f"{event.get('event_id') or ''}#unnamed"),
        "account_id": event.get("account_id"),
        "status": event.get("status") or "executed",
        "price": event.get("price"),
        "qty": event.get("qty"),
        "previous_id": event.get("previous_id"),
    }
    if word in _TRADES:
        names = ("side", "symbol", "order_id", "cum_qty", "leaves_qty")
        return {
            **row,
            "activity_type": "FILL",
            "type": more.get("execution_type"),
            "transaction_time": event.get("executed_at") or event.get("at"),
            **{name: more.get(name) for name in names},
        }
    return {
        **row,
        "activity_type": word,
        "activity_sub_type": event.get("activity_subtype") or "",
        "date": event.get("settle_date") or more.get("system_date"),
        "net_amount": event.get("net_amount"),
        "symbol": _symbol(word, event, more),
        "description": _text(word, more),
        "group_id": more.get("group_id"),
    }


def _symbol(word: str, event: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    """Return the name that a row is about: what goes, where shares go, and what comes."""
    goes = str(event.get("qty") or "").startswith("-")
    comes = not goes and any(digit in str(event.get("qty") or "") for digit in "123456789")
    names = {
        "MA": ("acquirer_symbol",) if comes else ("acquiree_symbol",),
        "NC": ("new_symbol",) if comes else ("old_symbol",),
        "SPLIT": ("symbol", "new_symbol" if comes else "old_symbol"),
        "SPIN": ("new_symbol", "symbol"),
    }.get(word, ("symbol",))
    return next((str(more[name]) for name in names if more.get(name)), "")


def _text(word: str, more: Mapping[str, Any]) -> str:
    """Return what the list says in words and the stream in fields."""
    if more.get("entitled_qty"):
        return f"Pos QTY: {more['entitled_qty']}"
    if word == "SPIN" and more.get("source_symbol"):
        target = more.get("new_symbol") or more.get("symbol")
        return f"Target Symbol: {target}, Initiating Symbol: {more['source_symbol']}"
    return ""


def _cursor(event: Mapping[str, Any], latest: datetime) -> str:
    """Return an event's id if it can be read from; empty if not, or if it lies in the future."""
    identity = event.get("event_id")
    at = instant_of(identity) if isinstance(identity, str) else None
    return str(identity) if at is not None and at <= latest else ""


def _refuse(status: int) -> NoReturn:
    code = f"http_{status}"
    if status in NOT_OFFERED:
        message = "there is no stream of activities"
        raise NotOfferedError(message, code=code)
    message = "the stream of activities was not opened"
    raise BrokerUnavailableError(message, code=code)
