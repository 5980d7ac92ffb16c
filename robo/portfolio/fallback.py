"""A plan for an account where the kernel's search found none, or the proof that there is none.

The kernel searches for plans by prices; where that ends without one, nothing is proved. Then
`conflicts` decides by a search of its own whether the hard wishes can be met. Directions come
from PIQP's answer to the relaxed problem, where a name may be bought and sold at once, and from
the plan that `conflicts` found; for each, PIQP finds the best plan: names that are sold more
than bought are sold, the others bought, and with a minimum trade only those that are traded.
The better plan that breaks no wish is taken. Hundreds of times slower than the kernel, and
rarely needed.

The programme has the variables of `phases`, and beside them what c is over and under its target,
what priced rows and a priced gain budget are over, and the year's tax v:

    min  lambda/2 (|y|^2 + sum d x^2) + sum tau s + sum kappa (b + s) - alpha'h + pi (c+ + c-)
         + priced rows and budget + v

Netting is convex only while the year's net gains keep their signs, so those of the plan that
was found are kept. A TE cap is met by raising lambda. Notation as in `problem`.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robo.portfolio import conflicts, evaluator, plans
from robo.portfolio import positions as positions_of
from robo.portfolio.phases import Entries, Limits, Phases, Point, minimise
from robo.portfolio.plans import Plan
from robo.portfolio.positions import PPM, Positions
from robo.portfolio.problem import (
    HARD,
    BoolArray,
    FloatArray,
    IntArray,
    Problem,
    Solution,
    Status,
    TaxMode,
)

_GIVE: Final = 3e-10
"""By how much bounds may give; a third of what counts as a violation."""
_DUST: Final = 2e-12
"""What an interior point leaves of nothing."""
_NEARLY: Final = 2e-9
"""A lot sold but for this is sold."""
_LAMBDA_TRIES: Final = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an account; a plan of it alone where it is solved."""

    status: Status
    plan: Plan | None = None
    objective: float = 0.0


def decide(problem: Problem, account: int) -> Answer:
    """Return a plan for one account, or that there is none, or that neither could be shown."""
    alone = only(problem, account)
    where = positions_of.read(alone)
    if where.value_cents[0] <= 0:
        return Answer(Status.SOLVED, Plan(where.held * 0.0, where.lot_value * 0.0))
    verdict, point = conflicts.search(alone, 0)
    if verdict is False:
        return Answer(Status.INFEASIBLE)
    if point is None:
        return Answer(Status.UNDECIDED)
    raw = _one_way(where, point)
    relaxed = _one_way(where, Point(*_best(_Programme.of(alone, where, raw, relaxed=True), raw)))
    answers = []
    for bought, lot_sold in (
        _best(_Programme.of(alone, where, relaxed), relaxed),
        _best(_Programme.of(alone, where, raw), raw),
        raw,
    ):
        plan = Plan(bought[None, :], lot_sold)
        judged = evaluator.evaluate(alone, plan)
        if not judged.violations:
            answers.append(Answer(Status.SOLVED, plan, float(judged.objective[0])))
    if not answers:
        return Answer(Status.UNDECIDED)
    return min(answers, key=lambda answer: answer.objective)


def write(problem: Problem, solution: Solution, accounts: IntArray) -> None:
    """Decide on accounts that the kernel has left without a plan, and write what is found.

    Args:
        problem: The question.
        solution: What the kernel found; its status, plan, objective and bound are changed.
        accounts: Which accounts.
    """
    for account in accounts.tolist():
        answer = decide(problem, account)
        solution.status[account] = answer.status
        if answer.plan is None:
            continue
        alone = positions_of.read(only(problem, account))
        sold = alone.per_name(answer.plan.lot_sold)
        solution.holding[account] = (alone.held + answer.plan.bought - sold)[0]
        solution.lot_sold[lots_of(problem, account)] = answer.plan.lot_sold
        solution.objective[account] = answer.objective
        solution.bound[account] = min(solution.bound[account], answer.objective)


def lots_of(problem: Problem, account: int) -> slice:
    """Return where the lots of an account stand."""
    ends = problem.accounts.holding_indptr[[account, account + 1]]
    return slice(*problem.accounts.lot_indptr[ends].tolist())


