"""The statistics of the simulated market: who moves how much, and each session's returns.

Notation: m market return, s sector factor, e idiosyncratic shock, h the market's conditional
variance (GARCH), b beta. A name's total return on a session is

    r = drift + b m + g s + i c e + jump,      c = sqrt((1 + h / H) / 2), H the long-run variance.

Shocks are Student t with five degrees of freedom, scaled to unit variance. Sector rows below are
moments measured on 449 large US names, 2011 to 2019: beta, idiosyncratic volatility (annual), and
the correlation of residuals within the sector.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robo.ports.plugins import ListedSecurity

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SIM_VERSION: Final = 1
"""Changes whenever any simulated price would change; part of the feed's name and of every cache."""

SESSIONS_A_YEAR: Final = 252
_MARKET_VARIANCE: Final = 0.157**2 / SESSIONS_A_YEAR
"""Cut-off shocks take some away: what comes out is about 14.2 %, real was 14.8 %."""
_GARCH_SHOCK: Final = 0.09
_GARCH_MEMORY: Final = 0.89
_VARIANCE_MAX: Final = 9.0 * _MARKET_VARIANCE
"""A fat-tailed GARCH has no finite fourth moment; about 45 % annual volatility is panic enough."""
_RISK_FREE: Final = 0.02
_RISK_PREMIUM: Final = 0.05
_JUMP_CHANCE: Final = 1.0 / SESSIONS_A_YEAR
_JUMP_LOWEST, _JUMP_HIGHEST = 0.06, 0.08
_RETURN_LIMIT: Final = 0.60
_BETA_SPREAD: Final = 0.20
_IDIOSYNCRATIC_SPREAD: Final = 0.24
_SHOCK_LIMIT: Final = 9.0
_MARKET_SHOCK_LIMIT: Final = 4.5
_PAGE: Final = 1024
NAMES_KEPT: Final = 8_192
"""Names whose fate a process remembers: prices, broker and server each open a market of their own,
and a universe of 1,500 names takes a tenth of a second to draw."""
"""Names a page of random words covers; a page is read whole, so ids may lie far apart."""
_WORDS: Final = 4
_NORMAL: Final = NormalDist()

SECTORS: Final[tuple[tuple[str, float, float, float], ...]] = (
    ("health", 0.91, 0.188, 0.096),
    ("tech", 1.18, 0.217, 0.088),
    ("staples", 0.58, 0.166, 0.176),
    ("industr", 1.08, 0.180, 0.084),
    ("utilit", 0.46, 0.152, 0.586),
    ("financ", 1.13, 0.165, 0.165),
    ("material", 1.09, 0.198, 0.112),
    ("real", 0.70, 0.176, 0.395),
    ("discretion", 1.00, 0.228, 0.060),
    ("energy", 1.25, 0.258, 0.366),
    ("commun", 0.94, 0.185, 0.037),
)
"""Matched by a part of the sector's key, so that the taxonomy may word its keys its own way."""
_UNKNOWN_SECTOR: Final = (len(SECTORS), 1.00, 0.190, 0.080)


@dataclass(frozen=True, slots=True)
class NameParameters:
    """What never changes about each name; arrays of shape (N,), in the order of `ids`."""

    ids: IntArray
    sector: IntArray
    beta: FloatArray
    sector_loading: FloatArray
    """Annual volatility that the sector's factor explains."""
    idiosyncratic: FloatArray
    """Annual volatility of its own, without jumps."""
    daily_volatility: FloatArray
    first_price: FloatArray
    spread_ppm: IntArray
    """Full width of the bid-ask spread."""
    dividend_yield: FloatArray
    """A year's dividends over the price; zero for those that pay none."""
    payments: IntArray
    """Dividends a year: 4, 1 or 0."""


@dataclass(frozen=True, slots=True)
class SessionReturns:
    """Total simple returns of consecutive sessions."""

    returns: FloatArray
    """Shape (D, N)."""
    variance: FloatArray
    """The market's conditional variance, shape (D,)."""
    variance_after: float


def hashed_uniform(*parts: str | int) -> float:
    """Return a number in (0, 1) that depends on the parts only."""
    text = ":".join(str(part) for part in (SIM_VERSION, *parts))
    word = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return (word + 0.5) / 2.0**64


