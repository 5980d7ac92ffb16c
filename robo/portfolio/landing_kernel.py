"""The compiled part of `landing`: one account after another, exact integers wherever money moves.

One file on purpose: the compiler's cache notices a change of the file a kernel stands in, and of
no other.
"""

from typing import Final

import numpy as np

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
from robo.portfolio.problem import BoolArray, ByteArray, FloatArray, IntArray

DUST: Final = 1e-3
"""A purchase below this many cents is what rounding leaves of none."""
HAIR: Final = 1e-6
"""Cents that floats may be wrong by; a plan of exactly 5 cents stays 5."""
RAISES: Final = 4
"""How often one sale is raised: its own costs may ask for a cent more."""
SHARE: Final = 1_000_000_000
"""Nanoshares in a share."""
CENT: Final = 10_000
"""Micro-dollars in a cent."""
PARTS: Final = 1_000_000
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
    if cents <= 0:
        return 0
    whole, rest = cents // price_micros, cents % price_micros
    for shift in (1_000_000, 1_000_000, 10):
        if whole >= MORE_THAN_ANY // shift:
            return MORE_THAN_ANY
        rest *= shift
        whole = whole * shift + rest // price_micros
        rest %= price_micros
    return whole + (1 if rest > 0 else 0)


@inline
def _cents_worth(nanos: int, price_micros: int) -> tuple[int, int]:
    """Return what nanoshares are worth in cents, rounded down and rounded up, exactly.

    Whole shares and whole cents apart from the rest, so that no product leaves an int64 for
    10^9 shares at a million dollars.
    """
    shares, part = nanos // SHARE, nanos % SHARE
    cents, rest = price_micros // CENT, price_micros % CENT
    across, along = shares * rest, part * cents
    left = (across % CENT) * SHARE + (along % SHARE) * CENT + part * rest
    down = shares * cents + across // CENT + along // SHARE + left // (SHARE * CENT)
    return down, down + (1 if left % (SHARE * CENT) > 0 else 0)


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
    price_micros: int,
    cents_a_nano: float,
    value: float,
    lot_nanos: IntArray,
    part: FloatArray,
    need: int,
    is_open: BoolArray,
    sold: IntArray,
) -> tuple[int, bool]:
    """Write what is sold of each lot; return the sum, and whether the minimum took the sale away.

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
            return 0, True
    if _cents_worth(nanos, price_micros)[0] == 0 and not is_gone:
        for lot in range(lots[0], lots[1]):
            sold[lot] = 0
        nanos = 0
    return nanos, False


@inline
def _missing(
    trades: tuple[int, int],
    cash_cents: int,
    price_micros: IntArray,
    cost_ppm: IntArray,
    name: IntArray,
    buy: IntArray,
    sell: IntArray,
) -> int:
    """Return by how many cents trades cost more than there is; not positive where they do not."""
    left, owed, part = cash_cents, 0, 0
    for k in range(trades[0], trades[1]):
        down, up = _cents_worth(sell[k], price_micros[name[k]])
        left += down - buy[k]
        ppm = cost_ppm[name[k]]
        owed += (up // PARTS + buy[k] // PARTS) * ppm
        part += (up % PARTS + buy[k] % PARTS) * ppm
    return owed + (part + PARTS - 1) // PARTS - left


@inline
def _trim(buy: IntArray, first: int, end: int, least: int, short: int) -> int:
    """Take cents from the largest purchases, down to the minimum; return what is still short."""
    while short > 0:
        top, room = -1, 0
        for k in range(first, end):
            if buy[k] - least > room:
                top, room = k, buy[k] - least
        if top < 0:
            break
        cut = min(short, room)
        buy[top] -= cut
        short -= cut
    return short


@inline
def _drop(buy: IntArray, first: int, end: int, short: int) -> bool:
    """Drop the smallest purchases until nothing is short; return whether one was dropped."""
    is_dropped = False
    while short > 0:
        top = -1
        for k in range(first, end):
            if buy[k] > 0 and (top < 0 or buy[k] < buy[top]):
                top = k
        if top < 0:
            break
        short -= buy[top]
        buy[top] = 0
        is_dropped = True
    return is_dropped


@inline
def _sell_more(
    trades: tuple[int, int],
    holdings: tuple[int, int],
    cash_cents: int,
    price_micros: IntArray,
    cost_ppm: IntArray,
    holding_name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    is_open: BoolArray,
    name: IntArray,
    buy: IntArray,
    sell: IntArray,
    sold: IntArray,
) -> int:
    """Sell the missing cents of names that are sold anyway; return how many are still missing."""
    j = holdings[0]
    short = _missing(trades, cash_cents, price_micros, cost_ppm, name, buy, sell)
    for k in range(trades[0], trades[1]):
        if sell[k] == 0:
            continue
        while holding_name[j] != name[k]:
            j += 1
        lots = (lot_indptr[j], lot_indptr[j + 1])
        for _ in range(RAISES):
            if short <= 0:
                return short
            have = _cents_worth(sell[k], price_micros[name[k]])[0]
            more = _nanos_worth(have + short, price_micros[name[k]]) - sell[k]
            if _raise_sale(lots, more, lot_nanos, is_open, sold) > 0:
                break
            sell[k] += more
            short = _missing(trades, cash_cents, price_micros, cost_ppm, name, buy, sell)
    return short


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
    *(IN1_FLOATS, IN1, IN1, IN1_FLOATS, IN1, IN1, IN1, IN1, IN1),
    *(IN1, IN1_BOOLS, IN2_UBYTES),
    *(IN2_FLOATS, IN1_FLOATS, IN1, OUT1, OUT1, OUT1, OUT1, OUT1, OUT1),
)
def land_rows(
    unit: FloatArray,
    price_micros: IntArray,
    cost_ppm: IntArray,
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
    is_lost: IntArray,
) -> int:
    """Write the trades of each account; return how many there are."""
    end = 0
    is_open = np.zeros(lot_nanos.size, np.bool_)
    for a in range(cash_cents.size):
        first, j, last = end, holding_indptr[a], holding_indptr[a + 1]
        trade_indptr[a], is_lost[a] = first, 0
        value = cash_cents[a] + _worth((j, last), holding_name, lot_indptr, lot_nanos, unit)
        if status[a] != 0 or value <= 0.0:
            continue
        least = int(np.ceil(trade_min[a]))
        carried = 0.0
        for i in range(h.shape[1]):
            nanos, wanted = 0, h[a, i]
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
                    nanos, is_gone = _sell_lots(
                        lots,
                        price_micros[i],
                        unit[i],
                        value,
                        lot_nanos,
                        part,
                        need,
                        is_open,
                        sold,
                    )
                    is_lost[a] |= 1 if is_gone else 0
                j += 1
            exact = wanted * value
            bought = 0
            if exact > DUST:
                bought = max(int(np.floor(exact + carried + HAIR)), least, 0)
                carried += exact - bought
            name[end], buy[end], sell[end] = i, bought, nanos
            end += bought > 0 or nanos > 0
        trades = (first, end)
        short = _missing(trades, cash_cents[a], price_micros, cost_ppm, name, buy, sell)
        if _trim(buy, first, end, least, short) > 0:
            short = _sell_more(
                trades,
                (holding_indptr[a], last),
                cash_cents[a],
                price_micros,
                cost_ppm,
                holding_name,
                lot_indptr,
                lot_nanos,
                is_open,
                name,
                buy,
                sell,
                sold,
            )
            is_lost[a] |= 1 if _drop(buy, first, end, short) else 0
        end = _pack_trades(first, end, name, buy, sell)
    trade_indptr[cash_cents.size] = end
    return end
