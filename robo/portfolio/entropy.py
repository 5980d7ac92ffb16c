"""The weights of least relative entropy that keep linear bands and caps, or a proof of none.

Notation: a programmes of N names and k rows; `w` base weights, `G` rows, `g` their goals, `u` caps,
`x` the answer, `y` duals. The last row of every programme says that all weights sum to 1.

    min  sum x log(x / w) + S/2 |t - g|^2   s.t.   G x = t,   low <= t <= high,   0 <= x <= u

The stiffness S is so large that t = g to a hair wherever that is possible. The dual is concave and
smooth, with x = min(u, w exp(G' y)) and t = clip(g - y / S): Newton's method with a line search,
all programmes at once, each frozen when it is done, so that an answer never depends on its
neighbours. Where no x exists the dual rises for ever along a y with

    min over t of y't  >  max over 0 <= x <= u of y'G x,

which no x can contradict: that inequality is checked before refusing, not the number of steps.

Source: Boyd and Vandenberghe (2004), "Convex Optimization", sections 5.8 and 9.5.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from robo.portfolio.problem import BoolArray, FloatArray

STIFFNESS: Final = 1e7
"""A row pulled off its goal with a dual of 1 gives way by a ten-millionth."""
SOFTNESS: Final = 1e-13
"""Added to Newton's system only: keeps it regular where rows repeat each other."""
RESIDUAL_MAX: Final = 1e-10
SETTLED_MAX: Final = 1e-9
"""Where rows fight, duals of a million leave no more digits than this."""
SETTLING: Final = 25
"""From this step on `SETTLED_MAX` is enough; almost all end within ten."""
PROOF_MIN: Final = 1e-9
"""By how much a proof must win, in units of its largest dual."""
STEPS_MAX: Final = 80
_ARMIJO: Final = 1e-4
_HALVINGS_MAX: Final = 40
_NOISE: Final = 1e-15


@dataclass(frozen=True, slots=True)
class Programmes:
    """What is asked; every programme of a batch has the same number of rows."""

    weight: FloatArray
    """w, shape (a, N), positive wherever `upper` is."""
    row: FloatArray
    """G, shape (a, k, N)."""
    goal: FloatArray
    """g, shape (a, k)."""
    low: FloatArray
    """Shape (a, k), at most the goal."""
    high: FloatArray
    """Shape (a, k), at least the goal."""
    upper: FloatArray
    """u, shape (a, N), not negative."""

    def only(self, chosen: BoolArray) -> "Programmes":
        """Return some of the programmes."""
        return Programmes(
            *(
                part[chosen]
                for part in (self.weight, self.row, self.goal, self.low, self.high, self.upper)
            )
        )


@dataclass(frozen=True, slots=True)
class Nearest:
    """The answers; where one is neither found nor disproved the steps ran out."""

    weight: FloatArray
    """x, shape (a, N); without meaning where it was not found."""
    found: BoolArray
    """Shape (a,)."""
    disproved: BoolArray
    """Shape (a,): proved to have no answer."""
    steps: int
    """Newton steps of the slowest."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A dual point and everything that follows from it."""

    y: FloatArray
    pull: FloatArray
    """G' y, shape (a, N)."""
    x: FloatArray
    t: FloatArray
    value: FloatArray
    """The dual's value, shape (a,)."""
    noise: FloatArray
    """What rounding may do to `value`, shape (a,): it is a small difference of large numbers."""

    def only(self, chosen: BoolArray) -> "_Point":
        return _Point(
            *(part[chosen] for part in (self.y, self.pull, self.x, self.t, self.value, self.noise))
        )


def nearest(asked: Programmes) -> Nearest:
    """Return the weights closest to each programme's base, or that there are none."""
    weight = np.zeros_like(asked.weight)
    found = np.zeros(len(weight), dtype=np.bool_)
    disproved = np.zeros(len(weight), dtype=np.bool_)
    live = np.arange(len(weight))
    here = _point(asked, np.zeros_like(asked.goal))
    step = 0
    for step in range(STEPS_MAX):
        reached = np.matmul(asked.row, here.x[:, :, None])[:, :, 0]
        done = _done(asked, here, reached, settling=step >= SETTLING)
        proof = proves(asked, here.y) & ~done
        weight[live[done]] = here.x[done]
        found[live[done]] = True
        disproved[live[proof]] = True
        going = ~(done | proof)
        if not going.any():
            break
        asked, here, live, reached = (
            asked.only(going),
            here.only(going),
            live[going],
            reached[going],
        )
        here = _climb(asked, here, here.t - reached)
    return Nearest(weight, found, disproved, step)


def proves(asked: Programmes, y: FloatArray) -> BoolArray:
    """Return whether duals prove that a programme has no answer, shape (a,).

    Args:
        asked: The programmes.
        y: Duals, shape (a, k).
    """
    pull = np.matmul(y[:, None, :], asked.row)[:, 0, :]
    least = np.minimum(y * asked.low, y * asked.high).sum(axis=1)
    most = (asked.upper * np.maximum(pull, 0.0)).sum(axis=1)
    size = np.abs(y).max(axis=1)
    return np.asarray((size > 0) & (least - most > PROOF_MIN * size))


def _kink(asked: Programmes) -> FloatArray:
    """Return log(u / w): where a name's weight stops to grow; 0 for a name that has none."""
    open_ = asked.upper > 0
    return np.log(np.where(open_, asked.upper, 1.0) / np.where(open_, asked.weight, 1.0))


def _point(asked: Programmes, y: FloatArray) -> _Point:
    pull = np.matmul(y[:, None, :], asked.row)[:, 0, :]
    kink = _kink(asked)
    x = np.where(asked.upper > 0, asked.weight * np.exp(np.minimum(pull, kink)), 0.0)
    t = np.clip(asked.goal - y / STIFFNESS, asked.low, asked.high)
    over = asked.upper * np.maximum(pull - kink, 0.0)
    rows = y * t + 0.5 * STIFFNESS * (t - asked.goal) ** 2
    names = (x + over).sum(axis=1)
    noise = _NOISE * (np.abs(rows).sum(axis=1) + names)
    return _Point(y, pull, x, t, rows.sum(axis=1) - names, noise)


def _done(asked: Programmes, here: _Point, reached: FloatArray, *, settling: bool) -> BoolArray:
    done = np.abs(here.t - reached).max(axis=1) <= RESIDUAL_MAX
    if settling:
        off = np.maximum(asked.low - reached, reached - asked.high).max(axis=1)
        done |= off <= SETTLED_MAX
    return np.asarray(done)


def _climb(asked: Programmes, here: _Point, slope: FloatArray) -> _Point:
    """Return the next point: Newton's step, halved until the dual rises enough."""
    free = np.where(here.pull < _kink(asked), here.x, 0.0)
    bend = np.matmul(asked.row * free[:, None, :], asked.row.transpose(0, 2, 1))
    wish = asked.goal - here.y / STIFFNESS
    inside = (asked.low < wish) & (wish < asked.high)
    place = np.arange(slope.shape[1])
    held = bend[:, place, place]
    bend[:, place, place] = held + np.where(inside, 1.0 / STIFFNESS, 0.0) + SOFTNESS * (1.0 + held)
    step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
    rise = _ARMIJO * (slope * step).sum(axis=1)
    length = np.ones(len(step))
    for _ in range(_HALVINGS_MAX):
        there = _point(asked, here.y + length[:, None] * step)
        short = there.value < here.value + length * rise - here.noise
        if not short.any():
            break
        length = np.where(short, 0.5 * length, length)
    return there
