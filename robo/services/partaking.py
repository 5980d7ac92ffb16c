"""What a corporate action brings for the shares that a firm holds for itself among its customers'.

They lie in the same account at the broker, so the broker divides and pays for them too. The firm's
part goes to its own book, as chained rows of `inventory`; what is left is the customers', exactly.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from sqlmodel import Session

from robo.core.clock import day_begins
from robo.core.ids import FirmId, SecurityId, child_id
from robo.core.money import notional_cents, round_ratio
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind
from robo.services import awaiting, dividing, owning
from robo.store import activities, breaks, events, inventory, jobs, ledger, prices
from robo.store.database import Database
from robo.store.keyring import Keyring

_PAID_DAYS: Final = 92
"""A dividend is paid within a quarter of its ex-date: the next one is due then."""


@dataclass(frozen=True, slots=True)
class Own:
    """A firm's own part of an activity; everything is negative of what it owes."""

    nanos_delta: int
    new_nanos: int
    cents: int


def held(db: Database, firm_id: FirmId, activity: Activity, action: Mapping[str, Any]) -> int:
    """Return nanoshares that a firm held for itself when an action went ex, as far as is told.

    What the activity itself has brought already is not among them.
    """
    with db.read() as session:
        return held_then(session, firm_id, activity, action)


def held_then(
    session: Session, firm_id: FirmId, activity: Activity, action: Mapping[str, Any]
) -> int:
    """Return what `held` does, in the caller's transaction."""
    if not action:
        return 0
    ex_on = date.fromisoformat(str(action["ex_on"]))
    since = day_begins(ex_on)
    cause = _cause(firm_id, activity.id)
    before = inventory.held_before(session, firm_id, activity.security_id, since, cause)
    return before + _made_up(session, firm_id, activity, ex_on)


def _made_up(session: Session, firm_id: FirmId, activity: Activity, ex_on: date) -> int:
    """Return what actions of earlier days brought a firm while missed sessions were made up for.

    Their customers' parts are in the lots by which those are entitled to the later one: it was
    announced after them, on a day that had long begun.
    """
    announced = jobs.claimed_at(session, awaiting.ANNOUNCING, ex_on.isoformat())
    if announced is None:
        return 0
    begun = day_begins(ex_on)
    brought = inventory.brought(session, firm_id, activity.security_id, begun, announced)
    if not brought:
        return 0
    since = (ex_on - timedelta(days=_PAID_DAYS)).isoformat()
    days = activities.of_days(session, activity.broker_account, since, ex_on.isoformat())
    earlier = {_cause(firm_id, one) for one in days} - {_cause(firm_id, activity.id)}
    return sum(nanos for cause, nanos in brought if cause in earlier)


def apart(
    activity: Activity, own: int, customers: int, action: Mapping[str, Any] | None = None
) -> tuple[Activity, Own]:
    """Return an activity as far as it is the customers', and the firm's part of it.

    Args:
        activity: What the broker brought for all of them.
        own: Nanoshares of the firm; negative is what it owes.
        customers: Nanoshares of everybody who was entitled.
        action: As it was published. Where all shares net to nothing at the broker, nothing comes to
            be divided by: the customers get what was published, and the firm, who owes them the
            shares, gives it.
    """
    whole = own + customers
    if own and whole == 0 and action:
        rest = _published(replace(activity, nanos_before=customers), action)
        return rest, Own(
            activity.nanos_delta - rest.nanos_delta,
            activity.new_nanos - rest.new_nanos,
            activity.cents - rest.cents,
        )
    if own == 0 or whole <= 0:
        return activity, Own(0, 0, 0)
    delta = -own
    if activity.kind not in dividing.LEAVING:
        delta = round_ratio(activity.nanos_delta * own, whole)
    fresh = round_ratio(activity.new_nanos * own, whole)
    cents = round_ratio(activity.cents * own, whole)
    rest = replace(
        activity,
        nanos_before=activity.nanos_before - own,
        nanos_delta=activity.nanos_delta - delta,
        new_nanos=activity.new_nanos - fresh,
        cents=activity.cents - cents,
    )
    return rest, Own(delta, fresh, cents)


def _published(activity: Activity, action: Mapping[str, Any]) -> Activity:
    """Return what an activity would bring for the shares that it is of, as it was published."""
    held = activity.nanos_before
    there = held * int(action["ratio_num"]) // int(action["ratio_den"])
    delta = there - held if activity.kind is ActionKind.SPLIT else 0
    fresh = there if activity.new_security_id is not None else 0
    cents = notional_cents(held, int(action["cash_micros"]))
    if activity.kind in dividing.LEAVING:
        delta = -held
    return replace(activity, nanos_delta=delta, new_nanos=fresh, cents=cents)


