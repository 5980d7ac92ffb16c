"""Whether linear limits and a TE cap leave an account any plan at all: two convex programmes.

Phase 1 finds the least u by which every bound has to give; phase 2, where there is a TE cap, the
least variance within the bounds. Variables b (bought), s (sold by lot), h (held), y = X'x and u,
solved by PIQP. Every bound gives by the same u, so that the programme has an interior and its
answer does not hang on a solver's verdict of infeasibility.

No verdict hangs on the solver's word. That there is no plan is said where a lower bound of the
programme, reckoned from its multipliers within finite ranges of the variables and so true of any
multipliers, is beyond what may give; that there is one, where the point found keeps every row.
Between the two nothing is said. Notation as in `problem`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import piqp

from robo.portfolio.problem import BoolArray, FloatArray, IntArray

_ACCURACY: Final = 1e-11
_TRIES: Final = ((1e-6, 0.0), (0.0, 0.0), (0.0, 0.5), (0.0, 1.0))
"""Weight of turnover beside variance, so that a plan does nothing without need; where the cap then
looks out of reach it is tried without, and with the variance ever larger (a power of what was
found)."""
_TURNOVER_MAX: Final = 4.0
"""What is sold is no more than all, and what is bought no more than that and the cash."""
_KEPT: Final = 1e-9
"""By how much a point may miss a row and still count as within."""
_FAR: Final = 4.0
"""No plan buys, holds or gives more of an account."""


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

    def times(self, x: FloatArray) -> FloatArray:
        """Return the rows' values at a point."""
        return np.array([v @ x[c] for c, v in zip(self.column, self.value, strict=True)])

    def back(self, multiplier: FloatArray, columns: int) -> FloatArray:
        """Return the rows added up by their multipliers, shape (columns,)."""
        total = np.zeros(columns)
        for column, value, times in zip(self.column, self.value, multiplier, strict=True):
            np.add.at(total, column, times * value)
        return total

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

    def solve(
        self, limits: Limits, tolerance: float, *, settle: bool
    ) -> tuple[bool | None, Point | None]:
        """Return whether there is a plan within the limits, and one; None where that is open.

        Args:
            limits: What may be done.
            tolerance: By how much a bound may give.
            settle: Ask for a plan that trades no more than it needs.
        """
        if not self._boxes_open(limits, tolerance):
            return False, None
        names, lots = self.held.size, self.lot_name.size
        capped = bool(np.isfinite(limits.tracking_error))
        size = 2 * names + lots + (self.exposure.shape[1] if capped else 0) + 1
        equal, within = self.rows(limits, size, capped=capped)
        low, high = self.box(limits, size)
        linear = np.zeros(size)
        linear[-1] = 1.0
        asked = Programme(np.zeros(size), linear, equal, within, low, high)
        found = asked.solve()
        if asked.bound(found, found.x[-1], linear, self._range(low, high, 1.0)) > tolerance:
            return False, None
        if found.x[-1] > tolerance or asked.missed(found.x) > _KEPT:
            return None, None
        high[-1] = max(found.x[-1], 0.0) + tolerance / 10
        if capped:
            return self._within_cap(asked, limits, tolerance)
        if settle or np.isfinite(limits.gain):
            asked.linear[-1] = 0.0
            asked.linear[: names + lots] = 1.0
            found = asked.solve()
        return True, self._point(found.x)

    def _within_cap(
        self, asked: "Programme", limits: Limits, tolerance: float
    ) -> tuple[bool | None, Point | None]:
        """Return whether the least variance within the bounds keeps the TE cap, and the plan."""
        names, lots = self.held.size, self.lot_name.size
        at = slice(names + lots, 2 * names + lots)
        most = limits.tracking_error + tolerance
        span = self._range(asked.low, asked.high, 1.0)
        about = 1.0
        for price, share in _TRIES:
            # The solver's accuracy is absolute: the variance looked for is brought to about 1.
            scale = about**-share
            asked.curve[at] = self.specific * scale
            asked.curve[at.stop : -1] = scale
            asked.linear[:] = 0.0
            asked.linear[: names + lots] = price
            asked.linear[at] = -self.specific * self.benchmark * scale
            found = asked.solve()
            error = self._tracking_error(found.x[at])
            if error <= most and asked.missed(found.x) <= _KEPT:
                return True, self._point(found.x)
            about = max(error, limits.tracking_error, 1e-6) ** 2
            slope = asked.curve * found.x + asked.linear
            value = price * float(found.x[: names + lots].sum())
            active = found.x[at] - self.benchmark
            value += 0.5 * scale * float(self.specific @ active**2)
            value += 0.5 * scale * float((found.x[at.stop : -1] ** 2).sum())
            least = asked.bound(found, value, slope, span) - price * _TURNOVER_MAX
            if least > 0.5 * scale * most**2:
                return False, None
        return None, None

    def _point(self, x: FloatArray) -> Point:
        names, lots = self.held.size, self.lot_name.size
        return Point(x[:names], x[names : names + lots])

    def _range(
        self, low: FloatArray, high: FloatArray, most: float
    ) -> tuple[FloatArray, FloatArray]:
        """Return finite ranges that hold every plan in which no bound gives by more than `most`."""
        far = np.full(low.size, _FAR + most)
        held_end = 2 * self.held.size + self.lot_name.size
        if held_end < low.size - 1:
            far[held_end:-1] = 2.0 * far[0] * np.abs(self.exposure).sum(axis=0)
        far[-1] = most
        return np.maximum(low, -far), np.minimum(high, far)

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


