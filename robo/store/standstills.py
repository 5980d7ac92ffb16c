"""Accounts at the broker in which nothing was taken for days, though something was to be told.

Broker orders that were told in vain or held back, and planned orders that the guards let become
none: each kind keeps, when its day is over, what it waited for. A name of which the broker says for
days what nobody understands, whatever else it takes: a refusal may be worded anew. And accounts
that are closing with shares that nobody takes: names that the broker does not trade, fractions
where it takes whole ones.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import and_, case, func, literal, literal_column, or_, select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.reasons import Reason
from robo.store import controls, ledger
from robo.store.accounts import AccountRow
from robo.store.blocks import BlockRow
from robo.store.controls import BrokerAccountRow
from robo.store.orders import OrderRow, SkipRow, in_state

EXPIRED: Final = "rejected:expired:"
"""How the code of a block begins that was told in vain, or held back, until its day was over."""
UNCLEAR: Final = f"{EXPIRED}unclear"
"""The code of a block that was answered in words that nobody understands until its day was over."""
_STOPPED: Final = ("", "stopped", "wait_kill_switch")
"""What we did ourselves is no riddle, and what was not tried yet says nothing."""
_HELD: Final = f"{Reason.REJECT_EXPIRED}:"
"""How the code of a planned order begins that the guards held back until its day was over."""
_USUAL: Final = (
    Reason.WAIT_KILL_SWITCH,
    Reason.WAIT_MARKET_CLOSED,
    Reason.WAIT_CUT_OFF,
    Reason.WAIT_WHOLE_SHARES,
)
"""What we did ourselves, what every night does, and small change that waits for more."""
_NEVER: Final = (Reason.SKIP_NOT_TRADABLE, Reason.SKIP_WHOLE_SHARES)
"""Why shares of an account that is closing may stay for ever."""
_TAKEN: Final = ("filled", "partial", "canceled")
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_UNSENT: Any = _ORDER.c.block_id.is_(None) & (
    literal_column("orders.state") == literal_column("'canceled'")
)
"""Orders that ended before any window took them, spelt out for the partial index like `in_state`.

Its fields are (state, instant, code): SQLite prefers them to the index of blocks only if both the
state and the instant are asked for.
"""
_SKIP: Any = SkipRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_KEPT: Any = BrokerAccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Standstill:
    """An account at the broker that stands still; instants in microseconds."""

    broker_account: str
    """Empty where there is none yet."""
    firm_id: str
    account_id: AccountId | None
    """Ours; None for a firm's shared one as a whole."""
    code: str
    """Why nothing was taken, the last time."""
    said: str
    """The broker's own code for it; empty where it was not told, or gave none."""
    since: int
    last: int
    orders: int
    """Those in vain; of an account that is closing, how often a name was found to stay."""


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
    statements = (_of_blocks(firm_id, since_micros), *_of_orders(firm_id, since_micros))
    still = _apart(session, statements, apart_micros)
    listed_too = {one.broker_account for one in still}
    names = _apart(session, (_of_names(firm_id, since_micros),), apart_micros)
    still += [one for one in _joined(names) if one.broker_account not in listed_too]
    still = sorted(still, key=lambda one: (one.since, one.broker_account))[:limit]
    known = [_owned(session, one) for one in still]
    left = _closing(session, firm_id, since_micros)
    known += [one for one in left if one.last - one.since >= apart_micros]
    return sorted(known, key=lambda one: (one.since, one.broker_account))[:limit]


def _apart(session: Session, statements: Iterable[Any], apart_micros: int) -> list[Standstill]:
    """Return what some statements find of each place (and name), if it went on for long enough."""
    found: dict[tuple[str, int], list[Standstill]] = {}
    for statement in statements:
        for row in session.connection().execute(statement):
            where, firm, why, said, first, last, count, *name = row
            told = why.removeprefix(EXPIRED).removeprefix(_HELD)
            one = Standstill(where, firm, None, told, said, int(first), int(last), int(count))
            found.setdefault((where, name[0] if name else 0), []).append(one)
    joined = [one for parts in found.values() for one in _joined(parts)]
    return [one for one in joined if one.last - one.since >= apart_micros]


def _joined(parts: Iterable[Standstill]) -> list[Standstill]:
    """Return one of each account, with the reason that was told last."""
    found: dict[str, Standstill] = {}
    for one in sorted(parts, key=lambda part: part.last):
        before = found.get(one.broker_account, replace(one, orders=0))
        since, orders = min(one.since, before.since), one.orders + before.orders
        found[one.broker_account] = replace(one, since=since, orders=orders)
    return list(found.values())


