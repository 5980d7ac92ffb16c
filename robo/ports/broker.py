"""Where orders go: capabilities as data, results as values, "unavailable" never "empty"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final, Protocol

from robo.core.ids import SecurityId
from robo.core.money import NANOS_PER_SHARE
from robo.ports.prices import ActionKind
from robo.ports.terms import (
    ClientIdRule,
    CursorKind,
    Feed,
    Group,
    MoneyIdempotency,
    OrderType,
    TimeInForce,
)

_SHARE_DIGITS: Final = 9


class AccountModel(StrEnum):
    """Whether the broker keeps one account for all customers, or one each."""

    OMNIBUS = "omnibus"
    SEGREGATED = "segregated"


class Side(StrEnum):
    """Which way shares move, seen from the customer."""

    BUY = "buy"
    SELL = "sell"


class Refusal(StrEnum):
    """What kind of no it is; decides what becomes of the order's purpose."""

    NONE = ""
    FUNDS = "funds"
    POSITION = "position"
    """Fewer shares are there (or free) than were to be sold."""
    MINIMUM = "minimum"
    NOT_FRACTIONABLE = "not_fractionable"
    """Whole shares only, as of now."""
    NOT_TRADABLE = "not_tradable"
    UNKNOWN_SECURITY = "unknown_security"
    OPPOSITE_ORDER = "opposite_order"
    """A wash trade with an open order of the other side: wait until that one has ended."""
    ACCOUNT = "account"
    """The account may not trade at all now."""
    CREDENTIALS = "credentials"
    RATE = "rate"
    CLIENT_ID = "client_id"
    """The id is too long, or has signs in it that the broker does not take."""
    CLIENT_ID_TAKEN = "client_id_taken"
    """There is an order under this id already: REJECTED where it is another one than was told
    (a person must look), UNKNOWN where it could not be compared."""
    UNSUPPORTED = "unsupported"
    """Beyond the broker's capabilities; it was never sent."""
    ORDER_STATE = "order_state"
    """There is no such order, or it is too late to cancel it."""
    OTHER = "other"


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


_MARKET: Final = frozenset({OrderType.MARKET})
_DAY: Final = frozenset({TimeInForce.DAY})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do; the only thing that decides how `trading` speaks to it.

    What is said about an order's size and terms decides what is sent (`precheck`, `sizing`), what
    about ids how one that was not heard of is looked for (`healing`). Four are information, for
    operators and for the kit, and decide nothing: `settlement_days` (each execution says when it
    settles), `executions_by` and `cursor_kind` (pages are read alike), and `orders_per_second_max`
    with `requests_per_minute_max` (an adapter keeps its own pace, and says THROTTLED).
    """

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
    notional_decimals: int = 2
    sell_notional_cents_min: int = 0
    types_whole: frozenset[OrderType] = _MARKET
    types_fractional: frozenset[OrderType] = _MARKET
    in_force_whole: frozenset[TimeInForce] = _DAY
    in_force_fractional: frozenset[TimeInForce] = _DAY
    client_id_rule: ClientIdRule = ClientIdRule.UNIQUE
    """Where it is none, an order that was not heard of is told again after long doubt only."""
    find_by_client_id: bool = True
    """Whether `find` knows of orders whose telling was not heard. If not, None proves nothing; and
    where the rule above is none too, what was not heard of waits for a person."""
    money_idempotency: MoneyIdempotency = MoneyIdempotency.CLIENT_ID
    executions_by: Feed = Feed.POLL
    cursor_kind: CursorKind = CursorKind.NUMBER
    find_lag_seconds: int = 60
    """So long after telling, "no such order" proves nothing; 0 where the first answer is proof."""
    requests_per_minute_max: int = 0
    """Requests of every kind; 0 if the broker states none."""
    groups: frozenset[Group] = frozenset()
    accounts_per_customer_max: int = 0
    """Of the group `onboarding`: how many accounts one person may have; 0 if none is stated."""
    account_kinds: frozenset[str] = frozenset({"individual"})
    """Of the group `onboarding`: the kinds of account that can be applied for."""

    @property
    def step_nanos(self) -> int:
        """Return the least part of a share that is taken, of a name that goes in parts."""
        return (
            10 ** max(0, _SHARE_DIGITS - self.share_decimals)
            if self.fractional
            else NANOS_PER_SHARE
        )

    def sizes(self) -> str:
        """Return in words how an order may be sized, for operators."""
        shares = (
            f"shares with {self.share_decimals} decimals" if self.fractional else "whole shares"
        )
        return f"{shares} or dollars" if self.notional else shares


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
    type: OrderType = OrderType.MARKET
    in_force: TimeInForce = TimeInForce.DAY

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
    refusal: Refusal = Refusal.NONE
    """What kind of no it was, if it was one."""


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
    broker_account: str = ""
    """The broker's account that it is in, where the adapter knows; then it must be the block's."""


class ExecutionKind(StrEnum):
    """Whether an execution happened, or one that was told before did not happen after all."""

    TRADE = "trade"
    BUST = "bust"
    """Takes back the execution `busts`, whose amounts it repeats. A correction is two of them: a
    bust of the old one and a new trade."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Shares that changed hands at one price; `id` is the broker's and unique for ever.

    Of an id with `::` in it, what follows the last one is enough: it may be told alone later on.
    """

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
    kind: ExecutionKind = ExecutionKind.TRADE
    busts: str = ""
    """The id of the execution that did not happen; empty for a trade."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions in the broker's order; `cursor` continues after the last one."""

    executions: Sequence[Execution]
    cursor: str


