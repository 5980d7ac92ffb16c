"""Reads and writes of sessions: families of tokens, API keys, single-use tokens, throttles."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, bindparam, select
from sqlmodel import Session

from robo.store.credentials import (
    AccessTokenRow,
    RefreshTokenRow,
    SingleUseTokenRow,
    ThrottleRow,
    TokenFamilyRow,
)
from robo.store.customers import CustomerRow
from robo.store.database import bulk, insert_many
from robo.store.firms import ApiKeyRow

_ACCESS: Any = AccessTokenRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_REFRESH: Any = RefreshTokenRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FAMILY: Any = TokenFamilyRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SINGLE: Any = SingleUseTokenRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_THROTTLE: Any = ThrottleRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_KEY: Any = ApiKeyRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

_FIND_ACCESS: Final = (
    select(
        _CUSTOMER.c.id,
        _CUSTOMER.c.firm_id,
        _FAMILY.c.id,
        _FAMILY.c.scopes,
        _ACCESS.c.stepped_up_at,
    )
    .join(_FAMILY, _FAMILY.c.id == _ACCESS.c.family_id)
    .join(_CUSTOMER, _CUSTOMER.c.id == _FAMILY.c.customer_id)
    .where(
        _ACCESS.c.token_sha256 == bindparam("token"),
        _ACCESS.c.expires_at > bindparam("now"),
        _FAMILY.c.expires_at > bindparam("now"),
        _FAMILY.c.revoked_at.is_(None),
        _CUSTOMER.c.state == "active",
    )
)
_FIND_KEY: Final = select(_KEY.c.id, _KEY.c.firm_id, _KEY.c.scopes, _KEY.c.last_used_at).where(
    _KEY.c.secret_sha256 == bindparam("secret"), _KEY.c.revoked_at.is_(None)
)


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """What a live access token stands for."""

    customer_id: str
    firm_id: str
    family_id: str
    scopes: str
    stepped_up_at: int | None


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a live API key stands for."""

    key_id: str
    firm_id: str
    scopes: str
    last_used_at: int | None


def find_access(session: Session, token_sha256: bytes, now: int) -> AccessGrant | None:
    """Return what an access token grants now; None if unknown, expired, revoked or locked out."""
    row = session.connection().execute(_FIND_ACCESS, {"token": token_sha256, "now": now}).first()
    return None if row is None else AccessGrant(*row)


def find_key(session: Session, secret_sha256: bytes) -> KeyGrant | None:
    """Return what an API key grants; None if unknown or revoked."""
    row = session.connection().execute(_FIND_KEY, {"secret": secret_sha256}).first()
    return None if row is None else KeyGrant(*row)


def note_key_use(session: Session, key_id: str, at_micros: int) -> None:
    """Remember when a key was used last."""
    bulk(session, "UPDATE api_key SET last_used_at = ? WHERE id = ?", [(at_micros, key_id)])


def open_family(
    session: Session,
    family_id: str,
    customer_id: str,
    *,
    scopes: str,
    label: str,
    at_micros: int,
    expires_at: int,
) -> None:
    """Begin a session."""
    insert_many(
        session,
        "token_family",
        (
            "id",
            "customer_id",
            "scopes",
            "label",
            "created_at",
            "last_used_at",
            "expires_at",
        ),
        [(family_id, customer_id, scopes, label, at_micros, at_micros, expires_at)],
    )


def add_access(
    session: Session,
    token_sha256: bytes,
    family_id: str,
    *,
    issued_at: int,
    expires_at: int,
    stepped_up_at: int | None,
) -> None:
    """Add an access token to a session."""
    insert_many(
        session,
        "access_token",
        ("token_sha256", "family_id", "issued_at", "expires_at", "stepped_up_at"),
        [(token_sha256, family_id, issued_at, expires_at, stepped_up_at)],
    )


def add_refresh(
    session: Session, token_sha256: bytes, family_id: str, *, issued_at: int, expires_at: int
) -> None:
    """Add a refresh token to a session."""
    insert_many(
        session,
        "refresh_token",
        ("token_sha256", "family_id", "issued_at", "expires_at"),
        [(token_sha256, family_id, issued_at, expires_at)],
    )


def remove_access(session: Session, token_sha256: bytes) -> None:
    """End one access token."""
    bulk(session, "DELETE FROM access_token WHERE token_sha256 = ?", [(token_sha256,)])


@dataclass(frozen=True, slots=True)
class RefreshGrant:
    """A refresh token with the session it belongs to."""

    family_id: str
    customer_id: str
    customer_state: str
    used_at: int | None
    expires_at: int
    family_expires_at: int
    family_revoked_at: int | None


def find_refresh(session: Session, token_sha256: bytes) -> RefreshGrant | None:
    """Return a refresh token, used or not."""
    statement = (
        select(
            _FAMILY.c.id,
            _CUSTOMER.c.id,
            _CUSTOMER.c.state,
            _REFRESH.c.used_at,
            _REFRESH.c.expires_at,
            _FAMILY.c.expires_at,
            _FAMILY.c.revoked_at,
        )
        .join(_FAMILY, _FAMILY.c.id == _REFRESH.c.family_id)
        .join(_CUSTOMER, _CUSTOMER.c.id == _FAMILY.c.customer_id)
        .where(_REFRESH.c.token_sha256 == token_sha256)
    )
    row = session.connection().execute(statement).first()
    return None if row is None else RefreshGrant(*row)


