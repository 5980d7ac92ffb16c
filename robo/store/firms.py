"""Firms, their API keys, and the operators' audit trail."""

from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.store.chains import ChainTable, chained
from robo.store.columns import STRICT, blob, integer, text
from robo.store.database import bulk

AUDIT: Final = ChainTable("audit", ("id", "actor", "action", "subject", "detail_sha256", "at"))


class FirmRow(SQLModel, table=True):
    """A brokerage or app; self-service customers belong to the house firm (`house` = 1)."""

    __tablename__ = "firm"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    name: str = text(unique=True)
    house: int = integer(default=0)
    principal: int = integer(default=0)
    """1 = a broker-dealer that may hold shares for itself; 0 = an adviser, which never does."""
    created_at: int = integer()


class ApiKeyRow(SQLModel, table=True):
    """A firm's or operator's key; only the hash of the secret is kept."""

    __tablename__ = "api_key"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    firm_id: str = text(to="firm.id", index=True)
    name: str = text()
    secret_sha256: bytes = blob(unique=True)
    scopes: str = text()
    """Space-separated, sorted."""
    created_at: int = integer()
    last_used_at: int | None = integer(null=True)
    revoked_at: int | None = integer(null=True)


class AuditRow(SQLModel, table=True):
    """What an operator or a firm's key did; append-only and chained to the firm."""

    __tablename__ = "audit"
    __table_args__ = chained("audit")
    id: str = text(key=True)
    actor: str = text()
    action: str = text()
    subject: str = text(index=True)
    detail_sha256: str = text()
    at: int = integer()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


_FIRM: Any = FirmRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def ids(session: Session) -> list[str]:
    """Return every firm, by id."""
    statement = select(_FIRM.c.id).order_by(_FIRM.c.id)
    return list(session.connection().execute(statement).scalars())


def set_principal(session: Session, firm_id: str, *, principal: bool) -> bool:
    """Say whether a firm may hold shares for itself; return False if it stood so already."""
    changed = bulk(
        session,
        "UPDATE firm SET principal = ? WHERE id = ? AND principal <> ?",
        [(int(principal), firm_id, int(principal))],
    )
    return changed == 1
