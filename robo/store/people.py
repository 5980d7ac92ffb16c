"""Reads and writes of customers, their sealed records and their answers."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, bindparam, select
from sqlmodel import Session

from robo.core.ids import child_id
from robo.store.customers import (
    AnswersRow,
    CustomerRow,
    PersonalRow,
    RestrictionRow,
)
from robo.store.database import bulk, insert_many

_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PERSONAL: Any = PersonalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ANSWERS: Any = AnswersRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_RESTRICTION: Any = RestrictionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

FROM_ANSWERS: Final = ("employer", "household", "named", "country", "industry", "activity")
"""Sources of restrictions that follow from answers and profile; they are replaced with these."""
OWN: Final = "own"
"""Source of a restriction that the customer added by itself."""


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """A customer to write."""

    id: str
    firm_id: str
    email_index: bytes
    data_key: bytes
    external_ref: str | None = None


def insert(session: Session, new: NewCustomer, at_micros: int) -> None:
    """Write a customer.

    Raises:
        IntegrityError: If the id, the e-mail or the firm's reference is taken.
    """
    insert_many(
        session,
        "customer",
        (
            "id",
            "firm_id",
            "email_index",
            "external_ref",
            "state",
            "data_key",
            "created_at",
            "identity_state",
            "identity_codes",
            "delivery",
        ),
        [
            (
                new.id,
                new.firm_id,
                new.email_index,
                new.external_ref,
                "active",
                new.data_key,
                at_micros,
                "none",
                "",
                "paper",
            )
        ],
    )


@dataclass(frozen=True, slots=True)
class Match:
    """A customer found by something that only the customer or the firm knows."""

    id: str
    state: str
    external_ref: str | None
    email_index: bytes


def find_by_email(session: Session, firm_id: str, email_index: bytes) -> Match | None:
    """Return the customer of a firm with this e-mail."""
    return _match(session, _CUSTOMER.c.firm_id == firm_id, _CUSTOMER.c.email_index == email_index)


def find_by_reference(session: Session, firm_id: str, external_ref: str) -> Match | None:
    """Return the customer that a firm calls so."""
    return _match(session, _CUSTOMER.c.firm_id == firm_id, _CUSTOMER.c.external_ref == external_ref)


def find_by_id(session: Session, customer_id: str) -> Match | None:
    """Return the customer of an id, if it exists."""
    return _match(session, _CUSTOMER.c.id == customer_id)


def _match(session: Session, *conditions: Any) -> Match | None:
    statement = select(
        _CUSTOMER.c.id, _CUSTOMER.c.state, _CUSTOMER.c.external_ref, _CUSTOMER.c.email_index
    ).where(*conditions)
    row = session.connection().execute(statement).first()
    return None if row is None else Match(*row)


def page_of_firm(session: Session, firm_id: str, after: str, limit: int) -> list[RowMapping]:
    """Return a firm's customers in the order of their ids, after an id."""
    statement = (
        select(_CUSTOMER.c.id, _CUSTOMER.c.external_ref, _CUSTOMER.c.state, _CUSTOMER.c.created_at)
        .where(_CUSTOMER.c.firm_id == firm_id, _CUSTOMER.c.id > after)
        .order_by(_CUSTOMER.c.id)
        .limit(limit)
    )
    return list(session.connection().execute(statement).mappings())


def data_key(session: Session, customer_id: str) -> bytes | None:
    """Return the wrapped data key; None if there is no such customer or it was shredded."""
    statement = select(_CUSTOMER.c.data_key).where(_CUSTOMER.c.id == customer_id)
    found: bytes | None = session.connection().execute(statement).scalar()
    return found


def put_sealed(
    session: Session, customer_id: str, field: str, sealed: bytes, at_micros: int
) -> None:
    """Write a sealed record; the one it replaces goes to the history."""
    before = sealed_records(session, customer_id, [field]).get(field)
    if before is not None:
        row_id = child_id("his", customer_id, field, at_micros, before.hex())
        insert_many(
            session,
            "personal_history",
            ("id", "customer_id", "field", "sealed", "replaced_at"),
            [(row_id, customer_id, field, before, at_micros)],
        )
    bulk(
        session,
        "INSERT INTO personal (customer_id, field, sealed, changed_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (customer_id, field) DO UPDATE SET sealed = excluded.sealed, "
        "changed_at = excluded.changed_at",
        [(customer_id, field, sealed, at_micros)],
    )


def sealed_records(session: Session, customer_id: str, fields: Sequence[str]) -> dict[str, bytes]:
    """Return the sealed records of some fields."""
    statement = select(_PERSONAL.c.field, _PERSONAL.c.sealed).where(
        _PERSONAL.c.customer_id == customer_id, _PERSONAL.c.field.in_(fields)
    )
    return {field: bytes(sealed) for field, sealed in session.connection().execute(statement)}


def set_identity(session: Session, customer_id: str, state: str, codes: Sequence[str]) -> None:
    """Keep what the identity check said."""
    bulk(
        session,
        "UPDATE customer SET identity_state = ?, identity_codes = ? WHERE id = ?",
        [(state, " ".join(codes), customer_id)],
    )


def set_delivery(session: Session, customer_id: str, delivery: str) -> None:
    """Keep how documents reach the customer: paper, pending, electronic."""
    bulk(session, "UPDATE customer SET delivery = ? WHERE id = ?", [(delivery, customer_id)])


