"""Baskets over HTTP: everything is explained, risk is labelled, restrictions replace names."""

from collections.abc import Iterator

import pytest
from callers import customer, id_of_customer
from flask import Flask
from funds import investor
from world import World, make_world

from baskets.catalog import catalog
from robo.app import create_app
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.store.database import insert_many


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, calendar: MarketCalendar) -> Iterator[World]:
    from datetime import date

    recent = MarketCalendar(
        tuple(day for day in calendar.sessions if day >= date(2025, 1, 1)), calendar.half_days
    )
    with make_world(tmp_path_factory.mktemp("api") / "state", recent) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return create_app(world.runtime)


def restrict(world: World, owner: str, security_id: int) -> None:
    with world.db.write() as session:
        insert_many(
            session,
            "restriction",
            (
                "id",
                "customer_id",
                "security_id",
                "verb",
                "source",
                "reason",
                "held_choice",
                "created_at",
            ),
            [
                (
                    child_id("rst", owner, security_id),
                    owner,
                    security_id,
                    "never_buy",
                    "employer",
                    "works there",
                    "none",
                    1,
                )
            ],
        )


def test_everybody_may_look_at_the_baskets_and_their_labelled_risk(app: Flask) -> None:
    reply = app.test_client().get("/v1/baskets").json

    assert len(reply["items"]) == len(catalog().baskets) >= 24
    assert reply["catalog_version"] == catalog().version
    for item in reply["items"]:
        risk = item["risk"]
        assert len(item["symbols"]) == 10
        assert 50_000 < risk["volatility_ppm"] < 600_000
        assert 10_000 < risk["tracking_error_ppm"] < 400_000
        assert risk["target_error_ppm"] == 0
        assert risk["source"].startswith("SIM")
        assert risk["simulated"] is True
        assert (risk["as_of"], risk["sessions"]) == ("2026-02-27", 250)
        assert item["score_note"]


def test_a_basket_shows_names_weights_understudies_and_who_is_not_in(app: Flask) -> None:
    client = app.test_client()

    basket = client.get("/v1/baskets/esg-fossil-free").json
    oil = client.get("/v1/baskets/esg-fossil-free/rejects", query_string={"symbol": "XOM"}).json

    assert sum(row["weight_ppm"] for row in basket["constituents"]) == 1_000_000
    assert len(basket["constituents"]) == 10
    assert len(basket["understudies"]) == 5
    assert all(row["sentence"] and row["source"] for row in basket["constituents"])
    assert sum(row["count"] for row in basket["reject_counts"]) == len(
        catalog().get("esg-fossil-free").rejects
    )
    assert basket["screen"]
    assert [row["symbol"] for row in oil["items"]] == ["XOM"] * len(oil["items"])
    assert oil["items"][0]["reason"]


def test_rejects_are_paged_to_the_end(app: Flask) -> None:
    client = app.test_client()
    found, after = 0, None
    while True:
        query = {"limit": 100} | ({"after": after} if after else {})
        page = client.get("/v1/baskets/theme-water/rejects", query_string=query).json
        found += len(page["items"])
        after = page["next"]
        if after is None:
            break

    assert found == len(catalog().get("theme-water").rejects)


def test_a_restriction_replaces_the_name_and_says_so(world: World, app: Flask) -> None:
    account = investor(world)
    me, owner = customer(world, app, account), id_of_customer(world, account)
    basket = catalog().get("esg-knowledge")
    employer = basket.constituents[0]
    restrict(world, owner, employer.security_id)

    reply = me.get("/v1/baskets/esg-knowledge/explain", customer_id=owner).json

    (replaced,) = reply["replaced"]
    symbols = [row["symbol"] for row in reply["basket"]["constituents"]]
    assert replaced["symbol"] == employer.symbol
    assert replaced["stand_in"] in symbols
    assert employer.symbol not in symbols
    assert employer.symbol in replaced["reason"]
    assert reply["basket"]["risk"]["target_error_ppm"] > 0


def test_nobody_sees_how_a_basket_looks_for_somebody_else(world: World, app: Flask) -> None:
    me = customer(world, app, investor(world))
    stranger = id_of_customer(world, investor(world))

    reply = me.get("/v1/baskets/esg-knowledge/explain", customer_id=stranger)
    anonymous = app.test_client().get(f"/v1/baskets/esg-knowledge/explain?customer_id={stranger}")

    assert (reply.status_code, anonymous.status_code) == (404, 401)


@pytest.mark.parametrize("name", ["nope", "../etc", "a" * 80, "a" * 81, "theme-water\u0000"])
def test_a_basket_that_is_not_on_offer_is_not_found(app: Flask, name: str) -> None:
    reply = app.test_client().get(f"/v1/baskets/{name}")

    assert reply.status_code == 404


def test_a_filter_is_checked_against_the_universe(world: World, app: Flask) -> None:
    me = customer(world, app, investor(world))

    fine = me.post("/v1/screens/check", {"filter": "exclude sector = energy"}).json
    empty = me.post("/v1/screens/check", {"filter": ""}).json

    assert (fine["valid"], fine["problem"], fine["statements"]) == (True, None, 1)
    assert fine["passing"] + fine["rejected"] + fine["asking"] == empty["passing"]
    assert fine["rejected"] > 20
    assert all("energy" in sample["reason"] for sample in fine["samples"])


def test_every_answer_built_on_the_default_scores_says_so(world: World, app: Flask) -> None:
    account = investor(world)
    me, owner = customer(world, app, account), id_of_customer(world, account)
    note = catalog().get("esg-low-carbon").data_note

    whole = me.get("/v1/baskets/esg-low-carbon").json
    rejects = me.get("/v1/baskets/esg-low-carbon/rejects").json
    mine = me.get("/v1/baskets/esg-low-carbon/explain", customer_id=owner).json
    checks = [
        me.post("/v1/screens/check", {"filter": text}).json["score_note"]
        for text in ("require score.rule >= 4", "exclude tobacco.any >= 5%", "require nonsense")
    ]

    assert "source RULE" in note
    assert {whole["score_note"], rejects["score_note"], mine["basket"]["score_note"]} == {note}
    assert all("source RULE" in each and "not on any vendor's" in each for each in checks)
    assert ["not a rating by any vendor" in each for each in checks] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("exclude sectr = energy", "screen_unknown_field", 9),
        ("exclude sector = ", "screen_syntax", 18),
        ("include everything", "screen_syntax", 1),
        ("require credit_rating >= BBB", "screen_field_without_data", 9),
    ],
)
def test_a_wrong_filter_points_at_the_place(
    world: World, app: Flask, text: str, code: str, column: int
) -> None:
    me = customer(world, app, investor(world))

    reply = me.post("/v1/screens/check", {"filter": text})

    problem = reply.json["problem"]
    assert (reply.status_code, reply.json["valid"]) == (200, False)
    assert (problem["code"], problem["line"], problem["column"]) == (code, 1, column)
