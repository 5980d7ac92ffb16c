"""The second factor: enrolled by showing a code, asked at login, never bypassed by a reset."""

from collections.abc import Iterator
from datetime import timedelta

import pyotp
import pytest
from flask import Flask
from newcomer import Newcomer, cheap_app, mails_to, newcomer, token_in
from sqlmodel import Session
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.store import logins

NEW = "seven quiet herons"


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("factor") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def code(world: World, secret: str) -> str:
    """Return the code of the next half minute: the present one may be used already."""
    world.clock.advance(timedelta(seconds=30))
    return pyotp.TOTP(secret).at(world.clock.now())


def enrolled(world: World, app: Flask) -> tuple[Newcomer, str, list[str]]:
    person = newcomer(app)
    secret = person.send("POST", "/v1/second-factor").get_json()["secret"]
    body = {"code": code(world, secret)}
    reply = person.send("POST", "/v1/second-factor/confirm", body)
    assert reply.status_code == 201
    return person, secret, reply.get_json()["recovery_codes"]


def test_it_counts_only_once_a_code_was_shown(world: World, app: Flask) -> None:
    person = newcomer(app)

    begun = person.send("POST", "/v1/second-factor").get_json()
    still = person.log_in().status_code
    wrong = person.send("POST", "/v1/second-factor/confirm", {"code": "000000"})
    right = person.send("POST", "/v1/second-factor/confirm", {"code": code(world, begun["secret"])})

    assert begun["uri"].startswith("otpauth://totp/")
    assert (still, wrong.status_code, right.status_code) == (201, 422, 201)
    assert len(set(right.get_json()["recovery_codes"])) == 10
    assert person.log_in().status_code == 401
    assert "Two-step login is on" in [m.subject for m in mails_to(world, person.email)]


def test_a_login_needs_the_code_and_says_so_only_after_the_password(
    world: World, app: Flask
) -> None:
    person, secret, _ = enrolled(world, app)

    without = person.log_in().get_json()
    wrong = person.log_in(code="000000").get_json()
    stranger = Newcomer(app, email=person.email, password="not the password").log_in().get_json()
    right = person.log_in(code=code(world, secret))

    assert without["code"] == wrong["code"] == "second_factor_required"
    assert stranger["code"] == "bad_credentials"
    assert right.status_code == 201


def test_a_code_works_once(world: World, app: Flask) -> None:
    person, secret, _ = enrolled(world, app)
    shown = code(world, secret)

    assert person.log_in(code=shown).status_code == 201
    assert person.log_in(code=shown).status_code == 401


def test_a_code_of_a_minute_ago_is_too_old(world: World, app: Flask) -> None:
    person, secret, _ = enrolled(world, app)
    shown = code(world, secret)

    world.clock.advance(timedelta(seconds=61))

    assert person.log_in(code=shown).status_code == 401


def test_a_recovery_code_stands_in_once_however_it_is_typed(world: World, app: Flask) -> None:
    person, _, codes = enrolled(world, app)
    mails_to(world, person.email)
    typed = codes[3].upper().replace("-", " ")

    assert person.log_in(recovery_code=typed).status_code == 201
    assert person.log_in(recovery_code=typed).status_code == 401
    assert person.log_in(recovery_code=codes[4]).status_code == 201
    texts = [mail.text for mail in mails_to(world, person.email)]
    assert any("9 are left" in text for text in texts)


def test_codes_of_somebody_else_do_not_work(world: World, app: Flask) -> None:
    person, _, _ = enrolled(world, app)
    _, secret, codes = enrolled(world, app)

    assert person.log_in(recovery_code=codes[0]).status_code == 401
    assert person.log_in(code=code(world, secret)).status_code == 401


def test_a_reset_does_not_bypass_it(world: World, app: Flask) -> None:
    person, secret, _ = enrolled(world, app)
    person.send("POST", "/v1/password-resets", {"email": person.email}, token="-")
    token = next(
        token_in(mail) for mail in mails_to(world, person.email) if "Reset" in mail.subject
    )
    body = {"token": token, "new_password": NEW}

    def use(**more: str) -> tuple[int, str]:
        reply = person.send("POST", "/v1/password-resets/use", {**body, **more}, token="-")
        return reply.status_code, reply.get_json().get("code", "")

    assert use() == (401, "second_factor_required")
    assert use(code="000000") == (401, "second_factor_required")
    assert use(code=code(world, secret)) == (200, "")
    person.password = NEW
    assert person.log_in().get_json()["code"] == "second_factor_required"


