"""Whose money it is: an account with what deposits and withdrawals need to know of its customer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlmodel import Session

from robo.core.errors import NotFoundError
from robo.core.ids import AccountId, FirmId
from robo.store.accounts import AccountRow
from robo.store.customers import CustomerRow
from robo.store.database import select_in
from robo.store.documents import AcceptanceRow
from robo.store.firms import FirmRow


@dataclass(frozen=True, slots=True)
class Payer:
    """An account and its customer."""

    account_id: AccountId
    firm_id: FirmId
    customer_id: str
    kind: str
    account_state: str
    customer_state: str
    identity_state: str
    email_verified_at: int | None
    delivery: str


_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FIRM: Any = FirmRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCEPTANCE: Any = AcceptanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SELECT: Final[Any] = select(
    _ACCOUNT.c.id,
    _ACCOUNT.c.firm_id,
    _ACCOUNT.c.customer_id,
    _ACCOUNT.c.kind,
    _ACCOUNT.c.state,
    _CUSTOMER.c.state,
    _CUSTOMER.c.identity_state,
    _CUSTOMER.c.email_verified_at,
    _CUSTOMER.c.delivery,
).join(_CUSTOMER, _CUSTOMER.c.id == _ACCOUNT.c.customer_id)
# What every deposit asks is built once: building a statement costs more than running it.
_FIND: Final[Any] = _SELECT.where(_ACCOUNT.c.id == bindparam("account_id"))
_ACCEPTED: Final[Any] = (
    select(_ACCEPTANCE.c.agreement_id, _ACCEPTANCE.c.version, _ACCEPTANCE.c.kind, _ACCEPTANCE.c.at)
    .where(_ACCEPTANCE.c.customer_id == bindparam("customer_id"))
    .order_by(_ACCEPTANCE.c.at, _ACCEPTANCE.c.seq)
)


def payers(session: Session, account_ids: Sequence[str]) -> dict[AccountId, Payer]:
    """Return the payers of those accounts that exist."""
    rows = select_in(session, _SELECT, _ACCOUNT.c.id, account_ids)
    return {row[0]: Payer(*row) for row in rows}


def payer(session: Session, account_id: str) -> Payer:
    """Return one payer.

    Raises:
        NotFoundError: If there is no such account.
    """
    row = session.connection().execute(_FIND, {"account_id": account_id}).first()
    if row is None:
        message = "there is no such account"
        raise NotFoundError(message)
    return Payer(*row)


def firm_of_customer(session: Session, customer_id: str) -> FirmId:
    """Return a customer's firm.

    Raises:
        NotFoundError: If there is no such customer.
    """
    statement = select(_CUSTOMER.c.firm_id).where(_CUSTOMER.c.id == customer_id)
    found = session.connection().execute(statement).scalar()
    if found is None:
        message = "there is no such customer"
        raise NotFoundError(message)
    return FirmId(found)


def acceptances(session: Session, customer_id: str) -> list[tuple[str, str, str, int]]:
    """Return (document, version, kind, instant) of what a customer was given, accepted or ended."""
    rows = session.connection().execute(_ACCEPTED, {"customer_id": customer_id})
    return [(document, version, kind, at) for document, version, kind, at in rows]


def house_firm(session: Session) -> FirmId:
    """Return the firm that self-service customers belong to; it hears what concerns nobody else."""
    statement = select(_FIRM.c.id).order_by(_FIRM.c.house.desc(), _FIRM.c.created_at).limit(1)
    return FirmId(session.connection().execute(statement).scalar_one())
