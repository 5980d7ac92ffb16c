"""Whose is it: the one read behind every check of ownership."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlmodel import Session

from robo.store.accounts import AccountRow
from robo.store.customers import CustomerRow

_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

_FIND_ACCOUNT: Final = select(
    _ACCOUNT.c.id,
    _ACCOUNT.c.firm_id,
    _ACCOUNT.c.customer_id,
    _ACCOUNT.c.kind,
    _ACCOUNT.c.state,
    _ACCOUNT.c.opened_at,
    _ACCOUNT.c.closed_at,
).where(_ACCOUNT.c.id == bindparam("id"))
_FIND_CUSTOMER: Final = select(
    _CUSTOMER.c.id,
    _CUSTOMER.c.firm_id,
    _CUSTOMER.c.external_ref,
    _CUSTOMER.c.state,
    _CUSTOMER.c.email_verified_at,
    _CUSTOMER.c.created_at,
    _CUSTOMER.c.identity_state,
    _CUSTOMER.c.identity_codes,
    _CUSTOMER.c.delivery,
).where(_CUSTOMER.c.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its owner."""

    id: str
    firm_id: str
    customer_id: str
    kind: str
    state: str
    opened_at: int
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer without anything personal."""

    id: str
    firm_id: str
    external_ref: str | None
    state: str
    email_verified_at: int | None
    created_at: int
    identity_state: str
    identity_codes: str
    delivery: str


def find_account(session: Session, account_id: str) -> Account | None:
    """Return an account, whoever's it is."""
    row = session.connection().execute(_FIND_ACCOUNT, {"id": account_id}).first()
    return None if row is None else Account(*row)


def find_customer(session: Session, customer_id: str) -> Customer | None:
    """Return a customer, whichever firm's it is."""
    row = session.connection().execute(_FIND_CUSTOMER, {"id": customer_id}).first()
    return None if row is None else Customer(*row)
