"""The step that all planners of direct sleeves share: chunk, target and tax numbers become trades.

It reads nothing and writes nothing: what the tables say, the day's model and prices and the tax
side are handed in; trades with their reasons, lots and effects come out, as arrays.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from robo.core.money import PPM
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio import optimizer, plans, positions
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import (
    Accounts,
    BoolArray,
    FloatArray,
    IntArray,
    Market,
    Problem,
    Rule,
    Solution,
    Status,
    TaxMode,
    Wants,
)
from robo.services import following, sparing
from robo.services.asking import EPOCH, Ask, gain_room, unlimited
from robo.services.modelling import Model
from robo.services.quoting import Board
from robo.services.sparing import Spared
from robo.tax import arrays as tax_arrays

NO_ROOM: Final = -1
_NO_PRICE_MICROS: Final = 1_000_000
"""Stands for a price that is not known; such a name is neither counted nor traded."""
_RAISE_PPM: Final = 2 * PPM
"""What a dollar too much or too little costs where cash is to be raised: more than any tax."""


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """What to trade, T trades by account and name, and what that does."""

    account: IntArray
    column: IntArray
    buy_cents: IntArray
    sell_nanos: IntArray
    reason: tuple[Reason, ...]
    trade_tax_cents: IntArray
    trade_cost_cents: IntArray
    trade_risk_ppm: IntArray
    """Annual tracking error of the plan, less that of the plan without the trade."""
    lot_sold_nanos: IntArray
    """Of every lot asked about, (L,)."""
    lot_gain_cents: IntArray
    """What that realises, (L,)."""
    status: IntArray
    """`Status`, (A,)."""
    before_ppm: IntArray
    after_ppm: IntArray
    tax_cents: IntArray
    cost_cents: IntArray
    short_gain_cents: IntArray
    long_gain_cents: IntArray


def solve(model: Model, board: Board, ask: Ask, policy: Policy, on: date) -> Solved:
    """Return what accounts should trade, tax lot by tax lot.

    Purchases never exceed free cash: those that the sales are to pay for wait until their money
    has settled, and are planned again then.
    """
    market, known = _market(model, board, policy)
    inside, problem, spared = _problem(
        market, known, _among(model, board.unbought), model, ask, policy, on
    )
    solution = optimizer.solve(problem)
    buy, sold = _affordable(problem, solution, policy)
    status = solution.status.copy()
    for number in range(sparing.PASSES):
        # Lots that only go together with all that is fresh, and would not: kept, and asked again.
        rows = spared.disagreeing(sold, stern=number >= sparing.PASSES // 2)
        if not rows.size:
            break
        part, mine = sparing.some(problem, rows, spared.blocked)
        solution = optimizer.solve(part)
        status[rows] = solution.status
        buy[rows], sold[mine] = _affordable(part, solution, policy)
    assert not spared.disagreeing(sold, stern=True).size
    least = policy.order_notional_cents_min
    sold = sparing.within_aim(problem, ask, inside, sold, least)
    sold = sparing.within_room(problem, ask, spared, sold, least)
    sold = _of_a_share(problem, sold, model, board)
    buy = np.where(following.of_companies(model, spared.losses(sold, buy.shape)), 0, buy)
    return _told(problem, ask, inside, status, buy, sold)


def _market(model: Model, board: Board, policy: Policy) -> tuple[Market, BoolArray]:
    """Return the optimizer's market, and which names have a price and trade."""
    ids = model.security_ids.tolist()
    price = np.array([board.price_micros.get(one, 0) for one in ids], dtype=np.int64)
    open_ = np.array([one not in board.stopped for one in ids], dtype=np.bool_)
    cost = np.full(price.size, policy.trade_cost_ppm, dtype=np.int64)
    shown = np.where(price > 0, price, _NO_PRICE_MICROS)
    market = Market(model.exposure, model.specific_variance, shown, cost)
    return market, (price > 0) & open_


