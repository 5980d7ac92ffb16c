"""Where orders go: capabilities as data, results as values, "unavailable" never "empty"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from robo.core.ids import SecurityId
from robo.ports.prices import ActionKind


class AccountModel(StrEnum):
    """Whether the broker keeps one account for all customers, or one each."""

    OMNIBUS = "omnibus"
    SEGREGATED = "segregated"


class Side(StrEnum):
    """Which way shares move, seen from the customer."""

    BUY = "buy"
    SELL = "sell"


class SubmitStatus(StrEnum):
    """What we know after telling the broker."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    """The broker knows this client id already: look it up and compare."""
    UNKNOWN = "unknown"
    """No answer that we understand: never 'failed'; ask again by client id."""
    THROTTLED = "throttled"


class BrokerOrderState(StrEnum):
    """The state of an order at the broker."""

    OPEN = "open"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def final(self) -> bool:
        """Return whether nothing more can happen to the order."""
        return self is not BrokerOrderState.OPEN


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do; the only thing that decides how `trading` speaks to it."""

    name: str
    simulated: bool
    account_model: AccountModel
    fractional: bool
    notional: bool
    share_decimals: int
    buy_notional_cents_min: int
    client_id_length_max: int
    settlement_days: int
    orders_per_second_max: int
    always_open: bool


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """An order as the broker is told it: exactly one of `notional_cents` and `nanos` is set."""

    client_id: str
    broker_account: str
    security_id: SecurityId
    symbol: str
    side: Side
    notional_cents: int | None
    nanos: int | None

    def __post_init__(self) -> None:
        """Refuse a ticket that says both or neither, or nothing positive."""
        size = self.nanos if self.notional_cents is None else self.notional_cents
        assert (self.notional_cents is None) != (self.nanos is None)
        assert size is not None
        assert size > 0


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The broker's answer to one ticket."""

    status: SubmitStatus
    broker_order_id: str | None = None
    code: str = ""
    """The broker's own code or our classification, for the record."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker knows it."""

    client_id: str
    broker_order_id: str
    security_id: SecurityId
    side: Side
    notional_cents: int | None
    nanos: int | None
    state: BrokerOrderState
    filled_nanos: int
    filled_cents: int
    """Gross cents of all executions so far."""
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """Shares that changed hands at one price; `id` is the broker's and unique for ever."""

    id: str
    client_id: str
    security_id: SecurityId
    side: Side
    nanos: int
    price_micros: int
    cents: int
    """Gross cents as the broker states them; these win over our own rounding."""
    fee_cents: int
    """Regulatory fees (sells), not negative; net cash of a sell is cents - fee_cents."""
    executed_at: datetime
    settles_on: date


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions in the broker's order; `cursor` continues after the last one."""

    executions: Sequence[Execution]
    cursor: str


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that moved cash or shares without an order: a dividend paid, a split made."""

    id: str
    action_id: str
    kind: ActionKind
    security_id: SecurityId
    on: date
    cents: int
    """Cash that came in for the whole broker account, not negative."""
    nanos_before: int
    """The broker's position that the activity applied to."""
    nanos_delta: int
    """Shares that came (or, negative, went)."""
    new_security_id: SecurityId | None = None
    new_nanos: int = 0
    broker_account: str = ""
    """The broker's account that it happened in."""


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """A page of activities in the broker's order."""

    activities: Sequence[Activity]
    cursor: str


@dataclass(frozen=True, slots=True)
class Position:
    """Shares at the broker."""

    security_id: SecurityId
    nanos: int


@dataclass(frozen=True, slots=True)
class BrokerCash:
    """Cash at the broker: all of it, and the part that has settled; cents, signed.

    A paper broker starts at zero and may go negative: customers' money sits at the bank, so this
    is the net cash of trading, equal to minus our book `street/market`.
    """

    total_cents: int
    settled_cents: int


class Broker(Protocol):
    """What every broker adapter does. A method that cannot know raises BrokerUnavailableError."""

    @property
    def capabilities(self) -> Capabilities:
        """Return what this broker can do."""
        ...

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order; idempotent by client id or honest about being a duplicate."""
        ...

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id, or None if the broker says it has none.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for an order to be cancelled; late fills may still come."""
        ...

    def executions(self, after: str, limit: int = 1000) -> ExecutionPage:
        """Return executions after a cursor (`""` = from the start), oldest first."""
        ...

    def activities(self, after: str, limit: int = 1000) -> ActivityPage:
        """Return corporate-action activities after a cursor, oldest first."""
        ...

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return every position that is not zero."""
        ...

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the cash."""
        ...
