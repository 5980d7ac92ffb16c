"""Documents: Form CRS first, each step chained with sealed evidence; consent proved by opening."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from newcomer import Newcomer, cheap_app, mails_to, newcomer, token_in
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.services.sealing import Vault


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("documents") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def kinds(world: World, person: Newcomer, agreement_id: str) -> list[str]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT kind FROM acceptance WHERE customer_id = ? AND agreement_id = ? ORDER BY seq",
            (person.id, agreement_id),
        )
        return [row[0] for row in rows]


def delivery(person: Newcomer) -> str:
    return str(person.get(f"/v1/customers/{person.id}").get_json()["delivery"])


def consenting(world: World, app: Flask) -> tuple[Newcomer, str]:
    """Return somebody who asked for electronic delivery, and the path in the mailed document."""
    person = newcomer(app)
    mails_to(world, person.email)
    person.get(f"/v1/customers/{person.id}/agreements/form_crs")
    assert person.accept("e_delivery").status_code == 201
    (mail,) = mails_to(world, person.email)
    return person, f"/v1/documents/{token_in(mail)}"


def test_form_crs_comes_first_and_anybody_may_read_it(app: Flask) -> None:
    client = app.test_client()

    listed = client.get("/v1/agreements").get_json()["items"]
    text = client.get("/v1/agreements/form_crs").get_json()

    assert listed[0]["id"] == "form_crs"
    assert text["text"].startswith("# Client Relationship Summary")


def test_getting_a_text_notes_its_delivery_once(world: World, app: Flask) -> None:
    person = newcomer(app)
    path = f"/v1/customers/{person.id}/agreements/form_crs"

    texts = {person.get(path).get_data() for _ in range(3)}

    assert len(texts) == 1
    assert kinds(world, person, "form_crs") == ["delivered"]
    assert person.documents()["form_crs"]["state"] == "delivered"


def test_evidence_says_from_where_and_with_what_and_is_sealed(world: World, app: Flask) -> None:
    person = newcomer(app)
    person.get(f"/v1/customers/{person.id}/agreements/form_crs")

    with world.db.read() as session:
        row_id, sealed = (
            session.connection()
            .exec_driver_sql(
                "SELECT acceptance_id, sealed FROM evidence WHERE customer_id = ?", (person.id,)
            )
            .one()
        )
        vault = Vault.open(session, world.runtime.keyring, person.id)

    evidence = vault.unseal_json(sealed, f"evidence:{row_id}:sealed")
    assert isinstance(evidence, dict)
    assert evidence.pop("user_agent").startswith("Werkzeug/")
    assert evidence == {
        "address": person.address,
        "actor": person.id,
        "at": "2026-03-02T15:00:00.000000Z",
    }
    files = [p for p in world.runtime.settings.state_path.rglob("*") if p.is_file()]
    assert not any(person.address.encode() in path.read_bytes() for path in files)


def test_several_are_accepted_at_once_in_any_order_sent(world: World, app: Flask) -> None:
    person = newcomer(app)
    person.get(f"/v1/customers/{person.id}/agreements/form_crs")

    reply = person.accept("account_agreement", "risk_disclosure", "advisory_agreement")
    again = person.accept("account_agreement")

    states = {one["id"]: one["state"] for one in reply.get_json()["items"]}
    assert states["account_agreement"] == states["advisory_agreement"] == "accepted"
    assert again.status_code == 201
    assert kinds(world, person, "account_agreement") == ["accepted"]


def test_order_version_and_text_are_checked(app: Flask) -> None:
    person = newcomer(app)
    known = person.documents()["advisory_agreement"]

    def accept(**changes: object) -> tuple[int, str, list[str]]:
        one = {
            "agreement_id": known["id"],
            "version": known["version"],
            "sha256": known["sha256"],
            **changes,
        }
        path = f"/v1/customers/{person.id}/acceptances"
        reply = person.send("POST", path, {"acceptances": [one]})
        return reply.status_code, reply.get_json()["code"], reply.get_json().get("reasons", [])

    assert accept() == (409, "step_missing", ["form_crs"])
    assert accept(version=9)[:2] == (409, "agreement_version_changed")
    assert accept(sha256="0" * 64)[:2] == (409, "agreement_text_changed")
    assert accept(agreement_id="nothing")[:2] == (404, "agreement_unknown")


def test_paper_is_the_default_and_nobody_must_consent(app: Flask) -> None:
    person = newcomer(app)
    person.put_profile()
    person.agree()

    assert delivery(person) == "paper"
    assert person.documents()["e_delivery"]["required"] is False
    assert "agreements" in person.get(f"/v1/customers/{person.id}").get_json()["done"]


def test_consent_counts_once_the_mailed_document_was_opened(world: World, app: Flask) -> None:
    person, path = consenting(world, app)

    before = delivery(person)
    opened = app.test_client().get(path)
    app.test_client().get(path)

    assert (before, delivery(person)) == ("pending", "electronic")
    assert opened.content_type == "text/plain; charset=utf-8"
    assert opened.get_data(as_text=True).startswith("# ")
    assert person.documents()["e_delivery"]["state"] == "demonstrated"
    assert kinds(world, person, "e_delivery") == ["accepted", "demonstrated"]


def test_consent_can_be_withdrawn_and_given_again(world: World, app: Flask) -> None:
    person, path = consenting(world, app)
    app.test_client().get(path)
    end = f"/v1/customers/{person.id}/electronic-delivery"

    withdrawn = person.send("DELETE", end)
    twice = person.send("DELETE", end)
    person.accept("e_delivery")
    (mail,) = mails_to(world, person.email)
    waiting = delivery(person)
    app.test_client().get(f"/v1/documents/{token_in(mail)}")

    assert (withdrawn.get_json()["delivery"], twice.status_code) == ("paper", 200)
    assert (waiting, delivery(person)) == ("pending", "electronic")
    assert kinds(world, person, "e_delivery") == [
        "accepted",
        "demonstrated",
        "withdrawn",
        "accepted",
        "demonstrated",
    ]
    assert not world.findings()


def test_a_link_opened_after_the_withdrawal_demonstrates_nothing(world: World, app: Flask) -> None:
    person, path = consenting(world, app)

    person.send("DELETE", f"/v1/customers/{person.id}/electronic-delivery")
    opened = app.test_client().get(path)

    assert opened.status_code == 200
    assert delivery(person) == "paper"
    assert "demonstrated" not in kinds(world, person, "e_delivery")


def test_there_is_nothing_to_withdraw_on_paper(app: Flask) -> None:
    person = newcomer(app)

    reply = person.send("DELETE", f"/v1/customers/{person.id}/electronic-delivery")

    assert (reply.status_code, reply.get_json()["code"]) == (409, "consent_not_requested")


def test_links_expire_and_cannot_be_guessed(world: World, app: Flask) -> None:
    _, path = consenting(world, app)
    client = app.test_client()

    guessed = client.get("/v1/documents/ra_mt_" + "A" * 43)
    world.clock.advance(timedelta(days=30))

    assert guessed.status_code == 401
    assert client.get(path).status_code == 401


def test_asking_for_the_headers_of_a_mailed_document_demonstrates_nothing(
    world: World, app: Flask
) -> None:
    person, path = consenting(world, app)

    headers = app.test_client().head(path)
    before = delivery(person)
    opened = app.test_client().get(path)

    assert (headers.status_code, before) == (200, "pending")
    assert (opened.status_code, delivery(person)) == (200, "electronic")


def test_a_document_whose_mail_was_lost_or_expired_can_be_had_again(
    world: World, app: Flask
) -> None:
    person, old = consenting(world, app)
    world.clock.advance(timedelta(days=60))
    person.log_in()

    again = person.accept("e_delivery")
    (mail,) = mails_to(world, person.email)
    fresh = app.test_client().get(f"/v1/documents/{token_in(mail)}")

    assert app.test_client().get(old).status_code == 401
    assert (again.status_code, fresh.status_code) == (201, 200)
    assert delivery(person) == "electronic"
    assert kinds(world, person, "e_delivery") == ["accepted", "demonstrated"]


def test_nobody_is_flooded_with_documents(world: World, app: Flask) -> None:
    person, _ = consenting(world, app)

    statuses = [person.accept("e_delivery").status_code for _ in range(6)]

    assert statuses == [201] * 4 + [429] * 2
