"""The bounds of sampling against independent solvers: Clarabel's relaxation and SCIP's optimum."""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from pyscipopt import Model, quicksum

from robo.portfolio import sampling_lift
from robo.portfolio.sampling import prepare, sample


def market(names: int, factors: int, seed: int):
    rng = np.random.default_rng(seed)
    exposure = rng.normal(0, 0.06, (names, factors))
    exposure[:, 0] = rng.normal(0.16, 0.03, names)
    specific = rng.uniform(0.03, 0.09, names)
    benchmark = 1 / (np.arange(names) + 1.0)
    return exposure, specific, benchmark / benchmark.sum()


def perspective(exposure, specific, benchmark, size, allowed, upper=1.0) -> float:
    """Return the tracking error of the perspective relaxation, by a general conic solver."""
    names = len(benchmark)
    h, z, square = cp.Variable(names), cp.Variable(names), cp.Variable(names)
    scale = 100.0
    factor = cp.sum_squares(exposure.T @ (h - benchmark))
    specific_part = specific @ (square - 2 * cp.multiply(benchmark, h) + benchmark**2)
    cones = [cp.SOC(square[i] + z[i], cp.hstack([2 * h[i], square[i] - z[i]])) for i in allowed]
    out = [i for i in range(names) if i not in set(allowed)]
    limits = [cp.sum(h) == 1, h >= 0, h <= upper * z, z <= 1, cp.sum(z) <= size, square >= 0]
    if out:
        limits.append(z[out] == 0)
    program = cp.Problem(cp.Minimize(scale * (factor + specific_part)), cones + limits)
    program.solve(solver=cp.CLARABEL)
    return float(np.sqrt(program.value / scale))


def optimum(exposure, specific, benchmark, size, allowed) -> float:
    """Return the exact least tracking error, by branch and bound of a general solver."""
    model: Any = Model()
    model.hideOutput()
    h = {i: model.addVar(lb=0, ub=1) for i in allowed}
    z = {i: model.addVar(vtype="B") for i in allowed}
    y = [model.addVar(lb=None) for _ in range(exposure.shape[1])]
    total = model.addVar(lb=0)
    model.addCons(quicksum(h.values()) == 1)
    model.addCons(quicksum(z.values()) <= size)
    for i in allowed:
        model.addCons(h[i] <= z[i])
    for k, part in enumerate(y):
        pulled = quicksum(float(exposure[i, k]) * h[i] for i in allowed)
        model.addCons(part == pulled - float(exposure[:, k] @ benchmark))
    outside = float(
        sum(specific[i] * benchmark[i] ** 2 for i in set(range(len(specific))) - set(allowed))
    )
    squares = quicksum(part * part for part in y) + quicksum(
        float(specific[i]) * (h[i] - float(benchmark[i])) * (h[i] - float(benchmark[i]))
        for i in allowed
    )
    model.addCons(total >= 1_000 * (squares + outside))
    model.setObjective(total)
    model.setParam("limits/gap", 1e-7)
    model.optimize()
    assert model.getStatus() in {"optimal", "gaplimit"}
    return float(np.sqrt(model.getObjVal() / 1_000))


@pytest.mark.parametrize(("size", "seed"), [(3, 1), (6, 2), (12, 3)])
def test_the_plain_bound_is_the_perspective_relaxation_to_a_thousandth(size, seed) -> None:
    exposure, specific, benchmark = market(60, 8, seed)
    excluded = np.zeros((2, 60), dtype=np.bool_)
    excluded[1, ::7] = True

    got = sample(exposure, specific, benchmark, size, excluded=excluded)

    for row in range(2):
        allowed = np.flatnonzero(~excluded[row]).tolist()
        relaxed = perspective(exposure, specific, benchmark, size, allowed)
        assert got.bound[row] <= relaxed * (1 + 1e-6)
        assert got.bound[row] == pytest.approx(relaxed, rel=1e-3)


def test_the_plain_bound_with_caps_is_the_relaxation_with_caps() -> None:
    exposure, specific, benchmark = market(40, 5, 4)

    got = sample(exposure, specific, benchmark, 6, upper=np.full(40, 0.2))

    relaxed = perspective(exposure, specific, benchmark, 6, list(range(40)), upper=0.2)
    assert got.bound[0] <= relaxed * (1 + 1e-6)
    assert got.bound[0] == pytest.approx(relaxed, rel=1e-3)


