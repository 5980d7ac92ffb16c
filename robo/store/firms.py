"""Firms, their API keys, and the operators' audit trail."""

from typing import Final

from sqlmodel import SQLModel

from robo.store.chains import ChainTable, chained
from robo.store.columns import STRICT, blob, integer, text

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
