"""How a block is told to the broker, and what an answer means for it.

An outcome that we did not see is `unknown`, never failed. What a broker has surely not taken stays
`intended`, with the reason; everything else that we hear of is `open` until it is final.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from robo.core.clock import to_micros
from robo.core.errors import BrokerRejectedError, BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports import precheck
from robo.ports.broker import (
    AccountModel,
    Broker,
    BrokerOrder,
    OrderTicket,
    Refusal,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.store.blocks import Block, Outcome

MISMATCH: Final = "client_id_mismatch"
EXPIRED: Final = "rejected:expired"
ENDED: Final = "rejected:operator"
"""A person has ended it (`resolving`)."""
RESTRICTED: Final = f"rejected:{Reason.REFUSE_RESTRICTED}"
"""A customer with an order in it wants it no more; it was never taken."""
THROTTLED: Final = "throttled"
STOPPED: Final = "stopped"
"""The kill switch was thrown before it was told."""
DUPLICATE: Final = "duplicate"
DECLINED: Final = "declined:"
"""How the code begins of a block that was refused after a telling whose end we did not see. The
refusal is of the later telling, and may come of the first: its order holds the cash or the shares.
So it ends nothing by itself (`healing`)."""
UNASKABLE: Final = "no_lookup"
"""It may have arrived, the broker finds no order by our id, and telling it again could double it,
or is too late: a person looks."""
OPPOSITE: Final = "opposite_order"
HELD: Final = "account_stopped"
"""The broker takes nothing for this one account now."""
DENIED: Final = "account_denied"
"""The broker says that our keys may not trade in this account; in any, if it says so of several."""
PAUSED: Final = frozenset({HELD, DENIED})
"""What stops one account for a while, and nobody else's."""
_NOT_TAKEN: Final = frozenset({THROTTLED, STOPPED, OPPOSITE, *PAUSED})
CODE_MAX: Final = 100
_WAITS: Final = "wait_"
_REFUSES: Final = "refuse_"
"""How the codes of the guards begin (`robo.core.reasons`)."""
_STATE_OF: Final[Mapping[SubmitStatus, str]] = {
    SubmitStatus.ACCEPTED: "open",
    SubmitStatus.UNKNOWN: "unknown",
    SubmitStatus.THROTTLED: "intended",
}


def ticket(block: Block) -> OrderTicket:
    """Return a block as the broker is told it; its id is the client id, whatever happens."""
    return OrderTicket(
        client_id=block.id,
        broker_account=block.broker_account,
        security_id=SecurityId(block.security_id),
        symbol=block.symbol,
        side=Side(block.side),
        notional_cents=block.notional_cents,
        nanos=block.nanos,
    )


def tell(broker: Broker, block: Block) -> Outcome:
    """Tell the broker of a block; return what we know afterwards."""
    told = ticket(block)
    try:
        fault = precheck.check(told, broker.capabilities)
        result = broker.submit(told) if fault is None else precheck.refused(fault)
    except BrokerUnavailableError as error:
        result = SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
    except BrokerRejectedError as error:
        result = SubmitResult(SubmitStatus.REJECTED, code=error.code, detail=error.detail)
    if result.status is SubmitStatus.DUPLICATE:
        found = ask(broker, block)
        return found or Outcome(block.id, "unknown", result.broker_order_id, DUPLICATE)
    if result.refusal is Refusal.OPPOSITE_ORDER:
        return not_taken(block, OPPOSITE)
    if result.status is SubmitStatus.THROTTLED:
        # What stops one account says nothing of the others; anything else ends the run.
        held = not_taken(block, _paused(broker, result.refusal) or THROTTLED)
        return replace(held, said=result.code[:CODE_MAX])
    if result.refusal is Refusal.CLIENT_ID_TAKEN:
        another = result.status is SubmitStatus.REJECTED
        return Outcome(block.id, "unknown", None, MISMATCH if another else DUPLICATE)
    if result.status is SubmitStatus.REJECTED:
        return _refused(block, result)
    code = _kept(block, result.code) if result.status is SubmitStatus.UNKNOWN else result.code
    return Outcome(block.id, _STATE_OF[result.status], result.broker_order_id, code)


