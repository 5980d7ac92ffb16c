"""Positions that customers bring from accounts at other firms: what was said, what arrived.

A move-in begins as a draft read from a file. Once confirmed and received, every lot of it is an
arrival: a chained row that is never changed, and the cause of the lot's first event.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy import text as words
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.accounts import AccountRow
from robo.store.chains import ChainTable, Link, chained
from robo.store.columns import STRICT, blob, check, integer, one_of, partial, text
from robo.store.database import among, bulk, insert_many, rows_in, select_in

ARRIVALS: Final = ChainTable(
    "arrival",
    (
        "id",
        "move_in_id",
        "account_id",
        "lot_id",
        "security_id",
        "nanos",
        "basis_cents",
        "acquired_on",
        "on_date",
    ),
)
STATES: Final = ("draft", "requested", "received", "refused", "canceled")
LIVING: Final = ("draft", "requested", "received")
"""States in which a file counts as taken."""
_REQUESTED: Final = "state = 'requested'"
_NEW: Final = "state = 'received' AND admitted_at IS NULL"


class MoveInRow(SQLModel, table=True):
    """One file of positions, and how far its transfer is."""

    __tablename__ = "move_in"
    __table_args__ = (
        one_of("move_in_state", "state", *STATES),
        check("move_in_received", "(state = 'received') = (received_on <> '')"),
        partial("ix_move_in_requested", _REQUESTED, "id"),
        partial("ix_move_in_new", _NEW, "account_id"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    content_mac: bytes = blob()
    """Keyed hash of the file: the same file twice is refused."""
    state: str = text(default="draft")
    left_out: str = text(default="[]")
    """Symbols that we do not trade and that the customer chose to leave behind, JSON."""
    code: str = text(default="")
    """Why it was refused."""
    received_on: str = text(default="")
    created_at: int = integer()
    requested_at: int | None = integer(null=True)
    ended_at: int | None = integer(null=True)
    admitted_at: int | None = integer(null=True)
    """When the account's ladder was looked at with what arrived."""


class MoveInLotRow(SQLModel, table=True):
    """One lot of a file, as the customer states it."""

    __tablename__ = "move_in_lot"
    __table_args__ = (check("move_in_lot_size", "nanos > 0 AND basis_cents >= 0"), STRICT)
    id: str = text(key=True)
    move_in_id: str = text(to="move_in.id", index=True)
    place: int = integer()
    """Its line in the file."""
    security_id: int = integer()
    nanos: int = integer()
    basis_cents: int = integer()
    acquired_on: str = text()


class ArrivalRow(SQLModel, table=True):
    """A lot that arrived; append-only, chained to the account."""

    __tablename__ = "arrival"
    __table_args__ = chained(
        "arrival",
        check("arrival_size", "nanos > 0 AND basis_cents >= 0 AND acquired_on <= on_date"),
    )
    id: str = text(key=True)
    move_in_id: str = text(to="move_in.id", index=True)
    account_id: str = text(to="account.id")
    lot_id: str = text(index=True)
    security_id: int = integer()
    nanos: int = integer()
    basis_cents: int = integer()
    acquired_on: str = text()
    on_date: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


_MOVE: Any = MoveInRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LOT: Any = MoveInLotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ARRIVAL: Any = ArrivalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class MoveIn:
    """A transfer of positions as it is stored."""

    id: str
    account_id: AccountId
    content_mac: bytes
    state: str
    left_out: str
    code: str
    received_on: str
    created_at: int
    requested_at: int | None
    ended_at: int | None
    admitted_at: int | None


@dataclass(frozen=True, slots=True)
class MoveInLot:
    """A lot as the customer states it."""

    id: str
    move_in_id: str
    place: int
    security_id: int
    nanos: int
    basis_cents: int
    acquired_on: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A lot that arrived."""

    id: str
    move_in_id: str
    account_id: AccountId
    lot_id: str
    security_id: int
    nanos: int
    basis_cents: int
    acquired_on: str
    on_date: str

    def link(self) -> Link:
        """Return the row on the account's chain."""
        values = tuple(getattr(self, name) for name in ARRIVALS.columns)
        return Link(ARRIVALS, self.account_id, values)


_MOVE_COLUMNS: Final = tuple(MoveIn.__dataclass_fields__)
_LOT_COLUMNS: Final = tuple(MoveInLot.__dataclass_fields__)
_ARRIVAL_COLUMNS: Final = tuple(Arrival.__dataclass_fields__)
_SELECT: Any = select(*(_MOVE.c[name] for name in _MOVE_COLUMNS))


def add(session: Session, one: MoveIn, lots: Sequence[MoveInLot]) -> None:
    """Write a draft with its lots."""
    row = tuple(getattr(one, name) for name in _MOVE_COLUMNS)
    insert_many(session, "move_in", _MOVE_COLUMNS, [row])
    rows = [tuple(getattr(lot, name) for name in _LOT_COLUMNS) for lot in lots]
    insert_many(session, "move_in_lot", _LOT_COLUMNS, rows)


def find(session: Session, move_in_id: str) -> MoveIn | None:
    """Return one transfer of positions."""
    row = session.connection().execute(_SELECT.where(_MOVE.c.id == move_in_id)).first()
    return None if row is None else MoveIn(*row)


def of_account(session: Session, account_id: str) -> list[MoveIn]:
    """Return an account's transfers of positions, newest first."""
    statement = _SELECT.where(_MOVE.c.account_id == account_id)
    rows = session.connection().execute(statement.order_by(_MOVE.c.created_at.desc(), _MOVE.c.id))
    return [MoveIn(*row) for row in rows]


