"""The time-lapse: moves the simulated clock from session to session and does what is due.

Nothing else moves that clock. Each session has four moments: before the open, in the trading
window, a little later for what filled slowly, and after the close. At each of them the clock is
set and the timetable's jobs run in its order, in this process, one after the other.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final

from robo.config import Settings
from robo.core.clock import FixedClock, business_date, from_micros, iso_instant, to_micros
from robo.core.errors import ConfigError, ConflictError, InvalidInputError
from robo.runtime import Runtime, SystemClock, boot, open_database
from robo.store import jobs as runs
from robo.store.jobs import Lease
from scheduler.jobs import TIMETABLE
from scheduler.runner import LEASE, Job
from scheduler.when import AtClose, AtOpen, Every, Slot, due_slots

_NAME: Final = "timelapse"
_BEFORE: Final = timedelta(minutes=-60)
_WINDOW: Final = timedelta(minutes=30)
_LATER: Final = timedelta(minutes=32)
_AFTER: Final = timedelta(minutes=30)
"""Moments, counted from the open, the last one from the close."""
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
    _last: dict[str, str | None] = field(default_factory=dict)
    """Daily job -> the last session it ran for."""

    def pass_until(self, until: date) -> Passed:
        """Live through every session up to a date, inclusive, from where the clock stands.

        Raises:
            ConflictError: If another process moves the clock.
        """
        sessions = 0
        with self._alone():
            for instant, closing in self._moments():
                if business_date(instant) > until:
                    break
                self._live(instant, closing=closing)
                sessions += closing
        return Passed(sessions, self.clock.now())

    def pass_sessions(self, count: int) -> Passed:
        """Live through the next sessions whose last moment has not passed."""
        ends = (instant for instant, closing in self._moments() if closing)
        return self.pass_until(business_date(list(islice(ends, count))[-1]))

    def pass_moments(self, count: int) -> Passed:
        """Live through the next moments; four make a session."""
        sessions = 0
        with self._alone():
            for instant, closing in islice(self._moments(), count):
                self._live(instant, closing=closing)
                sessions += closing
        return Passed(sessions, self.clock.now())

    def _moments(self) -> Iterator[tuple[datetime, bool]]:
        """Yield the moments after now, and whether each is its session's last."""
        calendar, now = self.runtime.calendar, self.clock.now()
        session = calendar.on_or_after(business_date(now))
        while True:
            opening = calendar.opens_at(session)
            for instant in (opening + _BEFORE, opening + _WINDOW, opening + _LATER):
                if instant > now:
                    yield instant, False
            closing = calendar.closes_at(session) + _AFTER
            if closing > now:
                yield closing, True
            session = calendar.shift(session, 1)

    def _live(self, instant: datetime, *, closing: bool) -> None:
        """Set the clock and do what is due; a job's failure ends the time-lapse."""
        with self.runtime.db.write() as session:
            runs.set_sim_instant(session, to_micros(instant))
            runs.beat(session, self.owner, to_micros(SystemClock().now()))
        self.clock.set(instant)
        moment = Slot(iso_instant(to_micros(instant)), business_date(instant), instant)
        ended: list[tuple[str, str]] = []
        for job in TIMETABLE:
            if not isinstance(job.when, Every):
                ended += [(job.name, slot.text) for slot in self._daily(job, job.when, instant)]
            elif closing or job.when.seconds < _OFTEN_SECONDS:
                job.do(self.runtime, moment)
        if ended:
            with self.runtime.db.write() as session:
                for name, slot in ended:
                    runs.put_state(session, name, slot, self._lease(instant), "done")

    def _daily(self, job: Job, when: AtOpen | AtClose, now: datetime) -> list[Slot]:
        """Run a daily job for the sessions that are due; return them."""
        if job.name not in self._last:
            with self.runtime.db.read() as session:
                self._last[job.name] = runs.last_slot(session, job.name)
        last = self._last[job.name]
        slots = due_slots(when, job.catch_up, last, now, self.runtime.calendar)
        for slot in slots:
            job.do(self.runtime, slot)
            self._last[job.name] = slot.text
        return slots

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
