"""Orders at one account of Alpaca's: sent once, found by our id, never guessed at.

Both adapters speak to Alpaca through this: the Trading API below `/orders`, the Broker API below
`/trading/accounts/{id}/orders`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from broker_adapters.alpaca_entries import KnownOrder
from broker_adapters.alpaca_fields import UnreadableError, rows_of
from broker_adapters.alpaca_http import AlpacaHttp, NoAnswerError, Reply
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_pace import Lane, ThrottledError
from broker_adapters.alpaca_settings import AlpacaSettings
from broker_adapters.alpaca_verdicts import classify
from broker_adapters.alpaca_wire import WireOrder, order_body, parse_order
from robo.core.clock import Clock
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.ports.broker import (
    AccountModel,
    BrokerOrder,
    BrokerOrderState,
    Capabilities,
    OrderTicket,
    Refusal,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.brokerage import Asset
from robo.ports.terms import ClientIdRule, CursorKind, Feed, Group, MoneyIdempotency

CLIENT_ID_LENGTH_MAX: Final = 128
_BUY_CENTS_MIN: Final = 100
_DECIMALS: Final = 9
_ORDER_PAGE: Final = 500
_PAGES_MAX: Final = 200
_NOT_FOUND: Final = 404
_UNREADABLE: Final = 422
"""What was asked for is understood and is nothing: of a symbol, that it is none."""
_REPLACED_MAX: Final = 10
"""Orders that take each other's place one after the other; more are no chain of ours."""
_ONE_BY_ONE: Final = 3
"""So many assets are asked for one by one; more, as the whole list."""


