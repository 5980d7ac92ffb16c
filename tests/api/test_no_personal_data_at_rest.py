"""After a customer's whole story, raw bytes of database, logs and backups say nothing of them.

Every needle is sought in every spelling that a careless programme might leave behind. Messages in
the outbox are what their reader gets: they hold the address and the links, and nothing else.
"""

import base64
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pyotp
import pytest
from hostile_ground import Listener
from story import BANK_NUMBER, Ground, Person, example, standing

from robo.core.market_calendar import MarketCalendar
from robo.services import anchoring, backing_up, licensing
from robo.services.backing_up import Places
from robo.services.enrolling import identifying

TAX_ID = "536-22-8726"
BORN = date(2001, 3, 14)
NEW_PASSWORD = "another quiet heron at dawn"


@dataclass
class Secrets:
    """What must not lie around: by name, in plain words."""

    plain: dict[str, str] = field(default_factory=dict)

    def needles(self, *names: str) -> dict[str, bytes]:
        """Return every spelling of the named secrets, of all of them if none is named."""
        made: dict[str, bytes] = {}
        for name, text in self.plain.items():
            if not names or name in names:
                for kind, raw in _spellings(text.encode()):
                    made[f"{name}, {kind}"] = raw
        return made


def _spellings(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "plain", raw
    yield "reversed", raw[::-1]
    yield "hexadecimal", raw.hex().encode()
    yield "HEXADECIMAL", raw.hex().upper().encode()
    yield "UTF-16", raw.decode().encode("utf-16-le")
    if len(raw) >= 9:
        for shift in range(3):
            # Base64 of a text in the middle of another: what does not depend on its neighbours.
            shown = base64.b64encode(b"\x00" * shift + raw)
            yield f"base64 at {shift}", shown[4 if shift else 0 : -4]


def birthdays(day: date) -> dict[str, str]:
    """Return the ways to write a date."""
    return {
        "born ISO": day.isoformat(),
        "born basic": f"{day:%Y%m%d}",
        "born US": f"{day:%m/%d/%Y}",
        "born US short": f"{day.month}/{day.day}/{day.year}",
        "born dotted": f"{day:%d.%m.%Y}",
        "born dashed": f"{day:%m-%d-%Y}",
        "born in words": f"{day:%B} {day.day}, {day.year}",
        "born in short words": f"{day.day} {day:%b} {day.year}",
        "born as seconds": str((day - date(1970, 1, 1)) // timedelta(seconds=1)),
        "born as Python": repr(day),
    }


def found(folder: Path, needles: dict[str, bytes]) -> list[str]:
    """Return what of the needles is in the files of a folder, archives unpacked."""
    hits = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        for name, raw in _contents(path):
            hits += [f"{needle} in {name}" for needle, sought in needles.items() if sought in raw]
    return hits


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    yield path.name, path.read_bytes()
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            for member in tar:
                held = tar.extractfile(member)
                if held is not None:
                    yield f"{path.name}:{member.name}", held.read()


@dataclass
class Told:
    """The places where something could have been left."""

    state: Path
    outbox: Path
    backups: Path
    logs: str
    secrets: Secrets
    ground: Ground


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Told]:
    """Tell the whole story with every logger at its most talkative."""
    folder, secrets = tmp_path_factory.mktemp("told"), Secrets()
    with Listener.listening() as listener, standing(folder / "state", short_calendar) as ground:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
        me = _enrolled(ground, secrets)
        _invested(ground, me)
        _guarded(ground, me, secrets)
        _mistaken(me)
        r = ground.world.runtime
        anchoring.anchor(r.db, r.keyring, r.clock, r.settings.anchors_path)
        places = Places(r.settings.state_path, r.settings.anchors_path, r.settings.keys_path)
        backing_up.backup(r.db, r.clock, places, folder / "backups" / "robo.tgz")
        ground.mails()
        outbox = folder / "outbox"
        (r.settings.state_path / "outbox").rename(outbox)
        yield Told(
            folder / "state", outbox, folder / "backups", "\n".join(listener.lines), secrets, ground
        )
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)


def _enrolled(ground: Ground, secrets: Secrets) -> Person:
    profile, me = example("profile"), ground.signed_up("maya.okafor@example.com")
    ground.enrol(me)
    ground.prove_email(me)
    secrets.plain |= {
        "tax id": TAX_ID,
        "tax id plain": TAX_ID.replace("-", ""),
        "tax id spaced": TAX_ID.replace("-", " "),
        **birthdays(BORN),
        "password": me.password,
        "e-mail": me.email,
        "family name": profile["name"]["family"],
        "street": profile["address"]["line1"],
        "phone": "555 0142",
        "employer": profile["employment"]["employer_name"],
        "contact": profile["trusted_contact"]["name"],
        "bank number": BANK_NUMBER,
        "access token": me.token,
        "refresh token": me.refresh_token,
        "mailed token": ground.link_for(me, "verify"),
        "key": ground.firm_key(*licensing.FIRM_SCOPES).token,
    }
    return me


def _invested(ground: Ground, me: Person) -> None:
    ground.deposit(me, "100.00")
    ground.world.trade()
    ground.log_in(me)
    account = f"/v1/accounts/{me.account_id}"
    asked = {"bank_link_id": me.link_id, "amount": "10.00"}
    me.must("POST", f"{account}/withdrawals", asked)
    for name in ("portfolio", "positions", "lots", "activity", "orders", "deposits"):
        me.must("GET", f"{account}/{name}")
    me.must("GET", "/v1/events")


