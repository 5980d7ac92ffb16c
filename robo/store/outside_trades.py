"""What a household trades elsewhere, as its members import it; append-only, one file at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, blob, check, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in, select_in


class OutsideAccountRow(SQLModel, table=True):
    """An account at another firm; its name is sealed."""

    __tablename__ = "outside_account"
    __table_args__ = (
        one_of("outside_account_kind", "kind", "taxable", "ira"),
        one_of("outside_account_state", "state", "active", "removed"),
        STRICT,
    )
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    kind: str = text()
    sealed_name: bytes = blob()
    state: str = text(default="active")
    created_at: int = integer()


class OutsideImportRow(SQLModel, table=True):
    """One file of trades that was taken."""

    __tablename__ = "outside_import"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    account_id: str = text(to="outside_account.id", index=True)
    content_mac: bytes = blob()
    """Keyed hash of the file: the same file twice is refused."""
    rows: int = integer()
    created_at: int = integer()


class OutsideTradeRow(SQLModel, table=True):
    """One row of an import: a lot held at the beginning, a purchase, or a sale."""

    __tablename__ = "outside_trade"
    __table_args__ = (
        one_of("outside_trade_kind", "kind", "lot", "buy", "sell"),
        check("outside_trade_size", "nanos > 0 AND cents >= 0"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="outside_account.id", index=True)
    import_id: str = text(to="outside_import.id")
    place: int = integer()
    """Order within the file."""
    kind: str = text()
    on_date: str = text()
    security_id: int = integer()
    nanos: int = integer()
    cents: int = integer()
    """What was paid or received, commissions included."""
    acquired_on: str | None = text(null=True)
    """Of a sale: which lot, by its date; NULL for first in, first out."""


_ACCOUNT: Any = OutsideAccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_IMPORT: Any = OutsideImportRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_TRADE: Any = OutsideTradeRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class OutsideAccount:
    """An account at another firm."""

    id: str
    customer_id: str
    kind: str
    sealed_name: bytes
    state: str
    created_at: int


@dataclass(frozen=True, slots=True)
class OutsideTrade:
    """What happened there."""

    id: str
    account_id: str
    import_id: str
    place: int
    kind: str
    on_date: str
    security_id: int
    nanos: int
    cents: int
    acquired_on: str | None


def add_account(session: Session, one: OutsideAccount) -> None:
    """Write an account."""
    columns = tuple(OutsideAccount.__dataclass_fields__)
    values = tuple(getattr(one, name) for name in columns)
    insert_many(session, "outside_account", columns, [values])


_ACTIVE_OF: Final = among(
    select(*(_ACCOUNT.c[name] for name in OutsideAccount.__dataclass_fields__)).where(
        _ACCOUNT.c.state == "active"
    ),
    _ACCOUNT.c.customer_id,
)


def accounts_of(session: Session, customer_ids: Sequence[str]) -> list[OutsideAccount]:
    """Return the outside accounts of some people that were not removed, by id."""
    rows = rows_in(session, _ACTIVE_OF, sorted(set(customer_ids)))
    return sorted((OutsideAccount(*row) for row in rows), key=lambda one: one.id)


def unknown(session: Session, customer_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return customer -> their outside accounts of which no file was ever taken, by id."""
    statement = select(_ACCOUNT.c.customer_id, _ACCOUNT.c.id).where(
        _ACCOUNT.c.state == "active",
        _ACCOUNT.c.id.not_in(select(_IMPORT.c.account_id)),
    )
    found: dict[str, list[str]] = {}
    rows = select_in(session, statement, _ACCOUNT.c.customer_id, sorted(set(customer_ids)))
    for customer, account_id in sorted(tuple(row) for row in rows):
        found.setdefault(customer, []).append(account_id)
    return found


