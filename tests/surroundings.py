"""What every process of the tests lives in; `conftest` imports this before anything else.

Nothing here is asked for by a test. It is set before NumPy is loaded, and where processes that
tests start inherit it.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
_ROOM_BYTES: Final = 4 * 2**30


def in_memory() -> bool:
    """Return whether the system has a directory in memory that tests fit in and can run files of.

    Every commit waits for the disk (2 ms each, measured), and no test is about the disk itself.
    """
    if not os.access(MEMORY, os.W_OK):
        return False
    found = os.statvfs(MEMORY)
    return found.f_bavail * found.f_frsize > _ROOM_BYTES and not found.f_flag & os.ST_NOEXEC


if "TMPDIR" not in os.environ and in_memory():  # noqa: TID251 - for the processes that tests start
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)  # noqa: TID251 - the same

# Two test processes on two cores, each with a thread a core that spins while it waits for another:
# tests/unit/test_sampling_bounds.py took 89 s of computing instead of 16 (measured beside others).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251 - read once, by NumPy
