"""What tracking error is told to a customer: half the model's word, half the positions' own."""

import numpy as np
import pytest

from robo.portfolio.expected_error import HALF_LIFE, expected_tracking_error
from robo.portfolio.factor_model import FactorModel, fit_factors, tracking_error

NAMES = 12


def fitted(scale: float = 1.0) -> tuple[FactorModel, np.ndarray]:
    """Return a model of quiet years, and returns whose last quarter is `scale` times as wild."""
    rng = np.random.default_rng(3)
    returns = rng.normal(0, 0.01, (600, NAMES))
    model = fit_factors(returns, np.arange(NAMES) % 3, np.ones(NAMES))
    late = returns.copy()
    late[-252:] *= scale
    return model, late


def test_it_is_the_geometric_mean_of_the_models_and_the_positions_own_variance() -> None:
    model, returns = fitted()
    benchmark = np.full(NAMES, 1 / NAMES)
    weight = np.append(np.full(NAMES - 1, 1 / (NAMES - 1)), 0.0)

    told = expected_tracking_error(model, returns, weight, benchmark)

    daily = returns[-252:] @ (weight - benchmark)
    decay = 0.5 ** (np.arange(251, -1, -1) / HALF_LIFE)
    own = np.sqrt(252 * np.sum(decay * daily**2) / decay.sum())
    assert told == pytest.approx(np.sqrt(own * tracking_error(model, weight, benchmark)))


def test_positions_twice_as_wild_of_late_are_told_as_the_root_of_two_wilder() -> None:
    model, calm = fitted()
    _, wild = fitted(2.0)
    benchmark = np.full(NAMES, 1 / NAMES)
    weight = np.eye(NAMES)[:3]

    before = expected_tracking_error(model, calm, weight, benchmark)
    after = expected_tracking_error(model, wild, weight, benchmark)

    assert after.shape == (3,)
    assert after == pytest.approx(np.sqrt(2.0) * before)


def test_an_account_is_told_the_same_alone_and_among_others() -> None:
    model, returns = fitted()
    benchmark = np.full(NAMES, 1 / NAMES)
    weight = np.random.default_rng(5).dirichlet(np.ones(NAMES), 4)

    many = expected_tracking_error(model, returns, weight, benchmark)

    for row, told in zip(weight, many, strict=True):
        assert expected_tracking_error(model, returns, row, benchmark) == pytest.approx(told)


def test_who_holds_the_benchmark_is_told_nothing_and_the_unknown_have_the_models_word() -> None:
    model, returns = fitted()
    benchmark = np.full(NAMES, 1 / NAMES)
    returns[-252:, 0] = np.nan
    alone = np.zeros(NAMES)
    alone[0] = 0.1

    assert expected_tracking_error(model, returns, benchmark, benchmark) == 0.0
    told = expected_tracking_error(model, returns, alone, np.zeros(NAMES))
    assert told == pytest.approx(tracking_error(model, alone, np.zeros(NAMES)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"returns": np.zeros((100, NAMES + 1))}, "returns must be"),
        ({"returns": np.zeros((59, NAMES))}, "60 sessions, not 59"),
        ({"returns": np.full((100, NAMES), np.inf)}, "finite"),
        ({"weight": np.full(NAMES, np.nan)}, "weights finite"),
        ({"weight": np.zeros(NAMES - 1)}, "."),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, np.ndarray], says: str) -> None:
    model, returns = fitted()
    ask = {"returns": returns, "weight": np.ones(NAMES) / NAMES, "benchmark": np.zeros(NAMES)}

    with pytest.raises(ValueError, match=says):
        expected_tracking_error(model, **{**ask, **change})
