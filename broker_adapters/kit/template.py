"""A template: a whole broker adapter to copy, for the practice broker of the kit.

Copy it, change `_Wire` and the readers at the end to your broker's addresses and words, and keep
the shape: every answer is read strictly or not at all, what was not heard is UNKNOWN, and no
request that acts is ever repeated from inside. docs/write-a-broker.md walks through it.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import requests

from robo.core.clock import Clock
from robo.core.errors import BrokerUnavailableError, ConfigError, InvalidInputError
from robo.core.ids import SecurityId
from robo.core.money import format_cents, parse_cents, parse_micros
from robo.core.shares import format_nanos, parse_nanos
from robo.ports import precheck
from robo.ports.broker import (
    AccountModel,
    Activity,
    ActivityPage,
    Broker,
    BrokerCash,
    BrokerOrder,
    BrokerOrderState,
    Capabilities,
    CashKind,
    Execution,
    ExecutionPage,
    MassStatus,
    OrderTicket,
    Position,
    Refusal,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.plugins import PluginContext
from robo.ports.prices import ActionKind

_Value = TypeVar("_Value")
KIT_BENCH: Final = "broker_adapters.kit.practice:PracticeBench"
CAPABILITIES: Final = Capabilities(
    name="template",
    simulated=True,
    account_model=AccountModel.SEGREGATED,
    fractional=True,
    notional=True,
    share_decimals=9,
    buy_notional_cents_min=100,
    client_id_length_max=128,
    settlement_days=1,
    orders_per_second_max=50,
    always_open=True,
)
_REFUSALS: Final = {
    "unknown_security": Refusal.UNKNOWN_SECURITY,
    "no_price": Refusal.NOT_TRADABLE,
    "below_minimum": Refusal.MINIMUM,
    "insufficient_position": Refusal.POSITION,
    "not_fractionable": Refusal.NOT_FRACTIONABLE,
    "unknown_order": Refusal.ORDER_STATE,
    "not_cancelable": Refusal.ORDER_STATE,
}
"""The broker's words for no, and what kind of no each is."""
_NO: Final = frozenset({404, 409, 422})
"""Statuses with which the broker itself says no. Any other error may hide a live order."""
_LATER: Final = {401: Refusal.CREDENTIALS, 429: Refusal.RATE}
_STATES: Final = {state.value: state for state in BrokerOrderState}
_KINDS: Final = {kind.value: kind for kind in ActionKind}
_UNREADABLE: Final = "the broker did not give an answer that can be read"


def create(context: PluginContext) -> Broker:
    """Return the adapter of a context, or raise ConfigError if settings are missing."""
    return TemplateBroker(context)


