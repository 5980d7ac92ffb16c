"""What waits for a person: transfers, applications, orders, executions, breaks, still accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session

from robo.core.clock import business_date, to_micros
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.services import awaiting, telling
from robo.store import blocks, breaks, custody, remittances, standstills, strays, windows
from robo.store.blocks import Block
from robo.store.breaks import KnownBreak
from robo.store.custody import Custody
from robo.store.remittances import Remittance
from robo.store.standstills import Standstill
from robo.store.strays import Stray

LIMIT = 100
_HOUR: Final = 3_600_000_000
_LOOKED_BACK: Final = 14 * 24 * _HOUR
"""What stands still tries again every session: two weeks hold several, whatever the holidays."""
_ANOTHER_DAY: Final = 12 * _HOUR
"""Two orders so far apart were not of one session."""
_SHOWN = frozenset({"real", "unknown_activity", "missing_execution"})
"""Differences that stop nothing, or not yet, and are a person's all the same."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A firm's open questions, oldest first, at most a hundred of a kind."""

    transfers: tuple[Remittance, ...]
    applications: tuple[Custody, ...]
    breaks: tuple[KnownBreak, ...]
    orders: tuple[Block, ...]
    """Broker orders that nothing but a person ends: see `resolving`."""
    behind: Mapping[str, int]
    """Id of such an order -> customers' orders of either side that wait for its end, because the
    firm deals in the name; orders for which nobody waits are absent."""
    executions: tuple[Stray, ...]
    """Executions that could not be accepted."""
    accounts: tuple[Standstill, ...]
    """Accounts in which the broker has taken nothing on two days, or longer, and those that are
    closing with shares that it does not take."""


def queue(
    session: Session, calendar: MarketCalendar, policy: Policy, firm_id: str, now: datetime
) -> Queue:
    """Return what a firm's operators have to decide; every firm's for ''."""
    at_micros, overdue = to_micros(now), telling.overdue_since(calendar, now, policy)
    open_breaks = breaks.listed(session, "open", firm_id)
    real = [one for one in open_breaks if one.blocks or one.category in _SHOWN]
    stuck = [
        one
        for one in blocks.in_states(session, "intended", "open", "unknown")
        if firm_id in {"", one.firm_id} and telling.is_stuck(one, overdue)
    ]
    if stuck:
        today = business_date(now)
        held = awaiting.held_blocks(session, today, policy.action_days_max)
        stuck = [one for one in stuck if one.id not in held]
    held_by = windows.held_by_turn(session) if stuck else {}
    behind = {
        one.id: count for one in stuck if (count := held_by.get((one.firm_id, one.security_id)))
    }
    return Queue(
        tuple(remittances.doubtful(session, firm_id, LIMIT)),
        tuple(custody.refused(session, firm_id, LIMIT)),
        tuple(sorted(real, key=lambda one: (one.found_at, one.id))[:LIMIT]),
        tuple(sorted(stuck, key=lambda one: (one.created_at, one.id))[:LIMIT]),
        behind,
        tuple(strays.waiting(session, firm_id, LIMIT)),
        tuple(standstills.listed(session, firm_id, at_micros - _LOOKED_BACK, _ANOTHER_DAY, LIMIT)),
    )
