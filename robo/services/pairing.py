"""Households: one person asks, the other agrees; then their trades count together for wash sales.

Whom an invitation is for is kept as a blind index, so that nobody learns from inviting whether an
address is a customer's. Members learn nothing of each other but which names may not be traded
until when.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
)
from robo.core.ids import child_id
from robo.services import licensing, mailing, rechecking
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.services.securing import normal_email
from robo.services.throttling import Gate, attempt
from robo.store import households, owners, people
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.households import Invitation, Membership
from robo.store.keyring import Keyring

_DAY: Final = 86_400_000_000
_DAY_SECONDS: Final = 86_400
_VALID_DAYS: Final = 30
"""An invitation waits a month for its answer."""
_A_DAY: Final = 10
"""Invitations a person may send a day: more is fishing for customers."""
_FIRST: Final = date(1990, 1, 1)
"""Nobody's trades here are older."""


@dataclass(frozen=True, slots=True)
class Invited:
    """Whom somebody asks, and what they would agree to."""

    id: str
    address: str
    """An e-mail, or a firm's own reference where its key asks."""
    is_reference: bool
    signed: str
    """How the inviter calls themselves to the other."""
    since_on: date
    """From which day their trades count together; for spouses, the day they married."""


@dataclass(frozen=True, slots=True)
class Received:
    """An invitation as who is asked sees it."""

    id: str
    signed: str
    since_on: str
    created_at: int
    expires_at: int


def invite(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    wanted: Invited,
    *,
    actor: str,
) -> Invitation:
    """Ask somebody to form a household; whether they are a customer is not told.

    Raises:
        InvalidInputError: If the address is none, or the day lies ahead.
        ConflictError: If the inviter is in a household.
        RefusedError: If they invite themselves.
        RateLimitedError: If they invite too often.
    """
    now, today = to_micros(clock.now()), business_date(clock.now())
    if not _FIRST <= wanted.since_on <= today:
        message = f"The day must lie between {_FIRST} and today."
        raise InvalidInputError(message, code="since_on", fields={"since_on": [message]})
    attempt(db, keyring, now, Gate("household", customer.id, _A_DAY, _DAY_SECONDS))
    with db.write() as session:
        known = households.invitation(session, wanted.id)
        index, found = _addressee(session, keyring, customer.firm_id, wanted)
        if known is not None:
            if (known.inviter_id, known.invitee_index) != (customer.id, index):
                message = "This key was used for another invitation."
                raise IdempotencyMismatchError(message)
            return known
        if found is not None and found.id == customer.id:
            message = "Nobody forms a household with themselves."
            raise RefusedError(message, code="own_address")
        _require_free(session, customer.id, wanted.since_on)
        vault = Vault.open(session, keyring, customer.id)
        made = Invitation(
            id=wanted.id,
            firm_id=customer.firm_id,
            inviter_id=customer.id,
            invitee_index=index,
            since_on=wanted.since_on.isoformat(),
            sealed_from=vault.seal_json(wanted.signed, _bound(wanted.id)),
            state="open",
            created_at=now,
            expires_at=now + _VALID_DAYS * _DAY,
        )
        households.invite(session, made)
        if found is not None and found.state == "active":
            theirs = Vault.open(session, keyring, found.id)
            values = {"name": wanted.signed}
            mailing.queue(session, theirs, "household_invited", made.id, now, values)
        _note(session, keyring, customer, actor, "household.invited", made.id, now)
    return made


def received(
    session: Session, keyring: Keyring, customer: owners.Customer, now: int
) -> list[Received]:
    """Return the invitations somebody may accept: to their proven address, or their firm's word."""
    if not _proven(customer):
        return []
    match = people.find_by_id(session, customer.id)
    assert match is not None
    found = households.invitations_to(session, customer.firm_id, match.email_index, now)
    # Who was forgotten meanwhile asks nobody any more.
    return [
        _shown(session, keyring, one)
        for one in found
        if people.data_key(session, one.inviter_id) is not None
    ]


def accept(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    invitation_id: str,
    *,
    actor: str,
) -> Membership:
    """Form the household that somebody was invited to, and return the member's part of it.

    Raises:
        NotFoundError: If there is no such invitation to this person.
        ConflictError: If it is over, or either of the two is in a household.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        one = _mine(session, customer, invitation_id)
        home = child_id("hh", one.id)
        present = households.present(session, customer.id)
        if one.state == "accepted" and present and present[0].household_id == home:
            return _own(present, customer.id)
        if one.state != "open" or one.expires_at <= now:
            message = "This invitation is over."
            raise ConflictError(message, code="invitation_over")
        inviter = owners.find_customer(session, one.inviter_id)
        if inviter is None or inviter.state != "active":
            message = "This invitation is over."
            raise ConflictError(message, code="invitation_over")
        since = date.fromisoformat(one.since_on)
        _require_free(session, inviter.id, since)
        _require_free(session, customer.id, since)
        households.decide(session, one.id, "accepted", now)
        members = [inviter.id, customer.id]
        households.form(session, home, one.firm_id, members, one.since_on, now)
        # Plans of either were made without the other's trades.
        rechecking.take_back(session, keyring, members, business_date(clock.now()), now)
        for person in (inviter, customer):
            vault = Vault.open(session, keyring, person.id)
            mailing.queue(session, vault, "household_formed", home, now)
            _tell(session, person, "household.formed", home, now)
        _note(session, keyring, customer, actor, "household.formed", home, now)
        return _own(households.present(session, customer.id), customer.id)


def turn_down(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    invitation_id: str,
    *,
    actor: str,
) -> None:
    """Decline an invitation one was sent, or withdraw one that one has sent.

    Raises:
        NotFoundError: If there is no such invitation to or from this person.
        ConflictError: If it was accepted.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        one = households.invitation(session, invitation_id)
        if one is not None and one.inviter_id == customer.id:
            state = "withdrawn"
        else:
            one, state = _mine(session, customer, invitation_id), "declined"
        if one.state == state:
            return
        if not households.decide(session, one.id, state, now):
            message = "This invitation is over."
            raise ConflictError(message, code="invitation_over")
        _note(session, keyring, customer, actor, f"household.{state}", one.id, now)


