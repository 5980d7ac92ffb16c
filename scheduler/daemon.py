"""The runner as a process: APScheduler wakes it, the database decides what it does."""

import threading
import time
from datetime import UTC
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from robo import logs
from robo.config import Settings
from robo.core.errors import BrokenInvariantError, RoboError
from robo.runtime import Runtime, boot, keep_heap, warm_kernels
from robo.services import reconciling
from robo.serving import STOPPED, on_stop_signals
from scheduler.jobs import TIMETABLE
from scheduler.runner import LOG, Runner

_WAKE_SECONDS: Final = 1


def run(settings: Settings) -> int:
    """Run the timetable until told to stop; return the exit status.

    Under a simulated clock nothing runs by itself: the time-lapse does what is due.
    """
    runtime = boot(settings)
    stopping = threading.Event()
    on_stop_signals(stopping.set)
    try:
        if settings.clock == "sim":
            logs.event(LOG, "runner.idle", clock="sim")
            stopping.wait()
            return 0
        warm_kernels()
        keep_heap()
        return _run(runtime, stopping)
    finally:
        runtime.close()


def _run(runtime: Runtime, stopping: threading.Event) -> int:
    runner = Runner(runtime, TIMETABLE, stopping=stopping, elapsed=time.monotonic)
    broken = threading.Event()

    def wake() -> None:
        try:
            runner.tick()
            runtime.db.tidy()  # what the web server wrote meanwhile
        except BrokenInvariantError:
            broken.set()
            stopping.set()
        except Exception as error:  # noqa: BLE001 - the next tick may find the database again
            logs.failure(LOG, "runner.tick_failed", error)

    _compare(runtime)
    # Jobs live in memory only: a shared job store fires twice when two processes wake at once.
    scheduler = BackgroundScheduler(
        jobstores={"default": MemoryJobStore()},
        executors={"default": ThreadPoolExecutor(1)},
        timezone=UTC,
    )
    scheduler.add_job(
        wake, "interval", seconds=_WAKE_SECONDS, max_instances=1, coalesce=True,
        misfire_grace_time=None,
    )  # fmt: skip
    logs.event(LOG, "runner.started", owner=runner.owner)
    with runner.beating():
        scheduler.start()
        stopping.wait()
        scheduler.shutdown(wait=True)
    logs.event(LOG, "runner.stopped")
    return STOPPED if broken.is_set() else 0


def _compare(runtime: Runtime) -> None:
    """Compare the books with the broker before anything is sent; what fails is tried at night."""
    r = runtime
    try:
        found = reconciling.reconcile(
            r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy, sparing=True
        )
        logs.event(LOG, "runner.reconciled", count=len(found.found))
    except RoboError as error:
        logs.failure(LOG, "runner.reconcile_failed", error)
