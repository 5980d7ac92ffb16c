"""Plans as fractions of the accounts, and where they leave each account.

A plan is what a solver proposes, or what its integer landing comes to; the evaluator and the
search for breaches read both the same way. Notation as in `problem`; plain NumPy.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from robo.portfolio import positions as positions_of
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import FloatArray, Problem, Solution

ZERO: Final = 1e-12
"""What is left of h - h0 when nothing was traded: rounding of a float64."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is bought of each name and sold of each lot, fractions of the account."""

    bought: FloatArray
    """b, shape (A, N)."""
    lot_sold: FloatArray
    """s, shape (L,)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a plan leaves the accounts."""

    bought: FloatArray
    sold: FloatArray
    """Shape (A, N)."""
    lot_sold: FloatArray
    holding: FloatArray
    trade: FloatArray
    cash: FloatArray
    tracking_error: FloatArray


def continuous(problem: Problem, solution: Solution) -> Plan:
    """Return a solution's plan before rounding."""
    where = positions_of.read(problem)
    sold = where.per_name(solution.lot_sold)
    bought = solution.holding - where.held + sold
    return Plan(np.where(np.abs(bought) < ZERO, 0.0, bought), solution.lot_sold)


def landed(problem: Problem, solution: Solution) -> Plan:
    """Return a solution's whole cents and nanoshares as fractions of the accounts."""
    where = positions_of.read(problem)
    unit = np.where(where.value_cents > 0, where.value_cents, 1.0)
    bought = np.zeros(where.held.shape)
    trader = np.repeat(np.arange(unit.size), np.diff(solution.trade_indptr))
    np.add.at(bought, (trader, solution.trade_name), solution.buy_cents / unit[trader])
    share = solution.lot_sold_nanos / problem.accounts.lot_nanos
    return Plan(bought, share * where.lot_value)


def outcome(problem: Problem, where: Positions, plan: Plan) -> Outcome:
    """Return where a plan leaves the accounts; nothing about it is checked."""
    market = problem.market
    bought, lot_sold = plan.bought, plan.lot_sold
    sold = where.per_name(lot_sold)
    trade = bought - sold
    holding = where.held + trade
    active = holding - where.benchmark
    kappa = market.cost_ppm * PPM
    variance = ((active @ market.exposure) ** 2).sum(axis=1)
    variance += (active**2) @ market.specific_variance
    cash = where.cash + sold @ (1 - kappa) - bought @ (1 + kappa)
    return Outcome(bought, sold, lot_sold, holding, trade, cash, np.sqrt(variance))


def chosen_gain(where: Positions, lot_sold: FloatArray) -> FloatArray:
    """Return the net gain of sales that no exclusion forces, shape (A,)."""
    gain = np.where(where.lot_forced, 0.0, where.lot_gain * lot_sold)
    return where.per_account(gain)


def gain_room(problem: Problem, where: Positions) -> FloatArray:
    """Return what the gain budget leaves after the year so far, infinite where there is none."""
    taxes = problem.taxes
    left = taxes.gain_budget_cents - taxes.year_short_cents - taxes.year_long_cents
    unit = np.where(where.value_cents > 0, where.value_cents, 1.0)
    return np.where(taxes.gain_budget_cents >= 0, np.maximum(left, 0) / unit, np.inf)


def row_excess(problem: Problem, state: Outcome) -> FloatArray:
    """Return by how much each row is out of its band, shape (A, R)."""
    rows = problem.wants.rows
    if rows is None:
        return np.zeros((state.cash.size, 0))
    level = state.holding @ rows.weight.T
    return np.maximum(np.maximum(rows.low - level, level - rows.high), 0.0)
