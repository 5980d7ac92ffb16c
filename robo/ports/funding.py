"""Where customers' money comes from and goes to: linked banks, pulls and pushes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class TransferDirection(StrEnum):
    """Which way money moves, seen from us."""

    PULL = "pull"
    PUSH = "push"


class BankEventKind(StrEnum):
    """What the bank tells us about a transfer, in this order (a return may follow either)."""

    PENDING = "pending"
    AVAILABLE = "available"
    SETTLED = "settled"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class BankTransfer:
    """A movement we ask for; `id` is ours and makes the request idempotent."""

    id: str
    direction: TransferDirection
    bank_token: str
    """The bank's token for the linked account; never an account number."""
    cents: int


@dataclass(frozen=True, slots=True)
class BankEvent:
    """One step of a transfer, numbered by the bank; `cursor` continues after it."""

    id: str
    transfer_id: str
    kind: BankEventKind
    code: str
    """Nacha return code such as R01, empty unless returned."""
    at: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class BankLink:
    """A bank account as it may be shown: a token, a name and the last digits."""

    token: str
    bank_name: str
    mask: str


class Bank(Protocol):
    """The funding rail. A method that cannot know raises BrokerUnavailableError."""

    def link(self, link_id: str, routing_number: str, account_number: str) -> BankLink:
        """Verify and tokenise a bank account; idempotent by `link_id`.

        Raises:
            InvalidInputError: If the numbers are not a bank account (checksum, length).
        """
        ...

    def request(self, transfer: BankTransfer) -> None:
        """Ask for a transfer; a second request with the same id changes nothing."""
        ...

    def events(self, after: str, limit: int = 1000) -> Sequence[BankEvent]:
        """Return what happened after a cursor (`""` = from the start), oldest first."""
        ...
