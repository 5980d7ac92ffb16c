"""What each replay of the tax study wants on a day: masks, the optimizer's question, the rules.

Plans are made with the closes of one session and filled at the closes of the next. A lot that may
not be sold at a loss is only sold with a limit at its basis: a fall overnight makes no wash.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench._tax_book import COST_PPM, Book, Lots
from bench._tax_market import Walk
from bench._tax_replays import Policy, Replay, Step
from robo.core.money import PPM
from robo.portfolio.optimizer import solve
from robo.portfolio.problem import (
    Accounts,
    Duals,
    Market,
    Problem,
    Rule,
    Solution,
    Taxes,
    TaxMode,
    Wants,
)
from robo.tax.arrays import Bans, FreshLots, MaskArrays, Owners, is_long, masks, waits
from robo.tax.rates import Rates
from robo.tax.wash_sales import WINDOW

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RECAPTURE_PPM: Final = 300_000
"""Of the long-term tax on a harvested loss: what a lower basis brings back, in present value."""
WAIT_DAYS: Final = 45
ACTIVE_MAX_PPM: Final = 20_000
PASSES: Final = 8
"""Questions a step may ask; in the later half, accounts that disagree block all such lots."""
TRADE_MIN_CENTS: Final = 50_00
FORESIGHT: Final = 21
"""Sessions that a replay with foresight sees, and how far a price must fall in them to wait."""
FORESIGHT_FALL: Final = 0.98
NEVER_SELL: Final = int(Rule.NEVER_SELL)
NEVER_BUY: Final = int(Rule.NEVER_BUY)


@dataclass(slots=True)
class Wish:
    """What is to be done at the fill: sales by lot (L,), purchases (A, N)."""

    sell_nanos: IntArray
    buy_cents: IntArray
    limited: BoolArray
    tracking_error: FloatArray
    """Ex ante, after the plan, (A,)."""


@dataclass(slots=True)
class Planner:
    """Plans for all replays of a walk."""

    walk: Walk
    replays: tuple[Replay, ...]
    rates: tuple[Rates, ...]
    """Of each replay."""
    duals: Duals | None = None
    free_duals: Duals | None = None
    everyone: IntArray = field(init=False)
    measured: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Number the replays."""
        self.everyone = np.arange(len(self.replays))
        counted = [number for number, one in enumerate(self.replays) if one.measured]
        self.measured = np.array(counted, dtype=np.int64)

    def forbidden(self, book: Book, day: int) -> MaskArrays:
        """Return the day's masks of every replay; each is a household of its own."""
        lots = book.lots
        order, indptr, account, name = _holdings(lots)
        many = len(self.replays)
        owners = Owners(
            household=self.everyone,
            is_ira=np.zeros(many, dtype=np.bool_),
            buy_buy_sell=np.zeros(many, dtype=np.bool_),
            holding_account=account,
            holding_name=name,
            lot_indptr=indptr,
        )
        late = [one for one in book.sold_at_loss if one.day + WINDOW.days >= day]
        until = [np.full(one.account.size, one.day + WINDOW.days + 1) for one in late]
        bans = Bans(
            household=_flat([one.account for one in late]),
            name=_flat([one.name for one in late]),
            until_day=_flat(until),
        )
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        young = np.flatnonzero(lots.day + WINDOW.days >= day)
        fresh = FreshLots(
            household=lots.account[young],
            name=lots.name[young],
            bought_day=lots.day[young],
            lot=back[young],
            in_ira=np.zeros(young.size, dtype=np.bool_),
            is_open=np.zeros(young.size, dtype=np.bool_),
        )
        found = masks(owners, bans, fresh, book.names, day)
        by_lot = (found.no_loss, found.whole_only, found.is_fresh, found.closes)
        return MaskArrays(found.rule, *(one[back] for one in by_lot))

    def wish(self, book: Book, step: Step, wanted_cents: IntArray) -> Wish:
        """Return what to do; `wanted_cents` (A,) is what a year-target replay still wants."""
        day, price = int(self.walk.days[step.fill]), self.walk.price_micros[step.plan]
        mask = self.forbidden(book, day)
        gain = book.lot_worth_cents(price) - book.lots.basis_cents
        presold = self._by_rule(book, mask, gain)
        rule = mask.rule & np.uint8(NEVER_BUY)
        rule[book.lots.account[presold], book.lots.name[presold]] |= NEVER_BUY
        rule[~self._sells(step)] |= NEVER_SELL
        later = self._better_later(book, step, gain)
        masked = (mask.no_loss | mask.whole_only) & (gain < 0)
        # First as if fresh shares could be sold; then what does not go whole with them stays.
        blocked = masked & (self._fresh_gain(book, gain, day) | ~self._closes(book))
        later |= self._shallow(book, step, gain)
        for number in range(PASSES):
            problem, kept = self._problem(
                book, step, self.everyone, rule, blocked | later, presold, wanted_cents
            )
            solution = solve(problem, self.duals)
            self.duals = solution.duals
            sold = np.zeros(book.lots.id.size, dtype=np.int64)
            sold[kept] = solution.lot_sold_nanos
            washed = masked & ~blocked & (sold > 0) & self._fresh_stays(book, sold, day)
            spots = self._name_key(book)
            if not washed.any():
                break
            blocked |= masked & np.isin(spots, spots[washed])
            if number >= PASSES // 2:
                blocked |= masked & np.isin(book.lots.account, book.lots.account[washed])
        assert not washed.any()
        closing = np.isin(spots, spots[masked & (sold > 0)])
        sold[presold] = book.lots.nanos[presold]
        if self.measured.size:
            self._count_asked(book, step, sold, gain)
        return Wish(
            sold,
            _purchases(solution, len(self.replays), book.names),
            (mask.no_loss | mask.whole_only) & ~closing,
            _tracking_error(problem, solution),
        )

    def _name_key(self, book: Book) -> IntArray:
        return book.lots.account * book.names + book.lots.name

    def _closes(self, book: Book) -> BoolArray:
        # Who cuts losses to what is wanted may cut what had to go with others.
        closes = np.array([one.closes and not one.targets for one in self.replays])
        found: BoolArray = closes[book.lots.account]
        return found

    def _shallow(self, book: Book, step: Step, gain: IntArray) -> BoolArray:
        """Return the lots of names none of whose losses is worth the month without another."""
        model = self.walk.model(step.plan)
        variance = (model.exposure**2).sum(axis=1) + model.specific_variance
        month = np.sqrt(variance / 12)
        lots, key = book.lots, self._name_key(book)
        patience = np.array([one.patience for one in self.replays])[lots.account]
        deep = -gain > patience * month[lots.name] * lots.basis_cents
        kept: BoolArray = (gain < 0) & ~np.isin(key, key[deep])
        return kept

    def _fresh_gain(self, book: Book, gain: IntArray, day: int) -> BoolArray:
        """Return the lots in whose name something bought of late has a gain: it will not go."""
        key = self._name_key(book)
        young = (book.lots.day + WINDOW.days >= day) & (gain >= 0)
        return np.isin(key, key[young])

    def _fresh_stays(self, book: Book, sold: IntArray, day: int) -> BoolArray:
        """Return the lots in whose name something bought of late is not sold whole."""
        key = self._name_key(book)
        young = (book.lots.day + WINDOW.days >= day) & (sold < book.lots.nanos)
        return np.isin(key, key[young])

    def asked(self, book: Book, step: Step) -> IntArray:
        """Return what planners of the measured replays would sell without wash masks, (L,)."""
        lots = book.lots
        rule = np.zeros((len(self.replays), book.names), dtype=np.uint8)
        rule[~self._sells(step)] |= NEVER_SELL
        none = np.zeros(lots.id.size, dtype=np.bool_)
        nothing = np.zeros(len(self.replays), dtype=np.int64)
        problem, kept = self._problem(book, step, self.measured, rule, none, none, nothing)
        solution = solve(problem, self.free_duals)
        self.free_duals = solution.duals
        wanted = np.zeros(lots.id.size, dtype=np.int64)
        wanted[kept] = solution.lot_sold_nanos
        return wanted

    def _count_asked(self, book: Book, step: Step, sell: IntArray, gain: IntArray) -> None:
        """Count of each lot the deepest loss that a planner without masks asks for."""
        lots = book.lots
        counted = np.isin(lots.account, self.measured) & (gain < 0)
        wanted = np.maximum(self.asked(book, step), sell)
        asked = np.where(counted, -gain * (wanted / lots.nanos), 0.0).astype(np.int64)
        new = np.maximum(asked - lots.asked_cents, 0)
        lots.asked_cents += new
        taken = np.where(counted, -gain * (sell / lots.nanos), 0.0)
        np.add.at(book.harvestable, lots.account, new.astype(np.float64))
        np.add.at(book.harvested, lots.account, taken)

    def _sells(self, step: Step) -> BoolArray:
        """Return which replays may sell at a step."""
        on = {
            Policy.HOLD: False,
            Policy.THRESHOLD: False,
            Policy.MONTHLY: step.month_begins,
            Policy.YEARLY: step.year_ends,
        }
        return np.array([on.get(one.policy, True) for one in self.replays])

    def _by_rule(self, book: Book, mask: MaskArrays, gain: IntArray) -> BoolArray:
        """Return the lots that the threshold rule sells whole."""
        lots = book.lots
        rule = np.array([one.policy is Policy.THRESHOLD for one in self.replays])
        limit = np.array([one.threshold for one in self.replays])
        deep = gain <= -limit[lots.account] * lots.basis_cents
        sold: BoolArray = rule[lots.account] & deep & ~mask.no_loss
        return sold

    def _better_later(self, book: Book, step: Step, gain: IntArray) -> BoolArray:
        """Return the lots that a replay with foresight keeps because their price falls further."""
        sees = np.array([one.policy is Policy.FORESIGHT for one in self.replays])
        price = self.walk.price_micros
        ahead = price[step.fill : step.fill + FORESIGHT].min(axis=0)
        falls = ahead < FORESIGHT_FALL * price[step.fill]
        kept: BoolArray = sees[book.lots.account] & falls[book.lots.name] & (gain < 0)
        return kept

    def _problem(
        self,
        book: Book,
        step: Step,
        rows: IntArray,
        rule: NDArray[np.uint8],
        blocked: BoolArray,
        presold: BoolArray,
        wanted_cents: IntArray,
    ) -> tuple[Problem, IntArray]:
        """Return the question of some replays, and the positions of its lots in the book."""
        price = self.walk.price_micros[step.plan]
        inside = np.isin(book.lots.account, rows) & ~presold
        chosen = np.flatnonzero(inside)
        lots = book.lots.where(chosen)
        order, indptr, account, name = _holdings(lots)
        cash = book.cash_cents.copy()
        gone = book.lots.where(presold)
        worth = book.lot_worth_cents(price)[presold] * (PPM - COST_PPM) // PPM
        np.add.at(cash, gone.account, worth)
        day = int(self.walk.days[step.fill])
        lots, kept = lots.where(order), chosen[order]
        model = self.walk.model(step.plan)
        problem = Problem(
            Market(
                model.exposure,
                model.specific_variance,
                price,
                np.full(book.names, COST_PPM, dtype=np.int64),
            ),
            Accounts(
                cash_cents=cash[rows],
                holding_indptr=np.searchsorted(account, np.append(rows, rows[-1] + 1)),
                holding_name=name,
                lot_indptr=indptr,
                lot_nanos=lots.nanos,
                lot_basis_cents=lots.basis_cents,
                lot_acquired_day=lots.day,
                lot_is_long=is_long(lots.day, day),
                lot_is_blocked=blocked[kept],
                lot_wait=waits(lots.day, day, WAIT_DAYS),
                rule=rule[rows],
            ),
            self._taxes(rows, wanted_cents),
            self._wants(rows, step),
        )
        return problem, kept

    def _taxes(self, rows: IntArray, wanted_cents: IntArray) -> Taxes:
        def each(values: list[int]) -> IntArray:
            return np.array(values, dtype=np.int64)

        rates = [self.rates[row] for row in rows]
        aims = np.array([bool(self.replays[row].targets) for row in rows])
        seeks = ~aims | (wanted_cents[rows] < 0)
        zero = np.zeros(rows.size, dtype=np.int64)
        return Taxes(
            short_rate_ppm=each([one.short_ppm for one in rates]),
            long_rate_ppm=each([one.long_ppm for one in rates]),
            ordinary_rate_ppm=each([one.ordinary_ppm for one in rates]),
            mode=np.where(seeks, int(TaxMode.HARVEST), int(TaxMode.NEUTRAL)),
            year_short_cents=zero,
            year_long_cents=zero,
            ordinary_limit_cents=zero,
            carry_ppm=zero,
            gain_budget_cents=np.where(aims, np.maximum(wanted_cents[rows], 0), -1),
            recapture_ppm=np.full(rows.size, RECAPTURE_PPM),
            netting=np.zeros(rows.size, dtype=np.bool_),
        )

    def _wants(self, rows: IntArray, step: Step) -> Wants:
        many = rows.size
        return Wants(
            benchmark=self.walk.benchmark[step.plan],
            risk_aversion=np.array([self.replays[row].risk_aversion for row in rows]),
            cash_ppm=np.zeros(many, dtype=np.int64),
            cash_price_ppm=np.full(many, 10_000),
            active_max_ppm=np.full(many, ACTIVE_MAX_PPM),
            trade_min_cents=np.full(many, TRADE_MIN_CENTS),
        )


def _holdings(lots: Lots) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return lots in the order of account and name, with pointers, account and name by holding."""
    order = np.lexsort((lots.id, lots.name, lots.account))
    account, name = lots.account[order], lots.name[order]
    new = np.ones(order.size, dtype=np.bool_)
    new[1:] = (account[1:] != account[:-1]) | (name[1:] != name[:-1])
    starts = np.flatnonzero(new)
    return order, np.append(starts, order.size), account[starts], name[starts]


def _flat(parts: list[IntArray]) -> IntArray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _purchases(solution: Solution, accounts: int, names: int) -> IntArray:
    cents = np.zeros((accounts, names), dtype=np.int64)
    owner = np.repeat(np.arange(accounts), np.diff(solution.trade_indptr))
    cents[owner, solution.trade_name] = solution.buy_cents
    return cents


def _tracking_error(problem: Problem, solution: Solution) -> FloatArray:
    active = solution.holding - problem.wants.benchmark
    common = ((active @ problem.market.exposure) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(common + (active**2) @ problem.market.specific_variance))
