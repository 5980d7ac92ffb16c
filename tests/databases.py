"""Fresh databases for tests that need one of their own."""

import contextlib
import secrets
from collections.abc import Iterator


@contextlib.contextmanager
def fresh_postgres(url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database of a server; it is dropped afterwards."""
    import psycopg

    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")  # our own name
        try:
            head, _, options = url.partition("?")
            yield f"{head.rpartition('/')[0]}/{name}?{options}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
