"""The comparison at the end of a soak: intents, orders, executions, ours against the broker's file.

What was intended is written down by the soak itself before anything of ours sees it, so that an
order that was made twice is found whatever its client id is.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from world import World

from broker_adapters.alpaca_server.exchange import scaled
from broker_adapters.durable_file import sqlite_module
from robo.core.clock import business_date, from_micros
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ledger.chart import USD, shares

_FIRM: Final = "the firm"
Intent = tuple[str, str, int, int]
"""Account, side, security, and cents of a buy or nanoshares of a sell."""


@contextmanager
def reading(file: Path) -> Iterator[Any]:
    """Yield a connection that reads a file of the server, which runs in this process.

    It has to be the server's own SQLite: of two copies of it in one process, one that closes a file
    takes away the other's locks on it, and the other dies.
    """
    found = sqlite_module().connect(f"file:{file}?mode=ro", uri=True)
    try:
        yield found
    finally:
        found.close()


def intend(folder: Path, number: int, some: Sequence[Intent]) -> None:
    """Keep what a round wants, before anything of ours is told of it."""
    file = folder / f"intents-{number:05d}.json"
    assert not file.exists()
    file.write_text(json.dumps(some))


def intended(folder: Path) -> Counter[Intent]:
    """Return everything that was ever wanted."""
    found: Counter[Intent] = Counter()
    for file in folder.glob("intents-*.json"):
        found.update((a, side, i, size) for a, side, i, size in json.loads(file.read_text()))
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """An order at the broker."""

    client_id: str
    place: str
    side: str
    security_id: int
    size: int
    submitted_at: int


def orders_there(server: Path, symbols: dict[str, int]) -> list[Told]:
    """Return every order that the broker ever took, also those that it rejected afterwards."""
    columns = "client_id, account, side, security_id, coalesce(notional_cents, nanos), submitted_at"
    with reading(server / "paper" / "paper.db") as theirs:
        found = [Told(*row) for row in theirs.execute(f"SELECT {columns} FROM orders")]
    with reading(server / "paper" / "alpaca.db") as theirs:
        rows = theirs.execute("SELECT account, body FROM things WHERE kind = 'doomed'").fetchall()
    for place, text in rows:
        kept = json.loads(text)
        order = kept["order"]
        size = scaled(order.get("notional"), 2) or scaled(order.get("qty"), 9) or 0
        identity, security_id = str(order["client_order_id"]), symbols[order["symbol"]]
        found.append(Told(identity, place, order["side"], security_id, size, int(kept["at"])))
    return found


def compare_orders(
    world: World, folder: Path, server: Path, calendar: MarketCalendar, *, apart: bool
) -> Counter[str]:
    """Compare intents, our orders, our blocks and the broker's orders, in number and in size.

    Args:
        world: Our database.
        folder: Where intents were written down.
        server: Where the broker keeps its files.
        calendar: Says when orders may be told.
        apart: Whether the broker keeps an account for each customer.
    """
    symbols = {
        str(symbol): int(one) for one, symbol in _rows(world, "SELECT id, symbol FROM security")
    }
    there = orders_there(server, symbols)
    wanted = intended(folder)
    size = "coalesce(notional_cents, nanos)"
    mine = _rows(world, f"SELECT account_id, side, security_id, {size}, block_id FROM orders")
    # Each order of ours is one intent; each intent has at most one order, of its own size.
    extra = Counter(row[:4] for row in mine) - wanted
    assert not extra, ("an intent became two orders of ours", list(extra.items())[:3])
    # Each order at the broker is a block of ours, and exactly the orders that point at it.
    columns = f"id, side, security_id, {size}, broker_account"
    blocks = {row[0]: row[1:] for row in _rows(world, f"SELECT {columns} FROM block")}
    parts: dict[str, int] = defaultdict(int)
    owner: dict[str, str] = {}
    for account, _, _, amount, block_id in mine:
        if block_id is not None:
            parts[block_id] += amount
            owner[block_id] = account if apart else _FIRM
    assert len({one.client_id for one in there}) == len(there)
    for one in there:
        assert one.client_id in blocks, ("no block of ours", one)
        assert blocks[one.client_id][:3] == (one.side, one.security_id, one.size), one
        assert parts[one.client_id] == one.size, ("not what our orders add up to", one)
        at = from_micros(one.submitted_at)
        closes = calendar.closes_at(business_date(at))
        assert calendar.is_open(at), ("told while the market was closed", one)
        assert (closes - at).total_seconds() > 300, ("told after the cut-off", one)
        if apart:
            assert one.place.removeprefix("v1/") == blocks[one.client_id][3], one
    # The same counted without any id: number of orders per intent, and dollars and shares.
    ordered: Counter[tuple[str, str, int]] = Counter()
    told: Counter[tuple[str, str, int]] = Counter()
    for one in there:
        key = owner[one.client_id], one.side, one.security_id
        ordered[key] += one.size
        told[key] += 1
    meant: Counter[tuple[str, str, int]] = Counter()
    intents: Counter[tuple[str, str, int]] = Counter()
    for (account, side, security_id, amount), count in wanted.items():
        key = account if apart else _FIRM, side, security_id
        meant[key] += amount * count
        intents[key] += count
    assert not told - intents, ("more orders than intents", list((told - intents).items())[:3])
    assert not ordered - meant, ("more cents or shares", list((ordered - meant).items())[:3])
    found = Counter(orders=len(there), blocks=len(blocks), intents=wanted.total())
    for state, code, count in _rows(
        world, "SELECT state, code, count(*) FROM orders GROUP BY state, code"
    ):
        found[f"ours {state} {code}".strip()] += count
    return found


def unended(world: World) -> list[tuple[Any, ...]]:
    """Return (state, code, asks, attempts, how many) of blocks that have not ended."""
    columns = "state, code, asks, attempts"
    closed = "closed_at IS NULL"
    return _rows(world, f"SELECT {columns}, count(*) FROM block WHERE {closed} GROUP BY {columns}")


def compare_executions(
    world: World, server: Path, amended: Sequence[tuple[str, tuple[Any, ...] | None]]
) -> Counter[str]:
    """Compare executions to the last digit, with what was taken back and what was put instead.

    Args:
        world: Our database.
        server: Where the broker keeps its files.
        amended: (the broker's execution, what stands in its place if anything does).
    """
    with reading(server / "paper" / "paper.db") as theirs:
        # Cents follow from an order's fills together; cash is compared as a whole.
        columns = "client_id, security_id, side, nanos, price_micros"
        told = [tuple(row) for row in theirs.execute(f"SELECT {columns} FROM executions")]
    told += [instead for _, instead in amended if instead is not None]
    ours = _rows(world, "SELECT block_id, security_id, side, nanos, price_micros FROM execution")
    odd = sorted(set(ours) ^ set(told))
    assert sorted(ours) == sorted(told), (len(ours), len(told), odd[:6])
    busts = _rows(world, "SELECT execution_id FROM bust")
    assert len(busts) == len(amended), (len(busts), len(amended))
    return Counter(executions=len(ours), busts=len(busts))


@dataclass(frozen=True, slots=True)
class Place:
    """An account as the server's own books have it."""

    broker_account: str
    """Empty for the one that all share."""
    cents: int
    nanos: dict[int, int]


def compare_places(world: World, there: Sequence[Place]) -> None:
    """Compare our ledger with the server's own books: no adapter and no comparison of ours between.

    What an account there has more than its customer's books is the firm's own, and exactly that.
    """
    linked = dict(_rows(world, "SELECT account_id, reference FROM broker_account"))
    mine: Counter[tuple[str, str]] = Counter()
    firm: Counter[str] = Counter()
    for book, asset, amount in _rows(world, "SELECT book, asset, amount FROM balance"):
        if book.startswith("customer/"):
            mine[linked.get(book.split("/")[1], ""), asset] += amount
        elif book.startswith("firm/"):
            firm[asset] += amount
        elif not linked and book == "street/bank":
            mine["", asset] += amount  # paid in at our bank, and spent at the broker
    theirs: Counter[tuple[str, str]] = Counter()
    for one in there:
        theirs[one.broker_account, USD] += one.cents
        for security_id, nanos in one.nanos.items():
            theirs[one.broker_account, shares(SecurityId(security_id))] += nanos
    more = {key: theirs[key] - mine[key] for key in theirs.keys() | mine.keys()}
    owned: Counter[str] = Counter()
    for (place, asset), amount in more.items():
        assert not amount or firm[asset], ("not as in the broker's books", place, asset, amount)
        owned[asset] += amount
    odd = {asset for asset in owned.keys() | firm.keys() if owned[asset] != firm[asset]}
    assert not odd, ("the firm has not what is left there", odd, owned, firm)


def _rows(world: World, sql: str) -> list[tuple[Any, ...]]:
    with world.db.read() as session:
        return [tuple(row) for row in session.connection().exec_driver_sql(sql)]
