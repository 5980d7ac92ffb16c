"""Households and joint accounts: asked, agreed, ended; and what must not be traded until when."""

from typing import Any

from marshmallow import fields

from robo.api import idempotency
from robo.api.auth import caller, owned_customer, requires
from robo.api.state import close_reading, now_micros, reading, runtime, state
from robo.api.wire import (
    Day,
    Id,
    Instant,
    Schema,
    Text,
    UnknownAccounts,
    Whole,
    Word,
    blueprint,
)
from robo.core.clock import business_date, from_micros
from robo.core.errors import InvalidInputError
from robo.services import declaring, keeping, limiting, pairing
from robo.services.enrolling import sharing
from robo.services.pairing import Invited
from robo.store import households, owners
from robo.store.households import Proposal

BLUEPRINT = blueprint("households", "Whose trades count together, and joint accounts.")


class HouseholdInvitationRequest(Schema):
    """Whom to ask: by e-mail, or by the firm's own reference where its key asks."""

    email = Text(longest=254, load_default=None, allow_none=True)
    external_ref = Text(longest=100, load_default=None, allow_none=True)
    signed = Text(
        longest=80, required=True, metadata={"description": "How you call yourself to them."}
    )
    since_on = Day(
        required=True,
        metadata={"description": "From which day your trades count together: your wedding day."},
    )


class HouseholdInvitationReply(Schema):
    """An invitation; whether the address is a customer's is not told."""

    id = Id(required=True)
    since_on = Day(required=True)
    state = Word("open", "accepted", "declined", "withdrawn", required=True)
    created_at = Instant(required=True)
    expires_at = Instant(required=True)


class ReceivedInvitationReply(Schema):
    """An invitation to oneself."""

    id = Id(required=True)
    signed = Text(required=True, shortest=0)
    since_on = Day(required=True)
    created_at = Instant(required=True)
    expires_at = Instant(required=True)


class MembershipReply(Schema):
    """One's own part of a household; nothing of the other member."""

    household_id = Id(required=True)
    since_on = Day(required=True)
    joined_at = Instant(required=True)


class JointProposalRequest(Schema):
    """A joint account with the other member of the household."""

    basket_id = Text(longest=80, required=True)


class JointProposalReply(Schema):
    """A joint account that was proposed."""

    id = Id(required=True)
    basket_id = Text(required=True)
    mine = fields.Boolean(required=True, metadata={"description": "Whether you proposed it."})
    state = Word("open", "accepted", "declined", "withdrawn", required=True)
    account_id = Id(required=True, allow_none=True)
    created_at = Instant(required=True)


class HouseholdReply(Schema):
    """Where somebody stands with households."""

    membership = fields.Nested(MembershipReply, required=True, allow_none=True)
    sent = fields.List(fields.Nested(HouseholdInvitationReply), required=True)
    received = fields.List(fields.Nested(ReceivedInvitationReply), required=True)
    proposals = fields.List(fields.Nested(JointProposalReply), required=True)


class JointAccountReply(Schema):
    """The account that opened."""

    id = Id(required=True)
    kind = Word("joint", required=True)
    state = Word("open", "blocked", "closing", "closed", required=True)
    opened_at = Instant(required=True)


class TradingLimitReply(Schema):
    """One name and the first day on which it may be traded again."""

    security_id = Whole(required=True)
    symbol = Text(required=True, shortest=0)
    until = Day(required=True)


class TradingLimitsReply(Schema):
    """What wash sales forbid today; it does not say why, nor whose trade is behind it."""

    on = Day(required=True)
    items = fields.List(fields.Nested(TradingLimitReply), required=True)
    unknown_accounts = UnknownAccounts()


@BLUEPRINT.route("/customers/<id:customer_id>/household")
@BLUEPRINT.response(200, HouseholdReply)
@requires("customers:read")
def get_household(customer_id: str) -> dict[str, Any]:
    """Show one's household, invitations sent and received, and proposals of joint accounts."""
    customer = owned_customer(customer_id)
    with reading() as session:
        present = households.present(session, customer.id)
        return {
            "membership": next((m for m in present if m.customer_id == customer.id), None),
            "sent": households.invitations_of(session, customer.id),
            "received": pairing.received(session, runtime().keyring, customer, now_micros()),
            "proposals": [
                _proposal(one, customer) for one in households.open_proposals(session, customer.id)
            ],
        }


