"""Sales of the names that scores have made leave: planned every day until they have gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import inquiring, ordering, parting, weighing
from robo.services.isolating import Blame
from robo.services.ordering import Plan
from robo.services.queueing import waves
from robo.services.quoting import board
from robo.services.turns import Turns
from robo.store import barred, chunks, leavers
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.leavers import Leaver

_JOB: Final = "rescore"
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Leaving:
    """What it needs to sell what leaves on a day."""

    db: Database
    keyring: Keyring
    broker: Broker
    prices: PriceSource
    clock: Clock
    policy: Policy
    turns: Turns
    on: date

    def part(self) -> int:
        """Plan the sales of all that has to go, or tell why it stays; return how many plans."""
        with self.db.write() as session:
            leavers.remove(session, leavers.done(session))
            excluded = barred.holders(session)
            held = {(account, name) for account, names in excluded.items() for name in names}
            known = leavers.everything(session)
            lifted = {
                (one.account_id, one.security_id) for one in known if one.source == "activity"
            }
            leavers.remove(session, lifted - held)
            since = self.on.isoformat()
            leavers.add(session, [Leaver(*one, "activity", since) for one in sorted(held)])
            listed: dict[AccountId, dict[int, Leaver]] = {}
            for one in leavers.everything(session):
                listed.setdefault(one.account_id, {})[one.security_id] = one
        with self.db.read() as session:
            queue = waves(session, sorted(listed), self.on)
        written = 0

        def write(session: Session, part: Sequence[Plan]) -> None:
            nonlocal written
            fresh = ordering.unwritten(session, part)
            ordering.write(session, self.keyring, fresh, to_micros(self.clock.now()))
            leavers.tell(session, [one for plan in fresh for one in _told(plan)])
            written += len(fresh)

        blame = Blame[Plan](self.db, self.clock, _JOB, lambda one: one.sleeve.account_id)
        found: list[Plan] = []

        def look(part: Sequence[AccountId]) -> None:
            found.extend(self._plans({account: listed[account] for account in part}))

        for wave in queue:
            for start in range(0, len(wave), _PAGE):
                found.clear()
                Blame[AccountId](self.db, self.clock, _JOB, str).together(
                    wave[start : start + _PAGE], look
                )
                self.turns.each(list(found), write, blame)
        return written

    def _plans(self, listed: Mapping[AccountId, Mapping[int, Leaver]]) -> list[Plan]:
        """Return what accounts sell of the names that have to go, and what is news about them."""
        names = sorted({security for some in listed.values() for security in some})
        now = self.clock.now()
        with self.db.read() as session:
            limits = inquiring.limits(session, self.broker, now)
            seen = limits.on(board(self.prices, names, now))
            made = parting.plans(session, self.keyring, self.policy, listed, seen, self.on)
            sells = [plan.sleeve.account_id for plan in made if plan.trades]
            raw = chunks.read(session, sells)
            made = weighing.weighed(session, self.prices, now, raw, made)
        return [
            news
            for plan in made
            if (news := _news(plan, listed[plan.sleeve.account_id], self.on)) is not None
        ]


def _news(plan: Plan, listed: Mapping[int, Leaver], on: date) -> Plan | None:
    """Return a plan without what was told before; None where nothing is left to write.

    Its batch is named after what has been written for its names before: a run that is repeated
    makes the same orders, and one after the orders have ended makes others.
    """
    skips = {name: why for name, why in plan.skips.items() if not _is_known(listed[name].told, why)}
    if not plan.trades and not skips:
        return None
    told = sorted(skips.keys() | {trade.security_id for trade in plan.trades})
    words = " ".join(f"{name}:{listed[name].times}" for name in told)
    cause = f"rescore/{on.isoformat()}/{sha256(words.encode()).hexdigest()[:16]}"
    return replace(plan, cause=cause, skips=skips)


def _is_known(told: str, why: Reason) -> bool:
    """Return whether a reason was told before, or the order that is open is the name's own sale."""
    return told == why or (why is Reason.SKIP_ORDER_OPEN and told == Reason.SELL_LEFT_OUT)


def _told(plan: Plan) -> list[tuple[AccountId, int, str]]:
    account = plan.sleeve.account_id
    sold = [(account, trade.security_id, str(trade.reason)) for trade in plan.trades]
    return sold + [(account, name, str(why)) for name, why in plan.skips.items()]
