"""A problem as the optimizer reads it: exact types, shapes and ranges, or a `ProblemError`.

Data from outside is hostile. What is not an array of the right kind is refused, never rounded,
wrapped or cut: a float is no mode and 256 is no rule. Every number has a range, wide of what any
account or market has, within which the kernel's sums and integers are safe and its search ends.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robo.core.errors import InvalidInputError
from robo.portfolio.checks import ints
from robo.portfolio.problem import (
    HARD,
    Accounts,
    FloatArray,
    IntArray,
    Market,
    Problem,
    Rows,
    Rule,
    Taxes,
    TaxMode,
    Wants,
)

CENTS_MAX: Final = 10**15
"""$10 trillion: more than anybody has."""
NANOS_MAX: Final = 10**18
"""A thousand million shares of one name."""
PRICE_MAX: Final = 10**12
"""A million dollars a share."""
WHOLE: Final = 10**6
"""All of it, in parts per million."""
LEVEL_MAX: Final = 10**9
"""A thousand times all of it: no bound, no price is further out."""
NUMBER_MAX: Final = 1e6
"""Weights, scores and prices of rows, and alpha."""
RISK_AVERSION: Final = (1e-6, 1e9)
EXPOSURE_MAX: Final = 1e2
SPECIFIC_VARIANCE: Final = (1e-8, 1e4)
"""Annual: volatilities from a basis point to a hundred times the price."""
SUM_ERROR_MAX: Final = 1e-6
"""By how much a benchmark's weights may miss 1."""
_CENTS_A_NANO_MICRO: Final = 1e-13


class ProblemError(InvalidInputError, ValueError):
    """The problem is malformed; `fields` says which argument, and how."""

    code = "malformed_problem"


def checked(problem: Problem) -> Problem:
    """Return the problem with contiguous arrays of the exact types; numbers are unchanged.

    Raises:
        ProblemError: If an argument has the wrong type, shape or range; the message names it.
    """
    for part, kind in (
        (problem.market, Market),
        (problem.accounts, Accounts),
        (problem.taxes, Taxes),
        (problem.wants, Wants),
    ):
        _require(kind.__name__.lower(), isinstance(part, kind), f"must be {kind.__name__}")
    market = _market(problem.market)
    names = market.price_micros.size
    accounts = _accounts(problem.accounts, market.price_micros)
    count = accounts.cash_cents.size
    return Problem(
        market=market,
        accounts=accounts,
        taxes=_taxes(problem.taxes, count),
        wants=_wants(problem.wants, count, names),
    )


def finite(name: str, values: Any, shape: tuple[int, ...] | None = None) -> FloatArray:
    """Return values as contiguous float64, finite, of a shape if one is given.

    Raises:
        ProblemError: If they are something else.
    """
    array = _floats(name, values)
    if shape is not None:
        _require(name, array.shape == shape, f"must have shape {shape}, not {array.shape}")
    _require(name, bool(np.isfinite(array).all()), "must be finite")
    return array


def _market(market: Market) -> Market:
    price = _ints("price_micros", market.price_micros)
    _require("price_micros", price.ndim == 1 and price.size > 0, "must have at least one name")
    _within("price_micros", price, 1, PRICE_MAX)
    names = price.size
    cost = _ints("cost_ppm", market.cost_ppm, (names,))
    _within("cost_ppm", cost, 0, WHOLE - 1)
    exposure = finite("exposure", market.exposure)
    fits = exposure.ndim == 2 and exposure.shape[0] == names  # noqa: PLR2004 - rows, columns
    _require("exposure", fits, f"must have {names} rows, not shape {exposure.shape}")
    _within("exposure", exposure, -EXPOSURE_MAX, EXPOSURE_MAX)
    specific = finite("specific_variance", market.specific_variance, (names,))
    _within("specific_variance", specific, *SPECIFIC_VARIANCE)
    return Market(exposure, specific, price, cost)


