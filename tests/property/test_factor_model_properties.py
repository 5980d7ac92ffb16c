"""Properties of the factor model: positive definite, blind to the order of names, true to scale."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.portfolio.factor_model import fit_factors, tracking_error, volatility

QUICK = settings(max_examples=25)


def history(seed: int, names: int, sessions: int) -> Any:
    """Return returns with a market and three sectors in them, sectors and sizes."""
    rng = np.random.default_rng(seed)
    sector = rng.integers(0, 3, names)
    market = rng.standard_t(5, sessions) * 0.008
    group = rng.standard_t(5, (sessions, 3)) * 0.005
    own = rng.standard_t(4, (sessions, names)) * rng.uniform(0.005, 0.03, names)
    returns = market[:, None] * rng.normal(1, 0.3, names) + group[:, sector] + own
    return np.maximum(returns, -0.9), sector, rng.pareto(1.0, names) + 0.01


def is_positive_definite(model: Any) -> bool:
    """Return whether S is finite and every portfolio of it has a variance above zero."""
    assert np.isfinite(model.exposure).all()
    assert (model.specific_variance > 0).all()
    return bool(np.linalg.eigvalsh(model.covariance()).min() > 0)


@given(
    seed=st.integers(0, 2**32 - 1),
    names=st.integers(1, 60),
    sessions=st.integers(70, 200),
    factors=st.integers(2, 40),
    missing=st.floats(0, 0.9),
    constant=st.integers(0, 3),
    twins=st.integers(0, 3),
    unlisted=st.integers(0, 3),
    jump=st.sampled_from([0.0, -1.0, 5.0, 1e6]),
)
@QUICK
def test_the_covariance_is_positive_definite_whatever_the_history(
    seed: int,
    names: int,
    sessions: int,
    factors: int,
    missing: float,
    constant: int,
    twins: int,
    unlisted: int,
    jump: float,
) -> None:
    returns, sector, size = history(seed, names + 3, sessions)
    rng = np.random.default_rng(seed)
    returns[rng.random(returns.shape) < missing] = np.nan
    returns[:, :constant] = 0.0
    for twin in range(min(twins, names - 1)):
        returns[:, 3 + twin] = returns[:, 4 + twin]
    returns[:, names : names + unlisted] = np.nan
    returns[sessions // 2, -1] = jump
    returns[:, -1] = np.nan_to_num(returns[:, -1], nan=0.001)

    model = fit_factors(returns, sector, size, factors=factors)

    assert is_positive_definite(model)
    assert model.exposure.shape[1] <= factors


@given(seed=st.integers(0, 2**32 - 1))
@QUICK
def test_the_order_of_names_changes_nothing(seed: int) -> None:
    returns, sector, size = history(seed, 50, 150)
    returns[:100, :5] = np.nan
    order = np.random.default_rng(seed).permutation(50)

    plain = fit_factors(returns, sector, size, factors=12).covariance()
    turned = fit_factors(returns[:, order], sector[order], size[order], factors=12).covariance()

    assert turned == pytest.approx(plain[np.ix_(order, order)], rel=1e-6, abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 0.99))
@QUICK
def test_returns_half_as_large_have_a_quarter_of_the_covariance(seed: int, scale: float) -> None:
    returns, sector, size = history(seed, 40, 120)

    plain = fit_factors(returns, sector, size, factors=10).covariance()
    small = fit_factors(scale * returns, sector, size, factors=10).covariance()

    assert small == pytest.approx(scale * scale * plain, rel=1e-6)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@QUICK
def test_the_currency_of_sizes_changes_nothing(seed: int, factor: float) -> None:
    returns, sector, size = history(seed, 40, 120)

    plain = fit_factors(returns, sector, size, factors=10).covariance()
    other = fit_factors(returns, sector, factor * size, factors=10).covariance()

    assert other == pytest.approx(plain, rel=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@QUICK
def test_figures_agree_with_the_covariance_written_out(seed: int) -> None:
    returns, sector, size = history(seed, 30, 100)
    rng = np.random.default_rng(seed)
    weight, benchmark = rng.dirichlet(np.ones(30), 4), rng.dirichlet(np.ones(30))
    model = fit_factors(returns, sector, size, factors=8)
    covariance = model.covariance()
    active = weight - benchmark

    assert volatility(model, weight) == pytest.approx(
        np.sqrt(np.einsum("ai,ij,aj->a", weight, covariance, weight))
    )
    assert tracking_error(model, weight, benchmark) == pytest.approx(
        np.sqrt(np.einsum("ai,ij,aj->a", active, covariance, active))
    )
    assert tracking_error(model, benchmark, benchmark) == 0.0
