"""The one runner: asks the timetable what is due, claims it, runs it, writes down how it ended.

Several runners may share a database: a unique row per (job, slot) decides who runs it, a heartbeat
shows that its owner lives, and a run whose owner fell silent is taken over. Jobs of one runner run
one after the other: in each wake-up first what a session is due, then what runs every few seconds,
both in the order of the timetable.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from robo import logs
from robo.core.clock import iso_instant, to_micros
from robo.core.errors import BrokenInvariantError, ConflictError, RoboError
from robo.runtime import Runtime
from robo.store import jobs as runs
from robo.store.jobs import Lease
from scheduler.when import AtClose, AtOpen, CatchUp, Every, Slot, due_slots, interval_slot, next_due

LOG: Final = logs.get("scheduler")
LEASE: Final = timedelta(seconds=60)
"""Silence after which a run's owner counts as dead; six heartbeats."""
BEAT_SECONDS: Final = 10.0
RETRY: Final = timedelta(seconds=30)
"""Pause before a failed session's run is tried again."""
LOOK_AGAIN: Final = timedelta(seconds=2)
"""Pause where a session's run waits for another job or another process."""
_JUMP_MAX: Final = timedelta(days=1)
"""How far the clock may run ahead of the time that passed before we doubt it."""
_BELIEVED_AFTER: Final = timedelta(seconds=60)
"""A machine that slept, or whose clock was set, is believed when it has said so for that long."""
_PAUSE_MAX: Final = timedelta(seconds=60)
_DOUBLINGS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Job:
    """A line of the timetable."""

    name: str
    when: Every | AtOpen | AtClose
    do: Callable[[Runtime, Slot], int]
    """Does the work of a slot, and nothing if it was done; returns a count for the log."""
    catch_up: CatchUp = CatchUp.LATEST
    after: tuple[str, ...] = ()
    """Jobs that must have ended before.

    A session's run waits until they ended for the same session; where they run every few seconds,
    until they ended for an instant not before its own. A job of every few seconds leaves a wake-up
    out while one of them is due for a session and has not ended.
    """