def parameters(securities: Sequence[ListedSecurity]) -> NameParameters:
    """Return the names' parameters, each from the SHA-256 of (parameter, id), sector and size."""
    rows = [_name_parameters(security) for security in securities]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 10)
    return NameParameters(
        ids=np.array([security.id for security in securities], dtype=np.int64),
        sector=table[:, 0].astype(np.int64),
        beta=table[:, 1],
        sector_loading=table[:, 2],
        idiosyncratic=table[:, 3],
        daily_volatility=table[:, 4],
        first_price=table[:, 5],
        spread_ppm=table[:, 6].astype(np.int64),
        dividend_yield=table[:, 7],
        payments=table[:, 8].astype(np.int64),
    )


@lru_cache(maxsize=NAMES_KEPT)
def _name_parameters(security: ListedSecurity) -> tuple[float, ...]:
    def normal(parameter: str) -> float:
        return _NORMAL.inv_cdf(hashed_uniform(parameter, security.id))

    index, beta, idiosyncratic, within = sector_moments(security.sector)
    beta = max(0.1, beta + _BETA_SPREAD * normal("beta"))
    residual = idiosyncratic * math.exp(_IDIOSYNCRATIC_SPREAD * normal("idiosyncratic"))
    jump_variance = SESSIONS_A_YEAR * _JUMP_CHANCE * (_JUMP_LOWEST + _JUMP_HIGHEST) ** 2 / 4
    own = math.sqrt(max(0.25 * residual**2, residual**2 * (1.0 - within) - jump_variance))
    total = math.sqrt(beta**2 * _MARKET_VARIANCE * SESSIONS_A_YEAR + residual**2)
    size = security.size_cents / 100 if security.size_cents > 0 else 2e9
    price = 60.0 * (size / 2e10) ** 0.12 * math.exp(0.45 * normal("price"))
    spread = min(max(1_200.0 * (1e9 / size) ** 0.4, 100.0), 6_000.0)
    payments, dividend = _dividend_policy(security, normal("yield"))
    return (
        index,
        beta,
        residual * math.sqrt(within),
        own,
        total / math.sqrt(SESSIONS_A_YEAR),
        round(min(max(price, 8.0), 400.0), 2),
        spread,
        dividend,
        payments,
        0.0,
    )


def _dividend_policy(security: ListedSecurity, normal: float) -> tuple[int, float]:
    """Return payments a year and yield: 81 % pay, 92 % of those quarterly, median yield 2.0 %.

    Source: the shares of payers among about 500 large US names in 2019.
    """
    if hashed_uniform("pays", security.id) >= 0.81:  # noqa: PLR2004 - stated one line above
        return 0, 0.0
    quarterly = hashed_uniform("quarterly", security.id) < 0.92  # noqa: PLR2004 - stated above
    return 4 if quarterly else 1, min(0.02 * math.exp(0.45 * normal), 0.07)


def sector_moments(sector: str) -> tuple[int, float, float, float]:
    """Return a sector's factor index, beta, idiosyncratic volatility and inner correlation."""
    for index, (part, beta, idiosyncratic, within) in enumerate(SECTORS):
        if part in sector:
            return index, beta, idiosyncratic, within
    return _UNKNOWN_SECTOR


def _quantile_table() -> tuple[FloatArray, FloatArray]:
    """Return the distribution function of Student's t5 and the points it belongs to.

    F(t) = 1/2 + (a + sin a cos a (1 + 2/3 cos^2 a)) / pi with a = atan(t / sqrt 5).
    """
    points = np.sinh(np.linspace(-math.asinh(40.0), math.asinh(40.0), 4001))
    angle = np.arctan(points / math.sqrt(5.0))
    sine, cosine = np.sin(angle), np.cos(angle)
    below = 0.5 + (angle + sine * cosine * (1.0 + 2.0 / 3.0 * cosine**2)) / math.pi
    return below, points


_BELOW, _POINTS = _quantile_table()


def student_shock(uniform: FloatArray) -> FloatArray:
    """Return Student t5 shocks of unit variance, cut off at nine, for uniforms of any shape."""
    shock = np.interp(uniform, _BELOW, _POINTS) * math.sqrt(3.0 / 5.0)
    return np.clip(shock, -_SHOCK_LIMIT, _SHOCK_LIMIT)


