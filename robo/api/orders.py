"""Orders and what was left alone, each with the sentence that says why."""

from dataclasses import asdict
from typing import Any

from marshmallow import fields

from robo.api.auth import is_second_owner, owned_account, requires
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
    Whole,
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
from robo.store.effects import PlanEffect, TradeEffect

BLUEPRINT = blueprint("orders", "Orders with their reasons")
_STATES = ("planned", "sending", "filled", "partial", "rejected", "canceled")


class EffectReply(Schema):
    """What an order was expected to do when it was planned."""

    tracking_error_ppm = Whole(
        required=True,
        allow_none=True,
        metadata={
            "description": "Distance to what the account follows: the annual tracking error of the"
            " plan, less that of the plan without this order. Null where no risk model could say."
        },
    )
    tax = Cents(
        attribute="tax_cents",
        signed=True,
        required=True,
        allow_none=True,
        metadata={
            "description": "Tax of the lots it sells at the rates on the next dollar; negative"
            " where it saves tax, nothing for a purchase or in an IRA. Null for the second owner"
            " of a joint account: the rates are the first one's."
        },
    )
    cost = Cents(
        attribute="cost_cents",
        zero=True,
        required=True,
        metadata={"description": "What trading is expected to cost in price."},
    )


class PlanEffectReply(Schema):
    """What all orders of a plan together were expected to do."""

    tracking_error_before_ppm = Whole(
        attribute="before_ppm",
        required=True,
        allow_none=True,
        metadata={"description": "Annual tracking error of what was held; null where unknown."},
    )
    tracking_error_after_ppm = Whole(attribute="after_ppm", required=True, allow_none=True)
    tax = Cents(attribute="tax_cents", signed=True, required=True, allow_none=True)
    cost = Cents(attribute="cost_cents", zero=True, required=True)
    short_gain = Cents(
        attribute="short_gain_cents",
        signed=True,
        required=True,
        metadata={"description": "Net short-term gain it was expected to realise; negative: loss."},
    )
    long_gain = Cents(attribute="long_gain_cents", signed=True, required=True)


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
    effect = fields.Nested(
        EffectReply,
        required=True,
        allow_none=True,
        metadata={"description": "On risk and tax, as planned; null for a skip."},
    )
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
    """An order with its fills, and what the plan was expected to do that it is part of."""

    plan_effect = fields.Nested(
        PlanEffectReply,
        required=True,
        allow_none=True,
        metadata={"description": "Null for a plan that only buys for a basket."},
    )
    fills = fields.List(fields.Nested(FillReply), required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/orders")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(OrderReply))
@requires("orders:read")
def list_orders(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """List orders and skips, newest first, with reasons."""
    untaxed = is_second_owner(owned_account(account_id))
    after = None if query["after"] is None else decode_cursor(query["after"], int, str)
    with reading() as session:
        lines, more = reporting.order_lines(session, account_id, after, query["limit"])
    return paged(
        [_line(line, untaxed=untaxed) for line in lines], encode_cursor(*more) if more else None
    )


@BLUEPRINT.route("/accounts/<id:account_id>/orders/<id:order_id>")
@BLUEPRINT.response(200, OrderDetailReply)
@requires("orders:read")
def get_order(account_id: str, order_id: str) -> dict[str, Any]:
    """Return one order with its fills and its plan's effect on risk and tax."""
    untaxed = is_second_owner(owned_account(account_id))
    with reading() as session:
        line, fills, plan = reporting.order_line(session, account_id, order_id)
    return {
        **_line(line, untaxed=untaxed),
        "fills": fills,
        "plan_effect": _effect(plan, untaxed=untaxed),
    }


def _effect(
    effect: TradeEffect | PlanEffect | None, *, untaxed: bool
) -> dict[str, int | str | None] | None:
    if effect is None:
        return None
    return {**asdict(effect), **({"tax_cents": None} if untaxed else {})}


def _line(line: OrderLine, *, untaxed: bool) -> dict[str, Any]:
    order, skip = line.order, line.skip
    words = {
        "symbol": line.symbol,
        "reason": line.reason,
        "sentence": line.sentence,
        "outcome": line.outcome,
        "effect": _effect(line.effect, untaxed=untaxed),
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
