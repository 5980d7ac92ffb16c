"""What a basket's page shows before anybody puts money in: names, reasons, predicted risk.

Predicted figures come from one shrunk one-factor model over the last 250 closed sessions of the
price source, fitted once a session and process. The index is our stand-in until the rulebook's own
exists: the 500 largest names of the universe by size estimate, weighted by it; every figure says
what it is, of what, and as of when.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from baskets.basket import Basket, Reject
from baskets.catalog import Catalog
from baskets.errors import BasketsError, ScreenError
from baskets.facts import Facts
from baskets.notes import screen_note
from baskets.screens import Outcome, screen_of
from robo.core.clock import Clock, business_date
from robo.core.errors import NotFoundError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM, split_cents
from robo.portfolio import risk
from robo.portfolio.risk import OneFactorModel
from robo.ports.prices import PriceSource
from robo.services import offering, targeting
from robo.services.offering import Shelf
from robo.store import universe
from robo.store.universe import Listing

INDEX_NAMES: Final = 500
INDEX_LABEL: Final = "the 500 largest companies we follow, weighted by size estimate"
_KEPT: Final = 4
_SAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class RiskView:
    """Predicted annual figures of a basket; model numbers, not promises."""

    volatility_ppm: int
    tracking_error_ppm: int
    """To the index."""
    target_error_ppm: int
    """To the basket as everybody is offered it; zero unless names were replaced."""
    index: str
    method: str
    source: str
    simulated: bool
    as_of: date
    sessions: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A basket with what the market says about it; no risk where the source has no history."""

    basket: Basket
    risk: RiskView | None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A name that the customer may not buy, and who stands in for it."""

    symbol: str
    stand_in: str
    weight_ppm: int
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A basket as one customer may hold it."""

    preview: Preview
    replaced: tuple[Replaced, ...]


@dataclass(frozen=True, slots=True)
class ScreenCheck:
    """What a filter says: how many pass, or where the text is wrong."""

    statements: int
    passing: int
    rejected: int
    asking: int
    samples: tuple[tuple[str, str], ...]
    """A few rejects: symbol, and the sentence of the first reason."""
    error: ScreenError | None
    score_note: str
    """On whose figures the verdicts rest."""


@dataclass(frozen=True, slots=True)
class _Market:
    """A fitted model with its columns and the index."""

    model: OneFactorModel
    column: Mapping[int, int]
    index_ppm: NDArray[np.int64]
    simulated: bool


