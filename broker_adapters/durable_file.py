"""A small database file that survives SIGKILL at any instant: one writer, whole transactions."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final

from robo.core.errors import BrokenInvariantError, BrokerUnavailableError

_WAL_SAFE_VERSION: Final = (3, 51, 3)
"""Older SQLite may corrupt a WAL when two processes reset it at the same instant."""
_BUSY_SECONDS: Final = 30.0
_OPEN_ATTEMPTS: Final = 100
"""Changing the journal mode of a new file does not wait for other openers: we do."""
_OPEN_PAUSE_SECONDS: Final = 0.02
_PRIVATE: Final = 0o600


def sqlite_module() -> Any:
    """Return pysqlite3 where there is a wheel for it, else the standard library's sqlite3."""
    try:
        from pysqlite3 import dbapi2  # noqa: PLC0415 - there is no wheel for every platform
    except ImportError:
        return sqlite3
    return dbapi2


class DurableFile:
    """Hands out transactions on one file; safe for threads, and for processes forked after use."""

    def __init__(self, path: Path, schema: str) -> None:
        """Remember the path and the schema (`CREATE TABLE IF NOT EXISTS …`); open at first use."""
        self._path = path
        self._schema = schema
        self._module = sqlite_module()
        self._lock = RLock()
        self._connection: Any = None
        self._pid = 0
        self._inherited: list[Any] = []
        """Connections made before a fork: using or closing them here could hurt the parent's."""

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield a transaction that holds the write lock; on disk when the block is left.

        Raises:
            BrokerUnavailableError: If the file cannot be written; nothing was changed, or the
                commit's outcome is unknown.
        """
        with self._transaction("BEGIN IMMEDIATE", "COMMIT") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Yield one consistent snapshot.

        Raises:
            BrokerUnavailableError: If the file cannot be read.
        """
        with self._transaction("BEGIN", "ROLLBACK") as connection:
            yield connection

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, begin: str, end: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connect()
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute(end)
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except self._module.IntegrityError as error:
                message = "the simulator's own file refused a row"
                raise BrokenInvariantError(message, code="storage_refused") from error
            except self._module.Error as error:
                message = "the simulator's own file is not available"
                raise BrokerUnavailableError(message, code="storage_unavailable") from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            if self._connection is not None:
                self._inherited.append(self._connection)
            self._connection = self._open()
            self._pid = os.getpid()
        connection: sqlite3.Connection = self._connection
        return connection

    def _open(self) -> Any:
        """Return a new connection; processes that open a new file at once wait for each other."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=_PRIVATE)
        for attempt in range(_OPEN_ATTEMPTS):
            connection = self._module.connect(
                str(self._path),
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare(connection)
            except self._module.OperationalError:
                connection.close()
                if attempt == _OPEN_ATTEMPTS - 1:
                    raise
                time.sleep(_OPEN_PAUSE_SECONDS)
            else:
                return connection
        return None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        wal = tuple(self._module.sqlite_version_info) >= _WAL_SAFE_VERSION
        connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'TRUNCATE'}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema.split(";"):
            connection.execute(statement)
        connection.execute("COMMIT")
