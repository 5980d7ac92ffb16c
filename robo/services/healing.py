"""What becomes of a block whose telling we did not see the end of: adopt, wait, tell again, end.

Asks by client id first. Where a broker's lists lag behind, one "not found" is no proof: it must
say so several times over a while. Only then is the block told again, under the same id, and only
on the day it was meant for; later its price, or even what a share is, may be another.

A refusal of that second telling is no proof either: the first may have arrived, and hold the very
cash that is missing now. The block keeps what it reserves, and is asked for until the broker has
said for long enough after the refusal that it has no such order.

What the broker does with ids decides (`client_id_rule`, `find_by_client_id`): where it takes an id
twice, and finds nothing by it, nothing is ever told again. A person looks.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.policy import Policy
from robo.ports.broker import Broker, Capabilities
from robo.ports.terms import ClientIdRule
from robo.services import telling
from robo.store import blocks, standstills, tellings

_MICROS: int = 1_000_000
HELD_SECONDS: Final = 300
"""A stopped account is tried again this often, and an order under our id that is somebody else's
looked at: more would use up the broker's patience, and a person is needed anyway."""
_OPPOSITE_SECONDS: Final = 60
"""So often an order is told again that one of somebody else's is in the way of: ours we would see
end."""
_DECLINED_SECONDS: Final = 20
"""So much later each question comes that is put of a refused order which may be there: it has
time, and the broker's patience is for others."""


_A_PERSONS: Final = frozenset({telling.MISMATCH, telling.UNASKABLE})


class Step(StrEnum):
    """What to do next."""

    RECORD = "record"
    TELL = "tell"
    COUNT = "count"
    """Write down that the broker says it has no such order: no proof yet."""
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a block, and the outcome to record if there is one."""

    step: Step
    outcome: blocks.Outcome | None = None


_WAIT = Verdict(Step.WAIT)
_TELL = Verdict(Step.TELL)


def must_wait(session: Session, block: blocks.Block, now_micros: int) -> bool:
    """Return whether a block must wait for another order of its name to end (a wash trade).

    The other may be no order of ours: told in vain twice, it is told again after a while only.
    """
    if block.code != telling.OPPOSITE or block.state != "intended":
        return False  # what the broker may have is asked for, whatever else is in the way
    if tellings.another_open(session, block):
        return True
    return block.attempts > 1 and _is_fresh(block, now_micros, _OPPOSITE_SECONDS)


def verdict(broker: Broker, clock: Clock, policy: Policy, block: blocks.Block) -> Verdict:
    """Return what to do with a block that is intended or unknown; asks the broker if needed."""
    now = clock.now()
    late = business_date(from_micros(block.created_at)) < business_date(now)
    if block.state == "intended" and telling.is_not_taken(block.code):
        # It was never told, or never but in answers by which the broker has surely not taken it.
        return _expired(block) if late else _again(block, to_micros(now))
    if block.code in _A_PERSONS and _is_fresh(block, to_micros(now), HELD_SECONDS):
        return _WAIT
    if _is_declined(block) and _was_asked_lately(block, to_micros(now)):
        return _WAIT
    return _asked(broker, policy, block, to_micros(now), late=late)


def _asked(
    broker: Broker, policy: Policy, block: blocks.Block, now_micros: int, *, late: bool
) -> Verdict:
    """Return what to do with a block that the broker may have, by what it says of it now."""
    try:
        found = broker.find(block.id)
    except BrokerUnavailableError:
        return _WAIT
    if found is not None:
        return Verdict(Step.RECORD, telling.adopt(block, found))
    if block.executed_nanos or block.executed_cents or block.code == telling.UNASKABLE:
        return _WAIT  # it has traded, so it is there, whatever the list says; or it is a person's
    if not broker.capabilities.find_by_client_id:
        return _blind(broker.capabilities, block, now_micros, late=late)
    if not _proven(broker, policy, block, now_micros):
        return Verdict(Step.COUNT)
    return _absent(block, late=late)


def _blind(
    capabilities: Capabilities, block: blocks.Block, now_micros: int, *, late: bool
) -> Verdict:
    """Return what to do where nothing is found by our id: only what an id does there helps."""
    doubled = capabilities.client_id_rule is ClientIdRule.NONE
    if doubled or late or _is_declined(block) or block.code == telling.DUPLICATE:
        outcome = blocks.Outcome(block.id, "unknown", None, telling.UNASKABLE)
        return Verdict(Step.RECORD, outcome)
    if block.state == "intended":
        # We may have died between telling and writing: from here on a refusal is no proof of it.
        return Verdict(Step.COUNT)
    lag = capabilities.find_lag_seconds * _MICROS
    return _WAIT if now_micros - max(block.told_at, block.asked_at) < lag else _TELL


def _absent(block: blocks.Block, *, late: bool) -> Verdict:
    """Return what to do with a block that the broker does not have, as far as can be proven."""
    if _is_declined(block):
        why = block.code.removeprefix(telling.DECLINED)
        return Verdict(Step.RECORD, telling.rejected(block.id, why))
    if late and block.code == telling.DUPLICATE:
        return _WAIT  # its id was taken, so it is somewhere: a person looks, nobody tells it again
    return _expired(block) if late else _TELL


def _expired(block: blocks.Block) -> Verdict:
    # What stood in its way is kept: what goes on for days is a person's (`operating`). So are
    # words that nobody understands, as the broker's own: they may be a refusal that is worded anew.
    if not block.code or telling.is_not_taken(block.code):
        code, said = standstills.EXPIRED + block.code if block.code else telling.EXPIRED, ""
    else:
        code, said = standstills.UNCLEAR, block.code[: telling.CODE_MAX]
    return Verdict(Step.RECORD, blocks.Outcome(block.id, "open", None, code, said=said))


def _again(block: blocks.Block, now_micros: int) -> Verdict:
    paused = block.code in telling.PAUSED and _is_fresh(block, now_micros, HELD_SECONDS)
    return _WAIT if paused else _TELL


def _is_fresh(block: blocks.Block, now_micros: int, seconds: int) -> bool:
    return now_micros - block.told_at < seconds * _MICROS


def _proven(broker: Broker, policy: Policy, block: blocks.Block, now_micros: int) -> bool:
    """Return whether "no such order" may be believed now."""
    lag = broker.capabilities.find_lag_seconds
    if lag == 0:
        return True
    if _is_declined(block) or broker.capabilities.client_id_rule is ClientIdRule.NONE:
        # Its list was believed once already; or whoever believes it too early doubles an order.
        lag = max(lag, policy.doubt_seconds_min)
    waited = now_micros - block.asked_at >= lag * _MICROS
    return block.asks + 1 >= policy.unheard_asks_min and block.asks > 0 and waited


def _is_declined(block: blocks.Block) -> bool:
    return block.state == "unknown" and block.code.startswith(telling.DECLINED)


def _was_asked_lately(block: blocks.Block, now_micros: int) -> bool:
    """Return whether the next question is not due yet; they are counted since the first."""
    due = block.asked_at + block.asks * _DECLINED_SECONDS * _MICROS
    return block.asks > 0 and now_micros < due