def _closing(session: Session, firm_id: str, since_micros: int) -> list[Standstill]:
    """Return the accounts that are closing and hold what the broker does not take.

    Each day says once more of each name why it stays; a fraction that waits for others' orders
    ends with its day.
    """
    account, firm, place = _ACCOUNT.c.id, _ACCOUNT.c.firm_id, _KEPT.c.reference
    shared = "omnibus/" + firm
    waited = _HELD + Reason.WAIT_WHOLE_SHARES
    kept = (_SKIP, _SKIP.c.reason, _SKIP.c.at, _SKIP.c.reason.in_(_NEVER))
    ended = (_ORDER, _ORDER.c.code, _ORDER.c.planned_at, and_(_UNSENT, _ORDER.c.code == waited))
    found: dict[AccountId, Standstill] = {}
    for rows, why, at, those in (kept, ended):
        columns = (func.coalesce(place, shared), firm, account, why, rows.c.security_id)
        statement = (
            select(*columns, func.min(at), func.max(at), func.count())
            .join(rows, rows.c.account_id == account)
            .outerjoin(_KEPT, _KEPT.c.account_id == account)
            .where(_ACCOUNT.c.state == "closing", those, at >= since_micros)
            .group_by(*columns)
        )
        if firm_id:
            statement = statement.where(firm == firm_id)
        for where, whose, one, code, security, first, last, count in session.connection().execute(
            statement
        ):
            mine = AccountId(one)
            if not ledger.account_balances(session, mine).holdings_nanos.get(security):
                continue
            before = found.get(mine)
            found[mine] = Standstill(
                where,
                whose,
                mine,
                code.removeprefix(_HELD),
                "",
                min(int(first), before.since if before else int(first)),
                max(int(last), before.last if before else int(last)),
                int(count) + (before.orders if before else 0),
            )
    return list(found.values())


def _taken(since_micros: int, *apart: Any) -> Any:
    """Return when each account took an order last; of each name apart, if its column is given."""
    place, made = _BLOCK.c.broker_account, _BLOCK.c.created_at
    return (
        select(place.label("place"), *apart, func.max(made).label("at"))
        .where(
            made >= since_micros,
            or_(_BLOCK.c.broker_order_id.is_not(None), _BLOCK.c.state.in_(_TAKEN)),
        )
        .group_by(place, *apart)
        .subquery()
    )


def _of_blocks(firm_id: str, since_micros: int) -> Any:
    place, made, code = _BLOCK.c.broker_account, _BLOCK.c.created_at, _BLOCK.c.code
    taken = _taken(since_micros)
    waits = and_(_BLOCK.c.state == "intended", code.not_in(_STOPPED))
    in_vain = code.startswith(EXPIRED) & code.not_in([EXPIRED + why for why in _STOPPED])
    statement = (
        select(
            *(place, _BLOCK.c.firm_id, code, _BLOCK.c.said),
            *(func.min(made), func.max(made), func.count()),
        )
        .outerjoin(taken, taken.c.place == place)
        .where(made >= since_micros, or_(waits, in_vain), made > func.coalesce(taken.c.at, 0))
        .group_by(place, _BLOCK.c.firm_id, code, _BLOCK.c.said)
    )
    return statement.where(_BLOCK.c.firm_id == firm_id) if firm_id else statement


def _of_names(firm_id: str, since_micros: int) -> Any:
    """Return the query of names that are not taken for a reason that nobody understands."""
    place, made, name = _BLOCK.c.broker_account, _BLOCK.c.created_at, _BLOCK.c.security_id
    taken = _taken(since_micros, name)
    columns = (place, _BLOCK.c.firm_id, _BLOCK.c.code, _BLOCK.c.said)
    statement = (
        select(*columns, func.min(made), func.max(made), func.count(), name)
        .outerjoin(taken, and_(taken.c.place == place, taken.c.security_id == name))
        .where(made >= since_micros, _BLOCK.c.code == UNCLEAR)
        .where(made > func.coalesce(taken.c.at, 0))
        .group_by(*columns, name)
    )
    return statement.where(_BLOCK.c.firm_id == firm_id) if firm_id else statement


def _of_orders(firm_id: str, since_micros: int) -> Iterator[Any]:
    """Yield the queries of planned orders that never became part of a broker order.

    One of those that wait and one of those that ended, because each has a partial index of its
    own: an account of decades has thousands that were never sent.
    """
    firm, made, code = _ORDER.c.firm_id, _ORDER.c.planned_at, _ORDER.c.code
    opening = code.endswith(Reason.WAIT_NO_ACCOUNT)
    shared = func.coalesce(_KEPT.c.reference, "omnibus/" + firm)
    place = case((opening, _ORDER.c.account_id), else_=shared)
    taken = _taken(since_micros)
    waits = and_(in_state("planned"), code.startswith("wait_"), code.not_in(_USUAL))
    usual = [_HELD + why for why in _USUAL]
    in_vain = and_(_UNSENT, code.startswith(_HELD), code.not_in(usual))
    for those in (waits, in_vain):
        statement = (
            select(
                *(place.label("place"), firm, code, literal("")),
                *(func.min(made), func.max(made), func.count()),
            )
            .outerjoin(_KEPT, _KEPT.c.account_id == _ORDER.c.account_id)
            .outerjoin(taken, taken.c.place == shared)
            .where(those, made >= since_micros, made > func.coalesce(taken.c.at, 0))
            .group_by(place, firm, code)
        )
        yield statement.where(firm == firm_id) if firm_id else statement


def _owned(session: Session, one: Standstill) -> Standstill:
    if one.code == Reason.WAIT_NO_ACCOUNT:
        return replace(one, broker_account="", account_id=AccountId(one.broker_account))
    owner = controls.owner_of_broker_account(session, one.broker_account)
    return replace(one, account_id=owner[1]) if owner else one
