"""Passwords and e-mail: change, reset by mail, prove an address."""

from typing import Any

from marshmallow import fields

from robo.api import idempotency, limits
from robo.api.auth import caller, own_customer_id, public, requires
from robo.api.sessions import TOKEN_PATTERN, ProofFields
from robo.api.state import runtime, state
from robo.api.wire import Id, Schema, Text, Word, blueprint
from robo.services import proving
from robo.services.enrolling import signing_up

BLUEPRINT = blueprint("passwords", "Change or reset a password, prove an e-mail address.")


class PasswordRequest(ProofFields):
    """The present password (and second factor), and the new one."""

    new_password = Text(longest=1024, required=True, load_only=True)


class ResetRequest(Schema):
    """Whose password to reset."""

    email = Text(longest=254, required=True)


class ResetUseRequest(Schema):
    """The mailed token, the new password, and the second factor if one is enrolled."""

    token = Text(longest=60, pattern=TOKEN_PATTERN, required=True)
    new_password = Text(longest=1024, required=True, load_only=True)
    code = Text(pattern="[0-9]{6}", load_default=None, load_only=True, allow_none=True)
    recovery_code = Text(longest=40, load_default=None, load_only=True, allow_none=True)


class TokenUseRequest(Schema):
    """A mailed token."""

    token = Text(longest=60, pattern=TOKEN_PATTERN, required=True)


class DoneReply(Schema):
    """That it was done, and what comes next."""

    status = Word("done", "mail_sent_if_known", required=True)
    next = fields.String(required=True)


class EmailReply(Schema):
    """Whose e-mail was proved."""

    customer_id = Id(required=True)
    email_verified = fields.Boolean(required=True)


@BLUEPRINT.route("/password", methods=["PUT"])
@requires("sessions:write")
@BLUEPRINT.arguments(PasswordRequest)
@BLUEPRINT.response(200, DoneReply)
def change_password(body: dict[str, Any]) -> dict[str, str]:
    """Change the password; every other session ends."""
    r = runtime()
    customer_id = own_customer_id()
    family_id = caller().family_id
    assert family_id is not None
    proof = proving.Proof(body["password"], body["code"], body["recovery_code"])
    proving.change_password(
        r.db,
        r.keyring,
        state().hasher,
        r.clock,
        r.policy,
        customer_id,
        family_id,
        proof,
        body["new_password"],
    )
    return {"status": "done", "next": "Other sessions were ended."}


@BLUEPRINT.route("/password-resets", methods=["POST"])
@public()
@idempotency.scoped_by("email")
@BLUEPRINT.arguments(ResetRequest)
@BLUEPRINT.response(202, DoneReply)
def ask_password_reset(body: dict[str, Any]) -> dict[str, str]:
    """Ask for a mail with a link that resets the password; the answer is the same for everybody."""
    r = runtime()
    proving.ask_reset(
        r.db,
        r.keyring,
        r.clock,
        r.policy,
        body["email"],
        address=limits.address(),
        per_minute=r.settings.logins_per_minute,
        base_url=r.settings.base_url,
    )
    return {"status": "mail_sent_if_known", "next": "Open the link in the mail."}


@BLUEPRINT.route("/password-resets/use", methods=["POST"])
@public()
@idempotency.scoped_by("token")
@BLUEPRINT.arguments(ResetUseRequest)
@BLUEPRINT.response(200, DoneReply)
def use_password_reset(body: dict[str, Any]) -> dict[str, str]:
    """Set a new password with the mailed token; every session ends."""
    r = runtime()
    proof = proving.Proof(body["new_password"], body["code"], body["recovery_code"])
    proving.reset_password(r.db, r.keyring, state().hasher, r.clock, r.policy, body["token"], proof)
    return {"status": "done", "next": "Log in with the new password."}


@BLUEPRINT.route("/email-verifications", methods=["POST"])
@requires("sessions:write")
@BLUEPRINT.response(202, DoneReply)
def ask_email_verification() -> dict[str, str]:
    """Ask for another mail that proves the e-mail address."""
    r = runtime()
    signing_up.ask_proof(
        r.db,
        r.keyring,
        r.clock,
        r.policy,
        own_customer_id(),
        cause=idempotency.request_id("req"),
        base_url=r.settings.base_url,
    )
    return {"status": "done", "next": "Open the link in the mail."}


@BLUEPRINT.route("/email-verifications/use", methods=["POST"])
@public()
@idempotency.scoped_by("token")
@BLUEPRINT.arguments(TokenUseRequest)
@BLUEPRINT.response(200, EmailReply)
def use_email_verification(body: dict[str, Any]) -> dict[str, Any]:
    """Prove the e-mail address with the mailed token."""
    customer_id = signing_up.prove_email(runtime().db, runtime().clock, body["token"])
    return {"customer_id": customer_id, "email_verified": True}
