"""One writer at a time, many readers: the same promise on SQLite and PostgreSQL.

SQLite: WAL, `synchronous=FULL`, and `BEGIN IMMEDIATE`, so that a transaction that writes never
starts on a stale snapshot. Waiting writers ask again every two milliseconds instead of SQLite's
growing pauses (up to 100 ms), and wait where batches see them: a batch gives way before each turn.
PostgreSQL: a writing transaction first takes one advisory lock; batches, not parallel locks,
make a ledger fast.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Engine, Select, bindparam, create_engine, event, make_url
from sqlalchemy.pool import QueuePool
from sqlmodel import Session

from robo.core.errors import ConfigError
from robo.store.beginning import BUSY_MS, Begin, Moment, Turn, begin_postgres, begin_sqlite
from robo.store.waiting import WaitingRoom

WAL_SAFE_VERSION: Final = (3, 51, 3)
"""Earlier SQLite may corrupt a WAL that two processes reset at the same instant."""
_GIVE_WAY_SECONDS: Final = 0.25
"""A batch gets on however many come: a fifth of the time at the very least."""
_IN_CHUNK: Final = 5_000
_CHUNK: Final = "chunk"
_ONE: Final = "one"
_AMONG: Final[dict[Any, Any]] = {}
_NO_OTHERS: Final[Mapping[str, Any]] = MappingProxyType({})
_KNOWN: Final = "known"
_KEPT: Final = "kept"
"""What a reading session was told before; see `once`."""
T = TypeVar("T")
_LOG_FRAMES: Final = 4_000
"""A write-ahead log of 16 MB is copied back: pages written often are then copied once."""


class Database:
    """Hands out transactions; knows which of the two databases it speaks to."""

    def __init__(
        self,
        engine: Engine,
        room: WaitingRoom,
        turn: Turn,
        begin: Begin,
        *,
        has_log: bool = False,
    ) -> None:
        """Wrap an engine made by `connect`: where writers wait, how to begin, whether it logs."""
        self.engine = engine
        self._begin = begin
        self.longest_write_ms = 0.0
        """The longest that a committed transaction of this process held the write lock."""
        self._kept: dict[str, Any] = {}
        self._room = room
        self._turn = turn
        self._has_log = has_log
        self._write_engine = engine.execution_options(robo_write=True)

    @property
    def is_sqlite(self) -> bool:
        """Return whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session that owns the writer's turn; commits at the end, rolls back on errors."""
        self._turn.forget()
        with (
            Moment(self._write_engine, self._begin) as session,
            _no_collection(),
            session.begin(),
        ):
            yield session
        self.longest_write_ms = max(self.longest_write_ms, self._turn.held_ms())

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session on one consistent snapshot; whatever it changes is rolled back."""
        info: dict[Any, Any] = {_KNOWN: {}, _KEPT: self._kept}
        with Moment(self.engine, self._begin, autoflush=False, info=info) as session:
            yield session  # closing it rolls back

    def give_way(self) -> None:
        """Let writers that wait go first; a batch says this before each of its turns.

        PostgreSQL's lock is a queue: whoever waits there goes first anyway.
        """
        if self.is_sqlite:
            self._room.let_go_first(_GIVE_WAY_SECONDS)

    def tidy(self) -> None:
        """Copy a grown write-ahead log back into the database while nobody has to wait for it.

        Holds no lock that a writer needs. Does nothing on PostgreSQL, or while the log is short.
        """
        if not self._has_log:
            return
        with closing(self.engine.raw_connection()) as connection:
            # Called through `Any`: SQLAlchemy's protocol of raw connections is narrower.
            raw: Any = connection.driver_connection
            if _frames_to_copy(raw) >= _LOG_FRAMES:
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Put off the search for garbage: with a night in memory it takes longer than a turn may."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def connect(url: str, *, flush: bool = True) -> Database:
    """Return a database for a URL, `sqlite:///path` or `postgresql+psycopg://…`; opens lazily.

    Args:
        url: Where it is.
        flush: Whether each commit waits for the disk. Without, SQLite still survives the death of
            a process, but a power failure may lose the last commits: for simulated time only.

    Raises:
        ConfigError: If the URL names another database.
    """
    turn = Turn()
    if url.startswith("sqlite"):
        name = make_url(url).database or ":memory:"
        in_memory = name == ":memory:"
        room = WaitingRoom(None if in_memory else Path(f"{name}-waiting"))
        engine = _sqlite_engine(url, flush=flush)
        begin = partial(begin_sqlite, room=room, turn=turn)
        return Database(engine, room, turn, begin, has_log=not in_memory)
    if url.startswith("postgresql"):
        plain = url.replace("postgresql://", "postgresql+psycopg://", 1)
        engine = create_engine(plain, pool_size=8, max_overflow=8, pool_pre_ping=True)
        return Database(engine, WaitingRoom(None), turn, partial(begin_postgres, turn=turn))
    message = "ROBO_DATABASE_URL must start with sqlite: or postgresql:"
    raise ConfigError(message)


def _frames_to_copy(raw: Any) -> int:
    """Return how many pages of the log are not in the database yet.

    SQLite is asked, and its files are left alone: whoever opens and closes one of them ends every
    lock that this process has on it (POSIX), and the next process that comes believes itself alone.
    The file's size is no measure: a log is begun again from the front and never shortened.
    """
    _busy, written, copied = raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return max(0, int(written) - int(copied))


def sqlite_module() -> Any:
    """Return pysqlite3 where it has a wheel, else the standard library's sqlite3."""
    try:
        from pysqlite3 import dbapi2  # noqa: PLC0415 - there is no wheel for every platform
    except ImportError:
        import sqlite3  # noqa: PLC0415 - the fallback of the line above

        return sqlite3
    return dbapi2


