"""An adapter for the DriveWealth-shaped double: nothing in it is like Alpaca's."""

import json
import threading
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import requests

from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.core.ids import SecurityId
from robo.core.money import format_cents
from robo.core.shares import format_nanos
from robo.ports import precheck
from robo.ports.broker import (
    AccountModel,
    Activity,
    ActivityPage,
    BrokerCash,
    BrokerOrder,
    BrokerOrderState,
    Capabilities,
    Execution,
    ExecutionPage,
    MassStatus,
    Position,
    Refusal,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.brokerage import (
    CashResult,
    CashState,
    CashTransfer,
    CustodyEvent,
    CustodyEventPage,
    LinkResult,
    Outcome,
    Relationship,
)
from robo.ports.funding import TransferDirection
from robo.ports.prices import ActionKind
from robo.ports.terms import ClientIdRule, CursorKind, Group, MoneyIdempotency

KIT_BENCH = "drivewealth_server:DriveWealthBench"
_SPACE = uuid.UUID("6f3c8f6e-5a3b-4f0e-9a55-0d1f6c3b7a11")
CAPABILITIES = Capabilities(
    name="drivewealth_like",
    simulated=True,
    account_model=AccountModel.SEGREGATED,
    fractional=True,
    notional=True,
    share_decimals=8,
    buy_notional_cents_min=100,
    client_id_length_max=64,
    settlement_days=1,
    orders_per_second_max=20,
    always_open=True,
    client_id_rule=ClientIdRule.REPLAYED,
    money_idempotency=MoneyIdempotency.HEADER,
    cursor_kind=CursorKind.TEXT,
    groups=frozenset({Group.FUNDING, Group.EVENTS}),
)
_STATES = {
    "2": BrokerOrderState.FILLED,
    "4": BrokerOrderState.CANCELED,
    "8": BrokerOrderState.REJECTED,
    "C": BrokerOrderState.EXPIRED,
}
_REFUSALS = {
    "O103": Refusal.UNKNOWN_SECURITY,
    "O104": Refusal.NOT_TRADABLE,
    "O105": Refusal.NOT_FRACTIONABLE,
    "O201": Refusal.MINIMUM,
    "O301": Refusal.POSITION,
    "O402": Refusal.ORDER_STATE,
    "O403": Refusal.ORDER_STATE,
    "I001": Refusal.CLIENT_ID_TAKEN,
}
_UNREADABLE = "the broker did not give an answer that can be read"


def create(context):
    return DriveWealthBroker(context)


class DriveWealthBroker:
    def __init__(self, context):
        self._settings = lambda: context.settings
        self._clock = context.clock
        self._ids = {one.symbol: one.id for one in context.securities}
        self._symbols = {one.id: one.symbol for one in context.securities}
        self._local = threading.local()
        whole = bool(context.settings.get("ROBO_DW_WHOLE_SHARES"))
        self.capabilities = (
            replace(CAPABILITIES, fractional=False, notional=False, share_decimals=0)
            if whole
            else CAPABILITIES
        )

    # orders

    def submit(self, ticket):
        fault = precheck.check(ticket, self.capabilities)
        if fault is not None:
            return precheck.refused(fault)
        if self._symbols.get(ticket.security_id) != ticket.symbol:
            return _refused("O103")
        size = (
            f'"amountCash":{format_cents(ticket.notional_cents)}'
            if ticket.nanos is None
            else f'"quantity":{format_nanos(ticket.nanos)}'
        )
        rest = json.dumps(
            {
                "accountNo": ticket.broker_account,
                "symbol": ticket.symbol,
                "orderType": "MARKET",
                "side": "B" if ticket.side is Side.BUY else "S",
                "clientNotes": ticket.client_id,
            }
        )
        body = f"{rest[:-1]},{size}}}"  # numbers with exactly their digits: no float between
        try:
            status, answer, headers = self._ask("POST", "/orders", body, key=ticket.client_id)
        except BrokerUnavailableError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
        if status == 200 and isinstance(answer.get("orderID"), str):
            replayed = headers.get("Idempotency-Replayed") == "true"
            word = SubmitStatus.DUPLICATE if replayed else SubmitStatus.ACCEPTED
            return SubmitResult(word, answer["orderID"])
        return _said(status, answer)

    def find(self, client_id):
        key = _key(client_id)
        if key is None:
            return None
        rows = self._list("/orders", "orders", {"idempotencyKey": key})
        return self._order(rows[0]) if rows else None

    def cancel(self, client_id):
        try:
            order = self.find(client_id)
            if order is None:
                return _refused("O403")
            status, answer, _ = self._ask("DELETE", f"/orders/{order.broker_order_id}")
        except BrokerUnavailableError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
        if status == 200 and answer.get("orderID") == order.broker_order_id:
            return SubmitResult(SubmitStatus.ACCEPTED, order.broker_order_id)
        return _said(status, answer)

    # one queue of events for everything: each reader passes over what is not its own

    def executions(self, after, limit=1000):
        found, cursor = self._events("orders.executed", "executions", after, limit)
        return ExecutionPage([_read(row, self._execution) for row in found], cursor)

    def activities(self, after, limit=1000):
        found, cursor = self._events("transactions.created", "transactions", after, limit)
        return ActivityPage([_read(row, self._activity) for row in found], cursor)

    def custody_events(self, stream, after, limit=1000):
        if stream != "transfers":
            message = f"there is no stream {stream}"
            raise InvalidInputError(message, code="unknown_stream")
        found, cursor = self._events("deposits.updated", "deposits", after, limit)
        told, gap = [], False
        for row in found:
            try:
                told.append(_read(row, _custody_event))
            except BrokerUnavailableError:
                gap = True  # it is passed over: whoever hears of a gap looks at everything
        return CustodyEventPage(told, cursor, gap)

    def _events(self, kind, reader, after, limit):
        cursor = after
        while True:
            query = {"after": cursor, "limit": str(limit), "for": reader}
            rows = self._list("/events", "events", query)
            mine = [row for row in rows if _read(row, lambda one: one["type"]) == kind]
            cursor = _read(rows[-1], lambda one: one["eventID"]) if rows else cursor
            if mine:
                return mine, cursor
            if not rows:
                return [], after  # what was passed over is passed over again: nothing is lost

    # accounts

    def positions(self, broker_account):
        rows = self._list(f"{_path(broker_account)}/summary/positions", "equityPositions")
        return [
            _read(
                row,
                lambda one: Position(
                    self._ids.get(one["symbol"], SecurityId(0)),
                    _units(one["openQty"], 9),
                    one["symbol"],
                ),
            )
            for row in rows
        ]

    def cash(self, broker_account):
        status, answer, _ = self._ask("GET", f"{_path(broker_account)}/summary/cash")
        if status != 200:
            raise BrokerUnavailableError(_UNREADABLE)

        def read(one):
            total = _units(one["cashBalance"], 2)
            later = sum(_units(part["cash"], 2) for part in one["cashSettlement"])
            return BrokerCash(total, total - later)

        return _read(answer, read)

    def mass_status(self, broker_account):
        rows = self._list("/orders", "orders", {"accountNo": broker_account})
        return MassStatus(
            broker_account,
            self._clock.now(),
            [self._order(row) for row in rows],
            self.positions(broker_account),
            self.cash(broker_account),
        )

    # money

    def link_bank(self, broker_account, details):
        body = json.dumps({"number": details.account_number, "routing": details.routing_number})
        path = f"{_path(broker_account)}/bank-accounts"
        try:
            status, _, _ = self._ask("POST", path, body)
            links = self.relationships(broker_account)
        except BrokerUnavailableError:
            return LinkResult(Outcome.UNKNOWN)
        if status != 200 or not links:
            return LinkResult(Outcome.REFUSED)
        return LinkResult(Outcome.TAKEN, links[-1])

    def relationships(self, broker_account):
        rows = self._list(f"{_path(broker_account)}/bank-accounts", "bankAccounts")
        return [
            Relationship(row["id"], broker_account, row["status"], row["status"] == "ACTIVE")
            for row in rows
        ]

    def transfer(self, request):
        body = (
            f'{{"amount":{format_cents(request.cents)},'
            f'"bankAccountID":{json.dumps(request.relationship_id)},'
            f'"note":{json.dumps(request.id)}}}'
        )
        path = f"{_path(request.broker_account)}/funding/deposits"
        try:
            status, answer, _ = self._ask("POST", path, body, key=request.id)
        except BrokerUnavailableError as error:
            return CashResult(Outcome.UNKNOWN, code=error.code)
        if status == 200:
            try:
                return CashResult(Outcome.TAKEN, _read(answer, _transfer))
            except BrokerUnavailableError as error:
                return CashResult(Outcome.UNKNOWN, code=error.code)
        known = isinstance(answer.get("errorCode"), str) and status in {400, 409}
        return CashResult(Outcome.REFUSED if known else Outcome.UNKNOWN, code=f"http_{status}")

    def transfers(self, broker_account):
        rows = self._list(f"{_path(broker_account)}/funding/deposits", "deposits")
        return [_read(row, _transfer) for row in rows]

    # rows

    def _order(self, row):
        def read(one):
            amount, quantity = one["amountCash"], one["orderQty"]
            return BrokerOrder(
                client_id=one["clientNotes"],
                broker_order_id=one["orderID"],
                security_id=self._ids[one["symbol"]],
                side=_side(one["side"]),
                notional_cents=None if amount is None else _units(amount, 2),
                nanos=None if quantity is None else _units(quantity, 9),
                state=_STATES.get(one["ordStatus"], BrokerOrderState.OPEN),
                filled_nanos=_units(one["cumQty"], 9),
                filled_cents=_units(one["cumAmount"], 2),
            )

        return _read(row, read)

    def _execution(self, row):
        return Execution(
            id=row["key"],
            client_id=row["clientNotes"],
            security_id=self._ids[row["symbol"]],
            side=_side(row["side"]),
            nanos=_units(row["qty"], 9),
            price_micros=_units(row["price"], 6),
            cents=_units(row["amount"], 2),
            fee_cents=_units(row["fees"], 2),
            executed_at=_instant(row["when"]),
            settles_on=date.fromisoformat(row["settlementDate"]),
        )

    def _activity(self, row):
        new = row["newSymbol"]
        return Activity(
            id=row["key"],
            action_id="",
            kind=ActionKind(row["finTranTypeID"]),
            security_id=self._ids[row["symbol"]],
            on=date.fromisoformat(row["when"]),
            cents=_units(row["tranAmount"], 2),
            nanos_before=_units(row["positionBefore"], 9),
            nanos_delta=_units(row["positionDelta"], 9),
            new_security_id=None if new is None else self._ids[new],
            new_nanos=_units(row["newDelta"], 9),
            broker_account=row["accountNo"],
        )

    # the wire

    def _list(self, path, name, query=None):
        status, answer, _ = self._ask("GET", path, query=query)
        if status == 400 and answer.get("errorCode") == "E400":
            message = "the broker does not know that event"
            raise InvalidInputError(message, code="bad_cursor")
        if status != 200 or not isinstance(answer.get(name), list):
            raise BrokerUnavailableError(_UNREADABLE)
        return answer[name]

    def _ask(self, method, path, body=None, *, key="", query=None):
        """One attempt; a session that has expired is renewed for the next request, not this one."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = _key(key) or ""
        if not hasattr(self._local, "token"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
            self._local.token = None
        if self._local.token is None:
            words = json.dumps({"password": self._settings()["ROBO_DW_PASSWORD"]})
            status, answer, _ = self._once("POST", "/auth", words, headers, None)
            if status != 200 or not isinstance(answer.get("authToken"), str):
                raise BrokerUnavailableError(_UNREADABLE)
            self._local.token = answer["authToken"]
        headers["dw-auth-token"] = self._local.token
        headers["dw-client-app-key"] = self._settings()["ROBO_DW_APP_KEY"]
        told = self._once(method, path, body, headers, query)
        if told[0] == 401:
            self._local.token = None
        return told

    def _once(self, method, path, body, headers, query):
        settings = self._settings()
        try:
            answer = self._local.session.request(
                method,
                f"{settings['ROBO_DW_URL']}/back-office{path}",
                params=query,
                data=None if body is None else body.encode(),
                headers=headers,
                timeout=float(settings["ROBO_DW_SECONDS"]),
                allow_redirects=False,
            )
            content = json.loads(answer.content, parse_float=Decimal)
        except (requests.RequestException, ValueError):
            raise BrokerUnavailableError(_UNREADABLE) from None
        if not isinstance(content, dict):
            raise BrokerUnavailableError(_UNREADABLE)
        return answer.status_code, content, answer.headers


def _said(status, answer):
    code = answer.get("errorCode")
    if status in {400, 409} and isinstance(code, str):
        return _refused(code)
    if status in {401, 429}:
        kind = Refusal.RATE if status == 429 else Refusal.CREDENTIALS
        return SubmitResult(SubmitStatus.THROTTLED, code=f"http_{status}", refusal=kind)
    return SubmitResult(SubmitStatus.UNKNOWN, code=f"http_{status}")


def _refused(code):
    kind = _REFUSALS.get(code, Refusal.OTHER)
    return SubmitResult(SubmitStatus.REJECTED, code=f"dw_{code.lower()}", refusal=kind)


def _read(row, reader):
    try:
        return reader(row)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise BrokerUnavailableError(_UNREADABLE) from error


def _units(value, places):
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(value)
    scaled = Decimal(value).scaleb(places)
    if scaled != scaled.to_integral_value():
        raise ValueError(value)
    return int(scaled)


def _side(word):
    return {"B": Side.BUY, "S": Side.SELL}[word]


def _instant(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _transfer(row):
    return CashTransfer(
        broker_id=row["id"],
        reference=row["note"],
        broker_account=row["accountNo"],
        relationship_id=row["bankAccountID"],
        direction=TransferDirection.PULL,
        cents=_units(row["amount"], 2),
        state=CashState.PENDING,
        word="PENDING",
        created_at=_instant(row["when"]),
    )


def _custody_event(row):
    words = row["depositID"], row["accountNo"], row["from"], row["status"]
    if not all(isinstance(one, str) for one in words):
        raise TypeError(row)
    return CustodyEvent(row["eventID"], *words, _instant(row["when"]))


def _key(text):
    if not text.isascii() or not text.isprintable():
        return None
    return str(uuid.uuid5(_SPACE, text))


def _path(account):
    return "/accounts/" + requests.utils.quote(account, safe="")
