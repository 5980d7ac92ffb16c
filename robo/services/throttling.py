"""Attempts that are counted in the database: they hold over processes and restarts."""

from dataclasses import dataclass

from robo.core.errors import RateLimitedError
from robo.store import tokens
from robo.store.database import Database
from robo.store.keyring import Keyring

_SECOND: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Gate:
    """How often something may be tried by whom."""

    name: str
    subject: str
    """An address or an e-mail; only its blind index is stored."""
    most: int
    seconds: int


def attempt(db: Database, keyring: Keyring, at_micros: int, *gates: Gate) -> None:
    """Count one attempt at every gate; owns one transaction, so a refusal stays counted.

    Raises:
        RateLimitedError: If a gate is closed; the counters have been written.
    """
    closed = 0
    with db.write() as session:
        for gate in gates:
            width = gate.seconds * _SECOND
            start = at_micros - at_micros % width
            bucket = keyring.blind_index("throttle", f"{gate.name}\x1f{gate.subject}").hex()
            if tokens.count_attempt(session, bucket, start) > gate.most:
                closed = max(closed, -(-(start + width - at_micros) // _SECOND))
    if closed:
        message = "Too many attempts."
        raise RateLimitedError(message, retry_after_seconds=closed)
