"""The benchmark's questions: seeded accounts like those of facts/optimizer.md, section 2.

**Market.** N names (500), K factors (30: the market, 11 sectors, 18 styles). Index weights fall
like (i - 0.0986)^-0.874, which at N = 500 puts 34 % into the top ten and makes 47 effective
names. Volatilities are lognormal with mean 31 %; 26 % of a stock's variance comes from the
market, 12 % from its sector and 10 % from styles (each give or take), which makes the mean
correlation 0.27 and the index's volatility 16.8 %. Prices walk for six years of weeks under that
very model with 8 % a year of drift, so that lots bought along the way have gains and losses
that hang together; they end between $10 and $600.

**Accounts.** Values are log-uniform from $50,000 to $5,000,000, 4 % of them fresh cash. The rest
holds the index with weights drifted by a lognormal 20 %. Each holding has 1 to 6 lots (3.56 on
average, 1,780 at N = 500) of random sizes and purchase weeks. Rates are 37 % short and 20 %
long; trading costs 5 bp. 4 % of the names may not be bought, 10 % were bought in the last 30
days, so their loss lots are blocked; 1 % of the names (5 of 500) are excluded, and two in five
of those are held and must go. Nothing may be more than two points away from the index, lambda
is 40, and idle or missing cash costs 1 %.

Everything else is off until a `Recipe` turns it on. The same recipe gives the same problem, byte
for byte; the market depends on the seed, N and K alone, so feature switches keep the accounts.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from robo.portfolio.problem import (
    HARD,
    Accounts,
    BoolArray,
    ByteArray,
    FloatArray,
    IntArray,
    Market,
    Problem,
    Rows,
    Rule,
    Solution,
    Taxes,
    TaxMode,
    Wants,
)

TODAY: Final = 20_000
"""The day of the question, in days since an epoch."""
WEEKS: Final = 313
SECTORS: Final = 11
LONG_DAYS: Final = 365
WASH_DAYS: Final = 30
WAIT_DAYS: Final = 45
_NANO, _CENT = 10**9, 10**13  # nanoshares a share; nano * micro-dollars in a cent


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to draw; the defaults are section 2's instance, every extra wish is off."""

    accounts: int = 100
    names: int = 500
    factors: int = 30
    seed: int = 2026
    risk_aversion: float = 40.0
    active_max_ppm: int = 20_000
    cash_price_ppm: int = 10_000
    mode: TaxMode = TaxMode.HARVEST
    netting: bool = False
    """Year-to-date gains and carried losses within 3 % of the value, a $3,000 limit."""
    recapture_ppm: int = 0
    wait: bool = False
    """Gains within 45 days of the long-term rate wait."""
    gain_budget_ppm: int = -1
    """Of the value; negative for none."""
    hard_rows: int = 0
    """Sectors held within half a point of the index."""
    priced_rows: int = 0
    """Further sectors, the same band, at 0.05 a unit."""
    turnover_max_ppm: int | None = None
    tracking_error_max_ppm: int | None = None
    trade_min_cents: int | None = None
    trade_cost_ppm: int | None = None
    new_line_ppm: int | None = None
    alpha: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """The market with what only the generator knows of it."""

    market: Market
    weight: FloatArray
    """The index, shape (N,)."""
    path: FloatArray
    """Prices relative to today's, shape (WEEKS, N); the last row is ones."""
    sector: IntArray


def draw(recipe: Recipe) -> Problem:
    """Return the problem that a recipe describes."""
    world = draw_world(recipe.names, recipe.factors, recipe.seed)
    rng = np.random.default_rng([recipe.seed, recipe.names, 2])
    accounts, value = _draw_accounts(recipe.accounts, world, rng)
    if recipe.wait:
        age = TODAY - accounts.lot_acquired_day
        waits = ~accounts.lot_is_long & (age > LONG_DAYS - WAIT_DAYS)
        accounts = replace(accounts, lot_wait=waits)
    return Problem(
        market=world.market,
        accounts=accounts,
        taxes=_draw_taxes(recipe, value),
        wants=_draw_wants(recipe, world),
    )


def index_weights(names: int) -> FloatArray:
    """Return weights with a top-ten share of 34 % and 47 effective names at N = 500."""
    raw = (np.arange(1, names + 1) - 0.0986) ** -0.874
    return np.asarray(raw / raw.sum())


