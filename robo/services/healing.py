"""What becomes of a block whose telling we did not see the end of: adopt, wait, tell again, end.

Asks by client id first. Where a broker's lists lag behind, one "not found" is no proof: it must
say so several times over a while. Only then is the block told again, under the same id, and only
on the day it was meant for; later its price, or even what a share is, may be another.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.policy import Policy
from robo.ports.broker import Broker
from robo.services import telling
from robo.store import blocks, tellings

_MICROS: int = 1_000_000
_HELD_SECONDS: int = 300
"""A stopped account's orders are told again this often: many would use up the broker's patience."""


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


def must_wait(session: Session, block: blocks.Block) -> bool:
    """Return whether a block must wait for an order of the other side to end (a wash trade)."""
    return block.code == telling.OPPOSITE and tellings.opposite_open(session, block)


def verdict(broker: Broker, clock: Clock, policy: Policy, block: blocks.Block) -> Verdict:
    """Return what to do with a block that is intended or unknown; asks the broker if needed."""
    now = clock.now()
    late = business_date(from_micros(block.created_at)) < business_date(now)
    if block.state == "intended" and block.code in telling.NOT_TAKEN:
        # The broker said that it has not taken it, or was never told.
        return _expired(block) if late else _again(block, to_micros(now))
    try:
        found = broker.find(block.id)
    except BrokerUnavailableError:
        return _WAIT
    if found is not None:
        return Verdict(Step.RECORD, telling.adopt(block, found))
    if block.executed_nanos or block.executed_cents:
        return _WAIT  # it has traded, so it is there, whatever the list says
    if not _proven(broker, policy, block, to_micros(now)):
        return Verdict(Step.COUNT)
    return _expired(block) if late and block.code != telling.DUPLICATE else _TELL


def _expired(block: blocks.Block) -> Verdict:
    return Verdict(Step.RECORD, blocks.Outcome(block.id, "open", None, telling.EXPIRED))


def _again(block: blocks.Block, now_micros: int) -> Verdict:
    pause = now_micros - block.told_at < _HELD_SECONDS * _MICROS
    return _WAIT if block.code == telling.HELD and pause else _TELL


def _proven(broker: Broker, policy: Policy, block: blocks.Block, now_micros: int) -> bool:
    """Return whether "no such order" may be believed now."""
    lag = broker.capabilities.find_lag_seconds
    if lag == 0:
        return True
    waited = now_micros - block.asked_at >= lag * _MICROS
    return block.asks + 1 >= policy.unheard_asks_min and block.asks > 0 and waited
