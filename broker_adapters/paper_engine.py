"""What the paper broker's market does to orders as time passes: fill, wait, expire, refuse.

Everything happens at its own instant, in order, whenever somebody next looks: a fill that was due
at 10:00:03 is priced at 10:00:03 and stamped so, however late the poll. What comes out therefore
hangs on the seed, the orders and the prices alone, never on how often the broker was asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from broker_adapters import settings
from broker_adapters.fees import FeeSchedule, schedule
from broker_adapters.paper_actions import apply_actions
from broker_adapters.paper_store import PaperOrder, PaperTables
from broker_adapters.slippage import draw, fill_price_micros, slice_count, slice_size
from robo.core.clock import business_date, day_begins, from_micros, to_micros
from robo.core.errors import ConfigError
from robo.core.ids import SecurityId, child_id
from robo.core.money import AMOUNT_CENTS_MAX, NANOS_PER_SHARE, PPM, nanos_for_cents, notional_cents
from robo.core.shares import SHARES_MAX
from robo.ports.broker import BrokerOrderState, Execution, OrderTicket, Side
from robo.ports.brokerage import Asset
from robo.ports.plugins import PluginContext
from robo.ports.prices import PriceSource, Quote

BUY_CENTS_MIN: Final = 100
_HALT_RETRY: Final = timedelta(minutes=1)
_MICROS_PER_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """How kind or unkind this broker is."""

    seed: int
    always_open: bool
    partial_ppm: int
    partial_seconds: int
    reject_ppm: int
    spread_bps: int | None
    """None = the quote's own spread."""
    whole_only: frozenset[str]
    """Symbols that trade in whole shares only."""
    move_in_seconds: int
    """How long another firm takes to deliver positions."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order is rejected: a stable code and a sentence."""

    code: str
    detail: str


def read_config(context: PluginContext) -> PaperConfig:
    """Return the settings of a context.

    Raises:
        ConfigError: If one is wrong.
    """
    given = context.settings
    spread = settings.integer(given, "ROBO_PAPER_SPREAD_BPS", -1, lowest=-1, highest=1_000)
    return PaperConfig(
        seed=settings.integer(given, "ROBO_PAPER_SEED", 1, lowest=0, highest=2**63 - 1),
        always_open=settings.choice(given, "ROBO_PAPER_HOURS", "always", ("always", "session"))
        == "always",
        partial_ppm=settings.integer(
            given, "ROBO_PAPER_PARTIAL_PPM", 100_000, lowest=0, highest=PPM
        ),
        partial_seconds=settings.integer(
            given, "ROBO_PAPER_PARTIAL_SECONDS", 1, lowest=0, highest=3_600
        ),
        reject_ppm=settings.integer(given, "ROBO_PAPER_REJECT_PPM", 0, lowest=0, highest=PPM),
        spread_bps=None if spread < 0 else spread,
        whole_only=settings.words(given, "ROBO_PAPER_WHOLE_ONLY"),
        move_in_seconds=settings.integer(
            given, "ROBO_PAPER_MOVE_IN_SECONDS", 0, lowest=0, highest=30 * 86_400
        ),
    )


