"""Events of accounts and transfers at a broker: they say which to look at, never what is so.

Repeated, late and swapped events therefore do no harm, and a silent stream only costs time: what
is on its way is looked at now and then anyway.
"""

from collections.abc import Callable
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.ports.brokerage import CustodyEventPage, Events
from robo.store import cursors
from robo.store.database import Database

_PAGES_MAX: Final = 20


def notice(
    db: Database,
    told: Events,
    clock: Clock,
    stream: str,
    mark: Callable[[Session, CustodyEventPage, int], None],
) -> int:
    """Read what is new in a stream; return how many events were read.

    A cursor that the broker no longer takes begins anew: events only say where to look.

    Args:
        db: Where the cursor is kept, as `custody/<stream>`.
        told: Who tells.
        clock: When.
        stream: Which.
        mark: Writes what is to be looked at, in the transaction that moves the cursor.
    """
    name = f"custody/{stream}"
    heard = 0
    for _ in range(_PAGES_MAX):
        with db.read() as session:
            after = cursors.cursor(session, name)
        try:
            page = _page(told, stream, after)
        except BrokerUnavailableError:
            return heard
        if not page.events and not page.gap and page.cursor == after:
            return heard
        with db.write() as session:
            if cursors.cursor(session, name) != after:
                return heard  # another process reads
            mark(session, page, to_micros(clock.now()))
            cursors.move_cursor(session, name, page.cursor)
        heard += len(page.events)
        if page.cursor == after:
            return heard
    return heard


def _page(told: Events, stream: str, after: str) -> CustodyEventPage:
    try:
        return told.custody_events(stream, after)
    except InvalidInputError:
        if not after:
            raise
        return told.custody_events(stream, "")
