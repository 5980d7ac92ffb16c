"""Fills as they are undone: what they were, what is left of what they made, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from robo.core.ids import AccountId, FirmId
from robo.store.blocks import BookedExecution
from robo.store.chains import Link
from robo.store.database import bulk, select_in
from robo.store.fills import FillRow
from robo.store.inventory import UNDONE, InventoryRow, Taken, UndoneRow
from robo.store.lots import LotEvent, LotEventRow, LotRow, ProceedRow
from robo.store.orders import OrderRow

_FILL: Any = FillRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_EVENT: Any = LotEventRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PROCEED: Any = ProceedRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_INVENTORY: Any = InventoryRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_UNDONE: Any = UndoneRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Filled:
    """One order's part of an execution as it was booked; `sending`: the order has not ended."""

    id: str
    order_id: str
    account_id: AccountId
    firm_id: FirmId
    nanos: int
    cents: int
    fee_cents: int
    state: str

    @property
    def sending(self) -> bool:
        """Return whether the order can still trade."""
        return self.state == "sending"


@dataclass(frozen=True, slots=True)
class Regress:
    """What undoing a fill takes off an order."""

    order_id: str
    nanos: int
    cents: int
    fee_cents: int


def fills_of(session: Session, execution: BookedExecution) -> list[Filled]:
    """Return the fills of an execution, account by account."""
    statement = (
        select(
            _FILL.c.id,
            _FILL.c.order_id,
            _FILL.c.account_id,
            _ORDER.c.firm_id,
            _FILL.c.nanos,
            _FILL.c.cents,
            _FILL.c.fee_cents,
            _ORDER.c.state,
        )
        .join(_ORDER, _ORDER.c.id == _FILL.c.order_id)
        .where(_ORDER.c.block_id == execution.block_id, _FILL.c.execution_id == execution.id)
        .order_by(_FILL.c.account_id, _FILL.c.id)
    )
    return [Filled(*row) for row in session.connection().execute(statement)]


def firms_part(session: Session, execution_id: str) -> list[Taken]:
    """Return what the firm itself had of an execution."""
    columns = [_INVENTORY.c[name] for name in Taken.__dataclass_fields__]
    statement = select(*columns).where(_INVENTORY.c.execution_id == execution_id)
    return [Taken(*row) for row in session.connection().execute(statement)]


def known(session: Session, fill_ids: Sequence[str]) -> set[str]:
    """Return which fills were undone before."""
    column = _UNDONE.c.fill_id
    return {row[0] for row in select_in(session, select(column), column, list(fill_ids))}


def link(undone_id: str, fill: Filled, bust_id: str) -> Link:
    """Return an undone fill as a row on its account's chain."""
    values = (
        undone_id,
        fill.id,
        fill.order_id,
        fill.account_id,
        bust_id,
        fill.nanos,
        fill.cents,
        fill.fee_cents,
    )
    return Link(UNDONE, fill.account_id, values)


def lot(session: Session, lot_id: str) -> tuple[int, int]:
    """Return what is left of a lot: nanoshares and basis."""
    statement = select(_LOT.c.nanos, _LOT.c.basis_cents).where(_LOT.c.id == lot_id)
    row = session.connection().execute(statement).first()
    return (0, 0) if row is None else (row[0], row[1])


def closings(session: Session, fill: Filled) -> list[LotEvent]:
    """Return the lots' events of a sale."""
    columns = [_EVENT.c[name] for name in LotEvent.__dataclass_fields__]
    # By the account's chain, which is indexed; the cause is not.
    statement = select(*columns).where(_EVENT.c.chain == fill.account_id, _EVENT.c.cause == fill.id)
    rows = session.connection().execute(statement.order_by(_EVENT.c.seq))
    return [LotEvent(*row) for row in rows]


def is_waiting(session: Session, proceed_id: str, cents: int) -> bool:
    """Return whether the proceeds of a sale are there and have not settled; none is as good."""
    if cents == 0:
        return True
    statement = select(_PROCEED.c.cents).where(
        _PROCEED.c.id == proceed_id, _PROCEED.c.state == "waiting"
    )
    return session.connection().execute(statement).scalar() == cents


def spend_proceeds(session: Session, proceed_ids: Sequence[str]) -> None:
    """Take proceeds that never came out of what waits for settlement."""
    bulk(
        session,
        "UPDATE proceed SET state = 'settled' WHERE id = ? AND state = 'waiting'",
        [(proceed_id,) for proceed_id in proceed_ids],
    )


def regress(session: Session, some: Sequence[Regress], at_micros: int) -> None:
    """Take undone fills off their orders; one that can still trade has its cash reserved again."""
    bulk(
        session,
        "UPDATE orders SET filled_nanos = filled_nanos - ?, filled_cents = filled_cents - ?, "
        "fee_cents = fee_cents - ?, reserved_cents = reserved_cents + "
        "CASE WHEN state = 'sending' AND side = 'buy' THEN ? ELSE 0 END WHERE id = ?",
        [(one.nanos, one.cents, one.fee_cents, one.cents, one.order_id) for one in some],
    )
    bulk(
        session,
        "UPDATE orders SET state = CASE WHEN filled_nanos > 0 OR filled_cents > 0 THEN 'partial' "
        "ELSE 'canceled' END, code = 'busted', closed_at = ? "
        "WHERE id = ? AND state IN ('filled', 'partial')",
        [(at_micros, one.order_id) for one in some],
    )
