"""What corporate actions do to the paper broker's positions, cash and open orders.

A holder at the start of the ex-date is entitled. Shares move on the ex-date; dividends are paid on
the pay date. Cash of a merger or delisting is credited on the ex-date and settles on the pay date.
An order that is still open in a security whose shares change is cancelled: its price and its size
were meant for another share.
"""

from datetime import date
from typing import Final

from broker_adapters.paper_store import PaperTables
from robo.core.ids import child_id
from robo.core.money import notional_cents
from robo.ports.broker import Activity, BrokerOrderState
from robo.ports.prices import ActionKind, CorporateAction, PriceSource

_LEAVING: Final = frozenset({ActionKind.CASH_MERGER, ActionKind.STOCK_MERGER, ActionKind.DELISTING})
_CANCELLING: Final = _LEAVING | {ActionKind.SPLIT, ActionKind.SPIN_OFF}


def apply_actions(tables: PaperTables, prices: PriceSource, day: date) -> None:
    """Apply a day's actions, then pay what is due: the first thing that happens on that day."""
    for action in prices.actions(day):
        if action.kind in _CANCELLING:
            _cancel_orders(tables, action)
        for account, nanos in tables.holders(action.security_id):
            if action.kind is ActionKind.CASH_DIVIDEND:
                cents = notional_cents(nanos, action.cash_micros)
                tables.add_entitlement(
                    action.id, account, action.security_id, nanos, cents, action.pay_on
                )
            else:
                _apply(tables, action, account, nanos)
    _pay(tables, day)


def _apply(tables: PaperTables, action: CorporateAction, account: str, nanos: int) -> None:
    """Move the shares and cash of one holder; fractions below a nanoshare are dropped."""
    num, den = action.ratio_num, action.ratio_den
    delta, new_nanos, cents = 0, 0, 0
    if action.kind in _LEAVING:
        delta = -nanos
    elif action.kind is ActionKind.SPLIT:
        delta = nanos * num // den - nanos
    if action.new_security_id is not None:
        new_nanos = nanos * num // den
    if action.cash_micros:
        cents = notional_cents(nanos, action.cash_micros)
    if delta:
        tables.move_position(account, action.security_id, delta)
    if new_nanos and action.new_security_id is not None:
        tables.move_position(account, action.new_security_id, new_nanos)
    if cents:
        tables.move_cash(account, max(action.pay_on, action.ex_on), cents)
    activity = Activity(
        id=child_id("pac", action.id, account),
        action_id=action.id,
        kind=action.kind,
        security_id=action.security_id,
        on=action.ex_on,
        cents=cents,
        nanos_before=nanos,
        nanos_delta=delta,
        new_security_id=action.new_security_id,
        new_nanos=new_nanos,
        broker_account=account,
    )
    tables.add_activity(activity)


def _cancel_orders(tables: PaperTables, action: CorporateAction) -> None:
    for order in tables.open_orders(action.security_id):
        order.state, order.due_at = BrokerOrderState.CANCELED, None
        order.code, order.detail = "corporate_action", f"Cancelled by a {action.kind.value}."
        tables.update_order(order)


def _pay(tables: PaperTables, day: date) -> None:
    for action_id, account, security_id, nanos, cents, pay_on in tables.take_entitlements(day):
        tables.move_cash(account, pay_on, cents)
        tables.add_activity(
            Activity(
                id=child_id("pac", action_id, account),
                action_id=action_id,
                kind=ActionKind.CASH_DIVIDEND,
                security_id=security_id,
                on=pay_on,
                cents=cents,
                nanos_before=nanos,
                nanos_delta=0,
                broker_account=account,
            )
        )