def sqlite_is_safe() -> bool:
    """Return whether this SQLite may share a write-ahead log between processes."""
    version: str = sqlite_module().sqlite_version
    return tuple(int(part) for part in version.split(".")) >= WAL_SAFE_VERSION


def _sqlite_engine(url: str, *, flush: bool) -> Engine:
    module = sqlite_module()
    safe = sqlite_is_safe()
    engine = create_engine(
        url,
        module=module,
        poolclass=QueuePool,
        pool_size=16,
        max_overflow=16,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
    )

    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            f"journal_mode={'WAL' if safe else 'TRUNCATE'}",
            # Without WAL, NORMAL could corrupt the file when power fails.
            f"synchronous={'FULL' if flush or not safe else 'NORMAL'}",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-65536",
            "mmap_size=268435456",
            # Copying the log back costs its commit tens of milliseconds: `tidy` does it outside of
            # transactions, and a commit only where nobody ever tidies.
            "wal_autocheckpoint=32000",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", on_connect)
    return engine


def once(session: Session, key: tuple[str, ...], ask: Callable[[], T]) -> T:
    """Return an answer that is asked for once a snapshot: a reading session sees no changes.

    A writing session asks every time.
    """
    known = session.info.get(_KNOWN)
    if known is None:
        return ask()
    if key not in known:
        known[key] = ask()
    found: T = known[key]
    return found


def kept(session: Session, key: str, make: Callable[[], T]) -> T | None:
    """Return what this process keeps of the database from one snapshot to the next.

    For what can be told to be still true at less cost than working it out. None in a writing
    session: what that sees may never be committed.
    """
    found: dict[str, T] | None = session.info.get(_KEPT)
    return None if found is None else found.setdefault(key, make())


def bulk(session: Session, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run one statement with `?` marks for every row and return the count of rows it changed.

    The way for whole batches: about four times as fast as the ORM's insert.
    """
    if not rows:
        return 0
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        sql = sql.replace("%", "%%").replace("?", "%s")
    return connection.exec_driver_sql(sql, [tuple(row) for row in rows]).rowcount


def insert_many(
    session: Session, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows given in the order of the columns."""
    marks = ", ".join("?" * len(columns))
    bulk(session, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608 - names are ours


def select_in(
    session: Session, statement: Select[Any], column: Any, values: Sequence[Any]
) -> list[Any]:
    """Return the rows of a select restricted to the values, asked for in chunks.

    Where the select is always the same, `among` makes it once and `rows_in` asks: SQLAlchemy takes
    about as long to make a select and to recognise it as SQLite takes to answer it.
    """
    return rows_in(session, Asked(statement.where(_among(column))), values) if values else []


@dataclass(frozen=True, slots=True)
class Asked:
    """A select restricted to those values of a column that `rows_in` will be given."""

    many: Select[Any]
    one: Select[Any] | None = None
    """For a single value, the common case in a small firm: a list costs each question its text."""


def among(statement: Select[Any], column: Any) -> Asked:
    """Return a select for `rows_in`; made once, as a constant."""
    many = statement.where(_among(column))
    if not isinstance(column, Column):
        return Asked(many)
    return Asked(many, statement.where(column == bindparam(_ONE, type_=column.type)))


def rows_in(
    session: Session,
    asked: Asked,
    values: Sequence[Any],
    others: Mapping[str, Any] = _NO_OTHERS,
) -> list[Any]:
    """Return the rows of a select made by `among` for the values, asked for in chunks.

    Args:
        session: A read or a write.
        asked: The select.
        values: What its column is compared with.
        others: Its other bound parameters by name.
    """
    rows: list[Any] = []
    if len(values) == 1 and asked.one is not None:
        found = session.connection().execute(asked.one, {**others, _ONE: values[0]})
        return list(found.all())
    for start in range(0, len(values), _IN_CHUNK):
        chunk = list(values[start : start + _IN_CHUNK])
        rows.extend(session.connection().execute(asked.many, {**others, _CHUNK: chunk}).all())
    return rows


def _among(column: Any) -> Any:
    """Return the condition that a column is one of a chunk; made once for each of our columns."""
    if not isinstance(column, Column):
        return column.in_(bindparam(_CHUNK, expanding=True))
    found = _AMONG.get(column)
    if found is None:
        found = _AMONG[column] = column.in_(bindparam(_CHUNK, expanding=True, type_=column.type))
    return found
