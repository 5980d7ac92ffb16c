"""Tax lots, what happened to them, and proceeds that wait for settlement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Index, bindparam, func, select
from sqlalchemy import text as words
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.accounts import AccountRow
from robo.store.chains import ChainTable, Link, chained
from robo.store.columns import STRICT, blob, check, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in, select_in

LOT_EVENTS: Final = ChainTable(
    "lot_event",
    (
        "id",
        "lot_id",
        "account_id",
        "security_id",
        "kind",
        "nanos_delta",
        "basis_delta_cents",
        "proceeds_cents",
        "cause",
        "on_date",
    ),
)


CLOSES: Final = "kind = 'close'"
"""Sales of lots: a partial index, because most of what happens to lots is purchases."""


class LotRow(SQLModel, table=True):
    """Shares bought together, with basis and date; what is still open of them."""

    __tablename__ = "lot"
    __table_args__ = (
        check("lot_open", "nanos >= 0 AND basis_cents >= 0"),
        # For corporate actions; inserts of one block's fills touch one place of it.
        Index("ix_lot_security", "security_id", "acquired_on"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    security_id: int = integer()
    acquired_on: str = text()
    nanos: int = integer()
    basis_cents: int = integer()
    hold_until: str = text(default="")
    """Not to be sold before this date: bought with money that settles then."""
    opened_by: str = text()
    """The fill or corporate action."""


class LotEventRow(SQLModel, table=True):
    """What happened to a lot; append-only and chained. A lot is the sum of its events."""

    __tablename__ = "lot_event"
    __table_args__ = chained(
        "lot_event",
        one_of("lot_event_kind", "kind", "open", "close", "split", "merge", "basis"),
        # For a year's gains and for losses whose purchases must wait.
        Index(
            "ix_lot_event_close",
            "account_id",
            "on_date",
            sqlite_where=words(CLOSES),
            postgresql_where=words(CLOSES),
        ),
    )
    id: str = text(key=True)
    lot_id: str = text()
    account_id: str = text(to="account.id")
    security_id: int = integer()
    kind: str = text()
    nanos_delta: int = integer()
    basis_delta_cents: int = integer()
    proceeds_cents: int = integer()
    """Net of fees; zero unless closed."""
    cause: str = text()
    on_date: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class ProceedRow(SQLModel, table=True):
    """Unsettled cash by settlement date."""

    __tablename__ = "proceed"
    __table_args__ = (
        check("proceed_cents", "cents > 0"),
        one_of("proceed_state", "state", "waiting", "settled"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    cents: int = integer()
    settles_on: str = text(index=True)
    state: str = text(default="waiting", index=True)
    cause: str = text()


class EntitlementRow(SQLModel, table=True):
    """What an account held when a corporate action went ex; paid or applied once."""

    __tablename__ = "entitlement"
    __table_args__ = (one_of("entitlement_state", "state", "waiting", "done"), STRICT)
    action_id: str = text(key=True)
    account_id: str = text(key=True, to="account.id")
    security_id: int = integer()
    nanos: int = integer()
    state: str = text(default="waiting")


_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PROCEED: Any = ProceedRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ENTITLEMENT: Any = EntitlementRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class OpenLot:
    """A lot with something left in it."""

    id: str
    account_id: AccountId
    security_id: int
    acquired_on: str
    nanos: int
    basis_cents: int
    hold_until: str


@dataclass(frozen=True, slots=True)
class LotEvent:
    """One thing that happened to a lot."""

    id: str
    lot_id: str
    account_id: AccountId
    security_id: int
    kind: str
    nanos_delta: int
    basis_delta_cents: int
    proceeds_cents: int
    cause: str
    on_date: str

    def link(self) -> Link:
        """Return the row on the account's chain."""
        values = tuple(getattr(self, name) for name in LOT_EVENTS.columns)
        return Link(LOT_EVENTS, self.account_id, values)


