"""Firms and their API keys, each change in the operators' audit trail."""

import json
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import RowMapping, select
from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError
from robo.core.ids import child_id, new_id
from robo.services.securing import KEY_PREFIX, digest, new_token
from robo.store import chains
from robo.store.chains import Link
from robo.store.customers import CustomerRow
from robo.store.database import Database, bulk, insert_many
from robo.store.firms import AUDIT, ApiKeyRow, AuditRow, FirmRow
from robo.store.keyring import Keyring

_FIRM: Any = FirmRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_KEY: Any = ApiKeyRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_AUDIT: Any = AuditRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

SCOPES: Final = (
    "accounts:read",
    "accounts:write",
    "baskets:read",
    "customers:read",
    "customers:write",
    "events:read",
    "orders:read",
    "portfolio:read",
    "transfers:read",
    "transfers:write",
    "firm:read",
    "firm:operate",
    "admin:*",
)
"""What a key may be given; a test compares it with what routes ask for."""
FIRM_SCOPES: Final = tuple(scope for scope in SCOPES if not scope.startswith("admin:"))
OPERATOR_FILE: Final = "operator.key"
HOUSE_NAME: Final = "House"
_NAME_MAX: Final = 100
LOCAL: Final = "local"
"""The actor of what is done at the machine itself."""


def create_firm(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    name: str,
    house: bool = False,  # noqa: FBT001, FBT002 - one flag, named by callers
) -> str:
    """Create a firm and return its id.

    Raises:
        InvalidInputError: If the name is empty or too long.
        ConflictError: If the name, or the place of the house, is taken.
    """
    clean = _name(name)
    now = to_micros(clock.now())
    firm_id = new_id("firm")
    with db.write() as session:
        taken = select(_FIRM.c.id).where((_FIRM.c.name == clean) | ((_FIRM.c.house == 1) & house))
        if session.connection().execute(taken).first() is not None:
            message = "There is such a firm already."
            raise ConflictError(message, code="firm_exists")
        insert_many(
            session,
            "firm",
            ("id", "name", "house", "created_at"),
            [(firm_id, clean, int(house), now)],
        )
        record(session, keyring, firm_id, LOCAL, "firm.created", firm_id, {"name": clean}, now)
    return firm_id


def create_key(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    firm_id: str,
    name: str,
    scopes: Iterable[str],
    *,
    actor: str = LOCAL,
) -> str:
    """Create an API key and return its secret, which is never shown again.

    Raises:
        NotFoundError: If there is no such firm.
        InvalidInputError: If the name is empty, a scope unknown, or an operator's scope
            (`admin:`) is asked for a firm that is not the house: it reaches every firm.
    """
    clean = _name(name)
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        message = f"Scopes are: {', '.join(SCOPES)}."
        raise InvalidInputError(message, code="unknown_scope", fields={"scopes": [message]})
    now = to_micros(clock.now())
    secret = new_token(KEY_PREFIX)
    key_id = child_id("key", digest(secret).hex())
    with db.write() as session:
        exists = select(_FIRM.c.house).where(_FIRM.c.id == firm_id)
        is_house = session.connection().execute(exists).scalar()
        if is_house is None:
            message = "There is no such firm."
            raise NotFoundError(message)
        if not is_house and any(scope not in FIRM_SCOPES for scope in wanted):
            message = "Only the house's own keys may operate; give a firm's key firm scopes."
            raise InvalidInputError(message, code="house_only", fields={"scopes": [message]})
        insert_many(
            session,
            "api_key",
            ("id", "firm_id", "name", "secret_sha256", "scopes", "created_at"),
            [(key_id, firm_id, clean, digest(secret), " ".join(wanted), now)],
        )
        detail = {"name": clean, "scopes": wanted}
        record(session, keyring, firm_id, actor, "key.created", key_id, detail, now)
    return secret


