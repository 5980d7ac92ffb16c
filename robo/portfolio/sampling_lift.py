"""A stronger lower bound for few names, found once and good for every account.

The perspective bound takes S = X X' + diag(d) apart as it was built. Any other way to write

    S = R + N + diag(delta),   R positive semidefinite, N >= 0 with zero diagonal, delta > 0

is as true for weights h >= 0, because h'Nh >= 0: then h'Sh >= h'Rh + sum delta_i h_i^2, and the
same one-name argument applies to R and delta. N takes the covariance of names that are never held
together (two of one industry), which leaves more for delta, and delta is what makes choosing few
names cost something. The best R, N and delta solve a semidefinite programme in the moments of h,

    min <S, H> / 2 - c'h   over  (1, h'; h, H) psd,  H_ij >= 0,  (z_i, h_i; h_i, H_ii) psd,
                                 sum h = 1,  sum z = m,  0 <= z <= 1,

whose multipliers they are. The alternating direction method below solves it roughly; `certify`
turns what it has into a decomposition that is true to the last digit: N is cut at zero, delta
takes the blame for a negative eigenvalue. Nothing is claimed that is not checked there.

Sources: Frangioni, Gentile (2006), perspective cuts; Zheng, Sun, Li (2014), on the choice of the
diagonal; Wen, Goldfarb, Yin (2010), the method for semidefinite programmes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from robo.portfolio.sampling_kernels import FloatArray, IntArray

STEPS: Final = 2_500
_LOOK: Final = 250
"""Steps between decompositions handed out."""
_RELAX: Final = 1.8
_PENALTY: Final = 0.03
_ADAPT: Final = (20, 400, 5.0, 1.5)
"""The penalty may change every 20 steps of the first 400, by 1.5, where residuals differ 5-fold."""
_DIGITS: Final = 6
"""N and delta are rounded, so that the last bits of an eigenvalue routine leave no trace."""
_MARGIN: Final = 1e-9
"""Eigenvalues are lifted by this part of the mean variance more than they need."""
_NEGLIGIBLE: Final = 3e-4
"""What is left of R when its factor stops, as a part of the mean of delta: leaving out is safe."""
_BLUR: Final = 0.1
"""Names whose gain is within this part of the threshold count as chosen in part at the start."""
_DIRECTIONS: Final = 40
"""Directions of R in which an account's own duals may move; the others stay where they were."""


