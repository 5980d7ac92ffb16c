"""The compiled heart of the optimizer: one account after another, the dual of docs/optimizer.md.

Notation as in `problem`, and: `z` = (X, G, 1, 0...) a row per name, `u` all prices: nu of the
factors, eta of the rows, mu of cash, then up to four prices of what selling does (turnover, gain
budget, two of netting). p = z'u - alpha is what a dollar more of a name costs beyond its own
risk. Each name has branches (hold, buy, sell), each convex in h; `force` picks one, 0 leaves all.

One file on purpose: the compiler's cache notices a change of the file a kernel stands in, and of
no other. `optimizer` owns shapes, units and errors. Nothing is allocated per account.
"""

from typing import Final, NamedTuple

import numpy as np

from robo.portfolio.jit import (
    IN1,
    IN1_BOOLS,
    IN1_FLOATS,
    IN2_FLOATS,
    IN2_UBYTES,
    OUT1,
    OUT1_FLOATS,
    OUT2_FLOATS,
    inline,
    inline_sums,
    kernel,
)
from robo.portfolio.problem import BoolArray, ByteArray, FloatArray, IntArray

# Columns of an account's numbers; amounts in cents, the rest fractions.
LAMBDA: Final = 0
CASH_TARGET: Final = 1
CASH_PRICE: Final = 2
CAP: Final = 3
RATE_SHORT: Final = 4
RATE_LONG: Final = 5
RATE_ORDINARY: Final = 6
YEAR_SHORT: Final = 7
YEAR_LONG: Final = 8
LIMIT: Final = 9
CARRY: Final = 10
BUDGET: Final = 11
BACK: Final = 12
MODE: Final = 13
NETTING: Final = 14
TURNOVER: Final = 15
TE_MAX: Final = 16
TRADE_MIN: Final = 17
THETA: Final = 18
PHI: Final = 19
COLUMNS: Final = 20

# Rule bits and modes of `problem`, frozen because compiled code is cached; a test compares.
NEVER_BUY: Final = 1
NEVER_SELL: Final = 2
NEVER_SELL_AT_LOSS: Final = 4
NEVER_OWN: Final = 8
HARVEST: Final = 0
NEUTRAL: Final = 1
REALISE: Final = 2

DYNAMIC: Final = 5
"""Prices of what is done: turnover, gain budget, two of netting; and the TE cap's."""
LAMBDA_UNIT: Final = 1e3
"""What one unit of the TE cap's price adds to lambda, so that prices are of one size."""
HOLD: Final = 1
BUY: Final = 2
SELL: Final = 4
INF: Final = np.inf
DEPTH: Final = 64
"""Names that the search settles one below the other, at most."""
WASH_SOFTNESS: Final = 2e-5
"""A gain is sold and bought back by degrees over this range of worth per dollar, so that the
last lot within a budget goes in part."""
BROKEN_MAX: Final = 1e-10
"""A plan that breaks a limit by more is no plan."""
SHORT: Final = 0.2
SWEEPS_MAX: Final = 100_000
"""After so many sweeps a search tries no further branch, whatever its nodes: it may stand on a
ridge that Newton does not get off."""
STALLS: Final = 2
"""Steps that come to nothing before a round ends."""
LENGTH_MIN: Final = 1e-6
"""A step shortened this far is as good as none."""
NUDGE: Final = 1e-30
"""Orders what costs the same, and costs nothing."""
NO_SLOPE: Final = 1e-15
"""A gradient this small moves no price."""
NO_GAIN: Final = 1e-16
"""Promised gains below this are rounding."""
FAR: Final = 1e30
"""So soft that shares stay where they are; so hard that the least branch has all."""
NEAR: Final = 1e-30
STILL: Final = 2e-3
"""By how much the price of a name may move from one day to the next before it is looked at."""
FLIPS: Final = 4
"""How often names are moved to the branch that is better at a plan's prices."""
SLACK: Final = 1e-12
"""Differences of fractions of an account below this are rounding."""


# Columns of what a solve tells about itself.
STAT_SWEEPS: Final = 0
STAT_NODES: Final = 1
STAT_FAILED: Final = 2
STAT_TRADES: Final = 3
STATS: Final = 4
# What `STAT_FAILED` says.
GAVE_UP: Final = 1.0
PROVED: Final = 2.0

# Entries of `knobs`.
SOFTNESS: Final = 0
"""How softly equal branches are mixed, in units of lambda d / n^2."""
ROUNDS: Final = 1
"""How often the mixed shares are re-centred, at most."""
STEPS: Final = 2
"""Newton steps a round, at most."""
PROMISE: Final = 3
"""A Newton step that promises less ends a round; the gradient of the prices of rows and caps
must be below the next."""
GRADIENT: Final = 4
REGRET: Final = 5
"""Mixed shares that cost less than this need no further round."""
LAST_PROMISE: Final = 6
"""As `PROMISE`, for a plan whose branches are chosen."""
NODES: Final = 7
"""Nodes of the search, at most."""
GAP: Final = 8
"""The search ends when the gap is below this share of the objective plus the next."""
GAP_ABSOLUTE: Final = 9
CASH_ASTRAY: Final = 10
"""Cash that a plan may be astray before it is mended, fraction of the account."""
VARIANCE_MAX: Final = 11
"""More than any account's TE^2."""
KNOBS: Final = 12


class Book(NamedTuple):
    """Room for one account; i a name that can change, l a lot, j a price."""

    name: IntArray
    branches: IntArray
    """0: one convex function of h; else the branches there are."""
    force: IntArray
    rebuys: IntArray
    """1 where a name that is sold may be bought back."""
    first: IntArray
    last: IntArray
    w: FloatArray
    held: FloatArray
    low: FloatArray
    high: FloatArray
    buy_low: FloatArray
    sell_high: FloatArray
    d: FloatArray
    kappa: FloatArray
    alpha: FloatArray
    fixed_buy: FloatArray
    fixed_sell: FloatArray
    curve: FloatArray
    """lambda d, and 1 / (lambda d) beside it."""
    ease: FloatArray
    h: FloatArray
    b: FloatArray
    s: FloatArray
    omega: FloatArray
    """How much h moves per unit of p; and what the Hessian has of it."""
    applied: FloatArray
    part: FloatArray
    """(N, 3) share of each branch, and the shares it is held close to."""
    near: FloatArray
    kept: FloatArray
    """Where `near` waits while branches are judged."""
    better: IntArray
    """The branch that is least at the last prices, where there are several."""
    tilt: FloatArray
    """(N, 5): how the dynamic prices move a name, in units of p."""
    block: FloatArray
    """What the dynamic prices do to mixed names beyond `tilt`, (5, 5)."""
    p: FloatArray
    active: IntArray
    """Which names a sweep solves, the first `MOVING` of them; what the others add is in `fold`."""
    fold: FloatArray
    regret: FloatArray
    apart: FloatArray
    """What mixing costs more than its best branch; how far the mixed branches lie apart."""
    q: FloatArray
    tau: FloatArray
    tau_own: FloatArray
    gain_short: FloatArray
    gain_long: FloatArray
    gain_chosen: FloatArray
    first_net: FloatArray
    second_net: FloatArray
    sold: FloatArray
    order: IntArray
    lot: IntArray
    u: FloatArray
    trial: FloatArray
    slope: FloatArray
    """Gradient without the prices' own terms."""
    grad: FloatArray
    step: FloatArray
    best: FloatArray
    base: FloatArray
    """z'x of names that cannot change."""
    hessian: FloatArray
    factor: FloatArray
    kink: FloatArray
    left: FloatArray
    right: FloatArray
    at_kink: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    price: IntArray
    """Prices that can move; those of them that a step is free to move."""
    loose: IntArray
    drop: FloatArray
    """How much less the slope is right above a price's kink, beyond its own term."""
    halts: IntArray
    """1 where that is known at the kink only."""
    pull: FloatArray
    way: FloatArray
    target: FloatArray
    left_over: FloatArray
    lowest: FloatArray
    highest: FloatArray
    small: FloatArray
    changed: IntArray
    change: FloatArray
    scalar: FloatArray
    decided: IntArray
    """The branch that the search has settled for a name; 0 for none."""
    open_name: IntArray
    """By depth of the search: the name settled there, its branches still to try, the prices and
    the bound from which they start."""
    open_branches: IntArray
    open_u: FloatArray
    open_bound: FloatArray


# Entries of `Book.scalar`.
CONSTANT: Final = 0
CASH: Final = 1
WORTH: Final = 2
REPORT: Final = 3
TE_REST: Final = 4
FLAT: Final = 5
BEND: Final = 6
"""How much the budget's price moves the gains that are sold and bought back."""
SHIFT: Final = 7
"""What the dual has besides: the year's tax before."""
HOPE: Final = 8
"""More than any allowed plan can cost."""
TRUE_LAMBDA: Final = 9
HESSIAN_LAMBDA: Final = 10
"""The lambda that the Hessian is kept at."""
FACTORS: Final = 11
TIE: Final = 12
"""The budget's price at which gains and losses of who seeks gains cost the same: nothing.
Negative where there is no such price."""
ROOM: Final = 13
"""What the gain budget leaves; infinite where there is none."""
CASH_WEIGHT: Final = 14
"""How much a dollar astray in cash counts against one in a row: a plan is mended by `_pay`."""
MOVING: Final = 15
FOLDED: Final = 16
"""What names cost that are not solved."""
SCALARS: Final = 17


@inline
def _room(names: int, lots: int, size: int) -> Book:
    """Return room for accounts of so many names and lots, and prices."""
    return Book(
        np.zeros(names, np.int64),
        np.zeros(names, np.int64),
        np.zeros(names, np.int64),
        np.zeros(names, np.int64),
        np.zeros(names, np.int64),
        np.zeros(names, np.int64),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros(names),
        np.zeros((names, 3)),
        np.zeros((names, 3)),
        np.zeros((names, 3)),
        np.zeros(names, np.int64),
        np.zeros((names, DYNAMIC)),
        np.zeros((DYNAMIC, DYNAMIC)),
        np.zeros(names),
        np.zeros(names, np.int64),
        np.zeros(size),
        np.zeros(names),
        np.zeros(names),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots),
        np.zeros(lots, np.int64),
        np.zeros(lots, np.int64),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros((size, size)),
        np.zeros((size, size)),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size),
        np.zeros(size, np.int64),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros((size, size)),
        np.zeros(names, np.int64),
        np.zeros(names),
        np.zeros(SCALARS),
        np.zeros(names, np.int64),
        np.zeros(DEPTH, np.int64),
        np.zeros(DEPTH, np.int64),
        np.zeros((DEPTH + 1, size)),
        np.zeros(DEPTH),
    )


