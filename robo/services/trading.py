"""The one sender: planned orders become blocks, blocks become broker orders, executions come back.

Write, tell, write. A block is written before the broker hears of it; its id is the client id. An
outcome that we did not see is unknown, never failed, and is healed by asking with the same id.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import BrokerRejectedError, BrokerUnavailableError
from robo.core.ids import SecurityId, child_id
from robo.core.policy import Policy
from robo.ports.broker import (
    Broker,
    BrokerOrder,
    BrokerOrderState,
    Execution,
    OrderTicket,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.services import booking
from robo.services.turns import Turns
from robo.store import blocks, chains, cursors, events, orders, universe
from robo.store.database import Database
from robo.store.keyring import Keyring

_OUTCOMES: Final = 25
"""Outcomes written together; after a crash, those of a batch are asked for again."""
_CURSOR: Final = "executions"
_ENDED: Final = ("filled", "partial", "rejected", "canceled")
_MISMATCH: Final = "client_id_mismatch"
_EXPIRED: Final = "rejected:expired"
_STATE_OF: Final = {
    SubmitStatus.ACCEPTED: "open",
    SubmitStatus.REJECTED: "open",
    SubmitStatus.UNKNOWN: "unknown",
    SubmitStatus.THROTTLED: "intended",
}


def send(db: Database, broker: Broker, clock: Clock, policy: Policy, window: str) -> int:
    """Send everything that is planned, sells before buys; return how many blocks were told.

    Orders of different customers are aggregated, never crossed. What an earlier run had intended
    and not told is healed first, with the same ids. Blocks are written once every order of the
    window has its block, so that a window that crashed in between is completed, not cut in two.
    """
    heal(db, broker, clock)
    now = to_micros(clock.now())
    for side in ("sell", "buy"):
        _assign(db, policy, window, side, now)
    return _tell_all(db, broker, _intend(db, broker, window, now), now)


def _assign(db: Database, policy: Policy, window: str, side: str, now_micros: int) -> None:
    with db.read() as session:
        found = orders.planned(session, side, now_micros)
        block_of = {
            (o.firm_id, o.security_id): child_id("blk", o.firm_id, window, o.security_id, side)
            for o in found
        }
        # A block that the broker may know of takes no more orders; they wait for the next window.
        written = blocks.known(session, sorted(set(block_of.values())))
    pairs = [
        (o.id, block_of[o.firm_id, o.security_id])
        for o in found
        if block_of[o.firm_id, o.security_id] not in written
    ]

    def write(session: Session, part: Sequence[tuple[str, str]]) -> None:
        orders.assign(session, part)

    Turns(db, policy).each(pairs, write)


def _intend(db: Database, broker: Broker, window: str, now_micros: int) -> list[blocks.Block]:
    # Summed before the turn to write: an order that has its block changes no more, and summing
    # those of a night takes a second.
    with db.read() as session:
        sums = blocks.unwritten(session)
        symbols = universe.by_id(session, [one.security_id for one in sums])
    made = [
        blocks.Block(
            id=one.block_id,
            firm_id=one.firm_id,
            window=window,
            broker_account=f"omnibus/{one.firm_id}",
            security_id=one.security_id,
            symbol=symbols[SecurityId(one.security_id)].symbol,
            side=one.side,
            notional_cents=one.notional_cents,
            nanos=one.nanos,
            state="intended",
            broker_order_id=None,
            executed_nanos=0,
            executed_cents=0,
            attempts=0,
            created_at=now_micros,
        )
        for one in sums
    ]
    with db.write() as session:
        blocks.write(session, made, broker.capabilities.name, now_micros)
    return made


def _tell_all(db: Database, broker: Broker, todo: Sequence[blocks.Block], at_micros: int) -> int:
    for start in range(0, len(todo), _OUTCOMES):
        outcomes = [_tell(broker, block) for block in todo[start : start + _OUTCOMES]]
        _record(db, outcomes, at_micros)
    return len(todo)


def _record(db: Database, outcomes: Sequence[blocks.Outcome], at_micros: int) -> None:
    """Write what the broker said; a foreign order under our id is put before the operators once."""
    with db.write() as session:
        foreign = [
            outcome.block_id
            for outcome in outcomes
            if outcome.code == _MISMATCH and blocks.code_of(session, outcome.block_id) != _MISMATCH
        ]
        blocks.record(session, outcomes)
        events.emit(
            session,
            [events.NewEvent("", "break.order", i, f'{{"why":"{_MISMATCH}"}}') for i in foreign],
            at_micros,
        )


def _tell(broker: Broker, block: blocks.Block) -> blocks.Outcome:
    """Tell the broker of a block; return what we know afterwards."""
    ticket = OrderTicket(
        client_id=block.id,
        broker_account=block.broker_account,
        security_id=SecurityId(block.security_id),
        symbol=block.symbol,
        side=Side(block.side),
        notional_cents=block.notional_cents,
        nanos=block.nanos,
    )
    try:
        result = broker.submit(ticket)
    except BrokerUnavailableError as error:
        result = SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
    except BrokerRejectedError as error:
        result = SubmitResult(SubmitStatus.REJECTED, code=error.code, detail=error.detail)
    if result.status is SubmitStatus.DUPLICATE:
        found = _ask(broker, block)
        return found or blocks.Outcome(block.id, "unknown", result.broker_order_id, "duplicate")
    code = result.code
    if result.status is SubmitStatus.REJECTED:
        # The marker makes `collect` end the block: its orders must be freed in turns first.
        code = f"rejected:{result.code or 'broker'}"
    return blocks.Outcome(block.id, _STATE_OF[result.status], result.broker_order_id, code)


def _ask(broker: Broker, block: blocks.Block) -> blocks.Outcome | None:
    """Return what the broker knows of a block; None if it knows nothing, or did not answer."""
    try:
        found = broker.find(block.id)
    except BrokerUnavailableError:
        return None
    if found is None:
        return None
    if _same(block, found):
        return blocks.Outcome(block.id, "open", found.broker_order_id, "adopted")
    # The broker has another order under our id: a person must look.
    return blocks.Outcome(block.id, "unknown", None, _MISMATCH)


def heal(db: Database, broker: Broker, clock: Clock) -> int:
    """Resolve blocks whose telling we did not see the end of; return how many were resolved.

    Asks by client id first. Only if the broker says it has none is the block told again, under the
    same id; and only on the day it was meant for. Later its price, or even what a share is, may be
    another: it ends, and what it was for is planned again.
    """
    at_micros = to_micros(clock.now())
    today = business_date(clock.now())
    with db.read() as session:
        todo = blocks.in_states(session, "intended", "unknown")
    outcomes: list[blocks.Outcome] = []
    for block in todo:
        try:
            unheard = broker.find(block.id) is None
        except BrokerUnavailableError:
            continue
        untouched = unheard and not (block.executed_nanos or block.executed_cents)
        if untouched and business_date(from_micros(block.created_at)) < today:
            outcome: blocks.Outcome | None = blocks.Outcome(block.id, "open", None, _EXPIRED)
        else:
            outcome = _tell(broker, block) if unheard else _ask(broker, block)
        if outcome is not None:
            outcomes.append(outcome)
    _record(db, outcomes, at_micros)
    return len(outcomes)


def _same(block: blocks.Block, found: BrokerOrder) -> bool:
    return (
        found.security_id == block.security_id
        and found.side == block.side
        and found.notional_cents == block.notional_cents
        and found.nanos == block.nanos
    )


def collect(db: Database, keyring: Keyring, broker: Broker, clock: Clock, policy: Policy) -> int:
    """Read what the broker executed, book it, and end what is final; return executions booked."""
    _accept(db, keyring, broker, clock)
    with db.read() as session:
        waiting = blocks.unbooked(session)
    turns = Turns(db, policy)
    booking.book(db, keyring, clock, waiting, turns)
    _finish(db, keyring, broker, clock, turns)
    return len(waiting)


def _accept(db: Database, keyring: Keyring, broker: Broker, clock: Clock) -> None:
    while True:
        with db.read() as session:
            after = cursors.cursor(session, _CURSOR)
        page = broker.executions(after)
        if not page.executions or page.cursor == after:
            return
        at_micros = to_micros(clock.now())
        with db.write() as session:
            if cursors.cursor(session, _CURSOR) != after:
                continue  # another process read this page meanwhile
            known = blocks.accepted(session, [e.id for e in page.executions])
            fresh: dict[str, Execution] = {}
            for told in page.executions:  # a page may repeat itself: the first telling counts
                if told.id not in known:
                    fresh.setdefault(told.id, told)
            ours = blocks.many(session, sorted({e.client_id for e in fresh.values()}))
            why = _objections(list(fresh.values()), ours)
            booked = [_booked(e) for e in fresh.values() if e.id not in why]
            links = [execution.link(ours[execution.block_id].firm_id) for execution in booked]
            chains.append(session, keyring.chain, links, at_micros)
            blocks.accept(session, booked)
            _report(session, [(fresh[i], code) for i, code in why.items()], ours, at_micros)
            cursors.move_cursor(session, _CURSOR, page.cursor)


def _objections(told: Sequence[Execution], ours: Mapping[str, blocks.Block]) -> dict[str, str]:
    """Return execution id -> why it cannot be booked, for those that cannot.

    What a broker says is the world's word, not ours: one execution that cannot be must neither
    be booked nor keep the others from being booked.
    """
    filled = {block.id: (block.executed_nanos, block.executed_cents) for block in ours.values()}
    why: dict[str, str] = {}
    for one in told:
        block = ours.get(one.client_id)
        if block is None:
            why[one.id] = "unknown_order"
            continue
        nanos, cents = filled[block.id]
        nanos, cents = nanos + one.nanos, cents + one.cents
        if (one.security_id, one.side) != (block.security_id, block.side):
            why[one.id] = "another_security_or_side"
        elif one.nanos <= 0 or one.cents < 0 or one.fee_cents < 0:
            why[one.id] = "impossible_size"
        elif block.state in _ENDED:
            why[one.id] = "order_has_ended"
        elif (block.notional_cents or cents) < cents or (block.nanos or nanos) < nanos:
            why[one.id] = "more_than_ordered"
        else:
            filled[block.id] = nanos, cents
    return why


def _booked(execution: Execution) -> blocks.BookedExecution:
    return blocks.BookedExecution(
        id=execution.id,
        block_id=execution.client_id,
        security_id=execution.security_id,
        side=execution.side.value,
        nanos=execution.nanos,
        price_micros=execution.price_micros,
        cents=execution.cents,
        fee_cents=execution.fee_cents,
        executed_at=to_micros(execution.executed_at),
        settles_on=execution.settles_on.isoformat(),
    )


def _report(
    session: Session,
    refused: Sequence[tuple[Execution, str]],
    ours: Mapping[str, blocks.Block],
    at_micros: int,
) -> None:
    """Tell the operators of executions that no order of ours explains; they are never booked."""
    events.emit(
        session,
        [
            events.NewEvent(
                ours[e.client_id].firm_id if e.client_id in ours else "",
                "broker.unknown_execution" if code == "unknown_order" else "break.execution",
                e.id,
                json.dumps({"client_id": e.client_id, "why": code}),
            )
            for e, code in refused
        ],
        at_micros,
    )


def _finish(db: Database, keyring: Keyring, broker: Broker, clock: Clock, turns: Turns) -> None:
    with db.read() as session:
        open_blocks = [
            (block, blocks.has_unbooked(session, block.id), blocks.code_of(session, block.id))
            for block in blocks.in_states(session, "open")
        ]
    for block, busy, code in open_blocks:
        if busy:
            continue
        if code.startswith("rejected:"):
            booking.close_block(db, keyring, clock, block, turns, rejected=True, code=code)
            continue
        try:
            found = broker.find(block.id)
        except BrokerUnavailableError:
            continue
        if found is None or not found.state.final:
            continue
        if (found.filled_nanos, found.filled_cents) != (block.executed_nanos, block.executed_cents):
            continue  # executions that the next page brings
        rejected = found.state is BrokerOrderState.REJECTED
        booking.close_block(db, keyring, clock, block, turns, rejected=rejected, code=found.code)
