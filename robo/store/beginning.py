"""How a transaction begins, on SQLite and on PostgreSQL, and how its writer's turn comes."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import SessionTransaction
from sqlmodel import Session

from robo.core.errors import RoboError
from robo.store.waiting import WaitingRoom

BUSY_MS: Final = 10_000
"""How long SQLite itself waits for a lock that is no writer's turn."""
Begin = Callable[[Connection], None]
_POLL_SECONDS: Final = 0.002
_WRITER_WAIT_SECONDS: Final = 30.0
_ADVISORY_KEY: Final = 0x0B0


class DatabaseBusyError(RoboError):
    """The writer's turn did not come in time; nothing was written."""

    code = "database_busy"


class Turn(threading.local):
    """When this thread's writing transaction got the writer's turn."""

    began: float | None = None

    def forget(self) -> None:
        """Begin anew: a transaction that writes nothing never gets a turn."""
        self.began = None

    def held_ms(self) -> float:
        """Return how long the turn has lasted."""
        return 0.0 if self.began is None else (time.perf_counter() - self.began) * 1000


class Moment(Session):
    """A session that begins its transaction at the database when it first asks something of it.

    By an event of the session, not of the engine: an engine that anybody listens to looks for
    listeners around each statement, a sixth of what SQLAlchemy takes for a small question.
    """

    def __init__(self, engine: Engine, begin: Begin, **options: Any) -> None:
        """Open a session of an engine whose transactions begin as `begin` says."""
        super().__init__(engine, expire_on_commit=False, **options)
        self.begin_at_the_database = begin


def _began(session: Moment, transaction: SessionTransaction, connection: Connection) -> None:
    if transaction.nested:
        return
    try:
        session.begin_at_the_database(connection)
    except BaseException:
        # Who went on all the same would write outside of any transaction.
        connection.invalidate()
        raise


event.listen(Moment, "after_begin", _began)


def begin_sqlite(connection: Any, room: WaitingRoom, turn: Turn) -> None:
    """Begin a moment's snapshot, or wait for the writer's turn and take it.

    Raises:
        DatabaseBusyError: If it takes too long.
    """
    raw = connection.connection.dbapi_connection
    if not connection.get_execution_options().get("robo_write"):
        raw.execute("BEGIN").close()  # said to the driver itself: a moment begins a hundred of them
        return
    raw.execute("PRAGMA busy_timeout=0").close()
    try:
        if not _take_turn(connection):
            with room.inside():
                _wait_for_turn(connection)
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_MS}").close()
    turn.began = time.perf_counter()


def _take_turn(connection: Any) -> bool:
    """Return whether the writer's turn is ours, without waiting for it."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if "locked" not in str(error.orig):
            raise
        return False
    return True


def _wait_for_turn(connection: Any) -> None:
    """Ask again until the turn is ours.

    Raises:
        DatabaseBusyError: If it takes too long.
    """
    deadline = time.monotonic() + _WRITER_WAIT_SECONDS
    while not _take_turn(connection):
        if time.monotonic() > deadline:
            message = "the database is busy; nothing was written"
            raise DatabaseBusyError(message)
        time.sleep(_POLL_SECONDS)


def begin_postgres(connection: Any, turn: Turn) -> None:
    """Begin one snapshot that writes nothing, or wait for the writer's turn and take it."""
    if connection.get_execution_options().get("robo_write"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
        turn.began = time.perf_counter()
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
