"""What the server keeps beside the paper broker's file: bodies by kind, and the events it told."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from broker_adapters.durable_file import DurableFile

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS things (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS things_of ON things (kind, account, seq);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT
"""

Body = dict[str, Any]


class Shelf:
    """A file of JSON bodies that survives SIGKILL."""

    def __init__(self, path: Path) -> None:
        """Remember the path; it is opened at the first call."""
        self._file = DurableFile(path, _SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def put(
        self,
        kind: str,
        things: Sequence[tuple[str, str, Mapping[str, Any]]],
        events: Sequence[tuple[str, str, Mapping[str, Any]]] = (),
    ) -> None:
        """Write things (id, account, body), new or changed, and events (stream, id, body)."""
        with self._file.write() as db:
            db.executemany(
                "INSERT INTO things (kind, id, account, body) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                [(kind, one, account, json.dumps(body)) for one, account, body in things],
            )
            db.executemany(
                "INSERT OR IGNORE INTO events (stream, id, body) VALUES (?, ?, ?)",
                [(stream, one, json.dumps(body)) for stream, one, body in events],
            )

    def drop(self, kind: str, identity: str) -> None:
        """Forget a thing."""
        with self._file.write() as db:
            db.execute("DELETE FROM things WHERE kind = ? AND id = ?", (kind, identity))

    def get(self, kind: str, identity: str) -> Body | None:
        """Return a thing, or None."""
        with self._file.read() as db:
            row = db.execute(
                "SELECT body FROM things WHERE kind = ? AND id = ?", (kind, identity)
            ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def all(self, kind: str, account: str | None = None) -> list[Body]:
        """Return things of a kind, of one account unless None, oldest first."""
        with self._file.read() as db:
            rows = db.execute(
                "SELECT body FROM things WHERE kind = ?1 AND (?2 IS NULL OR account = ?2)"
                " ORDER BY seq",
                (kind, account),
            ).fetchall()
        return [dict(json.loads(row[0])) for row in rows]

    def events(self, stream: str, after_seq: int = 0) -> list[tuple[int, Body]]:
        """Return (number, body) of a stream's events after a number."""
        with self._file.read() as db:
            rows = db.execute(
                "SELECT seq, body FROM events WHERE stream = ? AND seq > ? ORDER BY seq",
                (stream, after_seq),
            ).fetchall()
        return [(seq, dict(json.loads(body))) for seq, body in rows]
