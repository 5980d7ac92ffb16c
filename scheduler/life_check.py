"""Forced sales, unintended wash sales and gains over budget, counted from what was executed.

This module shares nothing with the planners: the standard library, and rows of the books. It takes
no order's word for why it was made; it looks at what a sale did, when, and what the customer had
asked for. See `Counts` for the definitions.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

WINDOW_DAYS: Final = 30
_EVENTS: Final = """
    SELECT e.on_date, e.security_id, e.lot_id, e.kind, e.nanos_delta, e.basis_delta_cents,
           e.proceeds_cents, f.id
    FROM lot_event e LEFT JOIN fill f ON f.id = e.cause
    WHERE e.account_id = ? ORDER BY e.seq
"""
_RESTRICTED: Final = """
    SELECT r.security_id FROM restriction r JOIN account a ON a.customer_id = r.customer_id
    WHERE a.id = ? AND r.verb = 'never_own'
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """What happened to one lot on one day.

    Attributes:
        nanos: Shares that came, or left where negative.
        basis_cents: Paid for what came; given up, as a positive number, for what left.
        proceeds_cents: For what was sold, after costs.
        kind: `buy`, `sell`, `asked` (a sale the customer asked for) or `action` (corporate).
    """

    on: date
    security_id: int
    lot_id: str
    nanos: int
    basis_cents: int
    proceeds_cents: int
    kind: str

    @property
    def gain_cents(self) -> int:
        """Return what a sale realised."""
        return self.proceeds_cents - self.basis_cents


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found.

    Attributes:
        forced: Sales of a lot at a gain, on days after which the year's net gain of sales that the
            customer did not ask for was above the budget: nothing else explains them. A sale at a
            loss is a harvest, where the customer wants harvests; else it is forced too.
        washed: Sales at a loss, not asked for, whose shares were bought again within 30 days, or
            were bought in the 30 days before and still held when the day ended.
        over_budget: Years whose net gain of sales not asked for ended above the budget.
        over_budget_cents: By how much, all years together.
        harvested_short_cents: Losses of shares held up to a year, not negative.
    """

    forced: int
    washed: int
    over_budget: int
    over_budget_cents: int
    harvested_short_cents: int
    harvested_long_cents: int
    gains_short_cents: int
    gains_long_cents: int
    sales: int


def moves(connection: Any, account_id: str) -> list[Moved]:
    """Return what happened to the lots of an account, in order; a plain DB-API connection."""
    asked = {int(row[0]) for row in connection.execute(_RESTRICTED, (account_id,))}
    found = []
    for on, security, lot, kind, nanos, basis, proceeds, fill in connection.execute(
        _EVENTS, (account_id,)
    ):
        told = "action"
        if fill is not None and kind == "open":
            told = "buy"
        elif fill is not None and kind == "close":
            told = "asked" if int(security) in asked else "sell"
        day = date.fromisoformat(on)
        found.append(
            Moved(day, int(security), lot, int(nanos), abs(int(basis)), int(proceeds), told)
        )
    return found


def count(moved: Sequence[Moved], budget_cents: int, *, harvests: bool) -> Counts:
    """Return what an account's life came to.

    Args:
        moved: In the order of time.
        budget_cents: Net gain that the customer allows each year.
        harvests: Whether the customer wants losses realised.
    """
    chosen = [one for one in moved if one.kind == "sell"]
    by_year: dict[int, int] = defaultdict(int)
    by_day: dict[date, list[Moved]] = defaultdict(list)
    for one in chosen:
        by_day[one.on].append(one)
    forced = 0
    for on in sorted(by_day):
        by_year[on.year] += sum(one.gain_cents for one in by_day[on])
        above = by_year[on.year] > budget_cents
        forced += sum(
            (one.gain_cents > 0 and above) or (one.gain_cents < 0 and not harvests)
            for one in by_day[on]
        )
    over = [cents - budget_cents for cents in by_year.values() if cents > budget_cents]
    parts = _by_term(moved, chosen)
    return Counts(
        forced=forced,
        washed=washed(moved),
        over_budget=len(over),
        over_budget_cents=sum(over),
        harvested_short_cents=parts["short", True],
        harvested_long_cents=parts["long", True],
        gains_short_cents=parts["short", False],
        gains_long_cents=parts["long", False],
        sales=len(chosen),
    )


def washed(moved: Iterable[Moved]) -> int:
    """Return how many sales at a loss, not asked for by the customer, were washed."""
    by_name: dict[int, list[Moved]] = defaultdict(list)
    for one in moved:
        by_name[one.security_id].append(one)
    return sum(
        _is_washed(one, rows)
        for rows in by_name.values()
        for one in rows
        if one.kind == "sell" and one.gain_cents < 0
    )


def _is_washed(sale: Moved, rows: Collection[Moved]) -> bool:
    left: dict[str, int] = defaultdict(int)
    for one in rows:
        if one.on <= sale.on:
            left[one.lot_id] += one.nanos
    return any(
        one.kind == "buy"
        and abs((one.on - sale.on).days) <= WINDOW_DAYS
        and (one.on > sale.on or left[one.lot_id] > 0)
        for one in rows
    )


def _by_term(moved: Iterable[Moved], chosen: Iterable[Moved]) -> dict[tuple[str, bool], int]:
    """Return gains and losses by holding period, all not negative."""
    since: dict[str, date] = {}
    for one in moved:
        since.setdefault(one.lot_id, one.on)
    parts: dict[tuple[str, bool], int] = defaultdict(int)
    for one in chosen:
        term = "long" if is_long(since[one.lot_id], one.on) else "short"
        parts[term, one.gain_cents < 0] += abs(one.gain_cents)
    return parts


def is_long(bought: date, sold: date) -> bool:
    """Return whether more than a year passed, by the calendar, counted from the day after."""
    first = bought + timedelta(days=1)
    leap_day = (first.month, first.day) == (2, 29)
    over = date(first.year + 1, 3, 1) if leap_day else first.replace(year=first.year + 1)
    return sold >= over
