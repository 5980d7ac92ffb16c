"""What Alpaca has told us of one account, kept in a file of our own, in the order of hearing.

Alpaca's list of activities is no journal: ids begin with New York's time, rows of one millisecond
are in no order, late rows appear in the middle. Here each row is written once, by its id, and gets
the next number; that number is the cursor that our books continue from. The file can be lost: it is
read again from Alpaca, and a cursor that does not fit the new file starts from the beginning, where
every execution that is known already is passed over by its id.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from broker_adapters.alpaca_wire import WireFill, cents_of
from broker_adapters.durable_file import DurableFile
from robo.core.clock import from_micros, to_micros
from robo.core.errors import InvalidInputError
from robo.core.ids import SecurityId
from robo.core.money import NANOS_PER_SHARE, PPM, round_ratio
from robo.ports.broker import Execution, ExecutionKind, Side

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    security_id INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS fills (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    security_id INTEGER NOT NULL,
    side TEXT NOT NULL,
    nanos INTEGER NOT NULL CHECK (nanos > 0),
    price TEXT NOT NULL,
    cents INTEGER NOT NULL CHECK (cents >= 0),
    executed_at INTEGER NOT NULL,
    settles_on INTEGER NOT NULL,
    busts TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS fills_of ON fills (order_id);
CREATE TABLE IF NOT EXISTS others (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS marks (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT
"""
_TALE: Final = 12
"""How much of an id goes into a cursor, to tell whether it belongs to this file."""


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order of Alpaca's and what we called it."""

    order_id: str
    client_id: str
    security_id: SecurityId


class AlpacaJournal:
    """The file; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Remember the path; it is opened at the first call."""
        self._file = DurableFile(path, _SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def mark(self, name: str) -> str:
        """Return a value that was noted, empty if none was."""
        with self._file.read() as db:
            row = db.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def note(self, name: str, value: str) -> None:
        """Note a value."""
        with self._file.write() as db:
            _note(db, name, value)

    def order(self, order_id: str) -> KnownOrder | None:
        """Return what we called an order; None if it has not been looked up yet."""
        with self._file.read() as db:
            row = db.execute(
                "SELECT order_id, client_id, security_id FROM orders WHERE order_id = ?",
                (order_id,),
            ).fetchone()
        return KnownOrder(row[0], row[1], SecurityId(row[2])) if row else None

    def learn(self, order: KnownOrder) -> None:
        """Remember what we called an order."""
        with self._file.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO orders (order_id, client_id, security_id) VALUES (?, ?, ?)",
                (order.order_id, order.client_id, order.security_id),
            )

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return which of these rows have been written already."""
        found: set[str] = set()
        with self._file.read() as db:
            for one in ids:
                for table in ("fills", "others"):
                    query = f"SELECT 1 FROM {table} WHERE id = ?"  # noqa: S608 - constants
                    if db.execute(query, (one,)).fetchone():
                        found.add(one)
        return found

    def write(
        self,
        fills: Sequence[tuple[WireFill, KnownOrder, date]],
        others: Sequence[tuple[str, Any]],
        marks: Sequence[tuple[str, str]],
    ) -> None:
        """Write rows that are new, and how far was read, together.

        Args:
            fills: Executions, the order of each and the day it settles; in Alpaca's order.
            others: (key, body) of every other activity.
            marks: (name, value) to note.
        """
        with self._file.write() as db:
            for fill, order, settles_on in fills:
                _add_fill(db, fill, order, settles_on)
            db.executemany(
                "INSERT OR IGNORE INTO others (id, body) VALUES (?, ?)",
                [(key, json.dumps(body, default=str)) for key, body in others],
            )
            for name, value in marks:
                _note(db, name, value)

    def executions(self, after: str, limit: int) -> tuple[list[Execution], str]:
        """Return executions after a cursor, in the order of hearing, and the next cursor.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
        """
        with self._file.read() as db:
            start = _start(db, "fills", after)
            rows = db.execute(
                "SELECT seq, id, client_id, security_id, side, nanos, price, cents, executed_at,"
                " settles_on, busts FROM fills WHERE seq > ? ORDER BY seq LIMIT ?",
                (start, limit),
            ).fetchall()
        cursor = _cursor(rows[-1][0], rows[-1][1]) if rows else after
        return [_execution(row) for row in rows], cursor

    def booked(self, order_id: str) -> tuple[int, int]:
        """Return (nanoshares, cents) of what an order has executed, busts taken back."""
        with self._file.read() as db:
            row = db.execute(
                "SELECT coalesce(sum(iif(busts = '', nanos, -nanos)), 0),"
                " coalesce(sum(iif(busts = '', cents, -cents)), 0) FROM fills WHERE order_id = ?",
                (order_id,),
            ).fetchone()
        return int(row[0]), int(row[1])

    def execution_id(self, tail: str) -> str:
        """Return the id that ends with an execution's own; empty if it was not told yet."""
        with self._file.read() as db:
            row = db.execute(
                "SELECT id FROM fills WHERE id = ?1 OR id LIKE '%::' || ?1", (tail,)
            ).fetchone()
        return str(row[0]) if row else ""

    def others(self) -> list[tuple[int, str, Any]]:
        """Return (number, key, body) of everything that is no execution, in the order of hearing.

        Bodies hold decimals exactly.
        """
        with self._file.read() as db:
            rows = db.execute("SELECT seq, id, body FROM others ORDER BY seq").fetchall()
        return [(seq, key, json.loads(body, parse_float=Decimal)) for seq, key, body in rows]

    def others_start(self, after: str) -> int:
        """Return the number that a cursor of other activities stands for.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
        """
        with self._file.read() as db:
            return _start(db, "others", after)

    @staticmethod
    def cursor(seq: int, key: str) -> str:
        """Return the cursor that continues after a row."""
        return _cursor(seq, key)


