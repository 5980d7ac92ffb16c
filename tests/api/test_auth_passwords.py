"""Passwords: length and a list of the common ones, nothing else; change and reset end sessions."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from newcomer import Mailbox, Newcomer, cheap_app, mails_to, newcomer, token_in
from sqlalchemy import event
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.services.securing import Hasher, check_password, common_passwords

NEW = "seven quiet herons"


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("passwords") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


def sign_up(app: Flask, password: str, email: str = "") -> tuple[int, dict[str, list[str]]]:
    reply = Newcomer(app, email=email, password=password).sign_up()
    return reply.status_code, reply.get_json().get("fields", {})


def test_the_costs_are_those_that_owasp_asks_for() -> None:
    hashed = Hasher().hash("plum tree in the wind")

    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    "password",
    [
        "plum tree in the wind",
        "ALLUPPERCASELETTERSHERE",
        "onlysmalllettersandmore",
        "93715042876135904",
        "Gänseblümchen am Wegesrand",
        "密码可以是任何语言写的一句话",
        " ".join(str(n * n) for n in range(50)),
        " leading and trailing ",
    ],
)
def test_any_kind_of_characters_will_do_if_there_are_fifteen(app: Flask, password: str) -> None:
    if len(password) < 15:
        password += " 就这样"

    assert sign_up(app, password) == (201, {})


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "fourteen chars",
        "passwordpassword",
        "PasswordPassword123",
        "1234567890123456",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "abcdefghijklmnopq",
        "thequickbrownfox",
        "qwertyuiopasdfghjkl",
        "correct horse battery staple",
        "password1234567",
        "qwertyuiopasdfgh",
        "robo-advisor2026",
        "roboadvisorrobo1",
        "x" * 300,
    ],
)
def test_too_short_too_long_and_common_ones_are_refused(app: Flask, password: str) -> None:
    status, fields = sign_up(app, password)

    assert status == 422
    assert list(fields) == ["password"]


def test_a_password_made_of_the_e_mail_is_refused(app: Flask) -> None:
    status, fields = sign_up(app, "magdalena.winter1990", email="magdalena.winter@example.com")

    assert (status, list(fields)) == (422, ["password"])


def test_the_list_of_common_passwords_is_long_and_matters_at_fifteen_characters() -> None:
    found = common_passwords()

    assert len(found) >= 3_000
    assert sum(len(password) >= 15 for password in found) >= 3_000
    assert all(password == password.casefold() for password in found)


def test_eight_characters_are_enough_beside_a_second_factor() -> None:
    policy = Policy.default()

    check_password("kj4vx9qm", policy, second_factor=True, email="a@example.com")

    with pytest.raises(Exception, match="15 characters"):
        check_password("kj4vx9qm", policy, second_factor=False, email="a@example.com")


@pytest.mark.parametrize(
    "email",
    [
        "no-at-sign",
        "@example.com",
        "two@@example.com",
        "a@b",
        "a@-b.example",
        "a b@example.com",
        "a@exa mple.com",
        ".a@example.com",
        "a..b@example.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 64 + ".com",
        "a@example.com\n",
        "ä@example.com",
    ],
)
def test_what_no_mail_could_reach_is_no_address(app: Flask, email: str) -> None:
    reply = Newcomer(app, email=email).sign_up()

    assert reply.status_code == 422


def test_signing_up_twice_looks_the_same_and_the_owner_alone_is_told(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    mails_to(world, person.email)
    stranger = Newcomer(app, email=person.email.upper(), password=NEW)
    fresh = Newcomer(app, password=NEW)

    taken, free = stranger.sign_up(), fresh.sign_up()

    assert taken.status_code == free.status_code == 201
    assert taken.get_data() == free.get_data()
    assert stranger.log_in().status_code == 401
    assert person.log_in().status_code == 201
    assert [m.subject for m in mails_to(world, person.email)] == ["You already have an account"]


def test_changing_the_password_ends_every_other_session_and_tells_the_owner(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    other = person.tokens["access_token"]
    person.log_in()
    body = {"password": person.password, "new_password": NEW}

    wrong = person.send("PUT", "/v1/password", {**body, "password": "not the one I have"})
    weak = person.send("PUT", "/v1/password", {**body, "new_password": "passwordpassword"})
    right = person.send("PUT", "/v1/password", body)

    assert (wrong.status_code, weak.status_code, right.status_code) == (401, 422, 200)
    assert person.get("/v1/sessions").status_code == 200
    assert person.send("GET", "/v1/sessions", token=other).status_code == 401
    assert person.log_in().status_code == 401
    person.password = NEW
    assert person.log_in().status_code == 201
    assert "Your password was changed" in [m.subject for m in mails_to(world, person.email)]


def ask_reset(person: Newcomer) -> int:
    reply = person.send("POST", "/v1/password-resets", {"email": person.email}, token="-")
    return reply.status_code


def use_reset(person: Newcomer, token: str, password: str = NEW, **more: str) -> tuple[int, str]:
    body = {"token": token, "new_password": password, **more}
    reply = person.send("POST", "/v1/password-resets/use", body, token="-")
    return reply.status_code, reply.get_json().get("code", "")


def reset_token(world: World, person: Newcomer) -> str:
    return next(token_in(mail) for mail in mails_to(world, person.email) if "Reset" in mail.subject)


def test_a_mailed_link_resets_the_password_once_and_ends_all_sessions(
    world: World, app: Flask
) -> None:
    person = newcomer(app)

    assert ask_reset(person) == 202
    token = reset_token(world, person)

    assert use_reset(person, token, "passwordpassword") == (422, "bad_password")
    assert use_reset(person, token) == (200, "")
    assert use_reset(person, token) == (401, "bad_token")
    assert person.get("/v1/sessions").status_code == 401
    person.password = NEW
    assert person.log_in().status_code == 201


def test_a_reset_link_lives_half_an_hour_whoever_asks_for_another(world: World, app: Flask) -> None:
    person = newcomer(app)
    ask_reset(person)
    expiring = reset_token(world, person)
    world.clock.advance(timedelta(minutes=30))
    ask_reset(person)
    mine = reset_token(world, person)
    stranger = Newcomer(app, email=person.email)
    ask_reset(stranger)
    newer = reset_token(world, person)

    assert use_reset(person, expiring) == (401, "bad_token")
    assert use_reset(person, mine) == (200, "")
    assert use_reset(person, newer) == (401, "bad_token")


def test_a_stranger_who_asks_again_and_again_does_not_stop_the_owner(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    stranger = Newcomer(app, email=person.email)
    for _ in range(6):
        ask_reset(stranger)
    mails_to(world, person.email)

    assert ask_reset(person) == 202

    assert use_reset(person, reset_token(world, person)) == (200, "")


def test_a_strangers_reset_writes_as_many_rows_and_seals_as_much(world: World, app: Flask) -> None:
    person, nobody = newcomer(app), Newcomer(app)
    written: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT"):
            written.append(statement.split()[2])

    event.listen(world.db.engine, "before_cursor_execute", note)
    try:
        ask_reset(person)
        known = len(written)
        ask_reset(nobody)
    finally:
        event.remove(world.db.engine, "before_cursor_execute", note)

    assert known == len(written) - known


def test_asking_for_a_strangers_reset_gets_the_same_answer_and_sends_nothing(
    world: World, app: Flask
) -> None:
    mails_to(world, "nobody@example.com")
    person = newcomer(app)
    Mailbox().collect(world)
    nobody = Newcomer(app, email="nobody@example.com")

    body = {"email": person.email}
    known = person.send("POST", "/v1/password-resets", body, token="-")
    unknown = nobody.send("POST", "/v1/password-resets", {"email": nobody.email}, token="-")

    assert known.status_code == unknown.status_code == 202
    assert known.get_data() == unknown.get_data()
    assert [mail.to for mail in Mailbox().collect(world)] == [person.email]


def test_nobody_can_flood_a_mailbox_with_resets(world: World, app: Flask) -> None:
    world.clock.advance(timedelta(hours=1))
    person = newcomer(app)
    Mailbox().collect(world)

    assert {ask_reset(person) for _ in range(6)} == {202}

    assert len(mails_to(world, person.email)) == 3


def test_a_mailed_link_proves_the_e_mail_and_a_second_opening_changes_nothing(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    token = token_in(mails_to(world, person.email)[0])

    def prove() -> int:
        body = {"token": token}
        return person.send("POST", "/v1/email-verifications/use", body, token="-").status_code

    before = person.get(f"/v1/customers/{person.id}").get_json()
    assert (prove(), prove()) == (200, 200)
    after = person.get(f"/v1/customers/{person.id}").get_json()

    assert (before["email_verified"], after["email_verified"]) == (False, True)
    assert "email" in before["next_steps"]
    assert "email" in after["done"]


def test_another_proof_can_be_asked_for_and_the_old_link_ends(world: World, app: Flask) -> None:
    person = newcomer(app)
    old = token_in(mails_to(world, person.email)[0])

    assert person.send("POST", "/v1/email-verifications").status_code == 202
    new = token_in(mails_to(world, person.email)[0])

    path = "/v1/email-verifications/use"
    assert person.send("POST", path, {"token": old}, token="-").status_code == 401
    assert person.send("POST", path, {"token": new}, token="-").status_code == 200
