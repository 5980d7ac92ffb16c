"""What must be true of the three files after any crash, worked out without any code of ours.

Plain SQL on our database, the broker's file and the bank's: `dump` for "the same to the last bit",
`wrongs` for "nothing lost, nothing twice" where time has made the histories differ.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from pysqlite3 import dbapi2 as sqlite

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]
Dump = dict[str, Rows]

FILES: Final = {"books": "robo.db", "broker": "paper/paper.db", "bank": "bank/bank.db"}
MARKS: Final = {"books.block": ("attempts", "code", "window", "told_at", "asks", "asked_at")}
"""Columns that tell how an outcome was learnt, not what it was: a crash may change them."""


@contextmanager
def asking(path: Path) -> Iterator[Ask]:
    """Yield a function that asks one SQLite file."""
    with closing(sqlite.connect(str(path))) as connection:
        yield lambda sql: list(connection.execute(sql))


def dump(folder: Path, *, marks: bool = False) -> Dump:
    """Return every row of every table of the three files, and the anchors' hashes."""
    found: Dump = {}
    for name, place in FILES.items():
        if (folder / place).exists():
            found |= _dump_file(folder / place, name, marks=marks)
    found["anchors"] = [
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted((folder / "anchors").glob("anchor-*.txt"))
    ]
    return found


def _dump_file(path: Path, name: str, *, marks: bool) -> Dump:
    with closing(sqlite.connect(str(path))) as connection:
        found: Dump = {}
        for table, columns in _columns(connection, name, marks=marks):
            found[f"{name}.{table}"] = connection.execute(
                f"SELECT {columns} FROM {table} ORDER BY {columns}"
            ).fetchall()
        return found


_KNOWN: Final[dict[tuple[str, int, bool], list[tuple[str, str]]]] = {}


def _columns(connection: Any, name: str, *, marks: bool) -> list[tuple[str, str]]:
    """Return (table, columns) of a file, remembered until the file has more tables."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    key = (name, len(tables), marks)
    if key not in _KNOWN:
        found = []
        for (table,) in tables:
            dropped = () if marks else MARKS.get(f"{name}.{table}", ())
            info = connection.execute(f"PRAGMA table_info({table})").fetchall()
            names = [f'"{row[1]}"' for row in info if row[1] not in dropped]
            found.append((table, ", ".join(names)))
        _KNOWN[key] = found
    return _KNOWN[key]


def digest(folder: Path) -> str:
    """Return a short name of everything that `dump` returns."""
    return hashlib.sha256(repr(sorted(dump(folder, marks=True).items())).encode()).hexdigest()


def differences(found: Dump, expected: Dump) -> list[str]:
    """Return which tables differ, with a row that is too many or missing."""
    out = []
    for table in sorted(found.keys() | expected.keys()):
        mine, theirs = found.get(table, []), expected.get(table, [])
        if mine != theirs:
            extra = [row for row in mine if row not in theirs][:1]
            missing = [row for row in theirs if row not in mine][:1]
            out.append(f"{table}: has {extra}, lacks {missing} ({len(mine)} of {len(theirs)} rows)")
    return out


def wrongs(books: Ask, broker: Ask, bank: Ask) -> list[str]:
    """Return everything that is wrong once nothing is on its way any more."""
    checks = (_ledger, _orders, _executions, _positions, _deposits, _withdrawals, _stuck)
    return [wrong for check in checks for wrong in check(books, broker, bank)]


def wrongs_of(folder: Path) -> list[str]:
    """Return what is wrong in a state directory."""
    with ExitStack() as stack:
        return wrongs(*(stack.enter_context(asking(folder / p)) for p in FILES.values()))


def _sums(rows: Sequence[tuple[Any, ...]]) -> dict[Any, int]:
    found: dict[Any, int] = defaultdict(int)
    for *key, amount in rows:
        found[tuple(key) if len(key) > 1 else key[0]] += int(amount)
    return {key: amount for key, amount in found.items() if amount}


def _same(what: str, mine: dict[Any, int], theirs: dict[Any, int]) -> Iterator[str]:
    for key in sorted(mine.keys() | theirs.keys(), key=repr):
        if mine.get(key, 0) != theirs.get(key, 0):
            yield f"{what} {key}: {mine.get(key, 0)} is not {theirs.get(key, 0)}"


def _ledger(books: Ask, _broker: Ask, _bank: Ask) -> Iterator[str]:
    """Balances are the sums of transfers, customers' never negative, assets sum to zero."""
    moved = books("SELECT target, asset, amount FROM transfer")
    moved += [(s, a, -m) for s, a, m in books("SELECT source, asset, amount FROM transfer")]
    kept = books("SELECT book, asset, amount FROM balance")
    yield from _same("balance", _sums(kept), _sums(moved))
    yield from _same("asset", _sums([(asset, amount) for _, asset, amount in kept]), {})
    yield from (f"negative {row}" for row in kept if row[0].startswith("customer/") and row[2] < 0)


def _orders(books: Ask, broker: Ask, _bank: Ask) -> Iterator[str]:
    """One broker order for each block, with the same content; a block is the sum of its orders."""
    columns = "security_id, side, notional_cents, nanos"
    ours = books(f"SELECT id, {columns} FROM block")
    theirs = broker(f"SELECT client_id, {columns} FROM orders")
    yield from (f"block without broker order {row}" for row in sorted(set(ours) - set(theirs)))
    yield from (f"broker order without block {row}" for row in sorted(set(theirs) - set(ours)))
    units = "coalesce(notional_cents, nanos)"
    blocks = _sums(books(f"SELECT id, {units} FROM block"))
    summed = books(f"SELECT block_id, {units} FROM orders WHERE block_id IS NOT NULL")
    yield from _same("block", blocks, _sums(summed))


