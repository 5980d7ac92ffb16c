"""Hostile paths, ids, queries, cursors, headers, hosts and methods against every route.

Whatever the request line and headers hold: never a failure of ours, every refusal a problem with
a stable code, nothing written.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hostile_ground import SECRETS, Listener, Rows, judged
from samples import hostile
from story import Ground, Person, elsewhere, standing

from robo.api.auth import mark_of
from robo.core.market_calendar import MarketCalendar
from robo.services import licensing

_VARIABLE = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Ground]:
    with standing(tmp_path_factory.mktemp("addresses") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def me(ground: Ground) -> Person:
    return ground.investor()


@pytest.fixture(scope="module")
def callers(ground: Ground, me: Person) -> Sequence[Person]:
    """Return a customer, a firm's key and an operator's: between them they reach every view."""
    return me, ground.firm_key(*licensing.FIRM_SCOPES), ground.firm_key("admin:*")


@pytest.fixture(autouse=True)
def _quiet(ground: Ground) -> Iterator[None]:
    """Hold every test to it that nothing was written, and nothing failed, that it did not see."""
    rows = Rows(ground)
    before = rows.now()
    with Listener.listening() as listener:
        yield
    assert rows.now() == before
    for line in listener.lines:
        assert '"level":"error"' not in line.replace(" ", ""), line


def reaching(ground: Ground, callers: Sequence[Person], rule: str, method: str) -> Person:
    """Return somebody whom a route lets in."""
    me, firm, operator = callers
    for found in ground.app.url_map.iter_rules():
        if found.rule == rule and method in (found.methods or ()):
            view = ground.app.view_functions[found.endpoint]
            scope = mark_of(view, method, "robo_scope") or ""
            return operator if scope.startswith("admin") else firm if scope == "firm:read" else me
    raise LookupError(rule)


def templates(ground: Ground) -> list[tuple[str, str]]:
    """Return every method and rule of the app."""
    return sorted(
        (method, rule.rule)
        for rule in ground.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
    )


BODIES = {
    "held": {"choice": "keep"},
    "deposits": {"bank_link_id": "lnk_" + "0" * 30, "amount": "5.00"},
    "withdrawals": {"bank_link_id": "lnk_" + "0" * 30, "amount": "5.00"},
    "closure": {"bank_link_id": "lnk_" + "0" * 30},
    "restrictions": {"symbol": "AAPL", "verb": "never_buy"},
    "identity": {"decision": "accept"},
    "<id:plan_id>": {"state": "paused"},
}
"""Bodies that would do, by the last word of the path, so that the id is what decides."""


def test_a_hostile_id_in_a_path_names_nothing(
    ground: Ground, me: Person, callers: Sequence[Person]
) -> None:
    known = {"account_id": me.account_id, "customer_id": me.customer_id, "security_id": "1"}
    seen: Counter[int] = Counter()

    for method, rule in templates(ground):
        names = _VARIABLE.findall(rule)
        who = reaching(ground, callers, rule, method)
        body = BODIES.get(rule.rpartition("/")[2]) if method in {"POST", "PUT", "PATCH"} else None
        for place in range(len(names)):
            for segment in hostile.SEGMENTS:
                fills = [known.get(name, "x_" + "0" * 30) for name in names]
                fills[place] = segment
                filling = iter(fills)
                path = _VARIABLE.sub(lambda _, rest=filling: next(rest), rule)  # type: ignore[misc] # one rule at a time
                reply = who.send(method, path, body)
                seen[judged(reply, (method, path), SECRETS)] += 1
                assert reply.status_code >= 400, (method, path)

    print(f"{sum(seen.values())} requests: {dict(seen)}")


def test_a_hostile_path_is_not_found_and_never_leads_elsewhere(me: Person) -> None:
    found = {}

    for path in hostile.PATHS:
        reply = me.send("GET", path)
        found[path] = judged(reply, path)
        assert "Location" not in reply.headers, path
        assert b"root:" not in reply.get_data()
        assert b"def create_app" not in reply.get_data()

    fine = {path for path, status in found.items() if status < 400}
    assert fine == {"/v1/%61ccounts", "/?%00"}


def test_a_hostile_query_is_refused_or_means_nothing(
    ground: Ground, me: Person, callers: Sequence[Person]
) -> None:
    seen: Counter[int] = Counter()
    known = {
        "account_id": me.account_id,
        "customer_id": me.customer_id,
        "basket_id": "theme-water",
        "agreement_id": "form_crs",
        "filename": "pages.css",
    }

    for method, rule in templates(ground):
        names = _VARIABLE.findall(rule)
        if method != "GET" or not set(names) <= known.keys():
            continue
        path = _VARIABLE.sub(lambda match: known[match[1]], rule)
        own = reaching(ground, callers, rule, method)
        for who in {id(one): one for one in (own, me, callers[1])}.values():
            for query in hostile.QUERIES if who is own else hostile.QUERIES[::5]:
                reply = who.send(method, f"{path}?{query}")
                seen[judged(reply, (path, query), SECRETS)] += 1

    print(f"{sum(seen.values())} requests: {dict(seen)}")
    assert seen[422] > 500


def test_a_cursor_works_on_its_own_list_only(me: Person) -> None:
    lists = [
        f"/v1/accounts/{me.account_id}/deposits",
        f"/v1/accounts/{me.account_id}/lots",
        f"/v1/accounts/{me.account_id}/activity",
        f"/v1/customers/{me.customer_id}/restrictions",
        "/v1/accounts",
        "/v1/baskets/theme-water/rejects",
    ]
    (rejects,) = (path for path in lists if path.endswith("rejects"))
    cursor = me.must("GET", f"{rejects}?limit=1")["next"]

    refused = [path for path in lists if me.get(path, after=cursor).status_code == 422]

    # A cursor that is one number also has the form of the activity's: it only skips ahead there.
    assert refused == [path for path in lists if not path.endswith(("rejects", "activity"))]


@pytest.mark.parametrize(("name", "value"), hostile.HEADERS)
def test_a_hostile_credential_or_key_is_refused(me: Person, name: str, value: str) -> None:
    body = {"bank_link_id": me.link_id, "amount": "5.00"}

    reply = me.send("POST", f"/v1/accounts/{me.account_id}/deposits", body, headers={name: value})

    judged(reply, (name, value))
    assert reply.status_code == (401 if name == "Authorization" else 422)
    assert len(value.strip()) < 9 or value not in reply.get_data(as_text=True)
    me.address = elsewhere()


@pytest.mark.parametrize(("name", "value"), hostile.STRANGE_HEADERS)
def test_a_strange_header_changes_nothing(me: Person, name: str, value: str) -> None:
    path = f"/v1/accounts/{me.account_id}"
    usual = me.get(path).get_data()

    reply = me.send("GET", path, headers={name: value})
    page = me.send("GET", "/openapi.json", headers={name: value})
    refused = me.send("POST", f"{path}/deposits", {}, headers={name: value})

    assert (reply.status_code, reply.get_data()) == (200, usual)
    assert judged(page, (name, value)) == 200
    assert judged(refused, (name, value)) == 422
    for one in (reply, page, refused):
        assert "evil" not in str(one.headers)
        assert "forged" not in str(one.headers)
        assert "Access-Control-Allow-Origin" not in one.headers


@pytest.mark.parametrize("host", hostile.HOSTS)
def test_a_hostile_host_is_not_repeated(me: Person, host: str) -> None:
    for path in ("/v1/accounts", "/v1//accounts", "/docs", "/static/pages.css", "/nowhere"):
        reply = me.send("GET", path, headers={"Host": host})
        judged(reply, (path, host))
        assert "Location" not in reply.headers
        assert "evil" not in str(reply.headers) + reply.get_data(as_text=True)[:2_000]


@pytest.mark.parametrize("method", hostile.METHODS)
def test_an_unknown_method_is_refused(me: Person, method: str) -> None:
    for path in ("/v1/accounts", f"/v1/accounts/{me.account_id}", "/docs", "/static/pages.css"):
        reply = me.send(method, path)
        status = judged(reply, (method, path))
        # Flask's test client, unlike servers, writes methods in upper case.
        assert status == (200 if method == "get" else 405), path
        assert "TRACE" not in reply.headers.get("Allow", "")


def test_other_peoples_addresses_are_believed_from_nobody(ground: Ground) -> None:
    who = ground.stranger()
    headers = {"Authorization": "Bearer ra_at_" + "A" * 43}

    statuses = Counter(
        who.send(
            "GET", "/v1/accounts", headers={**headers, "X-Forwarded-For": elsewhere()}
        ).status_code
        for _ in range(320)
    )

    assert statuses == {401: 300, 429: 20}