def _refused(block: Block, result: SubmitResult) -> Outcome:
    """Return the outcome of a refusal: of a block that may have arrived before, it is no proof."""
    why = str(result.refusal or result.code or "broker")
    said = result.code[:CODE_MAX]
    if block.state == "unknown":
        return Outcome(block.id, "unknown", None, _kept(block, DECLINED + why), said=said)
    return rejected(block.id, why, result.broker_order_id)


def rejected(block_id: str, why: str, broker_order_id: str | None = None) -> Outcome:
    """Return the outcome of a block that is surely not at the broker.

    The marker makes `collect` end it: its orders must be freed in turns first.
    """
    return Outcome(block_id, "open", broker_order_id, f"rejected:{why}")


def _kept(block: Block, code: str) -> str:
    """Return the code of a block that stays unknown: that its id is taken proves an order."""
    return DUPLICATE if block.code == DUPLICATE else code


def _paused(broker: Broker, refusal: Refusal) -> str:
    """Return the code by which a refusal stops its account only; empty if it stops them all."""
    if refusal is Refusal.ACCOUNT:
        return HELD
    apart = broker.capabilities.account_model is AccountModel.SEGREGATED
    return DENIED if apart and refusal is Refusal.CREDENTIALS else ""


def is_not_taken(code: str) -> bool:
    """Return whether a code says that the broker has not taken a block, or was not told of it."""
    return code in _NOT_TAKEN or code.startswith(_WAITS)


def not_taken(block: Block, code: str, *, told: bool = True) -> Outcome:
    """Return the outcome of a block that the broker has not taken this time, or was not told of.

    That proves nothing of an earlier telling whose end we did not see: such a block stays unknown,
    and is asked for before anything else becomes of it.

    Args:
        block: As it was before.
        code: Why.
        told: Whether the broker was told at all.
    """
    if block.state == "unknown":
        return Outcome(block.id, "unknown", None, _kept(block, code), told)
    if code.startswith(_REFUSES):
        return replace(rejected(block.id, code), told=told)
    return Outcome(block.id, "intended", None, code, told)


def overdue_since(calendar: MarketCalendar, now: datetime, policy: Policy) -> int:
    """Return the instant, in microseconds, before which an order was made that should have ended.

    A day order lives until a session closes: one told on a Friday evening is alive on Monday.
    """
    return to_micros(calendar.last_close(now - timedelta(hours=policy.block_hours_max)))


def is_stuck(block: Block, since_micros: int) -> bool:
    """Return whether a block needs a person: somebody else's order, or one that is overdue."""
    if block.state not in {"intended", "open", "unknown"}:
        return False
    if block.state == "intended" and is_not_taken(block.code):
        # It is told, or ends, by itself; an account that stands still is another thing.
        return False
    return block.code in {MISMATCH, UNASKABLE} or block.created_at < since_micros


def ask(broker: Broker, block: Block) -> Outcome | None:
    """Return what the broker knows of a block; None if it knows nothing, or did not answer."""
    try:
        found = broker.find(block.id)
    except BrokerUnavailableError:
        return None
    return None if found is None else adopt(block, found)


def adopt(block: Block, found: BrokerOrder) -> Outcome:
    """Return the outcome for an order of the broker's under a block's id: ours, or a stranger."""
    if same(block, found):
        return Outcome(block.id, "open", found.broker_order_id, "adopted")
    # The broker has another order under our id: a person must look.
    return Outcome(block.id, "unknown", None, MISMATCH)


def same(block: Block, found: BrokerOrder) -> bool:
    """Return whether an order of the broker's is a block's, field by field."""
    return (
        in_place(block, found)
        and found.security_id == block.security_id
        and found.notional_cents == block.notional_cents
        and found.nanos == block.nanos
    )


def in_place(block: Block, found: BrokerOrder) -> bool:
    """Return whether an order under a block's id is in its account and on its side.

    Such a one is taken as ours, whatever its size and name: brokers restate sizes, symbols change.
    """
    return found.side == block.side and found.broker_account in {"", block.broker_account}


def is_told(block: Block, found: BrokerOrder, beside: tuple[int, int]) -> bool:
    """Return whether everything that the broker counts as executed has been told to us.

    Args:
        block: With what was accepted of it.
        found: The broker's order.
        beside: Nanoshares and cents of its executions that were told and not accepted.
    """
    told = (block.executed_nanos + beside[0], block.executed_cents + beside[1])
    return (found.filled_nanos, found.filled_cents) == told
