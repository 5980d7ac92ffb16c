"""What a corporate action brings for the shares that a firm holds for itself among its customers'.

They lie in the same account at the broker, so the broker divides and pays for them too. The firm's
part goes to its own book, as chained rows of `inventory`; what is left is the customers', exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlmodel import Session

from robo.core.clock import day_begins
from robo.core.ids import FirmId, SecurityId, child_id
from robo.core.money import round_ratio
from robo.ports.broker import Activity
from robo.services import dividing, owning
from robo.store import events, inventory, ledger
from robo.store.database import Database
from robo.store.keyring import Keyring


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
    cause = _cause(firm_id, activity)
    return inventory.held_before(session, firm_id, activity.security_id, since, cause)


def apart(activity: Activity, own: int, customers: int) -> tuple[Activity, Own]:
    """Return an activity as far as it is the customers', and the firm's part of it.

    Args:
        activity: What the broker brought for all of them.
        own: Nanoshares of the firm; negative is what it owes.
        customers: Nanoshares of everybody who was entitled.
    """
    whole = own + customers
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
    """Write a firm's own part of an activity on its book, once."""
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


def _cause(firm_id: FirmId, activity: Activity) -> str:
    return child_id("act", activity.id, firm_id)


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
    cause = _cause(firm_id, activity)
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
