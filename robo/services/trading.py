"""The one sender: planned orders become blocks, blocks become broker orders, executions come back.

Write, tell, write. A block is written before the broker hears of it; its id is the client id. An
outcome that we did not see is unknown, never failed, and is healed by asking with the same id.
"""

import json
from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
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
from robo.store import blocks, chains, events, orders, universe
from robo.store.database import Database
from robo.store.keyring import Keyring

_OUTCOMES: Final = 25
"""Outcomes written together; after a crash, those of a batch are asked for again."""
_CURSOR: Final = "executions"
_STATE_OF: Final = {
    SubmitStatus.ACCEPTED: "open",
    SubmitStatus.DUPLICATE: "open",
    SubmitStatus.REJECTED: "open",
    SubmitStatus.UNKNOWN: "unknown",
    SubmitStatus.THROTTLED: "intended",
}


def send(db: Database, broker: Broker, clock: Clock, policy: Policy, window: str) -> int:
    """Send everything that is planned, sells before buys; return how many blocks were told.

    Orders of different customers are aggregated, never crossed. What an earlier run had intended
    and not told is healed first, with the same ids.
    """
    heal(db, broker, clock)
    sent = 0
    now = to_micros(clock.now())
    for side in ("sell", "buy"):
        _assign(db, policy, window, side, now)
        sent += _tell_all(db, broker, _intend(db, broker, window, now))
    return sent


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
    with db.write() as session:
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
            )
            for one in sums
        ]
        blocks.write(session, made, broker.capabilities.name, now_micros)
    return made


def _tell_all(db: Database, broker: Broker, todo: Sequence[blocks.Block]) -> int:
    for start in range(0, len(todo), _OUTCOMES):
        part = todo[start : start + _OUTCOMES]
        outcomes = [_outcome(block, _tell(broker, block)) for block in part]
        with db.write() as session:
            blocks.record(session, outcomes)
    return len(todo)


def _tell(broker: Broker, block: blocks.Block) -> SubmitResult:
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
        return broker.submit(ticket)
    except BrokerUnavailableError as error:
        return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)


def _outcome(block: blocks.Block, result: SubmitResult) -> blocks.Outcome:
    code = result.code
    if result.status is SubmitStatus.REJECTED:
        # The marker makes `collect` end the block: its orders must be freed in turns first.
        code = f"rejected:{result.code or 'broker'}"
    return blocks.Outcome(block.id, _STATE_OF[result.status], result.broker_order_id, code)


def heal(db: Database, broker: Broker, clock: Clock) -> int:
    """Resolve blocks whose telling we did not see the end of; return how many were resolved.

    Asks by client id first. Only if the broker says it has none is the block told again, under the
    same id.
    """
    resolved = _tell_again(db, broker)
    # A crash between assigning orders and writing their block leaves orders without a block.
    left = _intend(db, broker, "healed", to_micros(clock.now()))
    return resolved + _tell_all(db, broker, left)


def _tell_again(db: Database, broker: Broker) -> int:
    with db.read() as session:
        todo = blocks.in_states(session, "intended", "unknown")
    outcomes: list[blocks.Outcome] = []
    for block in todo:
        try:
            found = broker.find(block.id)
        except BrokerUnavailableError:
            continue
        if found is None:
            outcomes.append(_outcome(block, _tell(broker, block)))
        elif _same(block, found):
            outcomes.append(blocks.Outcome(block.id, "open", found.broker_order_id, "adopted"))
        else:
            # The broker has another order under our id: a person must look.
            outcomes.append(blocks.Outcome(block.id, "unknown", None, "client_id_mismatch"))
    with db.write() as session:
        blocks.record(session, outcomes)
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
            after = blocks.cursor(session, _CURSOR)
        page = broker.executions(after)
        if not page.executions:
            return
        at_micros = to_micros(clock.now())
        with db.write() as session:
            if blocks.cursor(session, _CURSOR) != after:
                continue  # another process read this page meanwhile
            known = blocks.accepted(session, [e.id for e in page.executions])
            fresh = [e for e in page.executions if e.id not in known]
            ours = blocks.firms_of(session, sorted({e.client_id for e in fresh}))
            booked = [_booked(e) for e in fresh if e.client_id in ours]
            strangers = [e for e in fresh if e.client_id not in ours]
            links = [execution.link(ours[execution.block_id]) for execution in booked]
            chains.append(session, keyring.chain, links, at_micros)
            blocks.accept(session, booked)
            _report_strangers(session, strangers, at_micros)
            blocks.move_cursor(session, _CURSOR, page.cursor)


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


def _report_strangers(session: Session, strangers: Sequence[Execution], at_micros: int) -> None:
    """Tell the operators of executions that no order of ours caused; they are never booked."""
    events.emit(
        session,
        [
            events.NewEvent(
                "", "broker.unknown_execution", e.id, json.dumps({"client_id": e.client_id})
            )
            for e in strangers
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
