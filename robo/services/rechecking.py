"""Orders that were planned before something came to light: those that would wash are taken back.

A household that forms, or a file of trades elsewhere, says what no plan could know. What no window
has taken yet is looked at again; what the broker may know of cannot be untold.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import business_date
from robo.core.ids import SecurityId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.prices import ActionKind
from robo.services import dividing, ordering
from robo.services.washing.folding import people
from robo.services.washing.windows import window
from robo.store import breaks, households, lots, orders, outside_trades, prices, windows
from robo.store.keyring import Keyring
from robo.store.windows import WaitingOrder
from robo.tax.wash_events import AccountKind

_OUT: Final = (Reason.SELL_WITHDRAWAL, Reason.SELL_CLOSE_OUT)
"""Sales that a customer asked for; a loss of theirs may be disallowed."""
_LAG: Final = 3_600_000_000
"""A plan may be written an hour after it was read for."""
_RECENT: Final = 7 * 86_400_000_000
"""No order waits longer for its window."""
_CHANGING: Final = frozenset(
    {ActionKind.SPLIT.value, ActionKind.SPIN_OFF.value, *(kind.value for kind in dividing.LEAVING)}
)
"""Actions after which the shares are others; of dividends only the cash comes late."""


def take_back(
    session: Session, keyring: Keyring, customer_ids: Collection[str], on: date, at_micros: int
) -> int:
    """Cancel planned orders of people that would make a wash sale, and return how many.

    Args:
        session: The transaction in which it came to light.
        keyring: Chains what is given back.
        customer_ids: Everybody concerned.
        on: Today.
        at_micros: Now.
    """
    found = _washing(session, customer_ids, on)
    ordering.cancel_waiting(session, keyring, found, at_micros)
    return len(found)


def overtaken(
    session: Session, waiting: Sequence[WaitingOrder], on: date, at_micros: int
) -> dict[str, Reason]:
    """Return planned orders that would wash by what came to light as they were written, and why.

    A plan read before a household formed may have been written after it; and an order that waited,
    behind the kill switch for one, may have been overtaken by a withdrawal's loss.
    """
    if not waiting:
        return {}
    return _sold_since(session, waiting, on) | _known_since(session, waiting, on, at_micros)


def unbooked(
    session: Session,
    waiting: Sequence[WaitingOrder],
    now: datetime,
    policy: Policy,
    *,
    shared: bool,
) -> dict[str, Reason]:
    """Return planned orders in names whose shares an action has changed and the books have not.

    Until it is booked the shares of who is entitled are yesterday's, and the price is today's.
    Where accounts share one at the broker, nobody else of theirs trades the name either: what it
    says that it divides would not be what was held any more. An action that the broker brought as
    something else and a person has cleared (`robo.services.parking`) holds nobody there any more.

    Args:
        session: The caller's transaction.
        waiting: The orders.
        now: The present instant.
        policy: How long after its ex-date an action is waited for; then a person looks.
        shared: Whether all accounts of a firm are one at the broker.
    """
    day, days = business_date(now), policy.action_days_max
    acting = _acting(session, day, days, {one.security_id for one in waiting}) if waiting else []
    held: dict[str, list[WaitingOrder]] = {}
    for action, security_id in acting:
        named = [one for one in waiting if one.security_id == security_id]
        held[action] = _held(session, action, named, shared=shared)
    for action, firm, account in breaks.decided(session, [a for a, some in held.items() if some]):
        held[action] = [
            one
            for one in held[action]
            if one.firm_id != firm or account not in {None, one.account_id}
        ]
    return dict.fromkeys(
        sorted({one.id for some in held.values() for one in some}), Reason.WAIT_ACTION
    )


def _held(
    session: Session, action: str, named: Sequence[WaitingOrder], *, shared: bool
) -> list[WaitingOrder]:
    """Return which orders in an action's name it keeps from being sent.

    Only what is theirs is asked for: a window is looked at every few seconds, and of an action that
    went by and left one account behind there may be thousands of others.
    """
    mine = lots.unbooked_of(session, action, sorted({one.account_id for one in named}))
    firms = sorted({one.firm_id for one in named if one.account_id not in mine}) if shared else []
    theirs = {firm for firm in firms if lots.is_unbooked(session, action, firm)}
    return [one for one in named if one.account_id in mine or one.firm_id in theirs]


def unbooked_accounts(session: Session, on: date, days: int) -> set[str]:
    """Return the accounts that are entitled to an action which the books have not."""
    actions = [action for action, _ in _acting(session, on, days)]
    return {account for account, _ in lots.waiting_of_actions(session, actions)}


def _acting(
    session: Session, on: date, days: int, security_ids: Collection[int] | None = None
) -> list[tuple[str, int]]:
    since = (on - timedelta(days=days)).isoformat()
    return prices.acting(session, _CHANGING, since, on.isoformat(), security_ids)


def _sold_since(session: Session, waiting: Sequence[WaitingOrder], on: date) -> dict[str, Reason]:
    """Return purchases of names that the household has sold at a loss since they were planned."""
    buys = [one for one in waiting if one.side == "buy"]
    names = {one.security_id for one in buys}
    sold = [pair for pair in windows.unsettled_sales(session) if pair[1] in names] if buys else []
    if not sold:
        return {}
    owned = households.owners_of(session, sorted({account for account, _ in sold}))
    known = people(session, {one.customer_id for one in owned.values()})
    touched = {
        (other, name)
        for account, name in sold
        for customer in known.together(owned[account].customer_id, on)
        for other in known.accounts[customer]
    }
    mine = [one for one in buys if (one.account_id, one.security_id) in touched]
    if not mine:
        return {}
    booked = window(session, sorted({one.account_id for one in mine}), on, planned=False)
    return {
        one.id: Reason.SKIP_WASH_BUY
        for one in mine
        if SecurityId(one.security_id) in booked.no_purchase(one.account_id)
    }


def _known_since(
    session: Session, waiting: Sequence[WaitingOrder], on: date, at_micros: int
) -> dict[str, Reason]:
    """Return what a household that formed, or trades elsewhere, say of orders planned before."""
    news = households.joined_since(session, at_micros - _RECENT)
    for customer, at in outside_trades.imported_since(session, at_micros - _RECENT):
        news[customer] = max(at, news.get(customer, at))
    if not news:
        return {}
    known = people(session, news)
    late: dict[str, int] = {}
    for customer, at in news.items():
        for one in known.together(customer, on):
            late[one] = max(at, late.get(one, at))
    told = {account: at for one, at in late.items() for account in known.accounts[one]}
    before = {
        one.id
        for one in waiting
        if one.account_id in told and one.planned_at - _LAG <= told[one.account_id]
    }
    if not before:
        return {}
    return {one.id: why for one, why in _washing(session, late, on) if one.id in before}


def _washing(
    session: Session, customer_ids: Collection[str], on: date
) -> list[tuple[WaitingOrder, Reason]]:
    """Return planned orders of people that would make a wash sale, and why.

    Purchases of names that may not be bought, and sales of names of which the household has bought
    within 30 days, or is buying, anything that they leave. A sale may end as a gain: it is planned
    again by the next plan, which sees the day's prices.
    """
    owned = households.accounts_of(session, sorted(customer_ids))
    accounts = [one.id for one in owned if one.state != "closed"]
    planned = windows.waiting_of(session, accounts, _OUT) if accounts else []
    if not planned:
        return []
    today, booked = window(session, accounts, on), window(session, accounts, on, planned=False)
    unit = {account: today.units[account].number for account in accounts}
    found: list[tuple[WaitingOrder, Reason]] = []
    for one in planned:
        banned = SecurityId(one.security_id) in today.no_purchase(one.account_id)
        if one.side == "buy" and banned:
            found.append((one, Reason.SKIP_WASH_BUY))
    gone = {one.id for one, _ in found}
    buying = {
        (unit[one.account_id], one.security_id)
        for one in orders.open_orders(session, accounts)
        if one.side == "buy" and one.id not in gone
    }
    held = lots.open_lots(session, accounts)
    for one in planned:
        account, name = one.account_id, one.security_id
        if one.side == "buy" or today.kinds[account] is AccountKind.IRA:
            continue
        mine = {lot.id for lot in held.get(account, ())}
        if (unit[account], name) in buying or booked.fresh_beside(account, name, mine):
            found.append((one, Reason.SKIP_WASH_LOSS))
    return found
