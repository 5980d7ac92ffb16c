"""Events of transfers at the broker: they say which to look at, never what became of it."""

from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.ports import groups
from robo.ports.broker import Broker
from robo.store import cursors, remittances
from robo.store.database import Database

STREAM: Final = "transfers"
CURSOR: Final = "custody/transfers"
_PAGES_MAX: Final = 20


def hear_transfers(db: Database, broker: Broker, clock: Clock) -> int:
    """Read what the broker tells of transfers; return how many events were read.

    The cursor moves in the transaction that marks what is to be looked at.
    """
    told = groups.events(broker)
    if told is None or groups.funding(broker) is None:
        return 0
    heard = 0
    for _ in range(_PAGES_MAX):
        with db.read() as session:
            after = cursors.cursor(session, CURSOR)
        try:
            page = told.custody_events(STREAM, after)
        except BrokerUnavailableError:
            return heard
        if not page.events and not page.gap:
            return heard
        now = to_micros(clock.now())
        with db.write() as session:
            if cursors.cursor(session, CURSOR) != after:
                return heard  # another process reads
            remittances.look(session, sorted({one.subject for one in page.events}), now)
            remittances.look_at_lost(session, now)
            if page.gap:
                remittances.look_at_all(session, now)
            cursors.move_cursor(session, CURSOR, page.cursor)
        heard += len(page.events)
        if page.cursor == after:
            return heard
    return heard
