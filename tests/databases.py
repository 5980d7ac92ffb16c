"""Databases for tests: migrated once a process, and copied for every test that wants one."""

import contextlib
import functools
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from robo.store.database import Database, connect
from robo.store.schema import upgrade

Fill = Callable[[Database], object]


def nothing(_db: Database) -> None:
    """Add nothing to the tables."""


def migrate(url: str, fill: Fill = nothing) -> None:
    """Make a new database a migrated one with something in it.

    A file is copied from one that this process has migrated and filled before; on PostgreSQL the
    migrations run. That they do what they say is what tests/store/test_migrations.py shows.
    """
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).write_bytes(_file(fill))
        return
    with contextlib.closing(connect(url)) as db:
        upgrade(db)
        fill(db)


@functools.cache
def _file(fill: Fill) -> bytes:
    """Return the bytes of a migrated and filled file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        with contextlib.closing(connect(f"sqlite:///{path}", flush=False)) as db:
            upgrade(db)
            fill(db)
        return path.read_bytes()  # closed: its log has been copied back


@contextlib.contextmanager
def fresh_postgres(url: str, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database of a server, like its template; it is dropped afterwards."""
    import psycopg

    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        # Our own names.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield _named(url, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _named(url: str, name: str) -> str:
    head, _, options = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{options}"


@contextlib.contextmanager
def migrated_postgres(url: str) -> Iterator[str]:
    """Yield the name of a migrated database of a server, a template for others."""
    with fresh_postgres(url) as made:
        migrate(made)
        yield made.partition("?")[0].rpartition("/")[2]
