"""What each account should trade: tax lot by tax lot, tax-aware, with a certificate.

The mathematics is in docs/optimizer.md, in the notation of `problem`. In short: accounts share
X, so each account's problem collapses to a dual in as many prices as there are factors, rows
and caps; every name answers those prices by itself, exactly, also where its cost is not convex.
Any prices give a lower bound on every allowed plan; the best plan found is measured against it.
"""

from typing import Final

import numpy as np

from robo.portfolio import dual_kernels as dual
from robo.portfolio import fallback, lost_wishes
from robo.portfolio.border import ProblemError, finite
from robo.portfolio.landing import land
from robo.portfolio.packing import Packed, pack
from robo.portfolio.problem import Duals, FloatArray, Problem, Solution

EXACT_NAMES: Final = 150
"""Up to so many names the search goes on until the plan is proved the best there is."""
PRICE_FAR: Final = 1e12
"""No price of an earlier day says anything beyond this."""
KNOBS: Final = {
    dual.SOFTNESS: 0.1,
    dual.ROUNDS: 3,
    dual.STEPS: 40,
    dual.PROMISE: 1e-8,
    dual.GRADIENT: 1e-4,
    dual.REGRET: 2e-6,
    dual.LAST_PROMISE: 1e-11,
    dual.NODES: 30,
    dual.GAP: 4e-4,
    dual.GAP_ABSOLUTE: 1e-9,
    dual.CASH_ASTRAY: 1e-7,
}
"""How hard the kernel tries; see `dual_kernels` for what each says. A gap of 4e-4 of the
objective leaves room below the 1e-3 that is promised."""
EXACT: Final = {
    dual.PROMISE: 1e-9,
    dual.REGRET: 1e-7,
    dual.LAST_PROMISE: 1e-12,
    dual.NODES: 20_000,
    dual.GAP: 1e-7,
    dual.GAP_ABSOLUTE: 1e-10,
    dual.CASH_ASTRAY: 1e-10,
}
"""What differs for few names."""


def solve(problem: Problem, warm: Duals | None = None) -> Solution:
    """Return what each account should trade, and a bound that no allowed plan beats.

    The same problem gives the same bytes, whatever else runs and however accounts are batched.

    Args:
        problem: Accounts that share a market; see `problem` for shapes and units.
        warm: The duals of an earlier day of the same accounts, in the same order.

    Raises:
        ProblemError: If an argument is malformed; a `ValueError`, its message names the argument.
    """
    packed = pack(problem)
    accounts = packed.accounts
    count, names = accounts.cash_cents.size, packed.d.size
    start = np.zeros((0, packed.prices)) if warm is None else _checked_warm(packed, warm)
    h, lot_sold = np.zeros((count, names)), np.zeros(accounts.lot_nanos.size)
    objective, bound = np.zeros(count), np.zeros(count)
    status = np.zeros(count, dtype=np.int64)
    duals, stats = np.zeros((count, packed.prices)), np.zeros((count, dual.STATS))
    dual.solve_rows(
        packed.z,
        packed.d,
        packed.inverse_d,
        packed.unit,
        packed.kappa,
        packed.whole,
        packed.dims,
        accounts.cash_cents,
        accounts.holding_indptr,
        accounts.holding_name,
        accounts.lot_indptr,
        accounts.lot_nanos,
        accounts.lot_basis_cents,
        accounts.lot_acquired_day,
        accounts.lot_is_long,
        accounts.lot_is_blocked,
        accounts.lot_wait,
        packed.rule,
        packed.benchmark,
        packed.alpha,
        packed.lower,
        packed.upper,
        packed.row_low,
        packed.row_high,
        packed.row_price,
        packed.columns,
        start,
        _knobs(packed),
        h,
        lot_sold,
        objective,
        bound,
        status,
        duals,
        stats,
    )
    none = np.zeros(0, dtype=np.int64)
    planned = Solution(
        trade_indptr=none,
        trade_name=none,
        buy_cents=none,
        sell_nanos=none,
        lot_sold_nanos=none,
        objective=objective,
        bound=bound,
        status=status,
        duals=Duals(duals),
        holding=h,
        lot_sold=lot_sold,
    )
    left = np.flatnonzero(stats[:, dual.STAT_FAILED] == dual.GAVE_UP)
    if left.size:
        fallback.write(packed.problem, planned, left)
    return _landed(packed, planned, int(stats[:, dual.STAT_TRADES].sum()) + left.size * names)


def _landed(packed: Packed, planned: Solution, most: int) -> Solution:
    """Return the solution with its trades; whoever missed a wish by landing is undecided."""
    landing = land(packed, planned.holding, planned.lot_sold, planned.status, most)
    solution = landing.written(planned)
    missed = landing.lost
    if missed.size:
        missed = lost_wishes.find(packed.problem, solution, missed)
    if not missed.size:
        return solution
    lost_wishes.undo(packed.problem, planned, missed)
    return land(packed, planned.holding, planned.lot_sold, planned.status, most).written(planned)


def _knobs(packed: Packed) -> FloatArray:
    """Return the kernel's settings for a market."""
    names = packed.d.size
    chosen = (KNOBS | EXACT if names <= EXACT_NAMES else KNOBS) | {
        dual.VARIANCE_MAX: packed.variance_max
    }
    return np.array([chosen[at] for at in range(dual.KNOBS)], dtype=np.float64)


def _checked_warm(packed: Packed, warm: Duals) -> FloatArray:
    """Return the starting prices; duals of another shape of problem are refused.

    Whether a batch has prices of what is done depends on what its accounts ask for today: where
    yesterday had none they start at nothing, and where today has none they are left out.
    """
    value = finite("warm", warm.value)
    count, width = packed.accounts.cash_cents.size, packed.z.shape[1]
    fits = value.ndim == 2 and value.shape[0] == count  # noqa: PLR2004 - accounts, prices
    if not fits or value.shape[1] not in {width, width + dual.DYNAMIC}:
        message = f"warm must have shape {(count, packed.prices)}, not {value.shape}"
        raise ProblemError(message, fields={"warm": [message]})
    start = np.zeros((count, packed.prices))
    kept = min(value.shape[1], packed.prices)
    start[:, :kept] = np.clip(value[:, :kept], -PRICE_FAR, PRICE_FAR)
    return start