def draw_world(names: int, factors: int, seed: int) -> World:
    """Return a market; the moments it is made to have are in the module's docstring."""
    rng = np.random.default_rng([seed, names, factors, 1])
    sectors = min(SECTORS, max(factors - 1, 0))
    sector = rng.permutation(np.arange(names) % max(sectors, 1))
    spread_out = np.exp(rng.normal(0, 0.28, names))
    share = np.stack([rng.normal(mean, spread, names) for mean, spread in _SHARES], axis=1)
    share = np.clip(share, 0.02, 0.5)
    loading = np.zeros((names, factors))
    loading[:, 0] = np.sqrt(share[:, 0])
    if sectors:
        loading[np.arange(names), 1 + sector] = np.sqrt(share[:, 1])
    if factors > 1 + sectors:
        style = rng.normal(size=(names, factors - 1 - sectors))
        style /= np.sqrt((style**2).sum(axis=1, keepdims=True))
        loading[:, 1 + sectors :] = style * np.sqrt(share[:, 2:])
    volatility = _calibrated(spread_out, loading, index_weights(names))
    exposure = loading * volatility[:, None]
    specific = volatility**2 * (1 - (loading**2).sum(axis=1))
    price = np.floor(10 ** rng.uniform(7, 8.778, names)).astype(np.int64)
    step = rng.normal(size=(WEEKS - 1, factors)) @ exposure.T
    step += rng.normal(size=step.shape) * np.sqrt(specific)
    step -= step.mean(axis=0)
    walk = np.cumsum(step / np.sqrt(52) + 0.08 / 52, axis=0)
    path = np.exp(np.vstack([np.zeros(names), walk]) - walk[-1])
    market = Market(exposure, specific, price, np.full(names, 500, dtype=np.int64))
    return World(market, index_weights(names), path, sector)


_SHARES: Final = ((0.262, 0.05), (0.12, 0.03), (0.10, 0.03))
"""Mean and spread of the variance that market, sector and styles explain."""


def _calibrated(raw: FloatArray, loading: FloatArray, weight: FloatArray) -> FloatArray:
    """Return volatilities with mean 31 %, tilted by size until the index has 16.8 %."""
    low, high = -0.2, 0.2
    for _ in range(40):
        tilt = (low + high) / 2
        volatility = raw * (weight * weight.size) ** tilt
        volatility *= 0.31 / volatility.mean()
        swing = weight * volatility
        own = (swing**2) @ (1 - (loading**2).sum(axis=1))
        index = np.sqrt(((swing @ loading) ** 2).sum() + own)
        low, high = (tilt, high) if index < 0.168 else (low, tilt)
    return np.asarray(volatility)


def _draw_accounts(count: int, world: World, rng: np.random.Generator) -> tuple[Accounts, IntArray]:
    names = world.weight.size
    price = world.market.price_micros
    value = np.floor(np.exp(rng.uniform(np.log(5e6), np.log(5e8), count))).astype(np.int64)
    rule, held = _draw_rules(count, names, rng)
    drifted = world.weight * np.exp(rng.normal(0, 0.2, (count, names))) * held
    drifted /= drifted.sum(axis=1, keepdims=True)
    nanos = np.floor(drifted * 0.96 * value[:, None] / price * _CENT).astype(np.int64)
    account, name = np.nonzero(nanos >= 6)
    nanos = nanos[account, name]
    lots = 1 + rng.binomial(5, 0.512, account.size)
    lot_holding = np.repeat(np.arange(account.size), lots)
    lot_indptr = np.concatenate([[0], np.cumsum(lots)])
    part = rng.gamma(2.0, size=lot_holding.size) + 0.05
    part /= np.add.reduceat(part, lot_indptr[:-1])[lot_holding]
    lot_nanos = np.maximum(np.floor(part * nanos[lot_holding]).astype(np.int64), 1)
    lot_name = name[lot_holding]
    recent = rng.random((count, names)) < 0.1
    week = WEEKS - 6 - np.floor((WEEKS - 6) * rng.random(lot_holding.size) ** 1.5).astype(np.int64)
    fresh = recent[account, name] & (rng.random(account.size) < 0.5)
    week[lot_indptr[1:][fresh] - 1] = WEEKS - 2  # the purchase that blocks is a lot as well
    relative = world.path[week, lot_name]
    worth = _cents(lot_nanos, price[lot_name])
    basis = np.floor(worth * relative).astype(np.int64)
    excluded = rule[account, name] & Rule.NEVER_OWN > 0
    barred = (recent[account, name] & ~excluded)[lot_holding]
    age = (WEEKS - 1 - week) * 7
    accounts = Accounts(
        cash_cents=np.round(0.04 * value).astype(np.int64),
        holding_indptr=np.searchsorted(account, np.arange(count + 1)).astype(np.int64),
        holding_name=name.astype(np.int64),
        lot_indptr=lot_indptr.astype(np.int64),
        lot_nanos=lot_nanos,
        lot_basis_cents=basis,
        lot_acquired_day=(TODAY - age).astype(np.int64),
        lot_is_long=age > LONG_DAYS,
        lot_is_blocked=barred & (basis > worth),
        lot_wait=np.zeros(age.size, dtype=np.bool_),
        rule=rule,
    )
    return accounts, value


