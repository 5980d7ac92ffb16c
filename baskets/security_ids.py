"""Permanent security ids: a committed file that only ever grows.

An id outlives tickers: a renamed company gets a second row with the same id. Ids are never reused
and rows never move, because lots, orders and the simulated market's shocks are keyed by them.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache

from baskets.data_files import read_text
from baskets.errors import DataFileError

HEADER = ("security_id", "symbol", "cik", "first_seen")


@dataclass(frozen=True, slots=True)
class IdRow:
    """From `first_seen` on, this company traded under this symbol."""

    security_id: int
    symbol: str
    cik: str
    first_seen: date


def parse(text: str) -> tuple[IdRow, ...]:
    """Return the rows of a `security_ids.csv`, in the file's order.

    Raises:
        DataFileError: If the header is wrong, a row is malformed, or (CIK, symbol) repeats.
    """
    reader = csv.reader(io.StringIO(text))
    if tuple(next(reader, ())) != HEADER:
        message = f"security_ids.csv must start with {','.join(HEADER)}"
        raise DataFileError(message)
    rows: list[IdRow] = []
    seen: set[tuple[str, str]] = set()
    for cells in reader:
        try:
            number, symbol, cik, first_seen = cells
            row = IdRow(int(number), symbol, cik, date.fromisoformat(first_seen))
        except ValueError as error:
            message = f"security_ids.csv, line {reader.line_num}: {error}"
            raise DataFileError(message) from error
        if (cik, symbol) in seen:
            message = f"security_ids.csv, line {reader.line_num}: {symbol} repeats"
            raise DataFileError(message)
        seen.add((cik, symbol))
        rows.append(row)
    return tuple(rows)


def load() -> tuple[IdRow, ...]:
    """Return the committed rows."""
    return parse(read_text("security_ids.csv"))


@cache
def companies() -> Mapping[int, str]:
    """Return permanent id -> CIK: share classes of one company have the same."""
    return {row.security_id: row.cik for row in load()}


@cache
def _classes() -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for security_id, cik in companies().items():
        found.setdefault(cik, set()).add(security_id)
    return {cik: frozenset(ids) for cik, ids in found.items()}


def with_siblings(security_ids: Iterable[int]) -> set[int]:
    """Return securities and every other share class of their companies."""
    given = set(security_ids)
    known = companies()
    return given.union(*(_classes()[known[one]] for one in given if one in known))


def by_key(rows: Iterable[IdRow]) -> dict[tuple[str, str], int]:
    """Return (CIK, symbol) -> permanent id."""
    return {(row.cik, row.symbol): row.security_id for row in rows}


def append_missing(
    rows: tuple[IdRow, ...],
    names: Iterable[tuple[str, str]],
    first_seen: date,
    renamed_from: Mapping[str, str] | None = None,
) -> tuple[IdRow, ...]:
    """Return the rows plus one for each (CIK, symbol) not yet there; existing rows never change.

    Args:
        rows: What is committed.
        names: (CIK, symbol) of every security of today's universe.
        first_seen: Today.
        renamed_from: New symbol -> old symbol of the same company; such a row keeps the old id.
    """
    known = by_key(rows)
    grown = list(rows)
    following = max((row.security_id for row in rows), default=0) + 1
    for cik, symbol in sorted(set(names), key=lambda name: (name[1], name[0])):
        if (cik, symbol) in known:
            continue
        old = (renamed_from or {}).get(symbol)
        number = known.get((cik, old)) if old is not None else None
        if number is None:
            number, following = following, following + 1
        known[cik, symbol] = number
        grown.append(IdRow(number, symbol, cik, first_seen))
    return tuple(grown)


def as_text(rows: Iterable[IdRow]) -> str:
    """Return the file's text for these rows."""
    lines = [",".join(HEADER)]
    lines += [
        f"{row.security_id},{row.symbol},{row.cik},{row.first_seen.isoformat()}" for row in rows
    ]
    return "\n".join(lines) + "\n"
