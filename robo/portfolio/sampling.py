"""Choose m of N names that follow a benchmark best, for many accounts, each with a proof.

An account asks for at most m names h >= 0 with sum 1 that have the least ex-ante tracking error
sqrt((h - w)'S(h - w)) to its benchmark w, S = X X' + diag(d), without its excluded names, with
its required ones and with no weight above its cap. It gets names, weights, the tracking error
and a lower bound that no choice of m names can beat. docs/sampling.md has the mathematics.

Notation is `problem`'s: A accounts, N names, K factors, X exposure, d specific variance, w the
benchmark, h what is held; here m is the number of names.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio import sampling_bounds, sampling_kernels
from robo.portfolio.sampling_kernels import EXCLUDED, REQUIRED, FloatArray, IntArray, StateArray

CANDIDATES: Final = 70
"""Names beyond m that the search looks among: those of highest one-name gain."""
KICKS: Final = 4
"""How often the search is thrown off its best names to look again."""
REQUIRED_MIN: Final = 0.001
"""Least weight of a required name: it is held, not only named."""
_BLOCK: Final = 256
"""Accounts worked on at a time: bounds the memory, changes no result."""
_ROUNDING: Final = 1e-12
"""Taken off every bound, in units of w'Sw / 2: more than the arithmetic can have got wrong."""
_SUM_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Sample:
    """What each account should hold."""

    member: IntArray
    """Names by rising index, shape (A, m); -1 where an account needs fewer."""
    weight: FloatArray
    """h of the members, shape (A, m); each row sums to 1."""
    tracking_error: FloatArray
    """Annual, ex ante, shape (A,)."""
    bound: FloatArray
    """Certified, shape (A,): no m allowed names have a smaller tracking error."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What accounts of one benchmark share, so that each starts near its own answer."""

    c: FloatArray
    """S w, shape (1, N)."""
    constant: FloatArray
    """w'Sw / 2, shape (1,)."""
    duals: FloatArray
    """Of the account without wishes, shape (1, K + 2)."""
    favourite: IntArray
    """Good choices of names, shape (E, m)."""


@dataclass(frozen=True, slots=True)
class _Question:
    """The checked arrays of a call."""

    factor: FloatArray
    loading: FloatArray
    specific: FloatArray
    benchmark: FloatArray
    upper: FloatArray
    state: StateArray
    size: int
    least: float


def sample(
    exposure: ArrayLike,
    specific_variance: ArrayLike,
    benchmark: ArrayLike,
    size: int,
    *,
    excluded: ArrayLike | None = None,
    required: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    required_min: float = REQUIRED_MIN,
    kicks: int = KICKS,
) -> Sample:
    """Return for each account at most `size` names and weights, and how good they can be at all.

    An account's answer depends on its own row only, so any split of a batch gives the same bytes.

    Args:
        exposure: X, shape (N, K), annual, so that S = X X' + diag(d).
        specific_variance: d, shape (N,), annual, positive.
        benchmark: w, shape (N,) for all or (A, N) with a tilt each; not negative, rows sum to 1.
        size: m, from 1 to N.
        excluded: Names an account never holds, booleans of shape (N,) or (A, N).
        required: Names an account must hold, the same shapes.
        upper: Most of a name as a fraction, shape (N,); None for no cap.
        required_min: Least weight of a required name.
        kicks: Search longer for a slightly smaller tracking error; 0 for the fastest answer.

    Raises:
        ValueError: If an array has another shape or holds what it may not, or if an account
            cannot be met: a name both excluded and required, more than `size` required, or caps
            and exclusions that leave no way to invest everything. The first such row is named.
    """
    ask = _checked(
        exposure, specific_variance, benchmark, size, excluded, required, upper, required_min
    )
    accounts = ask.state.shape[0]
    covariances = np.empty((ask.specific.size, ask.specific.size))
    sampling_kernels.covariance(ask.factor, ask.specific, covariances)
    settled = Sample(
        np.empty((accounts, ask.size), np.int64),
        np.empty((accounts, ask.size)),
        np.empty(accounts),
        np.empty(accounts),
    )
    shared = _share(ask) if ask.benchmark.shape[0] == 1 else None
    plan = np.array([ask.size, ask.size + CANDIDATES, kicks], dtype=np.int64)
    for first in range(0, accounts, _BLOCK):
        rows = slice(first, min(first + _BLOCK, accounts))
        _fill(ask, covariances, shared, plan, rows, settled)
    return settled


