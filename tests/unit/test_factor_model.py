"""The factor model on returns whose truth is known."""

import numpy as np
import pytest

from robo.portfolio.factor_model import (
    FactorModel,
    Tuning,
    fit_factors,
    market,
    tracking_error,
    volatility,
)
from robo.portfolio.shrinkage import decay_weights, factor_correlation, remembered_variance, spikes

NAMES, SESSIONS, SECTORS = 120, 750, 8


class Truth:
    """A world with a market, sectors, two hidden themes, and normal returns."""

    def __init__(self, seed: int = 3, names: int = NAMES, sessions: int = SESSIONS) -> None:
        rng = np.random.default_rng(seed)
        self.sector = rng.integers(0, SECTORS, names)
        self.size = rng.pareto(1.2, names) + 0.1
        beta = rng.normal(1.0, 0.25, names)
        beta /= self.size @ beta / self.size.sum()
        group = np.eye(SECTORS)[self.sector] * 0.007
        themes = rng.normal(0, 0.005, (names, 2))
        self.loading = np.column_stack([beta * 0.01, group, themes])
        self.specific = rng.uniform(0.008, 0.022, names)
        draws = rng.normal(size=(sessions, self.loading.shape[1]))
        noise = rng.normal(size=(sessions, names)) * self.specific
        self.returns = draws @ self.loading.T + noise

    def covariance(self) -> np.ndarray:
        return 252 * (self.loading @ self.loading.T + np.diag(self.specific**2))

    def fit(self, **options) -> FactorModel:
        return fit_factors(self.returns, self.sector, self.size, **options)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


@pytest.fixture(scope="module")
def model(truth: Truth) -> FactorModel:
    return truth.fit()


def ratio(truth: Truth, model: FactorModel, weight: np.ndarray) -> np.ndarray:
    """Return forecast over true volatility."""
    true = np.sqrt(np.einsum("...i,ij,...j->...", weight, truth.covariance(), weight))
    return volatility(model, weight) / true


def least_error(model: FactorModel, benchmark: np.ndarray, names: int) -> np.ndarray:
    """Return the best weights of the largest names under the model, short sales allowed."""
    held = np.argsort(-benchmark)[:names]
    covariance = model.covariance()
    inner = covariance[np.ix_(held, held)]
    sides = np.column_stack([covariance[held] @ benchmark, np.ones(names)])
    free, budget = np.linalg.solve(inner, sides).T
    weight = np.zeros_like(benchmark)
    weight[held] = free + budget * (1 - free.sum()) / budget.sum()
    return weight


def test_the_model_knows_how_the_index_and_baskets_swing(truth: Truth, model: FactorModel) -> None:
    rng = np.random.default_rng(5)
    index = truth.size / truth.size.sum()
    baskets = np.zeros((40, NAMES))
    for basket in baskets:
        basket[rng.choice(NAMES, 10, replace=False)] = 0.1

    assert ratio(truth, model, index) == pytest.approx(1.0, abs=0.1)
    assert ratio(truth, model, baskets).mean() == pytest.approx(1.0, abs=0.08)
    assert ratio(truth, model, baskets) == pytest.approx(np.ones(40), abs=0.2)


def test_optimising_against_the_model_does_not_fool_it_much() -> None:
    measured = []
    for seed in range(6):
        truth = Truth(seed)
        model = truth.fit()
        index = truth.size / truth.size.sum()
        active = least_error(model, index, 40) - index
        measured.append(ratio(truth, model, active))

    assert np.mean(measured) == pytest.approx(1.0, abs=0.08)


def test_the_sample_covariance_is_fooled_by_the_same_portfolios() -> None:
    truth = Truth(1, sessions=200)
    sample = np.cov(truth.returns.T) * 252
    plain = FactorModel(
        np.linalg.cholesky(sample + 1e-9 * np.eye(NAMES)),
        np.full(NAMES, 1e-9),
        np.full(NAMES, 200),
        200,
        0,
        0.0,
        (1.0, 1.0),
    )
    index = truth.size / truth.size.sum()

    assert ratio(truth, plain, least_error(plain, index, 40) - index) < 0.9


def test_a_new_listing_takes_what_its_sector_and_size_suggest(truth: Truth) -> None:
    returns = truth.returns.copy()
    returns[:, 0] = np.nan
    returns[:-20, 1] = np.nan
    peers = (truth.sector == truth.sector[0]) & (np.arange(NAMES) > 1)

    model = fit_factors(returns, truth.sector, truth.size)
    covariance = model.covariance()
    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / spread / spread[:, None]

    assert model.observations[:2].tolist() == [0, 20]
    assert spread[0] == pytest.approx(np.median(spread[peers]), rel=0.35)
    assert correlation[0, peers].mean() > correlation[0, ~peers][1:].mean() + 0.05


def test_a_wild_month_raises_the_forecast_and_a_calm_one_lowers_it(truth: Truth) -> None:
    wild, calm = truth.returns.copy(), truth.returns.copy()
    wild[-21:] *= 2
    calm[-21:] /= 2
    index = truth.size / truth.size.sum()
    forecast = [
        float(volatility(fit_factors(r, truth.sector, truth.size), index))
        for r in (calm, truth.returns, wild)
    ]

    assert forecast[0] < 0.85 * forecast[1]
    assert forecast[2] > 1.2 * forecast[1]


def test_one_monstrous_return_is_clipped(truth: Truth, model: FactorModel) -> None:
    returns = truth.returns.copy()
    returns[-30, 7] = 40.0

    struck = fit_factors(returns, truth.sector, truth.size)

    assert struck.covariance()[7, 7] < 4 * model.covariance()[7, 7]
    others = np.delete(np.arange(NAMES), 7)
    assert np.diag(struck.covariance())[others] == pytest.approx(
        np.diag(model.covariance())[others], rel=0.05
    )


