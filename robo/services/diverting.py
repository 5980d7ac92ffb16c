"""Fills that come after their order has ended: the customer's where it still fits, else the firm's.

What was reserved has been given back and may be spent, shares may be promised to another sale. A
late fill is the customer's if the cash or the shares are still free; otherwise the firm takes it
on its own book, so that the customer is never bought twice nor below nothing. So it does with a
purchase that would be a wash sale by now: nothing had kept a loss of the name from being taken
since the order had ended. And with a sale at a loss of which the household has bought, or is
buying, what stays: nothing had kept it from that. But shares that have left a customer's own
account at the broker are sold, whatever the books would like.
"""

from collections.abc import Callable, Sequence
from datetime import date

from sqlmodel import Session

from robo.core.clock import business_date, from_micros
from robo.core.ids import AccountId, LotId
from robo.core.reasons import Reason
from robo.services import emptying
from robo.services.apportioning import ENDED, Share
from robo.services.washing.bans import purchase_bans
from robo.services.washing.windows import Fresh, Window, window
from robo.store import blocks, effects, inventory, ledger, lots, orders, windows
from robo.tax.wash_events import AccountKind

_OUT = frozenset({Reason.SELL_WITHDRAWAL.value, Reason.SELL_CLOSE_OUT.value})
"""Sales that a customer asked for; a loss of theirs may be disallowed by what was bought before."""


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
    loses = _washing_losses(session, shares, on)
    kept: list[Share] = []
    taken: list[inventory.Taken] = []
    for share in shares:
        washes = loses(share)
        if share.execution.side == "buy":
            washes = (share.order.account_id, share.order.security_id) in banned
        if not is_late(share) or (not washes and _fits(share, cash, free)):
            kept.append(share)
        else:
            taken.append(_taken(share))
    return kept, taken


def _banned(session: Session, late: Sequence[Share], on: date) -> set[tuple[AccountId, int]]:
    """Return (account, security) of which a purchase, then or now, would be a wash sale."""
    buys = [share for share in late if share.execution.side == "buy"]
    accounts = sorted({share.order.account_id for share in buys})
    days = {_day(share) for share in buys} | {on}
    return {
        (account, security)
        for day in sorted(days if buys else ())
        for account, mine in purchase_bans(session, accounts, day, accounts).items()
        for security in mine
    }


def _washing_losses(session: Session, shares: Sequence[Share], on: date) -> Callable[[Share], bool]:
    """Return what says of each share in turn whether it is a late sale that would be washed.

    It follows the lots from sale to sale, so it must be asked of all in the order of booking.
    """
    late = [share for share in shares if is_late(share) and share.execution.side == "sell"]
    sold_in = blocks.many(session, sorted({share.execution.block_id for share in late}))
    late = [
        share
        for share in late
        if sold_in[share.execution.block_id].broker_account == f"omnibus/{share.firm_id}"
    ]
    sellers = sorted({share.order.account_id for share in late})
    if not sellers:
        return lambda _: False
    mine = [share for share in shares if share.order.account_id in sellers]
    sales = sorted({share.order.id for share in mine if share.execution.side == "sell"})
    named, reasons = effects.named_lots(session, sales), orders.reasons(session, sales)
    held: dict[tuple[str, int], list[lots.OpenLot]] = {}
    for account_id, some in lots.open_lots(session, sellers).items():
        for lot in some:
            held.setdefault((account_id, lot.security_id), []).append(lot)
    buyers = {s.order.account_id for s in shares if is_late(s) and s.execution.side == "buy"}
    days = {_day(share) for share in late} | {on}
    known = [window(session, sorted({*sellers, *buyers}), day) for day in sorted(days)]
    coming = {
        (known[-1].units[share.order.account_id].number, share.order.security_id)
        for share in shares
        if is_late(share) and share.execution.side == "buy"
    }
    added = {lot: one.added_cents for seen in known for lot, one in seen.adjusted.items()}

    def loses(share: Share) -> bool:
        account, security = share.order.account_id, share.order.security_id
        if share.execution.side != "sell" or account not in sellers:
            return False
        left = list(held.get((account, security), ()))
        first = list(named.get(share.order.id, ()))
        if sum(lot.nanos for lot in left) < share.part.nanos:
            return False  # it does not fit, which is said elsewhere
        before = {lot.id: lot.nanos for lot in left}
        net = max(0, share.part.cents - share.part.fee_cents)
        closed = emptying.close(left, first, share.part.nanos, net, _day(share))
        lost = [one for one in closed if one.gain_cents < added.get(one.lot_id, 0)]
        if is_late(share) and lost:
            whole = {one.lot_id for one in closed if one.nanos == before[one.lot_id]}
            asked = reasons.get(share.order.id, "") in _OUT
            buys = (known[-1].units[account].number, security) in coming
            if buys or any(_stays(seen, share, whole, asked=asked) for seen in known):
                return True
        held[account, security], named[share.order.id] = left, first
        return False

    return loses


def _stays(seen: Window, share: Share, whole: set[LotId], *, asked: bool) -> bool:
    """Return whether a day knows of fresh shares that stay and would replace what a share sells."""
    account, sold_on = share.order.account_id, _day(share)
    if seen.kinds[account] is AccountKind.IRA:
        return False

    def forbids(one: Fresh) -> bool:
        if one.lot_id is None or one.bought_on >= sold_on:
            return True  # bought after it, as far as a day tells: nobody chose that
        return not asked and one.forbids(accepts=seen.accepts[account])

    fresh = seen.units[account].fresh.get(share.order.security_id, ())
    return any(one.lot_id not in whole and forbids(one) for one in fresh)


def _day(share: Share) -> date:
    return business_date(from_micros(share.execution.executed_at))


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
