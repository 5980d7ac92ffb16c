"""The Alpaca-shaped server over real sockets: the stock client's happy day, and the ugly ones."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from broker_adapters import alpaca_http
from broker_adapters.alpaca_fields import UnreadableError
from broker_adapters.alpaca_http import AlpacaHttp, Keys, NoAnswerError, Reply
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.server import AlpacaServer
from broker_adapters.alpaca_verdicts import classify
from broker_adapters.alpaca_wire import (
    order_body,
    parse_account,
    parse_fill,
    parse_order,
    parse_position,
)
from robo.core.clock import FixedClock
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import BrokerOrderState, OrderTicket, Side, SubmitStatus
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import Quote

APPLE = SecurityId(1)
SHARE = 10**9


class OnePrice:
    """A feed in which everything costs 100 dollars, a cent to either side."""

    name, simulated = "SIM-one", True

    def quotes(self, security_ids: Any, at: datetime) -> Mapping[SecurityId, Quote]:
        return {
            i: Quote(i, 100_000_000, 99_990_000, 100_010_000, at)
            for i in security_ids
            if i == APPLE
        }

    def actions(self, _: Any) -> list[Any]:
        return []


class Stage:
    """A server, a clock that the test moves, and a hardened client."""

    def __init__(self, state: Path, calendar: MarketCalendar, **settings: str) -> None:
        self.clock = FixedClock(datetime(2026, 3, 2, 15, 0, tzinfo=UTC))
        self.context = PluginContext(
            settings={"ROBO_PAPER_PARTIAL_PPM": "0", **settings},
            clock=self.clock,
            state_dir=state,
            calendar=calendar,
            securities=[
                ListedSecurity(APPLE, "AAA", "technology", 10**13),
                ListedSecurity(SecurityId(2), "BBB", "technology", 10**13),
            ],
            prices=OnePrice(),  # type: ignore[arg-type] # as much of a feed as the market asks for
        )
        self.server = AlpacaServer(self.context, per_minute=10_000)
        self.http = self.client(self.server.url)

    def client(self, url: str, secret: str = "b", read_seconds: float = 10.0) -> AlpacaHttp:
        return AlpacaHttp(Keys("a", secret), url, Pace(10_000), read_seconds=read_seconds)

    def post(self, client_id: str, cents: int | None = 1_000, **changes: Any) -> Reply:
        side = changes.get("side", Side.BUY)
        ticket = OrderTicket(client_id, "omni", APPLE, "AAA", side, cents, changes.get("nanos"))
        return self.http.post("/orders", order_body(ticket), Lane.ORDERS)

    def find(self, client_id: str) -> Reply:
        query = {"client_order_id": client_id}
        return self.http.get("/orders:by_client_order_id", query, Lane.READS)

    def read(self, path: str, **query: str) -> Any:
        reply = self.http.get(path, query, Lane.READS)
        assert reply.fine, reply
        return reply.body

    def restart(self) -> None:
        self.close()
        self.server = AlpacaServer(self.context, per_minute=10_000)
        self.http = self.client(self.server.url)

    def close(self) -> None:
        self.http.close()
        self.server.close()


@pytest.fixture
def stage(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Stage]:
    made = Stage(tmp_path, short_calendar)
    yield made
    made.close()


@pytest.fixture
def slow_stage(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Stage]:
    """Every order fills in two to four parts, up to twenty seconds apart."""
    settings = {"ROBO_PAPER_PARTIAL_PPM": "1000000", "ROBO_PAPER_PARTIAL_SECONDS": "20"}
    made = Stage(tmp_path, short_calendar, **settings)
    yield made
    made.close()


# The happy day


def test_the_stock_client_with_its_strict_models_buys_looks_and_cannot_tell_the_difference(
    stage: Stage,
):
    from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest

    client = alpaca_http.TradingClient("a", "b", url_override=stage.server.url)
    client._session.trust_env = False
    request = MarketOrderRequest(
        symbol="AAA", notional=25.5, side="buy", time_in_force="day", client_order_id="c1"
    )

    made = client.submit_order(request)
    found = client.get_order_by_client_id("c1")
    orders = client.get_orders(GetOrdersRequest(status="closed"))
    (position,) = client.get_all_positions()
    account = client.get_account()
    client._session.close()

    assert (made.status.value, found.status.value) == ("accepted", "filled")
    assert [one.id for one in orders] == [made.id]
    assert Decimal(position.qty) == Decimal(found.filled_qty)
    assert account.cash == "99974.50"


def test_assets_clock_and_calendar_are_as_the_stock_client_reads_them(stage: Stage):
    from alpaca.trading.requests import GetCalendarRequest

    client = alpaca_http.TradingClient("a", "b", url_override=stage.server.url)
    client._session.trust_env = False
    days = GetCalendarRequest(start="2026-11-26", end="2026-11-27")

    assert [one.symbol for one in client.get_all_assets()] == ["AAA", "BBB"]
    assert client.get_asset("AAA").fractionable
    assert client.get_clock().is_open
    # Thanksgiving is no session; the day after closes at one o'clock.
    assert [str(one.close) for one in client.get_calendar(days)] == ["2026-11-27 13:00:00"]
    client._session.close()


def test_an_order_is_worth_its_notional_to_the_cent_and_its_execution_says_so(stage: Stage):
    assert parse_order(stage.post("c1").body).state is BrokerOrderState.OPEN

    order = parse_order(stage.find("c1").body)
    fill = parse_fill(stage.read("/account/activities")[0])
    (position,) = stage.read("/positions")
    account = parse_account(stage.read("/account"))

    assert fill is not None
    assert (order.state, order.filled_cents) == (BrokerOrderState.FILLED, 1_000)
    assert (fill.order_id, fill.nanos, fill.cumulative_nanos) == (
        order.id,
        order.filled_nanos,
        order.filled_nanos,
    )
    assert parse_position(position).nanos == order.filled_nanos
    assert account.cash_cents == 100_000_00 - 1_000


def test_what_a_sale_brings_can_be_withdrawn_once_it_has_settled(stage: Stage):
    stage.post("b1", None, nanos=SHARE)
    stage.post("s1", None, nanos=SHARE, side=Side.SELL)
    before = parse_account(stage.read("/account"))
    stage.clock.advance(timedelta(days=1))

    after = parse_account(stage.read("/account"))
    sold = parse_order(stage.find("s1").body).filled_cents
    assert before.cash_cents - before.withdrawable_cents == sold
    assert after.withdrawable_cents == after.cash_cents == before.cash_cents
    assert stage.read("/positions") == []


def test_fills_come_in_parts_in_pages_and_are_found_again_after_a_restart(slow_stage: Stage):
    for index in range(5):
        slow_stage.post(f"c{index}", 5_000)
    partial = parse_order(slow_stage.find("c0").body)
    slow_stage.clock.advance(timedelta(minutes=5))
    rows = slow_stage.read("/account/activities", direction="asc")
    paged: list[Any] = []
    while page := slow_stage.read(
        "/account/activities",
        direction="asc",
        page_size="3",
        **({"page_token": paged[-1]["id"]} if paged else {}),
    ):
        paged += page

    assert partial.state is BrokerOrderState.OPEN
    assert 0 < partial.filled_cents < 5_000
    assert paged == rows
    assert len(rows) >= 10
    slow_stage.restart()
    assert slow_stage.read("/account/activities", direction="asc") == rows
    assert parse_order(slow_stage.find("c4").body).filled_cents == 5_000


# Refusals


def test_refusals_carry_alpacas_status_code_and_words(stage: Stage):
    stage.post("c1")
    unlisted = {**order_body(OrderTicket("c6", "o", APPLE, "ZZZ", Side.BUY, 500, None))}
    odd = {"side": "buy", "type": "market", "time_in_force": "day", "symbol": "AAA"}
    replies = {
        "duplicate": stage.post("c1"),
        "below_minimum": stage.post("c2", 99),
        "insufficient_funds": stage.post("c3", 100_000_01),
        "insufficient_position": stage.post("c4", None, nanos=SHARE, side=Side.SELL),
        "client_id_length": stage.post("x" * 129),
        "unknown_security": stage.http.post("/orders", unlisted, Lane.ORDERS),
        "not_tradable": stage.http.post("/orders", {**unlisted, "symbol": "BBB"}, Lane.ORDERS),
        "unknown_order": stage.find("c4"),
        "refused_42210000": stage.http.post("/orders", {**odd, "notional": "1.001"}, Lane.ORDERS),
    }

    codes = {name: classify(reply.status, reply.body).code for name, reply in replies.items()}
    assert codes == {name: name for name in replies}
    assert stage.http.post("/transfers", {}, Lane.ORDERS).status == 501
    assert len(stage.read("/account/activities")) == 1


def test_a_wrong_secret_is_refused_before_anything_is_done(
    tmp_path: Path, short_calendar: MarketCalendar
):
    stage = Stage(tmp_path, short_calendar)
    stage.server.secret = "right"

    assert classify(stage.post("c1").status, None).code == "unauthorized"
    stage.http.close()
    stage.http = stage.client(stage.server.url, "right")
    assert stage.find("c1").status == 404
    stage.close()


def test_a_caller_that_asks_too_often_is_told_so(tmp_path: Path, short_calendar: MarketCalendar):
    stage = Stage(tmp_path, short_calendar)
    stage.server._quota._limit = 3

    statuses = [stage.find("c1").status for _ in range(3)]
    assert statuses == [404, 404, 404]
    waits: list[float] = []
    impatient = AlpacaHttp(Keys("a", "b"), stage.server.url, Pace(10_000, sleep=waits.append))
    assert impatient.get("/account", {}, Lane.READS).status == 429
    impatient.close()
    stage.close()


# The ugly days


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.DELAY_AFTER, seconds=0.6),
        Fault(FaultKind.DROP_AFTER),
        Fault(FaultKind.TRUNCATE),
    ],
    ids=lambda fault: fault.kind,
)
def test_an_order_whose_answer_was_lost_is_there_all_the_same(stage: Stage, fault: Fault):
    patient = stage.http
    stage.http = stage.client(stage.server.url, read_seconds=0.3)
    stage.server.faults.plan(fault)

    with pytest.raises(NoAnswerError):
        stage.post("c1")
    stage.http.close()
    stage.http = patient

    until = time.monotonic() + 60
    while not stage.find("c1").fine:  # a busy server acts after its caller has gone away
        assert time.monotonic() < until
    again = stage.post("c1")
    assert classify(again.status, again.body).status is SubmitStatus.DUPLICATE
    assert len(stage.read("/account/activities")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.FAIL_AFTER, status=504, body='{"message": "gateway timeout"}'),
        Fault(FaultKind.FAIL_AFTER, status=500, body="<html>"),
        Fault(FaultKind.FAIL_AFTER, status=200, body='{"id": "half'),
        Fault(FaultKind.EDIT, edit={"filled_qty": None}),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_an_answer_that_says_nothing_is_unknown_and_the_order_is_live(stage: Stage, fault: Fault):
    stage.server.faults.plan(fault)

    reply = stage.post("c1")

    if reply.fine:
        with pytest.raises(UnreadableError):
            parse_order(reply.body)
    else:
        assert classify(reply.status, reply.body).status is SubmitStatus.UNKNOWN
    assert stage.find("c1").fine


def test_a_request_that_was_dropped_or_throttled_did_nothing(stage: Stage):
    stage.server.faults.plan(
        Fault(FaultKind.DROP),
        Fault(FaultKind.REFUSE, nth=2, status=429, headers={"X-Ratelimit-Remaining": "odd"}),
    )

    with pytest.raises(NoAnswerError):
        stage.post("c1")
    assert stage.post("c1").status == 429
    stage.http.close()
    stage.http = stage.client(stage.server.url)  # the old one waits for the new minute
    assert stage.find("c1").status == 404
    assert stage.read("/account/activities") == []


def test_one_404_right_after_an_order_is_no_proof(stage: Stage):
    looks = r"/v2/orders:by_client_order_id"
    stage.server.faults.plan(
        Fault(FaultKind.REFUSE, method="GET", path=looks, times=2, status=404, body='"Not Found"')
    )
    stage.post("c1")

    assert [stage.find("c1").status for _ in range(3)] == [404, 404, 200]


def test_a_status_that_nobody_knew_is_an_open_order(stage: Stage):
    stage.server.faults.plan(
        Fault(FaultKind.EDIT, edit={"status": "new_word", "submitted_at": None})
    )

    order = parse_order(stage.post("c1").body)

    assert (order.state, order.status) == (BrokerOrderState.OPEN, "new_word")


def test_an_order_may_be_rejected_after_it_was_accepted(stage: Stage):
    stage.server.faults.plan(Fault(FaultKind.REJECT_LATER))

    accepted = parse_order(stage.post("c1").body)
    later = parse_order(stage.find("c1").body)

    assert (accepted.status, later.status) == ("accepted", "rejected")
    assert stage.read("/account/activities") == []
    assert classify(*_pair(stage.post("c1"))).status is SubmitStatus.DUPLICATE


def test_fills_that_come_after_a_cancel_are_told_and_the_rest_is_canceled(slow_stage: Stage):
    slow_stage.server.faults.plan(
        Fault(FaultKind.CANCEL_LATER, method="DELETE", path=r"/v2/orders/.+", seconds=21)
    )
    order = parse_order(slow_stage.post("c1", 10_000).body)
    before = parse_order(slow_stage.find("c1").body)

    cancel = slow_stage.http.delete(f"/orders/{order.id}", Lane.ORDERS)
    waiting = parse_order(slow_stage.find("c1").body)
    slow_stage.clock.advance(timedelta(seconds=20))
    during = parse_order(slow_stage.find("c1").body)
    slow_stage.clock.advance(timedelta(seconds=2))
    after = parse_order(slow_stage.find("c1").body)

    assert (cancel.status, waiting.status) == (204, "pending_cancel")
    assert during.filled_nanos > before.filled_nanos > 0
    assert after.state.final
    assert after.filled_nanos >= during.filled_nanos
    again = slow_stage.http.delete(f"/orders/{order.id}", Lane.ORDERS)
    assert classify(*_pair(again)).code == "not_cancelable"


def test_an_order_that_was_rejected_later_stays_so_when_the_server_starts_again(stage: Stage):
    stage.server.faults.plan(Fault(FaultKind.REJECT_LATER))
    told = parse_order(stage.post("c1").body)

    stage.restart()

    found = parse_order(stage.find("c1").body)
    assert (found.id, found.status, found.filled_nanos) == (told.id, "rejected", 0)
    assert [row["client_order_id"] for row in stage.read("/orders", status="all")] == ["c1"]
    assert classify(*_pair(stage.post("c1"))).status is SubmitStatus.DUPLICATE


def test_a_cancel_that_was_accepted_takes_effect_after_the_server_starts_again(slow_stage: Stage):
    slow_stage.server.faults.plan(
        Fault(FaultKind.CANCEL_LATER, method="DELETE", path=r"/v2/orders/.+", seconds=10)
    )
    order = parse_order(slow_stage.post("c1", 10_000).body)
    slow_stage.http.delete(f"/orders/{order.id}", Lane.ORDERS)

    slow_stage.restart()

    waiting = parse_order(slow_stage.find("c1").body)
    slow_stage.clock.advance(timedelta(seconds=11))
    slow_stage.find("c1")
    slow_stage.clock.advance(timedelta(minutes=5))
    after = parse_order(slow_stage.find("c1").body)
    assert (waiting.status, after.status) == ("pending_cancel", "canceled")
    assert after.filled_cents < 10_000


def test_a_cancel_stops_what_is_left(slow_stage: Stage):
    order = parse_order(slow_stage.post("c1", 10_000).body)
    filled = parse_order(slow_stage.find("c1").body).filled_nanos

    slow_stage.http.delete(f"/orders/{order.id}", Lane.ORDERS)
    slow_stage.clock.advance(timedelta(minutes=5))

    after = parse_order(slow_stage.find("c1").body)
    assert (after.status, after.filled_nanos) == ("canceled", filled)


def _pair(reply: Reply) -> tuple[int, Any]:
    return reply.status, reply.body


# Events, over a stream that stays open


def test_the_stream_of_trades_tells_orders_and_fills_and_ends_where_it_was_asked_to(
    stage: Stage,
):
    import requests

    stage.post("c1")
    stage.find("c1")
    with requests.Session() as session:
        session.trust_env = False
        url = f"{stage.server.url}/v2/events/trades"
        query = {"since": "2026-03-01", "until": "2026-03-03"}
        text = session.get(url, params=query, timeout=60).text

    told = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]
    assert [one["event"] for one in sorted(told, key=lambda one: one["event"])] == ["fill", "new"]
    (fill,) = [one for one in told if one["event"] == "fill"]
    assert Decimal(fill["qty"]) == Decimal(fill["order"]["filled_qty"])
    assert fill["order"]["client_order_id"] == "c1"
    assert text.splitlines()[0] == f"id: {told[0]['event_id']}"