class _Markets:
    """Models by price source and session; fitting one takes a second, so it is done once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, date], tuple[PriceSource, _Market | None]] = {}
        self._lock = Lock()

    def get(self, session: Session, prices: PriceSource, as_of: date) -> _Market | None:
        """Return the model of a session, None if the source has too little history."""
        key = (id(prices), as_of)
        with self._lock:
            found = self._known.get(key)
            # The source is kept, so that no other object can take its identity.
            if found is not None and found[0] is prices:
                return found[1]
            market = _fitted(universe.everything(session), prices, as_of)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = (prices, market)
            return market


_MARKETS: Final = _Markets()


def previews(
    session: Session,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    catalog: Catalog,
) -> list[Preview]:
    """Return every basket on offer with its predicted risk, in order of id."""
    market = _MARKETS.get(session, prices, _last_closed(clock, calendar))
    return [Preview(each, _risk(market, each, each)) for each in catalog.all()]


def preview(
    session: Session,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    catalog: Catalog,
    basket_id: str,
) -> Preview:
    """Return one basket with its predicted risk.

    Raises:
        NotFoundError: If it is not on offer.
    """
    found = _basket(catalog, basket_id)
    market = _MARKETS.get(session, prices, _last_closed(clock, calendar))
    return Preview(found, _risk(market, found, found))


def explain(
    session: Session,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    basket_id: str,
    customer_id: str,
) -> Explanation:
    """Return a basket as one customer may hold it: who was replaced by whom, and why.

    Raises:
        NotFoundError: If it is not on offer.
        RestrictedError: If the customer's restrictions leave too few names.
    """
    offered = _basket(offering.of_customer(session, customer_id).catalog, basket_id)
    personal = targeting.personal(session, customer_id, offered)
    market = _MARKETS.get(session, prices, _last_closed(clock, calendar))
    replaced = tuple(
        Replaced(row.replaces, row.symbol, row.weight_ppm, row.reason)
        for row in personal.constituents
        if row.replaces
    )
    return Explanation(Preview(personal, _risk(market, personal, offered)), replaced)


@dataclass(frozen=True, slots=True)
class RejectPage:
    """Some of who is not in a basket and why, by symbol; `more` is where the next page starts."""

    items: Sequence[Reject]
    more: int | None
    score_note: str


def rejects(
    shelf: Shelf,
    basket_id: str,
    symbol: str | None,
    start: int,
    limit: int,
    *,
    stranger: bool = False,
) -> RejectPage:
    """Return a page of who is not in a basket and why.

    Args:
        shelf: What the caller's firm offers.
        basket_id: Of which basket.
        symbol: Only of this name, if given.
        start: Where the page starts.
        limit: How many at most.
        stranger: Whether nobody is signed in: a vendor's figures are then not repeated, because
            they are licensed to the firm and its customers only.

    Raises:
        NotFoundError: If the basket is not on offer.
    """
    basket = _basket(shelf.catalog, basket_id)
    found = basket.rejects
    if symbol is not None:
        found = tuple(row for row in found if row.symbol == symbol)
    page = found[start : start + limit]
    if stranger:
        page = tuple(_without_figures(row, shelf.vendors) for row in page)
    more = start + limit if start + limit < len(found) else None
    return RejectPage(page, more, basket.data_note)


def _without_figures(row: Reject, vendors: Collection[str]) -> Reject:
    """Return a reject whose reason names a vendor, if one is behind it, but repeats no figure."""
    named = [vendor for vendor in vendors if f"({vendor}, " in row.reason]
    if not named:
        return row
    why = f"kept out by the data of {' and '.join(sorted(named))}; sign in to see the figures"
    return replace(row, reason=why)


def reject_counts(basket: Basket) -> list[tuple[str, int]]:
    """Return (code, how many), the commonest first."""
    return Counter(row.code for row in basket.rejects).most_common()


def check_screen(text: str, facts: Facts) -> ScreenCheck:
    """Return what a filter would pass and reject, or the place where it is wrong."""
    try:
        screen = screen_of(text, facts)
    except ScreenError as error:
        return ScreenCheck(0, 0, 0, 0, (), error, screen_note((), facts))
    verdicts = [screen.judge(security) for security in facts.universe.securities]
    rejects = [verdict for verdict in verdicts if verdict.outcome is Outcome.REJECT]
    return ScreenCheck(
        statements=len(screen.statements),
        passing=sum(verdict.outcome is Outcome.PASS for verdict in verdicts),
        rejected=len(rejects),
        asking=sum(verdict.outcome is Outcome.ASK for verdict in verdicts),
        samples=tuple(
            (verdict.security.symbol, verdict.findings[0].sentence())
            for verdict in rejects[:_SAMPLES]
        ),
        error=None,
        score_note=screen_note(screen.fields, facts),
    )


def _basket(catalog: Catalog, basket_id: str) -> Basket:
    try:
        return catalog.get(basket_id)
    except BasketsError as error:
        message = "there is no such basket on offer"
        raise NotFoundError(message, code="no_such_basket") from error


def _last_closed(clock: Clock, calendar: MarketCalendar) -> date:
    """Return the last session that has closed."""
    now = clock.now()
    day = calendar.on_or_before(business_date(now))
    return day if calendar.closes_at(day) <= now else calendar.shift(day, -1)


def _fitted(listings: Sequence[Listing], prices: PriceSource, as_of: date) -> _Market | None:
    """Return the model of everything that is alive, or None without enough history."""
    alive = [each for each in listings if each.size_cents > 0 and each.state != "delisted"]
    ids = [SecurityId(each.id) for each in alive]
    size = np.array([each.size_cents for each in alive], dtype=np.float64)
    try:
        rows = prices.total_returns(ids, as_of, risk.SESSIONS)
    except NotFoundError:
        return None
    returns = np.array(rows, dtype=np.float64)  # None becomes NaN
    try:
        model = risk.fit(returns, size, source=prices.name, as_of=as_of)
    except ValueError:
        return None
    return _Market(
        model, {each.id: place for place, each in enumerate(alive)}, _index(alive), prices.simulated
    )


def _index(alive: Sequence[Listing]) -> NDArray[np.int64]:
    """Return the index's weights, (N,) in ppm."""
    largest = sorted(range(len(alive)), key=lambda i: (-alive[i].size_cents, alive[i].id))
    members = largest[:INDEX_NAMES]
    weights = np.zeros(len(alive), dtype=np.int64)
    weights[members] = split_cents(PPM, [alive[i].size_cents for i in members])
    return weights


def _risk(market: _Market | None, basket: Basket, offered: Basket) -> RiskView | None:
    """Return a basket's figures, None where a name has no place in the model."""
    if market is None:
        return None
    mine, target = _weights(market, basket), _weights(market, offered)
    if mine is None or target is None:
        return None
    model = market.model
    return RiskView(
        volatility_ppm=_ppm(risk.portfolio_volatility(model, mine)),
        tracking_error_ppm=_ppm(risk.tracking_error(model, mine, market.index_ppm)),
        target_error_ppm=_ppm(risk.tracking_error(model, mine, target)),
        index=INDEX_LABEL,
        method=risk.METHOD,
        source=model.source,
        simulated=market.simulated,
        as_of=model.as_of,
        sessions=model.sessions,
    )


def _weights(market: _Market, basket: Basket) -> NDArray[np.int64] | None:
    weights = np.zeros(market.index_ppm.size, dtype=np.int64)
    for security_id, ppm in basket.weights_ppm.items():
        place = market.column.get(security_id)
        if place is None:
            return None
        weights[place] = ppm
    return weights


def _ppm(figure: NDArray[np.float64]) -> int:
    return round(float(figure) * PPM)
