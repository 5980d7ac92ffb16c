"""Strays: executions that were told and could not be accepted, until a person decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId, child_id
from robo.store.blocks import Block, BlockRow
from robo.store.breaks import Break
from robo.store.columns import STRICT, bounded, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in

STATES: Final = ("open", "adopted", "dismissed")


class StrayRow(SQLModel, table=True):
    """An execution, or a bust, as it was told; the cursor has passed it, so it is kept here.

    open -> adopted (booked after all) | dismissed (it did not happen, or is none of ours)
    """

    __tablename__ = "stray"
    __table_args__ = (one_of("stray_state", "state", *STATES), STRICT)
    id: str = text(key=True)
    """The broker's."""
    client_id: str = text(index=True)
    busts: str = text()
    security_id: int = integer()
    side: str = text()
    nanos: int = integer()
    price_micros: int = integer()
    cents: int = integer()
    fee_cents: int = integer()
    executed_at: int = integer()
    settles_on: str = text()
    why: str = text()
    heard_at: int = integer()
    state: str = text(default="open", index=True)
    closed_at: int | None = integer(null=True)
    closed_by: str = text(default="")


_STRAY: Any = StrayRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Stray:
    """An execution that could not be accepted; amounts as they were told, however odd."""

    id: str
    client_id: str
    busts: str
    security_id: int
    side: str
    nanos: int
    price_micros: int
    cents: int
    fee_cents: int
    executed_at: int
    settles_on: str
    why: str
    heard_at: int
    state: str = "open"

    @property
    def sign(self) -> int:
        """Return 1 where shares would come and cash go, -1 where it is the other way round."""
        return -1 if (self.side == "sell") != bool(self.busts) else 1


_COLUMNS: Final = [_STRAY.c[name] for name in Stray.__dataclass_fields__]


def add(session: Session, found: Sequence[Stray]) -> None:
    """Keep strays; one that was told before is kept as it was told first."""
    known = many(session, [one.id for one in found])
    names = list(Stray.__dataclass_fields__)
    rows = [
        tuple(bounded(getattr(one, name)) for name in names) for one in found if one.id not in known
    ]
    insert_many(session, "stray", (*names, "closed_by"), [(*row, "") for row in rows])


_MANY: Final = among(select(*_COLUMNS), _STRAY.c.id)


def many(session: Session, ids: Sequence[str]) -> dict[str, Stray]:
    """Return the strays of those ids."""
    return {row[0]: Stray(*row) for row in rows_in(session, _MANY, list(ids))}


def get(session: Session, stray_id: str) -> Stray | None:
    """Return a stray, or None."""
    return many(session, [stray_id]).get(stray_id)


def of_place(session: Session, broker_account: str) -> list[Stray]:
    """Return the open strays of the blocks of one account at the broker."""
    statement = (
        select(*_COLUMNS)
        .join(_BLOCK, _BLOCK.c.id == _STRAY.c.client_id)
        .where(_STRAY.c.state == "open", _BLOCK.c.broker_account == broker_account)
        .order_by(_STRAY.c.id)
    )
    return [Stray(*row) for row in session.connection().execute(statement)]


def busy_places(session: Session) -> set[str]:
    """Return the accounts at the broker that have open strays; '' for those of no block of ours."""
    joined = _STRAY.outerjoin(_BLOCK, _BLOCK.c.id == _STRAY.c.client_id)
    statement = select(func.coalesce(_BLOCK.c.broker_account, "")).select_from(joined)
    open_ones = statement.where(_STRAY.c.state == "open").distinct()
    return set(session.connection().execute(open_ones).scalars())


def heard(session: Session, broker_account: str | None) -> list[tuple[str, int]]:
    """Return (state, how many) of the strays of an account at the broker; None: of no block."""
    by = _BLOCK.c.id == _STRAY.c.client_id
    mine, joined = _BLOCK.c.id.is_(None), _STRAY.outerjoin(_BLOCK, by)
    if broker_account is not None:
        mine, joined = _BLOCK.c.broker_account == broker_account, _BLOCK.join(_STRAY, by)
    statement = select(_STRAY.c.state, func.count()).select_from(joined).where(mine)
    rows = session.connection().execute(statement.group_by(_STRAY.c.state))
    return sorted((row[0], int(row[1])) for row in rows)


def difference(stray: Stray, block: Block, account_id: AccountId | None) -> Break:
    """Return a stray as the break that stops its name: what was ordered may be there already."""
    place, security_id = block.broker_account, block.security_id
    return Break(
        id=child_id("brk", place, "execution", security_id, stray.id),
        firm_id=block.firm_id,
        broker_account=place,
        account_id=account_id,
        security_id=security_id,
        subject="execution",
        reference=stray.id,
        category="real",
        ours=0,
        theirs=stray.nanos,
        repair="ask_operator",
        blocks=1,
    )


def waiting(session: Session, firm_id: str, limit: int) -> list[Stray]:
    """Return the open strays of a firm's blocks, oldest first; with '' those of no block too."""
    statement = select(*_COLUMNS).outerjoin(_BLOCK, _BLOCK.c.id == _STRAY.c.client_id)
    statement = statement.where(_STRAY.c.state == "open")
    if firm_id:
        statement = statement.where(_BLOCK.c.firm_id == firm_id)
    ordered = statement.order_by(_STRAY.c.heard_at, _STRAY.c.id).limit(limit)
    return [Stray(*row) for row in session.connection().execute(ordered)]


_SUMMED: Final = among(
    select(_STRAY.c.client_id, _STRAY.c.busts, _STRAY.c.nanos, _STRAY.c.cents).where(
        _STRAY.c.state != "adopted"
    ),
    _STRAY.c.client_id,
)


def sums(session: Session, block_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return block -> (nanos, cents) that its strays would add to it, had they been accepted."""
    found: dict[str, tuple[int, int]] = {}
    # Summed here: two absurd amounts together are more than a database can add.
    for block_id, busts, told_nanos, told_cents in rows_in(session, _SUMMED, list(block_ids)):
        sign, (nanos, cents) = -1 if busts else 1, found.get(block_id, (0, 0))
        found[block_id] = nanos + sign * told_nanos, cents + sign * told_cents
    return found


def close(session: Session, stray_id: str, state: str, by: str, at_micros: int) -> None:
    """End an open stray."""
    bulk(
        session,
        "UPDATE stray SET state = ?, closed_at = ?, closed_by = ? WHERE id = ? AND state = 'open'",
        [(state, at_micros, by, stray_id)],
    )
