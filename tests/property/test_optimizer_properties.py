"""What every answer of the optimizer keeps, over seeded problems in every corner."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
from optimizer_problems import CORNERS, small, taken

from bench import instances
from bench.instances import Recipe
from robo.portfolio import conflicts, evaluator, optimizer, positions
from robo.portfolio.problem import Duals, Problem, Solution, Status

SEEDS = range(250)


@pytest.fixture(scope="module")
def solved() -> list[tuple[Problem, Solution]]:
    problems = [small(seed, features=seed % 4 != 0) for seed in SEEDS]
    return [(problem, optimizer.solve(problem)) for problem in problems]


def is_served(solution: Solution, account: int) -> bool:
    return solution.status[account] == Status.SOLVED


def test_the_corners_are_all_there() -> None:
    seen = {"empty": 0, "no value": 0, "one lot": 0, "blocked": 0, "no cash": 0}
    for seed in SEEDS:
        problem = small(seed)
        where = positions.read(problem)
        lots = np.bincount(where.lot_account, minlength=3)
        free = np.bincount(where.lot_account, where.lot_sellable, 3)
        seen["empty"] += int((lots == 0).sum())
        seen["no value"] += int((where.value_cents == 0).sum())
        seen["one lot"] += int((lots == 1).sum())
        seen["blocked"] += int(((lots > 0) & (free == 0)).sum())
        seen["no cash"] += int(((where.cash == 0) & (lots > 0)).sum())

    assert min(seen.values()) >= 10, seen
    assert len(CORNERS) == 9


def test_no_plan_breaks_a_rule_or_a_hard_wish(solved: list[tuple[Problem, Solution]]) -> None:
    for seed, (problem, solution) in zip(SEEDS, solved, strict=True):
        found = evaluator.evaluate(problem, evaluator.continuous(problem, solution))

        broken = [one for one in found.violations if is_served(solution, one.account)]
        assert broken == [], seed


def test_the_objective_is_what_the_evaluator_finds(
    solved: list[tuple[Problem, Solution]],
) -> None:
    for seed, (problem, solution) in zip(SEEDS, solved, strict=True):
        found = evaluator.evaluate(problem, evaluator.continuous(problem, solution))

        served = solution.status == Status.SOLVED
        expected = found.objective[served]
        assert solution.objective[served] == pytest.approx(expected, rel=1e-9, abs=1e-11), seed


def test_no_bound_is_above_its_plan(solved: list[tuple[Problem, Solution]]) -> None:
    for seed, (_, solution) in zip(SEEDS, solved, strict=True):
        served = solution.status == Status.SOLVED
        excess = (solution.bound - solution.objective)[served]

        assert (excess <= 1e-10).all(), seed


def test_who_is_not_served_has_a_conflict_and_who_is_served_has_none(
    solved: list[tuple[Problem, Solution]],
) -> None:
    for seed, (problem, solution) in zip(SEEDS, solved, strict=True):
        found = conflicts.find(problem, range(3))

        for account, wishes in found.items():
            served = is_served(solution, account)
            assert served == (not wishes), (seed, account)
            assert solution.status[account] != Status.UNDECIDED


def test_an_account_that_is_not_served_trades_nothing(
    solved: list[tuple[Problem, Solution]],
) -> None:
    for problem, solution in solved:
        where = positions.read(problem)
        idle = solution.status == Status.INFEASIBLE

        assert (np.diff(solution.trade_indptr)[idle] == 0).all()
        assert not solution.lot_sold_nanos[idle[where.lot_account]].any()


def test_landings_conserve_cents_and_nanoshares_and_break_no_rule(
    solved: list[tuple[Problem, Solution]],
) -> None:
    for seed, (problem, solution) in zip(SEEDS, solved, strict=True):
        assert evaluator.landing(problem, solution) == (), seed
        landed = evaluator.evaluate(
            problem,
            evaluator.landed(problem, solution),
            evaluator.cent_tolerance(problem, solution),
        )
        broken = [one for one in landed.violations if is_served(solution, one.account)]
        assert broken == [], seed


def test_landings_cost_what_the_plan_costs_but_for_the_cents(
    solved: list[tuple[Problem, Solution]],
) -> None:
    for seed, (problem, solution) in zip(SEEDS, solved, strict=True):
        landed = evaluator.evaluate(problem, evaluator.landed(problem, solution))

        served = solution.status == Status.SOLVED
        # No dollar moved by rounding costs more than the highest tax, price and risk charge.
        room = 30 * evaluator.cent_tolerance(problem, solution)
        assert (np.abs(landed.objective - solution.objective)[served] <= room[served]).all(), seed


def bytes_of(solution: Solution, account: int, lots: slice) -> list[bytes]:
    trades = slice(*solution.trade_indptr[account : account + 2])
    return [
        solution.trade_name[trades].tobytes(),
        solution.buy_cents[trades].tobytes(),
        solution.sell_nanos[trades].tobytes(),
        solution.lot_sold_nanos[lots].tobytes(),
        solution.lot_sold[lots].tobytes(),
        solution.holding[account].tobytes(),
        solution.objective[account].tobytes(),
        solution.bound[account].tobytes(),
        np.trim_zeros(solution.duals.value[account], "b").tobytes(),  # as wide as the batch
        solution.status[account].tobytes(),
    ]


def lots_of(problem: Problem, account: int) -> slice:
    accounts = problem.accounts
    first, last = accounts.holding_indptr[account : account + 2]
    return slice(int(accounts.lot_indptr[first]), int(accounts.lot_indptr[last]))


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_does_not_depend_on_its_place_or_company_in_the_batch(seed: int) -> None:
    problem = small(seed, accounts=5)
    whole = optimizer.solve(problem)

    for order in ([0], [4, 2, 0, 3, 1], [3, 3]):
        other = taken(problem, order)
        again = optimizer.solve(other)

        for place, account in enumerate(order):
            mine = bytes_of(again, place, lots_of(other, place))
            assert mine == bytes_of(whole, account, lots_of(problem, account))


@pytest.mark.parametrize(
    "switches",
    [{}, {"netting": True, "hard_rows": 6, "turnover_max_ppm": 300_000, "trade_min_cents": 5_000}],
    ids=["base", "many wishes"],
)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_number_of_threads_changes_a_byte_today_or_tomorrow(
    switches: dict[str, object], threads: int
) -> None:
    today = instances.draw(replace(Recipe(accounts=12, names=200, seed=4), **switches))
    before = optimizer.solve(today)
    tomorrow = instances.next_day(today, before, seed=1)
    ends = [(first, first + 12 // threads) for first in range(0, 12, 12 // threads)]

    for problem, duals in ((today, None), (tomorrow, before.duals)):
        alone = optimizer.solve(problem, duals)
        parts = [instances.part(problem, *end) for end in ends]
        starts = [None if duals is None else Duals(duals.value[slice(*end)]) for end in ends]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(optimizer.solve, parts * 2, starts * 2))

        for field in fields(Solution):
            if field.name not in {"duals", "trade_indptr"}:
                whole = getattr(alone, field.name).tobytes()
                for half in (together[: len(parts)], together[len(parts) :]):
                    joined = np.concatenate([getattr(part, field.name) for part in half])
                    assert joined.tobytes() == whole, field.name
        joined = np.concatenate([part.duals.value for part in together[: len(parts)]])
        assert joined.tobytes() == alone.duals.value.tobytes()


def minute_after(problem: Problem, solution: Solution) -> Problem:
    """Return the same prices, index and masks; only what was traded has changed."""
    moved = instances.next_day(problem, solution, seed=0)
    still = replace(moved, market=problem.market, wants=problem.wants)
    before, after = positions.read(problem), positions.read(still)
    barred = before.per_name(problem.accounts.lot_is_blocked.astype(np.float64)) > 0
    masked = barred[after.lot_account, after.lot_name] & (after.lot_gain < 0)
    accounts = replace(
        still.accounts,
        rule=still.accounts.rule | problem.accounts.rule,
        lot_is_blocked=still.accounts.lot_is_blocked | masked,
        lot_is_long=(instances.TODAY - still.accounts.lot_acquired_day > instances.LONG_DAYS),
    )
    return replace(still, accounts=accounts)


@pytest.mark.parametrize("names", [10, 60, 300])
def test_a_plan_carried_out_leaves_almost_nothing_to_plan(names: int) -> None:
    problem = instances.draw(Recipe(accounts=6, names=names, seed=8))
    first = optimizer.solve(problem)

    after = minute_after(problem, first)
    second = optimizer.solve(after, first.duals)

    done, left = (
        evaluator.evaluate(asked, evaluator.continuous(asked, answer))
        for asked, answer in ((problem, first), (after, second))
    )
    assert (done.before.total - done.objective > 5e-4).all()
    assert (left.before.total - left.objective < 0.01 * (done.before.total - done.objective)).all()
    assert (left.turnover < 0.1 * done.turnover).all()


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"netting": True, "recapture_ppm": 300_000},
        {"hard_rows": 4, "priced_rows": 3},
        {"turnover_max_ppm": 200_000},
        {"tracking_error_max_ppm": 15_000},
        {"trade_min_cents": 20_000},
        {"trade_cost_ppm": 5, "new_line_ppm": 20},
        {"mode": 1, "gain_budget_ppm": 2_000},
        {"mode": 2, "gain_budget_ppm": 5_000, "recapture_ppm": 500_000},
        {
            "netting": True,
            "hard_rows": 6,
            "turnover_max_ppm": 300_000,
            "tracking_error_max_ppm": 8_000,
        },
        {"alpha": True, "wait": True},
    ],
    ids=lambda switches: ",".join(switches) or "base",
)
def test_every_feature_is_served_at_full_size_within_its_certificate(switches) -> None:
    problem = instances.draw(replace(Recipe(accounts=8, seed=21), **switches))

    solution = optimizer.solve(problem)

    judged = evaluator.evaluate(problem, evaluator.continuous(problem, solution))
    assert [one for one in judged.violations if is_served(solution, one.account)] == []
    assert evaluator.landing(problem, solution) == ()
    gap = judged.objective - solution.bound
    served = solution.status == Status.SOLVED
    assert served.sum() >= 6
    assert (gap[served] >= -1e-10).all()
    assert (gap[served] <= 0.5e-4).all(), gap


def test_tomorrow_starts_from_today_without_a_worse_plan() -> None:
    problem = instances.draw(Recipe(accounts=12, seed=6))
    today = optimizer.solve(problem)
    later = instances.next_day(problem, today, seed=2)

    warm, cold = optimizer.solve(later, today.duals), optimizer.solve(later)

    assert (warm.bound <= cold.objective + 1e-10).all()
    assert (cold.bound <= warm.objective + 1e-10).all()
    assert np.abs(warm.objective - cold.objective).max() <= 0.5e-4
