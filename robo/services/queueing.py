"""Accounts of one household take turns: what one of them plans, the next one has to see."""

from collections.abc import Sequence
from datetime import date

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.services.washing.folding import people
from robo.store import households


def waves(session: Session, account_ids: Sequence[AccountId], on: date) -> list[list[AccountId]]:
    """Return accounts in as few lists as keep every household's accounts apart.

    A loss that one account plans to take forbids the purchase in the next one, which must
    therefore be planned after the first one's orders are written.
    """
    owned = households.owners_of(session, account_ids)
    customers = sorted({one.customer_id for one in owned.values()})
    known = people(session, customers)
    seen: dict[str, int] = {}
    found: list[list[AccountId]] = []
    for account in account_ids:
        if account not in owned:
            continue
        home = min(known.together(owned[account].customer_id, on))
        turn = seen.get(home, 0)
        seen[home] = turn + 1
        if turn == len(found):
            found.append([])
        found[turn].append(account)
    return found
