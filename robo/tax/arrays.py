"""The rules of this room over many accounts at once, for planners; property-tested equal.

A accounts, N names, H holdings, L lots, in CSR form: the lots of holding h are `lot_indptr[h]` up
to the next. Days are days since 1970-01-01. What a lot is worth comes in as cents: shares meet
prices elsewhere. Lots stand in the order of their ids, which breaks ties.

Results have the shapes and types that the optimizer's description of accounts and taxes asks for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from robo.core.money import PPM
from robo.tax.harvest import Mode
from robo.tax.wash_sales import WINDOW

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
P = ParamSpec("P")
R = TypeVar("R")

NEVER_BUY: Final = 1
NEVER_SELL_AT_LOSS: Final = 4
"""Bits of the optimizer's `Rule`."""


class Method(IntEnum):
    """Which lots of a holding go first."""

    FIFO = 0
    HIFO = 1
    LOWEST_TAX = 2


_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}
"""No threads, and the interpreter is let go."""
_IN: Final = "Array(int64, 1, 'C', True)"
_OUT: Final = "Array(int64, 1, 'C', False)"


def _inline(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that compiled ones may call."""
    return cast("Callable[P, R]", numba.njit(**_OPTIONS)(function))


def _compiled(function: Callable[P, R], *arguments: str) -> Callable[P, R]:
    """Return a function compiled for these types alone, or read from the cache."""
    signature = f"int64({', '.join(arguments)})"
    try:
        compiled = numba.njit([signature], cache=True, **_OPTIONS)(function)
    except RuntimeError:
        # Nowhere to keep a cache: compile each time.
        compiled = numba.njit([signature], cache=False, **_OPTIONS)(function)
    return cast("Callable[P, R]", compiled)


def warm() -> int:
    """Compile what is compiled here, or load it, and return how much; for a process's start."""
    return len([_sort_by_basis(), _take_lots()])


def long_day(held_day: IntArray) -> IntArray:
    """Return the first day on which each lot is long-term; see `gains.long_from`."""
    first = held_day.astype("datetime64[D]") + np.timedelta64(1, "D")
    month = first.astype("datetime64[M]")
    # 29 February runs over into 1 March of a year without it, as it should.
    there = (month + np.timedelta64(12, "M")).astype("datetime64[D]") + (first - month)
    days: IntArray = there.astype(np.int64)
    return days


def is_long(held_day: IntArray, day: int) -> BoolArray:
    """Return which lots are long-term on a day, (L,): `lot_is_long`."""
    return long_day(held_day) <= day


def waits(held_day: IntArray, day: int, days: int) -> BoolArray:
    """Return which lots turn long-term after a day, at most so many later, (L,): `lot_wait`."""
    turns = long_day(held_day)
    return (turns > day) & (turns <= day + days)


@dataclass(frozen=True, slots=True)
class RateArrays:
    """What each account is taxed, every array (A,): rates on the next dollar, and its mode."""

    short_rate_ppm: IntArray
    long_rate_ppm: IntArray
    recapture_ppm: IntArray
    mode: IntArray
    """`harvest.Mode`."""


def tax_per_dollar(
    gain_cents: IntArray,
    worth_cents: IntArray,
    lot_is_long: BoolArray,
    lot_wait: BoolArray,
    lot_account: IntArray,
    rates: RateArrays,
) -> FloatArray:
    """Return the tax of selling a dollar's worth of each lot, (L,); see `harvest.tax_per_dollar`.

    Args:
        gain_cents: Of the whole lot, (L,): worth less adjusted basis.
        worth_cents: Of the whole lot, (L,), positive.
        lot_is_long: (L,).
        lot_wait: (L,).
        lot_account: The position of each lot's account, (L,).
        rates: Of the accounts.

    Raises:
        ValueError: If a lot is worth nothing.
    """
    if worth_cents.size and worth_cents.min() <= 0:
        message = "worth_cents must be positive"
        raise ValueError(message)
    gain = gain_cents / worth_cents
    short = rates.short_rate_ppm[lot_account] / PPM
    long = rates.long_rate_ppm[lot_account] / PPM
    back = rates.recapture_ppm[lot_account] / PPM * long
    mode = rates.mode[lot_account]
    rate = np.where(lot_is_long, long, short)
    paid = rate + np.where(lot_wait, short - long, 0.0)
    saved = np.where(mode == Mode.NEUTRAL, 0.0, rate - back)
    tax = np.where(gain >= 0, paid, saved)
    return np.where(mode == Mode.REALISE, -back, tax) * gain


def order(
    method: Method,
    lot_indptr: IntArray,
    lot_acquired_day: IntArray,
    lot_nanos: IntArray,
    lot_basis_cents: IntArray,
    lot_tax: FloatArray | None = None,
) -> IntArray:
    """Return the positions of all lots, (L,), holding by holding, in the order in which they go.

    `HIFO` compares basis a share exactly. `LOWEST_TAX` goes by `lot_tax`, the tax per dollar.

    Raises:
        ValueError: If a lot has no shares, or the lowest tax is asked for without `lot_tax`.
    """
    if lot_nanos.size and lot_nanos.min() <= 0:
        message = "lot_nanos must be positive"
        raise ValueError(message)
    holding = np.repeat(np.arange(lot_indptr.size - 1), np.diff(lot_indptr))
    if method is Method.LOWEST_TAX:
        if lot_tax is None:
            message = "lot_tax is needed to order lots by their tax"
            raise ValueError(message)
        return np.lexsort((lot_acquired_day, lot_tax, holding))
    oldest = np.lexsort((lot_acquired_day, holding))
    if method is Method.HIFO:
        _sort_by_basis()(_flat(lot_indptr), _flat(lot_nanos), _flat(lot_basis_cents), oldest)
    return oldest


def take(
    lot_order: IntArray, lot_indptr: IntArray, lot_nanos: IntArray, sell_nanos: IntArray
) -> IntArray:
    """Return what is sold of each lot, (L,), when each holding sells so much, (H,), in an order.

    Raises:
        ValueError: If a holding's lots hold less than it sells, or it sells less than nothing.
    """
    sold = np.zeros(lot_nanos.size, dtype=np.int64)
    short_of = _take_lots()(
        _flat(lot_order), _flat(lot_indptr), _flat(lot_nanos), _flat(sell_nanos), sold
    )
    if short_of >= 0:
        message = f"sell_nanos of holding {short_of} is not what its lots can give"
        raise ValueError(message)
    return sold


@dataclass(frozen=True, slots=True)
class Bans:
    """Names sold at a loss and not replaced, one row each; see `Books.bans`."""

    household: IntArray
    name: IntArray
    until_day: IntArray
    """The first day on which the household may buy it again."""


@dataclass(frozen=True, slots=True)
class FreshLots:
    """Lots that may replace shares sold at a loss, one row each; see `Books.fresh`."""

    household: IntArray
    name: IntArray
    bought_day: IntArray
    lot: IntArray
    """Its position among the lots, -1 where it is in none of these accounts."""
    in_ira: BoolArray
    is_open: BoolArray
    """Still to be bought, perhaps after a sale of the day: nobody may defer a loss into it."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the lots are."""

    household: IntArray
    """Of each account, (A,)."""
    is_ira: BoolArray
    """(A,)"""
    buy_buy_sell: BoolArray
    """(A,): losses may be deferred into shares bought before."""
    holding_account: IntArray
    """(H,)"""
    holding_name: IntArray
    """(H,)"""
    lot_indptr: IntArray
    """(H + 1,)"""


@dataclass(frozen=True, slots=True)
class MaskArrays:
    """What the day forbids; see `harvest.Masks`.

    Attributes:
        rule: (A, N): `NEVER_BUY`, and `NEVER_SELL_AT_LOSS` where it holds for all lots of a name.
        no_loss: (L,): may not be sold at a loss. With a loss today, it is `lot_is_blocked`.
        whole_only: (L,): may be sold at a loss whole, not in part. A planner that cannot say so
            blocks these too.
        is_fresh: (L,): may itself replace shares sold at a loss.
        closes: (L,): of a name whose fresh shares all are lots of this very holding. Sold whole,
            all on one day, they leave nothing that could replace what else is sold with them.
    """

    rule: ByteArray
    no_loss: BoolArray
    whole_only: BoolArray
    is_fresh: BoolArray
    closes: BoolArray


def masks(owners: Owners, bans: Bans, fresh: FreshLots, names: int, day: int) -> MaskArrays:
    """Return what may not be bought or sold at a loss on a day.

    Args:
        owners: Of accounts, holdings and lots.
        bans: Of the households.
        fresh: Of the households, in any order; what is out of the window is left out here.
        names: N.
        day: The day of the trade.
    """
    accounts = owners.household.size
    rule = np.zeros((accounts, names), dtype=np.uint8)
    live = bans.until_day > day
    banned = np.unique(bans.household[live] * names + bans.name[live])
    account_key = owners.household[:, None] * names + np.arange(names)
    rule[np.isin(account_key, banned)] |= NEVER_BUY

    near = (fresh.bought_day + WINDOW.days >= day) & (fresh.bought_day <= day)
    key = fresh.household * names + fresh.name
    per_holding = owners.household[owners.holding_account] * names + owners.holding_name
    holding = np.repeat(np.arange(per_holding.size), np.diff(owners.lot_indptr))
    account = owners.holding_account[holding]
    everything = _count(key[near], per_holding)[holding]
    strict = _count(key[near & (fresh.in_ira | fresh.is_open)], per_holding)[holding]
    own = np.zeros(holding.size, dtype=np.int64)
    np.add.at(own, fresh.lot[near & (fresh.lot >= 0)], 1)
    accepts, taxed = owners.buy_buy_sell[account], ~owners.is_ira[account]
    no_loss = taxed & (np.where(accepts, strict, everything - own) > 0)
    whole_only = taxed & ~no_loss & ~accepts & (own > 0)
    free = np.bincount(holding[~no_loss], minlength=per_holding.size)
    all_of_it = (free == 0) & (np.diff(owners.lot_indptr) > 0)
    spots = owners.holding_account[all_of_it], owners.holding_name[all_of_it]
    rule[spots] |= NEVER_SELL_AT_LOSS
    here = np.bincount(holding, own, per_holding.size).astype(np.int64)[holding]
    closes = taxed & (everything > 0) & (everything == here)
    return MaskArrays(rule, no_loss, whole_only, own > 0, closes)


def _count(keys: IntArray, asked: IntArray) -> IntArray:
    """Return how often each asked key occurs."""
    ordered = np.sort(keys)
    found = np.searchsorted(ordered, asked, "right") - np.searchsorted(ordered, asked, "left")
    return found.astype(np.int64)


@_inline
def _less(a: int, b: int, c: int, d: int) -> bool:
    """Return whether a / b < c / d, exactly and without a product: by continued fractions.

    Numerators are not negative, denominators positive. `swapped` counts reciprocals taken.
    """
    swapped = False
    while True:
        whole, other = a // b, c // d
        if whole != other:
            return bool((whole < other) != swapped)
        a, c = a - whole * b, c - other * d
        if a == 0 or c == 0:
            smaller = a == 0 and c > 0
            larger = c == 0 and a > 0
            return bool(larger if swapped else smaller)
        a, b, c, d = b, a, d, c
        swapped = not swapped


def _by_basis(indptr: IntArray, nanos: IntArray, basis: IntArray, spots: IntArray) -> int:
    """Sort the lots of each holding by basis a share, highest first, keeping ties as they are."""
    for h in range(indptr.size - 1):
        for i in range(indptr[h] + 1, indptr[h + 1]):
            lot = spots[i]
            j = i
            while j > indptr[h]:
                other = spots[j - 1]
                if not _less(basis[other], nanos[other], basis[lot], nanos[lot]):
                    break
                spots[j] = other
                j -= 1
            spots[j] = lot
    return 0


def _take(
    spots: IntArray, indptr: IntArray, nanos: IntArray, wanted: IntArray, sold: IntArray
) -> int:
    """Take from each holding's lots in order; return a holding that has too few, or -1."""
    for h in range(indptr.size - 1):
        left = wanted[h]
        for i in range(indptr[h], indptr[h + 1]):
            part = min(left, nanos[spots[i]])
            if part > 0:
                sold[spots[i]] = part
                left -= part
        if left != 0:
            return h
    return -1


def _flat(values: IntArray) -> IntArray:
    """Return integers as the compiled functions take them."""
    return np.ascontiguousarray(values, dtype=np.int64)


@cache
def _sort_by_basis() -> Callable[[IntArray, IntArray, IntArray, IntArray], int]:
    return _compiled(_by_basis, _IN, _IN, _IN, _OUT)


@cache
def _take_lots() -> Callable[[IntArray, IntArray, IntArray, IntArray, IntArray], int]:
    return _compiled(_take, _IN, _IN, _IN, _IN, _OUT)
