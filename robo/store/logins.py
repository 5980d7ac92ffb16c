"""Reads and writes of passwords, second factors and recovery codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session

from robo.store.credentials import CredentialRow, RecoveryCodeRow
from robo.store.customers import CustomerRow
from robo.store.database import bulk, insert_many

_CREDENTIAL: Any = CredentialRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CODE: Any = RecoveryCodeRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

_LOGIN: Final[Any] = select(
    _CUSTOMER.c.id,
    _CUSTOMER.c.state,
    _CREDENTIAL.c.password_hash,
    _CREDENTIAL.c.failures,
    _CREDENTIAL.c.locked_until,
    _CREDENTIAL.c.totp_sealed,
    _CREDENTIAL.c.totp_enrolled_at,
    _CREDENTIAL.c.totp_last_step,
).join(_CREDENTIAL, _CREDENTIAL.c.customer_id == _CUSTOMER.c.id)


@dataclass(frozen=True, slots=True)
class Login:
    """How a customer proves who they are."""

    customer_id: str
    state: str
    password_hash: str
    failures: int
    locked_until: int | None
    totp_sealed: bytes | None
    totp_enrolled_at: int | None
    totp_last_step: int

    @property
    def second_factor(self) -> bool:
        """Return whether a second factor is enrolled."""
        return self.totp_enrolled_at is not None


def by_email(session: Session, firm_id: str, email_index: bytes) -> Login | None:
    """Return the login of a firm's customer with this e-mail."""
    statement = _LOGIN.where(_CUSTOMER.c.firm_id == firm_id, _CUSTOMER.c.email_index == email_index)
    row = session.connection().execute(statement).first()
    return None if row is None else Login(*row)


def by_customer(session: Session, customer_id: str) -> Login | None:
    """Return a customer's login; None for customers whom a firm signs in."""
    row = session.connection().execute(_LOGIN.where(_CUSTOMER.c.id == customer_id)).first()
    return None if row is None else Login(*row)


def insert(session: Session, customer_id: str, password_hash: str, at_micros: int) -> None:
    """Write a new customer's password."""
    insert_many(
        session,
        "credential",
        ("customer_id", "password_hash", "failures", "totp_last_step", "changed_at"),
        [(customer_id, password_hash, 0, 0, at_micros)],
    )


def set_password(session: Session, customer_id: str, password_hash: str, at_micros: int) -> None:
    """Replace a password; failures are forgotten, a lock opens."""
    bulk(
        session,
        "UPDATE credential SET password_hash = ?, failures = 0, locked_until = NULL, "
        "changed_at = ? WHERE customer_id = ?",
        [(password_hash, at_micros, customer_id)],
    )


def count_failure(session: Session, customer_id: str) -> int:
    """Count a failed login and return how many there were in a row."""
    bulk(
        session,
        "UPDATE credential SET failures = failures + 1 WHERE customer_id = ?",
        [(customer_id,)],
    )
    statement = select(_CREDENTIAL.c.failures).where(_CREDENTIAL.c.customer_id == customer_id)
    return int(session.connection().execute(statement).scalar() or 0)


def lock(session: Session, customer_id: str, until: int) -> None:
    """Refuse logins for a while, and count afresh after it."""
    bulk(
        session,
        "UPDATE credential SET locked_until = ?, failures = 0 WHERE customer_id = ?",
        [(until, customer_id)],
    )


def forget_failures(session: Session, customer_id: str) -> None:
    """Forget failed logins after a good one."""
    bulk(
        session,
        "UPDATE credential SET failures = 0, locked_until = NULL WHERE customer_id = ?",
        [(customer_id,)],
    )


def set_totp(session: Session, customer_id: str, sealed: bytes | None, at: int | None) -> None:
    """Keep, confirm (`at` given) or remove the shared secret of the second factor."""
    bulk(
        session,
        "UPDATE credential SET totp_sealed = ?, totp_enrolled_at = ? WHERE customer_id = ?",
        [(sealed, at, customer_id)],
    )


def accept_step(session: Session, customer_id: str, step: int) -> bool:
    """Use a time step up; False if it, or a later one, was used before."""
    changed = bulk(
        session,
        "UPDATE credential SET totp_last_step = ? WHERE customer_id = ? AND totp_last_step < ?",
        [(step, customer_id, step)],
    )
    return changed > 0


def replace_recovery_codes(session: Session, customer_id: str, digests: Sequence[bytes]) -> None:
    """Replace a customer's recovery codes."""
    bulk(session, "DELETE FROM recovery_code WHERE customer_id = ?", [(customer_id,)])
    insert_many(
        session,
        "recovery_code",
        ("code_sha256", "customer_id"),
        [(digest, customer_id) for digest in digests],
    )


def use_recovery_code(session: Session, customer_id: str, digest: bytes, at_micros: int) -> bool:
    """Use a recovery code up; return whether it was one and unused."""
    changed = bulk(
        session,
        "UPDATE recovery_code SET used_at = ? "
        "WHERE code_sha256 = ? AND customer_id = ? AND used_at IS NULL",
        [(at_micros, digest, customer_id)],
    )
    return changed > 0


def recovery_codes_left(session: Session, customer_id: str) -> int:
    """Return how many recovery codes are unused."""
    statement = select(func.count()).where(
        _CODE.c.customer_id == customer_id, _CODE.c.used_at.is_(None)
    )
    return int(session.connection().execute(statement).scalar_one())
