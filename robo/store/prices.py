"""Marked closes and corporate actions as they were published to us."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, check, integer, text
from robo.store.database import bulk


class PriceRow(SQLModel, table=True):
    """The raw close of a session."""

    __tablename__ = "price"
    __table_args__ = (check("price_positive", "close_micros > 0"), STRICT)
    on_date: str = text(key=True)
    security_id: int = integer(key=True)
    close_micros: int = integer()
    source: str = text()


class ActionRow(SQLModel, table=True):
    """A corporate action that was seen, and how far it was applied."""

    __tablename__ = "action"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    kind: str = text()
    security_id: int = integer(index=True)
    ex_on: str = text(index=True)
    pay_on: str = text()
    detail: str = text()
    """The action as canonical JSON."""
    state: str = text(default="seen")
    """seen, entitled, done."""


_PRICE: Any = PriceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACTION: Any = ActionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def mark(session: Session, on_date: str, closes: Mapping[int, int], source: str) -> int:
    """Write the closes of a session; a close that is there stays as it is."""
    return bulk(
        session,
        "INSERT INTO price (on_date, security_id, close_micros, source) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (on_date, security_id) DO NOTHING",
        [(on_date, security_id, micros, source) for security_id, micros in sorted(closes.items())],
    )


def publish(session: Session, rows: Sequence[tuple[str, str, int, str, str, str]]) -> None:
    """Write corporate actions that were seen: (id, kind, security, ex, pay, canonical JSON)."""
    bulk(
        session,
        "INSERT INTO action (id, kind, security_id, ex_on, pay_on, detail, state) "
        "VALUES (?, ?, ?, ?, ?, ?, 'seen') ON CONFLICT (id) DO NOTHING",
        rows,
    )


def action_state(session: Session, action_id: str) -> str:
    """Return how far an action was applied; empty if it was never seen."""
    statement = select(_ACTION.c.state).where(_ACTION.c.id == action_id)
    return session.connection().execute(statement).scalar() or ""


def set_action_state(session: Session, action_id: str, state: str) -> None:
    """Remember how far an action was applied."""
    bulk(session, "UPDATE action SET state = ? WHERE id = ?", [(state, action_id)])


def action_detail(session: Session, action_id: str) -> str:
    """Return an action as it was published, canonical JSON; empty if it was never seen."""
    statement = select(_ACTION.c.detail).where(_ACTION.c.id == action_id)
    return session.connection().execute(statement).scalar() or ""
