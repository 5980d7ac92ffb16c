"""Breaks as they are kept: found, aged, ended; each in its firm's audit trail and feed."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlmodel import Session

from robo.core.policy import Policy
from robo.services import licensing
from robo.services.comparing import Place
from robo.store import breaks, events
from robo.store.breaks import Break
from robo.store.database import Database
from robo.store.keyring import Keyring

RECONCILER: Final = "reconciler"
"""The actor of what is repaired without a person."""
_HOUR: Final = 3_600_000_000


def aged(session: Session, one: Break, policy: Policy, at_micros: int) -> Break:
    """Return a difference, as a real one if what explains it has not come for too long."""
    known = breaks.get(session, one.id)
    hours = {
        "missing_execution": policy.block_hours_max,
        "corporate_action": policy.action_days_max * 24,
    }.get(one.category)
    if known is None or known.state != "open" or hours is None:
        return one
    if at_micros - known.found_at <= hours * _HOUR:
        return one
    return replace(one, category="real", repair="ask_operator", blocks=1)


def keep(
    db: Database,
    keyring: Keyring,
    place: Place,
    healed: Sequence[Break],
    left: Sequence[Break],
    at_micros: int,
) -> None:
    """Write what was found of a place, and end what is not there any more.

    An action that could not be divided (`adjusting`) is told once: only a person ends that.
    """
    there = {one.id for one in left}
    with db.write() as session:
        fresh = breaks.put(session, [*healed, *left], at_micros)
        tell(session, "break.found", fresh, at_micros)
        for one in healed:
            close(session, keyring, one, "repaired", RECONCILER, one.repair, at_micros)
        for old in breaks.listed(session, "open", place.firm_id, limit=100_000):
            parked = (old.subject, old.category) == ("activity", "real")
            if old.broker_account == place.broker_account and not parked and old.id not in there:
                state = "gone" if old.category in {"real", "unknown_activity"} else "repaired"
                close(session, keyring, old, state, RECONCILER, old.repair, at_micros)


def close(
    session: Session,
    keyring: Keyring,
    one: Break,
    state: str,
    actor: str,
    note: str,
    at_micros: int,
) -> None:
    """End a break, in the audit trail of its firm and in its feed."""
    if not breaks.close(session, one.id, state, actor, note, at_micros):
        return
    detail = {"state": state, "note": note, "ours": one.ours, "theirs": one.theirs}
    licensing.record(
        session, keyring, one.firm_id, actor, f"break.{state}", one.id, detail, at_micros
    )
    tell(session, f"break.{state}", [one], at_micros)


def tell(session: Session, kind: str, some: Sequence[Break], at_micros: int) -> None:
    """Put breaks into the feed of their firms."""
    events.emit(
        session,
        [
            events.NewEvent(
                one.firm_id,
                kind,
                one.id,
                json.dumps(
                    {
                        "subject": one.subject,
                        "category": one.category,
                        "security_id": one.security_id,
                        "ours": one.ours,
                        "theirs": one.theirs,
                        "repair": one.repair,
                    }
                ),
                account_id=one.account_id,
            )
            for one in some
        ],
        at_micros,
    )