def set_email_verified(session: Session, customer_id: str, at_micros: int) -> None:
    """Keep when the e-mail was proved."""
    bulk(
        session,
        "UPDATE customer SET email_verified_at = ? WHERE id = ? AND email_verified_at IS NULL",
        [(at_micros, customer_id)],
    )


def shred(session: Session, customer_id: str) -> None:
    """Forget the data key and what the customer could be found by; sealed rows open no more."""
    bulk(
        session,
        "UPDATE customer SET data_key = NULL, state = 'shredded', email_index = ?, "
        "external_ref = NULL WHERE id = ?",
        [(secrets.token_bytes(32), customer_id)],
    )


@dataclass(frozen=True, slots=True)
class Submission:
    """A submitted questionnaire; the answers stay sealed."""

    id: str
    customer_id: str
    questionnaire_sha256: str
    sealed: bytes
    decision: str
    reasons: str
    score: int | None
    band: str | None
    created_at: int


def add_submission(session: Session, made: Submission) -> None:
    """Write a submission."""
    insert_many(
        session,
        "answers",
        (
            "id",
            "customer_id",
            "questionnaire_sha256",
            "sealed",
            "decision",
            "reasons",
            "score",
            "band",
            "created_at",
        ),
        [
            (
                made.id,
                made.customer_id,
                made.questionnaire_sha256,
                made.sealed,
                made.decision,
                made.reasons,
                made.score,
                made.band,
                made.created_at,
            )
        ],
    )


_SUBMISSIONS: Final[Any] = (
    select(
        _ANSWERS.c.id,
        _ANSWERS.c.customer_id,
        _ANSWERS.c.questionnaire_sha256,
        _ANSWERS.c.sealed,
        _ANSWERS.c.decision,
        _ANSWERS.c.reasons,
        _ANSWERS.c.score,
        _ANSWERS.c.band,
        _ANSWERS.c.created_at,
    )
    .order_by(_ANSWERS.c.created_at.desc(), _ANSWERS.c.id.desc())
    .limit(1)
)
_SUBMISSION: Final[Any] = _SUBMISSIONS.where(_ANSWERS.c.id == bindparam("id"))
_LATEST: Final[Any] = _SUBMISSIONS.where(_ANSWERS.c.customer_id == bindparam("customer_id"))
"""Every deposit asks it, so it is built once."""


def submission(session: Session, submission_id: str) -> Submission | None:
    """Return one submission."""
    row = session.connection().execute(_SUBMISSION, {"id": submission_id}).first()
    return None if row is None else Submission(*row)


def latest_submission(session: Session, customer_id: str) -> Submission | None:
    """Return a customer's present answers: the newest."""
    row = session.connection().execute(_LATEST, {"customer_id": customer_id}).first()
    return None if row is None else Submission(*row)


@dataclass(frozen=True, slots=True)
class StoredRestriction:
    """One restriction as it is kept."""

    id: str
    security_id: int
    verb: str
    source: str
    reason: str
    held_choice: str
    created_at: int


def restrictions(session: Session, customer_id: str) -> list[StoredRestriction]:
    """Return a customer's restrictions, by security and source."""
    statement = (
        select(
            _RESTRICTION.c.id,
            _RESTRICTION.c.security_id,
            _RESTRICTION.c.verb,
            _RESTRICTION.c.source,
            _RESTRICTION.c.reason,
            _RESTRICTION.c.held_choice,
            _RESTRICTION.c.created_at,
        )
        .where(_RESTRICTION.c.customer_id == customer_id)
        .order_by(_RESTRICTION.c.security_id, _RESTRICTION.c.source)
    )
    return [StoredRestriction(*row) for row in session.connection().execute(statement)]


def replace_restrictions(
    session: Session, customer_id: str, made: Sequence[StoredRestriction]
) -> None:
    """Replace what followed from earlier answers; what the customer added by itself stays."""
    marks = ", ".join("?" * len(FROM_ANSWERS))
    bulk(
        session,
        f"DELETE FROM restriction WHERE customer_id = ? AND source IN ({marks})",  # noqa: S608 - marks only
        [(customer_id, *FROM_ANSWERS)],
    )
    put_restrictions(session, customer_id, made)


def put_restrictions(session: Session, customer_id: str, made: Sequence[StoredRestriction]) -> None:
    """Write restrictions; one of the same security and source is replaced."""
    bulk(
        session,
        "INSERT INTO restriction "
        "(id, customer_id, security_id, verb, source, reason, held_choice, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (customer_id, security_id, source) "
        "DO UPDATE SET verb = excluded.verb, reason = excluded.reason, "
        "held_choice = excluded.held_choice",
        [
            (
                one.id,
                customer_id,
                one.security_id,
                one.verb,
                one.source,
                one.reason,
                one.held_choice,
                one.created_at,
            )
            for one in made
        ],
    )


def remove_restriction(session: Session, customer_id: str, security_id: int, source: str) -> bool:
    """Remove a restriction; return whether it was there."""
    changed = bulk(
        session,
        "DELETE FROM restriction WHERE customer_id = ? AND security_id = ? AND source = ?",
        [(customer_id, security_id, source)],
    )
    return changed > 0


def choose_held(session: Session, customer_id: str, security_id: int, choice: str) -> bool:
    """Keep what to do with shares already held of a restricted name; return whether it is one."""
    changed = bulk(
        session,
        "UPDATE restriction SET held_choice = ? WHERE customer_id = ? AND security_id = ?",
        [(choice, customer_id, security_id)],
    )
    return changed > 0
