"""Scores that a firm bought: put to use without a restart, seen by nobody else, trading nothing."""

import json
import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from callers import customer, firm
from flask import Flask
from funds import investor
from world import FIRM, World, make_world

from baskets.catalog import catalog
from baskets.import_cells import Cells
from baskets.imports import import_rows
from baskets.scores import ScoreRow
from baskets.universe import load_universe
from robo.app import create_app
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError
from robo.core.market_calendar import MarketCalendar
from robo.services import importing, licensing, offering, targeting

UNIVERSE = load_universe()
FAITH = "esg-low-carbon"
LEADER = catalog().get(FAITH).constituents[0]
"""The first name of a basket whose rule asks for `score.rule >= 5`."""


def row(**changes: str) -> dict[str, str]:
    return {
        "vendor": "rater",
        "vendor_version": "w9",
        "as_of": "2026-02-27",
        "id_type": "ticker",
        "id": LEADER.symbol,
        "metric": "oil_gas",
        "value_num": "77",
        "unit": "pct_revenue",
        "scale": "percent",
        "basis": "reported",
        "quality": "2",
        **changes,
    }


def rows(*changes: dict[str, str]) -> tuple[ScoreRow, ...]:
    cells = [Cells(number, row(**each)) for number, each in enumerate(changes or ({},), start=2)]
    report = import_rows(cells, UNIVERSE)
    assert report.clean, report.problems
    return report.rows


def opinion(symbol: str, number: str = "8.25", **changes: str) -> dict[str, str]:
    return {
        "id": symbol,
        "metric": "fair_pay",
        "value_num": number,
        "unit": "score",
        "scale": "0..10",
        **changes,
    }


@pytest.fixture
def world(tmp_path: Any, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.runtime)


def activate(world: World, *changes: dict[str, str], firm_id: str = FIRM) -> list[str]:
    made = importing.activate(world.db, world.runtime.keyring, world.clock, firm_id, rows(*changes))
    return [each.id for each in made]


def test_a_running_server_builds_on_them_from_the_next_request(world: World, app: Flask) -> None:
    client = app.test_client()
    before = client.get("/v1/baskets").json

    activate(world)

    after = client.get("/v1/baskets").json
    one = client.get(f"/v1/baskets/{FAITH}").json
    assert after["catalog_version"] != before["catalog_version"] == catalog().version
    assert LEADER.symbol not in [name["symbol"] for name in one["constituents"]]
    assert "rater (version w9, as of 2026-02-27)" in one["score_note"]
    untouched = client.get("/v1/baskets/theme-water").json
    assert untouched["score_note"] == catalog().get("theme-water").data_note


def test_filters_and_notes_of_the_firm_read_them_and_nobody_elses_do(
    world: World, app: Flask
) -> None:
    other = licensing.create_firm(world.db, world.runtime.keyring, world.clock, "Other")
    mine, theirs = (firm(world, app, "baskets:read", firm_id=each) for each in (FIRM, other))
    question = {"filter": "require score.rater.fair_pay >= 8"}

    activate(world, opinion("AAPL"), opinion("MSFT", "3.5"))

    here = mine.post("/v1/screens/check", question).json
    there = theirs.post("/v1/screens/check", question).json
    assert (here["valid"], here["passing"]) == (True, 1)
    assert "rater (version w9, as of 2026-02-27)" in here["score_note"]
    assert there["problem"]["code"] == "screen_field_without_data"
    assert "rater" not in there["score_note"]
    assert theirs.get("/v1/baskets").json["catalog_version"] == catalog().version


def test_a_stranger_learns_the_vendor_but_not_the_figure(world: World, app: Flask) -> None:
    activate(world)
    path, query = f"/v1/baskets/{FAITH}/rejects", {"symbol": LEADER.symbol}
    account = investor(world)

    stranger = app.test_client().get(path, query_string=query).json
    signed_in = customer(world, app, account).get(path, **query).json

    assert any("77 %" in each["reason"] for each in signed_in["items"])
    assert not any("77" in each["reason"] for each in stranger["items"])
    assert any("data of rater" in each["reason"] for each in stranger["items"])


def test_existing_sleeves_keep_their_target_and_nothing_is_traded(world: World, app: Flask) -> None:
    (account,) = world.add_accounts(1, FAITH)
    world.pay_in(account, 100_00)
    world.trade()
    me = customer(world, app, account)
    before = me.get(f"/v1/accounts/{account}/portfolio").json

    activate(world)
    world.trade()

    after = me.get(f"/v1/accounts/{account}/portfolio").json
    assert [(h["symbol"], h["shares"], h["target_ppm"]) for h in after["holdings"]] == [
        (h["symbol"], h["shares"], h["target_ppm"]) for h in before["holdings"]
    ]
    assert after["score_note"] == before["score_note"] == catalog().get(FAITH).data_note
    with world.db.write() as session:
        assert targeting.refresh(session, [account], 1) == 1, "for another reason it follows"
    assert "rater" in me.get(f"/v1/accounts/{account}/portfolio").json["score_note"]


