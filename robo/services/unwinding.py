"""Restricted shares that the customer told us to sell: all of them, or those that cost no tax.

Shares of an employer are left alone until the customer says what to do. `sell` sells every free
lot, whatever it gains; `sell_within_budget` sells losses, and gains as far as the year's budget
reaches. Bases are those after wash sales, and prices may still move before the fill: a gain counts
with what it may rise, and a lot whose loss would be disallowed goes only at a gain that outlasts a
fall, or together with everything of its name that was bought of late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId, LotId
from robo.core.money import PPM, notional_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import inquiring, ordering, weighing
from robo.services.isolating import Blame
from robo.services.ordering import Plan, Trade
from robo.services.quoting import Board, board
from robo.services.taxing import standings
from robo.services.taxing.standings import Standing
from robo.services.washing import Window
from robo.store import accounts, chunks, effects, orders
from robo.store.chunks import RawChunk
from robo.store.database import Database
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.keyring import Keyring
from robo.store.lots import OpenLot
from robo.tax.gains import is_long
from robo.tax.wash_events import AccountKind
from robo.tax.wash_sales import WINDOW


@dataclass(frozen=True, slots=True)
class _Piece:
    """A lot that may be sold today, at today's price and its basis after wash sales."""

    lot: OpenLot
    worth_cents: int
    gain_cents: int
    long: bool


def plan(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
) -> int:
    """Plan the sales that customers chose for restricted names; return how many accounts sell.

    Once a business date for each account: what did not sell is asked for again tomorrow.
    """
    with db.read() as session:
        chosen = chunks.customers_who_sell(session)
        todo = [a for c in chosen for a in accounts.accounts_of_customer(session, c)]
    blame = Blame[AccountId](db, clock, "sell-restricted", str)
    return blame.each(
        todo, lambda one: _plan_one(db, keyring, broker, prices, clock.now(), policy, one)
    )


def _plan_one(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    now: datetime,
    policy: Policy,
    account_id: AccountId,
) -> int:
    on = business_date(now)
    with db.read() as session:
        raw = chunks.read(session, [account_id], with_lots=True)
        names = _asked(raw)
        if not names:
            return 0
        ids = [account_id]
        window, found = standings.of_accounts(session, keyring, policy, ids, on)
        standing = found[account_id]
        planned = effects.open_gains(session, [standing.customer_id])
        limits = inquiring.limits(session, broker, now)
    left = standing.budget_left_cents
    if window.kinds[account_id] is AccountKind.IRA:
        left = None
    if left is not None:
        left = max(0, left - planned.get(standing.customer_id, 0))
    seen = limits.on(board(prices, names, now))
    made = _Account(raw, seen, policy, window, standing, left).plan(names, on)
    if not made.trades and not made.skips:
        return 0
    with db.read() as session:
        (made,) = weighing.weighed(session, prices, now, raw, [made])
        said = orders.skipped(session, account_id, made.batch_id)
    if not made.trades and said >= made.skips.keys():
        return 0  # asked again every few seconds: nothing new is to be said
    with db.write() as session:
        if not ordering.unwritten(session, [made]):
            return 0
        ordering.write(session, keyring, [made], to_micros(now))
    return int(bool(made.trades))


def _asked(raw: RawChunk) -> list[int]:
    """Return the names that an account holds and its owner told us to sell."""
    if not raw.sleeves:
        return []
    sleeve = raw.sleeves[0]
    rules = raw.restricted.get(sleeve.account_id, {})
    busy = {order.security_id for order in raw.open_orders}
    held = {lot.security_id for lot in raw.lots.get(sleeve.account_id, ()) if lot.nanos}
    return sorted(
        security_id
        for security_id, rule in rules.items()
        if rule.to_sell and not rule.sell_blocked and security_id in held - busy
    )


