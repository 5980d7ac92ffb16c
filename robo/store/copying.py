"""Copies of a whole database, made while it is in use, and put back into an empty one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from robo.core.errors import InvalidInputError
from robo.store.database import Database, sqlite_module
from robo.store.schema import metadata, require_current, upgrade

_BLOCK: Final = 1 << 20
_FILE: Final = "robo.db"
_TABLES: Final = "tables.json"
_COUNTERS: Final = "SELECT name, value FROM counter"


@dataclass(frozen=True, slots=True)
class Dumped:
    """What a snapshot holds.

    Attributes:
        revision: Of its schema.
        counters: Name -> value as in the snapshot.
    """

    revision: str
    counters: dict[str, int]


def dump(db: Database, folder: Path) -> Dumped:
    """Write one snapshot of the database into a folder; return what it holds.

    SQLite: its online backup. PostgreSQL: one COPY file a table, and the list of columns.

    Raises:
        ConfigError: If the database has another schema than this code.
    """
    folder.mkdir(parents=True)
    require_current(db)
    with db.read() as session:
        revision = MigrationContext.configure(session.connection()).get_current_revision()
    assert revision is not None
    if db.is_sqlite:
        source = db.engine.url.database
        assert source is not None
        copy_sqlite(Path(source), folder / _FILE)
        return Dumped(revision, _counters(folder / _FILE))
    return Dumped(revision, _dump_tables(db, folder))


def load(db: Database, folder: Path, revision: str) -> None:
    """Put a copy into an empty database and bring it to today's schema."""
    if db.is_sqlite:
        target = db.engine.url.database
        assert target is not None
        db.close()
        copy_sqlite(folder / _FILE, Path(target))
        Path(target).chmod(0o600)
    else:
        upgrade(db, revision)
        _load_tables(db, folder)
    upgrade(db)


def is_empty(db: Database) -> bool:
    """Return whether the database has no table at all."""
    return not inspect(db.engine).get_table_names()


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy an SQLite file that others may be writing to; the copy has no side files.

    In one step, which is one snapshot: in portions, each write of another process would start the
    copy again. With WAL nobody waits for it.
    """
    module = sqlite_module()
    reading, writing = module.connect(str(source)), module.connect(str(target))
    try:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode=DELETE").fetchall()
        broken = writing.execute("PRAGMA quick_check").fetchall() != [("ok",)]
    finally:
        writing.close()
        reading.close()
    if broken:
        message = f"{source.name} is damaged"
        raise InvalidInputError(message, code="database_damaged")


def _counters(file: Path) -> dict[str, int]:
    connection = sqlite_module().connect(str(file))
    try:
        return dict(connection.execute(_COUNTERS).fetchall())
    finally:
        connection.close()


def _dump_tables(db: Database, folder: Path) -> dict[str, int]:
    tables = {
        table.name: [column.name for column in table.columns] for table in metadata().sorted_tables
    }
    with db.read() as session:
        rows = session.connection().exec_driver_sql(_COUNTERS)
        counters = {name: int(value) for name, value in rows}
        cursor = _cursor(session.connection())
        for name, columns in tables.items():
            sql = f'COPY "{name}" ({_listed(columns)}) TO STDOUT (FORMAT binary)'
            with (folder / name).open("wb") as out, cursor.copy(sql) as copy:
                for block in copy:
                    out.write(block)
    (folder / _TABLES).write_text(json.dumps(tables), encoding="utf-8")
    return counters


def _load_tables(db: Database, folder: Path) -> None:
    tables: dict[str, list[str]] = json.loads((folder / _TABLES).read_text(encoding="utf-8"))
    with db.write() as session:
        cursor = _cursor(session.connection())
        for name, columns in tables.items():
            sql = f'COPY "{name}" ({_listed(columns)}) FROM STDIN (FORMAT binary)'
            with (folder / name).open("rb") as content, cursor.copy(sql) as copy:
                while block := content.read(_BLOCK):
                    copy.write(block)


def _listed(columns: list[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()
