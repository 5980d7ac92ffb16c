"""The account that a broker keeps for a customer account: applied for, approved, active, closed.

A row is written before the broker is told, and says by itself what is to be done next. What of a
person goes to the broker is not kept here; what the broker asks back is kept as its codes only.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import exists, select
from sqlmodel import Session, SQLModel

from robo.ledger import chart
from robo.store.accounts import AccountRow
from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.controls import BrokerAccountRow
from robo.store.customers import CustomerRow
from robo.store.database import bulk, insert_many, select_in
from robo.store.ledger import BalanceRow
from robo.store.lots import ProceedRow
from robo.store.transfers import WithdrawalRow

NEVER: Final = 2**62
"""An instant that does not come."""
OURS: Final = ("intended", "telling", "incomplete", "refused")
"""States before the broker has an account, as far as we know."""
STATES: Final = (
    *OURS,
    "submitted",
    "action_required",
    "review",
    "approved",
    "active",
    "restricted",
    "rejected",
    "closed",
    "unknown",
)
_ENDED: Final = ("paid", "failed", "canceled")
_BOOKS: Final = ("/cash", "/reserved", "/unsettled", "/outgoing", "/holdings")
"""What the books of an account end in."""


class CustodyRow(SQLModel, table=True):
    """How far a customer account is at a broker that keeps one each.

    intended -> telling -> submitted ... active; incomplete: we lack something; refused: the broker
    said no to the application itself, which a person looks at.
    """

    __tablename__ = "custody"
    __table_args__ = (
        one_of("custody_state", "state", *STATES),
        check("custody_closing", "closing IN (0, 1)"),
        STRICT,
    )
    account_id: str = text(key=True, to="account.id")
    broker: str = text()
    state: str = text(index=True)
    broker_account: str | None = text(null=True, unique=True)
    word: str = text(default="")
    """The broker's own word for the state."""
    asks: str = text(default="")
    """What the customer must do: codes, the broker's or ours, separated by spaces."""
    code: str = text(default="")
    """Why it was refused."""
    unheard: int = integer(default=0)
    """How often the broker said, after a lost answer, that it knows of no application."""
    closing: int = integer(default=0)
    """1 = it is being closed."""
    intended_at: int = integer()
    told_at: int | None = integer(null=True)
    look_at: int = integer(index=True)
    """When it is looked at next."""
    changed_at: int = integer()


_CUSTODY: Any = CustodyRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # the same
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # the same
_LINKED: Any = BrokerAccountRow.__table__  # type: ignore[attr-defined] # the same
_BALANCE: Any = BalanceRow.__table__  # type: ignore[attr-defined] # the same
_PROCEED: Any = ProceedRow.__table__  # type: ignore[attr-defined] # the same
_WITHDRAWAL: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # the same


@dataclass(frozen=True, slots=True)
class Custody:
    """An account at the broker as we know it; the row's columns say what each field means."""

    account_id: str
    broker: str
    intended_at: int
    look_at: int
    changed_at: int
    state: str = "intended"
    broker_account: str | None = None
    word: str = ""
    asks: str = ""
    code: str = ""
    unheard: int = 0
    closing: int = 0
    told_at: int | None = None


_NAMES: Final = tuple(Custody.__dataclass_fields__)
_COLUMNS: Final = [_CUSTODY.c[name] for name in _NAMES]
_MUTABLE: Final = tuple(name for name in _NAMES if name not in {"account_id", "broker"})


def without(session: Session, kinds: Collection[str], limit: int) -> list[str]:
    """Return open accounts of some kinds, of accepted people, that no broker was asked for yet."""
    statement = (
        select(_ACCOUNT.c.id)
        .join(_CUSTOMER, _CUSTOMER.c.id == _ACCOUNT.c.customer_id)
        .where(
            _ACCOUNT.c.state == "open",
            _ACCOUNT.c.kind.in_(sorted(kinds)),
            _CUSTOMER.c.state == "active",
            _CUSTOMER.c.identity_state == "accepted",
            ~exists().where(_CUSTODY.c.account_id == _ACCOUNT.c.id),
            ~exists().where(_LINKED.c.account_id == _ACCOUNT.c.id),
        )
        .order_by(_ACCOUNT.c.opened_at, _ACCOUNT.c.id)
        .limit(limit)
    )
    return list(session.connection().execute(statement).scalars())


def add(session: Session, rows: Sequence[Custody]) -> None:
    """Write intentions."""
    values = [tuple(getattr(row, name) for name in _NAMES) for row in rows]
    insert_many(session, "custody", _NAMES, values)


