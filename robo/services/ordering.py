"""The one writer of orders: a plan becomes orders, reserved cash and reasons, all or nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from robo.core.ids import AccountId, FirmId, child_id
from robo.core.reasons import Reason
from robo.ledger import recipes
from robo.store import effects, events, ledger, orders, windows
from robo.store.accounts import Sleeve
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Trade:
    """An intention: cents of a buy or nanoshares of a sell, with the reason."""

    security_id: int
    reason: Reason
    buy_cents: int = 0
    sell_nanos: int = 0
    lots: tuple[tuple[str, int], ...] = ()
    """Lots of a sale and nanoshares of each, in the order they go; empty: first in first out."""
    gains: tuple[int, ...] = ()
    """Cents that each of these is expected to realise; empty where nobody worked it out."""
    effect: TradeEffect | None = None
    """What the plan expects of it; None where nobody asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one account is going to trade, and what it leaves alone; `cause` names the batch."""

    sleeve: Sleeve
    cause: str
    trades: tuple[Trade, ...]
    skips: Mapping[int, Reason]
    hold_until: str = ""
    effect: PlanEffect | None = None

    @property
    def batch_id(self) -> str:
        """Return the batch: the same cause can only ever make the same orders."""
        return child_id("bat", self.sleeve.id, self.cause)

    @property
    def reserve_cents(self) -> int:
        """Return the cash that the buys need."""
        return sum(trade.buy_cents for trade in self.trades)


def write(session: Session, keyring: Keyring, plans: Sequence[Plan], at_micros: int) -> None:
    """Write the orders of plans and reserve their cash, in the caller's transaction.

    Raises:
        InsufficientFundsError: If an account has less free cash than its plan needs.
        IntegrityError: If a batch was written before.
    """
    # A batch's name is made once here: a night writes a million orders.
    by_firm: dict[str, list[tuple[Plan, str]]] = {}
    batched = [(plan, plan.batch_id) for plan in plans]
    for plan, batch_id in batched:
        by_firm.setdefault(plan.sleeve.firm_id, []).append((plan, batch_id))
    for firm_id, mine in sorted(by_firm.items()):
        transfers = [
            transfer
            for plan, batch_id in mine
            for transfer in recipes.reserve(plan.sleeve.account_id, plan.reserve_cents, batch_id)
        ]
        ledger.post(session, keyring.chain, transfers, FirmId(firm_id), at_micros)
    made = [order for plan, batch_id in batched for order in _orders(plan, batch_id)]
    skips = [
        orders.NewSkip(plan.sleeve.account_id, batch_id, security_id, reason)
        for plan, batch_id in batched
        for security_id, reason in plan.skips.items()
    ]
    orders.write(session, made, skips, at_micros)
    _write_effects(session, batched, made, at_micros)


def _write_effects(
    session: Session,
    batched: Sequence[tuple[Plan, str]],
    made: Sequence[orders.NewOrder],
    at_micros: int,
) -> None:
    """Write which lots the sales mean, and what trades and plans were expected to do."""
    trades = [trade for plan, _ in batched for trade in plan.trades]
    placed = [(order.id, trade) for order, trade in zip(made, trades, strict=True)]
    named = [
        (order_id, lot_id, place, nanos, trade.gains[place] if trade.gains else None)
        for order_id, trade in placed
        for place, (lot_id, nanos) in enumerate(trade.lots)
    ]
    effects.name_lots(session, named)
    effects.write(
        session,
        [(order_id, trade.effect) for order_id, trade in placed if trade.effect is not None],
        [
            (batch_id, plan.sleeve.account_id, plan.effect)
            for plan, batch_id in batched
            if plan.effect is not None
        ],
        at_micros,
    )


def unwritten(session: Session, plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans whose cause has made no orders before."""
    keys = [(plan.sleeve.id, plan.batch_id) for plan in plans]
    written = orders.batches_written(session, keys)
    return [plan for plan, key in zip(plans, keys, strict=True) if key not in written]


