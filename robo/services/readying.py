"""Which accounts may be planned now: those of which the books count the shares that there are.

From the ex-date of a split on prices are in new shares. Until it is booked its holders' shares are
the old ones: ten times the account's value in the name, or a tenth of it, and every weight of the
others wrong with it. Such an account is planned again once the split is booked, ten days after its
ex-date at the latest, or when a person has cleared what the broker brought. Only plans wait: money
comes and goes, withdrawals are raised, and other orders are sent.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.prices import ActionKind
from robo.services.ordering import Plan
from robo.store import accounts, breaks, lots, prices
from robo.store.database import once

_SPLIT: Final = frozenset({ActionKind.SPLIT.value})


def ready(
    session: Session, account_ids: Sequence[AccountId], on: date, policy: Policy
) -> set[AccountId]:
    """Return which accounts may be planned: eligible, and with no split that is not booked."""
    found = accounts.eligible(session, account_ids)
    return found - unsplit(session, sorted(found), on, policy).keys()


def unsplit(
    session: Session, account_ids: Sequence[AccountId], on: date, policy: Policy
) -> dict[AccountId, set[int]]:
    """Return account -> names whose split the account is entitled to and has not got."""
    since, until = (on - timedelta(days=policy.action_days_max)).isoformat(), on.isoformat()
    found: dict[AccountId, set[int]] = {}
    # Who reads a page asks for its accounts and for the reasons; on most days there is no split.
    splits = once(
        session, ("splits", since, until), lambda: prices.acting(session, _SPLIT, since, until)
    )
    for action, security_id in splits:
        waiting = lots.unbooked_of(session, action, account_ids)
        for _, firm, account in breaks.decided(session, [action] if waiting else []):
            owned = accounts.sleeves(session, sorted(waiting))
            waiting = {
                one
                for one in waiting
                if account not in {None, one} or one not in owned or owned[one].firm_id != firm
            }
        for one in waiting:
            found.setdefault(one, set()).add(security_id)
    return found


def reasons(
    session: Session, account_ids: Sequence[AccountId], on: date, policy: Policy
) -> list[Plan]:
    """Return plans that trade nothing and say, once a day, which names wait for their split."""
    waiting = unsplit(session, account_ids, on, policy)
    return [
        Plan(sleeve, f"split/{on}", (), dict.fromkeys(sorted(waiting[one]), Reason.WAIT_ACTION))
        for one, sleeve in accounts.sleeves(session, sorted(waiting)).items()
    ]
