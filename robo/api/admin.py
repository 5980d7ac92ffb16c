"""What operators do: settle identity reviews, forget customers, read the audit trail."""

from typing import Any

from marshmallow import fields

from robo.api.auth import any_customer, caller, requires
from robo.api.customers import CustomerReply, shown_customer
from robo.api.state import reading, runtime
from robo.api.wire import (
    Id,
    Instant,
    PageQuery,
    Schema,
    Word,
    blueprint,
    decode_cursor,
    encode_cursor,
    page_of,
    paged,
)
from robo.services import licensing, shredding
from robo.services.enrolling import identifying

BLUEPRINT = blueprint("admin", "For operators: reviews, forgetting, the audit trail.")


class IdentityDecisionRequest(Schema):
    """What a person decided about an identity under review."""

    decision = Word("accept", "reject", required=True)


class AuditReply(Schema):
    """Who did what to what; of the detail only its hash."""

    id = Id(required=True)
    actor = fields.String(required=True)
    action = fields.String(required=True)
    subject = fields.String(required=True)
    detail_sha256 = fields.String(required=True)
    at = Instant(required=True)


AuditPage = page_of(AuditReply)


@BLUEPRINT.route("/customers/<id:customer_id>/identity", methods=["PUT"])
@requires("admin:customers")
@BLUEPRINT.arguments(IdentityDecisionRequest)
@BLUEPRINT.response(200, CustomerReply)
def decide_identity(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Settle an identity review."""
    customer = any_customer(customer_id)
    r = runtime()
    changed = identifying.decide(
        r.db,
        r.keyring,
        r.clock,
        customer.id,
        accept=body["decision"] == "accept",
        actor=caller().actor,
    )
    return shown_customer(changed)


@BLUEPRINT.route("/customers/<id:customer_id>/personal-data", methods=["DELETE"])
@requires("admin:customers")
@BLUEPRINT.response(204)
def shred_customer(customer_id: str) -> None:
    """Destroy the key of a customer's personal data; the books stay."""
    customer = any_customer(customer_id)
    r = runtime()
    shredding.shred_customer(r.db, r.keyring, r.clock, customer.id, actor=caller().actor)


@BLUEPRINT.route("/audit", methods=["GET"])
@requires("firm:read")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, AuditPage)
def list_audit(query: dict[str, Any]) -> dict[str, Any]:
    """List what operators and keys did in the firm of the key, oldest first."""
    limit = query["limit"]
    after = decode_cursor(query["after"], int)[0] if query["after"] else 0
    with reading() as session:
        rows = licensing.audit_trail(session, caller().firm_id, after, limit + 1)
    cursor = encode_cursor(rows[limit - 1]["seq"]) if len(rows) > limit else None
    return paged(rows[:limit], cursor)