def _draw_rules(count: int, names: int, rng: np.random.Generator) -> tuple[ByteArray, BoolArray]:
    """Return rules (A, N) and which names are held; excluded ones are drawn without repetition."""
    rule = np.where(rng.random((count, names)) < 0.04, np.uint8(Rule.NEVER_BUY), np.uint8(0))
    held = np.ones((count, names), dtype=np.bool_)
    excluded = round(names / 100)
    if excluded:
        order = np.argsort(rng.random((count, names)), axis=1)[:, :excluded]
        np.put_along_axis(rule, order, np.uint8(Rule.NEVER_OWN | Rule.NEVER_BUY), axis=1)
        np.put_along_axis(held, order[:, round(excluded * 0.4) :], values=False, axis=1)
    return rule, held


def _draw_taxes(recipe: Recipe, value: IntArray) -> Taxes:
    rng = np.random.default_rng([recipe.seed, 3])
    count = value.size
    year = np.round(rng.normal(0, 0.03, (2, count)) * value).astype(np.int64)
    budget = np.full(count, -1) if recipe.gain_budget_ppm < 0 else value * recipe.gain_budget_ppm

    def every(number: int) -> IntArray:
        return np.full(count, number, dtype=np.int64)

    return Taxes(
        short_rate_ppm=every(370_000),
        long_rate_ppm=every(200_000),
        ordinary_rate_ppm=every(320_000),
        mode=every(int(recipe.mode)),
        year_short_cents=year[0] * recipe.netting,
        year_long_cents=year[1] * recipe.netting,
        ordinary_limit_cents=every(300_000),
        carry_ppm=every(600_000),
        gain_budget_cents=np.maximum(budget // 1_000_000, -1),
        recapture_ppm=every(recipe.recapture_ppm),
        netting=np.full(count, recipe.netting),
    )


def _draw_wants(recipe: Recipe, world: World) -> Wants:
    count = recipe.accounts
    rng = np.random.default_rng([recipe.seed, recipe.names, 4])

    def every(number: int | None) -> IntArray | None:
        return None if number is None else np.full(count, number, dtype=np.int64)

    return Wants(
        benchmark=world.weight,
        risk_aversion=np.full(count, recipe.risk_aversion),
        cash_ppm=np.zeros(count, dtype=np.int64),
        cash_price_ppm=np.full(count, recipe.cash_price_ppm, dtype=np.int64),
        active_max_ppm=np.full(count, recipe.active_max_ppm, dtype=np.int64),
        alpha=rng.normal(0, 0.005, recipe.names) if recipe.alpha else None,
        trade_min_cents=every(recipe.trade_min_cents),
        trade_cost_ppm=every(recipe.trade_cost_ppm),
        new_line_ppm=every(recipe.new_line_ppm),
        turnover_max_ppm=every(recipe.turnover_max_ppm),
        tracking_error_max_ppm=every(recipe.tracking_error_max_ppm),
        rows=_sector_rows(recipe, world),
    )


def _sector_rows(recipe: Recipe, world: World) -> Rows | None:
    count = min(recipe.hard_rows + recipe.priced_rows, SECTORS)
    if not count:
        return None
    member = (world.sector == np.arange(count)[:, None]).astype(np.float64)
    target = member @ world.weight
    price = np.where(np.arange(count) < recipe.hard_rows, HARD, 0.05)
    return Rows(member, np.maximum(target - 0.005, 0), target + 0.005, price)


def next_day(problem: Problem, solution: Solution, seed: int, today: int = TODAY + 1) -> Problem:
    """Return the question of the next session after the trades were done at the old prices.

    One day of returns under the model moves prices and the index. Sold lots shrink or go, bought
    cents become a lot each; costs leave the cash. Lots age a day. Names sold at a loss may not be
    bought and loss lots of names just bought are blocked; older masks end with one day in 30.
    """
    rng = np.random.default_rng([seed, 5])
    market, old = problem.market, problem.accounts
    names, count = market.price_micros.size, old.cash_cents.size
    shock = market.exposure @ rng.normal(size=market.exposure.shape[1])
    shock += np.sqrt(market.specific_variance) * rng.normal(size=names)
    growth = np.exp(shock / np.sqrt(252))
    price = np.maximum(np.round(market.price_micros * growth), 1).astype(np.int64)
    weight = problem.wants.benchmark * (price / market.price_micros)
    lot = _Lots.of(problem, solution)
    trader = np.repeat(np.arange(count), np.diff(solution.trade_indptr))
    costs = market.cost_ppm[solution.trade_name] / 1e6
    earned = np.floor(_cents(solution.sell_nanos, market.price_micros[solution.trade_name]))
    flow = earned - solution.buy_cents - np.ceil(costs * (earned + solution.buy_cents))
    cash = old.cash_cents + np.bincount(trader, flow, count).astype(np.int64)
    rule = np.broadcast_to(old.rule, (count, names)).copy()
    ended = rng.random(rule.shape) < 1 / WASH_DAYS
    rule[ended & (rule == Rule.NEVER_BUY)] = 0
    lost = (solution.lot_sold_nanos > 0) & lot.has_loss
    rule[lot.account[lost], lot.name[lost]] |= np.uint8(Rule.NEVER_BUY)
    bought = np.zeros(rule.shape, dtype=np.bool_)
    is_buy = solution.buy_cents > 0
    bought[trader[is_buy], solution.trade_name[is_buy]] = True
    left = lot.kept(solution.lot_sold_nanos).joined(
        lot.bought(trader[is_buy], solution, is_buy, market, today - 1)
    )
    left.blocked = (left.blocked & ~ended[left.account, left.name]) | bought[
        left.account, left.name
    ]
    accounts = left.accounts(np.maximum(cash, 0), rule, price, today)
    return replace(
        problem,
        market=replace(market, price_micros=price),
        accounts=replace(accounts, lot_wait=accounts.lot_wait & bool(old.lot_wait.any())),
        wants=replace(problem.wants, benchmark=weight / weight.sum(axis=-1, keepdims=True)),
    )


@dataclass(slots=True)
class _Lots:
    """Lots with their account and name spelled out, so that they can be joined and sorted."""

    account: IntArray
    name: IntArray
    nanos: IntArray
    basis: IntArray
    day: IntArray
    blocked: BoolArray
    has_loss: BoolArray

    @classmethod
    def of(cls, problem: Problem, solution: Solution) -> "_Lots":
        """Return the lots of a problem; the solution must be of the same lots."""
        accounts = problem.accounts
        assert solution.lot_sold_nanos.shape == accounts.lot_nanos.shape
        holding = np.repeat(np.arange(accounts.holding_name.size), np.diff(accounts.lot_indptr))
        owner = np.repeat(np.arange(accounts.cash_cents.size), np.diff(accounts.holding_indptr))
        name = accounts.holding_name[holding]
        worth = _cents(accounts.lot_nanos, problem.market.price_micros[name])
        return cls(
            owner[holding],
            name,
            accounts.lot_nanos,
            accounts.lot_basis_cents,
            accounts.lot_acquired_day,
            accounts.lot_is_blocked,
            accounts.lot_basis_cents > worth,
        )

    def kept(self, sold: IntArray) -> "_Lots":
        """Return what is left, each lot's basis in proportion and rounded down."""
        left = self.nanos - sold
        basis = np.floor(self.basis * (left / self.nanos)).astype(np.int64)
        rest = replace(self, nanos=left, basis=basis)
        return rest.where(left > 0)

    def bought(
        self, trader: IntArray, solution: Solution, is_buy: BoolArray, market: Market, day: int
    ) -> "_Lots":
        """Return a lot for each purchase, as many nanoshares as the cents paid for."""
        name, cents = solution.trade_name[is_buy], solution.buy_cents[is_buy]
        nanos = np.floor(cents * (_CENT / market.price_micros[name])).astype(np.int64)
        no = np.zeros(name.size, dtype=np.bool_)
        days = np.full(name.size, day, dtype=np.int64)
        return _Lots(trader, name, nanos, cents, days, no, no).where(nanos > 0)

    def joined(self, more: "_Lots") -> "_Lots":
        """Return both, by account, name and day."""
        pairs = (
            np.concatenate([getattr(self, part), getattr(more, part)])
            for part in self.__dataclass_fields__
        )
        both = _Lots(*pairs)
        return both.where(np.lexsort((both.day, both.name, both.account)))

    def accounts(self, cash: IntArray, rule: ByteArray, price: IntArray, today: int) -> Accounts:
        """Return them as a problem's accounts, aged to the day."""
        key = self.account * np.int64(price.size) + self.name
        start = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])[: key.size])
        age = today - self.day
        is_long = age > LONG_DAYS
        at_loss = self.basis > _cents(self.nanos, price[self.name])
        return Accounts(
            cash_cents=cash,
            holding_indptr=np.searchsorted(self.account[start], np.arange(cash.size + 1)),
            holding_name=self.name[start],
            lot_indptr=np.append(start, key.size).astype(np.int64),
            lot_nanos=self.nanos,
            lot_basis_cents=self.basis,
            lot_acquired_day=self.day,
            lot_is_long=is_long,
            lot_is_blocked=self.blocked & at_loss,
            lot_wait=~is_long & (age > LONG_DAYS - WAIT_DAYS),
            rule=rule,
        )

    def where(self, keep: BoolArray | IntArray) -> "_Lots":
        """Return the lots of a mask, or in an order."""
        return _Lots(*(getattr(self, part)[keep] for part in self.__dataclass_fields__))


