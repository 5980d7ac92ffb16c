"""The one-factor model on returns whose truth is known, and by hand."""

from datetime import date

import numpy as np
import pytest

from robo.portfolio import risk

AS_OF = date(2026, 3, 2)
LABEL = {"source": "SIM", "as_of": AS_OF}


def simulated(names: int = 200, sessions: int = 250, seed: int = 1):
    """Return returns with known betas and specific variances, and market weights."""
    rng = np.random.default_rng(seed)
    beta = rng.normal(1.0, 0.3, names)
    specific = np.exp(rng.normal(np.log(0.015), 0.35, names))
    market = rng.normal(0.0004, 0.01, sessions)
    noise = rng.normal(size=(sessions, names)) * specific
    return market[:, None] * beta + noise, np.ones(names), beta, specific**2


def test_the_model_finds_the_truth_it_was_made_from() -> None:
    returns, size, beta, specific = simulated()

    model = risk.fit(returns, size, **LABEL)

    assert np.sqrt(np.mean((model.beta - beta / beta.mean()) ** 2)) < 0.10
    assert np.median(np.abs(model.specific_variance / specific - 1)) < 0.10
    assert model.market_variance == pytest.approx(0.01**2, rel=0.25)


def test_shrinkage_beats_plain_least_squares() -> None:
    returns, size, beta, specific = simulated(sessions=90, seed=2)
    market = returns.mean(axis=1)
    centred = market - market.mean()
    plain = centred @ returns / (centred @ centred)
    residual = returns - returns.mean(axis=0) - centred[:, None] * plain
    truth = beta / beta.mean()

    model = risk.fit(returns, size, **LABEL)

    assert np.mean((model.beta - truth) ** 2) < 0.9 * np.mean((plain - truth) ** 2)
    raw = (residual**2).sum(axis=0) / 88
    assert np.mean((model.specific_variance - specific) ** 2) < np.mean((raw - specific) ** 2)


def test_a_name_without_history_takes_the_averages() -> None:
    returns, size, _, _ = simulated()
    returns[:-10, 3] = np.nan
    returns[:, 4] = np.nan

    model = risk.fit(returns, size, **LABEL)

    assert model.observations[[3, 4]].tolist() == [10, 0]
    assert model.beta[3] == model.beta[4] == pytest.approx(1.0, abs=0.05)
    assert model.specific_variance[3] == model.specific_variance[4]
    assert np.isfinite(model.beta).all()


def test_gaps_in_history_change_little() -> None:
    returns, size, _, _ = simulated()
    holes = returns.copy()
    holes[np.random.default_rng(5).random(returns.shape) < 0.05] = np.nan

    whole, gappy = risk.fit(returns, size, **LABEL), risk.fit(holes, size, **LABEL)

    assert np.abs(whole.beta - gappy.beta).max() < 0.15


def hand_model() -> risk.OneFactorModel:
    return risk.OneFactorModel(
        beta=np.array([1.0, 2.0]),
        specific_variance=np.array([4e-4, 1e-4]),
        market_variance=1e-4,
        observations=np.array([250, 250]),
        sessions=250,
        source="SIM",
        as_of=AS_OF,
    )


def test_volatility_and_tracking_error_are_what_paper_says() -> None:
    model = hand_model()

    # Half and half: beta 1.5, variance 2.25e-4 + (4e-4 + 1e-4) / 4 = 3.5e-4 a session.
    volatility = risk.portfolio_volatility(model, [500_000, 500_000])
    # Against all in the first: beta difference 0.5, 0.25e-4 + 1.25e-4 = 1.5e-4 a session.
    error = risk.tracking_error(model, [500_000, 500_000], [1_000_000, 0])

    assert volatility == pytest.approx(np.sqrt(252 * 3.5e-4))
    assert error == pytest.approx(np.sqrt(252 * 1.5e-4))
    assert risk.tracking_error(model, [1, 2], [1, 2]) == 0.0


def test_many_portfolios_are_measured_at_once_and_labelled() -> None:
    model = hand_model()

    figures = risk.portfolio_volatility(model, [[1_000_000, 0], [0, 1_000_000], [0, 0]])
    label = risk.labelled(model, float(figures[0]))

    assert figures.shape == (3,)
    assert figures[2] == 0.0
    assert (label.source, label.as_of, label.sessions) == ("SIM", AS_OF, 250)


@pytest.mark.parametrize(
    ("returns", "size"),
    [
        (np.zeros((250, 2)), np.ones(2)),
        (np.full((250, 2), np.nan), np.ones(2)),
        (np.full((250, 2), np.inf), np.ones(2)),
        (np.random.default_rng(1).normal(size=(30, 2)), np.ones(2)),
        (np.random.default_rng(1).normal(size=(250, 2)), np.ones(3)),
        (np.random.default_rng(1).normal(size=(250, 2)), np.array([1.0, -1.0])),
    ],
)
def test_returns_that_carry_no_model_are_refused(returns, size) -> None:
    with pytest.raises(ValueError, match=r"returns|session"):
        risk.fit(returns, size, **LABEL)
