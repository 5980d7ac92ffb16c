"""What a plan costs and which wishes it breaks, reckoned apart from whoever made the plan.

Plain NumPy in float64 on the problem and a plan; no compiled code, no solver, no status is
believed. Amounts are fractions of an account's value V (notation: `problem`). The objective is

    lambda/2 TE^2 + tax + kappa (b + s) + pi |c - c*| + row prices + theta, phi counts - alpha'h

and every term is shown before (no trade) and after. Where short and long gains net, with
A and B the year's net short and long gain and n = A + B, the year's tax is

    n >= 0: rS A + rL B if both >= 0; rS n if B < 0; rL n if A < 0
    n < 0:  -rO min(-n, limit) - min(carry rL, rO) max(-n - limit, 0)

and the plan's tax is its change. Losses that are carried count at the long-term rate. A
customer who seeks gains earns what a higher basis saves later, and pays the long-term rate for
gains beyond the budget.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio import breaches
from robo.portfolio import positions as positions_of
from robo.portfolio.breaches import Breach, Violation, landing
from robo.portfolio.plans import (
    ZERO,
    Outcome,
    Plan,
    chosen_gain,
    continuous,
    gain_room,
    landed,
    outcome,
    row_excess,
)
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import HARD, FloatArray, IntArray, Problem, Solution, TaxMode

__all__ = [
    "TOLERANCE",
    "Breach",
    "Evaluation",
    "Plan",
    "Terms",
    "Violation",
    "cent_tolerance",
    "continuous",
    "evaluate",
    "landed",
    "landing",
]

TOLERANCE: Final = 1e-9
"""A violation is more than this, as a fraction of the account (row violations: row units)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The objective term by term, each of shape (A,), fractions of the account."""

    risk: FloatArray
    """lambda/2 TE^2."""
    tax: FloatArray
    cost: FloatArray
    cash: FloatArray
    """pi |c - c*|."""
    rows: FloatArray
    """What priced rows charge."""
    alpha: FloatArray
    """-alpha'h: an expected gain is negative."""
    trades: FloatArray
    """theta for each purchase and each sale."""
    lines: FloatArray
    """phi for each name newly held."""

    @property
    def total(self) -> FloatArray:
        """The objective."""
        parts = (self.tax, self.cost, self.cash, self.rows, self.alpha, self.trades, self.lines)
        return np.asarray(self.risk + sum(parts))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a plan does to each account."""

    before: Terms
    """Of doing nothing."""
    after: Terms
    tracking_error_before: FloatArray
    """Annual, shape (A,)."""
    tracking_error: FloatArray
    turnover: FloatArray
    """Bought and sold, shape (A,)."""
    cash: FloatArray
    """c after the plan, shape (A,)."""
    net_gain: FloatArray
    """Realised by the plan, gains less losses, shape (A,)."""
    violations: tuple[Violation, ...]
    """By breach, account and place; empty for a plan that keeps every rule and hard wish."""

    @property
    def objective(self) -> FloatArray:
        """What the plan costs, shape (A,)."""
        return self.after.total


def evaluate(problem: Problem, plan: Plan, tolerance: ArrayLike = TOLERANCE) -> Evaluation:
    """Return what a plan costs, term by term, and everything it breaks.

    Args:
        problem: The question; accounts worth nothing cost nothing.
        plan: Buys (A, N) and sales by lot (L,), fractions; `continuous` and `landed` make them.
        tolerance: Violations up to this size, a number or (A,), are not reported.

    Raises:
        ValueError: If the plan's arrays do not fit the problem.
    """
    where = positions_of.read(problem)
    if plan.bought.shape != where.held.shape or plan.lot_sold.shape != where.lot_value.shape:
        message = "plan: needs buys (A, N) and sales (L,) of this problem"
        raise ValueError(message)
    idle = Plan(np.zeros_like(where.held), np.zeros_like(where.lot_value))
    nothing, done = outcome(problem, where, idle), outcome(problem, where, plan)
    return Evaluation(
        before=_terms(problem, where, nothing),
        after=_terms(problem, where, done),
        tracking_error_before=nothing.tracking_error,
        tracking_error=done.tracking_error,
        turnover=(done.bought + done.sold).sum(axis=1),
        cash=done.cash,
        net_gain=where.per_account(where.lot_gain * plan.lot_sold),
        violations=tuple(breaches.find(problem, where, done, tolerance)),
    )


def cent_tolerance(problem: Problem, solution: Solution) -> FloatArray:
    """Return what rounding to cents and nanoshares may move in all, fractions, shape (A,).

    One cent a trade and two for the cash, for `evaluate` of what `landed`.
    """
    value = positions_of.read(problem).value_cents
    cents = np.diff(solution.trade_indptr) + 2
    return np.asarray(np.maximum(cents / np.where(value > 0, value, 1.0), TOLERANCE))


def _terms(problem: Problem, where: Positions, state: Outcome) -> Terms:
    wants = problem.wants
    worth = where.value_cents > 0
    traded = (state.bought > ZERO).astype(np.float64) + (state.sold > ZERO)
    new = (where.held <= 0) & (state.holding > ZERO)
    alpha = np.zeros(worth.size)
    if wants.alpha is not None:
        alpha = -(np.broadcast_to(wants.alpha, state.holding.shape) * state.holding).sum(axis=1)

    def per_count(price_ppm: IntArray | None, names: FloatArray) -> FloatArray:
        return np.zeros(worth.size) if price_ppm is None else price_ppm * PPM * names.sum(axis=1)

    kappa = problem.market.cost_ppm * PPM
    idle = np.abs(state.cash - wants.cash_ppm * PPM)
    parts = (
        wants.risk_aversion / 2 * state.tracking_error**2,
        _tax(problem, where, state.lot_sold),
        (state.bought + state.sold) @ kappa,
        wants.cash_price_ppm * PPM * idle,
        _row_charge(problem, state),
        alpha,
        per_count(wants.trade_cost_ppm, traded),
        per_count(wants.new_line_ppm, new.astype(np.float64)),
    )
    return Terms(*(np.where(worth, part, 0.0) for part in parts))


def year_tax(problem: Problem, short: FloatArray, long: FloatArray) -> FloatArray:
    """Return the year's tax on net short and net long gains, fractions of the account, (A,)."""
    taxes = problem.taxes
    value = positions_of.read(problem).value_cents
    limit = taxes.ordinary_limit_cents / np.where(value > 0, value, 1.0)
    short_rate, long_rate = taxes.short_rate_ppm * PPM, taxes.long_rate_ppm * PPM
    net = short + long
    rate = np.where(long < 0, short_rate, long_rate)
    both = short_rate * short + long_rate * long
    owed = np.where((short >= 0) & (long >= 0), both, rate * net)
    now = np.minimum(-net, limit)
    ordinary = taxes.ordinary_rate_ppm * PPM
    later = np.minimum(taxes.carry_ppm * PPM * long_rate, ordinary)
    saved = ordinary * now + later * np.maximum(-net - limit, 0.0)
    return np.where(net >= 0, owed, -saved)


