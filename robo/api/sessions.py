"""Sessions: log in, refresh, show a password again, see and end sessions."""

from typing import Any

from flask import request
from marshmallow import fields

from robo.api import limits
from robo.api.auth import CUSTOMER_SCOPE, caller, own_customer_id, public, requires
from robo.api.idempotency import exempt
from robo.api.state import now_micros, reading, runtime, state
from robo.api.wire import (
    Flag,
    Id,
    Instant,
    PageQuery,
    Schema,
    Text,
    Word,
    blueprint,
    decode_cursor,
    encode_cursor,
    page_of,
    paged,
)
from robo.services import proving, signing_in
from robo.services.signing_in import Grant
from robo.store import tokens

BLUEPRINT = blueprint("sessions", "Log in, stay logged in, log out.")
TOKEN_PATTERN = "ra_[a-z]{2}_[A-Za-z0-9_-]{43}"  # noqa: S105 - a form, not a token


class ProofFields(Schema):
    """A password and, once enrolled, a second factor."""

    password = Text(longest=1024, required=True, load_only=True)
    code = Text(pattern="[0-9]{6}", load_default=None, load_only=True, allow_none=True)
    recovery_code = Text(longest=40, load_default=None, load_only=True, allow_none=True)


class SessionRequest(ProofFields):
    """What a customer shows to log in."""

    email = Text(longest=254, required=True)
    label = Text(shortest=0, longest=60, load_default="")


class TokensReply(Schema):
    """Fresh tokens; they are shown once."""

    access_token = fields.String(required=True)
    access_expires_at = Instant(required=True)
    refresh_token = fields.String(required=True, allow_none=True)
    refresh_expires_at = Instant(required=True, allow_none=True)
    token_type = Word("Bearer", required=True)
    customer_id = Id(required=True)
    session_id = Id(required=True)


class TokenRequest(Schema):
    """The refresh token of a session."""

    refresh_token = Text(longest=60, pattern=TOKEN_PATTERN, required=True)


class StepUpRequest(ProofFields):
    """The password again, for what is sensitive."""


class SessionReply(Schema):
    """One open session."""

    id = Id(required=True)
    label = fields.String(required=True)
    created_at = Instant(required=True)
    last_used_at = Instant(required=True)
    expires_at = Instant(required=True)
    current = Flag(required=True)


SessionPage = page_of(SessionReply)


@BLUEPRINT.route("/sessions", methods=["POST"])
@public()
@exempt
@BLUEPRINT.arguments(SessionRequest)
@BLUEPRINT.response(201, TokensReply)
def log_in(body: dict[str, Any]) -> dict[str, Any]:
    """Log in."""
    r = runtime()
    offered = signing_in.Attempt(
        email=body["email"],
        password=body["password"],
        code=body["code"],
        recovery_code=body["recovery_code"],
        label=body["label"],
        address=limits.address(),
    )
    grant = signing_in.log_in(
        r.db,
        r.keyring,
        state().hasher,
        r.clock,
        r.policy,
        offered,
        per_minute=r.settings.logins_per_minute,
    )
    return _shown(grant)


@BLUEPRINT.route("/tokens", methods=["POST"])
@public()
@exempt
@BLUEPRINT.arguments(TokenRequest)
@BLUEPRINT.response(201, TokensReply)
def refresh_tokens(body: dict[str, Any]) -> dict[str, Any]:
    """Exchange a refresh token for the next pair; each works once."""
    r = runtime()
    return _shown(signing_in.refresh(r.db, r.keyring, r.clock, r.policy, body["refresh_token"]))


@BLUEPRINT.route("/step-up", methods=["POST"])
@requires("sessions:write")
@exempt
@BLUEPRINT.arguments(StepUpRequest)
@BLUEPRINT.response(201, TokensReply)
def step_up(body: dict[str, Any]) -> dict[str, Any]:
    """Show the password again and get an access token that covers sensitive actions."""
    r = runtime()
    customer_id = own_customer_id()
    family_id = caller().family_id
    assert family_id is not None
    shown = request.headers["Authorization"].removeprefix("Bearer ")
    grant = signing_in.step_up(
        r.db,
        r.keyring,
        state().hasher,
        r.clock,
        r.policy,
        customer_id,
        family_id,
        shown,
        proving.Proof(**body),
    )
    return _shown(grant)


@BLUEPRINT.route("/sessions", methods=["GET"])
@requires("sessions:read")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, SessionPage)
def list_sessions(query: dict[str, Any]) -> dict[str, Any]:
    """List the open sessions, newest first."""
    customer_id = own_customer_id()
    after = decode_cursor(query["after"], int, str) if query["after"] else None
    limit = query["limit"]
    with reading() as session:
        rows = tokens.open_families(session, customer_id, now_micros(), after, limit + 1)
    shown = [{**row, "current": row["id"] == caller().family_id} for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return paged(shown, encode_cursor(last["created_at"], last["id"]) if last else None)


@BLUEPRINT.route("/sessions", methods=["DELETE"])
@requires("sessions:write")
@exempt
@BLUEPRINT.response(204)
def log_out_everywhere() -> None:
    """End every session, this one too."""
    signing_in.log_out_everywhere(runtime().db, runtime().clock, own_customer_id())


@BLUEPRINT.route("/sessions/<id:session_id>", methods=["DELETE"])
@requires("sessions:write")
@exempt
@BLUEPRINT.response(204)
def log_out(session_id: str) -> None:
    """End one session."""
    signing_in.log_out(runtime().db, runtime().clock, own_customer_id(), session_id)


def _shown(grant: Grant) -> dict[str, Any]:
    return {
        "access_token": grant.access_token,
        "access_expires_at": grant.access_expires_at,
        "refresh_token": grant.refresh_token,
        "refresh_expires_at": grant.refresh_expires_at,
        "token_type": "Bearer",
        "customer_id": grant.customer_id,
        "session_id": grant.session_id,
    }


assert CUSTOMER_SCOPE == signing_in.SCOPES, "a session grants what auth understands"
