"""One account at the broker against the books: every difference, and what kind of one it is.

Positions to the nanoshare, cash to the cent, orders, executions, activities, lots. A difference is
*timing* where something is on its way, a *corporate action* or a *missing execution* where the
broker itself explains it, an *unknown activity* where it told of something that we cannot place,
and *real* otherwise: only that one stops trading, and only where it is.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session

from robo.core.clock import business_date
from robo.core.ids import AccountId, child_id
from robo.ports.broker import Activity, BrokerOrder, Execution, MassStatus, Side
from robo.services import awaiting, charging, telling
from robo.store import (
    activities,
    arrivals,
    blocks,
    custody,
    holdings,
    inventory,
    prices,
    remittances,
    strays,
    tellings,
)
from robo.store.breaks import Break
from robo.store.strays import Stray


@dataclass(frozen=True, slots=True)
class Place:
    """One account at the broker, and whose it is."""

    broker_account: str
    firm_id: str
    account_id: AccountId | None = None
    """The customer's, where the broker keeps one each."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the broker says of a place, read without any transaction of ours."""

    status: MassStatus
    executions: Sequence[Execution] = ()
    """Those that it has told and that our cursor has not passed."""
    activities: Sequence[Activity] = ()
    orders: Mapping[str, BrokerOrder | None] | None = None
    """What it knows of our open blocks that are not among its open orders."""
    overdue_since: int = 0
    """Our orders from before this instant should have ended, in microseconds."""
    action_days: int = 0
    """So long after its ex-date a corporate action may explain a difference."""


@dataclass(frozen=True, slots=True)
class _Ours:
    """Our blocks that have not ended, and what could not be accepted of executions."""

    working: Sequence[blocks.Block]
    late: frozenset[str]
    """Those that should have ended: they explain nothing else."""
    stuck: frozenset[str]
    """Those of them that need a person."""
    strays: Sequence[Stray]

    @property
    def moving(self) -> list[blocks.Block]:
        """Return the blocks that may be trading while we look."""
        return [block for block in self.working if block.id not in self.late]


def compare(session: Session, place: Place, told: Told) -> list[Break]:
    """Return every difference of one account, in a stable order."""
    mine = [
        block
        for block in blocks.in_states(session, "open", "unknown")
        if block.broker_account == place.broker_account
    ]
    late = frozenset(one.id for one in mine if telling.is_stuck(one, told.overdue_since))
    today = business_date(told.status.as_of)
    stuck = late - awaiting.held_blocks(session, today, told.action_days) if late else late
    ours = _Ours(mine, late, stuck, strays.of_place(session, place.broker_account))
    found = [
        *_orders(place, told, ours),
        *_strays(session, place, ours),
        *_executions(session, place, told),
        *_positions(session, place, told, ours),
        *_cash(session, place, told, ours),
        *_from_outside(session, place, told),
        *_lots(session, place),
        *unknown(session, place),
    ]
    return sorted(found, key=lambda one: one.id)


def break_of(
    place: Place,
    subject: str,
    category: str,
    ours: int,
    theirs: int,
    repair: str,
    *,
    security_id: int | None = None,
    reference: str = "",
) -> Break:
    """Return a break; its id follows from what differs: one row, however often it is seen."""
    return Break(
        id=child_id("brk", place.broker_account, subject, security_id or 0, reference),
        firm_id=place.firm_id,
        broker_account=place.broker_account,
        account_id=place.account_id,
        security_id=security_id,
        subject=subject,
        reference=reference,
        category=category,
        ours=ours,
        theirs=theirs,
        repair=repair,
        blocks=int(category == "real"),
    )


def _orders(place: Place, told: Told, ours: _Ours) -> Iterator[Break]:
    known = {block.id: block for block in ours.working}
    for order in told.status.open_orders:
        block = known.get(order.client_id)
        if block is None:
            # Ours may have been told a moment ago by another process; then it is gone next time.
            yield break_of(
                place,
                "order",
                "real",
                0,
                1,
                "cancel_at_broker",
                security_id=order.security_id,
                reference=order.client_id,
            )
        elif block.id not in ours.stuck and not telling.same(block, order):
            yield _order_break(place, block, "real", 1, "ask_operator")
    for block in ours.working:
        found = (told.orders or {}).get(block.id)
        if block.id in ours.stuck:
            yield _order_break(place, block, "real", int(found is not None), "ask_operator")
        elif block.id not in (told.orders or {}) or block.state == "unknown":
            continue
        elif found is None:
            yield _order_break(place, block, "timing", 0, "ask_again")
        elif (missing := untold(place, block, found)) is not None:
            yield missing