def _accounts(accounts: Accounts, price: IntArray) -> Accounts:
    cash = _ints("cash_cents", accounts.cash_cents)
    _require("cash_cents", cash.ndim == 1, "must have one dimension")
    _within("cash_cents", cash, 0, CENTS_MAX)
    name = _ints("holding_name", accounts.holding_name)
    _require("holding_name", name.ndim == 1, "must have one dimension")
    _within("holding_name", name, 0, price.size - 1)
    holding = _pointers("holding_indptr", accounts.holding_indptr, cash.size, name.size)
    starts = np.zeros(name.size + 1, dtype=np.bool_)
    starts[holding] = True
    rises = (np.diff(name) > 0) | starts[1:-1] if name.size else starts[:0]
    _require("holding_name", bool(rises.all()), "must rise within an account")
    nanos = _ints("lot_nanos", accounts.lot_nanos)
    _require("lot_nanos", nanos.ndim == 1, "must have one dimension")
    _within("lot_nanos", nanos, 1, NANOS_MAX)
    lot = _pointers("lot_indptr", accounts.lot_indptr, name.size, nanos.size)
    _check_sums(cash, holding, name, lot, nanos, price)
    basis = _ints("lot_basis_cents", accounts.lot_basis_cents, nanos.shape)
    _within("lot_basis_cents", basis, 0, CENTS_MAX)
    rule = _rows_of("rule", _array("rule", accounts.rule, np.asarray), cash.size, price.size)
    _require("rule", rule.dtype.kind in "iu", f"must be integers, not {rule.dtype}")
    most = int(Rule.NEVER_TRADE | Rule.NEVER_SELL_AT_LOSS | Rule.NEVER_OWN)
    _within("rule", rule, 0, most)
    return Accounts(
        cash_cents=cash,
        holding_indptr=holding,
        holding_name=name,
        lot_indptr=lot,
        lot_nanos=nanos,
        lot_basis_cents=basis,
        lot_acquired_day=_ints("lot_acquired_day", accounts.lot_acquired_day, nanos.shape),
        lot_is_long=_flags("lot_is_long", accounts.lot_is_long, nanos.size),
        lot_is_blocked=_flags("lot_is_blocked", accounts.lot_is_blocked, nanos.size),
        lot_wait=_flags("lot_wait", accounts.lot_wait, nanos.size),
        rule=np.ascontiguousarray(rule, dtype=np.uint8),
    )


def _check_sums(
    cash: IntArray,
    holding: IntArray,
    name: IntArray,
    lot: IntArray,
    nanos: IntArray,
    price: IntArray,
) -> None:
    """Refuse names of more shares and accounts of more cents than integers are safe for.

    In floats, because a sum of int64 would wrap before it could be compared; and first by the
    largest of everything, which is enough for any batch but a hostile one.
    """
    most_lots = int(np.diff(lot[holding]).max(initial=0))
    most = float(nanos.max(initial=0)) * most_lots
    worth = most * float(price.max()) * _CENTS_A_NANO_MICRO + float(cash.max(initial=0))
    if most <= NANOS_MAX and worth <= CENTS_MAX:
        return
    shares = np.bincount(np.repeat(np.arange(name.size), np.diff(lot)), nanos, name.size)
    is_few = bool((shares <= NANOS_MAX).all())
    _require("lot_nanos", is_few, f"of a name must be {NANOS_MAX} at most")
    owner = np.repeat(np.arange(cash.size), np.diff(holding))
    cents = np.bincount(owner, shares * price[name] * _CENTS_A_NANO_MICRO, cash.size) + cash
    is_safe = bool((cents <= CENTS_MAX).all())
    _require("accounts", is_safe, f"must be worth {CENTS_MAX} cents at most")


_SIGNED: Final = {"year_short_cents", "year_long_cents", "gain_budget_cents"}


def _taxes(taxes: Taxes, count: int) -> Taxes:
    found: dict[str, Any] = {}
    for name in Taxes.__dataclass_fields__:
        values = getattr(taxes, name)
        if name == "netting":
            found[name] = _flags(name, values, count)
            continue
        found[name] = _ints(name, values, (count,))
        most = CENTS_MAX if name.endswith("_cents") else WHOLE
        _within(name, found[name], -most if name in _SIGNED else 0, most)
    is_mode = bool((found["mode"] <= max(TaxMode)).all())
    _require("mode", is_mode, f"must be a TaxMode, from 0 to {int(max(TaxMode))}")
    return Taxes(**found)


_PER_NAME: Final = ("upper_ppm", "lower_ppm")
_PER_ACCOUNT: Final = {
    "cash_ppm": (0, WHOLE),
    "cash_price_ppm": (0, LEVEL_MAX),
    "active_max_ppm": (0, LEVEL_MAX),
    "trade_min_cents": (0, CENTS_MAX),
    "trade_cost_ppm": (0, LEVEL_MAX),
    "new_line_ppm": (0, LEVEL_MAX),
    "turnover_max_ppm": (0, LEVEL_MAX),
    "tracking_error_max_ppm": (0, LEVEL_MAX),
}
_NEEDED: Final = {"cash_ppm", "cash_price_ppm", "active_max_ppm"}


