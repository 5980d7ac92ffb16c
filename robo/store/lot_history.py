"""What happened to lots, read in bulk: histories, and the rows that wash sales turn on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, literal_column, select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.store.blocks import BlockRow
from robo.store.database import among, rows_in, select_in
from robo.store.fills import ExecutionRow, FillRow
from robo.store.lots import LotEvent, LotEventRow, LotRow
from robo.store.orders import OrderRow
from robo.store.prices import ActionRow

_EVENT: Any = LotEventRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACTION: Any = ActionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FILL: Any = FillRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_EXECUTION: Any = ExecutionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_OF_ACTION: Final = "act\\_%"
_IS_CLOSE: Any = literal_column("lot_event.kind") == literal_column("'close'")
"""Spelt out, because SQLite uses a partial index only for the very words of its condition."""
_LAST: Final = select(func.max(_EVENT.c.seq)).where(_EVENT.c.chain == bindparam("chain"))


@dataclass(frozen=True, slots=True)
class Closed:
    """A sale from one lot; `acquired_on` is the lot's date."""

    account_id: AccountId
    security_id: int
    lot_id: str
    on_date: str
    acquired_on: str
    nanos: int
    basis_cents: int
    proceeds_cents: int


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale from one lot with its cause, and the reason of the order behind it.

    `reason` is empty where there was no order: a merger paid in cash.
    """

    account_id: AccountId
    security_id: int
    lot_id: str
    on_date: str
    acquired_on: str
    basis_cents: int
    proceeds_cents: int
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bought:
    """A lot that was bought, not received for other shares; `nanos` is what is left of it."""

    account_id: AccountId
    security_id: int
    lot_id: str
    acquired_on: str
    nanos: int


@dataclass(frozen=True, slots=True)
class Action:
    """A corporate action as it was published; `detail` is canonical JSON."""

    id: str
    kind: str
    security_id: int
    ex_on: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The order behind a fill."""

    reason: str
    planned_at: int
    sent_at: int
    """When a window took it: then it could still have been left."""
    executed_at: int


def events_of(
    session: Session,
    account_ids: Sequence[str],
    until: str,
    security_ids: Sequence[int] | None = None,
) -> dict[AccountId, list[LotEvent]]:
    """Return what happened to the lots of accounts up to a day, in the order of their books.

    Args:
        session: Of one snapshot.
        account_ids: Whose.
        until: The last day, ISO.
        security_ids: Only these names; None for all.
    """
    columns = [_EVENT.c[name] for name in LotEvent.__dataclass_fields__]
    statement = select(*columns, _EVENT.c.seq).where(_EVENT.c.on_date <= until)
    if security_ids is not None:
        statement = statement.where(_EVENT.c.security_id.in_(sorted(security_ids)))
    found: dict[AccountId, list[tuple[int, LotEvent]]] = {}
    # By chain: it is the account, and its rows lie together there.
    for row in select_in(session, statement, _EVENT.c.chain, list(account_ids)):
        found.setdefault(row[2], []).append((row[-1], LotEvent(*row[:-1])))
    return {
        account: [event for _, event in sorted(rows, key=lambda one: one[0])]
        for account, rows in found.items()
    }


_EVENTS_AFTER: Final = (
    select(*(_EVENT.c[name] for name in LotEvent.__dataclass_fields__))
    .where(_EVENT.c.chain == bindparam("chain"), _EVENT.c.seq > bindparam("seq"))
    .order_by(_EVENT.c.seq)
)


def events_after(session: Session, account_id: str, seq: int) -> list[LotEvent]:
    """Return what happened to the lots of an account after a row of its books."""
    rows = session.connection().execute(_EVENTS_AFTER, {"chain": account_id, "seq": seq})
    return [LotEvent(*row) for row in rows]