def untold(session: Session, plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans that trade, or that leave names alone of which their batch has not told.

    Jobs that run every few seconds ask before they open a transaction to write.
    """
    keys = [(str(plan.sleeve.account_id), plan.batch_id) for plan in plans if not plan.trades]
    told = orders.skips_written(session, keys)
    return [
        plan
        for plan in plans
        if plan.trades or plan.skips.keys() - told.get((plan.sleeve.account_id, plan.batch_id), ())
    ]


def _orders(plan: Plan, batch_id: str) -> list[orders.NewOrder]:
    sleeve = plan.sleeve
    return [
        orders.NewOrder(
            id=child_id("ord", sleeve.id, batch_id, trade.security_id),
            firm_id=sleeve.firm_id,
            account_id=sleeve.account_id,
            sleeve_id=sleeve.id,
            batch_id=batch_id,
            security_id=trade.security_id,
            side="buy" if trade.buy_cents else "sell",
            notional_cents=trade.buy_cents or None,
            nanos=trade.sell_nanos or None,
            reason=trade.reason,
            hold_until=plan.hold_until if trade.buy_cents else "",
        )
        for trade in plan.trades
    ]


def cancel_planned(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    account_id: AccountId,
    reason: Reason,
    at_micros: int,
) -> int:
    """Cancel an account's orders that no window has taken; return the cents set free.

    Orders that the broker may know of are left alone: what was told cannot be untold.
    """
    found = orders.planned_of_account(session, account_id)
    mine = [(account_id, order_id, cents) for order_id, cents in found]
    return _cancel(session, keyring, firm_id, mine, reason, at_micros)


def cancel_planned_of_security(
    session: Session,
    keyring: Keyring,
    security_id: int,
    reason: Reason,
    at_micros: int,
    only: Collection[AccountId] | None = None,
) -> int:
    """Cancel the orders of a security that no window has taken; return the cents set free.

    After a split their nanoshares would mean another share, after a merger none. `only` leaves out
    everybody but some accounts.
    """
    by_firm: dict[str, list[tuple[AccountId, str, int]]] = {}
    for firm_id, account_id, order_id, cents in orders.planned_of_security(session, security_id):
        if only is None or account_id in only:
            by_firm.setdefault(firm_id, []).append((account_id, order_id, cents))
    return sum(
        _cancel(session, keyring, FirmId(firm_id), found, reason, at_micros)
        for firm_id, found in by_firm.items()
    )


def cancel_waiting(
    session: Session,
    keyring: Keyring,
    found: Sequence[tuple[windows.WaitingOrder, Reason]],
    at_micros: int,
) -> None:
    """Cancel planned orders, each with its reason, and give back what they reserve.

    One that ends with its day keeps what it waited for: what goes on for days is a person's.
    """
    groups: dict[tuple[str, str], list[tuple[AccountId, str, int]]] = {}
    for order, reason in found:
        kept = order.code and reason is Reason.REJECT_EXPIRED
        code = f"{reason.value}:{order.code}" if kept else reason.value
        group = groups.setdefault((order.firm_id, code), [])
        group.append((order.account_id, order.id, order.reserved_cents))
    for (firm_id, code), mine in sorted(groups.items()):
        _cancel(session, keyring, FirmId(firm_id), mine, code, at_micros)


def _cancel(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    found: Sequence[tuple[AccountId, str, int]],
    code: str,
    at_micros: int,
) -> int:
    transfers = [
        transfer
        for account_id, order_id, cents in found
        for transfer in recipes.release(account_id, cents, order_id)
    ]
    ledger.post(session, keyring.chain, transfers, firm_id, at_micros)
    orders.end(session, [(order_id, "canceled", code) for _, order_id, _ in found], at_micros)
    events.emit(
        session,
        [
            events.NewEvent(firm_id, "order.canceled", order_id, account_id=account_id)
            for account_id, order_id, _ in found
        ],
        at_micros,
    )
    return sum(cents for _, _, cents in found)
