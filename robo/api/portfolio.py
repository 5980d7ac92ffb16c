"""Accounts and what they are worth: the busiest reads there are, so replies are built by hand."""

from typing import Any

from flask import Response, current_app
from marshmallow import fields

from robo.api.auth import caller, owned_account, requires
from robo.api.state import reading, runtime
from robo.api.wire import (
    Cents,
    Day,
    Flag,
    Id,
    Instant,
    PageQuery,
    Ppm,
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
from robo.core.clock import iso_instant, to_micros
from robo.core.money import format_cents, format_micros
from robo.core.shares import format_nanos
from robo.services import reporting
from robo.services.reporting import Holding, PortfolioView
from robo.store.views import Following

BLUEPRINT = blueprint("portfolio", "Accounts and what they are worth")


class AccountReply(Schema):
    """An account and the basket it follows."""

    id = Id(attribute="account_id", required=True)
    customer_id = Id(required=True)
    kind = Word("individual", "joint", "traditional_ira", "roth_ira", required=True)
    state = Word("open", "blocked", "closing", "closed", required=True)
    basket_id = Text(required=True, shortest=0)
    basket_version = Text(required=True, shortest=0)
    opened_at = Instant(required=True)
    closed_at = Instant(required=True, allow_none=True)


class CashReply(Schema):
    """Cash by state; `total` is the sum of the others."""

    free = Cents(zero=True, required=True)
    reserved = Cents(zero=True, required=True, metadata={"description": "Promised to orders."})
    unsettled = Cents(zero=True, required=True, metadata={"description": "Sold, not settled."})
    outgoing = Cents(zero=True, required=True, metadata={"description": "On its way to a bank."})
    total = Cents(zero=True, required=True)
    weight_ppm = Ppm(required=True)
    withdrawable = Cents(
        zero=True,
        required=True,
        metadata={"description": "Free cash that is final, without selling anything."},
    )


class FlowsReply(Schema):
    """Money in and out so far, and what is on its way."""

    paid_in = Cents(zero=True, required=True)
    moved_in = Cents(
        zero=True,
        required=True,
        metadata={"description": "What was paid elsewhere for shares that came in kind."},
    )
    paid_out = Cents(zero=True, required=True)
    unsettled_deposits = Cents(zero=True, required=True)
    pending_deposits = Cents(zero=True, required=True)
    owed = Cents(
        zero=True,
        required=True,
        metadata={"description": "Returned deposits still to be brought back."},
    )


class HoldingReply(Schema):
    """One name: what is held, what it should be, what it did."""

    symbol = Text(required=True)
    security_id = Whole(required=True)
    name = Text(required=True, shortest=0)
    shares = Shares(required=True)
    price = Price(required=True, allow_none=True)
    price_as_of = Day(
        required=True,
        allow_none=True,
        metadata={"description": "Set where an old close stands in for a quote."},
    )
    value = Cents(zero=True, required=True)
    weight_ppm = Ppm(required=True)
    target_ppm = Ppm(required=True)
    drift_ppm = Ppm(least=-1_000_000, required=True)
    cost_basis = Cents(zero=True, required=True)
    unrealised_gain = Cents(signed=True, required=True)
    day_change = Cents(signed=True, required=True, allow_none=True)
    note = Text(required=True, shortest=0, longest=500)


class PortfolioReply(Schema):
    """An account at market; every sum is exact."""

    account_id = Id(required=True)
    basket_id = Text(required=True, shortest=0)
    basket_version = Text(required=True, shortest=0)
    as_of = Instant(required=True)
    session_on = Day(required=True, metadata={"description": "The session the prices are of."})
    price_source = Text(required=True)
    simulated = Flag(required=True)
    score_note = Text(required=True, shortest=0, longest=1_000)
    nav = Cents(zero=True, required=True)
    invested = Cents(zero=True, required=True)
    cost_basis = Cents(zero=True, required=True)
    unrealised_gain = Cents(signed=True, required=True)
    day_change = Cents(signed=True, required=True, allow_none=True)
    total_gain = Cents(
        signed=True,
        required=True,
        metadata={"description": "NAV less what is owed, less paid in, plus paid out."},
    )
    total_gain_ppm = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Of everything paid in."}
    )
    cash = fields.Nested(CashReply, required=True)
    flows = fields.Nested(FlowsReply, required=True)
    holdings = fields.List(fields.Nested(HoldingReply), required=True)


class PositionsReply(Schema):
    """What is held, at market."""

    account_id = Id(required=True)
    as_of = Instant(required=True)
    price_source = Text(required=True)
    simulated = Flag(required=True)
    items = fields.List(fields.Nested(HoldingReply), required=True)


class LotReply(Schema):
    """Shares bought together."""

    id = Id(required=True)
    symbol = Text(required=True, shortest=0)
    security_id = Whole(required=True)
    acquired_on = Day(required=True)
    shares = Shares(attribute="nanos", required=True)
    cost_basis = Cents(attribute="basis_cents", zero=True, required=True)
    hold_until = Text(
        required=True,
        allow_none=True,
        metadata={"description": "Not sold before this date: bought with money final then."},
    )