class CashKind(StrEnum):
    """Why cash or shares moved when it was neither an order nor a corporate action."""

    WITHHOLDING = "withholding"
    """Tax kept back of a dividend (`action_id` is the dividend's)."""
    FEE = "fee"
    INTEREST = "interest"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    JOURNAL = "journal"
    """Cash or shares between accounts at the broker."""
    OTHER = "other"
    """Nothing that we know; `detail` is the broker's word."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that moved cash or shares without an order: a dividend paid, a split made."""

    id: str
    action_id: str
    """The corporate action's id in our price source; empty if it is none, or none that fits."""
    kind: ActionKind | CashKind
    security_id: SecurityId
    """0 if no security of ours is concerned."""
    on: date
    cents: int
    """Cash that came in for the whole broker account; negative for what went (fees, withholding,
    what is taken back)."""
    nanos_before: int
    """The broker's position that the activity applied to; 0: it does not say (spin-offs, and
    splits that are dividends in shares, only)."""
    nanos_delta: int
    """Shares that came (or, negative, went)."""
    new_security_id: SecurityId | None = None
    new_nanos: int = 0
    broker_account: str = ""
    """The broker's account that it happened in."""
    takes_back: str = ""
    """The id of an activity that this one reverses, with the opposite amounts."""
    detail: str = ""
    """The broker's own words, for the record."""


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """A page of activities in the broker's order."""

    activities: Sequence[Activity]
    cursor: str


@dataclass(frozen=True, slots=True)
class Position:
    """Shares at the broker."""

    security_id: SecurityId
    """0 if the broker holds something that is no security of ours."""
    nanos: int
    symbol: str = ""
    """The broker's symbol, where it says one."""


@dataclass(frozen=True, slots=True)
class BrokerCash:
    """Cash at the broker: all of it, and the part that has settled; cents, signed.

    A paper broker starts at zero and may go negative: customers' money sits at the bank, so this
    is the net cash of trading, equal to minus our book `street/market`.
    """

    total_cents: int
    settled_cents: int
    spendable_cents: int | None = None
    """What a buy could be paid with now, as the broker sees it; None if it does not say."""


@dataclass(frozen=True, slots=True)
class MassStatus:
    """Everything that an account has at the broker, read together; for start-up and healing.

    The parts are read one after the other: what trades in between makes them disagree, so a
    difference is a break only if it is still there in the next one.
    """

    broker_account: str
    as_of: datetime
    open_orders: Sequence[BrokerOrder]
    positions: Sequence[Position]
    cash: BrokerCash
    moving: frozenset[SecurityId] = frozenset()
    """Names in the middle of a corporate action: their shares have gone and not come back yet."""


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

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return all open orders, positions and cash of an account, complete.

        Raises:
            BrokerUnavailableError: If any part could not be read: there is no half status.
        """
        ...
