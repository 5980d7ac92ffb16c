"""How often one may ask: a cheap outer shield in memory, per process.

Counters that must hold over processes and restarts (logins, sign-ups, resets) are rows, see
`robo.services.throttling`. Counting is our own: a memory store that starts a thread to expire its
entries cost 0.2 ms a request here, more than finding out who is calling.
"""

import hashlib
import threading
import time
from typing import Final

from flask import Flask, current_app, request

from robo.core.errors import RateLimitedError

_NAME: Final = "robo-limits"
_WINDOW_SECONDS: Final = 60
_ENTRIES_MAX: Final = 100_000
"""More callers than this in a minute are an attack; then all are counted together."""
_STRANGERS_PER_MINUTE: Final = 300
"""Failed authentications of one address: nobody guesses 256 bits, but nobody needs to try."""
_ADDRESS_FACTOR: Final = 20
"""One address may hold many callers (an office, a brokerage's server)."""


class Shield:
    """Counts requests per credential, per address, and failed authentications per address.

    One dictionary a minute: the next minute begins with an empty one.
    """

    def __init__(self, per_minute: int) -> None:
        """Allow this many requests a minute to each credential."""
        self._per_minute = per_minute
        self._guard = threading.Lock()
        self._window = -1
        self._counts: dict[str, int] = {}

    def hit(self, credential: str, address: str) -> int:
        """Count a request; return in how many seconds to come back, 0 if it may proceed."""
        who = hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest()[:32]
        if self._count(f"address {address}") > self._per_minute * _ADDRESS_FACTOR:
            return self._wait()
        return self._wait() if self._count(f"caller {who}") > self._per_minute else 0

    def strangers(self, address: str) -> int:
        """Return in how many seconds an address may try another credential, 0 if now."""
        failed = self._count(f"stranger {address}", add=0)
        return self._wait() if failed >= _STRANGERS_PER_MINUTE else 0

    def count_stranger(self, address: str) -> None:
        """Count a failed authentication."""
        self._count(f"stranger {address}")

    def _count(self, name: str, add: int = 1) -> int:
        with self._guard:
            window = int(time.monotonic()) // _WINDOW_SECONDS
            if window != self._window:
                self._window, self._counts = window, {}
            if len(self._counts) >= _ENTRIES_MAX and name not in self._counts:
                name = "everybody else"
            count = self._counts.get(name, 0) + add
            if add:
                self._counts[name] = count
            return count

    def _wait(self) -> int:
        return _WINDOW_SECONDS - int(time.monotonic()) % _WINDOW_SECONDS


def install(app: Flask, per_minute: int) -> None:
    """Put the shield in front of every request."""
    app.extensions[_NAME] = Shield(per_minute)

    def check() -> None:
        credential = request.headers.get("Authorization") or f"address {address()}"
        _refuse(_shield().hit(credential, address()))

    app.before_request(check)


def address() -> str:
    """Return the caller's network address, as far as our proxies are believed."""
    return request.remote_addr or "-"


def check_strangers() -> None:
    """Return unless this address failed to authenticate too often."""
    _refuse(_shield().strangers(address()))


def count_stranger() -> None:
    """Count a failed authentication of this address."""
    _shield().count_stranger(address())


def _shield() -> Shield:
    found: Shield = current_app.extensions[_NAME]
    return found


def _refuse(seconds: int) -> None:
    if seconds:
        message = "Too many requests."
        raise RateLimitedError(message, retry_after_seconds=seconds)