def _guarded(ground: Ground, me: Person, secrets: Secrets) -> None:
    """Add a second factor, use a recovery code, reset the password by mail."""
    secret = me.must("POST", "/v1/second-factor")["secret"]
    code = pyotp.TOTP(secret).at(ground.world.clock.now())
    codes = me.must("POST", "/v1/second-factor/confirm", {"code": code})["recovery_codes"]
    who = {"email": me.email, "password": me.password}
    assert me.post("/v1/sessions", who).status_code == 401
    me.must("POST", "/v1/sessions", {**who, "recovery_code": codes[0]})
    me.must("POST", "/v1/password-resets", {"email": me.email})
    token = ground.link_for(me, "reset")
    use = {"token": token, "new_password": NEW_PASSWORD, "recovery_code": codes[1]}
    me.must("POST", "/v1/password-resets/use", use)
    who = {"email": me.email, "password": NEW_PASSWORD, "recovery_code": codes[2]}
    me.token = me.must("POST", "/v1/sessions", who)["access_token"]
    secrets.plain |= {
        "second factor": secret,
        "recovery code": codes[3],
        "recovery code plain": codes[3].replace("-", ""),
        "used recovery code": codes[0],
        "reset token": token,
        "new password": NEW_PASSWORD,
    }


def _mistaken(me: Person) -> None:
    """Type what is secret where it does not belong, and let the server fail on it."""
    mine = f"/v1/customers/{me.customer_id}"
    profile = example("profile")
    for wrong in (
        {**profile, "name": TAX_ID},
        {**profile, "tax_id": TAX_ID},
        {**profile, TAX_ID: BORN.isoformat()},
        {**profile, "birth_date": f"{BORN.isoformat()}T00:00:00"},
        {**profile, "tax_id": {"kind": "ssn", "number": TAX_ID + "0"}},
    ):
        assert me.send("PUT", f"{mine}/profile", wrong).status_code == 422
    assert me.get(f"/v1/agreements/{TAX_ID}").status_code == 404
    assert me.get("/v1/accounts", after=TAX_ID).status_code == 422
    assert (
        me.post(f"{mine}/restrictions", {"symbol": TAX_ID, "verb": "never_buy"}).status_code == 404
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identifying, "put_profile", _failing)
        assert me.send("PUT", f"{mine}/profile", profile).status_code == 500


def _failing(*values: object) -> None:
    message = f"could not store {values!r}"
    raise RuntimeError(message)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    secrets = Secrets({"tax id": TAX_ID, **birthdays(BORN)})
    inner = tmp_path / "inner"
    inner.write_bytes(
        b"xx" + BORN.isoformat().encode() + base64.b64encode(b"{" + TAX_ID.encode() + b"}")
    )
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(inner, "inside")
    inner.unlink()

    hits = found(tmp_path, secrets.needles())

    assert "born ISO, plain in a.tgz:inside" in hits
    assert "tax id, base64 at 1 in a.tgz:inside" in hits


def test_the_story_was_told_and_is_kept_sealed(told: Told) -> None:
    counts = told.ground.counts()

    assert counts["fill"] >= 10
    assert (
        min(counts[name] for name in ("personal", "answers", "evidence", "mail", "recovery_code"))
        > 0
    )
    assert (told.state / "robo.db-wal").stat().st_size > 100_000
    assert len(list(told.outbox.glob("*.eml"))) >= 5
    assert len(list(told.backups.iterdir())) == 1
    assert told.logs.count("\n") > 1_000


def test_the_database_and_everything_beside_it_hold_nothing_plain(told: Told) -> None:
    needles = told.secrets.needles()
    files = [path for path in told.state.rglob("*") if path.is_file()]

    print(f"{len(needles)} spellings in {len(files)} files")
    assert len(needles) > 150
    assert found(told.state, needles) == []


def test_the_log_holds_nothing_plain_even_of_what_failed(told: Told) -> None:
    raw = told.logs.encode()

    assert b'"request.failed"' in raw
    assert [name for name, sought in told.secrets.needles().items() if sought in raw] == []


def test_a_backup_holds_nothing_plain_but_mails_and_no_keys(told: Told) -> None:
    keys = {path.name: path.read_bytes() for path in (told.state / "keys").glob("*.key")}
    # The mail simulator's outbox is in it, as docs/operations.md says.
    mailed = {"e-mail", "mailed token", "reset token"}
    sealed = told.secrets.needles(*(set(told.secrets.plain) - mailed))

    assert len(keys) == 3
    assert found(told.backups, sealed | keys) == []


def test_mails_hold_no_more_than_address_and_links(told: Told) -> None:
    allowed = {"e-mail", "mailed token", "reset token"}
    needles = told.secrets.needles(*(set(told.secrets.plain) - allowed))

    assert found(told.outbox, needles) == []


def test_a_shredded_customers_data_cannot_be_read_with_any_key(told: Told) -> None:
    """What is sealed under a customer's key is lost with it, in rows that stay."""
    ground = told.ground
    gone = ground.signed_up("gone@example.com")
    gone.must("GET", f"/v1/customers/{gone.customer_id}/agreements/form_crs")
    gone.must("PUT", f"/v1/customers/{gone.customer_id}/profile", example("profile"))
    operator = ground.firm_key("admin:*")

    operator.must("DELETE", f"/v1/customers/{gone.customer_id}/personal-data")

    with ground.world.db.read() as session:
        kept = session.connection().exec_driver_sql(
            f"SELECT data_key FROM customer WHERE id = '{gone.customer_id}'"
        )
        assert kept.scalar_one() is None
    assert gone.get(f"/v1/customers/{gone.customer_id}").status_code == 401
