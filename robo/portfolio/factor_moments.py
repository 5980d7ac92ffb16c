"""What each name shows by itself before a factor model joins them: beta and volatility.

Notation as in `factor_model.py`: T sessions, N names; `r` returns, m the market's, beta, and
q, how restless a session was across names. Everything estimated from few returns is drawn to
what the name's sector and size suggest.

Source of the shrinkage: Vasicek (1973), "A Note on Using Cross-Sectional Information in
Bayesian Estimation of Security Betas".
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.portfolio.shrinkage import decay_weights

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TINY: Final = float(np.finfo(np.float64).tiny)
OBSERVATIONS_MIN: Final = 60
"""With fewer returns a name counts as new: its beta and volatility start from its sector's."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """The model's constants; half-lives and priors in sessions. docs/risk.md: how chosen."""

    sessions: int = 1000
    """The window: four years."""
    beta_half_life: float = 250.0
    volatility_half_life: float = 21.0
    slow_half_life: float = 350.0
    fast_share: float = 0.8
    """A name's variance: this much of the fast memory, the rest of the slow one."""
    prior_sessions: float = 120.0
    """How many sessions of its own a name needs to count as much as its sector and size."""
    correlation_half_life: float = 350.0
    structure_share: float = 0.6
    """Sectors and styles against spikes."""
    spikes_max: int = 45
    factor_half_life: float = 63.0
    factor_prior: float = 60.0
    """How many sessions a factor needs before its own restlessness counts as much as all's."""
    clip: float = 8.0
    """A return beyond this many of the name's volatilities, on that session's scale, is cut."""
    specific_share_min: float = 0.05
    memories: tuple[float, ...] = (5.0, 21.0, 63.0, 252.0)
    memory_shares: tuple[float, ...] = (0.5, 0.2, 0.2, 0.1)


TUNING: Final = Tuning()

MONSTER: Final = 40.0
"""No return is taken for more than this many of the name's ordinary days (medians)."""
CUT: Final = 5.0
"""A single name moves a session's restlessness by no more than this many of its volatilities."""
BETA_PRIOR_MIN: Final = 0.01
"""Betas within a sector never count as more alike than a standard deviation of 0.1."""
YOUNG: Final = 300.0
"""A new listing's own beta weighs count / (count + 300) at most."""
SECTOR_PRIOR: Final = 4.0
"""A sector's mean is drawn to the market's as if four more names stood there."""


@dataclass(frozen=True, slots=True)
class Window:
    """The window: returns with NaN as zero, clipped, and what was seen."""

    r: FloatArray
    seen: BoolArray
    count: IntArray
    known: BoolArray
    member: FloatArray
    """Shape (N, S): 1 for the sector of a name."""
    size: FloatArray
    scale: FloatArray
    """Shape (N,): a first idea of each name's volatility."""
    market: FloatArray


def window(returns: ArrayLike, sector: ArrayLike, size: ArrayLike, tuning: Tuning) -> Window:
    """Return the window of a fit, checked and clipped; `fit_factors` says what is refused."""
    r, weight, group = _checked(returns, sector, size, tuning)
    seen = ~np.isnan(r)
    # A close that never moves says nothing about how the name will move.
    still = np.where(seen, np.abs(r), 0.0).max(axis=0, initial=0.0) == 0
    seen &= ~still
    usable = seen @ weight > 0
    r, seen = np.where(seen, r, 0.0)[usable], seen[usable]
    count = seen.sum(axis=0)
    known = count >= min(OBSERVATIONS_MIN, max(int(count.max(initial=0)), 1))
    if r.shape[0] < OBSERVATIONS_MIN:
        message = f"the model needs {OBSERVATIONS_MIN} sessions in which some name moves"
        raise ValueError(message)
    decay = decay_weights(r.shape[0], tuning.slow_half_life)
    r = _cut_monsters(r, seen)
    mean = (decay @ (r * r)) / np.maximum(decay @ seen, TINY)
    scale = np.sqrt(np.where(known, mean, np.median(mean[known])))
    scale = np.maximum(scale, 0.01 * np.median(scale[known]))
    first = _market(r, seen, weight)
    rest = restlessness(np.where(seen, r - first[:, None], 0.0) / scale, seen)
    restless = np.maximum(rest / np.sqrt(decay @ (rest * rest)), 1.0)
    limit = tuning.clip * scale * restless[:, None]
    r = np.clip(r, -limit, limit)
    return Window(r, seen, count, known, group, weight, scale, _market(r, seen, weight))


