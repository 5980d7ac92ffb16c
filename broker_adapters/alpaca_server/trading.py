"""The trading half: `/v2` for the one account, and the same below `/v1/trading/accounts/{id}`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from broker_adapters.alpaca_server import bodies
from broker_adapters.alpaca_server.bodies import Fill
from broker_adapters.alpaca_server.book import Book
from broker_adapters.alpaca_server.closing import CONFIGURATION, Send, close, close_all
from broker_adapters.alpaca_server.closing import replace as replace_order
from broker_adapters.alpaca_server.events import EventLog
from broker_adapters.alpaca_server.exchange import BAD, Answer, Exchange, refused, scaled
from broker_adapters.alpaca_server.faults import FaultKind
from broker_adapters.alpaca_server.router import Request, Router
from broker_adapters.alpaca_server.rows import row_id
from broker_adapters.alpaca_server.shelf import Shelf
from robo.core.clock import NEW_YORK, business_date, iso_instant, to_micros
from robo.core.ids import new_id
from robo.core.market_calendar import MarketCalendar
from robo.core.shares import format_nanos
from robo.ports.broker import Execution

_UNAUTHORIZED: Final = (401, {"message": "unauthorized."})
Find = Callable[[str], Book | None]


@dataclass(frozen=True, slots=True)
class Floor:
    """What the trading half works with."""

    exchange: Exchange
    calendar: MarketCalendar
    log: EventLog
    shelf: Shelf


def add_trading(router: Router, floor: Floor, prefix: str, find: Find) -> None:
    """Add an account's orders, positions and executions below a prefix.

    Args:
        router: The table.
        floor: What the handlers work with.
        prefix: `/v2`, or `/v1/trading/accounts/{}` whose part is given to `find`.
        find: Returns the book of an account, None if there is none.
    """

    def on(method: str, path: str, act: Callable[..., Answer]) -> None:
        def handler(request: Request, *parts: str) -> Answer:
            named = prefix.count("{}")
            book = find(parts[0] if named else "")
            return _UNAUTHORIZED if book is None else act(book, request, *parts[named:])

        router.add(method, prefix + path, handler)

    on("GET", "/account", lambda book, _: book.summary())
    on("GET", "/account/activities", lambda book, asked: book.activities(asked.query))
    on("GET", "/account/activities/{}", lambda book, asked, t: book.activities(asked.query, t))
    on("GET", "/orders", lambda book, asked: book.orders(asked.query))
    on("POST", "/orders", lambda book, asked: _submit(floor, book, asked))
    on("DELETE", "/orders", lambda book, _: book.cancel_all())
    by_client = "client_order_id"
    on(
        "GET",
        "/orders:by_client_order_id",
        lambda book, asked: book.order_by_client_id(asked.query.get(by_client, "")),
    )
    on("GET", "/orders/{}", lambda book, _, one: book.order(one))
    on("DELETE", "/orders/{}", _cancel)
    on("GET", "/positions", lambda book, _: book.positions())
    on("GET", "/positions/{}", lambda book, _, one: book.position(one))
    on("DELETE", "/positions", lambda book, asked: close_all(book, asked, sender(floor, book)))
    on(
        "DELETE",
        "/positions/{}",
        lambda book, asked, one: close(book, asked, one, sender(floor, book)),
    )
    on(
        "PATCH",
        "/orders/{}",
        lambda book, asked, one: replace_order(book, asked, one, sender(floor, book)),
    )
    on("GET", "/account/configurations", lambda _book, _: (200, CONFIGURATION))


def add_market(router: Router, floor: Floor, prefix: str) -> None:
    """Add assets, clock and calendar below `/v2` or `/v1`."""
    exchange = floor.exchange
    router.add("GET", f"{prefix}/assets", lambda asked: exchange.assets(query=asked.query))
    router.add("GET", f"{prefix}/assets/{{}}", lambda _, one: exchange.assets(one))
    router.add("GET", f"{prefix}/clock", lambda _: _clock(floor.calendar, exchange.now()))
    router.add("GET", f"{prefix}/calendar", lambda asked: _calendar(floor.calendar, asked))


def tell_fills(floor: Floor) -> None:
    """Let the stream of trades tell of every execution."""

    def heard(book: Book, execution: Execution, cumulative_nanos: int) -> None:
        def build() -> dict[str, Any]:
            order = book.published(execution.client_id) or {}
            filled = order.get("status") == "filled"
            return {
                "account_id": book.account_id,
                "event": "fill" if filled else "partial_fill",
                "execution_id": bodies.uuid_of("execution", execution.id),
                "order": order,
                "price": bodies.price_text(execution.price_micros),
                "qty": format_nanos(execution.nanos),
                "position_qty": format_nanos(book.held(execution.security_id)),
                "cum_qty": format_nanos(cumulative_nanos),
            }

        floor.log.trade(to_micros(execution.executed_at), execution.id, build)

    floor.exchange.listen(heard)


def inject(floor: Floor, book: Book, body: Any) -> Answer:
    """Add an activity by hand: a fee, interest, cash moved; `net_amount` moves the cash."""
    kind = body.get("activity_type") if isinstance(body, dict) else None
    if not isinstance(kind, str) or not kind:
        return refused(422, BAD, "an activity needs an activity_type")
    now = floor.exchange.now()
    day, key = business_date(now), new_id("act")
    row = {
        "id": row_id(day, key),
        "account_id": book.account_id,
        "date": day.isoformat(),
        "net_amount": "0",
        "status": "executed",
        "description": "",
        **body,
        "created_at": iso_instant(to_micros(now)),
    }
    floor.shelf.put("row", [(str(row["id"]), book.account, row)])
    replay_row(floor, book, row)
    return 200, row


def replay_row(floor: Floor, book: Book, row: dict[str, Any]) -> None:
    """Do what a row that was added by hand does: cash, and shares if it has some."""
    now = floor.exchange.now()
    book.move_cash(_signed(row.get("net_amount"), 2))
    security_id = floor.exchange.security_id(str(row.get("symbol") or ""))
    if security_id is not None:
        book.move_shares(security_id, _signed(row.get("qty"), 9))
    book.tell(row, now, now)


def amend(floor: Floor, book: Book, body: Any) -> Answer:
    """Take an execution back (`execution_id`), or `bust` shares of it, or correct it.

    A correction has a `price`, a `qty`, or both.
    """
    asked = body if isinstance(body, dict) else {}
    floor.exchange.look()
    kept = {"execution_id": str(asked.get("execution_id") or ""), "id": new_id("amd")}
    kept |= {name: str(asked[name]) for name in ("price", "qty", "bust") if asked.get(name)}
    kept["at"] = iso_instant(to_micros(floor.exchange.now()))
    try:
        row = replay_amendment(floor, book, kept)
    except ValueError as error:
        return refused(422, BAD, str(error))
    floor.shelf.put("amendment", [(kept["id"], book.account, kept)])
    return 200, row


def replay_amendment(floor: Floor, book: Book, kept: dict[str, str]) -> dict[str, Any]:
    """Take back or correct an execution, and return the row that tells of it.

    Raises:
        ValueError: If there is no such execution, or the correction is no number.
    """
    tail = kept["execution_id"]
    old = book.find_fill(tail) if tail else None
    if old is None:
        message = "there is no such execution"
        raise ValueError(message)
    execution = old.execution
    part = scaled(kept.get("bust"), 9) or 0
    fixed = "price" in kept or "qty" in kept
    new = replace(
        execution,
        id=kept["id"],
        nanos=(scaled(kept.get("qty"), 9) or execution.nanos) - part,
        price_micros=scaled(kept.get("price"), 6) or execution.price_micros,
    )
    instead = Fill(new, old.cumulative_nanos - execution.nanos + new.nanos, old.symbol)
    book.amend(tail, instead if fixed or part else None)
    at = datetime.fromisoformat(kept["at"])
    told = replace(new, executed_at=at)
    row = {
        "id": bodies.fill_id(told),
        "account_id": book.account_id,
        "activity_type": "FILL",
        "type": "trade_correct" if fixed else "trade_bust",
        "transaction_time": kept["at"],
        "price": bodies.price_text(told.price_micros),
        "qty": format_nanos(told.nanos if fixed else -(part or told.nanos)),
        "side": told.side.value,
        "symbol": old.symbol,
        "order_id": bodies.uuid_of("order", execution.client_id),
        "cum_qty": format_nanos(instead.cumulative_nanos if fixed else 0),
        "leaves_qty": "0",
        "execution_id": bodies.uuid_of("execution", told.id),
        "previous_execution_id": bodies.uuid_of("execution", execution.id),
    }
    book.tell(row, at, floor.exchange.now())
    floor.log.trade(
        to_micros(at),
        told.id,
        lambda: {
            **{name: row[name] for name in ("account_id", "price", "qty", "execution_id")},
            "event": row["type"],
            "previous_execution_id": row["previous_execution_id"],
            "order": book.published(execution.client_id) or {},
            "position_qty": format_nanos(book.held(execution.security_id)),
        },
    )
    return row


def _submit(floor: Floor, book: Book, asked: Request) -> Answer:
    doomed = asked.fault is not None and asked.fault.kind is FaultKind.REJECT_LATER
    status, body = book.submit(asked.fields, doomed=doomed)
    if status == 200:  # noqa: PLR2004 - HTTP's own word
        told = {"account_id": book.account_id, "event": "new", "order": body}
        key = f"{body['id']}/new"
        floor.log.trade(to_micros(floor.exchange.now()), key, lambda: told)
    return status, body


def _cancel(book: Book, asked: Request, order_id: str) -> Answer:
    fault = asked.fault
    late = fault is not None and fault.kind is FaultKind.CANCEL_LATER
    return book.cancel(order_id, after_seconds=fault.seconds if late and fault else 0.0)


def sender(floor: Floor, book: Book) -> Send:
    """Return what takes an order that follows from another request."""
    return lambda order: _submit(floor, book, Request("POST", "", {}, order))


def _signed(value: Any, decimals: int) -> int:
    text = str(value or "0")
    size = text.removeprefix("-")
    if not any(digit in size for digit in "123456789"):
        return 0
    return (-1 if text.startswith("-") else 1) * (scaled(size, decimals) or 0)


def _clock(sessions: MarketCalendar, now: datetime) -> Answer:
    day = sessions.on_or_after(business_date(now))
    later = day if now < sessions.opens_at(day) else sessions.shift(day, 1)
    closing = day if now < sessions.closes_at(day) else later
    return 200, {
        "timestamp": now.astimezone(NEW_YORK).isoformat(),
        "is_open": sessions.is_open(now),
        "next_open": sessions.opens_at(later).astimezone(NEW_YORK).isoformat(),
        "next_close": sessions.closes_at(closing).astimezone(NEW_YORK).isoformat(),
    }


def _calendar(sessions: MarketCalendar, asked: Request) -> Answer:
    start, end = asked.query.get("start", ""), asked.query.get("end", "9999")
    return 200, [
        {
            "date": day.isoformat(),
            "open": f"{sessions.opens_at(day).astimezone(NEW_YORK):%H:%M}",
            "close": f"{sessions.closes_at(day).astimezone(NEW_YORK):%H:%M}",
            "session_open": "0400",
            "session_close": "2000",
        }
        for day in sessions.sessions
        if start <= day.isoformat() <= end
    ]
