"""What the broker told beside executions, and what the cash of its accounts should be by it."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import case, func, select
from sqlmodel import Session, SQLModel

from robo.store.blocks import BlockRow
from robo.store.columns import STRICT, integer, one_of, text
from robo.store.database import bulk
from robo.store.fills import ExecutionRow
from robo.store.inventory import BustRow

STATES: Final = ("booked", "outside", "unknown")


class BrokerActivityRow(SQLModel, table=True):
    """An activity as it was read: booked, cash from outside that is no trading, or unknown."""

    __tablename__ = "broker_activity"
    __table_args__ = (one_of("broker_activity_state", "state", *STATES), STRICT)
    id: str = text(key=True)
    broker_account: str = text(index=True)
    kind: str = text()
    security_id: int = integer()
    on_date: str = text()
    cents: int = integer()
    state: str = text()
    seen_at: int = integer()


_ACTIVITY: Any = BrokerActivityRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_EXECUTION: Any = ExecutionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BUST: Any = BustRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def note(
    session: Session, rows: Sequence[tuple[str, str, str, int, str, int, str]], at_micros: int
) -> None:
    """Keep activities that were read: (id, account, kind, security, day, cents, state)."""
    bulk(
        session,
        "INSERT INTO broker_activity "
        "(id, broker_account, kind, security_id, on_date, cents, state, seen_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        [(*row, at_micros) for row in rows],
    )


def noted(session: Session, ids: Collection[str]) -> set[str]:
    """Return those of some activities that are kept already."""
    statement = select(_ACTIVITY.c.id).where(_ACTIVITY.c.id.in_(list(ids)))
    return set(session.connection().execute(statement).scalars())


def settle(session: Session, activity_id: str, state: str) -> bool:
    """Say what became of an activity; return False where it is not unknown any more."""
    settled = "UPDATE broker_activity SET state = ? WHERE id = ? AND state = 'unknown'"
    return bulk(session, settled, [(state, activity_id)]) == 1


def unknown(session: Session) -> list[tuple[str, str, int, int]]:
    """Return (id, the broker's account, security, cents) of activities that nobody explained."""
    columns = [_ACTIVITY.c[name] for name in ("id", "broker_account", "security_id", "cents")]
    statement = select(*columns).where(_ACTIVITY.c.state == "unknown").order_by(_ACTIVITY.c.id)
    return [(row[0], row[1], row[2], row[3]) for row in session.connection().execute(statement)]


def outside(session: Session, broker_account: str) -> int:
    """Return the net cents that came into an account, or went, without being a result of trading.

    Deposits, withdrawals and journals, as the broker told them and as far as we have read.
    """
    statement = select(func.coalesce(func.sum(_ACTIVITY.c.cents), 0)).where(
        _ACTIVITY.c.broker_account == broker_account, _ACTIVITY.c.state == "outside"
    )
    return int(session.connection().execute(statement).scalar_one())


def cash_told(session: Session, broker_account: str) -> int:
    """Return the net cash of trading in an account by everything that was told and accepted."""
    gross = case(
        (_EXECUTION.c.side == "buy", -_EXECUTION.c.cents),
        else_=_EXECUTION.c.cents - _EXECUTION.c.fee_cents,
    )
    mine = _BLOCK.c.broker_account == broker_account
    traded = (
        select(func.coalesce(func.sum(gross), 0))
        .select_from(_EXECUTION)
        .join(_BLOCK, _BLOCK.c.id == _EXECUTION.c.block_id)
        .where(mine)
    )
    busted = traded.join(_BUST, _BUST.c.execution_id == _EXECUTION.c.id)
    acted = select(func.coalesce(func.sum(_ACTIVITY.c.cents), 0)).where(
        _ACTIVITY.c.broker_account == broker_account, _ACTIVITY.c.state == "booked"
    )
    run = session.connection().execute
    return int(run(traded).scalar_one() - run(busted).scalar_one() + run(acted).scalar_one())
