"""The real market that a walk of the tax study lives in: prices, dividends, benchmark, risk model.

Names are those that trade on the walk's first day, and they are names that survived to the end of
the data: a bias that no figure hides (see `_real_history`). A share is what $100 bought on the
first day; its price follows the cleaned total return less dividends, which come in as cash. The
benchmark is the capitalisations of that day, no name above 8 %, carried by these prices. The risk
model of a day has seen nothing after that day.
"""

import csv
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench._real_history import FOLDER, History
from robo.portfolio.factor_model import FactorModel, fit_factors

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WEIGHT_MAX: Final = 0.08
REFIT: Final = 21
"""Sessions between two fits of the risk model."""
BASE_MICROS: Final = 100_000_000
YIELD_MAX: Final = 0.25
"""A dividend beyond this part of the price is a fault or a spin-off: left out."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Three years of N names; T sessions, the first of them is session 0."""

    year: int
    days: IntArray
    """Days since 1970-01-01, (T,)."""
    price_micros: IntArray
    """(T, N)"""
    dividend_micros: IntArray
    """Dollars a share in 1e-6 that go to who held it at the close before, (T, N)."""
    benchmark: FloatArray
    """(T, N)"""
    models: tuple[FactorModel, ...]
    """Of sessions 0, 21, 42, ..."""

    def model(self, session: int) -> FactorModel:
        """Return the model that was known on a session."""
        return self.models[session // REFIT]


def dividend_yields(history: History) -> FloatArray:
    """Return dividends as parts of the close before, (T, N)."""
    place = {name: index for index, name in enumerate(history.names)}
    session = {str(day): index for index, day in enumerate(history.days)}
    found = np.zeros(history.simple.shape)
    with (FOLDER / "dividends.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["ticker"] in place and row["ex_date"] in session:
                at = session[row["ex_date"]], place[row["ticker"]]
                paid, close, back = float(row["dividend"]), float(row["close"]), history.simple[at]
                if np.isfinite(back) and close > 0:
                    # From the identity adj[-1] = adj * close[-1] / (close + dividend).
                    found[at] += paid * (1.0 + back) / (close + paid)
    return np.where(found <= YIELD_MAX, found, 0.0)


def walk(history: History, yields: FloatArray, year: int, years: int) -> Walk:
    """Return the market of some years from the first session of a year.

    Args:
        history: The real prices.
        yields: Their dividends, see `dividend_yields`.
        year: The first.
        years: How many; the data may end a little earlier.
    """
    first = history.on(year)
    last = min(history.on(year + years), history.days.size)
    live = history.live(first)
    total = np.nan_to_num(history.simple[first:last, live])
    paid = yields[first:last, live]
    total[0] = paid[0] = 0.0
    growth = np.cumprod(1.0 + total - paid, axis=0)
    price = np.maximum(np.round(growth * BASE_MICROS), 1).astype(np.int64)
    dividend = np.zeros_like(price)
    dividend[1:] = np.round(price[:-1] * paid[1:]).astype(np.int64)
    size = np.nan_to_num(history.capitalisation[first, live])
    start = _capped(size / size.sum())
    carried = start * growth
    models = tuple(
        fit_factors(
            history.simple[: session + 1, live],
            history.sector[live],
            np.nan_to_num(history.capitalisation[session, live]),
        )
        for session in range(first, last, REFIT)
    )
    return Walk(
        year=year,
        days=history.days[first:last].astype(np.int64),
        price_micros=price,
        dividend_micros=dividend,
        benchmark=carried / carried.sum(axis=1, keepdims=True),
        models=models,
    )


def _capped(weight: FloatArray) -> FloatArray:
    """Return weights with what is above the most of a name spread over the others."""
    while weight.max() > WEIGHT_MAX * (1 + 1e-9):
        over = weight >= WEIGHT_MAX
        rest = weight[~over].sum()
        weight = np.where(over, WEIGHT_MAX, weight * (1 - WEIGHT_MAX * over.sum()) / rest)
    return weight
