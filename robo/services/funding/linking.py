"""Linked banks: the numbers go to the bank and nowhere else; we keep a token and four digits."""

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import ConflictError, IdempotencyMismatchError, NotFoundError, RefusedError
from robo.core.policy import Policy
from robo.ports.funding import Bank
from robo.store import events, payers, plans, transfers
from robo.store.database import Database
from robo.store.events import NewEvent
from robo.store.plans import Plan
from robo.store.transfers import Link

_NO_LINK: Final = "there is no such bank link"


def link_bank(
    db: Database,
    bank: Bank,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    link_id: str,
    routing_number: str,
    account_number: str,
) -> Link:
    """Link a bank account; the same id with the same numbers is the same link.

    The bank is asked first, outside any transaction; it knows the id, so a crash before our own
    row is written is repaired by asking again.

    Raises:
        NotFoundError: If there is no such customer.
        InvalidInputError: If the numbers are no bank account.
        IdempotencyMismatchError: If the id was used for another account.
        RefusedError: If the customer has too many links.
        BrokerUnavailableError: If the bank does not answer.
    """
    with db.read() as session:
        payers.firm_of_customer(session, customer_id)
        _require_room(session, policy, customer_id, link_id)
    told = bank.link(link_id, routing_number, account_number)
    made = Link(
        id=link_id,
        customer_id=customer_id,
        token=told.token,
        bank_name=told.bank_name,
        mask=told.mask,
        state="active",
        created_at=to_micros(clock.now()),
    )
    with db.write() as session:
        known = transfers.link(session, link_id)
        if known is not None:
            return _the_same(known, made)
        _require_room(session, policy, customer_id, link_id)
        transfers.add_link(session, made)
        _note(session, made, "linked", made.created_at)
    return made


def linked(session: Session, customer_id: str) -> Sequence[Link]:
    """Return a customer's bank links, oldest first."""
    return transfers.links(session, customer_id)


def remove_link(
    db: Database, clock: Clock, customer_id: str, link_id: str
) -> tuple[Link, Sequence[Plan]]:
    """Remove a bank link and pause the plans that draw on it; return both.

    Deposits on their way go on: their bank must still be able to settle or return them.

    Raises:
        NotFoundError: If the customer has no such link.
        ConflictError: If a withdrawal to it is on its way (`bank_link_in_use`).
    """
    at_micros = to_micros(clock.now())
    with db.write() as session:
        found = transfers.link(session, link_id)
        if found is None or found.customer_id != customer_id:
            raise NotFoundError(_NO_LINK, code="bank_link_not_found")
        if found.state == "removed":
            return found, ()
        if transfers.link_in_use(session, link_id):
            message = "a withdrawal to this bank account is on its way"
            raise ConflictError(message, code="bank_link_in_use")
        transfers.remove_link(session, link_id)
        paused = plans.pause_of_link(session, link_id)
        removed = transfers.link(session, link_id)
        assert removed is not None
        _note(session, removed, "removed", at_micros)
    return removed, paused


def _require_room(session: Session, policy: Policy, customer_id: str, link_id: str) -> None:
    others = [link for link in transfers.links(session, customer_id) if link.id != link_id]
    if len(others) >= policy.bank_links_max:
        message = "this customer has as many linked banks as allowed"
        raise RefusedError(message, code="too_many_bank_links")


def _the_same(known: Link, made: Link) -> Link:
    if (known.customer_id, known.token) != (made.customer_id, made.token):
        message = "this id belongs to another bank link"
        raise IdempotencyMismatchError(message)
    return known


def _note(session: Session, link: Link, what: str, at_micros: int) -> None:
    firm_id = payers.firm_of_customer(session, link.customer_id)
    event = NewEvent(firm_id, f"bank_link.{what}", link.id, customer_id=link.customer_id)
    events.emit(session, [event], at_micros)