def only(problem: Problem, account: int) -> Problem:
    """Return one account of a problem as a problem of its own."""
    old, wants = problem.accounts, problem.wants
    mine = slice(account, account + 1)
    holding = slice(*old.holding_indptr[[account, account + 1]].tolist())
    lot = slice(*old.lot_indptr[[holding.start, holding.stop]].tolist())
    names = problem.market.price_micros.size
    per_lot = {
        name: getattr(old, name)[lot]
        for name in old.__dataclass_fields__
        if name.startswith("lot_") and name != "lot_indptr"
    }
    accounts = replace(
        old,
        cash_cents=old.cash_cents[mine],
        holding_indptr=old.holding_indptr[[account, account + 1]] - holding.start,
        holding_name=old.holding_name[holding],
        lot_indptr=old.lot_indptr[holding.start : holding.stop + 1] - lot.start,
        rule=np.broadcast_to(old.rule, (old.cash_cents.size, names))[mine],
        **per_lot,
    )
    shared = {"benchmark", "alpha", "upper_ppm", "lower_ppm"}
    own = {}
    for name in wants.__dataclass_fields__:
        value = getattr(wants, name)
        if name != "rows" and value is not None and (name not in shared or _is_own(value)):
            own[name] = value[mine]
    rows = wants.rows
    if rows is not None and _is_own(rows.low):
        rows = replace(rows, low=rows.low[mine])
    if rows is not None and _is_own(rows.high):
        rows = replace(rows, high=rows.high[mine])
    fields = problem.taxes.__dataclass_fields__
    taxes = replace(problem.taxes, **{name: getattr(problem.taxes, name)[mine] for name in fields})
    return Problem(problem.market, accounts, taxes, replace(wants, rows=rows, **own))


def _is_own(values: NDArray[Any]) -> bool:
    """Return whether values have a row for each account, not one for all."""
    return values.ndim > 1 and values.shape[0] > 1


def _one_way(where: Positions, point: Point) -> tuple[FloatArray, FloatArray]:
    """Return a plan in which no name is both bought and sold: less of both, the same holdings."""
    names = where.held.shape[1]
    sold = np.bincount(where.lot_name, point.lot_sold, names)
    both = np.minimum(np.maximum(point.bought, 0.0), sold)
    keep = np.where(sold > 0, 1.0 - both / np.where(sold > 0, sold, 1.0), 0.0)
    bought = np.maximum(point.bought, 0.0) - both
    lot_sold = np.clip(point.lot_sold * keep[where.lot_name], 0.0, where.lot_value)
    return _clean(where, bought, lot_sold)


