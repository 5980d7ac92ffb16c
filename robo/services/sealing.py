"""A customer's sealed records: opened with the customer's own key, bound to row and field."""

from dataclasses import dataclass
from typing import Final, Self

from sqlmodel import Session

from robo.core.errors import NotFoundError
from robo.store import people
from robo.store.keyring import Keyring, seal, seal_json, unseal, unseal_json

EMAIL: Final = "email"
PROFILE: Final = "profile"
TAX_ID: Final = "tax_id"
BIRTH_DATE: Final = "birth_date"


@dataclass(frozen=True, slots=True, repr=False)
class Vault:
    """The sealed records of one customer."""

    customer_id: str
    key: bytes

    @classmethod
    def open(cls, session: Session, keyring: Keyring, customer_id: str) -> Self:
        """Return a customer's vault.

        Raises:
            NotFoundError: If there is no such customer, or its key was shredded.
        """
        wrapped = people.data_key(session, customer_id)
        if wrapped is None:
            message = "There is no such customer."
            raise NotFoundError(message)
        return cls(customer_id, keyring.open_data_key(customer_id, wrapped))

    def write(self, session: Session, field: str, value: object, at_micros: int) -> None:
        """Seal a value; the one it replaces goes to the history. The same value writes nothing."""
        if self.read(session, field) == value:
            return
        sealed = seal_json(self.key, value, self._bound(field))
        people.put_sealed(session, self.customer_id, field, sealed, at_micros)

    def read(self, session: Session, field: str) -> object:
        """Return a value, None if there is none."""
        found = people.sealed_records(session, self.customer_id, [field]).get(field)
        return None if found is None else unseal_json(self.key, found, self._bound(field))

    def seal(self, value: bytes, bound_to: str) -> bytes:
        """Return bytes sealed with this customer's key, bound to `table:row:field`."""
        return seal(self.key, value, bound_to)

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """Return the bytes that were sealed."""
        return unseal(self.key, sealed, bound_to)

    def seal_json(self, value: object, bound_to: str) -> bytes:
        """Return a sealed JSON value."""
        return seal_json(self.key, value, bound_to)

    def unseal_json(self, sealed: bytes, bound_to: str) -> object:
        """Return the JSON value that was sealed."""
        return unseal_json(self.key, sealed, bound_to)

    def _bound(self, field: str) -> str:
        return f"personal:{self.customer_id}:{field}"
