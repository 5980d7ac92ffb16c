"""Sampling by hand: a few names whose best choice can be checked by trying all of them."""

from itertools import combinations

import numpy as np
import pytest

from robo.portfolio.sampling import sample


def market(names: int, factors: int = 2, seed: int = 1):
    rng = np.random.default_rng(seed)
    exposure = rng.normal(0.1, 0.1, (names, factors))
    specific = rng.uniform(0.02, 0.08, names)
    benchmark = rng.dirichlet(np.ones(names) * 2)
    return exposure, specific, benchmark


def tracking_error(exposure, specific, benchmark, member, weight) -> float:
    active = -np.array(benchmark)
    active[member] += weight
    return float(np.sqrt(np.sum((active @ exposure) ** 2) + np.sum(specific * active**2)))


def best_of_all(exposure, specific, benchmark, size, allowed) -> float:
    """Return the least error over all choices, weights of any sign: below the long-only one."""
    s = exposure @ exposure.T + np.diag(specific)
    least = np.inf
    for chosen in combinations(allowed, size):
        part = list(chosen)
        system = np.block([[s[np.ix_(part, part)], np.ones((size, 1))], [np.ones(size), 0.0]])
        h = np.linalg.solve(system, np.append(s[part] @ benchmark, 1.0))[:size]
        if (h >= 0).all():
            least = min(least, tracking_error(exposure, specific, benchmark, part, h))
    return least


def test_all_names_track_without_error() -> None:
    exposure, specific, benchmark = market(6)

    got = sample(exposure, specific, benchmark, 6)

    assert got.member.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert got.weight[0] == pytest.approx(benchmark, abs=1e-12)
    assert got.tracking_error[0] == pytest.approx(0, abs=1e-8)
    assert got.bound[0] == pytest.approx(0, abs=1e-6)


def test_one_name_of_three_is_the_one_that_an_enumeration_finds() -> None:
    # No factors to speak of, d = 0.04: x'Sx = 0.04 ((1 - w_i)^2 + the others' squares).
    # w = (0.5, 0.3, 0.2): name 0 gives 0.04 (0.25 + 0.09 + 0.04) = 0.0152.
    got = sample(np.zeros((3, 1)), np.full(3, 0.04), [0.5, 0.3, 0.2], 1)

    assert got.member.tolist() == [[0]]
    assert got.weight.tolist() == [[1.0]]
    assert got.tracking_error[0] == pytest.approx(np.sqrt(0.0152))
    assert 0 < got.bound[0] <= got.tracking_error[0]


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_small_markets_are_solved_as_well_as_by_trying_everything(size: int, seed: int) -> None:
    exposure, specific, benchmark = market(12, seed=seed)

    got = sample(exposure, specific, benchmark, size)

    best = best_of_all(exposure, specific, benchmark, size, range(12))
    assert got.tracking_error[0] == pytest.approx(best, rel=1e-9)
    assert got.bound[0] <= best * (1 + 1e-9)


def test_an_excluded_name_is_never_held_and_others_take_its_place() -> None:
    exposure, specific, benchmark = market(12)
    first = sample(exposure, specific, benchmark, 4)
    excluded = np.zeros((3, 12), dtype=np.bool_)
    excluded[1, first.member[0, 0]] = True
    excluded[2, first.member[0]] = True

    got = sample(exposure, specific, benchmark, 4, excluded=excluded)

    assert got.member[0].tolist() == first.member[0].tolist()
    assert not excluded[np.arange(3)[:, None], got.member].any()
    assert (got.member >= 0).all()
    for row in (1, 2):
        allowed = np.flatnonzero(~excluded[row])
        best = best_of_all(exposure, specific, benchmark, 4, allowed)
        assert got.tracking_error[row] == pytest.approx(best, rel=1e-9)
        assert got.bound[row] <= best * (1 + 1e-9)


def test_a_required_name_is_held_with_its_least_weight() -> None:
    exposure, specific, benchmark = market(30)
    benchmark = np.where(np.arange(30) == 17, 0.0, benchmark)
    benchmark /= benchmark.sum()
    required = np.arange(30) == 17

    got = sample(exposure, specific, benchmark, 5, required=required, required_min=0.03)

    assert 17 in got.member[0]
    assert got.weight[0, got.member[0] == 17] >= 0.03 - 1e-15
    assert got.bound[0] <= got.tracking_error[0]


def test_caps_hold_and_the_rest_is_spread() -> None:
    exposure, specific, benchmark = market(30)
    upper = np.full(30, 0.11)

    got = sample(exposure, specific, benchmark, 10, upper=upper)

    assert got.weight.max() <= 0.11
    assert got.weight.sum() == pytest.approx(1, abs=1e-12)
    assert (got.member >= 0).sum() == 10
    assert got.bound[0] <= got.tracking_error[0]


def test_every_account_may_have_its_own_benchmark() -> None:
    exposure, specific, benchmark = market(12)
    other = benchmark[::-1].copy()

    got = sample(exposure, specific, np.stack([benchmark, other]), 4)

    alone = sample(exposure, specific, other, 4)
    assert got.member[1].tolist() == alone.member[0].tolist()
    assert got.tracking_error[1] == pytest.approx(alone.tracking_error[0], rel=1e-12)


def test_fewer_allowed_names_than_places_leave_places_empty() -> None:
    exposure, specific, benchmark = market(6)
    excluded = np.array([False, False, False, True, True, True])

    got = sample(exposure, specific, benchmark, 5, excluded=excluded)

    assert got.member.tolist() == [[0, 1, 2, -1, -1]]
    assert got.weight[0, 3:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 0}, "size"),
        ({"size": 13}, "size"),
        ({"specific_variance": np.zeros(12)}, "specific_variance"),
        ({"benchmark": np.full(12, 0.1)}, "benchmark"),
        ({"benchmark": np.full((2, 2, 12), 1 / 12)}, "benchmark"),
        ({"exposure": np.full((12, 2), np.nan)}, "exposure"),
        ({"upper": np.full(11, 1.0)}, "upper"),
        ({"upper": np.full(12, 0.2)}, "account 0 has no way to invest everything"),
        ({"excluded": np.ones(12, dtype=np.bool_)}, "account 0 has no way to invest everything"),
        ({"excluded": np.ones(12)}, "excluded"),
        ({"required": np.ones(12, dtype=np.bool_)}, "more than 4 required"),
        ({"required_min": 2.0}, "required_min"),
        (
            {"excluded": np.arange(12) == 3, "required": np.arange(12) == 3},
            "required names that are excluded",
        ),
        (
            {
                "excluded": np.zeros((2, 12), dtype=np.bool_),
                "required": np.zeros((3, 12), dtype=np.bool_),
            },
            "agree on the number of accounts",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(change, says: str) -> None:
    exposure, specific, benchmark = market(12)
    ask = {
        "exposure": exposure,
        "specific_variance": specific,
        "benchmark": benchmark,
        "size": 4,
    } | change

    with pytest.raises(ValueError, match=says):
        sample(**ask)
