"""Alpaca's market data as our prices: raw, kept as they were told, returns made from them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alpaca_ground import APPLE, BANK, CHILD, COAL, Feed, Ground, ground_at

from broker_adapters import alpaca_prices
from broker_adapters.alpaca_actions import own_id, parse_action
from broker_adapters.alpaca_fields import UnreadableError
from broker_adapters.alpaca_prices import AlpacaPrices, _micros, _quote, _session
from broker_adapters.alpaca_server.bodies import uuid_of
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from robo.core.errors import BrokerUnavailableError, NotFoundError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.prices import ActionKind, CorporateAction

RECORDED = Path(__file__).parents[3] / "shared" / "facts" / "alpaca_exchanges.json"
DAYS = [date(2026, 2, 25), date(2026, 2, 26), date(2026, 2, 27)]
"""The three sessions before Monday the second of March."""


@dataclass
class History(Feed):
    """A feed whose closes differ by day."""

    by_close: dict[date, dict[SecurityId, int]] = field(default_factory=dict)

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        return self.by_close.get(on, {})


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar) as made:
        history = History(micros=made.feed.micros)
        history.by_close = {
            DAYS[0]: {APPLE: 100_000_000, BANK: 50_000_000},
            DAYS[1]: {APPLE: 51_000_000, BANK: 49_500_000, COAL: 9_990_000},
            DAYS[2]: {APPLE: 50_490_000, COAL: 9_999_999},
        }
        made.feed = history
        made.server.close()
        made.opened.remove(made.server)
        made.__post_init__()
        yield made


def source(ground: Ground, **settings: str) -> AlpacaPrices:
    made = alpaca_prices.create(ground.context("prices", **ground.adapter_settings(**settings)))
    assert isinstance(made, AlpacaPrices)
    ground.opened.append(made)
    return made


def test_closes_are_raw_and_to_the_micro_dollar(ground: Ground):
    prices = source(ground)

    assert prices.closes(DAYS[1]) == {APPLE: 51_000_000, BANK: 49_500_000, COAL: 9_990_000}
    assert prices.closes(DAYS[2])[COAL] == 9_999_999
    assert (prices.name, prices.simulated) == ("ALPACA-IEX", False)


@pytest.mark.parametrize("on", [date(2026, 2, 28), date(2026, 3, 2), date(2026, 3, 3)])
def test_a_day_that_has_no_close_yet_has_none(ground: Ground, on: date):
    with pytest.raises(NotFoundError):
        source(ground).closes(on)


def test_a_close_that_was_told_is_kept_whatever_is_told_later(ground: Ground):
    first = source(ground).closes(DAYS[1])
    assert isinstance(ground.feed, History)
    ground.feed.by_close[DAYS[1]] = {APPLE: 1_000_000}
    ground.server.faults.plan(Fault(FaultKind.REFUSE, "GET", ".*", times=1_000))

    again = source(ground)

    assert again.closes(DAYS[1]) == first
    with pytest.raises(BrokerUnavailableError):
        again.closes(DAYS[0])


def test_a_bar_that_may_still_change_is_told_and_not_kept(ground: Ground):
    monday = date(2026, 3, 2)
    assert isinstance(ground.feed, History)
    ground.feed.by_close[monday] = {APPLE: 101_000_000}
    ground.clock.set(datetime(2026, 3, 2, 21, 10, tzinfo=UTC))
    prices = source(ground)

    early = prices.closes(monday)[APPLE]
    ground.feed.by_close[monday] = {APPLE: 101_500_000}
    ground.clock.set(datetime(2026, 3, 2, 21, 40, tzinfo=UTC))
    final = prices.closes(monday)[APPLE]
    ground.feed.by_close[monday] = {APPLE: 99_000_000}

    assert (early, final, prices.closes(monday)[APPLE]) == (101_000_000, 101_500_000, 101_500_000)


def test_no_close_of_any_name_is_an_error_and_asked_for_again(ground: Ground):
    assert isinstance(ground.feed, History)
    kept = ground.feed.by_close.pop(DAYS[1])
    prices = source(ground)

    with pytest.raises(BrokerUnavailableError):
        prices.closes(DAYS[1])
    ground.feed.by_close[DAYS[1]] = kept

    assert prices.closes(DAYS[1]) == kept


def test_a_trade_a_moment_younger_than_the_question_is_the_answer(ground: Ground):
    asked = ground.clock.now()
    ground.wait(seconds=1)

    quote = source(ground).quotes([APPLE], asked)[APPLE]

    assert quote.as_of == asked


def test_returns_count_splits_and_dividends_and_say_none_where_there_is_no_price(ground: Ground):
    split = CorporateAction("s", ActionKind.SPLIT, APPLE, DAYS[1], DAYS[1], ratio_num=2)
    dividend = CorporateAction(
        "d", ActionKind.CASH_DIVIDEND, BANK, DAYS[1], DAYS[2], cash_micros=1_000_000
    )
    ground.feed.plan(split)
    ground.feed.plan(dividend)

    first, second = source(ground).total_returns([APPLE, BANK, COAL], DAYS[2], 2)

    # 51 x 2 / 100 - 1; (49.5 + 1) / 50 - 1; no price the day before.
    assert first == [pytest.approx(0.02), pytest.approx(0.01), None]
    assert second == [pytest.approx(-0.01), None, pytest.approx(9.999999 / 9.99 - 1)]


def test_a_live_quote_has_a_bid_an_ask_and_the_instant_it_was_formed(ground: Ground):
    prices = source(ground)

    found = prices.quotes([APPLE, BANK, SecurityId(77)], ground.clock.now())

    assert set(found) == {APPLE, BANK}
    quote = found[APPLE]
    assert (quote.price_micros, quote.bid_micros, quote.ask_micros) == (
        100_000_000,
        99_990_000,
        100_010_000,
    )
    assert quote.as_of == ground.clock.now()


def test_a_past_instant_is_answered_from_closes_and_always_alike(ground: Ground):
    prices = source(ground)
    friday_evening = datetime(2026, 2, 27, 22, 0, tzinfo=UTC)
    friday_noon = datetime(2026, 2, 27, 17, 0, tzinfo=UTC)

    assert prices.quotes([APPLE], friday_evening)[APPLE].price_micros == 50_490_000
    assert prices.quotes([APPLE], friday_noon)[APPLE].price_micros == 51_000_000
    # The bank had no close on Friday: the last one counts, and says when it was.
    bank = prices.quotes([BANK], friday_evening)[BANK]
    assert (bank.price_micros, bank.as_of.date()) == (49_500_000, DAYS[1])


def test_announcements_come_back_as_they_were_made(ground: Ground):
    on = date(2026, 3, 2)
    base = CorporateAction("a", ActionKind.SPLIT, APPLE, on, on)
    made = [
        replace(base, id="a1", ratio_num=3, ratio_den=2),
        replace(base, id="a2", kind=ActionKind.CASH_DIVIDEND, cash_micros=333_001),
        replace(base, id="a3", kind=ActionKind.CASH_MERGER, cash_micros=125_000_000),
        replace(
            base, id="a4", kind=ActionKind.STOCK_MERGER, new_security_id=BANK, ratio_num=2,
            ratio_den=3, cash_micros=1_000_000,
        ),
        replace(base, id="a5", kind=ActionKind.SYMBOL_CHANGE, new_symbol="NEWA"),
        replace(base, id="a6", kind=ActionKind.DELISTING),
        replace(base, id="a7", kind=ActionKind.SPIN_OFF, new_security_id=CHILD, ratio_den=4),
    ]  # fmt: skip
    for action in made:
        ground.feed.plan(action)

    found = {one.id: one for one in source(ground).actions(on)}

    a1, a2, a3, a4, a5, a6, a7 = (found[uuid_of("action", one.id)] for one in made)
    for action, told in zip(made[:3], (a1, a2, a3), strict=True):
        assert told == replace(action, id=told.id)
    assert a4 == replace(made[3], id=a4.id, new_symbol="BBB")
    assert (a5.kind, a5.new_symbol) == (ActionKind.SYMBOL_CHANGE, "NEWA")
    assert a6.kind is ActionKind.DELISTING
    # A company that is on nobody's list gets an id of its own, the same in every process.
    assert a7.new_security_id == own_id("C900")


def test_many_pages_are_read_to_the_end_and_a_page_that_fails_keeps_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alpaca_prices, "_POINTS_A_PAGE", 2)
    prices = source(ground)
    ground.server.faults.plan(Fault(FaultKind.REFUSE, "GET", "/v2/stocks/bars", nth=2))

    with pytest.raises(BrokerUnavailableError):
        prices.total_returns([APPLE], DAYS[2], 2)
    rows = prices.total_returns([BANK], DAYS[2], 2)

    assert [row[0] for row in rows] == [pytest.approx(-0.01), None]
    assert prices.closes(DAYS[2])[COAL] == 9_999_999


def test_the_stock_data_clients_read_the_servers_bodies(ground: Ground):
    from alpaca.data.enums import Adjustment
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.requests import (
        CorporateActionsRequest,
        StockBarsRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockSnapshotRequest,
    )
    from alpaca.data.timeframe import TimeFrame

    split = CorporateAction("s", ActionKind.SPLIT, APPLE, DAYS[1], DAYS[1], ratio_num=2)
    ground.feed.plan(split)
    client = StockHistoricalDataClient("a", "b", url_override=ground.server.url)
    client._session.trust_env = False
    asked = StockBarsRequest(
        symbol_or_symbols=["AAA", "BBB"],
        timeframe=TimeFrame.Day,
        start=datetime(2026, 2, 25, tzinfo=UTC),
        end=datetime(2026, 2, 27, tzinfo=UTC),
        adjustment=Adjustment.RAW,
    )

    bars = client.get_stock_bars(asked)
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAA"))
    trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAA"))
    shot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAA"))
    client._session.close()
    actions = CorporateActionsClient("a", "b", url_override=ground.server.url)
    actions._session.trust_env = False
    told = actions.get_corporate_actions(
        CorporateActionsRequest(start=DAYS[0], end=DAYS[2], symbols=["AAA"])
    )
    actions._session.close()

    assert [bar.close for bar in bars["AAA"]] == [100.0, 51.0, 50.49]
    assert [bar.close for bar in bars["BBB"]] == [50.0, 49.5]
    assert (quote["AAA"].ask_price, trade["AAA"].price) == (100.01, 100.0)
    assert shot["AAA"].latest_trade.price == 100.0
    assert told["forward_splits"][0].new_rate == 2


# What Alpaca answered others


@pytest.mark.shared_data
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bodies are not here")
def test_recorded_announcements_are_read_to_the_last_digit():
    exchanges = json.loads(RECORDED.read_text(encoding="utf-8"), parse_float=Decimal)
    groups: dict[str, list[Any]] = {}
    for one in exchanges:
        if one["path"].startswith("/v1/corporate-actions"):
            for name, bodies in one["response"]["corporate_actions"].items():
                groups.setdefault(name, []).extend(bodies)

    read = {
        name: [parse_action(name, body, lambda _: APPLE) for body in bodies]
        for name, bodies in groups.items()
    }

    for body, action in zip(groups["cash_dividends"], read["cash_dividends"], strict=True):
        assert action is not None
        assert (action.id, Decimal(action.cash_micros)) == (body["id"], body["rate"] * 1_000_000)
        assert action.pay_on.isoformat() == body["payable_date"]
    for body, action in zip(groups["reverse_splits"], read["reverse_splits"], strict=True):
        assert action is not None
        assert (action.ratio_num, action.ratio_den) == (body["new_rate"], body["old_rate"])
    known = [name for name, actions in read.items() if all(one is not None for one in actions)]
    assert len(known) >= 9, known


@pytest.mark.shared_data
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bodies are not here")
def test_recorded_bars_and_snapshots_are_read_to_the_last_digit():
    exchanges = json.loads(RECORDED.read_text(encoding="utf-8"), parse_float=Decimal)
    told = {"/v2/stocks/bars": [], "/v2/stocks/snapshots": []}
    for one in exchanges:
        if one["path"] in told and one["status"] == 200:
            told[one["path"]].append(one["response"])
    rows = [
        row
        for body in told["/v2/stocks/bars"]
        for bars in body["bars"].values()
        for row in bars
        if row["t"].endswith(("04:00:00Z", "05:00:00Z"))  # days; others are minutes
    ]
    shots = [shot for body in told["/v2/stocks/snapshots"] for shot in body.values()]

    for row in rows:
        assert Decimal(_micros(row["c"])) == row["c"] * 1_000_000
        assert _session(row).isoformat() == row["t"][:10]
    for shot in shots:
        quote = _quote(APPLE, shot)
        assert quote is not None
        exact = shot["latestTrade"]["p"], shot["latestQuote"]["bp"], shot["latestQuote"]["ap"]
        read = quote.price_micros, quote.bid_micros, quote.ask_micros
        assert [Decimal(one) for one in read] == [one * 1_000_000 for one in exact]
        assert quote.as_of.isoformat()[:19] == shot["latestTrade"]["t"][:19]
    assert min(len(rows), len(shots)) > 0


def test_an_announcement_without_a_day_or_a_ratio_is_unreadable():
    for body in ({"symbol": "AAA"}, {"symbol": "AAA", "ex_date": "2026-03-02", "new_rate": 0}):
        with pytest.raises(UnreadableError):
            parse_action("forward_splits", body, lambda _: APPLE)
    assert parse_action("new_kind", {"symbol": "AAA"}, lambda _: APPLE) is None
    assert parse_action("forward_splits", {"symbol": "ZZZ"}, lambda _: None) is None
