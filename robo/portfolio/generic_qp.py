"""The same plan by a generic solver: an independent check of an account whose directions are known.

Once each name's direction is chosen (bought, sold or neither), what is left is a convex quadratic
programme, which PIQP solves without sharing a line with the kernel. It is the cross-check of
every kind of account in the tests, and hundreds of times slower. It covers boxes, rows, turnover,
the gain budget of those who do not seek gains, and the cash band; not netting, the TE cap and
selling to buy back. Fixed costs and minimum trades are not counted. Notation as in `problem`.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import piqp

from robo.portfolio import positions as positions_of
from robo.portfolio.plans import gain_room
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import HARD, FloatArray, IntArray, Problem, Rule

_ACCURACY: Final = 1e-11
_FREE: Final = 1e30


@dataclass(slots=True)
class _Programme:
    """min x'Px/2 + c'x within low <= A x <= high, an equality, and 0 <= x <= most."""

    curve: FloatArray
    linear: FloatArray
    most: FloatArray
    equal: tuple[FloatArray, float]
    rows: list[FloatArray] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def keep(self, row: FloatArray, low: float, high: float) -> None:
        """Add a row."""
        self.rows.append(row)
        self.low.append(max(low, -_FREE))
        self.high.append(min(high, _FREE))

    def least(self) -> float:
        """Return the least value, or infinity where the rows cannot be met."""
        solver: Any = piqp.DenseSolver()
        for name in ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"):
            setattr(solver.settings, name, _ACCURACY)
        solver.setup(
            self.curve,
            self.linear,
            self.equal[0][None, :],
            np.array([self.equal[1]]),
            np.array(self.rows),
            np.array(self.low),
            np.array(self.high),
            np.zeros(self.linear.size),
            self.most,
        )
        if solver.solve() != piqp.PIQP_SOLVED:
            return float("inf")
        x = np.asarray(solver.result.x, dtype=np.float64)
        return float(0.5 * x @ self.curve @ x + self.linear @ x)


def least_cost(problem: Problem, account: int, direction: IntArray) -> float:
    """Return the least cost of one account with the directions given, fixed costs aside.

    Args:
        problem: The question.
        account: Which account.
        direction: Shape (N,): 1 for names that may be bought, -1 for sold, 0 for neither.

    Returns:
        The cost, fraction of the account; infinity where the wishes cannot be met so.
    """
    positions, market = positions_of.read(problem), problem.market
    mine = (positions.lot_account == account) & positions.lot_sellable
    mine &= direction[positions.lot_name] < 0
    name = positions.lot_name[mine]
    names, traded = direction.size, direction.size + name.size
    rows = problem.wants.rows
    size = traded + 2 + (0 if rows is None else rows.price.size)
    move = np.zeros((names, size))
    move[np.arange(names), np.arange(names)] = 1.0
    move[name, np.arange(names, traded)] = -1.0
    cost = np.concatenate([market.cost_ppm, market.cost_ppm[name]]) * PPM
    covariance = market.exposure @ market.exposure.T + np.diag(market.specific_variance)
    covariance = float(problem.wants.risk_aversion[account]) * covariance
    start = positions.held[account] - positions.benchmark[account]
    alpha = _row(problem.wants.alpha, positions, account, 0.0)
    linear = move.T @ (covariance @ start - alpha)
    linear[:traded] += cost
    linear[names:traded] += positions_of.lot_taxes(problem, positions)[mine]
    linear[traded : traded + 2] = float(problem.wants.cash_price_ppm[account]) * PPM
    spend = np.zeros(size)
    spend[:names] = -1.0 - cost[:names]
    spend[names:traded] = 1.0 - cost[names:]
    balance = spend.copy()
    balance[traded : traded + 2] = -1.0, 1.0
    cash = float(positions.cash[account])
    most = np.full(size, 10.0)
    most[:names] = direction > 0
    most[names:traded] = positions.lot_value[mine]
    target = float(problem.wants.cash_ppm[account]) * PPM
    asked = _Programme(move.T @ covariance @ move, linear, most, equal=(balance, target - cash))
    asked.keep(spend, -cash, _FREE)
    _keep_boxes(asked, problem, positions, account, move)
    _keep_caps(asked, problem, positions, account, mine)
    _keep_rows(asked, problem, positions, account, move)
    fixed = 0.5 * start @ covariance @ start - alpha @ positions.held[account]
    return asked.least() + float(fixed)


def _row(values: Any, positions: Positions, account: int, none: float) -> FloatArray:
    """Return an account's row of what is (N,), (A, N) or missing."""
    every = np.broadcast_to(none if values is None else values, positions.held.shape)
    return np.asarray(every[account], dtype=np.float64)


def _keep_boxes(
    asked: _Programme, problem: Problem, positions: Positions, account: int, move: FloatArray
) -> None:
    """Keep each name within its bounds, its rule, and the active cap where that can be."""
    wants, held = problem.wants, positions.held[account]
    low, high = (edge[account].copy() for edge in positions_of.active_bounds(problem, positions))
    if wants.lower_ppm is not None:
        low = np.maximum(low, _row(wants.lower_ppm, positions, account, 0.0) * PPM)
    if wants.upper_ppm is not None:
        high = np.minimum(high, _row(wants.upper_ppm, positions, account, 0.0) * PPM)
    high[positions.has(Rule.NEVER_OWN)[account]] = 0.0
    asked.most[: held.size] *= ~positions.has(Rule.NEVER_BUY)[account]
    for i in range(held.size):
        asked.keep(move[i], low[i] - held[i], high[i] - held[i])


def _keep_caps(
    asked: _Programme, problem: Problem, positions: Positions, account: int, mine: Any
) -> None:
    """Keep the turnover cap and the gain budget."""
    names, traded = positions.held.shape[1], positions.held.shape[1] + int(mine.sum())
    size = asked.linear.size
    if problem.wants.turnover_max_ppm is not None:
        turned = (np.arange(size) < traded).astype(np.float64)
        asked.keep(turned, -_FREE, float(problem.wants.turnover_max_ppm[account]) * PPM)
    gain = np.zeros(size)
    gain[names:traded] = np.where(positions.lot_forced[mine], 0.0, positions.lot_gain[mine])
    asked.keep(gain, -_FREE, float(gain_room(problem, positions)[account]))


def _keep_rows(
    asked: _Programme, problem: Problem, positions: Positions, account: int, move: FloatArray
) -> None:
    """Keep the rows: each has a variable for what it is over or under, priced or none."""
    rows = problem.wants.rows
    if rows is None:
        return
    count, size = rows.price.size, asked.linear.size
    for r in range(count):
        base = float(rows.weight[r] @ positions.held[account])
        shape = (positions.held.shape[0], count)
        low = float(np.broadcast_to(rows.low, shape)[account, r]) - base
        high = float(np.broadcast_to(rows.high, shape)[account, r]) - base
        excess = np.zeros(size)
        excess[size - count + r] = 1.0
        line = rows.weight[r] @ move
        asked.keep(line + excess, low, _FREE)
        asked.keep(line - excess, -_FREE, high)
        is_soft = rows.price[r] < HARD
        asked.linear[size - count + r] = rows.price[r] if is_soft else 0.0
        asked.most[size - count + r] = 10.0 if is_soft else 0.0
