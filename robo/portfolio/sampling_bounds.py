"""The compiled lower bound of sampling: no choice of m names tracks better than this.

Notation, as in docs/sampling.md, with R = F F' a matrix that the quadratic form is known to
dominate together with diag(delta):

    f(h) >= constant - c'h + |F'h|^2 / 2 + sum delta_i h_i^2 / 2,   sum h = 1, 0 <= h_i <= u_i

For any nu (r,), mu and theta the number

    constant - |nu|^2 / 2 - mu - m theta - sum (G_i - theta)_+,   q_i = c_i - mu - F_i nu,
    G_i = max over 0 <= h <= u_i of  q_i h - delta_i h^2 / 2      (the one-name gain)

is below every f(h) with at most m names: |F'h|^2 / 2 >= nu'F'h - |nu|^2 / 2, what is left falls
apart into names, and m gains are no more than m theta + sum (G - theta)_+. It is concave; a damped
Newton method climbs it, the corner of (.)_+ rounded. It is true wherever the method stops.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from robo.portfolio.jit import (
    IN1_FLOATS,
    IN2_FLOATS,
    IN2_UBYTES,
    INT,
    OUT1_FLOATS,
    OUT2_FLOATS,
    inline,
    kernel,
)

FLOAT: Final = "float64"
FREE: Final = 0
EXCLUDED: Final = 1
REQUIRED: Final = 2

FloatArray = NDArray[np.float64]
StateArray = NDArray[np.uint8]

_STEPS: Final = 60
"""Newton steps an account may take; a warm start needs about eight."""
_HALVINGS: Final = 14
_WIDTH: Final = 0.03
"""Where the width of the rounded corner starts, in units of theta, when the duals are warm."""
_SHRINK: Final = 0.15
_ENOUGH: Final = 1.0
"""A width is done when a step promises less than this part of it."""
_TINY: Final = 1e-12
"""The least theta that a width is measured against, in squared annual returns."""
_WIDTH_LAST: Final = 4e-3
"""Where it ends: it costs the bound at most a quarter of it for each name in the corner."""


@inline
def _gain(q: float, delta: float, low: float, high: float) -> tuple[float, float, float]:
    """Return the one-name gain, the weight that attains it and the weight's slope in q."""
    h = q / delta
    slope = 1.0 / delta
    if h >= high:
        h, slope = high, 0.0
    elif h <= low:
        h, slope = low, 0.0
    return q * h - 0.5 * delta * h * h, h, slope


@inline
def _rounded(
    q: FloatArray,
    delta: FloatArray,
    high: FloatArray,
    state: StateArray,
    least: float,
    places: float,
    theta: float,
    width: float,
) -> float:
    """Return the gains of `places` free names, rounded upwards, and of those that must be in."""
    total: float = places * theta
    for i in range(q.size):
        if state[i] == FREE and q[i] > 0:
            h = min(q[i] / delta[i], high[i])
            over = q[i] * h - 0.5 * delta[i] * h * h - theta
            if over >= width:
                total += over
            elif over > -width:
                total += 0.25 * (over + width) * (over + width) / width
        elif state[i] == REQUIRED:
            total += _gain(q[i], delta[i], least, high[i])[0]
    return total


@inline
def _solve(matrix: FloatArray, vector: FloatArray) -> None:
    """Overwrite the vector with the solution, the upper triangle with its Cholesky factor."""
    size = vector.size
    for j in range(size):
        scale = 1.0 / np.sqrt(max(matrix[j, j], 1e-300))
        for k in range(j, size):
            matrix[j, k] *= scale
        for i in range(j + 1, size):
            head = matrix[j, i]
            for k in range(i, size):
                matrix[i, k] -= head * matrix[j, k]
    for j in range(size):
        vector[j] /= matrix[j, j]
        for k in range(j + 1, size):
            vector[k] -= matrix[j, k] * vector[j]
    for j in range(size - 1, -1, -1):
        for k in range(j + 1, size):
            vector[j] -= matrix[j, k] * vector[k]
        vector[j] /= matrix[j, j]


@inline
def _price(factor: FloatArray, c: FloatArray, duals: FloatArray, q: FloatArray) -> None:
    """Write q = c - mu - F nu; factors run along rows, so that names are contiguous."""
    rank = factor.shape[0]
    for i in range(q.size):
        q[i] = c[i] - duals[rank]
    for k in range(rank):
        row, nu = factor[k], duals[k]
        for i in range(q.size):
            q[i] -= nu * row[i]