class PaperEngine:
    """Moves orders inside a transaction that the caller owns."""

    def __init__(self, context: PluginContext) -> None:
        """Take prices, sessions and settings from a context.

        Raises:
            ConfigError: If there are no prices, or a setting is wrong.
        """
        if context.prices is None:
            message = "the paper broker needs a price source"
            raise ConfigError(message, code="no_prices")
        self.config = read_config(context)
        self._prices: PriceSource = context.prices
        self._calendar = context.calendar
        self._fees: FeeSchedule = schedule()
        self._sizes = {security.id: security.size_cents for security in context.securities}
        self._symbols = {security.id: security.symbol for security in context.securities}

    def assets(self, security_ids: Sequence[SecurityId], now: datetime) -> list[Asset]:
        """Return what can be traded now; a name without a price cannot."""
        quotes = self._prices.quotes(security_ids, now)
        return [
            Asset(
                security_id=one,
                symbol=(symbol := self._symbols.get(one, "")),
                tradable=one in quotes,
                fractionable=symbol not in self.config.whole_only,
            )
            for one in security_ids
        ]

    def work_waits(self, tables: PaperTables, now: datetime) -> bool:
        """Return whether `advance` would change anything."""
        day = tables.day()
        due = tables.next_due()
        return (day is None or day < business_date(now)) or (
            due is not None and due.due_at is not None and due.due_at <= to_micros(now)
        )

    def advance(self, tables: PaperTables, now: datetime) -> None:
        """Let everything happen that is due by now, in the order in which it is due."""
        today = business_date(now)
        day = tables.day()
        if day is None:
            tables.set_day(today)
            day = today
        now_micros = to_micros(now)
        while True:
            order = tables.next_due()
            due = now_micros + 1 if order is None or order.due_at is None else order.due_at
            if order is not None and due <= min(now_micros, day_begins(day + _DAY) - 1):
                self._work(tables, order)
            elif day < today:
                day = day + _DAY if order is not None or tables.anything_held() else today
                apply_actions(tables, self._prices, day)
                tables.set_day(day)
            else:
                return

    def accept(self, tables: PaperTables, ticket: OrderTicket, now: datetime) -> PaperOrder:
        """Write a new order, rejected or open, and let it fill as far as it can at once."""
        refusal = self._refusal(tables, ticket, now)
        starts, expires = self._window(now)
        order = PaperOrder(
            seq=0,
            client_id=ticket.client_id,
            broker_order_id=child_id("pbo", ticket.client_id),
            account=ticket.broker_account,
            security_id=ticket.security_id,
            symbol=ticket.symbol,
            side=ticket.side,
            notional_cents=ticket.notional_cents,
            nanos=ticket.nanos,
            state=BrokerOrderState.REJECTED if refusal else BrokerOrderState.OPEN,
            filled_nanos=0,
            filled_cents=0,
            fee_cents=0,
            slices=slice_count(self.config.seed, ticket.client_id, self.config.partial_ppm),
            slice=0,
            submitted_at=to_micros(now),
            due_at=None if refusal else to_micros(starts),
            expires_at=None if expires is None else to_micros(expires),
            code=refusal.code if refusal else "",
            detail=refusal.detail if refusal else "",
        )
        tables.insert_order(order)
        while order.due_at is not None and order.due_at <= to_micros(now):
            self._work(tables, order)
        return order

    def cancel(self, tables: PaperTables, order: PaperOrder) -> None:
        """Cancel what is left of an open order."""
        _finish(order, BrokerOrderState.CANCELED, "canceled", "Cancelled as asked.")
        tables.update_order(order)

    def _window(self, now: datetime) -> tuple[datetime, datetime | None]:
        """Return when an order may first trade, and when the day's orders expire."""
        if self.config.always_open:
            return now, None
        today = business_date(now)
        day = self._calendar.on_or_after(today)
        if day == today and now >= self._calendar.closes_at(day):
            day = self._calendar.shift(day, 1)
        return max(now, self._calendar.opens_at(day)), self._calendar.closes_at(day)

    def _refusal(self, tables: PaperTables, ticket: OrderTicket, now: datetime) -> Refusal | None:
        quote = self._quote(ticket.security_id, now)
        if quote is None:
            if ticket.security_id in self._sizes:
                return Refusal("no_price", "There is no price for this security.")
            return Refusal("unknown_security", "This broker does not know the security.")
        refusal = self._size_refusal(tables, ticket, quote)
        if (
            refusal is None
            and draw(self.config.seed, ticket.client_id, "reject", PPM) < self.config.reject_ppm
        ):
            return Refusal("random_reject", "Rejected at random, as configured.")
        return refusal

    def _size_refusal(
        self, tables: PaperTables, ticket: OrderTicket, quote: Quote
    ) -> Refusal | None:
        nanos = ticket.nanos or nanos_for_cents(ticket.notional_cents or 0, quote.price_micros)
        cents = ticket.notional_cents or notional_cents(nanos, quote.price_micros)
        if cents > AMOUNT_CENTS_MAX or nanos > SHARES_MAX * NANOS_PER_SHARE:
            return Refusal("order_too_large", "The order exceeds what the broker can express.")
        whole = ticket.nanos is not None and ticket.nanos % NANOS_PER_SHARE == 0
        if ticket.symbol in self.config.whole_only and not whole:
            return Refusal("not_fractionable", "This security trades in whole shares only.")
        if ticket.side is Side.BUY and cents < BUY_CENTS_MIN:
            return Refusal("below_minimum", "A buy must be worth at least one dollar.")
        if ticket.side is Side.SELL and nanos > self._sellable(tables, ticket, quote):
            return Refusal("insufficient_position", "The account holds fewer shares than that.")
        return None

    def _sellable(self, tables: PaperTables, ticket: OrderTicket | PaperOrder, quote: Quote) -> int:
        """Return what other open sell orders leave of a position."""
        account = ticket.account if isinstance(ticket, PaperOrder) else ticket.broker_account
        promised = 0
        for order in tables.open_orders(ticket.security_id):
            if (
                order.side is Side.SELL
                and order.account == account
                and order.client_id != ticket.client_id
            ):
                left = _left(order)
                by_value = order.notional_cents is not None
                promised += nanos_for_cents(left, quote.bid_micros) + 1 if by_value else left
        return tables.position(account, ticket.security_id) - promised

    def _quote(self, security_id: SecurityId, at: datetime) -> Quote | None:
        return self._prices.quotes([security_id], at).get(security_id)

    def _work(self, tables: PaperTables, order: PaperOrder) -> None:
        """Take an order one step further at the instant when it is due."""
        assert order.due_at is not None
        at = from_micros(order.due_at)
        quote = self._quote(order.security_id, at)
        if order.expires_at is not None and order.due_at >= order.expires_at:
            _finish(order, BrokerOrderState.EXPIRED, "expired", "The session closed.")
        elif quote is None:
            _finish(order, BrokerOrderState.CANCELED, "no_price", "The price went away.")
        elif quote.halted:
            _wait(order, at + _HALT_RETRY)
        else:
            self._fill(tables, order, quote, at)
        tables.update_order(order)

    def _fill(self, tables: PaperTables, order: PaperOrder, quote: Quote, at: datetime) -> None:
        left = _left(order)
        part = slice_size(
            self.config.seed, order.client_id, order.slice, left, order.slices - order.slice
        )
        price = self._fill_price(order, quote)
        if order.notional_cents is None:
            nanos, cents = part, notional_cents(part, price)
        else:
            nanos, cents = nanos_for_cents(part, price), part
        cut = order.side is Side.SELL and nanos > self._sellable(tables, order, quote)
        if cut:
            nanos = self._sellable(tables, order, quote)
            cents = notional_cents(max(nanos, 0), price)
        if nanos > 0:
            self._execute(tables, order, nanos, cents, price, at)
        if cut:
            _finish(order, BrokerOrderState.CANCELED, "insufficient_position", "Nothing is left.")
        elif part == left:
            _finish(order, BrokerOrderState.FILLED, "", "")
        else:
            seconds = 1 + draw(
                self.config.seed,
                order.client_id,
                f"wait-{order.slice}",
                max(1, self.config.partial_seconds),
            )
            _wait(order, at + timedelta(seconds=min(seconds, self.config.partial_seconds)))

    def _fill_price(self, order: PaperOrder, quote: Quote) -> int:
        value = order.notional_cents or notional_cents(order.nanos or 0, quote.price_micros)
        size = self._sizes.get(order.security_id, 0)
        return fill_price_micros(order.side, quote, value, size, self.config.spread_bps)

    def _execute(
        self,
        tables: PaperTables,
        order: PaperOrder,
        nanos: int,
        cents: int,
        price: int,
        at: datetime,
    ) -> None:
        """Move shares and cash, and append the execution."""
        on = business_date(at)
        settles = self._calendar.settles_on(on)
        order.filled_nanos += nanos
        order.filled_cents += cents
        fee = 0
        if order.side is Side.SELL:
            owed = self._fees.sale_fee_cents(on, order.filled_cents, order.filled_nanos)
            fee = max(0, min(owed - order.fee_cents, cents))
            order.fee_cents += fee
        execution = Execution(
            id=child_id("pex", order.client_id, order.slice),
            client_id=order.client_id,
            security_id=order.security_id,
            side=order.side,
            nanos=nanos,
            price_micros=price,
            cents=cents,
            fee_cents=fee,
            executed_at=at,
            settles_on=settles,
        )
        order.slice += 1
        sign = 1 if order.side is Side.BUY else -1
        tables.add_execution(execution, order.account, self._prices.name)
        tables.move_position(order.account, order.security_id, sign * nanos)
        tables.move_cash(order.account, settles, -sign * cents - fee)


_DAY: Final = timedelta(days=1)


def _left(order: PaperOrder) -> int:
    if order.notional_cents is not None:
        return order.notional_cents - order.filled_cents
    return (order.nanos or 0) - order.filled_nanos


def _finish(order: PaperOrder, state: BrokerOrderState, code: str, detail: str) -> None:
    order.state, order.code, order.detail = state, code, detail
    order.due_at = None


def _wait(order: PaperOrder, until: datetime) -> None:
    micros = to_micros(until)
    order.due_at = micros if order.expires_at is None else min(micros, order.expires_at)