def use_refresh(session: Session, token_sha256: bytes, family_id: str, at_micros: int) -> None:
    """Mark a refresh token as used."""
    bulk(
        session,
        "UPDATE refresh_token SET used_at = ? WHERE token_sha256 = ? AND used_at IS NULL",
        [(at_micros, token_sha256)],
    )
    bulk(session, "UPDATE token_family SET last_used_at = ? WHERE id = ?", [(at_micros, family_id)])


def revoke_family(
    session: Session, customer_id: str, family_id: str, why: str, at_micros: int
) -> bool:
    """End one session of a customer; return whether it was open."""
    changed = bulk(
        session,
        "UPDATE token_family SET revoked_at = ?, revoked_why = ? "
        "WHERE id = ? AND customer_id = ? AND revoked_at IS NULL",
        [(at_micros, why, family_id, customer_id)],
    )
    return changed > 0


def revoke_all(
    session: Session, customer_id: str, why: str, at_micros: int, *, but: str | None = None
) -> None:
    """End every session of a customer, or every other one."""
    bulk(
        session,
        "UPDATE token_family SET revoked_at = ?, revoked_why = ? "
        "WHERE customer_id = ? AND id <> ? AND revoked_at IS NULL",
        [(at_micros, why, customer_id, but or "")],
    )


def open_families(
    session: Session, customer_id: str, now: int, after: tuple[int, str] | None, limit: int
) -> list[RowMapping]:
    """Return a customer's open sessions, newest first, after a (created_at, id)."""
    statement = select(
        _FAMILY.c.id,
        _FAMILY.c.label,
        _FAMILY.c.created_at,
        _FAMILY.c.last_used_at,
        _FAMILY.c.expires_at,
    ).where(
        _FAMILY.c.customer_id == customer_id,
        _FAMILY.c.revoked_at.is_(None),
        _FAMILY.c.expires_at > now,
    )
    if after is not None:
        created_at, family_id = after
        statement = statement.where(
            (_FAMILY.c.created_at < created_at)
            | ((_FAMILY.c.created_at == created_at) & (_FAMILY.c.id > family_id))
        )
    ordered = statement.order_by(_FAMILY.c.created_at.desc(), _FAMILY.c.id).limit(limit)
    return list(session.connection().execute(ordered).mappings())


def add_single_use(
    session: Session,
    token_sha256: bytes,
    customer_id: str,
    *,
    purpose: str,
    subject: str,
    expires_at: int,
) -> None:
    """Add a token that goes out by mail."""
    insert_many(
        session,
        "single_use_token",
        ("token_sha256", "customer_id", "purpose", "subject", "expires_at"),
        [(token_sha256, customer_id, purpose, subject, expires_at)],
    )


@dataclass(frozen=True, slots=True)
class SingleUse:
    """A mailed token that has not expired."""

    customer_id: str
    subject: str
    used_at: int | None


def find_single_use(
    session: Session, token_sha256: bytes, purpose: str, now: int
) -> SingleUse | None:
    """Return a mailed token of a purpose, used or not; None if unknown or expired."""
    statement = select(_SINGLE.c.customer_id, _SINGLE.c.subject, _SINGLE.c.used_at).where(
        _SINGLE.c.token_sha256 == token_sha256,
        _SINGLE.c.purpose == purpose,
        _SINGLE.c.expires_at > now,
    )
    row = session.connection().execute(statement).first()
    return None if row is None else SingleUse(*row)


def use_single_use(session: Session, token_sha256: bytes, at_micros: int) -> bool:
    """Use a mailed token up; return whether it was still unused."""
    changed = bulk(
        session,
        "UPDATE single_use_token SET used_at = ? WHERE token_sha256 = ? AND used_at IS NULL",
        [(at_micros, token_sha256)],
    )
    return changed > 0


def cancel_single_use(session: Session, customer_id: str, purpose: str, at_micros: int) -> None:
    """Use up every open mailed token of a purpose: only the newest mail works."""
    bulk(
        session,
        "UPDATE single_use_token SET used_at = ? "
        "WHERE customer_id = ? AND purpose = ? AND used_at IS NULL",
        [(at_micros, customer_id, purpose)],
    )


def count_attempt(session: Session, bucket: str, window_start: int) -> int:
    """Count one attempt in a bucket and return how many there were in this window."""
    bulk(
        session,
        "INSERT INTO throttle (bucket, window_start, count) VALUES (?, ?, 1) "
        "ON CONFLICT (bucket) DO UPDATE SET "
        "count = CASE WHEN throttle.window_start = excluded.window_start "
        "THEN throttle.count + 1 ELSE 1 END, window_start = excluded.window_start",
        [(bucket, window_start)],
    )
    statement = select(_THROTTLE.c.count).where(_THROTTLE.c.bucket == bucket)
    return int(session.connection().execute(statement).scalar_one())


def sweep(session: Session, now: int) -> int:
    """Remove tokens, throttles and stored replies that nobody can use any more."""
    day = 86_400_000_000
    removed = 0
    for table, column, limit in (
        ("access_token", "expires_at", now),
        ("refresh_token", "expires_at", now),
        ("single_use_token", "expires_at", now - 30 * day),
        ("throttle", "window_start", now - 2 * day),
        ("idempotency", "expires_at", now),
    ):
        removed += bulk(session, f"DELETE FROM {table} WHERE {column} < ?", [(limit,)])  # noqa: S608 - names are ours
    return removed
