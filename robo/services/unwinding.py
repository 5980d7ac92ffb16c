"""Restricted shares that the customer told us to sell: all of them, or those that cost no tax.

Shares of an employer are left alone until the customer says what to do. `sell` sells every free
lot; `sell_within_budget` sells the lots that realise no gain, because a budget for gains is zero
until the customer sets one. A lot whose loss would be disallowed, because other shares of the name
were bought within 30 days and stay, waits until they are older.
"""

from datetime import datetime

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId, LotId
from robo.core.money import notional_cents
from robo.core.reasons import Reason
from robo.ports.prices import PriceSource
from robo.services import ordering
from robo.services.isolating import Blame
from robo.services.quoting import board
from robo.services.washing import Window, window
from robo.store import accounts, chunks
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.lots import OpenLot


def plan(db: Database, keyring: Keyring, prices: PriceSource, clock: Clock) -> int:
    """Plan the sales that customers chose for restricted names; return how many accounts sell.

    Once a business date for each account: what did not sell is asked for again tomorrow.
    """
    with db.read() as session:
        chosen = chunks.customers_who_sell(session)
        todo = [a for c in chosen for a in accounts.accounts_of_customer(session, c)]
    blame = Blame[AccountId](db, clock, "sell-restricted", str)
    return blame.each(todo, lambda one: _plan_one(db, keyring, prices, clock.now(), one))


def _plan_one(
    db: Database, keyring: Keyring, prices: PriceSource, now: datetime, account_id: AccountId
) -> int:
    with db.read() as session:
        raw = chunks.read(session, [account_id], with_lots=True)
        today = window(session, [account_id], business_date(now)) if raw.sleeves else None
    if today is None:
        return 0
    sleeve = raw.sleeves[0]
    made = ordering.Plan(
        sleeve=sleeve,
        cause=f"unwind/{business_date(now).isoformat()}",
        trades=_trades(raw, prices, now, today),
        skips={},
    )
    if not made.trades:
        return 0
    with db.write() as session:
        if not ordering.unwritten(session, [made]):
            return 0
        ordering.write(session, keyring, [made], to_micros(now))
    return 1


def _trades(
    raw: chunks.RawChunk, prices: PriceSource, now: datetime, window: Window
) -> tuple[ordering.Trade, ...]:
    sleeve = raw.sleeves[0]
    busy = {order.security_id for order in raw.open_orders}
    rules = raw.restricted.get(sleeve.customer_id, {})
    today = business_date(now).isoformat()
    quotes = board(prices, sorted(rules), now)
    trades: list[ordering.Trade] = []
    for security_id, rule in sorted(rules.items()):
        price = quotes.price_micros.get(security_id)
        if rule.sell_blocked or not rule.to_sell or security_id in busy:
            continue
        if price is None or security_id in quotes.stopped:
            continue  # halted, or without a price: asked for again tomorrow
        lots = [
            lot
            for lot in raw.lots.get(sleeve.account_id, ())
            if lot.security_id == security_id and lot.hold_until <= today
        ]
        if rule.to_sell == "sell_within_budget":
            # First in, first out is what the booking sells: stop at the first lot with a gain.
            lots = _without_gain(lots, price)
        if window.fresh_beside(sleeve.account_id, security_id, {lot.id for lot in lots}):
            # Their loss would be disallowed today: they go once nothing of the name is fresh.
            lots = [lot for lot in lots if not _at_a_loss(lot, price, window)]
        nanos = sum(lot.nanos for lot in lots)
        if nanos:
            reason = Reason.SELL_RESTRICTION_CHOICE
            named = tuple((lot.id, lot.nanos) for lot in lots if lot.nanos)
            trades.append(ordering.Trade(security_id, reason, sell_nanos=nanos, lots=named))
    return tuple(trades)


def _at_a_loss(lot: OpenLot, price_micros: int, window: Window) -> bool:
    found = window.adjusted.get(LotId(lot.id))
    basis = lot.basis_cents + (found.added_cents if found else 0)
    return notional_cents(lot.nanos, price_micros) < basis


def _without_gain(lots: list[OpenLot], price_micros: int) -> list[OpenLot]:
    kept: list[OpenLot] = []
    for lot in lots:
        if notional_cents(lot.nanos, price_micros) > lot.basis_cents:
            break
        kept.append(lot)
    return kept
