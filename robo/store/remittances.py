"""Money in and out through the broker: bank links there, transfers there, and what came of them.

A transfer's row is written before the broker is asked, is asked for once, and is found again in the
broker's list if the answer is lost. `news` is what the rest of the house reads, as from any bank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import exists, func, select
from sqlmodel import Session, SQLModel

from robo.store.accounts import AccountRow
from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.database import bulk, insert_many
from robo.store.transfers import BankLinkRow

STATES: Final = (
    "intended",
    "telling",
    "pending",
    "done",
    "settled",
    "refused",
    "failed",
    "returned",
    "ambiguous",
)
UNDER_WAY: Final = ("intended", "telling", "pending", "ambiguous")
"""States in which the money may be at neither end."""
ARRIVED: Final = ("done", "settled")


class RemittanceLinkRow(SQLModel, table=True):
    """A bank account as the broker has linked it to one of its accounts."""

    __tablename__ = "remittance_link"
    __table_args__ = (
        one_of("remittance_link_state", "state", "active", "removed"),
        check("remittance_link_usable", "usable IN (0, 1)"),
        STRICT,
    )
    account_id: str = text(key=True, to="account.id")
    token: str = text(key=True)
    """Ours, made of the numbers; the `bank_link` rows have it too."""
    broker_account: str = text()
    relationship_id: str = text()
    usable: int = integer()
    state: str = text(default="active", index=True)
    created_at: int = integer()


class RemittanceRow(SQLModel, table=True):
    """A transfer through the broker; its id is the deposit's or the withdrawal's.

    intended -> telling -> pending -> done -> settled | failed | returned; refused: it never began;
    ambiguous: several at the broker could be it, or none, and a person decides.
    """

    __tablename__ = "remittance"
    __table_args__ = (
        one_of("remittance_direction", "direction", "pull", "push"),
        one_of("remittance_state", "state", *STATES),
        check("remittance_cents", "cents > 0"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    token: str = text()
    direction: str = text()
    cents: int = integer()
    state: str = text(index=True)
    broker_account: str = text(default="", index=True)
    relationship_id: str = text(default="")
    broker_id: str | None = text(null=True, unique=True)
    before: str = text(default="[]")
    """JSON: the broker's transfers that there were when it was asked for first."""
    candidates: str = text(default="[]")
    """JSON: the broker's transfers that could be it, while it is ambiguous."""
    word: str = text(default="")
    """The broker's own word for the state."""
    code: str = text(default="")
    requested_at: int = integer()
    told_at: int | None = integer(null=True)
    """When it was asked for first; none if it never was."""
    done_at: int | None = integer(null=True)
    look_at: int = integer(index=True)
    changed_at: int = integer()


class RemittanceNewsRow(SQLModel, table=True):
    """A step of a transfer, numbered; told once each."""

    __tablename__ = "remittance_news"
    __table_args__ = (
        one_of("remittance_news_kind", "kind", "pending", "available", "settled", "returned"),
        STRICT,
    )
    seq: int = integer(key=True)
    id: str = text(unique=True)
    transfer_id: str = text(to="remittance.id")
    kind: str = text()
    code: str = text()
    at: int = integer()


_LINK: Any = RemittanceLinkRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ROW: Any = RemittanceRow.__table__  # type: ignore[attr-defined] # the same
_NEWS: Any = RemittanceNewsRow.__table__  # type: ignore[attr-defined] # the same
_BANK: Any = BankLinkRow.__table__  # type: ignore[attr-defined] # the same
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # the same


@dataclass(frozen=True, slots=True)
class Link:
    """A bank account as the broker has linked it."""

    account_id: str
    token: str
    broker_account: str
    relationship_id: str
    usable: int
    created_at: int
    state: str = "active"


@dataclass(frozen=True, slots=True)
class Remittance:
    """A transfer through the broker; the row's columns say what each field means."""

    id: str
    account_id: str
    token: str
    direction: str
    cents: int
    requested_at: int
    look_at: int
    changed_at: int
    state: str = "intended"
    broker_account: str = ""
    relationship_id: str = ""
    broker_id: str | None = None
    before: str = "[]"
    candidates: str = "[]"
    word: str = ""
    code: str = ""
    told_at: int | None = None
    done_at: int | None = None


@dataclass(frozen=True, slots=True)
class News:
    """A step of a transfer."""

    seq: int
    id: str
    transfer_id: str
    kind: str
    code: str
    at: int


