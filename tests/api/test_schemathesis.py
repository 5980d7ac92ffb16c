"""Requests made from `openapi.json`, sound and unsound, against the app and against gunicorn.

Every operation gets every boundary of its schema and random cases besides; nothing may fail, and
every reply must be what the document promises. In sound cases made-up ids are replaced by those of
a real investor, so that they reach what lies behind the question whose things they are.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from live import Live
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from story import Ground, Person, standing

from robo.core.market_calendar import MarketCalendar
from robo.services import licensing

DOCUMENT = Path(__file__).parents[2] / "openapi.json"
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, methods in json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"].items()
    for method in methods
    if method != "parameters"
]
SEED = 20_260_302
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
]
_KEY = re.compile("[!-~]{8,128}")
_KEYS = count(1)
Test = Callable[..., None]


def document(*, boundaries: bool) -> Any:
    """Return the committed document, ready to make cases of."""
    phases = {"coverage": {"enabled": boundaries}, "examples": {"enabled": boundaries}}
    # Slow is not wrong: on a busy machine a server's first answer takes longer than the usual 10 s.
    given = {"seed": SEED, "phases": phases, "request-timeout": 240}
    config = schemathesis.Config.from_dict(given)
    return schemathesis.openapi.from_path(DOCUMENT, config=config)


def bounded(cases: int) -> Callable[[Test], Test]:
    return settings(
        max_examples=cases,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def generated(cases: int) -> Callable[[Test], Test]:
    """Return a decorator: every operation's boundaries, and so many random cases."""

    def decorate(test: Test) -> Test:
        made: Test = document(boundaries=True).parametrize()(bounded(cases)(test))
        return made

    return decorate


@dataclass
class Target:
    """Who sends what is generated, and the real ids that stand in for made-up ones."""

    tokens: Mapping[str, str]
    """Of a customer, a firm and an operator."""
    ids: Mapping[str, str]
    seen: Counter[int] = field(default_factory=Counter)

    def prepare(self, case: schemathesis.Case) -> dict[str, str]:
        """Make a sound case real; return the headers that let it in."""
        assert case.meta is not None
        wanted = str(case.operation.definition.raw.get("security", ""))
        kind = "operator" if "admin:" in wanted else "firm" if "firm:read" in wanted else "customer"
        if case.meta.generation.mode.is_positive and kind != "operator":
            for place in (case.path_parameters, case.query, case.body):
                if isinstance(place, dict):
                    place.update({name: self.ids[name] for name in place if name in self.ids})
        if _KEY.fullmatch(str(case.headers.get("Idempotency-Key", ""))):
            # A fresh one, or all but the first case would only be told that the key was used.
            case.headers["Idempotency-Key"] = f"generated-{next(_KEYS):08d}"
        return {"Authorization": f"Bearer {self.tokens[kind]}"}


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Ground]:
    with standing(tmp_path_factory.mktemp("generated") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def traded(ground: Ground) -> tuple[Person, dict[str, str]]:
    """Return an investor with orders, fills, a plan and a withdrawal, for reading."""
    me = ground.investor()
    ids = _ids(me, ground.deposit(me, "100.00"))
    ground.world.trade()
    ground.log_in(me)
    account = f"/v1/accounts/{me.account_id}"
    ids["order_id"] = me.must("GET", f"{account}/orders")["items"][0]["id"]
    asked = {"bank_link_id": me.link_id, "amount": "10.00"}
    ids["withdrawal_id"] = me.must("POST", f"{account}/withdrawals", asked)["id"]
    return me, ids


@pytest.fixture
def target(
    ground: Ground, traded: tuple[Person, dict[str, str]], request: pytest.FixtureRequest
) -> Iterator[Target]:
    """Return the shared investor for what reads, a fresh one for what writes."""
    me, ids = traded
    if "[GET " not in request.node.name:
        me = ground.investor()
        ids = _ids(me, ground.deposit(me, "50.00"))
    firm, operator = ground.firm_key(*licensing.FIRM_SCOPES), ground.firm_key("admin:*")
    made = Target({"customer": me.token, "firm": firm.token, "operator": operator.token}, ids)
    yield made
    print(f"{made.seen.total()} cases: {dict(made.seen)}")


def _ids(me: Person, deposit_id: str) -> dict[str, str]:
    plan = {"bank_link_id": me.link_id, "amount": "25.00", "cadence": "weekly", "day": 1}
    return {
        "account_id": me.account_id,
        "customer_id": me.customer_id,
        "session_id": me.session_id,
        "bank_link_id": me.link_id,
        "link_id": me.link_id,
        "deposit_id": deposit_id,
        "plan_id": me.must("POST", f"/v1/accounts/{me.account_id}/plans", plan)["id"],
        "basket_id": "theme-water",
        "agreement_id": "risk_disclosure",
        "symbol": "AAPL",
    }


@generated(cases=4)
def test_the_app_answers_as_the_document_says(case: Any, ground: Ground, target: Target) -> None:
    ask(case, target, app=ground.app)


@pytest.mark.soak
@pytest.mark.parametrize("label", OPERATIONS)
def test_the_app_answers_as_the_document_says_for_long(
    label: str, ground: Ground, target: Target
) -> None:
    method, path = label.split()

    send_all(document(boundaries=False)[path][method], target, 1_000, app=ground.app)


def test_gunicorn_answers_as_the_document_says(live: Live) -> None:
    assert over_the_wire(live, cases=3) > 150


@pytest.mark.soak
def test_gunicorn_answers_as_the_document_says_for_long(live: Live) -> None:
    assert over_the_wire(live, cases=200) > 5_000


def ask(case: Any, target: Target, **where: Any) -> None:
    """Send a case and hold the reply to the document."""
    headers = target.prepare(case)
    reply = case.call_and_validate(headers=headers, checks=CHECKS, **where)
    target.seen[reply.status_code] += 1


def over_the_wire(live: Live, cases: int) -> int:
    """Send so many random cases of every operation to a running server; return how many."""
    me = live.investor(f"wire{cases}@example.com")
    operator = (live.state / "operator.key").read_text().strip()
    ids = {"account_id": me.account_id, "customer_id": me.customer_id, "bank_link_id": me.link_id}
    total: Counter[int] = Counter()

    tokens = {"customer": me.token, "firm": operator, "operator": operator}
    for found in document(boundaries=False).get_all_operations():
        operation = found.ok()
        send_all(operation, Target(tokens, ids, total), cases, base_url=live.url)
        if operation.label.startswith("DELETE /v1/sessions"):
            tokens["customer"] = live.log_in(me.email)["access_token"]
    assert live.send("GET", "/health/ready").status == 200
    assert '"request.failed"' not in live.told()
    print(f"{total.total()} cases over the wire: {dict(total)}")
    return total.total()


def send_all(operation: Any, target: Target, cases: int, **where: Any) -> None:
    """Send so many random cases of one operation."""

    @bounded(cases)
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        ask(case, target, **where)

    send()
