"""Prices for reports: quotes now, and the closes of the session before in today's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import NotFoundError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import round_ratio
from robo.ports.prices import ActionKind, PriceSource, Quote
from robo.store import universe

_DAYS_KEPT: Final = 8
_SAME_TERMS: Final = frozenset({ActionKind.CASH_DIVIDEND, ActionKind.SYMBOL_CHANGE})
"""Actions after which yesterday's close may be compared with today's price as it is."""


@dataclass(frozen=True, slots=True)
class PriceBoard:
    """What names cost, where that comes from, and what they cost a session earlier."""

    source: str
    simulated: bool
    as_of: datetime
    session: date
    """The session that the prices belong to."""
    quotes: Mapping[SecurityId, Quote]
    previous_micros: Mapping[int, int]
    """Closes of the session before, adjusted for splits; a name without one is left out."""


def board(
    prices: PriceSource, calendar: MarketCalendar, security_ids: Sequence[int], at: datetime
) -> PriceBoard:
    """Return prices at an instant for these names."""
    quotes = prices.quotes([SecurityId(security) for security in security_ids], at)
    as_of = max((quote.as_of for quote in quotes.values()), default=at)
    session = business_date(as_of)
    return PriceBoard(
        source=prices.name,
        simulated=prices.simulated,
        as_of=as_of,
        session=session,
        quotes=quotes,
        previous_micros=_CLOSES.before(prices, calendar, session) if quotes else {},
    )


class _Closes:
    """Closes of the past never change, so they are kept for as long as they are asked for."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, date], tuple[PriceSource, Mapping[int, int]]] = {}

    def before(
        self, prices: PriceSource, calendar: MarketCalendar, session: date
    ) -> Mapping[int, int]:
        """Return the adjusted closes before a session; empty where the feed has none yet."""
        key = (id(prices), session)
        found = self._known.get(key)
        # The source is kept with its closes, so that no other object can take its identity.
        if found is not None and found[0] is prices:
            return found[1]
        try:
            closes = _in_terms_of(prices, session, prices.closes(calendar.shift(session, -1)))
        except NotFoundError:
            return {}
        if len(self._known) >= _DAYS_KEPT:
            self._known.clear()
        self._known[key] = (prices, closes)
        return closes


_CLOSES: Final = _Closes()


def _in_terms_of(
    prices: PriceSource, session: date, closes: Mapping[SecurityId, int]
) -> Mapping[int, int]:
    """Return closes in a session's terms: after a 2-for-1 split, half the old price.

    A name with another action that day (merger, spin-off, delisting) has no comparable close.
    """
    found = {int(security): close for security, close in closes.items()}
    for action in prices.actions(session):
        close = found.get(action.security_id)
        if close is None or action.kind in _SAME_TERMS:
            continue
        if action.kind is ActionKind.SPLIT:
            found[action.security_id] = round_ratio(close * action.ratio_den, action.ratio_num)
        else:
            del found[action.security_id]
    return found


@dataclass(frozen=True, slots=True)
class PriceLine:
    """What one share costs now."""

    symbol: str
    security_id: int
    price_micros: int
    bid_micros: int
    ask_micros: int
    as_of_micros: int
    halted: bool


def price_lines(
    session: Session, prices: PriceSource, clock: Clock, symbols: Sequence[str]
) -> tuple[list[PriceLine], list[str]]:
    """Return the prices of symbols in their order, and the symbols without one."""
    found = universe.by_symbol(session, symbols)
    ids = [listing.id for listing in found.values()]
    quotes = prices.quotes(ids, clock.now())
    lines: list[PriceLine] = []
    for symbol in symbols:
        listing = found.get(symbol)
        quote = quotes.get(listing.id) if listing is not None else None
        if listing is not None and quote is not None:
            lines.append(
                PriceLine(
                    symbol,
                    listing.id,
                    quote.price_micros,
                    quote.bid_micros,
                    quote.ask_micros,
                    to_micros(quote.as_of),
                    quote.halted,
                )
            )
    known = {line.symbol for line in lines}
    return lines, [symbol for symbol in symbols if symbol not in known]