def _problem(
    market: Market,
    known: BoolArray,
    unbought: BoolArray,
    model: Model,
    ask: Ask,
    policy: Policy,
    on: date,
) -> tuple[IntArray, Problem, Spared]:
    """Return which lots take part, the optimizer's question, and what stands in their way."""
    today = (on - EPOCH).days
    count, names = ask.benchmark.shape
    column = np.searchsorted(model.security_ids, ask.lots.security_id)
    column = np.minimum(column, names - 1)
    priced = market.price_micros != _NO_PRICE_MICROS
    there = (model.security_ids[column] == ask.lots.security_id) & (known | priced)[column]
    inside = np.flatnonzero(there)
    lots, tax, column = ask.lots, ask.tax, column[inside]
    owner = lots.account[inside]
    keys = owner * names + column
    first = np.flatnonzero(np.diff(keys, prepend=-1) != 0)
    holding = np.bincount(owner[first], minlength=count)
    nanos = lots.nanos[inside]
    worth = notional_cents(nanos, market.price_micros[column])
    month = np.sqrt(((model.exposure**2).sum(axis=1) + model.specific_variance) / 12)[column]
    taxes = tax.taxes if ask.need_cents is None else unlimited(tax.taxes)
    spared = sparing.spared(ask, taxes, inside, keys, worth, month, policy, today)
    held = tax.held_day[inside]
    accounts = Accounts(
        cash_cents=ask.cash_cents,
        holding_indptr=np.concatenate([[0], np.cumsum(holding)]).astype(np.int64),
        holding_name=column[first],
        lot_indptr=np.append(first, keys.size).astype(np.int64),
        lot_nanos=nanos,
        lot_basis_cents=spared.shy_cents,
        lot_acquired_day=lots.acquired_day[inside],
        lot_is_long=tax_arrays.is_long(held, today),
        lot_is_blocked=spared.blocked,
        lot_wait=tax_arrays.waits(held, today, policy.long_wait_days),
        rule=_rules(ask, known, unbought, owner, column, spared),
    )
    closed = (gain_room(taxes) <= 0) & (taxes.gain_budget_cents >= 0)
    budget = np.where(closed, NO_ROOM, taxes.gain_budget_cents)
    taxes = replace(taxes, gain_budget_cents=budget)
    value = ask.cash_cents + np.bincount(owner, worth, count).astype(np.int64)
    return inside, Problem(market, accounts, taxes, _wants(ask, value, policy)), spared


