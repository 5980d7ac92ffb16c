"""From fractions of an account to whole cents and nanoshares, with nothing lost.

Sales are rounded to the nearest nanoshare of each lot; a lot that goes altogether goes exactly.
A sale that so falls short of the minimum trade takes the missing nanoshares from the lots it
sells, then from others that may be sold; one that cannot reach it is dropped. What a minimum
is in nanoshares is reckoned in integers. Purchases are rounded to cents so that their sum is
never further than a cent from the plan's, and then cut, largest first, until they can be paid:
what cash there is, plus each sale's proceeds rounded down to a cent, less the costs rounded up.
Where the minimum leaves nothing to cut, the smallest goes altogether. What is left stays cash.
"""

from typing import Final

import numpy as np

from robo.portfolio.dual_kernels import TRADE_MIN
from robo.portfolio.jit import (
    IN1,
    IN1_BOOLS,
    IN1_FLOATS,
    IN2_FLOATS,
    IN2_UBYTES,
    OUT1,
    inline,
    kernel,
)
from robo.portfolio.packing import Packed
from robo.portfolio.problem import BoolArray, ByteArray, FloatArray, IntArray

DUST: Final = 1e-3
"""A purchase below this many cents is what rounding leaves of none."""
HAIR: Final = 1e-6
"""Cents that floats may be wrong by; a plan of exactly 5 cents stays 5."""
WHOLE: Final = 1e-9
"""A lot sold but for this share of it is sold."""
MORE_THAN_ANY: Final = 2 * 10**18
"""Nanoshares that nobody has."""
# Bits of `problem.Rule`, frozen as in `dual_kernels`.
NEVER_SELL: Final = 2
NEVER_SELL_AT_LOSS: Final = 4


@inline
def _nanos_worth(cents: int, price_micros: int) -> int:
    """Return the fewest nanoshares that are worth so many cents, exactly.

    cents x 10^13 / price rounded up, by long division: no remainder exceeds 10^12, so that six
    further digits still fit an int64.
    """
    whole, rest = cents // price_micros, cents % price_micros
    for shift in (1_000_000, 1_000_000, 10):
        if whole >= MORE_THAN_ANY // shift:
            return MORE_THAN_ANY
        rest *= shift
        whole = whole * shift + rest // price_micros
        rest %= price_micros
    return whole + (1 if rest > 0 else 0)


@inline
def _raise_sale(
    lots: tuple[int, int],
    missing: int,
    lot_nanos: IntArray,
    is_open: BoolArray,
    sold: IntArray,
) -> int:
    """Sell so many nanoshares more: of lots that are sold in part, then of other open ones.

    Returns what is still missing; the sale is left as it was where that is not zero.
    """
    room = 0
    for lot in range(lots[0], lots[1]):
        if sold[lot] > 0 or is_open[lot]:
            room += lot_nanos[lot] - sold[lot]
    if room < missing:
        return missing
    for only_begun in (True, False):
        for lot in range(lots[0], lots[1]):
            if sold[lot] > 0 or (is_open[lot] and not only_begun):
                more = min(lot_nanos[lot] - sold[lot], missing)
                sold[lot] += more
                missing -= more
    return 0


@inline
def _open_lots(
    lots: tuple[int, int],
    bits: int,
    cents_a_nano: float,
    lot_nanos: IntArray,
    lot_basis: IntArray,
    lot_is_blocked: BoolArray,
    is_open: BoolArray,
) -> None:
    """Write which lots may be sold."""
    for lot in range(lots[0], lots[1]):
        gains = lot_basis[lot] <= lot_nanos[lot] * cents_a_nano
        allowed = (bits & NEVER_SELL) == 0 and ((bits & NEVER_SELL_AT_LOSS) == 0 or gains)
        is_open[lot] = allowed and not lot_is_blocked[lot]


@inline
def _sell_lots(
    lots: tuple[int, int],
    cents_a_nano: float,
    value: float,
    lot_nanos: IntArray,
    part: FloatArray,
    need: int,
    is_open: BoolArray,
    sold: IntArray,
) -> tuple[int, int]:
    """Write what is sold of each lot; return the sum and its cents.

    No sale is below a cent or below what the minimum trade needs; a position that is closed
    goes, whatever it is worth.
    """
    nanos, is_gone = 0, True
    for lot in range(lots[0], lots[1]):
        have, want = lot_nanos[lot], 0
        if part[lot] > 0.0:
            exact = part[lot] * value / cents_a_nano
            want = min(int(np.floor(exact + 0.5)), have)
            if have - exact <= WHOLE * have:
                want = have
        sold[lot] = want
        nanos += want
        is_gone = is_gone and want == have
    if 0 < nanos < need and not is_gone:
        if _raise_sale(lots, need - nanos, lot_nanos, is_open, sold) == 0:
            nanos = need
        else:
            for lot in range(lots[0], lots[1]):
                sold[lot] = 0
            return 0, 0
    cents = int(np.floor(nanos * cents_a_nano + HAIR))
    if cents == 0 and not is_gone:
        for lot in range(lots[0], lots[1]):
            sold[lot] = 0
        nanos = 0
    return nanos, cents


