"""Every route against the owner, another customer, another firm, a lesser key, and nobody.

The table says what each must get; a route that is not in the table, and a row without a route, fail
the test. Each caller sends a request that would do, so that a refusal is about who asks. What is
refused must change nothing; what belongs to somebody else must look as if it did not exist.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from story import PASSWORD, Ground, Person, elsewhere, example, standing

from robo.api.auth import mark_of
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.services import licensing

_FILES = count(1)
OK, MADE, TAKEN, NOTHING = 200, 201, 202, 204
_UNWATCHED = {"idempotency", "throttle", "security", "api_key", "access_token", "token_family"}


@dataclass
class Things:
    """What an investor has: the ids that fill a path."""

    person: Person
    ids: dict[str, str] = field(default_factory=dict)

    def secrets(self) -> list[str]:
        """Return what nobody else may be told."""
        public = {"agreement_id", "basket_id", "filename", "token", "security_id"}
        named = [value for name, value in self.ids.items() if name not in public]
        return [*named, self.person.email, "Okafor", "536-22-8726"]


Body = Callable[[Things, Ground], Any]


@dataclass(frozen=True)
class Row:
    """What the five callers get of a route, and the body that the owner would send."""

    owner: int
    other: int
    foreign: int
    """The key of another firm, with every scope."""
    lesser: int
    """A key of the owner's own firm with every scope but the one that is needed."""
    nobody: int
    body: Body | None = None
    own_firm: int | None = None
    """A key of the owner's own firm with every scope; as the owner unless said otherwise."""


def owned(status: int, body: Body | None = None, own_firm: int | None = None) -> Row:
    """Somebody's thing: to others it does not exist."""
    return Row(status, 404, 404, 403, 401, body, own_firm)


def listing(own_firm: int | None = None) -> Row:
    """A list: everybody gets one, of what is theirs."""
    return Row(OK, OK, OK, 403, 401, None, own_firm)


def personal(status: int, body: Body | None = None) -> Row:
    """About the very session: a key has none."""
    return Row(status, status, 403, 403, 401, body, own_firm=403)


def operators(body: Body | None = None) -> Row:
    return Row(403, 403, 403, 403, 401, body)


def firms_own(body: Body | None = None) -> Row:
    """A firm's: its own key gets its own, another firm's key its own, people nothing."""
    return Row(403, 403, OK, 403, 401, body, OK)


def everybody(status: int = OK, body: Body | None = None, lesser: int | None = None) -> Row:
    return Row(status, status, status, lesser or status, status, body)


def _wrong_proof(_t: Things, _g: Ground) -> Any:
    return {"password": "this is not the password"}


def _mail_token(_t: Things, _g: Ground) -> Any:
    return {"token": "ra_mt_" + "A" * 43}


def _link_and(**more: Any) -> Body:
    return lambda things, _ground: {"bank_link_id": things.ids["link_id"], **more}


def _invitation(things: Things, _ground: Ground) -> Any:
    address = f"spouse.of.{things.person.email}"
    return {"email": address, "signed": "Yours", "since_on": "2020-01-01"}


def _tax_profile(_t: Things, _g: Ground) -> Any:
    return {"status": "single", "ordinary_income": "60000.00", "magi": "75000.00"}


def _acceptance(things: Things, _ground: Ground) -> Any:
    one = things.person.must("GET", "/v1/agreements/advisory_agreement")
    sent = {"agreement_id": one["id"], "version": one["version"], "sha256": one["sha256"]}
    return {"acceptances": [sent]}


def _opening(things: Things, _ground: Ground) -> Any:
    who = things.ids["customer_id"]
    return {"customer_id": who, "kind": "individual", "basket_id": "theme-water"}


