"""From sign-up to an open account over HTTP: in order, resumable, and with every refusal."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from callers import firm
from flask import Flask
from newcomer import ANSWERS, PROFILE, cheap_app, investor_to_be, newcomer
from world import World, make_world

from baskets.catalog import catalog
from robo.core.market_calendar import MarketCalendar
from robo.services import licensing
from robo.store.transfers import Deposit, Link, add_deposits, add_link


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("enrolling") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def events_of(world: World, customer_id: str) -> list[str]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT kind FROM event WHERE customer_id = ? ORDER BY seq", (customer_id,)
        )
        return [row[0] for row in rows]


def test_the_whole_way_takes_six_writing_calls_to_an_open_account(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)

    opened = person.open(basket_id)
    shown = person.get(f"/v1/customers/{person.id}").get_json()

    assert opened.status_code == 201
    assert opened.get_json()["basket_id"] == basket_id
    assert opened.get_json()["identity_state"] == "accepted"
    assert shown["done"] == [
        "sign_up",
        "form_crs",
        "profile",
        "answers",
        "suitability",
        "agreements",
        "account",
        "identity",
    ]
    assert shown["next_steps"] == ["bank_link", "email"]
    assert events_of(world, person.id)[-2:] == ["identity.accepted", "account.opened"]
    weights = world.scalar(
        "SELECT sum(w.weight_ppm) FROM target_weight w JOIN sleeve s ON s.target_id = w.target_id "
        f"WHERE s.account_id = '{opened.get_json()['id']}'"
    )
    assert weights == 1_000_000
    assert not world.findings()


def test_no_step_can_be_skipped(app: Flask) -> None:
    person = newcomer(app)
    missing: list[list[str]] = []

    def note(reply: Any) -> None:
        assert reply.status_code == 409
        assert reply.get_json()["code"] == "step_missing"
        missing.append(reply.get_json()["reasons"])

    note(person.send("PUT", f"/v1/customers/{person.id}/profile", PROFILE))
    note(person.answer())
    note(person.open("theme-water"))
    person.put_profile()
    note(person.open("theme-water"))
    person.answer()
    note(person.open("theme-water"))

    assert missing == [
        ["form_crs"],
        ["form_crs", "profile"],
        ["form_crs", "profile", "answers", "suitability", "agreements"],
        ["answers", "suitability", "agreements"],
        ["agreements"],
    ]


def test_everything_wrong_with_a_profile_is_said_at_once_and_nothing_is_repeated(
    app: Flask,
) -> None:
    person = newcomer(app)
    wrong = {
        "birth_date": "2031-01-01",
        "phone": "12",
        "tax_id": {"kind": "ssn", "number": "12-3"},
        "residency": "visa",
    }

    reply = person.put_profile(**wrong)

    assert reply.status_code == 422
    assert set(reply.get_json()["fields"]) == {
        "birth_date",
        "phone",
        "tax_id.number",
        "residency",
    }
    assert "2031" not in reply.get_data(as_text=True)
    assert "12-3" not in reply.get_data(as_text=True)


def test_a_profile_is_shown_without_tax_id_and_birth_date_and_sealed_apart(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    person.put_profile()

    shown = person.get(f"/v1/customers/{person.id}/profile")
    fields = world.db.engine.connect().exec_driver_sql(
        "SELECT field FROM personal WHERE customer_id = ? ORDER BY field", (person.id,)
    )

    assert shown.get_json()["name"]["family"] == PROFILE["name"]["family"]
    assert shown.get_json()["has_tax_id"] is True
    assert "8726" not in shown.get_data(as_text=True)
    assert PROFILE["birth_date"] not in shown.get_data(as_text=True)
    assert [row[0] for row in fields] == ["birth_date", "email", "profile", "tax_id"]
    files = [p for p in world.runtime.settings.state_path.rglob("*") if p.is_file()]
    raw = b"".join(path.read_bytes() for path in files)
    for secret in ("536228726", "536-22-8726", "2001-03-14", "Okafor", person.email):
        assert secret.encode() not in raw


def test_a_superseded_profile_is_kept_sealed(world: World, app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()

    person.put_profile(phone="+1 916 555 0199")
    person.put_profile(phone="+1 916 555 0199")

    kept = f"SELECT count(*) FROM personal_history WHERE customer_id = '{person.id}'"
    assert world.scalar(kept) == 1


@pytest.mark.parametrize(
    ("born", "state", "act"),
    [("2010-01-01", "CA", "custodial_utma"), ("2007-06-01", "AL", "custodial_utma")],
)
def test_a_minor_is_refused_with_the_custodial_rule(
    app: Flask, born: str, state: str, act: str
) -> None:
    person = newcomer(app)

    reply = person.put_profile(birth_date=born, address={**PROFILE["address"], "state": state})

    problem = reply.get_json()
    assert (reply.status_code, problem["code"]) == (422, "minor")
    assert act in problem["reasons"]
    assert "custodian" in problem["detail"]


def test_answers_that_do_not_fit_come_back_as_questions_and_can_be_confirmed(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()
    odd = {"values": [], "values_importance": "decisive"}

    asked = person.answer(**odd)
    code = asked.get_json()["contradictions"][0]["code"]
    confirmable = asked.get_json()["contradictions"][0]["confirmable"]
    settled = person.answer([code] if confirmable else [], **({} if not confirmable else odd))

    assert (asked.status_code, asked.get_json()["decision"]) == (201, "clarify")
    assert asked.get_json()["reasons"] == [code]
    assert asked.get_json()["contradictions"][0]["question"].endswith("?")
    assert asked.get_json()["recommendation"]["baskets"] == []
    assert settled.get_json()["decision"] == "proceed"


def test_not_yet_says_why_and_keeps_the_account_shut(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()
    person.agree()

    outcome = person.answer(emergency_fund_months=0).get_json()
    refused = person.open("theme-water")

    assert outcome["decision"] == "not_yet"
    assert "no_emergency_fund" in outcome["reasons"]
    assert outcome["stops"][0]["sentence"]
    assert refused.get_json()["reasons"] == ["suitability"]


def test_wrong_answers_are_listed_by_question(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()
    answers = {**ANSWERS, "goal": "to the moon", "horizon_years": 20.5, "shoe_size": 43}
    answers.pop("gamble")

    path = f"/v1/customers/{person.id}/answers"
    reply = person.send("POST", path, {"answers": answers})

    assert reply.status_code == 422
    assert set(reply.get_json()["fields"]) == {
        "answers.goal",
        "answers.horizon_years",
        "answers.shoe_size",
        "answers.gamble",
    }


def test_every_point_of_the_score_is_explained(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()

    first = person.answer().get_json()
    again = person.get(f"/v1/customers/{person.id}/answers").get_json()

    assert sum(point["points"] for point in first["score"]["points"]) == first["score"]["score"]
    assert again == first
    best = first["recommendation"]["baskets"][0]
    assert sum(reason["points"] for reason in best["reasons"]) == best["points"]


def test_a_recommendation_says_on_whose_scores_it_rests(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()

    made = person.answer().get_json()["recommendation"]["baskets"]

    assert made
    for each in made:
        assert each["score_note"] == catalog().get(each["basket_id"]).data_note
        assert "source RULE" in each["score_note"] or "kept by hand" in each["score_note"]


def test_the_employer_in_the_basket_is_replaced_with_the_reason(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    with world.db.read() as session:
        from robo.store import universe

        names = universe.by_symbol(session, ["AAPL", "MSFT", "NVDA", "JNJ"])
    job = {**PROFILE["employment"], "employer_name": names["AAPL"].name}

    assert person.put_profile(employment=job).status_code == 200
    page = person.get(f"/v1/customers/{person.id}/restrictions").get_json()
    opened = person.open(basket_id).get_json()

    apple = int(names["AAPL"].id)
    assert [(r["security_id"], r["source"], r["verb"]) for r in page["items"]] == [
        (apple, "employer", "never_trade")
    ]
    held = world.scalar(
        "SELECT count(*) FROM target_weight w JOIN sleeve s ON s.target_id = w.target_id "
        f"WHERE s.account_id = '{opened['id']}' AND w.security_id = {apple}"
    )
    assert held == 0
    explained = person.get(f"/v1/baskets/{basket_id}/explain?customer_id={person.id}").get_json()
    for one in explained["replaced"]:
        assert page["items"][0]["reason"].rstrip(".") in one["reason"]


def test_own_restrictions_come_go_and_reach_open_accounts_at_once(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    account = person.open(basket_id).get_json()["id"]
    where = f"FROM sleeve s JOIN target_weight w ON w.target_id = s.target_id JOIN security y \
ON y.id = w.security_id WHERE s.account_id = '{account}'"
    with world.db.read() as session:
        symbol = session.connection().exec_driver_sql(f"SELECT y.symbol {where}").scalar()
    path = f"/v1/customers/{person.id}/restrictions"

    def held() -> int:
        return world.scalar(f"SELECT count(*) {where} AND y.symbol = '{symbol}'")

    before = held()
    added = person.send("POST", path, {"symbol": symbol, "verb": "never_own"})
    during = held()
    chosen = person.send(
        "PUT", f"{path}/{added.get_json()['security_id']}/held", {"choice": "sell"}
    )
    removed = person.send("DELETE", f"{path}/{added.get_json()['security_id']}")

    assert (before, during, held()) == (1, 0, 1)
    assert (added.status_code, added.get_json()["source"]) == (201, "own")
    assert chosen.get_json()["held_choice"] == "sell"
    assert removed.status_code == 204
    gone = person.send("DELETE", f"{path}/{added.get_json()['security_id']}")
    assert gone.get_json()["code"] == "no_such_restriction"
    unknown = person.send("POST", path, {"symbol": "ZZZZZ", "verb": "never_buy"})
    assert unknown.get_json()["code"] == "no_such_security"


def test_restrictions_are_paged_in_order(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()
    person.answer(countries_excluded=["IE"], industries_excluded=["energy"])
    path = f"/v1/customers/{person.id}/restrictions"

    everything: list[int] = []
    after = ""
    while True:
        page = person.get(f"{path}?limit=7{after}").get_json()
        everything += [one["security_id"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"

    assert len(everything) > 7
    assert everything == sorted(everything)


def test_only_individual_accounts_and_suitable_baskets_open(app: Flask) -> None:
    person, basket_id = investor_to_be(app)

    joint = person.open(basket_id, "joint").get_json()
    unknown = person.open("no-such-basket").get_json()
    careful = person.answer(
        self_described_risk="low", drop_reaction="sell_some", acceptable_loss_percent=10
    ).get_json()
    unsuitable = person.open("theme-biotech").get_json()

    assert joint["code"] == "kind_not_offered"
    assert unknown["code"] == "no_such_basket"
    assert (careful["decision"], careful["score"]["band"]) == ("proceed", "balanced")
    assert (unsuitable["code"], unsuitable["reasons"]) == ("unsuitable", ["basket_risk"])


def test_a_rejected_identity_is_kept_and_opens_nothing(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    printed_in_wallets = {"kind": "ssn", "number": "078-05-1120"}
    person.put_profile(tax_id=printed_in_wallets)

    refused = person.open(basket_id)
    again = person.open(basket_id)
    shown = person.get(f"/v1/customers/{person.id}").get_json()
    person.put_profile()
    corrected = person.open(basket_id)
    path = f"/v1/customers/{person.id}/identity"
    firm(world, app, "admin:*").send("PUT", path, {"decision": "accept"})
    opened = person.open(basket_id)

    assert (refused.status_code, refused.get_json()["code"]) == (422, "identity_rejected")
    assert corrected.get_json()["code"] == "identity_rejected"
    assert refused.get_json()["reasons"] == ["tax_id_void"]
    assert again.get_json()["code"] == "identity_rejected"
    assert (shown["identity_state"], shown["identity_codes"]) == ("rejected", ["tax_id_void"])
    assert opened.status_code == 201
    assert "identity.rejected" in events_of(world, person.id)


def test_a_review_waits_for_an_operator(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    ties = {**PROFILE["affiliations"], "politically_exposed": True}
    person.put_profile(affiliations=ties)
    operator = firm(world, app, "admin:*")

    opened = person.open(basket_id).get_json()
    path = f"/v1/customers/{person.id}/identity"
    own = person.send("PUT", path, {"decision": "accept"})
    settled = operator.send("PUT", path, {"decision": "accept"})
    twice = operator.send("PUT", path, {"decision": "accept"})

    assert (opened["state"], opened["identity_state"]) == ("open", "review")
    assert own.status_code == 403
    assert settled.get_json()["identity_state"] == "accepted"
    assert twice.get_json()["code"] == "identity_not_in_review"
    with world.db.read() as session:
        trail = licensing.audit_trail(session, "firm_house", 0, 1000)
    assert [(row["action"], row["subject"]) for row in trail][-1] == (
        "identity.accepted",
        person.id,
    )
    assert not world.findings()


def test_an_edit_never_undoes_a_rejection_or_a_review(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    operator = firm(world, app, "admin:*")
    path = f"/v1/customers/{person.id}/identity"

    ties = {"broker_dealer": True, "broker_dealer_name": "A Broker LLC"}

    def state() -> tuple[str, list[str]]:
        shown = person.get(f"/v1/customers/{person.id}").get_json()
        return shown["identity_state"], shown["identity_codes"]

    person.put_profile(affiliations={**PROFILE["affiliations"], "politically_exposed": True})
    person.open(basket_id)
    person.put_profile()
    waiting = state()
    person.put_profile(affiliations={**PROFILE["affiliations"], **ties})
    more = state()
    operator.send("PUT", path, {"decision": "reject"})
    person.put_profile()
    rejected = state()

    assert waiting == ("review", ["politically_exposed"])
    assert more == ("review", ["politically_exposed", "member_affiliation"])
    assert rejected == ("rejected", ["politically_exposed", "member_affiliation"])
    assert events_of(world, person.id).count("identity.accepted") == 0


def test_an_edit_of_an_accepted_profile_can_bring_it_back_to_review(app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    person.open(basket_id)

    person.put_profile(affiliations={**PROFILE["affiliations"], "politically_exposed": True})
    shown = person.get(f"/v1/customers/{person.id}").get_json()

    assert (shown["identity_state"], shown["next_steps"]) == (
        "review",
        ["identity", "bank_link", "email"],
    )


def test_a_firm_adds_and_serves_its_own_customers_and_sees_nobody_elses(
    world: World, app: Flask
) -> None:
    r = world.runtime
    one = licensing.create_firm(world.db, r.keyring, r.clock, "Blue Brokerage")
    other = licensing.create_firm(world.db, r.keyring, r.clock, "Red Brokerage")
    blue = firm(world, app, *licensing.FIRM_SCOPES, firm_id=one)
    red = firm(world, app, *licensing.FIRM_SCOPES, firm_id=other)
    house = newcomer(app)

    made = blue.post("/v1/customers", {"external_ref": "B-1"}, key="blue-key-1")
    again = blue.post("/v1/customers", {"external_ref": "B-1"}, key="blue-key-1")
    taken = blue.post("/v1/customers", {"external_ref": "B-1"}, key="blue-key-2")
    same = red.post("/v1/customers", {"external_ref": "B-1"}, key="blue-key-1")
    customer_id = made.get_json()["customer_id"]
    blue.get(f"/v1/customers/{customer_id}/agreements/form_crs")
    profile = blue.send("PUT", f"/v1/customers/{customer_id}/profile", PROFILE)
    listed = blue.get("/v1/customers").get_json()["items"]

    assert (made.status_code, profile.status_code) == (201, 200)
    assert again.get_data() == made.get_data()
    assert taken.get_json()["code"] == "external_ref_taken"
    assert same.get_json()["customer_id"] != customer_id
    assert [one["id"] for one in listed] == [customer_id]
    for path in (f"/v1/customers/{customer_id}", f"/v1/customers/{house.id}"):
        assert red.get(path).status_code == 404
    assert blue.get(f"/v1/customers/{house.id}").status_code == 404
    assert house.get(f"/v1/customers/{customer_id}").status_code == 404


def test_a_firms_customers_are_paged(world: World, app: Flask) -> None:
    r = world.runtime
    firm_id = licensing.create_firm(world.db, r.keyring, r.clock, "Green Brokerage")
    green = firm(world, app, "customers:read", "customers:write", firm_id=firm_id)
    ids = {
        green.post("/v1/customers", {"external_ref": f"G-{n}"}).get_json()["customer_id"]
        for n in range(5)
    }

    first = green.get("/v1/customers", limit=3).get_json()
    second = green.get("/v1/customers", limit=3, after=first["next"]).get_json()
    bad = green.get("/v1/customers", after="bm90IGEgY3Vyc29y")

    assert {one["id"] for one in first["items"] + second["items"]} == ids
    assert (len(first["items"]), second["next"]) == (3, None)
    assert (bad.status_code, bad.get_json()["code"]) == (422, "bad_cursor")


def test_the_questionnaire_is_public_and_complete(app: Flask) -> None:
    reply = app.test_client().get("/v1/questionnaire").get_json()

    assert set(ANSWERS) <= {question["id"] for question in reply["questions"]}
    assert len(reply["version_hash"]) == 64


def test_a_birthday_between_answers_and_reading_changes_nothing(world: World, app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()
    first = person.answer().get_json()

    world.clock.advance(timedelta(days=80))
    person.log_in()
    later = person.get(f"/v1/customers/{person.id}/answers").get_json()

    assert json.dumps(later) == json.dumps(first)


def test_a_debt_of_a_closed_account_lets_no_other_open_until_it_is_brought_back(
    world: World, app: Flask
) -> None:
    person, basket_id = investor_to_be(app)
    first = person.open(basket_id).get_json()["id"]
    with world.db.write() as session:
        add_link(session, Link("lnk_debt", person.id, "token", "Bank", "6789", "active", 1))
        owed = Deposit("dep_debt", first, "lnk_debt", None, 100_00, 1, state="returned")
        add_deposits(session, [replace(owed, owed_cents=14_64, returned_at=2)])
        session.connection().exec_driver_sql(
            "UPDATE account SET state = 'closed' WHERE id = ?", (first,)
        )

    refused = person.open(basket_id, key="key-of-the-second-try")
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE deposit SET owed_cents = 0")
    opened = person.open(basket_id, key="key-of-the-third-try")

    assert (refused.status_code, refused.get_json()["code"]) == (422, "deposit_owed")
    assert opened.status_code == 201
