"""Events of transfers at the broker: they say which to look at, never what became of it."""

from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import CustodyEventPage
from robo.services.noticing import notice
from robo.store import remittances
from robo.store.database import Database

STREAM: Final = "transfers"


def hear_transfers(db: Database, broker: Broker, clock: Clock) -> int:
    """Read what the broker tells of transfers; return how many events were read."""
    told = groups.events(broker)
    if told is None or groups.funding(broker) is None:
        return 0
    return notice(db, told, clock, STREAM, _mark)


def _mark(session: Session, page: CustodyEventPage, at_micros: int) -> None:
    remittances.look(session, sorted({one.subject for one in page.events}), at_micros)
    remittances.look_at_lost(session, at_micros)
    if page.gap:
        remittances.look_at_all(session, at_micros)