class TemplateBroker:
    """A Broker over HTTP; it keeps nothing, everything is at the broker."""

    def __init__(self, context: PluginContext) -> None:
        """Read the settings; the broker is not asked yet, it may be down."""
        self._wire = _Wire(context.settings)
        self._clock: Clock = context.clock
        self._ids = {one.symbol: one.id for one in context.securities}
        self._symbols = {one.id: one.symbol for one in context.securities}

    @property
    def capabilities(self) -> Capabilities:
        """Return what this broker can do."""
        return CAPABILITIES

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order once; whatever is not clearly yes or no is UNKNOWN."""
        fault = precheck.check(ticket, CAPABILITIES)
        if fault is not None:
            return precheck.refused(fault)
        if self._symbols.get(ticket.security_id) != ticket.symbol:
            return _refused("unknown_security")
        body = {
            "id": ticket.client_id,
            "account": ticket.broker_account,
            "symbol": ticket.symbol,
            "side": ticket.side.value,
            "amount": _maybe(ticket.notional_cents, format_cents),
            "shares": _maybe(ticket.nanos, format_nanos),
        }
        return self._act("POST", body=body)

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id, or None if the broker says it has none."""
        status, body = self._wire.ask("GET", "/orders", {"id": client_id})
        if status == HTTPStatus.NOT_FOUND and body == {"error": "unknown_order"}:
            return None
        return self._read(body if status == HTTPStatus.OK else None, self._order)

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for a cancel; what fills until it takes effect still counts."""
        return self._act("DELETE", query={"id": client_id})

    def executions(self, after: str, limit: int = 1000) -> ExecutionPage:
        """Return executions after a cursor, oldest first; a short page is not the end."""
        rows, cursor = self._page("/executions", after, limit)
        return ExecutionPage([self._read(row, self._execution) for row in rows], cursor)

    def activities(self, after: str, limit: int = 1000) -> ActivityPage:
        """Return what moved without an order after a cursor, oldest first."""
        rows, cursor = self._page("/activities", after, limit)
        return ActivityPage([self._read(row, self._activity) for row in rows], cursor)

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return every position that is not zero."""
        rows = self._list("/positions", {"account": broker_account})
        return [self._read(row, self._position) for row in rows]

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the cash."""
        status, row = self._wire.ask("GET", "/cash", {"account": broker_account})
        return self._read(row if status == HTTPStatus.OK else None, _cash)

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return open orders, positions and cash of an account; all of it, or an error."""
        rows = self._list("/orders", {"account": broker_account})
        return MassStatus(
            broker_account=broker_account,
            as_of=self._clock.now(),
            open_orders=[self._read(row, self._order) for row in rows],
            positions=self.positions(broker_account),
            cash=self.cash(broker_account),
        )

    def _act(
        self, method: str, *, body: Any = None, query: Mapping[str, str] | None = None
    ) -> SubmitResult:
        """Ask once for something to happen, and say what is known afterwards."""
        try:
            status, answer = self._wire.ask(method, "/orders", query or {}, body)
        except BrokerUnavailableError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
        said = answer if isinstance(answer, dict) else {}
        if status == HTTPStatus.CREATED and "number" in said:
            return SubmitResult(SubmitStatus.ACCEPTED, said["number"])
        if status == HTTPStatus.CONFLICT and said.get("error") == "duplicate":
            return SubmitResult(SubmitStatus.DUPLICATE, said.get("number"))
        if status in _NO and isinstance(said.get("error"), str):
            return _refused(said["error"])
        word = SubmitStatus.THROTTLED if status in _LATER else SubmitStatus.UNKNOWN
        kind = _LATER.get(status, Refusal.NONE)
        return SubmitResult(word, code=f"http_{status}", refusal=kind)

    def _page(self, path: str, after: str, limit: int) -> tuple[list[Any], str]:
        rows = self._list(path, {"after": after, "limit": str(limit)})
        return rows, self._read(rows[-1], lambda row: str(row["seq"])) if rows else after

    def _list(self, path: str, query: Mapping[str, str]) -> list[Any]:
        status, body = self._wire.ask("GET", path, query)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            message = "the broker does not know that cursor"
            raise InvalidInputError(message, code="bad_cursor")
        # An error must never look like "nothing".
        if status != HTTPStatus.OK or not isinstance(body, list):
            raise BrokerUnavailableError(_UNREADABLE)
        return body

    def _read(self, row: Any, reader: Callable[[Any], _Value]) -> _Value:
        """Return what a reader makes of a row; a row that it cannot read is no answer."""
        try:
            return reader(row)
        except (KeyError, TypeError, ValueError, AttributeError, InvalidInputError) as error:
            raise BrokerUnavailableError(_UNREADABLE) from error

    def _order(self, row: Any) -> BrokerOrder:
        return BrokerOrder(
            client_id=row["id"],
            broker_order_id=row["number"],
            security_id=self._ids[row["symbol"]],
            side=Side(row["side"]),
            notional_cents=_maybe(row["amount"], parse_cents),
            nanos=_maybe(row["shares"], parse_nanos),
            state=_STATES.get(row["state"], BrokerOrderState.OPEN),  # a new word ends nothing
            filled_nanos=parse_nanos(row["filled_shares"]),
            filled_cents=parse_cents(row["filled_amount"]),
            code=row["reason"],
        )

    def _execution(self, row: Any) -> Execution:
        return Execution(
            id=row["execution"],
            client_id=row["id"],
            security_id=self._ids[row["symbol"]],
            side=Side(row["side"]),
            nanos=parse_nanos(row["shares"]),
            price_micros=parse_micros(row["price"]),
            cents=parse_cents(row["amount"]),
            fee_cents=parse_cents(row["fee"]),
            executed_at=datetime.fromisoformat(row["at"]),
            settles_on=date.fromisoformat(row["settles_on"]),
        )

    def _activity(self, row: Any) -> Activity:
        before = parse_nanos(row["shares_before"])
        return Activity(
            id=row["activity"],
            action_id=row["action"],
            kind=_KINDS.get(row["kind"], CashKind.OTHER),
            security_id=self._ids.get(row["symbol"], SecurityId(0)),
            on=date.fromisoformat(row["on"]),
            cents=parse_cents(row["amount"]),
            nanos_before=before,
            nanos_delta=parse_nanos(row["shares_after"]) - before,
            new_security_id=_maybe(row["new_symbol"], self._ids.__getitem__),
            new_nanos=parse_nanos(row["new_shares"]),
            broker_account=row["account"],
            detail=row["kind"],
        )

    def _position(self, row: Any) -> Position:
        security_id = self._ids.get(row["symbol"], SecurityId(0))
        return Position(security_id, parse_nanos(row["shares"]), row["symbol"])


class _Wire:
    """One attempt for every request, with a patience of our own and nobody's proxies."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        missing = [name for name in ("URL", "KEY") if not settings.get(f"ROBO_PRACTICE_{name}")]
        if missing:
            message = f"missing: {', '.join('ROBO_PRACTICE_' + name for name in missing)}"
            raise ConfigError(message)
        self._url = settings["ROBO_PRACTICE_URL"].rstrip("/")
        self._seconds = float(settings.get("ROBO_PRACTICE_SECONDS", "20"))
        self._key = settings["ROBO_PRACTICE_KEY"]  # never shown
        self._sessions = _Sessions()

    def ask(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None
    ) -> tuple[int, Any]:
        """Return (status, JSON body); no whole answer is BrokerUnavailableError."""
        try:
            answer = self._sessions.http.request(
                method,
                self._url + path,
                params=query,
                json=body,
                headers={"X-Practice-Key": self._key},
                timeout=self._seconds,
                allow_redirects=False,
            )
            return answer.status_code, json.loads(answer.content)
        except (requests.RequestException, ValueError):
            # Not chained: the library's errors carry the request with its keys.
            raise BrokerUnavailableError(_UNREADABLE) from None


class _Sessions(threading.local):
    """A session for each thread: one is not made for two."""

    def __init__(self) -> None:
        self.http: requests.Session = requests.Session()
        self.http.trust_env = False


def _maybe(value: Any, turn: Callable[[Any], Any]) -> Any:
    return None if value is None else turn(value)


def _cash(row: Any) -> BrokerCash:
    return BrokerCash(parse_cents(row["total"]), parse_cents(row["settled"]))


def _refused(code: str) -> SubmitResult:
    refusal = _REFUSALS.get(code, Refusal.OTHER)
    return SubmitResult(SubmitStatus.REJECTED, code=code, refusal=refusal)
