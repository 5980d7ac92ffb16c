"""How far we have read what others list: executions, activities, bank events."""

from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, text
from robo.store.database import bulk


class CursorRow(SQLModel, table=True):
    """How far we have read someone else's list: executions, activities, bank events."""

    __tablename__ = "cursor"
    __table_args__ = (STRICT,)
    name: str = text(key=True)
    value: str = text()


_CURSOR: Any = CursorRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_VALUE: Final = select(_CURSOR.c.value).where(_CURSOR.c.name == bindparam("name"))


def cursor(session: Session, name: str) -> str:
    """Return how far a list has been read; empty at the start."""
    return session.connection().execute(_VALUE, {"name": name}).scalar() or ""


def move_cursor(session: Session, name: str, value: str) -> None:
    """Remember how far a list has been read, in the transaction that wrote what was read."""
    bulk(
        session,
        "INSERT INTO cursor (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [(name, value)],
    )