def _fill(
    ask: _Question,
    covariances: FloatArray,
    shared: Shared | None,
    plan: IntArray,
    rows: slice,
    settled: Sample,
) -> None:
    """Solve the accounts of some rows and write them into the sample."""
    state = ask.state[rows]
    if shared is None:
        benchmark = ask.benchmark[rows]
        c, constant, start = _pull(ask, benchmark)
        favourite = np.empty((0, ask.size), np.int64)
    else:
        benchmark, c, constant, start = ask.benchmark, shared.c, shared.constant, shared.duals
        favourite = shared.favourite
    bound, gain, _ = _bound(ask, c, constant, state, start)
    variance = np.empty(state.shape[0])
    sampling_kernels.search_rows(
        ask.factor,
        ask.specific,
        covariances,
        benchmark,
        c,
        ask.upper,
        state,
        gain,
        favourite,
        plan,
        ask.least,
        settled.member[rows],
        settled.weight[rows],
        variance,
    )
    settled.tracking_error[rows] = np.sqrt(variance)
    settled.bound[rows] = np.sqrt(np.maximum(2.0 * (bound - _ROUNDING * constant), 0.0))


def _share(ask: _Question) -> Shared:
    """Return what the account without wishes knows."""
    c, constant, start = _pull(ask, ask.benchmark)
    nothing = np.zeros((1, ask.specific.size), np.uint8)
    _, _, duals = _bound(ask, c, constant, nothing, start)
    return Shared(c, constant, duals, np.empty((0, ask.size), np.int64))


def _pull(ask: _Question, benchmark: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return c = S w, w'Sw / 2 and cold duals that know only nu = X'w, a row each."""
    rows, rank = benchmark.shape[0], ask.factor.shape[0]
    c, seen, constant = np.empty(benchmark.shape), np.empty((rows, rank)), np.empty(rows)
    sampling_kernels.pull(ask.factor, ask.specific, benchmark, c, seen, constant)
    start = np.zeros((rows, rank + 2))
    start[:, :rank] = seen
    return c, constant, start


def _bound(
    ask: _Question, c: FloatArray, constant: FloatArray, state: StateArray, start: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the perspective bound on half the squared error, gains (A, N) and duals (A, K + 2)."""
    rows = state.shape[0]
    bound, gain = np.empty(rows), np.empty(state.shape)
    duals = np.empty((rows, start.shape[1]))
    sampling_bounds.bound_rows(
        ask.factor,
        ask.loading,
        c,
        constant,
        ask.specific,
        ask.upper,
        state,
        ask.size,
        ask.least,
        start,
        bound,
        gain,
        duals,
    )
    return bound, gain, duals


def _checked(
    exposure: ArrayLike,
    specific_variance: ArrayLike,
    benchmark: ArrayLike,
    size: int,
    excluded: ArrayLike | None,
    required: ArrayLike | None,
    upper: ArrayLike | None,
    required_min: float,
) -> _Question:
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
    state = np.zeros((count, names), np.uint8)
    state[np.broadcast_to(out, state.shape)] = EXCLUDED
    wanted = np.broadcast_to(must, state.shape)
    _refuse("required names that are excluded", (wanted & (state == EXCLUDED)).any(axis=1))
    state[wanted] = REQUIRED
    _check_possible(state, np.minimum(cap, 1.0), size, required_min)
    factor = np.ascontiguousarray(loading.T)
    return _Question(factor, loading, specific, w, np.minimum(cap, 1.0), state, size, required_min)


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
        _refuse("no way to invest everything", usable.sum(axis=1) < 1 - _SUM_TOLERANCE)


def _refuse(what: str, bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
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
    if not (w >= 0).all() or not (np.abs(w.sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
        message = "benchmark must not be negative, and its rows must sum to 1"
        raise ValueError(message)
    return w


def _mask(
    name: str, values: ArrayLike | None, names: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    array = np.zeros((1, names), np.bool_) if values is None else np.asarray(values)
    mask = array.reshape(1, -1) if array.ndim == 1 else array
    if mask.dtype != np.bool_ or mask.shape != (len(mask), names):
        message = f"{name} must be booleans of shape ({names},) or (A, {names})"
        raise ValueError(message)
    return mask
