"""The step that says what sales for a withdrawal or a closing are expected to do, lot by lot.

Such a plan says what must go; the lots are those that the method of its customer names.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from robo.core.ids import AccountId, LotId, SecurityId
from robo.core.money import PPM, notional_cents
from robo.core.policy import Policy
from robo.ports.prices import PriceSource
from robo.services import picking, selling, weighing
from robo.services.ordering import Plan, Trade
from robo.services.picking import adjusted
from robo.services.quoting import Board
from robo.services.taxing.standings import Standing
from robo.services.washing import Window
from robo.store import chunks
from robo.store.database import Database
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.lots import OpenLot
from robo.tax import lots as tax_lots
from robo.tax.gains import Net, total
from robo.tax.rates import Rates
from robo.tax.wash_events import AccountKind


def sales(
    db: Database,
    prices: PriceSource,
    at: datetime,
    policy: Policy,
    raw: chunks.RawChunk,
    seen: Board,
    window: Window,
    standing: Standing,
    cause: str,
    need_cents: int | None,
) -> Plan:
    """Return the sales that raise money, with what each is expected to do to tax and risk.

    A loss that would be disallowed counts as none; an IRA pays no tax.

    Args:
        db: For the risk model, and what a direct sleeve follows.
        prices: Of the day.
        at: Now.
        policy: Costs and minimums.
        raw: The account, with its lots.
        seen: Prices, and what may not be traded.
        window: What the day forbids the account.
        standing: Where its owner stands.
        cause: Names the batch.
        need_cents: None sells all that may be sold.
    """
    account = raw.sleeves[0].account_id
    pick = picking.as_told(window, standing, account)
    plan = selling.plan(raw, seen, at, policy, cause, need_cents, pick)
    price = seen.price_micros
    nets = [
        _net(window, account, raw.lots.get(account, ()), trade, price.get(trade.security_id, 0))
        for trade in plan.trades
    ]
    costs = [
        weighing.cost_cents(notional_cents(t.sell_nanos, price.get(t.security_id, 0)), policy)
        for t in plan.trades
    ]
    taxes = [_tax(one, standing.rates) for one in nets]
    if window.kinds[account] is AccountKind.IRA:
        taxes = [0] * len(nets)
    trades = tuple(
        replace(trade, effect=TradeEffect(tax, cost, None))
        for trade, tax, cost in zip(plan.trades, taxes, costs, strict=True)
    )
    whole = sum(nets, Net())
    effect = PlanEffect(
        None, None, sum(taxes), sum(costs), whole.short_cents, whole.long_cents, model_id=""
    )
    told = replace(plan, trades=trades, effect=effect if trades else None)
    with db.read() as session:
        return weighing.weighed(session, prices, at, raw, [told])[0]


def _net(
    window: Window,
    account: AccountId,
    lots: Sequence[OpenLot],
    trade: Trade,
    price_micros: int,
) -> Net:
    """Return what a sale realises at a price, before its costs."""
    mine = [lot for lot in lots if lot.security_id == trade.security_id]
    free = [lot for lot in mine if lot.hold_until <= window.on.isoformat()]
    worth = notional_cents(trade.sell_nanos, price_micros, "down")
    ordered = [adjusted(window, lot) for lot in free]
    closings = tax_lots.close(ordered, trade.sell_nanos, worth, trade.lots)
    size = {str(lot.id): lot.nanos for lot in ordered}
    since = {str(lot.id): lot.acquired_on for lot in ordered}
    whole = {LotId(one.lot_id) for one in closings if one.nanos == size[str(one.lot_id)]}
    masks = window.masks(account, mine)
    washed: set[str] = set()
    if window.fresh_beside(account, SecurityId(trade.security_id), whole):
        washed = {*masks.no_loss, *(masks.whole_only.keys() - whole)}
    return total(
        (since[str(one.lot_id)], window.on, one.gain_cents)
        for one in closings
        if one.nanos and not (one.gain_cents < 0 and one.lot_id in washed)
    )


def _tax(net: Net, rates: Rates) -> int:
    """Return the tax at the rates on the next dollar; negative where it is saved."""
    return (net.short_cents * rates.short_ppm + net.long_cents * rates.long_ppm) // PPM
