"""Plans in whole cents and nanoshares: minimum trades are met to the last nanoshare."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from optimizer_problems import small

from bench import instances
from bench.instances import Recipe
from robo.portfolio import evaluator, landing_kernel, optimizer
from robo.portfolio.problem import Problem, Rule, Solution, Status


@pytest.mark.parametrize(
    ("cents", "price_micros"),
    [(1, 1), (1, 3), (20_000, 123_456_789), (10**15, 10**12), (99_999_999, 7), (0, 5)],
)
def test_the_fewest_nanoshares_worth_an_amount_are_exact(cents: int, price_micros: int) -> None:
    nanos = landing_kernel._nanos_worth(cents, price_micros)

    # A nanoshare at a micro-dollar a share is 10^-13 cents.
    needed = Fraction(cents * 10**13, price_micros)
    assert nanos == min(-(-needed.numerator // needed.denominator), landing_kernel.MORE_THAN_ANY)


def test_no_sale_or_purchase_misses_the_minimum_by_a_nanoshare_or_a_cent() -> None:
    problem = instances.draw(Recipe(accounts=16, seed=21, trade_min_cents=20_000))

    solution = optimizer.solve(problem)

    assert evaluator.landing(problem, solution) == ()
    price = problem.market.price_micros.astype(object)[solution.trade_name]
    worth = solution.sell_nanos.astype(object) * price
    partly = (solution.sell_nanos > 0) & (worth < 20_000 * 10**13 + 10**10 * price)
    assert partly.sum() > 0  # some sales stand right at the minimum
    assert (solution.buy_cents[solution.buy_cents > 0] >= 20_000).all()


def odd(trade_min: int) -> Problem:
    """Return one account with cash and no shares, and a minimum trade."""
    problem = instances.draw(Recipe(accounts=1, names=3, factors=2, trade_min_cents=trade_min))
    none = np.zeros(0, dtype=np.int64)
    no = np.zeros(0, dtype=np.bool_)
    accounts = replace(
        problem.accounts,
        cash_cents=np.array([1_000]),
        holding_indptr=np.zeros(2, dtype=np.int64),
        holding_name=none,
        lot_indptr=np.zeros(1, dtype=np.int64),
        lot_nanos=none,
        lot_basis_cents=none,
        lot_acquired_day=none,
        lot_is_long=no,
        lot_is_blocked=no,
        lot_wait=no,
        rule=np.zeros((1, 3), dtype=np.uint8),
    )
    return replace(problem, accounts=accounts)


@pytest.mark.parametrize("trade_min", [1, 249, 333, 499, 500, 999, 1_000, 1_001])
def test_purchases_that_cash_cannot_pay_at_their_minimum_are_dropped(trade_min: int) -> None:
    problem = odd(trade_min)

    solution = optimizer.solve(problem)

    assert evaluator.landing(problem, solution) == ()
    assert solution.buy_cents.sum() <= 1_000


@pytest.mark.parametrize("nanos", [0, 1, 999_999_999, 416_703_607, 10**18 - 1, 10**18])
@pytest.mark.parametrize("price_micros", [1, 9_999, 211_464_630, 10**12 - 1, 10**12])
def test_proceeds_are_exact_cents_whatever_the_size(nanos: int, price_micros: int) -> None:
    down, up = landing_kernel._cents_worth(nanos, price_micros)

    assert down == nanos * price_micros // 10**13
    assert up == -(-nanos * price_micros // 10**13)


def outside(problem: Problem, solution: Solution) -> list[evaluator.Violation]:
    """Return what the landed trades of solved accounts break by more than their cents."""
    tolerance = evaluator.cent_tolerance(problem, solution)
    judged = evaluator.evaluate(problem, evaluator.landed(problem, solution), tolerance)
    solved = solution.status == Status.SOLVED
    return [one for one in judged.violations if solved[one.account]]


def test_the_missing_cent_of_a_purchase_at_its_minimum_is_sold() -> None:
    problem = small(30206)  # account 2 sells for 8,811.8 cents to buy for 8,803 at a cost of 8.8

    solution = optimizer.solve(problem)

    assert solution.status[2] == Status.SOLVED
    assert solution.buy_cents[slice(*solution.trade_indptr[2:4])].tolist() == [0, 8_803]
    assert evaluator.landing(problem, solution) == ()
    assert outside(problem, solution) == []


def exchanged(lower_ppm: int) -> Problem:
    """Return an account that must sell all it has, worth 100.9 cents, to buy another name.

    The costs are 0.4 cents, so 100 cents can be bought; but a broker pays 100, and charges 1.
    """
    problem = odd(100)
    accounts = replace(
        problem.accounts,
        cash_cents=np.zeros(1, dtype=np.int64),
        holding_indptr=np.array([0, 1]),
        holding_name=np.array([0]),
        lot_indptr=np.array([0, 1]),
        lot_nanos=np.array([10_090_000]),
        lot_basis_cents=np.array([100]),
        lot_acquired_day=np.array([0]),
        lot_is_long=np.ones(1, dtype=np.bool_),
        lot_is_blocked=np.zeros(1, dtype=np.bool_),
        lot_wait=np.zeros(1, dtype=np.bool_),
        rule=np.array([[Rule.NEVER_OWN, 0, Rule.NEVER_BUY]], dtype=np.uint8),
    )
    market = replace(
        problem.market,
        price_micros=np.full(3, 100_000_000),
        cost_ppm=np.full(3, 2_000),
    )
    wants = replace(
        problem.wants,
        benchmark=np.array([[0.0, 1.0, 0.0]]),
        active_max_ppm=np.array([10**6]),
        lower_ppm=np.array([[0, lower_ppm, 0]]),
    )
    return replace(problem, market=market, accounts=accounts, wants=wants)


@pytest.mark.parametrize(("lower_ppm", "status"), [(900_000, Status.UNDECIDED), (0, Status.SOLVED)])
def test_who_would_land_outside_a_wish_is_not_called_solved(lower_ppm: int, status: Status) -> None:
    problem = exchanged(lower_ppm)

    solution = optimizer.solve(problem)

    assert solution.status[0] == status
    assert outside(problem, solution) == []
    assert evaluator.landing(problem, solution) == ()
    assert solution.buy_cents.sum() == 0
    if status == Status.UNDECIDED:
        assert solution.trade_name.size == solution.lot_sold_nanos.sum() == 0
        assert solution.holding[0].tolist() == [1.0, 0.0, 0.0]


def test_an_account_of_billions_loses_no_cent() -> None:
    problem = instances.draw(Recipe(accounts=8, names=12, factors=4, seed=5))
    accounts = problem.accounts
    larger = replace(
        accounts,
        cash_cents=accounts.cash_cents * 10_000,
        lot_nanos=accounts.lot_nanos * 10_000,
        lot_basis_cents=accounts.lot_basis_cents * 10_000,
    )
    problem = replace(problem, accounts=larger)

    solution = optimizer.solve(problem)

    assert (solution.status == Status.SOLVED).all()
    assert evaluator.landing(problem, solution) == ()