def requested(session: Session, after: str = "", limit: int = 100) -> list[MoveIn]:
    """Return transfers that were confirmed and have not ended, by id from after one on."""
    # The very words of the partial index's condition: SQLite uses it for nothing else.
    statement = _SELECT.where(words(_REQUESTED), _MOVE.c.id > after)
    rows = session.connection().execute(statement.order_by(_MOVE.c.id).limit(limit))
    return [MoveIn(*row) for row in rows]


def lots_of(session: Session, move_in_id: str) -> list[MoveInLot]:
    """Return the lots of a file, in its order."""
    columns = [_LOT.c[name] for name in _LOT_COLUMNS]
    statement = select(*columns).where(_LOT.c.move_in_id == move_in_id)
    rows = session.connection().execute(statement.order_by(_LOT.c.place))
    return [MoveInLot(*row) for row in rows]


def change(
    session: Session,
    move_in_id: str,
    state: str,
    *,
    at_micros: int,
    code: str = "",
    received_on: str = "",
) -> None:
    """Move a transfer to another state."""
    column = "requested_at" if state == "requested" else "ended_at"
    bulk(
        session,
        f"UPDATE move_in SET state = ?, code = ?, received_on = ?, {column} = ? WHERE id = ?",  # noqa: S608 - names are ours
        [(state, code, received_on, at_micros, move_in_id)],
    )


def not_admitted(session: Session) -> list[AccountId]:
    """Return the accounts that something arrived in since their ladder was looked at."""
    statement = select(_MOVE.c.account_id).where(words(_NEW)).distinct()
    rows = session.connection().execute(statement.order_by(_MOVE.c.account_id))
    return [AccountId(account) for account in rows.scalars()]


def admit(session: Session, account_ids: Sequence[AccountId], at_micros: int) -> None:
    """Note that the ladder of accounts was looked at with all that has arrived."""
    bulk(
        session,
        f"UPDATE move_in SET admitted_at = ? WHERE {_NEW} AND account_id = ?",  # noqa: S608 - words are ours
        [(at_micros, account) for account in account_ids],
    )


def moving(session: Session, firm_id: str) -> set[int]:
    """Return the securities that are on their way into a firm's accounts."""
    statement = (
        select(_LOT.c.security_id)
        .join(_MOVE, _MOVE.c.id == _LOT.c.move_in_id)
        .join(_ACCOUNT, _ACCOUNT.c.id == _MOVE.c.account_id)
        .where(words("move_in." + _REQUESTED), _ACCOUNT.c.firm_id == firm_id)
    )
    return {int(one) for one in session.connection().execute(statement.distinct()).scalars()}


# By chain: it is the account, and its rows lie together there.
_BOUGHT_ON: Final = among(select(_ARRIVAL.c.lot_id, _ARRIVAL.c.acquired_on), _ARRIVAL.c.chain)


def bought_on(session: Session, account_ids: Sequence[str]) -> dict[str, str]:
    """Return lot -> when its shares were bought elsewhere, for lots that arrived in accounts."""
    rows = rows_in(session, _BOUGHT_ON, list(account_ids))
    return {lot: on for lot, on in rows}  # noqa: C416 - rows are not pairs


def arrived_on(session: Session, account_ids: Sequence[str]) -> dict[str, str]:
    """Return lot -> when it arrived, for lots that arrived in accounts."""
    statement = select(_ARRIVAL.c.lot_id, _ARRIVAL.c.on_date)
    rows = select_in(session, statement, _ARRIVAL.c.chain, list(account_ids))
    return {lot: on for lot, on in rows}  # noqa: C416 - rows are not pairs


def securities(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, set[int]]:
    """Return account -> securities that arrived in it from another firm."""
    statement = select(_ARRIVAL.c.chain, _ARRIVAL.c.security_id).distinct()
    found: dict[AccountId, set[int]] = {}
    for account, security in select_in(session, statement, _ARRIVAL.c.chain, list(account_ids)):
        found.setdefault(AccountId(account), set()).add(int(security))
    return found


def arrived_since(session: Session, account_ids: Sequence[str], on_date: str) -> set[str]:
    """Return the lots that arrived in accounts on or after a day."""
    statement = select(_ARRIVAL.c.lot_id).where(_ARRIVAL.c.on_date >= on_date)
    rows = select_in(session, statement, _ARRIVAL.c.chain, list(account_ids))
    return {row[0] for row in rows}


def nanos_since(
    session: Session, firm_id: str, account_id: str | None, security_id: int, on_date: str
) -> list[int]:
    """Return the nanoshares of a security that arrived on or after a day, in order.

    In one account, or in all of a firm's.
    """
    keys = (_ARRIVAL.c.on_date, _ARRIVAL.c.move_in_id)
    statement = (
        select(func.sum(_ARRIVAL.c.nanos))
        .join(_ACCOUNT, _ACCOUNT.c.id == _ARRIVAL.c.account_id)
        .where(
            _ARRIVAL.c.security_id == security_id,
            _ARRIVAL.c.on_date >= on_date,
            _ACCOUNT.c.firm_id == firm_id,
        )
        .group_by(*keys)
        .order_by(*keys)
    )
    if account_id is not None:
        statement = statement.where(_ARRIVAL.c.chain == account_id)
    return [int(one) for one in session.connection().execute(statement).scalars()]
