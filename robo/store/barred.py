"""Restrictions of one source over many customers, and who holds what they may not."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.store.customers import CustomerRow, RestrictionRow
from robo.store.database import bulk, select_in

_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_RESTRICTION: Any = RestrictionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_HOLDERS = """
SELECT DISTINCT account.id, restriction.security_id FROM restriction
JOIN (
    SELECT id AS account_id, customer_id FROM account
    UNION ALL SELECT account_id, customer_id FROM joint_owner
) AS owned ON owned.customer_id = restriction.customer_id
JOIN account ON account.id = owned.account_id AND account.state = 'open'
JOIN balance ON balance.book = 'customer/' || account.id || '/holdings'
 AND balance.asset = 'S' || restriction.security_id || '/9' AND balance.amount > 0
WHERE restriction.source = 'activity' ORDER BY account.id, restriction.security_id
"""


def customers_of(session: Session, firm_id: str, after: str, limit: int) -> list[str]:
    """Return customers of a firm in the order of their ids."""
    statement = (
        select(_CUSTOMER.c.id)
        .where(_CUSTOMER.c.firm_id == firm_id, _CUSTOMER.c.id > after)
        .order_by(_CUSTOMER.c.id)
        .limit(limit)
    )
    return list(session.connection().execute(statement).scalars())


def by_activity(
    session: Session, customer_ids: Sequence[str]
) -> dict[str, dict[int, tuple[str, str]]]:
    """Return customer -> security -> (verb, reason) of restrictions that follow from activities."""
    columns = (
        _RESTRICTION.c.customer_id,
        _RESTRICTION.c.security_id,
        _RESTRICTION.c.verb,
        _RESTRICTION.c.reason,
    )
    statement = select(*columns).where(_RESTRICTION.c.source == "activity")
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for customer, security, verb, reason in select_in(
        session, statement, _RESTRICTION.c.customer_id, customer_ids
    ):
        found.setdefault(customer, {})[security] = (verb, reason)
    return found


def remove(session: Session, gone: Mapping[str, Sequence[int]]) -> None:
    """Remove restrictions that followed from activities: customer -> securities."""
    bulk(
        session,
        "DELETE FROM restriction WHERE customer_id = ? AND security_id = ? AND source = 'activity'",
        [(customer, security) for customer, some in gone.items() for security in some],
    )


def holders(session: Session) -> dict[AccountId, list[int]]:
    """Return open accounts that hold names which the activities of an owner exclude."""
    found: dict[AccountId, list[int]] = {}
    for account, security in session.connection().exec_driver_sql(_HOLDERS):
        found.setdefault(AccountId(account), []).append(int(security))
    return found
