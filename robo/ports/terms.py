"""The words in which a broker states what it can do."""

from enum import StrEnum


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    """How long an order lives."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"


class ClientIdRule(StrEnum):
    """What a broker does with a client id that it has seen before."""

    UNIQUE = "unique"
    """Refused for ever, whatever became of the first order."""
    REPLAYED = "replayed"
    """The first order's answer is given again."""
    NONE = "none"
    """It takes a second order: only asking first keeps an order from being doubled."""


class MoneyIdempotency(StrEnum):
    """What keeps a movement of money from being made twice when it is asked for twice."""

    HEADER = "header"
    """A key of ours beside the request."""
    CLIENT_ID = "client_id"
    """An id of ours inside the request."""
    NONE = "none"
    """Nothing: match by listing; what stays ambiguous is a person's to decide."""


class Feed(StrEnum):
    """How executions reach us."""

    POLL = "poll"
    STREAM = "stream"
    BOTH = "both"


class CursorKind(StrEnum):
    """What events are continued from."""

    NUMBER = "number"
    ULID = "ulid"
    TEXT = "text"
    NONE = "none"


class Group(StrEnum):
    """What a broker may offer beyond orders; the protocols are in `robo.ports.brokerage`."""

    ASSETS = "assets"
    ONBOARDING = "onboarding"
    FUNDING = "funding"
    JOURNALS = "journals"
    DOCUMENTS = "documents"
    EVENTS = "events"
    IN_KIND = "in_kind"
    """Positions from accounts at other firms."""
