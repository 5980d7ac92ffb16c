"""Every wish a plan breaks, with its name, its place and its size.

Sizes are fractions of the account (row units for a row, annual TE for the TE cap), so that one
tolerance fits all: 1e-9 for a plan in floats, about a cent a trade for one in cents.
Notation as in `problem`; plain NumPy, and exact integers for what landed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.portfolio import positions as positions_of
from robo.portfolio.plans import ZERO, Outcome, chosen_gain, gain_room, row_excess
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import HARD, FloatArray, IntArray, Problem, Rule, Solution, TaxMode

_MICROCENTS: Final = 10**13
"""Nanoshares times micro-dollars in a cent."""
_MILLION: Final = 10**6


class Breach(StrEnum):
    """What a plan can break."""

    NEGATIVE_CASH = "negative_cash"
    NEGATIVE_BUY = "negative_buy"
    NEGATIVE_SALE = "negative_sale"
    NEGATIVE_HOLDING = "negative_holding"
    OVERSOLD_LOT = "oversold_lot"
    SOLD_BARRED_LOT = "sold_barred_lot"
    NEVER_BUY = "never_buy"
    NEVER_OWN = "never_own"
    BOUGHT_WHAT_IT_SOLD_AT_LOSS = "bought_what_it_sold_at_loss"
    BOUGHT_AND_SOLD = "bought_and_sold"
    ACTIVE_CAP = "active_cap"
    UPPER = "upper"
    LOWER = "lower"
    ROW = "row"
    TURNOVER = "turnover"
    TRACKING_ERROR = "tracking_error"
    GAIN_BUDGET = "gain_budget"
    SMALL_TRADE = "small_trade"
    LOTS_DIFFER = "lots_differ"
    """The lots of a landing do not add up to the sale of the name."""
    NOT_A_NUMBER = "not_a_number"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wish that a plan breaks in one account, and by how much."""

    account: int
    breach: Breach
    where: int
    """The name, lot or row, as the breach says; -1 for the account."""
    size: float
    """Fraction of the account; row units of a row, annual TE of the TE cap."""


def find(
    problem: Problem, where: Positions, state: Outcome, tolerance: ArrayLike
) -> Iterator[Violation]:
    """Yield what a plan breaks by more than the tolerance, a number or one an account (A,)."""
    slack = np.broadcast_to(np.asarray(tolerance, dtype=np.float64), state.cash.shape)
    # An account worth nothing has no fractions, and nothing it could do.
    slack = np.where(where.value_cents > 0, slack, np.inf)
    for breach, size in (
        *_money(problem, where, state),
        *_lots(where, state),
        *_names(problem, where, state),
    ):
        yield from _listed(breach, size, slack, where)


def _money(
    problem: Problem, where: Positions, state: Outcome
) -> Iterator[tuple[Breach, FloatArray]]:
    """Yield the excess of what an account as a whole may do, shapes (A,) and (A, R)."""
    wants = problem.wants
    yield Breach.NEGATIVE_CASH, -state.cash
    if wants.turnover_max_ppm is not None:
        used = (state.bought + state.sold).sum(axis=1)
        yield Breach.TURNOVER, used - wants.turnover_max_ppm * PPM
    if wants.tracking_error_max_ppm is not None:
        yield Breach.TRACKING_ERROR, state.tracking_error - wants.tracking_error_max_ppm * PPM
    over = chosen_gain(where, state.lot_sold) - gain_room(problem, where)
    hard = problem.taxes.mode != TaxMode.REALISE
    yield Breach.GAIN_BUDGET, np.where(hard, over, 0.0)
    if wants.rows is not None:
        scale = np.maximum(np.abs(wants.rows.weight).max(axis=1, initial=0.0), 1.0)
        hard_row = wants.rows.price == HARD
        yield Breach.ROW, np.where(hard_row, row_excess(problem, state) / scale, 0.0)


def _lots(where: Positions, state: Outcome) -> Iterator[tuple[Breach, FloatArray]]:
    """Yield the excess of what is sold lot by lot, shape (L,)."""
    sold = state.lot_sold
    yield Breach.NEGATIVE_SALE, -sold
    yield Breach.OVERSOLD_LOT, sold - where.lot_value
    yield Breach.SOLD_BARRED_LOT, np.where(where.lot_sellable, 0.0, sold)


