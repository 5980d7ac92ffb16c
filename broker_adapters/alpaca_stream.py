"""Alpaca's stream of activities: what was booked, in the order in which it became known.

It supersedes the list of activities for everything booked after 11 February 2026, in other words:
an envelope (`ref_id`, the list's id without the time before it) and `details`. Here it is read a
stretch at a time, up to the present instant, and its events are put into the list's words, so that
whichever of the two tells a row first, it is one row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import requests

from broker_adapters.alpaca_events import id_at, instant_of, told_by
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_pace import Lane
from robo.core.clock import Clock, iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError

_VERSION, _PATH = "v2beta1", "/events/activities"
_BEGINS: Final = "2026-02-11T00:00:00Z"
"""The first day of which the stream tells."""
_BACK: Final = timedelta(seconds=10)
"""How far a reading goes back: ids of one millisecond are in no order."""
_EVENTS_MAX: Final = 2_000
"""Events of one stretch; more are read by the next."""
_SILENCE_SECONDS: Final = 2.0
_NOT_OFFERED: Final = frozenset({403, 404, 405, 410, 501})
_ASK_EVERY: Final = timedelta(hours=1)
"""How often a stream is asked for that there was not."""
_TRADES: Final = frozenset({"TRD", "FILL"})


class NotOfferedError(BrokerUnavailableError):
    """This source of activities does not exist for these keys; the other one may."""

    code = "not_offered"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of the stream."""

    rows: list[dict[str, Any]]
    """Activities in the list's words."""
    cursor: str
    more: bool
    """Whether the next stretch can be read at once."""


class ActivityStream:
    """Reads stretches; the caller keeps the cursor."""

    def __init__(self, http: AlpacaHttp, clock: Clock) -> None:
        """Take the client and the time."""
        self._http, self._clock = http, clock
        self._missing_at: datetime | None = None

    def read(self, cursor: str, lane: Lane, back: timedelta = _BACK) -> Stretch:
        """Return what was told after a cursor, and from a while before it.

        Raises:
            NotOfferedError: If there is no such stream for these keys.
            BrokerUnavailableError: If it was not opened.
        """
        now = self._clock.now()
        if self._missing_at is not None and timedelta() <= now - self._missing_at < _ASK_EVERY:
            _refuse(404)
        since = None if not cursor else instant_of(cursor)
        if since is None:
            query = {"since": _BEGINS, "until": iso_instant(to_micros(now))}
        else:
            query = {"since_id": id_at(since - back), "until_id": id_at(now, last=True)}
        rows: list[dict[str, Any]] = []
        dropped, newest, count = False, cursor, 0
        with self._http.stream(_PATH, query, _VERSION, _SILENCE_SECONDS, lane) as response:
            self._missing_at = now if response.status_code in _NOT_OFFERED else None
            if response.status_code != requests.codes.ok:
                _refuse(response.status_code)
            for told in told_by(response):
                if isinstance(told, str):
                    dropped = dropped or "dropped" in told
                    if "heartbeat" in told:
                        break
                    continue
                if told is None:
                    continue  # what broke off is told again
                count += 1
                rows.append(as_row(told))
                newest = max(newest, _cursor(told, now + timedelta(days=1)))
                if count >= _EVENTS_MAX:
                    break
        # What was dropped stands before what came: the next reading begins where this one did.
        return Stretch(
            rows, cursor if dropped else newest, count >= _EVENTS_MAX and newest > cursor
        )


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
    if status in _NOT_OFFERED:
        message = "there is no stream of activities"
        raise NotOfferedError(message, code=code)
    message = "the stream of activities was not opened"
    raise BrokerUnavailableError(message, code=code)
