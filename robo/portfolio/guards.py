"""Pre-trade guards over arrays: which names, and which orders, must wait or may not be sent.

Every function returns reason codes of `allocator.reason_code` (0 = nothing against it). A *wait*
holds an order back until the reason has gone or its day is over; a *refusal* ends it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.core.money import PPM
from robo.core.reasons import Reason
from robo.portfolio import checks
from robo.portfolio.allocator import reason_code
from robo.portfolio.jit import ByteArray, IntArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Market:
    """Whether the market takes orders now; all false where the broker is always open."""

    closed: bool = False
    cut_off: bool = False
    """Open, but too close to the end."""
    age_seconds_max: int = 0
    """How old a quote may be; 0 = as old as it likes."""


def name_codes(
    price_micros: ArrayLike,
    mark_micros: ArrayLike,
    age_seconds: ArrayLike,
    halted: ArrayLike,
    market: Market,
    collar_ppm: int,
) -> ByteArray:
    """Return why nothing may be sent in each name, shape (N,); the first reason that applies.

    Args:
        price_micros: Prices, shape (N,); 0 where there is none.
        mark_micros: Last closes in the same terms, shape (N,); 0 where there is none.
        age_seconds: Ages of the prices, shape (N,).
        halted: Shape (N,).
        market: What holds for all names.
        collar_ppm: How far a price may be from its mark, of the mark.
    """
    price = checks.ints("price_micros", price_micros, ndim=1)
    mark = checks.ints("mark_micros", mark_micros, ndim=1)
    age = checks.ints("age_seconds", age_seconds, ndim=1)
    stopped = np.asarray(halted, dtype=bool)
    # Prices are below 10^12, so the product with a million stays below 2^63.
    far = np.abs(price - mark) > mark // PPM * collar_ppm + mark % PPM * collar_ppm // PPM
    everything = np.ones(price.shape, dtype=bool)
    return _first(
        price.shape,
        (Reason.WAIT_MARKET_CLOSED, everything & market.closed),
        (Reason.WAIT_CUT_OFF, everything & market.cut_off),
        (Reason.WAIT_NO_PRICE, price <= 0),
        (Reason.WAIT_HALTED, stopped),
        (
            Reason.WAIT_STALE_PRICE,
            (age > market.age_seconds_max) & (market.age_seconds_max > 0),
        ),
        (Reason.WAIT_COLLAR, far & (mark > 0)),
    )


def order_codes(
    cents: ArrayLike,
    account: ArrayLike,
    same_key: ArrayLike,
    day_cents: ArrayLike,
    value_cents: ArrayLike,
    *,
    order_cents_max: int,
    same_orders_max: int,
    turnover_ppm_max: int,
) -> ByteArray:
    """Return why each order is refused, shape (M,); the first reason that applies.

    Args:
        cents: What each order is worth, shape (M,).
        account: Each order's row among the accounts, shape (M,).
        same_key: Equal for orders of one account, name, side and size, shape (M,).
        day_cents: What each account has sent today before these, shape (A,).
        value_cents: What each account is worth, shape (A,); 0 = unknown, no limit.
        order_cents_max: The largest order.
        same_orders_max: How many orders may be the same in one window; the later ones are refused.
        turnover_ppm_max: How much of its value an account may trade a day.
    """
    worth = checks.ints("cents", cents, ndim=1)
    row = checks.ints("account", account, ndim=1)
    keys = checks.ints("same_key", same_key, ndim=1)
    before = checks.ints("day_cents", day_cents, ndim=1)
    value = checks.ints("value_cents", value_cents, ndim=1)
    limit = value // PPM * turnover_ppm_max + value % PPM * turnover_ppm_max // PPM
    traded = before[row] + _running(worth, row, before.size)
    return _first(
        worth.shape,
        (Reason.REFUSE_NOTIONAL, worth > order_cents_max),
        (Reason.REFUSE_DUPLICATE, _rank(keys) >= same_orders_max),
        (Reason.REFUSE_TURNOVER, (traded > limit[row]) & (value[row] > 0)),
    )


def _first(shape: tuple[int, ...], *against: tuple[Reason, BoolArray]) -> ByteArray:
    codes = np.zeros(shape, dtype=np.int8)
    for reason, mask in against:
        codes[(codes == 0) & mask] = reason_code(reason)
    return codes


def _rank(keys: IntArray) -> IntArray:
    """Return how many equal keys stand before each, shape (M,)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    place = np.arange(keys.size)
    new = np.ones(keys.size, dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    begins = np.maximum.accumulate(np.where(new, place, 0))
    rank = np.empty(keys.size, dtype=np.int64)
    rank[order] = place - begins
    return rank


def _running(cents: IntArray, row: IntArray, accounts: int) -> IntArray:
    """Return what each account trades up to and including each order, in the orders' order."""
    order = np.argsort(row, kind="stable")
    sums = np.cumsum(cents[order])
    # What stood before an account's first order comes off again.
    first = np.searchsorted(row[order], np.arange(accounts))
    before = np.concatenate(([0], sums))[first]
    running = np.empty(cents.size, dtype=np.int64)
    running[order] = sums - before[row[order]]
    return running