@BLUEPRINT.route("/customers/<id:customer_id>/household", methods=["DELETE"])
@BLUEPRINT.response(204)
@requires("customers:write")
def leave_household(customer_id: str) -> None:
    """End the household for both members."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    pairing.leave(r.db, r.keyring, r.clock, customer, actor=caller().actor)


@BLUEPRINT.route("/customers/<id:customer_id>/household-invitations", methods=["POST"])
@BLUEPRINT.arguments(HouseholdInvitationRequest)
@BLUEPRINT.response(201, HouseholdInvitationReply)
@requires("customers:write")
def invite(body: dict[str, Any], customer_id: str) -> Any:
    """Ask somebody to form a household."""
    customer = owned_customer(customer_id)
    close_reading()
    email, reference = body["email"], body["external_ref"]
    if (email is None) == (reference is None) or (reference and caller().customer_id):
        message = "Send email; a firm's key may send external_ref instead."
        raise InvalidInputError(message, fields={"email": [message]})
    wanted = Invited(
        idempotency.request_id("inv"),
        email or reference,
        reference is not None,
        body["signed"],
        body["since_on"],
    )
    r = runtime()
    return pairing.invite(r.db, r.keyring, r.clock, customer, wanted, actor=caller().actor)


@BLUEPRINT.route(
    "/customers/<id:customer_id>/household-invitations/<id:invitation_id>", methods=["DELETE"]
)
@BLUEPRINT.response(204)
@requires("customers:write")
def turn_down_invitation(customer_id: str, invitation_id: str) -> None:
    """Decline an invitation, or withdraw one's own."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    actor = caller().actor
    pairing.turn_down(r.db, r.keyring, r.clock, customer, invitation_id, actor=actor)


@BLUEPRINT.route(
    "/customers/<id:customer_id>/household-invitations/<id:invitation_id>/acceptance",
    methods=["POST"],
)
@BLUEPRINT.response(201, MembershipReply)
@requires("customers:write")
def accept_invitation(customer_id: str, invitation_id: str) -> Any:
    """Form the household one was invited to."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    actor = caller().actor
    return pairing.accept(r.db, r.keyring, r.clock, customer, invitation_id, actor=actor)


@BLUEPRINT.route("/customers/<id:customer_id>/joint-proposals", methods=["POST"])
@BLUEPRINT.arguments(JointProposalRequest)
@BLUEPRINT.response(201, JointProposalReply)
@requires("accounts:write")
def propose_joint(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Propose a joint account to the other member of one's household."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    wanted = idempotency.request_id("jnt")
    with r.db.read() as session:
        keeping.require_offered(session, r.broker, customer.id, "joint", wanted)
    return _proposal(sharing.propose(r.db, r.clock, customer, wanted, body["basket_id"]), customer)


@BLUEPRINT.route("/customers/<id:customer_id>/joint-proposals/<id:proposal_id>", methods=["DELETE"])
@BLUEPRINT.response(204)
@requires("accounts:write")
def turn_down_joint(customer_id: str, proposal_id: str) -> None:
    """Decline a joint account, or withdraw one's own proposal."""
    customer = owned_customer(customer_id)
    close_reading()
    sharing.turn_down(runtime().db, runtime().clock, customer, proposal_id)


@BLUEPRINT.route(
    "/customers/<id:customer_id>/joint-proposals/<id:proposal_id>/acceptance", methods=["POST"]
)
@BLUEPRINT.response(201, JointAccountReply)
@requires("accounts:write")
def agree_joint(customer_id: str, proposal_id: str) -> Any:
    """Agree to a joint account: it opens."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    identity, actor = state().identity, caller().actor
    return sharing.agree(r.db, r.keyring, r.clock, identity, customer, proposal_id, actor=actor)


@BLUEPRINT.route("/customers/<id:customer_id>/trading-limits")
@BLUEPRINT.response(200, TradingLimitsReply)
@requires("portfolio:read")
def get_limits(customer_id: str) -> dict[str, Any]:
    """List which names must not be traded until when, because of wash sales of the household."""
    customer = owned_customer(customer_id)
    on = business_date(from_micros(now_micros()))
    with reading() as session:
        return {
            "on": on,
            "items": limiting.limits(session, customer.id, on),
            "unknown_accounts": declaring.unknown(session, customer.id),
        }


def _proposal(one: Proposal, customer: owners.Customer) -> dict[str, Any]:
    return {
        "id": one.id,
        "basket_id": one.basket_id,
        "mine": one.proposer_id == customer.id,
        "state": one.state,
        "account_id": one.account_id,
        "created_at": one.created_at,
    }
