"""The paper broker's values in the words and types of Alpaca's bodies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final
from uuid import UUID, uuid5

from broker_adapters.paper_store import PaperOrder
from robo.core.clock import NEW_YORK, iso_instant, to_micros
from robo.core.money import NANOS_PER_SHARE, PPM, format_cents, format_micros, round_ratio
from robo.core.shares import format_nanos
from robo.ports.broker import BrokerOrderState, Execution
from robo.ports.plugins import ListedSecurity

_NAMESPACE: Final = UUID("6f1e0d52-6f7e-4c3a-9b57-0d6a3c1f2b11")
_PRICE_DECIMALS: Final = 12
_STATUSES: Final = {
    BrokerOrderState.OPEN: "new",
    BrokerOrderState.FILLED: "filled",
    BrokerOrderState.CANCELED: "canceled",
    BrokerOrderState.EXPIRED: "expired",
    BrokerOrderState.REJECTED: "rejected",
}


_YESTERDAY: Final = (
    "last_long_market_value",
    "last_short_market_value",
    "last_initial_margin",
    "last_regt_buying_power",
    "last_daytrading_buying_power",
    "bod_dtbp",
    "pending_transfer_out",
    "pending_transfer_in",
)
"""What the account was worth yesterday: this server does not say."""


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution, how many shares its order has filled with it, and how many are left."""

    execution: Execution
    cumulative_nanos: int
    symbol: str


def uuid_of(kind: str, key: str) -> str:
    """Return the one UUID of a thing."""
    return str(uuid5(_NAMESPACE, f"{kind}:{key}"))


def order(one: PaperOrder, fills: Sequence[Fill], status: str | None = None) -> dict[str, Any]:
    """Return an order's body.

    Args:
        one: The order.
        fills: What it has filled so far.
        status: Alpaca's word for its state, if not the usual one.
    """
    created = iso_instant(one.submitted_at)
    filled = sum(fill.execution.nanos for fill in fills)
    value = sum(fill.execution.nanos * fill.execution.price_micros for fill in fills)
    last = iso_instant(to_micros(fills[-1].execution.executed_at)) if fills else None
    usual = "partially_filled" if filled and not one.state.final else _STATUSES[one.state]
    word = status or usual
    changed = last or created
    return {
        "id": uuid_of("order", one.client_id),
        "client_order_id": one.client_id,
        "created_at": created,
        "updated_at": changed,
        "submitted_at": created,
        "filled_at": last if word == "filled" else None,
        "expired_at": changed if word == "expired" else None,
        "canceled_at": changed if word == "canceled" else None,
        "failed_at": changed if word == "rejected" else None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": uuid_of("asset", one.symbol),
        "symbol": one.symbol,
        "asset_class": "us_equity",
        "notional": None if one.notional_cents is None else format_cents(one.notional_cents),
        "qty": None if one.nanos is None else format_nanos(one.nanos),
        "filled_qty": format_nanos(filled),
        "filled_avg_price": _decimal(Fraction(value, filled * PPM)) if filled else None,
        "order_class": "",
        "order_type": "market",
        "type": "market",
        "side": one.side.value,
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": None,
        "status": word,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": f"{one.side.value}_to_{'open' if one.side == 'buy' else 'close'}",
        "commission": 0,
    }


def price_text(price_micros: int) -> str:
    """Return a price as Alpaca writes it."""
    return format_micros(price_micros)


def fill_id(execution: Execution) -> str:
    """Return the id of an execution's row; it begins with New York's time, as Alpaca's do."""
    return f"{_local(execution.executed_at)}::{uuid_of('execution', execution.id)}"


