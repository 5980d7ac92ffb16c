"""The practice broker: a small JSON broker on a real socket, for the template adapter to speak to.

Its API is written down in docs/write-a-broker.md. Amounts and shares are decimal text, ids are
ours, orders are looked up by our id; a key is asked for in the header `X-Practice-Key`.
"""

from collections.abc import Mapping
from typing import Any, Final

from broker_adapters.kit.bench import OF_GROUPS, Ability, Call, Tempo, Trouble
from broker_adapters.kit.counter import Counter
from broker_adapters.kit.wire import Reply, Request
from broker_adapters.kit.wire_bench import WireBench
from robo.core.errors import InvalidInputError
from robo.core.money import format_cents, format_micros, parse_cents
from robo.core.shares import format_nanos, parse_nanos
from robo.ports.broker import (
    Activity,
    BrokerOrder,
    Execution,
    OrderTicket,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.plugins import PluginContext

_KEY: Final = "practice-key-5e1f00d"
_PAGE_MAX: Final = 50
_CURSOR_DIGITS_MAX: Final = 18
_ERROR: Final = 400
_CALLS: Final = {
    ("POST", "/orders"): Call.SUBMIT,
    ("GET", "/orders"): Call.FIND,
    ("DELETE", "/orders"): Call.CANCEL,
    ("GET", "/executions"): Call.EXECUTIONS,
    ("GET", "/activities"): Call.ACTIVITIES,
    ("GET", "/positions"): Call.POSITIONS,
    ("GET", "/cash"): Call.CASH,
}
_AMOUNTS: Final = ("filled_shares", "filled_amount", "shares", "amount", "total", "price")


class PracticeService:
    """Answers the practice broker's API."""

    def __init__(self, context: PluginContext) -> None:
        """Open the market of a context."""
        self.counter = Counter(context)
        self._ids = {one.symbol: one.id for one in context.securities}
        self._symbols = {one.id: one.symbol for one in context.securities}

    def call_of(self, request: Request) -> Call | None:
        """Return which call of an adapter a request belongs to."""
        return _CALLS.get((request.method, request.path))

    def answer(self, request: Request, trouble: Trouble | None) -> Reply:
        """Act, and answer."""
        if request.headers.get("x-practice-key") != _KEY:
            return Reply(401, {"error": "unauthorized"})
        call = self.call_of(request)
        if call is Call.SUBMIT:
            reply = self._submit(request, doomed=trouble is Trouble.REJECT_LATER)
        elif call is Call.CANCEL:
            name = request.query.get("id", "")
            reply = _told(self.counter.cancel(name, late=trouble is Trouble.CANCEL_LATER))
        elif call is Call.FIND and "account" in request.query:
            orders = self.counter.orders(request.query["account"])
            reply = Reply(200, [self._order(one) for one in orders if not one.state.final])
        elif call is Call.FIND:
            found = self.counter.order(request.query.get("id", ""))
            reply = Reply(404, {"error": "unknown_order"})
            if found is not None and trouble is not Trouble.UNSEEN:
                reply = Reply(200, self._order(found))
        elif call is None:
            reply = Reply(404, {"error": "no such address"})
        else:
            reply = self._read(call, request, trouble)
        return _spoilt(reply, trouble)

    def _submit(self, request: Request, *, doomed: bool) -> Reply:
        body = request.body or {}
        symbol = str(body.get("symbol"))
        if symbol not in self._ids:
            return Reply(422, {"error": "unknown_security"})
        try:
            amount, shares = body.get("amount"), body.get("shares")
            ticket = OrderTicket(
                client_id=str(body["id"]),
                broker_account=str(body["account"]),
                security_id=self._ids[symbol],
                symbol=symbol,
                side=Side(str(body["side"])),
                notional_cents=None if amount is None else parse_cents(amount),
                nanos=None if shares is None else parse_nanos(shares),
            )
        except (InvalidInputError, KeyError, ValueError):
            return Reply(422, {"error": "bad_order"})
        return _told(self.counter.take(ticket, doomed=doomed))

    def _read(self, call: Call, request: Request, trouble: Trouble | None) -> Reply:
        account = request.query.get("account", "")
        if call is Call.POSITIONS:
            held = self.counter.positions(account)
            rows = [
                {"symbol": self._symbols[one.security_id], "shares": format_nanos(one.nanos)}
                for one in held
            ]
            return Reply(200, rows)
        if call is Call.CASH:
            cash = self.counter.cash(account)
            total, settled = format_cents(cash.total_cents), format_cents(cash.settled_cents)
            return Reply(200, {"total": total, "settled": settled})
        after = request.query.get("after", "")
        if after and not (after.isascii() and after.isdigit() and len(after) <= _CURSOR_DIGITS_MAX):
            return Reply(422, {"error": "bad_cursor"})
        if call is Call.EXECUTIONS:
            told = [self._execution(one) for one in self.counter.executions()]
        else:
            told = [self._activity(one) for one in self.counter.activities()]
        rows = [{"seq": str(place), **row} for place, row in enumerate(told, start=1)]
        start = int(after or 0)
        if trouble is Trouble.REPEATED:
            start = max(0, start - 1)
        limit = min(int(request.query.get("limit", _PAGE_MAX)), _PAGE_MAX)
        return Reply(200, rows[start : start + limit])

    def _order(self, one: BrokerOrder) -> dict[str, Any]:
        return {
            "id": one.client_id,
            "number": one.broker_order_id,
            "symbol": self._symbols[one.security_id],
            "side": one.side.value,
            "amount": None if one.notional_cents is None else format_cents(one.notional_cents),
            "shares": None if one.nanos is None else format_nanos(one.nanos),
            "state": one.state.value,
            "filled_shares": format_nanos(one.filled_nanos),
            "filled_amount": format_cents(one.filled_cents),
            "reason": one.code,
        }

    def _execution(self, one: Execution) -> dict[str, Any]:
        return {
            "execution": one.id,
            "id": one.client_id,
            "symbol": self._symbols[one.security_id],
            "side": one.side.value,
            "shares": format_nanos(one.nanos),
            "price": format_micros(one.price_micros),
            "amount": format_cents(one.cents),
            "fee": format_cents(one.fee_cents),
            "at": one.executed_at.isoformat(),
            "settles_on": one.settles_on.isoformat(),
        }

    def _activity(self, one: Activity) -> dict[str, Any]:
        new = one.new_security_id
        return {
            "activity": one.id,
            "action": one.action_id,
            "kind": one.kind.value,
            "account": one.broker_account,
            "symbol": self._symbols[one.security_id],
            "on": one.on.isoformat(),
            "amount": format_cents(one.cents),
            "shares_before": format_nanos(one.nanos_before),
            "shares_after": format_nanos(one.nanos_before + one.nanos_delta),
            "new_symbol": None if new is None else self._symbols[new],
            "new_shares": format_nanos(one.new_nanos),
        }


def _told(result: SubmitResult) -> Reply:
    if result.status is SubmitStatus.DUPLICATE:
        return Reply(409, {"error": "duplicate", "number": result.broker_order_id})
    if result.status is SubmitStatus.REJECTED:
        code = "duplicate" if result.code == "client_id_mismatch" else result.code
        return Reply(409 if code == "duplicate" else 422, {"error": code})
    return Reply(201, {"number": result.broker_order_id})


def _spoilt(reply: Reply, trouble: Trouble | None) -> Reply:
    """Return an answer with what the trouble does to its words and amounts."""
    rows = reply.body if isinstance(reply.body, list) else [reply.body]
    if reply.status >= _ERROR or not all(isinstance(row, dict) for row in rows):
        return reply
    change: dict[str, Any] = {}
    if trouble is Trouble.NEW_WORD:
        change = {"state": "held_for_the_eclipse"}
    elif trouble is Trouble.NO_AMOUNTS:
        change = dict.fromkeys(_AMOUNTS)
    elif trouble is Trouble.NOT_NUMBERS:
        change = dict.fromkeys(_AMOUNTS, "NaN")
    spoilt = [{name: change.get(name, value) for name, value in row.items()} for row in rows]
    return Reply(reply.status, spoilt if isinstance(reply.body, list) else spoilt[0])


class PracticeBench(WireBench):
    """The practice broker with everything that can go wrong on a wire."""

    accounts = ("kit-1", "kit-2")
    abilities = frozenset(Ability) - OF_GROUPS
    troubles = frozenset(Trouble)
    secrets = (_KEY,)
    page = _PAGE_MAX

    def serve(self, market: PluginContext) -> PracticeService:
        """Return the practice broker's API over a market."""
        return PracticeService(market)

    def settings(self, tempo: Tempo) -> Mapping[str, str]:
        """Return where the server is, its key, and how patient to be."""
        return {
            "ROBO_PRACTICE_URL": self.url,
            "ROBO_PRACTICE_KEY": _KEY,
            "ROBO_PRACTICE_SECONDS": str(self.patience_seconds),
            "ROBO_KIT_TEMPO": tempo.value,
        }
