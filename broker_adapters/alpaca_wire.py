"""Alpaca's bodies as our values, and our tickets as Alpaca's bodies: exact, strict, tolerant.

Strict where money is: a number is a plain decimal or the body is unreadable, and what cannot be
read is never guessed. Tolerant elsewhere: extra keys, new states and nulls that Alpaca may add
must not turn an order that is live into an error. Numbers go out as decimal strings and come in
as strings or JSON numbers that were read as Decimal; a binary float is refused in both directions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from broker_adapters.alpaca_fields import (
    UnreadableError,
    nanos_of,
    object_of,
    optional_text,
    parse_instant,
    required_decimal,
    required_text,
    unreadable,
    whole_cents_of,
)
from robo.core.money import AMOUNT_CENTS_MAX, NANOS_PER_SHARE, PPM, format_cents, round_ratio
from robo.core.shares import format_nanos
from robo.ports.broker import BrokerOrderState, OrderTicket, Side

_CENTS: Final = 100
_PRICE_MAX: Final = 10**9
"""Dollars a share: a thousand times the dearest there is. What is beyond all sense is unreadable;
it would fit in no column of ours."""

_STATES: Final = {
    "filled": BrokerOrderState.FILLED,
    "canceled": BrokerOrderState.CANCELED,
    "expired": BrokerOrderState.EXPIRED,
    "rejected": BrokerOrderState.REJECTED,
    # Alpaca goes on under another id; what is left of this one will never fill under ours.
}
"""Alpaca's final states. Every other word, known or new, is an order that may still fill."""
_STANDS: Final = frozenset(
    {"done_for_day", "calculated", "suspended", "stopped", "held", "replaced"}
)
_DAY_MAX: Final = timedelta(days=6)
"""In these an order can stand for ever and not be cancelled; but an order of the day is over once
the next session after a long weekend has closed."""


@dataclass(frozen=True, slots=True)
class WireOrder:
    """An order as Alpaca states it; `notional` and `price` keep every digit."""

    id: str
    client_id: str
    symbol: str
    side: Side
    notional: Decimal | None
    nanos: int | None
    status: str
    filled_nanos: int
    filled_price: Decimal
    """Average price of what has filled; zero before the first fill."""
    replaces: str = ""
    """The order that this one took the place of."""
    replaced_by: str = ""
    """The order that took this one's place, as a corporate action makes Alpaca do."""
    day_from: datetime | None = None
    """When an order of the day was sent; None of every other order."""

    @property
    def state(self) -> BrokerOrderState:
        """Return our word for the status; a status we do not know is an open order.

        So is "replaced": the order lives on in the one that took its place.
        """
        return _STATES.get(self.status, BrokerOrderState.OPEN)

    def is_over(self, now: datetime) -> bool:
        """Return whether an order of the day has outlived it in a state that Alpaca may never end.

        Nothing of it can still fill.
        """
        stands = self.status in _STANDS and self.day_from is not None
        return stands and now - (self.day_from or now) > _DAY_MAX

    @property
    def filled_cents(self) -> int:
        """Return the value of what has filled, to the nearest cent."""
        return cents_of(Fraction(self.filled_nanos, NANOS_PER_SHARE) * Fraction(self.filled_price))

    @property
    def notional_cents(self) -> int | None:
        """Return the order's size in cents; None if it has none, or not a whole number of cents."""
        cents = None if self.notional is None else self.notional * _CENTS
        return None if cents is None or cents != int(cents) else int(cents)

    def matches(self, ticket: OrderTicket) -> bool:
        """Return whether this is the order that a ticket asked for, field by field."""
        return (
            self.client_id == ticket.client_id
            and self.symbol == ticket.symbol
            and self.side is ticket.side
            and self.nanos == ticket.nanos
            and (self.notional is None) == (ticket.notional_cents is None)
            and self.notional_cents == ticket.notional_cents
        )


@dataclass(frozen=True, slots=True)
class WireFill:
    """One execution of Alpaca's activities.

    `cumulative_nanos` counts the order's fills so far; 0 if that was not told.
    """

    id: str
    order_id: str
    symbol: str
    side: Side
    nanos: int
    cumulative_nanos: int
    price: Decimal
    at: datetime
    busts: str = ""
    """The execution that did not happen after all, which this row takes back."""

    @property
    def price_micros(self) -> int:
        """Return the price to the nearest micro-dollar."""
        return round_ratio(*(Fraction(self.price) * PPM).as_integer_ratio())

    @property
    def dollars(self) -> Fraction:
        """Return the exact value of the execution."""
        return Fraction(self.nanos, NANOS_PER_SHARE) * Fraction(self.price)


@dataclass(frozen=True, slots=True)
class WirePosition:
    """Shares of one symbol; negative if Alpaca says that they are short."""

    asset_id: str
    symbol: str
    nanos: int


@dataclass(frozen=True, slots=True)
class WireAccount:
    """The account's money in whole cents (parts of a cent are Alpaca's, and dropped)."""

    cash_cents: int
    withdrawable_cents: int
    spendable_cents: int
    """What a buy could be paid with, without borrowing."""
    blocked: bool
    """Whether Alpaca or its user has stopped the account from trading."""


def cents_of(dollars: Fraction) -> int:
    """Return an exact amount of dollars to the nearest cent, half away from zero."""
    return round_ratio(*(dollars * _CENTS).as_integer_ratio())


