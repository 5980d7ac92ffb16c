"""What the journal of Alpaca's activities keeps of an execution, row by row."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from broker_adapters.alpaca_wire import WireFill, cents_of
from robo.core.clock import from_micros, to_micros
from robo.core.ids import SecurityId
from robo.core.money import NANOS_PER_SHARE, PPM, round_ratio
from robo.ports.broker import Execution, ExecutionKind, Side

OWN: Final = "substr(id, instr(id, '::') + iif(instr(id, '::'), 2, 0))"
"""SQL: the part of an id that is a row's own; files of older versions hold the time before it."""
TYPE: Final = (
    "iif(json_valid(body), coalesce(nullif(json_extract(body, '$.activity_type'), ''),"
    " json_extract(body, '$.entry_type')), NULL)"
)
OWNER: Final = "iif(json_valid(body), json_extract(body, '$.account_id'), NULL)"
"""SQL: what kind of row a body is, and whose account at Alpaca it tells of."""
SCHEMA: Final = f"""
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
CREATE INDEX IF NOT EXISTS fills_busted ON fills (busts) WHERE busts <> '';
CREATE UNIQUE INDEX IF NOT EXISTS fills_own ON fills ({OWN});
CREATE TABLE IF NOT EXISTS sums (
    order_id TEXT NOT NULL,
    cumulative INTEGER NOT NULL,
    nanos INTEGER NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (order_id, cumulative, nanos, source)
) STRICT;
CREATE TABLE IF NOT EXISTS others (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS others_own ON others ({OWN});
CREATE INDEX IF NOT EXISTS others_owner ON others ({OWNER});
CREATE INDEX IF NOT EXISTS others_type ON others ({TYPE});
CREATE TABLE IF NOT EXISTS stuck (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    source TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    again_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS marks (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT
"""
KNOWN: Final = tuple(
    f"SELECT 1 FROM {table} WHERE {column} = ?1{tail}"  # noqa: S608 - constants
    for table, column, tail in (
        ("fills", OWN, ""),
        ("fills", "id", " || '#bust'"),
        ("others", OWN, ""),
        ("stuck", "id", ""),
    )
)
BUST, REST = "#bust", "#rest"
"""What follows a row's id where it takes an execution back, and where it leaves a part of it."""


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order of Alpaca's and what we called it."""

    order_id: str
    client_id: str
    security_id: SecurityId


@dataclass(frozen=True, slots=True)
class Told:
    """An execution, its order, the day it settles, and which of Alpaca's sources told it."""

    fill: WireFill
    order: KnownOrder
    settles_on: date
    source: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """A row of an execution that waits: its order, or what it takes back, is not known yet."""

    id: str
    body: Any
    source: str
    told_at: int
    again_at: int


@dataclass(frozen=True, slots=True)
class Living:
    """What is left of an execution; 0 nanoshares if all of it was taken back."""

    id: str
    nanos: int
    price: Decimal


def add_fill(db: sqlite3.Connection, told: Told) -> None:
    """Add an execution; its cents are what the order is worth with it less what was told before."""
    fill, order = told.fill, told.order
    rows = db.execute(
        "SELECT id, nanos, price, cents, busts FROM fills WHERE order_id = ?", (fill.order_id,)
    ).fetchall()
    if any(own_part(row[0]) == fill.id for row in rows) or _told_elsewhere(db, told):
        return
    busted = next((row for row in rows if fill.busts and row[0] == fill.busts), None)
    nanos, price = fill.nanos, format(fill.price, "f")
    if busted is not None:
        nanos, price, cents = int(busted[1]), str(busted[2]), int(busted[3])
    else:
        exact = fill.dollars + sum((_signed(row) for row in rows), Fraction(0))
        before = sum(row[3] if not row[4] else -row[3] for row in rows)
        cents = max(0, cents_of(exact) - before)
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
            told.settles_on.toordinal(),
            fill.busts,
        ),
    )
    if fill.cumulative_nanos and not fill.busts:
        db.execute(
            "INSERT OR IGNORE INTO sums (order_id, cumulative, nanos, source, id)"
            " VALUES (?, ?, ?, ?, ?)",
            (fill.order_id, fill.cumulative_nanos, fill.nanos, told.source, fill.id),
        )


def _told_elsewhere(db: sqlite3.Connection, told: Told) -> bool:
    """Return whether another source has told this execution, under whatever id.

    The sum of an order's executions so far is said by both, and grows with each of them.
    """
    fill = told.fill
    if fill.busts or not fill.cumulative_nanos:
        return False
    found = db.execute(
        "SELECT 1 FROM sums WHERE order_id = ? AND cumulative = ? AND nanos = ? AND source <> ?"
        " AND NOT EXISTS (SELECT 1 FROM fills WHERE busts = sums.id)",
        (fill.order_id, fill.cumulative_nanos, fill.nanos, told.source),
    )
    return found.fetchone() is not None


def own_part(identity: str) -> str:
    """Return the part of a row's id that is its own, without the time that the list puts before."""
    return identity.rpartition("::")[2]


def _signed(row: Sequence[Any]) -> Fraction:
    exact = Fraction(row[1], NANOS_PER_SHARE) * Fraction(row[2])
    return -exact if row[4] else exact


def execution_of(row: Sequence[Any]) -> Execution:
    """Return a row of the table of fills as the port tells it."""
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
