"""What the broker told beside executions, and what the cash of its accounts should be by it."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Index, case, exists, func, literal_column, select
from sqlmodel import Session, SQLModel

from robo.store.blocks import BlockRow
from robo.store.columns import STRICT, integer, one_of, partial, text
from robo.store.controls import BrokerAccountRow
from robo.store.database import among, bulk, rows_in
from robo.store.fills import ExecutionRow
from robo.store.inventory import BustRow

CURSOR: Final = "activities"
"""How far what the broker tells beside executions is read."""
STATES: Final = ("booked", "outside", "unknown")
_UNKNOWN: Final = "state = 'unknown'"


class BrokerActivityRow(SQLModel, table=True):
    """An activity as it was read: booked, cash from outside that is no trading, or unknown."""

    __tablename__ = "broker_activity"
    __table_args__ = (
        one_of("broker_activity_state", "state", *STATES),
        # Years are told and few are not explained, and every account of a night asks for those.
        partial("ix_broker_activity_unknown", _UNKNOWN, "id"),
        # A sale that waits for an action asks every few seconds whether it was told.
        Index("ix_broker_activity_told", "security_id", "kind", "on_date"),
        STRICT,
    )
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
_PLACE: Any = BrokerAccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_GROSS: Final = case(
    (_EXECUTION.c.side == "buy", -_EXECUTION.c.cents),
    else_=_EXECUTION.c.cents - _EXECUTION.c.fee_cents,
)


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


_NOTED: Final = among(select(_ACTIVITY.c.id), _ACTIVITY.c.id)
_LONGER: Final = among(
    select(_ACTIVITY.c.id).where(_ACTIVITY.c.id.like("%::%")), _ACTIVITY.c.broker_account
)


def noted(session: Session, told: Collection[tuple[str, str]]) -> set[str]:
    """Return those of some activities that are kept already, of (id, the broker's account).

    Also those that are kept under longer ids, as the adapter told them once: what follows the last
    `::` has stayed. It tells them again if it has lost what it remembers.
    """
    known = {str(row[0]) for row in rows_in(session, _NOTED, [one for one, _ in told])}
    places = sorted({place for one, place in told if one not in known})
    every = [str(row[0]) for row in rows_in(session, _LONGER, places)]
    return known | {one.rpartition("::")[2] for one in every} & {one for one, _ in told}


def of_days(session: Session, broker_account: str, since: str, before: str) -> list[str]:
    """Return the activities of an account on some days, the last of them left out."""
    statement = select(_ACTIVITY.c.id).where(
        _ACTIVITY.c.broker_account == broker_account,
        _ACTIVITY.c.on_date >= since,
        _ACTIVITY.c.on_date < before,
    )
    return [str(one) for one in session.connection().execute(statement).scalars()]


def settle(session: Session, activity_id: str, state: str) -> bool:
    """Say what became of an activity; return False where it is not unknown any more."""
    settled = "UPDATE broker_activity SET state = ? WHERE id = ? AND state = 'unknown'"
    return bulk(session, settled, [(state, activity_id)]) == 1


def unknown(session: Session) -> list[tuple[str, str, int, int]]:
    """Return (id, the broker's account, security, cents) of activities that nobody explained."""
    columns = [_ACTIVITY.c[name] for name in ("id", "broker_account", "security_id", "cents")]
    statement = select(*columns).where(literal_column(_UNKNOWN)).order_by(_ACTIVITY.c.id)
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
    (traded, _), (busted, _) = _traded(session, broker_account)
    acted = select(func.coalesce(func.sum(_ACTIVITY.c.cents), 0)).where(
        _ACTIVITY.c.broker_account == broker_account, _ACTIVITY.c.state == "booked"
    )
    return traded - busted + int(session.connection().execute(acted).scalar_one())


def heard(session: Session, broker_account: str) -> list[tuple[str, int, int]]:
    """Return (what, cents, how many) of everything that was ever told of an account and accepted.

    Executions, busts, and activities by their state. Rows are only ever added and settled: whatever
    is read changes this, even where it moves neither cash nor shares in the books.
    """
    traded, busted = _traded(session, broker_account)
    columns = (_ACTIVITY.c.state, func.sum(_ACTIVITY.c.cents), func.count())
    statement = select(*columns).where(_ACTIVITY.c.broker_account == broker_account)
    rows = session.connection().execute(statement.group_by(_ACTIVITY.c.state))
    told = sorted((row[0], int(row[1]), int(row[2])) for row in rows)
    return [("traded", *traded), ("busted", *busted), *told]


def heard_of_nobody(session: Session) -> int:
    """Return how many activities were ever told of what is no account of ours at the broker."""
    ours = exists().where(_PLACE.c.reference == _ACTIVITY.c.broker_account)
    statement = select(func.count()).select_from(_ACTIVITY).where(~ours)
    return int(session.connection().execute(statement).scalar_one())


def _traded(session: Session, broker_account: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (net cents, how many) of an account's executions, and of those taken back."""
    every = (
        select(func.coalesce(func.sum(_GROSS), 0), func.count())
        .select_from(_BLOCK)
        .join(_EXECUTION, _EXECUTION.c.block_id == _BLOCK.c.id)
        .where(_BLOCK.c.broker_account == broker_account)
    )
    # Few are taken back: asked for like this, the others are not looked at.
    busted = every.where(_EXECUTION.c.id.in_(select(_BUST.c.execution_id)))
    first, second = (session.connection().execute(one).one() for one in (every, busted))
    return (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))
