"""Linked bank accounts: the numbers pass through to the bank and are kept nowhere."""

from typing import Any

from robo.api.auth import owned_customer, requires, stepped_up
from robo.api.idempotency import request_id
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import Id, Instant, Schema, Text, Word, blueprint, page_of, paged
from robo.services import funding, mailing
from robo.store.transfers import Link

BLUEPRINT = blueprint("banks", "Linked bank accounts")


class BankLinkRequest(Schema):
    """A bank account to link; neither number is stored or logged."""

    routing_number = Text(
        required=True, shortest=9, longest=9, pattern="[0-9]{9}", metadata={"example": "021000021"}
    )
    account_number = Text(
        required=True, shortest=4, longest=17, pattern="[0-9]{4,17}", metadata={"example": "123456"}
    )


class BankLinkReply(Schema):
    """A linked bank account."""

    id = Id(required=True)
    customer_id = Id(required=True)
    bank_name = Text(required=True)
    mask = Text(required=True, metadata={"description": "The last digits.", "example": "3456"})
    state = Word("active", "removed", required=True)
    created_at = Instant(required=True)


@BLUEPRINT.route("/customers/<id:customer_id>/bank-links", methods=["POST"])
@BLUEPRINT.arguments(BankLinkRequest)
@BLUEPRINT.response(201, BankLinkReply)
@requires("transfers:write")
def link_bank(body: dict[str, Any], customer_id: str) -> Link:
    """Link a bank account."""
    owned_customer(customer_id)
    close_reading()
    stepped_up()
    r = runtime()
    link = funding.link_bank(
        r.db,
        funding.rail(r.db, r.keyring, r.broker, r.bank, r.clock, customer_id),
        r.clock,
        r.policy,
        customer_id,
        request_id("lnk"),
        body["routing_number"],
        body["account_number"],
    )
    values = {"mask": link.mask, "bank": link.bank_name}
    mailing.notify(r.db, r.keyring, r.clock, customer_id, "bank_linked", link.id, values)
    return link


@BLUEPRINT.route("/customers/<id:customer_id>/bank-links")
@BLUEPRINT.response(200, page_of(BankLinkReply))
@requires("transfers:read")
def list_bank_links(customer_id: str) -> dict[str, Any]:
    """List a customer's bank links; there are few, so one page holds them all."""
    owned_customer(customer_id)
    with reading() as session:
        return paged(funding.linked(session, customer_id), None)


@BLUEPRINT.route("/customers/<id:customer_id>/bank-links/<id:link_id>", methods=["DELETE"])
@BLUEPRINT.response(200, BankLinkReply)
@requires("transfers:write")
def remove_bank_link(customer_id: str, link_id: str) -> Link:
    """Remove a bank link; recurring plans that draw on it are paused."""
    owned_customer(customer_id)
    close_reading()
    stepped_up()
    r = runtime()
    link, _ = funding.remove_link(r.db, r.clock, customer_id, link_id)
    values = {"mask": link.mask, "bank": link.bank_name}
    mailing.notify(r.db, r.keyring, r.clock, customer_id, "bank_removed", link.id, values)
    return link
