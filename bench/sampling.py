"""m of 500 names for a thousand accounts with personal exclusions, each with a certified bound.

The market is `instances.draw_world`'s. Every account excludes 1 to 25 names at random, every
fourth a whole sector instead. Excess is tracking error over the certified bound, less one, in per
cent: it overstates how far an answer is from the best. Times are CPU time of one thread, rates
are that times two threads (kernels hold no lock); the share of two real threads is printed too.

Then the same sizes on other days: another drawn market, and the real prices' model of two days
where they are beside the checkout, each with two sets of exclusions (names at random; whole
sectors and names) that the first market did not see.

Peers on the same accounts: the m largest by index weight, cap-weighted; the same names with the
best weights (a QP by PIQP); and SCIP on the account without wishes, stopped after half a minute.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from time import perf_counter, process_time
from typing import Any

import numpy as np

from bench._real_history import load
from bench.instances import draw_world
from bench.report import Figure, cpu_seconds
from bench.risk import fitted
from robo.portfolio import kernels
from robo.portfolio.problem import BoolArray, FloatArray, IntArray
from robo.portfolio.sampling import Plan, Sample, prepare, sample

SIZES = (10, 30, 40, 80)
AIMS = {10: 3.0, 30: 1.0, 40: 0.5, 80: 0.2}
RATE = "accounts/s, 2 threads"
EXCESS = "% over bound"
SCIP_SECONDS = 30
OTHER_SEED = 2027
REAL_YEARS = (2010, 2018)
"""The real prices' model of the first session of these years."""
OTHER_ACCOUNTS = 200


@dataclass(frozen=True, slots=True)
class Inputs:
    """One market and the accounts' exclusions."""

    exposure: FloatArray
    specific: FloatArray
    weight: FloatArray
    excluded: BoolArray


def make_inputs(accounts: int, seed: int = 2026) -> Inputs:
    """Return the market with exclusions of `accounts` accounts."""
    world = draw_world(500, 30, seed)
    groups = world.sector == np.arange(world.sector.max() + 1)[:, None]
    excluded = _exclusions(accounts, groups, np.random.default_rng([seed, 6]))
    market = world.market
    return Inputs(market.exposure, market.specific_variance, world.weight, excluded)


