"""The same life under scripted rules of others: same prices, same money, same weeks.

Rules are written as their houses describe them, nothing is optimised; trades are free. Every name
is a total-return share, so that dividends need no orders. The fund is the index of the same names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.life_moves import BUY, MONEY, SELL, Moved, Stream, Wish
from scheduler.life_wash import WINDOW_DAYS

FloatArray = NDArray[np.float64]

FUND, TWIN = -1, -2
TEN, HUNDRED = 10, 100
SINGLE_STOCKS_FROM: Final = 500.0
DIRECT_FROM, DIRECT_UNTIL = 100_000.0, 50_000.0
DRIFT: Final = 0.03
HARVEST: Final = 0.05
_NANOS: Final = 1_000_000_000
_DUST: Final = 1e-9
_WISHES: Final = (Wish(date.min, harvests=True, budget_cents=0),)
"""What our customer chooses: the same code counts the same things."""


@dataclass(slots=True)
class _Lot:
    id: str
    shares: float
    basis: float
    nanos: int


@dataclass(slots=True)
class Ruled:
    """An account that follows a rule; prices of names by index, of the fund and its twin apart."""

    name: str
    lots: dict[int, list[_Lot]] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    worth: list[float] = field(default_factory=list)
    direct: bool = False
    bought_on: dict[int, date] = field(default_factory=dict)
    lost_on: dict[int, date] = field(default_factory=dict)
    count: int = 0

    def stream(self) -> Stream:
        """Return what happened, to be counted as ours is."""
        return Stream(self.moved, (), _WISHES)

    def value(self, price: Callable[[int], float]) -> float:
        """Return what is held."""
        return sum(price(name) * self.shares(name) for name in self.lots)

    def shares(self, name: int) -> float:
        """Return the shares of a name."""
        return sum(lot.shares for lot in self.lots.get(name, ()))

    def buy(self, on: date, name: int, dollars: float, price: Callable[[int], float]) -> None:
        """Buy for an amount; cents do not matter here."""
        if dollars < 1.0 or price(name) <= 0:
            return
        self.count += 1
        shares = dollars / price(name)
        lot = _Lot(f"{self.name}-{self.count}", shares, dollars, round(shares * _NANOS))
        self.lots.setdefault(name, []).append(lot)
        self.bought_on[name] = on
        self.moved.append(Moved(on, name, lot.id, lot.nanos, round(dollars * 100), 0, BUY))

    def sell(
        self, on: date, name: int, price: Callable[[int], float], *, losing: float | None = None
    ) -> float:
        """Sell all lots of a name, or those that lost at least so much of their basis."""
        got, kept = 0.0, []
        for lot in self.lots.get(name, ()):
            worth = lot.shares * price(name)
            if losing is not None and worth > lot.basis * (1 - losing):
                kept.append(lot)
                continue
            self._leave(on, name, lot, worth, lot.shares)
            got += worth
        self.lots[name] = kept
        return got

    def trim(self, on: date, name: int, dollars: float, price: Callable[[int], float]) -> float:
        """Sell an amount of a name, first in first out."""
        got = 0.0
        for lot in list(self.lots.get(name, ())):
            part = min(lot.shares, (dollars - got) / price(name))
            if part <= 0:
                break
            self._leave(on, name, lot, part * price(name), part)
            got += part * price(name)
        self.lots[name] = [lot for lot in self.lots.get(name, ()) if lot.shares > _DUST]
        return got

    def _leave(self, on: date, name: int, lot: _Lot, worth: float, shares: float) -> None:
        basis = lot.basis * shares / lot.shares
        whole = lot.shares - shares <= _DUST
        nanos = lot.nanos if whole else min(round(shares * _NANOS), lot.nanos)
        cents = round(basis * 100), round(worth * 100)
        self.moved.append(Moved(on, name, lot.id, -nanos, *cents, SELL))
        lot.nanos -= nanos
        lot.basis -= basis
        lot.shares -= shares
        if worth < basis:
            self.lost_on[name] = on


@dataclass(frozen=True, slots=True)
class Day:
    """A day on which rules look at their accounts."""

    on: date
    dollars: float
    """What comes in."""
    price: Callable[[int], float]
    top: Sequence[int]
    """Names by size, the largest first."""
    december: bool
    """The first of these days in December."""


Rule = Callable[[Ruled, Day], None]


def fund_only(me: Ruled, day: Day) -> None:
    """Hold the fund or its twin; in December what lost in the one goes into the other.

    From November to January new money goes where it washes no loss of the other.
    """
    held, other = (FUND, TWIN) if me.shares(FUND) >= me.shares(TWIN) else (TWIN, FUND)
    if day.december:
        me.buy(day.on, other, me.sell(day.on, held, day.price, losing=0.0), day.price)
    winter = day.on.month in {11, 12, 1}
    sold = max(me.lost_on, key=lambda one: me.lost_on[one], default=held)
    held = sold if winter and day.on.month == 1 else held
    me.buy(day.on, (TWIN if held == FUND else FUND) if winter else held, day.dollars, day.price)


def single_stocks_at_500(me: Ruled, day: Day) -> None:
    """Hold the fund below $500, ten single stocks from there on."""
    money = day.dollars
    if not me.direct and me.value(day.price) + money >= SINGLE_STOCKS_FROM:
        me.direct = True
        money += me.sell(day.on, FUND, day.price)
    _spread(me, day, money, day.top[:TEN] if me.direct else [FUND])


def direct_between(me: Ruled, day: Day) -> None:
    """Index directly from $100,000, harvesting 5 % losses; below $50,000 sell everything.

    It keeps its own account clear of wash sales, as such houses do.
    """
    money, worth = day.dollars, me.value(day.price)
    if not me.direct and worth + money >= DIRECT_FROM:
        me.direct = True
        money += me.sell(day.on, FUND, day.price)
    elif me.direct and worth < DIRECT_UNTIL:
        me.direct = False
        money += sum(me.sell(day.on, one, day.price) for one in list(me.lots))
    if me.direct:
        out = [
            one
            for one in me.lots
            if _lost(me, one, day) > HARVEST and not _lately(me.bought_on, one, day)
        ]
        money += sum(me.sell(day.on, one, day.price) for one in out)
        names = [one for one in day.top if not _lately(me.lost_on, one, day)]
        _spread(me, day, money, names[:HUNDRED])
    else:
        _spread(me, day, money, [FUND])


def drift_bands(me: Ruled, day: Day) -> None:
    """Ten stocks in equal parts; back to them whenever half the differences pass 3 %."""
    names = list(day.top[:TEN])
    _spread(me, day, day.dollars, names)
    worth = {one: me.shares(one) * day.price(one) for one in {*names, *me.lots}}
    total = sum(worth.values())
    goal = {one: total / TEN if one in names else 0.0 for one in worth}
    if sum(abs(worth[one] - goal[one]) for one in worth) / 2 <= DRIFT * total:
        return
    money = sum(
        me.trim(day.on, one, worth[one] - goal[one], day.price)
        for one in worth
        if worth[one] > goal[one]
    )
    _spread(me, day, money, names)


def year_end_harvest(me: Ruled, day: Day) -> None:
    """Ten stocks; in December sell every lot at a loss and buy the next names for it."""
    names = list(day.top[:TEN])
    if day.december:
        money = sum(me.sell(day.on, one, day.price, losing=0.0) for one in list(me.lots))
        _spread(me, day, money, day.top[TEN : 2 * TEN])
    _spread(me, day, day.dollars, names)


RULES: Final[dict[str, Rule]] = {
    "fund, swapped in December": fund_only,
    "single stocks at $500": single_stocks_at_500,
    "direct from $100k, off below $50k": direct_between,
    "3 % drift bands": drift_bands,
    "harvest at year-end only": year_end_harvest,
}


def play(
    days: Sequence[date], dollars: Sequence[float], growth: FloatArray, size: FloatArray
) -> dict[str, Ruled]:
    """Return what every rule made of the same life.

    Args:
        days: When rules look, T of them.
        dollars: What came in before each.
        growth: Total returns from the day before, shape (T, N); -1 and worse is worthless.
        size: Of every name on the first day, shape (N,).
    """
    level = np.cumprod(1.0 + np.maximum(growth, -1.0), axis=0)
    worth = level * size
    fund = np.concatenate(([1.0], np.cumprod(worth[1:].sum(axis=1) / worth[:-1].sum(axis=1))))
    made = {name: Ruled(name) for name in RULES}
    top = np.argsort(-size, kind="stable").tolist()
    last_december = 0
    for spot, on in enumerate(days):
        december = on.month == 12 and on.year != last_december  # noqa: PLR2004 - December
        last_december = on.year if december else last_december
        row, fund_level = level[spot], float(fund[spot])

        def price(name: int, row: FloatArray = row, fund_level: float = fund_level) -> float:
            return fund_level * 100 if name < 0 else float(row[name]) * 100

        living = [one for one in top[: 4 * HUNDRED] if row[one] > 0]
        day = Day(on, dollars[spot], price, living, december)
        for name, rule in RULES.items():
            made[name].moved.append(Moved(on, 0, "", 0, 0, round(day.dollars * 100), MONEY))
            rule(made[name], day)
            made[name].worth.append(made[name].value(price))
    return made


def _spread(me: Ruled, day: Day, dollars: float, names: Sequence[int]) -> None:
    """Buy what is furthest below an equal part first, with at least a dollar a name."""
    held = {one: me.shares(one) * day.price(one) for one in names}
    goal = (sum(held.values()) + dollars) / max(len(names), 1)
    for one in sorted(names, key=lambda name: held[name] - goal):
        part = min(dollars, max(goal - held[one], 0.0))
        if part < 1.0:
            break
        me.buy(day.on, one, part, day.price)
        dollars -= part


def _lately(when: dict[int, date], name: int, day: Day) -> bool:
    """Return whether something happened to a name within 30 days."""
    return name in when and (day.on - when[name]).days <= WINDOW_DAYS


def _lost(me: Ruled, name: int, day: Day) -> float:
    """Return how much of its basis a name has lost, as a fraction."""
    if name < 0:
        return 0.0
    basis = sum(lot.basis for lot in me.lots.get(name, ()))
    return 1.0 - me.shares(name) * day.price(name) / basis if basis > 0 else 0.0