TABLE = {
    # Pages and public reading
    "GET /": everybody(),
    "GET /confirm": everybody(),
    "GET /docs": everybody(),
    "GET /health/live": everybody(),
    "GET /health/ready": everybody(),
    "GET /metrics": Row(403, 403, 403, 403, 403),  # the machine itself, and operators
    "GET /openapi.json": everybody(),
    "GET /static/<path:filename>": everybody(),
    "GET /v1/agreements": everybody(),
    "GET /v1/agreements/<agreement_id>": everybody(),
    "GET /v1/questionnaire": everybody(),
    "GET /v1/baskets": everybody(lesser=403),
    "GET /v1/baskets/<string(maxlength=80):basket_id>": everybody(lesser=403),
    "GET /v1/baskets/<string(maxlength=80):basket_id>/rejects": everybody(lesser=403),
    # Signing up and in; what is mailed proves itself
    "POST /v1/customers": Row(
        403, 403, 422, 403, MADE, lambda *_: {"email": "n@example.com", "password": PASSWORD}, 422
    ),
    "POST /v1/sessions": everybody(
        MADE, lambda t, _: {"email": t.person.email, "password": PASSWORD}
    ),
    "POST /v1/tokens": everybody(401, lambda *_: {"refresh_token": "ra_rt_" + "A" * 43}),
    "POST /v1/password-resets": everybody(TAKEN, lambda t, _: {"email": t.person.email}),
    "POST /v1/password-resets/use": everybody(
        401, lambda *_: {"token": "ra_mt_" + "A" * 43, "new_password": PASSWORD}
    ),
    "POST /v1/email-verifications/use": everybody(401, _mail_token),
    "GET /v1/documents/<token>": everybody(401),
    # The session itself
    "GET /v1/sessions": personal(OK),
    "DELETE /v1/sessions": personal(NOTHING),
    "DELETE /v1/sessions/<id:session_id>": Row(NOTHING, 404, 403, 403, 401, None, 403),
    "POST /v1/step-up": personal(401, _wrong_proof),
    "PUT /v1/password": personal(
        401, lambda *_: {"password": "not this one at all", "new_password": "a new one, long"}
    ),
    "POST /v1/email-verifications": personal(TAKEN),
    "POST /v1/second-factor": personal(MADE),
    "POST /v1/second-factor/confirm": personal(422, lambda *_: {"code": "12345"}),
    "POST /v1/second-factor/remove": personal(422, lambda *_: {"code": "123456"}),
    # The customer
    "GET /v1/customers": listing(),
    "GET /v1/customers/<id:customer_id>": owned(OK),
    "GET /v1/customers/<id:customer_id>/profile": owned(OK),
    "PUT /v1/customers/<id:customer_id>/profile": owned(OK, lambda *_: example("profile")),
    "GET /v1/customers/<id:customer_id>/answers": owned(OK),
    "POST /v1/customers/<id:customer_id>/answers": owned(
        MADE, lambda *_: {"answers": example("answers")}
    ),
    "GET /v1/customers/<id:customer_id>/agreements": owned(OK),
    "GET /v1/customers/<id:customer_id>/agreements/<agreement_id>": owned(OK),
    "POST /v1/customers/<id:customer_id>/acceptances": owned(MADE, _acceptance),
    "DELETE /v1/customers/<id:customer_id>/electronic-delivery": owned(409),
    "GET /v1/customers/<id:customer_id>/restrictions": owned(OK),
    "POST /v1/customers/<id:customer_id>/restrictions": owned(
        MADE, lambda *_: {"symbol": "MSFT", "verb": "never_buy"}
    ),
    "DELETE /v1/customers/<id:customer_id>/restrictions/<int:security_id>": owned(NOTHING),
    "PUT /v1/customers/<id:customer_id>/restrictions/<int:security_id>/held": owned(
        OK, lambda *_: {"choice": "keep"}
    ),
    "GET /v1/customers/<id:customer_id>/bank-links": owned(OK),
    "POST /v1/customers/<id:customer_id>/bank-links": owned(
        MADE, lambda *_: {"routing_number": "021000021", "account_number": "555000111"}
    ),
    "DELETE /v1/customers/<id:customer_id>/bank-links/<id:link_id>": owned(OK),
    "GET /v1/baskets/<string(maxlength=80):basket_id>/explain": owned(OK),
    # Accounts
    "GET /v1/accounts": listing(),
    "POST /v1/accounts": owned(MADE, _opening),
    "GET /v1/accounts/<id:account_id>": owned(OK),
    "GET /v1/accounts/<id:account_id>/custody": owned(OK),
    "GET /v1/accounts/<id:account_id>/portfolio": owned(OK),
    "GET /v1/accounts/<id:account_id>/positions": owned(OK),
    "GET /v1/accounts/<id:account_id>/lots": owned(OK),
    "GET /v1/accounts/<id:account_id>/activity": owned(OK),
    "GET /v1/accounts/<id:account_id>/choices": owned(OK),
    "PUT /v1/accounts/<id:account_id>/choices": owned(
        OK, lambda *_: {"theme": "stays", "stays_ppm": 200_000}
    ),
    # A month of prices is no model yet; the refusal is the same for whoever may ask.
    "POST /v1/accounts/<id:account_id>/choices/previews": owned(422, lambda *_: {"theme": "stays"}),
    "GET /v1/accounts/<id:account_id>/orders": owned(OK),
    "GET /v1/accounts/<id:account_id>/orders/<id:order_id>": owned(OK),
    # Money
    "GET /v1/accounts/<id:account_id>/deposits": owned(OK),
    "POST /v1/accounts/<id:account_id>/deposits": owned(MADE, _link_and(amount="5.00")),
    "GET /v1/accounts/<id:account_id>/deposits/<id:deposit_id>": owned(OK),
    "GET /v1/accounts/<id:account_id>/withdrawals": owned(OK),
    "POST /v1/accounts/<id:account_id>/withdrawals": owned(MADE, _link_and(amount="5.00")),
    "GET /v1/accounts/<id:account_id>/withdrawals/<id:withdrawal_id>": owned(OK),
    "DELETE /v1/accounts/<id:account_id>/withdrawals/<id:withdrawal_id>": owned(OK),
    "POST /v1/accounts/<id:account_id>/closure": owned(409, _link_and()),
    "GET /v1/accounts/<id:account_id>/plans": owned(OK),
    "POST /v1/accounts/<id:account_id>/plans": owned(
        MADE, _link_and(amount="25.00", cadence="weekly", day=1)
    ),
    "PATCH /v1/accounts/<id:account_id>/plans/<id:plan_id>": owned(
        OK, lambda *_: {"state": "paused"}
    ),
    "DELETE /v1/accounts/<id:account_id>/plans/<id:plan_id>": owned(OK),
    # Households, joint accounts
    "GET /v1/customers/<id:customer_id>/household": owned(OK),
    "DELETE /v1/customers/<id:customer_id>/household": owned(NOTHING),
    "POST /v1/customers/<id:customer_id>/household-invitations": owned(MADE, _invitation),
    "DELETE /v1/customers/<id:customer_id>/household-invitations/<id:invitation_id>": owned(
        NOTHING
    ),
    # Nobody accepts what they have sent.
    "POST /v1/customers/<id:customer_id>/household-invitations/<id:invitation_id>/acceptance": (
        owned(404)
    ),
    "POST /v1/customers/<id:customer_id>/joint-proposals": owned(
        422, lambda *_: {"basket_id": "theme-water"}
    ),
    "DELETE /v1/customers/<id:customer_id>/joint-proposals/<id:proposal_id>": owned(404),
    "POST /v1/customers/<id:customer_id>/joint-proposals/<id:proposal_id>/acceptance": owned(404),
    "GET /v1/customers/<id:customer_id>/trading-limits": owned(OK),
    # Positions from other firms; the body of a file is CSV, which this table does not send.
    "POST /v1/accounts/<id:account_id>/transfers-in": owned(415, lambda *_: {}),
    "GET /v1/accounts/<id:account_id>/transfers-in": owned(OK),
    "GET /v1/accounts/<id:account_id>/transfers-in/<id:transfer_in_id>": owned(OK),
    "POST /v1/accounts/<id:account_id>/transfers-in/<id:transfer_in_id>/confirmation": owned(OK),
    "DELETE /v1/accounts/<id:account_id>/transfers-in/<id:transfer_in_id>": owned(NOTHING),
    # There is too little history in this world for a risk model.
    "POST /v1/accounts/<id:account_id>/tax-budget-frontier": owned(422, lambda *_: {}),
    # Taxes
    "GET /v1/customers/<id:customer_id>/tax-profile": owned(OK),
    "PUT /v1/customers/<id:customer_id>/tax-profile": owned(OK, _tax_profile),
    "GET /v1/customers/<id:customer_id>/tax-choices": owned(OK),
    "PUT /v1/customers/<id:customer_id>/tax-choices": owned(OK, lambda *_: {"mode": "harvest"}),
    "GET /v1/customers/<id:customer_id>/tax-standing": owned(OK),
    "GET /v1/customers/<id:customer_id>/realised-gains": owned(OK),
    "GET /v1/customers/<id:customer_id>/tax-report": owned(OK),
    "GET /v1/customers/<id:customer_id>/tax-report.csv": owned(OK),
    "GET /v1/accounts/<id:account_id>/tax-report": owned(OK),
    "GET /v1/accounts/<id:account_id>/tax-report.csv": owned(OK),
    "GET /v1/customers/<id:customer_id>/ira-room": owned(422),
    "GET /v1/customers/<id:customer_id>/outside-accounts": owned(OK),
    "POST /v1/customers/<id:customer_id>/outside-accounts": owned(
        MADE, lambda *_: {"kind": "taxable", "name": "Old broker"}
    ),
    "DELETE /v1/customers/<id:customer_id>/outside-accounts/<id:outside_id>": owned(NOTHING),
    # Its body is CSV, which this table does not send.
    "POST /v1/customers/<id:customer_id>/outside-accounts/<id:outside_id>/imports": owned(
        415, lambda *_: {}
    ),
    # What is nobody's own
    "GET /v1/events": listing(),
    "GET /v1/prices": listing(),
    "POST /v1/screens/check": Row(OK, OK, OK, 403, 401, lambda *_: {"filter": "exclude coal > 5%"}),
    "GET /v1/audit": Row(403, 403, OK, 403, 401, None, OK),
    # A firm's operators, by their key; another firm has a queue, a switch and breaks of its own
    "GET /v1/operations/queue": firms_own(),
    "GET /v1/operations/breaks": firms_own(),
    "GET /v1/operations/dry-run": firms_own(),
    "GET /v1/operations/kill-switch": firms_own(),
    "PUT /v1/operations/kill-switch": firms_own(lambda *_: {"stopped": False, "reason": "a drill"}),
    "PUT /v1/operations/kill-switch/everybody": operators(
        lambda *_: {"stopped": False, "reason": "a drill"}
    ),
    "POST /v1/operations/reconciliations": firms_own(),
    "POST /v1/operations/transfers/<id:transfer_id>/decision": Row(
        403, 403, 404, 403, 401, lambda *_: {"decision": "release", "note": "looked"}, 404
    ),
    "POST /v1/operations/applications/<id:application_id>/retry": Row(
        403, 403, 404, 403, 401, lambda *_: {"note": "looked"}, 404
    ),
    "POST /v1/operations/breaks/<id:break_id>/clearance": Row(
        403, 403, 404, 403, 401, lambda *_: {"note": "looked"}, 404
    ),
    "POST /v1/operations/broker-orders/<id:block_id>/decision": Row(
        403, 403, 404, 403, 401, lambda *_: {"decision": "end", "note": "looked"}, 404
    ),
    "POST /v1/operations/executions/decision": Row(
        403,
        403,
        404,
        403,
        401,
        lambda *_: {"execution_id": "x", "decision": "dismiss", "note": "looked"},
        404,
    ),
    "PUT /v1/customers/<id:customer_id>/identity": operators(lambda *_: {"decision": "accept"}),
    "DELETE /v1/customers/<id:customer_id>/personal-data": operators(),
}