def activity(fill: Fill, one: PaperOrder, account_id: str = "") -> dict[str, Any]:
    """Return an execution's body; the Broker API says whose it is."""
    execution = fill.execution
    left = 0 if one.nanos is None else one.nanos - fill.cumulative_nanos
    final = one.state is BrokerOrderState.FILLED and fill.cumulative_nanos == one.filled_nanos
    return {
        "id": fill_id(execution),
        **({"account_id": account_id} if account_id else {}),
        "activity_type": "FILL",
        "transaction_time": iso_instant(to_micros(execution.executed_at)),
        "type": "fill" if final else "partial_fill",
        "price": format_micros(execution.price_micros),
        "qty": format_nanos(execution.nanos),
        "side": execution.side.value,
        "symbol": fill.symbol,
        "leaves_qty": format_nanos(left),
        "order_id": uuid_of("order", execution.client_id),
        "cum_qty": format_nanos(fill.cumulative_nanos),
        "order_status": "filled" if final else "partially_filled",
    }


def position(symbol: str, nanos: int, available: int, price_micros: int) -> dict[str, Any]:
    """Return a position's body; entry prices are the present price: the books own the cost."""
    price = format_micros(price_micros)
    value = format_cents(round_ratio(nanos * price_micros, NANOS_PER_SHARE * 10_000))
    zero = ("unrealized_pl", "unrealized_plpc", "unrealized_intraday_pl")
    body = {
        "avg_entry_price": price,
        "market_value": value,
        "cost_basis": value,
        **dict.fromkeys(zero, "0"),
        "unrealized_intraday_plpc": "0",
        "current_price": price,
        "lastday_price": price,
        "change_today": "0",
    }
    return {
        "asset_id": uuid_of("asset", symbol),
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": False,
        "qty": format_nanos(nanos),
        "qty_available": format_nanos(available),
        "side": "long",
        **body,
        "usd": dict(body),
    }


def asset(
    security: ListedSecurity, price_micros: int | None, *, fractionable: bool
) -> dict[str, Any]:
    """Return an asset's body; one without a price cannot be traded."""
    return {
        "id": uuid_of("asset", security.symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": security.symbol,
        "name": security.symbol,
        "status": "active",
        "tradable": price_micros is not None,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": fractionable,
        "attributes": ["fractional_eh_enabled"] if fractionable else [],
        "last_price": None if price_micros is None else price_text(price_micros),
        "last_close_pct_change": "0",
    }


def account(cash_cents: int, settled_cents: int, power_cents: int, holdings: int) -> dict[str, Any]:
    """Return the account's body; amounts in cents."""
    cash, equity = format_cents(cash_cents), format_cents(cash_cents + holdings)
    power = format_cents(power_cents)
    none = ("accrued_fees", "initial_margin", "maintenance_margin", "last_maintenance_margin")
    return {
        "id": uuid_of("account", "paper"),
        "account_number": "PA0000000001",
        "status": "ACTIVE",
        "currency": "USD",
        "cash": cash,
        "cash_withdrawable": format_cents(settled_cents),
        "buying_power": power,
        "regt_buying_power": power,
        "daytrading_buying_power": "0",
        "non_marginable_buying_power": power,
        "options_buying_power": "0",
        "options_approved_level": "0",
        "options_trading_level": "0",
        "equity": equity,
        "last_equity": equity,
        "portfolio_value": equity,
        "long_market_value": format_cents(holdings),
        "short_market_value": "0",
        "sma": "0",
        **dict.fromkeys((*none, *_YESTERDAY), "0"),
        "cash_transferable": format_cents(settled_cents),
        "last_cash": cash,
        "last_buying_power": power,
        "previous_close": iso_instant(0),
        "clearing_broker": "SELF",
        "crypto_status": "INACTIVE",
        "last_daytrade_count": 0,
        "multiplier": "1",
        "daytrade_count": 0,
        "pattern_day_trader": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": False,
        "created_at": iso_instant(0),
    }


def _local(at: datetime) -> str:
    local = at.astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}"


def _decimal(exact: Fraction) -> str:
    scale = 10**_PRICE_DECIMALS
    whole, rest = divmod(round_ratio(exact.numerator * scale, exact.denominator), scale)
    return f"{whole}.{rest:0{_PRICE_DECIMALS}d}".rstrip("0").rstrip(".")
