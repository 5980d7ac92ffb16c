"""The benchmark's instances have the moments they claim, and a next day keeps the books."""

from dataclasses import replace

import numpy as np
import pytest

from bench import instances
from bench.instances import Recipe
from robo.portfolio import positions
from robo.portfolio.problem import HARD, Duals, Problem, Rule, Solution


@pytest.fixture(scope="module")
def problem() -> Problem:
    return instances.draw(Recipe(accounts=40))


def arrays(problem: Problem) -> dict[str, bytes]:
    parts = (problem.market, problem.accounts, problem.taxes)
    return {
        f"{type(part).__name__}.{name}": getattr(part, name).tobytes()
        for part in parts
        for name in part.__dataclass_fields__
    }


@pytest.mark.parametrize("seed", [2026, 1, 2])
def test_the_market_has_the_stated_moments(seed: int) -> None:
    world = instances.draw_world(500, 30, seed)

    exposure, specific = world.market.exposure, world.market.specific_variance
    covariance = exposure @ exposure.T + np.diag(specific)
    volatility = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(volatility, volatility)
    weight = world.weight
    assert np.sqrt(weight @ covariance @ weight) == pytest.approx(0.168, abs=1e-4)
    assert volatility.mean() == pytest.approx(0.31, abs=1e-9)
    assert (correlation.sum() - 500) / (500 * 499) == pytest.approx(0.27, abs=0.01)
    assert np.sort(weight)[-10:].sum() == pytest.approx(0.34, abs=0.001)
    assert 1 / (weight @ weight) == pytest.approx(47, abs=0.1)
    assert specific.min() > 0


def test_accounts_have_the_stated_lots_masks_and_cash(problem: Problem) -> None:
    where = positions.read(problem)

    accounts = problem.accounts
    lots_a_holding = np.diff(accounts.lot_indptr)
    owned = where.has(Rule.NEVER_OWN)
    barred = where.per_name(accounts.lot_is_blocked.astype(np.float64)) > 0
    assert accounts.lot_nanos.size / 40 == pytest.approx(1_780, rel=0.02)
    assert (lots_a_holding.min(), lots_a_holding.max()) == (1, 6)
    assert where.cash == pytest.approx(0.04, abs=1e-6)
    assert (owned.sum(axis=1) == 5).all()
    assert ((owned & (where.held > 0)).sum(axis=1) == 2).all()
    assert not (owned & barred).any()
    assert (where.rule == Rule.NEVER_BUY).mean() == pytest.approx(0.04, abs=0.005)
    assert barred.mean() == pytest.approx(0.1, abs=0.04)
    assert (where.lot_gain[accounts.lot_is_blocked] < 0).all()


def test_the_same_recipe_gives_the_same_bytes_and_switches_keep_the_accounts(
    problem: Problem,
) -> None:
    again = instances.draw(Recipe(accounts=40))
    rich = instances.draw(
        Recipe(accounts=40, netting=True, hard_rows=3, priced_rows=2, turnover_max_ppm=100_000)
    )

    assert arrays(again) == arrays(problem)
    assert rich.accounts.lot_nanos.tobytes() == problem.accounts.lot_nanos.tobytes()
    assert rich.market.exposure.tobytes() == problem.market.exposure.tobytes()
    assert rich.wants.rows is not None
    assert (rich.wants.rows.price == [HARD, HARD, HARD, 0.05, 0.05]).all()
    assert rich.taxes.netting.all()


@pytest.mark.parametrize("names", [3, 10, 30, 1000])
def test_every_size_can_be_drawn(names: int) -> None:
    small = instances.draw(Recipe(accounts=2, names=names, factors=min(30, names)))

    where = positions.read(small)
    assert where.held.shape == (2, names)
    assert (small.accounts.lot_nanos > 0).all()
    assert small.wants.benchmark.sum() == pytest.approx(1)


def sells_first_lots(problem: Problem) -> Solution:
    """Sell the first lot of each account's first holding, buy $1,000 of the last name."""
    accounts = problem.accounts
    count, names = accounts.cash_cents.size, problem.market.price_micros.size
    holding = accounts.holding_indptr[:-1]
    lot = accounts.lot_indptr[holding]
    sold = np.zeros_like(accounts.lot_nanos)
    sold[lot] = accounts.lot_nanos[lot]
    trade_name = np.stack([accounts.holding_name[holding], np.full(count, names - 1)], axis=1)
    return Solution(
        trade_indptr=np.arange(0, 2 * count + 1, 2),
        trade_name=trade_name.ravel(),
        buy_cents=np.tile([0, 100_000], count),
        sell_nanos=np.stack([sold[lot], np.zeros(count, dtype=np.int64)], axis=1).ravel(),
        lot_sold_nanos=sold,
        objective=np.zeros(count),
        bound=np.zeros(count),
        status=np.zeros(count, dtype=np.int64),
        duals=Duals(np.zeros((count, 0))),
        holding=np.zeros((count, names)),
        lot_sold=np.zeros(sold.size),
    )


def test_the_next_day_applies_the_trades_to_lots_and_cash(problem: Problem) -> None:
    solution = sells_first_lots(problem)

    after = instances.next_day(problem, solution, seed=3)

    old, new = problem.accounts, after.accounts
    price = problem.market.price_micros
    sold = solution.sell_nanos.reshape(-1, 2)[:, 0]
    worth = np.floor(sold / 1e9 * price[solution.trade_name[::2]] / 1e4)
    cost = np.ceil(0.0005 * worth) + 50
    bought = np.floor(100_000 * 1e13 / price[-1])
    assert np.abs(new.cash_cents - (old.cash_cents + worth - 100_000 - cost)).max() <= 1
    assert new.lot_nanos.sum() == old.lot_nanos.sum() - sold.sum() + bought * 40
    assert (new.lot_nanos > 0).all()
    assert new.lot_acquired_day.max() == instances.TODAY
    assert after.wants.benchmark.sum() == pytest.approx(1)
    assert (
        np.diff(new.holding_name)[
            np.diff(np.repeat(np.arange(40), np.diff(new.holding_indptr))) == 0
        ]
        > 0
    ).all()


def test_the_next_day_masks_what_was_sold_at_a_loss_and_what_was_bought(problem: Problem) -> None:
    solution = sells_first_lots(problem)
    before = positions.read(problem)

    after = positions.read(instances.next_day(problem, solution, seed=3))

    lossy = (solution.lot_sold_nanos > 0) & (before.lot_gain < 0)
    assert lossy.any()
    assert after.has(Rule.NEVER_BUY)[before.lot_account[lossy], before.lot_name[lossy]].all()
    fresh = (after.lot_name == 499) & (after.lot_gain < 0)
    assert not after.lot_sellable[fresh].any()


def test_a_next_day_without_trades_only_ages_and_moves_prices(problem: Problem) -> None:
    nothing = sells_first_lots(problem)
    idle = replace(
        nothing,
        buy_cents=np.zeros_like(nothing.buy_cents),
        sell_nanos=np.zeros_like(nothing.sell_nanos),
        lot_sold_nanos=np.zeros_like(nothing.lot_sold_nanos),
    )

    after = instances.next_day(problem, idle, seed=3)

    assert after.accounts.lot_nanos.sum() == problem.accounts.lot_nanos.sum()
    assert (after.accounts.cash_cents == problem.accounts.cash_cents).all()
    move = np.log(after.market.price_micros / problem.market.price_micros)
    assert 0.005 < move.std() < 0.04
