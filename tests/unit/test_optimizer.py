"""The optimizer against arithmetic, a generic solver, and every branch of small accounts."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench import instances
from bench.instances import Recipe
from robo.portfolio import dual_kernels, evaluator, generic_qp, positions
from robo.portfolio.optimizer import solve
from robo.portfolio.problem import Duals, Problem, Rule, Solution, Status, TaxMode
from robo.portfolio.rebalance import rebalance

FEATURES = {
    "base": {},
    "neutral": {"mode": TaxMode.NEUTRAL},
    "recapture and waiting": {"recapture_ppm": 300_000, "wait": True},
    "alpha": {"alpha": True},
    "hard rows": {"hard_rows": 6},
    "priced rows": {"priced_rows": 6},
    "turnover": {"turnover_max_ppm": 150_000},
    "gain budget": {"mode": TaxMode.NEUTRAL, "gain_budget_ppm": 1_000},
}
OTHERS = {
    "netting": {"netting": True},
    "tracking error": {"tracking_error_max_ppm": 25_000},
    "minimum trade": {"trade_min_cents": 100_000},
    "theta": {"trade_cost_ppm": 20},
    "phi": {"new_line_ppm": 50},
    "realise": {
        "mode": TaxMode.REALISE,
        "recapture_ppm": 300_000,
        "gain_budget_ppm": 20_000,
    },
}


def drawn(names: int = 40, accounts: int = 6, **switches: object) -> Problem:
    return instances.draw(Recipe(accounts=accounts, names=names, factors=12, **switches))


def directions(problem: Problem, solution: Solution) -> np.ndarray:
    where = positions.read(problem)
    sold = where.per_name(solution.lot_sold)
    bought = solution.holding - where.held + sold
    return np.where(sold > 1e-14, -1, np.where(bought > 1e-14, 1, 0))


@pytest.mark.parametrize("switches", FEATURES.values(), ids=FEATURES.keys())
def test_plans_cost_what_a_generic_solver_finds_for_the_same_directions(switches: dict) -> None:
    problem = drawn(**switches)

    solution = solve(problem)

    assert (solution.status == Status.SOLVED).all()
    for account in range(6):
        least = generic_qp.least_cost(problem, account, directions(problem, solution)[account])
        assert solution.objective[account] == pytest.approx(least, abs=2e-9)


@pytest.mark.parametrize("names", [40, 200])
@pytest.mark.parametrize("switches", (FEATURES | OTHERS).values(), ids=(FEATURES | OTHERS).keys())
def test_no_wish_is_broken_and_the_objective_is_what_the_evaluator_reckons(
    switches: dict, names: int
) -> None:
    problem = drawn(names, **switches)

    solution = solve(problem)
    reckoned = evaluator.evaluate(problem, evaluator.continuous(problem, solution))
    landed = evaluator.landed(problem, solution)
    tolerance = evaluator.cent_tolerance(problem, solution)
    solved = set(np.flatnonzero(solution.status == Status.SOLVED))

    assert len(solved) >= 4
    assert [v for v in reckoned.violations if v.account in solved] == []
    broken = evaluator.evaluate(problem, landed, tolerance).violations
    assert [v for v in broken if v.account in solved] == []
    for account in solved:
        assert solution.objective[account] == pytest.approx(reckoned.objective[account], abs=1e-12)
        assert solution.bound[account] <= solution.objective[account] + 1e-15


def test_small_accounts_are_the_best_of_every_combination_of_directions() -> None:
    problem = instances.draw(Recipe(accounts=5, names=7, factors=5, active_max_ppm=80_000))

    solution = solve(problem)

    for account in range(5):
        costs = [
            generic_qp.least_cost(problem, account, np.array(choice))
            for choice in product((-1, 1), repeat=7)
        ]
        assert solution.objective[account] == pytest.approx(min(costs), abs=2e-9)
        assert solution.bound[account] == pytest.approx(min(costs), abs=2e-9)


def test_no_random_allowed_plan_beats_the_bound() -> None:
    problem = drawn(names=30, accounts=8)
    rng = np.random.default_rng(7)
    solution = solve(problem)

    for account in range(8):
        for _ in range(5):
            choice = rng.choice((-1, 1), 30)
            least = generic_qp.least_cost(problem, account, choice)
            assert least >= solution.bound[account] - 1e-9


def same(one: Solution, other: Solution) -> bool:
    names = [name for name in Solution.__dataclass_fields__ if name != "duals"]
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    ) and np.array_equal(one.duals.value, other.duals.value)


def test_the_same_problem_gives_the_same_bytes() -> None:
    problem = drawn(names=120, netting=True)

    assert same(solve(problem), solve(problem))


def test_an_account_does_not_depend_on_its_batch() -> None:
    many, few = drawn(names=60, accounts=9), drawn(names=60, accounts=9)
    only = replace(
        few,
        accounts=replace(
            few.accounts,
            cash_cents=few.accounts.cash_cents[:1],
            holding_indptr=few.accounts.holding_indptr[:2],
            holding_name=few.accounts.holding_name[: few.accounts.holding_indptr[1]],
            lot_indptr=few.accounts.lot_indptr[: few.accounts.holding_indptr[1] + 1],
            rule=few.accounts.rule[:1],
            **{
                name: getattr(few.accounts, name)[
                    : few.accounts.lot_indptr[few.accounts.holding_indptr[1]]
                ]
                for name in (
                    "lot_nanos",
                    "lot_basis_cents",
                    "lot_acquired_day",
                    "lot_is_long",
                    "lot_is_blocked",
                    "lot_wait",
                )
            },
        ),
        taxes=replace(
            few.taxes,
            **{n: getattr(few.taxes, n)[:1] for n in few.taxes.__dataclass_fields__},
        ),
        wants=replace(
            few.wants,
            **{
                n: getattr(few.wants, n)[:1]
                for n in ("risk_aversion", "cash_ppm", "cash_price_ppm", "active_max_ppm")
            },
        ),
    )

    whole, single = solve(many), solve(only)

    assert np.array_equal(whole.holding[:1], single.holding)
    assert whole.objective[0] == single.objective[0]
    assert whole.bound[0] == single.bound[0]


def test_warm_duals_lead_to_the_same_small_plan() -> None:
    problem = drawn(names=80)
    first = solve(problem)
    later = instances.next_day(problem, first, seed=3)

    cold, warm = solve(later), solve(later, first.duals)

    np.testing.assert_allclose(warm.objective, cold.objective, atol=3e-9)
    with pytest.raises(ValueError, match="warm"):
        solve(later, Duals(first.duals.value[:, :3]))


@pytest.mark.parametrize("asks_today", [True, False])
def test_yesterdays_prices_fit_whatever_one_account_of_the_batch_asks_for(
    asks_today: bool,  # noqa: FBT001 - the case
) -> None:
    plain = drawn(names=80)
    asking = replace(plain, taxes=replace(plain.taxes, netting=np.arange(6) == 5))
    yesterday, today = (plain, asking) if asks_today else (asking, plain)
    before = solve(yesterday)

    warm, cold = solve(today, before.duals), solve(today)

    assert before.duals.value.shape[1] != cold.duals.value.shape[1]
    np.testing.assert_allclose(warm.objective, cold.objective, atol=3e-9)
    unasked = solve(yesterday, before.duals)
    assert np.array_equal(warm.holding[:5], unasked.holding[:5])


def test_a_dear_cash_target_that_cannot_be_met_is_paid_for_and_no_conflict() -> None:
    problem = drawn(accounts=3)
    accounts = replace(
        problem.accounts,
        rule=np.full_like(problem.accounts.rule, Rule.NEVER_TRADE),
    )
    wants = replace(
        problem.wants,
        cash_ppm=np.full(3, 900_000),
        cash_price_ppm=np.full(3, 900_000_000),
    )

    solution = solve(replace(problem, accounts=accounts, wants=wants))

    assert (solution.status == Status.SOLVED).all()
    assert (solution.objective > 500).all()  # 900 for each dollar of the 0.9 that are not there


def test_the_price_of_a_row_counts_by_what_the_account_itself_asks() -> None:
    problem = drawn(accounts=3, priced_rows=1)
    rows = replace(
        problem.wants.rows,
        low=np.array([[-np.inf], [40.0], [-np.inf]]),
        high=np.array([[np.inf], [np.inf], [np.inf]]),
        price=np.array([100.0]),
    )
    problem = replace(problem, wants=replace(problem.wants, rows=rows))

    solution = solve(problem)

    assert (solution.status == Status.SOLVED).all()
    assert solution.objective[1] > 3_000 > solution.objective[[0, 2]].max()


def test_a_name_that_must_go_but_cannot_be_sold_makes_the_account_infeasible() -> None:
    problem = drawn()
    rule = problem.accounts.rule.copy()
    held = problem.accounts.holding_name[0]
    rule[0, held] = Rule.NEVER_OWN | Rule.NEVER_SELL
    problem = replace(problem, accounts=replace(problem.accounts, rule=rule))

    solution = solve(problem)

    assert solution.status[0] == Status.INFEASIBLE
    assert solution.trade_indptr[1] == 0
    assert (solution.status[1:] == Status.SOLVED).all()


def test_a_tracking_error_that_no_plan_has_is_infeasible() -> None:
    solution = solve(drawn(tracking_error_max_ppm=1))

    assert (solution.status == Status.INFEASIBLE).all()
    assert solution.trade_name.size == 0


def test_accounts_without_money_or_with_cash_only_are_solved() -> None:
    problem = drawn(accounts=2)
    none = np.zeros(0, dtype=np.int64)
    nothing = replace(
        problem.accounts,
        cash_cents=np.array([0, 1_000_000]),
        holding_indptr=np.zeros(3, dtype=np.int64),
        holding_name=none,
        lot_indptr=np.zeros(1, dtype=np.int64),
        lot_nanos=none,
        lot_basis_cents=none,
        lot_acquired_day=none,
        lot_is_long=none.astype(np.bool_),
        lot_is_blocked=none.astype(np.bool_),
        lot_wait=none.astype(np.bool_),
    )

    solution = solve(replace(problem, accounts=nothing))

    assert solution.trade_indptr[1] == 0
    bought = solution.buy_cents.sum()
    assert 990_000 < bought < 1_000_000


@pytest.mark.parametrize(
    ("part", "field", "value", "named"),
    [
        ("accounts", "cash_cents", np.full(6, -1), "cash_cents"),
        ("accounts", "lot_nanos", np.zeros(0, np.int64), "lot_indptr"),
        ("market", "price_micros", np.zeros(40, np.int64), "price_micros"),
        ("market", "specific_variance", np.zeros(40), "specific_variance"),
        ("wants", "benchmark", np.full(40, 0.5), "benchmark"),
        ("wants", "risk_aversion", np.zeros(6), "risk_aversion"),
        ("taxes", "mode", np.full(6, 7), "mode"),
    ],
)
def test_a_malformed_argument_is_refused_by_name(
    part: str, field: str, value: np.ndarray, named: str
) -> None:
    problem = drawn()
    broken = replace(problem, **{part: replace(getattr(problem, part), **{field: value})})

    with pytest.raises(ValueError, match=named):
        solve(broken)


def test_the_kernel_knows_the_rules_and_modes_of_the_problem() -> None:
    for name in ("NEVER_BUY", "NEVER_SELL", "NEVER_SELL_AT_LOSS", "NEVER_OWN"):
        assert getattr(dual_kernels, name) == Rule[name]
    for mode in TaxMode:
        assert getattr(dual_kernels, mode.name) == mode


def test_the_ten_lines_of_the_documentation_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "optimizer.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)

    exec(compile(code, "docs/optimizer.md", "exec"), {})

    assert capsys.readouterr().out.count("[") == 2


def test_a_newcomers_account_sells_its_loss_and_buys_no_more_of_it() -> None:
    trades = rebalance(
        [0.5, 0.5],
        [[0.2], [0.2]],
        [0.01, 0.01],
        [100.0, 100.0],
        cash=0.0,
        lot_name=[0, 1],
        lot_shares=[50, 50],
        lot_basis=[6_000, 4_000],
    )

    assert trades.is_solved
    assert trades.sell_shares[0] > 0
    assert trades.buy_cents[0] == 0
    assert trades.weight[0] == pytest.approx(0.48, abs=1e-9)
    assert trades.objective - trades.bound < 1e-8