@inline
def _tax_per_dollar(
    gain: float,
    is_long: bool,  # noqa: FBT001 - kernels take no keywords
    waits: bool,  # noqa: FBT001
    forced: bool,  # noqa: FBT001
    account: FloatArray,
) -> float:
    """Return tau of a lot, without what netting decides."""
    mode, back = account[MODE], account[BACK]
    if mode == REALISE and not forced:
        return float(-back * gain)
    nets = mode == HARVEST and account[NETTING] > 0
    rate = 0.0
    if not nets:
        rate = account[RATE_LONG] if is_long else account[RATE_SHORT]
    if gain < 0.0:
        return 0.0 if mode == NEUTRAL else (rate - back) * gain
    if waits and not is_long:
        rate += max(account[RATE_SHORT] - account[RATE_LONG], 0.0)
    return rate * gain


@inline
def _sort_lots(book: Book, first: int, last: int) -> None:
    """Order a name's lots by tax per dollar; equals stay as they were."""
    tau, order = book.tau, book.order
    for j in range(first + 1, last):
        lot = order[j]
        key = tau[lot]
        k = j - 1
        while k >= first and tau[order[k]] > key:
            order[k + 1] = order[k]
            k -= 1
        order[k + 1] = lot


@inline
def _value(
    a: int,
    cash_cents: IntArray,
    holding_indptr: IntArray,
    holding_name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    unit: FloatArray,
) -> float:
    """Return cash and shares at market, in cents."""
    total = float(cash_cents[a])
    for j in range(holding_indptr[a], holding_indptr[a + 1]):
        price = unit[holding_name[j]]
        nanos = 0
        for lot in range(lot_indptr[j], lot_indptr[j + 1]):
            nanos += lot_nanos[lot]
        total += nanos * price
    return total


@inline
def _load(
    book: Book,
    a: int,
    worth: float,
    account: FloatArray,
    z: FloatArray,
    d: FloatArray,
    unit: FloatArray,
    kappa: FloatArray,
    holding_indptr: IntArray,
    holding_name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    lot_basis: IntArray,
    lot_day: IntArray,
    lot_is_long: BoolArray,
    lot_is_blocked: BoolArray,
    lot_wait: BoolArray,
    rule: ByteArray,
    w: FloatArray,
    alpha: FloatArray,
    lower: IntArray,
    upper: IntArray,
    cash_cents: IntArray,
    out_h: FloatArray,
) -> int:
    """Lay out what the account can change; return how many names, or -1 where it cannot."""
    n, lots = 0, 0
    held_at, held_end = holding_indptr[a], holding_indptr[a + 1]
    cap, mode = account[CAP], account[MODE]
    theta, phi, least = account[THETA], account[PHI], account[TRADE_MIN] / worth
    credits_losses = mode != NEUTRAL or account[BUDGET] >= 0.0
    size = z.shape[1]
    constant, report, te_rest = 0.0, 0.0, 0.0
    book.base[:] = 0.0
    inverse = 1.0 / worth
    for i in range(w.size):
        bits = rule[i]
        start, end = 0, 0
        if held_at < held_end and holding_name[held_at] == i:
            start, end = lot_indptr[held_at], lot_indptr[held_at + 1]
            held_at += 1
        held, sellable = 0.0, 0.0
        first, at_loss = lots, False
        forced = (bits & NEVER_OWN) != 0
        if end > start:
            stuck = (bits & NEVER_SELL) != 0
            price = unit[i]
            for lot in range(start, end):
                cents = lot_nanos[lot] * price
                q = cents * inverse
                held += q
                if stuck or lot_is_blocked[lot]:
                    continue
                gain = 1.0 - lot_basis[lot] / cents
                if gain < 0.0:
                    if (bits & NEVER_SELL_AT_LOSS) != 0:
                        continue
                    at_loss = True
                is_long = lot_is_long[lot]
                tau = _tax_per_dollar(gain, is_long, lot_wait[lot], forced, account)
                sellable += q
                book.q[lots] = q
                book.tau[lots] = tau
                book.tau_own[lots] = tau
                book.gain_short[lots] = 0.0 if is_long else gain
                book.gain_long[lots] = gain if is_long else 0.0
                book.gain_chosen[lots] = 0.0 if forced else gain
                book.lot[lots] = lot
                k = lots - 1
                while k >= first and (
                    book.tau[book.order[k]] > tau
                    or (
                        book.tau[book.order[k]] == tau
                        and lot_day[book.lot[book.order[k]]] > lot_day[lot]
                    )
                ):
                    book.order[k + 1] = book.order[k]
                    k -= 1
                book.order[k + 1] = lots
                lots += 1
        all_sellable = lots - first == end - start
        reach_low = 0.0 if all_sellable else max(held - sellable, 0.0)
        reach_high = held if (bits & (NEVER_BUY | NEVER_OWN)) != 0 else INF
        low = lower[i] * 1e-6 if lower.size > 0 else 0.0
        high = upper[i] * 1e-6 if upper.size > 0 else INF
        if forced:
            high = 0.0
        low, high = max(low, reach_low), min(high, reach_high)
        if low > high + SLACK:
            return -1
        low = min(low, high)
        high, low = min(max(w[i] + cap, low), high), min(max(w[i] - cap, low), high)
        out_h[i] = held
        tilt = alpha[i] if alpha.size > 0 else 0.0
        report -= tilt * w[i]
        can_buy, can_sell = high > held, low < held
        if not can_buy and not can_sell:
            lots = first
            x = held - w[i]
            te_rest += d[i] * x * x
            constant -= tilt * x
            for k in range(size):
                book.base[k] += z[i, k] * x
            continue
        branches = 0
        book.buy_low[n] = max(held, low)
        book.sell_high[n] = min(held, high)
        fixed_buy = theta + (phi if held == 0.0 else 0.0)
        if least > 0.0 or theta > 0.0 or (fixed_buy > 0.0 and can_buy and low <= held):
            if low <= held <= high:
                branches |= HOLD
            if can_buy and high - held >= least:
                branches |= BUY
                book.buy_low[n] = max(held + least, low)
            if can_sell and held - low >= least:
                branches |= SELL
                book.sell_high[n] = min(held - least, high)
            elif can_sell and low == 0.0 and held < least:
                branches |= SELL
                book.sell_high[n] = 0.0
            if branches == 0:
                return -1
        elif at_loss and credits_losses and can_buy and can_sell:
            branches = BUY | SELL if low <= held <= high else 0
        book.name[n] = i
        book.branches[n] = branches
        book.first[n] = first
        book.last[n] = lots
        book.w[n] = w[i]
        book.held[n] = held
        book.low[n] = low
        book.high[n] = high
        book.d[n] = d[i]
        book.kappa[n] = kappa[i]
        book.alpha[n] = tilt
        book.fixed_buy[n] = fixed_buy
        book.fixed_sell[n] = theta
        book.force[n] = 0
        book.rebuys[n] = 1 if reach_high == INF else 0
        n += 1
    book.scalar[FLAT] = constant
    book.scalar[TE_REST] = te_rest
    book.scalar[REPORT] = report
    book.scalar[WORTH] = worth
    book.scalar[CASH] = cash_cents[a] * inverse
    return n


@inline
def _reprice(book: Book, n: int, u: FloatArray, at: int) -> None:
    """Write tau at the prices of gains, and order each name's lots by it."""
    budget, first_net, second_net = u[at + 1], u[at + 2], u[at + 3]
    # Where all lots cost the same, gains go first.
    nudge = NUDGE if budget == book.scalar[TIE] else 0.0
    for i in range(n):
        first, last = book.first[i], book.last[i]
        for lot in range(first, last):
            book.tau[lot] = (
                book.tau_own[lot]
                + budget * book.gain_chosen[lot]
                + first_net * book.first_net[lot]
                + second_net * book.second_net[lot]
                - nudge * book.gain_chosen[lot]
            )
        _sort_lots(book, first, last)


@inline
def _project(book: Book, i: int, v: tuple[float, float, float], t: float) -> None:
    """Write the shares of the branches: the nearest to `near` less v / t in the simplex."""
    c0 = book.near[i, 0] - v[0] / t
    c1 = book.near[i, 1] - v[1] / t
    c2 = book.near[i, 2] - v[2] / t
    # Sort three numbers downwards, then the usual threshold.
    a, b, c = c0, c1, c2
    if a < b:
        a, b = b, a
    if b < c:
        b, c = c, b
    if a < b:
        a, b = b, a
    level = a - 1.0
    if b > level:
        level = 0.5 * (a + b - 1.0)
        if c > level:
            level = (a + b + c - 1.0) / 3.0
    book.part[i, 0] = max(c0 - level, 0.0)
    book.part[i, 1] = max(c1 - level, 0.0)
    book.part[i, 2] = max(c2 - level, 0.0)


@inline
def _add_square(
    block: FloatArray, weight: float, a: float, b: float, c: float, d: float, e: float
) -> None:
    """Add weight times (a, b, c, d, e) with itself to the lower half of a block."""
    if weight != 0.0:
        block[0, 0] += weight * a * a
        block[1, 0] += weight * b * a
        block[1, 1] += weight * b * b
        block[2, 0] += weight * c * a
        block[2, 1] += weight * c * b
        block[2, 2] += weight * c * c
        block[3, 0] += weight * d * a
        block[3, 1] += weight * d * b
        block[3, 2] += weight * d * c
        block[3, 3] += weight * d * d
        block[4, 0] += weight * e * a
        block[4, 1] += weight * e * b
        block[4, 2] += weight * e * c
        block[4, 3] += weight * e * d
        block[4, 4] += weight * e * e


@inline
def _least_gain(book: Book, i: int, cut: float) -> float:
    """Return the chosen gain of selling so much of a name, from the last lot in order backwards."""
    total = 0.0
    for j in range(book.last[i] - 1, book.first[i] - 1, -1):
        lot = book.order[j]
        part = min(book.q[lot], cut)
        total += part * book.gain_chosen[lot]
        cut -= part
        if cut <= 0.0:
            break
    return total


@inline
def _lambda_of(book: Book, u: FloatArray, shape: tuple[int, int, int]) -> float:
    """Return the risk aversion with what the TE cap's price adds."""
    lam = book.scalar[TRUE_LAMBDA]
    if shape[2] > 0:
        lam += LAMBDA_UNIT * u[shape[0] + 4]
    return float(lam)


