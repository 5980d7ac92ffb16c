"""How an index and its samples swing: a denoised factor model of any number of names.

S = X X' + diag(d), annual; X (N, K) factor loadings, d (N,) specific variances, positive
definite by construction. Column 0 is the market; the others are what sectors, styles and the
data itself say, in the order of their weight.

How it is made, from returns r of T sessions (docs/risk.md has the reasons and the figures):

1. extremes are clipped, the market m is the size-weighted return, betas are weighted least
   squares shrunk to their sector's (Vasicek);
2. residuals are divided by q, how restless that session was across names, and by the name's
   own volatility in those units, itself shrunk to what its sector and size suggest: z;
3. the correlation of z is the mean of two views: spikes above the noise edge (shrinkage.py),
   and sectors and styles with known exposures; a new listing takes the second view whole;
4. the K - 1 heaviest directions of that are columns of X, and d is what they leave;
5. market, factors and specific parts are each scaled to the variance expected next, from
   memories of a week, a month, a quarter and a year; a factor restless of late counts more.

The ten-stock baskets keep the one-factor model of `risk.py`, which asks for less.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.portfolio.factor_moments import (
    TINY,
    TUNING,
    Tuning,
    Window,
    betas,
    log_size,
    restlessness,
    standardised,
    volatilities,
    window,
)
from robo.portfolio.problem import Market
from robo.portfolio.shrinkage import (
    decay_weights,
    effective_sessions,
    factor_correlation,
    remembered_variance,
    spikes,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SESSIONS_A_YEAR: Final = 252
TAIL: Final = 10.0
"""A specific shock counts as at most this many volatilities, on that session's scale."""
REVEALED_MIN: Final = 1e-3
"""Below this share of its variance revealed, a factor is not spoken of alone."""
MOMENTUM: Final = (252, 21)
"""Momentum: the return from a year ago to a month ago, over volatility."""


@dataclass(frozen=True, slots=True)
class FactorModel:
    """S = X X' + diag(d), annual, and where it comes from."""

    exposure: FloatArray
    """X, shape (N, K); column 0 is the market."""
    specific_variance: FloatArray
    """d, shape (N,), positive."""
    observations: IntArray
    """Shape (N,): returns behind each name; few means structural values."""
    sessions: int
    spikes: int
    """How many directions stood above the noise."""
    market_volatility: float
    """Annual."""
    restlessness: tuple[float, float]
    """Variance expected next of (factors, specific parts), relative to the window's ordinary."""

    def covariance(self) -> FloatArray:
        """Return S whole, shape (N, N): for small N and for tests."""
        return self.exposure @ self.exposure.T + np.diag(self.specific_variance)


def market(model: FactorModel, price_micros: IntArray, cost_ppm: IntArray) -> Market:
    """Return the optimizer's market: the model with prices and costs of the day."""
    return Market(model.exposure, model.specific_variance, price_micros, cost_ppm)


def volatility(model: FactorModel, weight: ArrayLike) -> FloatArray:
    """Return the annual volatility of portfolios or of active positions.

    Args:
        model: The fitted model.
        weight: Fractions, shape (N,) or (A, N); what is missing to 1 is cash.
    """
    x = np.asarray(weight, dtype=np.float64)
    common = ((x @ model.exposure) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(common + (x * x) @ model.specific_variance))


def tracking_error(model: FactorModel, weight: ArrayLike, benchmark: ArrayLike) -> FloatArray:
    """Return the annual standard deviation of the return difference to a benchmark."""
    active = np.asarray(weight, dtype=np.float64) - np.asarray(benchmark, dtype=np.float64)
    return volatility(model, active)


SPECIFIC_MIN: Final = 1e-4
"""Least specific variance as a part of the mean variance of all names. A price that never moves is
not known to be safe, and S stays positive definite in floating point as well."""


def fit_factors(
    returns: ArrayLike,
    sector: ArrayLike,
    size: ArrayLike,
    *,
    factors: int = 30,
    tuning: Tuning = TUNING,
) -> FactorModel:
    """Return the model of the last sessions.

    Args:
        returns: Simple returns, shape (T, N), oldest first; NaN where there is none.
        sector: A number for each name's sector, shape (N,); equal numbers, same sector.
        size: Weight in the market (capitalisation), shape (N,), not negative, any unit.
        factors: K at most; fewer when there are not that many names.
        tuning: The constants.

    Raises:
        ValueError: If shapes differ, a return is infinite or below -1, sizes are unusable,
            `factors` is less than 2, or fewer than 60 sessions or no names move.
    """
    if factors < 2:  # noqa: PLR2004 - the market and at least one more
        message = "factors must be at least 2"
        raise ValueError(message)
    taken = window(returns, sector, size, tuning)
    beta = betas(taken, tuning.beta_half_life)
    residual = np.where(taken.seen, taken.r - taken.market[:, None] * beta, 0.0)
    rest = restlessness(residual / taken.scale, taken.seen)
    own = volatilities(residual / rest[:, None], taken, tuning)
    shocks = residual / own
    loading, count = _loadings(shocks / rest[:, None], own, beta, taken, factors, tuning)
    share = 1.0 - (loading * loading).sum(axis=1)
    factor_scale, specific_scale = _regimes(shocks, loading, share, rest, taken, tuning)
    market_variance = SESSIONS_A_YEAR * remembered_variance(
        taken.market * taken.market, tuning.memories, tuning.memory_shares, typical=False
    )
    scale = np.sqrt(SESSIONS_A_YEAR * factor_scale)
    exposure = np.column_stack([beta * np.sqrt(market_variance), own[:, None] * loading * scale])
    specific = SESSIONS_A_YEAR * specific_scale * own * own * share
    ordinary = float(decay_weights(rest.size, tuning.slow_half_life) @ (rest * rest))
    return FactorModel(
        exposure,
        np.maximum(specific, SPECIFIC_MIN * float(np.mean((exposure**2).sum(axis=1) + specific))),
        taken.count,
        taken.r.shape[0],
        count,
        float(np.sqrt(market_variance)),
        (float(factor_scale.mean()) / ordinary, specific_scale / ordinary),
    )


