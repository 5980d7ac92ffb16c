"""What a person decides about a broker order, or an execution, that nothing else can settle.

An order under our id that is somebody else's, one that never ends, an execution beyond its order:
the books wait for a person. Each decision is in the firm's audit trail, with its reason.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, from_micros, to_micros
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import Broker, BrokerOrder, Execution, ExecutionKind, Side
from robo.services import hearing, licensing, telling
from robo.store import blocks, breaks, strays
from robo.store.blocks import Block, Outcome
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.strays import Stray

_NOTE_MAX: Final = 500
_MICROS: Final = 1_000_000


class OrderVerdict(StrEnum):
    """What is decided of a broker order."""

    ADOPT = "adopt"
    """What the broker has under this id is ours, though it is of another size than was told."""
    END = "end"
    """It is not there, or over with every execution told, or in another account or on the other
    side: its orders end, and what is left is planned anew."""


class ExecutionVerdict(StrEnum):
    """What is decided of an execution that could not be accepted."""

    ADOPT = "adopt"
    """It happened: it is booked, and what goes beyond its order is the firm's."""
    DISMISS = "dismiss"
    """It did not happen, or is none of ours."""


@dataclass(frozen=True, slots=True)
class Word:
    """Who decided, and why."""

    note: str
    actor: str

    def checked(self) -> str:
        """Return the note.

        Raises:
            InvalidInputError: If it is empty or too long.
        """
        told = self.note.strip()
        if not 0 < len(told) <= _NOTE_MAX:
            message = f"Say why, in at most {_NOTE_MAX} characters."
            raise InvalidInputError(message, code="note_missing", fields={"note": [message]})
        return told


def order(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    block_id: str,
    verdict: OrderVerdict,
    word: Word,
) -> Block:
    """Settle a broker order that waits for a person, and return it; `collect` does the rest.

    Raises:
        NotFoundError: If there is no such order.
        ConflictError: If it waits for nobody, or is alive at the broker, or is none of ours there,
            or was executed and the executions have not been told.
        InvalidInputError: If the note is missing.
        BrokerUnavailableError: If the broker did not answer; nothing was decided.
    """
    note = word.checked()
    now = clock.now()
    at_micros, overdue = to_micros(now), telling.overdue_since(calendar, now, policy)
    with db.read() as session:
        seen = _stuck(session, block_id, overdue)
    found = broker.find(block_id)
    if verdict is OrderVerdict.ADOPT:
        outcome = _adopted(seen, found)
    else:
        with db.read() as session:
            beside = strays.sums(session, [block_id]).get(block_id, (0, 0))
        outcome = _ended(broker, seen, found, beside, at_micros)
    with db.write() as session:
        if _stuck(session, block_id, overdue) != seen:
            message = "It has changed meanwhile: look again."
            raise ConflictError(message, code="changed")
        blocks.record(session, [outcome], at_micros)
        detail = {"note": note, "code": seen.code, "broker_order": bool(found)}
        action = f"order.{verdict.value}"
        licensing.record(
            session, keyring, seen.firm_id, word.actor, action, block_id, detail, at_micros
        )
        settled = blocks.get(session, block_id)
    assert settled is not None
    return settled


def _stuck(session: Session, block_id: str, overdue_since: int) -> Block:
    block = blocks.get(session, block_id)
    if block is None:
        message = "There is no such order."
        raise NotFoundError(message)
    if not telling.is_stuck(block, overdue_since):
        message = "This order waits for no decision."
        raise ConflictError(message, code="not_stuck")
    return block


def _adopted(block: Block, found: BrokerOrder | None) -> Outcome:
    if (
        found is None
        or found.security_id != block.security_id
        or not telling.in_place(block, found)
    ):
        message = "The broker has no such order, or one of another name, side or account."
        raise ConflictError(message, code="order_mismatch")
    return Outcome(block.id, "open", found.broker_order_id, "adopted")


def _ended(
    broker: Broker,
    block: Block,
    found: BrokerOrder | None,
    beside: tuple[int, int],
    at_micros: int,
) -> Outcome:
    if found is not None and telling.in_place(block, found):
        if not found.state.final:
            message = "The order is alive at the broker: cancel it there first."
            raise ConflictError(message, code="order_is_live")
        if not telling.is_told(block, found, beside):
            message = "It was executed at the broker, and the executions have not been told yet."
            raise ConflictError(message, code="executions_missing")
    lag = broker.capabilities.find_lag_seconds * _MICROS
    if found is None and at_micros - block.told_at < lag:
        message = "The broker may not show it yet: try again in a few minutes."
        raise ConflictError(message, code="too_early")
    return Outcome(block.id, "open", None, telling.ENDED)


def execution(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    stray_id: str,
    verdict: ExecutionVerdict,
    word: Word,
) -> Stray:
    """Settle an execution that could not be accepted, and return it; `collect` books it.

    Raises:
        NotFoundError: If there is no such execution.
        ConflictError: If it waits for no decision, or cannot be booked whoever wants it.
        InvalidInputError: If the note is missing.
    """
    note = word.checked()
    at_micros = to_micros(clock.now())
    with db.write() as session:
        stray = strays.get(session, stray_id)
        if stray is None:
            message = "There is no such execution."
            raise NotFoundError(message)
        if stray.state != "open":
            message = "This execution waits for no decision."
            raise ConflictError(message, code="not_open")
        adopt = verdict is ExecutionVerdict.ADOPT
        if adopt and hearing.take(session, keyring, [_told(stray)], at_micros, adopted=True):
            message = "No order of ours can hold it: of that name, side and at most twice its size."
            raise ConflictError(message, code="cannot_be_booked")
        state = "adopted" if adopt else "dismissed"
        strays.close(session, stray_id, state, word.actor, at_micros)
        block = blocks.get(session, stray.client_id)
        if block is not None:
            named = strays.difference(stray, block, None).id
            breaks.close(session, named, "repaired", word.actor, note, at_micros)
            licensing.record(
                session,
                keyring,
                block.firm_id,
                word.actor,
                f"execution.{verdict.value}",
                stray_id,
                {"note": note, "why": stray.why},
                at_micros,
            )
        settled = strays.get(session, stray_id)
    assert settled is not None
    return settled


def _told(stray: Stray) -> Execution:
    """Return a stray as the broker told it."""
    at = from_micros(stray.executed_at)
    return Execution(
        id=stray.id,
        client_id=stray.client_id,
        security_id=SecurityId(stray.security_id),
        side=Side(stray.side),
        nanos=stray.nanos,
        price_micros=stray.price_micros,
        cents=stray.cents,
        fee_cents=stray.fee_cents,
        executed_at=at,
        settles_on=at.date().fromisoformat(stray.settles_on),
        kind=ExecutionKind.BUST if stray.busts else ExecutionKind.TRADE,
        busts=stray.busts,
    )
