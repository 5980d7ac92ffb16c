"""What happened to an account, newest first: transfers, orders, skips, fills; and its open lots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from robo.store.fills import FillRow
from robo.store.ledger import TransferRow
from robo.store.lots import LotRow
from robo.store.orders import OrderRow, SkipRow
from robo.store.transfers import WithdrawalRow
from robo.store.withdrawals import Withdrawal

_TRANSFER: Any = TransferRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SKIP: Any = SkipRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_WITHDRAWAL: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FILL: Any = FillRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def transfers_before(
    session: Session, account_id: str, before: int, limit: int, hidden: Sequence[str]
) -> list[Any]:
    """Return an account's transfers with smaller numbers in its chain, newest first.

    Args:
        session: A reading session.
        account_id: The account; its id names the chain.
        before: Numbers below this one; huge for the newest.
        limit: How many at most.
        hidden: Kinds that are left out.
    """
    columns = [_TRANSFER.c[name] for name in ("seq", "kind", "source", "target", "asset")]
    statement = (
        select(*columns, _TRANSFER.c.amount, _TRANSFER.c.cause, _TRANSFER.c.booked_at)
        .where(_TRANSFER.c.chain == account_id, _TRANSFER.c.seq < before)
        .where(_TRANSFER.c.kind.not_in(hidden))
        .order_by(_TRANSFER.c.seq.desc())
        .limit(limit)
    )
    return list(session.connection().execute(statement).all())


@dataclass(frozen=True, slots=True)
class ShownOrder:
    """An order as its owner sees it; the row's columns say what each field means."""

    id: str
    batch_id: str
    security_id: int
    side: str
    notional_cents: int | None
    nanos: int | None
    reason: str
    state: str
    filled_nanos: int
    filled_cents: int
    fee_cents: int
    hold_until: str
    code: str
    planned_at: int
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class ShownSkip:
    """A name that a plan left alone, as its owner sees it."""

    batch_id: str
    security_id: int
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class ShownFill:
    """One part of an order that filled."""

    id: str
    execution_id: str
    nanos: int
    cents: int
    fee_cents: int
    price_micros: int
    settles_on: str


_ORDERS: Any = select(*(_ORDER.c[name] for name in ShownOrder.__dataclass_fields__))


def orders_before(
    session: Session, account_id: str, before: tuple[int, str], limit: int
) -> list[ShownOrder]:
    """Return an account's orders from before an (instant, id) on, newest first."""
    at, order_id = before
    earlier = (_ORDER.c.planned_at < at) | ((_ORDER.c.planned_at == at) & (_ORDER.c.id < order_id))
    statement = _ORDERS.where(_ORDER.c.account_id == account_id, earlier)
    ordered = statement.order_by(_ORDER.c.planned_at.desc(), _ORDER.c.id.desc()).limit(limit)
    return [ShownOrder(*row) for row in session.connection().execute(ordered)]


def order(session: Session, account_id: str, order_id: str) -> ShownOrder | None:
    """Return one order of an account."""
    statement = _ORDERS.where(_ORDER.c.id == order_id, _ORDER.c.account_id == account_id)
    row = session.connection().execute(statement).first()
    return ShownOrder(*row) if row is not None else None


def skips_before(
    session: Session, account_id: str, before: tuple[int, str, int], limit: int
) -> list[ShownSkip]:
    """Return an account's skips from before an (instant, batch, security) on, newest first."""
    at, batch_id, security_id = before
    same_batch = (_SKIP.c.batch_id == batch_id) & (_SKIP.c.security_id < security_id)
    earlier = (_SKIP.c.at < at) | (
        (_SKIP.c.at == at) & ((_SKIP.c.batch_id < batch_id) | same_batch)
    )
    columns = [_SKIP.c[name] for name in ("batch_id", "security_id", "reason", "at")]
    statement = (
        select(*columns)
        .where(_SKIP.c.account_id == account_id, earlier)
        .order_by(_SKIP.c.at.desc(), _SKIP.c.batch_id.desc(), _SKIP.c.security_id.desc())
        .limit(limit)
    )
    return [ShownSkip(*row) for row in session.connection().execute(statement)]


def fills(session: Session, order_id: str) -> list[ShownFill]:
    """Return the fills of an order, oldest first."""
    columns = (_FILL.c[name] for name in ShownFill.__dataclass_fields__)
    # By the account's chain, which is indexed for its own sake; an index by order would cost
    # every booking a page.
    account = select(_ORDER.c.account_id).where(_ORDER.c.id == order_id).scalar_subquery()
    mine = (_FILL.c.chain == account) & (_FILL.c.order_id == order_id)
    statement = select(*columns).where(mine).order_by(_FILL.c.seq)
    return [ShownFill(*row) for row in session.connection().execute(statement)]


def open_lots_after(
    session: Session, account_id: str, after: tuple[str, str], limit: int
) -> list[Any]:
    """Return an account's open lots after an (acquired, id), oldest first."""
    acquired, lot_id = after
    beyond = (_LOT.c.acquired_on > acquired) | (
        (_LOT.c.acquired_on == acquired) & (_LOT.c.id > lot_id)
    )
    columns = ("id", "security_id", "acquired_on", "nanos", "basis_cents", "hold_until")
    statement = (
        select(*(_LOT.c[name] for name in columns))
        .where(_LOT.c.account_id == account_id, _LOT.c.nanos > 0, beyond)
        .order_by(_LOT.c.acquired_on, _LOT.c.id)
        .limit(limit)
    )
    return list(session.connection().execute(statement).all())


def withdrawals_before(
    session: Session, account_id: str, before: tuple[int, str], limit: int
) -> list[Withdrawal]:
    """Return an account's withdrawals from before an (instant, id) on, newest first."""
    at, withdrawal_id = before
    earlier = (_WITHDRAWAL.c.requested_at < at) | (
        (_WITHDRAWAL.c.requested_at == at) & (_WITHDRAWAL.c.id < withdrawal_id)
    )
    columns = (_WITHDRAWAL.c[name] for name in Withdrawal.__dataclass_fields__)
    statement = select(*columns).where(_WITHDRAWAL.c.account_id == account_id, earlier)
    newest = (_WITHDRAWAL.c.requested_at.desc(), _WITHDRAWAL.c.id.desc())
    rows = session.connection().execute(statement.order_by(*newest).limit(limit))
    return [Withdrawal(*row) for row in rows]
