"""Weights that sum exactly, and how far they are from their targets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio import checks, kernels
from robo.portfolio.jit import IntArray


@dataclass(frozen=True, slots=True)
class Weights:
    """What accounts are made of: `weight_ppm` (A, N) and `cash_ppm` (A,) sum to a million.

    An account worth nothing has zeros only.
    """

    weight_ppm: IntArray
    cash_ppm: IntArray


def weights(value_cents: ArrayLike, cash_cents: ArrayLike | None = None) -> Weights:
    """Return each holding's share of NAV, largest remainder, earlier columns first, cash last.

    Args:
        value_cents: Holdings at market, shape (A, N), not negative, at most 10^15 an account.
        cash_cents: Cash of each account, shape (A,); None means that NAV is the holdings.

    Raises:
        ValueError: If a value is negative or an account exceeds its bound.
    """
    value = checks.ints("value_cents", value_cents, ndim=2)
    checks.require("value_cents", value.shape[1] < kernels.NAMES_MAX, "has too many columns")
    cash = checks.ints(
        "cash_cents",
        np.zeros(value.shape[0], np.int64) if cash_cents is None else cash_cents,
        ndim=1,
    )
    checks.require("cash_cents", cash.shape == value.shape[:1], "must be (A,)")
    parts = np.column_stack((value, cash))
    shares = np.empty_like(parts)
    bad = kernels.weight_rows(np.ascontiguousarray(parts), shares)
    checks.require("value_cents", bad < 0, f"of account {bad} is negative or too large")
    return Weights(shares[:, :-1], shares[:, -1])


def drift_ppm(
    value_cents: ArrayLike, weight_ppm: ArrayLike, cash_cents: ArrayLike | None = None
) -> IntArray:
    """Return weight minus target weight of each holding, (A, N); positive is overweight.

    With `cash_cents`, cash counts in NAV, so that a row sums to minus the share of cash.

    Raises:
        ValueError: If shapes differ, a row of weights does not sum to a million, or a value is
            outside its bounds.
    """
    actual = weights(value_cents, cash_cents).weight_ppm
    target = checks.weight_rows(weight_ppm, actual.shape[0])
    fits = bool((target >= 0).all() and (target.sum(axis=1) == kernels.PPM).all())
    checks.require("weight_ppm", fits, "must not be negative and must sum to 1000000")
    checks.require("weight_ppm", target.shape[1] == actual.shape[1], "and values differ in N")
    return actual - target
