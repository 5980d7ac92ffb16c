"""Choices over HTTP: a price tag before saving, a saved choice that the next night follows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from callers import customer, id_of_customer
from flask import Flask
from world import FIRM, World, make_world

from baskets.building import excluded
from baskets.facts import load_facts
from baskets.index import large_cap
from robo.app import create_app
from robo.core.clock import business_date, to_micros
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.services import (
    composing,
    funding,
    graduating,
    indexing,
    modelling,
    ordering,
    targeting,
    withdrawing,
)
from robo.services.offering import Shelf, recipes_by_id
from robo.store import accounts, direct, households, people, universe
from robo.store.database import bulk


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, calendar: MarketCalendar) -> Iterator[World]:
    days = tuple(day for day in calendar.sessions if day >= date(2025, 1, 1))
    seasons = MarketCalendar(days, calendar.half_days)
    folder = tmp_path_factory.mktemp("choices") / "state"
    with make_world(folder, seasons, settings={"ROBO_SIM_EVENTS_PPM": "0"}) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return create_app(world.runtime)


@pytest.fixture(scope="module")
def account(world: World) -> AccountId:
    """Return an account of $400,000: a direct sleeve of 28 names."""
    (found,) = world.add_accounts(1)
    world.pay_in(found, 400_000_00)
    r = world.runtime
    graduating.admit(r.db, r.prices, r.clock, r.policy, r.calendar)
    indexing.invest(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "first")
    world.trade()
    return found


def test_leaving_a_name_out_has_a_price_tag_and_writes_nothing(
    world: World, app: Flask, account: AccountId
) -> None:
    me = customer(world, app, account)
    symbol = held(me, account)[0]
    before = world.scalar("SELECT count(*) FROM restriction")

    tag = preview(me, account, leave_out=[symbol]).json

    assert symbol in [one["symbol"] for one in tag["leaving"]]
    assert len(tag["entering"]) == 1
    assert tag["following_after_ppm"] > 0
    assert tag["names_after"] == tag["names_before"]
    assert world.scalar("SELECT count(*) FROM restriction") == before


def test_a_theme_that_stays_moves_the_account_away_from_the_index(
    world: World, app: Flask, account: AccountId
) -> None:
    me = customer(world, app, account)

    fades = preview(me, account, theme="fades", stays_ppm=0).json
    stays = preview(me, account, theme="stays", stays_ppm=950_000).json

    assert stays["from_index_after_ppm"] > fades["from_index_after_ppm"]
    assert fades["from_index_after_ppm"] == fades["from_index_before_ppm"]


def test_letting_go_of_what_a_basket_excludes_has_a_price_tag_and_is_kept(
    world: World, app: Flask
) -> None:
    (values,) = world.add_accounts(1, "esg-low-carbon")
    world.pay_in(values, 400_000_00)
    r = world.runtime
    graduating.admit(r.db, r.prices, r.clock, r.policy, r.calendar)
    me = customer(world, app, values)
    path = f"/v1/accounts/{values}/choices"
    out = excluded(recipes_by_id()["esg-low-carbon"], load_facts())
    oil = {symbol_of(world, one) for one in out}

    stays, goes = preview(me, values, screen="stays").json, preview(me, values, screen="goes").json
    saved = me.send("PUT", path, {"screen": "goes"})

    assert not targeted(world, values) & out
    assert goes["from_index_after_ppm"] < stays["from_index_after_ppm"]
    assert not {one["symbol"] for one in stays["entering"]} & oil
    assert saved.json["screen"] == me.get(path).json["screen"] == "goes"


def test_what_all_leaves_out_together_leaves_nothing_and_is_refused(
    world: World, app: Flask, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = customer(world, app, account)
    everybody = frozenset(load_facts().universe.by_id)
    monkeypatch.setattr(Shelf, "excluded", lambda _shelf, _basket: everybody)

    reply = preview(me, account, screen="stays")

    assert (reply.status_code, reply.json["code"]) == (422, "basket_too_restricted")


def test_tilts_land_or_say_why_not(world: World, app: Flask, account: AccountId) -> None:
    me = customer(world, app, account)
    rows = column(world, "SELECT DISTINCT sector FROM security WHERE sector <> ''")
    dials = sorted(f"sector {one}" for one in rows)

    more = preview(me, account, tilts={dials[0]: 300_000})
    nothing = preview(me, account, tilts=dict.fromkeys(dials, -1_000_000))
    unknown = preview(me, account, tilts={"sector of fog": 1})

    assert more.json["from_index_after_ppm"] != more.json["from_index_before_ppm"]
    assert (nothing.status_code, nothing.json["code"]) == (422, "tilts_conflict")
    assert (unknown.status_code, unknown.json["code"]) == (422, "unknown_tilt")


def test_a_small_account_has_exclusions_but_no_tilts(world: World, app: Flask) -> None:
    (small,) = world.add_accounts(1)
    world.pay_in(small, 100_00)
    world.trade()
    me = customer(world, app, small)
    symbol = held(me, small)[0]

    tilted = preview(me, small, tilts={"sector technology": 1_000})
    names = [symbol_of(world, one) for one in sorted(large_cap().weights_ppm)[:10]]
    own = me.send("PUT", f"/v1/accounts/{small}/choices", {"index": dict.fromkeys(names, 100_000)})
    tag = preview(me, small, leave_out=[symbol]).json

    assert tilted.json["code"] == own.json["code"] == "segment_too_small"
    assert [one["symbol"] for one in tag["leaving"]] == [symbol]
    assert len(tag["entering"]) == 1


def test_a_baskets_price_tag_tells_the_trades_that_happen(world: World, app: Flask) -> None:
    (small,) = world.add_accounts(1)
    world.pay_in(small, 5_000_00)
    world.trade()
    me = customer(world, app, small)
    symbol = held(me, small)[0]
    mine = f"account_id = '{small}'"
    before = world.scalar(f"SELECT count(*) FROM orders WHERE {mine}")

    nothing = preview(me, small, leave_out=[symbol]).json
    world.pay_in(small, 300_00, "more")
    tag = preview(me, small, leave_out=[symbol], tax_mode="realise").json
    me.send("PUT", f"/v1/accounts/{small}/choices", {"leave_out": [symbol]})
    world.trade()

    assert (nothing["trades"], nothing["cost"], nothing["tax"]) == (0, "0.00", "0.00")
    assert nothing["following_after_ppm"] > nothing["following_before_ppm"]
    assert tag["trades"] == world.scalar(f"SELECT count(*) FROM orders WHERE {mine}") - before
    assert world.scalar(f"SELECT count(*) FROM orders WHERE {mine} AND side = 'sell'") == 0
    assert (tag["tax"], tag["short_gain"], tag["long_gain"]) == ("0.00",) * 3
    assert tag["following_after_ppm"] < nothing["following_after_ppm"]
    after = preview(me, small, tax_mode="neutral").json
    assert after["following_before_ppm"] == pytest.approx(tag["following_after_ppm"], rel=0.02)


def test_what_the_second_owner_leaves_out_is_their_own_restriction(
    world: World, app: Flask
) -> None:
    shared, mine, theirs = joint(world)
    me, other = customer(world, app, shared), customer(world, app, theirs)
    symbol = symbol_of(world, min(targeted(world, mine)))

    saved = other.send("PUT", f"/v1/accounts/{shared}/choices", {"leave_out": [symbol]})

    assert saved.status_code == 200, saved.json
    assert (restricted(world, me, mine), restricted(world, other, theirs)) == ([], [symbol])
    has = [symbol in {symbol_of(world, i) for i in targeted(world, one)} for one in (shared, mine)]
    assert has == [False, True]
    assert symbol not in {symbol_of(world, one) for one in targeted(world, theirs)}
    assert [excluded_of(one) for one in (me, other)] == [[0], [1]]


def test_neither_owner_is_told_why_the_other_may_not_buy_a_name(world: World, app: Flask) -> None:
    shared, mine, _theirs = joint(world)
    me, name = customer(world, app, shared), min(targeted(world, mine))
    who = id_of_customer(world, mine)

    me.post(
        f"/v1/customers/{who}/restrictions", {"symbol": symbol_of(world, name), "verb": "never_buy"}
    )

    alone, together = notes(world, mine), notes(world, shared)
    assert "you asked us to leave this company out" in alone.lower()
    assert "you asked us" not in together.lower()
    assert targeting.BARRED in together


@pytest.mark.usefixtures("account")
def test_the_second_owner_is_told_no_tax_of_the_first_ones(world: World, app: Flask) -> None:
    shared, _mine, theirs = joint(world)
    world.pay_in(shared, 5_000_00)
    world.trade()
    me, other = customer(world, app, shared), customer(world, app, theirs)
    symbol = held(me, shared)[0]
    frontier = f"/v1/accounts/{shared}/tax-budget-frontier"

    tags = [preview(one, shared, leave_out=[symbol]).json for one in (me, other)]
    roads = [one.send("POST", frontier, {"years": 1}).json for one in (me, other)]

    told = [[tag.pop("tax"), tag.pop("leaving_tax")] for tag in tags]
    for road in roads:
        assert road["points"], road
    taxes = [
        [line.pop("tax") for point in road["points"] for line in (point, *point["years"])]
        for road in roads
    ]
    assert None not in told[0] + taxes[0]
    assert set(told[1] + taxes[1]) == {None}
    assert (tags[0], roads[0]) == (tags[1], roads[1]), "all else is told to both"


def test_leaving_out_again_weakens_no_restriction_of_ones_own(world: World, app: Flask) -> None:
    (small,) = world.add_accounts(1)
    world.pay_in(small, 100_00)
    me = customer(world, app, small)
    who = id_of_customer(world, small)
    name = min(targeted(world, small))
    path = f"/v1/customers/{who}/restrictions"
    me.post(path, {"symbol": symbol_of(world, name), "verb": "never_own"})
    me.send("PUT", f"{path}/{name}/held", {"choice": "sell_within_budget"})

    body = {"leave_out": [symbol_of(world, name)]}
    saved = me.send("PUT", f"/v1/accounts/{small}/choices", body)

    assert saved.status_code == 200, saved.json
    with world.db.read() as session:
        (row,) = people.restrictions(session, who)
    assert (row.verb, row.held_choice) == ("never_own", "sell_within_budget")
    me.post(path, {"symbol": symbol_of(world, name), "verb": "never_buy"})
    with world.db.read() as session:
        (row,) = people.restrictions(session, who)
    assert (row.verb, row.held_choice) == ("never_buy", "sell_within_budget")


def test_what_is_saved_is_shown_and_followed_by_the_next_review(
    world: World, app: Flask, account: AccountId
) -> None:
    me = customer(world, app, account)
    symbol = held(me, account)[1]
    path = f"/v1/accounts/{account}/choices"

    saved = me.send("PUT", path, {"theme": "stays", "stays_ppm": 500_000, "leave_out": [symbol]})
    review(world)

    assert saved.status_code == 200
    shown = me.get(path).json
    assert (shown["theme"], shown["stays_ppm"], shown["names"]) == ("stays", 500_000, 28)
    left = {symbol_of(world, one) for one in targeted(world, account)}
    assert symbol not in left
    assert len(left) == 28


def test_a_limit_of_ones_own_is_never_passed_and_sells_nothing(
    world: World, app: Flask, account: AccountId
) -> None:
    me = customer(world, app, account)
    sells = "SELECT count(*) FROM orders WHERE side = 'sell'"
    before, had = world.scalar(sells), targeted(world, account)

    tag = preview(me, account, names_max=20).json
    me.send("PUT", f"/v1/accounts/{account}/choices", {"names_max": 20})
    review(world)

    assert (tag["names_before"], tag["names_after"]) == (28, 20)
    assert (len(tag["leaving"]), tag["entering"]) == (8, [])
    assert me.get(f"/v1/accounts/{account}/choices").json["names"] == 20
    left = targeted(world, account)
    assert {symbol_of(world, one) for one in had - left} == {
        one["symbol"] for one in tag["leaving"]
    }
    bought = (
        "SELECT DISTINCT security_id FROM orders WHERE side = 'buy' AND reason = 'buy_tracking'"
    )
    world.pay_in(account, 60_000_00, "after the limit")
    r = world.runtime
    indexing.invest(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "limited")
    world.trade()
    assert set(column(world, bought)) <= left
    assert len(held(me, account)) == 28  # what is beyond the limit stays
    assert world.scalar(sells) == before
    me.send("PUT", f"/v1/accounts/{account}/choices", {"names_max": 0})


@pytest.mark.parametrize(
    "body",
    [{"theme": "stays"}, {"theme": "stays", "stays_ppm": 0}, {"theme": "fades", "stays_ppm": 1}],
)
def test_a_theme_stays_with_a_share_or_not_at_all(
    world: World, app: Flask, account: AccountId, body: dict[str, Any]
) -> None:
    me = customer(world, app, account)
    path = f"/v1/accounts/{account}/choices"
    me.send("PUT", path, {"theme": "fades"})
    before = me.get(path).json

    said = preview(me, account, **body)
    saved = me.send("PUT", path, body)

    assert (said.status_code, said.json["code"]) == (422, "theme_share")
    assert (saved.status_code, saved.json["code"]) == (422, "theme_share")
    assert me.get(path).json == before


def test_a_theme_kept_without_its_share_leaves_everything_else_free_to_change(
    world: World, app: Flask, account: AccountId
) -> None:
    me = customer(world, app, account)
    path = f"/v1/accounts/{account}/choices"
    me.send("PUT", path, {"theme": "fades"})
    with world.db.write() as session:
        row = direct.of_accounts(session, [account])[account]
        direct.put(session, [replace(row, theme="stays", stays_ppm=0)], 1)

    said = preview(me, account, screen="goes")
    saved = me.send("PUT", path, {"screen": "stays"})

    assert said.status_code == 200
    assert (saved.status_code, saved.json["theme"]) == (200, "stays")
    again = me.send("PUT", path, {"theme": "stays"})
    assert (again.status_code, again.json["code"]) == (422, "theme_share")
    me.send("PUT", path, {"theme": "fades"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ladder": "steep"},
        {"names_max": 501},
        {"stays_ppm": -1},
        {"screen": "fades"},
        {"leave_out": ["NOPE.X"]},
        {"index": {"NOPE.X": 1_000_000}},
        {"index": {"AAPL": 0}},
    ],
)
def test_choices_that_mean_nothing_are_refused(
    world: World, app: Flask, account: AccountId, body: dict[str, Any]
) -> None:
    me = customer(world, app, account)

    assert preview(me, account, **body).status_code == 422
    assert me.send("PUT", f"/v1/accounts/{account}/choices", body).status_code == 422


def test_a_large_account_follows_an_index_of_its_own(world: World, app: Flask) -> None:
    (large,) = world.add_accounts(1)
    world.pay_in(large, 6_000_000_00)
    me = customer(world, app, large)
    path = f"/v1/accounts/{large}/choices"
    assert me.send("PUT", path, {"names_max": 80}).status_code == 200
    r = world.runtime
    graduating.admit(r.db, r.prices, r.clock, r.policy, r.calendar)
    before = targeted(world, large)
    some = [one for one in sorted(large_cap().weights_ppm) if one not in before][:200]
    own = {symbol_of(world, one): 5_000 for one in some}

    tag = preview(me, large, index=own).json
    saved = me.send("PUT", path, {"index": own})
    review(world)
    indexing.invest(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "own")

    assert saved.json["index"] == me.get(path).json["index"] == own
    assert tag["from_index_after_ppm"] > tag["from_index_before_ppm"]
    after = targeted(world, large)
    assert {symbol_of(world, one) for one in after} == {one["symbol"] for one in tag["entering"]}
    assert len(after) == 80
    assert {symbol_of(world, one) for one in before} == {one["symbol"] for one in tag["leaving"]}
    assert after < set(some)
    bought = f"SELECT security_id FROM orders WHERE account_id = '{large}' AND side = 'buy'"
    assert set() < set(column(world, bought)) <= after
    again = me.send("PUT", path, {"index": {}})
    assert (again.json["index"], again.json["names_max"]) == ({}, 80)
    with world.db.write() as session:
        at = to_micros(r.clock.now())
        ordering.cancel_planned(session, r.keyring, FIRM, large, Reason.REJECT_EXPIRED, at)


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        ([100_000] * 9 + [99_999], "own_index_weights"),
        ([300_000] + [70_000] * 10, "own_index_weights"),
        ([200_000] * 5, "own_index_too_narrow"),
    ],
)
def test_an_index_of_ones_own_that_cannot_be_followed_is_refused(
    world: World, app: Flask, weights: list[int], code: str
) -> None:
    (large,) = world.add_accounts(1)
    world.pay_in(large, 5_000_000_00)
    me = customer(world, app, large)
    names = [symbol_of(world, one) for one in sorted(large_cap().weights_ppm)]
    own = dict(zip(names, weights, strict=False))

    said = preview(me, large, index=own)
    saved = me.send("PUT", f"/v1/accounts/{large}/choices", {"index": own})

    assert (said.status_code, said.json["code"]) == (422, code)
    assert (saved.status_code, saved.json["code"]) == (422, code)
    assert me.get(f"/v1/accounts/{large}/choices").json["index"] == {}


def test_what_an_index_of_ones_own_holds_stays_in_the_model_whatever_baskets_leave_it_out(
    world: World, app: Flask, account: AccountId
) -> None:
    customer(world, app, account).send("PUT", f"/v1/accounts/{account}/choices", {"theme": "fades"})
    with world.db.write() as session:
        row = direct.of_accounts(session, [account])[account]
        known = set(modelling._names(session))
        other = min({int(one.id) for one in universe.everything(session)} - known)
        direct.put(session, [replace(row, own_index=composing.text({other: 1_000_000}))], 1)

        names = set(modelling._names(session))
        direct.put(session, [row], 1)

    assert names == known | {other}


def test_a_price_tag_counts_what_was_withdrawn_since_the_last_review(
    world: World, app: Flask
) -> None:
    (rich,) = world.add_accounts(1)
    world.pay_in(rich, 400_000_00)
    r, me = world.runtime, customer(world, app, rich)
    graduating.admit(r.db, r.prices, r.clock, r.policy, r.calendar)
    take = (r.clock, rich, "wdr_rich", child_id("lnk", child_id("cus", rich)), 300_000_00)
    withdrawing.request(r.db, r.keyring, r.prices, *take)
    withdrawing.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.policy, "rich")
    rail = funding.rail(r.db, r.keyring, r.broker, r.bank, r.clock)
    withdrawing.pay(r.db, r.keyring, rail, r.clock, r.policy)

    tag = preview(me, rich, theme="fades").json
    review(world)

    assert tag["names_before"] == 28
    assert tag["names_after"] == len(targeted(world, rich)) < 28


def test_without_a_model_there_is_no_price_tag(
    tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    with make_world(tmp_path / "state", short_calendar) as young:
        (account,) = young.add_accounts(1)
        me = customer(young, create_app(young.runtime), account)

        reply = preview(me, account, theme="stays")

        assert (reply.status_code, reply.json["code"]) == (422, "no_risk_model")


def preview(me: Any, account: AccountId, **body: Any) -> Any:
    return me.send("POST", f"/v1/accounts/{account}/choices/previews", body)


def joint(world: World) -> tuple[AccountId, AccountId, AccountId]:
    """Return a joint account, one of its first owner alone, one of its second owner alone."""
    shared, mine, theirs = world.add_accounts(3)
    with world.db.write() as session:
        first = child_id("cus", mine)
        bulk(
            session,
            "UPDATE account SET customer_id = ?, kind = 'joint' WHERE id = ?",
            [(first, shared)],
        )
        households.own_jointly(session, shared, child_id("cus", theirs), 1)
    return shared, mine, theirs


def restricted(world: World, me: Any, account: AccountId) -> list[str]:
    path = f"/v1/customers/{id_of_customer(world, account)}/restrictions"
    return [one["symbol"] for one in me.get(path).json["items"]]


def excluded_of(me: Any) -> list[int]:
    """Return how many names each change of choices left out, as somebody hears of it."""
    heard = me.get("/v1/events").json["items"]
    return [one["payload"]["excluded"] for one in heard if one["kind"] == "choices.changed"]


def review(world: World) -> None:
    r = world.runtime
    graduating.review(r.db, r.prices, r.clock, r.calendar, r.policy, business_date(r.clock.now()))


def held(me: Any, account: AccountId) -> list[str]:
    rows = me.get(f"/v1/accounts/{account}/positions").json["items"]
    return [row["symbol"] for row in rows]


def targeted(world: World, account: AccountId) -> set[int]:
    with world.db.read() as session:
        target_id = accounts.sleeves(session, [account])[account].target_id
        return {one.security_id for one in accounts.targets(session, [target_id])[target_id]}


def notes(world: World, account: AccountId) -> str:
    """Return what an account's target says of its names."""
    with world.db.read() as session:
        target_id = accounts.sleeves(session, [account])[account].target_id
        return " ".join(one.note for one in accounts.targets(session, [target_id])[target_id])


def symbol_of(world: World, security_id: int) -> str:
    return str(column(world, f"SELECT symbol FROM security WHERE id = {security_id}")[0])


def column(world: World, sql: str) -> list[Any]:
    with world.db.read() as session:
        return [row[0] for row in session.connection().exec_driver_sql(sql)]
