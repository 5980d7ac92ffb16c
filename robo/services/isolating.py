"""One bad account stands alone: what fails is split until the item at fault is found and recorded.

Everyone else proceeds. What is nobody's own fault (a broken invariant, a busy database, a broker
that does not answer, a full disk) is never split: it stops the job, which is tried again.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import (
    BrokenInvariantError,
    BrokerUnavailableError,
    ConfigError,
    RefusedError,
    RoboError,
)
from robo.store import jobs
from robo.store.beginning import DatabaseBusyError
from robo.store.database import Database

T = TypeVar("T")
_EVERYONES: Final = (
    BrokenInvariantError,
    BrokerUnavailableError,
    ConfigError,
    DatabaseBusyError,
    MemoryError,
    OSError,
)

_SILENT_MAX: Final = 3
"""So many items in a row without an answer are the broker's silence, not the items' own fault."""


def growing_pause(since_micros: int, at_micros: int, shortest: int, longest: int) -> int:
    """Return how long to leave alone what was not answered: as long again as it has waited."""
    return min(longest, max(shortest, at_micros - since_micros))


def is_ones_own(error: Exception) -> bool:
    """Return whether an error may be the fault of one account, so that others can go on."""
    if isinstance(error, DBAPIError):
        return isinstance(error, IntegrityError | DataError)
    return not isinstance(error, _EVERYONES)


def is_refused(error: Exception) -> bool:
    """Return whether the business said no: the narrowest reason to leave an item out."""
    return isinstance(error, RefusedError)


def split(
    items: Sequence[T],
    work: Callable[[Sequence[T]], None],
    isolates: Callable[[Exception], bool],
    record: Callable[[T, Exception], None],
) -> list[T]:
    """Work on items together, in halves where that fails; return those that fail alone.

    Args:
        items: In order; none is no work.
        work: All or nothing for the items it is given.
        isolates: Whether an error may be an item's own; any other error is raised.
        record: Keeps what failed alone, and why.
    """
    if not items:
        return []
    try:
        work(items)
    except Exception as error:
        if not isolates(error):
            raise
        if len(items) == 1:
            record(items[0], error)
            return [items[0]]
        half = len(items) // 2
        return [
            *split(items[:half], work, isolates, record),
            *split(items[half:], work, isolates, record),
        ]
    return []


@dataclass(frozen=True)
class Blame(Generic[T]):
    """Writes down which accounts a job left out; the same failure once a business date.

    Attributes:
        db: Where failures are kept.
        clock: When.
        job: The job's name in the timetable.
        subject: Returns the account (or what else is at fault) of an item.
    """

    db: Database
    clock: Clock
    job: str
    subject: Callable[[T], str]

    def each(self, items: Sequence[T], do: Callable[[T], int | None]) -> int:
        """Do something for each item on its own; return the sum of the counts."""
        count = 0

        def one(part: Sequence[T]) -> None:
            nonlocal count
            count += do(part[0]) or 0

        for item in items:
            split([item], one, is_ones_own, self.record)
        return count

    def in_turn(
        self, items: Sequence[T], do: Callable[[T], int | None], put_off: Callable[[T], None]
    ) -> int:
        """Do something for each item with a broker; return the sum of the counts.

        An item that the broker does not answer for is put off and written down, and the next one
        has its turn: one account that cannot be read holds up nobody else.

        Raises:
            BrokerUnavailableError: If several in a row were not answered: it is the broker then.
        """
        count = 0
        silent: list[tuple[T, BrokerUnavailableError]] = []
        for item in items:
            try:
                count += self.each([item], do)
            except BrokerUnavailableError as error:
                put_off(item)
                silent.append((item, error))
                if len(silent) == _SILENT_MAX:
                    raise
            else:
                self._record_all(silent)
                silent = []
        self._record_all(silent)
        return count

    def together(self, items: Sequence[T], work: Callable[[Sequence[T]], None]) -> list[T]:
        """Do something for all items at once, in halves where that fails; return those left out."""
        return split(items, work, is_ones_own, self.record)

    def _record_all(self, failed: Sequence[tuple[T, BrokerUnavailableError]]) -> None:
        for item, error in failed:
            self.record(item, error)

    def record(self, item: T, error: Exception) -> None:
        """Write down that an item was left out, in a transaction of its own."""
        now = self.clock.now()
        slot, code = business_date(now).isoformat(), code_of(error)
        with self.db.read() as session:
            if jobs.has_failed(session, self.job, slot, self.subject(item), code):
                return  # asked for again every few seconds: one row a day says it
        with self.db.write() as session:
            note(session, self.clock, self.job, self.subject(item), error)


def note(session: Session, clock: Clock, job: str, subject: str, error: Exception) -> None:
    """Write down what a job left out, in the caller's transaction."""
    now = clock.now()
    slot = business_date(now).isoformat()
    jobs.record_failure(session, job, slot, subject, code_of(error), _detail(error), to_micros(now))


def code_of(error: Exception) -> str:
    """Return an error's stable code."""
    if isinstance(error, RoboError):
        return str(error.code)
    return "integrity" if isinstance(error, IntegrityError) else "unexpected"


def _detail(error: Exception) -> str:
    """Return what helps to find the cause; never a foreign message, which may quote a value."""
    if isinstance(error, RoboError):
        return error.detail
    frames = traceback.extract_tb(error.__traceback__)
    # The innermost line of our own: below it are libraries.
    ours = [frame for frame in frames if "/robo/" in frame.filename]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}"
