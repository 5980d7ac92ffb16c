"""Alpaca's market data as our price source: raw closes, quotes, corporate actions.

Prices are kept raw, as they were told, in a file of our own: a close that a book was marked with
never changes because somebody adjusted it later. Returns are made from raw closes and announcements
(splits and dividends), never from adjusted bars. Settings: `ROBO_ALPACA_DATA_URL`,
`ROBO_ALPACA_FEED` (`iex`, `sip`), and the keys of `alpaca_settings`. See docs/alpaca.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from threading import RLock
from typing import Any, Final

from broker_adapters import settings
from broker_adapters.alpaca_actions import parse_action
from broker_adapters.alpaca_fields import UnreadableError, optional_decimal, parse_instant
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_orders import answered
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_price_store import ACTIONS, CLOSES, PriceStore
from broker_adapters.alpaca_settings import AlpacaSettings, read_data
from robo.core.clock import business_date
from robo.core.errors import BrokerUnavailableError, NotFoundError
from robo.core.ids import SecurityId
from robo.core.money import PPM, round_ratio
from robo.ports.plugins import PluginContext
from robo.ports.prices import ActionKind, CorporateAction, PriceSource, Quote

_SYMBOLS_A_PAGE: Final = 200
_POINTS_A_PAGE: Final = 10_000
_FRESH: Final = timedelta(seconds=3)
"""A quote that was read so recently is not read again."""
_LIVE: Final = timedelta(minutes=5)
"""An instant longer ago than this is answered from closes, and so always alike."""
_FINAL: Final = timedelta(minutes=30)
"""So long after the closing bell a bar may still change: it is told, and not kept."""
_BACK_SESSIONS: Final = 5
_REREAD: Final = timedelta(minutes=30)
"""Announcements of today and later are read again after so long."""


def create(context: PluginContext) -> PriceSource:
    """Return the price source of a context.

    Raises:
        ConfigError: If a setting is wrong or missing.
    """
    feed = settings.choice(context.settings, "ROBO_ALPACA_FEED", "iex", ("iex", "sip"))
    return AlpacaPrices(context, read_data(context.settings), feed)


class AlpacaPrices:
    """A PriceSource over Alpaca's market data; safe for threads."""

    def __init__(self, context: PluginContext, given: AlpacaSettings, feed: str) -> None:
        """Build the client; nothing is sent before the first call."""
        self._clock, self._calendar = context.clock, context.calendar
        self._feed = feed
        self._http = AlpacaHttp(given.keys, given.url, Pace(given.per_minute))
        self._store = PriceStore(context.state_dir / "alpaca" / f"prices-{feed}.db")
        self._symbols = {one.id: one.symbol for one in context.securities}
        self._ids = {one.symbol: one.id for one in context.securities}
        self._lock = RLock()
        self._quotes: dict[SecurityId, tuple[datetime, Quote]] = {}
        self._announced: dict[date, datetime] = {}

    @property
    def name(self) -> str:
        """Return the feed's name."""
        return f"ALPACA-{self._feed.upper()}"

    @property
    def simulated(self) -> bool:
        """Return False: these are the market's prices."""
        return False

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return the latest quote at or before an instant; names without a price are left out.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        if self._clock.now() - at > _LIVE:
            return self._closing_quotes(security_ids, at)
        with self._lock:
            now = self._clock.now()
            stale = [
                one
                for one in security_ids
                if one in self._symbols
                and not (one in self._quotes and now - self._quotes[one][0] < _FRESH)
            ]
            for part in _parts(stale):
                self._read_quotes(part, now)
            held = {one: self._quotes[one][1] for one in security_ids if one in self._quotes}
        # The last trade may be a moment younger than the question: it is the answer all the same.
        return {one: replace(quote, as_of=min(quote.as_of, at)) for one, quote in held.items()}

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        """Return the raw closes of a session in micro-dollars.

        Raises:
            NotFoundError: If the day is no session or has not closed yet.
            BrokerUnavailableError: If Alpaca did not answer.
        """
        closed = self._calendar.is_session(on) and self._calendar.closes_at(on) <= self._clock.now()
        if not closed:
            message = f"{on} is no session that has closed"
            raise NotFoundError(message, code="no_session")
        if self._clock.now() - self._calendar.closes_at(on) < _FINAL:
            told = [
                row for part in _parts(sorted(self._symbols)) for row in self._bars(part, on, on)
            ]
            closes = {one: micros for day, one, micros in told if day == on}
        else:
            self._read_closes([on])
            closes = self._store.closes(on)
        if not closes:
            message = f"Alpaca has no close of {on} yet"
            raise BrokerUnavailableError(message, code="no_closes")
        return {SecurityId(one): micros for one, micros in closes.items()}

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        """Return total simple daily returns, one row per session (oldest first), one column a name.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        days = [self._calendar.shift(last, -back) for back in range(count, -1, -1)]
        self._read_closes(days)
        self._read_actions(days[0], last)
        closes = self._store.closes_between(days[0], last)
        effects: dict[tuple[date, int], list[CorporateAction]] = {}
        for action in self._parsed(days[0], last):
            effects.setdefault((action.ex_on, action.security_id), []).append(action)
        return [
            [
                _total_return(
                    closes.get(before, {}).get(one),
                    closes.get(day, {}).get(one),
                    effects.get((day, one), []),
                )
                for one in security_ids
            ]
            for before, day in pairwise(days)
        ]

    def actions(self, on: date) -> Sequence[CorporateAction]:
        """Return the actions whose ex-date is that day.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        self._read_actions(on, on)
        return list(self._parsed(on, on))

    def close(self) -> None:
        """Give connections and the file back."""
        self._http.close()
        self._store.close()

    def _closing_quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return the last close at or before an instant as its price."""
        day = self._calendar.on_or_before(business_date(at))
        if self._calendar.closes_at(day) > at:
            day = self._calendar.shift(day, -1)
        found: dict[SecurityId, Quote] = {}
        for back in range(_BACK_SESSIONS):
            session = self._calendar.shift(day, -back)
            wanted = [one for one in security_ids if one not in found]
            if not wanted:
                break
            closes = self.closes(session)
            closed = self._calendar.closes_at(session)
            found |= {
                one: Quote(one, closes[one], closes[one], closes[one], closed)
                for one in wanted
                if one in closes
            }
        return found

    def _read_quotes(self, ids: Sequence[SecurityId], now: datetime) -> None:
        query = {"symbols": ",".join(self._symbols[one] for one in ids), "feed": self._feed}
        body = answered(self._http.get("/stocks/snapshots", query, Lane.READS))
        if not isinstance(body, dict):
            message = "Alpaca should have answered an object"
            raise UnreadableError(message)
        rows = body.get("snapshots", body)
        for one in ids:
            quote = _quote(one, rows.get(self._symbols[one]))
            if quote is not None:
                self._quotes[one] = now, quote

    def _read_closes(self, days: Sequence[date]) -> None:
        """Read the closes of days that are not kept yet, all names at once."""
        with self._lock:
            missing = self._store.missing(CLOSES, days)
            if not missing:
                return
            rows: list[tuple[date, int, int]] = []
            for part in _parts(sorted(self._symbols)):
                rows += self._bars(part, missing[0], missing[-1])
            wanted = set(missing)
            kept = [row for row in rows if row[0] in wanted]
            # A day of which nothing was told is a day that was not answered.
            self._store.keep_closes(kept, sorted({row[0] for row in kept}))

    def _bars(
        self, ids: Sequence[SecurityId], first: date, last: date
    ) -> Iterator[tuple[date, int, int]]:
        query = {
            "symbols": ",".join(self._symbols[one] for one in ids),
            "timeframe": "1Day",
            "adjustment": "raw",
            "feed": self._feed,
            "start": first.isoformat(),
            "end": last.isoformat(),
            "limit": str(_POINTS_A_PAGE),
        }
        for body in self._pages("/stocks/bars", query, ""):
            bars = body.get("bars") or {}
            for symbol, rows in bars.items():
                for row in rows:
                    price = optional_decimal(row, "c")
                    if symbol in self._ids and price is not None and price > 0:
                        yield _session(row), self._ids[symbol], _micros(price)

    def _read_actions(self, first: date, last: date) -> None:
        """Read announcements whose ex-day lies between two days, unless they are kept."""
        now, today = self._clock.now(), business_date(self._clock.now())
        span = [first + timedelta(days=back) for back in range((last - first).days + 1)]
        with self._lock:
            missing = self._store.missing(ACTIONS, span)
            missing = [day for day in missing if now - self._announced.get(day, _NEVER) > _REREAD]
            if not missing:
                return
            query = {
                "start": missing[0].isoformat(),
                "end": missing[-1].isoformat(),
                "limit": "1000",
            }
            rows: list[tuple[date, str, str, Mapping[str, Any]]] = []
            for body in self._pages("/corporate-actions", query, "v1"):
                for group, bodies in (body.get("corporate_actions") or {}).items():
                    for one in bodies:
                        action = parse_action(group, one, self._ids.get)
                        if action is not None:
                            rows.append((action.ex_on, action.id, group, one))
            # Yesterday's cannot be announced any more; today's and tomorrow's still can.
            self._store.keep_actions(rows, [day for day in missing if day < today])
            self._announced |= dict.fromkeys(missing, now)

    def _parsed(self, first: date, last: date) -> Iterator[CorporateAction]:
        for _, group, body in self._store.actions_between(first, last):
            action = parse_action(group, body, self._ids.get)
            if action is not None:
                yield action

    def _pages(self, path: str, query: dict[str, str], version: str) -> Iterator[dict[str, Any]]:
        while True:
            body = answered(self._http.get(path, query, Lane.READS, version))
            if not isinstance(body, dict):
                message = "Alpaca should have answered an object"
                raise UnreadableError(message)
            yield body
            token = body.get("next_page_token")
            if not token or token == query.get("page_token"):
                return
            query = {**query, "page_token": str(token)}


_NEVER: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _parts(ids: Sequence[SecurityId]) -> Iterator[Sequence[SecurityId]]:
    for start in range(0, len(ids), _SYMBOLS_A_PAGE):
        yield ids[start : start + _SYMBOLS_A_PAGE]


def _quote(security_id: SecurityId, body: Any) -> Quote | None:
    """Return a snapshot as a quote: the last trade, and a bid and ask that make sense of it."""
    if not isinstance(body, dict) or not isinstance(body.get("latestTrade"), dict):
        return None
    trade, book = body["latestTrade"], body.get("latestQuote") or {}
    price = optional_decimal(trade, "p")
    if price is None or price <= 0:
        return None
    last = _micros(price)
    bid, ask = (_micros(optional_decimal(book, name) or 0) for name in ("bp", "ap"))
    if not 0 < bid <= ask:
        bid = ask = last
    return Quote(security_id, last, bid, ask, parse_instant(trade, "t"))


def _session(row: Mapping[str, Any]) -> date:
    return business_date(parse_instant(row, "t"))


def _micros(price: Any) -> int:
    exact = Fraction(price) * PPM
    return round_ratio(exact.numerator, exact.denominator)


def _total_return(
    before: int | None, after: int | None, actions: Sequence[CorporateAction]
) -> float | None:
    """Return what a dollar in a name made between two closes, its dividends and splits included."""
    if before is None or after is None:
        return None
    worth = Fraction(after)
    for action in actions:
        if action.kind is ActionKind.SPLIT:
            worth = worth * action.ratio_num / action.ratio_den
        elif action.kind is ActionKind.CASH_DIVIDEND:
            worth += action.cash_micros
        elif action.kind is ActionKind.SPIN_OFF:
            return None  # what the child is worth is not in this name's price
    return float(worth / before - 1)
