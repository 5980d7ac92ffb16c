"""Positions over HTTP: a file, a look, a confirmation, and what strangers get."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from flask import Flask
from newcomer import Newcomer, cheap_app, investor_to_be
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.services import receiving

TEXT = "symbol,shares,basis,acquired,notes\nAAPL,1.5,300.00,2019-05-06,from my aunt\n"
_KEYS = count(1)


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("moves") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


@pytest.fixture
def me(app: Flask) -> tuple[Newcomer, str]:
    person = investor_to_be(app)[0]
    opened = person.open("theme-water").get_json()
    return person, f"/v1/accounts/{opened['id']}/transfers-in"


def send(
    me: Newcomer, path: str, text: str | bytes, *, key: str = "", kind: str = "text/csv"
) -> Any:
    return me.client.post(
        path,
        data=text if isinstance(text, bytes) else text.encode(),
        content_type=kind,
        headers={
            "Authorization": f"Bearer {me.tokens['access_token']}",
            "Idempotency-Key": key or f"move-in-{next(_KEYS):08d}",
        },
    )


def test_a_portfolio_is_sent_seen_confirmed_and_there(
    world: World, me: tuple[Newcomer, str]
) -> None:
    person, path = me
    made = send(person, path, TEXT)
    draft = made.get_json()
    confirmed = person.send("POST", f"{path}/{draft['id']}/confirmation")
    r = world.runtime
    receiving.ask(r.db, r.keyring, r.broker, r.clock)
    there = person.get(f"{path}/{draft['id']}").get_json()
    account = path.removesuffix("/transfers-in")
    portfolio = person.get(f"{account}/portfolio").get_json()
    told = person.get(f"{account}/activity").get_json()["items"]

    assert made.status_code == 201
    assert (draft["state"], draft["lots"], draft["basis"]) == ("draft", 1, "300.00")
    assert draft["positions"][0]["shares"] == "1.5"
    assert (confirmed.status_code, confirmed.get_json()["state"]) == (200, "requested")
    assert (there["state"], there["received_on"]) == ("received", "2026-03-02")
    assert [one["id"] for one in person.get(path).get_json()["items"]] == [draft["id"]]
    assert portfolio["flows"]["moved_in"] == "300.00"
    assert portfolio["total_gain"] == portfolio["unrealised_gain"]
    assert told[0]["sentence"] == "1.5 shares of AAPL came from your account at another firm."


def test_the_same_key_is_one_file_and_another_file_under_it_is_refused(
    me: tuple[Newcomer, str],
) -> None:
    person, path = me

    first = send(person, path, TEXT, key="only-once-0001")
    again = send(person, path, TEXT, key="only-once-0001")
    other = send(person, path, TEXT.replace("1.5", "2"), key="only-once-0001")

    assert first.get_json() == again.get_json()
    assert other.get_json()["code"] == "idempotency_mismatch"
    assert len(person.get(path).get_json()["items"]) == 1


def test_wrong_files_are_refused_with_the_rows_named(me: tuple[Newcomer, str]) -> None:
    person, path = me

    rows = send(person, path, TEXT + "AAPL,x,1.00,2020-01-01,\n")
    unknown = send(person, path, TEXT + "ZZTOP,1,1.00,2020-01-01,\n")
    kind = send(person, path, TEXT, kind="application/json")
    text = send(person, path, b"\xff\xfe")
    large = send(person, path, b"x" * 2_000_000)

    assert (rows.status_code, list(rows.get_json()["fields"])) == (422, ["row_3"])
    assert unknown.get_json()["code"] == "unknown_symbols"
    assert kind.status_code == 415
    assert text.get_json()["code"] == "csv_rows"
    assert large.status_code == 413
    assert person.get(path).get_json()["items"] == []


def test_unknown_symbols_stay_behind_if_that_is_what_one_asks_for(
    me: tuple[Newcomer, str],
) -> None:
    person, path = me

    made = send(person, f"{path}?unlisted=leave_out", TEXT + "ZZTOP,1,1.00,2020-01-01,\n")

    assert made.get_json()["left_out"] == ["ZZTOP"]


def test_a_draft_can_be_dropped_and_what_was_asked_for_cannot(me: tuple[Newcomer, str]) -> None:
    person, path = me
    draft = send(person, path, TEXT).get_json()["id"]

    dropped = person.send("DELETE", f"{path}/{draft}")
    late = person.send("POST", f"{path}/{draft}/confirmation")
    second = send(person, path, TEXT).get_json()["id"]
    person.send("POST", f"{path}/{second}/confirmation")
    kept = person.send("DELETE", f"{path}/{second}")

    assert dropped.status_code == 204
    assert late.get_json()["code"] == kept.get_json()["code"] == "not_a_draft"


def test_what_is_somebody_elses_does_not_exist(app: Flask, me: tuple[Newcomer, str]) -> None:
    person, path = me
    draft = send(person, path, TEXT).get_json()["id"]
    stranger = investor_to_be(app)[0]
    theirs = f"/v1/accounts/{stranger.open('theme-water').get_json()['id']}/transfers-in"

    replies = [
        stranger.get(f"{path}/{draft}"),
        stranger.get(f"{theirs}/{draft}"),
        stranger.send("POST", f"{theirs}/{draft}/confirmation"),
        stranger.send("DELETE", f"{theirs}/{draft}"),
        send(stranger, path, TEXT),
    ]

    assert [one.status_code for one in replies] == [404] * 5
