"""What Alpaca has told us of one account, kept in a file of our own, in the order of hearing.

Alpaca's list of activities is no journal: ids begin with New York's time, rows of one millisecond
are in no order, late rows appear in the middle. Here each row is written once, by its id, and gets
the next number; that number is the cursor that our books continue from. The file can be lost: it is
read again from Alpaca, and a cursor that does not fit the new file starts from the beginning, where
every execution that is known already is passed over by its id.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from broker_adapters.alpaca_entries import (
    BUST,
    KNOWN,
    OWN,
    OWNER,
    REST,
    SCHEMA,
    TYPE,
    KnownOrder,
    Living,
    Stuck,
    Told,
    add_fill,
    execution_of,
    own_part,
)
from broker_adapters.durable_file import DurableFile
from robo.core.errors import InvalidInputError
from robo.core.ids import SecurityId
from robo.ports.broker import Execution

_OTHERS: Final = "SELECT seq, id, body FROM others"
_CORRECT: Final = "#correct"
_TALE: Final = 12
"""How much of an id goes into a cursor, to tell whether it belongs to this file."""


class AlpacaJournal:
    """The file; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Remember the path; it is opened at the first call."""
        self._file = DurableFile(path, SCHEMA)

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
        """Return which of these rows have been written already, or wait to be."""
        found: set[str] = set()
        with self._file.read() as db:
            for one in ids:
                for query in KNOWN:
                    if db.execute(query, (one,)).fetchone():
                        found.add(one)
        return found

    def write(
        self,
        fills: Sequence[Told],
        others: Sequence[tuple[str, Any]] = (),
        marks: Sequence[tuple[str, str]] = (),
        stuck: Sequence[Stuck] = (),
        free: Sequence[str] = (),
    ) -> None:
        """Write rows that are new, and how far was read, together.

        Args:
            fills: Executions in Alpaca's order.
            others: (key, body) of every other activity.
            marks: (name, value) to note.
            stuck: Executions that wait for something else, new or once more.
            free: Ids of those that wait no longer.
        """
        with self._file.write() as db:
            for told in fills:
                add_fill(db, told)
            db.executemany(
                "INSERT OR IGNORE INTO others (id, body) VALUES (?, ?)",
                [(key, json.dumps(body, default=str)) for key, body in others],
            )
            db.executemany(
                "INSERT INTO stuck (id, body, source, told_at, again_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET again_at = excluded.again_at",
                [
                    (
                        one.id,
                        json.dumps(one.body, default=str),
                        one.source,
                        one.told_at,
                        one.again_at,
                    )
                    for one in stuck
                ],
            )
            db.executemany("DELETE FROM stuck WHERE id = ?", [(one,) for one in free])
            for name, value in marks:
                _note(db, name, value)

    def stuck(self, at_micros: int, limit: int) -> list[Stuck]:
        """Return executions that wait and are to be tried again by an instant, oldest first."""
        query = (
            "SELECT id, body, source, told_at, again_at FROM stuck WHERE again_at <= ?"
            " ORDER BY told_at, rowid LIMIT ?"
        )
        with self._file.read() as db:
            rows = db.execute(query, (at_micros, limit)).fetchall()
        return [Stuck(row[0], json.loads(row[1], parse_float=Decimal), *row[2:]) for row in rows]

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
        return [execution_of(row) for row in rows], cursor

    def booked(self, order_id: str) -> tuple[int, int]:
        """Return (nanoshares, cents) of what an order has executed, busts taken back."""
        with self._file.read() as db:
            row = db.execute(
                "SELECT coalesce(sum(iif(busts = '', nanos, -nanos)), 0),"
                " coalesce(sum(iif(busts = '', cents, -cents)), 0) FROM fills WHERE order_id = ?",
                (order_id,),
            ).fetchone()
        return int(row[0]), int(row[1])

    def living(self, execution_id: str) -> Living | None:
        """Return what is left of an execution that was told; None if it was never told.

        A part that was taken back leaves a rest, which is an execution of its own; a later bust
        may name it by the first one, or by the row that took the part back.
        """
        with self._file.read() as db:
            columns = "id, nanos, price"
            query = f"SELECT {columns} FROM fills WHERE {OWN} = ?"  # noqa: S608 - constants
            row = db.execute(query, (execution_id,)).fetchone()
            row = row or db.execute(query, (execution_id + REST,)).fetchone()
            while row is not None:
                bust = db.execute("SELECT id FROM fills WHERE busts = ?", (row[0],)).fetchone()
                if bust is None:
                    return Living(row[0], row[1], Decimal(row[2]))
                left = str(bust[0]).removesuffix(BUST) + REST
                rest = db.execute(f"SELECT {columns} FROM fills WHERE id = ?", (left,)).fetchone()  # noqa: S608 - constants
                if rest is None:
                    return Living(row[0], 0, Decimal(row[2]))
                row = rest
        return None

    def others(self, after: int = 0, always: Collection[str] = ()) -> list[tuple[int, str, Any]]:
        """Return (number, key, body) of everything that is no execution, in the order of hearing.

        Bodies hold decimals exactly.

        Args:
            after: Leave out what has this number or a smaller one ...
            always: ... but for rows of these types, and rows that a later one corrects.
        """
        marks = ", ".join("?" * len(always))
        with self._file.read() as db:
            wanted = {row[0]: row for row in db.execute(f"{_OTHERS} WHERE seq > ?", (after,))}
            corrected = [row[1] for row in wanted.values() if row[1].endswith(_CORRECT)]
            if after:
                types = f"{_OTHERS} WHERE {TYPE} IN ({marks})"
                wanted |= {row[0]: row for row in db.execute(types, tuple(always))}
            for key in corrected if after else ():
                base = own_part(key).partition("#")[0]
                # "$" is the letter after "#": the row itself, and every row that amends it.
                alike = f"{_OTHERS} WHERE {OWN} >= ? AND {OWN} < ?"
                wanted |= {row[0]: row for row in db.execute(alike, (base, f"{base}$"))}
        return _bodies(wanted[seq] for seq in sorted(wanted))

    def others_of(self, account_id: str) -> list[tuple[int, str, Any]]:
        """Return (number, key, body) of everything of an account of Alpaca's, as `others`."""
        with self._file.read() as db:
            mine = f"{_OTHERS} WHERE {OWNER} = ? ORDER BY seq"
            rows = db.execute(mine, (account_id,)).fetchall()
        return _bodies(rows)

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


def _bodies(rows: Iterable[tuple[int, str, str]]) -> list[tuple[int, str, Any]]:
    return [(seq, key, json.loads(body, parse_float=Decimal)) for seq, key, body in rows]


def _note(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute(
        "INSERT INTO marks (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
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
