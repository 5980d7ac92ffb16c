"""Documents: read them, accept them, open the mailed one, go back to paper."""

from typing import Any

import marshmallow as ma
from flask import Response, request
from marshmallow import fields

from onboarding.agreements import Agreement
from onboarding.agreements import required_agreements as in_force
from robo.api.auth import owned_customer, public, requires
from robo.api.customers import CustomerReply, shown_customer, where
from robo.api.state import close_reading, now_micros, reading, runtime
from robo.api.wire import Day, Schema, Text, Whole, Word, blueprint
from robo.core.clock import business_date, from_micros
from robo.services.enrolling import agreeing, standing
from robo.services.enrolling.agreeing import Listed, Signature

BLUEPRINT = blueprint("agreements", "Form CRS first, then versioned agreements; paper or not.")


class AgreementReply(Schema):
    """A document in force, and where the customer stands with it."""

    id = fields.String(required=True)
    version = fields.Integer(required=True)
    title = fields.String(required=True)
    action = Word("deliver", "accept", "consent", required=True)
    effective_on = Day(required=True)
    requires = fields.List(fields.String(), required=True)
    sha256 = fields.String(required=True)
    required = fields.Boolean(required=True)
    state = Word("open", "delivered", "accepted", "pending", "demonstrated", required=True)


class AgreementsReply(Schema):
    """The documents in force, in the order in which they are shown."""

    items = fields.List(fields.Nested(AgreementReply), required=True)


class AgreementTextReply(Schema):
    """A document with its text."""

    id = fields.String(required=True)
    version = fields.Integer(required=True)
    title = fields.String(required=True)
    action = Word("deliver", "accept", "consent", required=True)
    effective_on = Day(required=True)
    requires = fields.List(fields.String(), required=True)
    sha256 = fields.String(required=True, metadata={"description": "Send it back to accept."})
    text = fields.String(required=True, metadata={"description": "Markdown."})


class SignatureFields(Schema):
    """Which text is accepted."""

    agreement_id = Text(longest=40, required=True)
    version = Whole(least=1, most=1_000_000, required=True)
    sha256 = Text(longest=64, pattern="[0-9a-f]{64}", required=True)


class AcceptancesRequest(Schema):
    """Several texts at once."""

    acceptances = fields.List(
        fields.Nested(SignatureFields), required=True, validate=ma.validate.Length(min=1, max=20)
    )


class KindQuery(Schema):
    """For which kind of account."""

    kind = Word(*standing.KINDS, load_default=standing.KIND)


@BLUEPRINT.route("/agreements/<agreement_id>", methods=["GET"])
@public()
@BLUEPRINT.response(200, AgreementTextReply)
def read_agreement(agreement_id: str) -> Agreement:
    """Read a document in force; anybody may, Form CRS above all."""
    return agreeing.in_force(agreement_id, now_micros())


@BLUEPRINT.route("/agreements", methods=["GET"])
@public()
@BLUEPRINT.arguments(KindQuery, location="query")
@BLUEPRINT.response(200, AgreementsReply)
def list_public_agreements(query: dict[str, Any]) -> dict[str, Any]:
    """List the documents in force for a kind of account."""
    on = business_date(from_micros(now_micros()))
    found = in_force(query["kind"], on)
    return {"items": [_shown(Listed(one, one.action != "consent", "open")) for one in found]}


@BLUEPRINT.route("/customers/<id:customer_id>/agreements", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.arguments(KindQuery, location="query")
@BLUEPRINT.response(200, AgreementsReply)
def list_agreements(query: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """List the documents in force for a kind of account, and where the customer stands."""
    customer = owned_customer(customer_id)
    with reading() as session:
        found = agreeing.listed(session, customer, now_micros(), query["kind"])
    return {"items": [_shown(one) for one in found]}


@BLUEPRINT.route("/customers/<id:customer_id>/agreements/<agreement_id>", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.response(200, AgreementTextReply)
def get_agreement(customer_id: str, agreement_id: str) -> Agreement:
    """Get a document's text; that it was delivered is noted, once a version."""
    customer = owned_customer(customer_id)
    r = runtime()
    close_reading()
    return agreeing.deliver(r.db, r.keyring, r.clock, customer.id, agreement_id, where())


@BLUEPRINT.route("/customers/<id:customer_id>/acceptances", methods=["POST"])
@requires("customers:write")
@BLUEPRINT.arguments(AcceptancesRequest)
@BLUEPRINT.response(201, AgreementsReply)
def accept_agreements(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Accept several documents; electronic delivery counts once its mail is opened."""
    customer = owned_customer(customer_id)
    r = runtime()
    close_reading()
    signatures = [Signature(**one) for one in body["acceptances"]]
    found = agreeing.accept(
        r.db,
        r.keyring,
        r.clock,
        r.policy,
        customer.id,
        signatures,
        where(),
        base_url=r.settings.base_url,
    )
    return {"items": [_shown(one) for one in found]}


@BLUEPRINT.route("/customers/<id:customer_id>/electronic-delivery", methods=["DELETE"])
@requires("customers:write")
@BLUEPRINT.response(200, CustomerReply)
def withdraw_consent(customer_id: str) -> dict[str, Any]:
    """Go back to paper."""
    customer = owned_customer(customer_id)
    r = runtime()
    changed = agreeing.withdraw_consent(r.db, r.keyring, r.clock, customer.id, where())
    return shown_customer(changed)


@BLUEPRINT.route("/documents/<token>", methods=["GET"])
@public()
@BLUEPRINT.response(
    200, {"type": "string"}, content_type="text/plain", description="The document in Markdown."
)
def open_document(token: str) -> Response:
    """Open a mailed document: the proof that electronic delivery reaches the customer."""
    r = runtime()
    # HEAD is how mail scanners and previews look at a link: nobody read anything.
    seen = request.method == "GET"
    agreement = agreeing.open_document(r.db, r.keyring, r.clock, token, where(), seen=seen)
    return Response(agreement.text, content_type="text/plain; charset=utf-8")


def _shown(one: Listed) -> dict[str, Any]:
    agreement = one.agreement
    return {
        "id": agreement.id,
        "version": agreement.version,
        "title": agreement.title,
        "action": agreement.action,
        "effective_on": agreement.effective_on,
        "requires": agreement.requires,
        "sha256": agreement.sha256,
        "required": one.required,
        "state": one.state,
    }