def reached(session: Session, account_ids: Sequence[str]) -> dict[str, int]:
    """Return account -> the number of the last row that tells of its lots; 0 without any.

    One look into an index for each: for few accounts.
    """
    connection = session.connection()
    return {
        one: int(connection.execute(_LAST, {"chain": one}).scalar() or 0) for one in account_ids
    }


def closed(
    session: Session, account_ids: Sequence[str], first: str = "", *, losses: bool = False
) -> list[Closed]:
    """Return sales from lots since a day, in the order of days; only those at a loss if asked."""
    statement = select(
        _EVENT.c.account_id,
        _EVENT.c.security_id,
        _EVENT.c.lot_id,
        _EVENT.c.on_date,
        _LOT.c.acquired_on,
        -_EVENT.c.nanos_delta,
        -_EVENT.c.basis_delta_cents,
        _EVENT.c.proceeds_cents,
    ).join(_LOT, _LOT.c.id == _EVENT.c.lot_id)
    statement = statement.where(_IS_CLOSE, _EVENT.c.on_date >= first)
    if losses:
        statement = statement.where(_EVENT.c.proceeds_cents < -_EVENT.c.basis_delta_cents)
    rows = select_in(session, statement, _EVENT.c.account_id, list(account_ids))
    found = [Closed(*row) for row in rows]
    return sorted(found, key=lambda one: (one.on_date, one.account_id, one.lot_id))


_CLOSED_SINCE: Final = among(
    select(_EVENT.c.account_id, func.sum(-_EVENT.c.nanos_delta))
    .join(_LOT, _LOT.c.id == _EVENT.c.lot_id)
    .where(
        _IS_CLOSE,
        _EVENT.c.security_id == bindparam("security_id"),
        _EVENT.c.on_date >= bindparam("ex_on"),
        _LOT.c.acquired_on < bindparam("ex_on"),
    )
    .group_by(_EVENT.c.account_id),
    _EVENT.c.account_id,
)


def closed_since(
    session: Session, account_ids: Sequence[str], security_id: int, ex_on: str
) -> dict[AccountId, int]:
    """Return account -> nanoshares that it held before a date and sold on it or later."""
    asked = {"security_id": security_id, "ex_on": ex_on}
    rows = rows_in(session, _CLOSED_SINCE, list(account_ids), asked)
    return {AccountId(account): int(nanos) for account, nanos in rows}


_LOSS_TAKERS: Final = among(
    select(_EVENT.c.account_id)
    .where(_IS_CLOSE, _EVENT.c.proceeds_cents < -_EVENT.c.basis_delta_cents)
    .distinct(),
    _EVENT.c.account_id,
)


def loss_takers(session: Session, account_ids: Sequence[str]) -> list[AccountId]:
    """Return which accounts ever sold from a lot at a loss."""
    return [row[0] for row in rows_in(session, _LOSS_TAKERS, account_ids)]


def taken_back(session: Session, account_ids: Sequence[str]) -> list[tuple[AccountId, int]]:
    """Return (account, security) where an execution was taken back."""
    statement = (
        select(_EVENT.c.account_id, _EVENT.c.security_id)
        .where(_IS_CLOSE, _EVENT.c.cause.like("und\\_%", escape="\\"))
        .distinct()
    )
    rows = select_in(session, statement, _EVENT.c.account_id, account_ids)
    return [(account, security_id) for account, security_id in rows]


_SOLD: Final = among(
    select(
        _EVENT.c.account_id,
        _EVENT.c.security_id,
        _EVENT.c.lot_id,
        _EVENT.c.on_date,
        _LOT.c.acquired_on,
        -_EVENT.c.basis_delta_cents,
        _EVENT.c.proceeds_cents,
        _EVENT.c.cause,
        func.coalesce(_ORDER.c.reason, ""),
    )
    .join(_LOT, _LOT.c.id == _EVENT.c.lot_id)
    .outerjoin(_FILL, _FILL.c.id == _EVENT.c.cause)
    .outerjoin(_ORDER, _ORDER.c.id == _FILL.c.order_id)
    .where(_IS_CLOSE, _EVENT.c.on_date >= bindparam("first")),
    _EVENT.c.account_id,
)


