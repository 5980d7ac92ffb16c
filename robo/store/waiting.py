"""Who waits for the writer's turn, seen by all processes: a batch lets them go first.

SQLite has no queue of writers, and a batch that takes turn after turn would win most of them. A
writer that finds the database taken therefore waits inside this room: a lock on a file beside the
database that many share while they wait and nobody needs to clear, because it dies with its holder.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:
    _HAS_FILE_LOCKS = False
else:
    _HAS_FILE_LOCKS = True

_LOOK_SECONDS: Final = 0.001
_BLIND_SECONDS: Final = 0.004
"""Where nobody can be seen waiting: twice the pause in which a waiting writer asks again."""


class WaitingRoom:
    """Where writers wait; opens its file only while somebody does, or looks whether somebody does.

    Locks of this kind belong to an open file, not to a process, so every use opens its own.
    """

    def __init__(self, path: Path | None) -> None:
        """Wait at a file; None for a database that no other process can open."""
        self._path = path

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be seen waiting for the length of a block."""
        if self._path is None or not _HAS_FILE_LOCKS:
            yield
            return
        descriptor = self._open(self._path)
        try:
            # Whoever looks holds the file for a moment only.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def empty(self) -> bool:
        """Return whether nobody waits, as far as this system can tell."""
        if self._path is None or not _HAS_FILE_LOCKS or not self._path.exists():
            return True
        descriptor = self._open(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def let_go_first(self, seconds: float) -> None:
        """Wait until nobody waits, but no longer than this."""
        if not _HAS_FILE_LOCKS:
            time.sleep(_BLIND_SECONDS)
            return
        until = time.monotonic() + seconds
        while not self.empty() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
