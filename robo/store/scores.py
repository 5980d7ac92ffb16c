"""Vendors' scores that firms have imported: rows are written once and belong to one firm."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, check, integer, text
from robo.store.database import bulk, insert_many, once


class ScoreDeliveryRow(SQLModel, table=True):
    """What one vendor delivered for one date, and whether it is in use."""

    __tablename__ = "score_delivery"
    __table_args__ = (
        check("score_delivery_active", "active IN (0, 1)"),
        check("score_delivery_rows", "row_count > 0"),
        STRICT,
    )
    id: str = text(key=True)
    """Made from firm, vendor, date and content: the same file is the same delivery."""
    firm_id: str = text(to="firm.id", index=True)
    vendor: str = text()
    version: str = text()
    as_of: str = text()
    row_count: int = integer()
    active: int = integer()
    created_at: int = integer()
    changed_at: int = integer()


class ScoreRow(SQLModel, table=True):
    """One datum of a delivery; append-only."""

    __tablename__ = "score"
    __table_args__ = (check("score_range", "low <= central AND central <= high"), STRICT)
    delivery_id: str = text(key=True, to="score_delivery.id")
    security_id: int = integer(key=True)
    metric: str = text(key=True)
    part: str = text(key=True)
    unit: str = text()
    word: str = text()
    """Empty where the datum is a number."""
    low: int = integer()
    central: int = integer()
    high: int = integer()
    scale: str = text()
    better: int = integer()
    """1 if higher is better, 0 if lower is, -1 if the file did not say."""
    effective_from: str = text()
    basis: str = text()
    quality: int = integer()
    note: str = text()


class Delivery(NamedTuple):
    """A delivery; `active` is 1 while baskets are built on it."""

    id: str
    firm_id: str
    vendor: str
    version: str
    as_of: str
    row_count: int
    active: int
    created_at: int
    changed_at: int


class StoredScore(NamedTuple):
    """One datum, in the order of its columns."""

    security_id: int
    metric: str
    part: str
    unit: str
    word: str
    low: int
    central: int
    high: int
    scale: str
    better: int
    effective_from: str
    basis: str
    quality: int
    note: str


_DELIVERY: Any = ScoreDeliveryRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SCORE: Any = ScoreRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DATUM: Any = [_SCORE.c[name] for name in StoredScore._fields]


def active_ids(session: Session, firm_id: str) -> tuple[str, ...]:
    """Return the deliveries that a firm uses, in order of id."""
    return once(session, ("scores in use", firm_id), lambda: _active_ids(session, firm_id))


def _active_ids(session: Session, firm_id: str) -> tuple[str, ...]:
    statement = (
        select(_DELIVERY.c.id)
        .where(_DELIVERY.c.firm_id == firm_id, _DELIVERY.c.active == 1)
        .order_by(_DELIVERY.c.id)
    )
    return tuple(session.connection().execute(statement).scalars())


def firms(session: Session) -> list[str]:
    """Return the firms that were ever delivered scores."""
    statement = select(_DELIVERY.c.firm_id).distinct().order_by(_DELIVERY.c.firm_id)
    return list(session.connection().execute(statement).scalars())


def deliveries(session: Session, firm_id: str) -> list[Delivery]:
    """Return a firm's deliveries by vendor and date."""
    statement = (
        select(*(_DELIVERY.c[name] for name in Delivery._fields))
        .where(_DELIVERY.c.firm_id == firm_id)
        .order_by(_DELIVERY.c.vendor, _DELIVERY.c.as_of, _DELIVERY.c.id)
    )
    return [Delivery(*row) for row in session.connection().execute(statement)]


def rows_of(session: Session, delivery_id: str) -> list[StoredScore]:
    """Return the data of one delivery, in order of its key."""
    statement = (
        select(*_DATUM)
        .where(_SCORE.c.delivery_id == delivery_id)
        .order_by(_SCORE.c.security_id, _SCORE.c.metric, _SCORE.c.part)
    )
    return [StoredScore(*row) for row in session.connection().execute(statement)]


def newest(
    session: Session, firm_id: str, delivery_ids: Sequence[str] | None = None
) -> list[tuple[str, str, str, StoredScore]]:
    """Return (vendor, version, date, datum), the newest of each kind.

    Args:
        session: Of one snapshot.
        firm_id: Whose.
        delivery_ids: Of these deliveries of the firm; None for those in use.
    """
    listed = _DELIVERY.c.active == 1
    if delivery_ids is not None:
        listed = _DELIVERY.c.id.in_(delivery_ids)
    of_use = (_DELIVERY.c.firm_id == firm_id) & listed
    kind = (_SCORE.c.security_id, _DELIVERY.c.vendor, _SCORE.c.metric, _SCORE.c.part)
    last = (
        select(*kind, func.max(_DELIVERY.c.as_of).label("as_of"))
        .join(_DELIVERY, _DELIVERY.c.id == _SCORE.c.delivery_id)
        .where(of_use)
        .group_by(*kind)
        .subquery()
    )
    same = [last.c[column.name] == column for column in kind]
    statement = (
        select(_DELIVERY.c.vendor, _DELIVERY.c.version, _DELIVERY.c.as_of, *_DATUM)
        .select_from(_SCORE)
        .join(_DELIVERY, _DELIVERY.c.id == _SCORE.c.delivery_id)
        .join(last, last.c.as_of == _DELIVERY.c.as_of)
        .where(of_use, *same)
        .order_by(*kind, _DELIVERY.c.id)
    )
    found = session.connection().execute(statement)
    return [(vendor, version, as_of, StoredScore(*rest)) for vendor, version, as_of, *rest in found]


def add(session: Session, delivery: Delivery, rows: Sequence[StoredScore]) -> None:
    """Write a delivery that is not there yet with all its data."""
    insert_many(session, "score_delivery", Delivery._fields, [delivery])
    insert_many(
        session,
        "score",
        ("delivery_id", *StoredScore._fields),
        [(delivery.id, *row) for row in rows],
    )


def switch(session: Session, delivery_ids: Sequence[str], *, active: bool, at_micros: int) -> int:
    """Put deliveries to use or out of it; return how many changed."""
    return bulk(
        session,
        "UPDATE score_delivery SET active = ?, changed_at = ? WHERE id = ? AND active <> ?",
        [(int(active), at_micros, each, int(active)) for each in delivery_ids],
    )
