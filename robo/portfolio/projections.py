"""Weights put back into their place: a benchmark after exclusions, and whole parts per million.

Notation: A accounts, N names; `w` weights, each row sums to 1.
"""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.core.money import PPM
from robo.portfolio.checks import ints, require
from robo.portfolio.problem import FloatArray, IntArray

Keep = Literal["index", "sectors"]
_SUM_ERROR_MAX: Final = 1e-6


def without(
    base: ArrayLike, excluded: ArrayLike, *, sector: ArrayLike | None = None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the benchmark of accounts that exclude names, and whether each has one.

    Without sectors, what the excluded weighed goes to all others in proportion to their weight.
    With sectors it stays in its sector, in proportion again; the weight of a sector of which
    nobody is left goes to all others.

    Args:
        base: w, shape (N,) or (A, N).
        excluded: Booleans, shape (N,) or (A, N).
        sector: A number per name, shape (N,), from 0; None to spread over everybody.

    Returns:
        Weights, shape (A, N), each row sums to 1 and is zero where excluded; and shape (A,), False
        where everybody is excluded: that row is zero.

    Raises:
        ValueError: If shapes do not fit, or base weights are negative or do not sum to 1.
    """
    w = _weights("base", base)
    out = np.asarray(excluded)
    require("excluded", out.dtype == np.bool_, "must be booleans")
    out = out.reshape(1, -1) if out.ndim == 1 else out
    fits = out.ndim == w.ndim and out.shape[1] == w.shape[1]
    require("excluded", fits and len({len(out), len(w), 1}) <= 2, "does not fit base")  # noqa: PLR2004 - one row for all, or A
    left = np.where(out, 0.0, w)
    if sector is not None:
        left = _within(np.broadcast_to(w, left.shape), left, ints("sector", sector, 1))
    total = left.sum(axis=1, keepdims=True)
    some = total > 0
    return left / np.where(some, total, 1.0), some[:, 0]


def shown_ppm(weight: ArrayLike) -> IntArray:
    """Return weights as whole parts per million that sum to exactly 1_000_000.

    Args:
        weight: w, shape (N,) or (A, N): not negative, each row sums to 1.

    Returns:
        Shape of the weights. Each is less than one part from the weight it shows, and zero stays
        zero.

    Raises:
        ValueError: If a weight is negative or not finite, or a row does not sum to 1.

    Source: Hamilton's method (largest remainder); ties go to the earlier column.
    """
    w = _weights("weight", weight)
    exact = w / w.sum(axis=1, keepdims=True) * PPM
    parts = np.floor(exact).astype(np.int64)
    missing = PPM - parts.sum(axis=1)
    order = np.argsort(parts - exact, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(w.shape[1])[None, :], axis=1)
    shown = parts + (rank < missing[:, None])
    assert (shown.sum(axis=1) == PPM).all(), "fewer parts are missing than names have remainders"
    return np.asarray(shown.reshape(np.shape(weight)), dtype=np.int64)


def _within(w: FloatArray, left: FloatArray, sector: IntArray) -> FloatArray:
    """Return the weights left, each sector grown to what it weighed where anybody is left."""
    fits = sector.shape == w.shape[1:] and (sector.size == 0 or int(sector.min()) >= 0)
    require("sector", fits, "must be a number from 0 for each name")
    member = np.eye(int(sector.max(initial=0)) + 1)[sector]
    # A product for each account, not one for all: its last digits must not depend on how many.
    before, after = (np.matmul(part[:, None, :], member)[:, 0, :] for part in (w, left))
    growth = np.where(after > 0, before / np.where(after > 0, after, 1.0), 0.0)
    return np.asarray(left * growth[:, sector])


def _weights(name: str, values: ArrayLike) -> FloatArray:
    w: NDArray[Any] = np.asarray(values, dtype=np.float64)
    w = w.reshape(1, -1) if w.ndim == 1 else w
    require(name, w.ndim == 2 and w.size > 0, "must be (N,) or (A, N)")  # noqa: PLR2004 - (A, N)
    sound = bool(np.isfinite(w).all() and (w >= 0).all())
    sums = sound and bool((np.abs(w.sum(axis=1) - 1.0) <= _SUM_ERROR_MAX).all())
    require(name, sums, "must be finite, not negative, and each row must sum to 1")
    return w
