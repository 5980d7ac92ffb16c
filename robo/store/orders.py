"""Orders and skips: what we mean to trade for each account, and what we leave alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import UniqueConstraint, func, literal_column, select, tuple_
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.columns import KEYED, STRICT, check, integer, one_of, partial, text
from robo.store.database import among, bulk, insert_many, rows_in, select_in

OPEN_STATES: Final = ("planned", "sending")
ORDER_STATES: Final = ("planned", "sending", "filled", "partial", "rejected", "canceled")

_UNSENT: Final = "block_id IS NULL AND state = 'canceled'"
_OPEN: Final = "state = 'planned' OR state = 'sending'"
"""SQLite uses a partial index only where a query spells one of its words out; see `in_state`."""
_NOT_ENDED: Final = "closed_at IS NULL"
"""The same orders, for who asks by account; see `is_open`."""


def in_state(state: str) -> Any:
    """Return the condition that an order is planned or sending, spelt out for the partial index."""
    assert state in OPEN_STATES
    return literal_column("orders.state") == literal_column(f"'{state}'")


def is_open() -> Any:
    """Return the condition that an order has not ended, spelt out for the index by account."""
    return literal_column("orders.closed_at").is_(None)


class OrderRow(SQLModel, table=True):
    """A trade written down: buys in cents, sells in nanoshares.

    planned -> sending (it belongs to a block, whose state says what the broker knows)
    -> filled | partial (final with something left) | rejected | canceled.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("sleeve_id", "batch_id", "security_id", name="uq_orders_cause"),
        # Orders leave it when they end: it stays as small as what is open.
        partial("ix_orders_window", _OPEN, "state", "firm_id", "side", "security_id"),
        # An account of decades has thousands that ended, and every plan asks for the open ones.
        # Its word is not the window's: with both to choose from, SQLite took the window's, and read
        # the whole firm's open orders for each page of accounts.
        partial("ix_orders_open", _NOT_ENDED, "account_id"),
        # The operators ask for those of two weeks.
        partial("ix_orders_unsent", _UNSENT, "state", "planned_at", "code"),
        one_of("orders_side", "side", "buy", "sell"),
        one_of("orders_state", "state", *ORDER_STATES),
        check(
            "orders_size",
            # A comparison with NULL is not false, and a check that is not false holds.
            "(coalesce(notional_cents, 0) > 0 AND nanos IS NULL AND side = 'buy') OR "
            "(coalesce(nanos, 0) > 0 AND notional_cents IS NULL AND side = 'sell')",
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
    """Why it was rejected or cancelled; of a planned one, why it waits."""
    capacity: str = text(default="agency")
    """agency (the street's shares), principal (the firm's own), or mixed."""
    planned_at: int = integer()
    closed_at: int | None = integer(null=True)


class SkipRow(SQLModel, table=True):
    """A name that was considered and not traded, with the reason."""

    __tablename__ = "skip"
    __table_args__ = (KEYED,)
    account_id: str = text(key=True, to="account.id")
    batch_id: str = text(key=True)
    security_id: int = integer(key=True)
    reason: str = text()
    at: int = integer()


_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SKIP: Any = SkipRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to write; exactly one of `notional_cents` (buys) and `nanos` (sells) is set."""

    id: str
    firm_id: str
    account_id: AccountId
    sleeve_id: str
    batch_id: str
    security_id: int
    side: str
    notional_cents: int | None
    nanos: int | None
    reason: str
    hold_until: str = ""


@dataclass(frozen=True, slots=True)
class NewSkip:
    """A name that a plan looked at and left alone."""

    account_id: AccountId
    batch_id: str
    security_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """What is still open of an order: cents of a buy, nanoshares of a sell."""

    id: str
    account_id: AccountId
    security_id: int
    side: str
    state: str
    reason: str
    open_units: int


def write(
    session: Session, orders: Sequence[NewOrder], skips: Sequence[NewSkip], at_micros: int
) -> None:
    """Write orders as planned, and skips once for each batch.

    Raises:
        IntegrityError: If the same cause made one of the orders before.
    """
    insert_many(
        session,
        "orders",
        (
            "id",
            "firm_id",
            "account_id",
            "sleeve_id",
            "batch_id",
            "security_id",
            "side",
            "notional_cents",
            "nanos",
            "reserved_cents",
            "reason",
            "state",
            "filled_nanos",
            "filled_cents",
            "fee_cents",
            "hold_until",
            "code",
            "planned_at",
        ),
        [
            (
                o.id,
                o.firm_id,
                o.account_id,
                o.sleeve_id,
                o.batch_id,
                o.security_id,
                o.side,
                o.notional_cents,
                o.nanos,
                o.notional_cents or 0,
                o.reason,
                "planned",
                0,
                0,
                0,
                o.hold_until,
                "",
                at_micros,
            )
            for o in orders
        ],
    )
    bulk(
        session,
        "INSERT INTO skip (account_id, batch_id, security_id, reason, at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (account_id, batch_id, security_id) DO NOTHING",
        [(s.account_id, s.batch_id, s.security_id, s.reason, at_micros) for s in skips],
    )


def open_orders(session: Session, account_ids: Sequence[AccountId]) -> list[OpenOrder]:
    """Return the orders of accounts that have not ended."""
    return [
        OpenOrder(row[0], row[1], row[2], row[3], row[4], row[5], int(row[6]))
        for row in rows_in(session, _OPEN_OF, account_ids)
    ]


def assign(session: Session, block_of: Sequence[tuple[str, str]]) -> int:
    """Put planned orders into blocks: (order id, block id); others are left alone."""
    return bulk(
        session,
        "UPDATE orders SET state = 'sending', block_id = ?, code = '' "
        "WHERE id = ? AND state = 'planned'",
        [(block_id, order_id) for order_id, block_id in block_of],
    )


@dataclass(frozen=True, slots=True)
class BlockOrder:
    """An order as the splitting of its block sees it."""

    id: str
    account_id: AccountId
    security_id: int
    side: str
    notional_cents: int | None
    nanos: int | None
    reserved_cents: int
    filled_nanos: int
    filled_cents: int
    hold_until: str
    state: str

    @property
    def open_units(self) -> int:
        """Return what is open: cents of a buy, nanoshares of a sell."""
        if self.notional_cents is not None:
            return self.notional_cents - self.filled_cents
        assert self.nanos is not None
        return self.nanos - self.filled_nanos


def of_block(session: Session, block_id: str) -> list[BlockOrder]:
    """Return the orders of a block in the order of their ids."""
    return of_blocks(session, [block_id])[block_id]


_OPEN_OF: Final = among(
    select(
        _ORDER.c.id,
        _ORDER.c.account_id,
        _ORDER.c.security_id,
        _ORDER.c.side,
        _ORDER.c.state,
        _ORDER.c.reason,
        func.coalesce(_ORDER.c.notional_cents - _ORDER.c.filled_cents, 0)
        + func.coalesce(_ORDER.c.nanos - _ORDER.c.filled_nanos, 0),
    ).where(is_open()),
    _ORDER.c.account_id,
)
_OF_BLOCKS: Final = among(
    select(
        _ORDER.c.block_id, *(_ORDER.c[name] for name in BlockOrder.__dataclass_fields__)
    ).order_by(_ORDER.c.id),
    _ORDER.c.block_id,
)


def of_blocks(session: Session, block_ids: Sequence[str]) -> dict[str, list[BlockOrder]]:
    """Return the orders of each block in the order of their ids."""
    found: dict[str, list[BlockOrder]] = {block_id: [] for block_id in block_ids}
    for block_id, *rest in rows_in(session, _OF_BLOCKS, list(found)):
        found[block_id].append(BlockOrder(*rest))
    return found


@dataclass(frozen=True, slots=True)
class Progress:
    """What a fill adds to an order."""

    order_id: str
    nanos: int
    cents: int
    fee_cents: int
    released_cents: int
    """Cents that leave the reserved book with it."""


def advance(session: Session, fills: Sequence[Progress], at_micros: int) -> None:
    """Add fills to orders; an order whose last unit is filled ends as filled.

    Raises:
        IntegrityError: If an order would be over-filled.
    """
    bulk(
        session,
        "UPDATE orders SET filled_nanos = filled_nanos + ?, filled_cents = filled_cents + ?, "
        "fee_cents = fee_cents + ?, reserved_cents = reserved_cents - ? WHERE id = ?",
        [(f.nanos, f.cents, f.fee_cents, f.released_cents, f.order_id) for f in fills],
    )
    bulk(
        session,
        "UPDATE orders SET state = 'filled', closed_at = ? WHERE id = ? AND state = 'sending' "
        "AND (notional_cents = filled_cents OR nanos = filled_nanos)",
        [(at_micros, f.order_id) for f in fills],
    )


def restate(session: Session, order_ids: Sequence[str]) -> None:
    """Bring the states of orders that had ended in line with what was filled after all."""
    bulk(
        session,
        "UPDATE orders SET state = CASE WHEN notional_cents = filled_cents OR nanos = filled_nanos "
        "THEN 'filled' ELSE 'partial' END "
        "WHERE id = ? AND state IN ('canceled', 'rejected', 'partial')",
        [(order_id,) for order_id in order_ids],
    )


def end(session: Session, endings: Sequence[tuple[str, str, str]], at_micros: int) -> int:
    """End orders that are open, nothing reserved any more: (order id, state, code)."""
    return bulk(
        session,
        "UPDATE orders SET state = ?, code = ?, reserved_cents = 0, closed_at = ? "
        "WHERE id = ? AND state IN ('planned', 'sending')",
        [(state, code, at_micros, order_id) for order_id, state, code in endings],
    )


def planned_of_account(session: Session, account_id: AccountId) -> list[tuple[str, int]]:
    """Return (order id, reserved cents) of an account's orders that no window has taken yet."""
    statement = select(_ORDER.c.id, _ORDER.c.reserved_cents).where(
        _ORDER.c.account_id == account_id, is_open(), _ORDER.c.state == "planned"
    )
    return [(row[0], int(row[1])) for row in session.connection().execute(statement)]


def planned_of_security(
    session: Session, security_id: int
) -> list[tuple[str, AccountId, str, int]]:
    """Return (firm, account, order id, reserved cents) of a security's orders not yet sent."""
    columns = (_ORDER.c.firm_id, _ORDER.c.account_id, _ORDER.c.id, _ORDER.c.reserved_cents)
    statement = select(*columns).where(_ORDER.c.security_id == security_id, in_state("planned"))
    rows = session.connection().execute(statement.order_by(*columns[:3]))
    return [(row[0], AccountId(row[1]), row[2], int(row[3])) for row in rows]


def reasons(session: Session, order_ids: Sequence[str]) -> dict[str, str]:
    """Return why orders were planned, whatever became of them."""
    rows = select_in(session, select(_ORDER.c.id, _ORDER.c.reason), _ORDER.c.id, list(order_ids))
    return {row[0]: row[1] for row in rows}


def batches_written(session: Session, batches: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which (sleeve, batch) have orders."""
    columns = (_ORDER.c.sleeve_id, _ORDER.c.batch_id)
    rows = select_in(session, select(*columns).distinct(), tuple_(*columns), batches)
    return {(row[0], row[1]) for row in rows}


def skips_written(
    session: Session, batches: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], set[int]]:
    """Return (account, batch) -> names that it was written to leave alone; others are left out."""
    columns = (_SKIP.c.account_id, _SKIP.c.batch_id)
    found: dict[tuple[str, str], set[int]] = {}
    for account, batch, security in select_in(
        session, select(*columns, _SKIP.c.security_id), tuple_(*columns), batches
    ):
        found.setdefault((account, batch), set()).add(int(security))
    return found


def skipped(session: Session, account_id: AccountId, batch_id: str) -> set[int]:
    """Return the names that a batch of an account was written to leave alone."""
    return skips_written(session, [(account_id, batch_id)]).get((account_id, batch_id), set())


def still_sending(session: Session, order_ids: Sequence[str]) -> dict[str, int]:
    """Return order -> reserved cents of those that belong to a block and have not ended."""
    statement = select(_ORDER.c.id, _ORDER.c.reserved_cents).where(in_state("sending"))
    rows = select_in(session, statement, _ORDER.c.id, order_ids)
    return {row[0]: int(row[1]) for row in rows}
