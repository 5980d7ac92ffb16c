"""Reads for reports: few, small, through indexes; statements are built once a process.

Nothing here writes. Sums over an account's rows are made by the database, so that a long history
costs an index walk and not objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import bindparam, case, func, literal, select
from sqlmodel import Session

from robo.ledger import chart
from robo.store.accounts import AccountRow, SleeveRow, TargetRow, TargetWeightRow
from robo.store.arrivals import ArrivalRow
from robo.store.households import JointOwnerRow
from robo.store.ledger import BalanceRow
from robo.store.lots import LotRow
from robo.store.prices import PriceRow
from robo.store.transfers import DepositRow, WithdrawalRow
from robo.store.universe import SecurityRow

_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_OWNER: Any = JointOwnerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SLEEVE: Any = SleeveRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_TARGET: Any = TargetRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_WEIGHT: Any = TargetWeightRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BALANCE: Any = BalanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PRICE: Any = PriceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_WITHDRAWAL: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ARRIVAL: Any = ArrivalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SECURITY: Any = SecurityRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

_ARRIVED: Final = ("available", "settled")


@dataclass(frozen=True, slots=True)
class Following:
    """An account and what its sleeve follows; empty words where it follows nothing yet."""

    account_id: str
    firm_id: str
    customer_id: str
    kind: str
    state: str
    opened_at: int
    closed_at: int | None
    sleeve_id: str
    basket_id: str
    target_id: str
    basket_version: str
    score_note: str


@dataclass(frozen=True, slots=True)
class Flows:
    """Money in and out of an account, in cents, from its deposits and withdrawals."""

    deposited_cents: int
    """Deposits that arrived or were lent, and were not returned."""
    withdrawn_cents: int
    unsettled_cents: int
    """Deposits at work that are not final."""
    pending_cents: int
    """Deposits asked for that are not in the account yet."""
    owed_cents: int
    """Returned deposits still to be brought back."""
    moved_in_cents: int = 0
    """What was paid elsewhere for shares that came in kind."""


@dataclass(frozen=True, slots=True)
class LotSum:
    """The open lots of one security."""

    nanos: int
    basis_cents: int
    new_nanos: int
    """In lots acquired on or after the given day."""
    new_basis_cents: int


_FOLLOWING: Final[Any] = (
    select(
        _ACCOUNT.c.id,
        _ACCOUNT.c.firm_id,
        _ACCOUNT.c.customer_id,
        _ACCOUNT.c.kind,
        _ACCOUNT.c.state,
        _ACCOUNT.c.opened_at,
        _ACCOUNT.c.closed_at,
        func.coalesce(_SLEEVE.c.id, ""),
        func.coalesce(_SLEEVE.c.basket_id, ""),
        func.coalesce(_SLEEVE.c.target_id, ""),
        func.coalesce(_TARGET.c.basket_version, ""),
        func.coalesce(_TARGET.c.score_note, ""),
    )
    .select_from(_ACCOUNT)
    .outerjoin(_SLEEVE, _SLEEVE.c.account_id == _ACCOUNT.c.id)
    .outerjoin(_TARGET, _TARGET.c.id == _SLEEVE.c.target_id)
)
_FOLLOWING_ONE: Final[Any] = _FOLLOWING.where(_ACCOUNT.c.id == bindparam("account_id"))
_BOOKS: Final = ("cash", "reserved", "unsettled", "outgoing", "holdings")
_BALANCES: Final[Any] = select(_BALANCE.c.book, _BALANCE.c.asset, _BALANCE.c.amount).where(
    _BALANCE.c.book.in_([bindparam(word) for word in _BOOKS])
)
_NEW: Final[Any] = _LOT.c.acquired_on >= bindparam("day")
_LOTS: Final[Any] = (
    select(
        _LOT.c.security_id,
        func.sum(_LOT.c.nanos),
        func.sum(_LOT.c.basis_cents),
        func.sum(case((_NEW, _LOT.c.nanos), else_=0)),
        func.sum(case((_NEW, _LOT.c.basis_cents), else_=0)),
    )
    .where(_LOT.c.account_id == bindparam("account_id"), _LOT.c.nanos > 0)
    .group_by(_LOT.c.security_id)
)
_TARGET_NAMES: Final[Any] = (
    select(_WEIGHT.c.security_id, _WEIGHT.c.weight_ppm, _WEIGHT.c.note)
    .where(_WEIGHT.c.target_id == bindparam("target_id"))
    .order_by(_WEIGHT.c.position)
)
_SYMBOLS: Final[Any] = select(_SECURITY.c.id, _SECURITY.c.symbol, _SECURITY.c.name)
_DEPOSITS: Final[Any] = (
    select(
        literal("deposit"),
        _DEPOSIT.c.state,
        func.sum(_DEPOSIT.c.cents),
        func.sum(_DEPOSIT.c.advanced_cents),
        func.sum(_DEPOSIT.c.owed_cents),
    )
    .where(_DEPOSIT.c.account_id == bindparam("account_id"))
    .group_by(_DEPOSIT.c.state)
)
_PAID: Final[Any] = (
    select(
        literal("withdrawal"),
        _WITHDRAWAL.c.state,
        func.sum(_WITHDRAWAL.c.promised_cents),
        literal(0),
        literal(0),
    )
    .where(_WITHDRAWAL.c.account_id == bindparam("account_id"), _WITHDRAWAL.c.state == "paid")
    .group_by(_WITHDRAWAL.c.state)
)
_BROUGHT: Final[Any] = (
    select(
        literal("arrival"),
        literal("received"),
        func.sum(_ARRIVAL.c.basis_cents),
        literal(0),
        literal(0),
    )
    .where(_ARRIVAL.c.chain == bindparam("account_id"))
    .having(func.count() > 0)
)
_FLOWS: Final[Any] = _DEPOSITS.union_all(_PAID, _BROUGHT)


def following(session: Session, account_id: str) -> Following | None:
    """Return an account with what it follows."""
    row = session.connection().execute(_FOLLOWING_ONE, {"account_id": account_id}).first()
    return Following(*row) if row is not None else None


def followings(
    session: Session, firm_id: str, customer_id: str | None, after: str, limit: int
) -> list[Following]:
    """Return the accounts of a firm, or of one of its customers, by id from after one on."""
    statement = _FOLLOWING.where(_ACCOUNT.c.firm_id == firm_id, _ACCOUNT.c.id > after)
    if customer_id is not None:
        shared = select(_OWNER.c.account_id).where(_OWNER.c.customer_id == customer_id)
        mine = _ACCOUNT.c.customer_id == customer_id
        statement = statement.where(mine | _ACCOUNT.c.id.in_(shared))
    rows = session.connection().execute(statement.order_by(_ACCOUNT.c.id).limit(limit))
    return [Following(*row) for row in rows]


def books(session: Session, account_id: str) -> dict[tuple[str, str], int]:
    """Return the balances of an account's books by (last word of the book, asset)."""
    prefix = f"{chart.CUSTOMER_PREFIX}{account_id}/"
    asked = {word: prefix + word for word in _BOOKS}
    rows = session.connection().execute(_BALANCES, asked).all()
    return {(book[len(prefix) :], asset): amount for book, asset, amount in rows}


