"""Money over HTTP: links, deposits, withdrawals, plans; whose they are, and what is refused."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from callers import customer, firm, id_of_customer
from flask import Flask
from funds import ScriptedBank, accept_agreements, investor, link_of
from world import World, make_world

from onboarding.agreements import required_agreements
from robo.app import create_app
from robo.core.clock import business_date
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.services import funding, withdrawing


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("api") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return create_app(world.runtime)


def collect(world: World) -> None:
    r = world.runtime
    funding.collect(world.db, r.keyring, r.bank, r.clock, r.calendar, r.policy)


def test_from_a_linked_bank_to_cash_in_the_account(world: World, app: Flask) -> None:
    account = investor(world)
    me, owner = customer(world, app, account), id_of_customer(world, account)

    linked = me.post(
        f"/v1/customers/{owner}/bank-links",
        {"routing_number": "021000021", "account_number": "5550101234"},
    )
    asked = me.post(
        f"/v1/accounts/{account}/deposits",
        {"bank_link_id": linked.json["id"], "amount": "100.00"},
    )
    collect(world)
    found = me.get(f"/v1/accounts/{account}/deposits/{asked.json['id']}")

    assert (linked.status_code, linked.json["mask"]) == (201, "1234")
    assert (asked.status_code, asked.json["state"], asked.json["amount"]) == (
        201,
        "requested",
        "100.00",
    )
    assert (found.json["state"], found.json["advanced"], found.json["owed"]) == (
        "available",
        "100.00",
        "0.00",
    )
    assert found.json["settles_on"] == "2026-03-09"
    assert world.balances(account).cash_cents == 100_00
    files = Path(world.runtime.settings.state_dir).rglob("*")
    raw = b"".join(path.read_bytes() for path in files if path.is_file())
    assert b"5550101234" not in raw


def test_the_same_key_is_the_same_deposit_byte_for_byte(world: World, app: Flask) -> None:
    account = investor(world)
    me = customer(world, app, account)
    body = {"bank_link_id": link_of(world, account), "amount": "12.34"}

    first = me.post(f"/v1/accounts/{account}/deposits", body, key="deposit-key-1")
    second = me.post(f"/v1/accounts/{account}/deposits", body, key="deposit-key-1")
    other = me.post(
        f"/v1/accounts/{account}/deposits", {**body, "amount": "12.35"}, key="deposit-key-1"
    )

    assert first.data == second.data
    assert other.status_code == 409
    assert len(me.get(f"/v1/accounts/{account}/deposits").json["items"]) == 1


def test_deposits_are_paged_newest_first(world: World, app: Flask) -> None:
    account = investor(world)
    me, link = customer(world, app, account), link_of(world, account)
    for cents in range(5):
        me.post(f"/v1/accounts/{account}/deposits", {"bank_link_id": link, "amount": f"1.0{cents}"})

    first = me.get(f"/v1/accounts/{account}/deposits", limit=3).json
    second = me.get(f"/v1/accounts/{account}/deposits", limit=3, after=first["next"]).json

    amounts = [item["amount"] for item in first["items"] + second["items"]]
    assert sorted(amounts) == [f"1.0{cents}" for cents in range(5)]
    assert second["next"] is None


@pytest.mark.parametrize("amount", ["0.99", "250000.01", "-5", "5e3", 5, "", "1.001"])
def test_amounts_that_cannot_be_are_refused_with_a_code(
    world: World, app: Flask, amount: object
) -> None:
    account = investor(world)
    me = customer(world, app, account)

    reply = me.post(
        f"/v1/accounts/{account}/deposits",
        {"bank_link_id": link_of(world, account), "amount": amount},
    )

    assert reply.status_code == 422
    assert reply.json["code"] in {"deposit_too_small", "deposit_too_large", "validation_failed"}


def test_agreements_come_before_the_first_deposit(world: World, app: Flask) -> None:
    (account,) = world.add_accounts(1)
    me = customer(world, app, account)
    body = {"bank_link_id": link_of(world, account), "amount": "20.00"}

    before = me.post(f"/v1/accounts/{account}/deposits", body)
    accept_agreements(world, account)
    after = me.post(f"/v1/accounts/{account}/deposits", body)

    assert (before.status_code, before.json["reasons"]) == (409, ["suitability", "agreements"])
    documents = before.json["fields"]["agreements"]
    wanted = required_agreements("individual", business_date(world.clock.now()), paper=True)
    assert documents == [each.id for each in wanted]
    assert all(each in before.json["detail"] for each in documents)
    assert f"/v1/customers/{id_of_customer(world, account)}/agreements" in before.json["detail"]
    assert after.status_code == 201


def test_others_neither_see_nor_move_the_money(world: World, app: Flask) -> None:
    account = investor(world)
    me, stranger = customer(world, app, account), customer(world, app, investor(world))
    link = link_of(world, account)
    deposit = me.post(
        f"/v1/accounts/{account}/deposits", {"bank_link_id": link, "amount": "20.00"}
    ).json["id"]
    owner = id_of_customer(world, account)

    replies = [
        stranger.get(f"/v1/accounts/{account}/deposits"),
        stranger.get(f"/v1/accounts/{account}/deposits/{deposit}"),
        stranger.post(
            f"/v1/accounts/{account}/deposits", {"bank_link_id": link, "amount": "20.00"}
        ),
        stranger.post(
            f"/v1/accounts/{account}/withdrawals", {"bank_link_id": link, "amount": "1.00"}
        ),
        stranger.post(f"/v1/accounts/{account}/closure", {"bank_link_id": link}),
        stranger.get(f"/v1/customers/{owner}/bank-links"),
        stranger.send("DELETE", f"/v1/customers/{owner}/bank-links/{link}"),
        stranger.get(f"/v1/accounts/{account}/plans"),
        stranger.get(f"/v1/accounts/{account}/portfolio"),
        stranger.get(f"/v1/accounts/{account}/lots"),
        stranger.get(f"/v1/accounts/{account}/activity"),
        stranger.get(f"/v1/accounts/{account}/orders"),
    ]

    assert {reply.status_code for reply in replies} == {404}


def test_a_withdrawal_needs_a_verified_mail_and_a_fresh_proof(world: World, app: Flask) -> None:
    account = investor(world)
    world.pay_in(account, 50_00)
    me = customer(world, app, account, stepped_up=False)
    body = {"bank_link_id": link_of(world, account), "amount": "20.00"}
    path = f"/v1/accounts/{account}/withdrawals"

    stale = me.post(path, body)
    fresh = customer(world, app, account)
    with world.db.write() as session:
        owner = id_of_customer(world, account)
        session.connection().exec_driver_sql(
            f"UPDATE customer SET email_verified_at = NULL WHERE id = '{owner}'"
        )
    unverified = fresh.post(path, body)
    with world.db.write() as session:
        session.connection().exec_driver_sql(
            f"UPDATE customer SET email_verified_at = 1 WHERE id = '{owner}'"
        )
    fine = fresh.post(path, body)

    assert (stale.status_code, stale.json["code"]) == (403, "step_up_required")
    assert (unverified.status_code, unverified.json["reasons"]) == (409, ["email"])
    assert (fine.status_code, fine.json["promised"]) == (201, "20.00")
    assert world.balances(account).outgoing_cents == 20_00
    sent = world.scalar("SELECT count(*) FROM mail WHERE kind = 'withdrawal_requested'")
    assert sent == 1


def test_a_withdrawal_that_was_not_sent_can_be_cancelled(world: World, app: Flask) -> None:
    account = investor(world)
    world.pay_in(account, 50_00)
    me = customer(world, app, account)
    path = f"/v1/accounts/{account}/withdrawals"
    made = me.post(path, {"bank_link_id": link_of(world, account), "amount": "20.00"}).json

    canceled = me.send("DELETE", f"{path}/{made['id']}")
    found = me.get(f"{path}/{made['id']}").json
    listed = me.get(path).json["items"]

    assert (canceled.status_code, found["state"], found["promised"]) == (200, "canceled", "0.00")
    assert [item["id"] for item in listed] == [made["id"]]
    assert world.balances(account).cash_cents == 50_00


def test_closing_an_account_promises_everything(world: World, app: Flask) -> None:
    account = investor(world)
    world.pay_in(account, 50_00)
    me, link = customer(world, app, account), link_of(world, account)

    made = me.post(f"/v1/accounts/{account}/closure", {"bank_link_id": link})
    state = me.get(f"/v1/accounts/{account}").json["state"]
    late = me.post(f"/v1/accounts/{account}/deposits", {"bank_link_id": link, "amount": "5.00"})
    listed = me.get(f"/v1/accounts/{account}/withdrawals").json["items"]

    assert (made.status_code, made.json["closing"], state) == (201, True, "closing")
    assert (made.json["amount"], made.json["estimate"]) == (None, "50.00")
    assert listed == [made.json]
    assert (late.status_code, late.json["code"]) == (409, "account_not_open")


def test_cents_that_no_bank_takes_are_shown_told_and_asked_for_again(
    world: World, app: Flask
) -> None:
    account = investor(world)
    world.pay_in(account, 37)
    me, r, bank = customer(world, app, account), world.runtime, ScriptedBank()
    body = {"bank_link_id": link_of(world, account)}
    bank.refuses = True

    made = me.post(f"/v1/accounts/{account}/closure", body).json
    withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
    shown = me.get(f"/v1/accounts/{account}/portfolio").json
    ended = me.get(f"/v1/accounts/{account}/withdrawals/{made['id']}").json
    told = world.scalar("SELECT count(*) FROM mail WHERE kind = 'cents_kept'")
    again = me.post(f"/v1/accounts/{account}/closure", body)

    assert (ended["state"], ended["amount"], ended["estimate"]) == ("failed", "0.37", None)
    assert (shown["nav"], told) == ("0.37", 1)
    assert (again.status_code, again.json["promised"]) == (201, "0.37")


def test_plans_are_made_changed_paused_and_ended(world: World, app: Flask) -> None:
    account = investor(world)
    me = customer(world, app, account)
    path = f"/v1/accounts/{account}/plans"
    body = {
        "bank_link_id": link_of(world, account),
        "amount": "25.00",
        "cadence": "weekly",
        "day": 5,
    }

    made = me.post(path, body)
    one = f"{path}/{made.json['id']}"
    changed = me.send("PATCH", one, {"amount": "30.00"})
    paused = me.send("PATCH", one, {"state": "paused"})
    empty = me.send("PATCH", one, {})
    listed = me.get(path).json["items"]
    ended = me.send("DELETE", one)
    bad = me.post(path, {**body, "day": 6})

    assert (made.status_code, made.json["next_on"]) == (201, "2026-03-06")
    assert (changed.json["amount"], paused.json["state"]) == ("30.00", "paused")
    assert (empty.status_code, ended.json["state"]) == (422, "ended")
    assert [item["state"] for item in listed] == ["paused"]
    assert me.get(path).json["items"] == []
    assert (bad.status_code, bad.json["code"]) == (422, "bad_day")


def test_adding_a_link_needs_a_fresh_proof_of_a_customer_but_not_of_a_firm(
    world: World, app: Flask
) -> None:
    (account,) = world.add_accounts(1)
    stale, me = customer(world, app, account, stepped_up=False), customer(world, app, account)
    path = f"/v1/customers/{id_of_customer(world, account)}/bank-links"
    body = {"routing_number": "021000021", "account_number": "5550003456"}

    refused = stale.post(path, body)
    allowed = me.post(path, body)
    by_firm = firm(world, app, "transfers:write").post(path, body)

    assert (refused.status_code, refused.json["code"]) == (403, "step_up_required")
    assert (allowed.status_code, by_firm.status_code) == (201, 201)


def test_removing_a_link_needs_a_fresh_proof_and_tells_its_owner(world: World, app: Flask) -> None:
    account = investor(world)
    stale, me = customer(world, app, account, stepped_up=False), customer(world, app, account)
    owner, link = id_of_customer(world, account), link_of(world, account)
    path = f"/v1/customers/{owner}/bank-links/{link}"

    refused = stale.send("DELETE", path)
    removed = me.send("DELETE", path)

    assert refused.status_code == 403
    assert (removed.status_code, removed.json["state"]) == (200, "removed")
    assert me.get(f"/v1/customers/{owner}/bank-links").json["items"] == []
    assert world.scalar("SELECT count(*) FROM mail WHERE kind = 'bank_removed'") == 1


def test_a_firm_acts_for_its_customers_within_its_scopes(world: World, app: Flask) -> None:
    account = investor(world)
    customer(world, app, account)  # gives the customer a verified e-mail
    writer = firm(world, app, "transfers:read", "transfers:write")
    reader = firm(world, app, "transfers:read")
    path = f"/v1/accounts/{account}/deposits"
    body = {"bank_link_id": link_of(world, account), "amount": "20.00"}

    made, refused = writer.post(path, body), reader.post(path, body)
    world.pay_in(account, 50_00, "firm")
    paid = writer.post(f"/v1/accounts/{account}/withdrawals", {**body, "amount": "5.00"})

    assert (made.status_code, refused.status_code) == (201, 403)
    assert reader.get(path).json["items"][0]["id"] == made.json["id"]
    assert paid.status_code == 201


def test_the_feed_can_be_replayed_and_shows_a_customer_only_what_is_theirs(
    world: World, app: Flask
) -> None:
    account = investor(world)
    me, house = customer(world, app, account), firm(world, app, "events:read")
    link = link_of(world, account)
    me.post(f"/v1/accounts/{account}/deposits", {"bank_link_id": link, "amount": "20.00"})
    collect(world)
    world.clock.advance(timedelta(minutes=1))
    world.trade()

    mine = me.get("/v1/events", limit=100).json
    again = me.get("/v1/events", after=mine["next"]).json
    everything: list[int] = []
    after = 0
    while True:
        page = house.get("/v1/events", after=after, limit=100).json
        if not page["items"]:
            break
        everything += [item["seq"] for item in page["items"]]
        after = page["next"]

    kinds = [item["kind"] for item in mine["items"]]
    assert kinds[:3] == ["deposit.requested", "deposit.pending", "deposit.available"]
    fills = world.scalar(f"SELECT count(*) FROM fill WHERE account_id = '{account}'")
    assert kinds.count("order.executed") == fills >= 10
    assert {item["account_id"] for item in mine["items"]} == {account}
    assert mine["items"][0]["payload"] == {"account_id": account, "amount": "20.00"}
    assert again == {"items": [], "next": mine["next"]}
    assert everything == sorted(set(everything))
    assert len(everything) == world.scalar("SELECT count(*) FROM event WHERE firm_id <> ''")


def test_ids_of_nobody_are_not_found(world: World, app: Flask) -> None:
    me = customer(world, app, investor(world))
    nobody = AccountId(child_id("acc", "nobody"))

    assert me.get(f"/v1/accounts/{nobody}/portfolio").status_code == 404
    assert me.get("/v1/accounts/x/portfolio").status_code == 404
