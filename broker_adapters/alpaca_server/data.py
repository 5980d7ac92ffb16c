"""The market-data half: quotes, trades, bars and corporate actions of the simulated market.

A bar's open, high and low are its close, and its volume is 0: the market that this server stands
on knows one price an instant and no crowd.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from broker_adapters.alpaca_server.bodies import uuid_of
from broker_adapters.alpaca_server.exchange import Answer, Exchange, refused
from broker_adapters.alpaca_server.router import Request, Router
from robo.core.clock import business_date, iso_instant, to_micros
from robo.core.errors import NotFoundError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM
from robo.ports.prices import ActionKind, CorporateAction, PriceSource, Quote

_POINTS_MAX: Final = 10_000
_ACTIONS_MAX: Final = 1_000
_DAYS_MAX: Final = 4_000


class MarketData:
    """Answers for every security of the market."""

    def __init__(self, exchange: Exchange, prices: PriceSource, calendar: MarketCalendar) -> None:
        """Take the market."""
        self._exchange, self._prices, self._calendar = exchange, prices, calendar

    def add(self, router: Router) -> None:
        """Add the paths."""
        for path, name, make in (
            ("/v2/stocks/quotes/latest", "quotes", _quote),
            ("/v2/stocks/trades/latest", "trades", _trade),
            ("/v2/stocks/bars/latest", "bars", _minute_bar),
        ):
            router.add("GET", path, self._latest(name, make))
        router.add("GET", "/v2/stocks/snapshots", self._snapshots)
        router.add("GET", "/v2/stocks/bars", self._bars)
        router.add("GET", "/v1/corporate-actions", self._actions)

    def _latest(self, name: str, make: Callable[[Quote], Any]) -> Callable[[Request], Answer]:
        def handler(asked: Request) -> Answer:
            found = self._quotes(asked)
            return 200, {name: {symbol: make(quote) for symbol, quote in found.items()}}

        return handler

    def _snapshots(self, asked: Request) -> Answer:
        return 200, {
            symbol: {
                "latestTrade": _trade(quote),
                "latestQuote": _quote(quote),
                "minuteBar": _minute_bar(quote),
                "dailyBar": _minute_bar(quote),
                "prevDailyBar": _minute_bar(quote),
            }
            for symbol, quote in self._quotes(asked).items()
        }

    def _quotes(self, asked: Request) -> Mapping[str, Quote]:
        ids = self._ids(asked)
        quotes = self._prices.quotes(list(ids.values()), self._exchange.now())
        return {symbol: quotes[one] for symbol, one in ids.items() if one in quotes}

    def _ids(self, asked: Request) -> dict[str, SecurityId]:
        named = [one for one in asked.query.get("symbols", "").split(",") if one]
        found = {symbol: self._exchange.security_id(symbol) for symbol in named}
        return {symbol: one for symbol, one in found.items() if one is not None}

    def _bars(self, asked: Request) -> Answer:
        """Return daily bars, raw; sorted by symbol, then day; a page has so many points in all."""
        query = asked.query
        if query.get("timeframe") != "1Day" or query.get("adjustment", "raw") != "raw":
            return refused(422, 42210000, "this server keeps raw daily bars only")
        days = self._days(query)
        most = min(int(query.get("limit", _POINTS_MAX)), _POINTS_MAX)
        points = [(symbol, day) for symbol in sorted(self._ids(asked)) for day in days]
        start = _after(points, query.get("page_token", ""))
        page = points[start : start + most]
        ids, closes = self._ids(asked), {day: self._closes(day) for day in {d for _, d in page}}
        bars: dict[str, list[Any]] = {}
        for symbol, day in page:
            micros = closes[day].get(ids[symbol])
            if micros is not None:
                at = datetime.combine(day, datetime.min.time()).isoformat() + "Z"
                bars.setdefault(symbol, []).append(_bar(at.replace("T00", "T05"), micros))
        more = start + most < len(points)
        return 200, {"bars": bars, "next_page_token": _token(page[-1]) if more and page else None}

    def _closes(self, day: date) -> Mapping[SecurityId, int]:
        try:
            return self._prices.closes(day)
        except NotFoundError:
            return {}

    def _days(self, query: Mapping[str, str]) -> list[date]:
        now = self._exchange.now()
        first = _day(query.get("start"), business_date(now))
        last = min(_day(query.get("end"), business_date(now)), business_date(now))
        found = [
            day
            for day in self._calendar.sessions
            if first <= day <= last and self._calendar.closes_at(day) <= now
        ][:_DAYS_MAX]
        return found[::-1] if query.get("sort") == "desc" else found

    def _actions(self, asked: Request) -> Answer:
        """Return the corporate actions that go ex between two days."""
        today = business_date(self._exchange.now())
        day, last = _day(asked.query.get("start"), today), _day(asked.query.get("end"), today)
        named = {one for one in asked.query.get("symbols", "").split(",") if one}
        told: dict[str, list[Any]] = {}
        count, start = 0, int(asked.query.get("page_token") or 0)
        while day <= last:
            for action in self._prices.actions(day):
                group, body = self._action(action)
                if named and self._exchange.symbol(action.security_id) not in named:
                    continue
                count += 1
                if start < count <= start + _ACTIONS_MAX:
                    told.setdefault(group, []).append(body)
            day += timedelta(days=1)
        more = count > start + _ACTIONS_MAX
        token = str(start + _ACTIONS_MAX) if more else None
        return 200, {"corporate_actions": told, "next_page_token": token}

    def _action(self, action: CorporateAction) -> tuple[str, dict[str, Any]]:
        symbol = self._exchange.symbol(action.security_id)
        new = action.new_symbol or (
            "" if action.new_security_id is None else self._exchange.symbol(action.new_security_id)
        )
        ex, pay = action.ex_on.isoformat(), action.pay_on.isoformat()
        cash = action.cash_micros / PPM
        base = {
            "id": uuid_of("action", action.id),
            "process_date": pay,
            "cusip": _cusip(action.security_id),
        }
        dated = {**base, "symbol": symbol, "ex_date": ex, "record_date": ex, "payable_date": pay}
        rates = {"new_rate": action.ratio_num, "old_rate": action.ratio_den}
        own, other = _cusip(action.security_id), _cusip(action.new_security_id)
        gone = {
            **base,
            "effective_date": ex,
            "acquiree_symbol": symbol,
            "acquiree_cusip": own,
            "payable_date": pay,
        }
        taken = {
            "acquirer_symbol": new,
            "acquirer_cusip": other,
            "acquirer_rate": action.ratio_num,
            "acquiree_rate": action.ratio_den,
        }
        forward = action.ratio_num >= action.ratio_den
        merged = {**gone, **taken}
        both = {**merged, "cash_rate": cash}
        told: dict[ActionKind, tuple[str, dict[str, Any]]] = {
            ActionKind.CASH_DIVIDEND: (
                "cash_dividends",
                {**dated, "rate": cash, "special": False, "foreign": False},
            ),
            ActionKind.SPLIT: (
                "forward_splits" if forward else "reverse_splits",
                {**dated, **rates, "due_bill_redemption_date": pay}
                if forward
                else {**dated, **rates, "old_cusip": own, "new_cusip": own},
            ),
            ActionKind.SPIN_OFF: (
                "spin_offs",
                {
                    **dated,
                    "source_symbol": symbol,
                    "source_cusip": own,
                    "new_cusip": other,
                    "source_rate": action.ratio_den,
                    "new_symbol": new,
                    "new_rate": action.ratio_num,
                },
            ),
            ActionKind.SYMBOL_CHANGE: (
                "name_changes",
                {
                    **base,
                    "old_symbol": symbol,
                    "new_symbol": new,
                    "old_cusip": own,
                    "new_cusip": own,
                    "process_date": ex,
                },
            ),
            ActionKind.STOCK_MERGER: ("stock_and_cash_mergers", both)
            if action.cash_micros
            else ("stock_mergers", merged),
            ActionKind.CASH_MERGER: ("cash_mergers", {**gone, "rate": cash}),
            ActionKind.DELISTING: ("cash_mergers", {**gone, "rate": cash})
            if action.cash_micros
            else ("worthless_removals", {**base, "symbol": symbol, "process_date": ex}),
        }
        return told[action.kind]


def _cusip(security_id: int | None) -> str:
    """Return what stands for a CUSIP here: the market's names have none."""
    return "" if security_id is None else f"C{security_id}"


