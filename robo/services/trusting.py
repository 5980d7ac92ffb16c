"""Accounts apart that need not be asked for tonight: broker and books agreed, nothing has moved.

A broker tells of every execution and activity in one list for all accounts. Where it has told of
nothing in an account since both sides agreed, and the books say to the last digit what they said
then, a comparison costs ten requests and finds what the last one found. It is left out for a few
nights at most; what is not known, or in doubt, is never left out. What was told and read counts as
told, whether or not it moved anything in the books: that it did not may be the difference.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, TypeVar

from sqlmodel import Session

from robo.core.clock import business_date, from_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import Activity, Broker, Execution
from robo.services import comparing, hearing, rechecking
from robo.services.comparing import Place
from robo.store import (
    activities,
    blocks,
    breaks,
    comparisons,
    controls,
    cursors,
    custody,
    holdings,
    remittances,
    strays,
)
from robo.store.database import Database

T = TypeVar("T")

_UNREAD_MAX: Final = 1_000
"""More that was told and not read is no calm night: everything is compared."""
_PAGES_MAX: Final = 20
"""Nor is a list that does not end: adapters give pages as small as they like."""


def spared(
    db: Database,
    broker: Broker,
    now: datetime,
    calendar: MarketCalendar,
    policy: Policy,
    places: Sequence[Place],
) -> set[str]:
    """Return the broker's accounts that need no comparison tonight.

    Args:
        db: Read in one snapshot.
        broker: Asked once for what it has told of anybody.
        now: The present instant.
        calendar: When the next comparison is.
        policy: How many nights an account may be left out.
        places: All that would be compared.
    """
    apart = [one for one in places if one.account_id is not None]
    if not apart or policy.compare_days_max == 0:
        return set()
    try:
        told = _told(db, broker)
    except BrokerUnavailableError:
        return set()
    if told is None:
        return set()
    with db.read() as session:
        busy = told | _busy(session)
        # Something of no account: nobody can say that nothing moved in another.
        if "" in busy or told - controls.references(session):
            return set()
        nobodys, known = of_nobody(session), comparisons.known(session)
        due = _Due(calendar, business_date(now), policy.compare_days_max)
        acting = rechecking.unbooked_accounts(session, business_date(now), policy.action_days_max)
        return {
            one.broker_account
            for one in apart
            if one.broker_account not in busy
            and one.account_id not in acting
            and not due.now(one.broker_account, known.get(one.broker_account))
            and known[one.broker_account][1] == books(session, one, nobodys)
        }


def of_nobody(session: Session) -> str:
    """Return what was ever read that is of no account of ours; whoever agreed before it is asked.

    Nobody can say whose it is. It is a look at all activities: once a night, not for each account.
    """
    return json.dumps([activities.heard_of_nobody(session), strays.heard(session, None)])


def books(session: Session, place: Place, nobodys: str) -> str:
    """Return a digest of what a comparison holds against the broker, and of all it has told.

    Args:
        session: Where it is to be kept as agreed on, a snapshot from before the broker is asked:
            what comes in between is then new in the next night.
        place: An account apart.
        nobodys: `of_nobody`, from the same snapshot or an earlier one.
    """
    assert place.account_id is not None
    said = [
        sorted(comparing.expected(session, place).items()),
        sorted(holdings.lots_of_accounts(session, [place.account_id]).items()),
        activities.heard(session, place.broker_account),
        strays.heard(session, place.broker_account),
        remittances.heard(session, place.broker_account),
        custody.get(session, place.account_id) is not None,
        nobodys,
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Due:
    """Which accounts must be compared tonight whatever has moved."""

    calendar: MarketCalendar
    today: date
    days: int

    def now(self, broker_account: str, agreed: tuple[int, str] | None) -> bool:
        """Return whether it is an account's turn, or would be too late by the next session."""
        if agreed is None:
            return True
        following = self.calendar.shift(self.calendar.on_or_before(self.today), 1)
        late = (following - business_date(from_micros(agreed[0]))).days > self.days
        # A part of them every night, so that they are not all due in the same one.
        turn = zlib.crc32(broker_account.encode()) % self.days
        return late or turn == self.today.toordinal() % self.days


def _busy(session: Session) -> set[str]:
    """Return the accounts in which the books wait for something, or in which something differs."""
    working = blocks.in_states(session, "intended", "open", "unknown")
    places = {one.broker_account for one in working} | strays.busy_places(session)
    places |= {one.broker_account for one in breaks.listed(session, "open", limit=100_000)}
    return places | {where for _, where, _, _ in activities.unknown(session)}


def _told(db: Database, broker: Broker) -> set[str] | None:
    """Return the accounts of which the broker has told what is not read; None if it is too much.

    What is nobody's is under the empty name.

    Raises:
        BrokerUnavailableError: If it did not answer.
    """
    with db.read() as session:
        after = cursors.cursor(session, hearing.CURSOR)
        read = cursors.cursor(session, activities.CURSOR)

    def executed(cursor: str) -> tuple[Sequence[Execution], str]:
        page = broker.executions(cursor, _UNREAD_MAX)
        return page.executions, page.cursor

    def brought(cursor: str) -> tuple[Sequence[Activity], str]:
        page = broker.activities(cursor, _UNREAD_MAX)
        return page.activities, page.cursor

    executions, unread = _every(executed, after), _every(brought, read)
    if executions is None or unread is None:
        return None
    with db.read() as session:
        ours = blocks.many(session, sorted({one.client_id for one in executions}))
    found = {one.broker_account for one in unread}
    return found | {
        ours[one.client_id].broker_account if one.client_id in ours else "" for one in executions
    }


def _every(page: Callable[[str], tuple[Sequence[T], str]], after: str) -> list[T] | None:
    """Return all that a list has after a cursor; None if that is too much, or it does not end."""
    found: list[T] = []
    for _ in range(_PAGES_MAX):
        told, following = page(after)
        found += told
        if not told and following == after:
            return found
        if len(found) >= _UNREAD_MAX or following == after:
            return None
        after = following
    return None
