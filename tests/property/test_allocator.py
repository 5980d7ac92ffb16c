"""The allocator over a million random accounts, against enumeration, and against bounds."""

import allocator_reference as reference
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robo.core.money import split_cents
from robo.core.reasons import Reason
from robo.portfolio import allocator, kernels


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile before the first example, whose deadline would count it."""
    kernels.warm()


MILLION = 1_000_000
MINIMUM = 100


def random_weights(rng: np.random.Generator, rows: int, names: int) -> np.ndarray:
    return rng.multinomial(MILLION, rng.dirichlet(np.full(names, 2.0)), size=rows)


def random_values(rng, weights: np.ndarray, nav: np.ndarray, drift: float) -> np.ndarray:
    noise = np.exp(rng.normal(0.0, drift, size=weights.shape))
    return (weights * noise / MILLION * nav[:, None]).astype(np.int64)


@pytest.mark.parametrize(
    ("names", "rows"), [(1, 50_000), (3, 300_000), (10, 700_000), (60, 30_000)]
)
def test_a_split_conserves_every_cent_and_is_never_a_cent_off(names: int, rows: int) -> None:
    rng = np.random.default_rng(names)
    total = np.floor(10 ** rng.uniform(0, 15, rows)).astype(np.int64)
    weights = random_weights(rng, rows, names)

    cents = allocator.split(total, weights)

    assert (cents.sum(axis=1) == total).all()
    assert (cents >= 0).all()
    small = total < 2**62 // MILLION  # the check itself must not overflow
    error = cents[small] * MILLION - total[small, None] * weights[small]
    assert np.abs(error).max() < MILLION


@given(
    total=st.integers(0, 10**15),
    parts=st.lists(st.integers(0, MILLION), min_size=0, max_size=40),
)
def test_a_split_is_hamiltons_method(total: int, parts: list[int]) -> None:
    edges = [0, *sorted(parts), MILLION]
    weights = list(np.diff(edges))

    cents = allocator.split([total], weights)

    assert cents[0].tolist() == split_cents(total, [int(w) for w in weights])


@pytest.mark.parametrize(
    ("names", "rows", "drift", "minimum"),
    [
        (10, 500_000, 0.3, 100),
        (10, 300_000, 1.0, 1),
        (4, 200_000, 0.1, 250),
        (40, 50_000, 0.5, 100),
    ],
)
def test_deposits_conserve_cents_respect_the_minimum_and_never_sell(
    names: int, rows: int, drift: float, minimum: int
) -> None:
    rng = np.random.default_rng(rows)
    nav = np.floor(10 ** rng.uniform(0, 9, rows)).astype(np.int64) * (rng.random(rows) < 0.9)
    weights = random_weights(rng, rows, names)
    values = random_values(rng, weights, nav, drift)
    cash = np.floor(10 ** rng.uniform(0, 6, rows)).astype(np.int64) * (rng.random(rows) < 0.95)
    blocked = allocator.blocked_by(Reason.SKIP_HALTED, rng.random((rows, names)) < 0.1)

    got = allocator.allocate_deposit(values, cash, weights, minimum_cents=minimum, blocked=blocked)

    bought = got.buy_cents > 0
    free = (blocked == 0) & (weights > 0)
    investable = (cash >= minimum) & free.any(axis=1)
    assert (got.buy_cents >= 0).all()
    assert (got.buy_cents.sum(axis=1) + got.carried_cents == cash).all()
    assert (got.carried_cents[investable] == 0).all()
    assert (got.carried_cents[~investable] == cash[~investable]).all()
    assert (got.buy_cents[bought] >= minimum).all()
    assert not bought[~free].any()
    explain(got, values, blocked, bought)


def explain(got, values, blocked, bought) -> None:
    """Assert that every name carries a reason, and a fitting one."""
    code = {reason: allocator.reason_code(reason) for reason in Reason}
    buys = np.isin(got.code, [code[Reason.BUY_UNDERWEIGHT], code[Reason.BUY_NEW_NAME]])
    assert (buys == bought).all()
    assert ((got.code == code[Reason.BUY_NEW_NAME]) == (bought & (values == 0))).all()
    assert (got.code[blocked != 0] == code[Reason.SKIP_HALTED]).all()
    skips = [Reason.SKIP_AT_TARGET, Reason.SKIP_NO_CASH, Reason.SKIP_BELOW_MINIMUM]
    assert np.isin(got.code[~bought & (blocked == 0)], [code[reason] for reason in skips]).all()


@pytest.mark.parametrize("deposit", [100, 500, 2_500, 137, 10_000])
def test_nothing_lies_idle_after_three_deposits(deposit: int) -> None:
    rng = np.random.default_rng(deposit)
    rows, names = 40_000, 10
    weights = random_weights(rng, rows, names)
    values, cash = np.zeros((rows, names), np.int64), np.zeros(rows, np.int64)

    for _ in range(3):
        # Dividends of a few cents arrive too, and prices move between deposits.
        cash += deposit + rng.integers(0, 30, rows)
        got = allocator.allocate_deposit(values, cash, weights, minimum_cents=MINIMUM)
        cash = got.carried_cents
        moves = np.exp(rng.normal(0, 0.05, values.shape))
        values = ((values + got.buy_cents) * moves).astype(np.int64)

    nav = cash + values.sum(axis=1)
    assert (cash <= np.maximum(MINIMUM, nav // 400)).all()


def hard_account(rng: np.random.Generator, names: int, cash_max: int) -> tuple:
    """Return an account whose wishes lie around the minimum, where the sets of names matter."""
    minimum = int(rng.integers(1, 120))
    cash = int(rng.integers(minimum, max(cash_max, minimum + 1)))
    weights = random_weights(rng, 1, names)[0]
    nav = int(10 ** rng.uniform(1, 5.5))
    values = random_values(rng, weights[None, :], np.array([nav]), rng.choice([0.0, 0.02, 0.3]))[0]
    return values, cash, weights, minimum


@pytest.mark.parametrize(
    ("names", "cases"), [(2, 400), (3, 400), (5, 400), (8, 300), (10, 120), (12, 60)]
)
def test_no_set_of_names_does_better_for_up_to_twelve(names: int, cases: int) -> None:
    rng = np.random.default_rng(names)
    for _ in range(cases):
        values, cash, weights, minimum = hard_account(rng, names, 12 * names * 10)
        gap = np.array(reference.gaps(values.tolist(), cash, weights.tolist()))
        usable = weights > 0

        got = allocator.allocate_deposit([values], [cash], weights, minimum_cents=minimum)

        best = reference.least_cost_of_all_sets(gap[usable], minimum, cash)
        assert reference.cost(got.buy_cents[0].tolist(), gap.tolist()) == best


@pytest.mark.parametrize(("names", "cases", "cash_max"), [(30, 25, 1_000), (100, 6, 1_500)])
def test_many_names_cost_what_dynamic_programming_finds(
    names: int, cases: int, cash_max: int
) -> None:
    rng = np.random.default_rng(names)
    for _ in range(cases):
        values, cash, weights, minimum = hard_account(rng, names, cash_max)
        gap = np.array(reference.gaps(values.tolist(), cash, weights.tolist()))

        got = allocator.allocate_deposit([values], [cash], weights, minimum_cents=minimum)

        best = reference.least_cost_by_dynamic_programming(gap[weights > 0], minimum, cash)
        assert reference.cost(got.buy_cents[0].tolist(), gap.tolist()) == best


@pytest.mark.parametrize(("names", "cases"), [(12, 100), (30, 60), (100, 25), (400, 5)])
def test_the_cost_stays_within_a_minimum_of_a_certified_bound(names: int, cases: int) -> None:
    rng = np.random.default_rng(names)
    for _ in range(cases):
        values, cash, weights, minimum = hard_account(rng, names, 200 * names)
        gap = reference.gaps(values.tolist(), cash, weights.tolist())
        usable = [g for g, w in zip(gap, weights, strict=True) if w > 0]

        got = allocator.allocate_deposit([values], [cash], weights, minimum_cents=minimum)

        bound = reference.certified_bound(usable, minimum, cash)
        excess = reference.cost(got.buy_cents[0].tolist(), gap) - bound
        assert 0 <= excess <= MILLION * (2 * minimum**2 + names)


accounts = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 10**14), min_size=n, max_size=n),
        st.lists(st.integers(0, MILLION), min_size=n - 1, max_size=n - 1),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


@settings(max_examples=200)
@given(account=accounts, cash=st.integers(0, 10**14), minimum=st.integers(0, 300_000))
@example(account=([0, 0], [500_000], [True, True]), cash=100, minimum=100)
@example(account=([10**14, 10**14], [1], [True, True]), cash=20_001, minimum=10_000)
def test_accounts_of_any_size_match_the_reference_in_python_integers(
    account: tuple, cash: int, minimum: int
) -> None:
    values, cuts, allowed = account
    weights = [int(w) for w in np.diff([0, *sorted(cuts), MILLION])]
    blocked = allocator.blocked_by(Reason.SKIP_RESTRICTED, np.logical_not(allowed))
    gap = reference.gaps(values, cash, weights)
    free = [i for i, ok in enumerate(allowed) if ok and weights[i] > 0]

    got = allocator.allocate_deposit(
        [values], [cash], weights, minimum_cents=minimum, blocked=blocked
    )

    invested, best = reference.best_buys(gap, free, max(minimum, 1), cash)
    assert got.buy_cents.sum() == invested
    assert reference.cost(got.buy_cents[0].tolist(), gap) == best


def test_an_account_gets_the_same_alone_as_in_any_crowd() -> None:
    rng = np.random.default_rng(5)
    rows, names = 500, 10
    weights = random_weights(rng, rows, names)
    values = random_values(rng, weights, np.full(rows, 30_000), 0.4)
    cash = rng.integers(0, 3_000, rows)
    shuffled = rng.permutation(rows)

    crowd = allocator.allocate_deposit(values, cash, weights, minimum_cents=100)
    other = allocator.allocate_deposit(
        values[shuffled], cash[shuffled], weights[shuffled], minimum_cents=100
    )

    assert (other.buy_cents == crowd.buy_cents[shuffled]).all()
    for row in range(20):
        alone = allocator.allocate_deposit(
            values[row : row + 1], cash[row : row + 1], weights[row], minimum_cents=100
        )
        assert (alone.buy_cents[0] == crowd.buy_cents[row]).all()
        assert (alone.code[0] == crowd.code[row]).all()


def least_and_most_marginal(sells, values, sellable, weights, need) -> tuple:
    """Return the dearest cent sold and the cheapest cent not sold, in millionths."""
    nav = values.sum(axis=1) - np.minimum(need, sellable.sum(axis=1))
    over = MILLION * values - weights * nav[:, None]
    beyond = np.iinfo(np.int64).max
    last = np.where(sells > 0, MILLION * (2 * sells - 1) - 2 * over, -beyond).max(axis=1)
    following = np.where(sells < sellable, MILLION * (2 * sells + 1) - 2 * over, beyond).min(axis=1)
    return last, following


@pytest.mark.parametrize(("names", "rows"), [(1, 20_000), (10, 250_000), (40, 20_000)])
def test_withdrawals_cover_the_need_and_no_swap_of_a_cent_is_closer_to_target(
    names: int, rows: int
) -> None:
    rng = np.random.default_rng(names)
    weights = random_weights(rng, rows, names)
    nav = np.floor(10 ** rng.uniform(0, 8, rows)).astype(np.int64)
    values = random_values(rng, weights, nav, 0.5)
    settled = np.where(rng.random(values.shape) < 0.7, 1.0, rng.random(values.shape))
    sellable = (values * settled).astype(np.int64)
    need = np.floor(values.sum(axis=1) * rng.uniform(0, 1.2, rows)).astype(np.int64)

    got = allocator.allocate_withdrawal(values, sellable, need, weights)

    room = sellable.sum(axis=1)
    assert (got.sell_cents.sum(axis=1) == np.minimum(need, room)).all()
    assert (got.short_cents == np.maximum(need - room, 0)).all()
    assert (got.sell_cents >= 0).all()
    assert (got.sell_cents <= sellable).all()
    assert (got.close_out == ((need >= room) & (need > 0))).all()
    # For a sum of convex costs on integers, no better swap of one cent means no better at all.
    last, following = least_and_most_marginal(got.sell_cents, values, sellable, weights, need)
    assert (last <= following).all()


def test_withdrawals_with_a_minimum_sell_whole_names_or_enough_of_them() -> None:
    rng = np.random.default_rng(3)
    rows, names, minimum = 50_000, 10, 500
    weights = random_weights(rng, rows, names)
    values = random_values(rng, weights, rng.integers(100, 50_000, rows), 0.5)
    need = (values.sum(axis=1) * rng.uniform(0, 1.0, rows)).astype(np.int64)

    got = allocator.allocate_withdrawal(values, values, need, weights, minimum_cents=minimum)

    sold = got.sell_cents
    assert (sold.sum(axis=1) >= need).all()
    assert (sold.sum(axis=1) <= need + minimum).all()
    assert ((sold == 0) | (sold >= minimum) | (sold == values)).all()
    assert (sold <= values).all()