def lot_sums(session: Session, account_id: str, day: str) -> dict[int, LotSum]:
    """Return the open lots of an account summed by security; `day` says which of them are new."""
    rows = session.connection().execute(_LOTS, {"account_id": account_id, "day": day}).all()
    # PostgreSQL sums to decimals.
    return {row[0]: LotSum(int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows}


def target_names(session: Session, target_id: str) -> list[tuple[int, int, str]]:
    """Return (security, ppm, note) of a target, in its order."""
    rows = session.connection().execute(_TARGET_NAMES, {"target_id": target_id})
    return [(security, ppm, note) for security, ppm, note in rows]


def names(session: Session, security_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Return security -> (symbol, name)."""
    if not security_ids:
        return {}
    asked = {f"i{place}": security for place, security in enumerate(security_ids)}
    rows = session.connection().execute(_symbols(len(asked)), asked).all()
    return {security: (symbol, name) for security, symbol, name in rows}


@lru_cache(maxsize=64)
def _symbols(count: int) -> Any:
    """Return the statement that asks for so many names; a list of marks need not be made anew."""
    return _SYMBOLS.where(_SECURITY.c.id.in_([bindparam(f"i{place}") for place in range(count)]))


def flows(session: Session, account_id: str) -> Flows:
    """Return what went in and out of an account, and what is on its way."""
    rows = session.connection().execute(_FLOWS, {"account_id": account_id}).all()
    deposited = withdrawn = unsettled = pending = owed = brought = 0
    for what, state, cents, advanced, owing in rows:
        if what == "withdrawal":
            withdrawn += int(cents)
        elif what == "arrival":
            brought += int(cents)
        elif state in _ARRIVED:
            deposited += int(cents)
            unsettled += int(cents) if state == "available" else 0
        elif state in {"requested", "pending"}:
            lent = int(advanced) if state == "pending" else 0
            deposited += lent
            unsettled += lent
            pending += int(cents) - lent
        owed += int(owing)
    return Flows(deposited, withdrawn, unsettled, pending, owed, brought)


def last_closes(session: Session, security_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Return security -> (last marked close, its date), for names that have no quote any more."""
    newest = (
        select(_PRICE.c.security_id, func.max(_PRICE.c.on_date).label("on_date"))
        .where(_PRICE.c.security_id.in_(security_ids))
        .group_by(_PRICE.c.security_id)
        .subquery()
    )
    same = (newest.c.security_id == _PRICE.c.security_id) & (newest.c.on_date == _PRICE.c.on_date)
    statement = select(_PRICE.c.security_id, _PRICE.c.close_micros, _PRICE.c.on_date).join(
        newest, same
    )
    return {row[0]: (row[1], row[2]) for row in session.connection().execute(statement)}
