"""Transfers and balances: the only code that writes either."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, literal, select
from sqlalchemy import text as words
from sqlmodel import Session, SQLModel

from robo.core.errors import InsufficientFundsError
from robo.core.ids import AccountId, FirmId, SecurityId
from robo.ledger import chart
from robo.ledger.entries import Transfer, chain_of
from robo.store.chains import ChainTable, Link, append, chained
from robo.store.columns import KEYED, blob, check, integer, partial, text
from robo.store.database import among, bulk, rows_in, select_in

TRANSFERS: Final = ChainTable(
    "transfer", ("id", "kind", "source", "target", "asset", "amount", "cause", "booked_at")
)


INVESTABLE: Final = "asset = 'USD/2' AND amount >= 100 AND book LIKE 'customer/%/cash'"
"""Balances that a plan looks at; a partial index, so that idle accounts cost nothing."""
HOLDERS: Final = "asset <> 'USD/2' AND amount > 0 AND book LIKE 'customer/%/holdings'"


_INFLOWS: Final = 50


class TransferRow(SQLModel, table=True):
    """One transfer; append-only and chained."""

    __tablename__ = "transfer"
    __table_args__ = chained(
        "transfer",
        check("transfer_amount", "amount > 0"),
        check("transfer_books", "source <> target"),
    )
    id: str = text(key=True)
    kind: str = text()
    source: str = text()
    target: str = text()
    asset: str = text()
    amount: int = integer()
    cause: str = text(index=True)
    booked_at: int = integer()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class BalanceRow(SQLModel, table=True):
    """The sum of a book's transfers in one asset, kept in the same transaction."""

    __tablename__ = "balance"
    __table_args__ = (
        check("balance_customer", "amount >= 0 OR substr(book, 1, 9) <> 'customer/'"),
        partial("ix_balance_investable", INVESTABLE, "book"),
        partial("ix_balance_holders", HOLDERS, "asset"),
        KEYED,
    )
    book: str = text(key=True)
    asset: str = text(key=True)
    amount: int = integer()


_BALANCE: Any = BalanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_TRANSFER: Any = TransferRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def links(transfers: Sequence[Transfer], firm_id: FirmId, at_micros: int) -> list[Link]:
    """Return transfers as rows of their chains, for `chains.append` together with other rows."""
    return [
        Link(
            TRANSFERS,
            chain_of(t, firm_id),
            (t.id, t.kind, t.source, t.target, t.asset, t.amount, t.cause, at_micros),
        )
        for t in transfers
    ]


def post(
    session: Session,
    key: bytes,
    transfers: Sequence[Transfer],
    firm_id: FirmId,
    at_micros: int,
    *,
    also: Sequence[Link] = (),
) -> None:
    """Write transfers, their balances and their chains; money changes only here.

    Args:
        session: The caller's transaction.
        key: The key of the chains.
        transfers: In the order they happen.
        firm_id: The firm whose chain takes transfers that name no account.
        at_micros: When, UTC.
        also: Other chained rows of the same event (fills, lot events), appended after them.

    Raises:
        InsufficientFundsError: If a customer's book would fall below zero.
        IntegrityError: If a transfer's id was used before.
    """
    apply_balances(session, transfers)
    append(session, key, [*links(transfers, firm_id, at_micros), *also], at_micros)


def known(session: Session, transfer_ids: Sequence[str]) -> set[str]:
    """Return which transfers are written."""
    column = _TRANSFER.c.id
    return {row[0] for row in select_in(session, select(column), column, list(transfer_ids))}


def apply_balances(session: Session, transfers: Sequence[Transfer]) -> None:
    """Add the net change of each (book, asset); falls first, so none hides behind a rise."""
    net: dict[tuple[str, str], int] = {}
    for t in transfers:
        source, target = (t.source, t.asset), (t.target, t.asset)
        net[source] = net.get(source, 0) - t.amount
        net[target] = net.get(target, 0) + t.amount
    customers = [(-d, b, a, -d) for (b, a), d in sorted(net.items()) if d < 0 and _is_customer(b)]
    changed = bulk(
        session,
        "UPDATE balance SET amount = amount - ? WHERE book = ? AND asset = ? AND amount >= ?",
        customers,
    )
    if changed != len(customers):
        message = "there is less in the account than this needs"
        raise InsufficientFundsError(message)
    # A book of the street or the firm may be negative, so both directions are one upsert.
    rest = [(b, a, d) for (b, a), d in sorted(net.items()) if d and not (d < 0 and _is_customer(b))]
    bulk(
        session,
        "INSERT INTO balance (book, asset, amount) VALUES (?, ?, ?) "
        "ON CONFLICT (book, asset) DO UPDATE SET amount = balance.amount + excluded.amount",
        rest,
    )


def _is_customer(book: str) -> bool:
    return book.startswith(chart.CUSTOMER_PREFIX)


def balance(session: Session, book: str, asset: str = chart.USD) -> int:
    """Return one balance; zero if the book never moved."""
    statement = select(_BALANCE.c.amount).where(_BALANCE.c.book == book, _BALANCE.c.asset == asset)
    return session.connection().execute(statement).scalar() or 0


