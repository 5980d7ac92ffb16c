"""A broker shaped like DriveWealth: other ids, other words, other numbers, an event queue.

Numbers are JSON numbers with eight decimals, states are FIX codes, an order has two ids of the
broker's and none of ours, a repeated request is recognised by the header `Idempotency-Key`, and
everything that happens comes through one queue of events. Written for tests, from public
descriptions; it is not DriveWealth.
"""

import secrets
import uuid
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from threading import RLock

from broker_adapters.kit.bench import OF_GROUPS, Ability, Call, Trouble
from broker_adapters.kit.counter import Counter
from broker_adapters.kit.wire import Reply
from broker_adapters.kit.wire_bench import WireBench
from robo.ports.broker import BrokerOrderState, OrderTicket, Side, SubmitStatus

APP_KEY = "dw-app-key-77aa"
PASSWORD = "dw-password-99zz"
ROOT = "/back-office"
PAGE_MAX = 40
_SHARE = 10**9
_INSTANT = "%Y-%m-%dT%H:%M:%S.%fZ"
_STATES = {
    BrokerOrderState.OPEN: "0",
    BrokerOrderState.FILLED: "2",
    BrokerOrderState.CANCELED: "4",
    BrokerOrderState.REJECTED: "8",
    BrokerOrderState.EXPIRED: "C",
}
_PARTLY = "1"
_ERRORS = {
    "unknown_security": "O103",
    "no_price": "O104",
    "below_minimum": "O201",
    "insufficient_position": "O301",
    "not_cancelable": "O402",
    "unknown_order": "O403",
    "order_too_large": "O202",
}
_AMOUNTS = ("cumQty", "cumAmount", "openQty", "cashBalance", "qty")


