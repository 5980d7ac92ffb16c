"""Accounts, sleeves, and the targets they follow (shared: a million customers, few targets)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, exists, func, select
from sqlalchemy import text as words
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId, child_id
from robo.core.money import PPM
from robo.ledger import chart
from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in, select_in
from robo.store.ledger import INVESTABLE, BalanceRow
from robo.store.transfers import DepositRow, WithdrawalRow

DIRECT: Final = "direct_index"
"""The kind of a sleeve that follows its theme and the index; all others follow a basket's names."""


class AccountRow(SQLModel, table=True):
    """One pot of money of one customer."""

    __tablename__ = "account"
    __table_args__ = (
        one_of("account_kind", "kind", "individual", "joint", "traditional_ira", "roth_ira"),
        one_of("account_state", "state", "open", "blocked", "closing", "closed"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id", index=True)
    customer_id: str = text(to="customer.id", index=True)
    kind: str = text()
    state: str = text(default="open")
    opened_at: int = integer()
    closed_at: int | None = integer(null=True)


class SleeveRow(SQLModel, table=True):
    """The part of an account that follows one target."""

    __tablename__ = "sleeve"
    __table_args__ = (one_of("sleeve_kind", "kind", "basket", DIRECT, "model"), STRICT)
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    kind: str = text(default="basket")
    basket_id: str = text()
    target_id: str = text(to="target.id", index=True)
    changed_at: int = integer()


class TargetRow(SQLModel, table=True):
    """A set of target weights; its id is the hash of its content, so equal targets are one."""

    __tablename__ = "target"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    basket_id: str = text()
    basket_version: str = text()
    score_note: str = text(default="")
    """On whose figures the basket rested when this was written."""
    created_at: int = integer()


class TargetWeightRow(SQLModel, table=True):
    """One name of a target."""

    __tablename__ = "target_weight"
    __table_args__ = (
        check("target_weight_range", "weight_ppm > 0 AND weight_ppm <= 1000000"),
        STRICT,
    )
    target_id: str = text(key=True, to="target.id")
    security_id: int = integer(key=True)
    weight_ppm: int = integer()
    position: int = integer()
    """Order in the basket: ties go to the earlier name."""
    note: str = text(default="")
    """Why this name stands in for another, empty for a name of the basket itself."""


_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SLEEVE: Any = SleeveRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_TARGET: Any = TargetRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_WEIGHT: Any = TargetWeightRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BALANCE: Any = BalanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_WITHDRAWAL: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_OWES: Any = (
    select(_DEPOSIT.c.id)
    .join(_ACCOUNT, _ACCOUNT.c.id == _DEPOSIT.c.account_id)
    .where(_ACCOUNT.c.customer_id == bindparam("customer_id"), _DEPOSIT.c.owed_cents > 0)
    .limit(1)
)
_OWNED: Any = (
    select(_ACCOUNT.c.id)
    .where(_ACCOUNT.c.customer_id == bindparam("customer_id"), _ACCOUNT.c.state != "closed")
    .order_by(_ACCOUNT.c.id)
)
ACTIVE_WITHDRAWALS = ("requested", "selling", "settling")


@dataclass(frozen=True, slots=True)
class TargetWeight:
    """One name of a target."""

    security_id: int
    weight_ppm: int
    note: str = ""


def put_target(
    session: Session,
    basket_id: str,
    basket_version: str,
    weights: Sequence[TargetWeight],
    at_micros: int,
    score_note: str = "",
) -> str:
    """Return the id of a target with this content, written if it is new.

    Args:
        session: The caller's transaction.
        basket_id: The basket it comes from.
        basket_version: The basket's content hash.
        weights: Sum to 1_000_000; their order is kept, because ties go to the earlier name.
        at_micros: When, UTC.
        score_note: On whose figures the basket rests; part of its version.
    """
    assert sum(weight.weight_ppm for weight in weights) == PPM
    parts = [f"{w.security_id}:{w.weight_ppm}:{w.note}" for w in weights]
    target_id = child_id("tgt", basket_id, basket_version, *parts)
    added = bulk(
        session,
        "INSERT INTO target (id, basket_id, basket_version, score_note, created_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        [(target_id, basket_id, basket_version, score_note, at_micros)],
    )
    if added:
        insert_many(
            session,
            "target_weight",
            ("target_id", "security_id", "weight_ppm", "position", "note"),
            [
                (target_id, w.security_id, w.weight_ppm, place, w.note)
                for place, w in enumerate(weights)
            ],
        )
    return target_id


_WEIGHTS_OF: Final = among(
    select(
        _WEIGHT.c.target_id, _WEIGHT.c.security_id, _WEIGHT.c.weight_ppm, _WEIGHT.c.note
    ).order_by(_WEIGHT.c.target_id, _WEIGHT.c.position),
    _WEIGHT.c.target_id,
)


def targets(session: Session, target_ids: Sequence[str]) -> dict[str, tuple[TargetWeight, ...]]:
    """Return the names of targets, in their order."""
    found: dict[str, list[TargetWeight]] = {}
    for target_id, *rest in rows_in(session, _WEIGHTS_OF, target_ids):
        found.setdefault(target_id, []).append(TargetWeight(*rest))
    return {target_id: tuple(weights) for target_id, weights in found.items()}


_INVESTABLE: Final = (
    select(_BALANCE.c.book)
    .where(words(INVESTABLE), _BALANCE.c.book > bindparam("first"))
    .order_by(_BALANCE.c.book)
    .limit(bindparam("limit"))
)


def investable(session: Session, after: AccountId | str, limit: int) -> list[AccountId]:
    """Return accounts whose free cash reaches a dollar, in the order of their ids.

    A coarse sieve through a partial index; `eligible` decides.
    """
    first = chart.cash(AccountId(after)) if after else "customer/"
    books = session.connection().execute(_INVESTABLE, {"first": first, "limit": limit}).scalars()
    return [account for book in books if (account := chart.account_of(book)) is not None]


_OWING: Final = exists().where(_DEPOSIT.c.account_id == _ACCOUNT.c.id, _DEPOSIT.c.owed_cents > 0)
_LEAVING: Final = exists().where(
    _WITHDRAWAL.c.account_id == _ACCOUNT.c.id, _WITHDRAWAL.c.state.in_(ACTIVE_WITHDRAWALS)
)
_ELIGIBLE: Final = among(
    select(_ACCOUNT.c.id).where(_ACCOUNT.c.state == "open", ~_OWING, ~_LEAVING), _ACCOUNT.c.id
)


def eligible(session: Session, account_ids: Sequence[AccountId]) -> set[AccountId]:
    """Return which accounts may be invested now.

    Open, owing nothing for a returned deposit, and not raising money for a withdrawal.
    """
    return {row[0] for row in rows_in(session, _ELIGIBLE, account_ids)}


@dataclass(frozen=True, slots=True)
class Sleeve:
    """A sleeve with what a plan needs to know of its account."""

    account_id: AccountId
    firm_id: str
    customer_id: str
    state: str
    id: str
    basket_id: str
    target_id: str
    kind: str = "basket"


_SLEEVES_OF: Final = among(
    select(
        _ACCOUNT.c.id,
        _ACCOUNT.c.firm_id,
        _ACCOUNT.c.customer_id,
        _ACCOUNT.c.state,
        _SLEEVE.c.id,
        _SLEEVE.c.basket_id,
        _SLEEVE.c.target_id,
        _SLEEVE.c.kind,
    ).join(_SLEEVE, _SLEEVE.c.account_id == _ACCOUNT.c.id),
    _ACCOUNT.c.id,
)


def sleeves(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, Sleeve]:
    """Return the sleeve of each account."""
    return {row[0]: Sleeve(*row) for row in rows_in(session, _SLEEVES_OF, account_ids)}


_WHOSE_TARGET_HOLDS: Final = (
    select(_ACCOUNT.c.id)
    .join(_SLEEVE, _SLEEVE.c.account_id == _ACCOUNT.c.id)
    .join(_WEIGHT, _WEIGHT.c.target_id == _SLEEVE.c.target_id)
    .where(
        _WEIGHT.c.security_id.in_(bindparam("names", expanding=True)),
        _ACCOUNT.c.state != "closed",
        _ACCOUNT.c.id > bindparam("after"),
    )
    .distinct()
    .order_by(_ACCOUNT.c.id)
    .limit(bindparam("limit"))
)


def accounts_of_target(
    session: Session, security_ids: Sequence[int], after: str, limit: int
) -> list[AccountId]:
    """Return accounts that are not closed and whose target holds one of the securities."""
    asked = {"names": security_ids, "after": after, "limit": limit}
    return list(session.connection().execute(_WHOSE_TARGET_HOLDS, asked).scalars())


def noted(session: Session, ending: str) -> list[AccountId]:
    """Return accounts that are not closed and follow a basket in which a note ends with words."""
    baskets = _SLEEVE.c.kind == "basket"
    followed = select(_SLEEVE.c.target_id).where(baskets).distinct()
    found = select(_WEIGHT.c.target_id).where(
        _WEIGHT.c.note.endswith(ending, autoescape=True), _WEIGHT.c.target_id.in_(followed)
    )
    statement = (
        select(_ACCOUNT.c.id)
        .join(_SLEEVE, _SLEEVE.c.account_id == _ACCOUNT.c.id)
        .where(baskets, _SLEEVE.c.target_id.in_(found), _ACCOUNT.c.state != "closed")
        .order_by(_ACCOUNT.c.id)
    )
    return list(session.connection().execute(statement).scalars())


_OF_KIND: Final = (
    select(_ACCOUNT.c.id)
    .join(_SLEEVE, _SLEEVE.c.account_id == _ACCOUNT.c.id)
    .where(
        _SLEEVE.c.kind == bindparam("kind"),
        _ACCOUNT.c.state != "closed",
        _ACCOUNT.c.id > bindparam("after"),
    )
    .order_by(_ACCOUNT.c.id)
    .limit(bindparam("limit"))
)


def of_kind(session: Session, kind: str, after: str, limit: int) -> list[AccountId]:
    """Return accounts that are not closed with a sleeve of a kind, in the order of their ids."""
    asked = {"kind": kind, "after": after, "limit": limit}
    return list(session.connection().execute(_OF_KIND, asked).scalars())


def accounts_of_customer(session: Session, customer_id: str) -> list[AccountId]:
    """Return a customer's accounts that are not closed."""
    rows = session.connection().execute(_OWNED, {"customer_id": customer_id})
    return list(rows.scalars())


def of_customers(session: Session, customer_ids: Sequence[str]) -> list[AccountId]:
    """Return the accounts of customers that are not closed, in the order of their ids."""
    statement = select(_ACCOUNT.c.id).where(_ACCOUNT.c.state != "closed")
    rows = select_in(session, statement, _ACCOUNT.c.customer_id, customer_ids)
    return sorted(AccountId(row[0]) for row in rows)


def customer_owes(session: Session, customer_id: str) -> bool:
    """Return whether any account of a customer, closed ones too, has a deposit to bring back."""
    found = session.connection().execute(_OWES, {"customer_id": customer_id})
    return found.first() is not None


def retarget(session: Session, changes: Sequence[tuple[str, str]], at_micros: int) -> None:
    """Point sleeves at other targets: (sleeve id, target id)."""
    bulk(
        session,
        "UPDATE sleeve SET target_id = ?, changed_at = ? WHERE id = ?",
        [(target_id, at_micros, sleeve_id) for sleeve_id, target_id in changes],
    )


def grow(session: Session, changes: Sequence[tuple[str, str]], at_micros: int) -> None:
    """Point sleeves at targets as direct sleeves: (sleeve id, target id)."""
    bulk(
        session,
        "UPDATE sleeve SET kind = 'direct_index', target_id = ?, changed_at = ? WHERE id = ?",
        [(target_id, at_micros, sleeve_id) for sleeve_id, target_id in changes],
    )


def set_state(session: Session, account_id: AccountId, state: str, at_micros: int) -> None:
    """Move an account to another state."""
    closed_at = at_micros if state == "closed" else None
    bulk(
        session,
        "UPDATE account SET state = ?, closed_at = ? WHERE id = ?",
        [(state, closed_at, account_id)],
    )


def count_open(session: Session) -> int:
    """Return how many accounts are not closed."""
    statement = select(func.count()).select_from(_ACCOUNT).where(_ACCOUNT.c.state != "closed")
    return int(session.connection().execute(statement).scalar_one())