def untold(place: Place, block: blocks.Block, found: BrokerOrder) -> Break | None:
    """Return what the broker counts as executed of an order and has not told us; None if nothing.

    The other way round too: what it has taken back without a word.
    """
    if found.filled_nanos == block.executed_nanos:
        return None
    return break_of(
        place,
        "execution",
        "missing_execution",
        block.executed_nanos,
        found.filled_nanos,
        "collect",
        security_id=block.security_id,
        reference=block.id,
    )


def _order_break(
    place: Place, block: blocks.Block, category: str, theirs: int, repair: str
) -> Break:
    return break_of(
        place,
        "order",
        category,
        1,
        theirs,
        repair,
        security_id=block.security_id,
        reference=block.id,
    )


def _strays(session: Session, place: Place, ours: _Ours) -> Iterator[Break]:
    known = blocks.many(session, sorted({one.client_id for one in ours.strays}))
    for one in ours.strays:
        yield strays.difference(one, known[one.client_id], place.account_id)


def _executions(session: Session, place: Place, told: Told) -> Iterator[Break]:
    ours = blocks.many(session, sorted({one.client_id for one in told.executions}))
    for one in told.executions:
        block = ours.get(one.client_id)
        if block is not None and block.broker_account == place.broker_account:
            yield break_of(
                place,
                "execution",
                "missing_execution",
                0,
                one.nanos,
                "collect",
                security_id=one.security_id,
                reference=one.id,
            )


def _positions(session: Session, place: Place, told: Told, mine: _Ours) -> Iterator[Break]:
    ours = expected(session, place)
    theirs: dict[int, int] = {}
    for one in told.status.positions:
        if one.security_id:
            theirs[one.security_id] = theirs.get(one.security_id, 0) + one.nanos
    waiting = _on_the_way(told, mine.working)
    refused = _refused(session, mine)
    moving = _moving(session, told)
    # An order, or a transfer from another firm: either may be there, and not on our books yet.
    trading = {block.security_id for block in mine.moving} | arrivals.moving(session, place.firm_id)
    for security_id in sorted({*ours, *theirs}):
        held, there = ours.get(security_id, 0), theirs.get(security_id, 0)
        if held == there:
            continue
        if there - held == waiting.get(security_id, 0):
            category, repair = "missing_execution", "collect"
        elif there - held == waiting.get(security_id, 0) + refused.get(security_id, 0):
            category, repair = "missing_execution", "ask_operator"  # and stops its name by itself
        elif security_id in moving:
            category, repair = "corporate_action", "apply_actions"
        elif security_id in trading:
            # Positions and orders are read one after the other: it traded in between.
            category, repair = "timing", "look_again"
        else:
            category, repair = "real", "ask_operator"
        yield break_of(
            place,
            "position",
            category,
            held,
            there,
            repair,
            security_id=int(security_id),
        )
    yield from _foreign(place, told, moving)


def _foreign(place: Place, told: Told, moving: Collection[int]) -> Iterator[Break]:
    """Yield what is there in names of no list of ours: a person looks, all orders go on."""
    for one in told.status.positions:
        if one.security_id:
            continue
        yield break_of(
            place,
            "position",
            "corporate_action" if 0 in moving else "real",
            0,
            one.nanos,
            "apply_actions" if 0 in moving else "ask_operator",
            security_id=0,
            reference=one.symbol or "not_ours",
        )


def _refused(session: Session, mine: _Ours) -> dict[int, int]:
    """Return security -> nanoshares of strays whose blocks have ended.

    Those of open blocks are among what the broker says of the order.
    """
    still_open = {block.id for block in mine.working}
    ended = [one for one in mine.strays if one.client_id not in still_open]
    known = blocks.many(session, sorted({one.client_id for one in ended}))
    found: dict[int, int] = {}
    for one in ended:
        security_id = known[one.client_id].security_id
        found[security_id] = found.get(security_id, 0) + one.sign * one.nanos
    return found


