"""The simulated market: invented prices that behave like real ones, the same for everybody.

Prices are append-only: a longer calendar or more names change no earlier price. They depend on
the seed (`ROBO_SIM_SEED`), on permanent ids, sectors and size seeds, and on `SIM_VERSION`.
Every year is computed once and kept under the state directory. See docs/simulated-market.md.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import Final, TypeVar

import numpy as np

from broker_adapters import settings
from broker_adapters.market_actions import (
    KINDS,
    SYMBOL_ENDING,
    born_here,
    first_symbol,
    life,
    with_spin_offs,
)
from broker_adapters.market_cache import YearCache, universe_digest
from broker_adapters.market_model import SIM_VERSION, FloatArray, parameters
from broker_adapters.market_quotes import Snapshot, TradingDay, year_returns
from broker_adapters.market_years import MarketState, MarketYear, first_state, simulate_year
from robo.core.clock import NEW_YORK, business_date, day_begins, from_micros
from robo.core.errors import ConfigError, NotFoundError
from robo.core.ids import SecurityId
from robo.ports.plugins import PluginContext
from robo.ports.prices import ActionKind, CorporateAction, PriceSource, Quote

EPOCH: Final = date(2015, 1, 2)
"""No price is older, however far back the calendar goes: a moving start would move every price."""
SEED_SETTING: Final = "ROBO_SIM_SEED"
EVENTS_SETTING: Final = "ROBO_SIM_EVENTS_PPM"
"""Multiplies the chances of mergers, delistings, spin-offs and symbol changes; 1_000_000 = real."""
_EVENTS_PPM: Final = 1_000_000
_EVENTS_PPM_MAX: Final = 50_000_000
_SNAPSHOTS_KEPT: Final = 16
_DAYS_KEPT: Final = 8
_YEARS_KEPT: Final = 6
"""A risk model asks for a thousand sessions, which lie in five years."""
_K = TypeVar("_K")
_V = TypeVar("_V")


def create(context: PluginContext) -> PriceSource:
    """Return the simulated market of a context.

    Raises:
        ConfigError: If a setting is wrong or an id occurs twice.
    """
    return SimulatedMarket(context)


class SimulatedMarket:
    """A PriceSource whose name starts with SIM."""

    def __init__(self, context: PluginContext) -> None:
        """Read the settings; years are computed or loaded when first asked for."""
        self._seed = settings.integer(
            context.settings, SEED_SETTING, 1, lowest=0, highest=2**63 - 1
        )
        ppm = settings.integer(
            context.settings, EVENTS_SETTING, _EVENTS_PPM, lowest=0, highest=_EVENTS_PPM_MAX
        )
        scale = ppm / _EVENTS_PPM
        # The store lists spun-off companies once they exist; here they come with their parents.
        listed = [s for s in context.securities if not born_here(s.id)]
        self._lives = [life(self._seed, security.id, scale) for security in listed]
        self._securities = with_spin_offs(listed, self._lives)
        self._ids = [security.id for security in self._securities]
        self._column = {security_id: column for column, security_id in enumerate(self._ids)}
        if len(self._column) != len(self._ids):
            message = "the simulated market was given the same security id twice"
            raise ConfigError(message, code="duplicate_security")
        self._names = parameters(self._securities)
        self._listed = len(listed)
        self._children = self._child_columns()
        self._calendar = context.calendar
        self._clock = context.clock
        self._sessions = [day for day in context.calendar.sessions if day >= EPOCH]
        if not self._sessions:
            message = "the market calendar ends before the simulated market begins"
            raise ConfigError(message, code="no_sessions")
        digest = universe_digest(listed, self._seed, ppm, self._sessions[0].isoformat())
        self._cache = YearCache(context.state_dir / "simulated_market" / digest)
        self._years: dict[int, MarketYear] = {}
        self._returns: dict[int, FloatArray] = {}
        self._days: dict[date, TradingDay] = {}
        self._snapshots: dict[tuple[date, int], Snapshot] = {}
        self._seen = datetime.min.replace(tzinfo=UTC)
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Return the feed's name with its version and seed, for the record of every trade."""
        return f"SIM-{SIM_VERSION}-{self._seed}"

    @property
    def simulated(self) -> bool:
        """Return True: these prices are invented."""
        return True

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return the quotes at an instant; an instant in the future is answered as now."""
        snapshot = self._snapshot(self._past(at))
        if snapshot is None:
            return {}
        out: dict[SecurityId, Quote] = {}
        column_of, quote_of = self._column.get, snapshot.quote
        for security_id in security_ids:
            column = column_of(security_id)
            if column is not None and (quote := quote_of(column)) is not None:
                out[security_id] = quote
        return out

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        """Return the raw closes of a session that has closed.

        Raises:
            NotFoundError: If the day is no session of this market or has not closed yet.
        """
        row = self._closed_session(on) - self._first_index(on.year)
        prices = self._year(on.year).close[row].tolist()
        return {i: price for i, price in zip(self._ids, prices, strict=True) if price}

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        """Return total simple returns up to a closed session; fewer rows where history is short.

        Raises:
            NotFoundError: If `last` is no session of this market or has not closed yet.
        """
        end = self._closed_session(last) + 1
        start = max(0, end - count)
        days = self._sessions[start:end]
        blocks = []
        for year in sorted({day.year for day in days}):
            first = self._first_index(year)
            blocks.append(self._year_returns(year)[max(0, start - first) : end - first])
        everything = np.vstack(blocks) if blocks else np.empty((0, len(self._ids)))
        columns = [self._column.get(security_id, -1) for security_id in security_ids]
        padded = np.hstack([everything, np.full((len(days), 1), np.nan)])
        chosen = padded[:, columns]
        rows = chosen.astype(np.object_)
        rows[np.isnan(chosen)] = None
        out: list[list[float | None]] = rows.tolist()
        return out

    def actions(self, on: date) -> Sequence[CorporateAction]:
        """Return the actions with that ex-date; a day that has not begun has none yet."""
        index = bisect_left(self._sessions, on)
        known = index < len(self._sessions) and self._sessions[index] == on
        if not known or on > business_date(self._clock.now()):
            return ()
        year = self._year(on.year)
        rows = year.actions[year.actions[:, 0] == index - self._first_index(on.year)]
        return [self._action(on, *line[1:]) for line in rows.tolist()]

    def _action(
        self,
        on: date,
        kind_index: int,
        column: int,
        pay: int,
        cash: int,
        new: int,
        old: int,
        other: int,
        basis: int,
    ) -> CorporateAction:
        kind = KINDS[kind_index]
        security = self._securities[column]
        new_symbol = self._securities[other].symbol if other >= 0 else None
        if kind is ActionKind.SYMBOL_CHANGE:
            new_symbol = first_symbol(security.symbol) + SYMBOL_ENDING
        return CorporateAction(
            id=f"{self.name}-{kind.value}-{security.id}-{on.isoformat()}",
            kind=kind,
            security_id=security.id,
            ex_on=on,
            pay_on=date.fromordinal(pay),
            cash_micros=cash,
            ratio_num=new,
            ratio_den=old,
            new_security_id=self._ids[other] if other >= 0 else None,
            new_symbol=new_symbol,
            basis_ppm=basis,
        )

    def _child_columns(self) -> list[int]:
        out = [-1] * len(self._ids)
        child = self._listed
        for column, its_life in enumerate(self._lives):
            if its_life.spin_off is not None:
                out[column] = child
                child += 1
        return out

    def _past(self, at: datetime) -> datetime:
        """Return the instant, or now if it lies ahead; asks the clock only about new instants."""
        if at > self._seen:
            self._seen = max(self._seen, self._clock.now())
        return min(at, self._seen)

    def _snapshot(self, at: datetime) -> Snapshot | None:
        day = at.astimezone(NEW_YORK).date()
        index = bisect_left(self._sessions, day)
        if index < len(self._sessions) and self._sessions[index] == day:
            opens = self._calendar.opens_at(day)
            minutes = (self._calendar.closes_at(day) - opens) // timedelta(minutes=1)
            minute = max(-1, min((at - opens) // timedelta(minutes=1), minutes))
        else:
            index -= 1
            if index < 0:
                return None
            day = self._sessions[index]
            opens = self._calendar.opens_at(day)
            minutes = minute = (self._calendar.closes_at(day) - opens) // timedelta(minutes=1)
        found = self._snapshots.get((day, minute))
        if found is None:
            found = self._make_snapshot(day, index, minute, minutes)
            _remember(self._snapshots, (day, minute), found, _SNAPSHOTS_KEPT)
        return found

    def _make_snapshot(self, day: date, index: int, minute: int, minutes: int) -> Snapshot:
        """Return the quotes of a minute after the opening; minute -1 stands for before it."""
        paths = self._day(day)
        halted: frozenset[int] = frozenset()
        as_of = self._calendar.opens_at(day) + timedelta(minutes=minute)
        if minute < 0:
            price = paths.reference
            before = self._sessions[index - 1] if index else None
            as_of = self._calendar.closes_at(before) if before else from_micros(day_begins(day))
        else:
            price, halted = paths.prices(minute, minutes)
        return Snapshot(self._ids, price, self._names.spread_ppm, as_of, halted)

    def _day(self, day: date) -> TradingDay:
        found = self._days.get(day)
        if found is None:
            row = bisect_left(self._sessions, day) - self._first_index(day.year)
            found = TradingDay(self._seed, self._year(day.year), row, self._names)
            _remember(self._days, day, found, _DAYS_KEPT)
        return found

    def _closed_session(self, on: date) -> int:
        index = bisect_left(self._sessions, on)
        if index >= len(self._sessions) or self._sessions[index] != on:
            message = f"{on.isoformat()} is no session of the simulated market"
            raise NotFoundError(message, code="no_session")
        if self._clock.now() < self._calendar.closes_at(on):
            message = f"the session of {on.isoformat()} has not closed yet"
            raise NotFoundError(message, code="session_not_closed")
        return index

    def _first_index(self, year: int) -> int:
        return bisect_left(self._sessions, date(year, 1, 1))

    def _year_returns(self, year: int) -> FloatArray:
        found = self._returns.get(year)
        if found is None:
            found = year_returns(self._year(year))
            _remember(self._returns, year, found, _YEARS_KEPT)
        return found

    def _year(self, year: int) -> MarketYear:
        found = self._years.get(year)
        if found is None:
            with self._lock:
                found = self._years.get(year) or self._load(year)
        return found

    def _load(self, year: int) -> MarketYear:
        """Return a year from the cache, or compute it after the years before it."""
        sessions = self._sessions[self._first_index(year) : self._first_index(year + 1)]
        found = self._cache.read(sessions)
        if found is not None and len(found.before) != len(self._ids):
            found = None
        if found is None:
            found = simulate_year(
                self._seed,
                sessions,
                self._names,
                self._lives,
                self._children,
                self._state_before(year),
            )
            self._cache.write(found)
        _remember(self._years, year, found, _YEARS_KEPT)
        return found

    def _state_before(self, year: int) -> MarketState:
        if self._first_index(year) == 0:
            return first_state(self._names, self._listed)
        before = self._sessions[self._first_index(year) - 1].year
        return (self._years.get(before) or self._load(before)).after


def _remember(cache: dict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Keep a value; a full cache starts anew. Threads may race, the worst is computing twice."""
    if len(cache) >= most:
        cache.clear()
    cache[key] = value
