"""What accounts were told of names that their last plan left alone: each reason is told once."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.columns import KEYED, integer, text
from robo.store.database import among, bulk, rows_in


class StandingSkipRow(SQLModel, table=True):
    """A name that an account's last plan left alone; goes when a plan has nothing to say of it."""

    __tablename__ = "standing_skip"
    __table_args__ = (KEYED,)
    account_id: str = text(key=True, to="account.id")
    security_id: int = integer(key=True)
    reason: str = text()


_STANDING: Any = StandingSkipRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


_OF_ACCOUNTS: Final = among(
    select(_STANDING.c.account_id, _STANDING.c.security_id, _STANDING.c.reason),
    _STANDING.c.account_id,
)


def of_accounts(
    session: Session, account_ids: Sequence[AccountId]
) -> dict[AccountId, dict[int, str]]:
    """Return account -> security -> reason; accounts without any are left out."""
    found: dict[AccountId, dict[int, str]] = {}
    for account, security, reason in rows_in(session, _OF_ACCOUNTS, account_ids):
        found.setdefault(AccountId(account), {})[int(security)] = reason
    return found


def put(session: Session, told: Mapping[AccountId, Mapping[int, str]]) -> None:
    """Write account -> security -> reason, in place of what was there."""
    bulk(
        session,
        "INSERT INTO standing_skip (account_id, security_id, reason) VALUES (?, ?, ?) "
        "ON CONFLICT (account_id, security_id) DO UPDATE SET reason = excluded.reason",
        [(account, name, why) for account, some in told.items() for name, why in some.items()],
    )


def remove(session: Session, gone: Collection[tuple[AccountId, int]]) -> None:
    """Forget names that nothing is to be said of any more: (account, security)."""
    bulk(
        session,
        "DELETE FROM standing_skip WHERE account_id = ? AND security_id = ?",
        sorted(gone),
    )