def revoke_key(
    db: Database, keyring: Keyring, clock: Clock, key_id: str, *, actor: str = LOCAL
) -> None:
    """Revoke an API key; it stops working with the next request.

    Raises:
        NotFoundError: If there is no such key that still works.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        changed = bulk(
            session,
            "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
            [(now, key_id)],
        )
        if not changed:
            message = "There is no such key, or it is revoked already."
            raise NotFoundError(message)
        firm = select(_KEY.c.firm_id).where(_KEY.c.id == key_id)
        firm_id = str(session.connection().execute(firm).scalar_one())
        record(session, keyring, firm_id, actor, "key.revoked", key_id, {}, now)


def ensure_house(db: Database, keyring: Keyring, clock: Clock, state_dir: Path) -> str:
    """Return the id of the house firm, made on the first run together with an operator's key.

    The key goes to `operator.key` in the state directory, readable by its owner only. A crash
    between the key's row and its file leaves a key that nobody knows; the next run makes another.
    """
    with db.read() as session:
        found = house(session)
    firm_id = found or create_firm(db, keyring, clock, HOUSE_NAME, house=True)
    path = state_dir / OPERATOR_FILE
    if not path.exists():
        secret = create_key(db, keyring, clock, firm_id, "first-run operator", ["admin:*"])
        _write_once(path, f"{secret}\n")
    return firm_id


def house(session: Session) -> str | None:
    """Return the firm that self-service customers belong to."""
    found: str | None = (
        session.connection().execute(select(_FIRM.c.id).where(_FIRM.c.house == 1)).scalar()
    )
    return found


def firm_of(session: Session, customer_id: str) -> str:
    """Return the firm of a customer that exists."""
    statement = select(_CUSTOMER.c.firm_id).where(_CUSTOMER.c.id == customer_id)
    return str(session.connection().execute(statement).scalar_one())


def firms(session: Session) -> list[RowMapping]:
    """Return all firms by name."""
    statement = select(_FIRM.c.id, _FIRM.c.name, _FIRM.c.house, _FIRM.c.created_at)
    return list(session.connection().execute(statement.order_by(_FIRM.c.name)).mappings())


def keys(session: Session, firm_id: str) -> list[RowMapping]:
    """Return a firm's keys without their secrets, newest first."""
    columns = (
        _KEY.c.id,
        _KEY.c.name,
        _KEY.c.scopes,
        _KEY.c.created_at,
        _KEY.c.last_used_at,
        _KEY.c.revoked_at,
    )
    statement = select(*columns).where(_KEY.c.firm_id == firm_id)
    return list(
        session.connection().execute(statement.order_by(_KEY.c.created_at.desc())).mappings()
    )


def audit_trail(session: Session, firm_id: str, after: int, limit: int) -> list[RowMapping]:
    """Return what operators and keys did in a firm, in the order of its chain."""
    statement = (
        select(
            _AUDIT.c.id,
            _AUDIT.c.actor,
            _AUDIT.c.action,
            _AUDIT.c.subject,
            _AUDIT.c.detail_sha256,
            _AUDIT.c.at,
            _AUDIT.c.seq,
        )
        .where(_AUDIT.c.chain == firm_id, _AUDIT.c.seq > after)
        .order_by(_AUDIT.c.seq)
        .limit(limit)
    )
    return list(session.connection().execute(statement).mappings())


def record(
    session: Session,
    keyring: Keyring,
    firm_id: str,
    actor: str,
    action: str,
    subject: str,
    detail: object,
    at_micros: int,
) -> None:
    """Append to the firm's audit trail: who did what to what; of the detail only its hash."""
    canonical = json.dumps(detail, sort_keys=True, separators=(",", ":"))
    values = (
        new_id("aud"),
        actor,
        action,
        subject,
        sha256(canonical.encode()).hexdigest(),
        at_micros,
    )
    chains.append(session, keyring.chain, [Link(AUDIT, firm_id, values)], at_micros)


def _write_once(path: Path, content: str) -> None:
    """Write a file that only its owner may read, whole or not at all; keep one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{new_id('tmp')}")
    draft.touch(mode=0o600)
    draft.write_text(content)
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def _name(name: str) -> str:
    clean = " ".join(name.split())
    if not clean or len(clean) > _NAME_MAX or not clean.isprintable():
        message = f"A name has 1 to {_NAME_MAX} printable characters."
        raise InvalidInputError(message, code="bad_name", fields={"name": [message]})
    return clean
