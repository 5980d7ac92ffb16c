"""What is asked of some accounts at once: lots, taxes, what may be bought, as arrays.

A accounts, N names of the model, L lots. Planners fill it from the tables; `solving` answers it.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from robo.core.money import PPM
from robo.portfolio.problem import BoolArray, FloatArray, IntArray, Taxes
from robo.store.lot_chunks import LotChunk

EPOCH: Final = date(1970, 1, 1)
NO_LIMIT: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """Where customers want their year's net realised gain to end; arrays of shape (A,)."""

    has: BoolArray
    """Whether there is a target for the account's owner, and sales of the account count for it."""
    wanted_cents: IntArray
    """Net gain still to realise, negative for losses, after what open sales are expected to do."""
    long_only: BoolArray
    """Gains count only where they are long-term: the 0 % bracket is filled with these."""
    room_cents: IntArray
    """Net gain that the customers' budgets still allow after open sales; `NO_LIMIT` without one."""

    @classmethod
    def none(cls, count: int) -> "Aim":
        """Return that of accounts without any target."""
        no = np.zeros(count, dtype=np.bool_)
        limit = np.full(count, NO_LIMIT, dtype=np.int64)
        return cls(no, np.zeros(count, dtype=np.int64), no, limit)


@dataclass(frozen=True, slots=True, eq=False)
class TaxSide:
    """What taxes say of some accounts and their lots, whoever worked it out."""

    taxes: Taxes
    """Arrays of shape (A,). A gain budget of 0 or more limits chosen gains; see `gain_room`."""
    basis_cents: IntArray
    """Adjusted basis of the lots, (L,): what was paid and what wash sales added."""
    held_day: IntArray
    """From when the lots count as held, (L,), days since 1970-01-01."""
    no_loss: BoolArray
    """Lots that may not be sold at a loss now, (L,)."""
    whole_only: BoolArray
    """Lots that may be sold at a loss whole only, (L,)."""
    is_fresh: BoolArray
    """Lots that may replace shares sold at a loss, (L,)."""
    closes: BoolArray
    """Lots of names whose fresh shares all are here, (L,): they may go if all of these do."""
    no_buy: BoolArray
    """Names that an account may not buy now because of a loss, (A, N)."""
    aim: Aim
    undecided: tuple[frozenset[int], ...] = ()
    """Of each account, securities among them that only an open sale bars, which may be no loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What is asked of some accounts at once; (A,) and (A, N) arrays, N the model's names."""

    cash_cents: IntArray
    """Free cash."""
    lots: LotChunk
    tax: TaxSide
    benchmark: FloatArray
    buyable: BoolArray
    """Names that may be bought: the target's and stand-ins, (A, N)."""
    frozen: BoolArray
    """Names that may be neither bought nor sold: restricted, halted, (A, N)."""
    sheds: BoolArray | None = None
    """Of the frozen names those of which who harvests may sell lots at a loss, (A, N)."""
    sells: bool = True
    """False: only cash is invested, nothing is sold."""
    lands: bool = False
    """One of the year's last sessions: what accounts with a target sell is said elsewhere."""
    need_cents: IntArray | None = None
    """Cash to raise by sales, (A,), for withdrawals: nothing is bought, and no budget holds."""


def gain_room(taxes: Taxes) -> IntArray:
    """Return how much net gain the year's budget still allows, (A,); without a budget, all."""
    left = taxes.gain_budget_cents - taxes.year_short_cents - taxes.year_long_cents
    return np.where(taxes.gain_budget_cents >= 0, left, NO_LIMIT)


def fallen(worth_cents: IntArray, margin_ppm: int) -> IntArray:
    """Return what lots may still bring if prices fall before the fill.

    A small gain at the plan's price may be a loss at the fill's, and that loss would be washed.
    """
    return worth_cents - worth_cents * margin_ppm // PPM


def unlimited(taxes: Taxes) -> Taxes:
    """Return taxes without a budget for gains."""
    return replace(taxes, gain_budget_cents=np.full_like(taxes.gain_budget_cents, -1))


def named_lots(ask: Ask, sold: IntArray) -> dict[tuple[int, int], tuple[tuple[str, int], ...]]:
    """Return (account, security) -> lots and nanoshares sold, in the order in which they go.

    Whole lots come before the one that is split, as the booking takes them; and of these what was
    bought of late comes first: once it has gone, no fill that stops early can make a wash sale.
    """
    lots = ask.lots
    found: dict[tuple[int, int], list[tuple[bool, bool, str, int]]] = {}
    for lot in np.flatnonzero(sold).tolist():
        key = int(lots.account[lot]), int(lots.security_id[lot])
        nanos, old = int(sold[lot]), not ask.tax.is_fresh[lot]
        found.setdefault(key, []).append(
            (nanos < int(lots.nanos[lot]), old, lots.lot_ids[lot], nanos)
        )
    return {
        key: tuple((lot_id, nanos) for _, _, lot_id, nanos in sorted(some, key=lambda one: one[:2]))
        for key, some in found.items()
    }
