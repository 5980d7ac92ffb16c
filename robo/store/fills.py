"""Executions and fills: rows that are written once, chained, and never changed."""

from typing import Final

from sqlalchemy import UniqueConstraint
from sqlmodel import SQLModel

from robo.store.chains import ChainTable, chained
from robo.store.columns import STRICT, blob, check, integer, one_of, text

EXECUTIONS: Final = ChainTable(
    "execution",
    (
        "id",
        "block_id",
        "security_id",
        "side",
        "nanos",
        "price_micros",
        "cents",
        "fee_cents",
        "executed_at",
        "settles_on",
    ),
)
FILLS: Final = ChainTable(
    "fill",
    (
        "id",
        "order_id",
        "account_id",
        "execution_id",
        "nanos",
        "cents",
        "fee_cents",
        "price_micros",
        "settles_on",
    ),
)


class ExecutionRow(SQLModel, table=True):
    """An execution of a block as the broker told it; append-only, chained to the firm."""

    __tablename__ = "execution"
    __table_args__ = chained(
        "execution", check("execution_size", "nanos > 0 AND cents >= 0 AND fee_cents >= 0")
    )
    id: str = text(key=True)
    block_id: str = text(to="block.id", index=True)
    security_id: int = integer()
    side: str = text()
    nanos: int = integer()
    price_micros: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    executed_at: int = integer()
    settles_on: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class BookingRow(SQLModel, table=True):
    """How far an execution is split over its orders; large blocks take several transactions."""

    __tablename__ = "booking"
    __table_args__ = (one_of("booking_state", "state", "open", "done"), STRICT)
    execution_id: str = text(key=True, to="execution.id")
    position: int = integer(index=True)
    """Order of executions as the broker told them."""
    state: str = text(default="open", index=True)


class FillRow(SQLModel, table=True):
    """One order's part of an execution; append-only, chained to the account."""

    __tablename__ = "fill"
    __table_args__ = chained(
        "fill",
        # The order first: an account's fills then lie together, and a night writes fewer pages.
        UniqueConstraint("order_id", "execution_id", name="uq_fill_once"),
        check("fill_size", "nanos >= 0 AND cents >= 0 AND fee_cents >= 0"),
    )
    id: str = text(key=True)
    order_id: str = text(to="orders.id")
    account_id: str = text(to="account.id")
    execution_id: str = text(to="execution.id")
    nanos: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    price_micros: int = integer()
    settles_on: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()
