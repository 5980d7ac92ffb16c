"""Accounts of customers at Alpaca: applications, bank links, journals, documents.

Nothing here is repeated blindly. An account is looked for by its e-mail address before it is
applied for; a link by the last digits of its number; a journal carries a key that makes it one.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, Final
from uuid import UUID, uuid5

from broker_adapters.alpaca_fields import UnreadableError, optional_decimal, required_text, rows_of
from broker_adapters.alpaca_http import AlpacaHttp, NoAnswerError, Reply
from broker_adapters.alpaca_orders import answered
from broker_adapters.alpaca_pace import Lane, ThrottledError
from broker_adapters.alpaca_verdicts import classify
from broker_adapters.alpaca_wire import cents_of
from robo.core.clock import iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.money import format_cents
from robo.ports.broker import SubmitStatus
from robo.ports.brokerage import (
    Application,
    BankDetails,
    CashState,
    CustodyAccount,
    CustodyState,
    Document,
    Journal,
    JournalRequest,
    JournalResult,
    LinkResult,
    OpenResult,
    Outcome,
    Relationship,
)

_NAMESPACE: Final = UUID("0e3c7c80-44d4-4d0b-9b5f-8d6f6f6a7a11")
_STATES: Final = {
    "SUBMITTED": CustodyState.SUBMITTED,
    "ONBOARDING": CustodyState.SUBMITTED,
    "ACTION_REQUIRED": CustodyState.ACTION_REQUIRED,
    "APPROVAL_PENDING": CustodyState.REVIEW,
    "SUBMISSION_FAILED": CustodyState.REVIEW,
    "APPROVED": CustodyState.APPROVED,
    "ACTIVE": CustodyState.ACTIVE,
    "ACCOUNT_UPDATED": CustodyState.RESTRICTED,
    "LIMITED": CustodyState.RESTRICTED,
    "INACTIVE": CustodyState.RESTRICTED,
    "REJECTED": CustodyState.REJECTED,
    "ACCOUNT_CLOSED": CustodyState.CLOSED,
    "ACCOUNT_CLOSED_PENDING": CustodyState.CLOSED,
}
_JOURNALS: Final = {
    **dict.fromkeys(("queued", "sent_to_clearing", "pending"), CashState.PENDING),
    **dict.fromkeys(("executed", "activity_created"), CashState.DONE),
    **dict.fromkeys(("rejected", "refused", "canceled", "deleted"), CashState.FAILED),
    "correct": CashState.RETURNED,
}
_GONE: Final = frozenset({"CANCELED", "CANCEL_REQUESTED"})
_KNOWN_NOT: Final = frozenset({401, 404})
"""What Alpaca answers for an account that there is not."""
_SHOWN_DIGITS: Final = 4
_CONFLICT: Final = 409
"""What Alpaca answers if there is an account with the e-mail address."""
_POINTED: Final = frozenset({301, 302, 307})


def state_of(word: str) -> CustodyState:
    """Return our state for Alpaca's word; one that nobody knows is neither active nor final."""
    return _STATES.get(word.upper(), CustodyState.UNKNOWN)


def application_body(given: Application) -> dict[str, Any]:
    """Return the body that applies for an account."""
    signed = iso_instant(to_micros(given.agreed_at))
    return {
        "contact": {
            "email_address": given.email,
            "phone_number": given.phone,
            "street_address": list(given.street),
            "city": given.city,
            "state": given.state,
            "postal_code": given.postal_code,
            "country": given.country,
        },
        "identity": {
            "given_name": given.given_name,
            "family_name": given.family_name,
            "date_of_birth": given.born_on.isoformat(),
            "tax_id": given.tax_id,
            "tax_id_type": "USA_SSN",
            "country_of_citizenship": given.citizen_country or given.tax_country,
            "country_of_tax_residence": given.tax_country,
            "funding_source": list(given.funding_sources),
        },
        "disclosures": {
            "is_control_person": given.control_person,
            "is_affiliated_exchange_or_finra": given.finra_affiliated,
            "is_politically_exposed": given.politically_exposed,
            "immediate_family_exposed": given.family_exposed,
        },
        "agreements": [
            {"agreement": one, "signed_at": signed, "ip_address": given.agreed_from}
            for one in given.agreements
        ],
    }


