"""Every route against owner, other customer, other firm, lesser scope and nobody."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from callers import Caller, firm
from flask import Flask
from newcomer import Newcomer, cheap_app, investor_to_be, newcomer
from world import World, make_world

from robo.api.auth import mark_of
from robo.core.errors import InvalidInputError
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.services import licensing

NOBODYS_PAGES = {"/", "/docs", "/confirm", "/openapi.json", "/health/live", "/health/ready"}


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: str
    rule: str
    scope: str
    or_scope: str

    def path(self, customer: str, account: str) -> str:
        """Return the path for a customer and an account; other ids are made up."""
        known = {"customer_id": customer, "account_id": account, "agreement_id": "form_crs"}

        def fill(match: re.Match[str]) -> str:
            kind, name = match[1], match[2]
            return known.get(name) or ("1" if kind == "int:" else child_id("xyz", name))

        return re.sub(r"<([a-z]+:)?([a-z_]+)>", fill, self.rule)

    @property
    def owned(self) -> bool:
        """Return whether the path names whose it is."""
        return "<id:customer_id>" in self.rule or "<id:account_id>" in self.rule


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("matrix") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


@pytest.fixture(scope="module")
def routes(app: Flask) -> list[Route]:
    found = []
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            view = app.view_functions[rule.endpoint]
            scope = mark_of(view, method, "robo_scope")
            assert scope is not None, f"{method} {rule.rule} declares no scope"
            or_scope = mark_of(view, method, "robo_or_scope") or ""
            found.append(Route(method, rule.rule, scope, or_scope))
    return found


@pytest.fixture(scope="module")
def owner(app: Flask) -> tuple[Newcomer, str]:
    person, basket_id = investor_to_be(app)
    return person, str(person.open(basket_id).get_json()["id"])


def status(caller: Caller, route: Route, path: str) -> int:
    body = None if route.method in {"GET", "DELETE"} else {}
    return caller.send(route.method, path, body).status_code


def test_there_are_routes_and_public_ones_are_few(routes: list[Route]) -> None:
    public = {f"{r.method} {r.rule}" for r in routes if not r.scope}

    print(f"{len(routes)} routes, {len(public)} public")
    assert len(routes) > 40
    assert public >= {f"GET {page}" for page in NOBODYS_PAGES}
    assert {one for one in public if "customer_id" in one or "account_id" in one} == set()


def test_nobody_gets_nowhere(app: Flask, routes: list[Route], owner: tuple[Newcomer, str]) -> None:
    person, account = owner
    client = app.test_client()

    for route in routes:
        if route.scope:
            reply = client.open(route.path(person.id, account), method=route.method)
            assert reply.status_code == 401, (route, reply.get_json())


def test_a_lesser_scope_is_refused_everywhere(
    world: World, app: Flask, routes: list[Route], owner: tuple[Newcomer, str]
) -> None:
    person, account = owner

    for route in routes:
        wanted = route.scope or route.or_scope
        if not wanted:
            continue
        others = [s for s in licensing.FIRM_SCOPES if s != wanted]
        lesser = firm(world, app, *others)
        reply = lesser.send(route.method, route.path(person.id, account), None)
        assert (reply.status_code, reply.get_json()["code"]) == (403, "scope_missing"), route


def test_an_operator_is_no_firm_and_a_customer_no_operator(
    world: World, app: Flask, routes: list[Route], owner: tuple[Newcomer, str]
) -> None:
    person, account = owner
    operator = firm(world, app, "admin:*")

    for route in routes:
        if route.scope and not route.scope.startswith("admin:"):
            assert status(operator, route, route.path(person.id, account)) == 403, route
        if route.scope.startswith(("admin:", "firm:")):
            reply = person.send(route.method, route.path(person.id, account))
            assert reply.status_code == 403, route


def test_other_customers_and_other_firms_see_nothing_of_it(
    world: World, app: Flask, routes: list[Route], owner: tuple[Newcomer, str]
) -> None:
    person, account = owner
    stranger = newcomer(app)
    r = world.runtime
    elsewhere = licensing.create_firm(world.db, r.keyring, r.clock, "Elsewhere")
    other_firm = firm(world, app, *licensing.FIRM_SCOPES, firm_id=elsewhere)
    strangers = Caller(app.test_client(), str(stranger.tokens["access_token"]))
    tried = 0

    for route in routes:
        if not route.owned or route.scope.startswith("admin:"):
            continue
        path = route.path(person.id, account)
        for caller in (strangers, other_firm):
            tried += 1
            # A body that is not acceptable may be said before whose things these are.
            assert status(caller, route, path) in {404, 422}, route
            if route.method in {"GET", "DELETE"}:
                assert status(caller, route, path) == 404, route

    print(f"{tried} foreign calls refused")
    assert tried > 40


def test_the_owner_gets_in(routes: list[Route], owner: tuple[Newcomer, str]) -> None:
    person, account = owner

    for route in routes:
        if route.owned and route.method == "GET" and route.rule.count("<") == 1:
            reply = person.get(route.path(person.id, account))
            assert reply.status_code in {200, 404, 422}, (route, reply.get_data(as_text=True))
            told = reply.get_json(silent=True) or {}  # a report may be a CSV file
            assert told.get("code") != "scope_missing"


def test_keys_can_be_given_exactly_the_scopes_that_routes_ask_for(routes: list[Route]) -> None:
    sessions_are_personal = {"sessions:read", "sessions:write"}
    asked = {s for r in routes for s in (r.scope, r.or_scope) if s} - sessions_are_personal

    granted = {s for s in licensing.SCOPES if not s.startswith("admin:")}

    assert {s for s in asked if not s.startswith("admin:")} == granted


def test_what_only_a_person_may_do_is_refused_to_keys(world: World, app: Flask) -> None:
    with pytest.raises(Exception, match="Scopes are"):
        firm(world, app, "sessions:write")


def test_only_the_house_may_have_an_operators_key(world: World) -> None:
    r = world.runtime
    firm_id = licensing.create_firm(world.db, r.keyring, r.clock, "Curious Brokerage")

    with pytest.raises(InvalidInputError) as refused:
        licensing.create_key(world.db, r.keyring, r.clock, firm_id, "too much", ["admin:*"])

    assert refused.value.code == "house_only"
