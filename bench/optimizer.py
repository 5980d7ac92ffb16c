"""The lot-level optimizer against its peers, on the same seeded instances, in one run.

The instances are `bench.instances`: section 2 of the facts, N = 500, K = 30, about 1,780 lots.
Times are CPU time (`process_time`); "2 threads" is by the clock, because the question is what
two cores deliver. Plans are judged by `robo.portfolio.evaluator`, which shares no number with
any solver: the plan to 1e-9, and what landed in cents and nanoshares to a cent a trade. The
certified gap of an account is its objective less its bound: relative to the
objective, and in basis points of the account. "objective" is the mean over the accounts that a
line names, in basis points; the lower, the better (a harvested loss counts negative).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from time import perf_counter, process_time
from typing import Final

import numpy as np

from bench import instances, peers
from bench.instances import Recipe
from bench.report import Figure, cpu_seconds
from robo.portfolio import evaluator, optimizer
from robo.portfolio.problem import FloatArray, Problem, Solution, Status, TaxMode

GAP_REL: Final = 1e-3
GAP_BP: Final = 0.5
BP: Final = 1e4
PROTOTYPE: Final = {"cold": 1_480.0, "warm": 7_400.0}
"""Accounts a second on two threads that the facts' prototype reached at best."""

ASKED: Final = {
    "netting": {"netting": True, "recapture_ppm": 300_000},
    "hard rows": {"hard_rows": 6},
    "turnover cap": {"turnover_max_ppm": 200_000},
    "TE cap": {"tracking_error_max_ppm": 6_000},
    "netting, hard rows, turnover, TE": {
        "netting": True,
        "hard_rows": 6,
        "turnover_max_ppm": 300_000,
        "tracking_error_max_ppm": 8_000,
    },
}
"""What quality is promised for, beside the plain instance."""
FEATURES: Final = ASKED | {
    "priced rows": {"priced_rows": 11},
    "min trade": {"trade_min_cents": 20_000},
    "fixed costs": {"trade_cost_ppm": 1, "new_line_ppm": 5},
    "gains sought": {"mode": TaxMode.REALISE, "gain_budget_ppm": 5_000, "recapture_ppm": 500_000},
}


def run(*, quick: bool = False) -> list[Figure]:
    """Return speed, gaps, violations and ratios of ours and of the peers."""
    optimizer.solve(instances.draw(Recipe(accounts=2)))  # compile, or read from the cache
    figures = measure_base(200 if quick else 1_000)
    figures += measure_peers(quick=quick)
    figures += measure_features(40 if quick else 1_000, 20 if quick else 200)
    figures += measure_sizes(quick=quick)
    return figures + measure_exact(quick=quick)


def measure_base(accounts: int) -> list[Figure]:
    """Return section 2's instance cold and the next day warm, on one thread and on two."""
    problem = instances.draw(Recipe(accounts=accounts))
    cold = optimizer.solve(problem)
    later = instances.next_day(problem, cold, seed=1)
    warm = optimizer.solve(later, cold.duals)
    figures = []
    for name, day, found, start in (
        ("cold", problem, cold, None),
        ("warm", later, warm, cold),
    ):
        label = f"500 names, {name}"
        seconds = cpu_seconds(partial(_solve, day, start), 3) / accounts
        two = _two_threads(day, start)
        prototype = PROTOTYPE[name]
        figures += [
            Figure(f"{label}, CPU a account", 1e3 * seconds, "ms"),
            Figure(f"{label}, 1 thread", 1 / seconds, "accounts/s CPU"),
            Figure(
                f"{label}, 2 threads",
                two,
                "accounts/s",
                "prototype, stated in the facts",
                two / prototype,
            ),
            *_quality(label, day, found),
        ]
    return figures


def _solve(problem: Problem, before: Solution | None) -> Solution:
    return optimizer.solve(problem, None if before is None else before.duals)


