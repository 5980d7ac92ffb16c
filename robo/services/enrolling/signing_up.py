"""A stranger becomes a customer: by e-mail and password, or because their firm says so."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import AuthenticationError, ConflictError, IdempotencyMismatchError
from robo.core.policy import Policy
from robo.services import licensing, mailing, securing
from robo.services.mailing import payload
from robo.services.sealing import EMAIL, Vault
from robo.services.securing import MAIL_PREFIX, Hasher, digest
from robo.services.throttling import Gate, attempt
from robo.store import logins, owners, people, tokens
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring
from robo.store.people import NewCustomer

_HOUR: Final = 3_600_000_000
_HOUR_SECONDS: Final = 3_600
_MAILS_AN_HOUR: Final = 5
VERIFY: Final = "email_verify"


@dataclass(frozen=True, slots=True)
class SignUp:
    """What a stranger sends."""

    customer_id: str
    """Made from the request's key: the same request makes the same customer."""
    email: str
    password: str = field(repr=False)
    address: str
    """Of the network; counted under a blind index, never kept."""


def sign_up(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    wanted: SignUp,
    *,
    per_hour: int,
    base_url: str,
) -> None:
    """Make a customer of the house, unless the e-mail is taken; nobody can tell which.

    Either way a password was hashed, one transaction written, and one message queued to the
    owner of the address, who alone learns what happened. That is why nothing is returned: the
    customer logs in next.

    Raises:
        InvalidInputError: If the e-mail or the password will not do.
        RateLimitedError: If this address signs up too often.
    """
    email = securing.normal_email(wanted.email)
    securing.check_password(wanted.password, policy, second_factor=False, email=email)
    now = to_micros(clock.now())
    attempt(db, keyring, now, Gate("sign-up", wanted.address, per_hour, _HOUR_SECONDS))
    hashed = hasher.hash(wanted.password)
    index = keyring.blind_index("email", email)
    with db.write() as session:
        firm_id = licensing.house(session)
        assert firm_id is not None, "the house firm is made before the first request"
        found = people.find_by_email(session, firm_id, index)
        if found is None:
            new = NewCustomer(
                wanted.customer_id, firm_id, index, keyring.new_data_key(wanted.customer_id)
            )
            vault = _insert(session, keyring, new, now)
            vault.write(session, EMAIL, email, now)
            logins.insert(session, new.id, hashed, now)
            _mail_proof(session, vault, policy, base_url, now, cause=new.id)
        elif found.id != wanted.customer_id:
            day = business_date(clock.now()).isoformat()
            vault = Vault.open(session, keyring, found.id)
            mailing.queue(session, vault, "sign_up_again", day, now)


@dataclass(frozen=True, slots=True)
class FirmCustomer:
    """What a firm says of its customer."""

    customer_id: str
    external_ref: str
    email: str | None


def add_for_firm(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    firm_id: str,
    wanted: FirmCustomer,
    *,
    actor: str,
    base_url: str,
) -> owners.Customer:
    """Return a firm's customer of this reference, made if it is new; no password is needed.

    Raises:
        ConflictError: If the reference or the e-mail belongs to another customer of the firm.
    """
    email = None if wanted.email is None else securing.normal_email(wanted.email)
    # Without an e-mail the index only has to be unique: it is made from the id.
    index = keyring.blind_index("email", email or f"none {wanted.customer_id}")
    now = to_micros(clock.now())
    with db.write() as session:
        known = people.find_by_id(session, wanted.customer_id)
        if known is not None:
            if (known.external_ref, known.email_index) != (wanted.external_ref, index):
                message = "This key was used for another customer."
                raise IdempotencyMismatchError(message)
        else:
            if people.find_by_reference(session, firm_id, wanted.external_ref) is not None:
                message = "A customer with this reference exists already."
                raise ConflictError(message, code="external_ref_taken")
            if people.find_by_email(session, firm_id, index) is not None:
                message = "A customer with this e-mail exists already."
                raise ConflictError(message, code="email_taken")
            new = NewCustomer(
                wanted.customer_id,
                firm_id,
                index,
                keyring.new_data_key(wanted.customer_id),
                wanted.external_ref,
            )
            vault = _insert(session, keyring, new, now)
            if email is not None:
                vault.write(session, EMAIL, email, now)
                _mail_proof(session, vault, policy, base_url, now, cause=new.id)
            detail = {"external_ref_sha256": sha256(wanted.external_ref.encode()).hexdigest()}
            licensing.record(
                session, keyring, firm_id, actor, "customer.created", new.id, detail, now
            )
        made = owners.find_customer(session, wanted.customer_id)
    assert made is not None
    return made


def ask_proof(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    *,
    cause: str,
    base_url: str,
) -> None:
    """Mail another link that proves the e-mail; a proven one needs none.

    Raises:
        RateLimitedError: If that was asked too often.
    """
    now = to_micros(clock.now())
    attempt(db, keyring, now, Gate("proof-mail", customer_id, _MAILS_AN_HOUR, _HOUR_SECONDS))
    with db.write() as session:
        customer = owners.find_customer(session, customer_id)
        if customer is None or customer.email_verified_at is not None:
            return
        vault = Vault.open(session, keyring, customer_id)
        _mail_proof(session, vault, policy, base_url, now, cause=cause)


def prove_email(db: Database, clock: Clock, token: str) -> str:
    """Note that the mailed token came back, and return whose e-mail it proves.

    Raises:
        AuthenticationError: If the token is unknown, expired, or replaced by a newer one.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        found = tokens.find_single_use(session, digest(token), VERIFY, now)
        customer = None if found is None else owners.find_customer(session, found.customer_id)
        if found is None or customer is None or (found.used_at and not customer.email_verified_at):
            message = "This link does not work any more; ask for another."
            raise AuthenticationError(message, code="bad_token")
        if customer.email_verified_at is None:
            tokens.use_single_use(session, digest(token), now)
            people.set_email_verified(session, customer.id, now)
            event = NewEvent(
                customer.firm_id, "email.verified", customer.id, customer_id=customer.id
            )
            emit(session, [event], now)
    return customer.id


def _insert(session: Session, keyring: Keyring, new: NewCustomer, now: int) -> Vault:
    people.insert(session, new, now)
    event = NewEvent(
        new.firm_id,
        "customer.created",
        new.id,
        payload(self_service=new.external_ref is None),
        customer_id=new.id,
    )
    emit(session, [event], now)
    return Vault.open(session, keyring, new.id)


def _mail_proof(
    session: Session, vault: Vault, policy: Policy, base_url: str, now: int, *, cause: str
) -> None:
    token = securing.new_token(MAIL_PREFIX)
    link = {"link": f"{base_url}/confirm#verify={token}"}
    if not mailing.queue(session, vault, VERIFY, cause, now, link):
        return
    tokens.cancel_single_use(session, vault.customer_id, VERIFY, now)
    tokens.add_single_use(
        session,
        digest(token),
        vault.customer_id,
        purpose=VERIFY,
        subject="",
        expires_at=now + policy.verify_mail_hours * _HOUR,
    )
