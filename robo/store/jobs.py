"""Job runs (one row claims a slot), what failed in them, the simulated clock."""

from typing import Any

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.core.errors import ConfigError
from robo.store.columns import STRICT, integer, one_of, text
from robo.store.database import bulk


class JobRunRow(SQLModel, table=True):
    """One run of one job for one slot (a business date, or an interval's start)."""

    __tablename__ = "job_run"
    __table_args__ = (
        one_of("job_run_state", "state", "running", "done", "failed", "skipped"),
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
