"""Agreement acceptances (chained), their sealed evidence, and the mail that waits to go out."""

from typing import Final

from sqlmodel import SQLModel

from robo.store.chains import ChainTable, chained
from robo.store.columns import STRICT, blob, integer, one_of, text

ACCEPTANCES: Final = ChainTable(
    "acceptance",
    (
        "id",
        "customer_id",
        "agreement_id",
        "version",
        "text_sha256",
        "evidence_sha256",
        "kind",
        "at",
    ),
)


class AcceptanceRow(SQLModel, table=True):
    """A document delivered, accepted, opened or withdrawn; append-only, chained to the firm."""

    __tablename__ = "acceptance"
    __table_args__ = chained(
        "acceptance",
        one_of("acceptance_kind", "kind", "delivered", "accepted", "demonstrated", "withdrawn"),
    )
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    agreement_id: str = text()
    version: str = text()
    text_sha256: str = text()
    evidence_sha256: str = text()
    """Hash of the sealed evidence: from where, with what."""
    kind: str = text()
    at: int = integer()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class EvidenceRow(SQLModel, table=True):
    """Sealed evidence of an acceptance; shredded with the customer's key."""

    __tablename__ = "evidence"
    __table_args__ = (STRICT,)
    acceptance_id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    sealed: bytes = blob()


class MailRow(SQLModel, table=True):
    """A message to send; sealed until it has gone."""

    __tablename__ = "mail"
    __table_args__ = (
        one_of("mail_state", "state", "waiting", "sent", "failed"),
        STRICT,
    )
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    kind: str = text()
    sealed: bytes | None = blob(null=True)
    state: str = text(default="waiting", index=True)
    attempts: int = integer(default=0)
    created_at: int = integer()
    sent_at: int | None = integer(null=True)
