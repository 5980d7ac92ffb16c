"""One account, plain numbers in and out: the optimizer for a first try.

`optimizer.solve` takes many accounts, every wish, and exact integers; this fills in the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio.border import ProblemError, finite
from robo.portfolio.optimizer import solve
from robo.portfolio.problem import (
    Accounts,
    FloatArray,
    IntArray,
    Market,
    Problem,
    Rule,
    Status,
    Taxes,
    TaxMode,
    Wants,
)

WHOLE_MAX: Final = 1e18
"""More units than anything has, and few enough for an int64."""


@dataclass(frozen=True, slots=True)
class Trades:
    """What one account should trade, name by name."""

    buy_cents: IntArray
    """Shape (N,)."""
    sell_shares: FloatArray
    """Shape (N,)."""
    lot_shares_sold: FloatArray
    """Shape (L,): which shares go, in the order of the lots given."""
    weight: FloatArray
    """Shape (N,): what is then held, fractions of the account."""
    objective: float
    bound: float
    """No allowed plan has a lower objective."""
    is_solved: bool


def rebalance(
    benchmark: ArrayLike,
    exposure: ArrayLike,
    specific_variance: ArrayLike,
    prices: ArrayLike,
    *,
    cash: float,
    lot_name: ArrayLike = (),
    lot_shares: ArrayLike = (),
    lot_basis: ArrayLike = (),
    lot_is_long: ArrayLike = (),
    never_buy: Sequence[int] = (),
    never_own: Sequence[int] = (),
    risk_aversion: float = 40.0,
    short_rate: float = 0.37,
    long_rate: float = 0.20,
    cost: float = 0.0005,
    active_max: float = 0.02,
    trade_min: float = 0.0,
) -> Trades:
    """Return what one account should trade; everything in dollars, shares and fractions.

    For trying things out; `solve` takes many accounts, every wish, and exact integers.

    Args:
        benchmark: The weights to track, shape (N,), summing to 1.
        exposure: X, shape (N, K), annual: the covariance is X X' + diag(d).
        specific_variance: d, shape (N,).
        prices: Dollars a share, shape (N,).
        cash: Dollars.
        lot_name: Which name each tax lot is of, shape (L,).
        lot_shares: Its shares.
        lot_basis: What it cost in all, dollars.
        lot_is_long: Whether it has the long-term rate.
        never_buy: Names that may not be bought (sold at a loss within 30 days).
        never_own: Names to be sold.
        risk_aversion: lambda of lambda/2 TE^2.
        short_rate: Tax on a dollar of short-term gain.
        long_rate: Tax on a dollar of long-term gain.
        cost: Of trading a dollar.
        active_max: Most that a name may differ from the benchmark.
        trade_min: Dollars that a trade must have, unless it closes a position.

    Raises:
        ProblemError: If a number is none, or too large.
        ValueError: If lots are described by arrays of different sizes, or a name is not one of
            the N; and as `solve`.
    """
    micros = _scaled("prices", prices, 1e6)
    names = micros.size
    _check_sizes(lot_name, lot_shares, lot_basis, lot_is_long)
    for what, given in (("lot_name", lot_name), ("never_buy", never_buy), ("never_own", never_own)):
        _check_names(what, given, names)
    rule = np.zeros((1, names), dtype=np.uint8)
    rule[0, list(never_buy)] |= np.uint8(Rule.NEVER_BUY)
    rule[0, list(never_own)] |= np.uint8(Rule.NEVER_OWN)
    name = np.asarray(lot_name, dtype=np.int64)

    def one(what: str, number: float, unit: float = 1.0) -> IntArray:
        return _scaled(what, [number], unit)

    order = np.argsort(name, kind="stable")
    held, lots = np.unique(name, return_counts=True)
    is_long = np.zeros(name.size, dtype=np.bool_)
    is_long[:] = lot_is_long if np.size(lot_is_long) else False
    no = np.zeros(name.size, dtype=np.bool_)
    accounts = Accounts(
        cash_cents=one("cash", cash, 100),
        holding_indptr=np.array([0, held.size]),
        holding_name=held,
        lot_indptr=np.concatenate([[0], np.cumsum(lots)]).astype(np.int64),
        lot_nanos=_scaled("lot_shares", lot_shares, 1e9)[order],
        lot_basis_cents=_scaled("lot_basis", lot_basis, 1e2)[order],
        lot_acquired_day=np.arange(name.size)[order],
        lot_is_long=is_long[order],
        lot_is_blocked=no,
        lot_wait=no,
        rule=rule,
    )

    taxes = Taxes(
        short_rate_ppm=one("short_rate", short_rate, 1e6),
        long_rate_ppm=one("long_rate", long_rate, 1e6),
        ordinary_rate_ppm=one("ordinary_rate_ppm", 0),
        mode=one("mode", TaxMode.HARVEST),
        year_short_cents=one("year_short_cents", 0),
        year_long_cents=one("year_long_cents", 0),
        ordinary_limit_cents=one("ordinary_limit_cents", 0),
        carry_ppm=one("carry_ppm", 0),
        gain_budget_cents=one("gain_budget_cents", -1),
        recapture_ppm=one("recapture_ppm", 0),
        netting=np.zeros(1, dtype=np.bool_),
    )
    wants = Wants(
        benchmark=np.asarray(benchmark, dtype=np.float64),
        risk_aversion=np.array([risk_aversion]),
        cash_ppm=one("cash_ppm", 0),
        cash_price_ppm=one("cash_price_ppm", 10_000),
        active_max_ppm=one("active_max", active_max, 1e6),
        trade_min_cents=one("trade_min", trade_min, 100),
    )
    market = Market(
        exposure=np.asarray(exposure, dtype=np.float64),
        specific_variance=np.asarray(specific_variance, dtype=np.float64),
        price_micros=micros,
        cost_ppm=np.repeat(one("cost", cost, 1e6), names),
    )
    solution = solve(Problem(market, accounts, taxes, wants))
    buy, sell = np.zeros(names, dtype=np.int64), np.zeros(names)
    buy[solution.trade_name] = solution.buy_cents
    sell[solution.trade_name] = solution.sell_nanos * 1e-9
    lot_shares_sold = np.empty(name.size)
    lot_shares_sold[order] = solution.lot_sold_nanos * 1e-9
    return Trades(
        buy_cents=buy,
        sell_shares=sell,
        lot_shares_sold=lot_shares_sold,
        weight=solution.holding[0],
        objective=float(solution.objective[0]),
        bound=float(solution.bound[0]),
        is_solved=bool(solution.status[0] == Status.SOLVED),
    )


def _scaled(what: str, values: ArrayLike, unit: float) -> IntArray:
    """Return dollars, shares or fractions as whole units; what is no such number is refused."""
    given, most = finite(what, values), WHOLE_MAX / unit
    if given.ndim != 1 or (np.abs(given) > most).any():
        message = f"{what} must be a row of numbers up to {most:g}"
        raise ProblemError(message, fields={what: [message]})
    return np.round(given * unit).astype(np.int64)


def _check_sizes(
    lot_name: ArrayLike, lot_shares: ArrayLike, lot_basis: ArrayLike, lot_is_long: ArrayLike
) -> None:
    sizes = {np.size(lot_name), np.size(lot_shares), np.size(lot_basis)}
    if np.size(lot_is_long):
        sizes.add(np.size(lot_is_long))
    if len(sizes) > 1:
        message = "lot_name, lot_shares, lot_basis and lot_is_long must be of one size"
        raise ValueError(message)


def _check_names(what: str, given: ArrayLike, names: int) -> None:
    places = np.asarray(given)
    whole = not places.size or np.issubdtype(places.dtype, np.integer)
    if not whole or (places < 0).any() or (places >= names).any():
        message = f"{what} must be whole numbers from 0 to {names - 1}"
        raise ValueError(message)
