"""Fitted risk models by day, so that every process speaks of the same one."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, blob, integer, text
from robo.store.database import bulk


class RiskModelRow(SQLModel, table=True):
    """A model of one day; its id is made from what it was fitted on."""

    __tablename__ = "risk_model"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    on_date: str = text(index=True)
    """The last session it knows."""
    source: str = text()
    content: bytes = blob()
    created_at: int = integer()


_MODEL: Any = RiskModelRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it is kept."""

    id: str
    on_date: str
    source: str
    content: bytes


def latest(session: Session, source: str, until: str) -> StoredModel | None:
    """Return the newest model of a price source that knows no session after a day."""
    columns = (_MODEL.c.id, _MODEL.c.on_date, _MODEL.c.source, _MODEL.c.content)
    statement = (
        select(*columns)
        .where(_MODEL.c.source == source, _MODEL.c.on_date <= until)
        .order_by(_MODEL.c.on_date.desc(), _MODEL.c.created_at.desc(), _MODEL.c.id)
        .limit(1)
    )
    found = session.connection().execute(statement).first()
    return None if found is None else StoredModel(*found)


def keep(session: Session, model: StoredModel, at_micros: int, days: str) -> None:
    """Write a model unless it is there, and forget those of sessions before a day."""
    bulk(
        session,
        "INSERT INTO risk_model (id, on_date, source, content, created_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        [(model.id, model.on_date, model.source, model.content, at_micros)],
    )
    bulk(session, "DELETE FROM risk_model WHERE on_date < ?", [(days,)])
