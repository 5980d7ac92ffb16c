"""The market that all accounts of the server share: the paper broker behind Alpaca's rules."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from broker_adapters import settings
from broker_adapters.alpaca_server import bodies
from broker_adapters.alpaca_server.rows import Rows
from broker_adapters.paper import PaperBroker
from broker_adapters.paper_store import PaperOrder
from robo.core.ids import SecurityId, new_id
from robo.core.shares import format_nanos
from robo.ports.broker import (
    Activity,
    BrokerOrderState,
    Execution,
    OrderTicket,
    Side,
    SubmitStatus,
)
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import ActionKind

if TYPE_CHECKING:
    from broker_adapters.alpaca_server.book import Book

Answer = tuple[int, Any]
BAD: Final = 42210000
_EVERYTHING: Final = 10**9
_ASSET_FILTERS: Final = {"status", "asset_class", "exchange"}
_REFUSALS: Final = {
    "no_price": (422, BAD, "asset {symbol} is not active"),
    "below_minimum": (403, 40310000, "cost basis must be >= minimal amount of order 1"),
    "insufficient_position": (
        403,
        40310000,
        "insufficient qty available for order (requested: {requested}, available: {available})",
    ),
    "not_fractionable": (422, BAD, "requested asset is not fractionable"),
    "random_reject": (403, 40310000, "order was refused at random, as configured"),
    "order_too_large": (422, BAD, "order size exceeds what can be expressed"),
}
"""The paper broker's codes in Alpaca's (status, code, sentence)."""


class Exchange:
    """Routes what the paper broker does to the books of its accounts; the caller holds the lock."""

    def __init__(self, context: PluginContext) -> None:
        """Open the market of a context; what its file holds goes on."""
        self._context = context
        self.paper = PaperBroker(context)
        self.listed_until = context.settings.get("ROBO_PAPER_LIST_UNTIL", "").strip()
        """The last day whose rows the list of activities tells; empty for all."""
        self.rows = Rows(self.listed_until)
        """The rows of all accounts."""
        self._books: dict[str, Book] = {}
        self._listeners: list[Callable[[Book, Execution, int], None]] = []
        self._whole_only = settings.words(context.settings, "ROBO_PAPER_WHOLE_ONLY")
        self._gap = timedelta(
            seconds=settings.integer(
                context.settings, "ROBO_PAPER_SPLIT_GAP_SECONDS", 0, lowest=0, highest=86_400
            )
        )
        self._securities = {security.symbol: security for security in context.securities}
        self._names = {security.id: security.symbol for security in context.securities}
        self._executed = self._acted = ""
        self._known: dict[str, list[str]] = {}
        for one in self.paper.records():
            if one.state is not BrokerOrderState.REJECTED:
                self._known.setdefault(one.account, []).append(one.client_id)

    def open(self, book: "Book") -> None:
        """Let an account trade; its orders of earlier days are taken in."""
        self._books[book.account] = book
        for client_id in self._known.pop(book.account, []):
            book.take(client_id)

    def reopen(self) -> None:
        """Let every book remember what was planned; all symbols are known by now."""
        for book in self._books.values():
            book.reopen()

    def listen(self, listener: Callable[["Book", Execution, int], None]) -> None:
        """Call somebody at each execution, with what its order has filled by then."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Give the file back."""
        self.paper.close()

    def look(self) -> None:
        """Let the market go on, cancel what is due, and tell the books what has happened."""
        now = self.now()
        for book in self._books.values():
            for client_id in book.due_cancels(now):
                self.paper.cancel(client_id)
        executed = self.paper.executions(self._executed, _EVERYTHING)
        self._executed = executed.cursor
        for execution in executed.executions:
            self._route(execution, now)
        acted = self.paper.activities(self._acted, _EVERYTHING)
        self._acted = acted.cursor
        for activity in acted.activities:
            self._rename(activity)
            if activity.broker_account in self._books:
                self._books[activity.broker_account].act(activity, now, self._gap)

    def send(self, ticket: OrderTicket) -> str:
        """Give an order to the market; return the code of its refusal, empty if it was taken."""
        result = self.paper.submit(ticket)
        return result.code if result.status is SubmitStatus.REJECTED else ""

    def record(self, client_id: str) -> PaperOrder | None:
        """Return an order with everything that is kept of it."""
        return self.paper.record(client_id) if client_id else None

    def open_records(self, account: str) -> list[PaperOrder]:
        """Return an account's orders that may still fill."""
        return [one for one in self.paper.open_records() if one.account == account]

    def holdings(self, account: str) -> list[tuple[int, int]]:
        """Return (security, nanoshares) of an account."""
        return [(one.security_id, one.nanos) for one in self.paper.positions(account)]

    def prices_micros(self, security_ids: Sequence[int]) -> Mapping[int, int]:
        """Return present prices."""
        assert self._context.prices is not None
        asked = [SecurityId(one) for one in security_ids]
        quotes = self._context.prices.quotes(asked, self.now())
        return {one: quote.price_micros for one, quote in quotes.items()}

    def symbol(self, security_id: int) -> str:
        """Return a security's symbol; a name of its own for one that is listed nowhere."""
        return self._names.get(SecurityId(security_id), f"ID{security_id}")

    def security_id(self, symbol: str) -> SecurityId | None:
        """Return the security of a symbol."""
        found = self._securities.get(symbol)
        return None if found is None else found.id

    def now(self) -> datetime:
        """Return the present instant."""
        return self._context.clock.now()

    def assets(self, name: str = "", query: Mapping[str, str] | None = None) -> Answer:
        """Return every asset that `status`, `asset_class` and `exchange` leave, or one by name."""
        wanted = {
            symbol: security
            for symbol, security in self._securities.items()
            if not name or name in {symbol, bodies.uuid_of("asset", symbol)}
        }
        prices = self.prices_micros([one.id for one in wanted.values()])
        found = [
            bodies.asset(one, prices.get(one.id), fractionable=symbol not in self._whole_only)
            for symbol, one in wanted.items()
        ]
        if name and not found:
            return refused(404, 40410000, f"asset not found for {name}")
        for field, value in (query or {}).items():
            if field in _ASSET_FILTERS:
                found = [one for one in found if one[field.removeprefix("asset_")] == value]
        return 200, found[0] if name else found

    def ticket(self, body: Mapping[str, Any], account: str) -> OrderTicket:
        """Return an order's body as a ticket.

        Raises:
            ValueError: With Alpaca's sentence, if it is none that this server takes.
        """
        symbol = str(body.get("symbol", ""))
        security = self._securities.get(symbol)
        if security is None:
            message = f'asset "{symbol}" not found'
            raise ValueError(message)
        if body.get("type") != "market" or body.get("time_in_force") != "day":
            message = "this server takes market orders of the day only"
            raise ValueError(message)
        if (body.get("qty") is None) == (body.get("notional") is None):
            message = "qty or notional is required, and not both"
            raise ValueError(message)
        return OrderTicket(
            client_id=str(body.get("client_order_id") or new_id("cid")),
            broker_account=account,
            security_id=security.id,
            symbol=symbol,
            side=Side(str(body.get("side"))),
            notional_cents=scaled(body.get("notional"), 2),
            nanos=scaled(body.get("qty"), 9),
        )

    def refusal(self, ticket: OrderTicket, code: str, held: int) -> Answer:
        """Return the paper broker's refusal in Alpaca's words."""
        status, number, sentence = _REFUSALS.get(code, (422, BAD, code))
        requested, available = format_nanos(ticket.nanos or 0), format_nanos(held)
        text = sentence.format(symbol=ticket.symbol, requested=requested, available=available)
        return refused(status, number, text)

    def _route(self, execution: Execution, now: datetime) -> None:
        one = self.paper.record(execution.client_id)
        book = None if one is None else self._books.get(one.account)
        if book is None:
            return
        fill = book.fill(execution, now)
        for listener in self._listeners:
            listener(book, execution, fill.cumulative_nanos)

    def _rename(self, activity: Activity) -> None:
        """Learn the symbol that a corporate action has given to a security."""
        assert self._context.prices is not None
        for action in self._context.prices.actions(activity.on):
            if action.id != activity.action_id:
                continue
            if action.kind is ActionKind.SYMBOL_CHANGE and action.new_symbol:
                self._list(action.security_id, action.new_symbol)
            elif action.new_security_id is not None and action.new_security_id not in self._names:
                usual = f"{self.symbol(action.security_id)}.N"
                self._list(action.new_security_id, action.new_symbol or usual)

    def _list(self, security_id: SecurityId, symbol: str) -> None:
        self._names[security_id] = symbol
        self._securities[symbol] = ListedSecurity(security_id, symbol, "", 0)


def refused(status: int, code: int, message: str) -> Answer:
    """Return a refusal in Alpaca's shape."""
    return status, {"code": code, "message": message}


def scaled(value: Any, decimals: int) -> int | None:
    """Return a positive decimal (text or JSON number) as an integer of its smallest unit.

    Raises:
        ValueError: If it is anything else; None stays None.
    """
    if value is None:
        return None
    try:
        exact = Fraction(Decimal(str(value))) * 10**decimals
    except (InvalidOperation, ValueError, OverflowError):
        exact = Fraction(-1)
    if exact.denominator != 1 or not 0 < exact.numerator < 10**18:
        message = f"an order's size is positive, with at most {decimals} decimals"
        raise ValueError(message)
    return int(exact.numerator)