@inline
def _cut(buy: IntArray, first: int, end: int, least: int, short: int) -> None:
    """Take cents from the largest purchases until nothing is short; keep the minimum trade.

    Where all are at the minimum, the smallest is dropped.
    """
    while short > 0:
        top, room = -1, 0
        for k in range(first, end):
            if buy[k] - least > room:
                top, room = k, buy[k] - least
        if top < 0:
            for k in range(first, end):
                if buy[k] > 0 and (top < 0 or buy[k] < buy[top]):
                    top = k
            if top < 0:
                return
            short -= buy[top]
            buy[top] = 0
            continue
        cut = min(short, room)
        buy[top] -= cut
        short -= cut


@inline
def _pack_trades(first: int, end: int, name: IntArray, buy: IntArray, sell: IntArray) -> int:
    """Close the gaps of trades that came to nothing; return where the trades end."""
    kept = first
    for k in range(first, end):
        if buy[k] > 0 or sell[k] > 0:
            name[kept], buy[kept], sell[kept] = name[k], buy[k], sell[k]
            kept += 1
    return kept


@inline
def _worth(
    holdings: tuple[int, int],
    name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    unit: FloatArray,
) -> float:
    """Return what holdings are worth, in cents."""
    total = 0.0
    for j in range(holdings[0], holdings[1]):
        for lot in range(lot_indptr[j], lot_indptr[j + 1]):
            total += lot_nanos[lot] * unit[name[j]]
    return total


@kernel(
    *(IN1_FLOATS, IN1, IN1_FLOATS, IN1_FLOATS, IN1, IN1, IN1, IN1, IN1),
    *(IN1, IN1_BOOLS, IN2_UBYTES),
    *(IN2_FLOATS, IN1_FLOATS, IN1, OUT1, OUT1, OUT1, OUT1, OUT1),
)
def land_rows(
    unit: FloatArray,
    price_micros: IntArray,
    kappa: FloatArray,
    trade_min: FloatArray,
    cash_cents: IntArray,
    holding_indptr: IntArray,
    holding_name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    lot_basis: IntArray,
    lot_is_blocked: BoolArray,
    rule: ByteArray,
    h: FloatArray,
    part: FloatArray,
    status: IntArray,
    trade_indptr: IntArray,
    name: IntArray,
    buy: IntArray,
    sell: IntArray,
    sold: IntArray,
) -> int:
    """Write the trades of each account; return how many there are."""
    end = 0
    is_open = np.zeros(lot_nanos.size, np.bool_)
    for a in range(cash_cents.size):
        first, j, last = end, holding_indptr[a], holding_indptr[a + 1]
        trade_indptr[a] = first
        value = cash_cents[a] + _worth((j, last), holding_name, lot_indptr, lot_nanos, unit)
        if status[a] != 0 or value <= 0.0:
            continue
        least = int(np.ceil(trade_min[a]))
        cash, cost, carried = cash_cents[a], 0.0, 0.0
        for i in range(h.shape[1]):
            nanos, cents, wanted = 0, 0, h[a, i]
            if j < last and holding_name[j] == i:
                lots = (lot_indptr[j], lot_indptr[j + 1])
                have, planned = 0, 0.0
                for lot in range(lots[0], lots[1]):
                    have += lot_nanos[lot]
                    planned += part[lot]
                    sold[lot] = 0
                wanted += planned - have * unit[i] / value
                if planned > 0.0:
                    bits = rule[0 if rule.shape[0] == 1 else a, i]
                    _open_lots(lots, bits, unit[i], lot_nanos, lot_basis, lot_is_blocked, is_open)
                    need = _nanos_worth(least, price_micros[i])
                    nanos, cents = _sell_lots(
                        lots, unit[i], value, lot_nanos, part, need, is_open, sold
                    )
                j += 1
            exact = wanted * value
            bought = 0
            if exact > DUST:
                bought = max(int(np.floor(exact + carried + HAIR)), least, 0)
                carried += exact - bought
            name[end], buy[end], sell[end] = i, bought, nanos
            end += bought > 0 or nanos > 0
            cash += cents - bought
            cost += kappa[i] * (nanos * unit[i] + bought)
        _cut(buy, first, end, least, int(np.ceil(cost - HAIR)) - cash)
        end = _pack_trades(first, end, name, buy, sell)
    trade_indptr[cash_cents.size] = end
    return end


def land(
    packed: Packed, h: FloatArray, lot_sold: FloatArray, status: IntArray, most: int
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """Return trades as (indptr, name, buy cents, sell nanos) and what is sold of each lot.

    Args:
        packed: The problem.
        h: Planned holdings, shape (A, N), fractions.
        lot_sold: Planned sales, shape (L,), fractions.
        status: Shape (A,); accounts that are not solved trade nothing.
        most: No plan has more trades than this in all.
    """
    accounts = packed.accounts
    indptr = np.zeros(accounts.cash_cents.size + 1, dtype=np.int64)
    name, buy, sell = (np.zeros(most + 1, dtype=np.int64) for _ in range(3))
    sold = np.zeros(accounts.lot_nanos.size, dtype=np.int64)
    count = land_rows(
        packed.unit,
        packed.price_micros,
        packed.kappa,
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
    )
    return indptr, name[:count].copy(), buy[:count].copy(), sell[:count].copy(), sold
