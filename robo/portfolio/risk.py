"""How much a basket swings, and how far from its benchmark: a shrunk one-factor model.

Each return is r_i = a_i + beta_i r_m + e_i, with specific parts e_i independent of each other.
Notation: `beta` (N,), `market_variance` sigma_m^2, `specific_variance` (N,), all per session;
w weights, b benchmark weights. Model numbers, not promises: every figure carries its label.

Two shrinkages, because ten names and 250 sessions estimate badly:

* betas towards their mean by Vasicek's rule: the noisier the estimate, the stronger;
* specific variances towards their mean, by how much of their spread is more than noise.

Sources: Vasicek (1973), "A Note on Using Cross-Sectional Information in Bayesian Estimation of
Security Betas"; Sharpe (1963), "A Simplified Model for Portfolio Analysis".
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.core.money import PPM

FloatArray = NDArray[np.float64]

SESSIONS: Final = 250
"""The window: about a year of daily returns."""
SESSIONS_A_YEAR: Final = 252
OBSERVATIONS_MIN: Final = 60
"""With less than a quarter of returns a name takes the averages of the others."""
METHOD: Final = "one-factor, shrunk betas and specific variances"


@dataclass(frozen=True, slots=True)
class OneFactorModel:
    """A fitted model; every number is per session, `as_of` and `source` say of what."""

    beta: FloatArray
    specific_variance: FloatArray
    market_variance: float
    observations: NDArray[np.int64]
    sessions: int
    source: str
    as_of: date


@dataclass(frozen=True, slots=True)
class RiskFigure:
    """An annual figure (0.18 is 18 % a year) with what it is, of what, and as of when."""

    annual: float
    method: str
    source: str
    as_of: date
    sessions: int


def fit(
    returns: ArrayLike, market_weight: ArrayLike, *, source: str, as_of: date
) -> OneFactorModel:
    """Return the model of the last 250 sessions.

    Args:
        returns: Total returns, shape (T, N), 0.01 for one per cent; NaN where there is none.
        market_weight: Size of each name in the market, shape (N,), not negative. Each session
            is weighted over the names that have a return.
        source: Where the returns come from, as shown to the customer.
        as_of: The last session.

    Raises:
        ValueError: If shapes differ, a weight is negative, a return is infinite, or fewer than
            60 sessions or no name have enough returns.
    """
    r = np.asarray(returns, dtype=np.float64)[-SESSIONS:]
    size = np.asarray(market_weight, dtype=np.float64)
    _check(r, size)
    seen = ~np.isnan(r)
    mass = seen @ size
    usable = mass > 0
    r, seen, mass = r[usable], seen[usable], mass[usable]
    market = np.where(seen, r, 0.0) @ size / mass
    if market.size < OBSERVATIONS_MIN or not np.var(market) > 0:
        message = f"the model needs {OBSERVATIONS_MIN} sessions in which the market moves"
        raise ValueError(message)
    count = seen.sum(axis=0)
    enough = count >= OBSERVATIONS_MIN
    if not enough.any():
        message = f"no name has {OBSERVATIONS_MIN} returns"
        raise ValueError(message)
    slope, residual, spread = _regress(r, seen, market, count)
    beta = _shrink_betas(slope, residual / spread, enough, size)
    specific = _shrink_variances(residual, count, enough)
    return OneFactorModel(
        beta, specific, float(np.var(market, ddof=1)), count, market.size, source, as_of
    )


def portfolio_volatility(model: OneFactorModel, weight_ppm: ArrayLike) -> FloatArray:
    """Return the annual volatility of portfolios, shape of the weights without the last axis.

    Args:
        model: The fitted model.
        weight_ppm: Weights, shape (N,) or (A, N); what is missing to a million is cash.
    """
    return _annual(model, _fractions(model, weight_ppm))


def tracking_error(
    model: OneFactorModel, weight_ppm: ArrayLike, benchmark_ppm: ArrayLike
) -> FloatArray:
    """Return the annual standard deviation of the return difference to a benchmark.

    Args:
        model: The fitted model.
        weight_ppm: Weights, shape (N,) or (A, N).
        benchmark_ppm: Benchmark weights, shape (N,) or (A, N).
    """
    return _annual(model, _fractions(model, weight_ppm) - _fractions(model, benchmark_ppm))


def labelled(model: OneFactorModel, annual: float) -> RiskFigure:
    """Return a figure of the model with its label."""
    return RiskFigure(annual, METHOD, model.source, model.as_of, model.sessions)


def _check(r: FloatArray, size: FloatArray) -> None:
    matrix = r.ndim == 2  # noqa: PLR2004 - sessions by names
    if not matrix or size.shape != r.shape[1:]:
        message = "returns must be (T, N) and market_weight (N,)"
        raise ValueError(message)
    if np.isinf(r).any() or not (np.isfinite(size).all() and (size >= 0).all()):
        message = "returns must be finite or NaN, and market weights finite and not negative"
        raise ValueError(message)


def _regress(
    r: FloatArray, seen: NDArray[np.bool_], market: FloatArray, count: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return OLS slope, residual variance, and the market's sum of squares, each over own days."""
    days = np.maximum(count, 1)
    m = np.where(seen, market[:, None], 0.0)
    m = np.where(seen, m - m.sum(axis=0) / days, 0.0)
    centred = np.where(seen, r, 0.0)
    centred = np.where(seen, centred - centred.sum(axis=0) / days, 0.0)
    spread = np.maximum((m * m).sum(axis=0), np.finfo(np.float64).tiny)
    slope = (m * centred).sum(axis=0) / spread
    residual = ((centred - slope * m) ** 2).sum(axis=0) / np.maximum(count - 2, 1)
    return slope, residual, spread


