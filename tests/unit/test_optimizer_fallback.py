"""Accounts without a plan: a second search decides, and INFEASIBLE is always proved."""

import numpy as np
import pytest
from optimizer_problems import small

from bench import instances
from bench.instances import Recipe
from robo.portfolio import conflicts, evaluator, fallback, optimizer
from robo.portfolio import dual_kernels as dual
from robo.portfolio.problem import Status

WISHES = {
    "netting": {"netting": True},
    "rows": {"hard_rows": 2, "priced_rows": 2},
    "turnover and tracking error": {"turnover_max_ppm": 200_000, "tracking_error_max_ppm": 30_000},
    "minimum trade": {"trade_min_cents": 100_000},
    "gains": {"mode": 2, "gain_budget_ppm": 5_000, "recapture_ppm": 300_000},
    "gain budget": {"mode": 1, "gain_budget_ppm": 1_000, "alpha": True},
}


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_the_fallback_serves_whom_the_kernel_serves_and_beats_no_bound(seed: int) -> None:
    problem = small(seed)
    solution = optimizer.solve(problem)

    for account in range(3):
        answer = fallback.decide(problem, account)

        assert answer.status == solution.status[account]
        if answer.plan is not None:
            slack = 1e-8 * (1.0 + abs(answer.objective))
            assert answer.objective >= solution.bound[account] - slack


@pytest.mark.parametrize("switches", WISHES.values(), ids=WISHES.keys())
def test_a_plan_of_the_fallback_breaks_no_wish_and_is_near_the_best(switches: dict) -> None:
    problem = instances.draw(Recipe(accounts=2, names=40, factors=12, **switches))
    best = optimizer.solve(problem)

    for account in range(2):
        answer = fallback.decide(problem, account)

        assert answer.status == Status.SOLVED
        alone = fallback.only(problem, account)
        judged = evaluator.evaluate(alone, answer.plan)
        assert judged.violations == ()
        gained = judged.before.total[0] - best.objective[account]
        assert answer.objective - best.bound[account] >= -1e-9
        assert answer.objective - best.objective[account] <= 0.35 * max(gained, 1e-4)


def test_what_the_kernel_gives_up_on_is_planned_all_the_same(monkeypatch) -> None:
    problem = instances.draw(Recipe(accounts=3, names=30, factors=10))
    whole = optimizer.solve(problem)
    run = dual.solve_rows

    def gives_up(*arguments) -> int:
        run(*arguments)
        h, sold, objective, _, status, _, stats = arguments[-7:]
        h[1], objective[1], status[1] = 0.0, 0.0, 1
        sold[:] = np.where(fallback_lots(problem, 1), 0.0, sold)
        stats[1, dual.STAT_FAILED] = dual.GAVE_UP
        return 0

    monkeypatch.setattr(dual, "solve_rows", gives_up)

    again = optimizer.solve(problem)

    assert again.status.tolist() == [Status.SOLVED] * 3
    assert evaluator.evaluate(problem, evaluator.continuous(problem, again)).violations == ()
    assert evaluator.landing(problem, again) == ()
    assert again.objective[1] >= whole.objective[1] - 1e-9
    assert again.bound[1] == whole.bound[1]
    assert np.array_equal(again.holding[[0, 2]], whole.holding[[0, 2]])


def fallback_lots(problem, account: int) -> np.ndarray:
    accounts = problem.accounts
    owner = np.repeat(np.arange(accounts.cash_cents.size), np.diff(accounts.holding_indptr))
    return owner[np.repeat(np.arange(owner.size), np.diff(accounts.lot_indptr))] == account


def test_nobody_is_told_of_a_conflict_that_is_not_proved(monkeypatch) -> None:
    problem = instances.draw(Recipe(accounts=1, names=12, factors=6, trade_min_cents=500_000))
    monkeypatch.setattr(conflicts, "NODES_MAX", 0)

    answer = fallback.decide(problem, 0)

    assert answer.status == Status.UNDECIDED
