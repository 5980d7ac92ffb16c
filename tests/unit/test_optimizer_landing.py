"""Plans in whole cents and nanoshares: minimum trades are met to the last nanoshare."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bench import instances
from bench.instances import Recipe
from robo.portfolio import evaluator, landing, optimizer
from robo.portfolio.problem import Problem


@pytest.mark.parametrize(
    ("cents", "price_micros"),
    [(1, 1), (1, 3), (20_000, 123_456_789), (10**15, 10**12), (99_999_999, 7), (0, 5)],
)
def test_the_fewest_nanoshares_worth_an_amount_are_exact(cents: int, price_micros: int) -> None:
    nanos = landing._nanos_worth(cents, price_micros)

    # A nanoshare at a micro-dollar a share is 10^-13 cents.
    needed = Fraction(cents * 10**13, price_micros)
    assert nanos == min(-(-needed.numerator // needed.denominator), landing.MORE_THAN_ANY)


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
