"""Orders, skips, blocks, executions, fills: what we meant, told, and were told."""

from typing import Final

from sqlalchemy import Index, UniqueConstraint
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
ORDER_STATES: Final = ("planned", "sending", "filled", "partial", "rejected", "canceled")


class OrderRow(SQLModel, table=True):
    """A trade written down: buys in cents, sells in nanoshares.

    planned -> sending (it belongs to a block, whose state says what the broker knows)
    -> filled | partial (final with something left) | rejected | canceled.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("sleeve_id", "batch_id", "security_id", name="uq_orders_cause"),
        Index("ix_orders_window", "state", "firm_id", "side", "security_id"),
        one_of("orders_side", "side", "buy", "sell"),
        one_of("orders_state", "state", *ORDER_STATES),
        check(
            "orders_size",
            "(notional_cents > 0 AND nanos IS NULL AND side = 'buy') OR "
            "(nanos > 0 AND notional_cents IS NULL AND side = 'sell')",
        ),
        check("orders_fill_buy", "side = 'sell' OR filled_cents <= notional_cents"),
        check("orders_fill_sell", "side = 'buy' OR filled_nanos <= nanos"),
        check(
            "orders_filled",
            "filled_nanos >= 0 AND filled_cents >= 0 AND fee_cents >= 0 AND reserved_cents >= 0",
        ),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    account_id: str = text(to="account.id", index=True)
    sleeve_id: str = text(to="sleeve.id")
    batch_id: str = text()
    """What caused it: a deposit, a plan's date, a withdrawal, a rebalance of a day."""
    security_id: int = integer()
    side: str = text()
    notional_cents: int | None = integer(null=True)
    nanos: int | None = integer(null=True)
    reserved_cents: int = integer(default=0)
    """Cents in the reserved book for this order."""
    reason: str = text()
    state: str = text(default="planned")
    block_id: str | None = text(null=True, index=True)
    filled_nanos: int = integer(default=0)
    filled_cents: int = integer(default=0)
    fee_cents: int = integer(default=0)
    hold_until: str = text(default="")
    """Lots it buys may not be sold before this date (unsettled money); empty = no hold."""
    code: str = text(default="")
    """Why it was rejected or cancelled."""
    planned_at: int = integer()
    closed_at: int | None = integer(null=True)


class SkipRow(SQLModel, table=True):
    """A name that was considered and not traded, with the reason."""

    __tablename__ = "skip"
    __table_args__ = (STRICT,)
    account_id: str = text(key=True, to="account.id")
    batch_id: str = text(key=True)
    security_id: int = integer(key=True)
    reason: str = text()
    at: int = integer()


class BlockRow(SQLModel, table=True):
    """The broker order that many orders share; `id` is the client id the broker sees.

    intended -> open | unknown -> (closing) -> filled | partial | rejected | canceled
    """

    __tablename__ = "block"
    __table_args__ = (
        one_of("block_side", "side", "buy", "sell"),
        one_of(
            "block_state",
            "state",
            "intended",
            "open",
            "unknown",
            "filled",
            "partial",
            "rejected",
            "canceled",
        ),
        check(
            "block_size",
            "(notional_cents > 0 AND nanos IS NULL) OR (nanos > 0 AND notional_cents IS NULL)",
        ),
        check("block_fill_cents", "notional_cents IS NULL OR executed_cents <= notional_cents"),
        check("block_fill_nanos", "nanos IS NULL OR executed_nanos <= nanos"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    window: str = text(index=True)
    broker: str = text()
    broker_account: str = text()
    security_id: int = integer()
    symbol: str = text()
    side: str = text()
    notional_cents: int | None = integer(null=True)
    nanos: int | None = integer(null=True)
    state: str = text(default="intended", index=True)
    broker_order_id: str | None = text(null=True)
    executed_nanos: int = integer(default=0)
    executed_cents: int = integer(default=0)
    attempts: int = integer(default=0)
    code: str = text(default="")
    created_at: int = integer()
    closed_at: int | None = integer(null=True)


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
    position: int = integer()
    """Order of executions as the broker told them."""
    state: str = text(default="open", index=True)


class FillRow(SQLModel, table=True):
    """One order's part of an execution; append-only, chained to the account."""

    __tablename__ = "fill"
    __table_args__ = chained(
        "fill",
        UniqueConstraint("execution_id", "order_id", name="uq_fill_once"),
        check("fill_size", "nanos >= 0 AND cents >= 0 AND fee_cents >= 0"),
    )
    id: str = text(key=True)
    order_id: str = text(to="orders.id", index=True)
    account_id: str = text(to="account.id", index=True)
    execution_id: str = text(to="execution.id")
    nanos: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    price_micros: int = integer()
    settles_on: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class CursorRow(SQLModel, table=True):
    """How far we have read someone else's list: executions, activities, bank events."""

    __tablename__ = "cursor"
    __table_args__ = (STRICT,)
    name: str = text(key=True)
    value: str = text()
