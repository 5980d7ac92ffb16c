"""What the Alpaca-shaped server answers: the paper broker's market behind Alpaca's rules.

Money and shares are the paper broker's; words, refusals, ids and what a cancelled or refused order
looks like are Alpaca's. Like Alpaca's paper accounts it charges no fees and pays the exact value of
an order's executions, to the nearest cent of the order.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from threading import RLock
from typing import Any, Final

from broker_adapters import settings
from broker_adapters.alpaca_server import bodies
from broker_adapters.alpaca_server.bodies import Fill
from broker_adapters.paper import PaperBroker
from broker_adapters.paper_store import PaperOrder
from robo.core.clock import business_date, to_micros
from robo.core.ids import new_id
from robo.core.money import NANOS_PER_SHARE, PPM, round_ratio
from robo.core.shares import format_nanos
from robo.ports.broker import BrokerOrderState, OrderTicket, Side, SubmitStatus
from robo.ports.plugins import PluginContext

Answer = tuple[int, Any]
ACCOUNT: Final = "alpaca"
START_CENTS: Final = 100_000_00
_CLIENT_ID_LENGTH_MAX: Final = 128
_EVERYTHING: Final = 10**9
_CENTS_SCALE: Final = NANOS_PER_SHARE * PPM // 100
_BAD: Final = 42210000
_REFUSALS: Final = {
    "no_price": (422, _BAD, "asset {symbol} is not active"),
    "below_minimum": (403, 40310000, "cost basis must be >= minimal amount of order 1"),
    "insufficient_position": (
        403,
        40310000,
        "insufficient qty available for order (requested: {requested}, available: {available})",
    ),
    "not_fractionable": (422, _BAD, "requested asset is not fractionable"),
    "random_reject": (403, 40310000, "order was refused at random, as configured"),
    "order_too_large": (422, _BAD, "order size exceeds what can be expressed"),
}
"""The paper broker's codes in Alpaca's (status, code, sentence)."""


class Book:
    """One Alpaca account; every method is safe for threads."""

    def __init__(self, context: PluginContext) -> None:
        """Open the market of a context; what its file holds goes on."""
        self._context = context
        self._paper = PaperBroker(context)
        self._lock = RLock()
        self._start_cents = settings.integer(
            context.settings, "ROBO_PAPER_START_CENTS", START_CENTS, lowest=0, highest=10**15
        )
        self._whole_only = settings.words(context.settings, "ROBO_PAPER_WHOLE_ONLY")
        self._securities = {security.symbol: security for security in context.securities}
        self._symbols = {security.id: security.symbol for security in context.securities}
        self._client_ids = {
            bodies.uuid_of("order", one.client_id): one.client_id
            for one in self._paper.records()
            if one.state is not BrokerOrderState.REJECTED
        }
        self._fills: list[Fill] = []
        self._fills_of: dict[str, list[Fill]] = {}
        self._cursor = ""
        self._doomed: dict[str, PaperOrder] = {}
        """Orders that were accepted and will be rejected."""
        self._cancels: dict[str, datetime] = {}
        """Orders whose cancel was accepted, and when it takes effect."""

    def close(self) -> None:
        """Give the file back."""
        self._paper.close()

    def submit(self, body: Mapping[str, Any], *, doomed: bool = False) -> Answer:
        """Take an order, or refuse it as Alpaca would."""
        with self._lock:
            try:
                ticket = self._ticket(body)
            except ValueError as error:
                return _refused(422, _BAD, str(error))
            if len(ticket.client_id) > _CLIENT_ID_LENGTH_MAX:
                return _refused(422, 40010001, "client_order_id must be at most 128 characters")
            known = self._order(ticket.client_id)
            if known is not None and self._was_taken(known):
                return _refused(422, 40010001, "client_order_id must be unique")
            if ticket.side is Side.BUY and (ticket.notional_cents or 0) > self._power_cents():
                return _refused(403, 40310000, "insufficient buying power")
            order_id = bodies.uuid_of("order", ticket.client_id)
            if doomed:
                self._doomed[ticket.client_id] = self._shadow(ticket)
            else:
                result = self._paper.submit(ticket)
                if result.status is SubmitStatus.REJECTED:
                    return self._refusal(ticket, result.code)
            self._client_ids[order_id] = ticket.client_id
            # Alpaca has acknowledged the order; what it fills at once is told afterwards.
            return self._told(ticket.client_id, status="accepted")

    def order(self, order_id: str) -> Answer:
        """Return an order by Alpaca's id."""
        with self._lock:
            return self._told(self._client_ids.get(order_id, ""))

    def order_by_client_id(self, client_id: str) -> Answer:
        """Return an order by the client's id."""
        with self._lock:
            known = bodies.uuid_of("order", client_id) in self._client_ids
            return self._told(client_id if known else "")

    def orders(self, query: Mapping[str, str]) -> Answer:
        """Return orders: `status` open, closed or all; `after`, `until`, `direction`, `limit`."""
        with self._lock:
            self._look()
            wanted = query.get("status", "open")
            after, until = query.get("after", ""), query.get("until", "")
            found = []
            for client_id in self._client_ids.values():
                one = self._order(client_id)
                if one is None or not self._was_taken(one):
                    continue
                body = self._body(one)
                at = str(body["submitted_at"])
                fits = wanted == "all" or (wanted == "closed") == one.state.final
                if fits and (not after or at > after) and (not until or at < until):
                    found.append(body)
            found.sort(key=lambda body: body["submitted_at"])
            if query.get("direction", "desc") == "desc":
                found.reverse()
            return 200, found[: _limit(query.get("limit"), 50, 500)]

    def cancel(self, order_id: str, *, after_seconds: float = 0.0) -> Answer:
        """Cancel an order, at once or (as a broker that is slow to hear) later."""
        with self._lock:
            self._look()
            one = self._order(self._client_ids.get(order_id, ""))
            if one is None:
                return _refused(404, 40410000, f"order not found for {order_id}")
            if one.state.final:
                return _refused(422, _BAD, f"order is not cancelable: it is {one.state.value}")
            self._cancels[one.client_id] = self._now() + timedelta(seconds=after_seconds)
            self._look()
            return 204, None

    def activities(self, query: Mapping[str, str]) -> Answer:
        """Return executions: `direction`, `after`, `page_token` (an id), `page_size`."""
        with self._lock:
            self._look()
            types = query.get("activity_types", "FILL").split(",")
            rows = [] if "FILL" not in types else self._fills
            after = query.get("after", "")
            told = [
                bodies.activity(fill, one)
                for fill in rows
                if (one := self._order(fill.execution.client_id)) is not None
            ]
            told = [row for row in told if row["transaction_time"] > after]
            if query.get("direction", "desc") == "desc":
                told.reverse()
            token = query.get("page_token", "")
            if token:
                places = [place for place, row in enumerate(told) if row["id"] == token]
                told = told[places[0] + 1 :] if places else []
            return 200, told[: _limit(query.get("page_size"), 100, 100)]

    def positions(self) -> Answer:
        """Return every position."""
        with self._lock:
            self._look()
            return 200, list(self._positions().values())

    def position(self, name: str) -> Answer:
        """Return one position by symbol or asset id."""
        with self._lock:
            self._look()
            for symbol, body in self._positions().items():
                if name in {symbol, body["asset_id"]}:
                    return 200, body
            return _refused(404, 40410000, "position does not exist")

    def account(self) -> Answer:
        """Return the account."""
        with self._lock:
            self._look()
            cash, settled = self._cash()
            holdings = sum(
                round(Decimal(body["market_value"]) * 100) for body in self._positions().values()
            )
            return 200, bodies.account(cash, min(cash, settled), self._power_cents(), holdings)

    def assets(self, name: str = "") -> Answer:
        """Return every asset, or the one of a symbol or id."""
        found = [
            bodies.asset(security, fractionable=symbol not in self._whole_only)
            for symbol, security in self._securities.items()
        ]
        if not name:
            return 200, found
        for body in found:
            if name in {body["symbol"], body["id"]}:
                return 200, body
        return _refused(404, 40410000, f"asset not found for {name}")

    def _ticket(self, body: Mapping[str, Any]) -> OrderTicket:
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
            broker_account=ACCOUNT,
            security_id=security.id,
            symbol=symbol,
            side=Side(str(body.get("side"))),
            notional_cents=_scaled(body.get("notional"), 2),
            nanos=_scaled(body.get("qty"), 9),
        )

    def _shadow(self, ticket: OrderTicket) -> PaperOrder:
        """Return an order that the market never sees."""
        return PaperOrder(
            seq=0,
            client_id=ticket.client_id,
            broker_order_id="",
            account=ACCOUNT,
            security_id=ticket.security_id,
            symbol=ticket.symbol,
            side=ticket.side,
            notional_cents=ticket.notional_cents,
            nanos=ticket.nanos,
            state=BrokerOrderState.OPEN,
            filled_nanos=0,
            filled_cents=0,
            fee_cents=0,
            slices=1,
            slice=0,
            submitted_at=to_micros(self._now()),
            due_at=None,
            expires_at=None,
            code="",
            detail="",
        )

    def _refusal(self, ticket: OrderTicket, code: str) -> Answer:
        status, number, sentence = _REFUSALS.get(code, (422, _BAD, code))
        held = {one.security_id: one.nanos for one in self._paper.positions(ACCOUNT)}
        text = sentence.format(
            symbol=ticket.symbol,
            requested=format_nanos(ticket.nanos or 0),
            available=format_nanos(held.get(ticket.security_id, 0)),
        )
        return _refused(status, number, text)

    def _told(self, client_id: str, status: str | None = None) -> Answer:
        self._look()
        one = self._order(client_id)
        if one is None:
            return _refused(404, 40410000, "order not found")
        body = self._body(one) if status is None else bodies.order(one, [], status)
        if status is not None and client_id in self._doomed:
            self._doomed[client_id] = replace(one, state=BrokerOrderState.REJECTED)
        return 200, body

    def _body(self, one: PaperOrder) -> dict[str, Any]:
        waiting = one.client_id in self._cancels and not one.state.final
        status = "pending_cancel" if waiting else None
        return bodies.order(one, self._fills_of.get(one.client_id, []), status)

    def _order(self, client_id: str) -> PaperOrder | None:
        return self._doomed.get(client_id) or self._paper.record(client_id)

    def _was_taken(self, one: PaperOrder) -> bool:
        """Return whether an order ever existed here: one refused at once never did."""
        return one.state is not BrokerOrderState.REJECTED or one.client_id in self._doomed

    def _look(self) -> None:
        """Let the market go on, cancel what is due, and read what has filled."""
        now = self._now()
        for client_id in [one for one, at in self._cancels.items() if at <= now]:
            del self._cancels[client_id]
            if client_id in self._doomed:
                continue
            self._paper.cancel(client_id)
        page = self._paper.executions(self._cursor, _EVERYTHING)
        self._cursor = page.cursor
        for execution in page.executions:
            before = self._fills_of.setdefault(execution.client_id, [])
            filled = execution.nanos + (before[-1].cumulative_nanos if before else 0)
            fill = Fill(execution, filled, self._symbols[execution.security_id])
            before.append(fill)
            self._fills.append(fill)

    def _cash(self) -> tuple[int, int]:
        """Return (cash, cash without the proceeds of sales that have not settled)."""
        today = business_date(self._now())
        cash, unsettled = self._start_cents, 0
        for fills in self._fills_of.values():
            value = sum(fill.execution.nanos * fill.execution.price_micros for fill in fills)
            cents = round_ratio(value, _CENTS_SCALE)
            last = fills[-1].execution
            cash += cents if last.side is Side.SELL else -cents
            if last.side is Side.SELL and last.settles_on > today:
                unsettled += cents
        paid = self._paper.activities("", _EVERYTHING).activities
        cash += sum(one.cents for one in paid if one.broker_account == ACCOUNT)
        return cash, cash - unsettled

    def _power_cents(self) -> int:
        """Return the cash that open buys have not been promised."""
        promised = 0
        for one in self._paper.records():
            if one.side is Side.BUY and not one.state.final:
                promised += max(0, (one.notional_cents or 0) - one.filled_cents)
        return max(0, self._cash()[0] - promised)

    def _positions(self) -> dict[str, dict[str, Any]]:
        held = self._paper.positions(ACCOUNT)
        assert self._context.prices is not None
        quotes = self._context.prices.quotes([one.security_id for one in held], self._now())
        promised: dict[int, int] = {}
        for order in self._paper.records():
            if order.side is Side.SELL and not order.state.final:
                left = (order.nanos or 0) - order.filled_nanos
                promised[order.security_id] = promised.get(order.security_id, 0) + left
        return {
            symbol: bodies.position(
                symbol,
                one.nanos,
                max(0, one.nanos - promised.get(one.security_id, 0)),
                quotes[one.security_id].price_micros if one.security_id in quotes else 0,
            )
            for one in held
            if (symbol := self._symbols.get(one.security_id, f"ID{one.security_id}"))
        }

    def _now(self) -> datetime:
        return self._context.clock.now()


def _refused(status: int, code: int, message: str) -> Answer:
    return status, {"code": code, "message": message}


def _limit(text: str | None, usual: int, most: int) -> int:
    return min(int(text), most) if text and text.isascii() and text.isdigit() else usual


def _scaled(value: Any, decimals: int) -> int | None:
    """Return a positive decimal (text or JSON number) as an integer of its smallest unit."""
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
