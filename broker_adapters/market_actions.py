"""When the simulated companies do things: dividends, splits, and the rare events of a life.

Every date hangs on (seed, id) and calendar dates only, never on other names or on how far the
calendar reaches, so that neither a longer horizon nor a larger universe moves an event.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np

from broker_adapters.market_model import (
    NAMES_KEPT,
    FloatArray,
    IntArray,
    NameParameters,
    hashed_uniform,
    name_words,
)
from robo.core.ids import SecurityId
from robo.ports.plugins import ListedSecurity
from robo.ports.prices import ActionKind

SPIN_OFF_IDS: Final = 500_000_000
"""Companies born in the simulation get the parent's id plus this: far from every listed id."""
SYMBOL_ENDING: Final = "ZX"
"""Appended on a change of symbol; a spun-off company is the parent's symbol and `SO`."""

_FIRST_LIFE_YEAR: Final = 2016
_LIFE_YEARS: Final = 20
SURVIVES_THROUGH: Final = 2026
"""The universe was listed in 2026, so no name of it may have left the market before 2027."""
_DEATH_YEARS: Final = 10
_MERGER_CHANCE: Final = 0.020
_DELISTING_CHANCE: Final = 0.010
_SPIN_OFF_CHANCE: Final = 0.020
_SYMBOL_CHANCE: Final = 0.040
_SPLIT_CHANCE: Final = 0.046
"""A year and name; about a third of the names is too cheap to split, which leaves 3 %."""
_HALT_CHANCE: Final = 0.010
_NOTICE_DAYS: Final = 60
"""From the announcement of a merger or failure to the day it takes effect."""
_WORDS: Final = 16
_PAY_AFTER_DAYS: Final = 21
_SATURDAY: Final = 5


class Event(IntEnum):
    """What can happen to a name on a session, besides dividends."""

    SPLIT = 1
    SPIN_OFF = 2
    SYMBOL_CHANGE = 3
    MERGER_NEWS = 4
    MERGER = 5
    FAILURE_NEWS = 6
    DELISTING = 7


KINDS: Final[tuple[ActionKind, ...]] = tuple(ActionKind)
"""How kinds are stored in arrays: by their place in this tuple."""


@dataclass(frozen=True, slots=True)
class Life:
    """The once-in-a-life events of a listed name; None where fate has none."""

    merger: date | None
    delisting: date | None
    spin_off: date | None
    symbol_change: date | None


@dataclass(frozen=True, slots=True)
class YearPlan:
    """What happens on which session of one year; rows are sessions, columns names."""

    dividends: Sequence[IntArray]
    """Per session: the columns that go ex-dividend."""
    events: Sequence[Sequence[tuple[Event, int]]]
    """Per session: (event, column)."""
    split_ratio: FloatArray
    """Shape (N, 2): new and old shares, should the name split this year."""
    halts: IntArray
    """Shape (H, 4): row, column, first minute after the opening, minutes."""


def spin_off_id(parent: int) -> SecurityId:
    """Return the permanent id of the company that a name would spin off."""
    return SecurityId(SPIN_OFF_IDS + parent)


@lru_cache(maxsize=NAMES_KEPT)
def life(seed: int, security_id: int, scale: float) -> Life:
    """Return a name's rare events. `scale` multiplies their chances (1.0 = real life)."""
    dies = hashed_uniform(seed, "death", security_id)
    merged = dies < _MERGER_CHANCE * scale
    failed = not merged and dies < (_MERGER_CHANCE + _DELISTING_CHANCE) * scale
    end = _drawn_day(seed, "death-day", security_id, SURVIVES_THROUGH + 1, _DEATH_YEARS)
    spun = _chance(seed, "spin-off", security_id, _SPIN_OFF_CHANCE * scale)
    renamed = _chance(seed, "symbol", security_id, _SYMBOL_CHANCE * scale)
    spin = _drawn_day(seed, "spin-off-day", security_id, _FIRST_LIFE_YEAR, _LIFE_YEARS)
    rename = _drawn_day(seed, "symbol-day", security_id, _FIRST_LIFE_YEAR, _LIFE_YEARS)
    return Life(
        merger=end if merged else None,
        delisting=end if failed else None,
        spin_off=spin if spun else None,
        symbol_change=rename if renamed else None,
    )


def born_here(security_id: int) -> bool:
    """Return whether an id is that of a company born in the simulation."""
    return security_id > SPIN_OFF_IDS


def first_symbol(symbol: str) -> str:
    """Return the symbol before a change: what was published once must not change with it."""
    return symbol.removesuffix(SYMBOL_ENDING)


def with_spin_offs(
    securities: Sequence[ListedSecurity], lives: Sequence[Life]
) -> list[ListedSecurity]:
    """Return the listed names followed by the companies that some of them will spin off."""
    children = [
        ListedSecurity(
            id=spin_off_id(parent.id),
            symbol=f"{first_symbol(parent.symbol)}SO",
            sector=parent.sector,
            size_cents=parent.size_cents // 6,
        )
        for parent, its_life in zip(securities, lives, strict=True)
        if its_life.spin_off is not None
    ]
    return [*securities, *children]