def save(session: Session, row: Custody) -> None:
    """Write what may change."""
    marks = ", ".join(f"{name} = ?" for name in _MUTABLE)
    values = (*(getattr(row, name) for name in _MUTABLE), row.account_id)
    bulk(session, f"UPDATE custody SET {marks} WHERE account_id = ?", [values])  # noqa: S608 - names are ours


def get(session: Session, account_id: str) -> Custody | None:
    """Return the broker's account of a customer account, as far as it is."""
    statement = select(*_COLUMNS).where(_CUSTODY.c.account_id == account_id)
    row = session.connection().execute(statement).first()
    return None if row is None else Custody(*row)


def due(session: Session, at_micros: int, limit: int, *states: str) -> list[Custody]:
    """Return what is to be looked at by an instant, longest overdue first."""
    statement = select(*_COLUMNS).where(_CUSTODY.c.look_at <= at_micros)
    if states:
        statement = statement.where(_CUSTODY.c.state.in_(states))
    ordered = statement.order_by(_CUSTODY.c.look_at, _CUSTODY.c.account_id).limit(limit)
    return [Custody(*row) for row in session.connection().execute(ordered)]


def holder(session: Session, broker_account: str) -> str | None:
    """Return which customer account an account of the broker's is."""
    statement = select(_CUSTODY.c.account_id).where(_CUSTODY.c.broker_account == broker_account)
    found = session.connection().execute(statement).scalar()
    linked = select(_LINKED.c.account_id).where(_LINKED.c.reference == broker_account)
    return found or session.connection().execute(linked).scalar()


def look(session: Session, broker_accounts: Sequence[str], at_micros: int) -> None:
    """Look at these accounts of the broker's next."""
    bulk(
        session,
        "UPDATE custody SET look_at = ? WHERE broker_account = ? AND look_at > ?",
        [(at_micros, one, at_micros) for one in broker_accounts],
    )


def look_at_lost(session: Session, at_micros: int) -> None:
    """Look at those whose application's answer was lost next: the news may be about them."""
    bulk(
        session,
        "UPDATE custody SET look_at = ? WHERE state = 'telling' AND look_at > ?",
        [(at_micros, at_micros)],
    )


def look_at_all(session: Session, at_micros: int) -> None:
    """Look at every account next that the broker has: news of them was dropped."""
    bulk(
        session,
        "UPDATE custody SET look_at = ? WHERE broker_account IS NOT NULL AND look_at > ?",
        [(at_micros, at_micros)],
    )


def refused(session: Session, firm_id: str, limit: int) -> list[Custody]:
    """Return a firm's applications that the broker refused, oldest first; every firm's for ''."""
    statement = (
        select(*_COLUMNS)
        .join(_ACCOUNT, _ACCOUNT.c.id == _CUSTODY.c.account_id)
        .where(_CUSTODY.c.state == "refused")
    )
    if firm_id:
        statement = statement.where(_ACCOUNT.c.firm_id == firm_id)
    ordered = statement.order_by(_CUSTODY.c.changed_at, _CUSTODY.c.account_id).limit(limit)
    return [Custody(*row) for row in session.connection().execute(ordered)]


def to_close(session: Session, at_micros: int, limit: int) -> list[Custody]:
    """Return accounts at the broker whose customer account is closed and has nothing left."""
    book = chart.CUSTOMER_PREFIX + _ACCOUNT.c.id
    statement = (
        select(*_COLUMNS)
        .join(_ACCOUNT, _ACCOUNT.c.id == _CUSTODY.c.account_id)
        .where(
            _ACCOUNT.c.state == "closed",
            _CUSTODY.c.state.in_(("active", "restricted")),
            (_CUSTODY.c.closing == 0) | (_CUSTODY.c.look_at <= at_micros),
            ~exists().where(
                _BALANCE.c.book.in_([book + part for part in _BOOKS]), _BALANCE.c.amount != 0
            ),
            ~exists().where(_PROCEED.c.account_id == _ACCOUNT.c.id, _PROCEED.c.state == "waiting"),
            ~exists().where(
                _WITHDRAWAL.c.account_id == _ACCOUNT.c.id, _WITHDRAWAL.c.state.not_in(_ENDED)
            ),
        )
        .order_by(_CUSTODY.c.account_id)
        .limit(limit)
    )
    return [Custody(*row) for row in session.connection().execute(statement)]


def of_customers(session: Session, customer_ids: Sequence[str]) -> list[Custody]:
    """Return what these customers have at the broker."""
    statement = select(*_COLUMNS).join(_ACCOUNT, _ACCOUNT.c.id == _CUSTODY.c.account_id)
    rows = select_in(session, statement, _ACCOUNT.c.customer_id, customer_ids)
    return [Custody(*row) for row in rows]
