"""What can go wrong on the way to a broker and back, on request."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from threading import Lock
from typing import Any, Final

_SECONDS_MAX: Final = 3_600


class FaultKind(StrEnum):
    """What happens to a request; `…_after` means that the broker has acted first."""

    REFUSE = "refuse"
    """Answer `status` and `body`, and do nothing: a 429, a 503, a 404 right after an order."""
    FAIL_AFTER = "fail_after"
    """Act, then answer `status` and `body`: a 504, a 500, a 200 that nobody can read."""
    DROP = "drop"
    """Close the connection and do nothing."""
    DROP_AFTER = "drop_after"
    """Act, then close the connection."""
    DELAY = "delay"
    """Act only after `seconds`."""
    DELAY_AFTER = "delay_after"
    """Act, then answer only after `seconds`: the caller has timed out."""
    TRUNCATE = "truncate"
    """Act, then close the connection in the middle of the answer."""
    EDIT = "edit"
    """Act, then change keys of the answer (of each row of a list) to `edit`: a new status, a null
    date."""
    REPEAT = "repeat"
    """Act, then say each row of a list twice."""
    MISSING = "missing"
    """Act, then leave out the last row of a list."""
    REJECT_LATER = "reject_later"
    """Accept an order and reject it afterwards."""
    CANCEL_LATER = "cancel_later"
    """Accept a cancel; the order goes on filling for `seconds`."""
    EVENT_TWICE = "event_twice"
    """Of a stream: tell each event twice."""
    EVENT_SWAP = "event_swap"
    """Of a stream: tell events in pairs, the later one first."""
    EVENT_SILENT = "event_silent"
    """Of a stream: stay connected for `seconds` and say nothing, not even a heartbeat."""
    EVENT_DROPPED = "event_dropped"
    """Of a stream: leave out the first event, and say in a comment that messages were dropped."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: which requests it meets and what it does to them."""

    kind: FaultKind
    method: str = "POST"
    path: str = "/v2/orders"
    """A regular expression that the whole path (without its query) matches."""
    nth: int = 1
    """The first matching call that is hit, counted from now ..."""
    times: int = 1
    """... and how many from then on."""
    status: int = 503
    body: str = ""
    seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    edit: Mapping[str, Any] = field(default_factory=dict)


def read_fault(body: Any) -> Fault:
    """Return a fault as it was asked for over HTTP.

    Raises:
        ValueError: If a key or a value is not one of a fault's.
    """
    if not isinstance(body, Mapping):
        message = "a fault is an object"
        raise ValueError(message)  # noqa: TRY004 - what came over the wire has no type of ours
    kinds = {one.name: one.type for one in fields(Fault)}
    given: dict[str, Any] = {}
    for name, value in body.items():
        fine = {
            "kind": isinstance(value, str),
            "method": isinstance(value, str),
            "path": isinstance(value, str),
            "body": isinstance(value, str),
            "nth": isinstance(value, int) and value > 0,
            "times": isinstance(value, int) and value > 0,
            "status": isinstance(value, int) and value in range(100, 600),
            "seconds": isinstance(value, int | float) and 0 <= value <= _SECONDS_MAX,
        }.get(name, name in kinds and isinstance(value, Mapping))
        if not fine:
            message = f"a fault's {name} cannot be that"
            raise ValueError(message)
        given[name] = value
    try:
        re.compile(given.get("path", ""))
        return Fault(**{**given, "kind": FaultKind(given["kind"])})
    except (KeyError, re.error) as error:
        message = "a fault needs a kind, and a path that is a regular expression"
        raise ValueError(message) from error


class Faults:
    """The faults that are planned; safe for threads."""

    def __init__(self) -> None:
        """Plan none."""
        self._lock = Lock()
        self._planned: list[list[Any]] = []
        self.dealt: Counter[str] = Counter()
        """How many requests each kind of fault has met."""

    def plan(self, *faults: Fault) -> None:
        """Add faults; calls are counted for each from now on."""
        with self._lock:
            self._planned += [[fault, 0] for fault in faults]

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._planned.clear()

    def meet(self, method: str, path: str) -> Fault | None:
        """Count a call, and return the fault that it meets."""
        hit: Fault | None = None
        with self._lock:
            for planned in self._planned:
                fault: Fault = planned[0]
                if fault.method != method or not re.fullmatch(fault.path, path):
                    continue
                planned[1] += 1
                if hit is None and fault.nth <= planned[1] < fault.nth + fault.times:
                    hit = fault
            # What can meet nothing any more costs no request any more.
            self._planned = [planned for planned in self._planned if planned[1] < _last(planned[0])]
            if hit is not None:
                self.dealt[hit.kind.value] += 1
        return hit


def _last(fault: Fault) -> int:
    """Return the last matching call that a fault meets."""
    return fault.nth + fault.times - 1
