"""Two people over HTTP: they ask, agree, own an account together, part; nothing else is told."""

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from flask import Flask
from newcomer import Newcomer, cheap_app, investor_to_be, mails_to, token_in
from world import World, make_world

from robo.core.clock import business_date
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import SENTENCES, Reason
from robo.services import harvesting
from robo.services.modelling import Model, encoded
from robo.store import models, tax_profiles, universe
from robo.store.tax_profiles import Choice

ADDRESS = {"routing_number": "021000021", "account_number": "555000111"}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("households") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def proven(world: World, app: Flask) -> tuple[Newcomer, str]:
    person, basket = investor_to_be(app)
    (mail,) = [m for m in mails_to(world, person.email) if "Confirm" in m.subject]
    used = person.send("POST", "/v1/email-verifications/use", {"token": token_in(mail)}, token="-")
    assert used.status_code < 300
    return person, basket


def invite(me: Newcomer, other: Newcomer, since_on: str = "2020-06-20") -> str:
    body = {"email": other.email, "signed": "Your Spouse", "since_on": since_on}
    made = me.send("POST", f"/v1/customers/{me.id}/household-invitations", body)
    assert made.status_code == 201, made.get_json()
    return str(made.get_json()["id"])


def household(me: Newcomer) -> dict[str, object]:
    found = me.get(f"/v1/customers/{me.id}/household").get_json()
    assert isinstance(found, dict)
    return found


def paired(world: World, app: Flask) -> tuple[Newcomer, Newcomer, str]:
    (me, basket), (other, _) = proven(world, app), proven(world, app)
    path = f"/v1/customers/{other.id}/household-invitations/{invite(me, other)}/acceptance"
    assert other.send("POST", path).status_code == 201
    return me, other, basket


def agree_to(me: Newcomer, kind: str) -> None:
    listed = me.get(f"/v1/customers/{me.id}/agreements?kind={kind}").get_json()["items"]
    signed = [
        {"agreement_id": one["id"], "version": one["version"], "sha256": one["sha256"]}
        for one in listed
        if one["action"] == "accept"
    ]
    sent = me.send("POST", f"/v1/customers/{me.id}/acceptances", {"acceptances": signed})
    assert sent.status_code == 201, sent.get_json()


def test_two_people_form_a_household_and_learn_nothing_of_each_other(
    world: World, app: Flask
) -> None:
    (me, _), (other, _) = proven(world, app), proven(world, app)

    invitation = invite(me, other)
    mailed = [m.subject for m in mails_to(world, other.email)]
    seen = household(other)["received"]
    path = f"/v1/customers/{other.id}/household-invitations/{invitation}/acceptance"
    accepted = other.send("POST", path)
    again = other.send("POST", path)

    assert "You were invited to a household" in mailed
    assert isinstance(seen, list)
    assert (seen[0]["id"], seen[0]["signed"], seen[0]["since_on"]) == (
        invitation,
        "Your Spouse",
        "2020-06-20",
    )
    assert (accepted.status_code, again.get_json()) == (201, accepted.get_json())
    for one, hidden in ((me, other), (other, me)):
        shown = household(one)
        assert shown["membership"] is not None
        assert hidden.id not in json.dumps(shown)
        assert hidden.email not in json.dumps(shown)


def test_an_unknown_address_is_answered_like_a_known_one(world: World, app: Flask) -> None:
    (me, _), (other, _) = proven(world, app), proven(world, app)
    path = f"/v1/customers/{me.id}/household-invitations"
    body = {"signed": "Me", "since_on": "2021-01-01"}

    known = me.send("POST", path, {**body, "email": other.email})
    unknown = me.send("POST", path, {**body, "email": "nobody-at-all@example.com"})

    assert (known.status_code, unknown.status_code) == (201, 201)
    assert known.get_json().keys() == unknown.get_json().keys()
    assert known.get_json()["state"] == unknown.get_json()["state"] == "open"