@inline_sums
def _sweep(
    book: Book,
    n: int,
    z: FloatArray,
    u: FloatArray,
    shape: tuple[int, int, int],
    t: float,
    washes: bool,  # noqa: FBT001
) -> tuple[float, float]:
    """Solve every name at prices u; write h, weights and the gradient without own terms.

    Args:
        book: The account.
        n: How many names it can change.
        z: (N, size) rows of exposures, rows and a one for cash.
        u: Prices.
        shape: Columns of z; where cash stands; how many dynamic prices follow the columns.
        t: How softly equal branches are mixed.
        washes: Gains may be sold and bought back.

    Returns:
        The sum over names of the mixed minimum, and of the minimum: the hard dual's.
    """
    size, at_cash, dynamic = shape
    mu = u[at_cash]
    omega_price = u[size] if dynamic > 0 else 0.0
    lam = _lambda_of(book, u, shape)
    scale = lam / book.scalar[TRUE_LAMBDA]
    ease_scale = 1.0 / scale
    slope = book.slope
    for k in range(size + dynamic):
        slope[k] = book.fold[k]
    spent = 0.0
    turned, chosen, net1, net2, spread_out = 0.0, 0.0, 0.0, 0.0, 0.0
    soft = book.scalar[FOLDED]
    for k in range(at_cash):
        soft += book.fold[k] * u[k]
    hard = soft
    excess, bend, drop = 0.0, 0.0, 0.0
    ties = False
    if dynamic > 0:
        ties = u[size + 1] == book.scalar[TIE]
        book.block[:, :] = 0.0
        _reprice(book, n, u, size)
    for at in range(int(book.scalar[MOVING])):
        i = book.active[at]
        row = z[book.name[i]]
        p = 0.0
        for k in range(size):
            p += row[k] * u[k]
        p -= book.alpha[i] + mu  # the one of cash is for the Hessian only
        book.p[i] = p
        w, held, kappa = book.w[i], book.held[i], book.kappa[i]
        curve, ease = book.curve[i] * scale, book.ease[i] * ease_scale
        low, high = book.low[i], book.high[i]
        beta = kappa + mu * (1.0 + kappa) + omega_price
        sigma = mu * (1.0 - kappa) - kappa - omega_price
        first, last = book.first[i], book.last[i]
        start = w - p * ease
        want = start - beta * ease
        origin, washed, wash_gain, wash1, wash2, wash_chosen = held, 0.0, 0.0, 0.0, 0.0, 0.0
        if washes and book.rebuys[i] == 1:
            for j in range(first, last):
                lot = book.order[j]
                if book.tau[lot] + beta - sigma >= 0.0:
                    break
                if book.gain_short[lot] + book.gain_long[lot] > 0.0:
                    worth = sigma - beta - book.tau[lot]
                    share = min(worth / WASH_SOFTNESS, 1.0)
                    q = book.q[lot] * share
                    washed += q
                    wash_gain += q * (0.5 * WASH_SOFTNESS * share - worth)
                    wash_chosen += q * book.gain_chosen[lot]
                    wash1 += q * book.first_net[lot]
                    wash2 += q * book.second_net[lot]
                    excess += 0.5 * WASH_SOFTNESS * book.q[lot]
                    if share < 1.0:
                        bend += book.q[lot] * book.gain_chosen[lot] ** 2 / WASH_SOFTNESS
            origin = held - washed
        branches, force = book.branches[i], book.force[i]
        if branches == 0:
            active = BUY if high > origin and (want > origin or low >= origin) else SELL
        elif force != 0:
            active = force
        else:
            active = branches
        v_hold, v_buy, v_sell = INF, INF, INF
        h_buy, h_sell, cut, bought = held, held, 0.0, 0.0
        free_buy, free_sell = 0.0, 0.0
        cut_chosen, cut1, cut2 = 0.0, 0.0, 0.0
        at_chosen, at1, at2 = 0.0, 0.0, 0.0
        if (active & BUY) != 0:
            least = book.buy_low[i]
            if washed > 0.0:
                least = max(origin, low)
            h_buy = want
            if h_buy <= least:
                h_buy = least
            elif h_buy >= high:
                h_buy = high
            else:
                free_buy = 1.0
            bought = h_buy - origin
            x = h_buy - w
            v_buy = (0.5 * curve * x + p) * x + beta * (h_buy - held) + wash_gain
            if branches != 0:
                v_buy += book.fixed_buy[i]
        if (active & SELL) != 0:
            most = book.sell_high[i]
            top, cost = held, 0.0
            h_sell = held
            lead = start - sigma * ease
            for j in range(first, last):
                lot = book.order[j]
                tau = book.tau[lot]
                bottom = top - book.q[lot]
                if j == last - 1 or bottom < low:
                    bottom = low
                if bottom > most:
                    h_sell = bottom
                else:
                    h_sell = lead + tau * ease
                    edge = min(top, most)
                    if h_sell >= edge:
                        h_sell = edge
                    elif h_sell <= bottom:
                        h_sell = bottom
                    else:
                        free_sell = 1.0
                sold = top - h_sell
                cost += tau * sold
                if dynamic > 0:
                    cut_chosen += sold * book.gain_chosen[lot]
                    cut1 += sold * book.first_net[lot]
                    cut2 += sold * book.second_net[lot]
                    at_chosen = book.gain_chosen[lot]
                    at1 = book.first_net[lot]
                    at2 = book.second_net[lot]
                if h_sell > bottom or bottom <= low:
                    break
                top = bottom
            cut = held - h_sell
            x = h_sell - w
            v_sell = (0.5 * curve * x + p) * x + cost - sigma * cut
            if branches != 0:
                v_sell += book.fixed_sell[i]
        if branches == 0 or force != 0:
            if active == BUY:
                h, value, weight = h_buy, v_buy, free_buy * ease
                b, s = bought, washed
                spent += (1.0 + kappa) * b - (1.0 - kappa) * s
            elif active == SELL:
                h, value, weight = h_sell, v_sell, free_sell * ease
                b, s = 0.0, cut
                spent -= (1.0 - kappa) * s
            else:
                x = held - w
                h, value, weight = held, (0.5 * curve * x + p) * x, 0.0
                b, s = 0.0, 0.0
            soft += value
            hard += value
            if dynamic > 0:
                turned += b + s
                if active == BUY:
                    chosen += wash_chosen
                    net1 += wash1
                    net2 += wash2
                    book.tilt[i, 0] = 1.0
                    book.tilt[i, 1] = 0.0
                    book.tilt[i, 2] = 0.0
                    book.tilt[i, 3] = 0.0
                    book.tilt[i, 4] = LAMBDA_UNIT * book.d[i] * (h - w)
                elif active == SELL:
                    chosen += cut_chosen
                    net1 += cut1
                    net2 += cut2
                    if ties:
                        drop += cut_chosen - _least_gain(book, i, cut)
                    book.tilt[i, 0] = -1.0
                    book.tilt[i, 1] = -at_chosen
                    book.tilt[i, 2] = -at1
                    book.tilt[i, 3] = -at2
                    book.tilt[i, 4] = LAMBDA_UNIT * book.d[i] * (h - w)
                spread_out += book.d[i] * (h - w) * (h - w)
        else:
            if (active & HOLD) != 0:
                x = held - w
                v_hold = (0.5 * curve * x + p) * x
            least_v = min(v_hold, v_buy, v_sell)
            if least_v == v_hold:
                book.better[i] = HOLD
            else:
                book.better[i] = BUY if least_v == v_buy else SELL
            _project(book, i, (v_hold - least_v, v_buy - least_v, v_sell - least_v), t)
            p0, p1, p2 = book.part[i, 0], book.part[i, 1], book.part[i, 2]
            h = p0 * held + p1 * h_buy + p2 * h_sell
            b, s = p1 * bought, p1 * washed + p2 * cut
            loss = 0.0
            weight = (p1 * free_buy + p2 * free_sell) * ease
            count = 0.0
            for k in range(3):
                if book.part[i, k] > 0.0:
                    count += 1.0
                    loss += book.part[i, k] * (
                        (v_hold if k == 0 else (v_buy if k == 1 else v_sell)) - least_v
                    )
            book.regret[i] = loss
            pull = 0.0
            for k in range(3):
                away = book.part[i, k] - book.near[i, k]
                pull += away * away
            soft += least_v + loss + 0.5 * t * pull
            hard += least_v
            spent += (1.0 + kappa) * b - (1.0 - kappa) * s
            spread, mean = 0.0, 0.0
            book.apart[i] = 0.0
            if count > 1.0:
                on0 = 1.0 if p0 > 0.0 else 0.0
                on1 = 1.0 if p1 > 0.0 else 0.0
                on2 = 1.0 if p2 > 0.0 else 0.0
                mean = (on0 * held + on1 * h_buy + on2 * h_sell) / count
                spread = (
                    on0 * (held - mean) ** 2
                    + on1 * (h_buy - mean) ** 2
                    + on2 * (h_sell - mean) ** 2
                ) / t
                book.apart[i] = np.sqrt(spread * t)
            if dynamic > 0:
                turned += b + s
                chosen += p1 * wash_chosen + p2 * cut_chosen
                if ties and p2 > 0.0:
                    drop += p2 * (cut_chosen - _least_gain(book, i, cut))
                net1 += p1 * wash1 + p2 * cut1
                net2 += p1 * wash2 + p2 * cut2
                f1, f2 = p1 * free_buy * ease, p2 * free_sell * ease
                t0, t1, t2, t3 = f1 - f2, -f2 * at_chosen, -f2 * at1, -f2 * at2
                own = LAMBDA_UNIT * book.d[i]
                t4 = own * (f1 * (h_buy - w) + f2 * (h_sell - w))
                e0 = 0.5 * own * (held - w) ** 2
                e1 = 0.5 * own * (h_buy - w) ** 2
                e2 = 0.5 * own * (h_sell - w) ** 2
                spread_out += (p0 * e0 + p1 * e1 + p2 * e2) * 2.0 / LAMBDA_UNIT
                if count > 1.0:
                    lead_buy = on1 * (h_buy - mean) / t
                    lead_sell = on2 * (h_sell - mean) / t
                    t0 += lead_buy * (bought + washed) + lead_sell * cut
                    t1 += lead_buy * wash_chosen + lead_sell * cut_chosen
                    t2 += lead_buy * wash1 + lead_sell * cut1
                    t3 += lead_buy * wash2 + lead_sell * cut2
                    t4 += on0 * (held - mean) / t * e0 + lead_buy * e1 + lead_sell * e2
                    mid0 = (on1 * (bought + washed) + on2 * cut) / count
                    mid1 = (on1 * wash_chosen + on2 * cut_chosen) / count
                    mid2 = (on1 * wash1 + on2 * cut1) / count
                    mid3 = (on1 * wash2 + on2 * cut2) / count
                    mid4 = (on0 * e0 + on1 * e1 + on2 * e2) / count
                    _add_square(book.block, on0 / t, -mid0, -mid1, -mid2, -mid3, e0 - mid4)
                    _add_square(
                        book.block,
                        on1 / t,
                        bought + washed - mid0,
                        wash_chosen - mid1,
                        wash1 - mid2,
                        wash2 - mid3,
                        e1 - mid4,
                    )
                    _add_square(
                        book.block,
                        on2 / t,
                        cut - mid0,
                        cut_chosen - mid1,
                        cut1 - mid2,
                        cut2 - mid3,
                        e2 - mid4,
                    )
                    _add_square(book.block, f1, 1.0, 0.0, 0.0, 0.0, own * (h_buy - w))
                    _add_square(book.block, f2, -1.0, -at_chosen, -at1, -at2, own * (h_sell - w))
                total = weight + spread
                if count > 1.0 and total > 0.0:
                    _add_square(book.block, -1.0 / total, t0, t1, t2, t3, t4)
                per = 1.0 / total if total > 0.0 else 0.0
                book.tilt[i, 0] = t0 * per
                book.tilt[i, 1] = t1 * per
                book.tilt[i, 2] = t2 * per
                book.tilt[i, 3] = t3 * per
                book.tilt[i, 4] = t4 * per
            weight += spread
        book.h[i] = h
        book.b[i] = b
        book.s[i] = s
        book.omega[i] = weight
        x = h - w
        for k in range(size):
            slope[k] += row[k] * x
    slope[at_cash] = spent
    if dynamic > 0:
        slope[size] = turned
        slope[size + 1] = chosen
        slope[size + 2] = net1
        slope[size + 3] = net2
        square = 0.0
        for k in range(int(book.scalar[FACTORS])):
            square += u[k] * u[k]
        slope[size + 4] = 0.5 * LAMBDA_UNIT * (spread_out + square / (lam * lam))
    book.scalar[BEND] = bend
    if dynamic > 0:
        book.drop[size + 1] = drop
    return soft, hard - excess


