"""What trades do to tracking error, for many accounts with a few names each.

A accounts, S slots of names side by side, N names and K factors of the risk S = X X' + diag(d).
"""

from dataclasses import dataclass

import numpy as np

from robo.portfolio.problem import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """Annual tracking errors; NaN where an account has a name that the model does not know."""

    before: FloatArray
    """Of what was held, (A,)."""
    after: FloatArray
    """With all trades, (A,)."""
    each: FloatArray
    """With all trades, less that without this one, (A, S)."""


def shift(
    exposure: FloatArray,
    specific_variance: FloatArray,
    column: IntArray,
    held: FloatArray,
    aim: FloatArray,
    trade: FloatArray,
) -> Shift:
    """Return what trades do to the distance between accounts and what they follow.

    Args:
        exposure: X, (N, K), annual.
        specific_variance: d, (N,).
        column: Row of X of each slot, (A, S); -1 for padding, and for a name it does not have.
        held: Fractions of the account before the trades, (A, S).
        aim: Fractions of what is followed, (A, S).
        trade: What is bought, less what is sold, as fractions, (A, S).
    """
    lost = ((column < 0) & ((held != 0) | (aim != 0) | (trade != 0))).any(axis=1)
    loads = np.where(column[:, :, None] < 0, 0.0, exposure[column])
    own = np.where(column < 0, 0.0, specific_variance[column])
    was = held - aim
    now = was + trade
    common = np.einsum("as,ask->ak", now, loads)
    moved = np.einsum("ak,ask->as", common, loads) + own * now
    variance = (now * moved).sum(axis=1)
    size = (loads**2).sum(axis=2) + own
    without = variance[:, None] - 2 * trade * moved + trade**2 * size
    before = (np.einsum("as,ask->ak", was, loads) ** 2).sum(axis=1) + (own * was**2).sum(axis=1)
    after = np.sqrt(np.maximum(variance, 0.0))
    each = after[:, None] - np.sqrt(np.maximum(without, 0.0))
    each = np.where(trade == 0, 0.0, each)
    return Shift(
        np.where(lost, np.nan, np.sqrt(before)),
        np.where(lost, np.nan, after),
        np.where(lost[:, None], np.nan, each),
    )
