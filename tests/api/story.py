"""A customer's whole story over HTTP, for tests of the API as strangers meet it.

`Ground` is an app on a real database whose rate limits are out of the way; `Person` is somebody
with a token who sends requests. Everything goes through the API; only jobs are run in-process.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from world import FIRM, World, make_world

from robo.app import create_app
from robo.core.market_calendar import MarketCalendar
from robo.services import funding, licensing, mailing
from robo.services.securing import Hasher
from robo.store.database import connect

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PASSWORD = "seven quiet herons at dusk"
ROUTING, BANK_NUMBER = "021000021", "5550109876"
BASKET = "theme-water"
_KEYS = count(1)
_PEOPLE = count(1)
_PLACES = count(1)


def example(name: str) -> Any:
    """Return an input of the documentation."""
    return json.loads((EXAMPLES / f"{name}.json").read_text())


@dataclass
class Person:
    """Sends requests with a bearer token, an idempotency key a write, from an address of its own.

    The address matters: failed authentications are counted by address, and a test that provokes
    hundreds of them must not shut out the next.
    """

    client: FlaskClient
    token: str = ""
    email: str = ""
    password: str = PASSWORD
    customer_id: str = ""
    session_id: str = ""
    refresh_token: str = ""
    account_id: str = ""
    link_id: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        self.address = self.address or elsewhere()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        sent = {"Idempotency-Key": key or f"story-key-{next(_KEYS):08d}"}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        sent |= headers or {}
        if body is not None:
            more["json"] = body
        return self.client.open(
            path,
            method=method,
            headers=sent,
            environ_base={"REMOTE_ADDR": self.address},
            buffered=True,  # files that were served are closed
            **more,
        )

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.send("GET", path, query_string=query)

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> TestResponse:
        return self.send("POST", path, body, key=key)

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """Send what has to work; return the parsed reply."""
        reply = self.send(method, path, body)
        assert 200 <= reply.status_code < 300, f"{method} {path}: {reply.status} {reply.data!r}"
        return reply.json


@dataclass
class Ground:
    """An app on a world."""

    world: World
    app: Flask

    def stranger(self) -> Person:
        return Person(self.app.test_client())

    def signed_up(self, email: str = "") -> Person:
        """Return somebody who signed up and logged in."""
        me = self.stranger()
        me.email = email or f"person{next(_PEOPLE)}@example.com"
        me.must("POST", "/v1/customers", {"email": me.email, "password": me.password})
        return self.log_in(me)

    @staticmethod
    def log_in(me: Person) -> Person:
        """Log in, from yet another address: attempts are counted by e-mail and address."""
        me.address = elsewhere()
        granted = me.must("POST", "/v1/sessions", {"email": me.email, "password": me.password})
        me.token, me.refresh_token = granted["access_token"], granted["refresh_token"]
        me.customer_id, me.session_id = granted["customer_id"], granted["session_id"]
        return me

    def investor(self, profile: Any = None, answers: Any = None) -> Person:
        """Return somebody with an open account, a linked bank and a proved e-mail address."""
        me = self.signed_up()
        self.enrol(me, profile, answers)
        self.prove_email(me)
        return me

    def enrol(self, me: Person, profile: Any = None, answers: Any = None) -> None:
        """Go from profile to linked bank; `me` may be a firm's key acting for its customer."""
        mine = f"/v1/customers/{me.customer_id}"
        me.must("GET", f"{mine}/agreements/form_crs")
        me.must("PUT", f"{mine}/profile", profile or example("profile"))
        me.must("POST", f"{mine}/answers", {"answers": answers or example("answers")})
        self.accept(me)
        opening = {"customer_id": me.customer_id, "kind": "individual", "basket_id": BASKET}
        me.account_id = me.must("POST", "/v1/accounts", opening)["id"]
        numbers = {"routing_number": ROUTING, "account_number": BANK_NUMBER}
        me.link_id = me.must("POST", f"{mine}/bank-links", numbers)["id"]

    @staticmethod
    def accept(me: Person) -> None:
        mine = f"/v1/customers/{me.customer_id}"
        listed = me.must("GET", f"{mine}/agreements")["items"]
        for one in listed:
            me.must("GET", f"{mine}/agreements/{one['id']}")
        signed = [
            {"agreement_id": one["id"], "version": one["version"], "sha256": one["sha256"]}
            for one in listed
            if one["action"] == "accept"
        ]
        me.must("POST", f"{mine}/acceptances", {"acceptances": signed})

    def firm_key(self, *scopes: str, firm_id: str = FIRM) -> Person:
        """Return a firm's key."""
        r = self.world.runtime
        secret = licensing.create_key(r.db, r.keyring, r.clock, firm_id, "test", scopes)
        return Person(self.app.test_client(), secret)

    def mails(self) -> list[str]:
        """Send what waits, and return the text of every message, oldest first."""
        r = self.world.runtime
        mailing.deliver(r.db, r.keyring, r.mailer, r.clock)
        files = sorted((r.settings.state_path / "outbox").glob("*.eml"), key=_written)
        return [_text(path) for path in files]

    def link_for(self, me: Person, word: str) -> str:
        """Return the newest mailed token of a kind, `verify` or `reset`, for somebody."""
        r = self.world.runtime
        mailing.deliver(r.db, r.keyring, r.mailer, r.clock)
        for path in sorted((r.settings.state_path / "outbox").glob("*.eml"), key=_written)[::-1]:
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            found = re.search(rf"#{word}=(ra_mt_[A-Za-z0-9_-]+)", _text(path))
            if message["To"] == me.email and found:
                return found[1]
        raise AssertionError(word)

    def prove_email(self, me: Person) -> None:
        token = self.link_for(me, "verify")
        me.must("POST", "/v1/email-verifications/use", {"token": token})

    def deposit(self, me: Person, amount: str) -> str:
        """Ask for a deposit and let the bank pay; return its id."""
        body = {"bank_link_id": me.link_id, "amount": amount}
        made = me.must("POST", f"/v1/accounts/{me.account_id}/deposits", body)
        self.collect()
        return str(made["id"])

    def collect(self) -> None:
        r = self.world.runtime
        funding.collect(r.db, r.keyring, r.bank, r.clock, r.calendar, r.policy)

    def tables(self) -> set[str]:
        """Return the name of every table."""
        with self.world.db.read() as session:
            names = session.connection().exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
            return set(names.scalars())

    def counts(self) -> dict[str, int]:
        """Return how many rows every table has."""
        names = sorted(self.tables())
        with self.world.db.read() as session:
            connection = session.connection()
            return {
                name: connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()
                for name in names
            }


@contextmanager
def standing(folder: Path, calendar: MarketCalendar) -> Iterator[Ground]:
    """Yield an app on a fresh database, without rate limits and with cheap password hashes."""
    with make_world(folder, calendar) as world:
        settings = replace(
            world.runtime.settings,
            requests_per_minute=10_000_000,
            signups_per_hour=10_000_000,
            logins_per_minute=10_000_000,
        )
        # Thousands of refusals are stored here; none of them has to survive a power failure.
        db = connect(settings.url, flush=False)
        world.runtime = replace(world.runtime, settings=settings, db=db)
        hasher = Hasher(memory_kib=64, passes=1)
        try:
            yield Ground(world, create_app(world.runtime, hasher=hasher))
        finally:
            db.close()


def elsewhere() -> str:
    """Return a network address that nobody has called from."""
    number = next(_PLACES)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _written(path: Path) -> tuple[int, str]:
    return (path.stat().st_mtime_ns, path.name)


def _text(path: Path) -> str:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())