@inline
def _own_terms(book: Book, u: FloatArray, kdim: int, end: int, lam: float) -> float:
    """Return what the prices themselves add to the dual, the factors' and the others'."""
    total = book.scalar[CONSTANT]
    square = 0.0
    for k in range(kdim):
        square += u[k] * u[k]
    total -= square / (2.0 * lam)
    for k in range(end):
        total += u[k] * book.base[k]
    for j in range(kdim, end):
        kink = book.kink[j]
        side = book.left[j] if u[j] < kink else book.right[j]
        total += book.at_kink[j] + side * (u[j] - kink)
    return float(total)


@inline
def _gradient(book: Book, u: FloatArray, kdim: int, at_cash: int, end: int, lam: float) -> float:
    """Write the factors' gradient; return the largest condition that the other prices break.

    A price at its floor, ceiling or kink stays there while neither direction is better.
    """
    worst = 0.0
    for k in range(kdim):
        book.grad[k] = book.slope[k] + book.base[k] - u[k] / lam
    for j in range(kdim, end):
        slope = book.slope[j] + book.base[j]
        kink = book.kink[j]
        up = slope + (book.left[j] if u[j] < kink else book.right[j])
        down = slope + (book.right[j] if u[j] > kink else book.left[j])
        if u[j] == kink:
            up -= book.drop[j]
        if u[j] >= book.ceiling[j]:
            up = 0.0
        if u[j] <= book.floor[j]:
            down = 0.0
        weight = book.scalar[CASH_WEIGHT] if j == at_cash else 1.0
        worst = max(worst, weight * up, -weight * down)
    return worst


@inline
def _rescale(book: Book, n: int, size: int, lam: float) -> None:
    """Bring the Hessian to another lambda, by which all of it is divided."""
    share = book.scalar[HESSIAN_LAMBDA] / lam
    for r in range(size):
        for k in range(size):
            book.hessian[r, k] *= share
    for i in range(n):
        book.applied[i] *= share
    book.scalar[HESSIAN_LAMBDA] = lam


