"""Which share of which execution each order still waits for: split, sorted by account, not written.

The split of an execution is a function of what was open of each order *before* it. What waits of a
night are millions of shares, so they are kept as arrays until their turn to be written comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from robo.core.ids import FirmId, child_id
from robo.portfolio import blocks as splitting
from robo.portfolio.jit import KeyArray
from robo.services import owning
from robo.store import blocks, inventory, orders
from robo.store.database import Database

ENDED: Final = frozenset({"canceled", "rejected", "partial"})
"""States of orders that have ended with something left, which a late execution may still fill."""


@dataclass(frozen=True, slots=True)
class Share:
    """One order's part of one execution, to be written."""

    order: orders.BlockOrder
    execution: blocks.BookedExecution
    part: blocks.Part
    firm_id: FirmId
    fill_id: str
    """The one id that this order's part of this execution can have. It begins like the order's,
    which begins like the account's: what a turn writes then lies together on a few pages."""


@dataclass(frozen=True, slots=True)
class SplitExecution:
    """An execution split over the orders of its block; `places` are the orders without a fill."""

    execution: blocks.BookedExecution
    firm_id: FirmId
    members: Sequence[orders.BlockOrder]
    places: NDArray[np.int64]
    parts: NDArray[np.int64]
    """Nanoshares, cents and fee cents, shape (places, 3)."""

    def share(self, row: int) -> Share:
        """Return one of the shares."""
        order = self.members[int(self.places[row])]
        nanos, cents, fee_cents = self.parts[row].tolist()
        return Share(
            order,
            self.execution,
            blocks.Part(nanos, cents, fee_cents),
            self.firm_id,
            child_id("fil", order.id, self.execution.id),
        )


class ByAccount(Sequence[Sequence[Share]]):
    """The shares of each account together, in the broker's order within it, made when asked for.

    What waits of a night are millions of shares: they are kept as arrays until their turn comes.
    """

    def __init__(self, split: Sequence[SplitExecution]) -> None:
        """Sort the shares by account."""
        self._split = split
        accounts = sorted({one.members[p].account_id for one in split for p in one.places.tolist()})
        number = {account: place for place, account in enumerate(accounts)}
        owner = [number[one.members[p].account_id] for one in split for p in one.places.tolist()]
        owners = np.array(owner, dtype=np.int64)
        sizes = [one.places.size for one in split]
        order = np.argsort(owners, kind="stable")
        self._execution = np.repeat(np.arange(len(split)), sizes)[order]
        self._row = np.concatenate([np.arange(size) for size in (*sizes, 0)])[order]
        self._starts = np.searchsorted(owners[order], np.arange(len(accounts) + 1))

    def __len__(self) -> int:
        """Return how many accounts there are."""
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Sequence[Share]: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sequence[Share]]: ...

    def __getitem__(self, index: int | slice) -> Sequence[Share] | list[Sequence[Share]]:
        """Return the shares of one account, or of several."""
        if isinstance(index, slice):
            return [self._of(place) for place in range(*index.indices(len(self)))]
        return self._of(range(len(self))[index])

    def _of(self, place: int) -> Sequence[Share]:
        mine = slice(int(self._starts[place]), int(self._starts[place + 1]))
        pairs = zip(self._execution[mine].tolist(), self._row[mine].tolist(), strict=True)
        return [self._split[execution].share(row) for execution, row in pairs]


def missing_of(
    db: Database, by_block: Mapping[str, Sequence[blocks.BookedExecution]]
) -> list[SplitExecution]:
    """Return the shares of executions that have no fill yet, block after block.

    Args:
        db: Read in one snapshot, a few queries for all blocks.
        by_block: Block -> its executions, in the order in which the broker told them.
    """
    ids = list(by_block)
    executions = [execution.id for mine in by_block.values() for execution in mine]
    with db.read() as session:
        known = blocks.many(session, ids)
        members = orders.of_blocks(session, ids)
        fills = blocks.fills_of_blocks(session, ids)
        own = {one.execution_id: one for one in inventory.parts(session, executions)}
        late = [i for i in ids if any(order.state in ENDED for order in members[i])]
        diverted = {i: inventory.diverted(session, i) for i in late}
    return [
        split
        for i, mine in by_block.items()
        for split in _missing(known[i], mine, members[i], fills, own, diverted.get(i, ()))
    ]


def _missing(
    block: blocks.Block,
    mine: Sequence[blocks.BookedExecution],
    members: Sequence[orders.BlockOrder],
    fills: Mapping[str, Mapping[str, tuple[int, int]]],
    own: Mapping[str, inventory.Taken],
    diverted: Sequence[inventory.Taken],
) -> list[SplitExecution]:
    """Return the shares of one block's executions; fills and the firm's own are by execution."""
    done = [fills.get(execution.id, {}) for execution in mine]
    unit = 1 if block.side == "buy" else 0
    # What the firm took instead is open no more, though the order never had it.
    now = {execution.id for execution in mine}
    gone: dict[str, int] = {}
    for part in diverted:
        if part.execution_id not in now:
            units = part.cents if unit else part.nanos
            gone[part.order_id] = gone.get(part.order_id, 0) + units
    hashes = splitting.order_hashes([order.id for order in members])
    still_open = np.array(
        [
            order.open_units
            - gone.get(order.id, 0)
            + sum(booked.get(order.id, (0, 0))[unit] for booked in done)
            for order in members
        ],
        dtype=np.int64,
    )
    missing: list[SplitExecution] = []
    for execution, booked in zip(mine, done, strict=True):
        keys = splitting.mix_keys(execution.id, hashes)
        customers = owning.customers_part(execution, own.get(execution.id))
        parts = _split(customers, members, still_open, keys)
        taken = {one.order_id for one in diverted if one.execution_id == execution.id}
        still_open = still_open - parts[:, unit]
        todo = (parts[:, 0] != 0) | (parts[:, 1] != 0)
        if booked or taken:
            todo &= np.array(
                [order.id not in booked and order.id not in taken for order in members]
            )
        places = np.flatnonzero(todo)
        missing.append(
            SplitExecution(execution, FirmId(block.firm_id), members, places, parts[places])
        )
    return missing


def _split(
    execution: blocks.BookedExecution,
    members: Sequence[orders.BlockOrder],
    still_open: NDArray[np.int64],
    keys: KeyArray,
) -> NDArray[np.int64]:
    """Return nanoshares, cents and fee cents of each order, shape (orders, 3)."""
    if execution.side == "buy":
        # Rounding can use up the cents before the last shares come: those follow the orders' sizes.
        sizes = still_open
        if not still_open.any():
            sizes = np.array([o.notional_cents or 0 for o in members], dtype=np.int64)
        bought = splitting.split_buy(sizes, execution.cents, execution.nanos, keys)
        return np.column_stack((bought.nanos, bought.cents, np.zeros_like(bought.cents)))
    sold = splitting.split_sell(
        still_open, execution.nanos, execution.cents, execution.fee_cents, keys
    )
    return np.column_stack((sold.nanos, sold.gross_cents, sold.fee_cents))
