"""Which hard wishes of an account cannot be met together: a set from which none can be spared.

A wish is a hard demand of the customer or of a rule: names never bought, sold or owned, blocked
lots, bounds, the active cap, hard rows, the turnover and tracking-error caps, the gain budget,
the minimum trade. What is no wish is never dropped: cash may not go below zero, a lot gives no
more than it has, and no name is bought that is sold at a loss.

**What is found.** `find` returns wishes that conflict, and without any one of them the rest can
be met (divide and conquer over a feasibility test; Junker 2004, "QuickXplain"). An account may
hold several such sets; this is one, and removing one of its wishes may uncover the next.

**The test.** Without minimum trade and gain budget the set of allowed plans is as good as
convex: whoever both buys and sells a name can do less of both and keep its weight, with more
cash and less turnover. So a linear programme decides (the least u by which every bound has to
give), and with a TE cap a quadratic one (the least variance). Two wishes are not convex. A
minimum trade forbids small trades. Under a gain budget it pays to sell a loss and buy it back,
which the law forbids. Then names whose plan does either are branched on: hold, buy, or sell.
The search stops after `NODES_MAX` programmes; what is then undecided counts as possible, so
that no customer is told of a conflict that is not proved.

**The active cap** gives way to rules, masks and a name's own bounds, and here it keeps the ease
that the account's full set of wishes gives it: dropping a rule never makes the cap stricter.

The programmes are solved by PIQP to 1e-10 of the account; wishes that conflict by less than
`TOLERANCE` count as met. Notation as in `problem`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import numpy as np

from robo.portfolio import positions as positions_of
from robo.portfolio.phases import Limits, Phases, Point
from robo.portfolio.plans import gain_room
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import HARD, BoolArray, FloatArray, IntArray, Problem, Rule, TaxMode

TOLERANCE: Final = 1e-8
NODES_MAX: Final = 200
_SEEN: Final = 1e-7
"""A purchase or sale below this is what the programme's accuracy leaves of none."""


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


def find(problem: Problem, accounts: Sequence[int]) -> dict[int, tuple[Wish, ...]]:
    """Return for each account wishes that conflict, none of which can be spared.

    An empty tuple says that no conflict could be proved.
    """
    where = positions_of.read(problem)
    return {int(a): _find_one(_Ground.of(problem, where, int(a))) for a in accounts}


def wishes(problem: Problem, account: int) -> tuple[Wish, ...]:
    """Return every hard wish of an account."""
    return _Ground.of(problem, positions_of.read(problem), account).wishes


def is_feasible(problem: Problem, account: int, kept: Sequence[Wish]) -> bool | None:
    """Return whether some of the account's wishes can be met together; None if undecided."""
    return _Test(_Ground.of(problem, positions_of.read(problem), account)).decide(kept)


def search(problem: Problem, account: int) -> tuple[bool | None, Point | None]:
    """Return whether all of an account's wishes can be met together, and a plan that does.

    None if undecided. The plan may buy and sell a name at once, where less of both keeps more.
    """
    ground = _Ground.of(problem, positions_of.read(problem), account)
    return _Test(ground).search(_limits(ground, ground.wishes), ground.wishes)


def programme(problem: Problem, account: int) -> tuple[Phases, Limits]:
    """Return one account's programmes and what its wishes leave of its freedom."""
    ground = _Ground.of(problem, positions_of.read(problem), account)
    return _phases(ground), _limits(ground, ground.wishes)


def _find_one(ground: "_Ground") -> tuple[Wish, ...]:
    test = _Test(ground)
    if ground.value <= 0 or not test.conflict(ground.wishes):
        return ()
    return tuple(sorted(_explain((), fresh=False, rest=ground.wishes, test=test)))


def _explain(
    kept: tuple[Wish, ...], *, fresh: bool, rest: tuple[Wish, ...], test: "_Test"
) -> tuple[Wish, ...]:
    """Return a least part of the rest that conflicts with what is kept."""
    if fresh and test.conflict(kept):
        return ()
    if len(rest) == 1:
        return rest
    half = len(rest) // 2
    first, second = rest[:half], rest[half:]
    of_second = _explain(kept + first, fresh=bool(first), rest=second, test=test)
    of_first = _explain(kept + of_second, fresh=bool(of_second), rest=first, test=test)
    return of_first + of_second


@dataclass(frozen=True, slots=True)
class _Ground:
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
    active_low: FloatArray
    active_high: FloatArray
    row_weight: FloatArray
    wishes: tuple[Wish, ...]

    @classmethod
    def of(cls, problem: Problem, where: Positions, account: int) -> "_Ground":
        mine = where.lot_account == account
        low, high = positions_of.active_bounds(problem, where)
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
            active_low=low[account],
            active_high=high[account],
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