def test_a_basket_that_is_no_longer_offered_leaves_its_sleeves_alone(world: World) -> None:
    (account,) = world.add_accounts(1, FAITH)
    everybody = [{"id": security.symbol} for security in UNIVERSE.securities]
    activate(world, *everybody)

    with world.db.write() as session:
        assert FAITH not in offering.of_firm(session, FIRM).catalog.baskets
        assert targeting.refresh(session, [account], 1) == 0


def test_a_new_date_is_appended_and_the_same_date_with_other_values_is_refused(
    world: World,
) -> None:
    first = activate(world, opinion("AAPL", "8.0"))

    with pytest.raises(ConflictError) as refused:
        activate(world, opinion("AAPL", "9.0"))
    activate(world, opinion("AAPL", "9.0", as_of="2026-03-01"))

    assert refused.value.code == "row_rewrites_history"
    assert activate(world, opinion("AAPL", "8.0")) == first, "the same file is the same delivery"
    assert world.scalar("SELECT count(*) FROM score") == 2
    with world.db.read() as session:
        measure = offering.of_firm(session, FIRM).facts.measures["score.rater.fair_pay"]
    assert [value.central for value in measure.values.values()] == [9_000]


def test_rows_out_of_use_still_bind_the_same_date(world: World) -> None:
    activate(world, opinion("AAPL", "8.0"))
    importing.deactivate(world.db, world.runtime.keyring, world.clock, FIRM, "rater")

    with pytest.raises(ConflictError):
        activate(world, opinion("AAPL", "9.0"))
    with world.db.read() as session:
        assert offering.of_firm(session, FIRM).catalog is catalog()
    with pytest.raises(NotFoundError):
        importing.deactivate(world.db, world.runtime.keyring, world.clock, FIRM, "rater")


def test_rows_that_are_not_in_force_yet_wait_for_their_day(world: World) -> None:
    with pytest.raises(InvalidInputError) as refused:
        activate(world, {"effective_from": "2026-03-03"})

    assert refused.value.code == "not_in_force_yet"
    assert world.scalar("SELECT count(*) FROM score_delivery") == 0


def test_every_kind_of_value_is_read_back_as_it_was_written(world: World) -> None:
    given = rows(
        opinion("AAPL"),
        {"id": "MSFT", "value_num": "", "low": "1", "high": "4.9", "basis": "range"},
        {
            "id": "T",
            "metric": "credit_rating",
            "value_num": "",
            "value_text": "BBB",
            "unit": "rating",
            "scale": "credit",
            "higher_is_better": "yes",
            "effective_from": "2026-02-28",
            "source_ref": "press release",
        },
    )
    importing.activate(world.db, world.runtime.keyring, world.clock, FIRM, given)

    from robo.store import scores

    with world.db.read() as session:
        back = [offering.row_of(*each) for each in scores.newest(session, FIRM)]
    assert sorted(back, key=lambda one: one.key.security_id) == sorted(
        given, key=lambda one: one.key.security_id
    )


def test_the_effect_is_told_before_anything_is_written(world: World) -> None:
    with world.db.read() as session:
        effect = importing.effect(session, FIRM, rows(), date(2026, 3, 2))

    assert FAITH in effect.changed
    assert "theme-water" not in effect.changed
    assert world.scalar("SELECT count(*) FROM score") == 0


def test_no_figure_reaches_a_log_an_event_or_the_audit_trail(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    activate(world, opinion("AAPL", "8.25"))

    with world.db.read() as session:
        trail = [dict(each) for each in licensing.audit_trail(session, FIRM, -1, 50)]
    assert [each["action"] for each in trail][-1] == "scores.activated"
    told = json.dumps([trail, caplog.text], default=str)
    assert "8.25" not in told
    assert "8250" not in told
    assert world.scalar("SELECT count(*) FROM event") == 0


def test_the_database_itself_refuses_to_change_a_row(world: World) -> None:
    activate(world)

    for sql in ("UPDATE score SET low = 0", "DELETE FROM score"):
        with pytest.raises(Exception, match="append-only"), world.db.write() as session:
            session.connection().exec_driver_sql(sql)