class Custody:
    """Everything about accounts that is neither an order nor a transfer."""

    def __init__(self, http: AlpacaHttp) -> None:
        """Take the client."""
        self._http = http

    def open_account(self, given: Application) -> OpenResult:
        """Apply for an account unless there is one with this e-mail address."""
        try:
            found = self._by_email(given)
            if found is not None:
                return found
            reply = self._http.post("/accounts", application_body(given), Lane.ORDERS)
            if reply.fine:
                return OpenResult(Outcome.TAKEN, _account(reply.body, given.reference))
            taken = self._by_email(given) if reply.status == _CONFLICT else None
        except ThrottledError as error:
            return OpenResult(Outcome.THROTTLED, code=error.code)
        except BrokerUnavailableError as error:
            return OpenResult(Outcome.UNKNOWN, code=error.code)
        outcome, code = _no(reply)
        return taken or OpenResult(outcome, code=code)

    def find_account(self, given: Application) -> OpenResult | None:
        """Return what became of an application; None if no account has its e-mail address.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        return self._by_email(given)

    def account(self, broker_account: str) -> CustodyAccount | None:
        """Return an account; None if Alpaca says that there is none.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        reply = self._http.get(f"/accounts/{broker_account}", {}, Lane.READS)
        if reply.status in _KNOWN_NOT and isinstance(reply.body, Mapping):
            return None
        return _account(answered(reply), "")

    def close_account(self, broker_account: str) -> OpenResult:
        """Close an account that holds nothing."""
        try:
            reply = self._http.post(f"/accounts/{broker_account}/actions/close", {}, Lane.ORDERS)
            account = self.account(broker_account) if reply.fine else None
        except ThrottledError as error:
            return OpenResult(Outcome.THROTTLED, code=error.code)
        except BrokerUnavailableError as error:
            return OpenResult(Outcome.UNKNOWN, code=error.code)
        if reply.fine:
            return OpenResult(Outcome.TAKEN, account)
        outcome, code = _no(reply)
        return OpenResult(outcome, code=code)

    def link_bank(self, broker_account: str, details: BankDetails) -> LinkResult:
        """Link a bank account unless it is linked already."""
        body = {
            "account_owner_name": details.owner_name,
            "bank_account_type": "SAVINGS" if details.savings else "CHECKING",
            "bank_account_number": details.account_number,
            "bank_routing_number": details.routing_number,
        }
        path = f"/accounts/{broker_account}/ach_relationships"
        try:
            linked = self._linked(broker_account, details)
            if linked is not None:
                return LinkResult(Outcome.TAKEN, linked, "found")
            reply = self._http.post(path, body, Lane.ORDERS)
        except ThrottledError as error:
            return LinkResult(Outcome.THROTTLED, code=error.code)
        except BrokerUnavailableError as error:
            return LinkResult(Outcome.UNKNOWN, code=error.code)
        if not reply.fine:
            outcome, code = _no(reply)
            return LinkResult(outcome, code=code)
        try:
            return LinkResult(Outcome.TAKEN, _relationship(reply.body, broker_account))
        except UnreadableError as error:
            return LinkResult(Outcome.UNKNOWN, code=error.code)

    def unlink_bank(self, broker_account: str, relationship_id: str) -> LinkResult:
        """End a bank link; one that Alpaca knows no more has ended."""
        path = f"/accounts/{broker_account}/ach_relationships/{relationship_id}"
        try:
            reply = self._http.delete(path, Lane.ORDERS)
        except ThrottledError as error:
            return LinkResult(Outcome.THROTTLED, code=error.code)
        except BrokerUnavailableError as error:
            return LinkResult(Outcome.UNKNOWN, code=error.code)
        if reply.fine or reply.status in _KNOWN_NOT:
            return LinkResult(Outcome.TAKEN)
        outcome, code = _no(reply)
        return LinkResult(outcome, code=code)

    def relationships(self, broker_account: str) -> Sequence[Relationship]:
        """Return the bank accounts that are linked.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        rows = self._links(broker_account)
        return [_relationship(row, broker_account) for row in rows]

    def journal(self, request: JournalRequest) -> JournalResult:
        """Move cash between accounts; the key made of the request's id lets it happen once."""
        body = {
            "entry_type": "JNLC",
            "from_account": request.source,
            "to_account": request.target,
            "amount": format_cents(request.cents),
            "description": request.text,
        }
        key = str(uuid5(_NAMESPACE, request.id))
        try:
            reply = self._http.post("/journals", body, Lane.ORDERS, key)
        except ThrottledError as error:
            return JournalResult(Outcome.THROTTLED, code=error.code)
        except NoAnswerError as error:
            return JournalResult(Outcome.UNKNOWN, code=error.code)
        if not reply.fine:
            outcome, code = _no(reply)
            return JournalResult(outcome, code=code)
        try:
            journal = _journal(reply.body)
        except UnreadableError as error:
            return JournalResult(Outcome.UNKNOWN, code=error.code)
        told = (journal.source, journal.target, journal.cents)
        if told != (request.source, request.target, request.cents):
            return JournalResult(Outcome.AMBIGUOUS, journal, "reply_mismatch")
        return JournalResult(Outcome.TAKEN, journal)

    def documents(self, broker_account: str) -> Sequence[Document]:
        """Return an account's documents, oldest first.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        reply = self._http.get(f"/accounts/{broker_account}/documents", {}, Lane.READS)
        found = [_document(row) for row in rows_of(answered(reply))]
        return sorted(found, key=lambda one: (one.on, one.id))

    def document(self, broker_account: str, document_id: str) -> bytes:
        """Return a document's content, from where Alpaca points to.

        Raises:
            BrokerUnavailableError: If it was not given.
        """
        path = f"/accounts/{broker_account}/documents/{document_id}/download"
        reply = self._http.get(path, {}, Lane.READS)
        if reply.status not in _POINTED or not reply.location:
            message = "the document was not given"
            raise BrokerUnavailableError(message, code=f"http_{reply.status}")
        return self._http.download(reply)

    def _by_email(self, given: Application) -> OpenResult | None:
        """Return the account of an e-mail address if it is this person's; REFUSED if another's."""
        query = {"query": given.email, "entities": "contact,identity"}
        rows = rows_of(answered(self._http.get("/accounts", query, Lane.READS)))
        for row in rows:
            contact = row.get("contact") or {} if isinstance(row, Mapping) else {}
            if str(contact.get("email_address") or "").lower() != given.email.lower():
                continue
            person = row.get("identity") or {}
            same = (
                person.get("given_name") == given.given_name
                and person.get("family_name") == given.family_name
                and person.get("date_of_birth") == given.born_on.isoformat()
            )
            if not same:
                return OpenResult(Outcome.REFUSED, code="email_taken")
            return OpenResult(Outcome.TAKEN, _account(row, given.reference), "found")
        return None

    def _linked(self, broker_account: str, details: BankDetails) -> Relationship | None:
        """Return the link of the same number at the same bank; its end counts if no more is shown.

        Two accounts of a person at one bank may end alike.
        """
        tail = details.account_number[-_SHOWN_DIGITS:]
        for row in self._links(broker_account):
            number = str(row.get("bank_account_number") or "")
            routed = str(row.get("bank_routing_number") or "") == details.routing_number
            whole = number.isascii() and number.isdigit() and len(number) > _SHOWN_DIGITS
            same = number == details.account_number if whole else number.endswith(tail)
            if same and routed:
                return _relationship(row, broker_account)
        return None

    def _links(self, broker_account: str) -> list[Mapping[str, Any]]:
        path = f"/accounts/{broker_account}/ach_relationships"
        rows = rows_of(answered(self._http.get(path, {}, Lane.READS)))
        kept = [row for row in rows if isinstance(row, Mapping)]
        return [row for row in kept if str(row.get("status") or "").upper() not in _GONE]


def _no(reply: Reply) -> tuple[Outcome, str]:
    """Return what an answer that is not "done" means."""
    verdict = classify(reply.status, reply.body, of_order=False)
    outcomes = {
        SubmitStatus.THROTTLED: Outcome.THROTTLED,
        SubmitStatus.UNKNOWN: Outcome.UNKNOWN,
    }
    return outcomes.get(verdict.status, Outcome.REFUSED), verdict.code


def _account(body: Any, reference: str) -> CustodyAccount:
    if not isinstance(body, Mapping):
        message = "an account should be an object"
        raise UnreadableError(message)
    word = required_text(body, "status")
    results = body.get("kyc_results")
    asks: set[str] = set()
    for name in ("indeterminate", "reject"):
        part = results.get(name) if isinstance(results, Mapping) else None
        asks |= set(part) if isinstance(part, Mapping) else set()
    return CustodyAccount(
        required_text(body, "id"), reference, state_of(word), word, tuple(sorted(asks))
    )


def _relationship(body: Any, broker_account: str) -> Relationship:
    if not isinstance(body, Mapping):
        message = "a link should be an object"
        raise UnreadableError(message)
    word = required_text(body, "status")
    return Relationship(required_text(body, "id"), broker_account, word, word.upper() == "APPROVED")


def _journal(body: Any) -> Journal:
    if not isinstance(body, Mapping):
        message = "a journal should be an object"
        raise UnreadableError(message)
    amount = optional_decimal(body, "net_amount")
    if amount is None:
        message = "a journal has no amount"
        raise UnreadableError(message)
    word = required_text(body, "status")
    return Journal(
        required_text(body, "id"),
        required_text(body, "from_account"),
        required_text(body, "to_account"),
        cents_of(abs(Fraction(amount))),
        _JOURNALS.get(word.lower(), CashState.UNKNOWN),
        word,
    )


def _document(row: Any) -> Document:
    if not isinstance(row, Mapping):
        message = "a document should be an object"
        raise UnreadableError(message)
    try:
        on = date.fromisoformat(required_text(row, "date")[:10])
    except ValueError as error:
        message = "a document has no day"
        raise UnreadableError(message) from error
    return Document(required_text(row, "id"), required_text(row, "type"), on)
