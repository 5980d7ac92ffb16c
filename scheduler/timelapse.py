"""The time-lapse: moves the simulated clock from session to session and does what is due.

Nothing else moves that clock. Each session has four moments: before the open, in the trading
window, a little later for what filled slowly, and after the close. At each of them the clock is
set and the timetable's jobs run in its order, in this process, one after the other.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from robo.config import Settings
from robo.core.clock import FixedClock, business_date, from_micros, iso_instant, to_micros
from robo.core.errors import ConfigError, ConflictError, InvalidInputError
from robo.runtime import Runtime, SystemClock, boot, open_database
from robo.store import jobs as runs
from robo.store.jobs import Lease
from scheduler.jobs import TIMETABLE
from scheduler.runner import LEASE, Job
from scheduler.when import AtClose, AtOpen, Every, Slot, session_slot

_WINDOW: Final = timedelta(minutes=30)
_LATER: Final = timedelta(minutes=32)
_NAME: Final = "timelapse"
_OFTEN_SECONDS: Final = 600
"""Jobs that run less often than this run once a simulated session, after the close."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a time-lapse did."""

    sessions: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Timelapse:
    """Holds the runtime, built once for any number of days, and the clock it moves."""

    runtime: Runtime
    clock: FixedClock
    owner: str = field(default_factory=lambda: f"{_NAME}:{secrets.token_hex(6)}")

    def pass_until(self, until: date, tell: Callable[[date], None] | None = None) -> Passed:
        """Live through every session up to a date, inclusive, from where the clock stands.

        Args:
            until: The last business date.
            tell: Called after each session.

        Raises:
            ConflictError: If another process moves the clock.
        """
        with self._alone():
            passed = 0
            for session in self._sessions(until):
                self._live(session)
                passed += 1
                if tell is not None:
                    tell(session)
        return Passed(passed, self.clock.now())

    def pass_sessions(self, count: int) -> Passed:
        """Live through the next sessions whose close has not passed."""
        calendar = self.runtime.calendar
        first = calendar.on_or_after(business_date(self.clock.now()))
        if self._close(first) <= self.clock.now():
            first = calendar.shift(first, 1)
        return self.pass_until(calendar.shift(first, count - 1))

    def _sessions(self, until: date) -> Iterator[date]:
        calendar = self.runtime.calendar
        day = calendar.on_or_after(business_date(self.clock.now()))
        while day <= until:
            if self._close(day) > self.clock.now():
                yield day
            day = calendar.shift(day, 1)

    def _live(self, session: date) -> None:
        """Live through one session; what ended before a crash is not begun again."""
        calendar, opening = self.runtime.calendar, self.runtime.calendar.opens_at(session)
        with self.runtime.db.read() as reading:
            ended = {
                job.name
                for job in TIMETABLE
                if runs.states(reading, job.name, [session.isoformat()]).get(session.isoformat())
                == "done"
            }
        before = [j for j in TIMETABLE if isinstance(j.when, AtOpen) and j.name not in ended]
        after = [j for j in TIMETABLE if isinstance(j.when, AtClose) and j.name not in ended]
        often = [j for j in TIMETABLE if isinstance(j.when, Every) and _often(j.when)]
        seldom = [j for j in TIMETABLE if isinstance(j.when, Every) and not _often(j.when)]
        last_before = [
            session_slot(j.when, session, calendar).at for j in before if isinstance(j.when, AtOpen)
        ]
        self._at(max(last_before, default=opening - _WINDOW), session, [*before, *often])
        self._at(opening + _WINDOW, session, often)
        self._at(opening + _LATER, session, often)
        self._at(self._close(session), session, [*often, *after, *seldom])
        with self.runtime.db.write() as writing:
            lease = self._lease(self.clock.now())
            for job in (*before, *after):
                runs.put_state(writing, job.name, session.isoformat(), lease, "done")
            runs.beat(writing, self.owner, to_micros(SystemClock().now()))

    def _at(self, instant: datetime, session: date, jobs: list[Job]) -> None:
        if instant < self.clock.now():
            return
        with self.runtime.db.write() as writing:
            runs.set_sim_instant(writing, to_micros(instant))
        self.clock.set(instant)
        moment = Slot(iso_instant(to_micros(instant)), session, instant)
        for job in jobs:
            slot = moment if isinstance(job.when, Every) else Slot(str(session), session, instant)
            job.do(self.runtime, slot)

    def _close(self, session: date) -> datetime:
        """Return the last moment of a session's timetable."""
        calendar = self.runtime.calendar
        due = [
            session_slot(job.when, session, calendar).at
            for job in TIMETABLE
            if isinstance(job.when, AtClose)
        ]
        return max(due)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse to run beside another time-lapse; the lease is counted in real time."""
        real = SystemClock()
        now = real.now()
        with self.runtime.db.write() as session:
            if not runs.claim_every(session, _NAME, iso_instant(to_micros(now)), self._lease(now)):
                message = "another process is moving the simulated clock"
                raise ConflictError(message)
        try:
            yield
        finally:
            with self.runtime.db.write() as session:
                runs.finish(session, _NAME, runs.EVERY, self._lease(real.now()), "done")

    def _lease(self, now: datetime) -> Lease:
        return Lease(self.owner, to_micros(now), to_micros(now - LEASE), to_micros(now))


@contextmanager
def opened(settings: Settings) -> Iterator[Timelapse]:
    """Yield a time-lapse of an installation whose clock is simulated.

    Raises:
        ConfigError: If its clock is real, or was never set.
    """
    if settings.clock != "sim":
        message = "the time-lapse needs ROBO_CLOCK=sim"
        raise ConfigError(message)
    db = open_database(settings)
    try:
        with db.read() as session:
            clock = FixedClock(from_micros(runs.sim_instant(session)))
    finally:
        db.close()
    runtime = boot(settings, clock=clock)
    try:
        yield Timelapse(runtime, clock)
    finally:
        runtime.close()


def set_clock(settings: Settings, instant: datetime) -> None:
    """Set the simulated clock by hand, forwards only.

    Raises:
        ConfigError: If the clock is real.
        InvalidInputError: If the instant lies in the simulated past.
    """
    if settings.clock != "sim":
        message = "only a simulated clock can be set: ROBO_CLOCK=sim"
        raise ConfigError(message)
    db = open_database(settings)
    try:
        with db.write() as session:
            runs.start_sim_clock(session, to_micros(instant))
            if runs.sim_instant(session) > to_micros(instant):
                message = "time does not go back: what is booked cannot be unbooked"
                raise InvalidInputError(message, code="clock_goes_back")
            runs.set_sim_instant(session, to_micros(instant))
    finally:
        db.close()


def _often(when: Every) -> bool:
    return when.seconds < _OFTEN_SECONDS
