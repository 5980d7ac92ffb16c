"""Sale proceeds on their way to being settled cash; their row stands beside the lots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.store.database import bulk, select_in
from robo.store.lots import ProceedRow

_PROCEED: Any = ProceedRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Proceed:
    """Cents of a sale that are final from a date on."""

    id: str
    account_id: AccountId
    cents: int


_DUE: Final = (
    select(_PROCEED.c.id, _PROCEED.c.account_id, _PROCEED.c.cents)
    .where(_PROCEED.c.state == "waiting", _PROCEED.c.settles_on <= bindparam("on"))
    .order_by(_PROCEED.c.settles_on, _PROCEED.c.id)
    .limit(bindparam("limit"))
)


def due(session: Session, on: str, limit: int) -> list[Proceed]:
    """Return proceeds that settle by a date and still wait."""
    rows = session.connection().execute(_DUE, {"on": on, "limit": limit})
    return [Proceed(*row) for row in rows]


def settled(session: Session, ids: Sequence[str]) -> list[str]:
    """Mark proceeds as settled; return those of them that were still waiting."""
    statement = select(_PROCEED.c.id).where(_PROCEED.c.state == "waiting")
    waiting = [row[0] for row in select_in(session, statement, _PROCEED.c.id, ids)]
    bulk(session, "UPDATE proceed SET state = 'settled' WHERE id = ?", [(i,) for i in waiting])
    return waiting


def holds(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, str]:
    """Return the latest settlement date of proceeds that wait, by account."""
    statement = select(_PROCEED.c.account_id, _PROCEED.c.settles_on).where(
        _PROCEED.c.state == "waiting"
    )
    found: dict[AccountId, str] = {}
    for account, day in select_in(session, statement, _PROCEED.c.account_id, account_ids):
        found[account] = max(found.get(account, ""), day)
    return found