class DriveWealthService:
    """Answers the back office."""

    def __init__(self, market, whole_only):
        self.counter = Counter(market)
        self._clock = market.clock
        self._whole_only = whole_only
        self._ids = {one.symbol: one.id for one in market.securities}
        self._symbols = {one.id: one.symbol for one in market.securities}
        self._tokens = set()
        self._orders = {}  # Idempotency-Key -> (body, client id = our own internal number)
        self._keys = {}  # internal number -> Idempotency-Key
        self._notes = {}
        self._deposits = {}  # Idempotency-Key -> deposit
        self._banks = {}
        self._replies = {}
        self.odd = []
        self._lock = RLock()

    def call_of(self, request):
        path = request.path.removeprefix(ROOT)
        if path == "/orders":
            return Call.SUBMIT if request.method == "POST" else Call.FIND
        if path.startswith("/orders/"):
            return Call.CANCEL
        if path == "/events":
            readers = {"transactions": Call.ACTIVITIES, "deposits": Call.EVENTS}
            return readers.get(request.query.get("for"), Call.EXECUTIONS)
        if path.endswith("/summary/positions"):
            return Call.POSITIONS
        if path.endswith("/summary/cash"):
            return Call.CASH
        return Call.TRANSFER if path.endswith("/funding/deposits") else None

    def answer(self, request, trouble):
        with self._lock:
            return self._answer(request, trouble)

    def _answer(self, request, trouble):
        path = request.path.removeprefix(ROOT)
        if path == "/auth":
            return self._sign_in(request)
        if (
            request.headers.get("dw-auth-token") not in self._tokens
            or request.headers.get("dw-client-app-key") != APP_KEY
        ):
            return Reply(401, {"errorCode": "E032", "message": "session expired"})
        call = self.call_of(request)
        parts = path.split("/")
        account = parts[2] if len(parts) > 2 else ""
        answers = {
            Call.SUBMIT: lambda: self._submit(request, trouble is Trouble.REJECT_LATER),
            Call.FIND: lambda: self._search(request, trouble is Trouble.UNSEEN),
            Call.CANCEL: lambda: self._cancel(path, trouble is Trouble.CANCEL_LATER),
            Call.EXECUTIONS: lambda: self._events(request, trouble is Trouble.REPEATED),
            Call.ACTIVITIES: lambda: self._events(request, trouble is Trouble.REPEATED),
            Call.EVENTS: lambda: self._events(request, trouble is Trouble.REPEATED),
            Call.POSITIONS: lambda: self._positions(account),
            Call.CASH: lambda: self._cash(account),
            Call.TRANSFER: lambda: self._funding(request, account),
        }
        if call is not None:
            reply = answers[call]()
        elif path.endswith("/bank-accounts"):
            reply = self._link(request, account)
        else:
            reply = Reply(404, {"errorCode": "E404", "message": "no such resource"})
        return _spoilt(reply, trouble)

    def _sign_in(self, request):
        if (request.body or {}).get("password") != PASSWORD:
            return Reply(401, {"errorCode": "E001", "message": "unknown user"})
        token = f"dw-token-{len(self._tokens)}-{secrets.token_hex(8)}"
        self._tokens.add(token)
        return Reply(200, {"authToken": token})

    def _submit(self, request, doomed):
        key, body = request.headers.get("idempotency-key", ""), request.body or {}
        if key in self._orders:
            before, number = self._orders[key]
            if before != body:
                return _error(409, "I001", "the key was used with another request")
            order_id, order_no = _ids(number)
            ids = {"orderID": order_id, "orderNo": order_no}
            return Reply(200, ids, {"Idempotency-Replayed": "true"})
        symbol, quantity, cash = (body.get(name) for name in ("symbol", "quantity", "amountCash"))
        wrong = self._wrong(symbol, quantity, cash)
        if wrong:
            return _error(400, wrong, "the order cannot be taken")
        number = f"n{len(self._orders):06d}"
        ticket = OrderTicket(
            client_id=number,
            broker_account=str(body["accountNo"]),
            security_id=self._ids[symbol],
            symbol=symbol,
            side=Side.BUY if body["side"] == "B" else Side.SELL,
            notional_cents=None if cash is None else int(Decimal(cash) * 100),
            nanos=None if quantity is None else int(Decimal(quantity) * _SHARE),
        )
        result = self.counter.take(ticket, doomed=doomed)
        if result.status is SubmitStatus.REJECTED:
            return _error(400, _ERRORS.get(result.code, "O999"), result.detail)
        self._orders[key] = body, number
        self._keys[number] = key
        order_id, order_no = _ids(number)
        return Reply(200, {"orderID": order_id, "orderNo": order_no})

    def _wrong(self, symbol, quantity, cash):
        if symbol not in self._ids:
            return "O103"
        if self._whole_only and (cash is not None or quantity != int(quantity)):
            return "O105"
        fine = quantity is None or Decimal(quantity) == round(Decimal(quantity), 8)
        return "" if fine else "O106"

    def _search(self, request, unseen):
        if "accountNo" in request.query:
            orders = self.counter.orders(request.query["accountNo"])
            rows = [self._order(one) for one in orders if not one.state.final]
            return Reply(200, {"orders": rows})
        known = self._orders.get(request.query.get("idempotencyKey", ""))
        found = None if known is None or unseen else self.counter.order(known[1])
        return Reply(200, {"orders": [] if found is None else [self._order(found)]})

    def _order(self, one):
        body, _ = self._orders[self._keys[one.client_id]]
        order_id, order_no = _ids(one.client_id)
        state = _STATES[one.state]
        return {
            "orderID": order_id,
            "orderNo": order_no,
            "idempotencyKey": self._keys[one.client_id],
            "clientNotes": body["clientNotes"],
            "accountNo": body["accountNo"],
            "symbol": body["symbol"],
            "side": body["side"],
            "orderQty": body.get("quantity"),
            "amountCash": body.get("amountCash"),
            "ordStatus": _PARTLY if state == "0" and one.filled_nanos else state,
            "cumQty": _decimal(one.filled_nanos, 9),
            "cumAmount": _decimal(one.filled_cents, 2),
        }

    def _cancel(self, path, late):
        order_id = path.removeprefix("/orders/")
        number = next((n for n in self._keys if _ids(n)[0] == order_id), "")
        result = self.counter.cancel(number, late=late)
        if result.status is SubmitStatus.ACCEPTED:
            return Reply(200, {"orderID": order_id})
        return _error(400, _ERRORS[result.code], result.detail)

    def _events(self, request, repeat):
        happened = [(one.executed_at, self._executed(one)) for one in self.counter.executions()]
        happened += [(_noon(one.on), self._transaction(one)) for one in self.counter.activities()]
        happened += self._funded() + self.odd
        # One queue, in the order of its making: what was told once never moves.
        known = {key: place for place, key in enumerate(self._replies)}
        happened.sort(key=lambda pair: (known.get(pair[1]["key"], 10**9), pair[0]))
        for _, payload in happened:
            self._replies.setdefault(payload["key"], payload)
        rows = [
            {"eventID": f"evt-{place:010d}", **payload}
            for place, payload in enumerate(self._replies.values(), start=1)
        ]
        after = request.query.get("after", "")
        digits = after.removeprefix("evt-")
        if after and not (after.startswith("evt-") and len(digits) == 10 and digits.isdigit()):
            return _error(400, "E400", "unknown event")
        start = max(0, int(digits or 0) - repeat)
        limit = min(int(request.query["limit"]), PAGE_MAX)
        return Reply(200, {"events": rows[start : start + limit]})

    def _funded(self):
        """Return each deposit's events: it is made at once, and complete ten seconds later."""
        found = []
        for one in self._deposits.values():
            made = datetime.strptime(one["when"], _INSTANT).replace(tzinfo=UTC)
            steps = [("", "PENDING", made), ("PENDING", "COMPLETED", made + timedelta(seconds=10))]
            for before, after, at in steps:
                if at <= self._clock.now():
                    told = {"type": "deposits.updated", "depositID": one["id"], "from": before}
                    more = {"accountNo": one["accountNo"], "status": after}
                    key = f"{one['id']}/{after}"
                    found.append((at, {"key": key, **told, **more, "when": at.strftime(_INSTANT)}))
        return found

    def _executed(self, one):
        body, _ = self._orders[self._keys[one.client_id]]
        return {
            "key": one.id,
            "type": "orders.executed",
            "clientNotes": body["clientNotes"],
            "accountNo": body["accountNo"],
            "symbol": self._symbols[one.security_id],
            "side": "B" if one.side is Side.BUY else "S",
            "qty": _decimal(one.nanos, 9),
            "price": _decimal(one.price_micros, 6),
            "amount": _decimal(one.cents, 2),
            "fees": _decimal(one.fee_cents, 2),
            "when": one.executed_at.strftime(_INSTANT),
            "settlementDate": one.settles_on.isoformat(),
        }

    def _transaction(self, one):
        new = one.new_security_id
        return {
            "key": one.id,
            "type": "transactions.created",
            "finTranTypeID": one.kind.value,
            "accountNo": one.broker_account,
            "symbol": self._symbols[one.security_id],
            "when": one.on.isoformat(),
            "tranAmount": _decimal(one.cents, 2),
            "positionBefore": _decimal(one.nanos_before, 9),
            "positionDelta": _decimal(one.nanos_delta, 9),
            "newSymbol": None if new is None else self._symbols[new],
            "newDelta": _decimal(one.new_nanos, 9),
        }

    def _positions(self, account):
        held = [
            {"symbol": self._symbols[one.security_id], "openQty": _decimal(one.nanos, 9)}
            for one in self.counter.positions(account)
        ]
        return Reply(200, {"accountNo": account, "equityPositions": held})

    def _cash(self, account):
        cash = self.counter.cash(account)
        waiting = cash.total_cents - cash.settled_cents
        later = [{"utcTime": "later", "cash": _decimal(waiting, 2)}] if waiting else []
        return Reply(200, {"cashBalance": _decimal(cash.total_cents, 2), "cashSettlement": later})

    def _link(self, request, account):
        if request.method == "POST":
            body = dict(request.body or {})
            self._banks.setdefault(account, {}).setdefault(
                str(body), f"bank-{account}-{len(self._banks)}"
            )
        banks = self._banks.get(account, {}).values()
        return Reply(200, {"bankAccounts": [{"id": one, "status": "ACTIVE"} for one in banks]})

    def _funding(self, request, account):
        if request.method == "POST":
            key, body = request.headers.get("idempotency-key", ""), request.body or {}
            made = {
                "id": f"dep-{len(self._deposits):04d}",
                "accountNo": account,
                **body,
                "when": self._clock.now().strftime(_INSTANT),
            }
            before = self._deposits.setdefault(key, made)
            if before["amount"] != body["amount"]:
                return _error(409, "I001", "the key was used with another request")
            return Reply(200, before)
        mine = [one for one in self._deposits.values() if one["accountNo"] == account]
        return Reply(200, {"deposits": mine})

    def deposits(self):
        return [int(one["amount"] * 100) for one in self._deposits.values()]


