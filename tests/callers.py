"""Callers for API tests: a customer's session or a firm's key, with an idempotency key a write."""

from dataclasses import dataclass, field
from datetime import timedelta
from secrets import token_hex
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from funds import customer_of
from werkzeug.test import TestResponse
from world import FIRM, World

from robo.core.clock import to_micros
from robo.core.ids import AccountId, new_id
from robo.services import licensing, sealing, securing
from robo.store import tokens
from robo.store.database import bulk


@dataclass
class Caller:
    """Sends requests with a bearer token."""

    client: FlaskClient
    token: str
    keys: int = field(default=0)
    name: str = field(default_factory=lambda: token_hex(6))

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(path, query_string=query, headers=self._headers())

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> TestResponse:
        self.keys += 1
        headers = {**self._headers(), "Idempotency-Key": key or f"{self.name}-key-{self.keys:04d}"}
        return self.client.open(path, method=method, json=body, headers=headers)

    def post(self, path: str, body: Any = None, key: str = "") -> TestResponse:
        return self.send("POST", path, body, key)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def customer(world: World, app: Flask, account: AccountId, *, stepped_up: bool = True) -> Caller:
    """Return the session of an account's customer, whose e-mail is verified."""
    at = to_micros(world.clock.now())
    year = timedelta(days=365) // timedelta(microseconds=1)
    token, family = securing.new_token(securing.ACCESS_PREFIX), new_id("fam")
    keyring = world.runtime.keyring
    with world.db.write() as session:
        owner = customer_of(session, account)
        bulk(
            session,
            "UPDATE customer SET data_key = ?, email_verified_at = ? WHERE id = ? "
            "AND data_key IS NULL",
            [(keyring.new_data_key(owner), at, owner)],
        )
        vault = sealing.Vault.open(session, keyring, owner)
        vault.write(session, sealing.EMAIL, "somebody@example.com", at)
        tokens.open_family(
            session,
            family,
            owner,
            scopes="customer",
            label="test",
            at_micros=at,
            expires_at=at + year,
        )
        tokens.add_access(
            session,
            securing.digest(token),
            family,
            issued_at=at,
            expires_at=at + year,
            stepped_up_at=at if stepped_up else None,
        )
    return Caller(app.test_client(), token)


def firm(world: World, app: Flask, *scopes: str, firm_id: str = FIRM) -> Caller:
    """Return a firm's key."""
    r = world.runtime
    secret = licensing.create_key(world.db, r.keyring, world.clock, firm_id, "test", scopes)
    return Caller(app.test_client(), secret)


def id_of_customer(world: World, account: AccountId) -> str:
    with world.db.read() as session:
        return customer_of(session, account)