def _names(
    problem: Problem, where: Positions, state: Outcome
) -> Iterator[tuple[Breach, FloatArray]]:
    """Yield the excess of what is bought, sold and held name by name, shape (A, N)."""
    wants, held = problem.wants, state.holding
    low, high = positions_of.active_bounds(problem, where)
    lossy = where.per_name(np.where(where.lot_gain < 0, state.lot_sold, 0.0))
    yield Breach.NEGATIVE_BUY, -state.bought
    yield Breach.NEGATIVE_HOLDING, -held
    yield Breach.NEVER_BUY, np.where(where.has(Rule.NEVER_BUY), state.bought, 0.0)
    yield Breach.NEVER_OWN, np.where(where.has(Rule.NEVER_OWN), held, 0.0)
    yield Breach.BOUGHT_WHAT_IT_SOLD_AT_LOSS, np.minimum(lossy, state.bought)
    both = np.minimum(state.sold - lossy, state.bought)
    seeks = positions_of.may_rebuy(problem)[:, None]
    yield Breach.BOUGHT_AND_SOLD, np.where(seeks, 0.0, both)
    yield Breach.ACTIVE_CAP, np.maximum(held - high, low - held)
    if wants.upper_ppm is not None:
        yield Breach.UPPER, held - wants.upper_ppm * PPM
    if wants.lower_ppm is not None:
        yield Breach.LOWER, wants.lower_ppm * PPM - held
    if wants.trade_min_cents is not None:
        least = (wants.trade_min_cents / _unit(where))[:, None]
        for moved, closes in ((state.bought, False), (state.sold, True)):
            idle = (moved <= ZERO) | (closes & (held - state.bought <= ZERO))
            # To be mended an order must be dropped or raised, whichever is less.
            yield Breach.SMALL_TRADE, np.where(idle, 0.0, np.minimum(least - moved, moved))


def _listed(
    breach: Breach, size: FloatArray, slack: FloatArray, where: Positions
) -> Iterator[Violation]:
    per_lot = breach in {Breach.NEGATIVE_SALE, Breach.OVERSOLD_LOT, Breach.SOLD_BARRED_LOT}
    limit = slack[where.lot_account] if per_lot else slack.reshape(-1, *[1] * (size.ndim - 1))
    bad = np.argwhere((size > limit) | np.isnan(size))
    for place in bad.tolist():
        amount = float(size[tuple(place)])
        account = int(where.lot_account[place[0]]) if per_lot else place[0]
        which = place[-1] if per_lot or size.ndim > 1 else -1
        kind = Breach.NOT_A_NUMBER if np.isnan(amount) else breach
        yield Violation(account, kind, which, amount)


def landing(problem: Problem, solution: Solution) -> tuple[Violation, ...]:
    """Return what the integer trades break, reckoned in integers without any tolerance.

    Cash may not go below zero after every cost; the lots of a name add up to its sale; no lot
    gives more than it has or what a rule bars; a name is bought or sold, not both; what must
    go is gone; trades reach their minimum unless they close a position.
    """
    where = positions_of.read(problem)
    found = (
        *_landed_lots(problem, solution, where),
        *_landed_trades(problem, solution, where),
        *_landed_accounts(problem, solution, where),
    )
    return tuple(found)


def _landed_lots(problem: Problem, solution: Solution, where: Positions) -> Iterator[Violation]:
    owned, sold = problem.accounts.lot_nanos, solution.lot_sold_nanos
    for breach, bad, size in (
        (Breach.NEGATIVE_SALE, sold < 0, -sold),
        (Breach.OVERSOLD_LOT, sold > owned, sold - owned),
        (Breach.SOLD_BARRED_LOT, ~where.lot_sellable & (sold != 0), sold),
    ):
        for lot in np.flatnonzero(bad).tolist():
            part = float(size[lot] / owned[lot] * where.lot_value[lot])
            yield Violation(int(where.lot_account[lot]), breach, lot, part)


