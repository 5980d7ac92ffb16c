"""A problem as the arrays that the optimizer's kernels read.

Shapes as in `problem`; `border` has checked them. The market's part (`z`, its Hessian) depends on
no account, so a batch computes it once; what accounts may share comes as one row.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robo.portfolio import dual_kernels as dual
from robo.portfolio.border import checked
from robo.portfolio.problem import (
    Accounts,
    ByteArray,
    FloatArray,
    IntArray,
    Problem,
    Rows,
    Taxes,
    Wants,
)

PPM: Final = 1e-6
CENTS_A_NANO_MICRO: Final = 1e-13
"""Nanoshares times micro-dollars are 1e-15 dollars, 1e-13 cents."""
LANES: Final = 8
"""Rows of `z` are padded to whole vectors of the processor."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What the kernels read; see `pack`."""

    problem: Problem
    """The question, checked."""
    z: FloatArray
    d: FloatArray
    inverse_d: FloatArray
    unit: FloatArray
    """Cents per nanoshare, shape (N,)."""
    price_micros: IntArray
    cost_ppm: IntArray
    kappa: FloatArray
    whole: FloatArray
    """sum over names of z z' / d, shape (size, size)."""
    dims: IntArray
    """How many factors; where cash stands; how many dynamic prices."""
    accounts: Accounts
    rule: ByteArray
    benchmark: FloatArray
    alpha: FloatArray
    lower: IntArray
    upper: IntArray
    row_low: FloatArray
    row_high: FloatArray
    row_price: FloatArray
    columns: FloatArray
    """Shape (A, dual.COLUMNS)."""
    variance_max: float
    """No account's TE^2 is more."""

    @property
    def prices(self) -> int:
        """Return how many prices an account has: the width of `Duals.value`."""
        return int(self.z.shape[1] + self.dims[2])


def pack(problem: Problem) -> Packed:
    """Return the arrays for the kernels.

    Raises:
        ProblemError: If an argument has the wrong type, shape or range; the message names it.
    """
    problem = checked(problem)
    market, accounts, wants = problem.market, problem.accounts, problem.wants
    count, names = accounts.cash_cents.size, market.price_micros.size
    none = np.zeros((1, 0))
    rows = wants.rows or Rows(np.zeros((0, names)), none, none, np.zeros(0))
    exposure = compressed(market.exposure)
    factors = exposure.shape[1]
    at_cash = factors + rows.price.size
    z = np.zeros((names, -(-(at_cash + 1) // LANES) * LANES))
    z[:, :factors] = exposure
    z[:, factors:at_cash] = rows.weight.T
    z[:, at_cash] = 1.0
    d = market.specific_variance
    columns = _columns(problem.taxes, wants, count)
    none_int = np.zeros((1, 0), dtype=np.int64)
    return Packed(
        problem=problem,
        z=z,
        d=d,
        inverse_d=1.0 / d,
        unit=np.asarray(market.price_micros * CENTS_A_NANO_MICRO, dtype=np.float64),
        price_micros=market.price_micros,
        cost_ppm=market.cost_ppm,
        kappa=np.asarray(market.cost_ppm * PPM, dtype=np.float64),
        whole=(z / d[:, None]).T @ z,
        dims=np.array([factors, at_cash, _dynamic(columns)], dtype=np.int64),
        accounts=accounts,
        rule=accounts.rule,
        benchmark=wants.benchmark,
        alpha=none if wants.alpha is None else wants.alpha,
        lower=none_int if wants.lower_ppm is None else wants.lower_ppm,
        upper=none_int if wants.upper_ppm is None else wants.upper_ppm,
        row_low=rows.low,
        row_high=rows.high,
        row_price=rows.price,
        columns=columns,
        variance_max=_variance_max(exposure, d),
    )


def _variance_max(exposure: FloatArray, d: FloatArray) -> float:
    """Return more than any account's TE^2: x = h - w has |x| of at most 2 in sum, 1 a name.

    A hundredth more, because weights sum to 1 but for rounding.
    """
    common = np.abs(exposure).max(axis=0, initial=0.0)
    return float(4.04 * (common**2).sum() + 2.02 * d.max())


def compressed(exposure: FloatArray) -> FloatArray:
    """Return X with at most N columns and the same X X': ten names need no thirty factors."""
    names, factors = exposure.shape
    if factors <= names:
        return exposure
    # X' = Q R gives X X' = R' R, so R' has the same covariance.
    return np.ascontiguousarray(np.asarray(np.linalg.qr(exposure.T, mode="r")).T)


def _dynamic(columns: FloatArray) -> int:
    """Return how many prices of selling the batch needs: none, or all."""
    nets = (columns[:, dual.NETTING] > 0) & (columns[:, dual.MODE] == dual.HARVEST)
    asks = np.isfinite(columns[:, [dual.TURNOVER, dual.TE_MAX]]).any(axis=1)
    asks |= (columns[:, dual.BUDGET] >= 0) | nets
    return dual.DYNAMIC if asks.any() else 0


def _columns(taxes: Taxes, wants: Wants, count: int) -> FloatArray:
    """Return every account's numbers, shape (A, COLUMNS)."""
    columns = np.empty((count, dual.COLUMNS))

    def put(at: int, values: NDArray[Any], unit: float) -> None:
        columns[:, at] = values * unit

    def maybe(at: int, values: IntArray | None, unit: float, none: float) -> None:
        columns[:, at] = none if values is None else values * unit

    put(dual.LAMBDA, wants.risk_aversion, 1.0)
    put(dual.CASH_TARGET, wants.cash_ppm, PPM)
    put(dual.CASH_PRICE, wants.cash_price_ppm, PPM)
    put(dual.CAP, wants.active_max_ppm, PPM)
    put(dual.RATE_SHORT, taxes.short_rate_ppm, PPM)
    put(dual.RATE_LONG, taxes.long_rate_ppm, PPM)
    put(dual.RATE_ORDINARY, taxes.ordinary_rate_ppm, PPM)
    put(dual.YEAR_SHORT, taxes.year_short_cents, 1.0)
    put(dual.YEAR_LONG, taxes.year_long_cents, 1.0)
    put(dual.LIMIT, taxes.ordinary_limit_cents, 1.0)
    put(dual.CARRY, taxes.carry_ppm, PPM)
    put(dual.BUDGET, taxes.gain_budget_cents, 1.0)
    put(dual.BACK, taxes.recapture_ppm, PPM)
    columns[:, dual.BACK] *= columns[:, dual.RATE_LONG]
    put(dual.MODE, taxes.mode, 1.0)
    put(dual.NETTING, taxes.netting, 1.0)
    maybe(dual.TURNOVER, wants.turnover_max_ppm, PPM, np.inf)
    maybe(dual.TE_MAX, wants.tracking_error_max_ppm, PPM, np.inf)
    maybe(dual.TRADE_MIN, wants.trade_min_cents, 1.0, 0.0)
    maybe(dual.THETA, wants.trade_cost_ppm, PPM, 0.0)
    maybe(dual.PHI, wants.new_line_ppm, PPM, 0.0)
    return columns
