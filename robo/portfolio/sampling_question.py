"""What a call of sampling asks, checked: shapes, signs, sums, and that every account can be met."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio.problem import BoolArray, IntArray
from robo.portfolio.sampling_kernels import EXCLUDED, REQUIRED, FloatArray, StateArray

SUM_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Question:
    """The checked arrays of a call, and what is worked out from them alone."""

    factor: FloatArray
    loading: FloatArray
    specific: FloatArray
    benchmark: FloatArray
    upper: FloatArray
    state: StateArray
    size: int
    least: float
    tilted: bool
    """Each account has its own benchmark; otherwise `benchmark` has one row for all."""


def checked(
    exposure: ArrayLike,
    specific_variance: ArrayLike,
    benchmark: ArrayLike,
    size: int,
    excluded: ArrayLike | None,
    required: ArrayLike | None,
    upper: ArrayLike | None,
    required_min: float,
) -> Question:
    """Return the arrays of a call as the kernels need them; see `sampling.sample`.

    Raises:
        ValueError: Naming the argument, or the first account that cannot be met.
    """
    loading = _floats("exposure", exposure, 2)
    names = loading.shape[0]
    specific = _floats("specific_variance", specific_variance, 1)
    cap = np.ones(names) if upper is None else _floats("upper", upper, 1)
    for name, array in (("specific_variance", specific), ("upper", cap)):
        if array.shape != (names,) or not (array > 0).all():
            message = f"{name} must hold a positive number for each of the {names} names"
            raise ValueError(message)
    if not 1 <= size <= names:
        message = f"size must lie between 1 and {names}, not {size}"
        raise ValueError(message)
    if not 0 <= required_min <= 1:
        message = f"required_min must lie between 0 and 1, not {required_min}"
        raise ValueError(message)
    w = _benchmark(benchmark, names)
    out = _mask("excluded", excluded, names)
    must = _mask("required", required, names)
    rows = {array.shape[0] for array in (w, out, must)} - {1}
    if len(rows) > 1:
        message = "benchmark, excluded and required must agree on the number of accounts"
        raise ValueError(message)
    count = rows.pop() if rows else 1
    tilted = np.ndim(benchmark) > 1
    if tilted:
        w = np.ascontiguousarray(np.broadcast_to(w, (count, names)))
    state = np.zeros((count, names), np.uint8)
    state[np.broadcast_to(out, state.shape)] = EXCLUDED
    wanted = np.broadcast_to(must, state.shape)
    _refuse("required names that are excluded", (wanted & (state == EXCLUDED)).any(axis=1))
    state[wanted] = REQUIRED
    _check_possible(state, np.minimum(cap, 1.0), size, required_min)
    factor = np.ascontiguousarray(loading.T)
    return Question(
        factor, loading, specific, w, np.minimum(cap, 1.0), state, size, required_min, tilted
    )


def _check_possible(state: StateArray, cap: FloatArray, size: int, least: float) -> None:
    """Refuse accounts that no weights can satisfy."""
    must = state == REQUIRED
    count = must.sum(axis=1)
    _refuse(f"more than {size} required names", count > size)
    _refuse("required names whose cap is below required_min", (must & (cap < least)).any(axis=1))
    _refuse("required names that need more than everything", count * least > 1)
    if (cap < 1).any() or (state == EXCLUDED).any():
        rank = np.where(must, 2.0, np.where(state == EXCLUDED, -1.0, cap))
        chosen = np.argsort(-rank, axis=1, kind="stable")[:, :size]
        usable = np.take_along_axis(np.where(state == EXCLUDED, 0.0, cap), chosen, axis=1)
        _refuse("no way to invest everything", usable.sum(axis=1) < 1 - SUM_TOLERANCE)


def _refuse(what: str, bad: BoolArray) -> None:
    if bad.any():
        message = f"account {int(np.argmax(bad))} has {what}"
        raise ValueError(message)


def _floats(name: str, values: ArrayLike, ndim: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64, order="C")
    if array.ndim != ndim or not np.isfinite(array).all():
        message = f"{name} must be finite numbers in {ndim} dimensions"
        raise ValueError(message)
    return array


def _benchmark(values: ArrayLike, names: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64, order="C")
    w = array.reshape(1, -1) if array.ndim == 1 else array
    if w.shape != (len(w), names):
        message = f"benchmark must have shape ({names},) or (A, {names}), not {array.shape}"
        raise ValueError(message)
    if not (w >= 0).all() or not (np.abs(w.sum(axis=1) - 1) <= SUM_TOLERANCE).all():
        message = "benchmark must not be negative, and its rows must sum to 1"
        raise ValueError(message)
    return w


def _mask(name: str, values: ArrayLike | None, names: int) -> BoolArray:
    array = np.zeros((1, names), np.bool_) if values is None else np.asarray(values)
    mask = array.reshape(1, -1) if array.ndim == 1 else array
    if mask.dtype != np.bool_ or mask.shape != (len(mask), names):
        message = f"{name} must be booleans of shape ({names},) or (A, {names})"
        raise ValueError(message)
    return mask


def roomy(state: StateArray, cap: FloatArray, size: int, member: IntArray) -> StateArray:
    """Return states that leave only names whose caps can hold everything together.

    The search looks at tracking error, one exchange at a time, and may end with names whose caps
    sum to less than one. The tightest of them give way to the widest, as few as will do.

    Args:
        state: What each account says of each name, shape (A, N); `checked` has found it possible.
        cap: Most of a name, shape (N,).
        size: m.
        member: The search's names, shape (A, m), -1 for none.
    """
    left = np.full_like(state, EXCLUDED)
    widest = np.argsort(-cap, kind="stable")
    for row, names in enumerate(member.tolist()):
        chosen = [name for name in names if name >= 0]
        others = [
            name
            for name in widest.tolist()
            if state[row, name] != EXCLUDED and name not in set(chosen)
        ]
        while others and cap[chosen].sum() < 1.0:
            if len(chosen) == size:
                free = [name for name in chosen if state[row, name] != REQUIRED]
                chosen.remove(min(free, key=lambda name: (cap[name], name)))
            chosen.append(others.pop(0))
        left[row, chosen] = state[row, chosen]
    return left
