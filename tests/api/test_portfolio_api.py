"""Portfolios, orders, activity, lots and prices over HTTP: sums checked again from the reply."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from callers import Caller, customer, firm
from flask import Flask
from funds import investor, link_of
from world import World, make_world

from robo.api.portfolio import PortfolioReply, PositionsReply
from robo.app import create_app
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import notional_cents, parse_cents, parse_micros
from robo.core.shares import parse_nanos
from robo.services import funding

Story = tuple[World, Flask, AccountId, Caller]


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Story]:
    """An account that put in $100 and owns ten companies since yesterday."""
    with make_world(tmp_path_factory.mktemp("api") / "state", short_calendar) as world:
        app, r = create_app(world.runtime), world.runtime
        account = investor(world)
        me = customer(world, app, account)
        body = {"bank_link_id": link_of(world, account), "amount": "100.00"}
        me.post(f"/v1/accounts/{account}/deposits", body)
        funding.collect(world.db, r.keyring, r.bank, r.clock, r.calendar, r.policy)
        world.clock.advance(timedelta(minutes=1))
        world.trade()
        world.next_session()
        yield world, app, account, me


def everything(me: Caller, path: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = me.get(path, **query).json
        found += page["items"]
        if page["next"] is None:
            return found
        query["after"] = page["next"]


def test_every_sum_can_be_checked_from_the_reply_and_the_prices_served(story: Story) -> None:
    world, _, account, me = story

    view = me.get(f"/v1/accounts/{account}/portfolio").json
    symbols = ",".join(h["symbol"] for h in view["holdings"])
    prices = me.get("/v1/prices", symbols=symbols).json

    served = {item["symbol"]: item["price"] for item in prices["items"]}
    for holding in view["holdings"]:
        assert holding["price"] == served[holding["symbol"]]
        nanos, price = parse_nanos(holding["shares"]), parse_micros(holding["price"])
        assert parse_cents(holding["value"]) == notional_cents(nanos, price)
        gain = parse_cents(holding["value"]) - parse_cents(holding["cost_basis"])
        assert parse_cents(holding["unrealised_gain"]) == gain
        assert holding["drift_ppm"] == holding["weight_ppm"] - holding["target_ppm"]
    cash = view["cash"]
    states = ("free", "reserved", "unsettled", "outgoing")
    assert parse_cents(cash["total"]) == sum(parse_cents(cash[state]) for state in states)
    invested = sum(parse_cents(h["value"]) for h in view["holdings"])
    assert parse_cents(view["invested"]) == invested
    assert parse_cents(view["nav"]) == invested + parse_cents(cash["total"])
    assert sum(h["weight_ppm"] for h in view["holdings"]) + cash["weight_ppm"] == 1_000_000
    assert parse_cents(view["total_gain"]) == parse_cents(view["nav"]) - 100_00
    assert view["price_source"] == prices["source"] == world.runtime.prices.name
    assert view["price_source"].startswith("SIM")
    assert view["simulated"] is True
    assert "not any vendor" in view["score_note"] or "checked against" in view["score_note"]


def test_the_hand_built_replies_keep_the_published_schemas(story: Story) -> None:
    _, _, account, me = story

    portfolio = me.get(f"/v1/accounts/{account}/portfolio").json
    positions = me.get(f"/v1/accounts/{account}/positions").json

    for reply, schema in ((portfolio, PortfolioReply()), (positions, PositionsReply())):
        loaded = schema.load(reply)
        assert set(reply) == set(schema.fields)
        assert schema.dump(loaded) == reply
    assert len(positions["items"]) == 10


def test_orders_say_why_and_their_fills_add_up(story: Story) -> None:
    _, _, account, me = story

    listed = everything(me, f"/v1/accounts/{account}/orders", 3)
    orders = [item for item in listed if item["kind"] == "order"]
    details = [me.get(f"/v1/accounts/{account}/orders/{o['id']}").json for o in orders]

    assert len(orders) == 10
    assert all(item["sentence"].endswith(".") for item in listed)
    spent = 0
    for order in details:
        fills = order["fills"]
        # No risk model has been made here: the effect on risk is unknown, not nothing.
        assert order["effect"] == {"tracking_error_ppm": None, "tax": "0.00", "cost": "0.01"}
        assert order["plan_effect"] is None
        assert sum(parse_cents(f["notional"]) for f in fills) == parse_cents(
            order["filled_notional"]
        )
        assert sum(parse_nanos(f["shares"]) for f in fills) == parse_nanos(order["filled_shares"])
        spent += parse_cents(order["filled_notional"])
    basis = me.get(f"/v1/accounts/{account}/portfolio").json["cost_basis"]
    assert parse_cents(basis) == spent


def test_lots_are_the_holdings_and_say_until_when_they_are_held(story: Story) -> None:
    _, _, account, me = story

    lots = everything(me, f"/v1/accounts/{account}/lots", 4)
    positions = me.get(f"/v1/accounts/{account}/positions").json["items"]

    for position in positions:
        mine = [lot for lot in lots if lot["symbol"] == position["symbol"]]
        assert sum(parse_nanos(lot["shares"]) for lot in mine) == parse_nanos(position["shares"])
        assert sum(parse_cents(lot["cost_basis"]) for lot in mine) == parse_cents(
            position["cost_basis"]
        )
    assert {lot["hold_until"] for lot in lots} == {"2026-03-09"}


def test_activity_tells_the_story_and_pages_by_cursor(story: Story) -> None:
    _, _, account, me = story
    path = f"/v1/accounts/{account}/activity"

    by_two, all_at_once = everything(me, path, 2), everything(me, path, 100)

    assert by_two == all_at_once
    assert all_at_once[-1]["sentence"].startswith("$100.00 of your deposit was made available")
    free = me.get(f"/v1/accounts/{account}/portfolio").json["cash"]["total"]
    assert sum(parse_cents(item["amount"]) for item in all_at_once) == parse_cents(free)


def test_accounts_are_listed_for_their_customer_and_for_the_firm(story: Story) -> None:
    world, app, account, me = story
    world.add_accounts(3)
    house = firm(world, app, "accounts:read")

    mine = me.get("/v1/accounts").json["items"]
    all_of_them = everything(house, "/v1/accounts", 2)
    one = me.get(f"/v1/accounts/{account}").json

    assert [item["id"] for item in mine] == [account]
    assert {item["id"] for item in all_of_them} == set(world.accounts)
    assert (one["basket_id"], one["state"], one["kind"]) == ("theme-water", "open", "individual")


@pytest.mark.parametrize(
    "cursor", ["x", "WzFd", "WyJhIiwiYiJd", "W251bGxd", "e30", "WzFlOTldXQ", "A" * 200]
)
@pytest.mark.parametrize("what", ["orders", "activity", "lots", "deposits", "withdrawals"])
def test_a_cursor_of_nobody_is_refused_or_harmless(story: Story, what: str, cursor: str) -> None:
    _, _, account, me = story

    reply = me.get(f"/v1/accounts/{account}/{what}", after=cursor)

    assert reply.status_code in {200, 422}
    assert reply.status_code == 200 or reply.json["code"] == "bad_cursor"


def test_prices_name_what_is_missing(story: Story) -> None:
    *_, me = story

    reply = me.get("/v1/prices", symbols="AAPL,NOSUCH").json
    twice = me.get("/v1/prices", symbols="AAPL,AAPL")
    odd = me.get("/v1/prices", symbols="aapl")

    assert [item["symbol"] for item in reply["items"]] == ["AAPL"]
    assert reply["missing"] == ["NOSUCH"]
    assert (twice.status_code, odd.status_code) == (422, 422)