@dataclass(frozen=True, slots=True)
class Lift:
    """S >= F F' + N + diag(delta) on a pool of names, N >= 0."""

    pool: IntArray
    """Names, shape (P,), rising."""
    factor: FloatArray
    """F', shape (r, P)."""
    loading: FloatArray
    """F, shape (P, r)."""
    delta: FloatArray
    """Shape (P,), positive."""
    c: FloatArray
    """Shape (1, P): S w, less the pull of directions whose duals are fixed."""
    constant: FloatArray
    """Shape (1,): w'Sw / 2, less what fixing those duals costs."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """What the plain relaxation says about a pool of P names; arrays have shape (P,)."""

    c: FloatArray
    """S w."""
    delta: FloatArray
    """Specific variances."""
    gain: FloatArray
    """G of each name."""
    threshold: float
    """theta."""

    @property
    def usual(self) -> FloatArray:
        """Return what a name holds if it is chosen, about; the unit its weight is measured in."""
        return np.asarray(np.sqrt(2 * self.gain / self.delta))


@dataclass(slots=True)
class _Point:
    """Moments and selections; `moment` is (1, h'; h, H), `square` the copy of H's diagonal."""

    moment: FloatArray
    z: FloatArray
    h: FloatArray
    square: FloatArray

    def mixed(self, other: "_Point", share: float, more: float) -> "_Point":
        """Return share times this plus `more` times the other."""
        return _Point(
            share * self.moment + more * other.moment,
            share * self.z + more * other.z,
            share * self.h + more * other.h,
            share * self.square + more * other.square,
        )

    def distance(self, other: "_Point") -> float:
        """Return the Euclidean distance."""
        parts = self.mixed(other, 1.0, -1.0)
        arrays = (parts.moment, parts.z, parts.h, parts.square)
        return float(np.sqrt(sum(np.sum(array**2) for array in arrays)))


def decompositions(
    covariances: FloatArray, plain: Relaxed, size: int, steps: int = STEPS
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield better and better (N, delta) as they are found; `certify` makes them safe.

    The start is the decomposition that S was built with, N = 0 and delta = d, and the moments of
    the plain relaxation.

    Args:
        covariances: S on the pool, shape (P, P).
        plain: The plain relaxation on the pool.
        size: m, less than P.
        steps: How long to work.
    """
    unit = np.maximum(plain.usual, 0.1 * float(plain.usual.mean()))
    stake = 2 * float(np.mean(np.abs(plain.c) * unit))
    cost = _bordered(covariances, -plain.c, 0.0, unit) / stake
    penalty = _PENALTY
    here, dual = _start(covariances, plain, size, unit)
    dual = dual.mixed(dual, 1 / (penalty * stake), 0.0)
    every, until, apart, factor = _ADAPT
    for step in range(1, steps + 1):
        cone, curve = _into_cones(here.mixed(dual, 1.0, -1.0))
        target = cone.mixed(here, _RELAX, 1 - _RELAX).mixed(dual, 1.0, 1.0)
        pulled = target.moment - cost / penalty
        following, barred = _into_plane(pulled, target, size, unit)
        dual = target.mixed(following, 1.0, -1.0)
        primal, move = cone.distance(following), following.distance(here)
        here = following
        if step % _LOOK == 0:
            back = penalty * stake
            yield back * barred / np.multiply.outer(unit, unit), back * curve / unit**2
        if step % every == 0 and step < until:
            change = factor if primal > apart * move else 1.0
            change = 1 / factor if move > apart * primal else change
            penalty *= change
            dual = dual.mixed(dual, 1 / change, 0.0)


def _bordered(inner: FloatArray, border: FloatArray, corner: float, unit: FloatArray) -> FloatArray:
    """Return (corner, border'; border, inner) for weights measured in units."""
    whole = np.empty((unit.size + 1, unit.size + 1))
    whole[0, 0] = corner
    whole[0, 1:] = whole[1:, 0] = border * unit
    whole[1:, 1:] = inner * np.multiply.outer(unit, unit)
    return whole


def _start(
    covariances: FloatArray, plain: Relaxed, size: int, unit: FloatArray
) -> tuple[_Point, _Point]:
    """Return the plain relaxation's moments, and its multipliers for a penalty of 1."""
    tiny = np.finfo(float).tiny
    above = (plain.gain - plain.threshold) / max(_BLUR * plain.threshold, tiny)
    z = 1 / (1 + np.exp(-np.clip(above, -500, 500)))
    z = np.minimum(z * size / z.sum(), 1.0)
    held = plain.usual / unit
    h = z * held / float(z @ plain.usual)
    square = h**2 / np.maximum(z, tiny)
    ray = np.append(1.0, h)
    moment = np.outer(ray, ray)
    np.fill_diagonal(moment, np.append(1.0, square))
    rest = covariances - np.diag(plain.delta)
    seen = rest @ (h * unit)
    curve = plain.delta * unit**2
    multiplier = _bordered(rest, -seen, float(seen @ (h * unit)), unit)
    return _Point(moment, z, h, square), _Point(multiplier, curve * held**2, -curve * held, curve)


def _into_cones(point: _Point) -> tuple[_Point, FloatArray]:
    """Return the nearest point whose matrices are positive semidefinite, and delta's multiplier."""
    value, vector = np.linalg.eigh(point.moment)
    low = vector[:, value < 0]
    moment = point.moment - (low * value[value < 0]) @ low.T
    mean, half = (point.z + point.square) / 2, (point.z - point.square) / 2
    radius = np.maximum(np.hypot(half, point.h), np.finfo(float).tiny)
    large, small = np.maximum(mean + radius, 0), np.maximum(mean - radius, 0)
    turn = (large - small) / (2 * radius)
    square = (large + small) / 2 - turn * half
    cone = _Point(moment, (large + small) / 2 + turn * half, turn * point.h, square)
    return cone, square - point.square


def _into_plane(
    moment: FloatArray, point: _Point, size: int, unit: FloatArray
) -> tuple[_Point, FloatArray]:
    """Return the nearest point that obeys sums, signs and copies, and N's multiplier."""
    inner = np.arange(1, moment.shape[0])
    h = (moment[0, 1:] + point.h) / 2
    h += unit * (1 - h @ unit) / (unit @ unit)
    square = (moment[inner, inner] + point.square) / 2
    low, high = float(point.z.min()) - 1, float(point.z.max())
    for _ in range(50):
        middle = (low + high) / 2
        if np.clip(point.z - middle, 0, 1).sum() > size:
            low = middle
        else:
            high = middle
    put = np.maximum(moment, 0)
    barred = (put - moment)[1:, 1:]
    np.fill_diagonal(barred, 0.0)
    put[0, 0] = 1.0
    put[0, 1:] = put[1:, 0] = h
    put[inner, inner] = square
    return _Point(put, np.clip(point.z - (low + high) / 2, 0, 1), h, square), barred


def certify(
    covariances: FloatArray,
    c: FloatArray,
    constant: FloatArray,
    pool: IntArray,
    apart: FloatArray,
    delta: FloatArray,
) -> Lift | None:
    """Return a decomposition that holds exactly, or None if these numbers are not near one.

    Args:
        covariances: S on the pool, shape (P, P).
        c: S w on the pool, shape (P,).
        constant: w'Sw / 2, shape (1,).
        pool: Names, shape (P,).
        apart: N as it was found, shape (P, P); what is negative is cut.
        delta: Shape (P,).
    """
    unit = float(np.diag(covariances).mean())
    apart = np.maximum(np.round((apart + apart.T) / (2 * unit), _DIGITS), 0.0) * unit
    delta = np.round(delta / unit, _DIGITS) * unit
    rest = covariances - apart - np.diag(delta)
    lowest = float(np.linalg.eigvalsh(rest)[0])
    shift = np.ceil(max(-lowest, 0.0) / unit * 1e8 + 1) / 1e8 * unit + _MARGIN * unit
    delta = delta - shift
    if not (delta > 0).all():
        return None
    rest = rest + shift * np.eye(delta.size)
    factor = _factor(rest, _NEGLIGIBLE * float(delta.mean()))
    loading = np.ascontiguousarray(factor.T)
    return Lift(pool, factor, loading, delta, c.reshape(1, -1), constant)


def narrowed(lift: Lift, nu: FloatArray) -> tuple[Lift, FloatArray]:
    """Return the lift with most of its duals fixed, and the others of these.

    |F'h|^2 / 2 >= nu'F'h - |nu|^2 / 2 holds for any nu, so a direction whose dual stays where it is
    best for the account without wishes keeps the bound true and leaves an account less to find. The
    heaviest directions stay free: they are those that an exclusion moves.

    Args:
        lift: With all its r directions.
        nu: Its best duals, shape (r,).
    """
    if lift.factor.shape[0] <= _DIRECTIONS:
        return lift, nu
    turn = np.linalg.eigh(lift.factor @ lift.factor.T)[1][:, ::-1]
    dual, factor = turn.T @ nu, turn.T @ lift.factor
    fixed, factor = factor[_DIRECTIONS:], np.ascontiguousarray(factor[:_DIRECTIONS])
    narrow = replace(
        lift,
        factor=factor,
        loading=np.ascontiguousarray(factor.T),
        c=lift.c - dual[_DIRECTIONS:] @ fixed,
        constant=lift.constant - float(dual[_DIRECTIONS:] @ dual[_DIRECTIONS:]) / 2,
    )
    return narrow, dual[:_DIRECTIONS]


def _factor(matrix: FloatArray, enough: float) -> FloatArray:
    """Return F' with F F' <= the matrix: Cholesky's columns, largest pivot first, until small."""
    rest = matrix.copy()
    rows = []
    for _ in range(rest.shape[0]):
        at = int(np.argmax(np.diag(rest)))
        if rest[at, at] <= enough:
            break
        row = rest[at] / np.sqrt(rest[at, at])
        rest -= np.multiply.outer(row, row)
        rows.append(row)
    return np.array(rows).reshape(len(rows), rest.shape[0])