def _checked(
    returns: ArrayLike, sector: ArrayLike, size: ArrayLike, tuning: Tuning
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r = np.asarray(returns, dtype=np.float64)
    weight = np.asarray(size, dtype=np.float64)
    code = np.asarray(sector)
    matrix = r.ndim == 2  # noqa: PLR2004 - sessions by names
    if not matrix or weight.shape != r.shape[1:] or code.shape != r.shape[1:]:
        message = "returns must be (T, N), sector and size (N,)"
        raise ValueError(message)
    r = r[-tuning.sessions :]
    if np.isinf(r).any() or (r < -1.0).any():
        message = "returns must be NaN or finite and not below -1"
        raise ValueError(message)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        message = "size must be finite and not negative, and not all zero"
        raise ValueError(message)
    if code.dtype.kind not in "iu":
        message = "sector must be whole numbers"
        raise ValueError(message)
    group = np.unique(code, return_inverse=True)[1]
    return r, weight / weight.sum(), np.eye(int(group.max()) + 1)[group]


def _cut_monsters(r: FloatArray, seen: BoolArray) -> FloatArray:
    """Return r with what is beyond all reason cut, so that one cell cannot set its own scale."""
    middle = np.nanmedian(np.where(seen, np.abs(r), np.nan)[:, seen.any(axis=0)], axis=0)
    limit = np.full(r.shape[1], np.inf)
    limit[seen.any(axis=0)] = np.where(middle > 0, MONSTER * middle, np.inf)
    return np.clip(r, -limit, limit)


def _market(r: FloatArray, seen: BoolArray, size: FloatArray) -> FloatArray:
    return np.asarray((r @ size) / (seen @ size))


def restlessness(unit: FloatArray, seen: BoolArray) -> FloatArray:
    """Return each session's scale across names, shape (T,): root mean square, single names cut."""
    cut = np.minimum(np.abs(unit), CUT)
    mean = np.sqrt((cut * cut).sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
    middle = float(np.median(mean))
    return np.asarray(np.maximum(mean, 0.2 * middle if middle > 0 else 1.0))


def betas(taken: Window, half_life: float) -> FloatArray:
    """Return each name's beta, shape (N,): weighted least squares, shrunk to its sector's.

    A session counts less the more restless it was, and the longer ago.
    """
    r, seen, m = taken.r, taken.seen, taken.market
    rest = restlessness(np.where(seen, r - m[:, None], 0.0) / taken.scale, seen)
    weight = decay_weights(m.size, half_life) / (rest * rest)
    mass = np.maximum(weight @ seen, TINY)
    spread = np.maximum((weight * m * m) @ seen, TINY)
    slope = np.where(taken.count > 0, ((weight * m) @ r) / spread, 1.0)
    residual = np.where(seen, r - m[:, None] * slope, 0.0)
    sessions = np.maximum(mass * mass / np.maximum((weight * weight) @ seen, TINY), 1.0)
    noise = (weight @ (residual * residual)) / spread / sessions
    centre = _by_sector(slope, taken)
    known = taken.known
    prior = max(float(np.mean((slope - centre)[known] ** 2 - noise[known])), BETA_PRIOR_MIN)
    share = np.where(taken.count > 0, prior / (prior + noise), 0.0)
    share = np.where(known, share, np.minimum(share, taken.count / (taken.count + YOUNG)))
    return np.asarray(centre + share * (slope - centre))


SQUARE_MIN: Final = 1e-10
"""Least mean square of a day's residual: a hundredth of a basis point, squared, is no silence."""


def volatilities(unit: FloatArray, taken: Window, tuning: Tuning) -> FloatArray:
    """Return each name's volatility, shape (N,), in the unit's terms.

    The log of a fast and a slow memory, drawn to what sector and size say by how few sessions
    there are. A plain mean as the target would make the largest names look wild.

    Args:
        unit: Residuals over restlessness, shape (T, N), 0 where unseen.
        taken: The window.
        tuning: Half-lives and the prior's strength.
    """
    fast, sessions = _mean_square(unit, taken, tuning.volatility_half_life)
    slow, _ = _mean_square(unit, taken, tuning.slow_half_life)
    middle = float(np.median(slow[taken.known]))
    if middle <= 0.0:  # most names never moved: there is no typical name to take a part of
        middle = float(np.mean(slow[taken.known]))
    floor = 1e-4 * middle if middle > 0.0 else SQUARE_MIN
    share = tuning.fast_share
    level = np.log(np.maximum(share * fast + (1 - share) * slow, floor))
    centre = _by_sector(level, taken, log_size(taken.size))
    trust = sessions / (sessions + tuning.prior_sessions)
    return np.asarray(np.exp((centre + trust * (level - centre)) / 2.0))


def log_size(size: FloatArray) -> FloatArray:
    """Return log size in cross-sectional standard deviations around its median, at most 3."""
    least = float(size[size > 0].min())
    return standardised(np.log(np.maximum(size, least)))


def standardised(value: FloatArray) -> FloatArray:
    """Return deviations from the median in standard deviations, at most 3; 0 without spread."""
    away = value - np.median(value)
    spread = float(np.std(away))
    return np.asarray(np.clip(away / spread, -3.0, 3.0) if spread > 0 else np.zeros_like(away))


def _mean_square(
    unit: FloatArray, taken: Window, half_life: float
) -> tuple[FloatArray, FloatArray]:
    """Return the decaying mean square of each name, and its effective sessions (0 if none)."""
    weight = decay_weights(unit.shape[0], half_life)
    mass = weight @ taken.seen
    mean = (weight @ (unit * unit)) / np.maximum(mass, TINY)
    sessions = mass * mass / np.maximum((weight * weight) @ taken.seen, TINY)
    return mean, np.where(taken.count > 0, np.minimum(sessions, taken.count), 0.0)


def _by_sector(value: FloatArray, taken: Window, style: FloatArray | None = None) -> FloatArray:
    """Return what the known names of each sector say, shape (N,), with a style's slope if any."""
    known = taken.known
    slope = 0.0
    mean = float(value[known].mean())
    tilt = np.zeros_like(value) if style is None else style - float(style[known].mean())
    member = taken.member * known[:, None]
    count = member.sum(axis=0)
    for _ in range(2):
        rest = value - slope * tilt
        centre = (member.T @ np.where(known, rest, 0.0) + SECTOR_PRIOR * mean) / (
            count + SECTOR_PRIOR
        )
        away = np.where(known, value - taken.member @ centre, 0.0)
        spread = float(tilt[known] @ tilt[known])
        slope = float(tilt @ away) / spread if spread > 0 else 0.0
    return np.asarray(taken.member @ centre + slope * tilt)