def account(session: Session, account_id: str) -> OutsideAccount | None:
    """Return one account."""
    columns = [_ACCOUNT.c[name] for name in OutsideAccount.__dataclass_fields__]
    row = session.connection().execute(select(*columns).where(_ACCOUNT.c.id == account_id)).first()
    return None if row is None else OutsideAccount(*row)


def remove_account(session: Session, account_id: str) -> None:
    """Forget an account: its trades count no more."""
    bulk(session, "UPDATE outside_account SET state = 'removed' WHERE id = ?", [(account_id,)])


def find_import(session: Session, account_id: str, content_mac: bytes) -> str | None:
    """Return the import of the same file into the same account, None if there is none."""
    statement = select(_IMPORT.c.id).where(
        _IMPORT.c.account_id == account_id, _IMPORT.c.content_mac == content_mac
    )
    found: str | None = session.connection().execute(statement).scalar()
    return found


def imports_of(session: Session, account_id: str) -> list[tuple[str, int, int]]:
    """Return (id, rows, created at) of an account's imports, oldest first."""
    statement = (
        select(_IMPORT.c.id, _IMPORT.c.rows, _IMPORT.c.created_at)
        .where(_IMPORT.c.account_id == account_id)
        .order_by(_IMPORT.c.created_at, _IMPORT.c.id)
    )
    return [(one, rows, at) for one, rows, at in session.connection().execute(statement)]


def count_trades(session: Session, account_id: str) -> int:
    """Return how many trades an account has."""
    statement = select(func.count()).select_from(_TRADE).where(_TRADE.c.account_id == account_id)
    return int(session.connection().execute(statement).scalar_one())


def add_import(
    session: Session,
    import_id: str,
    account_id: str,
    content_mac: bytes,
    trades: Sequence[OutsideTrade],
    at_micros: int,
) -> None:
    """Write a file of trades, whole."""
    insert_many(
        session,
        "outside_import",
        ("id", "account_id", "content_mac", "rows", "created_at"),
        [(import_id, account_id, content_mac, len(trades), at_micros)],
    )
    columns = tuple(OutsideTrade.__dataclass_fields__)
    rows = [tuple(getattr(one, name) for name in columns) for one in trades]
    insert_many(session, "outside_trade", columns, rows)


_TRADES_OF: Final = among(
    select(
        *(_TRADE.c[name] for name in OutsideTrade.__dataclass_fields__), _IMPORT.c.created_at
    ).join(_IMPORT, _IMPORT.c.id == _TRADE.c.import_id),
    _TRADE.c.account_id,
)


def trades_of(session: Session, account_ids: Sequence[str]) -> list[OutsideTrade]:
    """Return the trades of outside accounts in the order in which they happened."""
    rows = rows_in(session, _TRADES_OF, list(account_ids))
    # Of one day: lots first, then file by file, as each file has them.
    rows.sort(key=lambda row: (row.on_date, row.kind != "lot", row.created_at, row.place, row.id))
    return [OutsideTrade(*row[:-1]) for row in rows]


def imported_at(session: Session, trade_ids: Sequence[str]) -> dict[str, int]:
    """Return trade -> when its file was taken; what is no trade of an import is left out."""
    statement = select(_TRADE.c.id, _IMPORT.c.created_at).join(
        _IMPORT, _IMPORT.c.id == _TRADE.c.import_id
    )
    rows = select_in(session, statement, _TRADE.c.id, sorted(set(trade_ids)))
    return {trade: at for trade, at in rows}  # noqa: C416 - rows are not pairs


def imported_since(session: Session, at_micros: int) -> list[tuple[str, int]]:
    """Return (customer, when) of files that were taken since an instant."""
    statement = (
        select(_ACCOUNT.c.customer_id, _IMPORT.c.created_at)
        .join(_ACCOUNT, _ACCOUNT.c.id == _IMPORT.c.account_id)
        .where(_IMPORT.c.created_at >= at_micros)
    )
    return [(row[0], int(row[1])) for row in session.connection().execute(statement)]
