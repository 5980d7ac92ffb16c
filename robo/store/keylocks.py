"""One at a time per key, over threads and processes, without a row that a crash could leave behind.

A lock dies with its process, so a retry after a crash starts at once. SQLite's users share one
machine: a file lock on one byte of a file, the byte chosen by the key (POSIX locks are a process's,
so a set of held bytes keeps its threads apart). PostgreSQL: an advisory lock of a session. Where
there is no `fcntl` (Windows), one process serves, and the set alone is enough.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import text

from robo.store.database import Database

try:
    import fcntl
except ImportError:
    _HAS_FILE_LOCKS = False
else:
    _HAS_FILE_LOCKS = True

_PLACES: Final = 2**62
"""Bytes that may be locked; a lock beyond the end of a file is allowed."""


class KeyLocks:
    """Hands out locks by name; connects to nothing and opens nothing before the first one."""

    def __init__(self, db: Database, folder: Path) -> None:
        """Lock through the database, or for SQLite through a file in the folder."""
        self._db = db
        self._path = folder / "keys.lock"
        self._guard = threading.Lock()
        self._held: set[int] = set()
        self._file: tuple[int, int] | None = None

    @contextmanager
    def hold(self, key: bytes) -> Iterator[bool]:
        """Yield whether the lock is ours; False means that somebody else holds it now.

        Args:
            key: At least eight bytes of a hash.
        """
        place = int.from_bytes(key[:8], "big") % _PLACES
        with self._guard:
            mine = place not in self._held
            if mine:
                self._held.add(place)
        if not mine:
            yield False
            return
        try:
            with self._hold_outside(place) as got:
                yield got
        finally:
            with self._guard:
                self._held.discard(place)

    @contextmanager
    def _hold_outside(self, place: int) -> Iterator[bool]:
        """Yield whether no other process holds the place."""
        if not self._db.is_sqlite:
            with self._hold_in_postgres(place) as got:
                yield got
            return
        if not _HAS_FILE_LOCKS:
            yield True
            return
        descriptor = self._descriptor()
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)

    @contextmanager
    def _hold_in_postgres(self, place: int) -> Iterator[bool]:
        engine = self._db.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            got = bool(
                connection.execute(text("SELECT pg_try_advisory_lock(:p)"), {"p": place}).scalar()
            )
            try:
                yield got
            finally:
                if got:
                    connection.execute(text("SELECT pg_advisory_unlock(:p)"), {"p": place})

    def _descriptor(self) -> int:
        """Return this process's open file: closing any descriptor of it would drop all locks."""
        with self._guard:
            if self._file is None or self._file[0] != os.getpid():
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._file = (os.getpid(), opened)
            return self._file[1]
