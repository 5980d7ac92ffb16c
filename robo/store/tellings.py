"""More of blocks: what a sender and a booker look up beside them, and executions taken back."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import case, func, select
from sqlmodel import Session

from robo.store.blocks import Block, BlockRow, BookedExecution
from robo.store.database import among, bulk, rows_in, select_in
from robo.store.fills import BookingRow, ExecutionRow, FillRow
from robo.store.inventory import BustRow
from robo.store.orders import OrderRow, in_state

_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_EXECUTION: Any = ExecutionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BOOKING: Any = BookingRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FILL: Any = FillRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BUST: Any = BustRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def record_unheard(session: Session, block_ids: Sequence[str], at_micros: int) -> None:
    """Count that the broker says it has no such order; the first time since telling is kept."""
    bulk(
        session,
        "UPDATE block SET state = 'unknown', asks = asks + 1, "
        "asked_at = CASE WHEN asks = 0 THEN ? ELSE asked_at END "
        "WHERE id = ? AND state IN ('intended', 'unknown')",
        [(at_micros, block_id) for block_id in block_ids],
    )


def record_missing(session: Session, block_ids: Sequence[str], at_micros: int) -> None:
    """Write when the broker was last asked for refused blocks of which it shows no order."""
    bulk(
        session,
        "UPDATE block SET asks = asks + 1, asked_at = ? WHERE id = ? AND state = 'open'",
        [(at_micros, block_id) for block_id in block_ids],
    )


def begin_telling(session: Session, block_ids: Sequence[str]) -> None:
    """Forget what was said of blocks that are told again: from now on they may have arrived.

    Not that the broker called their id taken: that proves an order for ever.
    """
    bulk(
        session,
        "UPDATE block SET asks = 0, asked_at = 0, "
        "code = CASE WHEN code = 'duplicate' THEN code ELSE '' END "
        "WHERE id = ? AND state IN ('intended', 'unknown')",
        [(block_id,) for block_id in block_ids],
    )


_WITH_OPEN: Final = among(
    select(_ORDER.c.block_id).where(in_state("sending")).distinct(), _ORDER.c.block_id
)
_WITH_UNBOOKED: Final = (
    select(_EXECUTION.c.block_id)
    .join(_BOOKING, _BOOKING.c.execution_id == _EXECUTION.c.id)
    .where(_BOOKING.c.state == "open")
    .distinct()
)


def with_open_orders(session: Session, block_ids: Sequence[str]) -> set[str]:
    """Return which of the blocks have an order that has not ended."""
    return {row[0] for row in rows_in(session, _WITH_OPEN, list(block_ids))}


def with_unbooked(session: Session) -> set[str]:
    """Return the blocks of which an execution waits to be booked."""
    return set(session.connection().execute(_WITH_UNBOOKED).scalars())


def refusals_since(session: Session, since_micros: int) -> dict[tuple[str, int, str], int]:
    """Return (broker's account, security, side) -> how many blocks it rejected since an instant.

    What we ended ourselves, because it was late or not wanted any more, is no refusal of its.
    """
    keys = (_BLOCK.c.broker_account, _BLOCK.c.security_id, _BLOCK.c.side)
    statement = (
        select(*keys, func.count())
        .where(
            _BLOCK.c.state == "rejected",
            _BLOCK.c.created_at >= since_micros,
            _BLOCK.c.code.not_like("rejected:expired%"),
            _BLOCK.c.code.not_in(("rejected:refuse_restricted", "rejected:operator")),
        )
        .group_by(*keys)
    )
    return {
        (row[0], row[1], row[2]): int(row[3]) for row in session.connection().execute(statement)
    }


def told_since(session: Session, code: str, since_micros: int) -> set[str]:
    """Return the broker's accounts in which it answered a code since an instant."""
    statement = select(_BLOCK.c.broker_account).where(
        _BLOCK.c.state.in_(("intended", "unknown")),
        _BLOCK.c.code == code,
        _BLOCK.c.told_at > since_micros,
    )
    return set(session.connection().execute(statement.distinct()).scalars())


def firm_turnover_since(session: Session, since_micros: int) -> dict[str, int]:
    """Return firm -> cents that its blocks since an instant were for, or brought.

    Of a block that has ended only what was executed counts: what was refused moved no market.
    """
    wanted = func.coalesce(_BLOCK.c.notional_cents, _BLOCK.c.executed_cents)
    cents = case((_BLOCK.c.closed_at.is_(None), wanted), else_=_BLOCK.c.executed_cents)
    statement = (
        select(_BLOCK.c.firm_id, func.sum(cents))
        .where(_BLOCK.c.created_at >= since_micros)
        .group_by(_BLOCK.c.firm_id)
    )
    return {row[0]: int(row[1] or 0) for row in session.connection().execute(statement)}


def another_open(session: Session, block: Block) -> bool:
    """Return whether another block in the same name and account is at the broker."""
    statement = select(_BLOCK.c.id).where(
        _BLOCK.c.state.in_(("open", "unknown")),
        _BLOCK.c.broker_account == block.broker_account,
        _BLOCK.c.security_id == block.security_id,
        _BLOCK.c.id != block.id,
    )
    return session.connection().execute(statement.limit(1)).first() is not None


def code_of(session: Session, block_id: str) -> str:
    """Return the code that was recorded last for a block."""
    statement = select(_BLOCK.c.code).where(_BLOCK.c.id == block_id)
    return session.connection().execute(statement).scalar() or ""


def positions(session: Session, execution_ids: Sequence[str]) -> dict[str, int]:
    """Return execution -> its place in the order in which the broker told them."""
    columns = (_BOOKING.c.execution_id, _BOOKING.c.position)
    rows = select_in(session, select(*columns), columns[0], list(execution_ids))
    return {row[0]: int(row[1]) for row in rows}


def known(session: Session, block_ids: Sequence[str]) -> set[str]:
    """Return which of the blocks are written."""
    statement = select(_BLOCK.c.id).where(_BLOCK.c.id.in_(block_ids))
    return set(session.connection().execute(statement).scalars())


def accepted(session: Session, execution_ids: Sequence[str]) -> set[str]:
    """Return which executions were accepted before."""
    statement = select(_BOOKING.c.execution_id).where(_BOOKING.c.execution_id.in_(execution_ids))
    return set(session.connection().execute(statement).scalars())


_TRADES: Final = select(_EXECUTION.c.id, _EXECUTION.c.block_id)
_BUSTS: Final = select(_BUST.c.id, _EXECUTION.c.block_id).join(
    _EXECUTION, _EXECUTION.c.id == _BUST.c.execution_id
)
_LONGER: Final = "%::%"
_LONGER_TRADES: Final = among(_TRADES.where(_EXECUTION.c.id.like(_LONGER)), _EXECUTION.c.block_id)
_LONGER_BUSTS: Final = among(_BUSTS.where(_BUST.c.id.like(_LONGER)), _EXECUTION.c.block_id)
_THOSE_TRADES: Final = among(_TRADES, _EXECUTION.c.id)
_THOSE_BUSTS: Final = among(_BUSTS, _BUST.c.id)


def under_longer_ids(session: Session, block_ids: Sequence[str]) -> dict[str, str]:
    """Return short id -> id of blocks' executions and busts that were told under longer ones.

    An adapter may come to leave out what its broker puts before an id: what follows the last `::`
    stays. Those of other blocks are others, whatever they are called.
    """
    asked = (_LONGER_TRADES, _LONGER_BUSTS)
    rows = [row for statement in asked for row in rows_in(session, statement, block_ids)]
    return {str(row[0]).rpartition("::")[2]: str(row[0]) for row in rows}


def under_shorter_ids(session: Session, told: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return id -> short id of executions and busts that were accepted under shorter ones.

    The other way round than `under_longer_ids`: what an adapter told at length was kept for a
    person meanwhile. What was accepted under its own id is that.

    Args:
        session: A read.
        told: (Id, block) of each.
    """
    block_of = {one: block for one, block in told if "::" in one}
    short = {one: one.rpartition("::")[2] for one in block_of}
    ids = sorted({*short, *short.values()})
    kept = {
        (str(row[0]), str(row[1]))
        for asked in (_THOSE_TRADES, _THOSE_BUSTS)
        for row in rows_in(session, asked, ids)
    }
    return {
        one: short[one]
        for one, block in block_of.items()
        if (short[one], block) in kept and (one, block) not in kept
    }


def is_unbooked(session: Session, execution_id: str) -> bool:
    """Return whether an accepted execution is not fully booked."""
    statement = select(_BOOKING.c.state).where(_BOOKING.c.execution_id == execution_id)
    return session.connection().execute(statement).scalar() != "done"


def known_busts(session: Session, bust_ids: Sequence[str]) -> set[str]:
    """Return which busts were accepted before."""
    return {row[0] for row in select_in(session, select(_BUST.c.id), _BUST.c.id, list(bust_ids))}


def executions(session: Session, execution_ids: Sequence[str]) -> dict[str, BookedExecution]:
    """Return the executions of those ids that were accepted."""
    columns = [_EXECUTION.c[name] for name in BookedExecution.__dataclass_fields__]
    rows = select_in(session, select(*columns), _EXECUTION.c.id, list(execution_ids))
    return {row[0]: BookedExecution(*row) for row in rows}


def restate(session: Session, block_ids: Sequence[str]) -> None:
    """Bring the states of blocks that had ended in line with what was executed after all."""
    bulk(
        session,
        "UPDATE block SET state = CASE "
        "WHEN executed_cents >= notional_cents OR executed_nanos >= nanos THEN 'filled' "
        "WHEN executed_nanos > 0 OR executed_cents > 0 THEN 'partial' ELSE 'canceled' END "
        "WHERE id = ? AND closed_at IS NOT NULL",
        [(block_id,) for block_id in block_ids],
    )


def order_counts(session: Session, block_ids: Sequence[str]) -> dict[str, int]:
    """Return how many orders each block has."""
    statement = (
        select(_ORDER.c.block_id, func.count())
        .where(_ORDER.c.block_id.in_(block_ids))
        .group_by(_ORDER.c.block_id)
    )
    return {row[0]: int(row[1]) for row in session.connection().execute(statement)}


def unbooked_shares(session: Session, broker_account: str) -> dict[int, int]:
    """Return security -> nanoshares that accepted executions will bring once they are booked.

    Of an execution that is booked in part only the rest counts.
    """
    sign = case((_EXECUTION.c.side == "buy", 1), else_=-1)
    done = (  # by way of the block's orders: fills are not kept by what they are of
        select(func.coalesce(func.sum(_FILL.c.nanos), 0))
        .join(_ORDER, _ORDER.c.id == _FILL.c.order_id)
        .where(_ORDER.c.block_id == _EXECUTION.c.block_id)
        .where(_FILL.c.execution_id == _EXECUTION.c.id)
        .scalar_subquery()
    )
    statement = (
        select(_EXECUTION.c.security_id, func.sum(sign * (_EXECUTION.c.nanos - done)))
        .join(_BOOKING, _BOOKING.c.execution_id == _EXECUTION.c.id)
        .join(_BLOCK, _BLOCK.c.id == _EXECUTION.c.block_id)
        .where(_BOOKING.c.state == "open", _BLOCK.c.broker_account == broker_account)
        .group_by(_EXECUTION.c.security_id)
    )
    return {int(row[0]): int(row[1]) for row in session.connection().execute(statement)}


def traded_since(
    session: Session, broker_account: str, security_id: int, since_micros: int
) -> list[int]:
    """Return the nanoshares that executions brought (or took, negative) since an instant, in order.

    Without those that were taken back.
    """
    nanos = case((_EXECUTION.c.side == "buy", _EXECUTION.c.nanos), else_=-_EXECUTION.c.nanos)
    statement = (
        select(nanos)
        .join(_BLOCK, _BLOCK.c.id == _EXECUTION.c.block_id)
        .where(
            _BLOCK.c.broker_account == broker_account,
            _EXECUTION.c.security_id == security_id,
            _EXECUTION.c.executed_at >= since_micros,
            _EXECUTION.c.id.not_in(select(_BUST.c.execution_id)),
        )
        .order_by(_EXECUTION.c.executed_at, _EXECUTION.c.id)
    )
    return [int(one) for one in session.connection().execute(statement).scalars()]


def places(session: Session) -> list[tuple[str, str]]:
    """Return (the broker's account, firm) of every account that something was ever sent to."""
    columns = (_BLOCK.c.broker_account, _BLOCK.c.firm_id)
    rows = session.connection().execute(select(*columns).distinct().order_by(columns[0]))
    return [(row[0], row[1]) for row in rows]
