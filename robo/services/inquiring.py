"""What the broker says it trades, and how finely: asked now and then, learnt from refusals.

Where the broker offers to say (group `assets`) it is asked again once that is old. Else what
refusals taught is believed until the day is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlmodel import Session

from robo.core.clock import business_date, from_micros, to_micros
from robo.core.ids import SecurityId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import AccountModel, Broker
from robo.ports.terms import Group
from robo.services.quoting import Board
from robo.store import controls
from robo.store.database import Database
from robo.store.windows import WaitingOrder


def refresh_tradability(
    db: Database, broker: Broker, policy: Policy, now: datetime, waiting: Sequence[WaitingOrder]
) -> dict[int, controls.Tradability]:
    """Return what the broker says of names, asked again where it offers to say and it is old."""
    with db.read() as session:
        known = controls.tradabilities(session)
    if Group.ASSETS not in broker.capabilities.groups:
        # Learnt from refusals: believed until the day is over.
        today = business_date(now)
        return {
            i: one for i, one in known.items() if business_date(from_micros(one.seen_at)) == today
        }
    oldest = to_micros(now - timedelta(minutes=policy.tradability_minutes))
    # Nobody plans a name that it does not trade, so it is asked again without being wanted.
    wanted = {one.security_id for one in waiting}
    wanted |= {i for i, one in known.items() if not (one.tradable and one.fractionable)}
    old = sorted(i for i in wanted if i not in known or known[i].seen_at < oldest)
    if old:
        said = broker.assets([SecurityId(i) for i in old])  # type: ignore[attr-defined] # the group says so
        at = to_micros(now)
        fresh = [
            controls.Tradability(a.security_id, int(a.tradable), int(a.fractionable), at)
            for a in said
        ]
        with db.write() as session:
            controls.put_tradability(session, fresh)
        known |= {one.security_id: one for one in fresh}
    return known


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
    shared: bool = False
    """The broker keeps one account for all: others' orders may make a share of what is less."""

    def on(self, seen: Board) -> Board:
        """Return a board on which these names are marked, beside those that the market stops."""
        whole = self.whole | (frozenset(seen.price_micros) if self.all_whole else frozenset())
        stopped = {**self.stopped, **seen.stopped}
        return replace(
            seen, stopped=stopped, unbought=self.unbought, whole=whole, shared=self.shared
        )


def limits(session: Session, broker: Broker, at: datetime) -> Limits:
    """Return what a planner should leave alone."""
    caps = broker.capabilities
    said = controls.tradabilities(session)
    if Group.ASSETS not in caps.groups:
        today = business_date(at)
        said = {i: s for i, s in said.items() if business_date(from_micros(s.seen_at)) == today}
    stopped = {i: Reason.SKIP_NOT_TRADABLE for i, one in said.items() if not one.tradable}
    whole = frozenset(i for i, one in said.items() if one.tradable and not one.fractionable)
    shared = caps.account_model is AccountModel.OMNIBUS
    if not caps.fractional:
        # Whole shares are its way of life: where it keeps one account for all, blocks make them.
        return Limits(stopped, all_whole=not shared, shared=shared)
    unbought = dict.fromkeys(whole, Reason.SKIP_WHOLE_SHARES)
    return Limits(stopped, unbought, whole, shared=shared)