def capabilities(
    name: str, given: AlpacaSettings, model: AccountModel, groups: frozenset[Group]
) -> Capabilities:
    """Return what Alpaca can do: the strict subset of what its pages and answers promise.

    Market orders of the day, for whole shares, parts and dollars alike; nothing at Alpaca keeps a
    transfer from being made twice.
    """
    return Capabilities(
        name=name,
        simulated=not given.live,
        account_model=model,
        fractional=True,
        notional=True,
        share_decimals=_DECIMALS,
        buy_notional_cents_min=_BUY_CENTS_MIN,
        client_id_length_max=CLIENT_ID_LENGTH_MAX,
        settlement_days=1,
        orders_per_second_max=max(1, given.per_minute // 60),
        always_open=False,
        sell_notional_cents_min=1,
        client_id_rule=ClientIdRule.UNIQUE,
        money_idempotency=MoneyIdempotency.NONE,
        executions_by=Feed.POLL,
        cursor_kind=CursorKind.TEXT,
        requests_per_minute_max=given.per_minute,
        groups=groups,
    )


class OrderUnknownError(BrokerUnavailableError):
    """Alpaca says that there is no order with an id that it has told itself."""

    code = "order_not_found"


class OrderDesk:
    """Sends, finds and cancels orders of one account."""

    def __init__(
        self,
        http: AlpacaHttp,
        journal: AlpacaJournal,
        clock: Clock,
        security: Callable[[str], SecurityId],
        prefix: str = "",
    ) -> None:
        """Take the client, the journal, the time, what names a symbol, and where the account is."""
        self._http, self._journal, self._clock, self._security = http, journal, clock, security
        self._orders = f"{prefix}/orders"

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order once; what was not seen is UNKNOWN."""
        try:
            reply = self._http.post(self._orders, order_body(ticket), Lane.AT_ONCE)
        except ThrottledError as error:
            return SubmitResult(SubmitStatus.THROTTLED, code=error.code, refusal=Refusal.RATE)
        except NoAnswerError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
        if reply.fine:
            return self._told(ticket, reply)
        result = classify(reply.status, reply.body).result(sentence(reply))
        return self._adopt(ticket) if result.status is SubmitStatus.DUPLICATE else result

    def find(self, client_id: str, lane: Lane = Lane.READS) -> WireOrder | None:
        """Return the order with that client id; one None right after an order is no proof.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        if not 0 < len(client_id) <= CLIENT_ID_LENGTH_MAX:
            return None
        query = {"client_order_id": client_id}
        reply = self._http.get(f"{self._orders}:by_client_order_id", query, lane)
        if reply.fine:
            order = parse_order(reply.body)
            if order.client_id != client_id:
                message = "Alpaca answered another order than was asked for"
                raise UnreadableError(message)
            return order
        if reply.status == _NOT_FOUND and classify(404, reply.body).status is SubmitStatus.REJECTED:
            return None
        message = "the order was not answered"
        raise BrokerUnavailableError(message, code=f"http_{reply.status}")

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for an order to be cancelled; late fills may still come."""
        order = self.find(client_id, Lane.ORDERS)
        if order is None:
            return _too_late(None, "unknown_order", "There is no order with this id.")
        order = self._line(order, Lane.ORDERS)[-1]
        if order.state.final:
            return _too_late(order.id, "not_cancelable", f"The order is {order.status}.")
        try:
            reply = self._http.delete(f"{self._orders}/{order.id}", Lane.ORDERS)
        except ThrottledError as error:
            return SubmitResult(SubmitStatus.THROTTLED, order.id, error.code, "", Refusal.RATE)
        except NoAnswerError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, order.id, error.code)
        if reply.fine:
            return SubmitResult(SubmitStatus.ACCEPTED, order.id)
        return classify(reply.status, reply.body).result(sentence(reply))

    def open_orders(self) -> list[BrokerOrder]:
        """Return every open order, over all pages.

        Raises:
            BrokerUnavailableError: If a page was not answered.
        """
        found: list[WireOrder] = []
        query = {"status": "open", "direction": "asc", "limit": str(_ORDER_PAGE)}
        for _ in range(_PAGES_MAX):
            rows = rows_of(answered(self._http.get(self._orders, query, Lane.READS)))
            found += [parse_order(row) for row in rows]
            if len(rows) < _ORDER_PAGE:
                shown = [self._open(one) for one in found]
                return [one for one in shown if not one.state.final]
            query["after_order_id"] = found[-1].id
        message = "there are more open orders than can be"
        raise BrokerUnavailableError(message, code="too_many_orders")

    def shown(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id as the port shows it, with what took its place.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        order = self.find(client_id)
        return None if order is None else self._published(self._line(order))

    def _line(self, order: WireOrder, lane: Lane = Lane.READS) -> list[WireOrder]:
        """Return an order and those that took its place, as a corporate action makes Alpaca do.

        They are ours under the first one's id, and so is what they execute.
        """
        line = [order]
        while line[-1].replaced_by and len(line) < _REPLACED_MAX:
            try:
                following = _by_id(self._http, self._orders, line[-1].replaced_by, lane)
            except OrderUnknownError:
                if line[-1].is_over(self._clock.now()):
                    break  # Alpaca has forgotten it, and its day is over
                raise
            known = self._journal.order(order.id)
            security_id = self._security(order.symbol) if known is None else known.security_id
            self._journal.learn(KnownOrder(following.id, order.client_id, security_id))
            line.append(following)
        return line

    def _open(self, order: WireOrder) -> BrokerOrder:
        """Return an order of the list of open ones: one that took another's place is the other."""
        if not order.replaces:
            return self._published([order])
        known = known_order(self._http, self._journal, self._security, self._orders, order.id)
        return self.shown(known.client_id) or self._published([order])

    def _published(self, line: Sequence[WireOrder]) -> BrokerOrder:
        """Return an order as the port shows it; its cents as its executions were told."""
        first, last = line[0], line[-1]
        known = self._journal.order(first.id)
        over = not last.state.final and last.is_over(self._clock.now())
        state = BrokerOrderState.EXPIRED if over else last.state
        cents = 0
        for one in line:
            booked_nanos, booked_cents = self._journal.booked(one.id)
            whole = booked_nanos == one.filled_nanos  # before that, as it is worth
            cents += booked_cents if whole else one.filled_cents
        return BrokerOrder(
            client_id=first.client_id,
            broker_order_id=first.id,
            security_id=self._security(first.symbol) if known is None else known.security_id,
            side=first.side,
            notional_cents=first.notional_cents,
            nanos=first.nanos,
            state=state,
            filled_nanos=sum(one.filled_nanos for one in line),
            filled_cents=cents,
            code=last.status if state.final and last.status != "filled" else "",
        )

    def _told(self, ticket: OrderTicket, reply: Reply) -> SubmitResult:
        """Return what an answer that says "done" is worth."""
        try:
            order = parse_order(reply.body)
        except UnreadableError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
        if not order.matches(ticket):
            return SubmitResult(SubmitStatus.UNKNOWN, code="reply_mismatch")
        self._journal.learn(KnownOrder(order.id, order.client_id, ticket.security_id))
        if order.state is BrokerOrderState.REJECTED:
            return SubmitResult(
                SubmitStatus.REJECTED, order.id, "rejected", sentence(reply), Refusal.OTHER
            )
        return SubmitResult(SubmitStatus.ACCEPTED, order.id)

    def _adopt(self, ticket: OrderTicket) -> SubmitResult:
        """Return what an order is that has our client id already: this one, or another."""
        try:
            order = self.find(ticket.client_id, Lane.ORDERS)
        except BrokerUnavailableError:
            order = None
        if order is None:
            return SubmitResult(
                SubmitStatus.UNKNOWN, code="duplicate", refusal=Refusal.CLIENT_ID_TAKEN
            )
        if not order.matches(ticket):
            detail = "Another order has this client id."
            code = "client_id_mismatch"
            return SubmitResult(
                SubmitStatus.REJECTED, order.id, code, detail, Refusal.CLIENT_ID_TAKEN
            )
        self._journal.learn(KnownOrder(order.id, order.client_id, ticket.security_id))
        return SubmitResult(SubmitStatus.DUPLICATE, order.id, "duplicate")


def known_order(
    http: AlpacaHttp,
    journal: AlpacaJournal,
    security: Callable[[str], SecurityId],
    orders: str,
    order_id: str,
) -> KnownOrder:
    """Return what we called an order, asking Alpaca if we have forgotten.

    An order that took another's place is the other's, whatever Alpaca calls it.

    Raises:
        BrokerUnavailableError: If Alpaca did not answer, or does not know it.
    """
    order = _by_id(http, orders, order_id)
    first = order
    for _ in range(_REPLACED_MAX):
        known = journal.order(first.replaces) if first.replaces else None
        if known is not None:
            return _learnt(journal, KnownOrder(order.id, known.client_id, known.security_id))
        if not first.replaces:
            break
        first = _by_id(http, orders, first.replaces)
    return _learnt(journal, KnownOrder(order.id, first.client_id, security(first.symbol)))


def _by_id(http: AlpacaHttp, orders: str, order_id: str, lane: Lane = Lane.READS) -> WireOrder:
    reply = http.get(f"{orders}/{order_id}", {}, lane)
    if reply.status == _NOT_FOUND:
        message = "Alpaca knows of no such order"
        raise OrderUnknownError(message)
    if not reply.fine:
        message = "an order could not be looked up"
        raise BrokerUnavailableError(message, code="order_not_found")
    return parse_order(reply.body)


def _learnt(journal: AlpacaJournal, known: KnownOrder) -> KnownOrder:
    journal.learn(known)
    return known


def assets(
    http: AlpacaHttp, symbols: Sequence[tuple[SecurityId, str]], lane: Lane = Lane.READS
) -> list[Asset]:
    """Return whether each security can be traded now, and in fractions.

    Raises:
        BrokerUnavailableError: If Alpaca did not answer.
    """
    bodies: dict[str, Any] = {}
    if len(symbols) > _ONE_BY_ONE:
        query = {"status": "active", "asset_class": "us_equity"}
        rows = rows_of(answered(http.get("/assets", query, lane)))
        bodies = {row.get("symbol", ""): row for row in rows if isinstance(row, dict)}
    else:
        for _, symbol in symbols:
            reply = http.get(f"/assets/{symbol}", {}, lane) if symbol else Reply(_NOT_FOUND, None)
            if not _is_no_name(reply):
                bodies[symbol] = answered(reply)
    return [
        Asset(
            security_id,
            symbol,
            tradable=_flag(bodies.get(symbol), "tradable"),
            fractionable=_flag(bodies.get(symbol), "fractionable"),
        )
        for security_id, symbol in symbols
    ]


def _is_no_name(reply: Reply) -> bool:
    """Return whether an answer says of a symbol that there is no such name."""
    if reply.status == _UNREADABLE:
        verdict = classify(reply.status, reply.body, of_order=False)
        return verdict.status is SubmitStatus.REJECTED
    return reply.status == _NOT_FOUND


def answered(reply: Reply) -> Any:
    """Return the body of an answer that says "done".

    Raises:
        BrokerUnavailableError: If it says anything else: an error is never "nothing".
    """
    if not reply.fine:
        message = "Alpaca did not answer what was asked"
        raise BrokerUnavailableError(message, code=f"http_{reply.status}")
    return reply.body


def sentence(reply: Reply) -> str:
    """Return the broker's own words for the record, shortened."""
    words = reply.body.get("message") if isinstance(reply.body, dict) else reply.body
    return words[:200] if isinstance(words, str) else ""


def _flag(body: Any, name: str) -> bool:
    fine = isinstance(body, dict) and body.get("status") == "active"
    return fine and body.get(name) is True


def _too_late(order_id: str | None, code: str, detail: str) -> SubmitResult:
    return SubmitResult(SubmitStatus.REJECTED, order_id, code, detail, Refusal.ORDER_STATE)