def test_hidden_themes_are_found_above_the_noise(model: FactorModel) -> None:
    assert 2 <= model.spikes <= SECTORS + 4


def test_pure_noise_has_no_spikes() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(400, 200))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)

    direction, eta = spikes(noise / np.sqrt(400), 400, 40)

    assert direction.shape == (200, 0)
    assert eta.size == 0


def test_a_spike_is_given_its_true_variance_less_what_the_direction_misses() -> None:
    names, sessions = 200, 400
    rng = np.random.default_rng(4)
    true = np.full(names, 1 / np.sqrt(names))
    draws = rng.normal(size=(sessions, names)) + 4 * rng.normal(size=(sessions, 1)) * true

    direction, eta = spikes(draws / np.sqrt(sessions), sessions, 40)

    # l = 1 + 4^2 = 17; gamma = 1/2; c^2 = (1 - gamma/16^2) / (1 + gamma/16) = 0.968
    assert eta.size == 1
    assert eta[0] == pytest.approx(16 * 0.968, rel=0.15)
    assert (direction[:, 0] @ true) ** 2 == pytest.approx(0.968, abs=0.03)


def test_more_names_than_sessions_have_the_spikes_of_their_own_correlation() -> None:
    names, sessions = 300, 80
    rng = np.random.default_rng(8)
    draws = rng.normal(size=(sessions, names)) + 4 * rng.normal(size=(sessions, 1)) * 0.2
    shocks = draws / np.sqrt((draws * draws).sum(axis=0))

    direction, eta = spikes(shocks, sessions, 40)

    value, vector = np.linalg.eigh(shocks.T @ shocks)
    alike = np.abs((direction * vector[:, ::-1][:, : eta.size]).sum(axis=0))
    assert eta.size >= 1
    assert alike == pytest.approx(1.0)
    assert np.all(eta < value[::-1][: eta.size])


def test_known_exposures_give_back_the_factors_variance() -> None:
    rng = np.random.default_rng(6)
    exposure = rng.normal(size=(300, 3))
    factors = np.diag([0.05, 0.02, 0.0])
    correlation = exposure @ factors @ exposure.T
    correlation += np.diag(1 - np.diag(correlation).clip(max=0.7))

    shocks = np.linalg.cholesky(correlation).T
    assert factor_correlation(shocks, exposure) == pytest.approx(factors, abs=5e-3)


def test_weights_halve_and_sum_to_one() -> None:
    weight = decay_weights(30, 10.0)

    assert weight.sum() == pytest.approx(1.0)
    assert weight[-11] == pytest.approx(weight[-1] / 2)


def test_a_constant_variance_is_remembered_as_it_was() -> None:
    for typical in (True, False):
        found = remembered_variance(np.full(99, 4.0), (5.0, 21.0), (0.5, 0.5), typical=typical)
        assert found == pytest.approx(4.0)


def test_the_mean_of_memories_is_above_their_typical_value() -> None:
    square = np.r_[np.full(80, 1.0), np.full(10, 9.0)]

    typical = remembered_variance(square, (5.0, 252.0), (0.5, 0.5), typical=True)
    mean = remembered_variance(square, (5.0, 252.0), (0.5, 0.5), typical=False)

    assert 1.0 < typical < mean < 9.0


def test_the_market_of_the_optimizer_is_made_of_the_model(model: FactorModel) -> None:
    price = np.full(NAMES, 50_000_000)

    made = market(model, price, np.full(NAMES, 500))

    assert made.exposure is model.exposure
    assert made.specific_variance is model.specific_variance
    assert made.price_micros is price


def test_tracking_error_of_the_benchmark_is_zero(model: FactorModel) -> None:
    weight = np.full(NAMES, 1 / NAMES)

    assert tracking_error(model, weight, weight) == 0.0


def test_the_same_history_gives_the_same_bytes(truth: Truth, model: FactorModel) -> None:
    again = truth.fit()

    assert again.exposure.tobytes() == model.exposure.tobytes()
    assert again.specific_variance.tobytes() == model.specific_variance.tobytes()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"returns": np.zeros((100, 4))}, "moves"),
        ({"returns": np.full((100, 4), np.inf)}, "finite"),
        ({"returns": np.full((100, 4), -2.0)}, "-1"),
        ({"returns": np.full((30, 4), 0.01)}, "60 sessions"),
        ({"returns": np.full((100, 3), 0.01)}, "shape|must be"),
        ({"size": np.array([1.0, -1.0, 1.0, 1.0])}, "size"),
        ({"size": np.zeros(4)}, "size"),
        ({"size": np.array([1.0, np.nan, 1.0, 1.0])}, "size"),
        ({"sector": np.array([0.5, 1.0, 1.0, 1.0])}, "sector"),
        ({"factors": 1}, "factors"),
    ],
)
def test_what_makes_no_model_is_refused_by_name(change: dict, word: str) -> None:
    rng = np.random.default_rng(0)
    question = {
        "returns": rng.normal(0, 0.01, (100, 4)),
        "sector": np.array([0, 0, 1, 1]),
        "size": np.ones(4),
    }

    with pytest.raises(ValueError, match=word):
        fit_factors(**(question | change))


def test_the_window_is_all_that_counts(truth: Truth) -> None:
    longer = np.vstack([np.full((300, NAMES), 0.3), truth.returns])
    tuning = Tuning(sessions=SESSIONS)

    whole = fit_factors(longer, truth.sector, truth.size, tuning=tuning)

    assert whole.covariance() == pytest.approx(truth.fit(tuning=tuning).covariance())
