"""Real prices for benchmarks of risk and tracking: read where they lie, cleaned, never copied.

The benchmark of every walk is the market capitalisations of 2018-02-08 carried to other days by
split-adjusted closes. Two things are wrong with it, and no figure hides them: the weights before
2018 look ahead, and the names are those that survived (a company diluted since then, like AIG,
weighs several times what it did). It is a benchmark to track, not one that could be bought.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robo.portfolio.returns import CleanReturns, clean_returns

FloatArray = NDArray[np.float64]
FOLDER: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
MISSING: Final = f"no real prices: {FOLDER.parent.name}/{FOLDER.name} is not beside the checkout"
CAPITALISATION_DAY: Final = np.datetime64("2018-02-08")
SECOND_CLASSES: Final = frozenset({"GOOG", "FOX", "NWS", "DISCK", "UA"})
"""One line per company: the class that weighs less stays out."""
RECENT: Final = 60


@dataclass(frozen=True, slots=True)
class History:
    """T sessions of N names; `simple[t]` leads from session t - 1 to t, row 0 is NaN."""

    days: NDArray[np.datetime64]
    names: tuple[str, ...]
    sector: NDArray[np.int64]
    sector_names: tuple[str, ...]
    simple: FloatArray
    capitalisation: FloatArray
    """Dollars, shape (T, N); NaN where the name had no price."""
    cleaned: CleanReturns

    def on(self, year: int) -> int:
        """Return the first session of a year."""
        return int(np.searchsorted(self.days, np.datetime64(f"{year}-01-01")))

    def live(self, session: int) -> NDArray[np.int64]:
        """Return the names that have a price on a session and a return of late."""
        priced = np.isfinite(self.capitalisation[session])
        recent = np.isfinite(self.simple[max(session - RECENT, 0) : session + 1]).any(axis=0)
        return np.flatnonzero(priced & recent)


def load() -> History | None:
    """Return the history of the names with a capitalisation, or None where there is none."""
    if not (FOLDER / "adj_close_wide.parquet").is_file():
        return None
    from pyarrow import parquet

    adjusted = parquet.read_table(FOLDER / "adj_close_wide.parquet")
    raw = parquet.read_table(FOLDER / "close_raw_wide.parquet")
    days = adjusted["date"].to_numpy().astype("datetime64[D]")
    at = int(np.searchsorted(days, CAPITALISATION_DAY))
    wanted = {
        row["Symbol"]: row
        for row in _rows("fundamentals_2018-02-08.csv")
        if row["Symbol"] in set(raw.column_names) - SECOND_CLASSES
        and _same_company(raw[row["Symbol"]][at].as_py(), float(row["Price"]))
    }
    names = tuple(sorted(wanted))
    close = _matrix(adjusted, names)
    printed = _matrix(raw, names)
    split_adjusted = printed * _shares(names, days)
    size = np.array([float(wanted[name]["Market Cap"]) for name in names])
    sectors = tuple(sorted({row["Sector"] for row in wanted.values()}))
    cleaned = clean_returns(close, printed)
    return History(
        days=days,
        names=names,
        sector=np.array([sectors.index(wanted[name]["Sector"]) for name in names]),
        sector_names=sectors,
        simple=np.vstack([np.full(len(names), np.nan), cleaned.simple]),
        capitalisation=size * split_adjusted / split_adjusted[at],
        cleaned=cleaned,
    )


def _same_company(close: float | None, price: float) -> bool:
    """Return whether a symbol meant the same company in both files: IR was two."""
    return close is not None and abs(close / price - 1.0) < 0.1


def _matrix(table: object, names: tuple[str, ...]) -> FloatArray:
    return np.array([table[name].to_numpy() for name in names], dtype=np.float64).T  # type: ignore[index]  # pyarrow is untyped


def _shares(names: tuple[str, ...], days: NDArray[np.datetime64]) -> FloatArray:
    """Return how many shares one share of the first session has become, shape (T, N)."""
    factor = np.ones((days.size, len(names)))
    place = {name: index for index, name in enumerate(names)}
    for row in _rows("splits.csv"):
        session = int(np.searchsorted(days, np.datetime64(row["ex_date"])))
        if row["ticker"] in place and session < days.size:
            factor[session, place[row["ticker"]]] *= float(row["split_factor"])
    return np.asarray(np.cumprod(factor, axis=0))


def _rows(file: str) -> Iterator[dict[str, str]]:
    with (FOLDER / file).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)