def sold(session: Session, account_ids: Sequence[str], first: str) -> list[Sold]:
    """Return sales from lots since a day, each with why it was made, in the order of days."""
    rows = rows_in(session, _SOLD, list(account_ids), {"first": first})
    found = [Sold(*row) for row in rows]
    return sorted(found, key=lambda one: (one.on_date, one.account_id, one.cause, one.lot_id))


def sent(session: Session, causes: Sequence[str]) -> dict[str, Sent]:
    """Return fill -> the order behind it, of those causes that are fills."""
    rows = select_in(session, _sent(_FILL.c.id), _FILL.c.id, sorted(set(causes)))
    return {row[0]: Sent(*row[1:]) for row in rows}


def opened(session: Session, lot_ids: Sequence[str]) -> dict[str, Sent]:
    """Return lot -> the order that bought it, of lots that an order bought."""
    statement = _sent(_LOT.c.id).join(_LOT, _LOT.c.opened_by == _FILL.c.id)
    rows = select_in(session, statement, _LOT.c.id, sorted(set(lot_ids)))
    return {row[0]: Sent(*row[1:]) for row in rows}


def _sent(key: Any) -> Any:
    return (
        select(
            key,
            _ORDER.c.reason,
            _ORDER.c.planned_at,
            _BLOCK.c.created_at,
            _EXECUTION.c.executed_at,
        )
        .select_from(_FILL)
        .join(_ORDER, _ORDER.c.id == _FILL.c.order_id)
        .join(_EXECUTION, _EXECUTION.c.id == _FILL.c.execution_id)
        .join(_BLOCK, _BLOCK.c.id == _EXECUTION.c.block_id)
    )


def bought(session: Session, account_ids: Sequence[str], first: str = "") -> list[Bought]:
    """Return lots bought since a day, sold ones too; what corporate actions opened is left out."""
    return _lots(session, account_ids, first, _LOT.c.opened_by.not_like(_OF_ACTION, escape="\\"))


def moved(session: Session, account_ids: Sequence[str], first: str) -> list[Bought]:
    """Return lots that corporate actions opened, with shares that were bought since a day."""
    return _lots(session, account_ids, first, _LOT.c.opened_by.like(_OF_ACTION, escape="\\"))


def _lots(session: Session, account_ids: Sequence[str], first: str, opened: Any) -> list[Bought]:
    columns = [_LOT.c[name] for name in ("account_id", "security_id", "id", "acquired_on", "nanos")]
    statement = select(*columns).where(_LOT.c.acquired_on >= first, opened)
    return [Bought(*row) for row in select_in(session, statement, _LOT.c.account_id, account_ids)]


_ACTIONS_OF: Final = among(
    select(*(_ACTION.c[name] for name in Action.__dataclass_fields__)).where(
        _ACTION.c.kind != "cash_dividend"
    ),
    _ACTION.c.security_id,
)


def actions_of(session: Session, security_ids: Sequence[int]) -> list[Action]:
    """Return the corporate actions of securities, dividends apart, in the order of ex-dates."""
    rows = rows_in(session, _ACTIONS_OF, sorted(set(security_ids)))
    return sorted((Action(*row) for row in rows), key=lambda one: (one.ex_on, one.id))


def heirs(session: Session) -> list[tuple[int, int]]:
    """Return (old, new) for every merger into shares and every spin-off that was published."""
    statement = select(_ACTION.c.security_id, _ACTION.c.detail).where(
        _ACTION.c.kind.in_(("stock_merger", "spin_off"))
    )
    rows = session.connection().execute(statement)
    pairs = [(old, json.loads(detail)["new_security_id"]) for old, detail in rows]
    return [(old, int(new)) for old, new in pairs if new is not None]
