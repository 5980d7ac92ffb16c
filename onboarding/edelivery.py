"""Consent to electronic delivery, as E-SIGN §101(c) wants it: asked, demonstrated, revocable.

Saying yes is not enough: the customer must show in the electronic form itself that the documents
can be opened. So consent is *requested*, completed by opening the delivered document through its
own link (*demonstrated*), and may be *withdrawn* at any time. The link's proof is made and checked
by services; here are only the states. Source: 15 U.S.C. 7001(c)(1).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from onboarding.errors import ConsentError


class ConsentState(StrEnum):
    """How documents reach the customer."""

    PAPER = "paper"
    REQUESTED = "requested"
    DEMONSTRATED = "demonstrated"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class EDelivery:
    """One customer's consent to electronic delivery; paper until demonstrated."""

    state: ConsentState = ConsentState.PAPER
    version: int | None = None
    """Version of the consent document that was agreed to."""
    requested_at: datetime | None = None
    demonstrated_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def request(self, version: int, at: datetime) -> "EDelivery":
        """The customer agrees to this version; it waits for the proof. Allowed from every state."""
        return EDelivery(ConsentState.REQUESTED, version, requested_at=at)

    def demonstrate(self, version: int, at: datetime) -> "EDelivery":
        """The customer opened the delivered document; doing so twice changes nothing.

        Raises:
            ConsentError: If nothing, or another version, was requested.
        """
        if self.state is ConsentState.DEMONSTRATED and self.version == version:
            return self
        if self.state is not ConsentState.REQUESTED or self.version != version:
            detail = "There is no open consent for this document."
            raise ConsentError(detail, reasons=["consent_not_requested"])
        return replace(self, state=ConsentState.DEMONSTRATED, demonstrated_at=at)

    def withdraw(self, at: datetime) -> "EDelivery":
        """The customer wants paper from now on; doing so twice changes nothing.

        Raises:
            ConsentError: If there is no consent to withdraw.
        """
        if self.state is ConsentState.WITHDRAWN:
            return self
        if self.state is ConsentState.PAPER:
            detail = "There is no consent to withdraw."
            raise ConsentError(detail, reasons=["consent_not_requested"])
        return replace(self, state=ConsentState.WITHDRAWN, withdrawn_at=at)

    def covers(self, version: int) -> bool:
        """Whether documents may go out electronically only, under this version of the consent.

        A changed requirement is a new version, and asks for consent and proof again
        (§101(c)(1)(D)).
        """
        return self.state is ConsentState.DEMONSTRATED and self.version == version
