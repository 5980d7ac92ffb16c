"""A person who comes through the real API: signs up, logs in, answers, opens an account."""

import json
import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from world import World

from robo.app import create_app
from robo.ports.mail import Mail
from robo.services import mailing
from robo.services.securing import Hasher

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
PROFILE = json.loads((EXAMPLES / "profile.json").read_text())
ANSWERS = json.loads((EXAMPLES / "answers.json").read_text())
PASSWORD = "plum tree in the wind"
_NUMBERS = count(1)


def cheap_app(world: World, **more: Any) -> Flask:
    """Return the real app with the cheapest hashes that Argon2 allows."""
    return create_app(world.runtime, hasher=Hasher(memory_kib=8, passes=1), **more)


class Mailbox:
    """A mailer that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    def send(self, mail: Mail) -> None:
        self.mails.append(mail)

    def collect(self, world: World) -> list[Mail]:
        """Deliver what waits, and return it."""
        self.mails = []
        r = world.runtime
        mailing.deliver(r.db, r.keyring, self, r.clock)
        return self.mails


def mails_to(world: World, email: str) -> list[Mail]:
    return [mail for mail in Mailbox().collect(world) if mail.to == email]


def token_in(mail: Mail) -> str:
    found = re.search(r"ra_mt_[A-Za-z0-9_-]{43}", mail.text)
    assert found is not None
    return found[0]


@dataclass
class Newcomer:
    """Somebody with an address of their own, in both senses."""

    app: Flask
    email: str = ""
    password: str = PASSWORD
    client: FlaskClient = field(init=False)
    tokens: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = next(_NUMBERS)
        self.email = self.email or f"person{number}@example.com"
        self.client = self.app.test_client()
        self.address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"

    @property
    def id(self) -> str:
        return str(self.tokens["customer_id"])

    def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, token: str = ""
    ) -> TestResponse:
        """Send a request with this person's token (or another, `-` for none) and a fresh key."""
        headers: dict[str, str] = {}
        token = token or str(self.tokens.get("access_token", "-"))
        if token != "-":
            headers["Authorization"] = f"Bearer {token}"
        if method != "GET":
            headers["Idempotency-Key"] = key or f"newcomer-{next(_NUMBERS):08d}"
        more = {} if body is None else {"json": body}
        return self.client.open(
            path,
            method=method,
            headers=headers,
            environ_base={"REMOTE_ADDR": self.address},
            **more,
        )

    def get(self, path: str) -> TestResponse:
        return self.send("GET", path)

    def sign_up(self) -> TestResponse:
        body = {"email": self.email, "password": self.password}
        return self.send("POST", "/v1/customers", body, token="-")

    def log_in(self, **more: Any) -> TestResponse:
        body = {"email": self.email, "password": self.password, **more}
        reply = self.send("POST", "/v1/sessions", body, token="-")
        if reply.status_code == 201:
            self.tokens = reply.get_json()
        return reply

    def put_profile(self, **changes: Any) -> TestResponse:
        self.get(f"/v1/customers/{self.id}/agreements/form_crs")
        return self.send("PUT", f"/v1/customers/{self.id}/profile", {**PROFILE, **changes})

    def answer(self, confirmations: list[str] | None = None, **changes: Any) -> TestResponse:
        body = {"answers": {**ANSWERS, **changes}, "confirmations": confirmations or []}
        return self.send("POST", f"/v1/customers/{self.id}/answers", body)

    def documents(self) -> dict[str, dict[str, Any]]:
        found = self.get(f"/v1/customers/{self.id}/agreements").get_json()
        return {one["id"]: one for one in found["items"]}

    def accept(self, *ids: str) -> TestResponse:
        known = self.documents()
        names = ("agreement_id", "version", "sha256")
        signatures = [
            dict(zip(names, (i, known[i]["version"], known[i]["sha256"]), strict=True)) for i in ids
        ]
        body = {"acceptances": signatures}
        return self.send("POST", f"/v1/customers/{self.id}/acceptances", body)

    def agree(self) -> TestResponse:
        self.get(f"/v1/customers/{self.id}/agreements/privacy_notice")
        return self.accept("advisory_agreement", "account_agreement", "risk_disclosure")

    def open(
        self, basket_id: str, kind: str = "individual", key: str | None = None
    ) -> TestResponse:
        body = {"customer_id": self.id, "kind": kind, "basket_id": basket_id}
        return self.send("POST", "/v1/accounts", body, key=key)


def newcomer(app: Flask, **more: Any) -> Newcomer:
    """Return a person who has signed up and logged in."""
    person = Newcomer(app, **more)
    assert person.sign_up().status_code == 201
    assert person.log_in().status_code == 201
    return person


def investor_to_be(app: Flask, **more: Any) -> tuple[Newcomer, str]:
    """Return a person who has done everything but open the account, and the basket recommended."""
    person = newcomer(app, **more)
    assert person.put_profile().status_code == 200
    outcome = person.answer().get_json()
    assert person.agree().status_code == 201
    return person, outcome["recommendation"]["baskets"][0]["basket_id"]
