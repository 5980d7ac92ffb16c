"""Wash sales counted twice over by code that plans nothing, from what a book says was filled.

1. By the letter, to the nanoshare: a sale at a loss is washed if its name was bought within 30 days
   after it, or if shares bought that day or within 30 days before are still held when its day ends.
2. By `tests/property/tax_unit_shares.py`, which counts single shares: every lot becomes as many
   units as it has sales (and one more if some of it is left), so that what is sold and what stays
   is told apart.
"""

import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Final

from bench._tax_book import Fill
from robo.core.ids import AccountId, LotId, SecurityId
from robo.tax.wash_events import Event, Purchase, Sale

_EPOCH: Final = date(1970, 1, 1)
_UNIT_SHARES: Final = Path(__file__).parents[1] / "tests" / "property" / "tax_unit_shares.py"


@dataclass(frozen=True, slots=True)
class Traded:
    """Shares of one lot that were bought, or sold where negative."""

    day: int
    lot: int
    nanos: int
    cents: int
    basis_cents: int


Trades = dict[tuple[int, int], list[Traded]]


def by_name(fills: Iterable[Fill]) -> Trades:
    """Return what was traded by account and name, in the order of time."""
    found: Trades = defaultdict(list)
    for fill in fills:
        columns = (fill.account, fill.name, fill.lot, fill.nanos, fill.cents, fill.basis_cents)
        for account, name, lot, nanos, cents, basis in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            found[account, name].append(Traded(fill.day, lot, nanos, cents, basis))
    return found


def washed_by_the_letter(trades: Trades) -> int:
    """Return how many sales at a loss were washed."""
    return sum(_washed(one) for one in trades.values())


def _washed(trades: list[Traded]) -> int:
    count = 0
    for sale in trades:
        if sale.nanos > 0 or sale.cents >= sale.basis_cents:
            continue
        left: dict[int, int] = defaultdict(int)
        for other in trades:
            if other.day <= sale.day:
                left[other.lot] += other.nanos
        count += any(
            other.nanos > 0
            and abs(other.day - sale.day) <= 30
            and (other.day > sale.day or left[other.lot] > 0)
            for other in trades
        )
    return count


def washed_by_units(trades: Trades) -> int:
    """Return how many sales at a loss the counter of single shares finds washed."""
    shares = _unit_shares()
    count = 0
    for rows in trades.values():
        if all(one.nanos > 0 or one.cents >= one.basis_cents for one in rows):
            continue
        books = shares.UnitShares()
        for day, events in _days(rows):
            books.day(day, events)
        count += sum(1 for row in books.rows if row["deferred"] or row["lost"])
    return count


def _days(rows: list[Traded]) -> Iterator[tuple[date, list[Event]]]:
    left: dict[int, int] = defaultdict(int)
    sales: dict[int, int] = defaultdict(int)
    for one in rows:
        left[one.lot] += one.nanos
        sales[one.lot] += one.nanos < 0
    units = {lot: sales[lot] + (left[lot] > 0) for lot in left}
    done: dict[int, int] = defaultdict(int)
    days: dict[int, list[Event]] = defaultdict(list)
    for number, one in enumerate(rows):
        lot = LotId(str(one.lot))
        if one.nanos > 0:
            bought = AccountId("me"), SecurityId(1), lot, units[one.lot], one.cents
            days[one.day].append(Purchase(*bought))
            continue
        done[one.lot] += 1
        days[one.day].append(Sale(str(number), lot, 1, one.basis_cents, one.cents))
    for day in sorted(days):
        yield _EPOCH + timedelta(days=day), days[day]


def _unit_shares() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tax_unit_shares", _UNIT_SHARES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