def _quote(quote: Quote) -> dict[str, Any]:
    return {
        "t": iso_instant(to_micros(quote.as_of)),
        "ax": "V",
        "ap": quote.ask_micros / PPM,
        "as": 1,
        "bx": "V",
        "bp": quote.bid_micros / PPM,
        "bs": 1,
        "c": ["R"],
        "z": "C",
    }


def _trade(quote: Quote) -> dict[str, Any]:
    at = iso_instant(to_micros(quote.as_of))
    price = quote.price_micros / PPM
    return {"t": at, "x": "V", "p": price, "s": 1, "c": ["@"], "i": 1, "z": "C"}


def _minute_bar(quote: Quote) -> dict[str, Any]:
    return _bar(iso_instant(to_micros(quote.as_of)), quote.price_micros)


def _bar(at: str, micros: int) -> dict[str, Any]:
    price = micros / PPM
    return {**dict.fromkeys("ohlc", price), "t": at, "v": 0, "n": 0, "vw": price}


def _day(text: str | None, usual: date) -> date:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return usual


def _token(point: tuple[str, date]) -> str:
    return base64.b64encode(f"{point[0]}|D|{point[1]}".encode()).decode()


def _after(points: Sequence[tuple[str, date]], token: str) -> int:
    if not token:
        return 0
    for place, point in enumerate(points):
        if _token(point) == token:
            return place + 1
    return len(points)
