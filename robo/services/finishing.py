"""What the broker executed is read and booked, and orders that are final there end in the books."""

from collections.abc import Sequence
from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.policy import Policy
from robo.ports.broker import Broker, BrokerOrder, BrokerOrderState
from robo.services import awaiting, booking, healing, hearing, telling, undoing
from robo.services.turns import Turns
from robo.store import blocks, strays, tellings
from robo.store.database import Database
from robo.store.keyring import Keyring

_ONE_BY_ONE_MAX: Final = 20
"""Open orders that are asked for one by one; more are compared with the broker's list."""
_PAUSE_MICROS: Final = healing.HELD_SECONDS * 1_000_000
"""How long a refused order that has traded, and is not shown, is left alone after a question."""


def collect(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    policy: Policy,
    until_micros: int | None = None,
) -> int:
    """Read what the broker executed, book it, and end what is final; return executions booked.

    Args:
        db: Owns short transactions.
        keyring: Signs the chains.
        broker: Who tells.
        clock: When the books learn of it.
        policy: Business numbers.
        until_micros: What was executed from then on is read, and not booked yet
            (`awaiting.day_to_come`); None for no bound.

    Raises:
        BrokerUnavailableError: If the broker did not tell everything; what it told before, now or
            in an earlier run, is booked all the same.
    """
    unheard: BrokerUnavailableError | None = None
    try:
        hearing.accept(db, keyring, broker, clock)
    except BrokerUnavailableError as error:
        unheard = error
    turns = Turns(db, policy)
    undoing.undo(db, keyring, clock, turns, until_micros)
    booked = _book(db, keyring, clock, turns, until_micros)
    _finish(db, keyring, broker, clock, turns)
    if unheard is not None:
        raise unheard
    return booked


def book_until(
    db: Database, keyring: Keyring, clock: Clock, policy: Policy, until_micros: int
) -> int:
    """Book what has been read and was executed before an instant; return how many executions.

    The broker is not asked. For sessions that are made up for one after the other: the actions of
    each come after all that was executed before it, and before all that was executed on it.
    """
    return _book(db, keyring, clock, Turns(db, policy), until_micros)


def _book(
    db: Database, keyring: Keyring, clock: Clock, turns: Turns, until_micros: int | None
) -> int:
    with db.read() as session:
        waiting = blocks.unbooked(session)
    if until_micros is not None:
        waiting = awaiting.executed_before(waiting, until_micros)
    return booking.book(db, keyring, clock, waiting, turns) if waiting else 0


def _finish(db: Database, keyring: Keyring, broker: Broker, clock: Clock, turns: Turns) -> None:
    """End the blocks that are final at the broker and fully booked."""
    with db.read() as session:
        busy = tellings.with_unbooked(session)
        ready = [one for one in blocks.in_states(session, "open") if one.id not in busy]
    refused = [one for one in ready if one.code.startswith("rejected:")]
    for block in _over(db, broker, clock, refused):
        booking.close_block(db, keyring, clock, block, turns, rejected=True, code=block.code)
    told = [one for one in ready if not one.code.startswith("rejected:")]
    with db.read() as session:
        refused_of = strays.sums(session, [one.id for one in told])
    final: dict[str, BrokerOrder] = {}
    mine: list[blocks.Block] = []
    for block in _perhaps_final(broker, told):
        found = _found(broker, block.id)
        more = refused_of.get(block.id, (0, 0))
        # Where the broker counts more, the next page brings the executions; what could not be
        # accepted waits for a person, and its order for nobody.
        if found and found.state.final and telling.is_told(block, found, more):
            final[block.id] = found
            mine.append(block)
    ended = [
        (one, final[one.id].code, final[one.id].state is BrokerOrderState.REJECTED) for one in mine
    ]
    open_still = {one.id for one in booking.close_complete(db, clock, ended)}
    for block, code, rejected in ended:
        if block.id in open_still:
            booking.close_block(db, keyring, clock, block, turns, rejected=rejected, code=code)


def _over(
    db: Database, broker: Broker, clock: Clock, refused: Sequence[blocks.Block]
) -> list[blocks.Block]:
    """Return those of refused blocks that may end: the broker has nothing (more) of them.

    Asked for once more is what a person ended, what may have arrived in an earlier telling, and
    what has traded. What has turned up is an order of ours again: its cash must not be freed.
    """
    doubted: list[blocks.Block] = []
    over: list[blocks.Block] = []
    now_micros = to_micros(clock.now())
    for block in refused:
        if _is_a_persons(block) and now_micros - block.asked_at < _PAUSE_MICROS:
            continue
        doubtful = block.code == telling.ENDED or block.asks or _traded(block)
        (doubted if doubtful else over).append(block)
    with db.read() as session:
        beside = strays.sums(session, [one.id for one in doubted])
    back: list[blocks.Outcome] = []
    missing: list[str] = []
    for block in doubted:
        try:
            found = broker.find(block.id)
        except BrokerUnavailableError:
            continue
        if _is_over(block, found, beside.get(block.id, (0, 0))):
            over.append(block)
        elif found is not None:
            back.append(telling.adopt(block, found))
        else:
            missing.append(block.id)
    if back or missing:
        with db.write() as session:
            blocks.record(session, back, now_micros)
            tellings.record_missing(session, missing, now_micros)
    return over


def _is_a_persons(block: blocks.Block) -> bool:
    """Return whether a refused block has traded: while the broker shows no order, none ends it."""
    return block.code != telling.ENDED and _traded(block)


def _traded(block: blocks.Block) -> bool:
    return bool(block.executed_nanos or block.executed_cents)


def _is_over(block: blocks.Block, found: BrokerOrder | None, beside: tuple[int, int]) -> bool:
    """Return whether a block may end, by what the broker has under its id now."""
    if block.code != telling.ENDED:
        return found is None and not _traded(block)  # traded, it is there whatever the list says
    if found is None or not telling.in_place(block, found):
        return True
    return found.state.final and telling.is_told(block, found, beside)


def _perhaps_final(broker: Broker, open_blocks: Sequence[blocks.Block]) -> list[blocks.Block]:
    """Leave out what the broker lists as open: one request an account instead of one an order."""
    by_account: dict[str, list[blocks.Block]] = {}
    for block in open_blocks:
        by_account.setdefault(block.broker_account, []).append(block)
    found: list[blocks.Block] = []
    for account, mine in by_account.items():
        if len(mine) <= _ONE_BY_ONE_MAX:
            found += mine
            continue
        try:
            still = {one.client_id for one in broker.mass_status(account).open_orders}
        except BrokerUnavailableError:
            continue
        found += [block for block in mine if block.id not in still]
    return found


def _found(broker: Broker, block_id: str) -> BrokerOrder | None:
    try:
        return broker.find(block_id)
    except BrokerUnavailableError:
        return None
