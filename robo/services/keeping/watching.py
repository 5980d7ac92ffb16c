"""How accounts stand at the broker: asked one by one, as events or the time say."""

from dataclasses import replace
from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.policy import Policy
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import CustodyAccount
from robo.services.isolating import Blame
from robo.services.keeping import moving
from robo.store import custody
from robo.store.custody import Custody
from robo.store.database import Database

_JOB: Final = "open-at-broker"
_BATCH: Final = 50


def watch(db: Database, broker: Broker, clock: Clock, policy: Policy) -> int:
    """Ask for every account that is due; return how many have moved.

    One that is not answered is put off; a broker that answers nothing at all ends the run.
    """
    offered = groups.onboarding(broker)
    if offered is None:
        return 0
    with db.read() as session:
        states = (*moving.ON_ITS_WAY, *moving.AT_REST)
        todo = custody.due(session, to_micros(clock.now()), _BATCH, *states)

    def look(row: Custody) -> int:
        assert row.broker_account is not None
        account = offered.account(row.broker_account)
        return int(_moved(db, clock, policy, row, account))

    blame = Blame[Custody](db, clock, _JOB, lambda one: one.account_id)
    try:
        return blame.in_turn(todo, look, lambda one: moving.put_off(db, clock, policy, one))
    except BrokerUnavailableError:
        return 0


def _moved(
    db: Database, clock: Clock, policy: Policy, seen: Custody, account: CustodyAccount | None
) -> bool:
    """Write what was said of an account; return whether that is news."""
    now = to_micros(clock.now())
    with db.write() as session:
        row = custody.get(session, seen.account_id)
        if row is None or row.broker_account != seen.broker_account:
            return False
        if account is not None:
            return moving.adopt(session, policy, row, account, now).state != row.state
        # The broker denies an account that it had: nothing may trade there, and nothing is final.
        moved = replace(
            row,
            state="unknown",
            code="not_found",
            look_at=now + moving.pause_micros(policy, "unknown"),
            changed_at=now if row.state != "unknown" else row.changed_at,
        )
        custody.save(session, moved)
        if row.state != "unknown":
            moving.tell(session, moved, now)
        return row.state != "unknown"
