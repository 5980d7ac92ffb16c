"""One broker order for many customers: splitting its executions back, exactly.

Each execution is split by largest remainder over what is *still open* of each order, so that
no order can overfill and the last execution closes all. Equal remainders go by a hash of
execution and order, so that no place in a list is worth anything: a permutation of the orders
permutes the result.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio import checks, kernels
from robo.portfolio.jit import IntArray, KeyArray

UNITS_MAX: Final = 2**62
"""No block is larger than this in cents or nanoshares; products are 128 bits wide."""
_KEY_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class BuyShares:
    """What each order of a buy block got: cents it pays and nanoshares it receives, (M,)."""

    cents: IntArray
    nanos: IntArray


@dataclass(frozen=True, slots=True)
class SellShares:
    """What each order of a sell block gave and got: nanoshares, gross cents and fees, (M,)."""

    nanos: IntArray
    gross_cents: IntArray
    fee_cents: IntArray


def order_hashes(order_ids: Sequence[str]) -> KeyArray:
    """Return a 64-bit hash of each order's id; the same for ever, so it may be kept."""
    digests = (
        hashlib.blake2b(name.encode(), digest_size=_KEY_BYTES).digest() for name in order_ids
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def mix_keys(execution_id: str, hashes: KeyArray) -> KeyArray:
    """Return tie keys of an execution for orders whose hashes are known; a bijection of them.

    Source of the mixing constants: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    mixed: KeyArray = hashes ^ order_hashes([execution_id])[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def tie_keys(execution_id: str, order_ids: Sequence[str]) -> KeyArray:
    """Return who goes first among equals in this execution: larger keys, a fresh draw each time."""
    return mix_keys(execution_id, order_hashes(order_ids))


def split_units(units: int, weight: ArrayLike, tie_key: KeyArray) -> IntArray:
    """Split units by weights, largest remainder, ties by key.

    Args:
        units: Anything indivisible, from 0 to 2^62.
        weight: Weights, shape (M,), not negative, sum from 1 to 2^62 (0 only for no units).
        tie_key: Keys from `tie_keys`, shape (M,).

    Returns:
        Units, shape (M,), summing exactly to `units`; each is its exact share rounded down
        or up, and nothing where the weight is zero.

    Raises:
        ValueError: If an input lies outside these bounds.
    """
    weights = checks.ints("weight", weight, ndim=1)
    checks.require("tie_key", tie_key.shape == weights.shape, "must be (M,)")
    checks.require("tie_key", tie_key.dtype == np.uint64, "must be uint64")
    total = _total(weights)
    checks.require("units", 0 <= units <= UNITS_MAX, "is out of range")
    checks.require("weight", total > 0 or units == 0, "is zero everywhere")
    share, rest = np.zeros(weights.size, np.int64), np.zeros(weights.size, np.uint64)
    if units == 0:
        return share
    left = kernels.quotas(weights, units, total, share, rest)
    share[_largest(rest, tie_key, left)] += 1
    return share


def split_execution(open_units: ArrayLike, executed_units: int, tie_key: KeyArray) -> IntArray:
    """Split what was executed over what is still open of each order.

    Args:
        open_units: Cents or nanoshares still open, shape (M,), not negative.
        executed_units: The execution, in the same unit; at most the sum of what is open.
        tie_key: Keys from `tie_keys`, shape (M,).

    Returns:
        Units, shape (M,), summing to the execution, none more than what is open.

    Raises:
        ValueError: If the execution exceeds the block, or an input lies outside its bounds.
    """
    open_now = checks.ints("open_units", open_units, ndim=1)
    checks.require("executed_units", executed_units <= _total(open_now), "exceeds what is open")
    return split_units(executed_units, open_now, tie_key)


def split_buy(open_cents: ArrayLike, cents: int, nanos: int, tie_key: KeyArray) -> BuyShares:
    """Split an execution of a buy block whose orders are in cents.

    Cents and nanoshares are split by the same weights, the cents still open, so everyone pays
    the same price to the cent.

    Raises:
        ValueError: If the cents exceed what is open, or an input lies outside its bounds.
    """
    open_now = checks.ints("open_cents", open_cents, ndim=1)
    return BuyShares(
        split_execution(open_now, cents, tie_key), split_units(nanos, open_now, tie_key)
    )


def split_sell(
    open_nanos: ArrayLike, nanos: int, gross_cents: int, fee_cents: int, tie_key: KeyArray
) -> SellShares:
    """Split an execution of a sell block whose orders are in nanoshares.

    Gross cents follow the nanoshares each order got; fees follow the gross cents each order
    got, so that no order pays more in fees than it receives (unless the whole execution does,
    and then fees follow the nanoshares).

    Raises:
        ValueError: If the nanoshares exceed what is open, or an input lies outside its bounds.
    """
    sold = split_execution(open_nanos, nanos, tie_key)
    gross = split_units(gross_cents, sold, tie_key)
    base = gross if fee_cents <= gross_cents else sold
    return SellShares(sold, gross, split_units(fee_cents, base, tie_key))


def _largest(rest: KeyArray, tie_key: KeyArray, count: int) -> IntArray:
    """Return the positions of the `count` largest (rest, key) pairs, in linear time."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    least = np.partition(rest, rest.size - count)[rest.size - count]
    sure = np.flatnonzero(rest > least)
    tied = np.flatnonzero(rest == least)
    wanted = count - sure.size
    if wanted < tied.size:
        keys = tie_key[tied]
        tied = tied[np.argpartition(keys, tied.size - wanted)[tied.size - wanted :]]
    return np.concatenate((sure, tied))


def _total(weights: IntArray) -> int:
    """Return the sum of the weights, checked not to wrap."""
    if weights.size == 0:
        return 0
    checks.require("weights", int(weights.min()) >= 0, "must not be negative")
    # High and low halves apart: neither sum can wrap for fewer than 2^31 orders.
    total = (int((weights >> 32).sum()) << 32) + int((weights & 0xFFFFFFFF).sum())
    checks.require("weights", total <= UNITS_MAX, "sum to more than 2^62")
    return total