def _loadings(
    z: FloatArray,
    own: FloatArray,
    beta: FloatArray,
    taken: Window,
    factors: int,
    tuning: Tuning,
) -> tuple[FloatArray, int]:
    """Return the loadings of standardised residuals, shape (N, K - 1), and how many spikes."""
    weight = decay_weights(z.shape[0], tuning.correlation_half_life)
    scaled = np.clip(z, -5.0, 5.0) * np.sqrt(weight)[:, None]
    scaled /= np.sqrt(np.maximum((scaled * scaled).sum(axis=0), TINY))
    direction, eta = spikes(scaled, effective_sessions(weight), tuning.spikes_max)
    style = _characteristics(own, beta, taken)
    between = factor_correlation(scaled, style)
    # What is not seen of a name cannot speak for it: the structural view takes that share too.
    spoken = np.sqrt((1.0 - tuning.structure_share) * np.minimum(weight @ taken.seen, 1.0))
    seen = spoken[:, None]
    # The joint view is s V eta V's + Z F Z' - s Z F Z's: some forty columns say all of it.
    parts = np.hstack([seen * direction, style, seen * style])
    inner = np.zeros((parts.shape[1], parts.shape[1]))
    start, end = eta.size, eta.size + style.shape[1]
    inner[:start, :start] = np.diag(eta)
    inner[start:end, start:end] = between
    inner[end:, end:] = -between
    value, vector = _eigen(parts, inner, factors - 1)
    vector = vector * np.where(vector.sum(axis=0) < 0, -1.0, 1.0)
    loading = vector * np.sqrt(np.maximum(value, 0.0))
    common = (loading * loading).sum(axis=1)
    most = 1.0 - tuning.specific_share_min
    return loading * np.sqrt(np.minimum(1.0, most / np.maximum(common, TINY)))[:, None], eta.size


def _eigen(parts: FloatArray, inner: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """Return the largest eigenvalues of P M P', falling, and their vectors; zeros fill up.

    Args:
        parts: P, shape (N, m), m much smaller than N.
        inner: M, shape (m, m), symmetric.
        most: So many at most; no more than N.
    """
    basis, root = np.linalg.qr(parts)
    found, turn = np.linalg.eigh(root @ inner @ root.T)
    count = min(most, parts.shape[0])
    value, vector = np.zeros(count), np.zeros((parts.shape[0], count))
    some = min(count, found.size)
    value[:some] = found[::-1][:some]
    vector[:, :some] = (basis @ turn)[:, ::-1][:, :some]
    return value, vector


def _characteristics(own: FloatArray, beta: FloatArray, taken: Window) -> FloatArray:
    """Return Z, shape (N, S + 4): sectors, size, volatility, beta, momentum."""
    start, end = MOMENTUM
    momentum = taken.r[-start:-end].sum(axis=0) / own
    styles = (log_size(taken.size), *map(standardised, (np.log(own), beta, momentum)))
    return np.column_stack([taken.member, *styles])


def _regimes(
    shocks: FloatArray,
    loading: FloatArray,
    share: FloatArray,
    rest: FloatArray,
    taken: Window,
    tuning: Tuning,
) -> tuple[FloatArray, float]:
    """Return the variance to expect next of each factor and of specific parts, in units of z.

    A session's factor returns are their posterior mean given the names seen that day. What the
    posterior leaves open is added back to the mean squares: of a factor through `learnt`, the
    share of its variance that the day's names reveal; of specific parts through the degrees of
    freedom that the factors took.
    """
    sessions, columns = shocks.shape[0], loading.shape[1]
    weighted = loading / share[:, None]
    product = (loading[:, :, None] * weighted[:, None, :]).reshape(loading.shape[0], -1)
    gram = (taken.seen @ product).reshape(sessions, columns, columns) + np.eye(columns)
    factor = np.linalg.solve(gram, (shocks @ weighted)[:, :, None])[:, :, 0]
    learnt = 1.0 - np.einsum("tkk->tk", np.linalg.inv(gram))
    freedom = learnt.sum(axis=1)
    common = (factor * factor).sum(axis=1) / np.maximum(freedom, TINY)
    left = np.where(taken.seen, shocks - factor @ loading.T, 0.0)
    square = np.minimum(left * left / share, (TAIL * rest[:, None]) ** 2)
    specific = square.sum(axis=1) / np.maximum(taken.seen.sum(axis=1) - freedom, 1.0)
    joint = remembered_variance(common, tuning.memories, tuning.memory_shares, typical=True)
    return (
        joint * _temper(factor / rest[:, None], learnt, tuning),
        remembered_variance(specific, tuning.memories, tuning.memory_shares, typical=True),
    )


def _temper(factor: FloatArray, learnt: FloatArray, tuning: Tuning) -> FloatArray:
    """Return each factor's variance of late beside what all factors have, shape (K - 1,)."""
    weight = decay_weights(factor.shape[0], tuning.factor_half_life)
    square, mass = weight @ (factor * factor), weight @ learnt
    usual = max(float(square.sum()), TINY) / max(float(mass.sum()), TINY)
    # A column that no name loads on reveals nothing, and its ratio would be noise.
    revealed = mass > REVEALED_MIN
    late = np.where(revealed, square / np.where(revealed, mass, 1.0) / usual, 1.0)
    known = effective_sessions(weight)
    return np.asarray((known * late + tuning.factor_prior) / (known + tuning.factor_prior))
