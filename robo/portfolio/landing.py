"""From fractions of an account to whole cents and nanoshares, with nothing lost.

Sales are rounded to the nearest nanoshare of each lot; a lot that goes altogether goes exactly.
A sale that so falls short of the minimum trade takes the missing nanoshares from the lots it
sells, then from others that may be sold; one that cannot reach it is dropped. What a minimum
is in nanoshares is reckoned in integers. Purchases are rounded to cents so that their sum is
never further than a cent from the plan's, and then cut, largest first, until they can be paid:
what cash there is, plus each sale's proceeds rounded down to a cent, less the costs rounded up.
Proceeds and costs are integers, so that no size of account makes them wrong. Where the minimum
leaves nothing to cut, what is missing is sold of a name that is sold anyway; where nothing more
of any can be sold, the smallest purchase goes altogether. What is left stays cash.

Whoever loses a trade so may miss a wish that needed it: `land` says who, and `lost_wishes` looks.
"""

from dataclasses import dataclass, replace

import numpy as np

from robo.portfolio.dual_kernels import TRADE_MIN
from robo.portfolio.landing_kernel import land_rows
from robo.portfolio.packing import Packed
from robo.portfolio.problem import FloatArray, IntArray, Solution


@dataclass(frozen=True, slots=True)
class Landing:
    """Whole cents and nanoshares; the fields of `Solution`, and who lost a trade."""

    trade_indptr: IntArray
    trade_name: IntArray
    buy_cents: IntArray
    sell_nanos: IntArray
    lot_sold_nanos: IntArray
    lost: IntArray
    """Accounts of which a trade came to nothing that was more than a cent."""

    def written(self, planned: Solution) -> Solution:
        """Return a solution with these trades."""
        return replace(
            planned,
            trade_indptr=self.trade_indptr,
            trade_name=self.trade_name,
            buy_cents=self.buy_cents,
            sell_nanos=self.sell_nanos,
            lot_sold_nanos=self.lot_sold_nanos,
        )


def land(
    packed: Packed, h: FloatArray, lot_sold: FloatArray, status: IntArray, most: int
) -> Landing:
    """Return the trades of accounts, in cents and nanoshares.

    Args:
        packed: The problem.
        h: Planned holdings, shape (A, N), fractions.
        lot_sold: Planned sales, shape (L,), fractions.
        status: Shape (A,); accounts that are not solved trade nothing.
        most: No plan has more trades than this in all.
    """
    accounts = packed.accounts
    count = accounts.cash_cents.size
    indptr, is_lost = np.zeros(count + 1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    name, buy, sell = (np.zeros(most + 1, dtype=np.int64) for _ in range(3))
    sold = np.zeros(accounts.lot_nanos.size, dtype=np.int64)
    trades = land_rows(
        packed.unit,
        packed.price_micros,
        packed.cost_ppm,
        np.ascontiguousarray(packed.columns[:, TRADE_MIN]),
        accounts.cash_cents,
        accounts.holding_indptr,
        accounts.holding_name,
        accounts.lot_indptr,
        accounts.lot_nanos,
        accounts.lot_basis_cents,
        accounts.lot_is_blocked,
        packed.rule,
        h,
        lot_sold,
        status,
        indptr,
        name,
        buy,
        sell,
        sold,
        is_lost,
    )
    return Landing(
        trade_indptr=indptr,
        trade_name=name[:trades].copy(),
        buy_cents=buy[:trades].copy(),
        sell_nanos=sell[:trades].copy(),
        lot_sold_nanos=sold,
        lost=np.flatnonzero(is_lost),
    )