@dataclass(frozen=True, slots=True)
class AccountBalances:
    """All balances of one account: cents by state and nanoshares by security."""

    cash_cents: int
    reserved_cents: int
    unsettled_cents: int
    outgoing_cents: int
    holdings_nanos: dict[int, int]


def account_balances(session: Session, account_id: AccountId) -> AccountBalances:
    """Return the balances of an account, without names that were sold out."""
    return many_account_balances(session, [account_id])[account_id]


_BALANCES_OF: Final = among(
    select(_BALANCE.c.book, _BALANCE.c.asset, _BALANCE.c.amount), _BALANCE.c.book
)


def many_account_balances(
    session: Session, account_ids: Sequence[AccountId]
) -> dict[AccountId, AccountBalances]:
    """Return the balances of accounts, asked for in bulk."""
    books = [
        book(account)
        for account in account_ids
        for book in (chart.cash, chart.reserved, chart.unsettled, chart.outgoing, chart.holdings)
    ]
    cents: dict[str, int] = {}
    shares: dict[str, dict[int, int]] = {}
    for book, asset, amount in rows_in(session, _BALANCES_OF, books):
        if asset == chart.USD:
            cents[book] = amount
        elif amount:
            shares.setdefault(book, {})[chart.security_of(asset)] = amount
    return {
        account: AccountBalances(
            cash_cents=cents.get(chart.cash(account), 0),
            reserved_cents=cents.get(chart.reserved(account), 0),
            unsettled_cents=cents.get(chart.unsettled(account), 0),
            outgoing_cents=cents.get(chart.outgoing(account), 0),
            holdings_nanos=dict(sorted(shares.get(chart.holdings(account), {}).items())),
        )
        for account in account_ids
    }


def differing_balances(session: Session) -> list[tuple[str, str, int, int]]:
    """Return (book, asset, kept, summed) where a kept balance is not the sum of its transfers."""
    nothing = literal(0)
    columns = (_TRANSFER.c.asset, nothing.label("kept"))
    both = (
        select(
            _BALANCE.c.book,
            _BALANCE.c.asset,
            _BALANCE.c.amount.label("kept"),
            nothing.label("summed"),
        )
        .union_all(
            select(_TRANSFER.c.target, *columns, _TRANSFER.c.amount),
            select(_TRANSFER.c.source, *columns, -_TRANSFER.c.amount),
        )
        .subquery()
    )
    kept, summed = func.sum(both.c.kept), func.sum(both.c.summed)
    statement = (
        select(both.c.book, both.c.asset, kept, summed)
        .group_by(both.c.book, both.c.asset)
        .having(kept != summed)
    )
    return [(b, a, int(k), int(s)) for b, a, k, s in session.connection().execute(statement)]


def asset_sums(session: Session) -> dict[str, int]:
    """Return the assets whose balances do not sum to zero."""
    statement = (
        select(_BALANCE.c.asset, func.sum(_BALANCE.c.amount))
        .group_by(_BALANCE.c.asset)
        .having(func.sum(_BALANCE.c.amount) != 0)
    )
    return {asset: int(total) for asset, total in session.connection().execute(statement)}


def holders(session: Session, security_id: int) -> list[tuple[AccountId, int]]:
    """Return (account, nanoshares) of everyone who holds a security, by account."""
    statement = select(_BALANCE.c.book, _BALANCE.c.amount).where(
        words(HOLDERS), _BALANCE.c.asset == chart.shares(SecurityId(security_id))
    )
    found = [
        (account, amount)
        for book, amount in session.connection().execute(statement)
        if (account := chart.account_of(book)) is not None
    ]
    return sorted(found)


_HELD: Final = select(_BALANCE.c.asset).where(words(HOLDERS)).distinct()


def held_securities(session: Session) -> list[int]:
    """Return every security that some customer holds."""
    assets = session.connection().execute(_HELD).scalars()
    return sorted(chart.security_of(asset) for asset in assets)


@dataclass(frozen=True, slots=True)
class Inflow:
    """Money that came into a book."""

    kind: str
    cause: str
    cents: int


def inflows(session: Session, book: str, chain: str) -> Iterator[Inflow]:
    """Yield what came into a book, newest first; read in pages, because few are ever needed."""
    before: int | None = None
    while True:
        statement = select(
            _TRANSFER.c.kind, _TRANSFER.c.cause, _TRANSFER.c.amount, _TRANSFER.c.seq
        ).where(_TRANSFER.c.chain == chain, _TRANSFER.c.target == book)
        if before is not None:
            statement = statement.where(_TRANSFER.c.seq < before)
        statement = statement.order_by(_TRANSFER.c.seq.desc()).limit(_INFLOWS)
        rows = session.connection().execute(statement).all()
        for kind, cause, cents, _ in rows:
            yield Inflow(kind, cause, cents)
        if len(rows) < _INFLOWS:
            return
        before = rows[-1].seq