def _shrink_betas(
    slope: FloatArray, noise: FloatArray, enough: NDArray[np.bool_], size: FloatArray
) -> FloatArray:
    """Return Vasicek's betas; the prior's mean is weighted by size, so the market's is near 1."""
    known, error = slope[enough], noise[enough]
    weight = size[enough]
    mean = float(np.average(known, weights=weight if weight.sum() > 0 else None))
    prior = max(float(np.mean((known - mean) ** 2) - np.mean(error)), 0.0)
    share = np.where(enough, prior / np.maximum(prior + noise, np.finfo(np.float64).tiny), 0.0)
    return mean + share * (slope - mean)


def _shrink_variances(
    residual: FloatArray, count: NDArray[np.int64], enough: NDArray[np.bool_]
) -> FloatArray:
    """Return variances moved to their mean by the share of their spread that is noise.

    The sampling variance of a residual variance s^2 with v degrees of freedom is 2 s^4 / v.
    """
    freedom = np.maximum(count - 2, 1)
    mean = float(np.mean(residual[enough]))
    noise = 2.0 * mean**2 / freedom
    prior = max(float(np.var(residual[enough]) - np.mean(noise[enough])), 0.0)
    share = np.where(enough, prior / np.maximum(prior + noise, np.finfo(np.float64).tiny), 0.0)
    return mean + share * (residual - mean)


def _fractions(model: OneFactorModel, weight_ppm: ArrayLike) -> FloatArray:
    weight = np.asarray(weight_ppm)
    if weight.dtype.kind not in "iu" or weight.shape[-1:] != model.beta.shape:
        message = "weights must be integers in ppm, one for each name of the model"
        raise ValueError(message)
    return weight / np.float64(PPM)


def _annual(model: OneFactorModel, weight: FloatArray) -> FloatArray:
    systematic = (weight @ model.beta) ** 2 * model.market_variance
    specific = weight**2 @ model.specific_variance
    return np.asarray(np.sqrt(SESSIONS_A_YEAR * (systematic + specific)), dtype=np.float64)