_LINK_NAMES: Final = tuple(Link.__dataclass_fields__)
_LINK_COLUMNS: Final = [_LINK.c[name] for name in _LINK_NAMES]
_NAMES: Final = tuple(Remittance.__dataclass_fields__)
_COLUMNS: Final = [_ROW.c[name] for name in _NAMES]
_FIXED: Final = frozenset({"id", "account_id", "token", "direction", "cents", "requested_at"})
_MUTABLE: Final = tuple(name for name in _NAMES if name not in _FIXED)
_NEWS_COLUMNS: Final = [_NEWS.c[name] for name in News.__dataclass_fields__]


def put_link(session: Session, made: Link) -> None:
    """Write a link, or write it anew."""
    marks = ", ".join("?" * len(_LINK_NAMES))
    bulk(
        session,
        f"INSERT INTO remittance_link ({', '.join(_LINK_NAMES)}) VALUES ({marks}) "  # noqa: S608 - names are ours
        "ON CONFLICT (account_id, token) DO UPDATE SET state = excluded.state, "
        "broker_account = excluded.broker_account, usable = excluded.usable, "
        "relationship_id = excluded.relationship_id",
        [tuple(getattr(made, name) for name in _LINK_NAMES)],
    )


def find_link(session: Session, account_id: str, token: str) -> Link | None:
    """Return an account's link that was not removed."""
    statement = select(*_LINK_COLUMNS).where(
        _LINK.c.account_id == account_id, _LINK.c.token == token, _LINK.c.state == "active"
    )
    row = session.connection().execute(statement).first()
    return None if row is None else Link(*row)


def links_left_over(session: Session, limit: int) -> list[Link]:
    """Return links whose bank link was removed, and which no transfer needs any more."""
    used = exists().where(
        _BANK.c.customer_id == _ACCOUNT.c.customer_id,
        _BANK.c.token == _LINK.c.token,
        _BANK.c.state == "active",
    )
    needed = exists().where(
        _ROW.c.account_id == _LINK.c.account_id,
        _ROW.c.token == _LINK.c.token,
        _ROW.c.state.in_(UNDER_WAY),
    )
    statement = (
        select(*_LINK_COLUMNS)
        .join(_ACCOUNT, _ACCOUNT.c.id == _LINK.c.account_id)
        .where(_LINK.c.state == "active", ~used, ~needed)
        .order_by(_LINK.c.account_id, _LINK.c.token)
        .limit(limit)
    )
    return [Link(*row) for row in session.connection().execute(statement)]


def add(session: Session, made: Remittance) -> None:
    """Write an intention."""
    insert_many(session, "remittance", _NAMES, [tuple(getattr(made, name) for name in _NAMES)])


def save(session: Session, row: Remittance) -> None:
    """Write what may change."""
    marks = ", ".join(f"{name} = ?" for name in _MUTABLE)
    values = (*(getattr(row, name) for name in _MUTABLE), row.id)
    bulk(session, f"UPDATE remittance SET {marks} WHERE id = ?", [values])  # noqa: S608 - names are ours


def get(session: Session, transfer_id: str) -> Remittance | None:
    """Return a transfer."""
    row = session.connection().execute(select(*_COLUMNS).where(_ROW.c.id == transfer_id)).first()
    return None if row is None else Remittance(*row)


def due(session: Session, at_micros: int, limit: int) -> list[Remittance]:
    """Return what is to be looked at by an instant, longest overdue first."""
    statement = select(*_COLUMNS).where(_ROW.c.look_at <= at_micros)
    ordered = statement.order_by(_ROW.c.look_at, _ROW.c.id).limit(limit)
    return [Remittance(*row) for row in session.connection().execute(ordered)]


def alike(session: Session, row: Remittance) -> list[Remittance]:
    """Return other open requests that could become the same line of the broker's list.

    One that is to be asked for once more is among them: the first asking may still turn up.
    """
    released = (_ROW.c.state == "intended") & _ROW.c.told_at.is_not(None)
    statement = select(*_COLUMNS).where(
        _ROW.c.id != row.id,
        _ROW.c.broker_account == row.broker_account,
        _ROW.c.relationship_id == row.relationship_id,
        _ROW.c.direction == row.direction,
        _ROW.c.cents == row.cents,
        _ROW.c.state.in_(("telling", "ambiguous")) | released,
    )
    return [Remittance(*found) for found in session.connection().execute(statement)]


