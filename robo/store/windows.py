"""What a trading window looks at before it sends: planned orders, open sells, what was traded."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.reasons import Reason
from robo.store.accounts import AccountRow
from robo.store.blocks import BlockRow
from robo.store.customers import RestrictionRow
from robo.store.database import bulk, select_in
from robo.store.fills import FillRow
from robo.store.households import JointOwnerRow
from robo.store.lots import ProceedRow
from robo.store.orders import OPEN_STATES, OrderRow, in_state

_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FILL: Any = FillRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PROCEED: Any = ProceedRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SECOND: Any = JointOwnerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_RESTRICTION: Any = RestrictionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_TURN: Final = (Reason.WAIT_OWN_BOOK, Reason.WAIT_OPPOSITE)
_OWNERS: Final = (
    (_ACCOUNT, _ACCOUNT.c.id == _ORDER.c.account_id, _ACCOUNT.c.customer_id),
    (_SECOND, _SECOND.c.account_id == _ORDER.c.account_id, _SECOND.c.customer_id),
)
"""Where the owners of an order's account are: table, how it is joined, its column of customers."""


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """A planned order as the window groups it."""

    id: str
    firm_id: str
    side: str
    security_id: int
    account_id: AccountId


def planned(session: Session, side: str, before_micros: int) -> list[PlannedOrder]:
    """Return every planned order of a side, grouped by firm and security."""
    columns = [_ORDER.c[name] for name in PlannedOrder.__dataclass_fields__]
    statement = (
        select(*columns)
        .where(
            in_state("planned"),
            _ORDER.c.side == side,
            _ORDER.c.planned_at <= before_micros,
        )
        .order_by(_ORDER.c.firm_id, _ORDER.c.security_id, _ORDER.c.id)
    )
    return [PlannedOrder(*row) for row in session.connection().execute(statement)]


def unsettled_sales(session: Session) -> list[tuple[AccountId, int]]:
    """Return (account, security) of sales whose proceeds have not settled: the latest ones."""
    statement = (
        select(_ORDER.c.account_id, _ORDER.c.security_id)
        .join(_FILL, _FILL.c.order_id == _ORDER.c.id)
        .join(_PROCEED, _PROCEED.c.cause == _FILL.c.id)
        .where(_PROCEED.c.state == "waiting")
        .distinct()
    )
    rows = session.connection().execute(statement)
    return [(AccountId(account), int(security_id)) for account, security_id in rows]


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """A planned order as the guards see it."""

    id: str
    firm_id: str
    account_id: AccountId
    batch_id: str
    side: str
    security_id: int
    notional_cents: int | None
    nanos: int | None
    reserved_cents: int
    planned_at: int
    code: str


def waiting(session: Session, before_micros: int) -> list[WaitingOrder]:
    """Return every planned order, by id."""
    columns = [_ORDER.c[name] for name in WaitingOrder.__dataclass_fields__]
    statement = select(*columns).where(in_state("planned"), _ORDER.c.planned_at <= before_micros)
    rows = session.connection().execute(statement.order_by(_ORDER.c.id))
    return [WaitingOrder(*row) for row in rows]


def held_by_turn(session: Session) -> dict[tuple[str, int], int]:
    """Return (firm, security) -> planned orders that wait for another order in it to end."""
    statement = (
        select(_ORDER.c.firm_id, _ORDER.c.security_id, func.count())
        .where(in_state("planned"), _ORDER.c.code.in_(_TURN))
        .group_by(_ORDER.c.firm_id, _ORDER.c.security_id)
    )
    rows = session.connection().execute(statement)
    return {(row[0], int(row[1])): int(row[2]) for row in rows}


def waiting_of(
    session: Session, account_ids: Sequence[AccountId], apart: Sequence[str] = ()
) -> list[WaitingOrder]:
    """Return the planned orders of some accounts, by id, apart from those of some reasons."""
    columns = [_ORDER.c[name] for name in WaitingOrder.__dataclass_fields__]
    statement = select(*columns).where(in_state("planned"), _ORDER.c.reason.not_in(apart))
    rows = select_in(session, statement, _ORDER.c.account_id, account_ids)
    return sorted((WaitingOrder(*row) for row in rows), key=lambda one: one.id)


def open_sells_of_batches(session: Session) -> set[str]:
    """Return the batches that have a sell that has not ended."""
    found: set[str] = set()
    for state in OPEN_STATES:
        statement = select(_ORDER.c.batch_id).where(in_state(state), _ORDER.c.side == "sell")
        found |= set(session.connection().execute(statement.distinct()).scalars())
    return found


