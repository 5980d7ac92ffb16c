"""Who the customer is: the profile, sealed, and what the identity check makes of it."""

from collections.abc import Mapping
from typing import Final

from sqlmodel import Session

from onboarding.ages import require_contract_age
from onboarding.identity import Profile, parse_profile
from onboarding.identity_check import IdentityCheck, IdentityResult, Outcome
from onboarding.progress import Step
from onboarding.questionnaire import parse_answers
from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import ConflictError, NotFoundError
from robo.services import licensing
from robo.services.enrolling import restricting, standing
from robo.services.enrolling.refusing import translated
from robo.services.sealing import BIRTH_DATE, PROFILE, TAX_ID, Vault
from robo.store import owners, people
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring

STATES: Final = {
    Outcome.ACCEPT: "accepted",
    Outcome.REVIEW: "review",
    Outcome.REJECT: "rejected",
}
"""What an identity check says -> how it is kept."""
_WORSE: Final = {
    "accepted": frozenset({"review", "rejected"}),
    "review": frozenset({"review", "rejected"}),
    "rejected": frozenset[str](),
}
"""State -> what a check of an edited profile may make of it: never better, only people accept."""


def put_profile(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    check: IdentityCheck,
    customer_id: str,
    raw: Mapping[str, object],
) -> owners.Customer:
    """Keep a customer's profile, and return the customer.

    The tax id and the birth date are sealed apart from the rest. A changed profile is checked again
    once there was a check, which can only make matters worse: what waits for a person, or was
    rejected, is accepted by a person alone (`decide`). Employer and companies controlled become
    restrictions at once.

    Raises:
        InvalidInputError: With every missing and malformed field; values are never repeated.
        MinorError: With the custodial rule that applies instead.
        OutOfOrderError: If Form CRS was not delivered first.
    """
    now = to_micros(clock.now())
    today = business_date(clock.now())
    with translated():
        profile = parse_profile(raw, on=today)
        require_contract_age(profile.birth_date, profile.address.state, today)
    with db.write() as session:
        standing.require(session, customer_id, Step.PROFILE, today)
        vault = Vault.open(session, keyring, customer_id)
        _write(session, vault, profile, now)
        customer = _customer(session, customer_id)
        if customer.identity_state != "none":
            _worsen(session, customer, check.check(profile, today), now)
        latest = people.latest_submission(session, customer_id)
        if latest is not None:
            stored = vault.unseal_json(latest.sealed, f"answers:{latest.id}:sealed")
            assert isinstance(stored, dict)
            with translated():
                answers = parse_answers(stored["answers"])
            made = restricting.derive(session, customer_id, answers, profile)
            restricting.keep(session, customer_id, made, now)
        event = NewEvent(customer.firm_id, "profile.updated", customer_id, customer_id=customer_id)
        emit(session, [event], now)
        return _customer(session, customer_id)


def read_profile(session: Session, vault: Vault, at_micros: int) -> Profile | None:
    """Return a customer's profile, None if there is none yet."""
    raw = vault.read(session, PROFILE)
    if not isinstance(raw, dict):
        return None
    whole = {
        **raw,
        "tax_id": vault.read(session, TAX_ID),
        "birth_date": vault.read(session, BIRTH_DATE),
    }
    with translated():
        return parse_profile(whole, on=business_date(from_micros(at_micros)))


def shown_profile(session: Session, keyring: Keyring, customer_id: str) -> dict[str, object]:
    """Return a profile as its owner may see it: that there is a tax id and a birth date, not which.

    Raises:
        NotFoundError: If there is no profile yet.
    """
    vault = Vault.open(session, keyring, customer_id)
    raw = vault.read(session, PROFILE)
    if not isinstance(raw, dict):
        message = "There is no profile yet."
        raise NotFoundError(message, code="no_profile")
    return {
        **raw,
        "has_tax_id": vault.read(session, TAX_ID) is not None,
        "has_birth_date": vault.read(session, BIRTH_DATE) is not None,
    }


def keep_identity(
    session: Session, customer: owners.Customer, result: IdentityResult, now: int
) -> None:
    """Keep what an identity check said, and tell the feed if that is news."""
    state = STATES[result.outcome]
    codes = [reason.value for reason in result.reasons]
    people.set_identity(session, customer.id, state, codes)
    if state != customer.identity_state:
        _tell(session, customer, state, now)


def _worsen(session: Session, customer: owners.Customer, result: IdentityResult, now: int) -> None:
    """Keep what a check of an edited profile said, unless that would undo an earlier no."""
    state = STATES[result.outcome]
    if state not in _WORSE[customer.identity_state]:
        return
    before = customer.identity_codes.split() if customer.identity_state == "review" else []
    codes = [*before, *(one.value for one in result.reasons if one.value not in before)]
    people.set_identity(session, customer.id, state, codes)
    if state != customer.identity_state:
        _tell(session, customer, state, now)


def decide(
    db: Database, keyring: Keyring, clock: Clock, customer_id: str, *, accept: bool, actor: str
) -> owners.Customer:
    """Settle a review by a person: accept or reject; goes to the audit trail.

    A rejection can be settled too, by accepting: somebody may have mistyped a number.

    Raises:
        NotFoundError: If there is no such customer.
        ConflictError: If the identity is not under review.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        customer = _customer(session, customer_id)
        mistaken = accept and customer.identity_state == "rejected"
        if customer.identity_state != "review" and not mistaken:
            message = "This identity is not under review."
            raise ConflictError(message, code="identity_not_in_review")
        state = "accepted" if accept else "rejected"
        people.set_identity(session, customer_id, state, customer.identity_codes.split())
        detail = {"codes": customer.identity_codes}
        licensing.record(
            session,
            keyring,
            customer.firm_id,
            actor,
            f"identity.{state}",
            customer_id,
            detail,
            now,
        )
        _tell(session, customer, state, now)
        return _customer(session, customer_id)


def _write(session: Session, vault: Vault, profile: Profile, now: int) -> None:
    raw = profile.to_raw()
    vault.write(session, TAX_ID, raw.pop("tax_id"), now)
    vault.write(session, BIRTH_DATE, raw.pop("birth_date"), now)
    vault.write(session, PROFILE, raw, now)


def _customer(session: Session, customer_id: str) -> owners.Customer:
    found = owners.find_customer(session, customer_id)
    if found is None:
        message = "There is no such customer."
        raise NotFoundError(message)
    return found


def _tell(session: Session, customer: owners.Customer, state: str, now: int) -> None:
    event = NewEvent(
        customer.firm_id,
        f"identity.{state}",
        customer.id,
        customer_id=customer.id,
    )
    emit(session, [event], now)
