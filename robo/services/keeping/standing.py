"""How a customer's account stands at the broker, in words for its owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from robo.core.errors import RefusedError
from robo.ports import groups
from robo.ports.broker import Broker
from robo.store import accounts, custody, owners

NOT_KEPT: Final = "not_kept"
"""The broker keeps one account for all: there is nothing to wait for."""
WAITING: Final = "waiting"
"""Nothing was asked of the broker yet."""
_SENTENCES: Final[Mapping[str, str]] = {
    NOT_KEPT: "Nothing is missing: this account can be used.",
    WAITING: "The application goes to the broker once your identity is accepted.",
    "intended": "The application is about to go to the broker.",
    "telling": "The application is on its way to the broker.",
    "incomplete": "Something is missing for the application; give it, and it goes out by itself.",
    "refused": "The broker did not take the application; we look at it.",
    "submitted": "The broker is looking at the application.",
    "action_required": "The broker asks you for something before it can open the account.",
    "review": "A person at the broker is looking at the application.",
    "approved": "The broker has approved the account and is opening it.",
    "active": "The account is open at the broker.",
    "restricted": "The broker has restricted the account; nothing is bought or sold.",
    "rejected": "The broker has rejected the application.",
    "closed": "The account is closed at the broker.",
    "unknown": "The broker says something of the account that we do not know; we look at it.",
}
_ASKED: Final[Mapping[str, str]] = {
    "email": "an e-mail address",
    "profile": "your profile",
    "tax_id": "a personal tax number, not an employer's",
    "agreements": "the account agreement",
    "IDENTITY_VERIFICATION": "a document that proves who you are",
    "TAX_IDENTIFICATION": "a document that proves your tax number",
    "ADDRESS_VERIFICATION": "a document that proves your address",
    "DATE_OF_BIRTH": "a document that proves your date of birth",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands at the broker: a word, a sentence, what is asked of the customer."""

    state: str
    sentence: str
    asks: tuple[tuple[str, str], ...] = ()
    """(code, in words)."""


def standing(session: Session, broker: Broker, account_id: str) -> Standing:
    """Return how an account stands at the broker, for its owner."""
    row = custody.get(session, account_id)
    if row is None:
        state = WAITING if groups.onboarding(broker) is not None else NOT_KEPT
        return Standing(state, _SENTENCES[state])
    asks = tuple(
        (code, _ASKED.get(code, "something that it names itself")) for code in row.asks.split()
    )
    return Standing(row.state, _SENTENCES[row.state], asks)


def require_offered(
    session: Session, broker: Broker, customer_id: str, kind: str, account_id: str
) -> None:
    """Return if the broker opens another account of a kind for a customer.

    Raises:
        RefusedError: If it does not open this kind (`kind_not_offered`), or no further one
            (`broker_account_limit`).
    """
    if groups.onboarding(broker) is None:
        return
    able = broker.capabilities
    if kind not in able.account_kinds:
        message = "The broker does not open accounts of this kind."
        raise RefusedError(message, code="kind_not_offered", reasons=[kind])
    others = [
        one for one in accounts.accounts_of_customer(session, customer_id) if one != account_id
    ]
    used = [
        one
        for one in others
        if (found := owners.find_account(session, one)) is not None and found.state != "closed"
    ]
    if able.accounts_per_customer_max and len(used) >= able.accounts_per_customer_max:
        message = "The broker opens no further account for the same person."
        raise RefusedError(message, code="broker_account_limit")
