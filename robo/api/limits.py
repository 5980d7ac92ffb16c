"""How often one may ask: a cheap outer shield in memory, per process.

One dictionary of counts that each new minute replaces: two look-ups a request, whatever the number
of callers. (A memory store that starts a thread to expire its entries cost 0.2 ms a request here,
more than finding out who is calling.) Counters that must hold over processes and restarts (logins,
sign-ups, resets) are rows, see `robo.services.throttling`.
"""

import hashlib
import threading
import time
from typing import Final

from flask import Flask, current_app, request
from werkzeug.exceptions import LengthRequired

from robo.core.errors import RateLimitedError

_NAME: Final = "robo-limits"
_WINDOW_SECONDS: Final = 60
_ENTRIES_MAX: Final = 100_000
"""More callers than this in a minute are an attack; those beyond share one count."""
_STRANGERS_PER_MINUTE: Final = 300
"""Failed authentications of one address: nobody guesses 256 bits, but nobody needs to try."""
_COSTLY_PART: Final = 40
"""A costly request counts like so many usual ones."""
_ADDRESS_FACTOR: Final = 20
"""One address may hold many callers (an office, a brokerage's server)."""


class Shield:
    """Counts requests per credential, per address, and failed authentications per address."""

    def __init__(self, per_minute: int) -> None:
        """Allow this many requests a minute to each credential."""
        self._most = {
            "address": per_minute * _ADDRESS_FACTOR,
            "caller": per_minute,
            "costly": max(1, per_minute // _COSTLY_PART),
            "stranger": _STRANGERS_PER_MINUTE,
        }
        self._lock = threading.Lock()
        self._window = -1
        self._counts: dict[tuple[str, str], int] = {}

    def hit(self, credential: str, address: str) -> int:
        """Count a request; return in how many seconds to come back, 0 if it may proceed."""
        # Neither secrets nor long headers are kept: a hash stands in for the credential.
        who = hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest()[:32]
        return self._count("address", address) or self._count("caller", who)

    def hit_costly(self, caller: str) -> int:
        """Count a costly request; return in how many seconds to come back, 0 if it may proceed."""
        return self._count("costly", caller)

    def strangers(self, address: str) -> int:
        """Return in how many seconds an address may try another credential, 0 if now."""
        return self._count("stranger", address, add=0)

    def count_stranger(self, address: str) -> None:
        """Count a failed authentication."""
        self._count("stranger", address)

    def _count(self, kind: str, who: str, add: int = 1) -> int:
        """Add to a count that is not full; return 0, or the seconds until the next minute."""
        window, passed = divmod(int(time.monotonic()), _WINDOW_SECONDS)
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            key = (kind, who)
            if len(self._counts) >= _ENTRIES_MAX and key not in self._counts:
                key = (kind, "everybody else")
            count = self._counts.get(key, 0)
            if count < self._most[kind]:
                if add:
                    self._counts[key] = count + add
                return 0
        return _WINDOW_SECONDS - passed


def install(app: Flask, per_minute: int) -> None:
    """Put the shield in front of every request."""
    app.extensions[_NAME] = Shield(per_minute)

    def check() -> None:
        # A body of unknown length would be read up to our limit and cut there, unnoticed.
        if "Transfer-Encoding" in request.headers and request.content_length is None:
            raise LengthRequired
        credential = request.headers.get("Authorization") or f"address {address()}"
        _refuse(_shield().hit(credential, address()))

    app.before_request(check)


def address() -> str:
    """Return the caller's network address, as far as our proxies are believed."""
    return request.remote_addr or "-"


def count_costly(caller: str) -> None:
    """Count a request that takes a good part of a second of work.

    Raises:
        RateLimitedError: If this caller asked for too many of them.
    """
    _refuse(_shield().hit_costly(caller))


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
