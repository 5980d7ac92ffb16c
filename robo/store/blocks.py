"""Blocks, executions and fills: what the broker was told and what it told us."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, select
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.chains import Link
from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in
from robo.store.fills import EXECUTIONS, FILLS, BookingRow, ExecutionRow, FillRow
from robo.store.orders import OrderRow, in_state


class BlockRow(SQLModel, table=True):
    """The broker order that many orders share; `id` is the client id the broker sees.

    intended -> open | unknown -> filled | partial | rejected | canceled
    """

    __tablename__ = "block"
    __table_args__ = (
        one_of("block_side", "side", "buy", "sell"),
        one_of(
            "block_state",
            "state",
            "intended",
            "open",
            "unknown",
            "filled",
            "partial",
            "rejected",
            "canceled",
        ),
        check(
            "block_size",
            # A comparison with NULL is not false, and a check that is not false holds.
            "(coalesce(notional_cents, 0) > 0 AND nanos IS NULL) OR "
            "(coalesce(nanos, 0) > 0 AND notional_cents IS NULL)",
        ),
        check("block_executed", "executed_nanos >= 0 AND executed_cents >= 0"),
        # A trade that the broker corrects upwards may go beyond: the firm has the excess.
        check("block_fill_cents", "notional_cents IS NULL OR executed_cents <= 2 * notional_cents"),
        check("block_fill_nanos", "nanos IS NULL OR executed_nanos <= 2 * nanos"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    window: str = text(index=True)
    broker: str = text()
    broker_account: str = text(index=True)
    security_id: int = integer()
    symbol: str = text()
    side: str = text()
    notional_cents: int | None = integer(null=True)
    nanos: int | None = integer(null=True)
    state: str = text(default="intended", index=True)
    broker_order_id: str | None = text(null=True)
    executed_nanos: int = integer(default=0)
    executed_cents: int = integer(default=0)
    attempts: int = integer(default=0)
    told_at: int = integer(default=0)
    """When the broker was told last, as far as we know; 0 = never."""
    asks: int = integer(default=0)
    """How often, since then, it has said that it has no such order."""
    asked_at: int = integer(default=0)
    code: str = text(default="")
    said: str = text(default="")
    """The broker's own code when it took nothing the last time, whatever ours is."""
    created_at: int = integer(index=True)
    closed_at: int | None = integer(null=True)


OPEN: Final = ("intended", "open", "unknown")
"""States of blocks that have not ended, or are not fully booked."""
_BLOCK: Any = BlockRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_EXECUTION: Any = ExecutionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BOOKING: Any = BookingRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FILL: Any = FillRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Block:
    """A block as services see it."""

    id: str
    firm_id: str
    window: str
    broker_account: str
    security_id: int
    symbol: str
    side: str
    notional_cents: int | None
    nanos: int | None
    state: str
    broker_order_id: str | None
    executed_nanos: int
    executed_cents: int
    attempts: int
    created_at: int
    told_at: int = 0
    asks: int = 0
    asked_at: int = 0
    code: str = ""

    @property
    def exceeded(self) -> bool:
        """Return whether more was executed than was ordered."""
        ordered, executed = self.notional_cents, self.executed_cents
        if ordered is None:
            ordered, executed = self.nanos, self.executed_nanos
        assert ordered is not None
        return executed > ordered


@dataclass(frozen=True, slots=True)
class BlockSum:
    """What the orders that point at a block add up to."""

    block_id: str
    firm_id: str
    security_id: int
    side: str
    notional_cents: int | None
    nanos: int | None
    account_id: AccountId
    """One of its accounts: the only one where the broker keeps an account each."""