@inline
def _fixed_part(duals: FloatArray) -> float:
    """Return |nu|^2 / 2 + mu, what the duals cost before any name is looked at."""
    rank = duals.size - 2
    total = float(duals[rank])
    for k in range(rank):
        total += 0.5 * duals[k] * duals[k]
    return total


@inline
def _newton(
    loading: FloatArray,
    q: FloatArray,
    delta: FloatArray,
    high: FloatArray,
    state: StateArray,
    least: float,
    places: float,
    duals: FloatArray,
    width: float,
    matrix: FloatArray,
    slope: FloatArray,
    step: FloatArray,
) -> float:
    """Write the Newton step of the rounded bound and return how much it promises."""
    rank = loading.shape[1]
    matrix[:] = 0.0
    for k in range(rank):
        matrix[k, k] = 1.0
        slope[k] = -duals[k]
    slope[rank] = -1.0
    slope[rank + 1] = -places
    for i in range(q.size):
        share, bend = 1.0, 0.0
        if state[i] == FREE:
            if q[i] <= 0:
                continue
            gain, h, rate = _gain(q[i], delta[i], 0.0, high[i])
            over = gain - duals[rank + 1]
            if over <= -width:
                continue
            if over < width:
                share, bend = 0.5 * (over / width + 1.0), 0.5 / width
            slope[rank + 1] += share
            matrix[rank + 1, rank + 1] += bend
        elif state[i] == REQUIRED:
            gain, h, rate = _gain(q[i], delta[i], least, high[i])
        else:
            continue
        row = loading[i]
        push = share * h
        curve = share * rate + bend * h * h
        for k in range(rank):
            slope[k] += push * row[k]
            head = curve * row[k]
            for other in range(k, rank):
                matrix[k, other] += head * row[other]
            matrix[k, rank] += head
            matrix[k, rank + 1] += bend * h * row[k]
        slope[rank] += push
        matrix[rank, rank] += curve
        matrix[rank, rank + 1] += bend * h
    if matrix[rank, rank] <= 0.0:
        matrix[rank, rank] = 1.0 / delta[0]  # no name is in: any step length will do
    if matrix[rank + 1, rank + 1] <= 0.0:
        matrix[rank + 1, rank + 1] = 1.0 / width
    for k in range(rank + 2):
        matrix[k, k] *= 1.0 + 1e-10
        step[k] = slope[k]
    _solve(matrix, step)
    promise: float = 0.0
    for k in range(rank + 2):
        promise += slope[k] * step[k]
    return promise