QUERIES = {
    "GET /v1/prices": lambda _: {"symbols": "AAPL"},
    "GET /v1/baskets/<string(maxlength=80):basket_id>/explain": lambda things: {
        "customer_id": things.ids["customer_id"]
    },
}


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Ground]:
    with standing(tmp_path_factory.mktemp("matrix") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def other_firm(ground: Ground) -> str:
    r = ground.world.runtime
    return licensing.create_firm(r.db, r.keyring, r.clock, "Elsewhere")


@pytest.fixture(scope="module")
def foreign(ground: Ground, other_firm: str) -> Person:
    """Return the key of another firm, which has a customer with an account of its own."""
    key = ground.firm_key(*licensing.FIRM_SCOPES, firm_id=other_firm)
    made = key.must("POST", "/v1/customers", {"external_ref": "their-1"})
    key.customer_id = made["customer_id"]
    ground.enrol(key)
    return key


@pytest.fixture(scope="module")
def own_firm(ground: Ground) -> Person:
    return ground.firm_key(*licensing.FIRM_SCOPES)


@pytest.fixture(scope="module")
def traded(ground: Ground) -> tuple[Things, Things]:
    """Return two investors who have everything: orders, fills, a withdrawal, a plan."""
    both = [ground.investor(), ground.investor()]
    for person in both:
        ground.deposit(person, "100.00")
    ground.world.trade()
    for person in both:
        ground.log_in(person)
    return _things(both[0]), _things(both[1])


@pytest.fixture
def other(ground: Ground, traded: tuple[Things, Things]) -> Person:
    return ground.log_in(traded[1].person)


def _things(person: Person) -> Things:
    account = f"/v1/accounts/{person.account_id}"
    restriction = {"symbol": "AAPL", "verb": "never_buy"}
    restricted = person.must(
        "POST", f"/v1/customers/{person.customer_id}/restrictions", restriction
    )
    made = {
        "account_id": person.account_id,
        "customer_id": person.customer_id,
        "link_id": person.link_id,
        "session_id": person.session_id,
        "security_id": str(restricted["security_id"]),
        "plan_id": person.must("POST", f"{account}/plans", _plan(person))["id"],
        "order_id": person.must("GET", f"{account}/orders")["items"][0]["id"],
        "deposit_id": person.must("GET", f"{account}/deposits")["items"][0]["id"],
        "agreement_id": "form_crs",
        "basket_id": "theme-water",
        "filename": "pages.css",
        "token": "ra_mt_" + "A" * 43,
    }
    mine = f"/v1/customers/{person.customer_id}"
    asked_for = {"email": "nobody@example.com", "signed": "Yours", "since_on": "2020-01-01"}
    sent = person.must("POST", f"{mine}/household-invitations", asked_for)
    noted = person.must("POST", f"{mine}/outside-accounts", {"kind": "ira", "name": "Elsewhere"})
    made |= {
        "invitation_id": sent["id"],
        "outside_id": noted["id"],
        "proposal_id": "jnt_" + "0" * 30,
        "transfer_id": "dep_" + "0" * 30,
        "application_id": person.account_id,
        "break_id": "brk_" + "0" * 30,
        "block_id": "blk_" + "0" * 30,
    }
    made["transfer_in_id"] = _draft(person)
    asked = {"bank_link_id": person.link_id, "amount": "10.00"}
    made["withdrawal_id"] = person.must("POST", f"{account}/withdrawals", asked)["id"]
    return Things(person, made)


def _draft(person: Person) -> str:
    """Send a file of positions that was not sent before."""
    path = f"/v1/accounts/{person.account_id}/transfers-in"
    text = f"symbol,shares,basis,acquired\nAAPL,{next(_FILES)},100.00,2020-01-02\n"
    reply = person.send("POST", path, data=text.encode(), content_type="text/csv")
    assert reply.status_code == MADE, reply.data
    return str(reply.get_json()["id"])


def _plan(person: Person) -> dict[str, Any]:
    return {"bank_link_id": person.link_id, "amount": "25.00", "cadence": "weekly", "day": 2}


def routes(ground: Ground) -> dict[str, str]:
    """Return the scope of every route of the app."""
    found = {}
    for rule in ground.app.url_map.iter_rules():
        view = ground.app.view_functions[rule.endpoint]
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            scope = mark_of(view, method, "robo_scope")
            assert scope is not None, f"{method} {rule.rule} declares no scope"
            wanted = scope or mark_of(view, method, "robo_or_scope") or ""
            found[f"{method} {rule.rule}"] = wanted
    return found


def path_of(route: str, ids: dict[str, str]) -> str:
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda m: ids[m[1]], route.partition(" ")[2])


