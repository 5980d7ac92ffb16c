"""Roughly what accounts are worth at the last marks: a sieve for jobs that look at large ones."""

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.ledger import chart

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


def _asked(session: Session, sql: str, values: tuple[str | float, ...]) -> set[AccountId]:
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        sql = sql.replace("AS REAL", "AS DOUBLE PRECISION").replace("%", "%%").replace("?", "%s")
    books = connection.exec_driver_sql(sql, values).scalars()
    return {account for book in books if (account := chart.account_of(book)) is not None}
