"""Events of accounts at the broker: they say which to look at, never what became of it.

Repeated, late and swapped events therefore do no harm, and a silent stream only costs time: what
is on its way is looked at every minute anyway.
"""

from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.ports import groups
from robo.ports.broker import Broker
from robo.store import cursors, custody
from robo.store.database import Database

STREAM: Final = "accounts"
CURSOR: Final = "custody/accounts"
_PAGES_MAX: Final = 20


def hear_accounts(db: Database, broker: Broker, clock: Clock) -> int:
    """Read what the broker tells of accounts; return how many events were read.

    The cursor moves in the transaction that marks what is to be looked at.
    """
    told = groups.events(broker)
    if told is None or groups.onboarding(broker) is None:
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
            custody.look(session, sorted({one.broker_account for one in page.events}), now)
            custody.look_at_lost(session, now)
            if page.gap:
                custody.look_at_all(session, now)
            cursors.move_cursor(session, CURSOR, page.cursor)
        heard += len(page.events)
        if page.cursor == after:
            return heard
    return heard
