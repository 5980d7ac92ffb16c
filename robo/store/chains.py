"""Chained rows: appended in bulk, never changed, each covered by a code that a key outside makes.

One chain a customer account and one a firm. Rows of several tables share a chain and its numbering,
so that removing any of them leaves a hole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import merge
from typing import Any, Final

from sqlalchemy import UniqueConstraint, column, select, table, tuple_
from sqlmodel import Session, SQLModel

from robo.ledger import chain as codes
from robo.store.columns import KEYED, STRICT, blob, check, integer, text
from robo.store.database import Asked, among, bulk, insert_many, rows_in


@dataclass(frozen=True, slots=True)
class ChainTable:
    """A table whose rows are chained: its name and the columns that the code covers, in order."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A row to append: where, on which chain, and its values in the order of the columns."""

    table: ChainTable
    chain: str
    values: tuple[Any, ...]


class ChainHeadRow(SQLModel, table=True):
    """The last code of each chain; what is anchored outside."""

    __tablename__ = "chain_head"
    __table_args__ = (check("chain_head_seq", "seq > 0"), KEYED)
    chain: str = text(key=True)
    seq: int = integer()
    mac: bytes = blob()
    changed_at: int = integer()


def chained(name: str, *extra: Any) -> tuple[Any, ...]:
    """Return the table arguments every chained table shares."""
    return (UniqueConstraint("chain", "seq", name=f"uq_{name}_chain"), *extra, STRICT)


def append(session: Session, key: bytes, links: Sequence[Link], at_micros: int) -> None:
    """Append rows to their chains; ten thousand chains cost one read and one write of heads.

    Raises:
        IntegrityError: If an id exists already.
    """
    by_chain: dict[str, list[Link]] = {}
    for item in links:
        by_chain.setdefault(item.chain, []).append(item)
    heads = heads_of(session, sorted(by_chain))
    rows: dict[ChainTable, list[tuple[Any, ...]]] = {}
    new_heads: list[tuple[Any, ...]] = []
    for name in sorted(by_chain):
        items = by_chain[name]
        seq, mac = heads.get(name, (0, codes.GENESIS))
        made = codes.extend(key, name, seq, mac, [(i.table.name, i.values) for i in items])
        for item, (seq, mac) in zip(items, made, strict=True):
            rows.setdefault(item.table, []).append((*item.values, name, seq, mac))
        new_heads.append((name, seq, mac, at_micros))
    for chain_table, batch in rows.items():
        insert_many(session, chain_table.name, (*chain_table.columns, "chain", "seq", "mac"), batch)
    bulk(
        session,
        "INSERT INTO chain_head (chain, seq, mac, changed_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, mac = excluded.mac, "
        "changed_at = excluded.changed_at",
        new_heads,
    )


_HEAD: Any = ChainHeadRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_HEADS_OF: Final = among(select(_HEAD.c.chain, _HEAD.c.seq, _HEAD.c.mac), _HEAD.c.chain)


def heads_of(session: Session, chains: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Return chain -> (count, code) of its last row, of those that have any."""
    return {chain: (seq, bytes(mac)) for chain, seq, mac in rows_in(session, _HEADS_OF, chains)}


@dataclass(frozen=True, slots=True)
class ChainFault:
    """What is wrong with a chain, and from which row on."""

    chain: str
    seq: int
    code: str


_PAGE: Final = 50_000


def heads(session: Session) -> Iterator[tuple[str, int, bytes]]:
    """Yield (chain, count, code) of every head in order of chain, a page at a time."""
    statement = select(_HEAD.c.chain, _HEAD.c.seq, _HEAD.c.mac)
    statement = statement.order_by(_in_order(session, _HEAD.c))
    with session.connection().execution_options(yield_per=_PAGE).execute(statement) as result:
        for name, seq, mac in result:
            yield name, seq, bytes(mac)


def codes_at(
    session: Session, tables: Sequence[ChainTable], places: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], bytes]:
    """Return the code of the row at each (chain, number) that exists."""
    return {
        (name, seq): bytes(mac)
        for each in tables
        for name, seq, mac in rows_in(session, _codes_of(each.name), places)
    }


@cache
def _codes_of(name: str) -> Asked:
    """Return the select of rows of a chained table at pairs of chain and number."""
    source = table(name, column("chain"), column("seq"), column("mac"))
    statement = select(source.c.chain, source.c.seq, source.c.mac)
    return among(statement, tuple_(source.c.chain, source.c.seq))


def _in_order(session: Session, columns: Any) -> Any:
    """Return the order of chains byte by byte: only then do streams of several tables merge."""
    if session.connection().dialect.name == "sqlite":
        return columns.chain
    return columns.chain.collate("C")


def check_chains(
    session: Session,
    key: bytes,
    tables: Sequence[ChainTable],
    anchors: dict[str, tuple[int, bytes]],
) -> Iterator[ChainFault]:
    """Yield every fault of every chain: a changed, missing or foreign row, a wrong head or anchor.

    Args:
        session: A reading session (one snapshot).
        key: The key of the chains.
        tables: Every chained table.
        anchors: Chain -> the (seq, code) that was written outside the database last.
    """
    heads = _all_heads(session)
    seen: dict[str, tuple[int, bytes]] = {}
    broken: set[str] = set()
    streams = [_stream(session, each) for each in tables]
    for name, seq, source, values, mac in merge(*streams, key=_position):
        if name in broken:
            continue
        last, previous = seen.get(name, (0, codes.GENESIS))
        expected = codes.link(key, previous, codes.payload(source, name, seq, values))
        if seq != last + 1 or expected != mac:
            broken.add(name)
            yield ChainFault(name, last + 1, "row_missing" if seq != last + 1 else "row_changed")
            continue
        seen[name] = (seq, mac)
        if anchors.get(name, (0, b""))[0] == seq and anchors[name][1] != mac:
            yield ChainFault(name, seq, "anchor_differs")
    yield from _check_ends(heads, anchors, seen, broken)


def _check_ends(
    heads: dict[str, tuple[int, bytes]],
    anchors: dict[str, tuple[int, bytes]],
    seen: dict[str, tuple[int, bytes]],
    broken: set[str],
) -> Iterator[ChainFault]:
    for name, head in heads.items():
        if name not in broken and seen.get(name) != head:
            yield ChainFault(name, head[0], "head_differs")
    for name, (seq, _) in anchors.items():
        if name not in broken and seen.get(name, (0, b""))[0] < seq:
            yield ChainFault(name, seq, "anchored_row_missing")
    for name in seen.keys() - heads.keys() - broken:
        yield ChainFault(name, 1, "head_missing")


def _all_heads(session: Session) -> dict[str, tuple[int, bytes]]:
    heads = ChainHeadRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
    result = session.connection().execute(select(heads.c.chain, heads.c.seq, heads.c.mac))
    return {chain: (seq, bytes(mac)) for chain, seq, mac in result}


def _position(row: tuple[str, int, str, tuple[Any, ...], bytes]) -> tuple[str, int]:
    return row[0], row[1]


def _stream(
    session: Session, chain_table: ChainTable
) -> Iterator[tuple[str, int, str, tuple[Any, ...], bytes]]:
    names = (*chain_table.columns, "chain", "seq", "mac")
    source = table(chain_table.name, *(column(name) for name in names))
    statement = select(source).order_by(_in_order(session, source.c), source.c.seq)
    with session.connection().execution_options(yield_per=_PAGE).execute(statement) as result:
        for row in result:
            *values, name, seq, mac = row
            yield name, seq, chain_table.name, tuple(values), bytes(mac)
