"""How often one may ask: a cheap outer shield in memory, per process.

Counters that must hold over processes and restarts (logins, sign-ups, resets) are rows, see
`robo.services.throttling`.
"""

import hashlib
import time
from typing import Final

from flask import Flask, current_app, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from robo.core.errors import RateLimitedError

_NAME: Final = "robo-limits"
_STRANGERS_PER_MINUTE: Final = 300
"""Failed authentications of one address: nobody guesses 256 bits, but nobody needs to try."""
_ADDRESS_FACTOR: Final = 20
"""One address may hold many callers (an office, a brokerage's server)."""


class Shield:
    """Counts requests per credential, per address, and failed authentications per address."""

    def __init__(self, per_minute: int) -> None:
        """Allow this many requests a minute to each credential."""
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._callers = RateLimitItemPerMinute(per_minute)
        self._addresses = RateLimitItemPerMinute(per_minute * _ADDRESS_FACTOR)
        self._strangers = RateLimitItemPerMinute(_STRANGERS_PER_MINUTE)

    def hit(self, credential: str, address: str) -> int:
        """Count a request; return in how many seconds to come back, 0 if it may proceed."""
        if not self._limiter.hit(self._addresses, "address", address):
            return self._wait(self._addresses, "address", address)
        who = hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest()[:32]
        if not self._limiter.hit(self._callers, "caller", who):
            return self._wait(self._callers, "caller", who)
        return 0

    def strangers(self, address: str) -> int:
        """Return in how many seconds an address may try another credential, 0 if now."""
        if self._limiter.test(self._strangers, "stranger", address):
            return 0
        return self._wait(self._strangers, "stranger", address)

    def count_stranger(self, address: str) -> None:
        """Count a failed authentication."""
        self._limiter.hit(self._strangers, "stranger", address)

    def _wait(self, item: RateLimitItemPerMinute, *names: str) -> int:
        reset = self._limiter.get_window_stats(item, *names).reset_time
        return max(1, int(reset - time.time()) + 1)  # noqa: TID251 - the library counts wall time


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