def test_only_the_proven_owner_of_the_address_may_accept(world: World, app: Flask) -> None:
    (me, _), (stranger, _) = proven(world, app), proven(world, app)
    unproven, _ = investor_to_be(app)
    invitation = invite(me, unproven)
    path = "/v1/customers/{}/household-invitations/{}/acceptance"

    by_stranger = stranger.send("POST", path.format(stranger.id, invitation))
    unproven_yet = unproven.send("POST", path.format(unproven.id, invitation))
    by_inviter = me.send("POST", path.format(me.id, invitation))

    assert household(unproven)["received"] == []
    assert {by_stranger.status_code, unproven_yet.status_code, by_inviter.status_code} == {404}


def test_a_person_is_in_one_household_at_a_time_and_may_leave(world: World, app: Flask) -> None:
    me, other, _ = paired(world, app)
    third, _ = proven(world, app)
    body = {"email": third.email, "signed": "Me", "since_on": "2022-01-01"}

    taken = me.send("POST", f"/v1/customers/{me.id}/household-invitations", body)
    left = other.send("DELETE", f"/v1/customers/{other.id}/household")
    within = me.send("POST", f"/v1/customers/{me.id}/household-invitations", body)
    today = {**body, "since_on": "2026-03-02"}
    anew = me.send("POST", f"/v1/customers/{me.id}/household-invitations", today)

    assert (taken.status_code, taken.get_json()["code"]) == (409, "in_a_household")
    assert left.status_code == 204
    assert household(me)["membership"] is None
    assert within.get_json()["code"] == "since_on_taken"
    assert anew.status_code == 201


def test_declined_and_withdrawn_invitations_form_nothing(world: World, app: Flask) -> None:
    (me, _), (other, _) = proven(world, app), proven(world, app)
    first, second = invite(me, other), invite(me, other)
    place = "/v1/customers/{}/household-invitations/{}"

    declined = other.send("DELETE", place.format(other.id, first))
    withdrawn = me.send("DELETE", place.format(me.id, second))
    late = [
        other.send("POST", place.format(other.id, one) + "/acceptance") for one in (first, second)
    ]

    assert (declined.status_code, withdrawn.status_code) == (204, 204)
    assert [one.get_json()["code"] for one in late] == ["invitation_over"] * 2


def test_a_joint_account_opens_when_both_agree(world: World, app: Flask) -> None:
    me, other, basket = paired(world, app)
    proposals = f"/v1/customers/{me.id}/joint-proposals"

    early = me.send("POST", proposals, {"basket_id": basket})
    agree_to(me, "joint")
    proposed = me.send("POST", proposals, {"basket_id": basket})
    place = f"/v1/customers/{other.id}/joint-proposals/{proposed.get_json()['id']}/acceptance"
    unsigned = other.send("POST", place)
    agree_to(other, "joint")
    mine = me.send("POST", place.replace(other.id, me.id))
    opened = other.send("POST", place)
    again = other.send("POST", place)
    account = opened.get_json()["id"]

    assert (early.get_json()["code"], early.get_json()["fields"]["agreements"]) == (
        "step_missing",
        ["joint_account_agreement"],
    )
    assert unsigned.get_json()["code"] == "step_missing"
    assert mine.status_code == 404, "nobody agrees to their own proposal"
    assert (opened.status_code, opened.get_json()["kind"]) == (201, "joint")
    assert again.get_json() == opened.get_json()
    for one in (me, other):
        assert one.get(f"/v1/accounts/{account}").status_code == 200
        listed = one.get("/v1/accounts").get_json()["items"]
        assert account in [each["id"] for each in listed]
    kept = me.send("DELETE", f"/v1/customers/{me.id}/household")
    assert (kept.status_code, kept.get_json()["code"]) == (409, "joint_account_open")


