"""A joint account: one member of a household proposes it, the other agrees, and it opens.

Both are identified, both have answered and accepted every document, and the basket suits both. The
account is kept under the one who proposed it; the other is its second owner and may do the same.
"""

from sqlmodel import Session

from onboarding.identity_check import IdentityCheck
from robo.core.clock import Clock, to_micros
from robo.core.errors import (
    ConflictError,
    IdempotencyMismatchError,
    NotFoundError,
    RefusedError,
    RoboError,
)
from robo.core.ids import AccountId, child_id
from robo.services import licensing, offering, targeting
from robo.services.enrolling import opening
from robo.services.enrolling.opening import Wanted
from robo.services.enrolling.refusing import translated
from robo.services.mailing import payload
from robo.store import households, owners
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.households import Proposal
from robo.store.keyring import Keyring

_KIND = "joint"


def propose(
    db: Database, clock: Clock, customer: owners.Customer, proposal_id: str, basket_id: str
) -> Proposal:
    """Return a proposal of a joint account to the other member of one's household.

    Raises:
        RefusedError: If the customer is in no household (`no_household`).
        ConflictError: If something is proposed already.
        RoboError: As `opening.open_account`, for whoever proposes.
    """
    with db.read() as session, translated():
        basket = offering.of_customer(session, customer.id).catalog.get(basket_id)
    now = to_micros(clock.now())
    with db.write() as session:
        known = households.proposal(session, proposal_id)
        if known is not None:
            if (known.proposer_id, known.basket_id) != (customer.id, basket_id):
                message = "This key was used for another proposal."
                raise IdempotencyMismatchError(message)
            return known
        partner, home = _partner(session, customer.id)
        if any(
            one.proposer_id == customer.id for one in households.open_proposals(session, partner)
        ):
            message = "A joint account is proposed already."
            raise ConflictError(message, code="proposal_open")
        opening.require_all(session, clock, customer.id, _KIND, basket)
        made = Proposal(proposal_id, home, customer.id, partner, basket.id, "open", None, now)
        households.propose(session, made)
        for person in (customer.id, partner):
            _tell(session, customer.firm_id, person, "joint_account.proposed", made.id, now)
    return made


def agree(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    check: IdentityCheck,
    partner: owners.Customer,
    proposal_id: str,
    *,
    actor: str,
) -> owners.Account:
    """Open the account that was proposed to somebody, and return it; agreeing twice opens it once.

    Raises:
        NotFoundError: If nothing such was proposed to this person.
        ConflictError: If the proposal is over.
        RoboError: As `opening.open_account`, for either of the two.
    """
    now = to_micros(clock.now())
    with db.read() as session:
        one = _proposed_to(session, partner.id, proposal_id)
        with translated():
            basket = offering.of_customer(session, one.proposer_id).catalog.get(one.basket_id)
    refusal: RoboError | None = None
    account_id = child_id("acc", proposal_id)
    with db.write() as session:
        one = _proposed_to(session, partner.id, proposal_id)
        if one.state != "accepted":
            if one.state != "open" or _partner(session, partner.id)[1] != one.household_id:
                message = "This proposal is over."
                raise ConflictError(message, code="proposal_over")
            for person in (one.proposer_id, partner.id):
                opening.require_all(session, clock, person, _KIND, basket)
                refusal = refusal or opening.check_identity(
                    session, keyring, check, clock, person, now
                )
            if refusal is None:
                wanted = Wanted(account_id, one.proposer_id, _KIND, basket.id)
                opening.write(session, wanted, basket, now)
                households.own_jointly(session, account_id, partner.id, now)
                # Only now is it known what the second owner may not buy.
                targeting.refresh(session, [AccountId(account_id)], now)
                households.close_proposal(session, one.id, "accepted", account_id, now)
                detail = {"owners": [one.proposer_id, partner.id]}
                licensing.record(
                    session, keyring, partner.firm_id, actor, "joint_account.opened", account_id,
                    detail, now,
                )  # fmt: skip
        made = owners.find_account(session, account_id)
    if refusal is not None:
        raise refusal
    assert made is not None
    return made


def turn_down(db: Database, clock: Clock, customer: owners.Customer, proposal_id: str) -> None:
    """Decline what one was proposed, or withdraw what one has proposed.

    Raises:
        NotFoundError: If there is no such proposal to or from this person.
        ConflictError: If the account is open.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        one = households.proposal(session, proposal_id)
        if one is None or customer.id not in {one.proposer_id, one.partner_id}:
            message = "There is no such proposal."
            raise NotFoundError(message)
        state = "withdrawn" if one.proposer_id == customer.id else "declined"
        if one.state == state:
            return
        if not households.close_proposal(session, one.id, state, None, now):
            message = "This proposal is over."
            raise ConflictError(message, code="proposal_over")


def _partner(session: Session, customer_id: str) -> tuple[str, str]:
    """Return the other member and the household."""
    others = [m for m in households.present(session, customer_id) if m.customer_id != customer_id]
    if not others:
        message = "A joint account is for two members of a household; form one first."
        raise RefusedError(message, code="no_household")
    return others[0].customer_id, others[0].household_id


def _proposed_to(session: Session, customer_id: str, proposal_id: str) -> Proposal:
    one = households.proposal(session, proposal_id)
    if one is None or one.partner_id != customer_id:
        message = "There is no such proposal."
        raise NotFoundError(message)
    return one


def _tell(
    session: Session, firm_id: str, customer_id: str, kind: str, subject: str, now: int
) -> None:
    emit(session, [NewEvent(firm_id, kind, subject, payload(), customer_id=customer_id)], now)
