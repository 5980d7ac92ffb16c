"""Whether a block may still be told, asked the moment before it is told.

The guards look at planned orders before a window's blocks are made (`guarding`). Between that look
and a block's turn to be told may lie an hour of a long run, a throttle, an opposite order: the
market closes, a name halts, a reconciliation finds a break, a customer restricts a name. So every
telling, the first and each one after it, asks here again. What may not be told waits under its id
with its reason, and ends with its day; an order that its customer no longer wants ends at once, and
the others of its block are planned again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from robo.core.clock import Clock, to_micros
from robo.core.ids import SecurityId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.services import guarding, healing, judging, telling
from robo.store import breaks, controls, tellings, windows
from robo.store.blocks import Block
from robo.store.database import Database


@dataclass
class Gate:
    """What stands before each telling of a run; `desk` None: only the kill switch and breaks."""

    db: Database
    broker: Broker
    clock: Clock
    policy: Policy
    desk: guarding.Desk | None = None
    _names: set[int] = field(default_factory=set)
    _since: int = 0
    _looked_at: datetime | None = None
    _against: Mapping[int, Reason] = field(default_factory=dict)
    _restricted: Mapping[str, set[str]] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)

    def expect(self, todo: Sequence[Block]) -> None:
        """Learn what is going to be told, so that its prices are asked for together."""
        self._names = {one.security_id for one in todo}
        self._since = min((one.created_at for one in todo), default=0)
        self._looked_at = None

    def hold(self, broker_account: str) -> None:
        """Tell nothing more in an account: the broker takes nothing for it now."""
        self._held.add(broker_account)

    def restricted(self, block_id: str) -> set[str]:
        """Return the orders of a block that their customers want no more."""
        return self._restricted.get(block_id, set())

    def why(self, block: Block) -> str:
        """Return the code of what speaks against telling a block now; empty if nothing does."""
        now = self.clock.now()
        with self.db.read() as session:
            scopes = controls.stopped(session)
            doubted = breaks.blocked(session)
        if controls.EVERYBODY in scopes or block.firm_id in scopes:
            return telling.STOPPED
        self._look(now)
        if block.broker_account in self._held:
            return telling.HELD
        if block.id in self._restricted:
            return Reason.REFUSE_RESTRICTED.value
        if doubted.covers(block.broker_account, block.security_id):
            return Reason.WAIT_BREAK.value
        reason = None if self.desk is None else self._by_market(block, now)
        return "" if reason is None else reason.value

    def _by_market(self, block: Block, now: datetime) -> Reason | None:
        # The hour costs nothing to look at; by the last look's, some more would leave too late.
        market = judging.market(self._bench(now))
        if market.closed or market.cut_off:
            return Reason.WAIT_MARKET_CLOSED if market.closed else Reason.WAIT_CUT_OFF
        return self._against.get(block.security_id)

    def _look(self, now: datetime) -> None:
        """Look at what costs a question: prices, restrictions, accounts that are stopped."""
        before = self._looked_at
        if before and (now - before).total_seconds() < self.policy.look_again_seconds:
            return
        self._looked_at = now
        pause = to_micros(now) - healing.HELD_SECONDS * 1_000_000
        with self.db.read() as session:
            for code in telling.PAUSED:
                self._held |= tellings.told_since(session, code, pause)
            self._restricted = windows.restricted_since(session, self._since)
        if self.desk is None:
            return
        ids = sorted(self._names)
        quotes = self.desk.prices.quotes([SecurityId(i) for i in ids], now)
        with self.db.read() as session:
            self._against = judging.names_against(session, self._bench(now), quotes, ids)

    def _bench(self, now: datetime) -> judging.Bench:
        assert self.desk is not None
        return judging.Bench(
            self.broker, self.policy, self.desk.prices, self.desk.calendar, now, {}
        )