def test_both_owners_bring_money_and_a_stranger_does_not(world: World, app: Flask) -> None:
    me, other, basket = paired(world, app)
    stranger, _ = proven(world, app)
    agree_to(me, "joint")
    agree_to(other, "joint")
    proposed = me.send("POST", f"/v1/customers/{me.id}/joint-proposals", {"basket_id": basket})
    place = f"/v1/customers/{other.id}/joint-proposals/{proposed.get_json()['id']}/acceptance"
    account = other.send("POST", place).get_json()["id"]

    replies = []
    for one in (me, other):
        link = one.send("POST", f"/v1/customers/{one.id}/bank-links", ADDRESS).get_json()["id"]
        body = {"bank_link_id": link, "amount": "25.00"}
        replies.append(one.send("POST", f"/v1/accounts/{account}/deposits", body).status_code)

    assert replies == [201, 201]
    assert stranger.get(f"/v1/accounts/{account}").status_code == 404
    assert stranger.get(f"/v1/accounts/{account}/deposits").status_code == 404


def test_what_either_owner_may_not_buy_is_not_in_the_joint_account(
    world: World, app: Flask
) -> None:
    me, other, basket = paired(world, app)
    names = me.get(f"/v1/baskets/{basket}").get_json()["constituents"]
    symbol = names[0]["symbol"]
    barred = {"symbol": symbol, "verb": "never_buy"}
    assert other.send("POST", f"/v1/customers/{other.id}/restrictions", barred).status_code == 201
    agree_to(me, "joint")
    agree_to(other, "joint")
    proposed = me.send("POST", f"/v1/customers/{me.id}/joint-proposals", {"basket_id": basket})
    place = f"/v1/customers/{other.id}/joint-proposals/{proposed.get_json()['id']}/acceptance"
    account = other.send("POST", place).get_json()["id"]

    held = me.get(f"/v1/accounts/{account}/portfolio").get_json()["holdings"]

    assert symbol not in [one["symbol"] for one in held]


def test_iras_open_with_their_own_agreement(app: Flask) -> None:
    person, basket = investor_to_be(app)

    unsigned = person.open(basket, "roth_ira")
    agree_to(person, "roth_ira")
    roth = person.open(basket, "roth_ira")
    traditional = person.open(basket, "traditional_ira")

    assert unsigned.get_json()["fields"]["agreements"] == ["ira_agreement"]
    assert (roth.status_code, roth.get_json()["kind"]) == (201, "roth_ira")
    assert (traditional.status_code, traditional.get_json()["kind"]) == (201, "traditional_ira")


def test_custodial_accounts_stay_refused(app: Flask) -> None:
    person, basket = investor_to_be(app)

    assert person.open(basket, "custodial").status_code == 422


def test_a_partner_learns_a_name_and_a_date_and_nothing_else(world: World, app: Flask) -> None:
    me, other, basket = paired(world, app)
    account, theirs = (one.open(basket).get_json()["id"] for one in (me, other))
    world.pay_in(account, 100_000)
    world.trade()
    bought = me.get(f"/v1/accounts/{account}/positions").get_json()["items"]
    name = bought[0]
    with world.db.write() as session:
        connection = session.connection()
        # A loss, written as a booking would: all of a name for a tenth of its price.
        sold = connection.exec_driver_sql(
            "SELECT id, nanos, basis_cents FROM lot WHERE account_id = ? AND security_id = ?",
            (account, name["security_id"]),
        ).all()
        for lot in sold:
            _close(session, account, name["security_id"], lot)

    limits = other.get(f"/v1/customers/{other.id}/trading-limits").get_json()["items"]
    shown = [one for one in limits if one["symbol"] == name["symbol"]]

    assert [sorted(one) for one in limits] == [["security_id", "symbol", "until"]] * len(limits)
    assert shown[0]["until"] == "2026-04-02", "30 days after 2 March, and the next"
    told = json.dumps([limits, household(other)])
    assert account not in told
    assert me.id not in told
    assert other.get(f"/v1/accounts/{account}").status_code == 404

    # Both have cash now, and neither may buy the name: what they see of that is the same.
    world.pay_in(account, 100_000, "again")
    world.pay_in(theirs, 100_000)
    world.trade()
    harvest(world, other)
    skips = [left_alone(one, its, name["symbol"]) for one, its in ((me, account), (other, theirs))]
    assert skips[0] == skips[1] == {("skip_trading_limit", SENTENCES[Reason.SKIP_TRADING_LIMIT])}
    noted = [one["note"] for one in other.get(f"/v1/accounts/{theirs}/portfolio").json["holdings"]]
    assert any("your trading limits" in one for one in noted)
    know_risk(world)
    shown = everything_shown(app, other, theirs)
    assert len(shown) > 20
    for path, text in shown.items():
        for secret in (account, me.id, me.email, "skip_wash", "was sold at", "within 30"):
            assert secret not in text, (path, secret)


