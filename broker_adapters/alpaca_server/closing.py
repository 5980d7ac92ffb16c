"""Orders that follow from others: positions closed, whole or in part, and orders replaced."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from broker_adapters.alpaca_server.book import Book
from broker_adapters.alpaca_server.exchange import BAD, Answer, refused, scaled
from broker_adapters.alpaca_server.router import Request
from robo.core.ids import new_id
from robo.core.shares import format_nanos, parse_nanos

Send = Callable[[Mapping[str, Any]], Answer]
_GOOD: Final = 200
_MARKET: Final = {"type": "market", "time_in_force": "day"}
_SIZES: Final = {"qty", "time_in_force", "client_order_id"}
"""What may be changed of an order here; all orders are market orders of the day."""
_IN_DOLLARS: Final = (
    "avg_entry_price",
    "market_value",
    "cost_basis",
    "unrealized_pl",
    "unrealized_plpc",
    "unrealized_intraday_pl",
    "unrealized_intraday_plpc",
    "current_price",
    "lastday_price",
    "change_today",
)


def close(book: Book, asked: Request, name: str, send: Send) -> Answer:
    """Sell a position: all of it, `qty` shares, or `percentage` per cent, rounded down."""
    status, body = book.position(name)
    if status != _GOOD:
        return status, body
    given = {**asked.query, **asked.fields}
    nanos = parse_nanos(body["qty_available"])
    try:
        if given.get("qty") is not None:
            nanos = scaled(given["qty"], 9) or 0
        elif given.get("percentage") is not None:
            nanos = nanos * (scaled(given["percentage"], 9) or 0) // (100 * 10**9)
    except ValueError as error:
        return refused(422, BAD, str(error))
    if nanos == 0:
        return refused(403, 40310000, "insufficient qty available for order (available: 0)")
    return send({"symbol": body["symbol"], "qty": format_nanos(nanos), "side": "sell", **_MARKET})


def close_all(book: Book, asked: Request, send: Send) -> Answer:
    """Sell every position, one status each; open orders go first if `cancel_orders` says so."""
    if str(asked.query.get("cancel_orders", "")).lower() == "true":
        book.cancel_all()
    told = []
    for one in book.positions()[1]:
        status, body = close(book, Request("DELETE", "", {}), one["symbol"], send)
        if status == _GOOD:
            body = {"subtag": None, "source": None, **body}  # only this list has them
        told.append({"symbol": one["symbol"], "status": status, "body": body})
    return 207, told


def replace(book: Book, asked: Request, order_id: str, send: Send) -> Answer:
    """Replace an open order in shares by one of another size; the old one ends as `replaced`.

    Nothing happens to the old one if the new one could not be taken.
    """
    status, old = book.order(order_id)
    if status != _GOOD:
        return status, old
    client_id = str(asked.fields.get("client_order_id") or new_id("cid"))
    try:
        nanos = scaled(asked.fields.get("qty", old["qty"]), 9) or 0
    except ValueError as error:
        return refused(422, BAD, str(error))
    refusal = _irreplaceable(book, asked, old, nanos, client_id)
    if refusal is not None:
        return refusal
    book.cancel(order_id)
    wanted = {name: old[name] for name in ("symbol", "side")} | _MARKET
    status, new = send({**wanted, "qty": format_nanos(nanos), "client_order_id": client_id})
    if status != _GOOD:
        return status, new
    book.replaced.remember(order_id, new["id"], new["submitted_at"])
    return book.order(new["id"])


def _irreplaceable(
    book: Book, asked: Request, old: Mapping[str, Any], nanos: int, client_id: str
) -> Answer | None:
    """Return why an order cannot be replaced, None if it can."""
    if old["status"] not in {"new", "accepted"} or parse_nanos(old["filled_qty"]):
        return refused(422, BAD, f"order is not replaceable: it is {old['status']}")
    if old["qty"] is None or set(asked.fields) - _SIZES:
        return refused(422, BAD, "only the qty of an order in shares can be replaced here")
    held = book.position(old["symbol"])[1]
    room = parse_nanos(old["qty"]) + parse_nanos(held.get("qty_available", "0"))
    if old["side"] == "sell" and nanos > room:
        return refused(403, 40310000, "insufficient qty available for order")
    if book.order_by_client_id(client_id)[0] == _GOOD:
        return refused(422, 40010001, "client_order_id must be unique")
    return None


def with_currency(position: Mapping[str, Any]) -> dict[str, Any]:
    """Return a position as the list of everybody's tells it: in dollars, and in dollars again."""
    usd = {name: position[name] for name in _IN_DOLLARS}
    return {**position, "swap_rate": "1", "avg_entry_swap_rate": "1", "usd": usd}


CONFIGURATION: Final = {
    "dtbp_check": "entry",
    "fractional_trading": True,
    "max_margin_multiplier": "1",
    "no_shorting": True,
    "pdt_check": "entry",
    "suspend_trade": False,
    "trade_confirm_email": "none",
    "ptp_no_exception_entry": False,
    "max_options_trading_level": 0,
}
"""How every account is configured; it cannot be changed here."""
