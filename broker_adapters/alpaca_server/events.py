"""What the server tells by server-sent events, and in what order it may be asked for again."""

import json
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, Final

from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.shelf import Shelf
from broker_adapters.alpaca_server.ulids import ulid
from robo.core.clock import Clock, iso_instant, to_micros

TRADES: Final = "trades"
ACTIVITIES: Final = "activities"
STREAMS: Final = {
    "/v2/events/trades": TRADES,
    "/v2/events/journals/status": "journals",
    "/v2/events/funding/status": "transfers",
    "/v1/events/accounts/status": "accounts",
    "/v2beta1/events/activities": ACTIVITIES,
}
_PAUSE_SECONDS: Final = 0.05
_HEARTBEAT_SECONDS: Final = 1.0
_CURSORS: Final = ("since_id", "since_ulid")
_ENDS: Final = ("until_id", "until_ulid")


class EventLog:
    """All events; those of trades are made again from the executions after a restart."""

    def __init__(self, shelf: Shelf, clock: Clock) -> None:
        """Take where events are kept, and the time."""
        self._shelf, self._clock = shelf, clock
        self._lock = Lock()
        self._trades: dict[str, Callable[[], dict[str, Any]]] = {}
        self._count = 0

    def made(self, stream: str, key: str, body: Mapping[str, Any]) -> tuple[str, str, Any]:
        """Return an event to be written together with what it tells of."""
        now = to_micros(self._clock.now())
        with self._lock:
            self._count += 1
            identity = ulid(now, f"{stream}/{key}/{self._count}")
        whole = {"event_id": identity, "event_ulid": identity, "at": iso_instant(now), **body}
        return stream, identity, whole

    def trade(self, micros: int, key: str, build: Callable[[], Mapping[str, Any]]) -> None:
        """Tell of an order; the same key is the same event."""
        identity = ulid(micros, key)
        at = {"event_id": identity, "at": iso_instant(micros), "timestamp": iso_instant(micros)}
        with self._lock:
            self._trades.setdefault(identity, lambda: {**at, **build()})

    def after(self, stream: str, since: str) -> list[dict[str, Any]]:
        """Return events after an id, in the order of their ids."""
        if stream == TRADES:
            with self._lock:
                wanted = sorted(one for one in self._trades if one > since)
                builders = [self._trades[one] for one in wanted]
            return [build() for build in builders]
        found = [body for _, body in self._shelf.events(stream)]
        return [body for body in found if str(body["event_id"]) > since]


def stream(
    after: Callable[[str], list[dict[str, Any]]],
    query: Mapping[str, str],
    fault: Fault | None,
    look: Callable[[], None],
    sleep: Callable[[float], None],
    alive: Callable[[], bool],
) -> Iterator[bytes]:
    """Yield a stream's text until the caller hangs up, or what was asked for has been told.

    Args:
        after: Returns the events after an id, in the order of their ids.
        query: `since_id` (or `since_ulid`), `until_id`, `until`, `since`.
        fault: What goes wrong, if anything.
        look: Lets the market go on.
        sleep: Waits.
        alive: Whether the server still runs.
    """
    since = next((query[one] for one in _CURSORS if query.get(one)), "")
    until = next((query[one] for one in _ENDS if query.get(one)), "")
    bounded = bool(until or query.get("until"))
    kind = None if fault is None else fault.kind
    if kind is FaultKind.EVENT_SILENT and fault is not None:
        sleep(fault.seconds)
        return
    if not (since or query.get("since")):
        look()
        since = max((str(one["event_id"]) for one in after("")), default="")
    told: set[str] = set()
    idle = _HEARTBEAT_SECONDS
    dropping = kind is FaultKind.EVENT_DROPPED
    while alive():
        look()
        fresh = [one for one in after(since) if one["event_id"] not in told]
        fresh = [one for one in fresh if not until or str(one["event_id"]) <= until]
        told |= {str(one["event_id"]) for one in fresh}
        if dropping and fresh:
            dropping, fresh = False, fresh[1:]
            yield b": you are reading too slowly, dropped 1 messages\n\n"
        yield from (_text(one) for one in _as_told(fresh, kind))
        if bounded:
            return
        idle = 0.0 if fresh else idle + _PAUSE_SECONDS
        if idle >= _HEARTBEAT_SECONDS:
            idle = 0.0
            yield b":heartbeat\n\n"
        sleep(_PAUSE_SECONDS)


def _as_told(fresh: list[dict[str, Any]], kind: FaultKind | None) -> list[dict[str, Any]]:
    if kind is FaultKind.EVENT_TWICE:
        return [one for one in fresh for _ in range(2)]
    if kind is FaultKind.EVENT_SWAP:
        pairs = [fresh[place : place + 2] for place in range(0, len(fresh), 2)]
        return [one for pair in pairs for one in reversed(pair)]
    return fresh


def _text(body: Mapping[str, Any]) -> bytes:
    return f"id: {body['event_id']}\ndata: {json.dumps(body)}\n\n".encode()
