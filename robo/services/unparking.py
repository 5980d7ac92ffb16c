"""Parked corporate actions that fit after all: executions from before the ex-date came late.

Who is entitled is written down when an action is announced. What was executed before and is told
only after is not among it, and the broker divided it: the action is parked, and a person is asked.
Once such executions are booked, the lots from before the ex-date are what the broker divided (sales
from after it wait for the action: `awaiting`), and it is booked without anybody.
"""

import json
from dataclasses import asdict
from datetime import date
from typing import Any

from sqlmodel import Session

from robo.core.ids import AccountId, FirmId, SecurityId
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind
from robo.services import crediting, dividing, journaling, partaking
from robo.store import arrivals, breaks, lot_history, lots, parked, prices
from robo.store.keyring import Keyring


def keep(session: Session, activity: Activity) -> None:
    """Keep an activity that does not fit as the broker told it."""
    parked.put(session, activity.id, json.dumps(asdict(activity), default=str))


def kept(session: Session) -> list[tuple[str, Activity]]:
    """Return (break, activity) of what is parked and nobody has decided."""
    return [(found, _read(body)) for found, body in parked.waiting(session)]


def recount(session: Session, activity: Activity, firm_id: FirmId, only: AccountId | None) -> bool:
    """Count who is entitled again, if that is what the broker divided to a nanoshare.

    Args:
        session: A transaction of the caller's.
        activity: What is parked.
        firm_id: Whose accounts.
        only: The one account, where the broker keeps one for each customer.

    Returns:
        Whether it fits now; nothing is written where it does not.
    """
    detail = prices.action_detail(session, activity.action_id)
    action: dict[str, Any] = json.loads(detail) if detail else {}
    if not action or not dividing.may_be(activity, action):
        return False
    ex_on = str(action["ex_on"])
    if arrivals.nanos_since(session, firm_id, only, activity.security_id, ex_on):
        # Shares that came since, from elsewhere, keep the day on which they were bought there.
        return False
    had = lots.held_before(session, [activity.security_id], ex_on)
    now = dict(had.get(activity.security_id, ()))
    before = crediting.entitled(session, activity.action_id, firm_id, only)
    own = 0 if only is not None else partaking.held_then(session, firm_id, activity, action)
    if any(state == "done" for _, _, state in before):
        # A run that died has given it to some; the lots of those are new ones.
        return own + sum(nanos for _, nanos, _ in before) == activity.nanos_before
    mine = crediting.of_place(session, sorted(now), firm_id, only)
    mine |= {account for account, _, _ in before}
    counted = {account: now.get(account, 0) for account in sorted(mine)}
    if activity.kind is ActionKind.CASH_DIVIDEND:
        # It is paid weeks later, to whoever held the shares then: a sale since takes nothing of it.
        sold = lot_history.closed_since(session, sorted(mine), activity.security_id, ex_on)
        counted = {account: nanos + sold.get(account, 0) for account, nanos in counted.items()}
    whole = own + sum(counted.values())
    if whole != activity.nanos_before or not (own or any(counted.values())):
        # Of what the broker does not say it had, nobody's shares are no count: it was somebody's.
        return False
    lots.entitle_anew(session, activity.action_id, activity.security_id, counted)
    return True


def end(
    session: Session, keyring: Keyring, break_id: str, activity: Activity, at_micros: int
) -> None:
    """End the break of an action that was booked after all, unless somebody still waits for it."""
    parked.remove(session, activity.id)
    found = breaks.get(session, break_id)
    states = {state for _, _, state in lots.entitlements(session, activity.action_id)}
    if found is not None and "waiting" not in states:
        by = journaling.RECONCILER
        journaling.close(session, keyring, found, "repaired", by, "booked", at_micros)


def _read(body: str) -> Activity:
    told: dict[str, Any] = json.loads(body)
    new_id = told["new_security_id"]
    return Activity(
        **{
            **told,
            "kind": ActionKind(told["kind"]),
            "security_id": SecurityId(told["security_id"]),
            "on": date.fromisoformat(told["on"]),
            "new_security_id": None if new_id is None else SecurityId(new_id),
        }
    )
