"""Idempotency-Key: one effect, one answer, byte for byte; kept apart by caller, sealed at rest."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from callers import firm
from flask import Flask
from newcomer import Newcomer, cheap_app, investor_to_be, newcomer
from sqlalchemy import event
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.services import licensing
from robo.store.database import Database, connect
from robo.store.keylocks import KeyLocks

KEY = "the-same-key-1"


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("keys") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def test_the_first_reply_is_replayed_byte_for_byte(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)

    first = person.open(basket_id, key=KEY)
    world.clock.advance(timedelta(minutes=1))
    again = person.open(basket_id, key=KEY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_data() == again.get_data()
    assert first.content_type == again.content_type
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    owned = f"SELECT count(*) FROM account WHERE customer_id = '{person.id}'"
    assert world.scalar(owned) == 1


def test_a_refusal_is_replayed_too(app: Flask) -> None:
    person = newcomer(app)

    first = person.open("theme-water", key=KEY)
    again = person.open("theme-water", key=KEY)

    assert first.status_code == 409
    assert first.get_data() == again.get_data()
    assert again.content_type == "application/problem+json"


@pytest.mark.parametrize("change", ["body", "path", "method"])
def test_another_request_under_the_same_key_is_a_conflict(app: Flask, change: str) -> None:
    person, basket_id = investor_to_be(app)
    person.open(basket_id, key=KEY)

    if change == "body":
        reply = person.open("theme-water", key=KEY)
    elif change == "path":
        reply = person.send("POST", "/v1/email-verifications", key=KEY)
    else:
        path = f"/v1/customers/{person.id}/electronic-delivery"
        reply = person.send("DELETE", path, key=KEY)

    assert (reply.status_code, reply.get_json()["code"]) == (409, "idempotency_mismatch")


def test_keys_of_different_callers_never_meet(world: World, app: Flask) -> None:
    one, two = newcomer(app), newcomer(app)
    blue = firm(world, app, "customers:write")

    for person in (one, two):
        person.get(f"/v1/customers/{person.id}/agreements/form_crs")
        reply = person.send("DELETE", f"/v1/customers/{person.id}/electronic-delivery", key=KEY)
        assert reply.get_json()["code"] == "consent_not_requested"
    made = blue.post("/v1/customers", {"external_ref": "K-1"}, key=KEY)
    assert made.status_code == 201


def test_before_login_a_key_is_scoped_to_the_e_mail(app: Flask) -> None:
    one, two = Newcomer(app), Newcomer(app)

    def sign_up(person: Newcomer, password: str) -> int:
        body = {"email": person.email, "password": password}
        reply = person.send("POST", "/v1/customers", body, token="-", key=KEY)
        return reply.status_code

    assert sign_up(one, one.password) == 201
    assert sign_up(two, two.password) == 201
    assert sign_up(one, one.password) == 201
    assert sign_up(one, "another password here") == 409
    assert one.log_in().status_code == two.log_in().status_code == 201


@pytest.mark.parametrize("key", ["", "short", "x" * 129, "with space in it", "ключ-ключ-ключ"])
def test_every_write_needs_a_key_of_visible_ascii(app: Flask, key: str) -> None:
    person = newcomer(app)
    headers = {
        "Authorization": f"Bearer {person.tokens['access_token']}",
        "Idempotency-Key": key.encode().decode("latin-1"),
    }

    reply = app.test_client().post("/v1/email-verifications", headers=headers)

    assert (reply.status_code, reply.get_json()["code"]) == (422, "idempotency_key")


def test_replies_are_forgotten_after_a_day(world: World, app: Flask) -> None:
    person = newcomer(app)
    person.open("theme-water", key=KEY)

    world.clock.advance(timedelta(hours=24))
    person.log_in()
    later = person.open("theme-water", key=KEY)

    assert "Idempotent-Replayed" not in later.headers


def test_what_a_step_up_may_mend_is_not_stored(world: World, app: Flask) -> None:
    person = newcomer(app)
    world.clock.advance(timedelta(minutes=11))

    refused = person.send("POST", "/v1/second-factor", key=KEY)
    person.tokens = person.send("POST", "/v1/step-up", {"password": person.password}).get_json()
    allowed = person.send("POST", "/v1/second-factor", key=KEY)

    assert (refused.status_code, allowed.status_code) == (403, 201)


def test_stored_replies_are_sealed(world: World, app: Flask) -> None:
    person = newcomer(app)
    secret = person.send("POST", "/v1/second-factor", key=KEY).get_json()["secret"]

    files = [p for p in world.runtime.settings.state_path.rglob("*") if p.is_file()]
    raw = b"".join(path.read_bytes() for path in files)

    assert secret.encode() not in raw
    assert KEY.encode() not in raw


def test_no_stored_column_is_a_plain_hash_of_a_body(world: World, app: Flask) -> None:
    person = Newcomer(app)
    body = json.dumps({"email": person.email, "password": person.password})
    headers = {"Idempotency-Key": "plain-hash-key"}
    app.test_client().post(
        "/v1/customers", data=body, headers=headers, content_type="application/json"
    )
    plain = hashlib.sha256(body.encode())
    dressed = hashlib.sha256(b"POST\x00/v1/customers\x00\x00" + body.encode())

    files = [p for p in world.runtime.settings.state_path.rglob("*") if p.is_file()]
    raw = b"".join(path.read_bytes() for path in files)

    assert world.scalar("SELECT count(*) FROM idempotency") > 0
    for made in (plain, dressed):
        assert made.digest() not in raw
        assert made.hexdigest().encode() not in raw


def test_secrets_shown_once_are_not_replayed(world: World, app: Flask) -> None:
    person = newcomer(app)
    stored = "SELECT count(*) FROM idempotency"
    before = world.scalar(stored)

    first = person.send("POST", "/v1/second-factor", key=KEY)
    world.clock.advance(timedelta(minutes=11))
    stale = person.send("POST", "/v1/second-factor", key=KEY)
    person.tokens = person.send("POST", "/v1/step-up", {"password": person.password}).get_json()
    again = person.send("POST", "/v1/second-factor", key=KEY)

    assert (first.status_code, stale.status_code, again.status_code) == (201, 403, 201)
    assert first.get_json()["secret"] != again.get_json()["secret"]
    assert world.scalar(stored) == before


def test_a_failure_of_ours_is_not_stored_and_the_retry_succeeds(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO sleeve"):
            message = "the disk is on fire"
            raise RuntimeError(message)

    event.listen(world.db.engine, "before_cursor_execute", fail)
    try:
        broken = person.open(basket_id, key=KEY)
    finally:
        event.remove(world.db.engine, "before_cursor_execute", fail)
    mended = person.open(basket_id, key=KEY)

    assert broken.status_code == 500
    assert "fire" not in broken.get_data(as_text=True)
    assert mended.status_code == 201


def test_a_crash_between_effect_and_reply_makes_nothing_twice(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    first = person.open(basket_id, key=KEY).get_json()

    with world.db.write() as session:
        session.connection().exec_driver_sql("DELETE FROM idempotency")
    again = person.open(basket_id, key=KEY).get_json()

    assert again == first
    owned = f"SELECT count(*) FROM account WHERE customer_id = '{person.id}'"
    assert world.scalar(owned) == 1


def test_of_many_at_once_one_works_and_the_others_wait_or_replay(world: World, app: Flask) -> None:
    person, basket_id = investor_to_be(app)
    start = threading.Barrier(8)
    replies: list[tuple[int, bytes]] = []

    def ask() -> None:
        start.wait()
        for _ in range(6_000):  # a minute at least
            reply = person.open(basket_id, key=KEY)
            if reply.status_code != 409:
                replies.append((reply.status_code, reply.get_data()))
                return
            assert reply.get_json()["code"] == "in_progress"
            assert reply.headers["Retry-After"] == "1"
            time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(replies) == 8
    assert len(set(replies)) == 1
    owned = f"SELECT count(*) FROM account WHERE customer_id = '{person.id}'"
    assert world.scalar(owned) == 1


def test_a_lock_dies_with_the_process_that_holds_it(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path / 'x.db'}")
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        with KeyLocks(db, tmp_path).hold(b"a key of sixteen") as got:
            os.write(go, b"1" if got else b"0")
            time.sleep(60)
        os._exit(0)
    assert os.read(ready, 1) == b"1"
    locks = KeyLocks(db, tmp_path)

    with locks.hold(b"a key of sixteen") as during, locks.hold(b"another sixteen!") as other:
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locks.hold(b"a key of sixteen") as after, locks.hold(b"a key of sixteen") as inner:
        pass

    assert (during, other, after, inner) == (False, True, True, False)


def test_locks_hold_on_both_databases(any_database: Database, tmp_path: Path) -> None:
    one, two = KeyLocks(any_database, tmp_path), KeyLocks(any_database, tmp_path / "elsewhere")

    with one.hold(b"a key of sixteen") as first, one.hold(b"a key of sixteen") as second:
        pass
    with one.hold(b"a key of sixteen") as third:
        if not any_database.is_sqlite:
            with two.hold(b"a key of sixteen") as elsewhere:
                assert not elsewhere

    assert (first, second, third) == (True, False, True)


def test_an_api_key_and_the_firm_share_one_scope(world: World, app: Flask) -> None:
    r = world.runtime
    firm_id = licensing.create_firm(world.db, r.keyring, r.clock, "Two Keys Inc")
    one = firm(world, app, "customers:write", firm_id=firm_id)
    two = firm(world, app, "customers:write", firm_id=firm_id)

    first = one.post("/v1/customers", {"external_ref": "T-1"}, key=KEY)
    rotated = two.post("/v1/customers", {"external_ref": "T-1"}, key=KEY)

    assert first.get_data() == rotated.get_data()
