"""What the accounts of a problem hold and may do, in fractions of their value.

For the evaluator and for `conflicts`, and for nobody who solves: the point of both is that they
share no number with the solver but the problem itself. Notation as in `problem`; plain NumPy.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from robo.portfolio.problem import BoolArray, FloatArray, IntArray, Problem, Rule, TaxMode

PPM: Final = 1e-6
_CENTS_A_NANO_MICRO: Final = 1e-13
"""Nanoshares times micro-dollars are 1e-15 dollars, 1e-13 cents."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the accounts stand. An account worth nothing has zeros and a value of 0."""

    value_cents: FloatArray
    """V, shape (A,): cash and holdings at market, never rounded per holding."""
    cash: FloatArray
    """c0, shape (A,)."""
    held: FloatArray
    """h0, shape (A, N)."""
    lot_account: IntArray
    """Shape (L,)."""
    lot_name: IntArray
    """Shape (L,)."""
    lot_value: FloatArray
    """Shape (L,): a lot's worth, fraction of its account."""
    lot_gain: FloatArray
    """g = 1 - basis / worth, shape (L,): gain per dollar sold; negative is a loss."""
    lot_sellable: BoolArray
    """Shape (L,): no rule and no mask bars the sale."""
    lot_forced: BoolArray
    """Shape (L,): of a name that must go, so its gain is nobody's choice."""
    rule: IntArray
    """`Rule` bits, shape (A, N)."""
    benchmark: FloatArray
    """w, shape (A, N)."""

    def per_name(self, amount: FloatArray) -> FloatArray:
        """Return an amount per lot added up by account and name, shape (A, N)."""
        flat = self.lot_account * self.held.shape[1] + self.lot_name
        total = np.bincount(flat, amount, self.held.size).astype(np.float64)
        return total.reshape(self.held.shape)

    def per_account(self, amount: FloatArray) -> FloatArray:
        """Return an amount per lot added up by account, shape (A,)."""
        count = self.value_cents.size
        return np.bincount(self.lot_account, amount, count).astype(np.float64)

    def has(self, rule: Rule) -> BoolArray:
        """Return where any of the rule's bits is set, shape (A, N)."""
        return np.asarray((self.rule & int(rule)) != 0)


def read(problem: Problem) -> Positions:
    """Return where the accounts of a problem stand."""
    accounts, price = problem.accounts, problem.market.price_micros
    count, names = accounts.cash_cents.size, price.size
    holding = np.repeat(np.arange(accounts.holding_name.size), np.diff(accounts.lot_indptr))
    owner = np.repeat(np.arange(count), np.diff(accounts.holding_indptr))
    lot_account, lot_name = owner[holding], accounts.holding_name[holding]
    cents = accounts.lot_nanos * (price[lot_name] * _CENTS_A_NANO_MICRO)
    value = accounts.cash_cents + np.bincount(lot_account, cents, count)
    unit = np.where(value > 0, value, 1.0)
    gain = 1.0 - accounts.lot_basis_cents / cents
    rule = np.broadcast_to(accounts.rule, (count, names)).astype(np.int64)
    lot_rule = rule[lot_account, lot_name]
    barred = accounts.lot_is_blocked | (lot_rule & Rule.NEVER_SELL != 0)
    barred |= (lot_rule & Rule.NEVER_SELL_AT_LOSS != 0) & (gain < 0)
    worth = cents / unit[lot_account]
    held = np.bincount(lot_account * names + lot_name, worth, count * names)
    return Positions(
        value_cents=value.astype(np.float64),
        cash=accounts.cash_cents / unit,
        held=held.astype(np.float64).reshape(count, names),
        lot_account=lot_account,
        lot_name=lot_name,
        lot_value=worth,
        lot_gain=gain,
        lot_sellable=~barred,
        lot_forced=lot_rule & Rule.NEVER_OWN != 0,
        rule=rule,
        benchmark=np.broadcast_to(problem.wants.benchmark, (count, names)),
    )


def reach(positions: Positions) -> tuple[FloatArray, FloatArray]:
    """Return the least and the most of each name that rules and masks let an account hold."""
    stuck = np.where(positions.lot_sellable, 0.0, positions.lot_value)
    least = positions.per_name(stuck)
    most = np.where(positions.has(Rule.NEVER_BUY | Rule.NEVER_OWN), positions.held, np.inf)
    return least, most


def active_bounds(problem: Problem, positions: Positions) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of |h - w| <= the active cap, eased to what is within reach.

    A name that must go has no bound from the cap; one that rules, masks or its own least and
    most keep out of the band has to come as near to it as it can.
    """
    least, most = reach(positions)
    if problem.wants.lower_ppm is not None:
        least = np.maximum(least, problem.wants.lower_ppm * PPM)
    if problem.wants.upper_ppm is not None:
        most = np.minimum(most, problem.wants.upper_ppm * PPM)
    most = np.maximum(most, least)
    width = (problem.wants.active_max_ppm * PPM)[:, None]
    low = np.minimum(np.maximum(positions.benchmark - width, 0.0), most)
    high = np.maximum(positions.benchmark + width, least)
    gone = positions.has(Rule.NEVER_OWN)
    return np.where(gone, 0.0, low), np.where(gone, np.inf, high)


def may_rebuy(problem: Problem) -> BoolArray:
    """Return which accounts may buy back a gain they sell, shape (A,).

    Those that seek gains, where no minimum trade and no cost per trade is set.
    """
    wants = problem.wants
    free = np.asarray(problem.taxes.mode == TaxMode.REALISE)
    for price in (wants.trade_min_cents, wants.trade_cost_ppm):
        if price is not None:
            free = free & (price <= 0)
    return free


def lot_rates(problem: Problem, positions: Positions) -> FloatArray:
    """Return the tax rate of each lot's gain today, shape (L,)."""
    taxes, owner = problem.taxes, positions.lot_account
    short, long = taxes.short_rate_ppm[owner], taxes.long_rate_ppm[owner]
    return np.where(problem.accounts.lot_is_long, long, short) * PPM


def lot_taxes(problem: Problem, positions: Positions) -> FloatArray:
    """Return tau, shape (L,): what a dollar sold of each lot costs where nothing is netted.

    Gains cost their rate, and the rate saved by waiting when they turn long-term soon. Losses
    are worth their rate less what the lower basis brings back; nothing to a neutral customer.
    A chosen gain of a customer who seeks gains earns what the higher basis saves later.
    """
    taxes, owner, gain = problem.taxes, positions.lot_account, positions.lot_gain
    back = taxes.recapture_ppm[owner] * PPM * taxes.long_rate_ppm[owner] * PPM
    rate = lot_rates(problem, positions)
    tau = np.where(gain < 0, (rate - back) * gain, rate * gain + lot_wait(problem, positions))
    mode = taxes.mode[owner]
    tau[(mode == TaxMode.NEUTRAL) & (gain < 0)] = 0.0
    seeks = (mode == TaxMode.REALISE) & ~positions.lot_forced
    return np.where(seeks, -back * gain, tau)


def lot_wait(problem: Problem, positions: Positions) -> FloatArray:
    """Return what selling a dollar of a waiting lot's gain throws away, shape (L,)."""
    taxes, owner = problem.taxes, positions.lot_account
    saved = (taxes.short_rate_ppm - taxes.long_rate_ppm)[owner] * PPM
    waits = problem.accounts.lot_wait & ~problem.accounts.lot_is_long & (positions.lot_gain > 0)
    return np.where(waits, np.maximum(saved, 0.0) * positions.lot_gain, 0.0)