def asked(who: Person, route: str, things: Things, ground: Ground) -> Any:
    """Send the request of a route about somebody's things."""
    body = TABLE[route].body
    query = QUERIES.get(route, lambda _: None)(things)
    sent = body(things, ground) if body else None
    method, path = route.partition(" ")[0], path_of(route, things.ids)
    return who.send(method, path, sent, query_string=query)


def fingerprint(ground: Ground) -> dict[str, str]:
    """Return a hash of the content of every table that somebody's things are in."""
    found = {}
    with ground.world.db.read() as session:
        # The driver's own rows: those of SQLAlchemy cost more, and show long values cut short.
        ask: Any = session.connection().connection.driver_connection
        for name in ground.tables() - _UNWATCHED:
            # A wrong proof counts against the caller's own credential; what it protects must stay.
            columns = "customer_id, password_hash, totp_sealed" if name == "credential" else "*"
            rows = ask.execute(f'SELECT {columns} FROM "{name}"').fetchall()
            found[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def test_every_route_is_in_the_table_and_every_row_has_a_route(ground: Ground) -> None:
    assert sorted(routes(ground)) == sorted(TABLE)


def test_the_public_routes_are_these_and_no_others(ground: Ground) -> None:
    public = {route for route, wanted in routes(ground).items() if not wanted}

    assert public == {
        route for route, row in TABLE.items() if row.nobody != 401 and row.lesser != 403
    } | {
        "POST /v1/tokens",
        "POST /v1/password-resets/use",
        "POST /v1/email-verifications/use",
        "GET /v1/documents/<token>",
    }


@pytest.mark.parametrize("route", sorted(TABLE))
def test_who_gets_what(
    ground: Ground,
    route: str,
    traded: tuple[Things, Things],
    other: Person,
    foreign: Person,
    own_firm: Person,
) -> None:
    things, row = traded[0], TABLE[route]
    ground.log_in(things.person)
    things.ids["session_id"] = things.person.session_id
    wanted = routes(ground)[route]
    lesser = ground.firm_key(*(s for s in licensing.FIRM_SCOPES if s != wanted))
    refused = (
        ("nobody", ground.stranger(), row.nobody),
        ("lesser", lesser, row.lesser),
        ("foreign", foreign, row.foreign),
        ("other", other, row.other),
    )

    before: dict[str, str] | None = None
    for name, who, status in refused:
        before = before or fingerprint(ground)
        reply = asked(who, route, things, ground)
        assert reply.status_code == status, f"{name}: {reply.get_data()!r}"
        if status in {401, 403, 404}:
            assert fingerprint(ground) == before, name
        else:
            before = None
        if route.startswith("GET /v1") and wanted:
            told = reply.get_data(as_text=True)
            assert not [one for one in things.secrets() if one in told], name
        if status == 404:
            absent = asked(who, route, _absent(things), ground)
            assert _said(absent) == _said(reply), name
        if name == "lesser" and wanted:
            assert reply.get_json()["reasons"] == [wanted]
    for name, who, status in (
        ("own firm", own_firm, row.owner if row.own_firm is None else row.own_firm),
        ("owner", things.person, row.owner),
    ):
        reply = asked(who, route, _fresh(things, route), ground)
        assert reply.status_code == status, f"{name}: {reply.get_data()!r}"


CROSSED = (
    ("GET /v1/accounts/{mine}/deposits/{deposit_id}", None),
    ("GET /v1/accounts/{mine}/withdrawals/{withdrawal_id}", None),
    ("DELETE /v1/accounts/{mine}/withdrawals/{withdrawal_id}", None),
    ("GET /v1/accounts/{mine}/orders/{order_id}", None),
    ("PATCH /v1/accounts/{mine}/plans/{plan_id}", {"state": "paused"}),
    ("DELETE /v1/accounts/{mine}/plans/{plan_id}", None),
    ("PATCH /v1/accounts/{mine}/plans/{my_plan}", {"bank_link_id": "{link_id}"}),
    ("POST /v1/accounts/{mine}/deposits", {"bank_link_id": "{link_id}", "amount": "5.00"}),
    ("POST /v1/accounts/{mine}/withdrawals", {"bank_link_id": "{link_id}", "amount": "1.00"}),
    ("POST /v1/accounts/{mine}/closure", {"bank_link_id": "{link_id}"}),
    (
        "POST /v1/accounts/{mine}/plans",
        {"bank_link_id": "{link_id}", "amount": "25.00", "cadence": "weekly", "day": 1},
    ),
    ("DELETE /v1/customers/{me}/bank-links/{link_id}", None),
    ("DELETE /v1/sessions/{session_id}", None),
    (
        "POST /v1/accounts",
        {"customer_id": "{customer_id}", "kind": "individual", "basket_id": "theme-water"},
    ),
)


@pytest.mark.parametrize(("route", "body"), CROSSED)
def test_ones_own_account_opens_nothing_of_somebody_else(
    ground: Ground, traded: tuple[Things, Things], other: Person, route: str, body: Any
) -> None:
    theirs, mine = traded[0].ids, traded[1].ids
    names = theirs | {
        "mine": other.account_id,
        "me": other.customer_id,
        "my_plan": mine["plan_id"],
    }
    method, _, path = route.format_map(names).partition(" ")
    sent = body and {
        key: value.format_map(names) if "{" in str(value) else value for key, value in body.items()
    }
    before = fingerprint(ground)

    reply = other.send(method, path, sent)

    assert reply.status_code == 404, reply.get_data()
    assert fingerprint(ground) == before


@pytest.mark.parametrize(
    "kind", ["expired", "logged out", "refresh", "revoked key", "made up", "cut"]
)
def test_a_dead_credential_is_nobodys(
    ground: Ground, traded: tuple[Things, Things], kind: str
) -> None:
    things = traded[0]
    dead = Person(ground.app.test_client(), _dead_token(ground, kind))
    tried = 0

    for route, wanted in routes(ground).items():
        if not wanted:
            continue
        tried += 1
        path = path_of(route, things.ids)
        for method in {route.partition(" ")[0], *(["HEAD"] if route.startswith("GET") else [])}:
            reply = dead.send(method, path)
            assert reply.status_code == 401, (method, path, reply.get_data())
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        dead.address = elsewhere()

    assert tried > 40


def test_an_operators_key_does_what_operators_do_and_nothing_else(
    ground: Ground, traded: tuple[Things, Things]
) -> None:
    operator, things = ground.firm_key("admin:*"), traded[0]
    gone = ground.signed_up()
    doomed = Things(gone, {"customer_id": gone.customer_id})

    for route, wanted in routes(ground).items():
        if wanted and not wanted.startswith("admin:"):
            reply = operator.send(route.partition(" ")[0], path_of(route, things.ids), {})
            assert reply.status_code == 403, (route, reply.get_data())
    decided = asked(operator, "PUT /v1/customers/<id:customer_id>/identity", doomed, ground)
    shredded = asked(
        operator, "DELETE /v1/customers/<id:customer_id>/personal-data", doomed, ground
    )

    assert (decided.status_code, shredded.status_code) == (409, 204)
    assert gone.get("/v1/accounts").status_code == 401
    assert (
        ground.stranger()
        .post("/v1/sessions", {"email": gone.email, "password": PASSWORD})
        .status_code
        == 401
    )
    again = {"email": gone.email, "password": PASSWORD}
    assert ground.stranger().post("/v1/customers", again).status_code == 201


def test_lists_hold_what_is_ones_own_and_all_of_it(
    ground: Ground, traded: tuple[Things, Things], foreign: Person, own_firm: Person
) -> None:
    one, two = (ground.log_in(things.person) for things in traded)

    def ids(who: Person, path: str) -> set[str]:
        found: set[str] = set()
        after: dict[str, str] = {}
        while True:
            page = who.send("GET", path, query_string={"limit": "2", **after}).get_json()
            found |= {item["id"] for item in page["items"]}
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    def events(who: Person) -> set[str | None]:
        items = who.send("GET", "/v1/events", query_string={"limit": "100"}).get_json()["items"]
        return {item["customer_id"] for item in items}

    with ground.world.db.read() as session:
        mine = f"SELECT id FROM account WHERE customer_id = '{one.customer_id}'"
        accounts = set(session.connection().exec_driver_sql(mine).scalars())
    assert ids(one, "/v1/accounts") == accounts
    assert one.account_id in accounts
    assert ids(one, "/v1/customers") == {one.customer_id}
    assert ids(foreign, "/v1/accounts") == {foreign.account_id}
    assert ids(foreign, "/v1/customers") == {foreign.customer_id}
    assert ids(own_firm, "/v1/customers") >= {one.customer_id, two.customer_id}
    assert foreign.customer_id not in ids(own_firm, "/v1/customers")
    assert foreign.account_id not in ids(own_firm, "/v1/accounts")
    assert events(one) == {one.customer_id}
    # What concerns the whole firm, like its switch, names no customer.
    assert events(foreign) - {None} == {foreign.customer_id}
    assert foreign.customer_id not in events(own_firm)


def _dead_token(ground: Ground, kind: str) -> str:
    r = ground.world.runtime
    if kind == "revoked key":
        with r.db.read() as session:
            firm_id = licensing.house(session) or ""
        secret = licensing.create_key(r.db, r.keyring, r.clock, firm_id, kind, ["accounts:read"])
        with r.db.read() as session:
            (key,) = (row for row in licensing.keys(session, firm_id) if row["name"] == kind)
        licensing.revoke_key(r.db, r.keyring, r.clock, key["id"])
        return secret
    person = ground.signed_up()
    if kind == "logged out":
        assert person.send("DELETE", f"/v1/sessions/{person.session_id}").status_code == 204
    elif kind == "refresh":
        return person.refresh_token
    elif kind == "made up":
        return "ra_at_" + "A" * 43
    elif kind == "cut":
        return person.token[:-1]
    elif kind == "expired":
        ground.world.clock.advance(timedelta(minutes=16))
    return person.token


def _absent(things: Things) -> Things:
    """Return things that nobody has."""
    made = {
        name: child_id(value.partition("_")[0], "absent", value)
        if name in {"customer_id", "account_id", "session_id"}
        else value
        for name, value in things.ids.items()
    }
    return Things(things.person, made)


def _said(reply: Any) -> tuple[int, str, str]:
    problem = reply.get_json()
    return reply.status_code, problem["code"], problem["detail"]


def _fresh(things: Things, route: str) -> Things:
    """Return the things with a new one in the place of what the request uses up."""
    person, made = things.person, things.ids
    account, mine = f"/v1/accounts/{person.account_id}", f"/v1/customers/{person.customer_id}"
    method, _, path = route.partition(" ")
    if method == "GET":
        return things
    if "link_id" in path:
        numbers = {"routing_number": "021000021", "account_number": "777000777"}
        spare = person.must("POST", f"{mine}/bank-links", numbers)["id"]
        return Things(person, {**made, "link_id": spare})
    if "plan_id" in path:
        made["plan_id"] = person.must("POST", f"{account}/plans", _plan(person))["id"]
    if path.endswith(("/withdrawals", "/<id:withdrawal_id>", "/closure")):
        # At most one withdrawal is prepared at a time; a closure must find one and be refused.
        for one in person.must("GET", f"{account}/withdrawals")["items"]:
            person.send("DELETE", f"{account}/withdrawals/{one['id']}")
    if path.endswith(("/<id:withdrawal_id>", "/closure")):
        body = {"bank_link_id": person.link_id, "amount": "1.00"}
        made["withdrawal_id"] = person.must("POST", f"{account}/withdrawals", body)["id"]
    if "transfer_in_id" in path:
        made["transfer_in_id"] = _draft(person)
    if "security_id" in path:
        person.must("POST", f"{mine}/restrictions", {"symbol": "AAPL", "verb": "never_buy"})
    return things
