"""At the edge: caps that are barely possible, and numbers so far apart that little is left."""

from dataclasses import replace

import numpy as np
import pytest
from optimizer_problems import small

from robo.portfolio import border, conflicts, evaluator, optimizer, positions
from robo.portfolio.conflicts import WishKind
from robo.portfolio.problem import Problem, Status


def capped(problem: Problem, cap_ppm: np.ndarray) -> Problem:
    return replace(problem, wants=replace(problem.wants, tracking_error_max_ppm=cap_ppm))


def closest(problem: Problem) -> np.ndarray:
    """Return a tracking error that each account can have: of a plan that wants little else."""
    wants = replace(problem.wants, risk_aversion=np.full(3, 1e9), tracking_error_max_ppm=None)
    followed = replace(problem, wants=wants)
    solution = optimizer.solve(followed)
    plan = evaluator.continuous(followed, solution)
    return evaluator.evaluate(followed, plan).tracking_error


@pytest.mark.parametrize("seed", range(24))
def test_a_cap_that_some_plan_keeps_is_no_conflict_however_small(seed: int) -> None:
    problem = small(seed, features=False)
    least = closest(problem)
    problem = capped(problem, np.ceil(least * 1e6).astype(np.int64))

    solution = optimizer.solve(problem)

    assert (solution.status == Status.SOLVED).all()
    assert conflicts.find(problem, range(3)) == {0: (), 1: (), 2: ()}
    judged = evaluator.evaluate(problem, evaluator.continuous(problem, solution))
    assert judged.violations == ()


@pytest.mark.parametrize("seed", range(0, 24, 3))
def test_a_cap_below_every_plan_is_a_conflict(seed: int) -> None:
    problem = small(seed, features=False)
    least = closest(problem)
    below = np.floor(least * 1e6 * 0.95).astype(np.int64) - 1
    some = np.flatnonzero((below >= 0) & (positions.read(problem).value_cents > 0))
    problem = capped(problem, np.maximum(below, 0))

    solution = optimizer.solve(problem)

    assert (solution.status[some] == Status.INFEASIBLE).all()
    for account, wishes in conflicts.find(problem, some).items():
        assert WishKind.TRACKING_ERROR in {wish.kind for wish in wishes}, account


def stretched(problem: Problem, seed: int) -> Problem:
    """Return the problem in a market and with prices of any size that the border lets in."""
    rng = np.random.default_rng(seed)
    market, wants = problem.market, problem.wants
    scale = 10 ** rng.uniform(-7, 5.5) * 10 ** rng.uniform(-6, 6, market.price_micros.size)
    return replace(
        problem,
        market=replace(
            market,
            exposure=np.clip(market.exposure * 10 ** rng.uniform(-9, 2.5), -100, 100),
            specific_variance=np.clip(market.specific_variance * scale, *border.SPECIFIC_VARIANCE),
        ),
        wants=replace(
            wants,
            risk_aversion=10 ** rng.uniform(-6, 9, 3),
            cash_price_ppm=(10 ** rng.uniform(0, 9, 3)).astype(np.int64),
            tracking_error_max_ppm=None,
        ),
    )


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_who_can_be_served_does_not_hang_on_the_size_of_risks_and_prices(first: int) -> None:
    for seed in range(first, first + 20):
        plain = small(seed)
        plain = replace(plain, wants=replace(plain.wants, tracking_error_max_ppm=None))
        problem = stretched(plain, seed)

        solution = optimizer.solve(problem)

        assert solution.status.tolist() == optimizer.solve(plain).status.tolist(), seed
        judged = evaluator.evaluate(problem, evaluator.continuous(problem, solution))
        served = solution.status == Status.SOLVED
        assert [one for one in judged.violations if served[one.account]] == [], seed
        slack = 1e-9 * (1 + np.abs(judged.objective))
        assert (solution.bound <= judged.objective + slack)[served].all(), seed
