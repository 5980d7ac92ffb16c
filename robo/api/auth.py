"""Who calls, what they may do, and whose things are whose: decided here and nowhere else.

Every view carries a mark: `requires(scope)` or `public()`. The check runs before the body is read,
whatever the order of decorators. A route without a mark is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from flask import Flask, g, request

from robo.api import limits
from robo.api.state import now_micros, reading, runtime
from robo.core.errors import (
    AuthenticationError,
    BrokenInvariantError,
    NotFoundError,
    PermissionDeniedError,
)
from robo.services import securing
from robo.store import households, owners, tokens

View = TypeVar("View", bound=Callable[..., Any])

CUSTOMER_SCOPE: Final = "customer"
"""The scope of a customer's own session: everything that is not a firm's or an operator's."""
_RESERVED: Final = ("admin:", "firm:")
_BEARER: Final = "Bearer "
_MINUTE: Final = 60_000_000
_KEY_USE_EVERY: Final = 3_600_000_000
"""A key's last use is noted at most hourly: reads should not write."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling."""

    kind: Literal["customer", "firm", "operator"]
    firm_id: str
    customer_id: str | None
    scopes: frozenset[str]
    family_id: str | None
    key_id: str | None
    stepped_up_at: int | None

    @property
    def name(self) -> str:
        """Return what idempotency keys and audit rows call this caller."""
        return self.customer_id or self.firm_id

    @property
    def actor(self) -> str:
        """Return what the audit trail calls this caller: the customer, or the very key."""
        return self.customer_id or self.key_id or self.firm_id

    def may(self, scope: str) -> bool:
        """Return whether a scope is granted."""
        resource = scope.partition(":")[0]
        if scope in self.scopes or f"{resource}:*" in self.scopes:
            return True
        return CUSTOMER_SCOPE in self.scopes and not scope.startswith(_RESERVED)


def requires(scope: str) -> Callable[[View], View]:
    """Mark a view with the scope a caller needs."""

    def mark(view: View) -> View:
        view.__dict__["robo_scope"] = scope
        return view

    return mark


def public(*, or_scope: str | None = None) -> Callable[[View], View]:
    """Mark a view that anybody may call; a credential that is sent must have `or_scope`."""

    def mark(view: View) -> View:
        view.__dict__["robo_scope"] = ""
        view.__dict__["robo_or_scope"] = or_scope
        return view

    return mark


def mark_of(view: Any, method: str, name: str) -> Any:
    """Return a mark of a view function or of the method of a view class, None if there is none."""
    inner = getattr(view, "view_class", None)
    if inner is not None:
        verb = "get" if method == "HEAD" else method.lower()
        view = getattr(inner, verb, None)
    return getattr(view, name, None)


def install(app: Flask) -> None:
    """Check the caller of every request before its body is read."""

    def check() -> None:
        if request.endpoint is None or request.method == "OPTIONS":
            return
        view = app.view_functions[request.endpoint]
        scope = mark_of(view, request.method, "robo_scope")
        if scope is None:
            message = "this route declares no scope"
            raise BrokenInvariantError(message, code="route_unmarked")
        wanted = scope or mark_of(view, request.method, "robo_or_scope")
        if not scope and (not wanted or "Authorization" not in request.headers):
            return
        g.caller = _authenticate()
        if not g.caller.may(wanted):
            message = "Your credential does not cover this."
            raise PermissionDeniedError(message, code="scope_missing", reasons=[wanted])

    app.before_request(check)


def caller() -> Caller:
    """Return who is calling.

    Raises:
        AuthenticationError: If nobody said who they are (only on public routes).
    """
    found: Caller | None = g.get("caller")
    if found is None:
        message = "Send a bearer token."
        raise AuthenticationError(message)
    return found


def caller_if_any() -> Caller | None:
    """Return who is calling on a public route, None for a stranger."""
    found: Caller | None = g.get("caller")
    return found


def owned_customer(customer_id: str) -> owners.Customer:
    """Return a customer of the caller: itself, or one of the firm's.

    Raises:
        NotFoundError: If there is none; somebody else's looks just the same.
    """
    who = caller()
    with reading() as session:
        found = owners.find_customer(session, customer_id)
    if found is None or not _owns(who, found.firm_id, found.id):
        message = "There is no such customer."
        raise NotFoundError(message)
    return found


