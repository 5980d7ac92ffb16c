"""Caps on tracking error at the edge of what is possible: no conflict is named that is none."""

from dataclasses import replace

import numpy as np
import pytest
from optimizer_problems import small

from robo.portfolio import conflicts, evaluator, optimizer, positions
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
