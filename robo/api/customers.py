"""Customers: sign up, who they are, where they stand."""

from typing import Any

from flask import request
from marshmallow import fields

from robo.api import idempotency, limits
from robo.api.auth import caller, caller_if_any, owned_customer, public, requires
from robo.api.profile_fields import ProfileReply, ProfileRequest
from robo.api.state import now_micros, reading, runtime, state
from robo.api.wire import (
    Id,
    Instant,
    PageQuery,
    Schema,
    Text,
    Word,
    blueprint,
    decode_cursor,
    encode_cursor,
    json_body,
    page_of,
    paged,
)
from robo.core.clock import business_date, from_micros
from robo.core.errors import InvalidInputError, PermissionDeniedError
from robo.services.enrolling import identifying, signing_up, standing
from robo.services.enrolling.agreeing import Where
from robo.store import owners, people

BLUEPRINT = blueprint("customers", "Sign up, the profile, and what comes next.")


class CustomerRequest(Schema):
    """A stranger sends e-mail and password; a firm its own reference, and an e-mail if it likes."""

    email = Text(longest=254, load_default=None, allow_none=True)
    password = Text(longest=1024, load_default=None, allow_none=True, load_only=True)
    external_ref = Text(longest=100, load_default=None, allow_none=True)


class CustomerMadeReply(Schema):
    """For a stranger always the same words: only the owner of the address learns more, by mail."""

    status = Word("log_in_next", "created", required=True)
    customer_id = Id(required=True, allow_none=True)


class CustomerReply(Schema):
    """A customer and its progress; nothing personal."""

    id = Id(required=True)
    external_ref = fields.String(required=True, allow_none=True)
    state = Word("active", "locked", "closed", "shredded", required=True)
    created_at = Instant(required=True)
    email_verified = fields.Boolean(required=True)
    identity_state = Word("none", "accepted", "review", "rejected", required=True)
    identity_codes = fields.List(fields.String(), required=True)
    delivery = Word("paper", "pending", "electronic", required=True)
    done = fields.List(fields.String(), required=True, metadata={"description": "Steps done."})
    next_steps = fields.List(fields.String(), required=True)


class CustomerListedReply(Schema):
    """A customer in a list."""

    id = Id(required=True)
    external_ref = fields.String(required=True, allow_none=True)
    state = fields.String(required=True)
    created_at = Instant(required=True)


CustomerPage = page_of(CustomerListedReply)


@BLUEPRINT.route("/customers", methods=["POST"])
@public(or_scope="customers:write")
@idempotency.scoped_by("email")
@BLUEPRINT.arguments(CustomerRequest)
@BLUEPRINT.response(201, CustomerMadeReply)
def create_customer(body: dict[str, Any]) -> dict[str, Any]:
    """Sign up, or add a customer to the firm of the key."""
    who = caller_if_any()
    if who is None:
        return _sign_up(body)
    if who.kind == "customer":
        message = "You are a customer already; log out to sign somebody up."
        raise PermissionDeniedError(message, code="firm_only")
    if body["password"] is not None or body["external_ref"] is None:
        message = "A firm sends external_ref and no password."
        raise InvalidInputError(message, fields={"external_ref": [message]})
    r = runtime()
    wanted = signing_up.FirmCustomer(
        idempotency.request_id("cus"), body["external_ref"], body["email"]
    )
    made = signing_up.add_for_firm(
        r.db,
        r.keyring,
        r.clock,
        r.policy,
        who.firm_id,
        wanted,
        actor=who.actor,
        base_url=r.settings.base_url,
    )
    return {"status": "created", "customer_id": made.id}


def _sign_up(body: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in ("email", "password") if body[name] is None]
    if missing or body["external_ref"] is not None:
        message = "Send email and password."
        wrong = missing or ["external_ref"]
        raise InvalidInputError(message, fields={name: [message] for name in wrong})
    r = runtime()
    wanted = signing_up.SignUp(
        idempotency.request_id("cus"), body["email"], body["password"], limits.address()
    )
    signing_up.sign_up(
        r.db,
        r.keyring,
        state().hasher,
        r.clock,
        r.policy,
        wanted,
        per_hour=r.settings.signups_per_hour,
        base_url=r.settings.base_url,
    )
    return {"status": "log_in_next", "customer_id": None}


@BLUEPRINT.route("/customers", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, CustomerPage)
def list_customers(query: dict[str, Any]) -> dict[str, Any]:
    """List the firm's customers; a customer sees itself."""
    who = caller()
    limit = query["limit"]
    after = decode_cursor(query["after"], str)[0] if query["after"] else ""
    if who.customer_id is not None:
        return paged([owned_customer(who.customer_id)], None)
    with reading() as session:
        rows = people.page_of_firm(session, who.firm_id, after, limit + 1)
    cursor = encode_cursor(rows[limit - 1]["id"]) if len(rows) > limit else None
    return paged(rows[:limit], cursor)


@BLUEPRINT.route("/customers/<id:customer_id>", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.response(200, CustomerReply)
def get_customer(customer_id: str) -> dict[str, Any]:
    """Show a customer and which steps come next."""
    return shown_customer(owned_customer(customer_id))


@BLUEPRINT.route("/customers/<id:customer_id>/profile", methods=["PUT"])
@requires("customers:write")
@BLUEPRINT.arguments(ProfileRequest)
@BLUEPRINT.response(200, CustomerReply)
def put_profile(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Give or replace the profile; tax id and birth date are sealed and never shown again."""
    del body
    customer = owned_customer(customer_id)
    r = runtime()
    changed = identifying.put_profile(
        r.db, r.keyring, r.clock, state().identity, customer.id, json_body()
    )
    return shown_customer(changed)


@BLUEPRINT.route("/customers/<id:customer_id>/profile", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.response(200, ProfileReply)
def get_profile(customer_id: str) -> dict[str, Any]:
    """Show the profile without tax id and birth date."""
    customer = owned_customer(customer_id)
    with reading() as session:
        return identifying.shown_profile(session, runtime().keyring, customer.id)


def shown_customer(customer: owners.Customer) -> dict[str, Any]:
    """Return a customer as it is shown."""
    on = business_date(from_micros(now_micros()))
    with runtime().db.read() as session:
        done, coming = standing.progress(session, customer.id, on)
    return {
        "id": customer.id,
        "external_ref": customer.external_ref,
        "state": customer.state,
        "created_at": customer.created_at,
        "email_verified": customer.email_verified_at is not None,
        "identity_state": customer.identity_state,
        "identity_codes": customer.identity_codes.split(),
        "delivery": customer.delivery,
        "done": done,
        "next_steps": coming,
    }


def where() -> Where:
    """Return from where and with what this request came, for sealed evidence."""
    who = caller_if_any()
    agent = str(request.headers.get("User-Agent", ""))[:200]
    return Where(limits.address(), agent, who.actor if who else "link")