def _rules(
    ask: Ask,
    known: BoolArray,
    unbought: BoolArray,
    owner: IntArray,
    column: IntArray,
    spared: Spared,
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return what may not be done with names, (A, N)."""
    rule = np.where(ask.buyable & known, 0, int(Rule.NEVER_BUY)).astype(np.uint8)
    fixed = ask.frozen
    if ask.sheds is not None:
        harvests = ask.tax.taxes.mode == TaxMode.HARVEST
        fixed = fixed & ~(ask.sheds & harvests[:, None])
        rule |= np.where(ask.sheds, np.uint8(Rule.NEVER_BUY), np.uint8(0))
    rule |= np.where(fixed | ~known, np.uint8(Rule.NEVER_TRADE), np.uint8(0))
    rule |= np.where(unbought, np.uint8(Rule.NEVER_BUY), np.uint8(0))
    rule |= np.where(ask.tax.no_buy, np.uint8(Rule.NEVER_BUY), np.uint8(0))
    if ask.need_cents is not None:
        rule |= np.uint8(Rule.NEVER_BUY)
    if ask.lands:
        # What is bought now would forbid the losses that the year's last sessions still want.
        wants = ask.tax.aim.has & (ask.tax.aim.wanted_cents < 0)
        late = spared.loses & wants[owner]
        rule[owner[late], column[late]] |= np.uint8(Rule.NEVER_BUY)
    return rule


def _wants(ask: Ask, value_cents: IntArray, policy: Policy) -> Wants:
    count = ask.cash_cents.size
    cash = np.zeros(count, dtype=np.int64)
    price = np.full(count, policy.cash_price_ppm, dtype=np.int64)
    if ask.need_cents is not None:
        wanted = ask.cash_cents + ask.need_cents
        cash = np.minimum(-(-wanted * PPM // np.maximum(value_cents, 1)), PPM)
        price = np.full(count, _RAISE_PPM, dtype=np.int64)
    return Wants(
        benchmark=ask.benchmark,
        risk_aversion=np.full(count, float(policy.risk_aversion)),
        cash_ppm=cash,
        cash_price_ppm=price,
        active_max_ppm=np.full(count, PPM, dtype=np.int64),
    )


def _affordable(problem: Problem, solution: Solution, policy: Policy) -> tuple[IntArray, IntArray]:
    """Return purchases (A, N) in cents that free cash pays for, and what is sold of each lot.

    Sales below the smallest worth making are dropped, unless they close a position.
    """
    accounts = problem.accounts
    count, names = problem.wants.benchmark.shape
    trader = np.repeat(np.arange(count), np.diff(solution.trade_indptr))
    buy = np.zeros((count, names), dtype=np.int64)
    buy[trader, solution.trade_name] = solution.buy_cents
    buy = _within(buy, accounts.cash_cents, policy.order_notional_cents_min)
    where = positions.read(problem)
    least = np.maximum(
        policy.order_notional_cents_min,
        (where.value_cents * policy.trade_part_ppm / PPM).astype(np.int64),
    )
    sold = solution.lot_sold_nanos.copy()
    holding = np.repeat(np.arange(accounts.holding_name.size), np.diff(accounts.lot_indptr))
    cents = notional_cents(sold, problem.market.price_micros[where.lot_name])
    by_holding = np.bincount(holding, cents, accounts.holding_name.size)
    left = np.bincount(holding, accounts.lot_nanos - sold, accounts.holding_name.size)
    owner = np.repeat(np.arange(count), np.diff(accounts.holding_indptr))
    tiny = (by_holding < least[owner]) & (left > 0)
    sold[tiny[holding]] = 0
    return buy, sold


def _within(buy: IntArray, free_cents: IntArray, least_cents: int) -> IntArray:
    """Return purchases (A, N) that free cash pays for, none below the smallest order.

    All are cut by the same part where the cash is short; what is too small for an order goes to
    the account's largest purchase, or waits with it.
    """
    total = buy.sum(axis=1)
    wanted = np.minimum(total, free_cents)
    part = wanted * PPM // np.maximum(total, 1)
    cut = buy * part[:, None] // PPM
    kept = np.where(cut >= least_cents, cut, 0)
    rows, top = np.arange(len(buy)), buy.argmax(axis=1)
    kept[rows, top] += wanted - kept.sum(axis=1)
    return np.where(kept >= least_cents, kept, 0)


def _among(model: Model, names: Collection[int]) -> BoolArray:
    """Return which of the model's names are in a collection, (N,)."""
    return np.array([one in names for one in model.security_ids.tolist()], dtype=np.bool_)


def _of_a_share(problem: Problem, sold: IntArray, model: Model, board: Board) -> IntArray:
    """Return sales of lots (L,) without those of less than the broker takes of a name."""
    step = np.array([board.step(one) for one in model.security_ids.tolist()], dtype=np.int64)
    if (step == 1).all():
        return sold
    accounts = problem.accounts
    count = accounts.holding_name.size
    holding = np.repeat(np.arange(count), np.diff(accounts.lot_indptr))
    nanos = np.zeros(count, dtype=np.int64)
    np.add.at(nanos, holding, sold)
    small = nanos < step[accounts.holding_name]
    return np.where(small[holding], 0, sold)


def _told(
    problem: Problem,
    ask: Ask,
    inside: IntArray,
    status: IntArray,
    buy: IntArray,
    sold: IntArray,
) -> Solved:
    """Return the trades with their reasons and effects."""
    market, names = problem.market, problem.wants.benchmark.shape[1]
    where = positions.read(problem)
    count = where.value_cents.size
    unit = np.where(where.value_cents > 0, where.value_cents, 1.0)
    share = sold / np.maximum(problem.accounts.lot_nanos, 1)
    state = plans.outcome(problem, where, plans.Plan(buy / unit[:, None], share * where.lot_value))
    nanos = np.zeros((count, names), dtype=np.int64)
    np.add.at(nanos, (where.lot_account, where.lot_name), sold)
    account, column = np.nonzero((buy > 0) | (nanos > 0))
    worth = notional_cents(sold, market.price_micros[where.lot_name])
    basis = ask.tax.basis_cents[inside] * share
    gain = np.where(sold > 0, worth - basis, 0.0)
    long = problem.accounts.lot_is_long
    rate = np.where(
        long,
        ask.tax.taxes.long_rate_ppm[where.lot_account],
        ask.tax.taxes.short_rate_ppm[where.lot_account],
    )
    tax = where.per_name(gain * rate / PPM)
    cost = (buy + where.per_name(worth.astype(np.float64))) * market.cost_ppm / PPM
    gains = where.per_name(gain)
    before = plans.outcome(
        problem, where, plans.Plan(np.zeros((count, names)), np.zeros(sold.size))
    )
    lot_sold = np.zeros(ask.lots.nanos.size, dtype=np.int64)
    lot_sold[inside] = sold
    lot_gain = np.zeros(ask.lots.nanos.size, dtype=np.int64)
    lot_gain[inside] = _whole(gain)
    return Solved(
        account=account,
        column=column,
        buy_cents=buy[account, column],
        sell_nanos=nanos[account, column],
        reason=_reasons(where, ask, account, column, buy, gains),
        trade_tax_cents=_whole(tax[account, column]),
        trade_cost_cents=_whole(np.ceil(cost[account, column])),
        trade_risk_ppm=_risk_of(market, state, where.benchmark, account, column),
        lot_sold_nanos=lot_sold,
        lot_gain_cents=lot_gain,
        status=status,
        before_ppm=_whole(before.tracking_error * PPM),
        after_ppm=_whole(state.tracking_error * PPM),
        tax_cents=_whole(tax.sum(axis=1)),
        cost_cents=_whole(np.ceil(cost.sum(axis=1))),
        short_gain_cents=_whole(where.per_account(np.where(long, 0.0, gain))),
        long_gain_cents=_whole(where.per_account(np.where(long, gain, 0.0))),
    )


def _risk_of(
    market: Market, state: plans.Outcome, benchmark: FloatArray, account: IntArray, column: IntArray
) -> IntArray:
    """Return what each trade adds to tracking error: the plan's, less that without the trade."""
    active = state.holding - benchmark
    moved = (active @ market.exposure) @ market.exposure.T + active * market.specific_variance
    t = state.trade[account, column]
    own = (market.exposure[column] ** 2).sum(axis=1) + market.specific_variance[column]
    variance = state.tracking_error[account] ** 2
    without = variance - 2 * t * moved[account, column] + t * t * own
    return _whole((np.sqrt(variance) - np.sqrt(np.maximum(without, 0.0))) * PPM)


def _reasons(
    where: positions.Positions,
    ask: Ask,
    account: IntArray,
    column: IntArray,
    buy: IntArray,
    gains: FloatArray,
) -> tuple[Reason, ...]:
    held = where.held[account, column] > 0
    buys = buy[account, column] > 0
    mode = ask.tax.taxes.mode[account]
    loss = gains[account, column] < 0
    raises = np.full(account.shape, ask.need_cents is not None)
    code = np.select(
        [raises, buys & held, buys, mode == TaxMode.REALISE, loss & (mode == TaxMode.HARVEST)],
        [5, 0, 1, 2, 3],
        4,
    )
    return tuple(_REASONS[one] for one in code.tolist())


_REASONS: Final = (
    Reason.BUY_TRACKING,
    Reason.BUY_NEW_NAME,
    Reason.SELL_GAIN_WANTED,
    Reason.SELL_HARVEST,
    Reason.SELL_TRACKING,
    Reason.SELL_WITHDRAWAL,
)


def _whole(values: FloatArray) -> IntArray:
    return np.rint(values).astype(np.int64)


def is_solved(solved: Solved) -> BoolArray:
    """Return which accounts have a plan, (A,)."""
    return np.asarray(solved.status == Status.SOLVED)