def open_sells(session: Session) -> dict[tuple[str, int], int]:
    """Return (account, security) -> nanoshares that open sells have promised."""
    left = func.sum(_ORDER.c.nanos - _ORDER.c.filled_nanos)
    keys = (_ORDER.c.account_id, _ORDER.c.security_id)
    found: dict[tuple[str, int], int] = {}
    for state in OPEN_STATES:
        statement = select(*keys, left).where(in_state(state), _ORDER.c.side == "sell")
        for account, security, nanos in session.connection().execute(statement.group_by(*keys)):
            found[account, security] = found.get((account, security), 0) + int(nanos)
    return found


def traded_since(
    session: Session, account_ids: Sequence[AccountId], since_micros: int
) -> list[tuple[AccountId, int, int, int]]:
    """Return (account, security, cents, nanos) of orders that were sent since an instant.

    Buys count in the cents they were for, sells in nanoshares; those never sent do not count.
    """
    columns = (_ORDER.c.account_id, _ORDER.c.security_id)
    statement = (
        select(
            *columns,
            func.coalesce(func.sum(_ORDER.c.notional_cents), 0),
            func.coalesce(func.sum(_ORDER.c.nanos), 0),
        )
        .where(_ORDER.c.planned_at >= since_micros, _ORDER.c.block_id.is_not(None))
        .group_by(*columns)
    )
    rows = select_in(session, statement, _ORDER.c.account_id, account_ids)
    return [(AccountId(row[0]), row[1], int(row[2]), int(row[3])) for row in rows]


def put_back(session: Session, block_ids: Sequence[str]) -> int:
    """Let the orders of blocks that cannot be written be planned again."""
    return bulk(
        session,
        "UPDATE orders SET state = 'planned', block_id = NULL "
        "WHERE block_id = ? AND state = 'sending'",
        [(block_id,) for block_id in block_ids],
    )


def say_why(session: Session, codes: Sequence[tuple[str, str]]) -> None:
    """Write down why planned orders wait: (order id, code)."""
    bulk(
        session,
        "UPDATE orders SET code = ? WHERE id = ? AND state = 'planned' AND code <> ?",
        [(code, order_id, code) for order_id, code in codes],
    )


def still_planned(session: Session, order_ids: Sequence[str]) -> set[str]:
    """Return which orders no window has taken and nobody has cancelled."""
    statement = select(_ORDER.c.id).where(in_state("planned"))
    return {row[0] for row in select_in(session, statement, _ORDER.c.id, order_ids)}


def planned_against_restrictions(session: Session) -> list[tuple[str, str, AccountId, int]]:
    """Return (order, side, account, security) of planned orders in names an owner may not buy."""
    order = (_ORDER.c.id, _ORDER.c.side, _ORDER.c.account_id, _ORDER.c.security_id)
    found: set[tuple[str, str, AccountId, int]] = set()
    for table, same, customer in _OWNERS:
        mine = (_RESTRICTION.c.customer_id == customer) & (
            _RESTRICTION.c.security_id == _ORDER.c.security_id
        )
        statement = select(*order).join(table, same).join(_RESTRICTION, mine)
        rows = session.connection().execute(statement.where(in_state("planned")))
        found |= {(row[0], row[1], row[2], row[3]) for row in rows}
    return sorted(found)


def restricted_since(session: Session, since_micros: int) -> dict[str, set[str]]:
    """Return block -> its orders that a restriction of an owner, made since then, forbids."""
    never = (_RESTRICTION.c.verb == "never_trade") | (_RESTRICTION.c.source == "employer")
    forbids = (_ORDER.c.side == "buy") | never
    found: dict[str, set[str]] = {}
    for table, same, customer in _OWNERS:
        mine = (_RESTRICTION.c.customer_id == customer) & (
            _RESTRICTION.c.security_id == _ORDER.c.security_id
        )
        columns = (_ORDER.c.block_id, _ORDER.c.id)
        statement = select(*columns).join(table, same).join(_RESTRICTION, mine)
        new = statement.where(
            in_state("sending"), _RESTRICTION.c.created_at >= since_micros, forbids
        )
        for block_id, order_id in session.connection().execute(new):
            found.setdefault(block_id, set()).add(order_id)
    return found


def put_back_others(session: Session, apart: Mapping[str, Collection[str]]) -> int:
    """Let the orders of blocks that were surely never taken be planned again, all but some.

    Args:
        session: The caller's transaction.
        apart: Block -> its orders that stay and end with it.
    """
    statement = (
        select(_ORDER.c.id, _ORDER.c.block_id)
        .join(_BLOCK, _BLOCK.c.id == _ORDER.c.block_id)
        .where(in_state("sending"), _BLOCK.c.state == "intended")
    )
    rows = select_in(session, statement, _ORDER.c.block_id, list(apart))
    return bulk(
        session,
        "UPDATE orders SET state = 'planned', block_id = NULL WHERE id = ? AND state = 'sending'",
        [(order_id,) for order_id, block_id in rows if order_id not in apart[block_id]],
    )
