"""The one sender: planned orders become blocks, blocks become broker orders, executions come back.

Write, tell, write. A block is written before the broker hears of it; its id is the client id. An
outcome that we did not see is unknown, never failed, and is healed by asking with the same id.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.ids import SecurityId, child_id
from robo.core.policy import Policy
from robo.ports.broker import AccountModel, Broker
from robo.services import (
    guarding,
    healing,
    permitting,
    sizing,
    telling,
)
from robo.services.turns import Turns
from robo.store import blocks, controls, events, orders, tellings, universe, windows
from robo.store.database import Database

_OUTCOMES: Final = 25
"""Outcomes written together; after a crash, those of a batch are asked for again."""
_DENIED_MAX: Final = 3
"""Accounts in a row in which our keys may not trade: then it is the keys, and the run ends."""
_GRAVE: Final = frozenset({telling.MISMATCH, telling.DENIED, telling.UNASKABLE})
"""What a person must see: a foreign order under our id; one that nobody can ask for; an account
where we may not trade."""
_tell = telling.tell


def send(
    db: Database,
    broker: Broker,
    clock: Clock,
    policy: Policy,
    window: str,
    desk: guarding.Desk | None = None,
) -> int:
    """Send everything that is planned, sells before buys; return how many blocks were told.

    Orders of different customers are aggregated, never crossed. What an earlier run had intended
    and not told is healed first, with the same ids. Blocks are written once every order of the
    window has its block, so that a window that crashed in between is completed, not cut in two.

    Args:
        db: Owns its transactions.
        broker: Where orders go.
        clock: The present instant.
        policy: Limits.
        window: Names this run; the same window makes the same blocks.
        desk: What the guards look at. Without it only the kill switch and breaks hold orders.
    """
    heal(db, broker, clock, policy, desk)
    now = to_micros(clock.now())
    review = guarding.review(db, broker, clock, policy, desk)
    for side in ("sell", "buy"):
        _assign(db, broker, policy, window, side, now, review.held)
    gate = permitting.Gate(db, broker, clock, policy, desk)
    return _tell_all(db, broker, _intend(db, broker, window, now, review.sizes), gate)


def _assign(
    db: Database,
    broker: Broker,
    policy: Policy,
    window: str,
    side: str,
    now_micros: int,
    held: Collection[str],
) -> None:
    apart = broker.capabilities.account_model is AccountModel.SEGREGATED
    with db.read() as session:
        found = [one for one in windows.planned(session, side, now_micros) if one.id not in held]
        # A night's million orders share a few hundred blocks: each name is made once.
        keys = [(one.account_id if apart else one.firm_id, one.security_id) for one in found]
        block_of = {
            (owner, security): child_id("blk", owner, window, security, side)
            for owner, security in set(keys)
        }
        # A block that the broker may know of takes no more orders; they wait for the next window.
        written = tellings.known(session, sorted(block_of.values()))
    pairs = [
        (one.id, block_of[key])
        for one, key in zip(found, keys, strict=True)
        if block_of[key] not in written
    ]

    def write(session: Session, part: Sequence[tuple[str, str]]) -> None:
        orders.assign(session, part)

    Turns(db, policy).each(pairs, write)


def _intend(
    db: Database,
    broker: Broker,
    window: str,
    now_micros: int,
    sizes: sizing.Sizes | None = None,
) -> list[blocks.Block]:
    # Summed before the turn to write: an order that has its block changes no more, and summing
    # those of a night takes a second.
    with db.read() as session:
        sums = blocks.unwritten(session)
        begun = blocks.in_states(session, *blocks.OPEN) if sizes and sizes.own_nanos else []
        symbols = universe.by_id(session, [one.security_id for one in sums])
        places = _places(session, broker, sums)
    made: list[blocks.Block] = []
    put_back: list[str] = []
    told_by = sizes or sizing.AS_ORDERED
    busy = {(one.firm_id, one.security_id) for one in begun}
    for one in sums:
        size, name = told_by.of(one), (one.firm_id, one.security_id)
        # Whatever the guards saw: blocks that count on what the firm holds go one at a time.
        in_vain = name in busy and told_by.deals(*name)
        if size is None or in_vain or one.block_id not in places:
            put_back.append(one.block_id)
            continue
        busy.add(name)
        made.append(
            blocks.Block(
                id=one.block_id,
                firm_id=one.firm_id,
                window=window,
                broker_account=places[one.block_id],
                security_id=one.security_id,
                symbol=symbols[SecurityId(one.security_id)].symbol,
                side=one.side,
                notional_cents=size.notional_cents,
                nanos=size.nanos,
                state="intended",
                broker_order_id=None,
                executed_nanos=0,
                executed_cents=0,
                attempts=0,
                created_at=now_micros,
            )
        )
    with db.write() as session:
        windows.put_back(session, put_back)
        blocks.write(session, made, broker.capabilities.name, now_micros)
    return made


def _places(session: Session, broker: Broker, sums: Sequence[blocks.BlockSum]) -> dict[str, str]:
    """Return block -> the broker's account that it trades in."""
    if broker.capabilities.account_model is AccountModel.OMNIBUS:
        return {one.block_id: f"omnibus/{one.firm_id}" for one in sums}
    known = controls.broker_accounts(session, [one.account_id for one in sums])
    return {one.block_id: known[one.account_id] for one in sums if one.account_id in known}