_OPEN: Final = select(*(_LOT.c[name] for name in OpenLot.__dataclass_fields__)).where(
    (_LOT.c.nanos > 0) | (_LOT.c.basis_cents > 0)
)
_OPEN_LOTS: Final = among(_OPEN, _LOT.c.account_id)
_OPEN_LOTS_OF_NAME: Final = among(
    _OPEN.where(_LOT.c.security_id == bindparam("security_id")), _LOT.c.account_id
)


def open_lots(
    session: Session, account_ids: Sequence[AccountId], security_id: int | None = None
) -> dict[AccountId, list[OpenLot]]:
    """Return the open lots of accounts, first in first out; of one security only, if given."""
    found: dict[AccountId, list[OpenLot]] = {}
    others = {} if security_id is None else {"security_id": security_id}
    asked = _OPEN_LOTS if security_id is None else _OPEN_LOTS_OF_NAME
    for row in rows_in(session, asked, account_ids, others):
        lot = OpenLot(*row)
        found.setdefault(lot.account_id, []).append(lot)
    for lots in found.values():
        lots.sort(key=lambda lot: (lot.acquired_on, lot.id))
    return found


def apply_events(
    session: Session,
    events: Sequence[LotEvent],
    hold_until: Mapping[str, str] | None = None,
    acquired_on: Mapping[str, str] | None = None,
) -> None:
    """Bring lots in line with their events: open inserts one, anything else changes one.

    The events themselves are chained rows, appended by `ledger.post`.

    Args:
        session: The caller's transaction.
        events: In the order they happen; at most one `open` a lot.
        hold_until: Lot -> until when a lot that is opened may not be sold.
        acquired_on: Lot -> when its shares were bought, where that is not the event's day: a
            corporate action carries the holding period over.
    """
    holds, acquired = hold_until or {}, acquired_on or {}
    insert_many(
        session,
        "lot",
        (
            "id",
            "account_id",
            "security_id",
            "acquired_on",
            "nanos",
            "basis_cents",
            "hold_until",
            "opened_by",
        ),
        [
            (
                e.lot_id,
                e.account_id,
                e.security_id,
                acquired.get(e.lot_id, e.on_date),
                e.nanos_delta,
                e.basis_delta_cents,
                holds.get(e.lot_id, ""),
                e.cause,
            )
            for e in events
            if e.kind == "open"
        ],
    )
    bulk(
        session,
        "UPDATE lot SET nanos = nanos + ?, basis_cents = basis_cents + ? WHERE id = ?",
        [(e.nanos_delta, e.basis_delta_cents, e.lot_id) for e in events if e.kind != "open"],
    )


def add_proceeds(
    session: Session, proceeds: Sequence[tuple[str, AccountId, int, str, str]]
) -> None:
    """Remember unsettled cash: (id, account, cents, settlement date, cause)."""
    insert_many(
        session,
        "proceed",
        ("id", "account_id", "cents", "settles_on", "cause", "state"),
        [(*row, "waiting") for row in proceeds],
    )


_HELD_BEFORE: Final = among(
    select(_LOT.c.security_id, _LOT.c.account_id, func.sum(_LOT.c.nanos))
    .where(_LOT.c.acquired_on < bindparam("ex_on"), _LOT.c.nanos > 0)
    .group_by(_LOT.c.security_id, _LOT.c.account_id)
    .order_by(_LOT.c.security_id, _LOT.c.account_id),
    _LOT.c.security_id,
)


def held_before(
    session: Session, security_ids: Sequence[int], ex_on: str
) -> dict[int, list[tuple[AccountId, int]]]:
    """Return security -> (account, nanoshares) of open lots bought before a date, by account."""
    held: dict[int, list[tuple[AccountId, int]]] = {}
    ids = sorted(set(security_ids))
    for security, account, nanos in rows_in(session, _HELD_BEFORE, ids, {"ex_on": ex_on}):
        held.setdefault(security, []).append((AccountId(account), int(nanos)))
    return held


