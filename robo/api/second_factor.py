"""A second factor: add an authenticator app, confirm it, remove it."""

from typing import Any

from marshmallow import fields

from robo.api import idempotency
from robo.api.auth import own_customer_id, requires, stepped_up
from robo.api.sessions import ProofFields
from robo.api.state import runtime, state
from robo.api.wire import Schema, Text, blueprint
from robo.services import proving

BLUEPRINT = blueprint("second_factor", "Two-step login with an authenticator app.")


class EnrolmentReply(Schema):
    """What the authenticator app needs; shown once."""

    secret = fields.String(required=True)
    uri = fields.String(required=True, metadata={"example": "otpauth://totp/…"})


class CodeRequest(Schema):
    """A code of the app."""

    code = Text(pattern="[0-9]{6}", required=True, load_only=True)


class RecoveryCodesReply(Schema):
    """Ten codes for a lost phone; shown once, each works once."""

    recovery_codes = fields.List(fields.String(), required=True)


class RemovalRequest(ProofFields):
    """Password and second factor, for the last time."""


@BLUEPRINT.route("/second-factor", methods=["POST"])
@requires("sessions:write")
@idempotency.unstored
@BLUEPRINT.response(201, EnrolmentReply)
def begin_second_factor() -> proving.Enrolment:
    """Begin to add an authenticator app; it counts once a code of it was shown.

    Asking again makes another secret, whatever the key: secrets are never kept to be replayed.
    """
    stepped_up()
    r = runtime()
    return proving.begin_second_factor(r.db, r.keyring, r.clock, own_customer_id())


@BLUEPRINT.route("/second-factor/confirm", methods=["POST"])
@requires("sessions:write")
@idempotency.unstored
@BLUEPRINT.arguments(CodeRequest)
@BLUEPRINT.response(201, RecoveryCodesReply)
def confirm_second_factor(body: dict[str, Any]) -> dict[str, list[str]]:
    """Show a code of the app: the second factor is on, and these are the recovery codes.

    They are shown by this one reply and never replayed. Whoever loses it removes the second factor
    with a code of the app, and begins again.
    """
    stepped_up()
    r = runtime()
    codes = proving.confirm_second_factor(r.db, r.keyring, r.clock, own_customer_id(), body["code"])
    return {"recovery_codes": codes}


@BLUEPRINT.route("/second-factor/remove", methods=["POST"])
@requires("sessions:write")
@BLUEPRINT.arguments(RemovalRequest)
@BLUEPRINT.response(204)
def remove_second_factor(body: dict[str, Any]) -> None:
    """Remove the second factor; both factors must be shown."""
    stepped_up()
    r = runtime()
    proving.remove_second_factor(
        r.db,
        r.keyring,
        state().hasher,
        r.clock,
        r.policy,
        own_customer_id(),
        proving.Proof(**body),
    )
