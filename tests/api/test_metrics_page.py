"""Metrics: for the machine itself and operators, true for what waits, silent about people."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import firm
from flask import Flask
from newcomer import cheap_app
from prometheus_client.parser import text_string_to_metric_families
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.store import jobs
from robo.store.jobs import Lease


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.fixture
def app(world: World) -> Flask:
    return cheap_app(world)


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_waits_is_counted_from_the_database(world: World, app: Flask) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 100_00)
    world.trade()
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE block SET state = 'unknown'")
        for slot, state in (("2026-02-27", "done"), ("2026-03-02", "failed")):
            lease = Lease("me", 1_772_000_000_000_000 + (state == "failed"), 0, 0)
            jobs.claim(session, "mark-day", slot, lease)
            jobs.finish(session, "mark-day", slot, lease, state)

    found = samples(app.test_client().get("/metrics").text)

    assert found["robo_waiting", "unknown", "block"] == 10
    assert found["robo_waiting", "planned", "orders"] == 0
    assert found["robo_job_failing", "mark-day"] == 1
    assert found["robo_job_age_seconds", "mark-day"] > 0
    assert found["robo_anchor_number",] == 0


def test_requests_are_counted_by_route_and_never_by_path(app: Flask) -> None:
    client = app.test_client()
    before = samples(client.get("/metrics").text)
    route = ("GET", "/v1/accounts/<id:account_id>", "401")
    for number in range(3):
        client.get(f"/v1/accounts/acc_{number:030x}")
    client.get("/nothing/here")

    found = samples(client.get("/metrics").text)

    name = "robo_http_requests_total"
    assert found[name, *route] - before.get((name, *route), 0) == 3
    assert (name, "GET", "unmatched", "404") in found
    assert not [key for key in found if any("acc_" in part for part in key)]


@pytest.mark.parametrize(
    ("headers", "address", "status"),
    [
        ({}, "127.0.0.1", 200),
        ({}, "::1", 200),
        ({}, "10.1.2.3", 403),
        ({"X-Forwarded-For": "203.0.113.9"}, "127.0.0.1", 403),
        ({"Forwarded": "for=203.0.113.9"}, "127.0.0.1", 403),
        ({"Authorization": "Bearer wrong"}, "127.0.0.1", 401),
    ],
)
def test_metrics_are_for_the_machine_itself(
    app: Flask, headers: dict[str, str], address: str, status: int
) -> None:
    reply = app.test_client().get(
        "/metrics", headers=headers, environ_base={"REMOTE_ADDR": address}
    )

    assert reply.status_code == status


def test_an_operators_key_opens_them_and_a_firms_does_not(world: World, app: Flask) -> None:
    elsewhere = {"REMOTE_ADDR": "10.1.2.3"}
    operator, other = firm(world, app, "admin:*"), firm(world, app, "accounts:read")

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        client = app.test_client()
        return client.get("/metrics", headers=headers, environ_base=elsewhere).status_code

    assert status(operator.token) == 200
    assert status(other.token) == 403