def entitle(session: Session, rows: Sequence[tuple[str, AccountId, int, int]]) -> None:
    """Remember who held a security when an action went ex: (action, account, security, nanos)."""
    bulk(
        session,
        "INSERT INTO entitlement (action_id, account_id, security_id, nanos, state) "
        "VALUES (?, ?, ?, ?, 'waiting') ON CONFLICT (action_id, account_id) DO NOTHING",
        rows,
    )


def entitle_anew(
    session: Session, action_id: str, security_id: int, nanos: Mapping[AccountId, int]
) -> None:
    """Write what accounts that wait for an action held, in place of what was; none is no claim."""
    rows = [(action_id, account, security_id, held) for account, held in nanos.items() if held]
    bulk(
        session,
        "DELETE FROM entitlement WHERE action_id = ? AND account_id = ? AND state = 'waiting'",
        [(action_id, account) for account in nanos],
    )
    entitle(session, rows)


_ENTITLED: Final = (
    select(_ENTITLEMENT.c.account_id, _ENTITLEMENT.c.nanos, _ENTITLEMENT.c.state)
    .where(_ENTITLEMENT.c.action_id == bindparam("action_id"))
    .order_by(_ENTITLEMENT.c.account_id)
)


def entitlements(session: Session, action_id: str) -> list[tuple[AccountId, int, str]]:
    """Return (account, nanos, state) of everyone entitled to an action, by account."""
    rows = session.connection().execute(_ENTITLED, {"action_id": action_id})
    return [(AccountId(account), nanos, state) for account, nanos, state in rows]


def waiting_of_actions(session: Session, action_ids: Sequence[str]) -> set[tuple[AccountId, int]]:
    """Return (account, security) of everyone who is entitled to some actions and has not got it."""
    columns = (_ENTITLEMENT.c.account_id, _ENTITLEMENT.c.security_id)
    statement = select(*columns).where(_ENTITLEMENT.c.state == "waiting")
    rows = select_in(session, statement, _ENTITLEMENT.c.action_id, list(action_ids))
    return {(AccountId(row[0]), int(row[1])) for row in rows}


_UNBOOKED_OF: Final = among(
    select(_ENTITLEMENT.c.account_id).where(
        _ENTITLEMENT.c.action_id == bindparam("action_id"), _ENTITLEMENT.c.state == "waiting"
    ),
    _ENTITLEMENT.c.account_id,
)


def unbooked_of(
    session: Session, action_id: str, account_ids: Sequence[AccountId]
) -> set[AccountId]:
    """Return those of some accounts that are entitled to an action and have not got it."""
    rows = rows_in(session, _UNBOOKED_OF, list(account_ids), {"action_id": action_id})
    return {AccountId(row[0]) for row in rows}


def is_unbooked(session: Session, action_id: str, firm_id: str) -> bool:
    """Return whether somebody of a firm is entitled to an action and nobody there has got it."""
    return not _any_of(session, action_id, firm_id, "done") and _any_of(
        session, action_id, firm_id, "waiting"
    )


def _any_of(session: Session, action_id: str, firm_id: str, state: str) -> bool:
    """Return whether anybody of a firm is so far with an action; the first one found will do."""
    statement = (
        select(_ENTITLEMENT.c.account_id)
        .join(_ACCOUNT, _ACCOUNT.c.id == _ENTITLEMENT.c.account_id)
        .where(
            _ENTITLEMENT.c.action_id == action_id,
            _ENTITLEMENT.c.state == state,
            _ACCOUNT.c.firm_id == firm_id,
        )
    )
    return session.connection().execute(statement.limit(1)).first() is not None


def fulfil(session: Session, action_id: str, account_ids: Sequence[AccountId]) -> None:
    """Mark entitlements as paid or applied."""
    bulk(
        session,
        "UPDATE entitlement SET state = 'done' WHERE action_id = ? AND account_id = ?",
        [(action_id, account) for account in account_ids],
    )
