"""Job runs (one row claims a slot), what failed in them, the simulated clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session, SQLModel

from robo.core.clock import iso_instant
from robo.core.errors import ConfigError
from robo.core.ids import child_id
from robo.store.columns import STRICT, integer, one_of, partial, text
from robo.store.database import bulk

_RUNNING: Final = "state = 'running'"


class JobRunRow(SQLModel, table=True):
    """One run of one job for one slot (a business date, or an interval's start)."""

    __tablename__ = "job_run"
    __table_args__ = (
        one_of("job_run_state", "state", "running", "done", "failed", "skipped"),
        # Every few seconds a process says that it is alive for what it runs, of years of runs.
        partial("ix_job_run_running", _RUNNING, "owner"),
        STRICT,
    )
    job: str = text(key=True)
    slot: str = text(key=True)
    state: str = text()
    owner: str = text()
    attempts: int = integer(default=1)
    claimed_at: int = integer()
    heartbeat_at: int = integer()
    finished_at: int | None = integer(null=True)
    detail: str = text(default="")


EVERY: Final = "every"
"""The slot of a job that runs every few seconds: one row; `detail` holds the last instant."""
_WRONG_AHEAD_MICROS: Final = 86_400_000_000


class JobFailureRow(SQLModel, table=True):
    """An account that a job left out, and why; everyone else proceeded."""

    __tablename__ = "job_failure"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    job: str = text(index=True)
    slot: str = text()
    subject: str = text(index=True)
    code: str = text()
    detail: str = text()
    at: int = integer()


class ClockRow(SQLModel, table=True):
    """The simulated instant; only the time-lapse moves it."""

    __tablename__ = "sim_clock"
    __table_args__ = (STRICT,)
    id: int = integer(key=True)
    instant: int = integer()


class CounterRow(SQLModel, table=True):
    """A number handed out inside transactions, so that its order is the order of commits."""

    __tablename__ = "counter"
    __table_args__ = (STRICT,)
    name: str = text(key=True)
    value: int = integer()


_RUN: Any = JobRunRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_COUNTER: Any = CounterRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CLOCK: Any = ClockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def sim_instant(session: Session) -> int:
    """Return the simulated instant in micro-seconds.

    Raises:
        ConfigError: If no time-lapse has set the clock yet.
    """
    found = session.connection().execute(select(_CLOCK.c.instant)).scalar()
    if found is None:
        message = "the simulated clock was never set: `python -m scheduler clock --set INSTANT`"
        raise ConfigError(message)
    return int(found)


def set_sim_instant(session: Session, micros: int) -> None:
    """Move the simulated clock; only the time-lapse does this."""
    session.connection().exec_driver_sql(
        f"INSERT INTO sim_clock (id, instant) VALUES (1, {int(micros)}) "  # noqa: S608 - an int
        "ON CONFLICT (id) DO UPDATE SET instant = excluded.instant"
    )


def start_sim_clock(session: Session, micros: int) -> None:
    """Set the simulated clock where it was never set."""
    bulk(
        session,
        "INSERT INTO sim_clock (id, instant) VALUES (1, ?) ON CONFLICT (id) DO NOTHING",
        [(micros,)],
    )


def raise_counter(session: Session, name: str, value: int) -> None:
    """Let a counter be at least this much."""
    bulk(
        session,
        "INSERT INTO counter (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value "
        "WHERE counter.value < excluded.value",
        [(name, value)],
    )


def counter(session: Session, name: str) -> int:
    """Return a counter; zero if it never counted."""
    found = session.connection().execute(select(_COUNTER.c.value).where(_COUNTER.c.name == name))
    return found.scalar() or 0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who asks for a run, when, and from when on other runs count as given up.

    Attributes:
        owner: The asking process.
        at: Now, micro-seconds.
        dead_before: A running row without a heartbeat since then belongs to a dead process.
        retry_before: A failed row that ended before then may be tried again.
    """

    owner: str
    at: int
    dead_before: int
    retry_before: int


def claim(session: Session, job: str, slot: str, lease: Lease) -> bool:
    """Return whether this process may run a job for a slot; the unique row decides."""
    return _claim(
        session,
        "INSERT INTO job_run (job, slot, state, owner, attempts, claimed_at, heartbeat_at, detail) "
        "VALUES (?, ?, 'running', ?, 1, ?, ?, '') ON CONFLICT (job, slot) DO UPDATE SET "
        "state = 'running', owner = excluded.owner, attempts = job_run.attempts + 1, "
        "claimed_at = excluded.claimed_at, heartbeat_at = excluded.heartbeat_at, "
        "finished_at = NULL "
        "WHERE (job_run.state = 'running' AND job_run.heartbeat_at < ?) "
        "OR (job_run.state = 'failed' AND job_run.finished_at < ?)",
        (job, slot, lease.owner, lease.at, lease.at, lease.dead_before, lease.retry_before),
    )


def claim_every(
    session: Session, job: str, instant: str, lease: Lease, *, again: bool = False
) -> bool:
    """Return whether this process may run a job of every few seconds for an instant.

    An instant that is not after the last one is refused: it ran, or the clock went back. By hand
    the last one may run `again`. A last one more than a day ahead came from a clock that was wrong:
    it must not stop the job until that day.
    """
    return _claim(
        session,
        "INSERT INTO job_run (job, slot, state, owner, attempts, claimed_at, heartbeat_at, detail) "
        "VALUES (?, ?, 'running', ?, 1, ?, ?, ?) ON CONFLICT (job, slot) DO UPDATE SET "
        "state = 'running', owner = excluded.owner, attempts = 1, "
        "claimed_at = excluded.claimed_at, heartbeat_at = excluded.heartbeat_at, "
        "finished_at = NULL, detail = excluded.detail "
        "WHERE (job_run.detail < excluded.detail "
        "OR job_run.detail > ? "
        "OR (? = 1 AND job_run.detail = excluded.detail)) "
        "AND (job_run.state <> 'running' OR job_run.heartbeat_at < ?)",
        (
            job,
            EVERY,
            lease.owner,
            lease.at,
            lease.at,
            instant,
            iso_instant(lease.at + _WRONG_AHEAD_MICROS),
            int(again),
            lease.dead_before,
        ),
    )


def _claim(session: Session, sql: str, values: Sequence[Any]) -> bool:
    return bulk(session, sql, [values]) == 1


def beat(session: Session, owner: str, at: int) -> None:
    """Say that a process is alive, for every run it holds."""
    bulk(
        session,
        "UPDATE job_run SET heartbeat_at = ? WHERE owner = ? AND state = 'running'",
        [(at, owner)],
    )


def finish(session: Session, job: str, slot: str, lease: Lease, state: str) -> bool:
    """Close a run as done, failed or skipped; return False if another process took it over."""
    sql = (
        "UPDATE job_run SET state = ?, finished_at = ?, heartbeat_at = ? "
        "WHERE job = ? AND slot = ? AND owner = ? AND state = 'running'"
    )
    return _claim(session, sql, (state, lease.at, lease.at, job, slot, lease.owner))


def put_state(session: Session, job: str, slot: str, lease: Lease, state: str) -> None:
    """Write the state of a run that nobody holds: `skipped` lets what waits for it go on."""
    bulk(
        session,
        "INSERT INTO job_run (job, slot, state, owner, attempts, claimed_at, heartbeat_at, "
        "finished_at, detail) VALUES (?, ?, ?, ?, 0, ?, ?, ?, '') ON CONFLICT (job, slot) "
        "DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at "
        "WHERE job_run.state <> 'running'",
        [(job, slot, state, lease.owner, lease.at, lease.at, lease.at)],
    )


def states(session: Session, job: str, slots: Sequence[str]) -> dict[str, str]:
    """Return slot -> state of the runs of a job that exist."""
    rows = session.connection().execute(
        select(_RUN.c.slot, _RUN.c.state).where(_RUN.c.job == job, _RUN.c.slot.in_(slots))
    )
    return {row.slot: row.state for row in rows}


def claimed_at(session: Session, job: str, slot: str) -> int | None:
    """Return when a run of a job for a slot last began; None if it never did."""
    found = session.connection().execute(
        select(_RUN.c.claimed_at).where(_RUN.c.job == job, _RUN.c.slot == slot)
    )
    at: int | None = found.scalar()
    return at


def last_slot(session: Session, job: str) -> str | None:
    """Return the latest slot that a job ran for or skipped, or None."""
    found = session.connection().execute(
        select(func.max(_RUN.c.slot)).where(
            _RUN.c.job == job, _RUN.c.state.in_(("done", "skipped"))
        )
    )
    last: str | None = found.scalar()
    return last


def last_instant(session: Session, job: str) -> str:
    """Return the instant for which a job of every few seconds last ended well; "" if it did not."""
    found = session.connection().execute(
        select(_RUN.c.detail).where(_RUN.c.job == job, _RUN.c.slot == EVERY, _RUN.c.state == "done")
    )
    last: str | None = found.scalar()
    return last or ""


def recent(session: Session, limit: int) -> Sequence[Any]:
    """Return the runs that were claimed last."""
    statement = select(_RUN).order_by(_RUN.c.claimed_at.desc(), _RUN.c.job).limit(limit)
    return session.connection().execute(statement).all()


def latest(session: Session) -> list[tuple[str, str, int, int]]:
    """Return (job, state of its last ended run, when that ended, when one last ended well)."""
    ended = (
        select(_RUN.c.job, func.max(_RUN.c.finished_at).label("at"))
        .where(_RUN.c.finished_at.is_not(None))
        .group_by(_RUN.c.job)
        .subquery()
    )
    done = (
        select(_RUN.c.job, func.max(_RUN.c.finished_at).label("at"))
        .where(_RUN.c.state == "done")
        .group_by(_RUN.c.job)
        .subquery()
    )
    statement = (
        select(_RUN.c.job, func.min(_RUN.c.state), ended.c.at, func.coalesce(done.c.at, 0))
        .join(ended, (ended.c.job == _RUN.c.job) & (ended.c.at == _RUN.c.finished_at))
        .outerjoin(done, done.c.job == _RUN.c.job)
        .group_by(_RUN.c.job, ended.c.at, done.c.at)
    )
    return [tuple(row) for row in session.connection().execute(statement)]


def record_failure(
    session: Session, job: str, slot: str, subject: str, code: str, detail: str, at: int
) -> None:
    """Write down that a job left something out, and why; the same failure is kept once."""
    bulk(
        session,
        "INSERT INTO job_failure (id, job, slot, subject, code, detail, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        [(child_id("jfl", job, slot, subject, code), job, slot, subject, code, detail, at)],
    )


def has_failed(session: Session, job: str, slot: str, subject: str, code: str) -> bool:
    """Return whether this failure is written down already."""
    rows = JobFailureRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
    statement = select(rows.c.id).where(rows.c.id == child_id("jfl", job, slot, subject, code))
    return session.connection().execute(statement).first() is not None


def failures(session: Session, limit: int) -> Sequence[Any]:
    """Return the failures that were recorded last."""
    rows = JobFailureRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
    statement = select(rows).order_by(rows.c.at.desc(), rows.c.id).limit(limit)
    return session.connection().execute(statement).all()


def forget_failures(session: Session, before: int) -> int:
    """Remove the record of failures older than an instant; return how many there were."""
    return bulk(session, "DELETE FROM job_failure WHERE at < ?", [(before,)])
