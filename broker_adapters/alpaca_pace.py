"""How fast Alpaca may be asked: its own count of what is left, in lanes.

Alpaca allows so many requests a minute for an account, whoever asks, and says in the headers of
each answer how many are left and when the count starts anew. Orders may use all of them; reads
leave some for orders, healing leaves more for both. Who finds nothing left waits for the new minute
if its lane may wait that long, or is told so: a request that was not sent has a known outcome.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from threading import Lock
from typing import Final

from robo.core.errors import BrokerUnavailableError
from robo.core.money import PPM

_WINDOW_SECONDS: Final = 60.0
_NUMBER_LENGTH_MAX: Final = 12
_TOO_MANY: Final = 429


class ThrottledError(BrokerUnavailableError):
    """The request was not sent, because the broker would refuse it: ask again later."""

    code = "rate_limit"


@dataclass(frozen=True, slots=True)
class _Terms:
    reserve_ppm: int
    """The part of the limit that this lane leaves to the lanes before it."""
    wait_seconds_max: float


class Lane(Enum):
    """Who goes first when requests are scarce."""

    AT_ONCE = _Terms(0, 0.0)
    """A new order: now or not at all. While it slept, a kill switch, a halt or the close of the
    market could not stop it."""
    ORDERS = _Terms(0, 61.0)
    READS = _Terms(150_000, 61.0)
    HEALING = _Terms(500_000, 0.0)
    """Looking again at what is known already: it has time until the next round."""


class Pace:
    """Counts requests down between two answers; shared by the threads of one process."""

    def __init__(
        self,
        per_minute: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start with a full minute; the headers of the first answer correct it."""
        self._monotonic, self._sleep = monotonic, sleep
        self._lock = Lock()
        self._limit = per_minute
        self._left = per_minute
        self._fresh_at = monotonic() + _WINDOW_SECONDS

    def take(self, lane: Lane) -> None:
        """Use one request, waiting for the next minute if there is none and the lane may wait.

        Raises:
            ThrottledError: If nothing is left and the lane may not wait that long.
        """
        waits_left = lane.value.wait_seconds_max
        while (wait := self._try(lane)) > 0:
            if wait > waits_left:
                message = "the broker's requests of this minute are used up"
                raise ThrottledError(message)
            self._sleep(wait)
            waits_left -= wait

    def hear(self, status: int, headers: Mapping[str, str]) -> None:
        """Believe an answer's headers as far as they make sense; a 429 means nothing is left."""
        limit = _number(headers.get("X-Ratelimit-Limit"))
        left = _number(headers.get("X-Ratelimit-Remaining"))
        reset = _number(headers.get("X-Ratelimit-Reset"))
        seconds = None if reset is None else _seconds_until(reset, headers.get("Date"))
        with self._lock:
            if limit:
                self._left += limit - self._limit
                self._limit = limit
            if seconds is not None:
                self._fresh_at = self._monotonic() + seconds
            if left is not None:
                # Ours counts what is under way and not answered yet; the broker's, other processes.
                self._left = min(self._left, left)
            if status == _TOO_MANY:
                self._left = 0
                self._fresh_at = max(self._fresh_at, self._monotonic() + 1.0)

    def _try(self, lane: Lane) -> float:
        """Take one request and return 0, or return the seconds until there may be one."""
        with self._lock:
            now = self._monotonic()
            if now >= self._fresh_at:
                self._left = self._limit
                self._fresh_at = now + _WINDOW_SECONDS
            if self._left > self._limit * lane.value.reserve_ppm // PPM:
                self._left -= 1
                return 0.0
            return self._fresh_at - now


def _number(text: str | None) -> int | None:
    """Return a header's whole number; None for none, and for what is no number."""
    body = (text or "").strip()
    if not (body.isascii() and body.isdigit() and len(body) <= _NUMBER_LENGTH_MAX):
        return None
    return int(body)


def _seconds_until(reset: int, date: str | None) -> float | None:
    """Return how far off a reset is by the broker's own clock; None if that makes no sense."""
    try:
        asked: datetime = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    seconds = reset - asked.timestamp()
    return seconds if 0 <= seconds <= _WINDOW_SECONDS else None
