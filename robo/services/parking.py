"""Shares that the broker divided and that were not what was held: told apart, or a person looks."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

from sqlmodel import Session

from robo.core.clock import Clock, day_begins
from robo.core.errors import BrokerUnavailableError
from robo.core.shares import format_nanos
from robo.ports.broker import Activity, Broker
from robo.ports.prices import ActionKind
from robo.services import dividing, hearing, journaling
from robo.services.comparing import Place, break_of
from robo.store import arrivals, breaks, events, tellings
from robo.store.database import Database
from robo.store.keyring import Keyring


def traded_since(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    place: Place,
    activity: Activity,
    action: Mapping[str, Any],
    held: int,
) -> bool:
    """Return whether what came since the ex-date explains what the broker had when it divided.

    Trades, and shares that arrived from accounts at other firms.
    """
    with suppress(BrokerUnavailableError):  # what traded before it was divided may not be read yet
        hearing.accept(db, keyring, broker, clock)
    ex_on = date.fromisoformat(str(action["ex_on"]))
    since = day_begins(ex_on)
    with db.read() as session:
        traded = tellings.traded_since(
            session, activity.broker_account, activity.security_id, since
        )
        arrived = arrivals.nanos_since(
            session, place.firm_id, place.account_id, activity.security_id, ex_on.isoformat()
        )
    return dividing.is_of(activity, action, held, traded, arrived)


def report(
    session: Session, place: Place, activity: Activity, held: int, at_micros: int, *, ask: bool
) -> None:
    """Tell the operators that an activity is not of what was held.

    Args:
        session: The caller's transaction.
        place: The account at the broker.
        activity: What the broker brought.
        held: Nanoshares of everybody who was entitled.
        at_micros: Now.
        ask: Whether a person must look. If their shares are others at the broker, the name stops
            there at once, until a person has, however long that takes; of a dividend they are not.
    """
    payload = json.dumps(
        {"broker": format_nanos(activity.nanos_before), "books": format_nanos(held)}
    )
    event = events.NewEvent(place.firm_id, "break.action", activity.id, payload)
    events.emit(session, [event], at_micros)
    if not ask:
        return
    found = _asked(place, activity, held, activity.nanos_before)
    journaling.tell(session, "break.found", breaks.put(session, [found], at_micros), at_micros)


def leave(
    session: Session,
    place: Place,
    activity: Activity,
    left: Sequence[tuple[dividing.Part, str]],
    at_micros: int,
) -> None:
    """Put the accounts that an action does not fit before the operators; everyone else has it.

    It is a break for each account at the broker, by which a person may book it after all
    (`awarding`), or clear it. Their shares are others there: in an account of a customer's own the
    name stops. In a shared one it does not for the others, who have theirs; who waits is held back
    alone (`rechecking`).

    Args:
        session: The caller's transaction.
        place: The account at the broker.
        activity: What the broker brought.
        left: What they were to get, and why they have not: the code of a refusal, or `unexpected`
            for what stands among the job's failures.
        at_micros: When, UTC.
    """
    told = [
        events.NewEvent(
            place.firm_id,
            "break.entitlement",
            activity.id,
            json.dumps({"why": why, "books": format_nanos(part.nanos)}),
            account_id=part.account_id,
        )
        for part, why in left
    ]
    events.emit(session, told, at_micros)
    whole = activity.nanos_before
    without = whole - sum(part.nanos for part, _ in left)
    found = _asked(place, activity, without, whole)
    if place.account_id is None:
        found = replace(found, blocks=0)
    journaling.tell(session, "break.found", breaks.put(session, [found], at_micros), at_micros)


def _asked(place: Place, activity: Activity, ours: int, theirs: int) -> breaks.Break:
    """Return the break by which a person is asked about an activity; a dividend's stops nothing."""
    found = break_of(
        place,
        "activity",
        "real",
        ours,
        theirs,
        "ask_operator",
        security_id=activity.security_id,
        reference=activity.id,
    )
    return replace(found, blocks=0) if activity.kind is ActionKind.CASH_DIVIDEND else found