@pytest.mark.parametrize(("names", "size", "seed"), [(20, 3, 1), (25, 5, 2), (30, 4, 3)])
def test_small_markets_reach_the_optimum_that_branch_and_bound_proves(names, size, seed) -> None:
    exposure, specific, benchmark = market(names, 4, seed)
    excluded = np.zeros(names, dtype=np.bool_)
    excluded[[1, 5]] = True
    plan = prepare(exposure, specific, benchmark, size, groups=excluded)

    got = sample(exposure, specific, benchmark, size, excluded=excluded, plan=plan)

    allowed = np.flatnonzero(~excluded).tolist()
    best = optimum(exposure, specific, benchmark, size, allowed)
    assert got.tracking_error[0] == pytest.approx(best, rel=1e-5)
    assert got.bound[0] <= best * (1 + 1e-6)


def test_a_lift_is_below_the_covariances_for_all_weights_that_are_not_negative() -> None:
    exposure, specific, benchmark = market(40, 5, 7)
    plan = prepare(exposure, specific, benchmark, 6)
    lift = plan.scenarios[0].lift
    plain = sample(exposure, specific, benchmark, 6)
    planned = sample(exposure, specific, benchmark, 6, plan=plan)
    assert lift is not None

    part = plan.covariances[np.ix_(lift.pool, lift.pool)]
    draws = np.random.default_rng(8).dirichlet(np.full(lift.pool.size, 0.1), 5_000)
    true = np.einsum("ai,ij,aj->a", draws, part, draws) / 2 - draws @ plan.c[0, lift.pool]
    seen = draws @ lift.loading
    told = ((seen**2).sum(axis=1) + draws**2 @ lift.delta) / 2 - draws @ lift.c[0]

    assert planned.tracking_error[0] <= plain.tracking_error[0] * (1 + 1e-9)
    assert plain.bound[0] * 1.002 < planned.bound[0] <= planned.tracking_error[0]
    assert (lift.delta > 0).all()
    assert (true + plan.constant - told - lift.constant).min() >= -1e-12


def test_fixing_most_duals_keeps_a_lift_below_the_truth_whatever_they_are() -> None:
    exposure, specific, benchmark = market(80, 60, 11)
    s = exposure @ exposure.T + np.diag(specific)
    c, constant = s @ benchmark, np.array([benchmark @ s @ benchmark / 2])
    whole = sampling_lift.certify(s, c, constant, np.arange(80), np.zeros((80, 80)), specific * 0.9)
    assert whole is not None
    rng = np.random.default_rng(12)
    nu = whole.factor @ rng.dirichlet(np.full(80, 0.1))

    narrow, free = sampling_lift.narrowed(whole, nu)
    wrong, _ = sampling_lift.narrowed(whole, rng.normal(0, 1, nu.size))

    assert free.size == narrow.factor.shape[0] < whole.factor.shape[0]
    draws = rng.dirichlet(np.full(80, 0.1), 2_000)
    true = np.einsum("ai,ij,aj->a", draws, s, draws) / 2 - draws @ c + constant
    for lift in (narrow, wrong):
        curved = ((draws @ lift.loading) ** 2).sum(axis=1) + draws**2 @ lift.delta
        assert (curved / 2 - draws @ lift.c[0] + lift.constant <= true + 1e-12).all()


def test_a_decomposition_that_is_wrong_is_mended_or_refused() -> None:
    exposure, specific, _ = market(20, 3, 9)
    s = exposure @ exposure.T + np.diag(specific)
    pool = np.arange(20)
    apart = np.random.default_rng(1).normal(0, 0.002, (20, 20))

    rest = (s @ np.full(20, 0.05), np.zeros(1), pool, apart)
    mended = sampling_lift.certify(s, *rest, specific)
    refused = sampling_lift.certify(s, *rest, -specific)

    assert mended is not None
    assert (mended.delta < specific).all()
    assert refused is None


def test_a_plan_for_another_question_is_refused() -> None:
    exposure, specific, benchmark = market(20, 3, 9)
    plan = prepare(exposure, specific, benchmark, 4, lift_steps=0)

    with pytest.raises(ValueError, match="plan was made for another"):
        sample(exposure, specific, benchmark, 5, plan=plan)
    with pytest.raises(ValueError, match="a plan needs one benchmark"):
        prepare(exposure, specific, np.stack([benchmark, benchmark]), 4)
