"""What can go wrong on the way to a broker and back, on request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any


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
    DELAY_AFTER = "delay_after"
    """Act, then answer only after `seconds`: the caller has timed out."""
    TRUNCATE = "truncate"
    """Act, then close the connection in the middle of the answer."""
    EDIT = "edit"
    """Act, then change keys of the answer to `edit`: a new status, a null date."""
    REJECT_LATER = "reject_later"
    """Accept an order and reject it afterwards."""
    CANCEL_LATER = "cancel_later"
    """Accept a cancel; the order goes on filling for `seconds`."""


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


class Faults:
    """The faults that are planned; safe for threads."""

    def __init__(self) -> None:
        """Plan none."""
        self._lock = Lock()
        self._planned: list[list[Any]] = []

    def plan(self, *faults: Fault) -> None:
        """Add faults; calls are counted for each from now on."""
        with self._lock:
            self._planned += [[fault, 0] for fault in faults]

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
        return hit