@dataclass(slots=True)
class Runner:
    """Runs what is due; `tick` is called about once a second."""

    runtime: Runtime
    timetable: Sequence[Job]
    owner: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    )
    stopping: threading.Event = field(default_factory=threading.Event)
    elapsed: Callable[[], float] | None = None
    """Seconds that really passed, to doubt a clock that jumps ahead; None believes it always."""
    _quiet_until: dict[str, datetime] = field(default_factory=dict)
    """Job -> the instant before which nothing of it can be due."""
    _clear_until: dict[str, datetime] = field(default_factory=dict)
    """Job of a session -> the instant up to which all that was due of it is known to have ended."""
    _failures: dict[str, int] = field(default_factory=dict)
    _seen: datetime | None = None
    _seen_at: float = 0.0
    """What `elapsed` said when we saw that instant."""
    _doubted: tuple[datetime, float] | None = None
    """The first of the readings that we doubt, and what `elapsed` said."""
    _holding: bool = False

    def tick(self) -> int:
        """Run everything that is due now; return how many runs that were.

        Raises:
            BrokenInvariantError: If a job found the books wrong: nothing more may run.
        """
        now = self._now()
        if now is None:
            return 0
        sessions = [
            (job, job.when)
            for job in self.timetable
            if not isinstance(job.when, Every) and self._quiet_until.get(job.name, now) <= now
        ]
        before = {name for job, _ in sessions for name in job.after}
        ran = self._run_intervals(now, before) if before else 0
        for job, when in sessions:
            self._quiet_until.pop(job.name, None)
            ran += self._run_sessions(job, when, now)
        later = self._now()
        return ran + (self._run_intervals(later, None) if later is not None else 0)

    def run(self, job: Job, slot: Slot, *, again: bool = False) -> bool:
        """Run one job for one slot by hand if it may be claimed; return whether it ran to its end.

        Args:
            job: What to run.
            slot: What for.
            again: Also where a session's run ended already; the work itself happens once.

        Raises:
            ConflictError: If something else must run before.
        """
        self._require_turn(job, slot)
        if isinstance(job.when, Every):
            return self._run_interval_by_hand(job, slot)
        return self._run_session(job, slot, again=again)

    def _run_session(self, job: Job, slot: Slot, *, again: bool = False) -> bool:
        lease = self._lease(self.runtime.clock.now())
        if again:
            with self.runtime.db.write() as session:
                runs.put_state(session, job.name, slot.text, lease, "failed")
            lease = Lease(lease.owner, lease.at, lease.dead_before, lease.at + 1)
        with self.runtime.db.write() as session:
            if not runs.claim(session, job.name, slot.text, lease):
                return False
        with self._held():
            state = self._do(job, slot)
            self._finish([(job.name, slot.text, state)])
        return state == "done"

    def skip(self, job: Job, slot: Slot) -> bool:
        """Mark a job's slot as skipped; return False if somebody is running it.

        Raises:
            ConflictError: If an earlier session's run is due.
        """
        self._require_turn(job, slot)
        with self.runtime.db.write() as session:
            lease = self._lease(self.runtime.clock.now())
            runs.put_state(session, job.name, slot.text, lease, "skipped")
            return runs.states(session, job.name, [slot.text])[slot.text] != "running"

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the claims of this process alive while the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _run_intervals(self, now: datetime, names: Collection[str] | None) -> int:
        """Run the jobs of every few seconds; one transaction claims them, one ends them."""
        due = []
        for job in self.timetable:
            if not isinstance(job.when, Every) or self._quiet_until.get(job.name, now) > now:
                continue
            if (names is None or job.name in names) and not self._waits(job, now):
                slot = interval_slot(job.when, now)
                self._quiet_until[job.name] = slot.at + timedelta(seconds=job.when.seconds)
                due.append((job, slot))
        if not due:
            return 0
        lease = self._lease(now)
        with self.runtime.db.write() as session:
            claimed = [
                (job, slot)
                for job, slot in due
                if runs.claim_every(session, job.name, slot.text, lease)
            ]
        with self._held():
            ended = []
            for job, slot in claimed:
                # The jobs before may have taken so long that a session's run has come due.
                left_out = self.stopping.is_set() or self._waits(job, self.runtime.clock.now())
                ended.append((job.name, runs.EVERY, "skipped" if left_out else self._do(job, slot)))
            self._finish(ended)
        return len(claimed)

    def _run_sessions(self, job: Job, when: AtOpen | AtClose, now: datetime) -> int:
        slots = self._due(job, when, now)
        for ran, slot in enumerate(slots):
            if (
                self.stopping.is_set()
                or not self._ready(job, slot)
                or not self._run_session(job, slot)
            ):
                self._quiet_until.setdefault(job.name, now + LOOK_AGAIN)
                return ran
        upcoming = next_due(when, now, self.runtime.calendar)
        self._quiet_until[job.name] = self._clear_until[job.name] = upcoming
        return len(slots)

    def _due(self, job: Job, when: AtOpen | AtClose, now: datetime) -> list[Slot]:
        with self.runtime.db.read() as session:
            last = runs.last_slot(session, job.name)
        return due_slots(when, job.catch_up, last, now, self.runtime.calendar)

    def _ready(self, job: Job, slot: Slot) -> bool:
        """Return whether all that a session's run waits for has ended."""
        often = {one.name for one in self.timetable if isinstance(one.when, Every)}
        due = iso_instant(to_micros(slot.at))
        with self.runtime.db.read() as session:
            return all(
                runs.last_instant(session, name) >= due
                if name in often
                else runs.states(session, name, [slot.text]).get(slot.text) in {"done", "skipped"}
                for name in job.after
            )

    def _waits(self, job: Job, now: datetime) -> bool:
        """Return whether a job of every few seconds must let a session's run go first."""
        return any(
            bool(self._due(other, other.when, now))
            for other in self.timetable
            if other.name in job.after
            and not isinstance(other.when, Every)
            and self._clear_until.get(other.name, now) <= now
        )

    def _require_turn(self, job: Job, slot: Slot) -> None:
        """Refuse what would pass over a session: the latest run says that all before it ended."""
        now = self.runtime.clock.now()
        if isinstance(job.when, Every):
            if self._waits(job, now):
                message = f"{job.name} waits for {' '.join(job.after)}, which is due"
                raise ConflictError(message, code="job_must_wait")
        elif job.catch_up is CatchUp.EACH:
            first = next(iter(self._due(job, job.when, now)), slot)
            if first.text < slot.text:
                message = f"{job.name} is due for {first.text} first: run or skip that"
                raise ConflictError(message, code="earlier_session_due")

    def _run_interval_by_hand(self, job: Job, slot: Slot) -> bool:
        """Run a job of every few seconds unless anybody is doing the same work, by any name."""
        names = [job.name]
        names += [o.name for o in self.timetable if o.do is job.do and o.name != job.name]
        lease = self._lease(self.runtime.clock.now())
        with self.runtime.db.write() as session:
            held = [
                name
                for name in names
                if runs.claim_every(session, name, slot.text, lease, again=True)
            ]
        with self._held():
            state = self._do(job, slot) if held == names else "skipped"
            self._finish([(name, runs.EVERY, state) for name in held])
        return state == "done"

    def _do(self, job: Job, slot: Slot) -> str:
        """Do a job's work; return how it ended."""
        began = time.perf_counter()
        try:
            count = job.do(self.runtime, slot)
        except BrokenInvariantError as error:
            self._fail(job, slot, error)
            raise
        except Exception as error:  # noqa: BLE001 - one job's failure must not stop the others
            self._fail(job, slot, error)
            return "failed"
        self._failures.pop(job.name, None)
        if count or not isinstance(job.when, Every):
            ms = round(1000 * (time.perf_counter() - began))
            logs.event(LOG, "job.done", job=job.name, slot=slot.text, count=count, ms=ms)
        return "done"

    def _fail(self, job: Job, slot: Slot, error: Exception) -> None:
        now = self.runtime.clock.now()
        times = self._failures[job.name] = self._failures.get(job.name, 0) + 1
        pause = min(_PAUSE_MAX, timedelta(seconds=2 ** min(times, _DOUBLINGS_MAX)))
        self._quiet_until[job.name] = now + pause
        logs.failure(LOG, "job.failed", error, job=job.name, slot=slot.text, attempts=times)
        code = error.code if isinstance(error, RoboError) else "unexpected"
        detail = error.detail if isinstance(error, RoboError) else type(error).__name__
        key = runs.EVERY if isinstance(job.when, Every) else slot.text
        with self.runtime.db.write() as session:
            at = to_micros(now)
            runs.record_failure(session, job.name, key, job.name, code, detail, at)
            if isinstance(error, BrokenInvariantError):
                runs.finish(session, job.name, key, self._lease(now), "failed")

    def _finish(self, ended: Sequence[tuple[str, str, str]]) -> None:
        if not ended:
            return
        lease = self._lease(self.runtime.clock.now())
        with self.runtime.db.write() as session:
            for name, slot, state in ended:
                runs.finish(session, name, slot, lease, state)

    def _now(self) -> datetime | None:
        """Return the instant, or None while a leap of the clock is doubted.

        One wrong reading a year ahead would use up a year of sessions, and let every job of a few
        seconds wait for a year. A clock that went back makes us look at every job again.
        """
        now = self.runtime.clock.now()
        passed = self.elapsed() if self.elapsed is not None else 0.0
        if self.elapsed is not None and self._is_doubtful(now, passed):
            return None
        if self._seen is not None and now < self._seen:
            self._quiet_until.clear()
            self._clear_until.clear()
        self._seen, self._seen_at, self._doubted = now, passed, None
        return now

    def _is_doubtful(self, now: datetime, passed: float) -> bool:
        if self._seen is None or _ahead(now, passed, self._seen, self._seen_at) <= _JUMP_MAX:
            return False
        if self._doubted is None or abs(_ahead(now, passed, *self._doubted)) > _JUMP_MAX:
            self._doubted = now, passed
            logs.event(LOG, "clock.jumped", instant=iso_instant(to_micros(now)))
        return timedelta(seconds=passed - self._doubted[1]) < _BELIEVED_AFTER

    def _lease(self, now: datetime) -> Lease:
        return Lease(self.owner, to_micros(now), to_micros(now - LEASE), to_micros(now - RETRY))

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            if self._holding:
                try:
                    with self.runtime.db.write() as session:
                        runs.beat(session, self.owner, to_micros(self.runtime.clock.now()))
                except Exception as error:  # noqa: BLE001 - the next beat may come through
                    logs.failure(LOG, "job.heartbeat_failed", error)


def _ahead(now: datetime, passed: float, then: datetime, passed_then: float) -> timedelta:
    """Return how much more the clock moved than time passed."""
    return now - then - timedelta(seconds=passed - passed_then)