def _landed_trades(problem: Problem, solution: Solution, where: Positions) -> Iterator[Violation]:
    """Yield what single trades break; a name is traded at most once by an account."""
    accounts, name = problem.accounts, solution.trade_name
    trader = _traders(solution)
    buy, sell = solution.buy_cents, solution.sell_nanos
    by_lots = _nanos_per_name(where, solution.lot_sold_nanos)
    lossy = _nanos_per_name(where, np.where(where.lot_gain < 0, solution.lot_sold_nanos, 0))
    left = _nanos_per_name(where, accounts.lot_nanos - solution.lot_sold_nanos)
    no_buy = where.has(Rule.NEVER_BUY | Rule.NEVER_OWN)[trader, name]
    traded = np.zeros_like(by_lots)
    np.add.at(traded, (trader, name), sell)
    for account, which in np.argwhere(traded != by_lots).tolist():
        share = abs(int(traded[account, which] - by_lots[account, which])) / 1e9
        worth = share * int(problem.market.price_micros[which]) / 1e4
        yield Violation(account, Breach.LOTS_DIFFER, which, worth / _unit(where)[account])
    least = np.zeros(name.size, dtype=object)
    if problem.wants.trade_min_cents is not None:
        least = problem.wants.trade_min_cents[trader].astype(object)
    seeks = positions_of.may_rebuy(problem)[trader]
    amount = buy.astype(object) * _MICROCENTS + _worth(problem, solution)
    closed = (sell > 0) & (left[trader, name] == 0)
    for breach, bad in (
        (Breach.NEGATIVE_BUY, (buy < 0) | (sell < 0)),
        (Breach.BOUGHT_AND_SOLD, (buy > 0) & (sell > 0) & ~seeks),
        (Breach.BOUGHT_WHAT_IT_SOLD_AT_LOSS, (buy > 0) & (lossy[trader, name] > 0)),
        (Breach.NEVER_BUY, (buy > 0) & no_buy),
        (Breach.SMALL_TRADE, (amount < least * _MICROCENTS) & ~closed),
    ):
        for trade in np.flatnonzero(bad).tolist():
            size = float(amount[trade] / _MICROCENTS) / float(_unit(where)[trader[trade]])
            yield Violation(int(trader[trade]), breach, int(name[trade]), size)
    gone = where.has(Rule.NEVER_OWN) & (left > 0) & (solution.status == 0)[:, None]
    for account, which in np.argwhere(gone).tolist():
        size = float(where.held[account, which])
        yield Violation(account, Breach.NEVER_OWN, which, size)


def _landed_accounts(problem: Problem, solution: Solution, where: Positions) -> Iterator[Violation]:
    """Yield cash below zero; sums are Python integers, in millionths of a microcent."""
    kappa = problem.market.cost_ppm[solution.trade_name].astype(object)
    flow = _worth(problem, solution) * (_MILLION - kappa)
    flow -= solution.buy_cents.astype(object) * _MICROCENTS * (_MILLION + kappa)
    cash = problem.accounts.cash_cents.astype(object) * _MICROCENTS * _MILLION
    np.add.at(cash, _traders(solution), flow)
    for account in np.flatnonzero(cash < 0).tolist():
        short = float(-cash[account] / _MICROCENTS / _MILLION)
        yield Violation(account, Breach.NEGATIVE_CASH, -1, short / _unit(where)[account])


def _traders(solution: Solution) -> IntArray:
    return np.repeat(np.arange(solution.status.size), np.diff(solution.trade_indptr))


def _worth(problem: Problem, solution: Solution) -> NDArray[np.object_]:
    """Return what each sale is worth, exactly, in nanoshare micro-dollars (T,)."""
    price = problem.market.price_micros[solution.trade_name].astype(object)
    return np.asarray(solution.sell_nanos.astype(object) * price)


def _nanos_per_name(where: Positions, nanos: IntArray) -> IntArray:
    total = np.zeros(where.held.shape, dtype=np.int64)
    np.add.at(total, (where.lot_account, where.lot_name), nanos)
    return total


def _unit(where: Positions) -> FloatArray:
    return np.where(where.value_cents > 0, where.value_cents, 1.0)
