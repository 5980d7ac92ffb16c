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
from robo.store import blocks, breaks, controls, cursors
from robo.store.database import Database
from robo.store.keyring import Keyring

_CURSOR: Final = "chase"
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
    sessions nobody else would see them. At most `chase_asks_max` are asked for in a run, oldest
    first, and the next goes on behind them. Returns how many of those asked for there are.
    """
    now = clock.now()
    at_micros, overdue = to_micros(now), telling.overdue_since(calendar, now, policy)
    late = to_micros(now - timedelta(minutes=policy.execution_minutes_max))
    with db.read() as session:
        after = cursors.cursor(session, _CURSOR)
    turn = _turn(_working(db, late, overdue), after, policy.chase_asks_max)
    shown, last = _shown(broker, turn)
    before = mine = {one.id: one for one in turn}
    if any(one.filled_nanos != before[i].executed_nanos for i, one in shown.items()):
        # They may have come since the last page was read.
        with suppress(BrokerUnavailableError):
            hearing.accept(db, keyring, broker, clock)
        # Ours is read after what the broker shows: what we have of then cannot be missing in it.
        mine = {one.id: one for one in _working(db, late, overdue)}
    asked = {
        i: one for i, one in shown.items() if i in mine and _is_certain(before[i], mine[i], one)
    }
    with db.write() as session:
        seen = [comparing.untold(_place(session, mine[i]), mine[i], o) for i, o in asked.items()]
        found = [
            journaling.aged(session, one, policy, at_micros) for one in seen if one is not None
        ]
        journaling.tell(session, "break.found", breaks.put(session, found, at_micros), at_micros)
        _close_told(session, keyring, {one.id for one in found}, set(asked), at_micros)
        if last:
            cursors.move_cursor(session, _CURSOR, last)
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


def _turn(working: Sequence[blocks.Block], after: str, most: int) -> list[blocks.Block]:
    """Return the blocks that are asked for now: those after the last one asked, oldest first."""
    by_age = sorted(working, key=_key)
    start = sum(_key(one) <= after for one in by_age)
    return [*by_age[start:], *by_age[:start]][:most]


def _key(block: blocks.Block) -> str:
    """Return what puts blocks in the order of their telling."""
    return f"{block.told_at:020d}/{block.id}"


def _shown(broker: Broker, turn: Sequence[blocks.Block]) -> tuple[dict[str, BrokerOrder], str]:
    """Return what the broker says of blocks, and which was asked for last.

    Of what it did not answer nothing is concluded, and then it is not asked on: the runner would
    wait for it each time. The next run goes on behind that one.
    """
    shown: dict[str, BrokerOrder] = {}
    last = ""
    with suppress(BrokerUnavailableError):
        for block in turn:
            last = _key(block)
            order = broker.find(block.id)
            if order is not None:
                shown[block.id] = order
    return shown, last


def _is_certain(before: blocks.Block, now: blocks.Block, found: BrokerOrder) -> bool:
    """Return whether what the broker said can be held against what is ours by now.

    An order of which executions came while we looked trades, and is told of: where it is not equal
    by then, the broker may have counted too early.
    """
    return now.executed_nanos in {before.executed_nanos, found.filled_nanos}


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