def _two_threads(problem: Problem, before: Solution | None, repeats: int = 3) -> float:
    """Return accounts a second by the clock with the batch halved over two threads."""
    accounts = problem.accounts.cash_cents.size
    ends = ((0, accounts // 2), (accounts // 2, accounts))
    parts = [instances.part(problem, *end) for end in ends]
    duals = [
        None if before is None else replace(before.duals, value=before.duals.value[slice(*end)])
        for end in ends
    ]
    best = float("inf")
    with ThreadPoolExecutor(2) as pool:
        for _ in range(repeats):
            start = perf_counter()
            list(pool.map(optimizer.solve, parts, duals))
            best = min(best, perf_counter() - start)
    return accounts / best


def _quality(label: str, problem: Problem, found: Solution) -> list[Figure]:
    """Return gaps, objective and violations of solutions, judged by the evaluator."""
    judged = evaluator.evaluate(problem, evaluator.continuous(problem, found))
    solved = found.status == 0
    objective = judged.objective[solved]
    gap = objective - found.bound[solved]
    small = gap <= GAP_REL * np.abs(objective)
    broken = {one.account for one in judged.violations if solved[one.account]}
    landed = {one.account for one in evaluator.landing(problem, found)}
    cents = evaluator.cent_tolerance(problem, found)
    rounded = evaluator.evaluate(problem, evaluator.landed(problem, found), cents)
    astray = {one.account for one in rounded.violations if solved[one.account]}
    figures = [
        Figure(f"{label}: certified gap <= 1e-3", 100 * float(small.mean()), "% of accounts"),
        Figure(f"{label}: certified gap, median", BP * float(np.median(gap)), "bp of account"),
        Figure(f"{label}: certified gap, largest", BP * float(gap.max()), "bp of account"),
        Figure(f"{label}: objective", BP * float(objective.mean()), "bp of account"),
        Figure(f"{label}: with a violation > 1e-9", float(len(broken)), "accounts"),
        Figure(f"{label}: with a broken landing", float(len(landed)), "accounts"),
        Figure(f"{label}: landed outside a wish by more than the cents", len(astray), "accounts"),
    ]
    for status in (Status.INFEASIBLE, Status.UNDECIDED):
        unserved = int((found.status == status).sum())
        if unserved:
            figures.append(Figure(f"{label}: {status.name.lower()}", unserved, "accounts"))
    return figures


def measure_peers(*, quick: bool) -> list[Figure]:
    """Return each peer on single accounts of section 2, and ours on the very same."""
    problem = instances.draw(Recipe(accounts=64))
    seconds = cpu_seconds(partial(optimizer.solve, problem), 3) / 64
    singles = [instances.part(problem, account, account + 1) for account in range(20)]
    free = [_unmasked(single) for single in singles]
    jobs: list[tuple[str, Callable[[Problem], peers.Answer], list[Problem]]] = [
        ("PIQP two-solve", peers.piqp_two_solve, singles[: 4 if quick else 20]),
        ("cvxpy+Clarabel two-solve", peers.clarabel_two_solve, singles[: 2 if quick else 10]),
        ("PyPortfolioOpt, no lots", peers.pypfopt, singles[: 1 if quick else 4]),
        ("taxrebalance, no masks", peers.taxrebalance, free[:0] if quick else free[:1]),
    ]
    figures: list[Figure] = []
    for name, peer, problems in jobs:
        figures += _measure_peer(name, peer, problems, seconds)
    return figures


def _measure_peer(
    name: str, peer: Callable[[Problem], peers.Answer], problems: list[Problem], seconds: float
) -> list[Figure]:
    if not problems:
        return [Figure(name, None, "ms", "left out of --quick")]
    try:
        answers = [peer(problem) for problem in problems]
    except ImportError:
        return [Figure(name, None, "ms", "not installed")]
    took = float(np.mean([answer.seconds for answer in answers]))
    judged = [
        evaluator.evaluate(problem, answer.plan)
        for problem, answer in zip(problems, answers, strict=True)
    ]
    theirs = np.array([one.objective[0] for one in judged])
    ours = np.array([optimizer.solve(problem).objective[0] for problem in problems])
    broken = sum(len(one.violations) for one in judged) / len(judged)
    worst = max((v.size for one in judged for v in one.violations), default=0.0)
    against = f"ours: 500 names, cold; {len(problems)} accounts"
    return [
        Figure(f"{name}, CPU a account", 1e3 * took, "ms", against, took / seconds),
        Figure(
            f"{name}: objective",
            BP * float(theirs.mean()),
            "bp of account",
            f"ours {BP * float(ours.mean()):.4g} bp",
            float(theirs.mean() / ours.mean()),
        ),
        Figure(f"{name}: violations > 1e-9", broken, "an account", f"largest {worst:.1e}"),
    ]


def _unmasked(problem: Problem) -> Problem:
    """Return a problem without masks, exclusions, cap and price of cash."""
    accounts, wants = problem.accounts, problem.wants
    return replace(
        problem,
        accounts=replace(
            accounts,
            rule=np.zeros_like(accounts.rule),
            lot_is_blocked=np.zeros_like(accounts.lot_is_blocked),
        ),
        wants=replace(
            wants,
            active_max_ppm=np.full_like(wants.active_max_ppm, 1_000_000),
            cash_price_ppm=np.zeros_like(wants.cash_price_ppm),
        ),
    )


def measure_features(asked: int, others: int) -> list[Figure]:
    """Return section 2's instance with one wish after the other switched on.

    Args:
        asked: How many accounts with the wishes in `ASKED`.
        others: How many with the other wishes.
    """
    figures = []
    for name, switches in FEATURES.items():
        accounts = asked if name in ASKED else others
        problem = instances.draw(replace(Recipe(accounts=accounts), **switches))  # type: ignore[arg-type] # fields by name
        found = optimizer.solve(problem)
        seconds = cpu_seconds(partial(optimizer.solve, problem)) / accounts
        later = instances.next_day(problem, found, seed=1)
        again = optimizer.solve(later, found.duals)
        warm = cpu_seconds(partial(optimizer.solve, later, found.duals)) / accounts
        figures += [
            Figure(f"+ {name}, cold, CPU a account", 1e3 * seconds, "ms"),
            Figure(f"+ {name}, warm, CPU a account", 1e3 * warm, "ms"),
            *_quality(f"+ {name}, cold", problem, found),
            *_quality(f"+ {name}, warm", later, again),
        ]
    return figures


SIZES: Final = (
    (10, 30, 4_000),
    (30, 30, 2_000),
    (80, 30, 600),
    (150, 30, 400),
    (250, 30, 300),
    (1000, 100, 20),
)
"""Names, factors, accounts."""


def measure_sizes(*, quick: bool) -> list[Figure]:
    """Return how speed and gaps change with the number of names."""
    figures = []
    for names, factors, accounts in SIZES:
        count = max(accounts // 10, 4) if quick else accounts
        problem = instances.draw(Recipe(accounts=count, names=names, factors=factors))
        found = optimizer.solve(problem)
        seconds = cpu_seconds(partial(optimizer.solve, problem)) / count
        label = f"{names} names, K = {factors}"
        later = instances.next_day(problem, found, seed=1)
        figures += [
            Figure(f"{label}, cold, CPU a account", 1e3 * seconds, "ms"),
            Figure(f"{label}, cold, 2 threads", _two_threads(problem, None), "accounts/s"),
            Figure(f"{label}, warm, 2 threads", _two_threads(later, found), "accounts/s"),
            *_quality(label, problem, found)[:4],
        ]
    return figures


def measure_exact(*, quick: bool) -> list[Figure]:
    """Return how far ours is from the optima that SCIP closes, and SCIP's time."""
    try:
        from bench import exact
    except ImportError:
        return [Figure("SCIP, exact", None, "ms", "not installed")]
    figures = []
    plan = (
        ((10, 5, 5.0), (30, 2, 10.0))
        if quick
        else ((10, 40, 20.0), (30, 20, 20.0), (80, 2, 40.0), (150, 1, 40.0))
    )
    for names, count, limit in plan:
        problem = instances.draw(Recipe(accounts=count, names=names))
        found = optimizer.solve(problem)
        ours = cpu_seconds(partial(optimizer.solve, problem), 3) / count
        loss, took = [], []
        for account in range(count):
            start = process_time()
            truth = exact.solve(problem, account, seconds=limit)
            took.append(process_time() - start)
            if truth.closed and truth.feasible:
                loss.append((found.objective[account] - truth.objective) / abs(truth.objective))
        label = f"SCIP, {names} names"
        figures += _exact_figures(label, np.array(loss), took, ours)
    return figures


def _exact_figures(label: str, loss: FloatArray, took: list[float], ours: float) -> list[Figure]:
    mean = float(np.mean(took))
    closed = f"{loss.size} of {len(took)} closed"
    figures = [Figure(f"{label}, CPU a account", 1e3 * mean, "ms", closed, mean / ours)]
    if loss.size:
        equal = 100 * float((loss <= 1e-6).mean())
        figures += [
            Figure(f"{label}: ours equal to 1e-6", equal, "% of closed"),
            Figure(f"{label}: ours worse by at most", float(loss.max()), "relative"),
        ]
    return figures
