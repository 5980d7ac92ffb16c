"""A step of a transfer at the broker, written down: its state, and the news that is booked.

| at the broker | in | out |
|---|---|---|
| pending | pending (nothing is lent) | pending |
| done | available; settled some sessions later | settled |
| failed, returned | returned | returned |
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.brokerage import CashState, CashTransfer
from robo.store import custody, remittances
from robo.store.remittances import Remittance

_SECOND: Final = 1_000_000
_STATES: Final = {
    CashState.PENDING: "pending",
    # A word that nobody knows is nothing final.
    CashState.UNKNOWN: "pending",
    CashState.DONE: "done",
    CashState.FAILED: "failed",
    CashState.RETURNED: "returned",
}
_ENDED: Final = frozenset({"failed", "returned", "refused"})
_RANK: Final = {"pending": 0, "done": 1, "settled": 2, "failed": 3, "returned": 3}
_WEEK_DAYS: Final = 7


def adopt(
    session: Session,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    row: Remittance,
    transfer: CashTransfer,
) -> Remittance:
    """Write what the broker says of a transfer; it only moves forwards."""
    now = to_micros(clock.now())
    state = _STATES[transfer.state]
    if row.state in _ENDED:
        return row
    if _RANK.get(row.state, -1) > _RANK[state]:
        state = row.state  # late news
    if state == "done" and (row.direction == "push" or _final(row, clock, calendar, policy)):
        state = "settled"
    moved = replace(
        row,
        state=state,
        broker_id=transfer.broker_id,
        candidates="[]",
        word=transfer.word,
        code=transfer.word.lower() if state in _ENDED else "",
        done_at=row.done_at or (now if state in remittances.ARRIVED else None),
        changed_at=now if state != row.state else row.changed_at,
    )
    moved = replace(moved, look_at=next_look(moved, clock, calendar, policy))
    remittances.save(session, moved)
    _tell(session, moved, now)
    return moved


def refuse(session: Session, clock: Clock, row: Remittance, code: str) -> Remittance:
    """Write that a transfer never began: the money stays where it was."""
    now = to_micros(clock.now())
    moved = replace(
        row, state="refused", code=code, candidates="[]", look_at=custody.NEVER, changed_at=now
    )
    remittances.save(session, moved)
    _tell(session, moved, now)
    return moved


def next_look(row: Remittance, clock: Clock, calendar: MarketCalendar, policy: Policy) -> int:
    """Return when a transfer is looked at next where no event says more."""
    now = to_micros(clock.now())
    if row.state == "pending":
        return now + policy.custody_look_seconds * _SECOND
    if row.done_at is None or row.state in _ENDED:
        return custody.NEVER
    if row.state == "done":
        return _settles_at(row.done_at, calendar, policy)
    # Returns are told by events; a look a week is for those that got lost.
    last = from_micros(row.done_at) + timedelta(days=policy.transfer_return_days)
    following = clock.now() + timedelta(days=_WEEK_DAYS)
    return to_micros(following) if following <= last else custody.NEVER


def _final(row: Remittance, clock: Clock, calendar: MarketCalendar, policy: Policy) -> bool:
    """Return whether money that came in is taken as final; the broker never says so."""
    return row.done_at is not None and clock.now() >= from_micros(
        _settles_at(row.done_at, calendar, policy)
    )


def _settles_at(done_at: int, calendar: MarketCalendar, policy: Policy) -> int:
    day = calendar.shift(business_date(from_micros(done_at)), policy.deposit_settle_sessions)
    return to_micros(calendar.opens_at(day))


def _tell(session: Session, row: Remittance, at_micros: int) -> None:
    kind = {
        ("pull", "done"): "available",
        ("push", "settled"): "settled",
        ("pull", "settled"): "settled",
    }.get((row.direction, row.state), "pending" if row.state == "pending" else "returned")
    told = (child_id("bev", row.id, kind), row.id, kind, row.code, at_micros)
    remittances.tell(session, [told])
