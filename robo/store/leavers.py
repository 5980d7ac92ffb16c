"""Names that accounts should part with because of scores: kept until they have gone."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.columns import KEYED, check, integer, one_of, text
from robo.store.database import bulk, select_in


class LeaverRow(SQLModel, table=True):
    """A name that an account should hold no longer, written with the target that lost it."""

    __tablename__ = "leaver"
    __table_args__ = (
        one_of("leaver_source", "source", "screen", "activity"),
        check("leaver_times", "times >= 0"),
        KEYED,
    )
    account_id: str = text(key=True, to="account.id")
    security_id: int = integer(key=True)
    source: str = text()
    """What it no longer passes: the basket's screen, or what the customer's activities exclude."""
    since: str = text()
    """Business date."""
    told: str = text(default="")
    """Why it was last kept, or for what reason sold; empty before the first order or skip."""
    times: int = integer(default=0)
    """How many orders and skips were written for it; names the next batch."""


_LEAVER: Any = LeaverRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DONE = """
SELECT account_id, security_id FROM leaver WHERE NOT (
    EXISTS (SELECT 1 FROM balance WHERE balance.amount > 0
        AND balance.book = 'customer/' || leaver.account_id || '/holdings'
        AND balance.asset = 'S' || leaver.security_id || '/9')
    OR EXISTS (SELECT 1 FROM orders WHERE orders.account_id = leaver.account_id
        AND orders.security_id = leaver.security_id
        AND (orders.state = 'planned' OR orders.state = 'sending'))
) OR (source = 'screen' AND EXISTS (
    SELECT 1 FROM sleeve JOIN target_weight ON target_weight.target_id = sleeve.target_id
    WHERE sleeve.account_id = leaver.account_id
    AND target_weight.security_id = leaver.security_id))
"""


@dataclass(frozen=True, slots=True)
class Leaver:
    """One row; see `LeaverRow` for what each field means."""

    account_id: AccountId
    security_id: int
    source: str
    since: str
    told: str = ""
    times: int = 0


_COLUMNS: Final = tuple(field.name for field in fields(Leaver))


def everything(session: Session) -> list[Leaver]:
    """Return every name that still has to go, by account and security."""
    columns = [_LEAVER.c[name] for name in _COLUMNS]
    statement = select(*columns).order_by(_LEAVER.c.account_id, _LEAVER.c.security_id)
    return [Leaver(*row) for row in session.connection().execute(statement)]


def by_screen(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, set[int]]:
    """Return account -> the names that have to go because of its screen; none are left out."""
    statement = select(_LEAVER.c.account_id, _LEAVER.c.security_id).where(
        _LEAVER.c.source == "screen"
    )
    found: dict[AccountId, set[int]] = {}
    for account, security in select_in(session, statement, _LEAVER.c.account_id, account_ids):
        found.setdefault(AccountId(account), set()).add(int(security))
    return found


def add(session: Session, rows: Iterable[Leaver]) -> None:
    """Write names that have to go; those that are known already stay as they are."""
    bulk(
        session,
        "INSERT INTO leaver (account_id, security_id, source, since, told, times) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, security_id) DO NOTHING",
        [tuple(getattr(one, name) for name in _COLUMNS) for one in rows],
    )


def tell(session: Session, told: Sequence[tuple[AccountId, int, str]]) -> None:
    """Write that an order or a skip exists for names: (account, security, reason)."""
    bulk(
        session,
        "UPDATE leaver SET told = ?, times = times + 1 WHERE account_id = ? AND security_id = ?",
        [(reason, account, security) for account, security, reason in told],
    )


def remove(session: Session, gone: Collection[tuple[AccountId, int]]) -> None:
    """Forget names that need not go any more: (account, security)."""
    bulk(
        session,
        "DELETE FROM leaver WHERE account_id = ? AND security_id = ?",
        sorted(gone),
    )


def let_stay(session: Session, account_id: AccountId, names: Collection[int]) -> None:
    """Forget names of an account that need not go because of its screen any more."""
    if not names:
        return
    bulk(
        session,
        "DELETE FROM leaver WHERE account_id = ? AND security_id = ? AND source = 'screen'",
        [(account_id, name) for name in sorted(names)],
    )


def done(session: Session) -> list[tuple[AccountId, int]]:
    """Return the names that have gone, or that the account's screen lets in again."""
    rows = session.connection().exec_driver_sql(_DONE)
    return [(AccountId(account), int(security)) for account, security in rows]
