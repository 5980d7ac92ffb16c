"""Writing in turns: batches let those who wait go first, then hold the write lock briefly.

How many items fit into a turn is measured and adapted: a turn that took too long halves the next
one, a short one grows it. An item that the business refuses is split out until it stands alone; so
is one that fails for a reason of its own, where the caller says who is then to blame.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlmodel import Session

from robo.core.errors import RefusedError
from robo.core.policy import Policy
from robo.services import isolating
from robo.services.isolating import Blame
from robo.store.database import Database

T = TypeVar("T")
_FIRST: Final = 16
_MOST: Final = 20_000
_AIM: Final = 0.6
"""Part of the limit aimed at: a commit's disk flush varies more than the work before it."""
_LEAST: Final = 0.1
"""Part of the limit that writing may take however slow the disk: a turn that flushes for most of it
and writes next to nothing would hold up the batch, and others more often."""
_MEMORY: Final = 0.3
"""How much the last commit counts in what the next one is expected to cost."""


@dataclass(slots=True)
class Turns:
    """Runs writes in turns; keeps what it learnt of their cost."""

    db: Database
    policy: Policy
    size: int = _FIRST
    commit_ms: float = 0.0
    refused: list[tuple[object, RefusedError]] = field(default_factory=list)

    def each(
        self,
        items: Sequence[T],
        write: Callable[[Session, Sequence[T]], None],
        blame: Blame[T] | None = None,
    ) -> list[T]:
        """Write all items, a turn at a time; return those left out, in `refused` if refused.

        Args:
            items: In the order in which they are written.
            write: Writes some of them, all or nothing.
            blame: Records those left out. Without it, only a refusal leaves an item out.
        """

        def record(item: T, error: Exception) -> None:
            if isinstance(error, RefusedError):
                self.refused.append((item, error))
            if blame is not None:
                blame.record(item, error)

        isolates = isolating.is_ones_own if blame is not None else isolating.is_refused
        left: list[T] = []
        start = 0
        while start < len(items):
            part = items[start : start + self.size]
            left += isolating.split(part, lambda some: self._one(some, write), isolates, record)
            start += len(part)
        return left

    def _one(self, part: Sequence[T], write: Callable[[Session, Sequence[T]], None]) -> None:
        self.db.give_way()
        began = written = time.perf_counter()
        with self.db.write() as session:
            session.connection()  # waiting for the turn is not holding it
            began = time.perf_counter()
            write(session, part)
            session.flush()
            written = time.perf_counter()
        self._learn((written - began) * 1000, (time.perf_counter() - written) * 1000, len(part))
        self.db.tidy()

    def _learn(self, write_ms: float, commit_ms: float, count: int) -> None:
        """Fit the next turn into the limit: a commit costs the same however much it writes."""
        self.commit_ms += (commit_ms - self.commit_ms) * _MEMORY
        limit = self.policy.write_lock_ms_max
        room = max(limit * _AIM - self.commit_ms, limit * _LEAST)
        fits = int(count * room / max(write_ms, 0.05))
        self.size = max(1, min(_MOST, fits, 2 * self.size))
