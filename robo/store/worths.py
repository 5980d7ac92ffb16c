"""Roughly what accounts are worth at the last marks: a sieve for jobs that look at large ones."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from robo.core.ids import AccountId, SecurityId
from robo.ledger import chart
from robo.store.database import select_in
from robo.store.ledger import BalanceRow
from robo.store.prices import PriceRow

_BALANCE: Any = BalanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PRICE: Any = PriceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_SHARES = """
SELECT book, sum(CAST(amount AS REAL) * close_micros / 1e13) AS cents FROM balance
JOIN price ON price.on_date = ? AND asset = 'S' || price.security_id || '/9'
WHERE asset <> 'USD/2' AND amount > 0 AND book LIKE 'customer/%/holdings' GROUP BY book
HAVING sum(CAST(amount AS REAL) * close_micros / 1e13) >= ?
"""
_CASH = """
SELECT book, amount FROM balance
WHERE asset = 'USD/2' AND amount >= 100 AND book LIKE 'customer/%/cash' AND amount >= ?
"""


def at_least(session: Session, on_date: str, cents: int) -> list[AccountId]:
    """Return accounts whose shares, or whose free cash, are worth about that much or more.

    A coarse sieve at one day's closes in floating point; who is near is decided by exact sums.
    """
    found = _asked(session, _SHARES, (on_date, float(cents)))
    return sorted({*found, *cash_at_least(session, cents)})


def cash_at_least(session: Session, cents: int) -> list[AccountId]:
    """Return accounts with so much free cash or more."""
    return sorted(_asked(session, _CASH, (cents,)))


def at_last_marks(session: Session, account_ids: Sequence[AccountId]) -> int:
    """Return roughly what accounts hold together, in cents: cash, and shares at the last marks.

    In floating point, like the other sums here; shares never marked count as nothing.
    """
    books = {chart.holdings(one) for one in account_ids} | {
        book for one in account_ids for book in (chart.cash(one), chart.unsettled(one))
    }
    last = session.connection().exec_driver_sql("SELECT max(on_date) FROM price").scalar()
    price = select(_PRICE.c.security_id, _PRICE.c.close_micros).where(_PRICE.c.on_date == last)
    close = {
        chart.shares(SecurityId(name)): micros
        for name, micros in session.connection().execute(price)
    }
    rows = select_in(
        session, select(_BALANCE.c.asset, _BALANCE.c.amount), _BALANCE.c.book, sorted(books)
    )
    cents = 0.0
    for asset, amount in rows:
        cents += amount if asset == chart.USD else amount * close.get(asset, 0) / 1e13
    return round(cents)


def _asked(session: Session, sql: str, values: tuple[str | float, ...]) -> set[AccountId]:
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        sql = sql.replace("AS REAL", "AS DOUBLE PRECISION").replace("%", "%%").replace("?", "%s")
    books = connection.exec_driver_sql(sql, values).scalars()
    return {account for book in books if (account := chart.account_of(book)) is not None}