def _cents(nanos: IntArray, price: IntArray) -> FloatArray:
    return np.asarray(nanos / _NANO * (price / 10**4))


def part(problem: Problem, first: int, last: int) -> Problem:
    """Return the accounts from first up to last as a problem of their own; arrays are views."""
    old = problem.accounts
    holding = slice(*old.holding_indptr[[first, last]])
    lot = slice(*old.lot_indptr[[holding.start, holding.stop]])
    rows = problem.wants.rows

    def mine(source: object, name: str) -> Any:
        value = getattr(source, name)
        return None if value is None else value[first:last]

    if rows is not None and rows.low.ndim == 2:
        rows = replace(rows, low=rows.low[first:last], high=rows.high[first:last])
    own = {name: mine(problem.wants, name) for name in _PER_ACCOUNT}
    accounts = Accounts(
        cash_cents=old.cash_cents[first:last],
        holding_indptr=old.holding_indptr[first : last + 1] - holding.start,
        holding_name=old.holding_name[holding],
        lot_indptr=old.lot_indptr[holding.start : holding.stop + 1] - lot.start,
        lot_nanos=old.lot_nanos[lot],
        lot_basis_cents=old.lot_basis_cents[lot],
        lot_acquired_day=old.lot_acquired_day[lot],
        lot_is_long=old.lot_is_long[lot],
        lot_is_blocked=old.lot_is_blocked[lot],
        lot_wait=old.lot_wait[lot],
        rule=old.rule[first:last],
    )
    names = problem.taxes.__dataclass_fields__
    taxes = Taxes(**{name: mine(problem.taxes, name) for name in names})
    return Problem(problem.market, accounts, taxes, replace(problem.wants, rows=rows, **own))


_PER_ACCOUNT: Final = (
    "risk_aversion",
    "cash_ppm",
    "cash_price_ppm",
    "active_max_ppm",
    "trade_min_cents",
    "trade_cost_ppm",
    "new_line_ppm",
    "turnover_max_ppm",
    "tracking_error_max_ppm",
)
