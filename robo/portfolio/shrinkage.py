"""What to believe of noisy moments: decaying weights, denoised correlations, tomorrow's variance.

Notation: T sessions, N names; `C` (N, N) a sample correlation matrix, lambda its eigenvalues,
gamma = N / T the crowding; l the eigenvalue that nature used, c^2 how much of a true direction
the sample direction shows.

Sources: Marchenko and Pastur (1967) for the bulk of noise eigenvalues; Baik and Silverstein
(2006) for l and c^2 of a spike above it; Donoho, Gavish and Johnstone (2018), "Optimal
Shrinkage of Eigenvalues in the Spiked Covariance Model", for what is left of it; Corsi (2009)
for variances that remember several horizons.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

NOISE_ROUNDS: Final = 4
"""Noise level and number of spikes depend on each other; they settle within three rounds."""
NOISE_LEAST: Final = 0.2
"""The noise part of a standardised return is never taken for less."""


def decay_weights(sessions: int, half_life: float) -> FloatArray:
    """Return weights that sum to 1, the last the largest, halving every `half_life` sessions."""
    age = np.arange(sessions - 1, -1, -1, dtype=np.float64)
    weight = np.exp2(-age / half_life)
    return np.asarray(weight / weight.sum())


def effective_sessions(weight: FloatArray) -> float:
    """Return how many equally weighted sessions tell as much as these: 1 / sum of squares."""
    return float(1.0 / np.sum(weight * weight))


def remembered_variance(
    square: FloatArray,
    half_lives: tuple[float, ...],
    shares: tuple[float, ...],
    *,
    typical: bool,
) -> float:
    """Return the variance to expect next, from averages with several memories.

    Args:
        square: Squared shocks by session, oldest first, not negative.
        half_lives: The memories, in sessions.
        shares: The weight of each memory; they sum to 1.
        typical: True for the geometric mean of the memories, which the next quarter exceeds as
            often as not; False for the plain mean, which is right on average and so higher.
    """
    means = np.array([decay_weights(square.size, half) @ square for half in half_lives])
    if not typical:
        return float(means @ np.array(shares))
    return float(np.exp(np.log(np.maximum(means, np.finfo(np.float64).tiny)) @ np.array(shares)))


def spikes(shocks: FloatArray, sessions: float, most: int) -> tuple[FloatArray, FloatArray]:
    """Return what of a sample correlation matrix is more than noise: directions and variances.

    The matrix without noise is V diag(eta) V' plus a diagonal. An eigenvalue that a matrix of
    pure noise could show gives nothing; one above that edge gives what nature has along the
    sample's direction: (l - 1) c^2 of the noise level.

    Args:
        shocks: Y, shape (T, N), standardised so that C = Y'Y.
        sessions: Effective number of sessions behind it.
        most: No more spikes than this.

    Returns:
        V, shape (N, k), and eta, shape (k,), falling; k may be 0.
    """
    names = shocks.shape[1]
    # Y'Y has the eigenvalues of YY', and zeros: names are three times as many as sessions.
    few = shocks if shocks.shape[0] < names else shocks.T
    found, side = np.linalg.eigh(few @ few.T)
    value = np.zeros(names)
    value[: found.size] = found[::-1]
    gamma = names / sessions
    edge = (1.0 + np.sqrt(gamma)) ** 2
    allowed = np.arange(names) < most
    noise = max(float(value[most:].mean()) if most < names else NOISE_LEAST, NOISE_LEAST)
    eta = np.zeros(names)
    for _ in range(NOISE_ROUNDS):
        ratio = value / noise
        above = allowed & (ratio > edge)
        seen = np.where(above, ratio, edge + 1.0)
        # The inverse of seen = l (1 + gamma / (l - 1)), the larger root.
        half = (seen + 1.0 - gamma) / 2.0
        true = half + np.sqrt(np.maximum(half * half - seen, 0.0))
        shown = (1.0 - gamma / (true - 1.0) ** 2) / (1.0 + gamma / (true - 1.0))
        eta = np.where(above, (true - 1.0) * shown * noise, 0.0)
        noise = max(float((value.sum() - eta.sum()) / names), NOISE_LEAST)
    count = int(np.count_nonzero(eta > 0))
    side = side[:, ::-1][:, :count]
    if few is shocks:
        side = shocks.T @ side / np.sqrt(value[:count])
    return side, eta[:count]


def factor_correlation(shocks: FloatArray, characteristic: FloatArray) -> FloatArray:
    """Return the covariance of the factors whose exposures are known, without their noise.

    Each session's returns are regressed on the characteristics; the moments of the slopes
    follow from C alone. The specific parts of the names put noise into every slope, which is
    taken off; what becomes negative is set to zero.

    Args:
        shocks: Y, shape (T, N), standardised so that C = Y'Y.
        characteristic: Z, shape (N, S): sectors as 0 and 1, styles in standard deviations.

    Returns:
        Shape (S, S), positive semidefinite, so that Z F Z' is the structural part of C.
    """
    names, styles = characteristic.shape
    gram = characteristic.T @ characteristic
    # The ridge keeps a style that repeats another, or an empty sector, from dividing by zero.
    ridge = 1e-6 * names * np.eye(styles)
    slope = np.linalg.solve(gram + ridge, characteristic.T)
    slopes = shocks @ slope.T
    raw = slopes.T @ slopes
    explained = np.einsum("ik,kl,il->i", characteristic, raw, characteristic, optimize=True)
    specific = np.maximum(1.0 - explained, NOISE_LEAST)
    value, vector = np.linalg.eigh(raw - (slope * specific) @ slope.T)
    return np.asarray((vector * np.maximum(value, 0.0)) @ vector.T)
