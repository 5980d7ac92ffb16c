"""The time-lapse: moves the simulated clock from session to session and does what is due.

Nothing else moves that clock. Each session has four moments: before the open, for its daily jobs;
in the trading window; a little later, if something is still at the broker; and after the close. At
each of them the clock is set and the timetable's jobs run in its order, in this process, one after
the other. Where orders are out when a day ends, what they brought is read before the next begins.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from itertools import islice, takewhile
from typing import Final

from robo.config import Settings
from robo.core.clock import NEW_YORK, FixedClock, business_date, from_micros, iso_instant, to_micros
from robo.core.errors import ConfigError, ConflictError, InvalidInputError
from robo.core.policy import Policy
from robo.runtime import Runtime, SystemClock, boot, open_database
from robo.store import blocks, windows
from robo.store import jobs as runs
from robo.store.jobs import Lease
from scheduler.jobs import TIMETABLE
from scheduler.runner import LEASE, Job
from scheduler.when import AtClose, AtOpen, Every, Slot, due_slots

_NAME: Final = "timelapse"
_OFTEN_SECONDS: Final = 600
"""Jobs that run less often than this run once a simulated session, after the close."""
_TICK: Final = timedelta(microseconds=1)
_AWAITED: Final = frozenset(
    name for job in TIMETABLE if not isinstance(job.when, Every) for name in job.after
)
"""Jobs without which a session's own do not begin."""


class _Kind(Enum):
    BEFORE = "before"
    WINDOW = "window"
    LATER = "later"
    CLOSE = "close"


_OFFSETS: Final = {
    _Kind.BEFORE: timedelta(minutes=-60),
    _Kind.WINDOW: timedelta(minutes=30),
    _Kind.LATER: timedelta(minutes=32),
    _Kind.CLOSE: timedelta(minutes=30),
}
"""Counted from the open, the last one from the close."""


@dataclass(frozen=True, slots=True)
class _Moment:
    instant: datetime
    kind: _Kind


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
        return self._pass(
            takewhile(lambda one: business_date(one.instant) <= until, self._moments())
        )

    def pass_sessions(self, count: int) -> Passed:
        """Live through the next sessions whose last moment has not passed."""
        ends = (one.instant for one in self._moments() if one.kind is _Kind.CLOSE)
        return self.pass_until(business_date(list(islice(ends, count))[-1]))

    def pass_moments(self, count: int) -> Passed:
        """Live through the next moments; four make a session."""
        return self._pass(islice(self._moments(), count))

    def live_session(self, on: date) -> Passed:
        """Live through one session after now without those between; its close if it has orders.

        The close before it comes first: it makes up for all sessions left out, so that the night
        plans on yesterday's marks. For lives of decades, where weeks may pass at once.
        """
        calendar, close = self.runtime.calendar, _Kind.CLOSE
        before = calendar.closes_at(calendar.shift(on, -1)) + _OFFSETS[close]

        def moments() -> Iterator[_Moment]:
            if before > self.clock.now():
                yield _Moment(before, close)
            for kind in (_Kind.BEFORE, _Kind.WINDOW, _Kind.LATER):
                yield _Moment(calendar.opens_at(on) + _OFFSETS[kind], kind)
            if self._is_unfinished():
                yield _Moment(calendar.closes_at(on) + _OFFSETS[close], close)

        return self._pass(moments())

    def _pass(self, moments: Iterable["_Moment"]) -> Passed:
        sessions = 0
        with self._alone():
            for moment in moments:
                self._live(moment)
                sessions += moment.kind is _Kind.CLOSE
        return Passed(sessions, self.clock.now())

    def _moments(self) -> Iterator["_Moment"]:
        """Yield the moments after now."""
        calendar, now = self.runtime.calendar, self.clock.now()
        session = calendar.on_or_after(business_date(now))
        while True:
            for kind, offset in _OFFSETS.items():
                closing = kind is _Kind.CLOSE
                start = calendar.closes_at(session) if closing else calendar.opens_at(session)
                if start + offset > now:
                    yield _Moment(start + offset, kind)
            session = calendar.shift(session, 1)

    def _live(self, moment: "_Moment") -> None:
        """Set the clock and do what is due; a job's failure ends the time-lapse."""
        if moment.kind is _Kind.LATER and not self._is_unfinished():
            return
        instant = moment.instant
        if business_date(instant) > business_date(self.clock.now()) and self._is_unfinished():
            self._end_day()
        slot = self._set(instant)
        ended: list[tuple[str, str]] = []
        for job in TIMETABLE:
            if not isinstance(job.when, Every):
                ended += [(job.name, one.text) for one in self._daily(job, job.when, instant)]
            elif _runs_at(job.when, moment.kind):
                job.do(self.runtime, slot)
        if ended:
            with self.runtime.db.write() as session:
                for name, text in ended:
                    runs.put_state(session, name, text, self._lease(instant), "done")

    def _end_day(self) -> None:
        """Book what the orders of a day brought until it ended, as the runner does by then.

        Days that are made up for after that see all shares that were held before them, and nothing
        that was traded on them.
        """
        tomorrow = business_date(self.clock.now()) + timedelta(days=1)
        slot = self._set(datetime.combine(tomorrow, time(), NEW_YORK).astimezone(UTC) - _TICK)
        for job in TIMETABLE:
            if isinstance(job.when, Every) and job.name in _AWAITED:
                job.do(self.runtime, slot)

    def _set(self, instant: datetime) -> Slot:
        """Set the clock; return the slot of that instant."""
        with self.runtime.db.write() as session:
            runs.set_sim_instant(session, to_micros(instant))
            runs.beat(session, self.owner, to_micros(SystemClock().now()))
        self.clock.set(instant)
        return Slot(iso_instant(to_micros(instant)), business_date(instant), instant)

    def _is_unfinished(self) -> bool:
        """Return whether orders are at the broker, or wait: purchases go once sales are done."""
        with self.runtime.db.read() as session:
            at_broker = blocks.in_states(session, "intended", "open", "unknown")
            return bool(at_broker or windows.waiting(session, to_micros(self.clock.now())))

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
def opened(settings: Settings, policy: Policy | None = None) -> Iterator[Timelapse]:
    """Yield a time-lapse of an installation whose clock is simulated.

    Args:
        settings: The installation.
        policy: Business numbers; None for the default ones.

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
    runtime = boot(settings, policy=policy, clock=clock)
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


def _runs_at(when: Every, kind: _Kind) -> bool:
    """Return whether a job of every few seconds runs at a moment."""
    return kind is _Kind.CLOSE or (kind is not _Kind.BEFORE and when.seconds < _OFTEN_SECONDS)