def _tax(problem: Problem, where: Positions, lot_sold: FloatArray) -> FloatArray:
    """Return the tax of a plan by account: nets where the account nets, else lot by lot."""
    taxes = problem.taxes
    plain = where.per_account(positions_of.lot_taxes(problem, where) * lot_sold)
    seeks = taxes.mode == TaxMode.REALISE
    over = np.maximum(chosen_gain(where, lot_sold) - gain_room(problem, where), 0.0)
    price = taxes.long_rate_ppm * PPM * (1 + taxes.recapture_ppm * PPM)
    plain += np.where(seeks & (over > 0), price * over, 0.0)
    nets = taxes.netting & (taxes.mode == TaxMode.HARVEST)
    if not nets.any():
        return plain
    unit = np.where(where.value_cents > 0, where.value_cents, 1.0)
    gain = where.lot_gain * lot_sold
    is_long = problem.accounts.lot_is_long
    short0, long0 = taxes.year_short_cents / unit, taxes.year_long_cents / unit
    short = short0 + where.per_account(np.where(is_long, 0.0, gain))
    long = long0 + where.per_account(np.where(is_long, gain, 0.0))
    owner = where.lot_account
    back = taxes.recapture_ppm[owner] * PPM * taxes.long_rate_ppm[owner] * PPM
    extra = positions_of.lot_wait(problem, where) * lot_sold + back * np.maximum(-gain, 0.0)
    change = year_tax(problem, short, long) - year_tax(problem, short0, long0)
    return np.where(nets, change + where.per_account(extra), plain)


def _row_charge(problem: Problem, state: Outcome) -> FloatArray:
    rows = problem.wants.rows
    if rows is None:
        return np.zeros(state.cash.size)
    price = np.where(rows.price == HARD, 0.0, rows.price)
    return np.asarray(row_excess(problem, state) @ price)