def owed(session: Session, on: date) -> list[tuple[FirmId, Activity]]:
    """Return actions of names that firms owed when they went ex, as told by a broker of nothing.

    Where a firm owes its customers all their shares of a name there is nothing at the broker, and
    it tells nothing at all. Not before the pay date, nor once the broker has told something.
    """
    had: dict[FirmId, set[int]] = {}
    for firm, security_id in inventory.sold_short(session):
        had.setdefault(FirmId(firm), set()).add(security_id)
    since = (on - timedelta(days=_PAID_DAYS)).isoformat()
    actions = prices.actions_between(session, since, on.isoformat()) if had else []
    found: list[tuple[FirmId, Activity]] = []
    for firm_id, names in had.items():
        for _, security_id, _, detail in actions:
            if security_id not in names:
                continue
            action = json.loads(detail)
            told = _nothing(firm_id, action, on)
            due = action["pay_on" if told.kind is ActionKind.CASH_DIVIDEND else "ex_on"]
            if str(due) > on.isoformat() or held_then(session, firm_id, told, action) >= 0:
                continue
            if told.broker_account not in breaks.told_of(session, told.action_id):
                found.append((firm_id, told))
    return found


def _nothing(firm_id: FirmId, action: Mapping[str, Any], on: date) -> Activity:
    new_id = action["new_security_id"]
    return Activity(
        id=child_id("net", action["id"], firm_id),
        action_id=str(action["id"]),
        kind=ActionKind(action["kind"]),
        security_id=SecurityId(int(action["security_id"])),
        on=on,
        cents=0,
        nanos_before=0,
        nanos_delta=0,
        new_security_id=None if new_id is None else SecurityId(int(new_id)),
        broker_account=f"omnibus/{firm_id}",
    )


def charged(
    db: Database,
    keyring: Keyring,
    firm_id: FirmId,
    activity: Activity,
    action: Mapping[str, Any],
    customers: int,
    at_micros: int,
) -> Activity:
    """Return the customers' part of a dividend that is taken back, or taxed; the firm has its own.

    Args:
        db: Owns short transactions.
        keyring: Signs the chains.
        firm_id: Whose account at the broker it is.
        activity: What was taken of them all, or given back.
        action: The dividend as it was published; empty if it never was.
        customers: Nanoshares of everybody who was entitled.
        at_micros: Now.
    """
    if not action:
        return activity
    # What is told of a tax may name no security: the dividend does.
    named = replace(activity, security_id=SecurityId(int(action["security_id"])))
    rest, part = apart(named, held(db, firm_id, named, action), customers)
    take(db, keyring, firm_id, named, part, at_micros)
    return rest


def take(
    db: Database, keyring: Keyring, firm_id: FirmId, activity: Activity, own: Own, at_micros: int
) -> None:
    """Write a firm's own part of an activity on its book, once; most have none."""
    if own == Own(0, 0, 0):
        return
    with db.write() as session:
        write(session, keyring, firm_id, activity, own, at_micros)


def write(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    activity: Activity,
    own: Own,
    at_micros: int,
) -> None:
    """Write what `take` does, in the caller's transaction."""
    parts = [_shares(firm_id, activity, activity.security_id, own.nanos_delta)]
    if activity.new_security_id is not None:
        parts.append(_shares(firm_id, activity, activity.new_security_id, own.new_nanos))
    parts.append(_cash(firm_id, activity, own.cents))
    parts = [part for part in parts if part.nanos or part.cents]
    if not parts or inventory.known(session, [part.id for part in parts]):
        return
    transfers = [one for part in parts for one in owning.transfers_of(part)]
    also = [part.link() for part in parts]
    ledger.post(session, keyring.chain, transfers, firm_id, at_micros, also=also)
    told = [events.NewEvent(firm_id, "inventory.taken", p.id, '{"why":"action"}') for p in parts]
    events.emit(session, told, at_micros)


def _cause(firm_id: FirmId, activity_id: str) -> str:
    return child_id("act", activity_id, firm_id)


def _shares(firm_id: FirmId, activity: Activity, security_id: int, nanos: int) -> inventory.Taken:
    """Return shares that come to the firm's book, or leave it, for nothing."""
    side = "buy" if nanos > 0 else "sell"
    return _part(firm_id, activity, security_id, side, f"shares/{security_id}", abs(nanos), 0)


def _cash(firm_id: FirmId, activity: Activity, cents: int) -> inventory.Taken:
    """Return cash that comes to the firm's book, or leaves it, with no shares."""
    side = "sell" if cents > 0 else "buy"
    return _part(firm_id, activity, activity.security_id, side, "cash", 0, abs(cents))


def _part(
    firm_id: FirmId,
    activity: Activity,
    security_id: int,
    side: str,
    what: str,
    nanos: int,
    cents: int,
) -> inventory.Taken:
    cause = _cause(firm_id, activity.id)
    return inventory.Taken(
        id=child_id("inv", cause, what),
        firm_id=firm_id,
        execution_id=cause,
        order_id="",
        security_id=security_id,
        side=side,
        nanos=nanos,
        cents=cents,
        fee_cents=0,
        why="excess",  # the broker brought more, or less, than the customers'
    )
