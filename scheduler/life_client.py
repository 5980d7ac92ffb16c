"""Somebody who lives through a life: the real API, spoken to inside this process."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient

from scheduler.demo_client import Client, DemoError

ROUTING, BANK_ACCOUNT = "021000021", "123456789"


@dataclass(slots=True)
class LocalClient(Client):
    """A caller of the application itself, through all it does to a request, without a socket."""

    app: FlaskClient | None = None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        assert self.app is not None
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if method != "GET":
            headers["Idempotency-Key"] = f"life-{secrets.token_hex(16)}"
        reply = self.app.open(path, method=method, headers=headers, json=body, buffered=True)
        if reply.status_code >= 300:  # noqa: PLR2004 - the first status that is no success
            text = reply.get_data(as_text=True)[:500]
            message = f"{method} {path} answered {reply.status_code}: {text}"
            raise DemoError(message)
        return json.loads(reply.data or b"null")


@dataclass(slots=True)
class Person:
    """The account's owner."""

    client: LocalClient
    email: str
    password: str
    customer_id: str = ""
    account_id: str = ""
    link_id: str = ""
    plan_id: str = ""

    def log_in(self) -> None:
        """Get a fresh session."""
        self.client.token = ""
        body = {"email": self.email, "password": self.password}
        reply = self.client.write("POST", "/v1/sessions", body)
        self.client.token, self.customer_id = reply["access_token"], reply["customer_id"]

    def sign_up(self, profile: Mapping[str, Any], answers: Mapping[str, Any]) -> str:
        """Do everything up to an open account; return the basket it follows.

        Raises:
            DemoError: If the answers do not lead to a basket.
        """
        client = self.client
        client.write("POST", "/v1/customers", {"email": self.email, "password": self.password})
        self.log_in()
        home = f"/v1/customers/{self.customer_id}"
        for document in client.get(f"{home}/agreements")["items"]:
            if document["action"] == "deliver":
                client.get(f"{home}/agreements/{document['id']}")
        client.write("PUT", f"{home}/profile", profile)
        outcome = client.write("POST", f"{home}/answers", {"answers": answers})
        if outcome["decision"] != "proceed":
            message = f"the answers lead to {outcome['decision']}: {outcome['reasons']}"
            raise DemoError(message)
        basket: str = outcome["recommendation"]["baskets"][0]["basket_id"]
        documents = client.get(f"{home}/agreements")["items"]
        signed = [
            {"agreement_id": one["id"], "version": one["version"], "sha256": one["sha256"]}
            for one in documents
            if one["action"] == "accept" and one["required"]
        ]
        client.write("POST", f"{home}/acceptances", {"acceptances": signed})
        body = {"customer_id": self.customer_id, "kind": "individual", "basket_id": basket}
        self.account_id = client.write("POST", "/v1/accounts", body)["id"]
        bank = {"routing_number": ROUTING, "account_number": BANK_ACCOUNT}
        self.link_id = client.write("POST", f"{home}/bank-links", bank)["id"]
        return basket

    def deposit(self, cents: int) -> None:
        """Pay in once."""
        body = {"amount": f"{cents / 100:.2f}", "bank_link_id": self.link_id}
        self.client.write("POST", f"/v1/accounts/{self.account_id}/deposits", body)

    def save_weekly(self, cents: int) -> None:
        """Pay in every Monday from now on, in place of what was paid before."""
        self.log_in()
        home, amount = f"/v1/accounts/{self.account_id}/plans", f"{cents / 100:.2f}"
        if self.plan_id:
            self.client.write("PATCH", f"{home}/{self.plan_id}", {"amount": amount})
            return
        body = {"amount": amount, "cadence": "weekly", "day": 1, "bank_link_id": self.link_id}
        self.plan_id = self.client.write("POST", home, body)["id"]

    def choose_taxes(self, choices: Mapping[str, Any]) -> None:
        """Choose what is done about taxes from now on."""
        self.client.write("PUT", f"/v1/customers/{self.customer_id}/tax-choices", choices)

    def leave_out(self, symbol: str, verb: str, held: str) -> None:
        """Restrict a company, and say what becomes of its shares."""
        self.log_in()
        home = f"/v1/customers/{self.customer_id}/restrictions"
        made = self.client.write("POST", home, {"symbol": symbol, "verb": verb})
        path = f"{home}/{made['security_id']}/held"
        self.client.write("PUT", path, {"choice": held})
