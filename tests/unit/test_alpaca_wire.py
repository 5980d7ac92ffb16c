"""What goes to Alpaca and what comes back, digit for digit."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_adapters.alpaca_fields import UnreadableError, rows_of
from broker_adapters.alpaca_verdicts import classify
from broker_adapters.alpaca_wire import (
    order_body,
    parse_account,
    parse_fill,
    parse_order,
    parse_position,
)
from robo.core.ids import SecurityId
from robo.ports.broker import BrokerOrderState, OrderTicket, Refusal, Side, SubmitStatus

RECORDED = Path(__file__).parents[3] / "shared" / "facts" / "alpaca_exchanges.json"
ORDER: dict[str, Any] = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "blk_1",
    "symbol": "AAA",
    "side": "buy",
    "notional": "10.00",
    "qty": None,
    "status": "partially_filled",
    "filled_qty": "0.05513895",
    "filled_avg_price": "181.36",
}
FILL: dict[str, Any] = {
    "id": "20220304095318500::092cd749-b783-49cb-a36e-4d8666be201f",
    "activity_type": "FILL",
    "transaction_time": "2022-03-04T14:53:18.500245999Z",
    "type": "fill",
    "price": "2630.95",
    "qty": "9",
    "cum_qty": "10.177047834",
    "side": "buy",
    "symbol": "GOOGL",
    "order_id": "b677e464-c2d0-4fdd-a4b1-8830b386aa50",
}


def ticket(**changes: Any) -> OrderTicket:
    fields = {
        "client_id": "blk_1",
        "broker_account": "omnibus/firm",
        "security_id": SecurityId(1),
        "symbol": "AAA",
        "side": Side.BUY,
        "notional_cents": 1_000,
        "nanos": None,
    }
    return OrderTicket(**{**fields, **changes})


# Out


def test_a_buy_goes_out_as_dollars_and_cents_and_never_as_a_float():
    assert order_body(ticket(notional_cents=30_030)) == {
        "symbol": "AAA",
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": "blk_1",
        "notional": "300.30",
    }


def test_a_sale_goes_out_as_shares_with_up_to_nine_decimals():
    body = order_body(ticket(side=Side.SELL, notional_cents=None, nanos=123_456_789_123_456_789))

    assert body["qty"] == "123456789.123456789"
    assert "notional" not in body
    assert order_body(ticket(notional_cents=None, nanos=1))["qty"] == "0.000000001"


@given(st.integers(min_value=1, max_value=10**15), st.sampled_from(["notional_cents", "nanos"]))
def test_what_goes_out_comes_back_as_the_same_ticket(size: int, unit: str):
    sent = ticket(**{"notional_cents": None, "nanos": None, unit: size})
    body = order_body(sent)

    back = parse_order({**ORDER, "notional": None, **body})

    assert back.matches(sent)
    assert not parse_order({**ORDER, "notional": None, **body, "side": "sell"}).matches(sent)


# In


def test_an_order_is_read_with_every_digit_and_its_value_to_the_cent():
    order = parse_order({**ORDER, "filled_avg_price": "174.7812345678901234"})

    assert order.filled_price == Decimal("174.7812345678901234")
    assert (order.filled_nanos, order.notional_cents) == (55_138_950, 1_000)
    # 0.05513895 x 174.7812... = 9.6372..., to the nearest cent.
    assert order.filled_cents == 964


def test_a_new_status_a_null_date_and_an_extra_key_are_an_order_that_may_still_fill():
    order = parse_order({**ORDER, "status": "brand_new", "submitted_at": None, "source": "x"})

    assert order.state is BrokerOrderState.OPEN
    assert order.status == "brand_new"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("accepted", BrokerOrderState.OPEN),
        ("pending_cancel", BrokerOrderState.OPEN),
        ("done_for_day", BrokerOrderState.OPEN),
        ("held", BrokerOrderState.OPEN),
        ("filled", BrokerOrderState.FILLED),
        ("canceled", BrokerOrderState.CANCELED),
        ("expired", BrokerOrderState.EXPIRED),
        ("rejected", BrokerOrderState.REJECTED),
        ("replaced", BrokerOrderState.OPEN),
    ],
)
def test_each_status_has_its_meaning(status: str, state: BrokerOrderState):
    assert parse_order({**ORDER, "status": status}).state is state


@pytest.mark.parametrize("qty", [1, Decimal("1.0"), "1", "1.000000000"])
def test_a_quantity_may_come_as_text_or_as_a_number(qty: Any):
    assert parse_order({**ORDER, "notional": None, "qty": qty}).nanos == 10**9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None),
        ("id", ""),
        ("client_order_id", 7),
        ("side", "sell_short"),
        ("status", None),
        ("filled_qty", None),
        ("filled_qty", 0.1),
        ("filled_qty", True),
        ("filled_qty", "1e3"),
        ("filled_qty", "NaN"),
        ("filled_qty", " 1"),
        ("filled_qty", "\u0661"),
        ("filled_qty", "0.1234567891"),
        ("filled_qty", Decimal("1E+999999")),
        ("filled_qty", Decimal("NaN")),
        ("filled_avg_price", "1,000.00"),
        ("notional", ""),
    ],
)
def test_an_order_with_a_doubtful_field_is_unreadable_not_failed(name: str, value: Any):
    with pytest.raises(UnreadableError, match=name):
        parse_order({**ORDER, name: value})


@pytest.mark.parametrize("body", [None, [], "order", 7, [ORDER]])
def test_a_body_that_is_no_object_is_unreadable(body: Any):
    for parse in (parse_order, parse_fill, parse_position, parse_account):
        with pytest.raises(UnreadableError):
            parse(body)


def test_an_object_where_a_list_should_be_is_never_nothing():
    with pytest.raises(UnreadableError):
        rows_of({"message": "internal server error"})
    assert rows_of([]) == []


def test_the_order_must_be_the_one_asked_for_in_every_field():
    order = parse_order(ORDER)

    assert order.matches(ticket())
    for change in (
        {"client_id": "blk_2"},
        {"symbol": "BBB"},
        {"side": Side.SELL},
        {"notional_cents": 1_001},
        {"notional_cents": None, "nanos": 10**9},
    ):
        assert not order.matches(ticket(**change)), change
    assert not parse_order({**ORDER, "notional": "10.001"}).matches(ticket())


def test_an_execution_is_read_to_the_nanoshare_and_the_microsecond():
    fill = parse_fill(FILL)

    assert fill is not None
    assert (fill.nanos, fill.cumulative_nanos) == (9 * 10**9, 10_177_047_834)
    assert fill.at == datetime(2022, 3, 4, 14, 53, 18, 500_245, tzinfo=UTC)
    assert (fill.price_micros, fill.dollars) == (2_630_950_000, Fraction("23678.55"))


def test_a_sale_may_carry_a_sign_and_the_sum_of_an_order_may_be_missing():
    sale = parse_fill({**FILL, "side": "sell", "qty": "-9", "cum_qty": None})

    assert sale is not None
    assert (sale.side, sale.nanos, sale.cumulative_nanos) == (Side.SELL, 9 * 10**9, 0)
    with pytest.raises(UnreadableError, match="qty"):
        parse_fill({**FILL, "qty": "-9"})


def test_a_dividend_is_no_execution_and_a_bust_is_no_fill():
    assert parse_fill({**FILL, "activity_type": "DIV"}) is None
    with pytest.raises(UnreadableError):
        parse_fill({**FILL, "type": "trade_bust"})


def test_a_date_that_does_not_exist_is_unreadable():
    with pytest.raises(UnreadableError, match="transaction_time"):
        parse_fill({**FILL, "transaction_time": "2022-02-30T14:53:18Z"})


def test_a_short_position_is_negative_whatever_sign_it_carries():
    row = {"asset_id": "904837e3", "symbol": "AAA", "qty": "5.5", "side": "long"}

    assert parse_position(row).nanos == 5_500_000_000
    assert parse_position({**row, "side": "short"}).nanos == -5_500_000_000
    assert parse_position({**row, "side": "short", "qty": "-5.5"}).nanos == -5_500_000_000


def test_parts_of_a_cent_are_dropped_from_cash_and_no_flag_means_not_blocked():
    account = parse_account({"cash": "-23140.209", "currency": "USD", "trading_blocked": False})

    assert (account.cash_cents, account.withdrawable_cents) == (-2_314_020, -2_314_020)
    assert not account.blocked
    assert parse_account({"cash": "1", "account_blocked": None}).blocked
    with pytest.raises(UnreadableError):
        parse_account({"cash": "1.00", "currency": "EUR"})


# What a refusal means


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (422, {"code": 40010001, "message": "client_order_id must be unique"}, "duplicate"),
        (403, {"code": 40310000, "message": "insufficient buying power"}, "insufficient_funds"),
        (
            403,
            {"message": "insufficient qty available for order (requested: 15, available: 11)"},
            "insufficient_position",
        ),
        (
            403,
            {"message": "potential wash trade detected. use complex orders"},
            "wash_trade",
        ),
        (422, {"message": "Potential wash trade detected"}, "wash_trade"),
        (
            403,
            {"message": "cost basis must be >= minimal amount of order 1"},
            "below_minimum",
        ),
        (422, {"message": "requested asset is not fractionable"}, "not_fractionable"),
        (404, {"code": 40410000, "message": "asset not found for ZZZ"}, "unknown_security"),
        (403, {"message": "new orders are rejected by user request"}, "account_stopped"),
        (422, {"code": 42210000, "message": "something new"}, "refused_42210000"),
        (403, "account is restricted", "refused_403"),
        (401, {"message": "unauthorized."}, "unauthorized"),
        (403, {"message": "forbidden."}, "forbidden"),
        (429, None, "rate_limit"),
        (504, {"message": "gateway timeout"}, "http_504"),
        (500, {"message": "client_order_id must be unique"}, "http_500"),
        (403, None, "http_403"),
        (408, {"message": "timeout"}, "http_408"),
        (302, "moved", "http_302"),
        # The id that is taken, in other words, or in none that we know: nothing ends by it.
        (422, {"code": 40010001, "message": "client_order_id already exists"}, "duplicate"),
        (422, {"code": 40010001, "message": "Client order ID was used before"}, "duplicate"),
        (409, {"message": "clientOrderId is not unique"}, "duplicate"),
        (422, {"code": 40010001, "message": "order already exists"}, "unclear_40010001"),
        (422, {"code": "40010001", "message": "insufficient balance"}, "unclear_40010001"),
        (
            422,
            {"code": 40010001, "message": "client_order_id must be at most 128 characters"},
            "client_id_length",
        ),
        (422, {"code": 40010001, "message": "qty is required"}, "refused_40010001"),
        # A code that is no refusal's, whatever the status says.
        (422, {"code": 50010000, "message": "internal server error occurred"}, "unclear_50010000"),
        (403, {"code": 50410000, "message": "insufficient buying power"}, "unclear_50410000"),
        (403, {"code": 42910000, "message": "slow down"}, "rate_limit"),
        (403, {"code": 40110000, "message": "request is not authorized"}, "unauthorized"),
        # What is said of one account, and what of a name.
        (422, {"code": 42210000, "message": "account is not active"}, "account_refused"),
        (422, {"message": "asset AAA is not tradable for this account"}, "account_refused"),
        (
            422,
            {"code": 40010001, "message": "us_equity orders not allowed for account"},
            "account_refused",
        ),
        (
            403,
            {"code": 40310100, "message": "denied due to pattern day trading"},
            "account_refused",
        ),
        (422, {"code": 42210000, "message": 'asset "AAA" is not active'}, "not_tradable"),
        (422, {"code": 42210000, "message": "session is not active"}, "refused_42210000"),
    ],
)
def test_a_refusal_is_told_from_an_outcome_that_nobody_saw(status: int, body: Any, expected: str):
    assert classify(status, body).code == expected


def test_only_what_is_said_of_an_asset_teaches_that_nobody_can_trade_it():
    said = ("account is not active", "asset AAA is not tradable for this account")
    of_account = [classify(422, {"code": 42210000, "message": one}).refusal for one in said]

    assert of_account == [Refusal.ACCOUNT, Refusal.ACCOUNT]
    assert classify(422, {"message": "asset AAA is not active"}).refusal is Refusal.NOT_TRADABLE


def test_only_alpacas_own_words_end_an_order():
    gateway = [classify(status, "busy") for status in (301, 408, 500, 502, 503, 504)]
    passing = [classify(401, None), classify(429, "slow down"), classify(403, "forbidden.")]

    assert {verdict.status for verdict in gateway} == {SubmitStatus.UNKNOWN}
    assert {verdict.status for verdict in passing} == {SubmitStatus.THROTTLED}
    assert classify(403, {"message": ""}).status is SubmitStatus.UNKNOWN
    assert classify(422, {"message": "no"}).status is SubmitStatus.REJECTED
    postal = {"code": 40010001, "message": "postal code is invalid"}
    assert classify(422, postal, of_order=False).status is SubmitStatus.REJECTED


# Recorded bodies


def recorded(*parts: str) -> Iterator[Mapping[str, Any]]:
    """Yield recorded objects of answers whose path ends like one of the parts."""
    exchanges = json.loads(RECORDED.read_text(encoding="utf-8"), parse_float=Decimal)
    for exchange in exchanges:
        path = exchange["path"].partition("?")[0]
        if exchange["status"] == 200 and any(part in path for part in parts):
            body = exchange["response"]
            yield from (one for one in (body if isinstance(body, list) else [body]) if one)


@pytest.mark.shared_data
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bodies are not here")
def test_recorded_orders_and_executions_are_read_with_equal_ids_and_amounts():
    orders = [one for one in recorded("/orders") if "client_order_id" in one]
    fills = [one for one in recorded("/activities") if one.get("activity_type") == "FILL"]
    positions = [one for one in recorded("/positions") if "avg_entry_price" in one]

    read = 0
    for body in orders:
        if not body["side"]:  # of a body that nothing can be done with
            with pytest.raises(UnreadableError):
                parse_order(body)
            continue
        order = parse_order(body)
        read += 1
        assert (order.id, order.client_id) == (body["id"], body["client_order_id"])
        assert order.notional is None or order.notional == Decimal(body["notional"])
        assert order.nanos is None or Fraction(order.nanos, 10**9) == Fraction(str(body["qty"]))
        assert Fraction(order.filled_nanos, 10**9) == Fraction(str(body["filled_qty"]))
    for body in fills:
        fill = parse_fill(body)
        assert fill is not None
        assert (fill.id, fill.order_id) == (body["id"], body["order_id"])
        assert fill.dollars == Fraction(body["qty"]) * Fraction(body["price"])
    for body in positions:
        position = parse_position(body)
        assert (position.asset_id, position.symbol) == (body["asset_id"], body["symbol"])
        assert Fraction(position.nanos, 10**9) == Fraction(body["qty"])
    assert min(read, len(fills), len(positions)) > 0


@pytest.mark.shared_data
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bodies are not here")
def test_the_cash_of_recorded_accounts_is_read_as_in_the_text():
    accounts = [one for one in recorded("/account") if "buying_power" in one]

    for body in accounts:
        read = parse_account(body)
        assert Decimal(read.cash_cents) == (Decimal(body["cash"]) * 100).to_integral_value(
            "ROUND_DOWN"
        )
    assert accounts
