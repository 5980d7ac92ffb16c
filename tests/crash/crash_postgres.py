"""The same laboratory with our database on PostgreSQL; broker and bank keep their files.

A server cannot be put back in a millisecond, so points are a sample, and each child walks from the
beginning of its scene. What a killed client leaves open, the server itself rolls back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import crash_oracle as oracle
import psycopg
from crash_lab import Lab, open_lab

_LIVE = "crash_live"


class PostgresLab(Lab):
    """Keeps the state before a scene as a template database beside the files."""

    server = ""

    def save(self, number: int) -> None:
        super().save(number)
        self._copy(_LIVE, f"crash_before_{number}")

    def restore(self, number: int) -> None:
        super().restore(number)
        self._copy(f"crash_before_{number}", _LIVE)

    def dump(self) -> oracle.Dump:
        with psycopg.connect(_database(self.server, _LIVE)) as connection:
            return oracle.dump(self.state) | _rows(connection)

    def wrongs(self) -> list[str]:
        with (
            psycopg.connect(_database(self.server, _LIVE)) as connection,
            oracle.asking(self.state / oracle.FILES["broker"]) as broker,
            oracle.asking(self.state / oracle.FILES["bank"]) as bank,
        ):
            return oracle.wrongs(lambda sql: connection.execute(sql).fetchall(), broker, bank)

    def _copy(self, source: str, target: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            # A killed client's server process may need a moment to see that nobody is there.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (source,),
            )
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY wal_log")


def _rows(connection: psycopg.Connection) -> oracle.Dump:
    columns = connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    ).fetchall()
    found: oracle.Dump = {}
    for table in sorted({table for table, _ in columns}):
        dropped = oracle.MARKS.get(f"books.{table}", ())
        names = ", ".join(f'"{n}"' for t, n in columns if t == table and n not in dropped)
        rows = connection.execute(f'SELECT {names} FROM "{table}"').fetchall()
        found[f"books.{table}"] = sorted(rows, key=repr)
    return found


def _database(server: str, name: str) -> str:
    head, _, options = server.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{options}"


@contextmanager
def open_postgres_lab(server: str) -> Iterator[Lab]:
    """Yield a laboratory on a server of PostgreSQL; its databases' names start with `crash_`."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_LIVE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {_LIVE}")
    PostgresLab.server = server
    with open_lab(_database(server, _LIVE), PostgresLab) as lab:
        yield lab
