"""A step of an account at the broker, written down: its state, its event, and whether it trades."""

import json
from dataclasses import replace
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.ports.brokerage import CustodyAccount, CustodyState
from robo.services.isolating import growing_pause
from robo.store import controls, custody, owners
from robo.store.custody import Custody
from robo.store.database import Database
from robo.store.events import NewEvent, emit

ON_ITS_WAY: Final = ("submitted", "action_required", "review", "approved", "unknown")
AT_REST: Final = ("active", "restricted")
_SECOND: Final = 1_000_000
_HOUR: Final = 3_600 * _SECOND


def adopt(
    session: Session, policy: Policy, row: Custody, account: CustodyAccount, at_micros: int
) -> Custody:
    """Write what the broker says of an account; only an active one may trade.

    One that is somebody else's already is refused: two customers never share an account.
    """
    holder = custody.holder(session, account.broker_account)
    if holder not in {None, row.account_id}:
        return refuse(session, row, "account_taken", at_micros)
    moved = replace(
        row,
        state=account.state.value,
        broker_account=account.broker_account,
        word=account.word,
        asks=" ".join(account.asks),
        code="",
        unheard=0,
        closing=0 if account.state is CustodyState.CLOSED else row.closing,
        look_at=at_micros + pause_micros(policy, account.state.value),
        changed_at=at_micros if account.state.value != row.state else row.changed_at,
    )
    custody.save(session, moved)
    if account.state is CustodyState.ACTIVE:
        controls.link_account(
            session, AccountId(row.account_id), row.broker, account.broker_account, at_micros
        )
    if (moved.state, moved.asks) != (row.state, row.asks):
        tell(session, moved, at_micros)
    return moved


def refuse(session: Session, row: Custody, code: str, at_micros: int) -> Custody:
    """Write that the broker said no to an application: a person looks."""
    moved = replace(
        row, state="refused", code=code, unheard=0, look_at=custody.NEVER, changed_at=at_micros
    )
    custody.save(session, moved)
    tell(session, moved, at_micros)
    return moved


def pause_micros(policy: Policy, state: str) -> int:
    """Return how long a state is left alone where no event says more."""
    if state in ON_ITS_WAY:
        return policy.custody_look_seconds * _SECOND
    if state in AT_REST:
        return policy.custody_review_hours * _HOUR
    return custody.NEVER // 2


def put_off(db: Database, clock: Clock, policy: Policy, seen: Custody) -> None:
    """Look at an account later that the broker did not answer for; what it is stays as it is."""
    now = to_micros(clock.now())
    with db.write() as session:
        row = custody.get(session, seen.account_id)
        if row is not None and row.look_at <= now:
            shortest = policy.custody_look_seconds * _SECOND
            again = now + growing_pause(row.changed_at, now, shortest, _HOUR)
            custody.save(session, replace(row, look_at=again))


def tell(session: Session, row: Custody, at_micros: int) -> None:
    """Append `custody.<state>` to the feed: codes only, nothing personal."""
    account = owners.find_account(session, row.account_id)
    assert account is not None
    payload = {"asks": row.asks.split(), "code": row.code}
    text = json.dumps(payload, separators=(",", ":"), sort_keys=True)
    event = NewEvent(
        account.firm_id,
        f"custody.{row.state}",
        row.account_id,
        text,
        account.customer_id,
        row.account_id,
    )
    emit(session, [event], at_micros)
