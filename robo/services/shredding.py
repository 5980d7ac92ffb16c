"""Forgetting a customer: the key is destroyed, and with it everything sealed; the books stay."""

from typing import Final

from robo.core.clock import Clock, to_micros
from robo.core.errors import ConflictError, NotFoundError
from robo.services import licensing
from robo.store import accounts, owners, people, tokens
from robo.store.database import Database, bulk
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring

_EMPTIED: Final = ("credential", "recovery_code", "single_use_token")
"""Tables with rows of the customer that are no part of the books."""


def shred_customer(
    db: Database, keyring: Keyring, clock: Clock, customer_id: str, *, actor: str
) -> None:
    """Destroy a customer's data key; profile, answers, evidence and mail never open again.

    Chained rows hold ids and hashes only, so every chain stays valid. Law may ask to keep records
    first (identity five years after closing, FINRA 4512 six): that is the operator's decision, and
    it goes to the audit trail. Shredding twice changes nothing.

    Raises:
        NotFoundError: If there is no such customer.
        ConflictError: If an account is not closed yet.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        customer = owners.find_customer(session, customer_id)
        if customer is None:
            message = "There is no such customer."
            raise NotFoundError(message)
        if customer.state == "shredded":
            return
        if accounts.accounts_of_customer(session, customer_id):
            message = "Close the customer's accounts first."
            raise ConflictError(message, code="account_open")
        tokens.revoke_all(session, customer_id, "shredded", now)
        for table in _EMPTIED:
            bulk(session, f"DELETE FROM {table} WHERE customer_id = ?", [(customer_id,)])  # noqa: S608 - names are ours
        people.shred(session, customer_id)
        firm_id = customer.firm_id
        licensing.record(
            session, keyring, firm_id, actor, "customer.shredded", customer_id, {}, now
        )
        emit(
            session,
            [NewEvent(firm_id, "customer.shredded", customer_id, customer_id=customer_id)],
            now,
        )
