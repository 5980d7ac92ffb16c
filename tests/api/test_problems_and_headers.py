"""Errors are problems with stable codes and nothing personal; every reply carries its headers."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from newcomer import cheap_app, newcomer
from world import World, make_world

from robo.app import create_app
from robo.core.market_calendar import MarketCalendar


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("problems") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"email": NaN}', "application/json", 400, "malformed_json"),
        (b'{"email": "a", "email": "b"}', "application/json", 422, "json_duplicate_key"),
        (b'{"email": 1e400}', "application/json", 422, "json_number"),
        (b'{"email": 1' + b"0" * 30 + b"}", "application/json", 422, "json_number"),
        (b'{"email": "a\\u0000@example.com"}', "application/json", 422, "bad_text"),
        (b'{"email": "\\udfff"}', "application/json", 422, "bad_text"),
        (b"[" * 5000, "application/json", 422, "json_too_deep"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b"null", "application/json", 422, "validation_failed"),
        (b'"text"', "application/json", 422, "validation_failed"),
        (b"{}", "application/json", 422, "validation_failed"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"", "", 415, "unsupported_media_type"),
        (b'{"email": "' + b"x" * 70_000 + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_bodies_that_will_not_do_have_their_own_codes(
    app: Flask, body: bytes, content_type: str, status: int, code: str
) -> None:
    reply = app.test_client().post("/v1/sessions", data=body, content_type=content_type)

    assert (reply.status_code, reply.get_json()["code"]) == (status, code)
    assert reply.content_type == "application/problem+json"
    assert reply.get_json()["type"] == f"/problems/{code}"
    assert reply.get_json()["status"] == status
    assert reply.get_json()["request_id"] == reply.headers["Request-Id"]


def test_a_body_of_unknown_length_is_refused_not_cut(app: Flask) -> None:
    body = b'{"email": "a@example.com"}' + b" " * 70_000 + b"and this is no JSON"
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    reply = app.test_client().post(
        "/v1/sessions",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides=environ,
    )

    assert (reply.status_code, reply.get_json()["code"]) == (411, "length_required")


def test_a_guesser_shuts_out_nobody_who_shares_the_address(world: World) -> None:
    crowded = cheap_app(world)
    person = newcomer(crowded)
    guess = f"ra_at_{'x' * 43}"

    guesses = [person.send("GET", "/v1/sessions", token=guess).status_code for _ in range(301)]

    assert (guesses[0], guesses[-1]) == (401, 429)
    assert person.get("/v1/sessions").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "PUT", "TRACE"])
def test_other_methods_are_a_problem_that_says_which_there_are(app: Flask, method: str) -> None:
    reply = app.test_client().open("/v1/sessions", method=method)

    assert (reply.status_code, reply.get_json()["code"]) == (405, "method_not_allowed")
    assert "POST" in reply.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v1/customers/../../etc/passwd", "/v1/customers/cus_x", "/static/../app.py"],
)
def test_what_is_not_there_is_not_found(app: Flask, path: str) -> None:
    reply = app.test_client().get(path)

    assert (reply.status_code, reply.get_json()["code"]) == (404, "not_found")


def test_unknown_and_repeated_query_fields_are_refused(app: Flask) -> None:
    person = newcomer(app)

    unknown = person.get("/v1/sessions?limti=3")
    twice = person.get("/v1/sessions?limit=3&limit=4")
    large = person.get("/v1/sessions?limit=101")

    assert list(unknown.get_json()["fields"]) == ["limti"]
    assert list(twice.get_json()["fields"]) == ["limit"]
    assert large.status_code == 422


def test_a_thousand_unknown_fields_do_not_make_a_thousand_messages(app: Flask) -> None:
    body = {f"field{n}": "<script>" for n in range(1000)}

    reply = app.test_client().post("/v1/sessions", json=body)

    assert reply.status_code == 422
    assert len(reply.get_json()["fields"]) <= 50
    assert "<script>" not in reply.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/", "/docs", "/confirm", "/v1/questionnaire", "/nothing"])
def test_every_reply_has_its_security_headers(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers or "Python" not in headers["Server"]
    assert "Strict-Transport-Security" not in headers


def test_over_tls_the_browser_is_told_to_stay_there(app: Flask) -> None:
    headers = app.test_client().get("/", base_url="https://localhost").headers

    assert "max-age=63072000" in headers["Strict-Transport-Security"]


def test_what_concerns_a_customer_is_stored_nowhere_on_the_way(app: Flask) -> None:
    person = newcomer(app)

    assert person.get("/v1/sessions").headers["Cache-Control"] == "no-store"
    assert person.log_in().headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("page", ["index.html", "docs.html", "confirm.html"])
def test_pages_hold_no_inline_code_and_load_nothing_from_elsewhere(app: Flask, page: str) -> None:
    assert app.static_folder is not None
    text = (Path(app.static_folder) / page).read_text()

    assert "<style" not in text
    assert "style=" not in text
    assert "onclick" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert all("src=" in line for line in text.splitlines() if "<script" in line)


def test_the_caller_is_limited_per_credential(world: World) -> None:
    settings = replace(world.runtime.settings, requests_per_minute=5)
    app = create_app(replace(world.runtime, settings=settings))
    client = app.test_client()

    replies = [client.get("/v1/questionnaire") for _ in range(7)]
    other = client.get("/v1/questionnaire", environ_base={"REMOTE_ADDR": "10.9.9.9"})

    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 2
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 61
    assert replies[-1].get_json()["code"] == "rate_limited"
    assert other.status_code == 200


def test_addresses_are_believed_from_as_many_proxies_as_there_are(world: World) -> None:
    settings = replace(world.runtime.settings, proxy_hops=1, requests_per_minute=2)
    app = create_app(replace(world.runtime, settings=settings))
    client = app.test_client()

    def ask(forwarded: str) -> int:
        return client.get("/health/live", headers={"X-Forwarded-For": forwarded}).status_code

    assert [ask("198.51.100.1") for _ in range(3)] == [200, 200, 429]
    assert ask("6.6.6.6, 198.51.100.1") == 429
    assert ask("198.51.100.1, 198.51.100.2") == 200


def test_liveness_and_readiness(app: Flask) -> None:
    client = app.test_client()

    assert client.get("/health/live").get_json() == {"status": "ok"}
    assert client.get("/health/ready").get_json() == {"status": "ok"}


def test_the_description_is_openapi_with_keys_scopes_and_problems(app: Flask) -> None:
    spec = app.test_client().get("/openapi.json").get_json()

    create = spec["paths"]["/v1/accounts"]["post"]
    assert spec["openapi"] == "3.1.0"
    assert create["operationId"] == "open_account"
    assert create["security"] == [{"bearer": ["accounts:write"]}]
    assert [p["name"] for p in create["parameters"]] == ["Idempotency-Key"]
    names = [
        one["operationId"]
        for item in spec["paths"].values()
        for method, one in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    assert len(names) == len(set(names))
    default = spec["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert list(default) == ["application/problem+json"]
    assert "parameters" not in spec["paths"]["/v1/sessions"]["post"]
