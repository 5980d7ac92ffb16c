"""What stands between a plan and the broker: every planned order is looked at before it is sent.

A wait holds an order back until its reason has gone; when its day is over it is cancelled and its
cash is free to be planned again, so that nothing freezes a portfolio. A refused order is never
sent; some are cancelled at once, some when the day is over. The reasons stand on the orders
(`code`), the sentences in `robo.core.reasons`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import inquiring, judging, ordering
from robo.services.isolating import Blame
from robo.services.sizing import AS_ORDERED, Sizes
from robo.services.turns import Turns
from robo.store import windows
from robo.store.database import Database
from robo.store.keyring import Keyring

_JOB = "trade-window"
_AT_ONCE = frozenset(
    {
        Reason.REFUSE_RESTRICTED,
        Reason.REFUSE_NOT_TRADABLE,
        Reason.REFUSE_WHOLE_SHARES,
        Reason.SKIP_WASH_BUY,
        Reason.SKIP_WASH_LOSS,
    }
)
"""Refusals whose cash may be planned anew at once, because planners know these reasons too. What
looks like a mistake of ours stays where it is until the day is over: planned again in two seconds,
it would be the same mistake."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the guards look at beside the books."""

    keyring: Keyring
    prices: PriceSource
    calendar: MarketCalendar


@dataclass(frozen=True, slots=True)
class Review:
    """What may not be sent now, and in which units the rest is."""

    held: frozenset[str] = field(default_factory=frozenset)
    sizes: Sizes = AS_ORDERED


def review(db: Database, broker: Broker, clock: Clock, policy: Policy, desk: Desk | None) -> Review:
    """Look at every planned order; cancel what is refused, write down why others wait."""
    judged = judge(db, broker, clock, policy, desk)
    now = clock.now()
    today = business_date(now)
    ended: list[tuple[windows.WaitingOrder, Reason]] = []
    waits: list[tuple[str, str]] = []
    held: set[str] = set()
    for order, reason in judged.against:
        held.add(order.id)
        over = business_date(from_micros(order.planned_at)) < today
        if reason in _AT_ONCE:
            ended.append((order, reason))
        elif over:
            ended.append((replace(order, code=reason.value), Reason.REJECT_EXPIRED))
        elif order.code != reason.value:
            waits.append((order.id, reason.value))
    _write(db, clock, policy, desk, ended, waits)
    return Review(frozenset(held), judged.sizes)


def judge(
    db: Database, broker: Broker, clock: Clock, policy: Policy, desk: Desk | None
) -> judging.Judged:
    """Return what the guards say of every planned order; writes nothing about orders."""
    now = clock.now()
    with db.read() as session:
        if desk is None and judging.nothing_is_held(session, broker):
            return judging.Judged()
        waiting = windows.waiting(session, to_micros(now))
        if desk is None:
            return judging.by_books(session, broker, waiting)
    asked = inquiring.refresh_tradability(db, broker, policy, now, waiting)
    with db.read() as session:
        bench = judging.Bench(broker, policy, desk.prices, desk.calendar, now, asked)
        return judging.by_everything(session, bench, waiting)


def _write(
    db: Database,
    clock: Clock,
    policy: Policy,
    desk: Desk | None,
    ended: Sequence[tuple[windows.WaitingOrder, Reason]],
    waits: Sequence[tuple[str, str]],
) -> None:
    at_micros = to_micros(clock.now())
    turns = Turns(db, policy)

    def explain(session: Session, part: Sequence[tuple[str, str]]) -> None:
        windows.say_why(session, part)

    turns.each(waits, explain)
    if desk is None:
        return
    keyring = desk.keyring

    def cancel(session: Session, part: Sequence[tuple[windows.WaitingOrder, Reason]]) -> None:
        # As they are now: somebody may have cancelled some since they were read.
        still = windows.still_planned(session, [order.id for order, _ in part])
        mine = [(order, reason) for order, reason in part if order.id in still]
        ordering.cancel_waiting(session, keyring, mine, at_micros)

    blame = Blame[tuple[windows.WaitingOrder, Reason]](
        db, clock, _JOB, lambda one: one[0].account_id
    )
    turns.each(ended, cancel, blame)
