"""Orders and what was left alone, each with the sentence that says why."""

from typing import Any

from marshmallow import fields

from robo.api.auth import owned_account, requires
from robo.api.state import reading
from robo.api.wire import (
    Cents,
    Day,
    Id,
    Instant,
    PageQuery,
    Price,
    Schema,
    Shares,
    Text,
    Word,
    blueprint,
    decode_cursor,
    encode_cursor,
    page_of,
    paged,
)
from robo.core.money import NOTIONAL_SCALE, round_ratio
from robo.services import reporting
from robo.services.reporting import OrderLine

BLUEPRINT = blueprint("orders", "Orders with their reasons")
_STATES = ("planned", "sending", "filled", "partial", "rejected", "canceled")


class OrderReply(Schema):
    """An order, or (kind `skip`) a name that was looked at and left alone."""

    kind = Word("order", "skip", required=True)
    id = Id(required=True, allow_none=True)
    batch_id = Id(required=True, metadata={"description": "What was planned together."})
    symbol = Text(required=True)
    side = Word("buy", "sell", required=True, allow_none=True)
    state = Word(*_STATES, "skipped", required=True)
    reason = Text(required=True)
    sentence = Text(required=True, shortest=0, longest=300)
    outcome = Text(
        required=True,
        shortest=0,
        longest=300,
        metadata={"description": "Why it was rejected or cancelled."},
    )
    notional = Cents(required=True, allow_none=True, metadata={"description": "Of a buy."})
    shares = Shares(required=True, allow_none=True, metadata={"description": "Of a sell."})
    filled_shares = Shares(required=True)
    filled_notional = Cents(zero=True, required=True)
    fee = Cents(zero=True, required=True)
    average_price = Price(required=True, allow_none=True)
    planned_at = Instant(required=True)
    closed_at = Instant(required=True, allow_none=True)


class FillReply(Schema):
    """One part of an order that filled."""

    id = Id(required=True)
    shares = Shares(attribute="nanos", required=True)
    notional = Cents(attribute="cents", zero=True, required=True)
    fee = Cents(attribute="fee_cents", zero=True, required=True)
    price = Price(attribute="price_micros", required=True)
    settles_on = Day(required=True)


class OrderDetailReply(OrderReply):
    """An order with its fills."""

    fills = fields.List(fields.Nested(FillReply), required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/orders")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(OrderReply))
@requires("orders:read")
def list_orders(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """List orders and skips, newest first, with reasons."""
    owned_account(account_id)
    after = None if query["after"] is None else decode_cursor(query["after"], int, str)
    with reading() as session:
        lines, more = reporting.order_lines(session, account_id, after, query["limit"])
    return paged([_line(line) for line in lines], encode_cursor(*more) if more else None)


@BLUEPRINT.route("/accounts/<id:account_id>/orders/<id:order_id>")
@BLUEPRINT.response(200, OrderDetailReply)
@requires("orders:read")
def get_order(account_id: str, order_id: str) -> dict[str, Any]:
    """Return one order with its fills."""
    owned_account(account_id)
    with reading() as session:
        line, fills = reporting.order_line(session, account_id, order_id)
    return {**_line(line), "fills": fills}


def _line(line: OrderLine) -> dict[str, Any]:
    order, skip = line.order, line.skip
    words = {
        "symbol": line.symbol,
        "reason": line.reason,
        "sentence": line.sentence,
        "outcome": line.outcome,
        "planned_at": line.at_micros,
    }
    if order is None:
        assert skip is not None
        return {
            **words,
            "kind": "skip",
            "id": None,
            "batch_id": skip.batch_id,
            "side": None,
            "state": "skipped",
            "notional": None,
            "shares": None,
            "filled_shares": 0,
            "filled_notional": 0,
            "fee": 0,
            "average_price": None,
            "closed_at": None,
        }
    return {
        **words,
        "kind": "order",
        "id": order.id,
        "batch_id": order.batch_id,
        "side": order.side,
        "state": order.state,
        "notional": order.notional_cents,
        "shares": order.nanos,
        "filled_shares": order.filled_nanos,
        "filled_notional": order.filled_cents,
        "fee": order.fee_cents,
        "average_price": _average(order.filled_cents, order.filled_nanos),
        "closed_at": order.closed_at,
    }


def _average(cents: int, nanos: int) -> int | None:
    """Return what a share cost on average, in micro-dollars; None if nothing filled."""
    return round_ratio(cents * NOTIONAL_SCALE, nanos) if nanos else None