def any_customer(customer_id: str) -> owners.Customer:
    """Return any firm's customer; only for routes that require an `admin:` scope.

    Raises:
        NotFoundError: If there is none.
    """
    assert caller().kind == "operator"
    with reading() as session:
        found = owners.find_customer(session, customer_id)
    if found is None:
        message = "There is no such customer."
        raise NotFoundError(message)
    return found


def owned_account(account_id: str) -> owners.Account:
    """Return an account of the caller, alone or jointly, or of one of the firm's customers.

    Raises:
        NotFoundError: If there is none; somebody else's looks just the same.
    """
    who = caller()
    with reading() as session:
        found = owners.find_account(session, account_id)
        shared = found is not None and found.kind == "joint" and who.customer_id is not None
        second = households.second_owner(session, account_id) if shared else None
    owners_are = found is not None and (
        _owns(who, found.firm_id, found.customer_id)
        or (second is not None and second == who.customer_id)
    )
    if found is None or not owners_are:
        message = "There is no such account."
        raise NotFoundError(message)
    return found


def is_second_owner(account: owners.Account) -> bool:
    """Return whether the caller owns an account with somebody whose taxes are not theirs.

    What an account's sales cost in tax tells the first owner's rates: it is not for the second.
    """
    return caller().customer_id not in {None, account.customer_id}


def owned_by_firm(firm_id: str) -> None:
    """Return if something is the firm's of the key.

    Raises:
        NotFoundError: If it is another's, or nobody's (an empty id); the two look alike.
    """
    if firm_id != caller().firm_id:
        message = "There is no such thing."
        raise NotFoundError(message)


def own_customer_id() -> str:
    """Return the customer of the session.

    Raises:
        PermissionDeniedError: If a firm's key calls what only a person can do.
    """
    who = caller()
    if who.customer_id is None:
        message = "Only a customer's own session may do this."
        raise PermissionDeniedError(message, code="customer_only")
    return who.customer_id


def stepped_up() -> None:
    """Return if the caller showed a password or second factor lately; a firm's key need not.

    Raises:
        PermissionDeniedError: With code `step_up_required`: POST /v1/step-up, then try again.
    """
    who = caller()
    if who.kind != "customer":
        return
    limit = runtime().policy.step_up_minutes * _MINUTE
    if who.stepped_up_at is None or now_micros() - who.stepped_up_at > limit:
        message = "Show your password again: POST /v1/step-up."
        raise PermissionDeniedError(message, code="step_up_required")


def _owns(who: Caller, firm_id: str, customer_id: str) -> bool:
    if who.customer_id is not None:
        return who.customer_id == customer_id
    return who.firm_id == firm_id


def _authenticate() -> Caller:
    header = request.headers.get("Authorization", "")
    token = header.removeprefix(_BEARER)
    found = None
    if header.startswith(_BEARER):
        if securing.looks_like(securing.ACCESS_PREFIX, token):
            found = _of_token(token)
        elif securing.looks_like(securing.KEY_PREFIX, token):
            found = _of_key(token)
    if found is None:
        # Only who failed is sent away: an office shares its address with its worst guesser.
        limits.check_strangers()
        limits.count_stranger()
        message = "Send a valid bearer token." if header else "Send a bearer token."
        raise AuthenticationError(message)
    return found


def _of_token(token: str) -> Caller | None:
    with reading() as session:
        grant = tokens.find_access(session, securing.digest(token), now_micros())
    if grant is None:
        return None
    return Caller(
        kind="customer",
        firm_id=grant.firm_id,
        customer_id=grant.customer_id,
        scopes=frozenset(grant.scopes.split()),
        family_id=grant.family_id,
        key_id=None,
        stepped_up_at=grant.stepped_up_at,
    )


def _of_key(token: str) -> Caller | None:
    with reading() as session:
        grant = tokens.find_key(session, securing.digest(token))
    if grant is None:
        return None
    if grant.last_used_at is None or now_micros() - grant.last_used_at > _KEY_USE_EVERY:
        g.note_key_use = grant.key_id
    scopes = frozenset(grant.scopes.split())
    return Caller(
        kind="operator" if any(scope.startswith("admin:") for scope in scopes) else "firm",
        firm_id=grant.firm_id,
        customer_id=None,
        scopes=scopes,
        family_id=None,
        key_id=grant.key_id,
        stepped_up_at=None,
    )


def note_key_use() -> None:
    """Note the use of an API key, after the reply and outside its transaction."""
    key_id = g.pop("note_key_use", None)
    if key_id is not None:
        with runtime().db.write() as session:
            tokens.note_key_use(session, key_id, now_micros())