@inline_sums
def _update(book: Book, n: int, z: FloatArray, size: int, tolerance: float) -> None:
    """Bring the Hessian up to date with the weights that have changed, four names at a time."""
    count = 0
    for i in range(n):
        change = book.omega[i] - book.applied[i]
        if abs(change) > tolerance * (book.omega[i] + book.applied[i]):
            book.changed[count] = i
            book.change[count] = change
            book.applied[i] = book.omega[i]
            count += 1
    hessian = book.hessian
    at = 0
    while at + 4 <= count:
        z0 = z[book.name[book.changed[at]]]
        z1 = z[book.name[book.changed[at + 1]]]
        z2 = z[book.name[book.changed[at + 2]]]
        z3 = z[book.name[book.changed[at + 3]]]
        c0, c1 = book.change[at], book.change[at + 1]
        c2, c3 = book.change[at + 2], book.change[at + 3]
        for r in range(size):
            f0, f1, f2, f3 = c0 * z0[r], c1 * z1[r], c2 * z2[r], c3 * z3[r]
            line = hessian[r]
            for k in range((r // 8 + 1) * 8):
                line[k] += f0 * z0[k] + f1 * z1[k] + f2 * z2[k] + f3 * z3[k]
        at += 4
    while at < count:
        z0 = z[book.name[book.changed[at]]]
        c0 = book.change[at]
        for r in range(size):
            f0 = c0 * z0[r]
            line = hessian[r]
            for k in range((r // 8 + 1) * 8):
                line[k] += f0 * z0[k]
        at += 1


@inline_sums
def _reduce(
    book: Book, n: int, z: FloatArray, shape: tuple[int, int, int], kdim: int, lam: float
) -> int:
    """Factor the factors' Hessian and take them out of the rest; return how many prices are left.

    `factor` then holds L of the factors' block (its diagonal inverted), the prices' rows of L,
    and beside them the Schur complement; `step` holds L^-1 grad of the factors, `left_over`
    what is left of the prices' gradients without their own slopes.
    """
    size, _, dynamic = shape
    end = size + dynamic
    factor = book.factor
    for r in range(size):
        for k in range(r + 1):
            factor[r, k] = book.hessian[r, k]
        factor[r, r] += 1.0 / lam if r < kdim else 1e-12
    if dynamic > 0:
        for r in range(size, end):
            for k in range(r + 1):
                factor[r, k] = 0.0
            factor[r, r] = 1e-12
        for i in range(n):
            weight = book.omega[i]
            if weight > 0.0:
                row = z[book.name[i]]
                for t in range(dynamic):
                    tilt = weight * book.tilt[i, t]
                    if tilt != 0.0:
                        line = factor[size + t]
                        for k in range(size):
                            line[k] += tilt * row[k]
                        for k in range(t + 1):
                            line[size + k] += tilt * book.tilt[i, k]
        for r in range(dynamic):
            for k in range(r + 1):
                factor[size + r, size + k] += book.block[r, k]
        factor[size + 1, size + 1] += book.scalar[BEND]
        pace = LAMBDA_UNIT / (lam * lam)
        square = 0.0
        for k in range(kdim):
            factor[size + 4, k] -= pace * book.u[k]
            square += book.u[k] * book.u[k]
        factor[size + 4, size + 4] += LAMBDA_UNIT * pace * square / lam
    step = book.step
    for k in range(kdim):
        step[k] = book.grad[k]
    ahead = book.way
    for k in range(kdim):
        pivot = 1.0 / np.sqrt(max(factor[k, k], 1e-14))
        factor[k, k] = pivot
        value = step[k] * pivot
        step[k] = value
        for r in range(k + 1, kdim):
            ahead[r] = factor[r, k] * pivot
        for r in range(k + 1, kdim):
            line = factor[r]
            lead = ahead[r]
            line[k] = lead
            for m in range(k + 1, r + 1):
                line[m] -= lead * ahead[m]
            step[r] -= lead * value
    count = 0
    for r in range(kdim, end):
        if book.floor[r] == book.ceiling[r]:
            continue
        line = factor[r]
        for k in range(kdim):
            other = factor[k]
            total = line[k]
            for m in range(k):
                total -= line[m] * other[m]
            line[k] = total * other[k]
        total = book.slope[r] + book.base[r]
        for k in range(kdim):
            total -= line[k] * step[k]
        book.left_over[r] = total
        book.price[count] = r
        count += 1
        for at in range(count):
            other = factor[book.price[at]]
            total = line[book.price[at]]
            for m in range(kdim):
                total -= line[m] * other[m]
            line[book.price[at]] = total
    return count


@inline
def _settle(book: Book, count: int, radius: float) -> None:
    """Write where the prices go: the best of the quadratic model within their ranges, exactly.

    An active-set method: free prices go to where their model is best, until the first reaches a
    floor, ceiling or kink and stays there while neither direction is better. Finite, because
    each face is left for a better one. A price without curvature goes no further than a
    quarter of itself and its size at once.
    """
    small, factor = book.small, book.factor
    target, rest, way = book.target, book.left_over, book.way
    for at in range(count):
        j = book.price[at]
        most = radius * (0.25 + 2.0 * abs(book.u[j]))
        target[j] = book.u[j]
        book.lowest[j] = max(book.floor[j], book.u[j] - most)
        book.highest[j] = min(book.ceiling[j], book.u[j] + most)
        if book.halts[j] == 1:
            # Beyond its kink nothing is known of this price: go there, and look.
            if book.u[j] < book.kink[j]:
                book.highest[j] = min(book.highest[j], book.kink[j])
            elif book.u[j] > book.kink[j]:
                book.lowest[j] = max(book.lowest[j], book.kink[j])
    for _ in range(4 * count + 20):
        free = 0
        for at in range(count):
            j = book.price[at]
            here, kink = target[j], book.kink[j]
            up = rest[j] + (book.left[j] if here < kink else book.right[j])
            down = rest[j] + (book.right[j] if here > kink else book.left[j])
            if here == kink:
                up -= book.drop[j]
            if here >= book.highest[j]:
                up = 0.0
            if here <= book.lowest[j]:
                down = 0.0
            if up > NO_SLOPE:
                book.pull[free] = up
            elif down < -NO_SLOPE:
                book.pull[free] = down
            else:
                continue
            book.loose[free] = j
            free += 1
        if free == 0:
            return
        while True:
            for r in range(free):
                j = book.loose[r]
                for k in range(r + 1):
                    i = book.loose[k]
                    total = factor[j, i] if j >= i else factor[i, j]
                    for m in range(k):
                        total -= small[r, m] * small[k, m]
                    if k < r:
                        small[r, k] = total * small[k, k]
                    else:
                        small[r, r] = 1.0 / np.sqrt(max(total, 1e-14))
                total = book.pull[r]
                for m in range(r):
                    total -= small[r, m] * way[m]
                way[r] = total * small[r, r]
            for r in range(free - 1, -1, -1):
                way[r] *= small[r, r]
                for m in range(r):
                    way[m] -= small[r, m] * way[r]
            # Prices that the others drive out of where they stand are no longer free.
            kept = 0
            for r in range(free):
                j = book.loose[r]
                here = target[j]
                stuck = way[r] * book.pull[r] < 0.0 and (
                    here == book.kink[j]
                    or (way[r] < 0.0 and here <= book.lowest[j])
                    or (way[r] > 0.0 and here >= book.highest[j])
                )
                if not stuck:
                    book.loose[kept] = j
                    book.pull[kept] = book.pull[r]
                    way[kept] = way[r]
                    kept += 1
            if kept == free:
                break
            if kept == 0:
                return
            free = kept
        length = 1.0
        for r in range(free):
            j = book.loose[r]
            there = target[j] + way[r]
            stop = there
            if target[j] < book.kink[j] < there or target[j] > book.kink[j] > there:
                stop = book.kink[j]
            stop = min(max(stop, book.lowest[j]), book.highest[j])
            if stop != there:
                length = min(length, (stop - target[j]) / way[r])
        for r in range(free):
            j = book.loose[r]
            before = target[j]
            there = before + length * way[r]
            # Whoever is at its stop but for rounding is there.
            for stop in (book.kink[j], book.lowest[j], book.highest[j]):
                if abs(there - stop) <= 1e-15 * (1.0 + abs(stop)) or (
                    before < stop < there or before > stop > there
                ):
                    there = stop
            target[j] = there
            moved = there - before
            for at in range(count):
                i = book.price[at]
                rest[i] -= moved * (factor[j, i] if j >= i else factor[i, j])


@inline
def _direction(
    book: Book,
    n: int,
    z: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    lam: float,
    radius: float,
) -> float:
    """Write the step; return how much it promises: twice the model's gain, or less."""
    end = shape[0] + shape[2]
    step, factor = book.step, book.factor
    count = _reduce(book, n, z, shape, kdim, lam)
    _settle(book, count, radius)
    for j in range(kdim, end):
        step[j] = 0.0
    promise = 0.0
    for at in range(count):
        j = book.price[at]
        move = book.target[j] - book.u[j]
        if move != 0.0:
            step[j] = move
            line = factor[j]
            for k in range(kdim):
                step[k] -= line[k] * move
            kink = book.kink[j]
            side = book.left[j] if book.target[j] < kink else book.right[j]
            last = book.left[j] if book.u[j] < kink else book.right[j]
            promise += (book.slope[j] + book.base[j]) * move
            promise += side * (book.target[j] - kink) - last * (book.u[j] - kink)
    for r in range(kdim - 1, -1, -1):
        line = factor[r]
        step[r] *= line[r]
        value = step[r]
        for k in range(r):
            step[k] -= line[k] * value
    for k in range(kdim):
        promise += step[k] * book.grad[k]
    return promise


@inline
def _move(book: Book, kdim: int, end: int, length: float) -> None:
    """Write the trial prices: so much of the step."""
    for k in range(kdim):
        book.trial[k] = book.u[k] + length * book.step[k]
    for j in range(kdim, end):
        if book.step[j] == 0.0:
            book.trial[j] = book.u[j]
        elif length == 1.0:
            book.trial[j] = book.target[j]
        else:
            there = book.u[j] + length * book.step[j]
            book.trial[j] = min(max(there, book.floor[j]), book.ceiling[j])


@inline
def _ascend(
    book: Book,
    n: int,
    z: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    t: float,
    washes: bool,  # noqa: FBT001
    rounds: int,
    tolerance: float,
    strict: float,
    cutoff: float,
    known: float,
) -> tuple[float, float, int]:
    """Raise the dual from book.u until the promise is below the tolerance.

    Stops as soon as the hard value reaches the cutoff: nothing below it is left to find. `known`
    is the value there if the names are already solved, with the same branches, and NaN if not.

    Returns:
        The mixed and the hard value at the end, and how many sweeps it took; negative where the
        rounds were not enough.
    """
    size, at_cash, dynamic = shape
    end = size + dynamic
    lam = _lambda_of(book, book.u, shape)
    soft, hard, sweeps = known, known, 0
    if np.isnan(known):
        soft, hard = _sweep(book, n, z, book.u, shape, t, washes)
        own = _own_terms(book, book.u, kdim, end, lam)
        soft += own
        hard += own
        sweeps = 1
    radius, stalls = 1.0, 0
    for _ in range(rounds):
        if hard >= cutoff:
            return soft, hard, sweeps
        worst = _gradient(book, book.u, kdim, at_cash, end, lam)
        if lam != book.scalar[HESSIAN_LAMBDA]:
            _rescale(book, n, size, lam)
        _update(book, n, z, size, 0.02)
        promise = _direction(book, n, z, shape, kdim, lam, radius)
        if promise <= tolerance and worst <= strict:
            return soft, hard, sweeps
        if not abs(promise) < INF:
            # Numbers so far apart that nothing is left of the step: what is known stays true.
            return soft, hard, -sweeps
        length = 1.0
        while True:
            _move(book, kdim, end, length)
            new_soft, new_hard = _sweep(book, n, z, book.trial, shape, t, washes)
            new_lam = _lambda_of(book, book.trial, shape)
            own = _own_terms(book, book.trial, kdim, end, new_lam)
            new_soft += own
            new_hard += own
            sweeps += 1
            last = 0.0
            for k in range(end):
                move = book.trial[k] - book.u[k]
                if move != 0.0:
                    own_slope = -book.trial[k] / new_lam
                    if k >= kdim:
                        own_slope = book.left[k] if book.trial[k] <= book.kink[k] else book.right[k]
                        if book.trial[k] == book.kink[k] and move < 0.0:
                            own_slope = book.right[k] - book.drop[k]
                    last += (book.slope[k] + book.base[k] + own_slope) * move
            first = length * promise
            if new_soft >= soft + 1e-4 * first or last >= 0.0 or not length >= LENGTH_MIN:
                break
            if first - new_soft + soft <= NO_GAIN:
                break
            length *= min(max(first / (first - last), 0.1), 0.7)
        stalls += 0 if length >= LENGTH_MIN else 1
        if stalls > STALLS:
            # On a ridge where two lots of a name change places; what is left is little.
            for k in range(end):
                book.u[k] = book.trial[k]
            return new_soft, new_hard, -sweeps
        # Where little of the step is good the model reaches too far.
        radius = max(0.25 * radius, 1e-3) if length < SHORT else min(4.0 * radius, 1.0)
        soft, hard, lam = new_soft, new_hard, new_lam
        for k in range(end):
            book.u[k] = book.trial[k]
    return soft, hard, -sweeps


@inline
def _set_price(
    book: Book,
    j: int,
    slopes: tuple[float, float],
    kink: float,
    at_kink: float,
    span: tuple[float, float],
) -> None:
    """Describe a price: its own concave term, one kink, and the range it is kept in."""
    book.left[j], book.right[j] = slopes
    book.kink[j] = kink
    book.at_kink[j] = at_kink
    book.floor[j], book.ceiling[j] = span


@inline
def _year_tax(account: FloatArray, worth: float, short: float, long: float) -> float:
    """Return the tax of a year's net short and long gains, all fractions of the account."""
    total = short + long
    if total < 0.0:
        limit = account[LIMIT] / worth
        carry = min(account[CARRY] * account[RATE_LONG], account[RATE_ORDINARY])
        loss = -total
        return float(-account[RATE_ORDINARY] * min(loss, limit) - carry * max(loss - limit, 0.0))
    if short < 0.0:
        return float(account[RATE_LONG] * total)
    if long < 0.0:
        return float(account[RATE_SHORT] * total)
    return float(account[RATE_SHORT] * short + account[RATE_LONG] * long)


@inline
def _set_prices(
    book: Book,
    account: FloatArray,
    z: FloatArray,
    w: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    row_low: FloatArray,
    row_high: FloatArray,
    row_price: FloatArray,
) -> None:
    """Describe the prices of rows, cash, turnover and the gain budget."""
    size, at_cash, dynamic = shape
    worth = book.scalar[WORTH]
    none = (0.0, 0.0)
    book.scalar[TIE], book.scalar[ROOM] = -1.0, INF
    for j in range(kdim, size + dynamic):
        _set_price(book, j, none, 0.0, 0.0, none)
        book.drop[j], book.halts[j] = 0.0, 0
    for r in range(at_cash - kdim):
        j = kdim + r
        offset = 0.0
        for i in range(w.size):
            offset += z[i, j] * w[i]
        low, high, price = row_low[r] - offset, row_high[r] - offset, row_price[r]
        floor, ceiling = -price, price
        left, right = -low, -high
        if low == -INF:
            left, floor = -high, 0.0
        if high == INF:
            right, ceiling = -low, 0.0
        if low == -INF and high == INF:
            left, right = 0.0, 0.0
        _set_price(book, j, (left, right), 0.0, 0.0, (floor, ceiling))
    pi, target = account[CASH_PRICE], account[CASH_TARGET]
    _set_price(book, at_cash, (target, 0.0), pi, pi * target, (-pi, INF))
    book.base[at_cash] = -book.scalar[CASH]
    if dynamic > 0:
        if account[TURNOVER] < INF:
            limit = -account[TURNOVER]
            _set_price(book, size, (limit, limit), 0.0, 0.0, (0.0, INF))
        if account[BUDGET] >= 0.0:
            room = -_budget_room(account, worth)
            most, tie = INF, 0.0
            book.scalar[ROOM] = -room
            if account[MODE] == REALISE:
                most = account[RATE_LONG] + account[BACK]
                tie = account[BACK]
                book.scalar[TIE] = tie
                book.halts[size + 1] = 1
            _set_price(book, size + 1, (room, room), tie, room * tie, (0.0, most))
        if account[TE_MAX] < INF:
            _set_price(book, size + 4, none, 0.0, 0.0, (0.0, INF))
            cap = account[TE_MAX]
            book.base[size + 4] = 0.5 * LAMBDA_UNIT * (book.scalar[TE_REST] - cap * cap)


@inline
def _set_regime(
    book: Book, lots: int, account: FloatArray, shape: tuple[int, int, int], regime: int
) -> bool:
    """Describe the prices of netting where the year ends in a regime; False if it cannot.

    Regimes, S and L the year's net short and long gains: 1 both gains; 2 short loss and net
    gain; 3 long loss and net gain; 4 net loss. Within one the tax is convex, its subgradients
    are the range of the prices, and its borders are priced where they would help.
    """
    size = shape[0]
    worth = book.scalar[WORTH]
    year_short, year_long = account[YEAR_SHORT] / worth, account[YEAR_LONG] / worth
    book.scalar[SHIFT] = 0.0
    none = (0.0, 0.0)
    _set_price(book, size + 2, none, 0.0, 0.0, none)
    _set_price(book, size + 3, none, 0.0, 0.0, none)
    for lot in range(lots):
        book.first_net[lot] = 0.0
        book.second_net[lot] = 0.0
    if regime == 0:
        return True
    low_short, high_short = year_short, year_short
    low_long, high_long = year_long, year_long
    for lot in range(lots):
        short, long = book.gain_short[lot], book.gain_long[lot]
        low_short += min(short, 0.0) * book.q[lot]
        high_short += max(short, 0.0) * book.q[lot]
        low_long += min(long, 0.0) * book.q[lot]
        high_long += max(long, 0.0) * book.q[lot]
        book.first_net[lot] = short if regime == 1 else short + long
        if regime == 1 or regime == 3:  # noqa: PLR1714, PLR2004 - numbers, faster than a set
            book.second_net[lot] = long
        elif regime == 2:  # noqa: PLR2004
            book.second_net[lot] = short
    year = year_short + year_long
    book.scalar[SHIFT] = -_year_tax(account, worth, year_short, year_long)
    rate_short, rate_long = account[RATE_SHORT], account[RATE_LONG]
    if regime == 1:
        _set_price(book, size + 2, (year_short, year_short), 0.0, 0.0, (0.0, rate_short))
        _set_price(book, size + 3, (year_long, year_long), 0.0, 0.0, (0.0, rate_long))
        return bool(high_short >= 0.0 and high_long >= 0.0)
    if regime == 2:  # noqa: PLR2004
        _set_price(book, size + 2, (year, year), 0.0, 0.0, (0.0, rate_long))
        _set_price(book, size + 3, (year_short, year_short), 0.0, 0.0, (0.0, INF))
        return bool(low_short <= 0.0 and high_short + high_long >= 0.0)
    if regime == 3:  # noqa: PLR2004
        _set_price(book, size + 2, (year, year), 0.0, 0.0, (0.0, rate_short))
        _set_price(book, size + 3, (year_long, year_long), 0.0, 0.0, (0.0, INF))
        return bool(low_long <= 0.0 and high_short + high_long >= 0.0)
    limit, ordinary = account[LIMIT] / worth, account[RATE_ORDINARY]
    carry = min(account[CARRY] * rate_long, ordinary)
    _set_price(book, size + 2, (year + limit, year), ordinary, ordinary * year, (carry, INF))
    return bool(low_short + low_long <= 0.0)


@inline
def _asks_more(account: FloatArray) -> bool:
    """Return whether an account needs prices of what is done: see `DYNAMIC`."""
    nets = account[NETTING] > 0.0 and account[MODE] == HARVEST
    capped = account[TURNOVER] < INF or account[TE_MAX] < INF
    return bool(nets or capped or account[BUDGET] >= 0.0)


@inline
def _budget_room(account: FloatArray, worth: float) -> float:
    """Return how much net gain may still be realised, fraction of the account."""
    year = account[YEAR_SHORT] + account[YEAR_LONG]
    return float(max(0.0, account[BUDGET] - year) / worth)


@inline
def _sell_lots(book: Book, n: int, budget_price: float) -> None:
    """Write how much of each lot goes, in the order of tax; bought-back lots are gains.

    Where gains and losses cost the same, as much of each goes as the gain budget leaves room
    for, by the same share in every name.
    """
    share = 1.0
    if budget_price == book.scalar[TIE]:
        most, least = 0.0, 0.0
        for i in range(n):
            if book.s[i] > 0.0 and book.b[i] <= 0.0:
                least += _least_gain(book, i, book.s[i])
                left = book.s[i]
                for j in range(book.first[i], book.last[i]):
                    lot = book.order[j]
                    part = min(book.q[lot], left)
                    most += part * book.gain_chosen[lot]
                    left -= part
        if most > book.scalar[ROOM] and most > least:
            share = max((book.scalar[ROOM] - least) / (most - least), 0.0)
    for i in range(n):
        left = book.s[i]
        rebought = book.b[i] > 0.0
        first, last = book.first[i], book.last[i]
        for j in range(first, last):
            lot = book.order[j]
            book.sold[lot] = 0.0
            if rebought and book.gain_short[lot] + book.gain_long[lot] <= 0.0:
                continue
            q = book.q[lot]
            if left >= q - SLACK * 1e-3:
                book.sold[lot] = q
                left -= q
            elif left > 0.0:
                book.sold[lot] = left
                left = 0.0
        if share < 1.0 and not rebought and book.s[i] > 0.0:
            left = book.s[i]
            for j in range(last - 1, first - 1, -1):
                lot = book.order[j]
                part = min(book.q[lot], left)
                left -= part
                if part != book.sold[lot]:
                    book.sold[lot] = share * book.sold[lot] + (1.0 - share) * part


@inline
def _plan_cost(
    book: Book,
    n: int,
    z: FloatArray,
    account: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    is_changed: bool,  # noqa: FBT001
) -> tuple[float, float]:
    """Return what the plan in h, b and s costs, and its worst broken limit.

    Exposures are those of the last sweep, unless the plan has been changed since.
    """
    size, at_cash, dynamic = shape
    lam, worth = account[LAMBDA], book.scalar[WORTH]
    square, own, cost = 0.0, 0.0, 0.0
    cash = book.scalar[CASH]
    turned = 0.0
    for k in range(at_cash):
        book.trial[k] = book.base[k]
        if not is_changed:
            book.trial[k] += book.slope[k]
    for i in range(n):
        x = book.h[i] - book.w[i]
        if is_changed:
            row = z[book.name[i]]
            for k in range(at_cash):
                book.trial[k] += row[k] * x
        own += book.d[i] * x * x
        b, s, kappa = book.b[i], book.s[i], book.kappa[i]
        cost += kappa * (b + s) - book.alpha[i] * x
        if b > 0.0:
            cost += book.fixed_buy[i]
        if s > 0.0:
            cost += book.fixed_sell[i]
        cash += (1.0 - kappa) * s - (1.0 + kappa) * b
        turned += b + s
    for k in range(kdim):
        square += book.trial[k] * book.trial[k]
    te_square = square + own + book.scalar[TE_REST]
    cost += 0.5 * lam * te_square + book.scalar[FLAT] + book.scalar[REPORT]
    broken = max(-cash, 0.0)
    cost += account[CASH_PRICE] * abs(cash - account[CASH_TARGET])
    for j in range(kdim, at_cash):
        over = 0.0
        if book.floor[j] < 0.0:
            over = max(over, -book.left[j] - book.trial[j])
        if book.ceiling[j] > 0.0:
            over = max(over, book.trial[j] + book.right[j])
        price = max(book.ceiling[j], -book.floor[j])
        if price < INF:
            cost += price * over
        else:
            broken = max(broken, over)
    _sell_lots(book, n, book.u[size + 1] if dynamic > 0 else -2.0)
    short, long, chosen = 0.0, 0.0, 0.0
    for i in range(n):
        if book.s[i] <= 0.0:
            continue
        for lot in range(book.first[i], book.last[i]):
            sold = book.sold[lot]
            if sold > 0.0:
                cost += book.tau_own[lot] * sold
                short += book.gain_short[lot] * sold
                long += book.gain_long[lot] * sold
                chosen += book.gain_chosen[lot] * sold
    if account[NETTING] > 0.0 and account[MODE] == HARVEST:
        year_short, year_long = account[YEAR_SHORT] / worth, account[YEAR_LONG] / worth
        cost += _year_tax(account, worth, year_short + short, year_long + long)
        cost -= _year_tax(account, worth, year_short, year_long)
    if account[BUDGET] >= 0.0:
        over = max(0.0, chosen - _budget_room(account, worth))
        if account[MODE] == REALISE:
            cost += (account[RATE_LONG] + account[BACK]) * over
        else:
            broken = max(broken, over)
    if account[TURNOVER] < INF:
        broken = max(broken, turned - account[TURNOVER])
    if account[TE_MAX] < INF:
        broken = max(broken, np.sqrt(te_square) - account[TE_MAX])
    return cost, broken


@inline
def _keep(book: Book, n: int, lots: int, out_h: FloatArray, out_sold: FloatArray) -> None:
    """Write the plan down as the account's best so far."""
    for i in range(n):
        out_h[book.name[i]] = book.h[i]
    for lot in range(lots):
        out_sold[book.lot[lot]] = book.sold[lot]


@inline
def _prepare(
    book: Book,
    n: int,
    z: FloatArray,
    whole: FloatArray,
    inverse_d: FloatArray,
    size: int,
    true_lam: float,
    lam: float,
    from_all: bool,  # noqa: FBT001
) -> float:
    """Set each name's curvature and the Hessian; return the softness that fits the account.

    With most names free it is cheaper to start from everybody's Hessian and take names out.
    """
    mean = 0.0
    for i in range(n):
        curve = true_lam * book.d[i]
        book.curve[i] = curve
        book.ease[i] = 1.0 / curve
        mean += curve
    if from_all and 2 * n > inverse_d.size:
        for r in range(size):
            for k in range(size):
                book.hessian[r, k] = whole[r, k] / lam
        at = 0
        for row in range(inverse_d.size):
            if at < n and book.name[at] == row:
                book.applied[at] = book.ease[at] * (true_lam / lam)
                at += 1
            else:
                # A name that cannot change is none of ours: take it out.
                take = inverse_d[row] / lam
                for r in range(size):
                    f = take * z[row, r]
                    for k in range(size):
                        book.hessian[r, k] -= f * z[row, k]
    else:
        for r in range(size):
            for k in range(size):
                book.hessian[r, k] = 0.0
        for i in range(n):
            book.applied[i] = 0.0
    return mean / (max(n, 1) * max(n, 1) * max(n, 1))


@inline
def _hold_all(
    a: int,
    worth: float,
    unit: FloatArray,
    holding_indptr: IntArray,
    holding_name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    h: FloatArray,
) -> None:
    """Write the plan of an account that does nothing."""
    h[:] = 0.0
    for j in range(holding_indptr[a], holding_indptr[a + 1]):
        for lot in range(lot_indptr[j], lot_indptr[j + 1]):
            h[holding_name[j]] += lot_nanos[lot] * unit[holding_name[j]] / worth


@inline
def _fix(book: Book, n: int) -> None:
    """Force every name into the branch with the largest share."""
    for i in range(n):
        if book.branches[i] != 0 and book.decided[i] == 0:
            best = 0
            for k in range(1, 3):
                if book.part[i, k] > book.part[i, best]:
                    best = k
            book.force[i] = 1 << best


@inline
def _set_lambda(
    book: Book,
    n: int,
    market: tuple[FloatArray, FloatArray, FloatArray],
    shape: tuple[int, int, int],
    from_all: bool,  # noqa: FBT001
) -> float:
    """Lay out curvatures and the Hessian at the prices; return the softness that fits."""
    z, whole, inverse_d = market
    true_lam = book.scalar[TRUE_LAMBDA]
    book.scalar[CONSTANT] = (
        book.scalar[FLAT] + book.scalar[SHIFT] + 0.5 * true_lam * book.scalar[TE_REST]
    )
    lam = _lambda_of(book, book.u, shape)
    book.scalar[HESSIAN_LAMBDA] = lam
    return _prepare(book, n, z, whole, inverse_d, shape[0], true_lam, lam, from_all)


@inline
def _relax(
    book: Book,
    n: int,
    z: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    t: float,
    washes: bool,  # noqa: FBT001
    knobs: FloatArray,
    rounds: int,
    cutoff: float,
) -> tuple[float, int]:
    """Raise the dual with equal branches mixed; return the best bound seen, and the sweeps."""
    best, sweeps = -INF, 0
    for _ in range(rounds):
        _, hard, used = _ascend(
            book,
            n,
            z,
            shape,
            kdim,
            t,
            washes,
            int(knobs[STEPS]),
            knobs[PROMISE],
            knobs[GRADIENT],
            cutoff,
            np.nan,
        )
        sweeps += abs(used)
        best = max(best, hard)
        regret = 0.0
        for i in range(n):
            if book.branches[i] != 0 and book.force[i] == 0:
                regret += book.regret[i]
                book.near[i, 0] = book.part[i, 0]
                book.near[i, 1] = book.part[i, 1]
                book.near[i, 2] = book.part[i, 2]
        if regret <= knobs[REGRET] or best >= cutoff:
            break
    return best, sweeps


@inline
def _most_torn(book: Book, n: int) -> int:
    """Return the undecided name whose mixed branches lie furthest apart, or -1."""
    found, most = -1, 1e-12
    for i in range(n):
        if book.branches[i] != 0 and book.decided[i] == 0:
            top = max(book.part[i, 0], book.part[i, 1], book.part[i, 2])
            score = (1.0 - top) * book.apart[i] * np.sqrt(book.curve[i])
            if score > most:
                found, most = i, score
    return found


@inline
def _pay(book: Book, n: int) -> bool:
    """Cut what is bought, everywhere in the same proportion, until cash is not negative.

    Returns whether that was necessary.
    """
    cash, room = book.scalar[CASH], 0.0
    for i in range(n):
        kappa = book.kappa[i]
        cash += (1.0 - kappa) * book.s[i] - (1.0 + kappa) * book.b[i]
        if book.b[i] > 0.0:
            room += (1.0 + kappa) * max(book.h[i] - max(book.low[i], book.buy_low[i]), 0.0)
    if cash >= 0.0 or room <= 0.0:
        return False
    share = min(-cash / room, 1.0)
    for i in range(n):
        if book.b[i] > 0.0:
            cut = share * max(book.h[i] - max(book.low[i], book.buy_low[i]), 0.0)
            book.h[i] -= cut
            book.b[i] = max(book.b[i] - cut, 0.0)
    return True


@inline
def _finish(
    book: Book,
    n: int,
    z: FloatArray,
    account: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    t: float,
    washes: bool,  # noqa: FBT001
    knobs: FloatArray,
    cutoff: float,
    known: float,
) -> tuple[float, float, int]:
    """Solve with the branches chosen; return what the plan costs, breaks, and the sweeps."""
    if shape[2] == 0 and shape[1] == kdim:
        # Nothing but cash itself is broken by mending it.
        book.scalar[CASH_WEIGHT] = 1e-11 / knobs[CASH_ASTRAY]
    _, hard, used = _ascend(
        book, n, z, shape, kdim, t, washes, 40, knobs[LAST_PROMISE], 1e-11, cutoff, known
    )
    book.scalar[CASH_WEIGHT] = 1.0
    if hard >= cutoff:
        return INF, INF, abs(used)
    is_paid = _pay(book, n)
    cost, broken = _plan_cost(book, n, z, account, shape, kdim, is_paid)
    return cost, broken, abs(used)


@inline
def _solve_all(book: Book, n: int) -> None:
    """Let sweeps solve every name."""
    for i in range(n):
        book.active[i] = i
    for k in range(book.fold.size):
        book.fold[k] = 0.0
    book.scalar[MOVING] = n
    book.scalar[FOLDED] = 0.0


@inline_sums
def _screen(book: Book, n: int, z: FloatArray, mu: float, at_cash: int) -> None:
    """Leave out names that hold and would hold if their price moved by `STILL`.

    The next sweep over all names shows whether they did.
    """
    moving, cost = 0, 0.0
    for i in range(n):
        held, kappa, force = book.held[i], book.kappa[i], book.force[i]
        still = book.h[i] == held and book.omega[i] == 0.0
        pull = book.p[i] + book.curve[i] * (held - book.w[i])
        if still and (force & (SELL | HOLD)) == 0 and book.high[i] > held:
            still = pull + kappa + mu * (1.0 + kappa) > STILL
        if still and (force & (BUY | HOLD)) == 0 and book.low[i] < held:
            tau = book.tau[book.order[book.first[i]]]
            still = pull + mu * (1.0 - kappa) - kappa - tau < -STILL
        if still:
            x = held - book.w[i]
            cost += (0.5 * book.curve[i] * x - book.alpha[i]) * x
            book.b[i] = 0.0
            book.s[i] = 0.0
            row = z[book.name[i]]
            for k in range(at_cash):
                book.fold[k] += row[k] * x
        else:
            book.active[moving] = i
            moving += 1
    book.scalar[MOVING] = moving
    book.scalar[FOLDED] = cost


@inline
def _reckon(
    book: Book,
    n: int,
    z: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    washes: bool,  # noqa: FBT001
) -> float:
    """Return the bound where the prices stand; write what each chosen branch costs too much."""
    for i in range(n):
        if book.branches[i] != 0 and book.decided[i] == 0:
            for k in range(3):
                book.near[i, k] = 1.0 if book.force[i] == 1 << k else 0.0
            book.force[i] = 0
    _, hard = _sweep(book, n, z, book.u, shape, FAR, washes)
    lam = _lambda_of(book, book.u, shape)
    hard += _own_terms(book, book.u, kdim, shape[0] + shape[2], lam)
    for i in range(n):
        if book.branches[i] != 0 and book.decided[i] == 0:
            for k in range(3):
                if book.near[i, k] == 1.0:
                    book.force[i] = 1 << k
    return float(hard)


@inline
def _flip(book: Book, n: int) -> bool:
    """Move names that regret their branch most to the better one; False where there is none."""
    most = 0.0
    for i in range(n):
        if book.branches[i] != 0 and book.decided[i] == 0:
            most = max(most, book.regret[i])
    if most <= NO_GAIN:
        return False
    for i in range(n):
        if book.branches[i] != 0 and book.decided[i] == 0 and book.regret[i] >= 0.3 * most:
            book.force[i] = book.better[i]
    return True


@inline
def _settle_branches(
    book: Book,
    n: int,
    lots: int,
    z: FloatArray,
    account: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    t: float,
    washes: bool,  # noqa: FBT001
    knobs: FloatArray,
    best: float,
    known: float,
    screened: bool,  # noqa: FBT001
    out_h: FloatArray,
    out_sold: FloatArray,
) -> tuple[float, float, int]:
    """Find a plan from the branches chosen, and better ones by moving names that regret theirs.

    Returns:
        The best cost so far, a bound (without the report), and the sweeps.
    """
    report = book.scalar[REPORT]
    bound, sweeps = -INF, 0
    for i in range(n):
        for k in range(3):
            book.kept[i, k] = book.near[i, k]
    for _ in range(FLIPS):
        cost, broken, used = _finish(
            book,
            n,
            z,
            account,
            shape,
            kdim,
            t,
            washes,
            knobs,
            min(best, book.scalar[HOPE]) - report,
            known,
        )
        known = np.nan
        sweeps += used + 1
        improved = broken <= BROKEN_MAX and cost < best
        if improved:
            best = cost
            _keep(book, n, lots, out_h, out_sold)
        again = screened
        if screened:
            _solve_all(book, n)
            screened = False
        bound = max(bound, _reckon(book, n, z, shape, kdim, washes))
        gap = knobs[GAP] * abs(best) + knobs[GAP_ABSOLUTE] if best < INF else 0.0
        if bound >= min(best - gap, book.scalar[HOPE]) - report:
            break
        if not _flip(book, n) and not again:
            break
        if not improved and not again:
            break
    for i in range(n):
        for k in range(3):
            book.near[i, k] = book.kept[i, k]
    return best, bound, sweeps


@inline
def _search(
    book: Book,
    n: int,
    lots: int,
    market: tuple[FloatArray, FloatArray, FloatArray],
    account: FloatArray,
    shape: tuple[int, int, int],
    kdim: int,
    washes: bool,  # noqa: FBT001
    is_warm: bool,  # noqa: FBT001
    knobs: FloatArray,
    best: float,
    out_h: FloatArray,
    out_sold: FloatArray,
    stats: FloatArray,
) -> tuple[float, float]:
    """Branch and bound over the names whose branches are torn; return the best cost and a bound.

    The bound is no higher than `best` where the search is complete up to the gap asked for.
    """
    z = market[0]
    size, at_cash, dynamic = shape
    end = size + dynamic
    _solve_all(book, n)
    t = _set_lambda(book, n, market, shape, not is_warm) * knobs[SOFTNESS]
    for i in range(n):
        book.decided[i] = 0
    depth, nodes, proved = 0, 0, INF
    node_bound = -INF
    report = book.scalar[REPORT]
    gap = knobs[GAP] * abs(best) + knobs[GAP_ABSOLUTE] if best < INF else 0.0
    cutoff = min(best - gap, book.scalar[HOPE]) - report
    if is_warm:
        # Yesterday's prices choose the branches; often that is all there is to do.
        for i in range(n):
            book.force[i] = 0
        known, _ = _sweep(book, n, z, book.u, shape, NEAR, washes)
        known += _own_terms(book, book.u, kdim, end, _lambda_of(book, book.u, shape))
        for i in range(n):
            book.force[i] = book.better[i] if book.branches[i] != 0 else 0
        screened = dynamic == 0 and not washes
        if screened:
            _screen(book, n, z, book.u[at_cash], at_cash)
        best, node_bound, sweeps = _settle_branches(
            book,
            n,
            lots,
            z,
            account,
            shape,
            kdim,
            t,
            washes,
            knobs,
            best,
            known,
            screened,
            out_h,
            out_sold,
        )
        stats[STAT_SWEEPS] += sweeps + 1
        gap = knobs[GAP] * abs(best) + knobs[GAP_ABSOLUTE] if best < INF else 0.0
        cutoff = min(best - gap, book.scalar[HOPE]) - report
        for j in range(end):
            book.best[j] = book.u[j]
        if node_bound >= cutoff:
            stats[STAT_NODES] += 1
            return best, min(node_bound + report, best)
    while True:
        for i in range(n):
            book.force[i] = book.decided[i]
        hard = node_bound
        torn, preferred = -1, 0
        nodes += 1
        for again in (False, True):
            for i in range(n):
                book.force[i] = book.decided[i]
            if again:
                for j in range(end):
                    book.u[j] = book.open_u[depth, j]
            rounds = int(knobs[ROUNDS]) - 1 if again else 1
            more, sweeps = _relax(book, n, z, shape, kdim, t, washes, knobs, rounds, cutoff)
            hard = max(hard, more)
            stats[STAT_SWEEPS] += sweeps
            if nodes == 1:
                for j in range(end):
                    book.best[j] = book.u[j]
            if hard >= cutoff:
                break
            torn = _most_torn(book, n)
            for j in range(end):
                book.open_u[depth, j] = book.u[j]
            _fix(book, n)
            preferred = book.force[torn] if torn >= 0 else 0
            best, more, sweeps = _settle_branches(
                book,
                n,
                lots,
                z,
                account,
                shape,
                kdim,
                t,
                washes,
                knobs,
                best,
                np.nan,
                False,  # noqa: FBT003 - kernels take no keywords
                out_h,
                out_sold,
            )
            hard = max(hard, more)
            stats[STAT_SWEEPS] += sweeps
            gap = knobs[GAP] * abs(best) + knobs[GAP_ABSOLUTE] if best < INF else 0.0
            cutoff = min(best - gap, book.scalar[HOPE]) - report
            if hard >= cutoff:
                break
        if hard < cutoff and torn >= 0 and depth < DEPTH:
            book.open_name[depth] = torn
            book.open_branches[depth] = book.branches[torn] + 8 * preferred
            book.open_bound[depth] = hard
            depth += 1
        else:
            proved = min(proved, hard)
        # The next branch to try: of the deepest open name that can still improve on the best.
        while depth > 0:
            at = depth - 1
            left = book.open_branches[at] & 7
            if left != 0 and book.open_bound[at] >= cutoff:
                proved = min(proved, book.open_bound[at])
                left = 0
            spent = nodes >= knobs[NODES] or stats[STAT_SWEEPS] >= SWEEPS_MAX
            if left != 0 and spent:
                proved = min(proved, book.open_bound[at])
                left = 0
            if left != 0:
                break
            book.decided[book.open_name[at]] = 0
            depth -= 1
        if depth == 0:
            break
        at = depth - 1
        take = book.open_branches[at] >> 3
        left = book.open_branches[at] & 7
        if take == 0:
            take = left & -left
        book.open_branches[at] = left & ~take
        book.decided[book.open_name[at]] = take
        node_bound = book.open_bound[at]
        for j in range(end):
            book.u[j] = book.open_u[at, j]
    stats[STAT_NODES] += nodes
    return best, min(proved + report, best)


@inline
def _hope(
    account: FloatArray,
    n: int,
    lots: int,
    names: int,
    book: Book,
    row_price: FloatArray,
    row_low: FloatArray,
    row_high: FloatArray,
    z: FloatArray,
    kdim: int,
    variance_max: float,
) -> float:
    """Return more than any allowed plan can cost: a bound above it proves that there is none.

    What is held adds up to no more than the account, and so does what is sold, once and bought
    back once; a dollar more for rounding.
    """
    total = 10.0 + 0.5 * account[LAMBDA] * variance_max
    total += n * (account[THETA] + account[PHI])
    total += account[CASH_PRICE] * (1.0 + account[CASH_TARGET])
    total += abs(book.scalar[FLAT]) + abs(book.scalar[REPORT])
    for i in range(n):
        total += abs(book.alpha[i])
    for lot in range(lots):
        total += max(book.tau_own[lot], 0.0) * book.q[lot]
    for r in range(row_price.size):
        if row_price[r] < INF:
            most = 0.0
            for i in range(names):
                most = max(most, abs(z[i, kdim + r]))
            for edge in (row_low[r], row_high[r]):
                if abs(edge) < INF:
                    most = max(most, abs(edge))
            total += 2.0 * row_price[r] * most
    return float(total)


@kernel(
    IN2_FLOATS,
    IN1_FLOATS,
    IN1_FLOATS,
    IN1_FLOATS,
    IN1_FLOATS,
    IN2_FLOATS,
    IN1,
    IN1,
    IN1,
    IN1,
    IN1,
    IN1,
    IN1,
    IN1,
    IN1_BOOLS,
    IN1_BOOLS,
    IN1_BOOLS,
    IN2_UBYTES,
    IN2_FLOATS,
    IN2_FLOATS,
    "Array(int64, 2, 'C', True)",
    "Array(int64, 2, 'C', True)",
    IN2_FLOATS,
    IN2_FLOATS,
    IN1_FLOATS,
    IN2_FLOATS,
    IN2_FLOATS,
    IN1_FLOATS,
    OUT2_FLOATS,
    OUT1_FLOATS,
    OUT1_FLOATS,
    OUT1_FLOATS,
    OUT1,
    OUT2_FLOATS,
    OUT2_FLOATS,
)
def solve_rows(
    z: FloatArray,
    d: FloatArray,
    inverse_d: FloatArray,
    unit: FloatArray,
    kappa: FloatArray,
    whole: FloatArray,
    dims: IntArray,
    cash_cents: IntArray,
    holding_indptr: IntArray,
    holding_name: IntArray,
    lot_indptr: IntArray,
    lot_nanos: IntArray,
    lot_basis: IntArray,
    lot_day: IntArray,
    lot_is_long: BoolArray,
    lot_is_blocked: BoolArray,
    lot_wait: BoolArray,
    rule: ByteArray,
    w: FloatArray,
    alpha: FloatArray,
    lower: IntArray,
    upper: IntArray,
    row_low: FloatArray,
    row_high: FloatArray,
    row_price: FloatArray,
    accounts: FloatArray,
    warm: FloatArray,
    knobs: FloatArray,
    out_h: FloatArray,
    out_sold: FloatArray,
    objective: FloatArray,
    bound: FloatArray,
    status: IntArray,
    duals: FloatArray,
    stats: FloatArray,
) -> int:
    """Solve each account; see `optimizer` for shapes."""
    count = cash_cents.size
    kdim, at_cash, dynamic = dims[0], dims[1], dims[2]
    names, size = z.shape
    most_lots = 0
    for a in range(count):
        most_lots = max(
            most_lots, lot_indptr[holding_indptr[a + 1]] - lot_indptr[holding_indptr[a]]
        )
    book = _room(names, most_lots + 1, size + dynamic)
    for a in range(count):
        account = accounts[a]
        h = out_h[a]
        # What others in the batch ask for must not change this account's path.
        shape = (size, at_cash, dynamic if _asks_more(account) else 0)
        end = size + shape[2]
        washes = account[MODE] == REALISE and account[TRADE_MIN] <= 0.0 and account[THETA] <= 0.0
        worth = _value(a, cash_cents, holding_indptr, holding_name, lot_indptr, lot_nanos, unit)
        status[a] = 0
        objective[a] = 0.0
        bound[a] = 0.0
        if worth <= 0.0:
            continue
        benchmark = w[0 if w.shape[0] == 1 else a]
        n = _load(
            book,
            a,
            worth,
            account,
            z,
            d,
            unit,
            kappa,
            holding_indptr,
            holding_name,
            lot_indptr,
            lot_nanos,
            lot_basis,
            lot_day,
            lot_is_long,
            lot_is_blocked,
            lot_wait,
            rule[0 if rule.shape[0] == 1 else a],
            benchmark,
            alpha[0 if alpha.shape[0] == 1 else a],
            lower[0 if lower.shape[0] == 1 else a],
            upper[0 if upper.shape[0] == 1 else a],
            cash_cents,
            h,
        )
        if n < 0:
            status[a] = 1
            stats[a, STAT_FAILED] = PROVED
            _hold_all(a, worth, unit, holding_indptr, holding_name, lot_indptr, lot_nanos, h)
            continue
        lows = row_low[0 if row_low.shape[0] == 1 else a]
        highs = row_high[0 if row_high.shape[0] == 1 else a]
        _set_prices(book, account, z, benchmark, shape, kdim, lows, highs, row_price)
        book.scalar[TRUE_LAMBDA] = account[LAMBDA]
        book.scalar[FACTORS] = kdim
        book.scalar[CASH_WEIGHT] = 1.0
        lots = book.last[n - 1] if n > 0 else 0
        for j in range(end):
            book.u[j] = warm[a, j] if warm.shape[0] > 0 else 0.0
        for i in range(n):
            share = book.branches[i]
            pieces = (share & 1) + ((share >> 1) & 1) + ((share >> 2) & 1)
            for k in range(3):
                book.near[i, k] = ((share >> k) & 1) / max(pieces, 1)
        market = (z, whole, inverse_d)
        book.scalar[HOPE] = _hope(
            account,
            n,
            lots,
            names,
            book,
            row_price,
            lows,
            highs,
            z,
            kdim,
            knobs[VARIANCE_MAX],
        )
        best, proved = INF, INF
        nets = account[NETTING] > 0.0 and account[MODE] == HARVEST
        book.scalar[SHIFT] = 0.0
        for turn in range(4 if nets else 1):
            regime = 0
            if nets:
                regime = 4 - turn
            if shape[2] > 0 and not _set_regime(book, lots, account, shape, regime):
                continue
            for j in range(kdim, end):
                # Outside its range a price bounds nothing.
                book.u[j] = min(max(book.u[j], book.floor[j]), book.ceiling[j])
            before = best
            best, part = _search(
                book,
                n,
                lots,
                market,
                account,
                shape,
                kdim,
                washes,
                warm.shape[0] > 0 and (not nets or turn == 0),
                knobs,
                best,
                h,
                out_sold,
                stats[a],
            )
            if best < before:
                for j in range(end):
                    duals[a, j] = book.best[j]
            for j in range(end):
                book.u[j] = duals[a, j]
            proved = min(proved, part)
        objective[a] = best
        bound[a] = min(proved, best)
        if objective[a] >= INF:
            status[a] = 1
            objective[a] = 0.0
            stats[a, STAT_FAILED] = PROVED if proved >= book.scalar[HOPE] - SLACK else GAVE_UP
            _hold_all(a, worth, unit, holding_indptr, holding_name, lot_indptr, lot_nanos, h)
            continue
        stats[a, STAT_TRADES] = n
    return 0
