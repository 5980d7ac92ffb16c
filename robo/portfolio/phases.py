"""Whether linear limits and a TE cap leave an account any plan at all: two convex programmes.

Phase 1 finds the least u by which every bound has to give; phase 2, where there is a TE cap, the
least variance within the bounds. Variables b (bought), s (sold by lot), h (held), y = X'x and u,
solved by PIQP. Every bound gives by the same u, so that the programme has an interior and its
answer does not hang on a solver's verdict of infeasibility. Notation as in `problem`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import piqp

from robo.portfolio.problem import BoolArray, FloatArray, IntArray

_ACCURACY: Final = 1e-11
_SETTLE: Final = 1e-6
"""Weight of turnover beside variance, so that a plan does nothing without need."""


@dataclass(slots=True)
class Limits:
    """What is left of an account's freedom; fractions of the account."""

    buy_low: FloatArray
    buy_high: FloatArray
    sale_low: FloatArray
    """Least sum of a name's lots sold, shape (N,)."""
    lot_high: FloatArray
    """Most of each lot sold, shape (L,)."""
    low: FloatArray
    high: FloatArray
    row_low: FloatArray
    row_high: FloatArray
    turnover: float
    tracking_error: float
    gain: float
    settled: BoolArray
    """Names that a search has decided on, shape (N,)."""

    @classmethod
    def none(cls, names: int, lot_value: FloatArray, rows: int) -> "Limits":
        """Return no limits but that a lot gives what it has."""
        return cls(
            buy_low=np.zeros(names),
            buy_high=np.full(names, np.inf),
            sale_low=np.zeros(names),
            lot_high=lot_value.copy(),
            low=np.full(names, -np.inf),
            high=np.full(names, np.inf),
            row_low=np.full(rows, -np.inf),
            row_high=np.full(rows, np.inf),
            turnover=np.inf,
            tracking_error=np.inf,
            gain=np.inf,
            settled=np.zeros(names, dtype=np.bool_),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """A plan within the limits."""

    bought: FloatArray
    lot_sold: FloatArray


@dataclass(slots=True)
class Entries:
    """A sparse matrix in the making: rows with bounds."""

    row: list[IntArray]
    column: list[IntArray]
    value: list[FloatArray]
    low: list[float]
    high: list[float]

    def add(self, column: IntArray, value: FloatArray, low: float, high: float) -> None:
        """Add a row."""
        self.row.append(np.full(column.size, len(self.low)))
        self.column.append(column)
        self.value.append(value)
        self.low.append(low)
        self.high.append(high)

    def give(
        self, column: IntArray, value: FloatArray, bounds: tuple[float, float], u: int
    ) -> None:
        """Add a row for each finite bound, that gives by u."""
        wide = np.append(column, u)
        if np.isfinite(bounds[0]):
            self.add(wide, np.append(value, 1.0), bounds[0], np.inf)
        if np.isfinite(bounds[1]):
            self.add(wide, np.append(value, -1.0), -np.inf, bounds[1])

    def matrix(self, columns: int) -> tuple[FloatArray, tuple[IntArray, IntArray]]:
        """Return what SciPy's sparse constructors take, with the size made plain."""
        corner = np.array([len(self.low) - 1]), np.array([columns - 1])
        row = np.concatenate([*self.row, corner[0]])
        column = np.concatenate([*self.column, corner[1]])
        return np.concatenate([*self.value, np.zeros(1)]), (row, column)


@dataclass(frozen=True, slots=True)
class Phases:
    """One account's programmes."""

    cash: float
    held: FloatArray
    kappa: FloatArray
    lot_name: IntArray
    lot_gain: FloatArray
    """Gain per dollar that counts against the budget; 0 for forced sales."""
    benchmark: FloatArray
    exposure: FloatArray
    specific: FloatArray
    row_weight: FloatArray

    def solve(self, limits: Limits, tolerance: float, *, settle: bool) -> Point | None:
        """Return a plan within the limits, or None where there is none.

        Args:
            limits: What may be done.
            tolerance: By how much a bound may give.
            settle: Ask for a plan that trades no more than it needs.
        """
        if not self._boxes_open(limits, tolerance):
            return None
        names, lots = self.held.size, self.lot_name.size
        capped = bool(np.isfinite(limits.tracking_error))
        size = 2 * names + lots + (self.exposure.shape[1] if capped else 0) + 1
        equal, within = self.rows(limits, size, capped=capped)
        low, high = self.box(limits, size)
        linear = np.zeros(size)
        linear[-1] = 1.0
        found = minimise(np.zeros(size), linear, equal, within, (low, high))
        if found[-1] > tolerance:
            return None
        if capped or settle or np.isfinite(limits.gain):
            low[-1], high[-1] = 0.0, max(found[-1], 0.0) + tolerance / 10
            linear[-1] = 0.0
            linear[: names + lots] = _SETTLE if capped else 1.0
            curve = np.zeros(size)
            if capped:
                curve[names + lots : 2 * names + lots] = self.specific
                curve[2 * names + lots : -1] = 1.0
                at = slice(names + lots, 2 * names + lots)
                linear[at] = -self.specific * self.benchmark
            found = minimise(curve, linear, equal, within, (low, high))
            if capped and self._tracking_error(found[at]) > limits.tracking_error + tolerance:
                return None
        return Point(found[:names], found[names : names + lots])

    def _boxes_open(self, limits: Limits, tolerance: float) -> bool:
        """Return whether each name by itself can be where it must; cheap, and often enough."""
        names = self.held.size
        sellable = np.bincount(self.lot_name, limits.lot_high, names)
        least = np.maximum(limits.low, self.held - sellable + limits.buy_low)
        most = np.minimum(limits.high, self.held + limits.buy_high - limits.sale_low)
        within = (limits.buy_low <= limits.buy_high) & (limits.sale_low <= sellable + tolerance)
        return bool((within & (least <= most + tolerance)).all())

    def box(self, limits: Limits, size: int) -> tuple[FloatArray, FloatArray]:
        """Return bounds of the variables; fixed ones get a hair's breadth of room."""
        names, lots = self.held.size, self.lot_name.size
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        low[:names], low[names : names + lots], low[-1] = limits.buy_low, 0.0, -1.0
        high[:names], high[names : names + lots] = limits.buy_high, limits.lot_high
        return low, np.maximum(high, low + 1e-12)

    def rows(self, limits: Limits, size: int, *, capped: bool) -> tuple[Entries, Entries]:
        """Return equalities and bounds; `capped` with the rows of y, u stands last."""
        names, lots = self.held.size, self.lot_name.size
        equal, within = Entries([], [], [], [], []), Entries([], [], [], [], [])
        u = size - 1
        held_at = names + lots
        of_name: list[list[int]] = [[] for _ in range(names)]
        for lot, name in enumerate(self.lot_name.tolist()):
            of_name[name].append(names + lot)
        for i, sold in enumerate(of_name):
            column = np.array([held_at + i, i, *sold])
            value = np.array([1.0, -1.0, *[1.0] * len(sold)])
            equal.add(column, value, self.held[i], self.held[i])
            one = np.ones(1)
            within.give(np.array([held_at + i]), one, (limits.low[i], limits.high[i]), u)
            if limits.sale_low[i] > 0:
                within.give(np.array(sold), np.ones(len(sold)), (limits.sale_low[i], np.inf), u)
        if capped:
            for k in range(self.exposure.shape[1]):
                column = np.append(np.arange(held_at, held_at + names), held_at + names + k)
                value = np.append(-self.exposure[:, k], 1.0)
                level = -float(self.exposure[:, k] @ self.benchmark)
                equal.add(column, value, level, level)
        trades = np.arange(names + lots)
        spend = np.concatenate([1 + self.kappa, self.kappa[self.lot_name] - 1])
        within.give(trades, spend, (-np.inf, self.cash), u)
        within.give(trades, np.ones(names + lots), (-np.inf, limits.turnover), u)
        within.give(np.arange(names, held_at), self.lot_gain, (-np.inf, limits.gain), u)
        for r, weight in enumerate(self.row_weight):
            bounds = (limits.row_low[r], limits.row_high[r])
            within.give(np.arange(held_at, held_at + names), weight, bounds, u)
        return equal, within

    def _tracking_error(self, held: FloatArray) -> float:
        active = held - self.benchmark
        variance = float(((active @ self.exposure) ** 2).sum() + self.specific @ active**2)
        return float(np.sqrt(variance))


def minimise(
    curve: FloatArray,
    linear: FloatArray,
    equal: Entries,
    within: Entries,
    box: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Return the x of least x'diag(curve)x/2 + linear'x within the rows and the box."""
    size = linear.size
    diagonal = np.arange(size)
    solver: Any = piqp.SparseSolver()
    solver.settings.verbose = False
    solver.settings.eps_abs = _ACCURACY
    solver.settings.eps_rel = _ACCURACY
    solver.settings.eps_duality_gap_abs = _ACCURACY
    solver.settings.eps_duality_gap_rel = _ACCURACY
    solver.setup(
        (curve, (diagonal, diagonal)),
        linear,
        equal.matrix(size),
        np.array(equal.low),
        within.matrix(size),
        np.array(within.low),
        np.array(within.high),
        *box,
    )
    solver.solve()
    return np.asarray(solver.result.x, dtype=np.float64)