def unwritten(session: Session) -> list[BlockSum]:
    """Return blocks that orders point at and that were not written yet, with their sums."""
    statement = (
        select(
            _ORDER.c.block_id,
            _ORDER.c.firm_id,
            _ORDER.c.security_id,
            _ORDER.c.side,
            func.sum(_ORDER.c.notional_cents),
            func.sum(_ORDER.c.nanos),
            func.min(_ORDER.c.account_id),
        )
        .outerjoin(_BLOCK, _BLOCK.c.id == _ORDER.c.block_id)
        .where(in_state("sending"), _BLOCK.c.id.is_(None))
        .group_by(_ORDER.c.block_id, _ORDER.c.firm_id, _ORDER.c.security_id, _ORDER.c.side)
        .order_by(_ORDER.c.side.desc(), _ORDER.c.security_id)
    )
    return [
        BlockSum(
            block_id=row[0],
            firm_id=row[1],
            security_id=row[2],
            side=row[3],
            notional_cents=None if row[4] is None else int(row[4]),
            nanos=None if row[5] is None else int(row[5]),
            account_id=row[6],
        )
        for row in session.connection().execute(statement)
    ]


def write(session: Session, blocks: Sequence[Block], broker: str, at_micros: int) -> None:
    """Write blocks as intended, before the broker is told."""
    names = (
        "id",
        "firm_id",
        "window",
        "broker",
        "broker_account",
        "security_id",
        "symbol",
        "side",
        "notional_cents",
        "nanos",
        "state",
        "executed_nanos",
        "executed_cents",
        "attempts",
        "code",
        "created_at",
    )
    rows = [
        (
            b.id,
            b.firm_id,
            b.window,
            broker,
            b.broker_account,
            b.security_id,
            b.symbol,
            b.side,
            b.notional_cents,
            b.nanos,
            "intended",
            0,
            0,
            0,
            "",
            at_micros,
        )
        for b in blocks
    ]
    insert_many(session, "block", [f'"{name}"' for name in names], rows)


_BLOCKS: Final = select(*(_BLOCK.c[name] for name in Block.__dataclass_fields__))
_IN_STATES: Final = _BLOCKS.where(_BLOCK.c.state.in_(bindparam("states", expanding=True))).order_by(
    _BLOCK.c.side.desc(), _BLOCK.c.security_id, _BLOCK.c.id
)
_BLOCKS_OF: Final = among(_BLOCKS, _BLOCK.c.id)


def in_states(session: Session, *states: str) -> list[Block]:
    """Return blocks in some states; sells first, then by security."""
    return [Block(*row) for row in session.connection().execute(_IN_STATES, {"states": states})]