def _exclusions(accounts: int, groups: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Return 1 to 25 names at random for each account, a whole group for every fourth."""
    names = groups.shape[1]
    excluded = np.zeros((accounts, names), dtype=np.bool_)
    for account in range(accounts):
        if account % 4 == 3:
            excluded[account] = groups[rng.integers(len(groups))]
        else:
            excluded[account, rng.choice(names, rng.integers(1, 26), replace=False)] = True
    return excluded


def run(*, quick: bool = False) -> list[Figure]:
    """Return excess and rate for each size, ours and the peers'."""
    kernels.warm()
    inputs = make_inputs(200 if quick else 1_000)
    figures = []
    for size in SIZES:
        figures += measure(inputs, size, quick=quick)
    if not quick:
        for day, other in _other_days():
            for size in SIZES:
                figures += _on_another_day(day, other, size)
    return figures


def _other_days() -> Iterator[tuple[str, Inputs]]:
    yield "another market", make_inputs(OTHER_ACCOUNTS, OTHER_SEED)
    history = load()
    if history is None:
        return
    for year in REAL_YEARS:
        session = history.on(year)
        live = history.live(session)
        model = fitted(history, session, live)
        size = history.capitalisation[session, live]
        group = history.sector[live] == np.arange(len(history.sector_names))[:, None]
        rng = np.random.default_rng([year, 6])
        excluded = _exclusions(OTHER_ACCOUNTS, group[group.any(axis=1)], rng)
        yield (
            f"real prices {history.days[session]}, {live.size} names",
            Inputs(model.exposure, model.specific_variance, size / size.sum(), excluded),
        )


def _on_another_day(day: str, inputs: Inputs, size: int) -> Iterator[Figure]:
    """Yield excess and rate for names alone and for whole sectors."""
    plan = prepare(inputs.exposure, inputs.specific, inputs.weight, size)
    sectors = np.arange(len(inputs.excluded)) % 4 == 3
    for what, rows in (("names out", ~sectors), ("a sector out", sectors)):
        some = inputs.excluded[rows]
        start = process_time()
        got = _ask(inputs, size, plan, some)
        rate = 2 * len(some) / (process_time() - start)
        excess = 100 * float((got.tracking_error / got.bound - 1).mean())
        head = f"{size} names, {day}, {what}"
        yield Figure(f"{head}: mean", excess, EXCESS, f"aim {AIMS[size]}")
        yield Figure(head, rate, RATE, "aim 1000")


def measure(inputs: Inputs, size: int, *, quick: bool) -> list[Figure]:
    """Return the figures of one size."""
    start = process_time()
    plan = prepare(inputs.exposure, inputs.specific, inputs.weight, size)
    planning = process_time() - start
    ask = partial(_ask, inputs, size, plan)
    got = ask(inputs.excluded)
    seconds = cpu_seconds(lambda: ask(inputs.excluded), 1 if quick else 3)
    rate = 2 * len(inputs.excluded) / seconds
    excess = 100 * (got.tracking_error / got.bound - 1)
    aim = f"aim {AIMS[size]}"
    what = f"{size} names"
    figures = [
        Figure(f"{what}: plan, shared by all", planning, "CPU s"),
        Figure(f"{what}: ours", rate, RATE, "aim 1000"),
        Figure(f"{what}: ours, mean", float(excess.mean()), EXCESS, aim),
        Figure(f"{what}: ours, 95th percentile", float(np.percentile(excess, 95)), EXCESS),
        Figure(f"{what}: ours, mean error", 1e4 * float(got.tracking_error.mean()), "bp"),
    ]
    if not quick:
        figures.append(Figure(f"{what}: ours, wall", _threaded(ask, inputs), RATE, "two threads"))
    few = slice(0, 40 if quick else 200)
    for name, peer in (
        ("largest, cap weights", _largest),
        ("largest, best weights", _largest_weighed),
    ):
        start = process_time()
        errors = np.array([peer(inputs, row, size) for row in inputs.excluded[few]])
        peer_rate = 2 * len(errors) / (process_time() - start)
        worse = 100 * float((errors / got.bound[few] - 1).mean())
        own = float(excess[few].mean())
        figures += [
            Figure(f"{what}: {name}", worse, EXCESS, "ours / peer", own / worse),
            Figure(f"{what}: {name}", peer_rate, RATE, "ours / peer", rate / peer_rate),
        ]
    if not quick:
        figures += _scip(inputs, size, plan)
    return figures


def _ask(inputs: Inputs, size: int, plan: Plan, excluded: BoolArray) -> Sample:
    return sample(
        inputs.exposure, inputs.specific, inputs.weight, size, excluded=excluded, plan=plan
    )


def _threaded(ask: Callable[[BoolArray], Sample], inputs: Inputs) -> float:
    """Return accounts a second by the clock when two threads take half each."""
    halves = np.array_split(inputs.excluded, 2)
    with ThreadPoolExecutor(2) as pool:
        start = perf_counter()
        list(pool.map(ask, halves))
        return len(inputs.excluded) / (perf_counter() - start)


def _error(inputs: Inputs, member: IntArray, weight: FloatArray) -> float:
    active = -inputs.weight
    active[member] += weight
    systematic = np.sum((active @ inputs.exposure) ** 2)
    return float(np.sqrt(systematic + np.sum(inputs.specific * active**2)))


def _members(inputs: Inputs, excluded: BoolArray, size: int) -> IntArray:
    order = np.argsort(-np.where(excluded, -1.0, inputs.weight), kind="stable")
    return np.asarray(order[:size], dtype=np.int64)


def _largest(inputs: Inputs, excluded: BoolArray, size: int) -> float:
    member = _members(inputs, excluded, size)
    weight = inputs.weight[member]
    return _error(inputs, member, weight / weight.sum())


def _largest_weighed(inputs: Inputs, excluded: BoolArray, size: int) -> float:
    piqp: Any = import_module("piqp")
    member = _members(inputs, excluded, size)
    loading = inputs.exposure[member]
    seen = inputs.exposure.T @ inputs.weight
    s = loading @ loading.T + np.diag(inputs.specific[member])
    pull = loading @ seen + inputs.specific[member] * inputs.weight[member]
    solver = piqp.DenseSolver()
    ones = np.ones((1, size))
    solver.setup(s, -pull, ones, np.ones(1), None, None, None, np.zeros(size), np.ones(size))
    solver.solve()
    weight = np.maximum(solver.result.x, 0)
    return _error(inputs, member, weight / weight.sum())


def _scip(inputs: Inputs, size: int, plan: Plan) -> list[Figure]:
    """Return what SCIP finds and proves in a minute for the account without wishes."""
    scip: Any = import_module("pyscipopt")
    names, rank = inputs.exposure.shape
    model = scip.Model()
    model.hideOutput()
    h = [model.addVar(lb=0, ub=1) for _ in range(names)]
    z = [model.addVar(vtype="B") for _ in range(names)]
    y = [model.addVar(lb=None) for _ in range(rank)]
    square = [model.addVar(lb=0) for _ in range(names)]
    total = model.addVar(lb=0)
    w, d, x = inputs.weight, inputs.specific, inputs.exposure
    model.addCons(scip.quicksum(h) == 1)
    model.addCons(scip.quicksum(z) <= size)
    for i in range(names):
        model.addCons(h[i] <= z[i])
        model.addCons(h[i] * h[i] <= square[i] * z[i])
    for k in range(rank):
        pulled = scip.quicksum(float(x[i, k]) * h[i] for i in range(names))
        model.addCons(y[k] == pulled - float(x[:, k] @ w))
    specific = scip.quicksum(
        float(d[i]) * (square[i] - 2 * float(w[i]) * h[i]) for i in range(names)
    )
    constant = float(np.sum(d * w**2))
    squares = scip.quicksum(part * part for part in y)
    model.addCons(total >= 1_000 * (squares + specific + constant))
    model.setObjective(total)
    model.setParam("limits/time", SCIP_SECONDS)
    model.optimize()
    mine = sample(x, d, w, size, plan=plan)
    error, bound = float(mine.tracking_error[0]), float(mine.bound[0])
    proved = float(np.sqrt(max(model.getDualbound(), 0.0) / 1_000))
    found = float(np.sqrt(model.getPrimalbound() / 1_000)) if model.getNSols() else None
    note = f"{SCIP_SECONDS} s, no exclusions; ours / SCIP"
    return [
        Figure(
            f"{size} names: SCIP's error",
            None if found is None else 1e4 * found,
            "bp",
            note if found else "found none",
            None if found is None else error / found,
        ),
        Figure(
            f"{size} names: SCIP's bound",
            1e4 * proved,
            "bp",
            note,
            bound / proved if proved > 0 else None,
        ),
    ]