def _note(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute(
        "INSERT INTO marks (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _add_fill(db: sqlite3.Connection, fill: WireFill, order: KnownOrder, settles_on: date) -> None:
    """Add an execution; its cents are what the order is worth with it less what was told before."""
    rows = db.execute(
        "SELECT id, nanos, price, cents, busts FROM fills WHERE order_id = ?", (fill.order_id,)
    ).fetchall()
    if any(row[0] == fill.id for row in rows):
        return
    busted = next((row for row in rows if fill.busts and row[0] == fill.busts), None)
    nanos, price = fill.nanos, format(fill.price, "f")
    if busted is not None:
        nanos, price, cents = int(busted[1]), str(busted[2]), int(busted[3])
    else:
        exact = fill.dollars + sum((_signed(row) for row in rows), Fraction(0))
        told = sum(row[3] if not row[4] else -row[3] for row in rows)
        cents = max(0, cents_of(exact) - told)
    db.execute(
        "INSERT INTO fills (id, order_id, client_id, security_id, side, nanos, price, cents,"
        " executed_at, settles_on, busts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            fill.id,
            fill.order_id,
            order.client_id,
            order.security_id,
            fill.side.value,
            nanos,
            price,
            cents,
            to_micros(fill.at),
            settles_on.toordinal(),
            fill.busts,
        ),
    )


def _signed(row: Sequence[Any]) -> Fraction:
    exact = Fraction(row[1], NANOS_PER_SHARE) * Fraction(row[2])
    return -exact if row[4] else exact


def _execution(row: Sequence[Any]) -> Execution:
    _, identity, client_id, security_id, side, nanos, price, cents, at, settles_on, busts = row
    executed_at: datetime = from_micros(at)
    return Execution(
        id=identity,
        client_id=client_id,
        security_id=SecurityId(security_id),
        side=Side(side),
        nanos=nanos,
        price_micros=round_ratio(*(Fraction(price) * PPM).as_integer_ratio()),
        cents=cents,
        fee_cents=0,
        executed_at=executed_at,
        settles_on=date.fromordinal(settles_on),
        kind=ExecutionKind.BUST if busts else ExecutionKind.TRADE,
        busts=busts,
    )


def _cursor(seq: int, identity: str) -> str:
    return f"{seq}:{identity[-_TALE:]}"


def _start(db: sqlite3.Connection, table: str, cursor: str) -> int:
    """Return the number after which to go on; 0 if the file is not the one the cursor came from."""
    if not cursor:
        return 0
    number, colon, tale = cursor.partition(":")
    if not (colon and number.isascii() and number.isdigit() and len(number) <= _TALE and tale):
        message = "that is no cursor of this broker"
        raise InvalidInputError(message, code="bad_cursor")
    query = f"SELECT id FROM {table} WHERE seq = ?"  # noqa: S608 - constants
    row = db.execute(query, (int(number),)).fetchone()
    return int(number) if row and str(row[0])[-_TALE:] == tale else 0
