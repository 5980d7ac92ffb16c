"""Sampling under caps that differ from name to name, and where nothing is to be gained."""

from datetime import date

import numpy as np
import pytest

from robo.portfolio.rebalance import rebalance
from robo.portfolio.sampling import prepare, sample
from robo.portfolio.sampling_cache import SampleKey


def test_the_only_name_that_may_be_everything_is_found() -> None:
    found = sample([[0.2]] * 3, [0.05] * 3, [0.6, 0.3, 0.1], 1, upper=[0.5, 1.0, 0.4])

    assert found.member.tolist() == [[1]]
    assert found.weight.tolist() == [[1.0]]
    assert found.bound[0] <= found.tracking_error[0] + 1e-12


@pytest.mark.parametrize("tilted", [False, True])
def test_whatever_the_caps_everything_is_invested_within_them(tilted: bool) -> None:  # noqa: FBT001 - pytest's parameter
    rng = np.random.default_rng(4)
    for _ in range(40):
        exposure, specific = rng.normal(0.1, 0.05, (60, 5)), rng.uniform(0.02, 0.1, 60)
        cap = np.where(rng.random(60) < 0.5, 0.105, 0.05)
        if np.sort(cap)[-10:].sum() < 1:
            continue
        w = rng.dirichlet(np.full(60, 0.5), 3)

        found = sample(exposure, specific, w if tilted else w[0], 10, upper=cap)

        assert np.abs(found.weight.sum(axis=1) - 1).max() < 1e-9
        held = np.where(found.member >= 0, cap[found.member], 0.0)
        assert (found.weight <= held + 1e-9).all()
        assert (found.bound <= found.tracking_error + 1e-9).all()


def test_a_market_where_no_name_gains_has_a_plan() -> None:
    rng = np.random.default_rng(20)
    n = int(rng.integers(4, 9))
    m, k = int(rng.integers(1, min(n, 4) + 1)), int(rng.integers(1, 4))
    exposure, specific = rng.normal(0.1, 0.1, (n, k)), rng.uniform(0.001, 0.1, n)
    w = rng.dirichlet(np.full(n, 0.5))

    plan = prepare(exposure, specific, w, m)

    found = sample(exposure, specific, w, m, plan=plan)
    assert found.bound[0] <= found.tracking_error[0] + 1e-9


def test_keys_differ_where_answers_may() -> None:
    on = date(2026, 11, 20)
    plain = SampleKey.of("i", 2, on, benchmark=[0.5, 0.5])

    assert plain != SampleKey.of("i", 2, on, benchmark=[0.5, 0.5], required_min=0.3)
    assert plain != SampleKey.of("i", 2, on, benchmark=[0.5, 0.5], kicks=0)
    assert plain != SampleKey.of("i", 2, on, benchmark=[0.5, 0.5], plan="a")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lot_shares": [1.0, 2.0]}, "one size"),
        ({"lot_is_long": [True, False]}, "one size"),
        ({"lot_name": [1.9]}, "lot_name"),
        ({"lot_name": [2]}, "lot_name"),
        ({"never_buy": [-1]}, "never_buy"),
        ({"never_own": [7]}, "never_own"),
    ],
)
def test_lots_and_names_that_do_not_fit_are_refused(change: dict[str, object], says: str) -> None:
    given: dict[str, object] = {"lot_name": [0], "lot_shares": [1.0], "lot_basis": [50.0]} | change

    with pytest.raises(ValueError, match=says):
        rebalance([0.5, 0.5], [[0.1], [0.2]], [0.04, 0.05], [10.0, 20.0], cash=100.0, **given)  # type: ignore[arg-type] # wrong on purpose
