"""Marked closes and corporate actions as they were published to us."""

from sqlmodel import SQLModel

from robo.store.columns import STRICT, check, integer, text


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
