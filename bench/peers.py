"""What one would use instead of our optimizer, each on one account of the same instance.

**Two solves** (PIQP, and Clarabel through cvxpy): the convex relaxation, which lets a name be
bought and sold at a loss at once; each name's direction is read off it, by whichever is more;
then the same programme with the directions fixed. Variables are b, s, x and y, in basis points:

    min  lambda/2 (|y|^2 + sum d x^2) + tau's + kappa (b + s) + pi (c+ + c-)
    s.t. x = h0 - w + b - sum s;  y = X'x;  c0 + (1 - kappa) s - (1 + kappa) b = c* + c+ - c-

That is all of section 2's instance; netting, rows and caps beyond it are not offered to peers.

**PyPortfolioOpt** knows no lots: it gets the covariance, the bounds, the index and the cost, and
minimises tracking error and cost; its sales take the lots with the least tax first.

**taxrebalance** knows lots and a TE cap but no masks, exclusions or price of cash; it is given
an account without any (see `bench.optimizer`), and its default budget of nine directions.
"""

from dataclasses import dataclass
from importlib import import_module
from time import process_time
from typing import Any, Final

import numpy as np
import piqp
from scipy import sparse

from robo.portfolio import positions
from robo.portfolio.plans import Plan
from robo.portfolio.problem import BoolArray, FloatArray, IntArray, Problem, Rule

SCALE: Final = 1e4
_DUST: Final = 1e-9
"""Fractions of an account that an interior point leaves where it means nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A peer's plan, and the CPU seconds of its own work."""

    plan: Plan
    seconds: float


