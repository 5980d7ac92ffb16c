"""The hard wishes of one account, and what a choice of them leaves of its freedom.

For `conflicts` and `fallback`. Notation as in `problem`; plain NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from robo.portfolio.phases import Limits, Phases
from robo.portfolio.plans import gain_room
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import HARD, BoolArray, FloatArray, IntArray, Problem, Rule, TaxMode


class WishKind(StrEnum):
    """What was asked for."""

    NEVER_BUY = "never_buy"
    NEVER_SELL = "never_sell"
    NEVER_SELL_AT_LOSS = "never_sell_at_loss"
    BLOCKED_LOTS = "blocked_lots"
    NEVER_OWN = "never_own"
    LOWER = "lower"
    UPPER = "upper"
    ACTIVE_CAP = "active_cap"
    ROW_LOW = "row_low"
    ROW_HIGH = "row_high"
    TURNOVER = "turnover"
    TRACKING_ERROR = "tracking_error"
    GAIN_BUDGET = "gain_budget"
    TRADE_MIN = "trade_min"


@dataclass(frozen=True, slots=True, order=True)
class Wish:
    """One hard wish of one account, ready to be put into a sentence."""

    kind: WishKind
    where: int
    """The name, or the row of a row; -1 where the wish is about the whole account."""
    level: float
    """The bound in fractions of the account (annual TE, row units); 0 for a ban."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One account's facts and wishes."""

    value: float
    cash: float
    held: FloatArray
    lot_name: IntArray
    lot_value: FloatArray
    lot_gain: FloatArray
    lot_chosen: BoolArray
    lot_blocked: BoolArray
    kappa: FloatArray
    benchmark: FloatArray
    exposure: FloatArray
    specific: FloatArray
    cap: float
    row_weight: FloatArray
    wishes: tuple[Wish, ...]

    @classmethod
    def of(cls, problem: Problem, where: Positions, account: int) -> "Ground":
        """Return the facts and wishes of one account of a problem."""
        mine = where.lot_account == account
        rows, market = problem.wants.rows, problem.market
        return cls(
            value=float(where.value_cents[account]),
            cash=float(where.cash[account]),
            held=where.held[account],
            lot_name=where.lot_name[mine],
            lot_value=where.lot_value[mine],
            lot_gain=where.lot_gain[mine],
            lot_chosen=~where.lot_forced[mine],
            lot_blocked=problem.accounts.lot_is_blocked[mine],
            kappa=np.asarray(market.cost_ppm * PPM, dtype=np.float64),
            benchmark=where.benchmark[account],
            exposure=market.exposure,
            specific=market.specific_variance,
            cap=float(problem.wants.active_max_ppm[account]) * PPM,
            row_weight=np.zeros((0, where.held.shape[1])) if rows is None else rows.weight,
            wishes=tuple(_listed(problem, where, account, mine)),
        )


def _listed(problem: Problem, where: Positions, account: int, mine: BoolArray) -> list[Wish]:
    """Return the wishes, the ones about the whole account first."""
    wants = problem.wants
    found = [Wish(WishKind.ACTIVE_CAP, -1, float(wants.active_max_ppm[account]) * PPM)]
    for kind, limit in (
        (WishKind.TURNOVER, wants.turnover_max_ppm),
        (WishKind.TRACKING_ERROR, wants.tracking_error_max_ppm),
    ):
        if limit is not None:
            found.append(Wish(kind, -1, float(limit[account]) * PPM))
    unit = max(float(where.value_cents[account]), 1.0)
    if wants.trade_min_cents is not None and wants.trade_min_cents[account] > 0:
        found.append(Wish(WishKind.TRADE_MIN, -1, float(wants.trade_min_cents[account]) / unit))
    room = float(gain_room(problem, where)[account])
    if np.isfinite(room) and problem.taxes.mode[account] != TaxMode.REALISE:
        found.append(Wish(WishKind.GAIN_BUDGET, -1, room))
    found += _rows(problem, account)
    for kind, bounds in ((WishKind.LOWER, wants.lower_ppm), (WishKind.UPPER, wants.upper_ppm)):
        if bounds is not None:
            row = np.broadcast_to(bounds, where.held.shape)[account] * PPM
            matters = row > 0 if kind == WishKind.LOWER else row < 1
            found += [Wish(kind, int(i), float(row[i])) for i in np.flatnonzero(matters)]
    for kind, rule in (
        (WishKind.NEVER_OWN, Rule.NEVER_OWN),
        (WishKind.NEVER_BUY, Rule.NEVER_BUY),
        (WishKind.NEVER_SELL, Rule.NEVER_SELL),
        (WishKind.NEVER_SELL_AT_LOSS, Rule.NEVER_SELL_AT_LOSS),
    ):
        found += [Wish(kind, int(i), 0.0) for i in np.flatnonzero(where.has(rule)[account])]
    blocked = np.unique(where.lot_name[mine & problem.accounts.lot_is_blocked])
    return found + [Wish(WishKind.BLOCKED_LOTS, int(i), 0.0) for i in blocked]