def _tell_all(
    db: Database, broker: Broker, todo: Sequence[blocks.Block], gate: permitting.Gate
) -> int:
    """Tell blocks in order, each if nothing speaks against it now; a throttle ends the run."""
    gate.expect(todo)
    throttled = False
    told = denied = 0
    for start in range(0, len(todo), _OUTCOMES):
        part = todo[start : start + _OUTCOMES]
        begun = set() if throttled else _begin(db, gate, part)
        outcomes: list[blocks.Outcome] = []
        for block in part:
            why = telling.THROTTLED if throttled else gate.why(block)
            if why:
                outcomes += _held_back(block, why, begun=block.id in begun)
                continue
            outcome = _tell(broker, block)
            outcomes.append(outcome)
            denied = denied + 1 if outcome.code == telling.DENIED else 0
            throttled = outcome.code == telling.THROTTLED or denied >= _DENIED_MAX
            told += not throttled
            if outcome.code in telling.PAUSED:
                gate.hold(block.broker_account)
        unwanted = [one.block_id for one in outcomes if one.code == telling.RESTRICTED]
        apart = {block_id: gate.restricted(block_id) for block_id in unwanted}
        at_micros = to_micros(gate.clock.now())
        _record(db, outcomes, at_micros, {block.id: block for block in part}, apart)
    return told


def _begin(db: Database, gate: permitting.Gate, part: Sequence[blocks.Block]) -> set[str]:
    """Write down which blocks are told once more; from here on they may have arrived."""
    again = [one.id for one in part if (one.code or one.asks) and not gate.why(one)]
    if again:
        with db.write() as session:
            tellings.begin_telling(session, again)
    return set(again)


def _held_back(block: blocks.Block, why: str, *, begun: bool) -> list[blocks.Outcome]:
    """Return what to write of a block that is not told now; nothing where that is known."""
    if not begun and block.code and why == telling.THROTTLED:
        return []
    outcome = telling.not_taken(block, why, told=False)
    same = (outcome.state, outcome.code) == (block.state, block.code)
    return [] if same and not begun else [outcome]


def _record(
    db: Database,
    outcomes: Sequence[blocks.Outcome],
    at_micros: int,
    told: Mapping[str, blocks.Block] | None = None,
    apart: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Write what the broker said; what a person must see is put before the operators once.

    Args:
        db: Owns one transaction.
        outcomes: What it said, or why it was not told.
        at_micros: When.
        told: The blocks that were told.
        apart: Blocks that end untold -> the orders for which they end; the others go another time.
    """
    if not outcomes:
        return
    with db.write() as session:
        grave = [
            (outcome.block_id, outcome.code)
            for outcome in outcomes
            if outcome.code in _GRAVE
            and tellings.code_of(session, outcome.block_id) != outcome.code
        ]
        windows.put_back_others(session, apart or {})
        blocks.record(session, outcomes, at_micros)
        controls.put_tradability(session, sizing.learnt(outcomes, told or {}, at_micros))
        events.emit(
            session,
            [events.NewEvent("", "break.order", i, f'{{"why":"{why}"}}') for i, why in grave],
            at_micros,
        )


def heal(
    db: Database,
    broker: Broker,
    clock: Clock,
    policy: Policy,
    desk: guarding.Desk | None = None,
) -> int:
    """Resolve blocks whose telling we did not see the end of; return how many were resolved.

    Asks by client id first. Where a broker's lists lag, one "not found" is no proof: it must say so
    `unheard_asks_min` times over `find_lag_seconds`. Only then is the block told again, under the
    same id; and only on the day it was meant for. Later its price, or even what a share is, may be
    another: it ends, and what it was for is planned again. A refusal of the second telling ends it
    only once the broker has gone on saying so for `doubt_seconds_min`.
    """
    at_micros = to_micros(clock.now())
    with db.read() as session:
        waiting = blocks.in_states(session, "intended", "unknown")
        todo = [block for block in waiting if not healing.must_wait(session, block, at_micros)]
    outcomes: list[blocks.Outcome] = []
    again: list[blocks.Block] = []
    unheard: list[str] = []
    for block in todo:
        verdict = healing.verdict(broker, clock, policy, block)
        if verdict.outcome is not None:
            outcomes.append(verdict.outcome)
        elif verdict.step is healing.Step.TELL:
            again.append(block)
        elif verdict.step is healing.Step.COUNT:
            unheard.append(block.id)
    _record(db, outcomes, at_micros, {block.id: block for block in todo})
    if unheard:
        with db.write() as session:
            tellings.record_unheard(session, unheard, at_micros)
    _tell_all(db, broker, again, permitting.Gate(db, broker, clock, policy, desk))
    return len(outcomes) + len(again)
