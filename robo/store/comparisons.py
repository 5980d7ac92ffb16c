"""When the broker and the books last agreed in an account that is kept apart, and on what."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, check, integer, text
from robo.store.database import bulk


class ComparisonRow(SQLModel, table=True):
    """The last whole comparison of an account at the broker that found no difference."""

    __tablename__ = "comparison"
    __table_args__ = (check("comparison_agreed_at", "agreed_at > 0"), STRICT)
    broker_account: str = text(key=True)
    agreed_at: int = integer()
    books: str = text()
    """What the books said then, as a digest: positions, lots, cash, what came from outside."""


_ROW: Any = ComparisonRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def known(session: Session) -> Mapping[str, tuple[int, str]]:
    """Return the broker's account -> (when it agreed last, in microseconds, and the digest)."""
    columns = (_ROW.c.broker_account, _ROW.c.agreed_at, _ROW.c.books)
    rows = session.connection().execute(select(*columns))
    return {row[0]: (int(row[1]), row[2]) for row in rows}


def agree(session: Session, broker_account: str, books: str, at_micros: int) -> None:
    """Keep that an account agreed."""
    bulk(
        session,
        "INSERT INTO comparison (broker_account, agreed_at, books) VALUES (?, ?, ?) "
        "ON CONFLICT (broker_account) DO UPDATE SET agreed_at = excluded.agreed_at, "
        "books = excluded.books",
        [(broker_account, at_micros, books)],
    )


def differ(session: Session, broker_account: str) -> None:
    """Forget that an account ever agreed."""
    bulk(session, "DELETE FROM comparison WHERE broker_account = ?", [(broker_account,)])
