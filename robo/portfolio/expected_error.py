"""The tracking error to expect: the model's, checked against what the positions did of late.

A factor model spreads what it learns over all names; one account stands on a few bets, whose
volatility turns by itself. The same active weights held through the last weeks show that, however
the account came by them. Both count the same: the variance told is their geometric mean.

Notation as in `factor_model.py`: T sessions, N names, A accounts; x active weights. docs/risk.md
has what it is worth and how its two constants were chosen.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.portfolio.factor_model import SESSIONS_A_YEAR, FactorModel, volatility
from robo.portfolio.shrinkage import decay_weights

FloatArray = NDArray[np.float64]

HALF_LIFE: Final = 21.0
"""Sessions after which a day counts half: a month. Of 21, 63 and 126 the best on 2004 to 2007."""
OWN_SHARE: Final = 0.5
"""The exponent of the positions' own variance. Of a quarter, a half and three quarters."""
SESSIONS: Final = 252
"""Sessions looked back at; a day before them would count less than a thousandth of yesterday."""
SESSIONS_MIN: Final = 60


def expected_tracking_error(
    model: FactorModel, returns: ArrayLike, weight: ArrayLike, benchmark: ArrayLike
) -> FloatArray:
    """Return the annual tracking error to expect next, shape () or (A,).

    The optimizer and the sampling work with `tracking_error`, which is the model's alone; this is
    what to tell a customer and to hold against what happens.

    Args:
        model: The fitted model.
        returns: Simple returns, shape (T, N), oldest first; NaN, where there is none, counts as 0.
        weight: Fractions, shape (N,) or (A, N).
        benchmark: Fractions, shape (N,) or (A, N).

    Raises:
        ValueError: If shapes differ, a value is infinite or a weight unknown, or there are fewer
            than 60 sessions.
    """
    r = np.asarray(returns, dtype=np.float64)[-SESSIONS:]
    active = np.asarray(weight, dtype=np.float64) - np.asarray(benchmark, dtype=np.float64)
    names = model.specific_variance.size
    if r.shape[1:] != (names,) or active.shape[-1:] != (names,):
        message = f"returns must be (T, {names}), weights (..., {names})"
        raise ValueError(message)
    if len(r) < SESSIONS_MIN:
        message = f"returns must reach back {SESSIONS_MIN} sessions, not {len(r)}"
        raise ValueError(message)
    if np.isinf(r).any() or not np.isfinite(active).all():
        message = "returns must be NaN or finite, weights finite"
        raise ValueError(message)
    daily = np.nan_to_num(r) @ active.T
    own = SESSIONS_A_YEAR * (decay_weights(len(r), HALF_LIFE) @ (daily * daily))
    modelled = volatility(model, active) ** 2
    # Positions that nothing is known of yet have the model's word only.
    own = np.where(own > 0, own, modelled)
    return np.asarray(np.sqrt(modelled ** (1.0 - OWN_SHARE) * own**OWN_SHARE))
