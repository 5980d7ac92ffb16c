"""Events of accounts at the broker: they say which to look at, never what became of it."""

from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import CustodyEventPage
from robo.services.noticing import notice
from robo.store import custody
from robo.store.database import Database

STREAM: Final = "accounts"


def hear_accounts(db: Database, broker: Broker, clock: Clock) -> int:
    """Read what the broker tells of accounts; return how many events were read."""
    told = groups.events(broker)
    if told is None or groups.onboarding(broker) is None:
        return 0
    return notice(db, told, clock, STREAM, _mark)


def _mark(session: Session, page: CustodyEventPage, at_micros: int) -> None:
    custody.look(session, sorted({one.broker_account for one in page.events}), at_micros)
    custody.look_at_lost(session, at_micros)
    if page.gap:
        custody.look_at_all(session, at_micros)
