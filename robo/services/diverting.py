"""Fills that come after their order has ended: the customer's where it still fits, else the firm's.

What was reserved has been given back and may be spent, shares may be promised to another sale. A
late fill is the customer's if the cash or the shares are still free; otherwise the firm takes it
on its own book, so that the customer is never bought twice nor below nothing. So it does with a
purchase that would be a wash sale by now: nothing had kept a loss of the name from being taken
since the order had ended.
"""

from collections.abc import Sequence
from datetime import date

from sqlmodel import Session

from robo.core.clock import business_date, from_micros
from robo.core.ids import AccountId
from robo.services.apportioning import ENDED, Share
from robo.services.washing.bans import purchase_bans
from robo.store import inventory, ledger, windows


def is_late(share: Share) -> bool:
    """Return whether a share's order had ended when it was told."""
    return share.order.state in ENDED


def place(
    session: Session, shares: Sequence[Share], on: date
) -> tuple[list[Share], list[inventory.Taken]]:
    """Return the shares that are the customers', and the parts that the firm takes.

    Args:
        session: The booking's transaction.
        shares: In the order in which they are booked.
        on: The day on which the books learn of them.
    """
    late = [share for share in shares if is_late(share)]
    if not late:
        return list(shares), []
    accounts = sorted({share.order.account_id for share in late})
    balances = ledger.many_account_balances(session, accounts)
    cash = {account: mine.cash_cents for account, mine in balances.items()}
    promised = windows.open_sells(session)
    free = {
        (account, security): nanos - promised.get((account, security), 0)
        for account, mine in balances.items()
        for security, nanos in mine.holdings_nanos.items()
    }
    banned = _banned(session, late, on)
    kept: list[Share] = []
    taken: list[inventory.Taken] = []
    for share in shares:
        washes = (share.order.account_id, share.order.security_id) in banned
        washes = washes and share.execution.side == "buy"
        if not is_late(share) or (not washes and _fits(share, cash, free)):
            kept.append(share)
        else:
            taken.append(_taken(share))
    return kept, taken


def _banned(session: Session, late: Sequence[Share], on: date) -> set[tuple[AccountId, int]]:
    """Return (account, security) of which a purchase, then or now, would be a wash sale."""
    buys = [share for share in late if share.execution.side == "buy"]
    accounts = sorted({share.order.account_id for share in buys})
    days = {business_date(from_micros(share.execution.executed_at)) for share in buys} | {on}
    return {
        (account, security)
        for day in sorted(days if buys else ())
        for account, mine in purchase_bans(session, accounts, day, accounts).items()
        for security in mine
    }


def _fits(share: Share, cash: dict[AccountId, int], free: dict[tuple[AccountId, int], int]) -> bool:
    """Return whether there is still enough for a share, and use it up."""
    account, security = share.order.account_id, share.order.security_id
    if share.execution.side == "buy":
        if cash[account] < share.part.cents:
            return False
        cash[account] -= share.part.cents
        return True
    if free.get((account, security), 0) < share.part.nanos:
        return False
    free[account, security] -= share.part.nanos
    return True


def _taken(share: Share) -> inventory.Taken:
    return inventory.Taken(
        id=share.fill_id,
        firm_id=share.firm_id,
        execution_id=share.execution.id,
        order_id=share.order.id,
        security_id=share.order.security_id,
        side=share.execution.side,
        nanos=share.part.nanos,
        cents=share.part.cents,
        fee_cents=share.part.fee_cents,
        why="late_fill",
    )