def plan_year(
    seed: int, sessions: Sequence[date], names: NameParameters, lives: Sequence[Life]
) -> YearPlan:
    """Return the plan of one calendar year's sessions.

    Args:
        seed: The market's seed.
        sessions: The sessions of one calendar year that the calendar knows.
        names: N names; the first `len(lives)` are listed, the others were spun off.
        lives: The rare events of the listed names.
    """
    year = sessions[0].year
    draws = name_words(seed, year, names.ids, _WORDS)
    events: list[list[tuple[Event, int]]] = [[] for _ in sessions]
    for column, its_life in enumerate(lives):
        for event, day in _life_events(its_life):
            if day.year == year and (row := _row(sessions, day)) is not None:
                events[row].append((event, column))
    _plan_splits(events, sessions, draws)
    return YearPlan(
        dividends=_plan_dividends(sessions, names, draws),
        events=events,
        split_ratio=_split_ratios(draws[:, 2]),
        halts=_plan_halts(sessions, draws),
    )


def pay_day(ex_on: date) -> date:
    """Return when a dividend with that ex-date is paid: three weeks later, never at a weekend."""
    day = ex_on + timedelta(days=_PAY_AFTER_DAYS)
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() >= _SATURDAY else 0)


def _life_events(its_life: Life) -> list[tuple[Event, date]]:
    notice = timedelta(days=_NOTICE_DAYS)
    out: list[tuple[Event, date]] = []
    if its_life.spin_off:
        out.append((Event.SPIN_OFF, its_life.spin_off))
    if its_life.symbol_change:
        out.append((Event.SYMBOL_CHANGE, its_life.symbol_change))
    if its_life.merger:
        out += [(Event.MERGER_NEWS, its_life.merger - notice), (Event.MERGER, its_life.merger)]
    if its_life.delisting:
        out.append((Event.FAILURE_NEWS, its_life.delisting - notice))
        out.append((Event.DELISTING, its_life.delisting))
    return out


def _chance(seed: int, what: str, security_id: int, chance: float) -> bool:
    return hashed_uniform(seed, what, security_id) < chance


def _drawn_day(seed: int, what: str, security_id: int, first_year: int, years: int) -> date:
    """Return a day between mid-April and mid-December, so that notice falls in the same year."""
    place = hashed_uniform(seed, what, security_id) * years
    year = first_year + int(place)
    return date(year, 4, 15) + timedelta(days=int((place % 1.0) * 240))


def _row(sessions: Sequence[date], day: date) -> int | None:
    """Return the row of the first session on or after a day, None if the year has none (yet)."""
    row = bisect_left(sessions, day)
    return row if row < len(sessions) else None


def _plan_splits(
    events: list[list[tuple[Event, int]]], sessions: Sequence[date], draws: FloatArray
) -> None:
    first = date(sessions[0].year, 1, 10)
    for column in np.nonzero(draws[:, 0] < _SPLIT_CHANCE)[0]:
        row = _row(sessions, first + timedelta(days=int(draws[column, 1] * 330)))
        if row is not None:
            events[row].append((Event.SPLIT, int(column)))


def _split_ratios(draw: FloatArray) -> FloatArray:
    """Return 2-for-1 mostly, 3-for-1 and 3-for-2 sometimes, 10-for-1 rarely."""
    ratios = np.array([[2.0, 1.0], [3.0, 1.0], [3.0, 2.0], [10.0, 1.0]])
    out: FloatArray = ratios[np.searchsorted([0.60, 0.75, 0.92], draw, side="right")]
    return out


def _plan_dividends(
    sessions: Sequence[date], names: NameParameters, draws: FloatArray
) -> list[IntArray]:
    """Return who goes ex on each session: once a quarter in the name's own month, days vary."""
    year = sessions[0].year
    ordinals = np.array([day.toordinal() for day in sessions], dtype=np.int64)
    month = np.array([int(3 * hashed_uniform("month", int(i))) for i in names.ids], dtype=np.int64)
    quarter = np.array([int(4 * hashed_uniform("quarter", int(i))) for i in names.ids])
    rows, columns = [], []
    for index in range(4):
        starts = [date(year, 3 * index + offset + 1, 3).toordinal() for offset in range(3)]
        wanted = np.array(starts)[month] + (draws[:, 3 + index] * 22).astype(np.int64)
        row = np.searchsorted(ordinals, wanted)
        pays = (names.payments == 4) | ((names.payments == 1) & (quarter == index))  # noqa: PLR2004 - quarterly payers
        real = pays & (row < len(sessions)) & (wanted >= ordinals[0])
        rows.append(row[real])
        columns.append(np.nonzero(real)[0])
    row_all, column_all = np.concatenate(rows), np.concatenate(columns)
    return [column_all[row_all == row] for row in range(len(sessions))]


def _plan_halts(sessions: Sequence[date], draws: FloatArray) -> IntArray:
    """Return halts: one name in a hundred a year, for half an hour up to the rest of the day."""
    first = sessions[0].replace(month=1, day=1)
    out = []
    for column in np.nonzero(draws[:, 8] < _HALT_CHANCE)[0]:
        row = _row(sessions, first + timedelta(days=int(draws[column, 9] * 364)))
        if row is not None:
            minute = int(draws[column, 10] * 330)
            out.append((row, int(column), minute, 30 + int(draws[column, 11] * 360)))
    return np.array(out, dtype=np.int64).reshape(len(out), 4)
