"""What the optimizer is asked: many accounts that share one market, held as arrays.

Notation, the same in every module of the optimizer:

* A accounts, N names, K factors, H holdings, L lots, R rows; i names, l lots, r rows.
* `X` (N, K) factor loadings scaled so that the annual covariance is S = X X' + diag(d).
* Everything inside is a fraction of an account's value V = cash + holdings: `h` what is held,
  `w` the benchmark, x = h - w, b >= 0 bought, s >= 0 sold by lot, t = b - sum(s), c cash.
* `tau` is the tax of selling a lot, per dollar sold; `kappa` the cost per dollar traded.

What a plan of one account must do, and what it costs. V = cash + shares at market, unrounded:

* A lot is q = its worth / V, with g = 1 - basis / worth its gain per dollar. It can be sold
  unless its name has `NEVER_SELL`, it is blocked, or g < 0 under `NEVER_SELL_AT_LOSS`.
* h_i = h0_i + b_i - sum of its s, and h_i stays within [lower, upper] (no bound: [0, inf)), at
  exactly 0 under `NEVER_OWN`; hard. Active bounds |h - w| <= cap give way: each is moved to the
  nearest holding that rules, masks and hard bounds let the account reach.
* c = c0 + sum (1 - kappa) s - sum (1 + kappa) b >= 0, hard; pi |c - c*| is paid.
* A name is not bought while a lot of it with g < 0 is sold. Selling and buying one name at
  once is for `REALISE` only, and only where no minimum trade and no theta is set.
* A purchase is 0 or at least the minimum trade; what is sold of a name is 0, at least the
  minimum, or all of it. theta is paid per name bought or sold, phi per name with h0 = 0 < h.
* sum over names of b + s <= turnover cap; TE <= cap; rows; all hard (rows where priced: soft).
* Gain budget: sum g s over all lots but those under `NEVER_OWN` (sales we do not choose) stays
  within room = max(0, budget - year_short - year_long) / V. Hard, except with `REALISE`, where
  each dollar beyond costs the long rate and what it was credited with.
* Cost: lambda/2 TE^2 + sum tau s + sum kappa (b + s) - alpha'h + pi |c - c*| + theta, phi,
  priced rows and budget; TE^2 = |X'(h - w)|^2 + sum d (h - w)^2.

tau, per dollar sold (r the short or the long rate, back = recapture x long rate):

* `HARVEST`, no netting: r g for g >= 0, plus (short - long) g where a short lot waits;
  (r - back) g for g < 0. `NEUTRAL`: the same, 0 for g < 0.
* `REALISE`: -back g, for gains and losses alike; lots under `NEVER_OWN` as with `HARVEST`.
* `HARVEST` with netting: tau keeps the waiting and -back g, and r g gives way to the tax of the
  year T(S, L) - T(S0, L0): S0, L0 what the year has, S, L with the plan's short and long gains.
  T = short S + long L where both are gains; where one is a loss and S + L >= 0, the other's
  rate times S + L; where S + L < 0, the loss saves the ordinary rate up to the limit, and carry
  x long rate beyond it (never more than the ordinary rate). Other modes do not net.

The border is exact: cents, nanoshares and micro-dollars come in and go out (HOUSE law 3);
floats carry only dimensionless numbers in between. Nothing here knows a database, a clock or a
tax table: rates, holding periods and masks are handed in.
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

HARD: Final = float("inf")
"""The price of a row that may not be broken at all."""


class Rule(IntFlag):
    """What may not be done with one name in one account; a bit each, 0 is free."""

    NEVER_BUY = 1
    """No purchase: wash-sale mask of the bought side, employer's stock, a halted name."""
    NEVER_SELL = 2
    """No sale at all: a lock-up, unsettled shares, shares the customer keeps."""
    NEVER_SELL_AT_LOSS = 4
    """No sale of a lot with a loss: bought within 30 days anywhere in the household."""
    NEVER_OWN = 8
    """Must be sold down to zero: an exclusion. With `NEVER_SELL` it cannot be met."""
    NEVER_TRADE = 3
    """Neither bought nor sold."""


class TaxMode(IntEnum):
    """What the customer wants from taxes; switchable any day."""

    HARVEST = 0
    """Losses are worth their tax, gains cost theirs."""
    NEUTRAL = 1
    """Gains cost their tax, losses are worth nothing."""
    REALISE = 2
    """Gains are sought up to the budget, and cost their tax beyond it."""


@dataclass(frozen=True, slots=True)
class Market:
    """What all accounts of a batch share."""

    exposure: FloatArray
    """X, shape (N, K): annual, so that S = X X' + diag(d)."""
    specific_variance: FloatArray
    """d, shape (N,), annual, positive."""
    price_micros: IntArray
    """Shape (N,), micro-dollars a share, positive."""
    cost_ppm: IntArray
    """kappa, shape (N,): half spread and fees per dollar traded, parts per million."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Linear wishes on what is held: low <= G h <= high, hard or priced; the same for a batch."""

    weight: FloatArray
    """G, shape (R, N): 1 for the names of a sector, a score for a score row."""
    low: FloatArray
    """Shape (R,) or (A, R), fractions of the account (or score units); -inf for no bound."""
    high: FloatArray
    """Shape (R,) or (A, R)."""
    price: FloatArray
    """Shape (R,): cost per unit of violation a year, in objective units; `HARD` for never."""


