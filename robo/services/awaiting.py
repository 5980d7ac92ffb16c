"""Sales that are booked only once the books have the corporate action that they came after.

From its ex-date on a name trades in new shares. Until a split or a spin-off is booked the lots are
the old ones: a sale that closed some of them would take a basis that is not its own, and leave the
action nothing that it fits. So such a sale waits, accepted and unbooked, and with it what was told
of its order later. It waits no longer than for the action itself: ten days from its ex-date, or
until a person has cleared what the broker brought. After a merger there is nothing left to sell:
what was sold was sold before it, and is booked at once.

Whoever was away at midnight reads a day's executions before he knows what went ex on it. They wait
until the day's actions are announced, and with them who was entitled.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import day_begins
from robo.core.market_calendar import MarketCalendar
from robo.ports.prices import ActionKind
from robo.store import blocks, breaks, jobs, lots, orders, prices
from robo.store.blocks import BookedExecution

ANNOUNCING: Final = "adjust"
"""The job that tells the books of a session's actions."""
_CHANGING: Final = frozenset({ActionKind.SPLIT.value, ActionKind.SPIN_OFF.value})
"""Actions after which an account still holds its lots, in other shares or with another basis."""


def held(session: Session, executions: Sequence[BookedExecution], on: date, days: int) -> set[str]:
    """Return the executions that must not be booked before an action is.

    Args:
        session: The caller's transaction.
        executions: Some that are not booked, in the order in which the broker told them.
        on: Today.
        days: How long after its ex-date an action is waited for.
    """
    sales = [one for one in executions if one.side == "sell"]
    if not sales:
        return set()
    since = (on - timedelta(days=days)).isoformat()
    found: set[str] = set()
    for action, security_id, ex_on in prices.changing(session, _CHANGING, since, on.isoformat()):
        begins = day_begins(date.fromisoformat(ex_on))
        after = [
            one for one in sales if one.security_id == security_id and one.executed_at >= begins
        ]
        found |= _before_it(session, action, after)
    if not found:
        return found
    # How an execution is split follows from what was told of its block before.
    held_up: set[str] = set()
    for one in executions:
        if one.id in found or one.block_id in held_up:
            held_up.add(one.block_id)
            found.add(one.id)
    return found


def _before_it(session: Session, action: str, sales: Sequence[BookedExecution]) -> set[str]:
    """Return the sales of somebody who is entitled to an action that may still be booked."""
    if not sales:
        return set()
    sold_in = blocks.many(session, sorted({one.block_id for one in sales}))
    brought = breaks.brought(session, action)
    some = [one for one in sales if sold_in[one.block_id].broker_account not in brought]
    members = orders.of_blocks(session, sorted({one.block_id for one in some}))
    accounts = sorted({order.account_id for mine in members.values() for order in mine})
    waiting = lots.unbooked_of(session, action, accounts)
    return {
        one.id
        for one in some
        if any(order.account_id in waiting for order in members[one.block_id])
    }


def day_to_come(session: Session, calendar: MarketCalendar) -> int | None:
    """Return when the first session began whose actions the books were not told of, as stored.

    None if no session's ever were: nobody keeps the timetable.
    """
    last = jobs.last_slot(session, ANNOUNCING)
    return None if last is None else day_begins(calendar.shift(date.fromisoformat(last), 1))


def executed_before(
    executions: Sequence[BookedExecution], until_micros: int
) -> list[BookedExecution]:
    """Return what was executed before an instant and waits behind nothing of its own block."""
    later: set[str] = set()
    before: list[BookedExecution] = []
    for one in executions:
        if one.executed_at >= until_micros or one.block_id in later:
            later.add(one.block_id)
        else:
            before.append(one)
    return before


def held_blocks(session: Session, on: date, days: int) -> set[str]:
    """Return the blocks that cannot end yet, because a sale of theirs waits for an action."""
    unbooked = blocks.unbooked(session)
    ids = held(session, unbooked, on, days)
    return {one.block_id for one in unbooked if one.id in ids}
