"""What hostile inputs are thrown at, and what must be true of every reply."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from story import PASSWORD, Ground, Person, example
from werkzeug.test import TestResponse

from robo.logs import JsonFormatter
from robo.services import licensing

_CODE = re.compile(r"[a-z][a-z0-9_]{2,60}")
_MEMBERS = {"type", "title", "status", "code", "detail", "request_id"}
_OPTIONAL = {"fields", "reasons"}
_MARK = "\x00here\x00"
WITHOUT_MEANING = frozenset({"idempotency", "throttle"})
"""Tables that a refused request may write to: the stored refusal, and how often somebody tried."""
SECRETS = ("536-22-8726", "536228726", "2001-03-14", "999988887777", "not the password", PASSWORD)
"""What the writes hold and no reply and no log may."""


@dataclass(frozen=True)
class Write:
    """A writing request that would do, were it not for what a test puts into it."""

    name: str
    who: Person
    method: str
    path: str
    body: Any

    def leaves(self) -> Iterator[tuple[str | int, ...]]:
        """Yield the path of every value in the body, containers too."""
        yield from _leaves(self.body, ())

    def text_with(self, leaf: Sequence[str | int], value: str) -> bytes:
        """Return the body as JSON with one value replaced by a piece of text."""
        made = json.loads(json.dumps(self.body))
        inner = made
        for step in leaf[:-1]:
            inner = inner[step]
        inner[leaf[-1]] = _MARK
        return json.dumps(made).replace(json.dumps(_MARK), value).encode("utf-8", "surrogatepass")


def writes(ground: Ground, me: Person) -> list[Write]:
    """Return a request of every kind that writes; most of them would do as they are."""
    firm, operator = ground.firm_key(*licensing.FIRM_SCOPES), ground.firm_key("admin:*")
    anybody, guarded = ground.stranger(), ground.signed_up()
    mine, account = f"/v1/customers/{me.customer_id}", f"/v1/accounts/{me.account_id}"
    token, nothing = "ra_mt_" + "A" * 43, "lnk_" + "0" * 30
    proof = {"password": "not the password", "code": "000000", "recovery_code": "aaaa"}
    link = {"bank_link_id": me.link_id}
    weekly = {**link, "amount": "25.00", "cadence": "weekly", "day": 1}
    plan = me.must("POST", f"{account}/plans", weekly)["id"]
    document = me.must("GET", "/v1/agreements/risk_disclosure")
    signature = {"agreement_id": "risk_disclosure", "version": 1, "sha256": document["sha256"]}
    opening = {"customer_id": me.customer_id, "kind": "individual", "basket_id": "theme-water"}
    numbers = {"routing_number": "021000021", "account_number": "999988887777"}
    answers = {**example("answers"), "employers": ["Acme"], "activities_excluded": []}
    email = {"email": "somebody@example.com"}
    reset = {"token": token, "new_password": PASSWORD, "code": "000000"}
    rows: list[tuple[str, Person, str, Any]] = [
        ("sign up", anybody, "POST /v1/customers", {**email, "password": PASSWORD}),
        ("add", firm, "POST /v1/customers", {"external_ref": "r", "email": None}),
        ("log in", anybody, "POST /v1/sessions", {**email, **proof, "label": "l"}),
        ("refresh", anybody, "POST /v1/tokens", {"refresh_token": "ra_rt_" + "A" * 43}),
        ("step up", guarded, "POST /v1/step-up", proof),
        ("password", guarded, "PUT /v1/password", {**proof, "new_password": PASSWORD}),
        ("ask reset", anybody, "POST /v1/password-resets", email),
        ("reset", anybody, "POST /v1/password-resets/use", reset),
        ("verify", anybody, "POST /v1/email-verifications/use", {"token": token}),
        ("confirm", guarded, "POST /v1/second-factor/confirm", {"code": "000000"}),
        ("remove", guarded, "POST /v1/second-factor/remove", proof),
        ("profile", me, f"PUT {mine}/profile", example("profile")),
        ("answers", me, f"POST {mine}/answers", {"answers": answers, "confirmations": []}),
        ("restrict", me, f"POST {mine}/restrictions", {"symbol": "AAPL", "verb": "never_buy"}),
        ("held", me, f"PUT {mine}/restrictions/1/held", {"choice": "keep"}),
        ("accept", me, f"POST {mine}/acceptances", {"acceptances": [signature]}),
        ("open", me, "POST /v1/accounts", opening),
        ("link", me, f"POST {mine}/bank-links", numbers),
        ("deposit", me, f"POST {account}/deposits", {**link, "amount": "5.00"}),
        ("withdraw", me, f"POST {account}/withdrawals", {**link, "amount": "1.00"}),
        ("close", me, f"POST {account}/closure", {"bank_link_id": nothing}),
        ("plan", me, f"POST {account}/plans", {**weekly, "start_on": "2026-04-01"}),
        ("change plan", me, f"PATCH {account}/plans/{plan}", {**weekly, "state": "active"}),
        ("decide", operator, f"PUT {mine}/identity", {"decision": "accept"}),
        ("screen", me, "POST /v1/screens/check", {"filter": "exclude coal > 5%"}),
    ]
    made = []
    for name, who, route, body in rows:
        method, _, path = route.partition(" ")
        made.append(Write(name, who, method, path, body))
    return made


def judged(reply: TestResponse, what: object, secrets: Sequence[str] = ()) -> int:
    """Return the status of a reply that is as it must be, whatever was sent."""
    status = reply.status_code
    told = f"{what!r:.300}: {reply.status} {reply.get_data()[:300]!r}"
    assert status < 500, told
    if status >= 400 and reply.request.method != "HEAD":
        assert reply.content_type == "application/problem+json", told
        problem = json.loads(reply.get_data())
        assert problem.keys() >= _MEMBERS, told
        assert problem.keys() <= _MEMBERS | _OPTIONAL, told
        assert problem["status"] == status, told
        assert _CODE.fullmatch(problem["code"]), told
        assert problem["type"] == f"/problems/{problem['code']}", told
    raw = reply.get_data() + str(reply.headers).encode()
    for secret in secrets:
        assert secret.encode() not in raw, f"{what!r:.200} gives {secret} back"
    return status


class Rows:
    """Counts the rows of everything that means something."""

    def __init__(self, ground: Ground) -> None:
        names = sorted(ground.tables() - WITHOUT_MEANING)
        self._sql = " UNION ALL ".join(
            f"SELECT '{name}', count(*) FROM \"{name}\"" for name in names
        )
        self._ground = ground

    def now(self) -> dict[str, int]:
        """Return how many rows each table has."""
        with self._ground.world.db.read() as session:
            # The driver's own cursor: SQLAlchemy's costs more than the counting.
            ask: Any = session.connection().connection.driver_connection
            return dict(ask.execute(self._sql).fetchall())


class Listener(logging.Handler):
    """Keeps what is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator["Listener"]:
        """Listen to everything that any logger says, at any level."""
        listener, roots = cls(), [logging.getLogger(), logging.getLogger("robo")]
        levels = [root.level for root in roots]
        for root in roots:
            root.addHandler(listener)
            root.setLevel(logging.DEBUG)
        try:
            yield listener
        finally:
            for root, level in zip(roots, levels, strict=True):
                root.removeHandler(listener)
                root.setLevel(level)


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, number))
