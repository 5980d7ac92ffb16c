"""An account opens: identity checked, documents accepted, the basket suitable, its target set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from baskets.basket import Basket
from onboarding.identity_check import SENTENCES, IdentityCheck, IdentityReason, Outcome
from onboarding.progress import Step
from onboarding.recommendation import FITS
from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import (
    IdempotencyMismatchError,
    MinorError,
    RefusedError,
    RoboError,
    UnsuitableError,
)
from robo.core.ids import AccountId, child_id
from robo.services import offering, targeting
from robo.services.enrolling import standing
from robo.services.enrolling.identifying import keep_identity, read_profile
from robo.services.enrolling.refusing import translated
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.store import accounts, owners, people
from robo.store.database import Database, insert_many
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring

ACCOUNTS_MAX: Final = 20
"""Accounts a customer may hold; each is followed every night."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The account that somebody asks for; `id` is made from the request's key."""

    id: str
    customer_id: str
    kind: str
    basket_id: str


def open_account(
    db: Database, keyring: Keyring, clock: Clock, check: IdentityCheck, wanted: Wanted
) -> owners.Account:
    """Return a customer's new account, which follows a basket; the same id opens it once.

    The identity is checked here and kept whatever it says. Under review, the account opens and
    waits: no deposit is taken before the identity is accepted.

    Raises:
        RefusedError: If this kind does not open here (`kind_not_offered`), the identity is
            rejected (`identity_rejected`), there are too many accounts, or a returned deposit
            of any account, closed ones too, is still owed (`deposit_owed`).
        MinorError: If the person became a minor of another state since the profile was given.
        OutOfOrderError: If answers, agreements or the profile come first.
        UnsuitableError: If the basket does not suit the customer's answers.
        RestrictedError: If restrictions leave too little of the basket.
        NotFoundError: If there is no such basket.
    """
    if wanted.kind not in standing.ALONE:
        message = "A joint account is proposed to its other owner: POST …/joint-proposals."
        raise RefusedError(message, code="kind_not_offered", reasons=[wanted.kind])
    # Read before the write begins: a shelf that must be built first takes a second.
    with db.read() as session, translated():
        basket = offering.of_customer(session, wanted.customer_id).catalog.get(wanted.basket_id)
    now = to_micros(clock.now())
    refusal: RoboError | None = None
    with db.write() as session:
        known = owners.find_account(session, wanted.id)
        if known is not None:
            return _same(session, known, wanted)
        require_all(session, clock, wanted.customer_id, wanted.kind, basket)
        refusal = check_identity(session, keyring, check, clock, wanted.customer_id, now)
        if refusal is None:
            write(session, wanted, basket, now)
        made = owners.find_account(session, wanted.id)
    if refusal is not None:
        raise refusal
    assert made is not None
    return made


def require_all(
    session: Session, clock: Clock, customer_id: str, kind: str, basket: Basket
) -> None:
    """Return if a customer may own an account of a kind that follows a basket.

    Raises:
        RoboError: As `open_account`.
    """
    on = business_date(clock.now())
    standing.require(session, customer_id, Step.ACCOUNT, on)
    standing.require_documents(session, customer_id, kind, on)
    _require_room(session, customer_id)
    _require_no_debt(session, customer_id)
    _require_suitable(session, customer_id, basket)


def check_identity(
    session: Session,
    keyring: Keyring,
    check: IdentityCheck,
    clock: Clock,
    customer_id: str,
    now: int,
) -> RoboError | None:
    """Keep what the check says; return a refusal instead of raising it, so that it is kept."""
    customer = owners.find_customer(session, customer_id)
    vault = Vault.open(session, keyring, customer_id)
    profile = read_profile(session, vault, now)
    assert customer is not None
    assert profile is not None
    if customer.identity_state == "accepted":
        return None
    if customer.identity_state == "rejected":
        return _rejected(customer.identity_codes.split())
    result = check.check(profile, business_date(clock.now()))
    if customer.identity_state != "review" or result.outcome is Outcome.REJECT:
        keep_identity(session, customer, result, now)
    if result.outcome is not Outcome.REJECT:
        return None
    if IdentityReason.UNDER_CONTRACT_AGE in result.reasons:
        return MinorError(SENTENCES[IdentityReason.UNDER_CONTRACT_AGE])
    return _rejected([reason.value for reason in result.reasons])


def _rejected(codes: Sequence[str]) -> RefusedError:
    sentences = [SENTENCES[IdentityReason(code)] for code in codes]
    message = " ".join(["We cannot open an account.", *sentences])
    return RefusedError(message, code="identity_rejected", reasons=codes)


def _require_room(session: Session, customer_id: str) -> None:
    if len(accounts.accounts_of_customer(session, customer_id)) >= ACCOUNTS_MAX:
        message = f"A customer holds at most {ACCOUNTS_MAX} accounts."
        raise RefusedError(message, code="too_many_accounts")


def _require_no_debt(session: Session, customer_id: str) -> None:
    # Otherwise a debt is left behind by closing one account and opening the next.
    if accounts.customer_owes(session, customer_id):
        message = "A returned deposit has to be brought back before another account opens."
        raise RefusedError(message, code="deposit_owed")


def _require_suitable(session: Session, customer_id: str, basket: Basket) -> None:
    latest = people.latest_submission(session, customer_id)
    if latest is None or basket.risk_hint not in FITS.get(latest.band or "", frozenset()):
        message = "This basket does not suit your answers; take one that we recommended."
        raise UnsuitableError(message, reasons=["basket_risk"])


def write(session: Session, wanted: Wanted, basket: Basket, now: int) -> None:
    """Write an account, the sleeve that follows the basket, and the event."""
    customer = owners.find_customer(session, wanted.customer_id)
    assert customer is not None
    target_id = targeting.resolve(session, wanted.customer_id, basket, now)
    insert_many(
        session,
        "account",
        ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
        [(wanted.id, customer.firm_id, customer.id, wanted.kind, "open", now)],
    )
    insert_many(
        session,
        "sleeve",
        ("id", "account_id", "kind", "basket_id", "target_id", "changed_at"),
        [(child_id("slv", wanted.id), wanted.id, "basket", basket.id, target_id, now)],
    )
    event = NewEvent(
        customer.firm_id,
        "account.opened",
        wanted.id,
        payload(kind=wanted.kind, basket_id=basket.id),
        customer_id=customer.id,
        account_id=wanted.id,
    )
    emit(session, [event], now)


def _same(session: Session, known: owners.Account, wanted: Wanted) -> owners.Account:
    sleeve = accounts.sleeves(session, [AccountId(known.id)])[AccountId(known.id)]
    asked = (wanted.customer_id, wanted.kind, wanted.basket_id)
    if (known.customer_id, known.kind, sleeve.basket_id) != asked:
        message = "This key was used for another account."
        raise IdempotencyMismatchError(message)
    return known