@inline
def _descend(heap: FloatArray, count: int) -> None:
    """Let the head of a heap of the `count` largest (least first) sink to its place."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            return
        if child + 1 < count and heap[child + 1] < heap[child]:
            child += 1
        if heap[at] <= heap[child]:
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@inline
def _threshold(gain: FloatArray, state: StateArray, places: int, heap: FloatArray) -> float:
    """Return the gain of the last free name that finds a place, 0 if all do: the best theta."""
    heap[:places] = 0.0
    for i in range(gain.size):
        if state[i] == FREE and gain[i] > heap[0]:
            heap[0] = gain[i]
            _descend(heap, places)
    return float(heap[0])


@inline
def _gains(
    q: FloatArray,
    delta: FloatArray,
    high: FloatArray,
    state: StateArray,
    least: float,
    gain: FloatArray,
) -> None:
    """Write the one-name gain of every name; none where a name is excluded."""
    for i in range(q.size):
        if state[i] == EXCLUDED or (state[i] == FREE and q[i] <= 0):
            gain[i] = 0.0
        else:
            gain[i] = _gain(q[i], delta[i], least if state[i] == REQUIRED else 0.0, high[i])[0]


@inline
def _begin(
    q: FloatArray,
    delta: FloatArray,
    high: FloatArray,
    state: StateArray,
    least: float,
    places: int,
    duals: FloatArray,
    gain: FloatArray,
    heap: FloatArray,
) -> None:
    """Find mu and theta for a given nu: the best names should hold about the whole account."""
    rank = duals.size - 2
    for _ in range(4):
        _gains(q, delta, high, state, least, gain)
        theta = _threshold(gain, state, places, heap)
        held, rate = -1.0, 0.0
        for i in range(q.size):
            if state[i] == REQUIRED or (state[i] == FREE and gain[i] >= theta):
                held += _gain(q[i], delta[i], 0.0, high[i])[1]
                rate += 1.0 / delta[i]
        move = held / rate
        duals[rank] += move
        for i in range(q.size):
            q[i] -= move
    _gains(q, delta, high, state, least, gain)
    duals[rank + 1] = _threshold(gain, state, places, heap) if places > 0 else 0.0


@kernel(
    IN2_FLOATS,
    IN2_FLOATS,
    IN2_FLOATS,
    IN1_FLOATS,
    IN1_FLOATS,
    IN1_FLOATS,
    IN2_UBYTES,
    INT,
    FLOAT,
    IN2_FLOATS,
    OUT1_FLOATS,
    OUT2_FLOATS,
    OUT2_FLOATS,
)
def bound_rows(
    factor: FloatArray,
    loading: FloatArray,
    c: FloatArray,
    constant: FloatArray,
    delta: FloatArray,
    upper: FloatArray,
    state: StateArray,
    size: int,
    least: float,
    start: FloatArray,
    bound: FloatArray,
    gain: FloatArray,
    duals: FloatArray,
) -> int:
    """Write each account's bound, the gains and the duals that prove it.

    Args:
        factor: F', shape (r, P): prices run along names.
        loading: F, shape (P, r): the same numbers, because curvature runs along factors.
        c: Shape (1, P) or (A, P).
        constant: Shape (1,) or (A,), as c.
        delta: Shape (P,), positive.
        upper: Most of a name, shape (P,).
        state: Shape (A, P): `FREE`, `EXCLUDED` or `REQUIRED`.
        size: m, at least the number of required names.
        least: What a required name has at least.
        start: Shape (1, r + 2) or (A, r + 2): nu, mu, theta; theta 0 says that only nu is meant.
        bound: Shape (A,).
        gain: Shape (A, P).
        duals: Shape (A, r + 2).
    """
    rank, names = factor.shape
    matrix = np.empty((rank + 2, rank + 2))
    slope, step = np.empty(rank + 2), np.empty(rank + 2)
    q, move, heap = np.empty(names), np.empty(names), np.empty(size + 1)
    for a in range(state.shape[0]):
        own = 0 if c.shape[0] == 1 else a
        stand, places = state[a], size
        for i in range(names):
            places -= stand[i] == REQUIRED
        point = duals[a]
        point[:] = start[0 if start.shape[0] == 1 else a]
        _price(factor, c[own], point, q)
        width = _WIDTH
        if point[rank + 1] <= 0.0:
            _begin(q, delta, upper, stand, least, places, point, gain[a], heap)
            width = 0.5
        theta = max(point[rank + 1], _TINY)
        many = float(places)
        for _ in range(_STEPS):
            promise = _newton(
                loading,
                q,
                delta,
                upper,
                stand,
                least,
                many,
                point,
                width * theta,
                matrix,
                slope,
                step,
            )
            for i in range(names):
                move[i] = -step[rank]
            for k in range(rank):
                row, nu = factor[k], step[k]
                for i in range(names):
                    move[i] -= nu * row[i]
            before = _fixed_part(point) + _rounded(
                q, delta, upper, stand, least, many, point[rank + 1], width * theta
            )
            length, sure = 1.0, False
            for _ in range(_HALVINGS):
                for k in range(rank + 2):
                    point[k] += length * step[k]
                for i in range(names):
                    q[i] += length * move[i]
                after = _fixed_part(point) + _rounded(
                    q, delta, upper, stand, least, many, point[rank + 1], width * theta
                )
                if after <= before - 1e-4 * length * promise:
                    sure = True
                    break
                for k in range(rank + 2):
                    point[k] -= length * step[k]
                for i in range(names):
                    q[i] -= length * move[i]
                length *= 0.5
            if not sure or promise < _ENOUGH * width * theta:
                if width <= _WIDTH_LAST:
                    break
                width = max(width * _SHRINK, _WIDTH_LAST)
                theta = max(point[rank + 1], _TINY)
        _price(factor, c[own], point, q)
        _gains(q, delta, upper, stand, least, gain[a])
        point[rank + 1] = _threshold(gain[a], stand, places, heap) if places > 0 else 0.0
        total = constant[own] - _fixed_part(point) - many * point[rank + 1]
        for i in range(names):
            if stand[i] == REQUIRED:
                total -= gain[a, i]
            elif gain[a, i] > point[rank + 1]:
                total -= gain[a, i] - point[rank + 1]
        bound[a] = total
    return -1