def _wants(wants: Wants, count: int, names: int) -> Wants:
    found: dict[str, Any] = {}
    benchmark = _rows_of("benchmark", finite("benchmark", wants.benchmark), count, names)
    _require("benchmark", bool((benchmark >= 0).all()), "must not be negative")
    sums = np.abs(benchmark.sum(axis=1) - 1.0)
    _require("benchmark", bool((sums < SUM_ERROR_MAX).all()), "must sum to 1")
    found["benchmark"] = benchmark
    found["risk_aversion"] = finite("risk_aversion", wants.risk_aversion, (count,))
    _within("risk_aversion", found["risk_aversion"], *RISK_AVERSION)
    if wants.alpha is not None:
        found["alpha"] = _rows_of("alpha", finite("alpha", wants.alpha), count, names)
        _within("alpha", found["alpha"], -NUMBER_MAX, NUMBER_MAX)
    for name in _PER_NAME:
        values = getattr(wants, name)
        if values is not None:
            found[name] = _rows_of(name, _ints(name, values), count, names)
            _within(name, found[name], -LEVEL_MAX, LEVEL_MAX)
    for name, (low, high) in _PER_ACCOUNT.items():
        values = getattr(wants, name)
        if values is not None or name in _NEEDED:
            found[name] = _ints(name, values, (count,))
            _within(name, found[name], low, high)
    found["rows"] = None if wants.rows is None else _rows(wants.rows, count, names)
    return replace(wants, **found)


def _rows(rows: Rows, count: int, names: int) -> Rows:
    _require("rows", isinstance(rows, Rows), "must be Rows")
    weight = finite("rows.weight", rows.weight)
    fits = weight.ndim == 2 and weight.shape[1] == names  # noqa: PLR2004 - rows, columns
    _require("rows.weight", fits, f"must have {names} columns, not shape {weight.shape}")
    _within("rows.weight", weight, -NUMBER_MAX, NUMBER_MAX)
    number = weight.shape[0]
    edges = []
    for name, values, none in (("rows.low", rows.low, -np.inf), ("rows.high", rows.high, np.inf)):
        edge = _rows_of(name, _floats(name, values), count, number)
        bound = edge[edge != none]
        _require(name, bool(np.isfinite(bound).all()), f"must be finite, or {none} for no bound")
        _within(name, bound, -NUMBER_MAX, NUMBER_MAX)
        edges.append(edge)
    price = _floats("rows.price", rows.price)
    _require("rows.price", price.shape == (number,), f"must have shape ({number},)")
    _within("rows.price", price[price != HARD], 0, NUMBER_MAX)
    return Rows(weight, edges[0], edges[1], price)


def _require(name: str, holds: bool, problem: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        message = f"{name} {problem}"
        raise ProblemError(message, fields={name: [problem]})


def _within(name: str, values: NDArray[Any], low: float, high: float) -> None:
    """Refuse what is out of range, NaN too."""
    if values.size:
        is_within = bool(values.min() >= low and values.max() <= high)
        _require(name, is_within, f"must be from {low} to {high}")


def _array(name: str, values: Any, to_array: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    """Return values as an array; whatever NumPy cannot read is a problem of the argument."""
    _require(name, values is not None, "is missing")
    try:
        return to_array(values)
    except (ValueError, TypeError, OverflowError) as error:
        message = str(error)
        if not message.startswith(name):
            message = f"{name} must be an array of numbers: {message}"
        raise ProblemError(message, fields={name: [message]}) from error


def _ints(name: str, values: Any, shape: tuple[int, ...] | None = None) -> IntArray:
    array: IntArray = _array(name, values, lambda given: ints(name, given))
    if shape is not None:
        _require(name, array.shape == shape, f"must have shape {shape}, not {array.shape}")
    return array


def _floats(name: str, values: Any) -> FloatArray:
    array = _array(name, values, np.asarray)
    _require(name, array.dtype.kind in "iuf", f"must be real numbers, not {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float64)


def _flags(name: str, values: Any, size: int) -> NDArray[np.bool_]:
    flags = _array(name, values, np.asarray)
    fits = flags.shape == (size,) and (flags.dtype == np.bool_ or not size)
    _require(name, fits, f"must be {size} booleans")
    return np.ascontiguousarray(flags, dtype=np.bool_)


def _pointers(name: str, values: Any, rows: int, total: int) -> IntArray:
    pointers = _ints(name, values, (rows + 1,))
    _require(name, pointers[0] == 0 and pointers[-1] == total, f"must run from 0 to {total}")
    _require(name, bool((np.diff(pointers) >= 0).all()), "must not fall")
    return pointers


def _rows_of(name: str, array: NDArray[Any], count: int, names: int) -> NDArray[Any]:
    """Return values as one row for all accounts or a row each."""
    if array.ndim == 1:
        array = array.reshape(1, -1)
    fits = array.shape in {(1, names), (count, names)}
    _require(name, fits, f"must have shape ({names},) or ({count}, {names}), not {array.shape}")
    return array
