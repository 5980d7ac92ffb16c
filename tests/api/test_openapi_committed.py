"""The committed description is the one the code serves: clients are generated from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from newcomer import cheap_app
from world import World, make_world

from robo.api.openapi import openapi_json
from robo.core.market_calendar import MarketCalendar

COMMITTED = Path(__file__).parents[2] / "openapi.json"


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("openapi") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def test_the_committed_description_is_what_the_code_says(app: Flask) -> None:
    wanted = openapi_json(app)

    assert COMMITTED.read_text("utf-8") == wanted, "run: robo openapi > openapi.json"


def test_it_is_the_same_every_time_it_is_made(world: World, app: Flask) -> None:
    assert openapi_json(app) == openapi_json(cheap_app(world))


def test_every_write_but_sessions_and_tokens_documents_its_key(app: Flask) -> None:
    spec = app.test_client().get("/openapi.json").get_json()
    without = {
        f"{method} {path}"
        for path, item in spec["paths"].items()
        for method, operation in item.items()
        if method in {"post", "put", "patch", "delete"}
        and "Idempotency-Key" not in {p["name"] for p in operation.get("parameters", [])}
    }

    assert without == {
        "post /v1/sessions",
        "delete /v1/sessions",
        "delete /v1/sessions/{session_id}",
        "post /v1/tokens",
        "post /v1/step-up",
        # These ask a question and write nothing.
        "post /v1/screens/check",
        "post /v1/accounts/{account_id}/choices/previews",
    }


def test_every_operation_says_what_it_does_and_how_it_fails(app: Flask) -> None:
    spec = app.test_client().get("/openapi.json").get_json()

    for path, item in spec["paths"].items():
        for method, operation in item.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                assert operation["summary"], (method, path)
                assert "default" in operation["responses"], (method, path)
                assert operation["tags"], (method, path)