@dataclass(slots=True)
class _Account:
    """One account on one day, and what its owner's budget for gains still allows."""

    raw: RawChunk
    seen: Board
    policy: Policy
    window: Window
    standing: Standing
    left_cents: int | None
    """None: no budget holds."""

    def plan(self, names: Sequence[int], on: date) -> Plan:
        """Return what is sold of some names, and why what stays stays."""
        sleeve = self.raw.sleeves[0]
        rules = self.raw.restricted[sleeve.account_id]
        trades: list[Trade] = []
        sold: list[_Piece] = []
        skips: dict[int, Reason] = {}
        for security_id in names:
            price = self.seen.price_micros.get(security_id)
            if price is None or security_id in self.seen.stopped:
                # Asked for again tomorrow.
                skips[security_id] = self.seen.stopped.get(security_id, Reason.SKIP_NO_PRICE)
                continue
            limited = rules[security_id].to_sell == "sell_within_budget"
            goes, why = self._goes(security_id, price, on, limited=limited)
            if self.seen.is_stuck(security_id, sum(one.lot.nanos for one in goes)):
                goes, why = [], Reason.SKIP_WHOLE_SHARES
            if goes:
                trades.append(self._trade(security_id, goes))
                sold += goes
            elif why is not None:
                skips[security_id] = why
        cause = f"unwind/{on.isoformat()}"
        return Plan(sleeve, cause, tuple(trades), skips, effect=self._effect(sold))

    def _goes(
        self, security_id: int, price_micros: int, on: date, *, limited: bool
    ) -> tuple[list[_Piece], Reason | None]:
        """Return the lots of a name that are sold, in their order, and why none is."""
        sleeve = self.raw.sleeves[0]
        mine = [
            self._piece(lot, price_micros, on)
            for lot in self.raw.lots.get(sleeve.account_id, ())
            if lot.security_id == security_id and lot.hold_until <= on.isoformat() and lot.nanos
        ]
        if not mine:
            return [], Reason.SKIP_UNSETTLED
        room = self.left_cents if limited else None
        goes = mine if room is None else self._within(mine, room)
        why = None if goes else Reason.SKIP_GAIN_LIMIT
        together = {one.lot.id for one in goes}
        if self.window.fresh_beside(sleeve.account_id, security_id, together):
            # A small gain now may be a loss at the fill, and that loss would be disallowed: they
            # go once nothing of the name is fresh.
            goes = [one for one in goes if one.gain_cents >= self._fall(one)]
            why = why or Reason.SKIP_WASH_LOSS
        if limited and self.left_cents is not None:
            self.left_cents -= sum(max(0, self._risen(one)) for one in goes)
        # What is fresh goes first: no fill that stops early then leaves it behind.
        first = (on - WINDOW).isoformat()
        goes.sort(key=lambda one: one.lot.acquired_on < first)
        return goes, None if goes else why

    def _piece(self, lot: OpenLot, price_micros: int, on: date) -> _Piece:
        worth = notional_cents(lot.nanos, price_micros, "down")
        found = self.window.adjusted.get(LotId(lot.id))
        basis = lot.basis_cents + (found.added_cents if found else 0)
        since = found.held_from if found else date.fromisoformat(lot.acquired_on)
        return _Piece(lot, worth, worth - basis, is_long(since, on))

    def _within(self, mine: Sequence[_Piece], room: int) -> list[_Piece]:
        """Return losses, and gains from the cheapest on that fit; losses make no room for them."""
        kept: list[_Piece] = []
        for one in sorted(mine, key=lambda piece: piece.gain_cents / max(piece.worth_cents, 1)):
            room -= max(0, self._risen(one))
            if room < 0:
                break
            kept.append(one)
        return kept

    def _risen(self, one: _Piece) -> int:
        """Return the gain if the price rises before the fill."""
        return one.gain_cents + one.worth_cents * self.policy.price_margin_ppm // PPM

    def _fall(self, one: _Piece) -> int:
        return -(-one.worth_cents * self.policy.wash_margin_ppm // PPM)

    def _trade(self, security_id: int, goes: Sequence[_Piece]) -> Trade:
        cost = -(-sum(one.worth_cents for one in goes) * self.policy.trade_cost_ppm // PPM)
        return Trade(
            security_id,
            Reason.SELL_RESTRICTION_CHOICE,
            sell_nanos=sum(one.lot.nanos for one in goes),
            lots=tuple((one.lot.id, one.lot.nanos) for one in goes),
            gains=tuple(one.gain_cents for one in goes),
            effect=TradeEffect(self._tax(goes), cost, None),
        )

    def _effect(self, sold: Sequence[_Piece]) -> PlanEffect | None:
        if not sold:
            return None
        return PlanEffect(
            before_ppm=None,
            after_ppm=None,
            tax_cents=self._tax(sold),
            cost_cents=-(-sum(s.worth_cents for s in sold) * self.policy.trade_cost_ppm // PPM),
            short_gain_cents=sum(one.gain_cents for one in sold if not one.long),
            long_gain_cents=sum(one.gain_cents for one in sold if one.long),
            model_id="",
        )

    def _tax(self, goes: Sequence[_Piece]) -> int:
        """Return the tax at the rates on the next dollar; negative where it is saved."""
        if self.window.kinds[self.raw.sleeves[0].account_id] is AccountKind.IRA:
            return 0
        rates = self.standing.rates
        due = sum(p.gain_cents * (rates.long_ppm if p.long else rates.short_ppm) for p in goes)
        return due // PPM
