"""Every place where a process can die: found by listening, counted, and died at on demand.

No product code knows of this. Statements come from SQLAlchemy's cursor event, commits from the
dialect, calls to broker and bank from a wrapper, statements inside their files from SQLite's trace,
and the anchors' files from their link and unlink.
"""

import functools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

from broker_adapters.durable_file import DurableFile
from robo.store.database import Database

BROKER_CALLS: Final = ("submit", "find", "cancel", "executions", "activities", "positions", "cash")
BANK_CALLS: Final = ("link", "request", "events")
KINDS: Final = (
    "database statement",
    "before commit",
    "after commit",
    "before broker call",
    "after broker call",
    "before bank call",
    "after bank call",
    "statement inside broker",
    "statement inside bank",
    "before file",
    "after file",
)


@dataclass
class Points:
    """Counts points while `live`; kills this process at the one it was told to.

    Between two points there may be a boundary: the start of a transaction or of a call to the
    outside, where nothing is open. Who explores all points stops there (see `crash_lab`).
    """

    live: bool = False
    count: int = 0
    kill_at: int = -1
    seen: list[tuple[str, str]] = field(default_factory=list)
    boundaries: list[int] = field(default_factory=list)
    """How many points had been passed at each boundary."""
    at_boundary: Callable[[], None] | None = None
    _depth: int = 0

    def hit(self, kind: str, label: str = "") -> None:
        """Pass a point, or die at it."""
        if not self.live:
            return
        self.seen.append((kind, label))
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    @contextmanager
    def counting(self, kill_at: int = -1) -> Iterator[None]:
        """Count from zero while the block runs."""
        self.live, self.count, self.kill_at, self.seen = True, 0, kill_at, []
        self.boundaries = []
        try:
            yield
        finally:
            self.live = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Mark a transaction of ours; its start is a boundary unless it lies in another one."""
        if self._depth == 0 and self.live:
            self.boundaries.append(self.count)
            if self.at_boundary is not None:
                self.live = False  # what is done there is not part of the job
                self.at_boundary()
                self.live = True
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    @contextmanager
    def call(self, what: str) -> Iterator[None]:
        """Mark a call to the outside, which must never lie in a transaction of ours."""
        if self.live and self._depth:
            message = f"the {what} was called inside a transaction"
            raise AssertionError(message)
        with self.transaction():
            yield


POINTS: Final = Points()


class Probe:
    """Wraps a broker or a bank; its named methods are points before and after."""

    def __init__(self, inner: Any, what: str, calls: tuple[str, ...]) -> None:
        self.inner = inner
        for name in calls:
            setattr(self, name, self._watched(getattr(inner, name), what, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @staticmethod
    def _watched(method: Callable[..., Any], what: str, name: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with POINTS.call(what):
                POINTS.hit(f"before {what} call", name)
                answer = method(*args, **kwargs)
                POINTS.hit(f"after {what} call", name)
            return answer

        return call


def watch_transactions() -> None:
    """Make the start of every transaction a boundary; once a process."""

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def begin(self: Database) -> Iterator[Any]:
            with POINTS.transaction(), method(self) as session:
                yield session

        return begin

    Database.write = watched(Database.write)  # type: ignore[method-assign]
    Database.read = watched(Database.read)  # type: ignore[method-assign]


def watch_database(engine: Engine) -> None:
    """Make every statement and every commit of an engine a point."""

    def on_execute(_c: Any, _cur: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("PRAGMA busy_timeout"):  # sets the connection, asks nothing
            POINTS.hit("database statement", statement)

    event.listen(engine, "before_cursor_execute", on_execute)
    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        POINTS.hit("before commit", "")
        commit(connection)
        POINTS.hit("after commit", "")

    engine.dialect.do_commit = do_commit  # type: ignore[method-assign]


def watch_files() -> None:
    """Make every statement in the files of broker and bank a point, and every anchor's file."""
    prepare = DurableFile._prepare

    def watched(self: DurableFile, connection: Any) -> None:
        who = "bank" if self._path.parent.name == "bank" else "broker"

        def watch(sql: str) -> None:
            POINTS.hit(f"statement inside {who}", sql)

        if not self._path.stat().st_size:  # what opens a file that is there changes nothing
            connection.set_trace_callback(watch)
            prepare(self, connection)
        else:
            prepare(self, connection)
            connection.set_trace_callback(watch)

    DurableFile._prepare = watched  # type: ignore[method-assign]
    Path.hardlink_to = _watched_path(Path.hardlink_to)  # type: ignore[method-assign]
    Path.unlink = _watched_path(Path.unlink)  # type: ignore[method-assign]


def _watched_path(method: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(method)
    def call(self: Path, *args: Any, **kwargs: Any) -> None:
        POINTS.hit("before file", method.__name__)
        method(self, *args, **kwargs)
        POINTS.hit("after file", method.__name__)

    return call
