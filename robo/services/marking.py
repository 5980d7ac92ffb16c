"""Closes of the day, written down: what accounts were worth when the market closed."""

from datetime import date

from robo.core.ids import SecurityId
from robo.ports.prices import PriceSource
from robo.store import ledger, prices
from robo.store.database import Database


def mark_day(db: Database, source: PriceSource, on: date) -> int:
    """Write the closes of every security that somebody holds; return how many were new.

    Raises:
        NotFoundError: If the day is no session of the feed, or has not closed yet.
    """
    closes = source.closes(on)
    with db.read() as session:
        held = ledger.held_securities(session)
    wanted = {s: closes[SecurityId(s)] for s in held if s in closes}
    with db.write() as session:
        return prices.mark(session, on.isoformat(), wanted, source.name)