@BLUEPRINT.route("/accounts")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(AccountReply))
@requires("accounts:read")
def list_accounts(query: dict[str, Any]) -> dict[str, Any]:
    """List one's accounts; a firm's key sees those of all its customers."""
    who = caller()
    (after,) = ("",) if query["after"] is None else decode_cursor(query["after"], str)
    with reading() as session:
        items, more = reporting.accounts(
            session, who.firm_id, who.customer_id, after, query["limit"]
        )
    return paged(items, encode_cursor(more) if more else None)


@BLUEPRINT.route("/accounts/<id:account_id>")
@BLUEPRINT.response(200, AccountReply)
@requires("accounts:read")
def get_account(account_id: str) -> Following:
    """Return one account."""
    owned_account(account_id)
    with reading() as session:
        return reporting.account(session, account_id)


@BLUEPRINT.route("/accounts/<id:account_id>/portfolio")
@BLUEPRINT.response(200, PortfolioReply)
@requires("portfolio:read")
def get_portfolio(account_id: str) -> Response:
    """Return an account at market: holdings, cash by state, gains, and where prices come from."""
    return _json(portfolio_json(_portfolio(account_id)))


@BLUEPRINT.route("/accounts/<id:account_id>/positions")
@BLUEPRINT.response(200, PositionsReply)
@requires("portfolio:read")
def list_positions(account_id: str) -> Response:
    """Return what is held, without targets that are not."""
    view = _portfolio(account_id)
    return _json(
        {
            "account_id": account_id,
            "as_of": iso_instant(to_micros(view.prices.as_of)),
            "price_source": view.prices.source,
            "simulated": view.prices.simulated,
            "items": [_holding_json(holding) for holding in view.holdings if holding.nanos],
        }
    )


@BLUEPRINT.route("/accounts/<id:account_id>/lots")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(LotReply))
@requires("portfolio:read")
def list_lots(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """List an account's open tax lots, oldest first."""
    owned_account(account_id)
    after = None if query["after"] is None else decode_cursor(query["after"], str, str)
    with reading() as session:
        items, more = reporting.lots(session, account_id, after, query["limit"])
    return paged(items, encode_cursor(*more) if more else None)


def portfolio_json(view: PortfolioView) -> dict[str, Any]:
    """Return a portfolio in the form of `PortfolioReply`; a test holds the two together.

    By hand, because dumping through the schema costs more than everything before it.
    """
    cash, flows = view.cash, view.flows
    return {
        "account_id": view.account.account_id,
        "basket_id": view.account.basket_id,
        "basket_version": view.account.basket_version,
        "as_of": iso_instant(to_micros(view.prices.as_of)),
        "session_on": view.prices.session.isoformat(),
        "price_source": view.prices.source,
        "simulated": view.prices.simulated,
        "score_note": view.score_note,
        "nav": format_cents(view.nav_cents),
        "invested": format_cents(view.invested_cents),
        "cost_basis": format_cents(view.basis_cents),
        "unrealised_gain": format_cents(view.gain_cents),
        "day_change": _cents_or_none(view.day_change_cents),
        "total_gain": format_cents(view.total_gain_cents),
        "total_gain_ppm": view.total_gain_ppm,
        "cash": {
            "free": format_cents(cash.free_cents),
            "reserved": format_cents(cash.reserved_cents),
            "unsettled": format_cents(cash.unsettled_cents),
            "outgoing": format_cents(cash.outgoing_cents),
            "total": format_cents(cash.total_cents),
            "weight_ppm": view.cash_ppm,
            "withdrawable": format_cents(view.withdrawable_cents),
        },
        "flows": {
            "paid_in": format_cents(flows.deposited_cents),
            "moved_in": format_cents(flows.moved_in_cents),
            "paid_out": format_cents(flows.withdrawn_cents),
            "unsettled_deposits": format_cents(flows.unsettled_cents),
            "pending_deposits": format_cents(flows.pending_cents),
            "owed": format_cents(flows.owed_cents),
        },
        "holdings": [_holding_json(holding) for holding in view.holdings],
    }


def _portfolio(account_id: str) -> PortfolioView:
    owned_account(account_id)
    r = runtime()
    with reading() as session:
        return reporting.portfolio(session, r.prices, r.clock, r.calendar, account_id)


def _holding_json(holding: Holding) -> dict[str, Any]:
    price = holding.price_micros
    return {
        "symbol": holding.symbol,
        "security_id": holding.security_id,
        "name": holding.name,
        "shares": format_nanos(holding.nanos),
        "price": None if price is None else format_micros(price),
        "price_as_of": holding.price_as_of or None,
        "value": format_cents(holding.value_cents),
        "weight_ppm": holding.weight_ppm,
        "target_ppm": holding.target_ppm,
        "drift_ppm": holding.drift_ppm,
        "cost_basis": format_cents(holding.basis_cents),
        "unrealised_gain": format_cents(holding.gain_cents),
        "day_change": _cents_or_none(holding.day_change_cents),
        "note": holding.note,
    }


def _cents_or_none(cents: int | None) -> str | None:
    return None if cents is None else format_cents(cents)


def _json(body: dict[str, Any]) -> Response:
    return Response(current_app.json.dumps(body), mimetype="application/json")