class DriveWealthBench(WireBench):
    """The double with everything that can go wrong on a wire."""

    accounts = ("DWRF000001", "DWRF000002")
    abilities = frozenset(Ability) - OF_GROUPS
    # One queue that is numbered as it is told knows no other order, and leaves nothing out.
    troubles = frozenset(Trouble) - {Trouble.SWAPPED, Trouble.DROPPED, Trouble.LATE_EVENT}
    secrets = (APP_KEY, PASSWORD, "dw-token-0-")
    page = PAGE_MAX
    whole_only = False

    def serve(self, market):
        return DriveWealthService(market, self.whole_only)

    def settings(self, _tempo):
        return {
            "ROBO_DW_URL": self.url,
            "ROBO_DW_APP_KEY": APP_KEY,
            "ROBO_DW_PASSWORD": PASSWORD,
            "ROBO_DW_SECONDS": str(self.patience_seconds),
            "ROBO_DW_WHOLE_SHARES": "1" if self.whole_only else "",
        }

    def seen(self):
        service = self.service
        return [
            type(one)(
                service._orders[service._keys[one.client_id]][0]["clientNotes"],
                one.broker_account,
                one.symbol,
                one.side,
                one.notional_cents,
                one.nanos,
            )
            for one in super().seen()
        ]

    def trouble(self, trouble, call, *, nth=1, times=1):
        if trouble is Trouble.ODD:
            odd = {"key": "odd", "type": "deposits.updated", "status": None}
            self.service.odd.append((self.clock.now(), odd))
            return
        super().trouble(trouble, call, nth=nth, times=times)

    def money_moved(self):
        return self.service.deposits()


class WholeShareBench(DriveWealthBench):
    """The double for a partner that may trade whole shares only."""

    whole_only = True


def _noon(on):
    return datetime.combine(on, time(5, 0), tzinfo=UTC)


def _ids(number):
    return f"HG.{uuid.uuid5(uuid.NAMESPACE_OID, number)}", f"HG{number.upper()}"


def _decimal(value, places):
    return Decimal(value).scaleb(-places)


def _error(status, code, message):
    return Reply(status, {"errorCode": code, "message": message})


def _spoilt(reply, trouble):
    change = {
        Trouble.NEW_WORD: {"ordStatus": "Q"},
        Trouble.NO_AMOUNTS: dict.fromkeys(_AMOUNTS),
        Trouble.NOT_NUMBERS: dict.fromkeys(_AMOUNTS, float("nan")),
    }.get(trouble, {})
    return Reply(reply.status, _changed(reply.body, change), reply.headers)


def _changed(value, change):
    if isinstance(value, list):
        return [_changed(one, change) for one in value]
    if isinstance(value, dict):
        return {name: change.get(name, _changed(one, change)) for name, one in value.items()}
    return value
