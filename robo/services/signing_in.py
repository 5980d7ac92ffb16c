"""Log in, stay logged in, show a password again, log out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import AuthenticationError, NotFoundError
from robo.core.ids import new_id
from robo.core.policy import Policy
from robo.services import licensing, mailing, proving, securing
from robo.services.sealing import Vault
from robo.services.securing import ACCESS_PREFIX, REFRESH_PREFIX, Hasher, digest
from robo.services.throttling import Gate, attempt
from robo.store import logins, tokens
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 86_400 * _SECOND
_PAIR_MOST: Final = 10
_PAIR_SECONDS: Final = 60
"""Tries a minute for one e-mail from one address: a guesser does not shut the owner out."""
SCOPES: Final = "customer"


@dataclass(frozen=True, slots=True)
class Grant:
    """Fresh tokens of a session; shown once, kept as hashes."""

    access_token: str
    access_expires_at: int
    refresh_token: str | None
    refresh_expires_at: int | None
    customer_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody offers to log in."""

    email: str
    password: str
    code: str | None
    """Six digits of an authenticator app."""
    recovery_code: str | None
    label: str
    address: str
    """Of the network; counted under a blind index, never kept."""


def log_in(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    offered: Attempt,
    *,
    per_minute: int,
) -> Grant:
    """Return the tokens of a new session.

    An unknown e-mail, a wrong password and a locked login cost the same work and get the same
    answer. The password is hashed outside any transaction.

    Raises:
        AuthenticationError: `bad_credentials`, or `second_factor_required` once the password is
            right and the code is missing or wrong.
        RateLimitedError: If this address tries too often.
    """
    email = securing.normal_email(offered.email)
    now = to_micros(clock.now())
    attempt(
        db,
        keyring,
        now,
        Gate("login", offered.address, per_minute, _PAIR_SECONDS),
        Gate("login-pair", f"{offered.address} {email}", _PAIR_MOST, _PAIR_SECONDS),
    )
    with db.read() as session:
        firm_id = licensing.house(session)
        found = logins.by_email(session, firm_id or "", keyring.blind_index("email", email))
    fits = hasher.verify(offered.password, found.password_hash if found else None)
    usable = found is not None and found.state == "active" and not proving.locked(found, now)
    rehashed = None
    if found and fits and hasher.outdated(found.password_hash):
        rehashed = hasher.hash(offered.password)
    grant = None
    with db.write() as session:
        proof = proving.Proof(offered.password, offered.code, offered.recovery_code)
        if (
            found is not None
            and fits
            and usable
            and proving.second_factor_fits(session, keyring, found, now, proof)
        ):
            logins.forget_failures(session, found.customer_id)
            if rehashed is not None:
                logins.set_password(session, found.customer_id, rehashed, now)
            grant = _begin(session, policy, found.customer_id, offered.label, now)
        else:
            proving.count_failure(session, keyring, policy, found, now)
    if grant is not None:
        return grant
    if found is not None and fits and usable:
        message = "Send the code of your authenticator app, or a recovery code."
        raise AuthenticationError(message, code="second_factor_required")
    message = "E-mail and password do not fit, or the login is paused."
    raise AuthenticationError(message, code="bad_credentials")


def refresh(
    db: Database, keyring: Keyring, clock: Clock, policy: Policy, refresh_token: str
) -> Grant:
    """Return the next tokens of a session; each refresh token works once.

    The successors are derived from the token, so repeating a refresh within a few seconds (a lost
    reply) gets the very same ones. Any later reuse means that the token was copied: the session
    ends, and the customer is told.

    Raises:
        AuthenticationError: `bad_token` or `token_reused`.
    """
    now = to_micros(clock.now())
    used = digest(refresh_token)
    following = (
        securing.successor_token(keyring.wrap, ACCESS_PREFIX, refresh_token),
        securing.successor_token(keyring.wrap, REFRESH_PREFIX, refresh_token),
    )
    with db.write() as session:
        found = tokens.find_refresh(session, used)
        alive = found is not None and _alive(found, now)
        reused = False
        if found is not None and alive and found.used_at is None:
            tokens.use_refresh(session, used, found.family_id, now)
            _issue(session, policy, found.family_id, following, now, found.family_expires_at)
        elif found is not None and alive and not _is_replay(session, policy, found, following, now):
            reused = True
            _end_reused(session, keyring, found, now)
    if found is None or not alive:
        message = "This refresh token does not work; log in."
        raise AuthenticationError(message, code="bad_token")
    if reused:
        message = "This refresh token was used before; the session was ended."
        raise AuthenticationError(message, code="token_reused")
    issued_at = now if found.used_at is None else found.used_at
    return Grant(
        access_token=following[0],
        access_expires_at=_access_end(policy, issued_at, found.family_expires_at),
        refresh_token=following[1],
        refresh_expires_at=_refresh_end(policy, issued_at, found.family_expires_at),
        customer_id=found.customer_id,
        session_id=found.family_id,
    )


