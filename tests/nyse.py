"""The sessions of the New York Stock Exchange, as its package knows them."""

import warnings
from functools import cache

import exchange_calendars

from robo.core.market_calendar import MarketCalendar


@cache
def nyse(start: str = "2026-01-01", end: str = "2027-12-31") -> MarketCalendar:
    """Return the sessions and half days between two dates."""
    with warnings.catch_warnings():
        # The calendar's package uses an attribute that pandas is about to drop.
        warnings.simplefilter("ignore")
        exchange = exchange_calendars.get_calendar("XNYS", start=start, end=end)
    return MarketCalendar(
        sessions=tuple(stamp.date() for stamp in exchange.sessions),
        half_days=frozenset(stamp.date() for stamp in exchange.early_closes),
    )
