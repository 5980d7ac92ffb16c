"""What each account buys with its cash and sells for its withdrawals: whole cents, in batch.

Objective: first invest all that the broker's minimum allows; then the least sum of squared
(holding - weight x NAV) after the trade; equal gaps in the order of the columns. The method
and its proof are in docs/allocator.md. Rows are accounts; columns are the names an account
targets or holds, and may mean another security in every row (see `chunk.Slots`).

Exact for accounts up to ten trillion dollars and 5,000 names; refused beyond.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.core.money import NANOS_PER_SHARE
from robo.core.reasons import Reason
from robo.portfolio import checks, kernels
from robo.portfolio.chunk import nanos_for_cents, notional_cents
from robo.portfolio.jit import ByteArray, IntArray

_WRITTEN: Final = {
    kernels.BUY_UNDERWEIGHT: Reason.BUY_UNDERWEIGHT,
    kernels.BUY_NEW_NAME: Reason.BUY_NEW_NAME,
    kernels.SELL_WITHDRAWAL: Reason.SELL_WITHDRAWAL,
    kernels.SKIP_BELOW_MINIMUM: Reason.SKIP_BELOW_MINIMUM,
    kernels.SKIP_AT_TARGET: Reason.SKIP_AT_TARGET,
    kernels.SKIP_NO_CASH: Reason.SKIP_NO_CASH,
    kernels.SKIP_UNSETTLED: Reason.SKIP_UNSETTLED,
    kernels.SKIP_NOT_OVERWEIGHT: Reason.SKIP_NOT_OVERWEIGHT,
}
_OTHERS: Final = (reason for reason in Reason if reason not in _WRITTEN.values())
_REASON_OF: Final = _WRITTEN | dict(enumerate(_OTHERS, start=max(_WRITTEN) + 1))
_CODE_OF: Final = {reason: code for code, reason in _REASON_OF.items()}
MINIMUM_SQUARED_MAX: Final = 10**12
"""minimum_cents^2 x (N + 4) may not exceed it; ten names allow a minimum of $2,672."""

DUST_CENTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Buys:
    """What a deposit buys: cents (A, N), reason codes (A, N), and the cents carried over (A,)."""

    buy_cents: IntArray
    code: ByteArray
    carried_cents: IntArray


@dataclass(frozen=True, slots=True)
class Sells:
    """What a withdrawal sells.

    `sell_cents` and `code` are (A, N). `close_out` (A,) says that everything that may be sold
    is sold: sell all nanoshares then, see `sell_nanos`. `short_cents` (A,) is what the sales
    do not cover of the need.
    """

    sell_cents: IntArray
    code: ByteArray
    close_out: NDArray[np.bool_]
    short_cents: IntArray


def reason_code(reason: Reason) -> int:
    """Return the number that stands for a reason in arrays; 0 stands for none. Never stored."""
    return _CODE_OF[reason]


def reason_of(code: int) -> Reason:
    """Return the reason of a code in an array."""
    return _REASON_OF[code]


def blocked_by(reason: Reason, mask: ArrayLike) -> ByteArray:
    """Return reason codes where a mask is true and 0 elsewhere, for the `blocked` arguments."""
    return np.where(np.asarray(mask, dtype=bool), reason_code(reason), 0).astype(np.int8)


def split(total_cents: ArrayLike, weight_ppm: ArrayLike) -> IntArray:
    """Split each amount by its weights without losing or inventing a cent.

    Args:
        total_cents: Amounts, shape (A,), from 0 to 10^15.
        weight_ppm: Weights, shape (N,) or (A, N); every row sums to 1_000_000.

    Returns:
        Cents, shape (A, N); each row sums exactly to its total.

    Raises:
        ValueError: If an amount or a row of weights lies outside these bounds.

    Source: Hamilton's method (largest remainder); ties go to the earlier column.
    """
    total = checks.ints("total_cents", total_cents, ndim=1)
    weight = checks.weight_rows(weight_ppm, total.size)
    out = np.empty((total.size, weight.shape[1]), dtype=np.int64)
    _refuse_row(kernels.split_rows(total, weight, out))
    return out


def allocate_deposit(
    value_cents: ArrayLike,
    cash_cents: ArrayLike,
    weight_ppm: ArrayLike,
    *,
    minimum_cents: int,
    blocked: ArrayLike | None = None,
) -> Buys:
    """Invest each account's cash in what is most underweight; sell nothing.

    All the cash is invested whenever it reaches the minimum and one name may be bought, so what
    is carried to the next deposit is always less than one minimum (or nothing could be bought).

    Args:
        value_cents: Holdings at market, shape (A, N), not negative.
        cash_cents: Cash to invest, shape (A,), not negative.
        weight_ppm: Target weights, shape (N,) or (A, N), rows sum to 1_000_000; a name of
            weight zero is never bought.
        minimum_cents: The broker's smallest buy. Ten names allow up to $2,672.
        blocked: Reason codes (`blocked_by`) of names that may not be bought, int8, shape (N,)
            or (A, N); 0 or None means free.

    Returns:
        Cents to buy, a reason for every name bought or skipped, and what is carried over.

    Raises:
        ValueError: If shapes, signs or sizes are outside what the kernel is exact for.
    """
    value, weight, stop = _rows(value_cents, weight_ppm, blocked)
    cash = checks.ints("cash_cents", cash_cents, ndim=1)
    checks.require("cash_cents", cash.shape == value.shape[:1], "must be (A,)")
    minimum = max(1, _small_minimum(minimum_cents, value.shape[1]))
    buy, code = np.empty_like(value), np.empty(value.shape, dtype=np.int8)
    _refuse_row(kernels.deposit_rows(value, cash, weight, stop, minimum, buy, code))
    return Buys(buy, code, cash - buy.sum(axis=1))


def allocate_withdrawal(
    value_cents: ArrayLike,
    sellable_cents: ArrayLike,
    need_cents: ArrayLike,
    weight_ppm: ArrayLike,
    *,
    minimum_cents: int = 0,
    blocked: ArrayLike | None = None,
) -> Sells:
    """Raise what each account needs by selling what is most overweight.

    With no minimum (the brokers' rule) the sales sum exactly to the need, or to everything
    that may be sold if that is less, and are the closest to target of all such sales. With a
    minimum, no sale is smaller unless it closes the name, the need is still covered (perhaps
    with cents to spare), and closeness is a heuristic: the smallest trades are dropped first.

    Args:
        value_cents: Holdings at market, shape (A, N), not negative.
        sellable_cents: The part of each holding in settled lots, shape (A, N).
        need_cents: What must be raised beyond free cash, shape (A,), not negative.
        weight_ppm: Target weights, shape (N,) or (A, N), rows sum to 1_000_000.
        minimum_cents: The smallest sale, 0 for none.
        blocked: Reason codes of names that may not be sold; see `allocate_deposit`.

    Raises:
        ValueError: If shapes, signs or sizes are outside what the kernel is exact for, or more
            is sellable than held.
    """
    value, weight, stop = _rows(value_cents, weight_ppm, blocked)
    sellable = checks.ints("sellable_cents", sellable_cents, ndim=2)
    need = checks.ints("need_cents", need_cents, ndim=1)
    checks.require("sellable_cents", sellable.shape == value.shape, "must be (A, N)")
    checks.require("need_cents", need.shape == value.shape[:1], "must be (A,)")
    minimum = _small_minimum(minimum_cents, value.shape[1])
    sell, code = np.empty_like(value), np.empty(value.shape, dtype=np.int8)
    _refuse_row(kernels.withdrawal_rows(value, sellable, need, weight, stop, minimum, sell, code))
    room = np.where(stop == 0, sellable, 0).sum(axis=1)
    short = np.maximum(need - sell.sum(axis=1), 0)
    return Sells(sell, code, (need > 0) & (need >= room), short)


def sell_nanos(
    sell_cents: ArrayLike,
    sellable_nanos: ArrayLike,
    price_micros: ArrayLike,
    *,
    dust_cents: int = 1,
    everything: ArrayLike = False,
) -> IntArray:
    """Return the nanoshares whose sale at the price brings at least the cents.

    Rounded up, never more than may be sold; the whole position where what would stay behind is
    worth less than the dust.

    Args:
        sell_cents: Cents to raise, any shape, not negative.
        sellable_nanos: Nanoshares in settled lots, same shape.
        price_micros: Prices, broadcast to the shape; positive where something is sold.
        dust_cents: A remainder whose exact value is below this is sold too.
        everything: Where true (broadcast), all that may be sold is sold: a close-out.

    Raises:
        ValueError: If an amount, a count or a price is outside what `chunk` is exact for.
    """
    cents, held, price = np.broadcast_arrays(
        checks.ints("sell_cents", sell_cents),
        checks.ints("sellable_nanos", sellable_nanos),
        checks.ints("price_micros", price_micros),
    )
    checks.require("dust_cents", 0 <= dust_cents <= DUST_CENTS_MAX, "is out of range")
    checks.require("sellable_nanos", bool((held >= 0).all()), "must not be negative")
    close = np.broadcast_to(np.asarray(everything, dtype=bool), held.shape)
    asked = np.where(cents > 0, cents, 0)
    checks.require("sell_cents", bool((cents >= 0).all()), "must not be negative")
    usable = np.where(asked > 0, price, NANOS_PER_SHARE)
    # Asking for more than the position is worth means all of it; it must not overflow first.
    worth = notional_cents(held, usable)
    nanos = np.minimum(nanos_for_cents(np.minimum(asked, worth), usable, rounding="up"), held)
    nanos = np.where(asked > worth, held, nanos)
    # Below the dust exactly: so many nanoshares cost strictly less than the dust.
    smallest_kept = nanos_for_cents(np.full(held.shape, dust_cents), usable, rounding="up")
    left = held - nanos
    nanos = np.where((asked > 0) & (left > 0) & (left < smallest_kept), held, nanos)
    return np.where(close, held, nanos)


def _rows(
    value_cents: ArrayLike, weight_ppm: ArrayLike, blocked: ArrayLike | None
) -> tuple[IntArray, IntArray, ByteArray]:
    value = checks.ints("value_cents", value_cents, ndim=2)
    weight = checks.weight_rows(weight_ppm, value.shape[0])
    checks.require("value_cents", value.shape[1] == weight.shape[1], "and weights differ in N")
    return value, weight, checks.code_rows(blocked, *value.shape)


def _small_minimum(minimum_cents: int, names: int) -> int:
    fits = minimum_cents >= 0 and minimum_cents**2 * (names + 4) <= MINIMUM_SQUARED_MAX
    checks.require("minimum_cents", fits, "is negative, or too large for exact comparison")
    return minimum_cents


def _refuse_row(row: int) -> None:
    if row >= 0:
        message = f"account {row} is outside what the allocator is exact for, or is malformed"
        raise ValueError(message)