def _clean(
    where: Positions, bought: FloatArray, lot_sold: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return a plan without the dust of an interior point."""
    lot_sold = np.clip(lot_sold, 0.0, where.lot_value)
    lot_sold = np.where(where.lot_value - lot_sold < _NEARLY, where.lot_value, lot_sold)
    lot_sold = np.where((lot_sold < _DUST) | ~where.lot_sellable, 0.0, lot_sold)
    return np.where(bought < _DUST, 0.0, bought), lot_sold


def _best(
    programme: "_Programme", known: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return a programme's best plan; the known one where no lambda keeps the TE cap."""
    problem, where = programme.problem, programme.where
    lam, low, high = float(problem.wants.risk_aversion[0]), 0.0, np.inf
    best = known
    cap = problem.wants.tracking_error_max_ppm
    for _ in range(_LAMBDA_TRIES):
        found = programme.solve(lam)
        if cap is None:
            return found
        state = plans.outcome(problem, where, Plan(found[0][None, :], found[1]))
        if state.tracking_error[0] <= cap[0] * PPM:
            best, high = found, lam
            if low == 0.0:
                return best
        else:
            low = lam
        lam = 4.0 * lam if high == np.inf else float(np.sqrt(low * high))
    return best


@dataclass(slots=True)
class _Programme:
    """The convex programme of one account whose directions are chosen."""

    problem: Problem
    where: Positions
    phases: Phases
    limits: Limits
    size: int
    first_extra: int
    equal: Entries
    within: Entries
    linear: FloatArray
    most: FloatArray
    free: BoolArray
    """Variables without a floor of 0, shape (size,)."""

    @classmethod
    def of(
        cls,
        problem: Problem,
        where: Positions,
        raw: tuple[FloatArray, FloatArray],
        *,
        relaxed: bool = False,
    ) -> "_Programme":
        """Return the programme for a plan's directions, or for any."""
        phases, limits = conflicts.programme(problem, 0)
        names, lots, factors = where.held.shape[1], where.lot_value.size, phases.exposure.shape[1]
        if not relaxed:
            _direct(problem, where, limits, raw)
        rows = phases.row_weight.shape[0]
        first = 2 * names + lots + factors
        size = first + 4 + rows + 1  # c over and under, budget, v; rows; u
        equal, within = phases.rows(limits, size, capped=True)
        made = cls(
            problem=problem,
            where=where,
            phases=phases,
            limits=limits,
            size=size,
            first_extra=first,
            equal=equal,
            within=within,
            linear=np.zeros(size),
            most=np.full(size, np.inf),
            free=np.zeros(size, dtype=np.bool_),
        )
        made._price(raw[1])
        return made

    def solve(self, lam: float) -> tuple[FloatArray, FloatArray]:
        """Return what is bought by name and sold by lot."""
        names, lots = self.where.held.shape[1], self.where.lot_value.size
        curve, linear = np.zeros(self.size), self.linear.copy()
        held = slice(names + lots, 2 * names + lots)
        curve[held] = lam * self.phases.specific
        curve[held.stop : self.first_extra] = lam
        linear[held] -= lam * self.phases.specific * self.phases.benchmark
        low, high = self.phases.box(self.limits, self.size)
        extra = slice(self.first_extra, self.size)
        low[extra] = np.where(self.free[extra], -np.inf, 0.0)
        high[extra] = self.most[extra]
        found = minimise(curve, linear, self.equal, self.within, (low, high))
        return _clean(self.where, found[:names], found[names : names + lots])

    def _price(self, lot_sold: FloatArray) -> None:
        """Write what the plan pays, and the rows that measure it."""
        problem, where, wants = self.problem, self.where, self.problem.wants
        names, lots = where.held.shape[1], where.lot_value.size
        trades = np.arange(names + lots)
        kappa = self.phases.kappa
        cost = np.concatenate([kappa, kappa[where.lot_name]])
        self.linear[trades] = cost
        if wants.alpha is not None:
            held = slice(names + lots, 2 * names + lots)
            self.linear[held] = -np.broadcast_to(wants.alpha, where.held.shape)[0]
        over, under, budget, tax = range(self.first_extra, self.first_extra + 4)
        spend = np.concatenate([-1.0 - kappa, 1.0 - kappa[where.lot_name], [-1.0, 1.0]])
        level = float(wants.cash_ppm[0]) * PPM - float(where.cash[0])
        self.equal.add(np.append(trades, [over, under]), spend, level, level)
        self.linear[[over, under]] = float(wants.cash_price_ppm[0]) * PPM
        self._price_rows(tax + 1)
        self.most[-1] = _GIVE
        taxes, sold = problem.taxes, np.arange(names, names + lots)
        if taxes.netting[0] and taxes.mode[0] == TaxMode.HARVEST:
            self._net(tax, sold, lot_sold)
            return
        self.linear[sold] += positions_of.lot_taxes(problem, where)
        room = float(plans.gain_room(problem, where)[0])
        if np.isfinite(room) and taxes.mode[0] == TaxMode.REALISE:
            gain = np.append(self.phases.lot_gain, -1.0)
            self.within.add(np.append(sold, budget), gain, -np.inf, room)
            rate = float(taxes.long_rate_ppm[0]) * PPM
            self.linear[budget] = rate * (1.0 + float(taxes.recapture_ppm[0]) * PPM)

    def _price_rows(self, first: int) -> None:
        """Write what priced rows are over, a variable each."""
        rows = self.problem.wants.rows
        if rows is None:
            return
        names, lots = self.where.held.shape[1], self.where.lot_value.size
        shape = (1, rows.price.size)
        low, high = (np.broadcast_to(edge, shape)[0] for edge in (rows.low, rows.high))
        held = np.arange(names + lots, 2 * names + lots)
        for r in np.flatnonzero(rows.price < HARD).tolist():
            column = np.append(held, first + r)
            self.linear[first + r] = rows.price[r]
            if np.isfinite(low[r]):
                self.within.add(column, np.append(rows.weight[r], 1.0), float(low[r]), np.inf)
            if np.isfinite(high[r]):
                self.within.add(column, np.append(rows.weight[r], -1.0), -np.inf, float(high[r]))

    def _net(self, tax: int, sold: IntArray, lot_sold: FloatArray) -> None:
        """Write the year's tax while its net gains keep the signs that a plan gives them."""
        problem, where, taxes = self.problem, self.where, self.problem.taxes
        value = float(where.value_cents[0])
        is_long = problem.accounts.lot_is_long
        gain = where.lot_gain
        short_gain, long_gain = np.where(is_long, 0.0, gain), np.where(is_long, gain, 0.0)
        short0, long0 = (
            float(taxes.year_short_cents[0]) / value,
            float(taxes.year_long_cents[0]) / value,
        )
        short = short0 + float(short_gain @ lot_sold)
        long = long0 + float(long_gain @ lot_sold)
        rate_short, rate_long = (
            float(rate[0]) * PPM for rate in (taxes.short_rate_ppm, taxes.long_rate_ppm)
        )
        self.linear[sold] += positions_of.lot_wait(problem, where)
        back = float(taxes.recapture_ppm[0]) * PPM * rate_long
        self.linear[sold] += back * np.maximum(-gain, 0.0)
        self.linear[tax] = 1.0
        self.free[tax] = True

        def keep(direction: FloatArray, start: float, *, positive: bool) -> None:
            bounds = (-start, np.inf) if positive else (-np.inf, -start)
            self.within.add(sold, direction, *bounds)

        def at_least(on_short: float, on_long: float, less: float = 0.0) -> None:
            direction = on_short * short_gain + on_long * long_gain
            start = on_short * short0 + on_long * long0 - less
            self.within.add(np.append(sold, tax), np.append(-direction, 1.0), start, np.inf)

        keep(short_gain + long_gain, short0 + long0, positive=short + long >= 0)
        if short + long < 0:
            ordinary = float(taxes.ordinary_rate_ppm[0]) * PPM
            carry = min(float(taxes.carry_ppm[0]) * PPM * rate_long, ordinary)
            limit = float(taxes.ordinary_limit_cents[0]) / value
            at_least(ordinary, ordinary)
            at_least(carry, carry, (ordinary - carry) * limit)
            return
        keep(short_gain, short0, positive=short >= 0)
        keep(long_gain, long0, positive=long >= 0)
        at_least(
            rate_long if short < 0 else rate_short,
            rate_short if long < 0 else rate_long,
        )


def _direct(
    problem: Problem, where: Positions, limits: Limits, raw: tuple[FloatArray, FloatArray]
) -> None:
    """Narrow the limits to a plan's directions; with a minimum trade to its trades."""
    bought, lot_sold = raw
    names = bought.size
    sold = np.bincount(where.lot_name, lot_sold, names)
    sells = sold > bought
    limits.buy_high[sells] = 0.0
    limits.lot_high[~sells[where.lot_name]] = 0.0
    least = problem.wants.trade_min_cents
    if least is None or least[0] <= 0:
        return
    level = float(least[0]) / float(where.value_cents[0])
    closes = sells & (sold >= where.held[0] - _NEARLY)
    # Less than half a minimum is nearer to nothing.
    buys, sells = ~sells & (bought > level / 2), sells & (closes | (sold > level / 2))
    limits.lot_high[~sells[where.lot_name]] = 0.0
    limits.buy_low = np.where(buys, level, 0.0)
    limits.buy_high = np.where(buys, limits.buy_high, 0.0)
    limits.sale_low = np.where(closes, where.held[0], np.where(sells, level, 0.0))
