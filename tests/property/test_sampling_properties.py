"""Sampling over random markets: bounds below truth, wishes kept, the same bytes in any split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.portfolio.sampling import prepare, sample


def market(seed: int, names: int, factors: int):
    rng = np.random.default_rng(seed)
    volatility = rng.uniform(0.2, 0.4, names)
    loading = rng.normal(0, 1, (names, factors))
    loading[:, 0] = np.abs(loading[:, 0]) + 1
    loading /= np.sqrt((loading**2).sum(axis=1, keepdims=True))
    exposure = loading * (volatility * np.sqrt(0.5))[:, None]
    benchmark = rng.pareto(1.2, names) + 0.01
    return exposure, 0.5 * volatility**2, benchmark / benchmark.sum()


def wishes(seed: int, accounts: int, names: int):
    rng = np.random.default_rng([seed, 1])
    excluded = rng.random((accounts, names)) < rng.uniform(0, 0.3, (accounts, 1))
    required = (rng.random((accounts, names)) < 0.03) & ~excluded
    excluded[0], required[0] = False, False
    return excluded, required & (np.cumsum(required, axis=1) <= 2)


def evaluated(exposure, specific, benchmark, member, weight):
    """Return tracking errors by another road: the full matrix, one account at a time."""
    s = exposure @ exposure.T + np.diag(specific)
    errors = []
    for row in range(len(member)):
        w = benchmark if benchmark.ndim == 1 else benchmark[row]
        active = -w.copy()
        held = member[row] >= 0
        active[member[row, held]] += weight[row, held]
        errors.append(np.sqrt(active @ s @ active))
    return np.array(errors)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), names=st.integers(20, 80), size=st.integers(3, 15))
def test_wishes_are_kept_and_the_error_is_what_an_evaluator_finds(seed, names, size) -> None:
    exposure, specific, benchmark = market(seed, names, 6)
    excluded, required = wishes(seed, 5, names)
    upper = np.full(names, 0.6)

    got = sample(
        exposure, specific, benchmark, size, excluded=excluded, required=required, upper=upper
    )

    assert (got.weight >= 0).all()
    assert got.weight.max() <= 0.6 + 1e-15
    assert got.weight.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-12)
    for row in range(5):
        held = got.member[row][got.member[row] >= 0]
        assert (np.diff(held) > 0).all()
        assert not excluded[row, held].any()
        assert set(np.flatnonzero(required[row])) <= set(held.tolist())
    found = evaluated(exposure, specific, benchmark, got.member, got.weight)
    assert got.tracking_error == pytest.approx(found, rel=1e-9)
    assert (got.bound <= got.tracking_error).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), tilted=st.booleans())
def test_any_split_of_a_batch_gives_the_same_bytes(seed, tilted) -> None:
    exposure, specific, benchmark = market(seed, 60, 6)
    excluded, required = wishes(seed, 7, 60)
    if tilted:
        benchmark = np.random.default_rng(seed).dirichlet(np.full(60, 0.5), 7)

    whole = sample(exposure, specific, benchmark, 8, excluded=excluded, required=required)

    for rows in (slice(0, 3), slice(3, 7), slice(6, 7)):
        part = sample(
            exposure,
            specific,
            benchmark[rows] if tilted else benchmark,
            8,
            excluded=excluded[rows],
            required=required[rows],
        )
        for name in ("member", "weight", "tracking_error", "bound"):
            assert getattr(part, name).tobytes() == getattr(whole, name)[rows].tobytes()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_more_names_never_track_worse_and_exclusions_never_track_better(seed) -> None:
    exposure, specific, benchmark = market(seed, 50, 5)
    excluded, _ = wishes(seed, 6, 50)

    few = sample(exposure, specific, benchmark, 6, excluded=excluded)
    many = sample(exposure, specific, benchmark, 12, excluded=excluded)

    assert (many.tracking_error <= few.tracking_error * (1 + 1e-9)).all()
    assert (few.bound[0] <= few.tracking_error).all()
    assert (many.bound <= few.tracking_error).all()


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_plan_raises_bounds_but_never_above_what_anybody_found(seed) -> None:
    exposure, specific, benchmark = market(seed, 40, 5)
    excluded, required = wishes(seed, 6, 40)
    groups = np.stack([excluded[1], np.arange(40) < 8])

    plain = sample(exposure, specific, benchmark, 5, excluded=excluded, required=required)
    plan = prepare(exposure, specific, benchmark, 5, groups=groups, lift_steps=250)
    planned = sample(
        exposure, specific, benchmark, 5, excluded=excluded, required=required, plan=plan
    )
    long = sample(exposure, specific, benchmark, 5, excluded=excluded, required=required, kicks=150)

    best = np.minimum(np.minimum(plain.tracking_error, planned.tracking_error), long.tracking_error)
    assert (planned.bound <= best).all()
    assert (planned.bound >= plain.bound * (1 - 2e-3)).all()
