"""Proving who one is: password and second factor, shown again or changed."""

from dataclasses import dataclass, field
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import AuthenticationError, ConflictError, InvalidInputError
from robo.core.policy import Policy
from robo.services import licensing, mailing, securing
from robo.services.sealing import EMAIL, Vault
from robo.services.securing import MAIL_PREFIX, Hasher, digest
from robo.services.throttling import Gate, attempt
from robo.store import logins, tokens
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring, seal
from robo.store.logins import Login

ISSUER: Final = "Robo"
_MINUTE: Final = 60_000_000
_TRIES: Final = 10
_TRY_SECONDS: Final = 60
_RESETS: Final = 3
_RESET_SECONDS: Final = 3_600
_RESET: Final = "password_reset"


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody shows to prove who they are."""

    password: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)


def prove(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    proof: Proof,
) -> Login:
    """Return the customer's login if password and, once enrolled, second factor fit.

    Raises:
        AuthenticationError: `bad_credentials` or `second_factor_required`.
        RateLimitedError: If somebody with a stolen session guesses.
    """
    now = to_micros(clock.now())
    attempt(db, keyring, now, Gate("prove", customer_id, _TRIES, _TRY_SECONDS))
    with db.read() as session:
        found = logins.by_customer(session, customer_id)
    known = hasher.verify(proof.password, found.password_hash if found else None)
    if found is None or not known or locked(found, now):
        with db.write() as session:
            count_failure(session, keyring, policy, found, now)
        message = "The password does not fit, or the login is paused."
        raise AuthenticationError(message, code="bad_credentials")
    with db.write() as session:
        fits = second_factor_fits(session, keyring, found, now, proof)
        if fits:
            logins.forget_failures(session, customer_id)
        else:
            count_failure(session, keyring, policy, found, now)
    if not fits:
        message = "Send the code of your authenticator app, or a recovery code."
        raise AuthenticationError(message, code="second_factor_required")
    return found


def locked(found: Login, now: int) -> bool:
    """Return whether logins are paused after too many failures."""
    return found.locked_until is not None and found.locked_until > now


def count_failure(
    session: Session, keyring: Keyring, policy: Policy, found: Login | None, now: int
) -> None:
    """Count a failed proof, wherever it was asked for; too many in a row pause the login.

    For a stranger, as much is written to something that means nothing.
    """
    if found is None or found.state != "active" or locked(found, now):
        tokens.count_attempt(session, "stranger", now)
        return
    if logins.count_failure(session, found.customer_id) < policy.login_failures_max:
        return
    logins.lock(session, found.customer_id, now + policy.lock_minutes * _MINUTE)
    vault = Vault.open(session, keyring, found.customer_id)
    mailing.queue(session, vault, "locked", str(now), now)
    _tell(session, found.customer_id, "security.locked", now)


def second_factor_fits(
    session: Session, keyring: Keyring, found: Login, now: int, proof: Proof
) -> bool:
    """Return whether the second factor fits, or none is enrolled; what fits is used up."""
    if not found.second_factor:
        return True
    if proof.recovery_code is not None:
        code = digest(securing.normal_recovery_code(proof.recovery_code))
        if not logins.use_recovery_code(session, found.customer_id, code, now):
            return False
        left = {"left": str(logins.recovery_codes_left(session, found.customer_id))}
        vault = Vault.open(session, keyring, found.customer_id)
        mailing.queue(session, vault, "recovery_code_used", code.hex(), now, left)
        return True
    if proof.code is None or found.totp_sealed is None:
        return False
    vault = Vault.open(session, keyring, found.customer_id)
    secret = vault.unseal(found.totp_sealed, _bound(found.customer_id)).decode()
    step = securing.totp_step(secret, proof.code, now, found.totp_last_step)
    return step is not None and logins.accept_step(session, found.customer_id, step)


def change_password(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    family_id: str,
    proof: Proof,
    new_password: str,
) -> None:
    """Replace the password; every other session ends, and the customer is told.

    Raises:
        AuthenticationError: As `prove`.
        InvalidInputError: If the new password is too short or common.
    """
    found = prove(db, keyring, hasher, clock, policy, customer_id, proof)
    _check_new(db, keyring, policy, found, new_password)
    hashed = hasher.hash(new_password)
    now = to_micros(clock.now())
    with db.write() as session:
        _set_password(session, keyring, customer_id, hashed, now, keep=family_id)


def ask_reset(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    email: str,
    *,
    address: str,
    per_minute: int,
    base_url: str,
) -> None:
    """Mail a link that resets the password, if there is such a customer; nobody can tell.

    Mails are counted by network address and e-mail together, and earlier links go on working until
    they expire, so that a stranger who asks in somebody's name stops nobody's reset.

    Raises:
        RateLimitedError: If this address asks too often; never because of the e-mail.
    """
    plain = securing.normal_email(email)
    now = to_micros(clock.now())
    attempt(db, keyring, now, Gate("reset", address, per_minute, _TRY_SECONDS))
    token = securing.new_token(MAIL_PREFIX)
    bucket = keyring.blind_index("throttle", f"reset-mail\x1f{address}\x1f{plain}").hex()
    hour = now - now % (_RESET_SECONDS * 1_000_000)
    with db.write() as session:
        asked = tokens.count_attempt(session, bucket, hour)
        firm_id = licensing.house(session)
        found = logins.by_email(session, firm_id or "", keyring.blind_index("email", plain))
        if asked > _RESETS:
            return
        if found is None or found.state != "active":
            _pretend_mail(session, keyring, now)
            return
        vault = Vault.open(session, keyring, found.customer_id)
        tokens.add_single_use(
            session,
            digest(token),
            found.customer_id,
            purpose=_RESET,
            subject="",
            expires_at=now + policy.reset_mail_minutes * _MINUTE,
        )
        link = {"link": f"{base_url}/confirm#reset={token}"}
        mailing.queue(session, vault, _RESET, digest(token).hex(), now, link)


def _pretend_mail(session: Session, keyring: Keyring, now: int) -> None:
    """Do for a stranger what a mail costs: a key opened, a letter sealed, two rows written."""
    key = keyring.open_data_key("stranger", keyring.new_data_key("stranger"))
    seal(key, mailing.LETTERS[_RESET].text.encode(), "stranger")
    for row in ("stranger's token", "stranger's mail"):
        tokens.count_attempt(session, row, now)


def reset_password(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    token: str,
    proof: Proof,
) -> None:
    """Set a new password (`proof.password`) by a mailed token; every session ends.

    An enrolled second factor must be shown too: a mailbox is no second factor. Failures count like
    failed logins; while these are paused only a recovery code will do, which nobody guesses.

    Raises:
        AuthenticationError: `bad_token` or `second_factor_required`.
        InvalidInputError: If the new password is too short or common; the token still works.
    """
    now = to_micros(clock.now())
    attempt(db, keyring, now, Gate("reset-use", digest(token).hex(), _TRIES, _TRY_SECONDS))
    with db.read() as session:
        mailed = tokens.find_single_use(session, digest(token), _RESET, now)
        usable = mailed is not None and mailed.used_at is None
        found = logins.by_customer(session, mailed.customer_id) if mailed and usable else None
    if found is None or found.state != "active":
        message = "This link does not work any more; ask for another."
        raise AuthenticationError(message, code="bad_token")
    _check_new(db, keyring, policy, found, proof.password)
    hashed = hasher.hash(proof.password)
    with db.write() as session:
        paused = found.second_factor and locked(found, now) and proof.recovery_code is None
        fits = not paused and second_factor_fits(session, keyring, found, now, proof)
        if not fits:
            count_failure(session, keyring, policy, found, now)
        used = fits and tokens.use_single_use(session, digest(token), now)
        if used:
            _set_password(session, keyring, found.customer_id, hashed, now, keep=None)
    if not fits:
        message = "Send the code of your authenticator app, or a recovery code."
        raise AuthenticationError(message, code="second_factor_required")
    if not used:
        message = "This link does not work any more; ask for another."
        raise AuthenticationError(message, code="bad_token")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app needs; shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


def begin_second_factor(
    db: Database, keyring: Keyring, clock: Clock, customer_id: str
) -> Enrolment:
    """Return a new shared secret; it counts only once a code of it was shown.

    Raises:
        ConflictError: If a second factor is enrolled already.
    """
    del clock
    secret = securing.new_totp_secret()
    with db.write() as session:
        found = logins.by_customer(session, customer_id)
        if found is None or found.second_factor:
            message = "A second factor is enrolled already; remove it first."
            raise ConflictError(message, code="second_factor_enrolled")
        vault = Vault.open(session, keyring, customer_id)
        email = str(vault.read(session, EMAIL))
        sealed = vault.seal(secret.encode(), _bound(customer_id))
        logins.set_totp(session, customer_id, sealed, None)
    return Enrolment(secret, securing.totp_uri(secret, email, ISSUER))


def confirm_second_factor(
    db: Database, keyring: Keyring, clock: Clock, customer_id: str, code: str
) -> list[str]:
    """Enrol the second factor and return ten recovery codes, shown once.

    Raises:
        ConflictError: If no enrolment is under way.
        InvalidInputError: If the code does not fit.
    """
    now = to_micros(clock.now())
    attempt(db, keyring, now, Gate("confirm", customer_id, _TRIES, _TRY_SECONDS))
    codes = securing.new_recovery_codes()
    with db.write() as session:
        found = logins.by_customer(session, customer_id)
        if found is None or found.totp_sealed is None or found.second_factor:
            message = "No enrolment is under way."
            raise ConflictError(message, code="second_factor_not_begun")
        vault = Vault.open(session, keyring, customer_id)
        secret = vault.unseal(found.totp_sealed, _bound(customer_id)).decode()
        step = securing.totp_step(secret, code, now, found.totp_last_step)
        if step is None:
            message = "This code does not fit; check the clock of your phone."
            raise InvalidInputError(message, code="bad_code", fields={"code": [message]})
        logins.accept_step(session, customer_id, step)
        logins.set_totp(session, customer_id, found.totp_sealed, now)
        logins.replace_recovery_codes(session, customer_id, [digest(code) for code in codes])
        mailing.queue(session, vault, "second_factor_added", str(now), now)
        _tell(session, customer_id, "security.second_factor_added", now)
    return codes


def remove_second_factor(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    proof: Proof,
) -> None:
    """Remove the second factor; both factors must be shown, and the customer is told.

    Raises:
        AuthenticationError: As `prove`.
        ConflictError: If none is enrolled, or the password is too short to stand alone.
    """
    found = prove(db, keyring, hasher, clock, policy, customer_id, proof)
    if not found.second_factor:
        message = "No second factor is enrolled."
        raise ConflictError(message, code="second_factor_missing")
    if len(proof.password) < policy.password_length_min:
        message = f"Choose a password of {policy.password_length_min} characters first."
        raise ConflictError(message, code="password_too_short_alone")
    now = to_micros(clock.now())
    with db.write() as session:
        logins.set_totp(session, customer_id, None, None)
        logins.replace_recovery_codes(session, customer_id, [])
        vault = Vault.open(session, keyring, customer_id)
        mailing.queue(session, vault, "second_factor_removed", str(now), now)
        _tell(session, customer_id, "security.second_factor_removed", now)


def _check_new(db: Database, keyring: Keyring, policy: Policy, found: Login, password: str) -> None:
    with db.read() as session:
        email = str(Vault.open(session, keyring, found.customer_id).read(session, EMAIL))
    securing.check_password(password, policy, second_factor=found.second_factor, email=email)


def _set_password(
    session: Session,
    keyring: Keyring,
    customer_id: str,
    hashed: str,
    now: int,
    *,
    keep: str | None,
) -> None:
    logins.set_password(session, customer_id, hashed, now)
    tokens.revoke_all(session, customer_id, "password_changed", now, but=keep)
    tokens.cancel_single_use(session, customer_id, _RESET, now)
    vault = Vault.open(session, keyring, customer_id)
    mailing.queue(session, vault, "password_changed", str(now), now)
    _tell(session, customer_id, "security.password_changed", now)


def _tell(session: Session, customer_id: str, kind: str, now: int) -> None:
    firm_id = licensing.firm_of(session, customer_id)
    emit(session, [NewEvent(firm_id, kind, customer_id, customer_id=customer_id)], now)


def _bound(customer_id: str) -> str:
    return f"credential:{customer_id}:totp"
