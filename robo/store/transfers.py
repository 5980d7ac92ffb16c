"""Money in and out: bank links, deposits, withdrawals, recurring plans."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import bindparam, func, select, tuple_
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in


class BankLinkRow(SQLModel, table=True):
    """A linked bank account: the bank's token, a name, the last digits; never the number."""

    __tablename__ = "bank_link"
    __table_args__ = (one_of("bank_link_state", "state", "active", "removed"), STRICT)
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    token: str = text()
    bank_name: str = text()
    mask: str = text()
    state: str = text(default="active")
    created_at: int = integer()


class DepositRow(SQLModel, table=True):
    """Money asked for from a bank: requested, pending, available, settled, or returned."""

    __tablename__ = "deposit"
    __table_args__ = (
        check("deposit_cents", "cents > 0"),
        check("deposit_advance", "advanced_cents >= 0 AND advanced_cents <= cents"),
        check("deposit_owed", "owed_cents >= 0 AND owed_cents <= cents"),
        one_of(
            "deposit_state",
            "state",
            "requested",
            "pending",
            "available",
            "settled",
            "returned",
            "failed",
        ),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    bank_link_id: str = text(to="bank_link.id")
    plan_id: str | None = text(null=True)
    cents: int = integer()
    state: str = text(default="requested", index=True)
    advanced_cents: int = integer(default=0)
    """Lent by the firm before the bank confirmed."""
    owed_cents: int = integer(default=0)
    """After a return: what is invested and still to be brought back."""
    return_code: str = text(default="")
    requested_at: int = integer()
    available_at: int | None = integer(null=True)
    settles_on: str | None = text(null=True)
    """When the money is expected to be final; lots bought with it are not sold before."""
    settled_at: int | None = integer(null=True)
    returned_at: int | None = integer(null=True)
    cure_until: str | None = text(null=True)


class WithdrawalRow(SQLModel, table=True):
    """Money on its way to a customer: requested, selling, settling, sent, paid."""

    __tablename__ = "withdrawal"
    __table_args__ = (
        check("withdrawal_cents", "cents >= 0"),
        check("withdrawal_promised", "promised_cents >= 0"),
        one_of(
            "withdrawal_state",
            "state",
            "requested",
            "selling",
            "settling",
            "sent",
            "paid",
            "failed",
            "canceled",
        ),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    bank_link_id: str = text(to="bank_link.id")
    cents: int = integer()
    """What was asked for; for a close-out it is known only at the end."""
    promised_cents: int = integer(default=0)
    """What lies in the outgoing book for it."""
    closing: int = integer(default=0)
    """1 = sell everything, pay everything, close the account."""
    state: str = text(default="requested", index=True)
    requested_at: int = integer()
    told_at: int | None = integer(null=True)
    """When the bank last took the request."""
    paid_at: int | None = integer(null=True)


class PlanRow(SQLModel, table=True):
    """A recurring deposit."""

    __tablename__ = "plan"
    __table_args__ = (
        check("plan_cents", "cents > 0"),
        one_of("plan_cadence", "cadence", "weekly", "biweekly", "monthly"),
        one_of("plan_state", "state", "active", "paused", "ended"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    bank_link_id: str = text(to="bank_link.id")
    cents: int = integer()
    cadence: str = text()
    day: int = integer()
    """1 (Monday) to 5 for weeks, 1 to 31 for months (the last day stands in for missing ones)."""
    anchor_on: str = text()
    """The first nominal date; later ones are counted from it."""
    next_on: str = text(index=True)
    """The next nominal date; the money moves on the first session on or after it."""
    state: str = text(default="active")
    created_at: int = integer()


@dataclass(frozen=True, slots=True)
class Link:
    """A linked bank account."""

    id: str
    customer_id: str
    token: str
    bank_name: str
    mask: str
    state: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Deposit:
    """A deposit as it is stored; the row's columns say what each field means."""

    id: str
    account_id: str
    bank_link_id: str
    plan_id: str | None
    cents: int
    requested_at: int
    state: str = "requested"
    advanced_cents: int = 0
    owed_cents: int = 0
    return_code: str = ""
    available_at: int | None = None
    settles_on: str | None = None
    settled_at: int | None = None
    returned_at: int | None = None
    cure_until: str | None = None


_LINK: Any = BankLinkRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LINK_COLUMNS: Final = tuple(field.name for field in fields(Link))
_DEPOSIT_COLUMNS: Final = tuple(field.name for field in fields(Deposit))
_SELECT_LINK: Any = select(*(_LINK.c[name] for name in _LINK_COLUMNS))
_SELECT_DEPOSIT: Any = select(*(_DEPOSIT.c[name] for name in _DEPOSIT_COLUMNS))
# What every deposit asks is built once: building a statement costs more than running it.
_FIND_LINK: Any = _SELECT_LINK.where(_LINK.c.id == bindparam("id"))
_FIND_DEPOSIT: Any = _SELECT_DEPOSIT.where(_DEPOSIT.c.id == bindparam("id"))
_ASKED: Any = select(func.coalesce(func.sum(_DEPOSIT.c.cents), 0)).where(
    _DEPOSIT.c.requested_at >= bindparam("since"),
    _DEPOSIT.c.state != "failed",
    _DEPOSIT.c.account_id.in_(bindparam("accounts", expanding=True)),
)
_MUTABLE: Final = _DEPOSIT_COLUMNS[_DEPOSIT_COLUMNS.index("state") :]


def add_link(session: Session, link: Link) -> None:
    """Write a linked bank account."""
    row = tuple(getattr(link, name) for name in _LINK_COLUMNS)
    insert_many(session, "bank_link", _LINK_COLUMNS, [row])


def link(session: Session, link_id: str) -> Link | None:
    """Return a linked bank account, removed or not."""
    row = session.connection().execute(_FIND_LINK, {"id": link_id}).first()
    return Link(*row) if row is not None else None


def links(session: Session, customer_id: str) -> list[Link]:
    """Return a customer's active bank links, oldest first."""
    statement = _SELECT_LINK.where(_LINK.c.customer_id == customer_id, _LINK.c.state == "active")
    rows = session.connection().execute(statement.order_by(_LINK.c.created_at, _LINK.c.id))
    return [Link(*row) for row in rows]


def remove_link(session: Session, link_id: str) -> None:
    """Mark a link as removed; its token stays for transfers that are under way."""
    bulk(session, "UPDATE bank_link SET state = 'removed' WHERE id = ?", [(link_id,)])


def link_in_use(session: Session, link_id: str) -> bool:
    """Return whether a withdrawal to this bank account has not ended."""
    table: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
    ended = ("paid", "failed", "canceled")
    statement = select(table.c.id).where(
        table.c.bank_link_id == link_id, table.c.state.not_in(ended)
    )
    return session.connection().execute(statement.limit(1)).first() is not None


def add_deposits(session: Session, deposits: Sequence[Deposit]) -> None:
    """Write deposits that were asked for."""
    rows = [tuple(getattr(deposit, name) for name in _DEPOSIT_COLUMNS) for deposit in deposits]
    insert_many(session, "deposit", _DEPOSIT_COLUMNS, rows)


def save_deposit(session: Session, deposit: Deposit) -> None:
    """Write what may change of a deposit."""
    marks = ", ".join(f"{name} = ?" for name in _MUTABLE)
    values = (*(getattr(deposit, name) for name in _MUTABLE), deposit.id)
    bulk(session, f"UPDATE deposit SET {marks} WHERE id = ?", [values])  # noqa: S608 - names are ours


def deposit(session: Session, deposit_id: str) -> Deposit | None:
    """Return a deposit."""
    row = session.connection().execute(_FIND_DEPOSIT, {"id": deposit_id}).first()
    return Deposit(*row) if row is not None else None


def untold_deposits(session: Session, after: str, limit: int) -> list[tuple[Deposit, str]]:
    """Return deposits that the bank has not confirmed yet, each with its link's token, by id."""
    columns = [*(_DEPOSIT.c[name] for name in _DEPOSIT_COLUMNS), _LINK.c.token]
    statement = (
        select(*columns)
        .join(_LINK, _LINK.c.id == _DEPOSIT.c.bank_link_id)
        .where(_DEPOSIT.c.state == "requested", _DEPOSIT.c.id > after)
        .order_by(_DEPOSIT.c.id)
        .limit(limit)
    )
    return [(Deposit(*row[:-1]), row[-1]) for row in session.connection().execute(statement)]


def deposits_of_account(
    session: Session, account_id: str, before: tuple[int, str] | None, limit: int
) -> list[Deposit]:
    """Return an account's deposits, newest first, from before an (instant, id) on."""
    statement = _SELECT_DEPOSIT.where(_DEPOSIT.c.account_id == account_id)
    key = (_DEPOSIT.c.requested_at, _DEPOSIT.c.id)
    if before is not None:
        statement = statement.where(tuple_(*key) < before)
    ordered = statement.order_by(*(column.desc() for column in key)).limit(limit)
    return [Deposit(*row) for row in session.connection().execute(ordered)]


def asked_since(session: Session, account_ids: Sequence[str], since_micros: int) -> int:
    """Return the cents that these accounts asked their banks for since an instant."""
    asked = {"since": since_micros, "accounts": list(account_ids)}
    return int(session.connection().execute(_ASKED, asked).scalar_one())


_LENT_TO: Final = among(
    select(_DEPOSIT.c.state, _DEPOSIT.c.advanced_cents, _DEPOSIT.c.owed_cents),
    _DEPOSIT.c.account_id,
)
_OWED_BY: Final = among(_SELECT_DEPOSIT.where(_DEPOSIT.c.owed_cents > 0), _DEPOSIT.c.account_id)
_UNSETTLED_OF: Final = among(
    _SELECT_DEPOSIT.where(
        (_DEPOSIT.c.state == "available")
        | ((_DEPOSIT.c.state == "pending") & (_DEPOSIT.c.advanced_cents > 0))
    ),
    _DEPOSIT.c.account_id,
)


def advance_history(session: Session, account_ids: Sequence[str]) -> tuple[int, int, int]:
    """Return (cents lent and not yet repaid, settled deposits, cents owed) over these accounts."""
    lent = settled = owed = 0
    for state, advanced_cents, owed_cents in rows_in(session, _LENT_TO, account_ids):
        lent += advanced_cents if state == "pending" else 0
        settled += state == "settled"
        owed += owed_cents
    return lent, settled, owed


def owed_deposits(session: Session, account_ids: Sequence[str]) -> list[Deposit]:
    """Return the returned deposits that these accounts still have to bring back, oldest first."""
    found = [Deposit(*row) for row in rows_in(session, _OWED_BY, account_ids)]
    return sorted(found, key=lambda deposit: (deposit.returned_at or 0, deposit.id))


def owing_accounts(session: Session) -> list[str]:
    """Return every account that has a returned deposit to bring back."""
    statement = (
        select(_DEPOSIT.c.account_id)
        .where(_DEPOSIT.c.state == "returned", _DEPOSIT.c.owed_cents > 0)
        .distinct()
        .order_by(_DEPOSIT.c.account_id)
    )
    return list(session.connection().execute(statement).scalars())


def overdue_cures(session: Session, on: str) -> list[Deposit]:
    """Return returned deposits whose time to be brought back ended before a date."""
    statement = _SELECT_DEPOSIT.where(
        _DEPOSIT.c.state == "returned", _DEPOSIT.c.owed_cents > 0, _DEPOSIT.c.cure_until < on
    )
    return [
        Deposit(*row) for row in session.connection().execute(statement.order_by(_DEPOSIT.c.id))
    ]


def late_deposits(session: Session, on: str, limit: int) -> list[Deposit]:
    """Return deposits that should have settled by a date and have not."""
    statement = _SELECT_DEPOSIT.where(
        _DEPOSIT.c.state.in_(("pending", "available")), _DEPOSIT.c.settles_on <= on
    )
    ordered = statement.order_by(_DEPOSIT.c.id).limit(limit)
    return [Deposit(*row) for row in session.connection().execute(ordered)]


def unsettled_deposits(session: Session, account_ids: Sequence[str]) -> list[Deposit]:
    """Return the deposits whose money is at work, or could be, and is not final."""
    return [Deposit(*row) for row in rows_in(session, _UNSETTLED_OF, account_ids)]


def prolong_holds(session: Session, account_id: str, old: str, new: str) -> None:
    """Move the holds of an account that end on or after one date, and before another, to that.

    Args:
        session: The caller's transaction.
        account_id: Whose lots and open orders.
        old: When the money was expected to be final; older holds belong to other money.
        new: When it is expected now.
    """
    for table in ("lot", "orders"):
        bulk(
            session,
            f"UPDATE {table} SET hold_until = ? "  # noqa: S608 - names are ours
            "WHERE account_id = ? AND hold_until >= ? AND hold_until < ?",
            [(new, account_id, old, new)],
        )


def release_holds(session: Session, account_id: str, today: str) -> None:
    """End the holds of an account today: all of its money is final."""
    for table in ("lot", "orders"):
        bulk(
            session,
            f"UPDATE {table} SET hold_until = ? "  # noqa: S608 - names are ours
            "WHERE account_id = ? AND hold_until > ?",
            [(today, account_id, today)],
        )