@dataclass(frozen=True, slots=True)
class Taxes:
    """An account's tax position; every array has shape (A,). Rates include NIIT and state."""

    short_rate_ppm: IntArray
    long_rate_ppm: IntArray
    ordinary_rate_ppm: IntArray
    """What a dollar of net loss saves within the yearly limit against ordinary income."""
    mode: IntArray
    """`TaxMode`."""
    year_short_cents: IntArray
    """Net short-term gain realised this year so far, carry-forward included; may be negative."""
    year_long_cents: IntArray
    ordinary_limit_cents: IntArray
    """Net loss that offsets ordinary income this year ($3,000)."""
    carry_ppm: IntArray
    """Present value of a dollar of tax saved by a loss carried to later years."""
    gain_budget_cents: IntArray
    """Net gain that the customer allows this year, for sales we choose; negative: none."""
    recapture_ppm: IntArray
    """Share of the long-term tax on a harvested loss that a lower basis brings back later."""
    netting: BoolArray
    """True: short and long net against each other and the year; False: each dollar at its rate."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What an account is asked to be; arrays of shape (A,) unless said otherwise."""

    benchmark: FloatArray
    """w, shape (N,) or (A, N): not negative, each row sums to 1."""
    risk_aversion: FloatArray
    """lambda of lambda/2 TE^2, all in fractions of the account."""
    cash_ppm: IntArray
    """c*, the cash to keep."""
    cash_price_ppm: IntArray
    """pi of pi |c - c*|: what a dollar too much or too little costs."""
    active_max_ppm: IntArray
    """|h_i - w_i| at most this, except where a rule or what is held makes it impossible."""
    alpha: FloatArray | None = None
    """Expected excess return, shape (N,) or (A, N), annual fraction; None for none."""
    upper_ppm: IntArray | None = None
    """Most of a name, shape (N,) or (A, N); None for no more than `active_max_ppm` says."""
    lower_ppm: IntArray | None = None
    """Least of a name, shape (N,) or (A, N)."""
    trade_min_cents: IntArray | None = None
    """Trades are zero, at least this, or the close of a position."""
    trade_cost_ppm: IntArray | None = None
    """theta: a fixed cost per name traded, ppm of the account."""
    new_line_ppm: IntArray | None = None
    """phi: a fixed cost per name newly held, ppm of the account."""
    turnover_max_ppm: IntArray | None = None
    """sum |t| at most this."""
    tracking_error_max_ppm: IntArray | None = None
    """Annual TE at most this."""
    rows: Rows | None = None


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the accounts hold. Holdings of account a are `holding_indptr[a]` up to the next."""

    cash_cents: IntArray
    """Shape (A,): free to invest, not negative."""
    holding_indptr: IntArray
    """Shape (A + 1,)."""
    holding_name: IntArray
    """Shape (H,): index into the market, rising within an account."""
    lot_indptr: IntArray
    """Shape (H + 1,): the lots of each holding, in any order."""
    lot_nanos: IntArray
    """Shape (L,), positive."""
    lot_basis_cents: IntArray
    """Shape (L,), not negative: the whole lot's basis."""
    lot_acquired_day: IntArray
    """Shape (L,): days since an epoch; breaks ties and marks the order of purchase."""
    lot_is_long: BoolArray
    """Shape (L,): held long enough for the long-term rate today."""
    lot_is_blocked: BoolArray
    """Shape (L,): this lot may not be sold."""
    lot_wait: BoolArray
    """Shape (L,): turns long-term soon, so a gain waits: its tax counts the rate saved."""
    rule: ByteArray
    """`Rule` bits, shape (N,) or (A, N)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A whole question: market, accounts, taxes and wants."""

    market: Market
    accounts: Accounts
    taxes: Taxes
    wants: Wants


class Status(IntEnum):
    """How an account ended."""

    SOLVED = 0
    INFEASIBLE = 1
    """Some hard wishes conflict, which is proved; `conflicts` names them. No trades."""
    UNDECIDED = 2
    """No allowed plan was found, and none was ruled out. No trades."""


@dataclass(frozen=True, slots=True)
class Duals:
    """What a next day starts from; opaque, shape (A, M)."""

    value: FloatArray


@dataclass(frozen=True, slots=True)
class Solution:
    """What to trade. Trades of account a are `trade_indptr[a]` up to the next, by name."""

    trade_indptr: IntArray
    trade_name: IntArray
    buy_cents: IntArray
    """Shape (T,): notional to buy, before costs; 0 for a sale."""
    sell_nanos: IntArray
    """Shape (T,): shares to sell; 0 for a purchase. Both only where `REALISE` sells and rebuys."""
    lot_sold_nanos: IntArray
    """Shape (L,), aligned with the problem's lots: how much of each to sell."""
    objective: FloatArray
    """Shape (A,): of the continuous solution, fraction of the account; the kernel's own sum."""
    bound: FloatArray
    """Shape (A,): certified: no allowed plan costs less."""
    status: IntArray
    """Shape (A,): `Status`."""
    duals: Duals
    holding: FloatArray = field(repr=False)
    """h, shape (A, N): the continuous plan before rounding, for evaluators and certificates."""
    lot_sold: FloatArray = field(repr=False)
    """s, shape (L,): the continuous plan, fractions of the account."""
