"""Fills that come after their order has ended: the customer's where it still fits, else the firm's.

What was reserved has been given back and may be spent, shares may be promised to another sale. A
late fill is the customer's if the cash or the shares are still free; otherwise the firm takes it
on its own book, so that the customer is never bought twice nor below nothing.
"""

from collections.abc import Sequence

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.services.apportioning import ENDED, Share
from robo.store import inventory, ledger, windows


def is_late(share: Share) -> bool:
    """Return whether a share's order had ended when it was told."""
    return share.order.state in ENDED


def place(session: Session, shares: Sequence[Share]) -> tuple[list[Share], list[inventory.Taken]]:
    """Return the shares that are the customers', and the parts that the firm takes."""
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
    kept: list[Share] = []
    taken: list[inventory.Taken] = []
    for share in shares:
        if not is_late(share) or _fits(share, cash, free):
            kept.append(share)
        else:
            taken.append(_taken(share))
    return kept, taken


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
