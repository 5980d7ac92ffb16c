"""What a trade adds to tracking error, against the whole covariance."""

import numpy as np

from robo.portfolio.tracking import shift

EXPOSURE = np.array([[0.2, 0.0], [0.1, 0.1], [0.3, -0.1]])
SPECIFIC = np.array([0.04, 0.01, 0.09])
COVARIANCE = EXPOSURE @ EXPOSURE.T + np.diag(SPECIFIC)


def distance(weights: list[float], aim: list[float]) -> float:
    active = np.array(weights) - np.array(aim)
    return float(np.sqrt(active @ COVARIANCE @ active))


def test_a_trade_adds_what_the_plan_has_more_than_without_it() -> None:
    # Slots in another order than the model's names; the last is padding.
    column = np.array([[2, 0, 1, -1]])
    held, aim = np.array([[0.5, 0.1, 0.0, 0.0]]), np.array([[0.3, 0.3, 0.4, 0.0]])
    trade = np.array([[-0.1, 0.2, 0.0, 0.0]])

    made = shift(EXPOSURE, SPECIFIC, column, held, aim, trade)

    goal = [0.3, 0.4, 0.3]
    whole = distance([0.3, 0.0, 0.4], goal)
    assert np.isclose(made.before[0], distance([0.1, 0.0, 0.5], goal))
    assert np.isclose(made.after[0], whole)
    assert np.allclose(
        made.each[0],
        [whole - distance([0.3, 0.0, 0.5], goal), whole - distance([0.1, 0.0, 0.4], goal), 0, 0],
    )


def test_an_account_with_a_name_that_the_model_does_not_know_has_no_number() -> None:
    column = np.array([[0, -1], [0, -1]])
    held, none = np.array([[0.5, 0.1], [0.5, 0.0]]), np.zeros((2, 2))

    made = shift(EXPOSURE, SPECIFIC, column, held, none, none)

    assert np.isnan(made.after[0])
    assert np.isnan(made.each[0]).all()
    assert made.after[1] > 0
