"""A problem as the arrays that the optimizer's kernels read, checked where it enters.

Shapes as in `problem`. The market's part (`z`, its Hessian) depends on no account, so a batch
computes it once; what accounts may share comes as one row.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robo.portfolio import dual_kernels as dual
from robo.portfolio.checks import ints, require
from robo.portfolio.problem import (
    Accounts,
    BoolArray,
    ByteArray,
    FloatArray,
    IntArray,
    Market,
    Problem,
    Rows,
    Taxes,
    TaxMode,
    Wants,
)

PPM: Final = 1e-6
CENTS_A_NANO_MICRO: Final = 1e-13
"""Nanoshares times micro-dollars are 1e-15 dollars, 1e-13 cents."""
LANES: Final = 8
"""Rows of `z` are padded to whole vectors of the processor."""
CASH_MAX: Final = 10**15
NANOS_MAX: Final = 10**18
PRICE_MAX: Final = 10**12


@dataclass(frozen=True, slots=True)
class Packed:
    """What the kernels read; see `pack`."""

    z: FloatArray
    d: FloatArray
    inverse_d: FloatArray
    unit: FloatArray
    """Cents per nanoshare, shape (N,)."""
    price_micros: IntArray
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

    @property
    def prices(self) -> int:
        """Return how many prices an account has: the width of `Duals.value`."""
        return int(self.z.shape[1] + self.dims[2])


def pack(problem: Problem) -> Packed:
    """Return the arrays for the kernels.

    Raises:
        ValueError: If an argument has the wrong shape, type or range; the message names it.
    """
    market, wants = problem.market, problem.wants
    accounts = _checked_accounts(problem.accounts, market.price_micros.size)
    count, names = accounts.cash_cents.size, market.price_micros.size
    _check_market(market)
    rows = _checked_rows(wants.rows, count, names)
    exposure = compressed(np.asarray(market.exposure, dtype=np.float64))
    factors = exposure.shape[1]
    at_cash = factors + rows.low.shape[1]
    z = np.zeros((names, -(-(at_cash + 1) // LANES) * LANES))
    z[:, :factors] = exposure
    z[:, factors:at_cash] = rows.weight.T
    z[:, at_cash] = 1.0
    d = np.ascontiguousarray(market.specific_variance, dtype=np.float64)
    columns = _columns(problem.taxes, wants, count)
    return Packed(
        z=z,
        d=d,
        inverse_d=1.0 / d,
        unit=np.asarray(market.price_micros * CENTS_A_NANO_MICRO, dtype=np.float64),
        price_micros=ints("price_micros", market.price_micros, 1),
        kappa=np.asarray(market.cost_ppm * PPM, dtype=np.float64),
        whole=(z / d[:, None]).T @ z,
        dims=np.array([factors, at_cash, _dynamic(columns)], dtype=np.int64),
        accounts=accounts,
        rule=_rows_of("rule", accounts.rule, np.uint8, count, names),
        benchmark=_benchmark(wants.benchmark, count, names),
        alpha=_optional("alpha", wants.alpha, np.float64, count, names),
        lower=_optional("lower_ppm", wants.lower_ppm, np.int64, count, names),
        upper=_optional("upper_ppm", wants.upper_ppm, np.int64, count, names),
        row_low=rows.low,
        row_high=rows.high,
        row_price=rows.price,
        columns=columns,
    )


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

    def put(at: int, name: str, values: Any, unit: float, low: float = 0.0) -> None:
        array = np.asarray(values)
        require(name, array.shape == (count,), f"must have shape ({count},)")
        require(name, bool(np.isfinite(array).all()), "must be finite")
        require(name, bool((array >= low).all()), f"must be at least {low:g}")
        columns[:, at] = array * unit

    def maybe(at: int, name: str, values: IntArray | None, unit: float, none: float) -> None:
        columns[:, at] = none
        if values is not None:
            put(at, name, ints(name, values), unit)

    any_sign = -np.inf
    put(dual.LAMBDA, "risk_aversion", wants.risk_aversion, 1.0, 1e-6)
    put(dual.CASH_TARGET, "cash_ppm", wants.cash_ppm, PPM)
    put(dual.CASH_PRICE, "cash_price_ppm", wants.cash_price_ppm, PPM)
    put(dual.CAP, "active_max_ppm", wants.active_max_ppm, PPM)
    put(dual.RATE_SHORT, "short_rate_ppm", taxes.short_rate_ppm, PPM)
    put(dual.RATE_LONG, "long_rate_ppm", taxes.long_rate_ppm, PPM)
    put(dual.RATE_ORDINARY, "ordinary_rate_ppm", taxes.ordinary_rate_ppm, PPM)
    put(dual.YEAR_SHORT, "year_short_cents", taxes.year_short_cents, 1.0, any_sign)
    put(dual.YEAR_LONG, "year_long_cents", taxes.year_long_cents, 1.0, any_sign)
    put(dual.LIMIT, "ordinary_limit_cents", taxes.ordinary_limit_cents, 1.0)
    put(dual.CARRY, "carry_ppm", taxes.carry_ppm, PPM)
    put(dual.BUDGET, "gain_budget_cents", taxes.gain_budget_cents, 1.0, any_sign)
    put(dual.BACK, "recapture_ppm", taxes.recapture_ppm, PPM)
    columns[:, dual.BACK] *= columns[:, dual.RATE_LONG]
    put(dual.MODE, "mode", taxes.mode, 1.0)
    require("mode", bool((columns[:, dual.MODE] <= max(TaxMode)).all()), "must be a TaxMode")
    put(dual.NETTING, "netting", taxes.netting, 1.0)
    maybe(dual.TURNOVER, "turnover_max_ppm", wants.turnover_max_ppm, PPM, np.inf)
    maybe(dual.TE_MAX, "tracking_error_max_ppm", wants.tracking_error_max_ppm, PPM, np.inf)
    maybe(dual.TRADE_MIN, "trade_min_cents", wants.trade_min_cents, 1.0, 0.0)
    maybe(dual.THETA, "trade_cost_ppm", wants.trade_cost_ppm, PPM, 0.0)
    maybe(dual.PHI, "new_line_ppm", wants.new_line_ppm, PPM, 0.0)
    return columns


def _check_market(market: Market) -> None:
    names = market.price_micros.size
    require("price_micros", names > 0, "must have at least one name")
    price, cost = ints("price_micros", market.price_micros, 1), ints("cost_ppm", market.cost_ppm, 1)
    require("price_micros", bool(((price > 0) & (price <= PRICE_MAX)).all()), "must be positive")
    require("cost_ppm", cost.shape == (names,), f"must have shape ({names},)")
    low, high = int(cost.min()), int(cost.max())
    require("cost_ppm", low >= 0 and high < 10**6, "must be from 0 to below a million")
    shape = np.shape(market.exposure)
    require("exposure", len(shape) == 2 and shape[0] == names, f"must have {names} rows")  # noqa: PLR2004 - rows, columns
    require("exposure", bool(np.isfinite(market.exposure).all()), "must be finite")
    d = np.asarray(market.specific_variance)
    require("specific_variance", d.shape == (names,), f"must have shape ({names},)")
    require("specific_variance", bool((np.isfinite(d) & (d > 0)).all()), "must be positive")


def _checked_accounts(accounts: Accounts, names: int) -> Accounts:
    """Return the accounts with contiguous arrays of the exact types."""
    cash = ints("cash_cents", accounts.cash_cents, 1)
    require("cash_cents", bool(((cash >= 0) & (cash <= CASH_MAX)).all()), "must not be negative")
    name = ints("holding_name", accounts.holding_name, 1)
    holding = _pointers("holding_indptr", accounts.holding_indptr, cash.size, name.size)
    nanos = ints("lot_nanos", accounts.lot_nanos, 1)
    lot = _pointers("lot_indptr", accounts.lot_indptr, name.size, nanos.size)
    require("lot_nanos", bool(((nanos > 0) & (nanos <= NANOS_MAX)).all()), "must be positive")
    if name.size:
        require("holding_name", name.min() >= 0 and name.max() < names, f"must be below {names}")
        starts = np.zeros(name.size + 1, dtype=np.bool_)
        starts[holding] = True
        rises = (np.diff(name) > 0) | starts[1:-1]
        require("holding_name", bool(rises.all()), "must rise within an account")
    basis = ints("lot_basis_cents", accounts.lot_basis_cents, 1)
    day = ints("lot_acquired_day", accounts.lot_acquired_day, 1)
    require("lot_basis_cents", basis.shape == nanos.shape, "must have an entry per lot")
    require("lot_basis_cents", not basis.size or basis.min() >= 0, "must not be negative")
    require("lot_acquired_day", day.shape == nanos.shape, "must have an entry per lot")
    return Accounts(
        cash_cents=cash,
        holding_indptr=holding,
        holding_name=name,
        lot_indptr=lot,
        lot_nanos=nanos,
        lot_basis_cents=basis,
        lot_acquired_day=day,
        lot_is_long=_flags("lot_is_long", accounts.lot_is_long, nanos.size),
        lot_is_blocked=_flags("lot_is_blocked", accounts.lot_is_blocked, nanos.size),
        lot_wait=_flags("lot_wait", accounts.lot_wait, nanos.size),
        rule=accounts.rule,
    )


def _pointers(name: str, values: IntArray, rows: int, total: int) -> IntArray:
    pointers = ints(name, values, 1)
    require(name, pointers.shape == (rows + 1,), f"must have shape ({rows + 1},)")
    require(name, pointers[0] == 0 and pointers[-1] == total, f"must run from 0 to {total}")
    require(name, bool((np.diff(pointers) >= 0).all()), "must not fall")
    return pointers


def _flags(name: str, values: BoolArray, size: int) -> BoolArray:
    flags = np.asarray(values)
    require(name, flags.dtype == np.bool_ and flags.shape == (size,), f"must be {size} booleans")
    return np.ascontiguousarray(flags)


def _rows_of(name: str, values: Any, dtype: Any, count: int, names: int) -> NDArray[Any]:
    """Return values as one row for all accounts or a row each."""
    array = np.asarray(values)
    if array.ndim == 1:
        array = array.reshape(1, -1)
    fits = array.shape in {(1, names), (count, names)}
    require(name, fits, f"must be ({names},) or ({count}, {names})")
    if dtype is not np.float64:
        require(name, array.dtype.kind in "iu", "must be integers")
    return np.ascontiguousarray(array, dtype=dtype)


def _optional(name: str, values: Any, dtype: Any, count: int, names: int) -> NDArray[Any]:
    if values is None:
        return np.zeros((1, 0), dtype=dtype)
    rows = _rows_of(name, values, dtype, count, names)
    require(name, bool(np.isfinite(rows).all()), "must be finite")
    return rows


def _benchmark(values: FloatArray, count: int, names: int) -> FloatArray:
    rows = _rows_of("benchmark", values, np.float64, count, names)
    require("benchmark", bool((np.isfinite(rows) & (rows >= 0)).all()), "must not be negative")
    sums = bool((np.abs(rows.sum(axis=1) - 1.0) < 1e-6).all())  # noqa: PLR2004 - a ppm
    require("benchmark", sums, "must sum to 1")
    return rows


def _checked_rows(rows: Rows | None, count: int, names: int) -> Rows:
    if rows is None:
        none = np.zeros((1, 0))
        return Rows(np.zeros((0, names)), none, none, np.zeros(0))
    weight = np.ascontiguousarray(rows.weight, dtype=np.float64)
    number = weight.shape[0]
    require("rows.weight", weight.shape == (number, names), f"must have {names} columns")
    require("rows.weight", bool(np.isfinite(weight).all()), "must be finite")
    low = _rows_of("rows.low", rows.low, np.float64, count, number)
    high = _rows_of("rows.high", rows.high, np.float64, count, number)
    require("rows.low", not np.isnan(low).any() and bool((low < np.inf).all()), "must be a bound")
    require("rows.high", not np.isnan(high).any() and bool((high > -np.inf).all()), "is no bound")
    price = np.ascontiguousarray(rows.price, dtype=np.float64)
    require("rows.price", price.shape == (number,) and bool((price >= 0).all()), "is a price a row")
    return Rows(weight, low, high, price)
