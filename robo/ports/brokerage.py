"""What a broker may offer beyond orders, in groups; `Capabilities.groups` says which it has.

Accounts for each customer, money in and out of them, journals between them, documents, and the
state of what can be traded. Results are values. A request that moves money and whose outcome we
did not see is UNKNOWN or AMBIGUOUS, never repeated blindly: a person decides what matching by
listing cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from robo.core.ids import SecurityId
from robo.ports.funding import TransferDirection


@dataclass(frozen=True, slots=True)
class Asset:
    """Whether, and how finely, a security can be traded at this broker now."""

    security_id: SecurityId
    symbol: str
    tradable: bool
    fractionable: bool


class Assets(Protocol):
    """Group `assets`."""

    def assets(self, security_ids: Sequence[SecurityId]) -> Sequence[Asset]:
        """Return the state of each security; one that the broker does not know is not tradable.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...


class CustodyState(StrEnum):
    """How far an account of a customer is at the broker; only ACTIVE may trade."""

    SUBMITTED = "submitted"
    ACTION_REQUIRED = "action_required"
    """The broker asks the customer for a document."""
    REVIEW = "review"
    """A person at the broker is looking."""
    APPROVED = "approved"
    ACTIVE = "active"
    RESTRICTED = "restricted"
    REJECTED = "rejected"
    CLOSED = "closed"
    UNKNOWN = "unknown"
    """A word that we do not know: not active, and nothing final."""


@dataclass(frozen=True, slots=True)
class Application:
    """What a broker is told to open an account; every field but `reference` is about a person."""

    reference: str
    """Ours: finds the account again if the answer is lost."""
    email: str = field(repr=False)
    phone: str = field(repr=False)
    street: Sequence[str] = field(repr=False)
    city: str = field(repr=False)
    state: str = field(repr=False)
    postal_code: str = field(repr=False)
    country: str = field(repr=False)
    """ISO 3166-1 alpha-3."""
    given_name: str = field(repr=False)
    family_name: str = field(repr=False)
    born_on: date = field(repr=False)
    tax_id: str = field(repr=False)
    tax_country: str = field(repr=False)
    funding_sources: Sequence[str] = field(repr=False)
    control_person: bool = field(repr=False)
    finra_affiliated: bool = field(repr=False)
    politically_exposed: bool = field(repr=False)
    family_exposed: bool = field(repr=False)
    agreed_at: datetime = field(repr=False)
    agreed_from: str = field(repr=False)
    """The network address that the agreements were signed from."""
    agreements: Sequence[str] = ("customer_agreement",)
    citizen_country: str = field(default="", repr=False)
    """Empty: that of the tax residence."""


@dataclass(frozen=True, slots=True)
class CustodyAccount:
    """An account of a customer at the broker."""

    broker_account: str
    reference: str
    state: CustodyState
    word: str
    """The broker's own word for the state."""
    asks: Sequence[str] = ()
    """What it still wants to know, in its own codes; never personal data."""


class Outcome(StrEnum):
    """What we know after asking for an account, a link, a transfer or a journal."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """No answer; it may have been taken. Ask again with the same id: nothing is sent twice."""
    AMBIGUOUS = "ambiguous"
    """Several things at the broker could be it, or none after a lost request: a person decides."""
    THROTTLED = "throttled"
    """Not sent."""


@dataclass(frozen=True, slots=True)
class OpenResult:
    """The answer to an application."""

    outcome: Outcome
    account: CustodyAccount | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class CustodyEvent:
    """A step of an account, a transfer or a journal, as the broker's stream told it."""

    id: str
    subject: str
    """The account's, transfer's or journal's id at the broker."""
    broker_account: str
    word_from: str
    word_to: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CustodyEventPage:
    """Events after a cursor."""

    events: Sequence[CustodyEvent]
    cursor: str
    gap: bool = False
    """The broker says that it dropped messages: read everything again."""


class Onboarding(Protocol):
    """Group `onboarding`."""

    def open_account(self, application: Application) -> OpenResult:
        """Apply for an account; an account of the same reference is found, not opened again."""
        ...

    def find_account(self, application: Application) -> OpenResult | None:
        """Return what became of an application whose answer was lost; None if nothing is known.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def account(self, broker_account: str) -> CustodyAccount | None:
        """Return an account; None if the broker says that there is none.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def close_account(self, broker_account: str) -> OpenResult:
        """Close an account that holds nothing."""
        ...