def day_key(day: date) -> int:
    """Return a date as the number yyyymmdd, half of each session's random key."""
    return day.year * 10_000 + day.month * 100 + day.day


def name_words(seed: int, key: int, ids: IntArray, words: int) -> FloatArray:
    """Return uniforms, shape (N, words), where each name reads its own slot by permanent id.

    The slot depends on nothing but (seed, key, id): other names may come and go.
    """
    out = np.empty((len(ids), words))
    pages = ids // _PAGE
    for page in np.unique(pages):
        here = pages == page
        block = _stream(seed, key, [0, 0, int(page), 0]).random(_PAGE * words)
        out[here] = block.reshape(_PAGE, words)[ids[here] % _PAGE]
    return out


def _stream(seed: int, key: int, counter: list[int]) -> np.random.Generator:
    bits = np.random.Philox(
        key=np.array([seed, key], dtype=np.uint64), counter=np.array(counter, dtype=np.uint64)
    )
    return np.random.Generator(bits)


def session_returns(
    seed: int, sessions: Sequence[date], names: NameParameters, variance: float
) -> SessionReturns:
    """Return the total returns of consecutive sessions, given the market's variance before them.

    Args:
        seed: The market's seed.
        sessions: D consecutive sessions.
        names: N names.
        variance: The conditional variance at the first session (`first_variance()` at the epoch).
    """
    keys = [day_key(day) for day in sessions]
    header = np.array([_stream(seed, key, [0, 0, 0, 1]).random(16) for key in keys])
    shocks = student_shock(header.reshape(len(keys), 16))
    limited = np.clip(shocks[:, 0], -_MARKET_SHOCK_LIMIT, _MARKET_SHOCK_LIMIT)
    market, path, after = _market_path(limited, variance)
    sector = shocks[:, 1 : 2 + len(SECTORS)]
    own = np.stack([name_words(seed, key, names.ids, _WORDS) for key in keys])
    calm = np.sqrt(0.5 + 0.5 * path / _MARKET_VARIANCE)[:, None]
    daily = 1.0 / math.sqrt(SESSIONS_A_YEAR)
    drift = (_RISK_FREE + _RISK_PREMIUM * names.beta) / SESSIONS_A_YEAR
    returns = (
        drift
        + names.beta * market[:, None]
        + names.sector_loading * daily * calm * sector[:, names.sector]
        + names.idiosyncratic * daily * calm * student_shock(own[:, :, 0])
        + _jumps(own[:, :, 1], own[:, :, 2])
    )
    return SessionReturns(np.clip(returns, -_RETURN_LIMIT, _RETURN_LIMIT), path, after)


def first_variance() -> float:
    """Return the variance that the market starts with: its long-run mean."""
    return _MARKET_VARIANCE


def relative_volatility(variance: FloatArray) -> FloatArray:
    """Return the market's volatility over its long-run mean."""
    out: FloatArray = np.sqrt(variance / _MARKET_VARIANCE)
    return out


def _market_path(shocks: FloatArray, variance: float) -> tuple[FloatArray, FloatArray, float]:
    market, path = np.empty_like(shocks), np.empty_like(shocks)
    calm = (1.0 - _GARCH_SHOCK - _GARCH_MEMORY) * _MARKET_VARIANCE
    for index, shock in enumerate(shocks):
        path[index] = variance
        market[index] = math.sqrt(variance) * float(shock)
        next_variance = calm + _GARCH_SHOCK * market[index] ** 2 + _GARCH_MEMORY * variance
        variance = min(float(next_variance), _VARIANCE_MAX)
    return market, path, variance


def _jumps(chance: FloatArray, size: FloatArray) -> FloatArray:
    """Return jumps: about one a year and name, 6 to 8 %, up as often as down."""
    signed = 2.0 * size - 1.0
    height = _JUMP_LOWEST + (_JUMP_HIGHEST - _JUMP_LOWEST) * np.abs(signed)
    out: FloatArray = np.where(chance < _JUMP_CHANCE, np.sign(signed) * height, 0.0)
    return out