def step_up(
    db: Database,
    keyring: Keyring,
    hasher: Hasher,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    family_id: str,
    access_token: str,
    offered: proving.Proof,
) -> Grant:
    """Return a new access token that covers sensitive actions; the one shown stops working.

    Raises:
        AuthenticationError: As `proving.prove`.
    """
    proving.prove(db, keyring, hasher, clock, policy, customer_id, offered)
    now = to_micros(clock.now())
    fresh = securing.new_token(ACCESS_PREFIX)
    expires_at = now + policy.access_token_minutes * _MINUTE
    with db.write() as session:
        tokens.remove_access(session, digest(access_token))
        tokens.add_access(
            session,
            digest(fresh),
            family_id,
            issued_at=now,
            expires_at=expires_at,
            stepped_up_at=now,
        )
    return Grant(fresh, expires_at, None, None, customer_id, family_id)


def log_out(db: Database, clock: Clock, customer_id: str, family_id: str) -> None:
    """End one session of a customer.

    Raises:
        NotFoundError: If the customer has no such open session.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        ended = tokens.revoke_family(session, customer_id, family_id, "logout", now)
    if not ended:
        message = "There is no such session."
        raise NotFoundError(message)


def log_out_everywhere(db: Database, clock: Clock, customer_id: str) -> None:
    """End every session of a customer."""
    now = to_micros(clock.now())
    with db.write() as session:
        tokens.revoke_all(session, customer_id, "logout_everywhere", now)


def _begin(session: Session, policy: Policy, customer_id: str, label: str, now: int) -> Grant:
    family_id = new_id("ses")
    family_end = now + policy.refresh_family_days_max * _DAY
    pair = (securing.new_token(ACCESS_PREFIX), securing.new_token(REFRESH_PREFIX))
    tokens.open_family(
        session,
        family_id,
        customer_id,
        scopes=SCOPES,
        label=label,
        at_micros=now,
        expires_at=family_end,
    )
    _issue(session, policy, family_id, pair, now, family_end, stepped_up_at=now)
    return Grant(
        access_token=pair[0],
        access_expires_at=_access_end(policy, now, family_end),
        refresh_token=pair[1],
        refresh_expires_at=_refresh_end(policy, now, family_end),
        customer_id=customer_id,
        session_id=family_id,
    )


def _issue(
    session: Session,
    policy: Policy,
    family_id: str,
    pair: Sequence[str],
    now: int,
    family_end: int,
    stepped_up_at: int | None = None,
) -> None:
    tokens.add_access(
        session,
        digest(pair[0]),
        family_id,
        issued_at=now,
        expires_at=_access_end(policy, now, family_end),
        stepped_up_at=stepped_up_at,
    )
    tokens.add_refresh(
        session,
        digest(pair[1]),
        family_id,
        issued_at=now,
        expires_at=_refresh_end(policy, now, family_end),
    )


def _access_end(policy: Policy, issued_at: int, family_end: int) -> int:
    return min(issued_at + policy.access_token_minutes * _MINUTE, family_end)


def _refresh_end(policy: Policy, issued_at: int, family_end: int) -> int:
    return min(issued_at + policy.refresh_token_days * _DAY, family_end)


def _alive(found: tokens.RefreshGrant, now: int) -> bool:
    """Return whether a refresh token's session goes on; a used token may still be replayed."""
    return (
        found.family_revoked_at is None
        and found.family_expires_at > now
        and found.expires_at > now
        and found.customer_state == "active"
    )


def _is_replay(
    session: Session, policy: Policy, found: tokens.RefreshGrant, pair: Sequence[str], now: int
) -> bool:
    """Return whether a used token comes again soon, and its successor was not used meanwhile."""
    assert found.used_at is not None
    following = tokens.find_refresh(session, digest(pair[1]))
    soon = now - found.used_at <= policy.refresh_replay_seconds * _SECOND
    return soon and following is not None and following.used_at is None


def _end_reused(session: Session, keyring: Keyring, found: tokens.RefreshGrant, now: int) -> None:
    tokens.revoke_family(session, found.customer_id, found.family_id, "refresh_reuse", now)
    vault = Vault.open(session, keyring, found.customer_id)
    mailing.queue(session, vault, "token_reused", found.family_id, now)
    _tell(session, found.customer_id, "session.reuse_detected", found.family_id, now)


def _tell(session: Session, customer_id: str, kind: str, subject: str, now: int) -> None:
    firm_id = licensing.firm_of(session, customer_id)
    emit(session, [NewEvent(firm_id, kind, subject, customer_id=customer_id)], now)