def test_wrong_codes_pause_the_login_wherever_they_are_tried(world: World, app: Flask) -> None:
    person, secret, codes = enrolled(world, app)
    person.send("POST", "/v1/password-resets", {"email": person.email}, token="-")
    token = next(
        token_in(mail) for mail in mails_to(world, person.email) if "Reset" in mail.subject
    )
    step_up = {"password": person.password, "code": "000000"}
    reset = {"token": token, "new_password": NEW, "code": "000000"}
    with world.db.write() as session:
        logins_nearly_paused(session, person.id)

    person.send("POST", "/v1/step-up", step_up)
    person.send("POST", "/v1/password-resets/use", reset, token="-")
    shown = code(world, secret)
    paused = person.send("POST", "/v1/step-up", {"password": person.password, "code": shown})
    by_mail = person.send("POST", "/v1/password-resets/use", {**reset, "code": shown}, token="-")
    saved = {"token": token, "new_password": NEW, "recovery_code": codes[0]}
    recovered = person.send("POST", "/v1/password-resets/use", saved, token="-")

    assert paused.get_json()["code"] == "bad_credentials"
    assert by_mail.get_json()["code"] == "second_factor_required"
    assert recovered.status_code == 200
    person.password = NEW
    assert person.log_in(code=code(world, secret)).status_code == 201


def logins_nearly_paused(session: Session, customer_id: str) -> None:
    """Pretend that 98 failures went before."""
    for _ in range(98):
        logins.count_failure(session, customer_id)


def test_a_good_proof_forgets_earlier_failures(world: World, app: Flask) -> None:
    person = newcomer(app)
    with world.db.write() as session:
        logins_nearly_paused(session, person.id)

    person.send("POST", "/v1/step-up", {"password": person.password})

    count = f"SELECT failures FROM credential WHERE customer_id = '{person.id}'"
    assert world.scalar(count) == 0


def test_showing_the_password_again_asks_for_the_code_too(world: World, app: Flask) -> None:
    person, secret, _ = enrolled(world, app)
    body = {"password": person.password}

    without = person.send("POST", "/v1/step-up", body)
    both = person.send("POST", "/v1/step-up", {**body, "code": code(world, secret)})

    assert (without.status_code, both.status_code) == (401, 201)


def test_a_short_password_is_fine_beside_it_and_keeps_it_from_being_removed(
    world: World, app: Flask
) -> None:
    person, secret, _ = enrolled(world, app)
    body = {"password": person.password, "new_password": "kj4vx9qm"}
    changed = person.send("PUT", "/v1/password", {**body, "code": code(world, secret)})
    short = {"password": "kj4vx9qm", "code": code(world, secret)}

    refused = person.send("POST", "/v1/second-factor/remove", short)
    back = {"password": "kj4vx9qm", "new_password": NEW, "code": code(world, secret)}
    person.send("PUT", "/v1/password", back)
    long = {"password": NEW, "code": code(world, secret)}
    removed = person.send("POST", "/v1/second-factor/remove", long)

    assert changed.status_code == 200
    assert (refused.status_code, refused.get_json()["code"]) == (409, "password_too_short_alone")
    assert removed.status_code == 204
    person.password = NEW
    assert person.log_in().status_code == 201
    assert "Two-step login is off" in [m.subject for m in mails_to(world, person.email)]


def test_it_cannot_be_enrolled_twice(world: World, app: Flask) -> None:
    person, _, _ = enrolled(world, app)

    again = person.send("POST", "/v1/second-factor")

    assert (again.status_code, again.get_json()["code"]) == (409, "second_factor_enrolled")


def test_the_secret_is_sealed_in_the_database(world: World, app: Flask) -> None:
    _, secret, codes = enrolled(world, app)

    files = [p for p in world.runtime.settings.state_path.rglob("*") if p.is_file()]
    raw = b"".join(path.read_bytes() for path in files)

    assert secret.encode() not in raw
    assert not any(one.encode() in raw for one in codes)