def left_alone(one: Newcomer, account: str, symbol: str) -> set[tuple[str, str]]:
    """Return why a name was left alone in an account, as its owner sees it."""
    listed = one.get(f"/v1/accounts/{account}/orders?limit=100").get_json()["items"]
    mine = [line for line in listed if line["kind"] == "skip" and line["symbol"] == symbol]
    return {(line["reason"], line["sentence"]) for line in mine}


def everything_shown(app: Flask, one: Newcomer, account: str) -> dict[str, str]:
    """Return what every route that reads shows one person of themselves and of their account."""
    orders = one.get(f"/v1/accounts/{account}/orders?limit=100").get_json()["items"]
    known = {
        "customer_id": one.id,
        "account_id": account,
        "order_id": next(line["id"] for line in orders if line["id"]),
    }
    paths = [f"/v1/accounts/{account}/orders?limit=100", "/v1/accounts"]
    paths += [
        re.sub(r"<(?:[^:>]*:)?([^>]*)>", lambda found: known[found[1]], rule.rule)
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and rule.arguments and rule.arguments <= known.keys()
    ]
    made = one.send("POST", f"/v1/accounts/{account}/choices/previews", {"leave_out": ["AAPL"]})
    assert made.status_code == 200, made.get_json()
    return {path: one.get(path).get_data(as_text=True) for path in paths} | {
        "preview": made.get_data(as_text=True)
    }


def know_risk(world: World) -> None:
    """Keep a risk model, made up, so that there are price tags."""
    today = business_date(world.clock.now())
    with world.db.write() as session:
        listed = sorted(universe.everything(session), key=lambda one: one.id)
        count = len(listed)
        model = Model(
            id="mdl_1",
            on=today,
            fitted_on=today,
            source=world.runtime.prices.name,
            security_ids=np.array([int(one.id) for one in listed], dtype=np.int64),
            exposure=np.full((count, 1), 0.15),
            specific_variance=np.full(count, 0.04),
            index=np.full(count, 1 / count),
            membership="all",
            sectors=tuple(one.sector for one in listed),
        )
        models.keep(session, encoded(model), 1, "")


def harvest(world: World, one: Newcomer) -> None:
    """Let somebody harvest, and plan what their baskets follow now."""
    with world.db.write() as session:
        tax_profiles.choose(session, one.id, Choice(mode="harvest", number=1))
    r = world.runtime
    harvesting.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "household")


def _close(session: object, account: str, security_id: int, lot: object) -> None:
    from robo.store import lots
    from robo.store.chains import append

    lot_id, nanos, basis = lot  # type: ignore[misc] # a row of three
    event = lots.LotEvent(
        child_id("lev", lot_id, "loss"),
        lot_id,
        account,  # type: ignore[arg-type] # an account's id
        security_id,
        "close",
        -nanos,
        -basis,
        basis // 10,
        child_id("fil", lot_id, "loss"),
        "2026-03-02",
    )
    lots.apply_events(session, [event])  # type: ignore[arg-type] # a session
    append(session, bytes(32), [event.link()], 1)  # type: ignore[arg-type] # a session