def claimed(session: Session, broker_account: str) -> dict[str, str]:
    """Return the broker's transfer -> ours, of one of its accounts."""
    statement = select(_ROW.c.broker_id, _ROW.c.id).where(
        _ROW.c.broker_account == broker_account, _ROW.c.broker_id.is_not(None)
    )
    return {row[0]: row[1] for row in session.connection().execute(statement)}


def look(session: Session, broker_ids: Sequence[str], at_micros: int) -> None:
    """Look at these of the broker's transfers next."""
    bulk(
        session,
        "UPDATE remittance SET look_at = ? WHERE broker_id = ? AND look_at > ?",
        [(at_micros, one, at_micros) for one in broker_ids],
    )


def look_at_lost(session: Session, at_micros: int) -> None:
    """Look at those whose answer was lost next: the news may be about them."""
    bulk(
        session,
        "UPDATE remittance SET look_at = ? WHERE state = 'telling' AND look_at > ?",
        [(at_micros, at_micros)],
    )


def look_at_all(session: Session, at_micros: int) -> None:
    """Look at every transfer next that has not ended: news of them was dropped."""
    bulk(
        session,
        "UPDATE remittance SET look_at = ? WHERE look_at > ? "
        "AND state IN ('telling', 'pending', 'done', 'settled')",
        [(at_micros, at_micros)],
    )


def doubtful(session: Session, firm_id: str, limit: int) -> list[Remittance]:
    """Return a firm's transfers that a person must decide, oldest first; every firm's for ''."""
    statement = (
        select(*_COLUMNS)
        .join(_ACCOUNT, _ACCOUNT.c.id == _ROW.c.account_id)
        .where(_ROW.c.state == "ambiguous")
    )
    if firm_id:
        statement = statement.where(_ACCOUNT.c.firm_id == firm_id)
    ordered = statement.order_by(_ROW.c.requested_at, _ROW.c.id).limit(limit)
    return [Remittance(*row) for row in session.connection().execute(ordered)]


def tell(session: Session, told: Sequence[tuple[str, str, str, str, int]]) -> None:
    """Append news (id, transfer, kind, code, instant) that was not told before."""
    ids = [one[0] for one in told]
    found = session.connection().execute(select(_NEWS.c.id).where(_NEWS.c.id.in_(ids)))
    known = set(found.scalars())
    last = session.connection().execute(select(func.coalesce(func.max(_NEWS.c.seq), 0)))
    seq = int(last.scalar_one())
    fresh = [one for one in told if one[0] not in known]
    insert_many(
        session,
        "remittance_news",
        ("seq", "id", "transfer_id", "kind", "code", "at"),
        [(seq + place, *one) for place, one in enumerate(fresh, 1)],
    )


def news(session: Session, after: int, limit: int) -> list[News]:
    """Return news after a number, in the order in which they were written."""
    statement = select(*_NEWS_COLUMNS).where(_NEWS.c.seq > after)
    rows = session.connection().execute(statement.order_by(_NEWS.c.seq).limit(limit))
    return [News(*row) for row in rows]


def sums(session: Session, broker_account: str) -> tuple[int, int]:
    """Return the net cents that arrived in an account of the broker's, and how many are under way.

    What has failed or come back is nothing that arrived.
    """
    statement = select(_ROW.c.cents, _ROW.c.direction, _ROW.c.state).where(
        _ROW.c.broker_account == broker_account, _ROW.c.state.in_((*UNDER_WAY, *ARRIVED))
    )
    arrived = under_way = 0
    for cents, direction, state in session.connection().execute(statement):
        if state in ARRIVED:
            arrived += cents if direction == "pull" else -cents
        else:
            under_way += 1
    return arrived, under_way


def heard(session: Session, broker_account: str) -> list[tuple[str, str, int, int]]:
    """Return (state, direction, cents, how many) of all transfers of an account of the broker's."""
    by = (_ROW.c.state, _ROW.c.direction)
    statement = select(*by, func.sum(_ROW.c.cents), func.count())
    mine = statement.where(_ROW.c.broker_account == broker_account).group_by(*by)
    rows = session.connection().execute(mine)
    return sorted((row[0], row[1], int(row[2]), int(row[3])) for row in rows)