@dataclass(frozen=True, slots=True)
class Found:
    """What the solver says: a point and multipliers, neither of them to be trusted."""

    x: FloatArray
    equal: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(slots=True)
class Programme:
    """min x'diag(curve)x/2 + linear'x within rows and a box."""

    curve: FloatArray
    linear: FloatArray
    equal: Entries
    within: Entries
    low: FloatArray
    high: FloatArray

    def solve(self) -> Found:
        """Return what PIQP finds."""
        size = self.linear.size
        diagonal = np.arange(size)
        solver: Any = piqp.SparseSolver()
        solver.settings.verbose = False
        solver.settings.eps_abs = _ACCURACY
        solver.settings.eps_rel = _ACCURACY
        solver.settings.eps_duality_gap_abs = _ACCURACY
        solver.settings.eps_duality_gap_rel = _ACCURACY
        solver.setup(
            (self.curve, (diagonal, diagonal)),
            self.linear,
            self.equal.matrix(size),
            np.array(self.equal.low),
            self.within.matrix(size),
            np.array(self.within.low),
            np.array(self.within.high),
            self.low,
            self.high,
        )
        solver.solve()
        answer = solver.result
        return Found(*(np.array(one) for one in (answer.x, answer.y, answer.z_l, answer.z_u)))

    def missed(self, x: FloatArray) -> float:
        """Return by how much a point is out of its rows and box at most; infinite for no point."""
        equal, within = self.equal.times(x), self.within.times(x)
        parts = (
            np.abs(equal - np.array(self.equal.low)),
            np.array(self.within.low) - within,
            within - np.array(self.within.high),
            self.low - x,
            x - self.high,
        )
        worst = max(float(part.max(initial=0.0)) for part in parts)
        return worst if np.isfinite(x).all() else np.inf

    def bound(
        self,
        found: Found,
        value: float,
        slope: FloatArray,
        span: tuple[FloatArray, FloatArray],
    ) -> float:
        """Return what the objective cannot be below within the rows and a finite box.

        f(x') >= f(x) + slope'(x' - x) because f is convex, and the multipliers of rows that x'
        keeps can only lower it; what they leave of the slope is taken at its worst in the box.

        Args:
            found: A point and multipliers; any give a bound, good ones a good one.
            value: f at the point, reckoned however is most exact.
            slope: Its gradient there.
            span: Finite ranges of the variables.
        """
        if not all(np.isfinite(one).all() for one in (found.x, found.equal, found.low, found.high)):
            return -np.inf
        low, high = np.array(self.within.low), np.array(self.within.high)
        down = np.where(np.isfinite(low), np.maximum(found.low, 0.0), 0.0)
        up = np.where(np.isfinite(high), np.maximum(found.high, 0.0), 0.0)
        level = self.within.times(found.x)
        rest = slope + self.equal.back(found.equal, slope.size)
        rest += self.within.back(up - down, slope.size)
        worst = np.minimum(rest * (span[0] - found.x), rest * (span[1] - found.x))
        gap = found.equal @ (self.equal.times(found.x) - np.array(self.equal.low))
        gap += (up[up > 0] * (level - high)[up > 0]).sum()
        gap += (down[down > 0] * (low - level)[down > 0]).sum()
        return float(value + worst.sum() + gap)


def minimise(
    curve: FloatArray,
    linear: FloatArray,
    equal: Entries,
    within: Entries,
    box: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Return the x of least x'diag(curve)x/2 + linear'x within the rows and the box."""
    return Programme(curve, linear, equal, within, *box).solve().x
