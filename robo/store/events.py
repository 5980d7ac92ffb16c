"""The event feed: what happened, in commit order, replayable from the start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import column, select, table
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, integer, text
from robo.store.database import among, bulk, insert_many, rows_in


class EventRow(SQLModel, table=True):
    """One event; holds ids, amounts and codes, never personal data."""

    __tablename__ = "event"
    __table_args__ = (STRICT,)
    seq: int = integer(key=True)
    firm_id: str = text(index=True)
    customer_id: str | None = text(null=True, index=True)
    account_id: str | None = text(null=True)
    kind: str = text()
    subject: str = text()
    payload: str = text()
    """Canonical JSON."""
    at: int = integer()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to write: kind such as `deposit.settled`, the subject's id, and JSON payload."""

    firm_id: str
    """Empty for what concerns no firm in particular: the house firm hears it."""
    kind: str
    subject: str
    payload: str = "{}"
    customer_id: str | None = None
    account_id: str | None = None


_EVENT: Any = EventRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


# The accounts' own module stands above this one; two columns of it are all that is needed here.
_ACCOUNT: Any = table("account", column("id"), column("customer_id"))
_FIRM: Any = table("firm", column("id"), column("house"), column("created_at"))


def emit(session: Session, events: Sequence[NewEvent], at_micros: int) -> None:
    """Append events; numbers are taken from a counter row, so a reader's cursor never skips one."""
    if not events:
        return
    bulk(
        session,
        "INSERT INTO counter (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value",
        [("event", len(events))],
    )
    last = (
        session.connection()
        .exec_driver_sql("SELECT value FROM counter WHERE name = 'event'")
        .scalar_one()
    )
    first = last - len(events) + 1
    owners = _owners(session, events)
    house = _house(session) if any(not e.firm_id for e in events) else ""
    insert_many(
        session,
        "event",
        ("seq", "firm_id", "customer_id", "account_id", "kind", "subject", "payload", "at"),
        [
            (
                first + i,
                e.firm_id or house,
                e.customer_id or owners.get(e.account_id or ""),
                e.account_id,
                e.kind,
                e.subject,
                e.payload,
                at_micros,
            )
            for i, e in enumerate(events)
        ],
    )


_HOUSE: Final = select(_FIRM.c.id).order_by(_FIRM.c.house.desc(), _FIRM.c.created_at).limit(1)
_OWNERS_OF: Final = among(select(_ACCOUNT.c.id, _ACCOUNT.c.customer_id), _ACCOUNT.c.id)


def _house(session: Session) -> str:
    """Return the house firm, whose operators hear what concerns no other firm; empty if none."""
    return session.connection().execute(_HOUSE).scalar() or ""


def _owners(session: Session, events: Sequence[NewEvent]) -> dict[str, str]:
    """Return account -> customer where an event names only the account: owners see their events."""
    ids = sorted({e.account_id for e in events if e.account_id and not e.customer_id})
    rows = rows_in(session, _OWNERS_OF, ids)
    return {account: customer for account, customer in rows}  # noqa: C416 - rows are not pairs


def page(
    session: Session, *, firm_id: str, customer_id: str | None, after: int, limit: int
) -> Sequence[Any]:
    """Return events after a number, oldest first: a firm's, or only one customer's."""
    statement = select(_EVENT).where(_EVENT.c.firm_id == firm_id, _EVENT.c.seq > after)
    if customer_id is not None:
        statement = statement.where(_EVENT.c.customer_id == customer_id)
    return session.connection().execute(statement.order_by(_EVENT.c.seq).limit(limit)).all()