@dataclass(frozen=True, slots=True)
class Form:
    """One account as arrays; amounts in basis points of its value."""

    exposure: FloatArray
    specific: FloatArray
    kappa: FloatArray
    benchmark: FloatArray
    held: FloatArray
    low: FloatArray
    high: FloatArray
    cash: float
    cash_target: float
    cash_price: float
    risk_aversion: float
    lot_name: IntArray
    """Of the lots that may be sold, as all lot arrays here."""
    lot_room: FloatArray
    lot_tax: FloatArray
    lot_loss: BoolArray
    lot_place: IntArray
    """Where the lot stands among the account's."""
    lots: int

    @classmethod
    def of(cls, problem: Problem) -> "Form":
        """Return a problem of one account in this form."""
        where = positions.read(problem)
        least, most = positions.reach(where)
        low, high = positions.active_bounds(problem, where)
        place = np.flatnonzero(where.lot_sellable)
        gone = where.has(Rule.NEVER_OWN)[0]
        wants = problem.wants
        return cls(
            exposure=problem.market.exposure,
            specific=problem.market.specific_variance,
            kappa=np.asarray(problem.market.cost_ppm * positions.PPM, dtype=np.float64),
            benchmark=where.benchmark[0] * SCALE,
            held=where.held[0] * SCALE,
            low=np.maximum(low[0], least[0]) * SCALE,
            high=np.where(gone, 0.0, np.minimum(high[0], most[0])) * SCALE,
            cash=float(where.cash[0]) * SCALE,
            cash_target=float(wants.cash_ppm[0]) * positions.PPM * SCALE,
            cash_price=float(wants.cash_price_ppm[0]) * positions.PPM,
            risk_aversion=float(wants.risk_aversion[0]),
            lot_name=where.lot_name[place],
            lot_room=where.lot_value[place] * SCALE,
            lot_tax=positions.lot_taxes(problem, where)[place],
            lot_loss=where.lot_gain[place] < 0,
            lot_place=place,
            lots=where.lot_value.size,
        )

    def per_name(self, amount: FloatArray) -> FloatArray:
        """Return an amount per sellable lot added up by name."""
        return np.bincount(self.lot_name, amount, self.held.size).astype(np.float64)

    def buy_room(self) -> FloatArray:
        """Return the most of each name that can be bought."""
        return np.maximum(np.minimum(self.high - self.held, SCALE), 0.0)

    def directed(self, bought: FloatArray, sold: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the room to buy and to sell by lot with each name's direction fixed."""
        buys = bought >= self.per_name(sold)
        return np.where(buys, self.buy_room(), 0.0), np.where(
            buys[self.lot_name], 0.0, self.lot_room
        )

    def plan(self, bought: FloatArray, sold: FloatArray) -> Plan:
        """Return amounts in basis points as a plan, without dust."""
        lot_sold = np.zeros(self.lots)
        lot_sold[self.lot_place] = np.clip(sold, 0.0, self.lot_room) / SCALE
        lot_sold[lot_sold < _DUST] = 0.0
        buys = np.maximum(bought, 0.0)[None, :] / SCALE
        return Plan(np.where(buys < _DUST, 0.0, buys), lot_sold)


def piqp_two_solve(problem: Problem) -> Answer:
    """Return the two-solve plan of PIQP's sparse interface; timed without assembling matrices."""
    form = Form.of(problem)
    names, lots, factors = form.held.size, form.lot_name.size, form.exposure.shape[1]
    size = 2 * names + lots + factors + 2
    x_at = names + lots
    ones = np.ones(lots)
    select = sparse.csc_matrix((ones, (form.lot_name, np.arange(lots))), shape=(names, lots))
    sale = 1 - form.kappa[form.lot_name]
    equal = sparse.bmat(
        [
            [-sparse.eye(names), select, sparse.eye(names), None, None],
            [None, None, -form.exposure.T, sparse.eye(factors), None],
            [-(1 + form.kappa)[None, :], sale[None, :], None, None, np.array([[-1.0, 1.0]])],
        ],
        format="csc",
    )
    right = np.concatenate(
        [form.held - form.benchmark, np.zeros(factors), [form.cash_target - form.cash]]
    )
    curve = np.zeros(size)
    curve[x_at : x_at + names] = form.specific
    curve[x_at + names : -2] = 1.0
    quadratic = sparse.diags(curve * form.risk_aversion / SCALE, format="csc")
    price = np.concatenate(
        [
            form.kappa,
            form.lot_tax + form.kappa[form.lot_name],
            np.zeros(names + factors),
            np.full(2, form.cash_price),
        ]
    )
    low = np.full(size, -np.inf)
    low[:x_at], low[-2:] = 0.0, 0.0
    low[x_at : x_at + names] = form.low - form.benchmark
    seconds = 0.0
    room = form.buy_room(), form.lot_room
    found = np.zeros(size)
    for _ in range(2):
        high = np.full(size, np.inf)
        high[:x_at] = np.concatenate(room)
        high[x_at : x_at + names] = form.high - form.benchmark
        high[-1] = form.cash_target
        start = process_time()
        solver: Any = piqp.SparseSolver()
        solver.settings.eps_abs = solver.settings.eps_rel = 1e-9
        solver.setup(quadratic, price, equal, right, None, None, None, low, high)
        solver.solve()
        found = np.asarray(solver.result.x)
        seconds += process_time() - start
        room = form.directed(found[:names], found[names:x_at])
    return Answer(form.plan(found[:names], found[names:x_at]), seconds)


def clarabel_two_solve(problem: Problem) -> Answer:
    """Return the two-solve plan of cvxpy with Clarabel, as one writes it; all of it is timed."""
    cp: Any = import_module("cvxpy")
    form = Form.of(problem)
    names, lots = form.held.size, form.lot_name.size
    start = process_time()
    select = sparse.csc_matrix(
        (np.ones(lots), (form.lot_name, np.arange(lots))), shape=(names, lots)
    )
    room = form.buy_room(), form.lot_room
    bought = sold = np.zeros(0)
    for _ in range(2):
        b, s = cp.Variable(names, nonneg=True), cp.Variable(lots, nonneg=True)
        x, y = cp.Variable(names), cp.Variable(form.exposure.shape[1])
        over, under = cp.Variable(nonneg=True), cp.Variable(nonneg=True)
        variance = cp.sum_squares(y) + cp.sum_squares(cp.multiply(np.sqrt(form.specific), x))
        cost = form.kappa @ b + (form.lot_tax + form.kappa[form.lot_name]) @ s
        cash = form.cash + (1 - form.kappa[form.lot_name]) @ s - (1 + form.kappa) @ b
        programme = cp.Problem(
            cp.Minimize(
                form.risk_aversion / (2 * SCALE) * variance
                + cost
                + form.cash_price * (over + under)
            ),
            [
                x == form.held - form.benchmark + b - select @ s,
                y == form.exposure.T @ x,
                cash == form.cash_target + over - under,
                under <= form.cash_target,
                b <= room[0],
                s <= room[1],
                x >= form.low - form.benchmark,
                x <= form.high - form.benchmark,
            ],
        )
        programme.solve(solver=cp.CLARABEL)
        bought, sold = np.asarray(b.value), np.asarray(s.value)
        room = form.directed(bought, sold)
    seconds = process_time() - start
    return Answer(form.plan(bought, sold), seconds)


def pypfopt(problem: Problem) -> Answer:
    """Return PyPortfolioOpt's plan, fully invested, sales from the lots with the least tax."""
    frontier: Any = import_module("pypfopt.efficient_frontier").EfficientFrontier
    objectives: Any = import_module("pypfopt.objective_functions")
    form = Form.of(problem)
    covariance = form.exposure @ form.exposure.T + np.diag(form.specific)
    bounds = list(zip(form.low / SCALE, np.minimum(form.high / SCALE, 1.0), strict=True))
    start = process_time()
    portfolio = frontier(None, covariance, weight_bounds=bounds)
    portfolio.add_objective(
        objectives.transaction_cost, w_prev=form.held / SCALE, k=float(form.kappa.mean())
    )
    portfolio.convex_objective(
        lambda w, s, b, a: a / 2 * objectives.ex_ante_tracking_error(w, s, b),
        s=covariance,
        b=form.benchmark / SCALE,
        a=form.risk_aversion,
    )
    weight = np.array(list(portfolio.weights)) * SCALE
    seconds = process_time() - start
    trade = np.where(np.abs(weight - form.held) < 1e-4, 0.0, weight - form.held)
    sold = np.zeros(form.lot_name.size)
    for lot in np.argsort(form.lot_tax, kind="stable"):
        name = form.lot_name[lot]
        sold[lot] = min(
            form.lot_room[lot], max(-trade[name] - sold[form.lot_name == name].sum(), 0)
        )
    return Answer(form.plan(np.maximum(trade, 0.0), sold), seconds)


def taxrebalance(problem: Problem) -> Answer:
    """Return taxrebalance's plan; ImportError where it is not installed."""
    package: Any = import_module("taxrebalance")
    lot_class: Any = import_module("tax_rebalancing.models").TaxLot
    form, where = Form.of(problem), positions.read(problem)
    accounts, market = problem.accounts, problem.market
    price = market.price_micros / 1e6
    ticker = [f"N{name}" for name in range(price.size)]
    share = accounts.lot_nanos / 1e9
    lots = [
        lot_class(
            f"L{lot}",
            ticker[where.lot_name[lot]],
            float(share[lot]),
            float(accounts.lot_basis_cents[lot] / 100 / share[lot]),
            400 if accounts.lot_is_long[lot] else 100,
        )
        for lot in range(share.size)
    ]
    covariance = form.exposure @ form.exposure.T + np.diag(form.specific)
    taxes = problem.taxes
    start = process_time()
    result = package.rebalance(
        package.Portfolio.from_tax_lots(
            lots,
            prices=dict(zip(ticker, price.tolist(), strict=True)),
            cash=float(accounts.cash_cents[0] / 100),
        ),
        target_weights=dict(zip(ticker, (form.benchmark / SCALE).tolist(), strict=True)),
        covariance=covariance.tolist(),
        tax_policy=package.UnitedStatesLots(
            float(taxes.short_rate_ppm[0] / 1e6), float(taxes.long_rate_ppm[0] / 1e6)
        ),
        config=package.RebalanceConfig(
            max_tracking_error=0.5,
            trading_cost_bps=float(form.kappa[0] * 1e4),
            loss_utilization=1.0,
            future_recapture_fraction=0.0,
            risk_aversion=form.risk_aversion / 2,
        ),
    )
    seconds = process_time() - start
    value = where.value_cents[0] / 100
    bought, sold = np.zeros((1, price.size)), np.zeros(share.size)
    for trade in result.trades:
        worth = trade["shares"] * price[int(trade["ticker"][1:])] / value
        if trade["side"] == "BUY":
            bought[0, int(trade["ticker"][1:])] += worth
        else:
            sold[int(trade["lot_id"][1:])] += worth
    return Answer(Plan(bought, np.minimum(sold, where.lot_value)), seconds)