def _rows(problem: Problem, account: int) -> list[Wish]:
    rows = problem.wants.rows
    if rows is None:
        return []
    shape = (problem.accounts.cash_cents.size, rows.price.size)
    found = []
    for kind, bounds in ((WishKind.ROW_LOW, rows.low), (WishKind.ROW_HIGH, rows.high)):
        level = np.broadcast_to(bounds, shape)[account]
        hard = np.flatnonzero((rows.price == HARD) & np.isfinite(level))
        found += [Wish(kind, int(r), float(level[r])) for r in hard]
    return found


def phases(ground: Ground) -> Phases:
    """Return the account's programmes; sales that a wish forces count in no budget."""
    return Phases(
        cash=ground.cash,
        held=ground.held,
        kappa=ground.kappa,
        lot_name=ground.lot_name,
        lot_gain=np.where(ground.lot_chosen, ground.lot_gain, 0.0),
        benchmark=ground.benchmark,
        exposure=ground.exposure,
        specific=ground.specific,
        row_weight=ground.row_weight,
    )


_WHOLE: Final = {
    WishKind.TURNOVER: "turnover",
    WishKind.TRACKING_ERROR: "tracking_error",
    WishKind.GAIN_BUDGET: "gain",
}
_ROW: Final = {WishKind.ROW_LOW: "row_low", WishKind.ROW_HIGH: "row_high"}


def limits(ground: Ground, kept: Sequence[Wish], eased_by: Sequence[Wish] | None = None) -> Limits:
    """Return what the wishes leave of an account's freedom; a minimum trade is branched on.

    Args:
        ground: The account.
        kept: Its wishes that are to be met.
        eased_by: Wishes from which the active cap takes the widest ease that any choice of them
            gives it; if none are given, it gives way to those kept, as in `positions`.
    """
    names, rows = ground.held.size, ground.row_weight.shape[0]
    left = Limits.none(names, ground.lot_value, rows)
    for wish in kept:
        if wish.kind in _WHOLE:
            setattr(left, _WHOLE[wish.kind], wish.level)
        elif wish.kind in _ROW:
            getattr(left, _ROW[wish.kind])[wish.where] = wish.level
        elif wish.kind == WishKind.NEVER_BUY:
            left.buy_high[wish.where] = 0.0
        elif wish.kind == WishKind.ACTIVE_CAP:
            by = kept if eased_by is None else eased_by
            low, high = _active_bounds(ground, by, widest=eased_by is not None)
            np.maximum(left.low, low, out=left.low)
            np.minimum(left.high, high, out=left.high)
        elif wish.kind == WishKind.LOWER:
            left.low[wish.where] = max(left.low[wish.where], wish.level)
        elif wish.kind in {WishKind.UPPER, WishKind.NEVER_OWN}:
            left.high[wish.where] = min(left.high[wish.where], wish.level)
        else:
            left.lot_high[_barred(ground, wish)] = 0.0
    return left


def _active_bounds(
    ground: Ground, by: Sequence[Wish], *, widest: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of the active cap, eased as `positions.active_bounds` by some wishes.

    A least above the most of a name takes ease away again: not where the `widest` is asked for.
    """
    names = ground.held.size
    stuck = np.zeros(ground.lot_name.size, dtype=np.bool_)
    floor, most = np.zeros(names), np.full(names, np.inf)
    gone = np.zeros(names, dtype=np.bool_)
    for wish in by:
        stuck |= _barred(ground, wish)
        if wish.kind in {WishKind.NEVER_BUY, WishKind.NEVER_OWN}:
            most[wish.where] = min(most[wish.where], ground.held[wish.where])
            gone[wish.where] |= wish.kind == WishKind.NEVER_OWN
        elif wish.kind == WishKind.UPPER:
            most[wish.where] = min(most[wish.where], wish.level)
        elif wish.kind == WishKind.LOWER:
            floor[wish.where] = wish.level
    least = np.bincount(ground.lot_name, np.where(stuck, ground.lot_value, 0.0), names)
    least = np.maximum(least, floor)
    most = most if widest else np.maximum(most, least)
    low = np.minimum(np.maximum(ground.benchmark - ground.cap, 0.0), most)
    high = np.maximum(ground.benchmark + ground.cap, least)
    return np.where(gone, 0.0, low), np.where(gone, np.inf, high)


def _barred(ground: Ground, wish: Wish) -> BoolArray:
    """Return the lots that a wish keeps from being sold; none where it is about something else."""
    bars = {
        WishKind.NEVER_SELL: np.ones(ground.lot_name.size, dtype=np.bool_),
        WishKind.NEVER_SELL_AT_LOSS: ground.lot_gain < 0,
        WishKind.BLOCKED_LOTS: ground.lot_blocked,
    }
    none = np.zeros(ground.lot_name.size, dtype=np.bool_)
    return np.asarray((ground.lot_name == wish.where) & bars.get(wish.kind, none))