def leave(
    db: Database, keyring: Keyring, clock: Clock, customer: owners.Customer, *, actor: str
) -> None:
    """End a household for both, as of today; who is in none has nothing to leave.

    Raises:
        ConflictError: If a joint account is open: it must be closed first.
    """
    now, today = to_micros(clock.now()), business_date(clock.now())
    with db.write() as session:
        present = households.present(session, customer.id)
        if not present:
            return
        members = [one.customer_id for one in present]
        shared = households.owned_jointly(session, members)
        states = {one.id: one.state for one in households.accounts_of(session, members)}
        if any(states.get(account, "closed") != "closed" for account in shared):
            message = "Close the joint account first: its trades are both owners'."
            raise ConflictError(message, code="joint_account_open")
        home = present[0].household_id
        left_on = max(today.isoformat(), present[0].since_on)
        households.dissolve(session, home, left_on, now)
        households.close_proposals_of(session, home, now)
        for member in members:
            person = owners.find_customer(session, member)
            if person is not None and person.state != "shredded":
                vault = Vault.open(session, keyring, member)
                mailing.queue(session, vault, "household_ended", home, now)
                _tell(session, person, "household.ended", home, now)
        _note(session, keyring, customer, actor, "household.ended", home, now)


def _addressee(
    session: Session, keyring: Keyring, firm_id: str, wanted: Invited
) -> tuple[bytes, people.Match | None]:
    """Return the blind index of an address, and the customer it leads to, if any."""
    if wanted.is_reference:
        found = people.find_by_reference(session, firm_id, wanted.address)
        if found is None:
            message = "There is no such customer."
            raise NotFoundError(message)
        return found.email_index, found
    index = keyring.blind_index("email", normal_email(wanted.address))
    return index, people.find_by_email(session, firm_id, index)


def _require_free(session: Session, customer_id: str, since: date) -> None:
    if households.present(session, customer_id):
        message = "One of the two is in a household; it has to be left first."
        raise ConflictError(message, code="in_a_household")
    ended = [m.left_on for m in households.memberships(session, [customer_id]) if m.left_on]
    if ended and max(ended) > since.isoformat():
        message = "The day lies within an earlier household of one of the two."
        raise ConflictError(message, code="since_on_taken")


def _mine(session: Session, customer: owners.Customer, invitation_id: str) -> Invitation:
    """Return an invitation to this person; anybody else's looks as if it did not exist."""
    one = households.invitation(session, invitation_id)
    match = people.find_by_id(session, customer.id)
    fits = (
        one is not None
        and match is not None
        and _proven(customer)
        and (one.firm_id, one.invitee_index) == (customer.firm_id, match.email_index)
    )
    if one is None or not fits:
        message = "There is no such invitation."
        raise NotFoundError(message)
    return one


def _proven(customer: owners.Customer) -> bool:
    """Return whether an address is the person's: they proved it, or their firm vouches."""
    return customer.email_verified_at is not None or customer.external_ref is not None


def _shown(session: Session, keyring: Keyring, one: Invitation) -> Received:
    vault = Vault.open(session, keyring, one.inviter_id)
    signed = str(vault.unseal_json(one.sealed_from, _bound(one.id)))
    return Received(one.id, signed, one.since_on, one.created_at, one.expires_at)


def _own(present: list[Membership], customer_id: str) -> Membership:
    return next(one for one in present if one.customer_id == customer_id)


def _bound(invitation_id: str) -> str:
    return f"household_invitation:{invitation_id}:sealed_from"


def _tell(session: Session, person: owners.Customer, kind: str, subject: str, now: int) -> None:
    on = business_date(from_micros(now)).isoformat()
    event = NewEvent(person.firm_id, kind, subject, payload(on=on), customer_id=person.id)
    emit(session, [event], now)


def _note(
    session: Session,
    keyring: Keyring,
    customer: owners.Customer,
    actor: str,
    action: str,
    subject: str,
    now: int,
) -> None:
    detail = {"customer_id": customer.id}
    licensing.record(session, keyring, customer.firm_id, actor, action, subject, detail, now)
