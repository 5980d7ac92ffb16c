"""The rare programme on which Newton's method zigzags: decided by linear programming instead.

Where wishes are impossible by a hair, the dual of `entropy` is almost a polyhedron and its steps
stop making way (one of 40,000 random programmes, see docs/tilts.md). Then PIQP finds the x that
misses the bands least,

    min v   s.t.   low - v <= G x <= high + v,   0 <= x <= u,

whose duals are a proof if v > 0, checked like every other; if v = 0, the x of least squares
relative to w within the bands stands in for the one of least entropy.
"""

from typing import Any, Final

import numpy as np
import piqp

from robo.portfolio.entropy import Nearest, Programmes, proves
from robo.portfolio.problem import FloatArray

ACCURACY: Final = 1e-10
MISS_MAX: Final = 5e-8
"""What is this far inside its band is inside; asks leave twice as much room."""
_WEIGHT_MIN: Final = 1e-6
_PATIENCE: Final = 1000


def settle(asked: Programmes) -> Nearest:
    """Return the answers of programmes that `nearest` left open, one after the other."""
    count, names = asked.weight.shape
    weight = np.zeros((count, names))
    found, disproved = (np.zeros(count, dtype=np.bool_) for _ in range(2))
    for place in range(count):
        one = asked.only(np.arange(count) == place)
        y = _least_miss(one)
        disproved[place] = bool(proves(one, y[None, :])[0])
        if not disproved[place]:
            weight[place] = _least_squares(one)
            reached = one.row[0] @ weight[place]
            off = np.maximum(one.low[0] - reached, reached - one.high[0])
            found[place] = off.max() <= MISS_MAX
    return Nearest(weight, found, disproved, 0)


def _least_miss(one: Programmes) -> FloatArray:
    """Return the duals of the x that misses the bands least, shape (k,)."""
    row, names = one.row[0], one.weight.shape[1]
    ones = np.ones((len(row), 1))
    free = np.full(len(row), np.inf)
    done = _solved(
        np.zeros(names + 1),
        np.r_[np.zeros(names), 1.0],
        np.block([[row, ones], [row, -ones]]),
        (np.r_[one.low[0], -free], np.r_[free, one.high[0]]),
        (np.zeros(names + 1), np.r_[one.upper[0], np.inf]),
    )
    return np.asarray(done.z_l[: len(row)] - done.z_u[len(row) :], dtype=np.float64)


def _least_squares(one: Programmes) -> FloatArray:
    """Return the x of least sum (x - w)^2 / w within the bands, shape (N,)."""
    w, upper = one.weight[0], one.upper[0]
    curve = 1.0 / np.maximum(w, _WEIGHT_MIN)
    done = _solved(
        curve, -curve * w, one.row[0], (one.low[0], one.high[0]), (np.zeros_like(w), upper)
    )
    x = np.clip(done.x, 0.0, upper)
    return np.asarray(x / max(x.sum(), np.finfo(np.float64).tiny), dtype=np.float64)


def _solved(
    curve: FloatArray,
    linear: FloatArray,
    row: FloatArray,
    band: tuple[FloatArray, FloatArray],
    box: tuple[FloatArray, FloatArray],
) -> Any:
    solver: Any = piqp.DenseSolver()
    settings = solver.settings
    settings.max_iter = _PATIENCE
    settings.eps_abs = settings.eps_rel = ACCURACY
    settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = ACCURACY
    solver.setup(
        np.asfortranarray(np.diag(curve)), linear, None, None, np.asfortranarray(row), *band, *box
    )
    solver.solve()
    return solver.result