@dataclass(frozen=True, slots=True)
class BankDetails:
    """A customer's bank account, for linking; never kept."""

    reference: str
    owner_name: str = field(repr=False)
    routing_number: str = field(repr=False)
    account_number: str = field(repr=False)
    savings: bool = False


@dataclass(frozen=True, slots=True)
class Relationship:
    """A bank account that is linked to a broker account."""

    id: str
    broker_account: str
    word: str
    usable: bool


@dataclass(frozen=True, slots=True)
class LinkResult:
    """The answer to a request for a link."""

    outcome: Outcome
    relationship: Relationship | None = None
    code: str = ""


class CashState(StrEnum):
    """How far a transfer or journal is at the broker."""

    PENDING = "pending"
    DONE = "done"
    """For now: a completed transfer can still be returned."""
    FAILED = "failed"
    RETURNED = "returned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CashRequest:
    """A transfer between a linked bank and an account at the broker; `id` is ours."""

    id: str
    broker_account: str
    relationship_id: str
    direction: TransferDirection
    cents: int


@dataclass(frozen=True, slots=True)
class CashTransfer:
    """A transfer as the broker knows it."""

    broker_id: str
    reference: str
    """Our id, if the broker repeats it."""
    broker_account: str
    relationship_id: str
    direction: TransferDirection
    cents: int
    """0 if way, amount or instant cannot be read: then only `broker_id`, `state` and `word` count,
    and it is nobody's request by likeness."""
    state: CashState
    word: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CashResult:
    """The answer to a request for a transfer; `candidates` are what a person must look at."""

    outcome: Outcome
    transfer: CashTransfer | None = None
    code: str = ""
    candidates: Sequence[CashTransfer] = ()


class Funding(Protocol):
    """Group `funding`."""

    def link_bank(self, broker_account: str, details: BankDetails) -> LinkResult:
        """Link a bank account; one that is linked already is found, not linked again."""
        ...

    def unlink_bank(self, broker_account: str, relationship_id: str) -> LinkResult:
        """End a link; one that has ended, or never was, is TAKEN too."""
        ...

    def relationships(self, broker_account: str) -> Sequence[Relationship]:
        """Return the linked bank accounts.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def transfer(self, request: CashRequest) -> CashResult:
        """Ask for a transfer at most once for an id, however often it is called."""
        ...

    def transfers(self, broker_account: str) -> Sequence[CashTransfer]:
        """Return all transfers of an account.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def claim_transfer(self, request_id: str, broker_id: str) -> None:
        """Take note of which transfer at the broker a request became.

        Raises:
            InvalidInputError: If the request waits for no answer, or the transfer is another's.
        """
        ...

    def release_transfer(self, request_id: str) -> None:
        """Take note that a request never arrived: it may be asked for once more.

        It is not asked for again if a person has given it up; either way no later request like it
        waits for what becomes of it.

        Raises:
            InvalidInputError: If the request waits for no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class JournalRequest:
    """Cash between two accounts at the broker; `id` is ours and makes it idempotent."""

    id: str
    source: str
    target: str
    cents: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as the broker knows it."""

    broker_id: str
    source: str
    target: str
    cents: int
    state: CashState
    word: str


@dataclass(frozen=True, slots=True)
class JournalResult:
    """The answer to a request for a journal."""

    outcome: Outcome
    journal: Journal | None = None
    code: str = ""


class Journals(Protocol):
    """Group `journals`."""

    def journal(self, request: JournalRequest) -> JournalResult:
        """Move cash between accounts; the same id moves it once."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A statement, confirmation or tax form that the broker keeps for an account."""

    id: str
    kind: str
    on: date


class Documents(Protocol):
    """Group `documents`."""

    def documents(self, broker_account: str) -> Sequence[Document]:
        """Return an account's documents, oldest first.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def document(self, broker_account: str, document_id: str) -> bytes:
        """Return a document's content.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...


class Events(Protocol):
    """Group `events`: status of accounts, transfers and journals, by a cursor that we keep."""

    def custody_events(self, stream: str, after: str, limit: int = 1000) -> CustodyEventPage:
        """Return events of a stream (`accounts`, `transfers`, `journals`) after a cursor.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...
