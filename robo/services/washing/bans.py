"""Which names some accounts may not buy today: the short way, for accounts that only buy.

Almost nobody has sold anything at a loss: who has not, trades nowhere else and shares no household
with somebody who has or is selling, has no ban, and nothing of theirs is read but that.
"""

from collections.abc import Collection, Sequence
from datetime import date

from sqlmodel import Session

from robo.core.ids import AccountId, SecurityId
from robo.services.washing.folding import people
from robo.services.washing.windows import window
from robo.store import households, lot_history, orders
from robo.tax.wash_events import AccountKind


def purchase_bans(
    session: Session, account_ids: Sequence[AccountId], on: date, selling: Collection[AccountId]
) -> dict[AccountId, dict[SecurityId, date]]:
    """Return account -> names that may not be bought, and the first day on which they may.

    The same as `window(...).no_purchase`; accounts without a ban are left out.

    Args:
        session: Of one snapshot.
        account_ids: Any accounts of ours.
        on: The day of the purchase.
        selling: Those of them that have open sales.
    """
    owned = households.owners_of(session, list(account_ids))
    known = people(session, {one.customer_id for one in owned.values()})
    owner = {account: who for who, mine in known.accounts.items() for account in mine}
    taxable = [a for a in known.ours if known.accounts[owner[a]][a] is AccountKind.TAXABLE]
    exposed = set(lot_history.loss_takers(session, taxable)) | set(known.elsewhere)
    exposed |= set(taxable) & set(selling)
    shared = {
        account
        for who, mine in known.accounts.items()
        if len(mine) > 1 or len(known.ever_with(who)) > 1
        for account in mine
    }
    others = [a for a in taxable if a in shared]
    exposed |= {o.account_id for o in orders.open_orders(session, others) if o.side == "sell"}
    if not exposed:
        return {}
    touched = {other for account in exposed for other in known.ever_with(owner[account])}
    asked = [one for one in account_ids if one in owned and owned[one].customer_id in touched]
    found = window(session, asked, on)
    bans = {account: found.no_purchase(account) for account in asked}
    return {account: mine for account, mine in bans.items() if mine}
