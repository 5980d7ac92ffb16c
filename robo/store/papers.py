"""Reads and writes of acceptances (chained to the firm), their evidence, and waiting mail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from robo.store import chains
from robo.store.chains import Link
from robo.store.customers import CustomerRow
from robo.store.database import bulk, insert_many
from robo.store.documents import ACCEPTANCES, AcceptanceRow, EvidenceRow, MailRow

_ACCEPTANCE: Any = AcceptanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_EVIDENCE: Any = EvidenceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_MAIL: Any = MailRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Something a customer was given, accepted, opened or withdrew."""

    id: str
    customer_id: str
    agreement_id: str
    version: int
    text_sha256: str
    evidence_sha256: str
    kind: str
    at: int


def known(session: Session, ids: Sequence[str]) -> set[str]:
    """Return which acceptances exist already."""
    statement = select(_ACCEPTANCE.c.id).where(_ACCEPTANCE.c.id.in_(ids))
    return set(session.connection().execute(statement).scalars())


def add(
    session: Session,
    key: bytes,
    firm_id: str,
    made: Sequence[tuple[Acceptance, bytes]],
    at_micros: int,
) -> None:
    """Append acceptances to the firm's chain, each with its sealed evidence.

    Raises:
        IntegrityError: If an id exists already.
    """
    links = [
        Link(
            ACCEPTANCES,
            firm_id,
            (
                one.id,
                one.customer_id,
                one.agreement_id,
                str(one.version),
                one.text_sha256,
                one.evidence_sha256,
                one.kind,
                one.at,
            ),
        )
        for one, _ in made
    ]
    chains.append(session, key, links, at_micros)
    insert_many(
        session,
        "evidence",
        ("acceptance_id", "customer_id", "sealed"),
        [(one.id, one.customer_id, sealed) for one, sealed in made],
    )


def acceptances(session: Session, customer_id: str) -> list[Acceptance]:
    """Return everything a customer was given, accepted, opened or withdrew, oldest first."""
    statement = (
        select(
            _ACCEPTANCE.c.id,
            _ACCEPTANCE.c.customer_id,
            _ACCEPTANCE.c.agreement_id,
            _ACCEPTANCE.c.version,
            _ACCEPTANCE.c.text_sha256,
            _ACCEPTANCE.c.evidence_sha256,
            _ACCEPTANCE.c.kind,
            _ACCEPTANCE.c.at,
        )
        .where(_ACCEPTANCE.c.customer_id == customer_id)
        .order_by(_ACCEPTANCE.c.at, _ACCEPTANCE.c.seq)
    )
    return [
        Acceptance(row.id, row.customer_id, row.agreement_id, int(row.version), *row[4:])
        for row in session.connection().execute(statement)
    ]


def evidence(session: Session, acceptance_id: str) -> bytes | None:
    """Return the sealed evidence of an acceptance."""
    statement = select(_EVIDENCE.c.sealed).where(_EVIDENCE.c.acceptance_id == acceptance_id)
    found: bytes | None = session.connection().execute(statement).scalar()
    return found


def put_mail(
    session: Session, mail_id: str, customer_id: str, kind: str, sealed: bytes, at_micros: int
) -> bool:
    """Queue a message; False if it was queued before."""
    added = bulk(
        session,
        "INSERT INTO mail (id, customer_id, kind, sealed, state, attempts, created_at) "
        "VALUES (?, ?, ?, ?, 'waiting', 0, ?) ON CONFLICT (id) DO NOTHING",
        [(mail_id, customer_id, kind, sealed, at_micros)],
    )
    return added > 0


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A message that has not gone yet; `data_key` is None if its reader was shredded."""

    id: str
    customer_id: str
    sealed: bytes
    attempts: int
    created_at: int
    data_key: bytes | None


def waiting_mail(session: Session, after: str, limit: int) -> list[WaitingMail]:
    """Return messages that wait, in the order of their ids."""
    statement = (
        select(
            _MAIL.c.id,
            _MAIL.c.customer_id,
            _MAIL.c.sealed,
            _MAIL.c.attempts,
            _MAIL.c.created_at,
            _CUSTOMER.c.data_key,
        )
        .join(_CUSTOMER, _CUSTOMER.c.id == _MAIL.c.customer_id)
        .where(_MAIL.c.state == "waiting", _MAIL.c.id > after)
        .order_by(_MAIL.c.id)
        .limit(limit)
    )
    return [WaitingMail(*row) for row in session.connection().execute(statement)]


def mail_sent(session: Session, mail_id: str, at_micros: int) -> None:
    """Note that a message has gone, and forget what it said."""
    bulk(
        session,
        "UPDATE mail SET state = 'sent', sealed = NULL, sent_at = ?, attempts = attempts + 1 "
        "WHERE id = ?",
        [(at_micros, mail_id)],
    )


def mail_missed(session: Session, mail_id: str, *, given_up: bool) -> None:
    """Note a failed attempt; a message that is given up is forgotten."""
    if given_up:
        statement = "UPDATE mail SET attempts = attempts + 1, state = 'failed', sealed = NULL"
    else:
        statement = "UPDATE mail SET attempts = attempts + 1"
    bulk(session, f"{statement} WHERE id = ?", [(mail_id,)])