def expected(session: Session, place: Place) -> dict[int, int]:
    """Return what the books say is there, counting executions that wait to be booked."""
    if place.account_id is None:
        ours = holdings.of_firm(session, place.firm_id)
        for security_id, nanos in inventory.held(session, place.firm_id).items():
            ours[security_id] = ours.get(security_id, 0) + nanos
    else:
        ours = holdings.of_account(session, place.account_id)
    for security_id, nanos in tellings.unbooked_shares(session, place.broker_account).items():
        ours[security_id] = ours.get(security_id, 0) + nanos
    return ours


def _on_the_way(told: Told, mine: Sequence[blocks.Block]) -> dict[int, int]:
    """Return what executions that we have not read bring, by what the broker says of orders."""
    found: dict[int, int] = {}
    open_now = {order.client_id: order for order in told.status.open_orders}
    for block in mine:
        order = open_now.get(block.id) or (told.orders or {}).get(block.id)
        if order is not None:
            sign = 1 if order.side is Side.BUY else -1
            more = sign * (order.filled_nanos - block.executed_nanos)
            found[block.security_id] = found.get(block.security_id, 0) + more
    return found


def _moving(session: Session, told: Told) -> set[int]:
    """Return the names in which a corporate action may explain a difference."""
    today = business_date(told.status.as_of)
    since = (today - timedelta(days=told.action_days)).isoformat()
    acting = prices.unapplied_actions(session, since, today.isoformat())
    return {*told.status.moving, *(one.security_id for one in told.activities), *acting}


def _cash(session: Session, place: Place, told: Told, mine: _Ours) -> Iterator[Break]:
    ours = activities.cash_told(session, place.broker_account)
    theirs = told.status.cash.total_cents
    if ours == theirs:
        return
    difference = theirs - ours
    unexplained = [
        cents for _, where, _, cents in activities.unknown(session) if where == place.broker_account
    ]
    unread = sum(one.cents for one in told.activities)
    unread += sum(_cash_of(one) for one in told.executions)
    refused = -sum(one.sign * one.cents for one in mine.strays)
    if difference == unread:
        category, repair = "timing", "collect"
    elif mine.strays and difference == unread + refused:
        category, repair = "missing_execution", "ask_operator"  # and stops its name by itself
    elif unexplained and difference == sum(unexplained) + unread:
        category, repair = "unknown_activity", "book_to_firm"
    elif mine.moving or told.executions or told.activities:
        category, repair = "timing", "look_again"
    elif told.status.moving:
        category, repair = "corporate_action", "apply_actions"
    else:
        category, repair = "real", "ask_operator"
    yield break_of(place, "cash", category, ours, theirs, repair)


def _from_outside(session: Session, place: Place, told: Told) -> Iterator[Break]:
    """Compare what came in and went out with what we asked for; only where we ask the broker."""
    if place.account_id is None or custody.get(session, place.account_id) is None:
        return
    ours, under_way = remittances.sums(session, place.broker_account)
    unread = sum(one.cents for one in told.activities if charging.state_of(one) == "outside")
    theirs = activities.outside(session, place.broker_account) + unread
    if ours == theirs:
        return
    category, repair = ("timing", "look_again") if under_way else ("real", "ask_operator")
    yield break_of(place, "cash", category, ours, theirs, repair, reference="transfers")


def _cash_of(one: Execution) -> int:
    net = -one.cents if one.side is Side.BUY else one.cents - one.fee_cents
    return -net if one.busts else net


def _lots(session: Session, place: Place) -> Iterator[Break]:
    if place.account_id is None:
        held = holdings.of_firm(session, place.firm_id)
        lots = holdings.lots_of_firm(session, place.firm_id)
    else:
        held = holdings.of_account(session, place.account_id)
        lots = holdings.lots_of_accounts(session, [place.account_id])
    for security_id in sorted({*held, *lots}):
        if held.get(security_id, 0) != lots.get(security_id, 0):
            yield break_of(
                place,
                "lot",
                "real",
                held.get(security_id, 0),
                lots.get(security_id, 0),
                "verify",
                security_id=security_id,
            )


def unknown(session: Session, place: Place) -> Iterator[Break]:
    """Yield what was told of a place and nobody can explain."""
    for activity_id, where, security_id, cents in activities.unknown(session):
        if where == place.broker_account:
            yield break_of(
                place,
                "activity",
                "unknown_activity",
                0,
                cents,
                "book_to_firm",
                security_id=security_id or None,
                reference=activity_id,
            )
