"""Applying for accounts: written first, told once, and found again if the answer is lost.

An application that the broker may have taken is looked for by our reference, never made again:
only after it has said several times, over a while, that it knows of none, did the first one never
arrive.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError, ConflictError, NotFoundError
from robo.core.policy import Policy
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import Application, Onboarding, OpenResult, Outcome
from robo.services import introducing, licensing
from robo.services.isolating import Blame
from robo.services.keeping import moving
from robo.store import custody, owners
from robo.store.custody import Custody
from robo.store.database import Database
from robo.store.keyring import Keyring

_JOB: Final = "open-at-broker"
_BATCH: Final = 50
"""Applications of one run: the broker allows so many requests a minute."""
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every application needs."""

    db: Database
    keyring: Keyring
    onboarding: Onboarding
    clock: Clock
    policy: Policy
    lag_seconds: int

    @property
    def at_micros(self) -> int:
        """Return the instant that is written down."""
        return to_micros(self.clock.now())


def apply(db: Database, keyring: Keyring, broker: Broker, clock: Clock, policy: Policy) -> int:
    """Apply for every account that has none at the broker; return how many got further.

    One that is not answered is put off; a broker that answers nothing at all ends the run.
    """
    offered = groups.onboarding(broker)
    if offered is None:
        return 0
    _intend(db, broker, clock)
    desk = _Desk(db, keyring, offered, clock, policy, broker.capabilities.find_lag_seconds)
    with db.read() as session:
        states = ("intended", "telling", "incomplete")
        todo = custody.due(session, desk.at_micros, _BATCH, *states)
    blame = Blame[Custody](db, clock, _JOB, lambda one: one.account_id)
    try:
        return blame.in_turn(
            todo,
            lambda one: _go_on(desk, one),
            lambda one: moving.put_off(db, clock, policy, one),
        )
    except BrokerUnavailableError:
        return 0


def retry(
    db: Database, keyring: Keyring, clock: Clock, account_id: str, note: str, *, actor: str
) -> Custody:
    """Let a refused application be made again, because a person has mended its cause; journaled.

    Raises:
        NotFoundError: If there is no such application.
        ConflictError: If it was not refused.
    """
    at_micros = to_micros(clock.now())
    with db.write() as session:
        row, account = custody.get(session, account_id), owners.find_account(session, account_id)
        if row is None or account is None:
            message = "There is no such application."
            raise NotFoundError(message)
        if row.state != "refused":
            message = "This application was not refused."
            raise ConflictError(message, code="not_refused")
        moved = replace(row, state="intended", code="", look_at=at_micros, changed_at=at_micros)
        custody.save(session, moved)
        detail = {"code": row.code, "note": note}
        action = "custody.retried"
        licensing.record(
            session, keyring, account.firm_id, actor, action, account_id, detail, at_micros
        )
        moving.tell(session, moved, at_micros)
    return moved


def _intend(db: Database, broker: Broker, clock: Clock) -> None:
    able = broker.capabilities
    with db.read() as session:
        fresh = custody.without(session, able.account_kinds, _BATCH)
    if not fresh:
        return
    now = to_micros(clock.now())
    with db.write() as session:
        still = set(custody.without(session, able.account_kinds, _BATCH))
        made = [Custody(one, able.name, now, now, now) for one in fresh if one in still]
        custody.add(session, made)


def _go_on(desk: _Desk, row: Custody) -> int:
    with desk.db.read() as session:
        told = introducing.introduce(session, desk.keyring, row.account_id, desk.at_micros)
    if told.application is None:
        if row.state != "telling":
            _lacks(desk, row, told.missing)
        return 0
    if row.state == "telling":
        return _find(desk, row, told.application)
    if not _claim(desk, row):
        return 0
    return _heard(desk, row.account_id, desk.onboarding.open_account(told.application))


def _claim(desk: _Desk, row: Custody) -> bool:
    """Write that the broker is being told, before it is; return whether it is ours to tell."""
    now = desk.at_micros
    again = now + _pause(desk)
    with desk.db.write() as session:
        if custody.get(session, row.account_id) != row:
            return False
        telling = replace(
            row, state="telling", asks="", unheard=0, told_at=now, look_at=again, changed_at=now
        )
        custody.save(session, telling)
    return True


def _find(desk: _Desk, row: Custody, application: Application) -> int:
    """Look for an application whose answer was lost; one that never arrived is made again."""
    found = desk.onboarding.find_account(application)
    if found is not None:
        return _heard(desk, row.account_id, found)
    now = desk.at_micros
    unheard = row.unheard + 1
    waited = now - (row.told_at or now) >= desk.lag_seconds * _SECOND
    never = waited and unheard >= desk.policy.unheard_asks_min
    state = "intended" if never else "telling"
    look = now if never else now + _pause(desk)
    _change(desk, row, lambda one: replace(one, state=state, unheard=unheard, look_at=look))
    return 0


def _heard(desk: _Desk, account_id: str, result: OpenResult) -> int:
    """Write what the broker said to an application."""
    now = desk.at_micros
    with desk.db.write() as session:
        row = custody.get(session, account_id)
        if row is None or row.state != "telling":
            return 0
        if result.account is not None and result.outcome is Outcome.TAKEN:
            moving.adopt(session, desk.policy, row, result.account, now)
            return 1
        if result.outcome is Outcome.REFUSED:
            moving.refuse(session, row, result.code, now)
            return 1
        if result.outcome is Outcome.THROTTLED:
            later = now + desk.policy.custody_look_seconds * _SECOND
            custody.save(session, replace(row, state="intended", look_at=later))
    return 0


def _lacks(desk: _Desk, row: Custody, missing: tuple[str, ...]) -> None:
    """Write what the customer has to give first; looked at again when it may be there."""
    now, asks = desk.at_micros, " ".join(missing)
    later = now + desk.policy.custody_look_seconds * _SECOND
    with desk.db.write() as session:
        if custody.get(session, row.account_id) != row:
            return
        news = (row.state, row.asks) != ("incomplete", asks)
        moved = replace(row, state="incomplete", asks=asks, look_at=later)
        if news:
            moved = replace(moved, changed_at=now)
            moving.tell(session, moved, now)
        custody.save(session, moved)


def _change(desk: _Desk, row: Custody, change: Callable[[Custody], Custody]) -> None:
    with desk.db.write() as session:
        if custody.get(session, row.account_id) == row:
            custody.save(session, change(row))


def _pause(desk: _Desk) -> int:
    """Return how long to wait before a lost application is looked for again."""
    return max(1, desk.lag_seconds // desk.policy.unheard_asks_min) * _SECOND
