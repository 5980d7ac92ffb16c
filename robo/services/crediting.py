"""What accounts get of a corporate action, written for all of some accounts together.

Shared by the job that applies what the broker brings and by a person who books it by hand.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from robo.core.ids import AccountId, FirmId
from robo.core.money import format_cents
from robo.core.reasons import Reason
from robo.core.shares import format_nanos
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind
from robo.services import dividing, ordering
from robo.store import accounts, arrivals, events, ledger, lots
from robo.store.keyring import Keyring


def entitled(
    session: Session, action_id: str, firm_id: FirmId, only: AccountId | None
) -> list[tuple[AccountId, int, str]]:
    """Return (account, nanoshares, state) of who is entitled to an action at one place.

    Args:
        session: The caller's transaction.
        action_id: The action.
        firm_id: Whose accounts.
        only: The one account, where the broker keeps one for each customer.
    """
    found = lots.entitlements(session, action_id)
    there = of_place(session, [account for account, _, _ in found], firm_id, only)
    return [row for row in found if row[0] in there]


def of_place(
    session: Session, account_ids: Sequence[AccountId], firm_id: FirmId, only: AccountId | None
) -> set[AccountId]:
    """Return those of some accounts that are a firm's, and the one alone where one is named."""
    return {
        account
        for account, sleeve in accounts.sleeves(session, account_ids).items()
        if sleeve.firm_id == firm_id and only in {None, account}
    }


def drop_planned(
    session: Session,
    keyring: Keyring,
    activity: Activity,
    account_ids: Collection[AccountId],
    at_micros: int,
) -> None:
    """Cancel accounts' orders that were planned on the shares of before."""
    ordering.cancel_planned_of_security(
        session,
        keyring,
        activity.security_id,
        Reason.REJECT_EXPIRED,
        at_micros,
        account_ids,
    )


def give(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    activity: Activity,
    action: Mapping[str, Any],
    some: Sequence[dividing.Part],
    at_micros: int,
) -> None:
    """Book parts of an activity in the caller's transaction: transfers, lots, who has got it.

    Whoever has got it since the parts were made, by hand or by another process, is left out.

    Raises:
        RefusedError: If one of them does not fit its account.
    """
    still = lots.unbooked_of(session, activity.action_id, [part.account_id for part in some])
    some = [part for part in some if part.account_id in still]
    held = _lots_of(session, activity, action, [part.account_id for part in some])
    made = dividing.Booked()
    for part in some:
        made.add(dividing.book(activity, action, part, held.get(part.account_id, [])))
    also = [event.link() for event in made.lot_events]
    ledger.post(session, keyring.chain, made.transfers, firm_id, at_micros, also=also)
    lots.apply_events(session, made.lot_events, made.hold_until, made.acquired_on)
    lots.add_proceeds(session, made.proceeds)
    lots.fulfil(session, activity.action_id, [part.account_id for part in some])
    events.emit(session, [_event(firm_id, activity, part) for part in some], at_micros)


def _lots_of(
    session: Session,
    activity: Activity,
    action: Mapping[str, Any],
    account_ids: Sequence[AccountId],
) -> dict[AccountId, list[lots.OpenLot]]:
    """Return accounts' open lots that an activity changes."""
    if activity.kind is ActionKind.CASH_DIVIDEND:
        return {}  # a dividend changes no lot, and a year pays four for every holding
    held = lots.open_lots(session, account_ids, activity.security_id)
    # What came from another firm on the ex-date or later came in the day's terms already.
    late = arrivals.arrived_since(session, account_ids, str(action["ex_on"]))
    return {account: [lot for lot in mine if lot.id not in late] for account, mine in held.items()}


def _event(firm_id: FirmId, activity: Activity, part: dividing.Part) -> events.NewEvent:
    payload = json.dumps(
        {
            "action": activity.kind.value,
            "security_id": activity.security_id,
            "amount": format_cents(part.cents),
            "shares": format_nanos(part.nanos_delta),
        }
    )
    return events.NewEvent(
        firm_id, "action.applied", activity.action_id, payload, account_id=part.account_id
    )
