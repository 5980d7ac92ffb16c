"""Orders that were planned before something came to light: those that would wash are taken back.

A household that forms, or a file of trades elsewhere, says what no plan could know. What no window
has taken yet is looked at again; what the broker may know of cannot be untold.
"""

from collections.abc import Collection
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.ids import SecurityId
from robo.core.reasons import Reason
from robo.services import ordering
from robo.services.washing.windows import window
from robo.store import households, lots, windows
from robo.store.keyring import Keyring

_OUT: Final = (Reason.SELL_WITHDRAWAL, Reason.SELL_CLOSE_OUT)
"""Sales that a customer asked for; a loss of theirs may be disallowed."""


def take_back(
    session: Session, keyring: Keyring, customer_ids: Collection[str], on: date, at_micros: int
) -> int:
    """Cancel planned orders of people that would make a wash sale, and return how many.

    Purchases of names that may not be bought, then sales of names of which somebody else of the
    household has bought, or is buying, within 30 days. A sale may end as a gain: it is planned
    again by the next plan, which sees the day's prices.

    Args:
        session: The transaction in which it came to light.
        keyring: Chains what is given back.
        customer_ids: Everybody concerned.
        on: Today.
        at_micros: Now.
    """
    owned = households.accounts_of(session, sorted(customer_ids))
    accounts = [one.id for one in owned if one.state != "closed"]
    planned = windows.waiting_of(session, accounts, _OUT) if accounts else []
    if not planned:
        return 0
    today = window(session, accounts, on)
    buys = [
        one
        for one in planned
        if one.side == "buy" and SecurityId(one.security_id) in today.no_purchase(one.account_id)
    ]
    ordering.cancel_waiting(
        session, keyring, [(one, Reason.SKIP_WASH_BUY) for one in buys], at_micros
    )
    # Purchases that have just been taken back forbid no sale any more.
    today = window(session, accounts, on)
    held = lots.open_lots(session, accounts)
    sells = [
        one
        for one in planned
        if one.side == "sell"
        and today.fresh_beside(
            one.account_id,
            one.security_id,
            {lot.id for lot in held.get(one.account_id, ())},
        )
    ]
    ordering.cancel_waiting(
        session, keyring, [(one, Reason.SKIP_WASH_LOSS) for one in sells], at_micros
    )
    return len(buys) + len(sells)