def get(session: Session, block_id: str) -> Block | None:
    """Return a block, or None."""
    return many(session, [block_id]).get(block_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the broker said of a block."""

    block_id: str
    state: str
    broker_order_id: str | None
    code: str
    told: bool = True
    """Whether it was told or asked for; false where it was held back."""
    said: str = ""
    """The broker's own code, where it has not taken it."""


def record(session: Session, outcomes: Sequence[Outcome], at_micros: int = 0) -> None:
    """Write what the broker said of blocks that have not ended."""
    bulk(
        session,
        "UPDATE block SET state = ?, broker_order_id = COALESCE(?, broker_order_id), code = ?, "
        "said = COALESCE(?, said), "
        "attempts = attempts + ?, told_at = CASE WHEN ? = 1 THEN ? ELSE told_at END "
        "WHERE id = ? AND state IN ('intended', 'unknown', 'open')",
        [
            (
                # What ends it untold says nothing new; what has taken it, that all is well.
                *(o.state, o.broker_order_id, o.code),
                o.said or ("" if o.broker_order_id else None),
                *(int(o.told), int(o.told), at_micros, o.block_id),
            )
            for o in outcomes
        ],
    )


def close(session: Session, ended: Sequence[tuple[str, str, str]], at_micros: int) -> None:
    """End blocks whose orders have all ended: (block, state, code)."""
    bulk(
        session,
        "UPDATE block SET state = ?, code = ?, closed_at = ? WHERE id = ?",
        [(state, code, at_micros, block_id) for block_id, state, code in ended],
    )


@dataclass(frozen=True, slots=True)
class BookedExecution:
    """An execution as it was told to us."""

    id: str
    block_id: str
    security_id: int
    side: str
    nanos: int
    price_micros: int
    cents: int
    fee_cents: int
    executed_at: int
    settles_on: str

    def link(self, firm_id: str) -> Link:
        """Return the row on the firm's chain."""
        return Link(EXECUTIONS, firm_id, tuple(getattr(self, n) for n in EXECUTIONS.columns))


def accept(
    session: Session,
    executions: Sequence[BookedExecution],
    taken_back: Sequence[tuple[str, int, int]] = (),
) -> None:
    """Open the booking of executions and add them to their blocks' sums, in the order given.

    Args:
        session: The caller's transaction.
        executions: What is new.
        taken_back: (Block, nanoshares, cents) of executions that did not happen after all.

    Raises:
        IntegrityError: If an execution was accepted before, or would over-fill its block.
    """
    last = session.connection().execute(select(func.max(_BOOKING.c.position))).scalar() or 0
    insert_many(
        session,
        "booking",
        ("execution_id", "position", "state"),
        [(e.id, last + 1 + i, "open") for i, e in enumerate(executions)],
    )
    net: dict[str, tuple[int, int]] = {}
    changes = [(e.block_id, e.nanos, e.cents) for e in executions]
    changes += [(block_id, -nanos, -cents) for block_id, nanos, cents in taken_back]
    for block_id, nanos, cents in changes:
        before = net.get(block_id, (0, 0))
        net[block_id] = before[0] + nanos, before[1] + cents
    bulk(
        session,
        "UPDATE block SET executed_nanos = executed_nanos + ?, executed_cents = executed_cents + ? "
        "WHERE id = ?",
        [(nanos, cents, block_id) for block_id, (nanos, cents) in net.items()],
    )


_UNBOOKED: Final = (
    select(*(_EXECUTION.c[name] for name in BookedExecution.__dataclass_fields__))
    .join(_BOOKING, _BOOKING.c.execution_id == _EXECUTION.c.id)
    .where(_BOOKING.c.state == "open")
    .order_by(_BOOKING.c.position)
)
_FILLS_OF: Final = among(
    select(_FILL.c.execution_id, _FILL.c.order_id, _FILL.c.nanos, _FILL.c.cents).join(
        _ORDER, _ORDER.c.id == _FILL.c.order_id
    ),
    _ORDER.c.block_id,
)
_KNOWN_FILLS: Final = among(select(_FILL.c.id), _FILL.c.id)


def unbooked(session: Session) -> list[BookedExecution]:
    """Return accepted executions that are not fully booked, in the broker's order."""
    return [BookedExecution(*row) for row in session.connection().execute(_UNBOOKED)]


def finish(session: Session, execution_ids: Sequence[str]) -> None:
    """Mark executions as fully booked."""
    bulk(
        session,
        "UPDATE booking SET state = 'done' WHERE execution_id = ?",
        [(execution_id,) for execution_id in execution_ids],
    )


def many(session: Session, block_ids: Sequence[str]) -> dict[str, Block]:
    """Return the blocks of those ids that we know."""
    return {row[0]: Block(*row) for row in rows_in(session, _BLOCKS_OF, block_ids)}


def fills_of_blocks(
    session: Session, block_ids: Sequence[str]
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return execution -> order -> (nanos, cents) that has been booked of blocks already."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for execution_id, order_id, nanos, cents in rows_in(session, _FILLS_OF, block_ids):
        found.setdefault(execution_id, {})[order_id] = nanos, cents
    return found


def known_fills(session: Session, fill_ids: Sequence[str]) -> set[str]:
    """Return which of the fills are written."""
    return {row[0] for row in rows_in(session, _KNOWN_FILLS, fill_ids)}


def fill_link(
    account_id: AccountId, fill_id: str, order_id: str, execution: BookedExecution, part: "Part"
) -> Link:
    """Return a fill as a row on its account's chain."""
    values = (
        fill_id,
        order_id,
        account_id,
        execution.id,
        part.nanos,
        part.cents,
        part.fee_cents,
        execution.price_micros,
        execution.settles_on,
    )
    return Link(FILLS, account_id, values)


@dataclass(frozen=True, slots=True)
class Part:
    """One order's part of an execution."""

    nanos: int
    cents: int
    fee_cents: int
