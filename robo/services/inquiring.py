"""What the broker says it trades, and how finely: asked now and then, learnt from refusals.

Where the broker offers to say (group `assets`) it is asked again once that is old. Else what
refusals taught is believed until the day is over.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session

from robo.core.clock import business_date, from_micros, to_micros
from robo.core.ids import SecurityId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.ports.terms import Group
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
    wanted = {one.security_id for one in waiting}
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


def unplannable(session: Session, broker: Broker, at: datetime) -> dict[int, Reason]:
    """Return the names that a planner should leave alone, by what the broker said of them lately.

    A name in whole shares only is left alone where the broker trades others in fractions: small
    accounts put the money into their other names instead.
    """
    said = controls.tradabilities(session)
    if Group.ASSETS not in broker.capabilities.groups:
        today = business_date(at)
        said = {i: s for i, s in said.items() if business_date(from_micros(s.seen_at)) == today}
    found = {i: Reason.SKIP_NOT_TRADABLE for i, one in said.items() if not one.tradable}
    if broker.capabilities.fractional:
        whole = {i: Reason.SKIP_WHOLE_SHARES for i, one in said.items() if not one.fractionable}
        return whole | found
    return found
