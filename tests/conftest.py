"""Fixtures that every kind of test shares: a real calendar, a still clock, a plug-in context."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import exchange_calendars
import pytest

from robo.core.clock import Clock, FixedClock
from robo.core.market_calendar import MarketCalendar
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import PriceSource

MONDAY_TEN_OCLOCK = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""Monday 2 March 2026, 10:00 in New York: the market is open."""


@pytest.fixture(scope="session")
def calendar() -> MarketCalendar:
    """Return the NYSE's sessions and half days from 2015 to 2027."""
    nyse = exchange_calendars.get_calendar("XNYS", start="2015-01-01", end="2027-12-31")
    return MarketCalendar(
        sessions=tuple(stamp.date() for stamp in nyse.sessions),
        half_days=frozenset(stamp.date() for stamp in nyse.early_closes),
    )


@pytest.fixture(scope="session")
def short_calendar(calendar: MarketCalendar) -> MarketCalendar:
    """Return the sessions of 2026 and 2027 only: simulated markets start fast on it."""
    return MarketCalendar(
        sessions=tuple(day for day in calendar.sessions if day >= date(2026, 1, 1)),
        half_days=calendar.half_days,
    )


@pytest.fixture
def fixed_clock() -> FixedClock:
    """Return a clock that stands at Monday 2 March 2026, 10:00 in New York."""
    return FixedClock(MONDAY_TEN_OCLOCK)


ContextFactory = Callable[..., PluginContext]


@pytest.fixture
def plugin_context(
    tmp_path: Path, fixed_clock: FixedClock, short_calendar: MarketCalendar
) -> ContextFactory:
    """Return a function that makes a context; everything has a default, everything can be given."""

    def make(
        settings: Mapping[str, str] | None = None,
        securities: Sequence[ListedSecurity] = (),
        prices: PriceSource | None = None,
        *,
        clock: Clock | None = None,
        calendar: MarketCalendar | None = None,
        state_dir: Path | None = None,
    ) -> PluginContext:
        return PluginContext(
            settings=settings or {},
            clock=clock or fixed_clock,
            state_dir=state_dir or tmp_path / "state",
            calendar=calendar or short_calendar,
            securities=tuple(securities),
            prices=prices,
        )

    return make
