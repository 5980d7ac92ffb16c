"""Accounts at the broker in which nothing was taken for days, though something was to be told."""

from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import and_, func, or_, select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.store import controls
from robo.store.blocks import BlockRow

EXPIRED: Final = "rejected:expired:"
"""How the code of a block begins that was told in vain, or held back, until its day was over."""
_STOPPED: Final = ("", "stopped", "wait_kill_switch")
"""What we did ourselves is no riddle, and what was not tried yet says nothing."""
_TAKEN: Final = ("filled", "partial", "canceled")
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Standstill:
    """An account at the broker that stands still; instants in microseconds."""

    broker_account: str
    firm_id: str
    account_id: AccountId | None
    """Ours; None for a firm's shared one."""
    code: str
    """Why nothing was taken, the last time."""
    since: int
    last: int
    orders: int


def listed(
    session: Session, firm_id: str, since_micros: int, apart_micros: int, limit: int
) -> list[Standstill]:
    """Return a firm's accounts that stand still, longest first; every firm's for ''.

    Args:
        session: The caller's transaction.
        firm_id: Whose.
        since_micros: How far back is looked.
        apart_micros: How far the first and the last order in vain must be apart.
        limit: At most so many.
    """
    place, made, code = _BLOCK.c.broker_account, _BLOCK.c.created_at, _BLOCK.c.code
    taken = (
        select(place.label("place"), func.max(made).label("at"))
        .where(
            made >= since_micros,
            or_(_BLOCK.c.broker_order_id.is_not(None), _BLOCK.c.state.in_(_TAKEN)),
        )
        .group_by(place)
        .subquery()
    )
    waits = and_(_BLOCK.c.state == "intended", code.not_in(_STOPPED))
    in_vain = code.startswith(EXPIRED) & code.not_in([EXPIRED + why for why in _STOPPED])
    statement = (
        select(place, _BLOCK.c.firm_id, code, func.min(made), func.max(made), func.count())
        .outerjoin(taken, taken.c.place == place)
        .where(made >= since_micros, or_(waits, in_vain), made > func.coalesce(taken.c.at, 0))
        .group_by(place, _BLOCK.c.firm_id, code)
        .order_by(func.max(made))
    )
    if firm_id:
        statement = statement.where(_BLOCK.c.firm_id == firm_id)
    found: dict[str, Standstill] = {}
    for where, firm, why, first, last, count in session.connection().execute(statement):
        before = found.get(where)
        since = min(int(first), before.since if before else int(first))
        orders = int(count) + (before.orders if before else 0)
        told = why.removeprefix(EXPIRED)
        found[where] = Standstill(where, firm, None, told, since, int(last), orders)
    still = [one for one in found.values() if one.last - one.since >= apart_micros]
    still = sorted(still, key=lambda one: (one.since, one.broker_account))[:limit]
    return [_owned(session, one) for one in still]


def _owned(session: Session, one: Standstill) -> Standstill:
    owner = controls.owner_of_broker_account(session, one.broker_account)
    return replace(one, account_id=owner[1]) if owner else one
