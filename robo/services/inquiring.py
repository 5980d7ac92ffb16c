"""What the broker says it trades, and how finely: asked now and then, learnt from refusals.

Where the broker offers to say (group `assets`) it is asked again once that is old. Else what
refusals taught is believed until the day is over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import business_date, from_micros, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import AccountModel, Broker
from robo.ports.brokerage import Asset
from robo.ports.terms import Group
from robo.services.quoting import Board
from robo.store import controls
from robo.store.database import Database
from robo.store.windows import WaitingOrder

_IN_VAIN_MAX: Final = 3
"""Names in a row of which the broker says nothing: then it is the broker, not the names."""


def refresh_tradability(
    db: Database, broker: Broker, policy: Policy, now: datetime, waiting: Sequence[WaitingOrder]
) -> dict[int, controls.Tradability]:
    """Return what the broker says of names, asked again where it offers to say and it is old.

    A name of which it says nothing is what it last said of it, until that is old again; one of
    which it has never said anything is absent. Neither keeps the others from being asked for.
    """
    with db.read() as session:
        known = controls.tradabilities(session)
    if Group.ASSETS not in broker.capabilities.groups:
        return _learnt_today(known, now)
    at, oldest = to_micros(now), to_micros(now - timedelta(minutes=policy.tradability_minutes))
    wanted = {one.security_id for one in waiting}
    # Nobody plans a name that it does not trade, so it is asked again without being wanted.
    shunned = {i for i, one in known.items() if not (one.tradable and one.fractionable)} - wanted
    fresh: list[controls.Tradability] = []
    for names in (wanted, shunned):
        old = [i for i in names if i not in known or known[i].seen_at < oldest]
        said, in_vain = _ask(broker, old, at)
        fresh += [
            controls.Tradability(a.security_id, int(a.tradable), int(a.fractionable), at)
            for a in said
        ]
        fresh += [replace(known[i], seen_at=at) for i in in_vain if i in known]
    if fresh:
        with db.write() as session:
            controls.put_tradability(session, fresh)
        known |= {one.security_id: one for one in fresh}
    return known


def _learnt_today(
    known: Mapping[int, controls.Tradability], now: datetime
) -> dict[int, controls.Tradability]:
    """Return what refusals taught of names: it is believed until the day is over."""
    today = business_date(now)
    return {i: one for i, one in known.items() if business_date(from_micros(one.seen_at)) == today}


def _ask(broker: Broker, names: Collection[int], at: int) -> tuple[list[Asset], set[int]]:
    """Return what the broker says of names, and those that it was asked for in vain.

    All together; where that fails one by one, because it may be one of them. Some may be neither:
    after a few in vain the rest is left for another time, in another order, so that the same few
    are not before the others each time.
    """
    order = [SecurityId(i) for i in sorted(names)]
    found = _answered(broker, order) if order else []
    if found is None and len(order) > 1:
        # A hash of numbers is the same in every process.
        order.sort(key=lambda one: hash((one, at)))
        found, order = _one_by_one(broker, order)
    found = found or []
    told = {one.security_id for one in found}
    return found, {int(one) for one in order if one not in told}


def _answered(broker: Broker, names: Sequence[SecurityId]) -> list[Asset] | None:
    try:
        return list(broker.assets(names))  # type: ignore[attr-defined] # the group says so
    except BrokerUnavailableError:
        return None


def _one_by_one(
    broker: Broker, names: Sequence[SecurityId]
) -> tuple[list[Asset], list[SecurityId]]:
    """Return what the broker says of names, and those that it was asked for."""
    found: list[Asset] = []
    asked: list[SecurityId] = []
    running = 0
    for name in names:
        said = _answered(broker, [name])
        asked.append(name)
        found += said or []
        running = 0 if said else running + 1
        if running == _IN_VAIN_MAX:
            break
    return found, asked


@dataclass(frozen=True, slots=True)
class Limits:
    """What planners should leave alone, by what the broker said lately."""

    stopped: Mapping[int, Reason] = field(default_factory=dict)
    """Names that it does not trade."""
    unbought: Mapping[int, Reason] = field(default_factory=dict)
    """Names in whole shares only, where it trades others in fractions: small accounts put the money
    into their other names instead."""
    whole: frozenset[int] = frozenset()
    """Names of which less than a share is not sold: it would wait the day long, every day."""
    all_whole: bool = False
    """So it is with every name."""
    step_nanos: int = 1
    """The least part of a share that it takes of names that go in parts: less is left alone too."""
    shared: bool = False
    """The broker keeps one account for all: others' orders may make a share of what is less."""

    def on(self, seen: Board) -> Board:
        """Return a board on which these names are marked, beside those that the market stops."""
        whole = self.whole | (frozenset(seen.price_micros) if self.all_whole else frozenset())
        stopped = {**self.stopped, **seen.stopped}
        return replace(
            seen,
            stopped=stopped,
            unbought=self.unbought,
            whole=whole,
            step_nanos=self.step_nanos,
            shared=self.shared,
        )


def limits(session: Session, broker: Broker, at: datetime) -> Limits:
    """Return what a planner should leave alone."""
    caps = broker.capabilities
    said = controls.tradabilities(session)
    if Group.ASSETS not in caps.groups:
        said = _learnt_today(said, at)
    stopped = {i: Reason.SKIP_NOT_TRADABLE for i, one in said.items() if not one.tradable}
    whole = frozenset(i for i, one in said.items() if one.tradable and not one.fractionable)
    shared = caps.account_model is AccountModel.OMNIBUS
    if not caps.fractional:
        # Whole shares are its way of life: where it keeps one account for all, blocks make them.
        return Limits(stopped, all_whole=not shared, shared=shared)
    unbought = dict.fromkeys(whole, Reason.SKIP_WHOLE_SHARES)
    return Limits(stopped, unbought, whole, step_nanos=caps.step_nanos, shared=shared)
