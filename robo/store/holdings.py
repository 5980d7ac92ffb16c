"""What the books say that the broker holds, and the lots beside it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.ledger import chart
from robo.store import ledger
from robo.store.database import select_in
from robo.store.lots import LotRow

_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def of_firm(session: Session, firm_id: str) -> dict[int, int]:
    """Return security -> nanoshares that a firm's customers hold together."""
    statement = text(
        "SELECT b.asset, sum(b.amount) FROM account AS a JOIN balance AS b "
        "ON b.book = 'customer/' || a.id || '/holdings' "
        "WHERE a.firm_id = :firm AND b.asset <> 'USD/2' AND b.amount <> 0 GROUP BY b.asset"
    )
    rows = session.connection().execute(statement, {"firm": firm_id})
    return {int(chart.security_of(asset)): int(nanos) for asset, nanos in rows}


def of_account(session: Session, account_id: AccountId) -> dict[int, int]:
    """Return security -> nanoshares of one account."""
    return dict(ledger.account_balances(session, account_id).holdings_nanos)


def lots_of_firm(session: Session, firm_id: str) -> dict[int, int]:
    """Return security -> nanoshares in the open lots of a firm's customers."""
    statement = text(
        "SELECT l.security_id, sum(l.nanos) FROM lot AS l JOIN account AS a "
        "ON a.id = l.account_id WHERE a.firm_id = :firm AND l.nanos <> 0 GROUP BY l.security_id"
    )
    rows = session.connection().execute(statement, {"firm": firm_id})
    return {int(security): int(nanos) for security, nanos in rows}


def lots_of_accounts(session: Session, account_ids: Sequence[AccountId]) -> dict[int, int]:
    """Return security -> nanoshares in the open lots of accounts."""
    statement = select(_LOT.c.security_id, func.sum(_LOT.c.nanos)).where(_LOT.c.nanos != 0)
    rows = select_in(
        session, statement.group_by(_LOT.c.security_id), _LOT.c.account_id, list(account_ids)
    )
    return {int(security): int(nanos) for security, nanos in rows}