def order_body(ticket: OrderTicket) -> dict[str, str]:
    """Return the body that asks for a ticket: a market order of the day, sized in decimal text.

    The strict subset of what Alpaca takes: notional with two decimals, or shares with at most nine.
    """
    body = {
        "symbol": ticket.symbol,
        "side": ticket.side.value,
        "type": "market",
        "time_in_force": "day",
        "client_order_id": ticket.client_id,
    }
    if ticket.notional_cents is not None:
        body["notional"] = format_cents(ticket.notional_cents)
    elif ticket.nanos is not None:
        body["qty"] = format_nanos(ticket.nanos)
    return body


def parse_order(body: Any) -> WireOrder:
    """Return an order body as a value.

    Raises:
        UnreadableError: If it is no object, or an id, size or filled amount is not there.
    """
    row = object_of(body)
    qty = row.get("qty")
    price = row.get("filled_avg_price")
    return WireOrder(
        id=required_text(row, "id"),
        client_id=required_text(row, "client_order_id"),
        symbol=required_text(row, "symbol"),
        side=_side(row),
        notional=None if row.get("notional") is None else required_decimal(row, "notional"),
        nanos=None if qty is None else nanos_of(row, "qty"),
        status=required_text(row, "status"),
        filled_nanos=nanos_of(row, "filled_qty"),
        filled_price=Decimal(0) if price is None else required_decimal(row, "filled_avg_price"),
        replaces=optional_text(row, "replaces"),
        replaced_by=optional_text(row, "replaced_by"),
        day_from=_day_from(row),
    )


def _day_from(row: Mapping[str, Any]) -> datetime | None:
    if row.get("time_in_force") != "day":
        return None
    try:
        return parse_instant(row, "submitted_at")
    except UnreadableError:
        return None


def parse_fill(body: Any) -> WireFill | None:
    """Return an activity as an execution; None if it is of another kind than a (partial) fill.

    Shares of a sale may carry a sign, as those of other rows do; the sum of the order's fills may
    be left out, and is 0 then.

    Raises:
        UnreadableError: If it is a fill and not every field of it can be read.
    """
    row = object_of(body)
    if row.get("activity_type") != "FILL":
        return None
    if row.get("type") not in {"fill", "partial_fill"}:
        message = "Alpaca told an execution of a kind we do not know"
        raise UnreadableError(message, code="unknown_execution_kind")
    sign = -1 if _side(row) is Side.SELL and nanos_of(row, "qty") < 0 else 1
    sums = 0 if row.get("cum_qty") in {None, ""} else abs(nanos_of(row, "cum_qty"))
    return _fill(row, _size(sign * nanos_of(row, "qty")), sums)


def parse_amendment(body: Any) -> tuple[str, WireFill, bool] | None:
    """Return what a bust or a correction changes; None if the activity is neither.

    Returns:
        The execution that it is about; the row itself (of a bust, how much of it is taken back);
        and whether it is a correction, which says what happened instead.

    Raises:
        UnreadableError: If it is one and not every field of it can be read.
    """
    row = object_of(body)
    kind = row.get("type")
    if row.get("activity_type") != "FILL" or kind not in {"trade_bust", "trade_correct"}:
        return None
    name = "previous_execution_id" if row.get("previous_execution_id") else "previous_id"
    told = _fill(row, _size(abs(nanos_of(row, "qty"))), 0)
    return required_text(row, name), told, kind == "trade_correct"


def _fill(row: Mapping[str, Any], nanos: int, cumulative_nanos: int) -> WireFill:
    price = required_decimal(row, "price")
    if not 0 <= price <= _PRICE_MAX:
        name = "price"
        raise unreadable(name)
    told = WireFill(
        id=required_text(row, "id"),
        order_id=required_text(row, "order_id"),
        symbol=required_text(row, "symbol"),
        side=_side(row),
        nanos=nanos,
        cumulative_nanos=cumulative_nanos,
        price=price,
        at=parse_instant(row, "transaction_time"),
    )
    if cents_of(told.dollars) > AMOUNT_CENTS_MAX:
        name = "qty"
        raise unreadable(name)
    return told


def _size(nanos: int) -> int:
    if nanos <= 0:
        name = "qty"
        raise unreadable(name)
    return nanos


def parse_position(body: Any) -> WirePosition:
    """Return a position body as a value.

    Raises:
        UnreadableError: If symbol, side or quantity cannot be read.
    """
    row = object_of(body)
    nanos = nanos_of(row, "qty")
    short = required_text(row, "side") != "long"
    return WirePosition(
        required_text(row, "asset_id"),
        required_text(row, "symbol"),
        -abs(nanos) if short else nanos,
    )


def parse_account(body: Any) -> WireAccount:
    """Return an account body as a value.

    Raises:
        UnreadableError: If the cash cannot be read, or is not in US dollars.
    """
    row = object_of(body)
    if row.get("currency", "USD") != "USD":
        message = "the account is not kept in US dollars"
        raise UnreadableError(message, code="foreign_currency")
    cash = whole_cents_of(row, "cash")
    given = row.get("cash_withdrawable") is not None
    spendable = row.get("non_marginable_buying_power") is not None
    flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    return WireAccount(
        cash_cents=cash,
        withdrawable_cents=whole_cents_of(row, "cash_withdrawable") if given else cash,
        spendable_cents=whole_cents_of(row, "non_marginable_buying_power") if spendable else cash,
        blocked=any(row.get(flag) is not False for flag in flags if flag in row),
    )


def _side(row: Mapping[str, Any]) -> Side:
    name = "side"
    side = required_text(row, name)
    if side not in {Side.BUY.value, Side.SELL.value}:
        raise unreadable(name)
    return Side(side)
