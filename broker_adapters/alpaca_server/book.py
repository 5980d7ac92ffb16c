"""One account of the server: its orders, executions, cash and positions, in Alpaca's words.

Money and shares are the paper broker's; what is kept here is counted along as things happen, so
that an answer costs the same after a hundred thousand orders as after one. Like Alpaca's paper
accounts it charges no fees and pays the exact value of an order's executions, to the nearest cent
of the order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from broker_adapters.alpaca_server import bodies
from broker_adapters.alpaca_server.bodies import Fill
from broker_adapters.alpaca_server.exchange import BAD, Answer, Exchange, refused
from broker_adapters.alpaca_server.replacing import Replacements
from broker_adapters.alpaca_server.rows import Row, Rows, told
from broker_adapters.alpaca_server.shelf import Shelf
from broker_adapters.paper_store import PaperOrder
from robo.core.clock import business_date, from_micros, iso_instant, to_micros
from robo.core.money import NANOS_PER_SHARE, PPM, round_ratio
from robo.ports.broker import Activity, BrokerOrderState, Execution, OrderTicket, Side

_CLIENT_ID_LENGTH_MAX: Final = 128
_CENTS_SCALE: Final = NANOS_PER_SHARE * PPM // 100
_ORDERS_USUAL, _ORDERS_MAX = 50, 500
_FINE: Final = range(200, 300)
_DOOMED, _CANCELS = "doomed", "cancel"
"""Kinds of what is kept on the shelf."""


class Book:
    """One account; every call is made under the exchange's lock."""

    def __init__(
        self, exchange: Exchange, shelf: Shelf, account: str, account_id: str, start_cents: int
    ) -> None:
        """Begin with cash; the exchange tells it what its file holds."""
        self._exchange, self._shelf = exchange, shelf
        self.account, self.account_id = account, account_id
        self.rows = Rows(exchange.listed_until)
        self._start_cents = start_cents
        self._moved_cents = 0
        self._moved: set[str] = set()
        self._order_ids: list[str] = []
        self._client_of: dict[str, str] = {}
        self._place: dict[str, int] = {}
        self._fills_of: dict[str, list[Fill]] = {}
        self._values: dict[str, int] = {}
        self._unsettled: dict[date, int] = {}
        self._shift: dict[int, int] = {}
        """Shares that were put in or taken out by hand: security -> nanoshares."""
        self._doomed: dict[str, PaperOrder] = {}
        """Orders that were accepted and will be rejected."""
        self.replaced = Replacements(shelf, account)
        self._cancels: dict[str, datetime] = {}
        """Orders whose cancel was accepted, and when it takes effect."""

    def take(self, client_id: str) -> None:
        """Remember that an order exists."""
        order_id = bodies.uuid_of("order", client_id)
        if order_id not in self._client_of:
            self._client_of[order_id] = client_id
            self._place[order_id] = len(self._order_ids)
            self._order_ids.append(order_id)

    def reopen(self) -> None:
        """Remember what was planned for orders before the server started again."""
        for body in self._shelf.all(_DOOMED, self.account):
            ticket = self._exchange.ticket(body["order"], self.account)
            shadow = self._shadow(ticket, int(body["at"]))
            self._doomed[ticket.client_id] = replace(shadow, state=BrokerOrderState.REJECTED)
            self.take(ticket.client_id)
        for body in self._shelf.all(_CANCELS, self.account):
            client_id = str(body["client_id"])
            one = self._order(client_id)
            if one is not None and not one.state.final:
                self._cancels[client_id] = from_micros(int(body["at"]))

    def fill(self, execution: Execution, now: datetime) -> Fill:
        """Count an execution in."""
        before = self._fills_of.setdefault(execution.client_id, [])
        filled = execution.nanos + (before[-1].cumulative_nanos if before else 0)
        fill = Fill(execution, filled, self._exchange.symbol(execution.security_id))
        before.append(fill)
        self.revalue(execution.client_id, execution.nanos * execution.price_micros, execution)
        created = iso_instant(to_micros(execution.executed_at))
        row_id = bodies.fill_id(execution)

        def build() -> Mapping[str, Any]:
            one = self._order(execution.client_id)
            assert one is not None
            return bodies.activity(fill, one, self.account_id)

        self._add(Row(row_id, created, now, "FILL", fill.symbol, build), now)
        return fill

    def revalue(self, client_id: str, value: int, execution: Execution) -> None:
        """Move an order's exact value (nanoshares x micro-dollars); cash follows to its cent."""
        old = self._values.get(client_id, 0)
        self._values[client_id] = old + value
        cents = round_ratio(old + value, _CENTS_SCALE) - round_ratio(old, _CENTS_SCALE)
        if execution.side is Side.SELL:
            settles = execution.settles_on
            self._unsettled[settles] = self._unsettled.get(settles, 0) + cents
        self.move_cash(cents if execution.side is Side.SELL else -cents)

    def act(self, activity: Activity, now: datetime, gap: timedelta) -> None:
        """Count a corporate action in: its cash, and the rows that tell of it."""
        self.move_cash(activity.cents)
        for body, late in told(activity, self._exchange.symbol, self.account_id):
            shows = max(now, datetime.fromisoformat(body["created_at"])) + gap if late else now
            self.tell(body, shows, now)

    def tell(self, body: Mapping[str, Any], shows_at: datetime, now: datetime) -> None:
        """Add a row that is no execution."""
        created = str(body.get("created_at") or iso_instant(to_micros(now)))
        kept = {name: value for name, value in body.items() if name != "created_at"}
        kind, symbol = str(body["activity_type"]), str(body.get("symbol") or "")
        self._add(Row(str(body["id"]), created, shows_at, kind, symbol, lambda: kept), now)

    def _add(self, row: Row, now: datetime) -> None:
        self.rows.add(row, now)
        self._exchange.rows.add(row, now)

    def move_cash(self, cents: int) -> None:
        """Add cash, or take it."""
        self._moved_cents += cents

    def moved_by(self, cause: str) -> bool:
        """Remember what moves cash; return whether it has not moved it yet."""
        if cause in self._moved:
            return False
        self._moved.add(cause)
        return True

    def move_shares(self, security_id: int, nanos: int) -> None:
        """Add shares that no order brought, or take them."""
        self._shift[security_id] = self._shift.get(security_id, 0) + nanos

    def due_cancels(self, now: datetime) -> list[str]:
        """Return, and forget, the client ids of orders whose cancel takes effect by now."""
        due = [one for one, at in self._cancels.items() if at <= now]
        for client_id in due:
            del self._cancels[client_id]
        return [one for one in due if one not in self._doomed]

    def submit(self, body: Mapping[str, Any], *, doomed: bool = False) -> Answer:
        """Take an order, or refuse it as Alpaca would."""
        try:
            ticket = self._exchange.ticket(body, self.account)
        except ValueError as error:
            return refused(422, BAD, str(error))
        if len(ticket.client_id) > _CLIENT_ID_LENGTH_MAX:
            return refused(422, 40010001, "client_order_id must be at most 128 characters")
        known = self._order(ticket.client_id) or self._exchange.record(ticket.client_id)
        if known is not None and self._was_taken(known):
            return refused(422, 40010001, "client_order_id must be unique")
        if ticket.side is Side.BUY and (ticket.notional_cents or 0) > self.power_cents():
            return refused(403, 40310000, "insufficient buying power")
        if doomed:
            at = to_micros(self._exchange.now())
            self._doomed[ticket.client_id] = self._shadow(ticket, at)
            kept = {"order": {**body, "client_order_id": ticket.client_id}, "at": at}
            self._shelf.put(_DOOMED, [(ticket.client_id, self.account, kept)])
        else:
            code = self._exchange.send(ticket)
            if code:
                return self._exchange.refusal(ticket, code, self.held(ticket.security_id))
        self.take(ticket.client_id)
        # Alpaca has acknowledged the order; what it fills at once is told afterwards.
        return self._told(ticket.client_id, status="accepted")

    def order(self, order_id: str) -> Answer:
        """Return an order by Alpaca's id."""
        return self._told(self._client_of.get(order_id, ""))

    def order_by_client_id(self, client_id: str) -> Answer:
        """Return an order by the client's id."""
        return self._told(
            client_id if bodies.uuid_of("order", client_id) in self._client_of else ""
        )

    def orders(self, query: Mapping[str, str]) -> Answer:
        """Return orders as `GET /orders` is asked; `symbols` and `side` choose among them."""
        wanted, rising = query.get("status", "open"), query.get("direction", "desc") == "asc"
        after, until = query.get("after", ""), query.get("until", "")
        start = self._place.get(query.get("after_order_id", ""), -1) + 1
        places: Sequence[int] = range(start, len(self._order_ids))
        if wanted == "open":
            places = [place for place in self._open_places() if place >= start]
        symbols = {one for one in query.get("symbols", "").split(",") if one}
        found: list[Any] = []
        most = _limit(query.get("limit"), _ORDERS_USUAL, _ORDERS_MAX)
        for place in places if rising else reversed(places):
            one = self._order(self._client_of[self._order_ids[place]])
            if one is None or not self._was_taken(one):
                continue
            if (symbols and one.symbol not in symbols) or query.get("side", one.side) != one.side:
                continue
            at = iso_instant(one.submitted_at)
            fits = wanted == "all" or (wanted == "closed") == one.state.final
            if fits and (not after or at > after) and (not until or at < until):
                found.append(self._body(one))
            if len(found) >= most:
                break
        return 200, found

    def cancel(self, order_id: str, *, after_seconds: float = 0.0) -> Answer:
        """Cancel an order, at once or (as a broker that is slow to hear) later."""
        one = self._order(self._client_of.get(order_id, ""))
        if one is None:
            return refused(404, 40410000, f"order not found for {order_id}")
        if one.state.final:
            return refused(422, BAD, f"order is not cancelable: it is {one.state.value}")
        at = self._exchange.now() + timedelta(seconds=after_seconds)
        self._cancels[one.client_id] = at
        kept = {"client_id": one.client_id, "at": to_micros(at)}
        self._shelf.put(_CANCELS, [(one.client_id, self.account, kept)])
        self._exchange.look()
        return 204, None

    def cancel_all(self) -> Answer:
        """Cancel every open order; one status each."""
        ids = [self._order_ids[place] for place in self._open_places()]
        told = [(one, *self.cancel(one)) for one in ids]
        return 207, [
            {"id": one, "status": 200}
            if status in _FINE
            else {"id": one, "status": status, "body": body}
            for one, status, body in told
        ]

    def activities(self, query: Mapping[str, str], types: str = "") -> Answer:
        """Return executions and everything else that moved cash or shares."""
        named = types or query.get("activity_types", "")
        wanted = [one for one in named.split(",") if one]
        return 200, self.rows.page(query, wanted, self._exchange.now())

    def positions(self) -> Answer:
        """Return every position."""
        return 200, list(self._positions().values())

    def position(self, name: str) -> Answer:
        """Return one position by symbol or asset id."""
        for symbol, body in self._positions().items():
            if name in {symbol, body["asset_id"]}:
                return 200, body
        return refused(404, 40410000, "position does not exist")

    def summary(self) -> Answer:
        """Return the account."""
        holdings = sum(
            round(Decimal(body["market_value"]) * 100) for body in self._positions().values()
        )
        cash = self.cash_cents()
        settled = min(cash, cash - self._unsettled_cents())
        body = bodies.account(cash, settled, self.power_cents(), holdings)
        return 200, {**body, "id": self.account_id}

    def held(self, security_id: int) -> int:
        """Return the nanoshares of a security."""
        return dict(self._holdings()).get(security_id, 0)

    def cash_cents(self) -> int:
        """Return the cash."""
        return self._start_cents + self._moved_cents

    def power_cents(self) -> int:
        """Return the cash that open buys have not been promised."""
        promised = 0
        for one in self._exchange.open_records(self.account):
            if one.side is Side.BUY:
                promised += max(0, (one.notional_cents or 0) - one.filled_cents)
        return max(0, self.cash_cents() - promised)

    def amend(self, tail: str, instead: Fill | None) -> Fill | None:
        """Take an execution back, putting another in its place or none; return the old one."""
        for client_id, fills in self._fills_of.items():
            for place, fill in enumerate(fills):
                if bodies.fill_id(fill.execution).endswith(tail):
                    fills[place : place + 1] = [] if instead is None else [instead]
                    for one, sign in ((fill, -1), (instead, 1)):
                        if one is not None:
                            self._count(client_id, one.execution, sign)
                    return fill
        return None

    def _count(self, client_id: str, execution: Execution, sign: int) -> None:
        """Count an amended execution's cash and shares in, or out."""
        self.revalue(client_id, sign * execution.nanos * execution.price_micros, execution)
        way = sign if execution.side is Side.BUY else -sign
        self.move_shares(execution.security_id, way * execution.nanos)

    def find_fill(self, tail: str) -> Fill | None:
        """Return an execution by the end of its row's id."""
        for fills in self._fills_of.values():
            for fill in fills:
                if bodies.fill_id(fill.execution).endswith(tail):
                    return fill
        return None

    def published(self, client_id: str) -> dict[str, Any] | None:
        """Return an order's body, or None."""
        one = self._order(client_id)
        return None if one is None else self._body(one)

    def _open_places(self) -> list[int]:
        waiting = [one.client_id for one in self._exchange.open_records(self.account)]
        waiting += [one.client_id for one in self._doomed.values() if not one.state.final]
        return sorted(self._place[bodies.uuid_of("order", one)] for one in waiting)

    def _told(self, client_id: str, status: str | None = None) -> Answer:
        self._exchange.look()
        one = self._order(client_id)
        if one is None:
            return refused(404, 40410000, "order not found")
        body = self._body(one) if status is None else bodies.order(one, [], status)
        if status is not None and client_id in self._doomed:
            self._doomed[client_id] = replace(one, state=BrokerOrderState.REJECTED)
        return 200, body

    def _body(self, one: PaperOrder) -> dict[str, Any]:
        waiting = one.client_id in self._cancels and not one.state.final
        status = "pending_cancel" if waiting else None
        return self.replaced.told(bodies.order(one, self._fills_of.get(one.client_id, []), status))

    def _order(self, client_id: str) -> PaperOrder | None:
        if client_id in self._doomed:
            return self._doomed[client_id]
        one = self._exchange.record(client_id)
        return one if one is not None and one.account == self.account else None

    def _was_taken(self, one: PaperOrder) -> bool:
        """Return whether an order ever existed here: one refused at once never did."""
        return one.state is not BrokerOrderState.REJECTED or one.client_id in self._doomed

    def _shadow(self, ticket: OrderTicket, submitted_at: int) -> PaperOrder:
        """Return an order that the market never sees."""
        return PaperOrder(
            seq=0,
            client_id=ticket.client_id,
            broker_order_id="",
            account=self.account,
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
            submitted_at=submitted_at,
            due_at=None,
            expires_at=None,
            code="",
            detail="",
        )

    def _unsettled_cents(self) -> int:
        today = business_date(self._exchange.now())
        self._unsettled = {day: cents for day, cents in self._unsettled.items() if day > today}
        return sum(self._unsettled.values())

    def _holdings(self) -> list[tuple[int, int]]:
        held: dict[int, int] = dict(self._shift)
        for security_id, nanos in self._exchange.holdings(self.account):
            held[security_id] = held.get(security_id, 0) + nanos
        return [(one, nanos) for one, nanos in held.items() if nanos]

    def _positions(self) -> dict[str, dict[str, Any]]:
        promised: dict[int, int] = {}
        for one in self._exchange.open_records(self.account):
            if one.side is Side.SELL:
                left = (one.nanos or 0) - one.filled_nanos
                promised[one.security_id] = promised.get(one.security_id, 0) + left
        held = self._holdings()
        prices = self._exchange.prices_micros([one for one, _ in held])
        hidden = self.rows.hidden(self._exchange.now())
        return {
            symbol: bodies.position(
                symbol, nanos, max(0, nanos - promised.get(one, 0)), prices.get(one, 0)
            )
            for one, nanos in held
            if (symbol := self._exchange.symbol(one)) not in hidden
        }


def _limit(text: str | None, usual: int, most: int) -> int:
    return min(int(text), most) if text and text.isascii() and text.isdigit() else usual
