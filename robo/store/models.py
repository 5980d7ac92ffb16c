"""Fitted risk models by day, so that every process speaks of the same one."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select
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


_LATEST: Final = (
    select(_MODEL.c.id, _MODEL.c.on_date, _MODEL.c.source, _MODEL.c.content)
    .where(_MODEL.c.source == bindparam("source"), _MODEL.c.on_date <= bindparam("until"))
    .order_by(_MODEL.c.on_date.desc(), _MODEL.c.created_at.desc(), _MODEL.c.id)
    .limit(1)
)


def latest(session: Session, source: str, until: str) -> StoredModel | None:
    """Return the newest model of a price source that knows no session after a day."""
    asked = {"source": source, "until": until}
    found = session.connection().execute(_LATEST, asked).first()
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