def _executions(books: Ask, broker: Ask, _bank: Ask) -> Iterator[str]:
    """Every execution of the broker is in our books once, split without rest over orders."""
    columns = "security_id, side, nanos, price_micros, cents, fee_cents"
    ours = sorted(books(f"SELECT id, block_id, {columns} FROM execution"))
    theirs = sorted(broker(f"SELECT id, client_id, {columns} FROM executions"))
    yield from (f"execution invented {row}" for row in ours if row not in theirs)
    yield from (f"execution lost {row}" for row in theirs if row not in ours)
    if len(ours) != len(set(ours)):
        yield "an execution is booked twice"
    for unit in ("nanos", "cents", "fee_cents"):
        parts = _sums(books(f"SELECT execution_id, {unit} FROM fill"))
        yield from _same(f"fills {unit}", parts, _sums([(r[0], r[_AT[unit]]) for r in ours]))
    for unit in ("nanos", "cents"):
        parts = _sums(books(f"SELECT order_id, {unit} FROM fill"))
        kept = _sums(books(f"SELECT id, filled_{unit} FROM orders"))
        yield from _same(f"orders {unit}", kept, parts)


_AT: Final = {"nanos": 4, "cents": 6, "fee_cents": 7}


def _positions(books: Ask, broker: Ask, _bank: Ask) -> Iterator[str]:
    """Holdings = open lots = the broker's positions; cash of trading = the broker's cash."""
    held = books("SELECT asset, amount FROM balance WHERE book LIKE '%/holdings'")
    ours = _sums([(int(asset[1:-2]), nanos) for asset, nanos in held])
    yield from _same("lots", _sums(books("SELECT security_id, nanos FROM lot")), ours)
    theirs = _sums(broker("SELECT security_id, nanos FROM positions"))
    yield from _same("position", ours, theirs)
    street = "SELECT 'cash', -amount FROM balance WHERE book IN ('street/market', 'street/fees')"
    cash = _sums(broker("SELECT 'cash', cents FROM cash"))
    yield from _same("broker", _sums(books(f"{street} AND asset = 'USD/2'")), cash)
    waiting = books("SELECT 'unsettled', cents FROM proceed WHERE state = 'waiting'")
    kept = "SELECT 'unsettled', amount FROM balance WHERE book LIKE '%/unsettled'"
    yield from _same("proceeds", _sums(books(kept)), _sums(waiting))


def _deposits(books: Ask, _broker: Ask, bank: Ask) -> Iterator[str]:
    """Each deposit was pulled once and credited once; what came back left once."""
    asked = books("SELECT id, cents FROM deposit")
    pulled = bank("SELECT id, cents FROM transfers WHERE direction = 'pull'")
    yield from _same("pull", _sums(asked), _sums(pulled))
    cents = dict(pulled)
    news = bank("SELECT transfer_id, kind FROM events")
    sign = {"available": 1, "returned": -1}
    there = [("bank", sign[kind] * cents[i]) for i, kind in news if i in cents and kind in sign]
    pushed = dict(bank("SELECT id, cents FROM transfers WHERE direction = 'push'"))
    there += [("bank", -pushed[i]) for i, kind in news if i in pushed and kind == "settled"]
    kept = "SELECT 'bank', -amount FROM balance WHERE book = 'street/bank'"
    yield from _same("street", _sums(books(kept)), _sums(there))
    last = dict(news)  # events come in the bank's order: the last one stays
    for deposit, state in books("SELECT id, state FROM deposit"):
        if state != last.get(deposit):
            yield f"deposit {deposit} is {state}, the bank says {last.get(deposit)}"


def _withdrawals(books: Ask, _broker: Ask, bank: Ask) -> Iterator[str]:
    """Each withdrawal was pushed once, with what was promised."""
    sent = "SELECT id, promised_cents FROM withdrawal WHERE state IN ('sent', 'paid')"
    pushed = bank("SELECT id, cents FROM transfers WHERE direction = 'push'")
    yield from _same("push", _sums(books(sent)), _sums(pushed))
    waits = "SELECT 'out', promised_cents FROM withdrawal WHERE state NOT IN ('paid', 'failed')"
    kept = "SELECT 'out', amount FROM balance WHERE book LIKE '%/outgoing'"
    yield from _same("outgoing", _sums(books(kept)), _sums(books(waits)))


def _stuck(books: Ask, _broker: Ask, _bank: Ask) -> Iterator[str]:
    """Nothing waits for something that will never come, and no operator was called."""
    for what, sql in (
        ("order", "SELECT id, state FROM orders WHERE state IN ('planned', 'sending')"),
        ("block", "SELECT id, state FROM block WHERE closed_at IS NULL"),
        ("booking", "SELECT execution_id FROM booking WHERE state <> 'done'"),
        ("reserve", "SELECT book FROM balance WHERE book LIKE '%/reserved' AND amount <> 0"),
        ("alarm", "SELECT kind, subject FROM event WHERE kind LIKE 'break.%'"),
        ("stranger", "SELECT subject FROM event WHERE kind = 'broker.unknown_execution'"),
        ("parked", "SELECT subject, payload FROM event WHERE kind = 'bank.event_parked'"),
    ):
        yield from (f"{what} {row}" for row in books(sql))
