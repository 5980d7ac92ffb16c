"""What the accounts of a walk hold and did: cash, lots, what was harvested; exact integers.

One book holds all replays of a walk as arrays, one row a lot in the order of purchase. Sales take
from named lots; a part of a lot gives its exact share of the basis.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robo.core.money import round_ratio
from robo.portfolio.chunk import nanos_for_cents, notional_cents
from robo.tax.arrays import is_long

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

COST_PPM = 500
"""Of every dollar traded: half spread, fees and slippage. Added to basis, taken off proceeds."""


@dataclass(slots=True)
class Lots:
    """Open lots, one row each, ids rising; every array (L,)."""

    id: IntArray
    account: IntArray
    name: IntArray
    nanos: IntArray
    basis_cents: IntArray
    day: IntArray
    """Bought on, and held from: nothing is ever washed here."""
    asked_cents: IntArray
    """The deepest loss that a planner without wash masks asked for of what is still there."""

    def where(self, keep: BoolArray | IntArray) -> "Lots":
        """Return some of them."""
        return Lots(*(getattr(self, name)[keep] for name in self.__slots__))

    def joined(self, other: "Lots") -> "Lots":
        """Return these and others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return Lots(*(np.concatenate(pair) for pair in pairs))


def no_lots() -> Lots:
    """Return none."""
    return Lots(*(np.zeros(0, dtype=np.int64) for _ in Lots.__slots__))


@dataclass(frozen=True, slots=True)
class Fill:
    """What happened to lots on one day, for whoever checks afterwards; arrays (F,)."""

    day: int
    account: IntArray
    name: IntArray
    lot: IntArray
    nanos: IntArray
    """Bought, or sold where negative."""
    cents: IntArray
    """Paid with costs, or received after them."""
    basis_cents: IntArray
    """Of what was sold; what was paid for what was bought."""


@dataclass(slots=True)
class Book:
    """All accounts of a walk; A accounts, years counted from the walk's first."""

    accounts: int
    names: int
    years: int
    cash_cents: IntArray = field(init=False)
    paid_in_cents: IntArray = field(init=False)
    lots: Lots = field(default_factory=no_lots)
    realised: IntArray = field(init=False)
    """(A, years, 2, 2): by year, short or long, gains or losses; cents, losses negative."""
    sold_at_loss: list[Fill] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    next_id: int = 0
    harvestable: FloatArray = field(init=False)
    """(A,): cents of loss that a planner without wash masks would have taken of the same lots."""
    harvested: FloatArray = field(init=False)
    """(A,): cents of loss planned, at the same prices."""
    unfilled: int = 0
    """Sales that did not reach their limit."""

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.cash_cents = np.zeros(self.accounts, dtype=np.int64)
        self.paid_in_cents = np.zeros(self.accounts, dtype=np.int64)
        self.harvestable, self.harvested = np.zeros(self.accounts), np.zeros(self.accounts)
        self.realised = np.zeros((self.accounts, self.years, 2, 2), dtype=np.int64)

    def pay_in(self, cents: IntArray) -> None:
        """Take deposits, (A,)."""
        self.cash_cents += cents
        self.paid_in_cents += cents

    def collect(self, per_share_micros: IntArray) -> None:
        """Take dividends in cash, (N,) a share."""
        lots = self.lots
        cents = notional_cents(lots.nanos, per_share_micros[lots.name])
        np.add.at(self.cash_cents, lots.account, cents)

    def worth_cents(self, price_micros: IntArray) -> IntArray:
        """Return what each account is worth, (A,)."""
        value = self.cash_cents.copy()
        np.add.at(value, self.lots.account, self.lot_worth_cents(price_micros))
        return value

    def lot_worth_cents(self, price_micros: IntArray) -> IntArray:
        """Return what each lot is worth before costs, (L,)."""
        return notional_cents(self.lots.nanos, price_micros[self.lots.name])

    def sell(
        self, day: int, year: int, nanos: IntArray, price_micros: IntArray, limited: BoolArray
    ) -> None:
        """Sell so much of each lot, (L,), where `limited` only if it brings no loss."""
        at = np.flatnonzero(nanos > 0)
        lots, sold = self.lots.where(at), nanos[at]
        gross = notional_cents(sold, price_micros[lots.name])
        net = gross - _cost(gross)
        basis = lots.basis_cents.copy()
        for row in np.flatnonzero(sold < lots.nanos):
            whole, part = int(lots.nanos[row]), int(sold[row])
            basis[row] = round_ratio(int(basis[row]) * part, whole)
        done = ~(limited[at] & (net < basis))
        self.unfilled += int((~done).sum())
        at, lots, sold, net, basis = at[done], lots.where(done), sold[done], net[done], basis[done]
        gain = net - basis
        kind = is_long(lots.day, day).astype(np.int64)
        spots = lots.account, np.full(at.size, year), kind, (gain < 0).astype(np.int64)
        np.add.at(self.realised, spots, gain)
        np.add.at(self.cash_cents, lots.account, net)
        made = Fill(day, lots.account, lots.name, lots.id, -sold, net, basis)
        self.fills.append(made)
        lost = gain < 0
        self.sold_at_loss.append(
            Fill(day, *(getattr(made, name)[lost] for name in Fill.__slots__[1:]))
        )
        self.lots.nanos[at] -= sold
        self.lots.basis_cents[at] -= basis
        self.lots.asked_cents[at] = np.maximum(self.lots.asked_cents[at] + np.minimum(gain, 0), 0)
        self.lots = self.lots.where(self.lots.nanos > 0)

    def buy(self, day: int, cents: IntArray, price_micros: IntArray) -> None:
        """Buy for so much of each name, (A, N) before costs; less where cash does not suffice."""
        wanted = cents.sum(axis=1)
        free = (self.cash_cents * 1_000_000) // (1_000_000 + COST_PPM)
        short = wanted > free
        part = np.where(short, free / np.maximum(wanted, 1), 1.0)
        cents = np.where(short[:, None], np.floor(cents * part[:, None]), cents).astype(np.int64)
        account, name = np.nonzero(cents > 0)
        spent = cents[account, name]
        nanos = nanos_for_cents(spent, price_micros[name])
        some = nanos > 0
        account, name, spent, nanos = account[some], name[some], spent[some], nanos[some]
        paid = spent + _cost(spent)
        total = np.bincount(account, weights=paid, minlength=self.accounts).astype(np.int64)
        over = (total > self.cash_cents)[account]
        # Costs round up to the cent an order: the last cents may be missing.
        paid = np.where(over, spent, paid)
        np.subtract.at(self.cash_cents, account, paid)
        ids = np.arange(self.next_id, self.next_id + spent.size)
        self.next_id += spent.size
        days = np.full(spent.size, day)
        made = Lots(ids, account, name, nanos, paid, days, np.zeros(spent.size, dtype=np.int64))
        self.lots = self.lots.joined(made)
        self.fills.append(Fill(day, account, name, ids, nanos, paid, paid))


def _cost(cents: IntArray) -> IntArray:
    """Return the cost of trading amounts, rounded up to the cent."""
    return -((-cents * COST_PPM) // 1_000_000)
