"""Which hard wishes of an account cannot be met together: a set from which none can be spared.

A wish is a hard demand of the customer or of a rule: names never bought, sold or owned, blocked
lots, bounds, the active cap, hard rows, the turnover and tracking-error caps, the gain budget,
the minimum trade. What is no wish is never dropped: cash may not go below zero, a lot gives no
more than it has, and no name is bought that is sold at a loss.

**What is found.** `find` returns wishes that conflict: an account that asks for these and nothing
else cannot be served, and one that asks for all of them but any one can (as far as the search
decides, see below). An account may hold several such sets; this is one, and removing one of its
wishes may uncover the next.

**The test.** Without minimum trade and gain budget the set of allowed plans is as good as
convex: whoever both buys and sells a name can do less of both and keep its weight, with more
cash and less turnover. So a linear programme decides (the least u by which every bound has to
give), and with a TE cap a quadratic one (the least variance). Two wishes are not convex. A
minimum trade forbids small trades. Under a gain budget it pays to sell a loss and buy it back,
which the law forbids. Then names whose plan does either are branched on: hold, buy, or sell.
The search stops after `NODES_MAX` programmes; what is then undecided, or was too close to tell,
counts as possible, so that no customer is told of a conflict that is not proved.

**The active cap** gives way to rules, masks and a name's own bounds, so fewer wishes may mean a
stricter cap, and dropping a rule can make a set of wishes harder to meet. So the search goes in
two steps. First the cap keeps the widest ease that any of the account's wishes could give it:
then fewer wishes are easier, and divide and conquer finds a least set (Junker 2004,
"QuickXplain"). Taken by itself that set conflicts too, its cap being no wider. (All wishes
conflict with that ease if they conflict at all: where it is wider than what they themselves give,
a name's least is above its most, which no cap is needed for.) Then, with the cap that the wishes
left give it, wishes are dropped one by one as long as the rest conflicts by itself: a rule that
only eased the cap is not to blame. What is left is irreducible in the sense above; a smaller set
inside it, that two wishes less would show, is not looked for.

The programmes are solved by PIQP, and no verdict is its word alone (`phases`); wishes that
conflict by less than `TOLERANCE` count as met. Notation as in `problem`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from robo.portfolio import positions as positions_of
from robo.portfolio.border import checked
from robo.portfolio.hard_wishes import Ground, Wish, WishKind
from robo.portfolio.hard_wishes import limits as limits_of
from robo.portfolio.hard_wishes import phases as phases_of
from robo.portfolio.phases import Limits, Phases, Point
from robo.portfolio.problem import Problem

__all__ = [
    "NODES_MAX",
    "TOLERANCE",
    "Wish",
    "WishKind",
    "find",
    "is_feasible",
    "programme",
    "search",
    "wishes",
]

TOLERANCE: Final = 1e-8
NODES_MAX: Final = 200
_SEEN: Final = 1e-7
"""A purchase or sale below this is what the programme's accuracy leaves of none."""


def find(problem: Problem, accounts: Sequence[int]) -> dict[int, tuple[Wish, ...]]:
    """Return for each account wishes that conflict, none of which can be spared.

    An empty tuple says that no conflict could be proved.

    Raises:
        ProblemError: If an argument is malformed.
    """
    problem = checked(problem)
    where = positions_of.read(problem)
    return {int(a): _find_one(Ground.of(problem, where, int(a))) for a in accounts}


def wishes(problem: Problem, account: int) -> tuple[Wish, ...]:
    """Return every hard wish of an account."""
    return _ground(problem, account).wishes


def is_feasible(problem: Problem, account: int, kept: Sequence[Wish]) -> bool | None:
    """Return whether an account that asks for these of its wishes only can be served.

    None if that is undecided.
    """
    return _Test(_ground(problem, account)).decide(kept)


def search(problem: Problem, account: int) -> tuple[bool | None, Point | None]:
    """Return whether all of an account's wishes can be met together, and a plan that does.

    None if undecided. The plan may buy and sell a name at once, where less of both keeps more.
    """
    ground = _ground(problem, account)
    return _Test(ground).search(limits_of(ground, ground.wishes), ground.wishes)


def programme(problem: Problem, account: int) -> tuple[Phases, Limits]:
    """Return one account's programmes and what its wishes leave of its freedom."""
    ground = _ground(problem, account)
    return phases_of(ground), limits_of(ground, ground.wishes)


def _ground(problem: Problem, account: int) -> Ground:
    problem = checked(problem)
    return Ground.of(problem, positions_of.read(problem), account)


def _find_one(ground: Ground) -> tuple[Wish, ...]:
    eased = _Test(ground, eased_by=ground.wishes)
    if ground.value <= 0 or not eased.conflict(ground.wishes):
        return ()
    found = _explain((), fresh=False, rest=ground.wishes, test=eased)
    if any(wish.kind == WishKind.ACTIVE_CAP for wish in found):
        found = _thinned(found, _Test(ground))
    return tuple(sorted(found))


def _thinned(found: tuple[Wish, ...], test: "_Test") -> tuple[Wish, ...]:
    """Return what is left when wishes are dropped while the others conflict by themselves."""
    at = 0
    while at < len(found):
        rest = found[:at] + found[at + 1 :]
        if test.conflict(rest):
            # With fewer wishes the cap is another: those kept before are looked at again.
            found, at = rest, 0
        else:
            at += 1
    return found


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


@dataclass(slots=True)
class _Test:
    """Decides whether wishes can be met together, and remembers what it decided."""

    ground: Ground
    eased_by: tuple[Wish, ...] | None = None
    """Wishes that ease the active cap as far as any of them could, whichever are tested; None for
    those that are, as they do."""
    known: dict[frozenset[Wish], bool | None] = field(default_factory=dict)

    def conflict(self, kept: Sequence[Wish]) -> bool:
        """Return whether the wishes provably conflict."""
        return self.decide(kept) is False

    def decide(self, kept: Sequence[Wish]) -> bool | None:
        """Return whether they can be met together; None if the search gave up."""
        key = frozenset(kept)
        if key not in self.known:
            limits = limits_of(self.ground, kept, self.eased_by)
            self.known[key], _ = self.search(limits, kept)
        return self.known[key]

    def search(self, start: Limits, kept: Sequence[Wish]) -> tuple[bool | None, Point | None]:
        """Return whether limits leave a plan that keeps the wishes, and the plan."""
        least = next((wish.level for wish in kept if wish.kind == WishKind.TRADE_MIN), 0.0)
        open_nodes, nodes, unsure = [start], 0, False
        while open_nodes:
            nodes += 1
            if nodes > NODES_MAX:
                return None, None
            limits = open_nodes.pop()
            verdict, point = phases_of(self.ground).solve(limits, TOLERANCE, settle=least > 0)
            unsure |= verdict is None
            if point is None:
                continue
            name = self._offending(point, limits, least)
            if name < 0:
                return True, point
            open_nodes += self._branches(limits, name, least)
        return None if unsure else False, None

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
