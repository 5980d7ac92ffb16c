"""Executions that the broker counts and does not tell: looked for between two comparisons."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import Broker, BrokerOrder
from robo.services import comparing, hearing, journaling, telling
from robo.services.comparing import Place
from robo.services.journaling import RECONCILER
from robo.store import blocks, breaks, controls
from robo.store.database import Database
from robo.store.keyring import Keyring

_ONE_BY_ONE_MAX: Final = 20
"""Orders of one account that are asked for one by one; more are looked up in the broker's list."""
_ALIVE: Final = frozenset({"intended", "open", "unknown"})


def chase(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
) -> int:
    """Put orders whose executions the broker counts and does not tell among the breaks.

    Those told longer ago than `execution_minutes_max`, whether the broker calls them final or not;
    an order that needs a person is a break of its own already. Between the comparisons of two
    sessions nobody else would see them. Returns how many there are.
    """
    now = clock.now()
    at_micros, overdue = to_micros(now), telling.overdue_since(calendar, now, policy)
    late = to_micros(now - timedelta(minutes=policy.execution_minutes_max))
    mine = _working(db, late, overdue)
    shown = _shown(broker, mine)
    if any(shown[one.id].filled_nanos != one.executed_nanos for one in mine if one.id in shown):
        # They may have come since the last page was read.
        with suppress(BrokerUnavailableError):
            hearing.accept(db, keyring, broker, clock)
        mine = _working(db, late, overdue)
        shown = _shown(broker, mine)
    with db.write() as session:
        seen = [
            comparing.untold(_place(session, one), one, shown[one.id])
            for one in mine
            if one.id in shown
        ]
        found = [
            journaling.aged(session, one, policy, at_micros) for one in seen if one is not None
        ]
        journaling.tell(session, "break.found", breaks.put(session, found, at_micros), at_micros)
        _close_told(session, keyring, {one.id for one in found}, set(shown), at_micros)
    return len(found)


def _working(db: Database, late: int, overdue: int) -> list[blocks.Block]:
    """Return open blocks that were told before an instant and need nobody yet."""
    with db.read() as session:
        return [
            one
            for one in blocks.in_states(session, "open")
            if one.told_at < late
            and not one.code.startswith("rejected:")
            and not telling.is_stuck(one, overdue)
        ]


def _shown(broker: Broker, mine: Sequence[blocks.Block]) -> dict[str, BrokerOrder]:
    """Return what the broker says of blocks; of what it did not answer nothing is concluded.

    Many of one account cost one listing, not a question each.
    """
    by_account: dict[str, list[blocks.Block]] = {}
    for block in mine:
        by_account.setdefault(block.broker_account, []).append(block)
    shown: dict[str, BrokerOrder] = {}
    for account, part in by_account.items():
        with suppress(BrokerUnavailableError):
            many = len(part) > _ONE_BY_ONE_MAX
            listed = broker.mass_status(account).open_orders if many else ()
            known = {order.client_id: order for order in listed}
            for block in part:
                order = known.get(block.id) or broker.find(block.id)
                if order is not None:
                    shown[block.id] = order
    return shown


def _place(session: Session, block: blocks.Block) -> Place:
    owner = controls.owner_of_broker_account(session, block.broker_account)
    return Place(block.broker_account, block.firm_id, owner[1] if owner else None)


def _close_told(
    session: Session, keyring: Keyring, still: set[str], asked: set[str], at_micros: int
) -> None:
    """End the breaks of orders that have ended since, or of which everything has been told."""
    old = [one for one in breaks.listed(session, "open", limit=100_000) if one.id not in still]
    old = [one for one in old if one.subject == "execution"]
    orders = blocks.many(session, sorted({one.reference for one in old}))
    for one in old:
        order = orders.get(one.reference)  # none: an execution that could not be accepted
        if order is not None and (order.id in asked or order.state not in _ALIVE):
            journaling.close(session, keyring, one, "repaired", RECONCILER, one.repair, at_micros)
