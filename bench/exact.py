"""The exact optimum of one account by SCIP, written from the formulation and from nothing else.

Slow and independent: what a lot is worth, what may be sold and what a plan costs is reckoned here
anew in Python floats, one account at a time, without a line of the solver or the evaluator.
The mixed-integer model in the notation of `problem`, scaled to basis points because SCIP's
tolerances are absolute:

    min r + tax + sum kappa (b + s) + pi (c+ + c-) + row prices + theta, phi counts - alpha'h
    s.t. r >= lambda/2 (|y|^2 + sum d x^2),  y = X'x,  x = h0 + b - sum s - w
         b_i <= M zb_i,  sum s_i <= u_i zs_i,  zb_i + zs_i <= 1      (one direction a name,
         or for who seeks gains, m = theta = 0: no purchase of what is sold at a loss)
         b_i >= m zb_i,  sum s_i >= min(m, h0_i) zs_i                (minimum trade or close)

The tax of netting short against long is linear in each of five regions of (A, B); each region is
solved by itself and the best is kept. That needs no big-M for tax and no assumption of convexity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyscipopt

from robo.portfolio.problem import HARD, FloatArray, Problem, Rule, TaxMode

SCALE: Final = 1e4
"""Basis points."""
Build = Callable[["Model"], None]


@dataclass(frozen=True, slots=True)
class Exact:
    """What SCIP found: `closed` is proved optimal to its gap, `feasible` False is proved too."""

    feasible: bool
    closed: bool
    objective: float
    """Of the best plan, a fraction of the account."""
    bound: float
    """Proved: nothing is below."""
    bought: FloatArray
    """Shape (N,)."""
    lot_sold: FloatArray
    """Shape (the account's lots,), in their order in the problem."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account's numbers, reckoned from the problem in plain floats."""

    problem: Problem
    index: int
    value: float
    cash: float
    held: FloatArray
    lot_name: list[int]
    lot_worth: FloatArray
    lot_gain: FloatArray
    lot_long: list[bool]
    lot_free: list[bool]
    lot_wait: list[bool]
    rule: list[int]

    @classmethod
    def of(cls, problem: Problem, index: int) -> "Account":
        """Return an account of a problem."""
        accounts, price = problem.accounts, problem.market.price_micros
        names = price.size
        rule = np.broadcast_to(accounts.rule, (accounts.cash_cents.size, names))[index]
        lots = []
        for holding in range(*accounts.holding_indptr[index : index + 2].tolist()):
            name = int(accounts.holding_name[holding])
            for lot in range(*accounts.lot_indptr[holding : holding + 2].tolist()):
                worth = int(accounts.lot_nanos[lot]) * int(price[name]) / 1e13
                lots.append((name, lot, worth))
        value = float(accounts.cash_cents[index]) + sum(worth for _, _, worth in lots)
        held = np.zeros(names)
        gain, free = [], []
        for name, lot, worth in lots:
            held[name] += worth / value
            gain.append(1 - int(accounts.lot_basis_cents[lot]) / worth)
            bits = int(rule[name])
            at_loss = bool(bits & Rule.NEVER_SELL_AT_LOSS) and gain[-1] < 0
            stuck = bool(bits & Rule.NEVER_SELL) or at_loss
            free.append(not (stuck or bool(accounts.lot_is_blocked[lot])))
        return cls(
            problem=problem,
            index=index,
            value=value,
            cash=float(accounts.cash_cents[index]) / value if value else 0.0,
            held=held,
            lot_name=[name for name, _, _ in lots],
            lot_worth=np.array([worth / value for _, _, worth in lots]),
            lot_gain=np.array(gain),
            lot_long=[bool(accounts.lot_is_long[lot]) for _, lot, _ in lots],
            lot_free=free,
            lot_wait=[bool(accounts.lot_wait[lot]) for _, lot, _ in lots],
            rule=[int(bits) for bits in rule],
        )

    def want(self, name: str, default: float = 0.0) -> float:
        """Return one of the account's wants or taxes, ppm as fractions; the default for none."""
        source = self.problem.wants if hasattr(self.problem.wants, name) else self.problem.taxes
        values = getattr(source, name)
        if values is None:
            return default
        number = float(values[self.index])
        if name.endswith("_ppm"):
            return number / 1e6
        return number / self.value if name.endswith("_cents") else number

    def want_row(self, name: str) -> FloatArray | None:
        """Return a want that has a number a name."""
        values = getattr(self.problem.wants, name)
        if values is None:
            return None
        row = values if values.ndim == 1 else values[self.index]
        return np.asarray(row / 1e6 if name.endswith("_ppm") else row, dtype=np.float64)


class Model:
    """The mixed-integer model of one account, all amounts in basis points."""

    def __init__(self, account: Account, seconds: float, gap: float) -> None:
        """Write the model, without its tax."""
        self.account = account
        self.scip: Any = pyscipopt.Model()
        self.scip.hideOutput()
        self.scip.setParam("limits/time", seconds)
        self.scip.setParam("limits/gap", gap)
        self.scip.setParam("numerics/feastol", 1e-8)
        self.scip.setParam("randomization/randomseedshift", 7)
        self.cost: list[Any] = []
        market = account.problem.market
        self.names = range(market.price_micros.size)
        self._trades()
        self._bounds()
        self._risk()
        self._budget()
        self._rows()
        self._counts()

    def _trades(self) -> None:
        account = self.account
        self.sold = [
            self.scip.addVar(lb=0, ub=worth * SCALE if free else 0.0)
            for worth, free in zip(account.lot_worth, account.lot_free, strict=True)
        ]
        total = (account.cash + float(account.held.sum())) * SCALE
        self.bought, self.sale, self.holding = [], [], []
        self.buys, self.sells = [], []
        least = account.want("trade_min_cents") * SCALE
        upper = account.want_row("upper_ppm")
        for i in self.names:
            lots = [lot for lot, name in enumerate(account.lot_name) if name == i]
            sale = pyscipopt.quicksum(self.sold[lot] for lot in lots)
            usable = sum(account.lot_worth[lot] * SCALE for lot in lots if account.lot_free[lot])
            held = account.held[i] * SCALE
            most = total if upper is None else min(total, max(upper[i] * SCALE - held, 0.0))
            may_buy = not account.rule[i] & (Rule.NEVER_BUY | Rule.NEVER_OWN)
            buy = self.scip.addVar(lb=0, ub=most if may_buy else 0.0)
            is_buy = self.scip.addVar(vtype="B", ub=float(may_buy))
            closes = all(account.lot_free[lot] for lot in lots)
            may_sell = usable > 0 and (usable >= least or closes)
            is_sell = self.scip.addVar(vtype="B", ub=float(may_sell))
            self.scip.addCons(buy <= most * is_buy)
            self.scip.addCons(sale <= usable * is_sell)
            if self._may_rebuy():
                self._no_wash(lots, is_buy, usable)
            else:
                self.scip.addCons(is_buy + is_sell <= 1)
            if least > 0:
                self.scip.addCons(buy >= least * is_buy)
                self.scip.addCons(sale >= min(least, held) * is_sell)
            self.bought.append(buy)
            self.sale.append(sale)
            self.buys.append(is_buy)
            self.sells.append(is_sell)
            self.holding.append(held + buy - sale)

    def _may_rebuy(self) -> bool:
        fixed = self.account.want("trade_min_cents") + self.account.want("trade_cost_ppm")
        return self.account.want("mode") == TaxMode.REALISE and fixed <= 0

    def _no_wash(self, lots: list[int], is_buy: Any, usable: float) -> None:
        """Let a gain be bought back, which a customer who seeks gains may, but never a loss."""
        lossy = [lot for lot in lots if self.account.lot_gain[lot] < 0]
        if lossy:
            loss = pyscipopt.quicksum(self.sold[lot] for lot in lossy)
            self.scip.addCons(loss <= usable * (1 - is_buy))

    def _bounds(self) -> None:
        account = self.account
        benchmark = account.want_row("benchmark")
        assert benchmark is not None
        width = account.want("active_max_ppm")
        upper, lower = account.want_row("upper_ppm"), account.want_row("lower_ppm")
        for i in self.names:
            if account.rule[i] & Rule.NEVER_OWN:
                self.scip.addCons(self.holding[i] <= 0)
            else:
                least = sum(
                    worth
                    for worth, name, free in zip(
                        account.lot_worth, account.lot_name, account.lot_free, strict=True
                    )
                    if name == i and not free
                )
                most = account.held[i] if account.rule[i] & Rule.NEVER_BUY else np.inf
                least = least if lower is None else max(least, lower[i])
                most = most if upper is None else min(most, upper[i])
                low = min(max(benchmark[i] - width, 0, least), most)
                high = min(max(benchmark[i] + width, least), most)
                self.scip.addCons(self.holding[i] >= low * SCALE)
                self.scip.addCons(self.holding[i] <= high * SCALE)
            if upper is not None:
                self.scip.addCons(self.holding[i] <= upper[i] * SCALE)
            if lower is not None:
                self.scip.addCons(self.holding[i] >= lower[i] * SCALE)

    def _risk(self) -> None:
        account, market = self.account, self.account.problem.market
        benchmark = account.want_row("benchmark")
        assert benchmark is not None
        active = [self.holding[i] - benchmark[i] * SCALE for i in self.names]
        free = {"lb": None, "ub": None}
        x = [self.scip.addVar(**free) for _ in self.names]
        for i in self.names:
            self.scip.addCons(x[i] == active[i])
        squares = []
        for k in range(market.exposure.shape[1]):
            y = self.scip.addVar(**free)
            self.scip.addCons(
                y == pyscipopt.quicksum(float(market.exposure[i, k]) * x[i] for i in self.names)
            )
            squares.append(y * y)
        squares += [float(market.specific_variance[i]) * x[i] * x[i] for i in self.names]
        variance = pyscipopt.quicksum(squares)
        risk = self.scip.addVar(lb=0)
        scale = float(account.problem.wants.risk_aversion[account.index]) / 2 / SCALE
        self.scip.addCons(scale * variance <= risk)
        self.cost.append(risk)
        if account.problem.wants.tracking_error_max_ppm is not None:
            cap = account.want("tracking_error_max_ppm") * SCALE
            self.scip.addCons(variance <= cap**2)

    def _budget(self) -> None:
        account = self.account
        kappa = account.problem.market.cost_ppm / 1e6
        cash = account.cash * SCALE + pyscipopt.quicksum(
            (1 - kappa[i]) * self.sale[i] - (1 + kappa[i]) * self.bought[i] for i in self.names
        )
        over, under = self.scip.addVar(lb=0), self.scip.addVar(lb=0)
        self.scip.addCons(cash >= 0)
        self.scip.addCons(cash - account.want("cash_ppm") * SCALE == over - under)
        self.cost.append(account.want("cash_price_ppm") * (over + under))
        self.cost += [kappa[i] * (self.bought[i] + self.sale[i]) for i in self.names]
        alpha = account.want_row("alpha")
        if alpha is not None:
            self.cost += [-alpha[i] * self.holding[i] for i in self.names]
        if account.problem.wants.turnover_max_ppm is not None:
            moved = pyscipopt.quicksum(self.bought[i] + self.sale[i] for i in self.names)
            self.scip.addCons(moved <= account.want("turnover_max_ppm") * SCALE)

    def _rows(self) -> None:
        rows = self.account.problem.wants.rows
        if rows is None:
            return
        count = self.account.problem.accounts.cash_cents.size
        shape = (count, rows.price.size)
        low = np.broadcast_to(rows.low, shape)[self.account.index]
        high = np.broadcast_to(rows.high, shape)[self.account.index]
        for r in range(rows.price.size):
            level = pyscipopt.quicksum(
                float(rows.weight[r, i]) * self.holding[i] for i in self.names
            )
            slack = self.scip.addVar(lb=0, ub=0.0 if rows.price[r] == HARD else None)
            if rows.price[r] != HARD:
                self.cost.append(float(rows.price[r]) * slack)
            if np.isfinite(low[r]):
                self.scip.addCons(level >= float(low[r]) * SCALE - slack)
            if np.isfinite(high[r]):
                self.scip.addCons(level <= float(high[r]) * SCALE + slack)

    def _counts(self) -> None:
        theta = self.account.want("trade_cost_ppm") * SCALE
        phi = self.account.want("new_line_ppm") * SCALE
        for i in self.names:
            self.cost.append(theta * (self.buys[i] + self.sells[i]))
            if self.account.held[i] == 0:
                self.cost.append(phi * self.buys[i])

    def gain(self, chosen: Callable[[int], bool]) -> Any:
        """Return the net gain of the lots for which a test holds."""
        return pyscipopt.quicksum(
            float(self.account.lot_gain[lot]) * self.sold[lot]
            for lot in range(len(self.sold))
            if chosen(lot)
        )

    def solve(self) -> Exact:
        """Solve and return what is proved."""
        self.scip.setObjective(pyscipopt.quicksum(self.cost), "minimize")
        self.scip.optimize()
        status = self.scip.getStatus()
        nothing = np.zeros(0)
        if self.scip.getNSols() == 0:
            proved = status == "infeasible"
            return Exact(
                feasible=False,
                closed=proved,
                objective=np.inf,
                bound=np.inf,
                bought=nothing,
                lot_sold=nothing,
            )
        best = self.scip.getBestSol()
        # What a binary forbids is zero; SCIP leaves its tolerance times the bound.
        buys = np.array([self.scip.getSolVal(best, variable) > 0.5 for variable in self.buys])
        sells = np.array([self.scip.getSolVal(best, variable) > 0.5 for variable in self.sells])
        value = np.array([self.scip.getSolVal(best, variable) for variable in self.bought])
        sold = np.array([self.scip.getSolVal(best, variable) for variable in self.sold])
        name = np.array(self.account.lot_name, dtype=np.int64)
        barred = ~sells[name] | (buys[name] & (self.account.lot_gain < 0))
        return Exact(
            feasible=True,
            closed=status in {"optimal", "gaplimit"},
            objective=self.scip.getSolObjVal(best) / SCALE,
            bound=self.scip.getDualbound() / SCALE,
            bought=np.where(buys, value, 0.0) / SCALE,
            lot_sold=np.where(barred, 0.0, sold) / SCALE,
        )


def solve(problem: Problem, index: int, seconds: float = 60.0, gap: float = 1e-9) -> Exact:
    """Return the optimum of one account; the best over the tax regions where it nets."""
    account = Account.of(problem, index)
    if account.value <= 0:
        nothing = np.zeros(0)
        return Exact(
            feasible=True,
            closed=True,
            objective=0.0,
            bound=0.0,
            bought=np.zeros(len(account.rule)),
            lot_sold=nothing,
        )
    answers = []
    for build in _taxes(account):
        model = Model(account, seconds, gap)
        build(model)
        answers.append(model.solve())
    best = min(answers, key=lambda answer: answer.objective)
    return Exact(
        feasible=best.feasible,
        closed=all(answer.closed for answer in answers),
        objective=best.objective,
        bound=min(answer.bound for answer in answers),
        bought=best.bought,
        lot_sold=best.lot_sold,
    )


def _taxes(account: Account) -> list[Build]:
    """Return what adds the tax to a model: one builder, or one for each region of netting."""
    mode = int(account.want("mode"))
    if mode == TaxMode.HARVEST and account.problem.taxes.netting[account.index]:
        return [_region(account, number) for number in range(5)]
    return [lambda model: _lot_by_lot(model, mode)]


def _rates(account: Account) -> tuple[float, float, float]:
    """Return the short rate, the long rate and what a harvested dollar gives back later."""
    short, long = account.want("short_rate_ppm"), account.want("long_rate_ppm")
    return short, long, account.want("recapture_ppm") * long


def _forced(account: Account, lot: int) -> bool:
    return bool(account.rule[account.lot_name[lot]] & Rule.NEVER_OWN)


def _waits(account: Account, lot: int) -> bool:
    late = account.lot_wait[lot] and not account.lot_long[lot]
    return late and bool(account.lot_gain[lot] > 0)


def _room(account: Account) -> float:
    """Return what the gain budget leaves after the year so far, in basis points."""
    year = account.want("year_short_cents") + account.want("year_long_cents")
    return max(account.want("gain_budget_cents") - year, 0.0) * SCALE


def _lot_by_lot(model: Model, mode: int) -> None:
    account = model.account
    short, long, back = _rates(account)
    for lot, gain in enumerate(account.lot_gain.tolist()):
        rate = long if account.lot_long[lot] else short
        if mode == TaxMode.REALISE and not _forced(account, lot):
            tau = -back * gain
        elif gain < 0:
            tau = 0.0 if mode == TaxMode.NEUTRAL else (rate - back) * gain
        else:
            tau = rate * gain + _waits(account, lot) * max(short - long, 0.0) * gain
        model.cost.append(tau * model.sold[lot])
    if account.want("gain_budget_cents") < 0:
        return
    budget = _room(account)
    chosen = model.gain(lambda lot: not _forced(account, lot))
    if mode == TaxMode.REALISE:
        over = model.scip.addVar(lb=0)
        model.scip.addCons(over >= chosen - budget)
        model.cost.append((long + back) * over)
    else:
        model.scip.addCons(chosen <= budget)


def _region(account: Account, number: int) -> Build:
    """Return what adds the tax of one region of (A, B), with the region's own bounds."""
    short, long, back = _rates(account)
    first = account.want("year_short_cents") * SCALE
    second = account.want("year_long_cents") * SCALE
    limit = account.want("ordinary_limit_cents") * SCALE
    ordinary = account.want("ordinary_rate_ppm")
    later = min(account.want("carry_ppm") * long, ordinary)

    def build(model: Model) -> None:
        a = first + model.gain(lambda lot: not account.lot_long[lot])
        b = second + model.gain(lambda lot: account.lot_long[lot])
        net = a + b
        within = [
            [a >= 0, b >= 0],
            [b <= 0, net >= 0],
            [a <= 0, net >= 0],
            [net <= 0, net >= -limit],
            [net <= -limit],
        ][number]
        tax = [
            short * a + long * b,
            short * net,
            long * net,
            ordinary * net,
            -ordinary * limit + later * (net + limit),
        ][number]
        for bound in within:
            model.scip.addCons(bound)
        model.cost += [tax, -_owed(first, second, limit, (short, long, ordinary, later))]
        for lot, gain in enumerate(account.lot_gain.tolist()):
            if gain < 0:
                model.cost.append(-back * gain * model.sold[lot])
            elif _waits(account, lot):
                model.cost.append(max(short - long, 0.0) * gain * model.sold[lot])
        if account.want("gain_budget_cents") >= 0:
            chosen = model.gain(lambda lot: not _forced(account, lot))
            model.scip.addCons(chosen <= _room(account))

    return build


def _owed(short: float, long: float, limit: float, rates: tuple[float, ...]) -> float:
    """Return the year's tax before the plan, in the unit of its arguments."""
    net = short + long
    if net < 0:
        return -rates[2] * min(-net, limit) - rates[3] * max(-net - limit, 0)
    if short < 0:
        return rates[1] * net
    return rates[0] * net if long < 0 else rates[0] * short + rates[1] * long
