"""Which names somebody must not trade until when: names and dates, nothing of anybody's trades."""

from dataclasses import dataclass
from datetime import date

from sqlmodel import Session

from robo.core.ids import SecurityId
from robo.services.washing import window
from robo.store import households, lots, universe


@dataclass(frozen=True, slots=True)
class Limit:
    """A name, and the first day on which it may be bought, and sold at a loss."""

    security_id: SecurityId
    symbol: str
    until: date


def limits(session: Session, customer_id: str, on: date) -> list[Limit]:
    """Return the names somebody must not buy, or hold and must not sell at a loss, by symbol.

    One date a name, the later of the two: it says neither which of them it is nor whose trade,
    somebody else's or one's own, is behind it. Only what has happened has a date: what an open
    order forbids until it ends would say that somebody has one.
    """
    ours = households.accounts_of(session, [customer_id])
    accounts = [one.id for one in ours]
    accounts += sorted(households.owned_jointly(session, [customer_id]))
    if not accounts:
        return []
    today = window(session, accounts, on, planned=False)
    held = lots.open_lots(session, accounts)
    until: dict[SecurityId, date] = {}
    for account in accounts:
        mine = held.get(account, [])
        names = {lot.id: SecurityId(lot.security_id) for lot in mine}
        masks = today.masks(account, [lot for lot in mine if lot.nanos])
        found = list(masks.no_purchase.items())
        found += [(names[lot], day) for lot, day in masks.no_loss.items()]
        for name, day in found:
            until[name] = max(day, until.get(name, day))
    listed = universe.by_id(session, sorted(until))
    rows = [
        Limit(name, listed[name].symbol if name in listed else "", day)
        for name, day in until.items()
    ]
    return sorted(rows, key=lambda one: (one.symbol, one.security_id))
