"""What enrolling stands on: mail that is sent once, customers who can be forgotten, firms, keys."""

import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from newcomer import Mailbox, cheap_app, newcomer
from world import World, make_world

from robo.core.clock import to_micros
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError, RateLimitedError
from robo.core.market_calendar import MarketCalendar
from robo.ports.mail import Mail
from robo.services import licensing, mailing, shredding
from robo.services.sealing import Vault
from robo.services.throttling import Gate, attempt
from robo.store import tokens


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("support") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


class BrokenMailer:
    """A mailer whose server is away."""

    def __init__(self) -> None:
        self.tried = 0

    def send(self, mail: Mail) -> None:
        del mail
        self.tried += 1
        message = "no route to host"
        raise OSError(message)


def notify(world: World, customer_id: str, cause: str) -> bool:
    r = world.runtime
    return mailing.notify(r.db, r.keyring, r.clock, customer_id, "password_changed", cause)


def deliver(world: World, mailer: object) -> int:
    r = world.runtime
    return mailing.deliver(r.db, r.keyring, mailer, r.clock)  # type: ignore[arg-type] # a stub


def test_the_same_cause_sends_one_mail_and_its_words_are_forgotten(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    box = Mailbox()
    deliver(world, box)
    box.mails.clear()

    queued = [notify(world, person.id, "one"), notify(world, person.id, "one")]
    sent = [deliver(world, box), deliver(world, box)]

    assert (queued, sent) == ([True, False], [1, 0])
    assert box.mails[0].to == person.email
    assert (
        world.scalar("SELECT count(*) FROM mail WHERE state = 'sent' AND sealed IS NOT NULL") == 0
    )


def test_what_cannot_be_sent_is_tried_for_a_day_with_growing_pauses(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    deliver(world, Mailbox())
    notify(world, person.id, "away")
    mailer = BrokenMailer()

    began = world.clock.now()
    while world.clock.now() - began < timedelta(days=3):
        deliver(world, mailer)
        world.clock.advance(timedelta(minutes=5))

    assert mailer.tried == 12
    gone = "SELECT count(*) FROM mail WHERE state = 'failed' AND sealed IS NULL AND attempts = 12"
    assert world.scalar(gone) == 1
    assert deliver(world, Mailbox()) == 0


def test_a_customer_without_an_address_gets_no_mail(world: World, app: Flask) -> None:
    from callers import firm

    made = firm(world, app, "customers:write").post("/v1/customers", {"external_ref": "M-1"})

    assert notify(world, made.get_json()["customer_id"], "one") is False


def test_a_forgotten_customer_cannot_be_read_found_or_mailed_and_the_books_stay_whole(
    world: World, app: Flask
) -> None:
    person = newcomer(app)
    person.put_profile()
    person.answer()
    person.agree()
    notify(world, person.id, "last words")
    r = world.runtime

    shredding.shred_customer(r.db, r.keyring, r.clock, person.id, actor="test")
    shredding.shred_customer(r.db, r.keyring, r.clock, person.id, actor="test")

    with r.db.read() as session, pytest.raises(NotFoundError):
        Vault.open(session, r.keyring, person.id)
    assert person.get("/v1/sessions").status_code == 401
    assert person.log_in().status_code == 401
    assert not [mail for mail in Mailbox().collect(world) if mail.to == person.email]
    assert person.sign_up().status_code == 201
    assert person.log_in().status_code == 201
    assert world.scalar("SELECT count(*) FROM customer WHERE state = 'shredded'") == 1
    assert not world.findings()


def test_nobody_is_forgotten_with_an_open_account(world: World, app: Flask) -> None:
    from newcomer import investor_to_be

    person, basket_id = investor_to_be(app)
    person.open(basket_id)
    r = world.runtime

    with pytest.raises(ConflictError):
        shredding.shred_customer(r.db, r.keyring, r.clock, person.id, actor="test")


def test_sealed_rows_do_not_open_in_another_place(world: World, app: Flask) -> None:
    one, two = newcomer(app), newcomer(app)
    r = world.runtime

    with r.db.read() as session:
        mine = Vault.open(session, r.keyring, one.id)
        yours = Vault.open(session, r.keyring, two.id)
    sealed = mine.seal(b"secret", "personal:1:a")

    assert mine.unseal(sealed, "personal:1:a") == b"secret"
    with pytest.raises(Exception, match="do not open"):
        mine.unseal(sealed, "personal:1:b")
    with pytest.raises(Exception, match="do not open"):
        yours.unseal(sealed, "personal:1:a")


def test_attempts_are_counted_in_the_database_even_when_refused(world: World) -> None:
    r = world.runtime
    now = to_micros(world.clock.now())
    gate = Gate("test", "203.0.113.7", most=3, seconds=60)

    for _ in range(3):
        attempt(r.db, r.keyring, now, gate)
    for _ in range(2):
        with pytest.raises(RateLimitedError) as caught:
            attempt(r.db, r.keyring, now, gate)

    assert 1 <= caught.value.retry_after_seconds <= 60
    attempt(r.db, r.keyring, now + 60_000_000, gate)
    files = [p for p in r.settings.state_path.rglob("*") if p.is_file()]
    assert not any(b"203.0.113.7" in path.read_bytes() for path in files)


def test_what_has_expired_is_swept_away(world: World, app: Flask) -> None:
    newcomer(app)
    world.clock.advance(timedelta(days=100))

    with world.db.write() as session:
        removed = tokens.sweep(session, to_micros(world.clock.now()))

    assert removed > 0
    for table in ("access_token", "refresh_token", "idempotency", "throttle"):
        assert world.scalar(f"SELECT count(*) FROM {table}") == 0


def test_the_first_run_makes_the_house_and_one_key_for_its_owner_only(
    world: World, tmp_path: Path
) -> None:
    r = world.runtime

    ids = {licensing.ensure_house(r.db, r.keyring, r.clock, tmp_path) for _ in range(2)}

    path = tmp_path / licensing.OPERATOR_FILE
    assert ids == {"firm_house"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("ra_pk_")
    assert [p.name for p in tmp_path.iterdir()] == [licensing.OPERATOR_FILE]
    with r.db.read() as session:
        found = tokens.find_key(session, licensing.digest(path.read_text().strip()))
    assert found is not None
    assert found.scopes == "admin:*"


def test_a_revoked_key_stops_at_once_and_all_of_it_is_in_the_audit_trail(
    world: World, app: Flask
) -> None:
    r = world.runtime
    firm_id = licensing.create_firm(r.db, r.keyring, r.clock, "Audited Inc")
    secret = licensing.create_key(
        r.db, r.keyring, r.clock, firm_id, "app", ["customers:read", "firm:read"]
    )
    headers = {"Authorization": f"Bearer {secret}"}
    client = app.test_client()
    trail = client.get("/v1/audit", headers=headers).get_json()
    with r.db.read() as session:
        (key,) = licensing.keys(session, firm_id)

    licensing.revoke_key(r.db, r.keyring, r.clock, key["id"])

    assert [one["action"] for one in trail["items"]] == ["firm.created", "key.created"]
    assert client.get("/v1/customers", headers=headers).status_code == 401
    assert key["last_used_at"] is not None
    with pytest.raises(NotFoundError):
        licensing.revoke_key(r.db, r.keyring, r.clock, key["id"])
    assert not world.findings()


def test_firms_need_a_name_of_their_own_and_scopes_that_exist(world: World) -> None:
    r = world.runtime

    with pytest.raises(ConflictError):
        licensing.create_firm(r.db, r.keyring, r.clock, "House")
    with pytest.raises(InvalidInputError):
        licensing.create_firm(r.db, r.keyring, r.clock, "  ")
    with pytest.raises(InvalidInputError):
        licensing.create_key(r.db, r.keyring, r.clock, "firm_house", "x", ["everything:*"])
    with pytest.raises(NotFoundError):
        licensing.create_key(r.db, r.keyring, r.clock, "firm_none", "x", ["events:read"])
