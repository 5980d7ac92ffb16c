"""What a simulated share costs within the day: an overnight gap, then a path to the close.

The path is a straight line from open to close plus a Brownian bridge, written as its first eight
Karhunen-Loeve terms: sum of z_k sqrt(2) sin(k pi u) / (k pi) at u in [0, 1], the part of the
session that has passed. The terms are drawn once a day and name, so a past minute always has the
same price and neighbouring minutes have neighbouring prices.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np

from broker_adapters.market_model import (
    FloatArray,
    IntArray,
    NameParameters,
    day_key,
    name_words,
    relative_volatility,
)
from broker_adapters.market_years import MICROS, MarketYear, to_micros
from robo.core.ids import SecurityId
from robo.ports.prices import Quote

_TERMS: Final = 8
_WORDS: Final = 16
_INTRADAY_KEY: Final = 10**9
"""Added to yyyymmdd, so that the path's words are not the day's return's words."""
_GAP_LEAST, _GAP_SPREAD = 0.15, 0.40
_BRIDGE_SHARE: Final = 0.7
_WANDER_MAX: Final = 0.08
_SPREAD_MICROS_MIN: Final = 10_000
"""A cent: the smallest quoted spread of a share above a dollar (SEC Rule 612)."""
_FINE_SPREAD_MICROS_MIN: Final = 100


class Snapshot:
    """The quotes of all names at one instant; each Quote is built when first asked for."""

    def __init__(
        self,
        ids: Sequence[SecurityId],
        price: IntArray,
        spread_ppm: IntArray,
        as_of: datetime,
        halted: frozenset[int] = frozenset(),
    ) -> None:
        """Keep prices (N,) in micros; zero means that a name has no price."""
        fine = np.where(price >= MICROS, _SPREAD_MICROS_MIN, _FINE_SPREAD_MICROS_MIN)
        half = np.maximum(fine // 2, price // 1000 * spread_ppm // 2000)
        self._ids = ids
        self._price: list[int] = price.tolist()
        self._half: list[int] = half.tolist()
        self._as_of = as_of
        self._halted = halted
        self._built: list[Quote | None] = [None] * len(self._price)

    def quote(self, column: int) -> Quote | None:
        """Return a name's quote, None if it has no price."""
        built = self._built[column]
        if built is None and (price := self._price[column]):
            half = self._half[column]
            built = Quote(
                security_id=self._ids[column],
                price_micros=price,
                bid_micros=price - half,
                ask_micros=price + half,
                as_of=self._as_of,
                halted=column in self._halted,
            )
            self._built[column] = built
        return built


class TradingDay:
    """The paths of all names through one session."""

    def __init__(self, seed: int, year: MarketYear, row: int, names: NameParameters) -> None:
        """Draw the day's gap and bridge."""
        words = name_words(seed, _INTRADAY_KEY + day_key(year.sessions[row]), names.ids, _WORDS)
        order = np.arange(1, _TERMS + 1)
        self._frequency = math.pi * order
        volatility = names.daily_volatility * float(relative_volatility(year.variance[row]))
        normal = math.sqrt(12.0) * (words[:, 1 : 1 + _TERMS] - 0.5)
        self._terms = normal * (math.sqrt(2.0) / self._frequency) * volatility[:, None]
        self._reference = references(year, row)
        self._close = year.close[row]
        ref, close = self._reference / MICROS, self._close / MICROS
        gap = _GAP_LEAST + _GAP_SPREAD * words[:, 0]
        self._open = ref + gap * (close - ref)
        self._last = close
        self._halts = [
            (int(column), int(first), int(first + minutes))
            for halted_row, column, first, minutes in year.halts
            if halted_row == row
        ]

    @property
    def reference(self) -> IntArray:
        """Return yesterday's closes in today's terms, micros."""
        return self._reference

    def prices(self, minute: int, minutes: int) -> tuple[IntArray, frozenset[int]]:
        """Return prices in micros and the halted columns at a minute of a session."""
        price = self._path(minute / minutes)
        halted = [
            (c, first) for c, first, end in self._halts if first <= minute < min(end, minutes)
        ]
        for column, first in halted:
            price[column] = self._path(first / minutes)[column]
        return np.where(self._close > 0, to_micros(price), 0), frozenset(c for c, _ in halted)

    def _path(self, part: float) -> FloatArray:
        bridge = self._terms @ np.sin(self._frequency * part)
        wander = np.clip(_BRIDGE_SHARE * bridge, -_WANDER_MAX, _WANDER_MAX)
        out: FloatArray = (self._open + (self._last - self._open) * part) * (1.0 + wander)
        return out


def references(year: MarketYear, row: int) -> IntArray:
    """Return the last closes before a session in that session's terms, shape (N,) micros."""
    out: IntArray = (year.close[row - 1] if row else year.before).copy()
    changes = year.changes[year.changes[:, 0] == row]
    out[changes[:, 1].astype(np.int64)] = changes[:, 2].astype(np.int64)
    return out


def year_returns(year: MarketYear) -> FloatArray:
    """Return total simple returns, shape (D, N); NaN where a name did not trade on both days."""
    last = np.vstack([year.before[None, :], year.close[:-1]]).astype(np.float64)
    close = year.close.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        out: FloatArray = np.where((last > 0) & (close > 0), close / last - 1.0, np.nan)
    rows, columns = year.changes[:, 0].astype(np.int64), year.changes[:, 1].astype(np.int64)
    out[rows, columns] = year.changes[:, 3]
    return out
