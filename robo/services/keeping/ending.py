"""Closing an account at the broker once ours is closed and nothing is left in it."""

from dataclasses import replace
from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.policy import Policy
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import Onboarding, Outcome
from robo.services.isolating import Blame
from robo.services.keeping import moving
from robo.store import custody
from robo.store.custody import Custody
from robo.store.database import Database

_JOB: Final = "open-at-broker"
_BATCH: Final = 50
_SECOND: Final = 1_000_000


def end(db: Database, broker: Broker, clock: Clock, policy: Policy) -> int:
    """Close what is to be closed at the broker; return how many were.

    Closing twice does no harm, so a lost answer is asked for again.
    """
    offered = groups.onboarding(broker)
    if offered is None:
        return 0
    with db.read() as session:
        todo = custody.to_close(session, to_micros(clock.now()), _BATCH)
    blame = Blame[Custody](db, clock, _JOB, lambda one: one.account_id)
    try:
        return blame.in_turn(
            todo,
            lambda one: _end(db, offered, clock, policy, one),
            lambda one: moving.put_off(db, clock, policy, one),
        )
    except BrokerUnavailableError:
        return 0


def _end(db: Database, offered: Onboarding, clock: Clock, policy: Policy, seen: Custody) -> int:
    assert seen.broker_account is not None
    now = to_micros(clock.now())
    pause = policy.custody_look_seconds * _SECOND
    with db.write() as session:
        row = custody.get(session, seen.account_id)
        if row is None or row.state != seen.state:
            return 0
        custody.save(session, replace(row, closing=1, look_at=now + pause))
    result = offered.close_account(seen.broker_account)
    account = result.account
    if result.outcome is Outcome.TAKEN and account is None:
        account = offered.account(seen.broker_account)
    with db.write() as session:
        row = custody.get(session, seen.account_id)
        assert row is not None
        if result.outcome is Outcome.TAKEN and account is not None:
            return int(moving.adopt(session, policy, row, account, now).state == "closed")
        if result.outcome is Outcome.REFUSED and row.code != result.code:
            # Left open at the broker; asked again once a day, told once.
            later = now + moving.pause_micros(policy, row.state)
            refused = replace(row, code=result.code, look_at=later)
            custody.save(session, refused)
            moving.tell(session, refused, now)
    return 0
