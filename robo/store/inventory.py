"""What a firm holds for itself, and executions that were taken back: rows that are never changed.

A firm's own book takes the part of an execution that no customer can: the fraction of a share that
a broker of whole shares makes necessary, or what came after the customer's money was given back;
and what a corporate action brings for these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, case, column, func, select, table
from sqlmodel import Session, SQLModel

from robo.store.chains import ChainTable, Link, chained
from robo.store.columns import STRICT, blob, check, integer, one_of, text
from robo.store.database import among, bulk, rows_in, select_in
from robo.store.fills import ExecutionRow
from robo.store.firms import FirmRow

INVENTORY: Final = ChainTable(
    "inventory",
    (
        "id",
        "firm_id",
        "execution_id",
        "order_id",
        "security_id",
        "side",
        "nanos",
        "cents",
        "fee_cents",
        "why",
    ),
)
BUSTS: Final = ChainTable(
    "bust", ("id", "execution_id", "nanos", "cents", "fee_cents", "busted_at")
)
UNDONE: Final = ChainTable(
    "undone",
    ("id", "fill_id", "order_id", "account_id", "bust_id", "nanos", "cents", "fee_cents"),
)


class InventoryRow(SQLModel, table=True):
    """The firm's part of an execution, or of one taken back; chained to the firm."""

    __tablename__ = "inventory"
    __table_args__ = chained(
        "inventory",
        one_of("inventory_side", "side", "buy", "sell"),
        one_of("inventory_why", "why", "whole_share", "late_fill", "bust", "excess"),
        check("inventory_size", "nanos >= 0 AND cents >= 0 AND fee_cents >= 0"),
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    execution_id: str = text(index=True)
    """The execution or the bust that it is a part of, or the firm's part of an action (`act_`)."""
    order_id: str = text()
    """The customer's order that it was meant for; empty for the fraction of a block."""
    security_id: int = integer()
    side: str = text()
    nanos: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    why: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class BustRow(SQLModel, table=True):
    """An execution that the broker took back, as it told us; chained to the firm."""

    __tablename__ = "bust"
    __table_args__ = chained(
        "bust", check("bust_size", "nanos > 0 AND cents >= 0 AND fee_cents >= 0")
    )
    id: str = text(key=True)
    execution_id: str = text(to="execution.id", unique=True)
    nanos: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    busted_at: int = integer()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class UndoneRow(SQLModel, table=True):
    """One order's part of a bust; chained to the account."""

    __tablename__ = "undone"
    __table_args__ = chained(
        "undone", check("undone_size", "nanos >= 0 AND cents >= 0 AND fee_cents >= 0")
    )
    id: str = text(key=True)
    fill_id: str = text(to="fill.id", unique=True)
    order_id: str = text(to="orders.id", index=True)
    account_id: str = text(to="account.id")
    bust_id: str = text(to="bust.id")
    nanos: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class UndoingRow(SQLModel, table=True):
    """How far a bust is undone over its fills; large blocks take several transactions."""

    __tablename__ = "undoing"
    __table_args__ = (one_of("undoing_state", "state", "open", "done"), STRICT)
    bust_id: str = text(key=True, to="bust.id")
    state: str = text(default="open", index=True)


_EXECUTION: Any = ExecutionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FIRM: Any = FirmRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_INVENTORY: Any = InventoryRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BUST: Any = BustRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_UNDOING: Any = UndoingRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
# What an action brought says nothing of its day itself: what it moved was booked at once.
_TRANSFER: Any = table("transfer", column("cause"), column("booked_at"))


@dataclass(frozen=True, slots=True)
class Taken:
    """The firm's part of an execution."""

    id: str
    firm_id: str
    execution_id: str
    order_id: str
    security_id: int
    side: str
    nanos: int
    cents: int
    fee_cents: int
    why: str

    def link(self) -> Link:
        """Return the row on the firm's chain."""
        values = tuple(getattr(self, name) for name in INVENTORY.columns)
        return Link(INVENTORY, self.firm_id, values)


_PARTS_OF: Final = among(
    select(*(_INVENTORY.c[name] for name in Taken.__dataclass_fields__)).where(
        _INVENTORY.c.order_id == ""
    ),
    _INVENTORY.c.execution_id,
)


def parts(session: Session, execution_ids: Sequence[str]) -> list[Taken]:
    """Return the firm's own parts of executions: those that were meant for no customer's order."""
    return [Taken(*row) for row in rows_in(session, _PARTS_OF, list(execution_ids))]


def diverted(session: Session, block_id: str) -> list[Taken]:
    """Return the parts of a block's executions that were meant for customers' orders.

    Of executions that were taken back nothing is left.
    """
    columns = [_INVENTORY.c[name] for name in Taken.__dataclass_fields__]
    statement = (
        select(*columns)
        .join(_EXECUTION, _EXECUTION.c.id == _INVENTORY.c.execution_id)
        .outerjoin(_BUST, _BUST.c.execution_id == _EXECUTION.c.id)
        .where(_EXECUTION.c.block_id == block_id, _INVENTORY.c.order_id != "", _BUST.c.id.is_(None))
    )
    return [Taken(*row) for row in session.connection().execute(statement)]


def mark_mixed(session: Session, block_id: str) -> None:
    """Record on a block's orders that the firm was on the other side of a part of them."""
    bulk(session, "UPDATE orders SET capacity = 'mixed' WHERE block_id = ?", [(block_id,)])


def known(session: Session, ids: Sequence[str]) -> set[str]:
    """Return which of the firm's parts are written."""
    return {row[0] for row in select_in(session, select(_INVENTORY.c.id), _INVENTORY.c.id, ids)}


def principals(session: Session) -> list[str]:
    """Return the firms that may hold shares for themselves."""
    statement = select(_FIRM.c.id).where(_FIRM.c.principal == 1).order_by(_FIRM.c.id)
    return list(session.connection().execute(statement).scalars())


_SOLD_SHORT: Final = (
    select(_INVENTORY.c.firm_id, _INVENTORY.c.security_id)
    .where(_INVENTORY.c.side == "sell", _INVENTORY.c.nanos > 0, _INVENTORY.c.why != "whole_share")
    .distinct()
    .order_by(_INVENTORY.c.firm_id, _INVENTORY.c.security_id)
)


def sold_short(session: Session) -> list[tuple[str, int]]:
    """Return (firm, security) of all that a firm may ever have owed: sold, or kept by a customer.

    What it sells of a whole share that it has bought itself is not among it.
    """
    rows = session.connection().execute(_SOLD_SHORT)
    return [(row[0], int(row[1])) for row in rows]


def held(session: Session, firm_id: str) -> dict[int, int]:
    """Return security -> nanoshares that a firm holds for itself; negative is what it owes."""
    columns = (_INVENTORY.c.security_id, _INVENTORY.c.side, func.sum(_INVENTORY.c.nanos))
    statement = select(*columns).where(_INVENTORY.c.firm_id == firm_id)
    found: dict[int, int] = {}
    for security_id, side, nanos in session.connection().execute(
        statement.group_by(_INVENTORY.c.security_id, _INVENTORY.c.side)
    ):
        found[security_id] = found.get(security_id, 0) + (
            int(nanos) if side == "buy" else -int(nanos)
        )
    return {security_id: nanos for security_id, nanos in sorted(found.items()) if nanos}


_SIGNED: Final = case((_INVENTORY.c.side == "buy", _INVENTORY.c.nanos), else_=-_INVENTORY.c.nanos)
_BOOKED_AT: Final = (
    select(func.min(_TRANSFER.c.booked_at))
    .where(_TRANSFER.c.cause == _INVENTORY.c.id)
    .scalar_subquery()
)
_CAME_AT: Final = func.coalesce(_EXECUTION.c.executed_at, _BUST.c.busted_at, _BOOKED_AT, 0)
_HELD_BEFORE: Final = (
    select(func.sum(_SIGNED))
    .outerjoin(_EXECUTION, _EXECUTION.c.id == _INVENTORY.c.execution_id)
    .outerjoin(_BUST, _BUST.c.id == _INVENTORY.c.execution_id)
    .where(
        _INVENTORY.c.firm_id == bindparam("firm"),
        _INVENTORY.c.security_id == bindparam("security"),
        _INVENTORY.c.execution_id != bindparam("but"),
        bindparam("before") > _CAME_AT,
    )
)


def held_before(
    session: Session, firm_id: str, security_id: int, before_micros: int, but: str
) -> int:
    """Return nanoshares of a security that a firm held for itself before a time.

    What an action brought counts from when it was booked, like the customers' parts of it: they are
    entitled to the next one by the lots that they have then. What was booked before that while
    missed sessions were made up for is what `brought` returns.

    Args:
        session: A read.
        firm_id: The firm.
        security_id: The security.
        before_micros: What traded, was taken back or brought at this time or later does not count.
        but: Nor do the parts of this execution, bust or action.
    """
    asked = {"firm": firm_id, "security": security_id, "before": before_micros, "but": but}
    return int(session.connection().execute(_HELD_BEFORE, asked).scalar() or 0)


_BROUGHT: Final = (
    select(_INVENTORY.c.execution_id, _SIGNED)
    .outerjoin(_EXECUTION, _EXECUTION.c.id == _INVENTORY.c.execution_id)
    .outerjoin(_BUST, _BUST.c.id == _INVENTORY.c.execution_id)
    .where(
        _INVENTORY.c.firm_id == bindparam("firm"),
        _INVENTORY.c.security_id == bindparam("security"),
        _INVENTORY.c.nanos > 0,
        _EXECUTION.c.id.is_(None),
        _BUST.c.id.is_(None),
        bindparam("since") <= _BOOKED_AT,
        bindparam("until") >= _BOOKED_AT,
    )
)


def brought(
    session: Session, firm_id: str, security_id: int, since: int, until: int
) -> list[tuple[str, int]]:
    """Return (cause, signed nanoshares) of what actions brought a firm, booked in a time."""
    asked = {"firm": firm_id, "security": security_id, "since": since, "until": until}
    return [(row[0], int(row[1])) for row in session.connection().execute(_BROUGHT, asked)]


@dataclass(frozen=True, slots=True)
class Bust:
    """An execution that was taken back."""

    id: str
    execution_id: str
    nanos: int
    cents: int
    fee_cents: int
    busted_at: int

    def link(self, firm_id: str) -> Link:
        """Return the row on the firm's chain."""
        return Link(BUSTS, firm_id, tuple(getattr(self, name) for name in BUSTS.columns))


_BUSTED: Final = among(select(_BUST.c.execution_id), _BUST.c.execution_id)
_BUSTED_BLOCKS: Final = among(
    select(_EXECUTION.c.block_id).join(_BUST, _BUST.c.execution_id == _EXECUTION.c.id),
    _EXECUTION.c.block_id,
)
_BUSTED_SUMS: Final = among(
    select(_EXECUTION.c.block_id, func.sum(_BUST.c.nanos), func.sum(_BUST.c.cents))
    .join(_BUST, _BUST.c.execution_id == _EXECUTION.c.id)
    .group_by(_EXECUTION.c.block_id),
    _EXECUTION.c.block_id,
)


def busted(session: Session, execution_ids: Sequence[str]) -> set[str]:
    """Return which executions were taken back."""
    return {row[0] for row in rows_in(session, _BUSTED, list(execution_ids))}


def busted_blocks(session: Session, block_ids: Sequence[str]) -> set[str]:
    """Return the blocks of which an execution was taken back."""
    return {row[0] for row in rows_in(session, _BUSTED_BLOCKS, block_ids)}


def busted_sums(session: Session, block_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return block -> (nanos, cents) of its executions that were taken back."""
    rows = rows_in(session, _BUSTED_SUMS, block_ids)
    return {row[0]: (int(row[1]), int(row[2])) for row in rows}


def open_busts(session: Session) -> list[Bust]:
    """Return the busts that are not fully undone, by id."""
    columns = [_BUST.c[name] for name in Bust.__dataclass_fields__]
    statement = select(*columns).join(_UNDOING, _UNDOING.c.bust_id == _BUST.c.id)
    rows = session.connection().execute(
        statement.where(_UNDOING.c.state == "open").order_by(_BUST.c.id)
    )
    return [Bust(*row) for row in rows]


def begin_undoing(session: Session, bust_ids: Sequence[str]) -> None:
    """Open the undoing of busts."""
    bulk(
        session, "INSERT INTO undoing (bust_id, state) VALUES (?, 'open')", [(i,) for i in bust_ids]
    )


def end_undoing(session: Session, bust_ids: Sequence[str]) -> None:
    """Mark busts as fully undone."""
    bulk(session, "UPDATE undoing SET state = 'done' WHERE bust_id = ?", [(i,) for i in bust_ids])