@dataclass(slots=True)
class _Test:
    """Decides whether wishes can be met together, and remembers what it decided."""

    ground: _Ground
    known: dict[frozenset[Wish], bool | None] = field(default_factory=dict)

    def conflict(self, kept: Sequence[Wish]) -> bool:
        """Return whether the wishes provably conflict."""
        return self.decide(kept) is False

    def decide(self, kept: Sequence[Wish]) -> bool | None:
        """Return whether they can be met together; None if the search gave up."""
        key = frozenset(kept)
        if key not in self.known:
            self.known[key], _ = self.search(_limits(self.ground, kept), kept)
        return self.known[key]

    def search(self, start: Limits, kept: Sequence[Wish]) -> tuple[bool | None, Point | None]:
        """Return whether limits leave a plan that keeps the wishes, and the plan."""
        least = next((wish.level for wish in kept if wish.kind == WishKind.TRADE_MIN), 0.0)
        open_nodes, nodes = [start], 0
        while open_nodes:
            nodes += 1
            if nodes > NODES_MAX:
                return None, None
            limits = open_nodes.pop()
            point = _phases(self.ground).solve(limits, TOLERANCE, settle=least > 0)
            if point is None:
                continue
            name = self._offending(point, limits, least)
            if name < 0:
                return True, point
            open_nodes += self._branches(limits, name, least)
        return False, None

    def _offending(self, point: Point, limits: Limits, least: float) -> int:
        """Return the name that breaks a rule the programme cannot express, or -1."""
        ground = self.ground
        names = ground.held.size
        sold = np.bincount(ground.lot_name, point.lot_sold, names)
        lossy = np.where(ground.lot_gain < 0, point.lot_sold, 0.0)
        size = np.zeros(names)
        if np.isfinite(limits.gain):
            size = np.minimum(np.bincount(ground.lot_name, lossy, names), point.bought)
        if least > 0:
            short = np.minimum(least - sold, sold)
            size = np.maximum(size, np.where(sold >= ground.held - _SEEN, 0.0, short))
            size = np.maximum(size, np.minimum(least - point.bought, point.bought))
            size = np.maximum(size, np.minimum(sold, point.bought))
        size[limits.settled] = 0.0
        worst = int(np.argmax(size)) if names else 0
        return worst if names and size[worst] > _SEEN else -1

    def _branches(self, limits: Limits, name: int, least: float) -> list[Limits]:
        """Return the ways a name can go: hold, buy or sell."""
        ground = self.ground
        mine = ground.lot_name == name
        settled = limits.settled.copy()
        settled[name] = True
        held = ground.held[name]
        idle = np.where(mine, 0.0, limits.lot_high)
        no_buy, buy = limits.buy_high.copy(), limits.buy_low.copy()
        no_buy[name], buy[name] = 0.0, least
        sell = limits.sale_low.copy()
        sell[name] = min(least, held)
        base = replace(limits, settled=settled)
        return [
            replace(base, buy_high=no_buy, lot_high=idle),
            replace(base, buy_low=buy, lot_high=idle),
            replace(base, buy_high=no_buy, sale_low=sell),
        ]


def _phases(ground: _Ground) -> Phases:
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


def _limits(ground: _Ground, kept: Sequence[Wish]) -> Limits:
    """Return what the wishes leave of an account's freedom; a minimum trade is branched on."""
    names, rows = ground.held.size, ground.row_weight.shape[0]
    limits = Limits.none(names, ground.lot_value, rows)
    for wish in kept:
        if wish.kind in _WHOLE:
            setattr(limits, _WHOLE[wish.kind], wish.level)
        elif wish.kind in _ROW:
            getattr(limits, _ROW[wish.kind])[wish.where] = wish.level
        elif wish.kind == WishKind.NEVER_BUY:
            limits.buy_high[wish.where] = 0.0
        elif wish.kind == WishKind.ACTIVE_CAP:
            np.maximum(limits.low, ground.active_low, out=limits.low)
            np.minimum(limits.high, ground.active_high, out=limits.high)
        elif wish.kind == WishKind.LOWER:
            limits.low[wish.where] = max(limits.low[wish.where], wish.level)
        elif wish.kind in {WishKind.UPPER, WishKind.NEVER_OWN}:
            limits.high[wish.where] = min(limits.high[wish.where], wish.level)
        else:
            limits.lot_high[_barred(ground, wish)] = 0.0
    return limits


def _barred(ground: _Ground, wish: Wish) -> BoolArray:
    """Return the lots that a wish keeps from being sold; none where it is about something else."""
    bars = {
        WishKind.NEVER_SELL: np.ones(ground.lot_name.size, dtype=np.bool_),
        WishKind.NEVER_SELL_AT_LOSS: ground.lot_gain < 0,
        WishKind.BLOCKED_LOTS: ground.lot_blocked,
    }
    none = np.zeros(ground.lot_name.size, dtype=np.bool_)
    return np.asarray((ground.lot_name == wish.where) & bars.get(wish.kind, none))
