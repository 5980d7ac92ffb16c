"""Prices and announcements as Alpaca told them, raw, kept in a file: told once, never adjusted."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from broker_adapters.durable_file import DurableFile

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS closes (
    day INTEGER NOT NULL,
    security_id INTEGER NOT NULL,
    micros INTEGER NOT NULL CHECK (micros > 0),
    PRIMARY KEY (day, security_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS actions (
    day INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (day, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS days (
    what TEXT NOT NULL,
    day INTEGER NOT NULL,
    PRIMARY KEY (what, day)
) STRICT, WITHOUT ROWID
"""
CLOSES: Final = "closes"
ACTIONS: Final = "actions"


class PriceStore:
    """The file."""

    def __init__(self, path: Path) -> None:
        """Remember the path; it is opened at the first call."""
        self._file = DurableFile(path, _SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def missing(self, what: str, days: Iterable[date]) -> list[date]:
        """Return the days that have not been read yet."""
        with self._file.read() as db:
            known = {row[0] for row in db.execute("SELECT day FROM days WHERE what = ?", (what,))}
        return [day for day in days if day.toordinal() not in known]

    def keep_closes(self, rows: Sequence[tuple[date, int, int]], read: Sequence[date]) -> None:
        """Write closes (day, security, micro-dollars) and which days are complete.

        A close that is there already stays: what was told once is what our books were marked with.
        """
        with self._file.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO closes (day, security_id, micros) VALUES (?, ?, ?)",
                [(day.toordinal(), one, micros) for day, one, micros in rows],
            )
            db.executemany(
                "INSERT OR IGNORE INTO days (what, day) VALUES (?, ?)",
                [(CLOSES, day.toordinal()) for day in read],
            )

    def closes(self, day: date) -> dict[int, int]:
        """Return a day's closes."""
        return self.closes_between(day, day).get(day, {})

    def closes_between(self, first: date, last: date) -> dict[date, dict[int, int]]:
        """Return the closes of all days between two, inclusive."""
        found: dict[date, dict[int, int]] = {}
        with self._file.read() as db:
            rows = db.execute(
                "SELECT day, security_id, micros FROM closes WHERE day BETWEEN ? AND ?",
                (first.toordinal(), last.toordinal()),
            )
            for day, one, micros in rows:
                found.setdefault(date.fromordinal(day), {})[one] = micros
        return found

    def keep_actions(
        self, rows: Sequence[tuple[date, str, str, Mapping[str, Any]]], read: Sequence[date]
    ) -> None:
        """Write announcements (ex-day, id, kind, body) and which days are complete."""
        with self._file.write() as db:
            db.executemany(
                "INSERT INTO actions (day, id, kind, body) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (day, id) DO UPDATE SET body = excluded.body",
                [
                    (day.toordinal(), one, kind, json.dumps(dict(body), default=str))
                    for day, one, kind, body in rows
                ],
            )
            db.executemany(
                "INSERT OR IGNORE INTO days (what, day) VALUES (?, ?)",
                [(ACTIONS, day.toordinal()) for day in read],
            )

    def actions_between(self, first: date, last: date) -> list[tuple[date, str, Any]]:
        """Return (ex-day, kind, body) of the announcements between two days, inclusive."""
        with self._file.read() as db:
            rows = db.execute(
                "SELECT day, kind, body FROM actions WHERE day BETWEEN ? AND ? ORDER BY day, id",
                (first.toordinal(), last.toordinal()),
            ).fetchall()
        return [
            (date.fromordinal(day), kind, json.loads(body, parse_float=Decimal))
            for day, kind, body in rows
        ]
