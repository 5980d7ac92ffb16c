"""Corporate actions as the broker told them, kept while a person is asked about them."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.store.breaks import BreakRow
from robo.store.columns import KEYED, text
from robo.store.database import bulk

_BREAK: Any = BreakRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


class ParkedActivityRow(SQLModel, table=True):
    """An activity that did not fit when it was told: its break says how, and when it is over."""

    __tablename__ = "parked_activity"
    __table_args__ = (KEYED,)
    activity_id: str = text(key=True)
    body: str = text()
    """JSON of what the broker told."""


_PARKED: Any = ParkedActivityRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def put(session: Session, activity_id: str, body: str) -> None:
    """Keep an activity, once."""
    bulk(
        session,
        "INSERT INTO parked_activity (activity_id, body) VALUES (?, ?) "
        "ON CONFLICT (activity_id) DO NOTHING",
        [(activity_id, body)],
    )


_WAITING: Final = (
    select(_BREAK.c.id, _PARKED.c.body)
    .join(_BREAK, _BREAK.c.reference == _PARKED.c.activity_id)
    .where(_BREAK.c.state == "open", _BREAK.c.subject == "activity")
    .order_by(_BREAK.c.found_at, _BREAK.c.id)
)


def waiting(session: Session) -> Sequence[tuple[str, str]]:
    """Return (break, body) of the activities whose break is open, oldest first."""
    return [(row[0], row[1]) for row in session.connection().execute(_WAITING)]


def remove(session: Session, activity_id: str) -> None:
    """Forget an activity that is booked."""
    bulk(session, "DELETE FROM parked_activity WHERE activity_id = ?", [(activity_id,)])
