"""Tilts on random indexes: sums, bounds, landing, order, and refusals that a linear programme
confirms."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from robo.portfolio import tilts
from robo.portfolio.dials import Dial, Dials
from robo.portfolio.entropy_edge import settle
from robo.portfolio.projections import shown_ppm, without
from robo.portfolio.tilts import LANDING, NOT_ASKED, Outcome, reach, refusal, tilt

STEPS = np.array([-100, -90, -50, -30, -7, 0, 5, 10, 30, 60, 100])
SHARES, SCORES = 14, 3


def market(rng, names):
    """Return base weights, dials of sectors, overlapping sets and scores, and asks."""
    sector = rng.integers(0, 6, size=names)
    sets = rng.random((SHARES - 6, names)) < rng.uniform(0.02, 0.5, size=(SHARES - 6, 1))
    score = rng.normal(size=(SCORES, names))
    score[0, rng.random(names) < 0.2] = np.nan
    value = np.concatenate([sector == np.arange(6)[:, None], sets, score]).astype(float)
    kind = np.array([Dial.SHARE] * SHARES + [Dial.EXPOSURE] * SCORES)
    base = rng.dirichlet(np.full(names, rng.choice([0.3, 1.0, 5.0])))
    base[rng.random(names) < 0.1] = 0.0
    return base / base.sum(), Dials(tuple(f"dial {row}" for row in range(len(kind))), kind, value)


def wishes(rng, accounts, names, asks_max):
    ask = np.full((accounts, SHARES + SCORES), NOT_ASKED)
    for row in ask:
        chosen = rng.choice(len(row), size=rng.integers(0, asks_max + 1), replace=False)
        row[chosen] = rng.choice(STEPS, size=len(chosen)) * 10_000
    excluded = rng.random((accounts, names)) < rng.choice([0.0, 0.05, 0.3], size=(accounts, 1))
    cap = rng.choice([1_000_000, 200_000, 60_000, 30_000], size=(accounts, 1))
    return ask, excluded, np.broadcast_to(cap, (accounts, names)).copy()


def slack(base, dials, ask, excluded, cap):
    """Return the least half-width of a band around all asks, in points of one, by simplex.

    None where exclusions and caps alone leave no way. Written from the definitions, on purpose
    not from the code under test.
    """
    upper = np.where(excluded | (base == 0), 0.0, np.minimum(cap / 1e6, 1.0))
    rows, goals = [], []
    for row in np.flatnonzero(ask != NOT_ASKED):
        value, wish = dials.value[row], ask[row] / 1e6
        if dials.kind[row] == Dial.SHARE:
            weight = base @ value
            if wish == -1.0:
                upper = np.where(value > 0, 0.0, upper)
                continue
            if weight == 0:
                if wish > 0:
                    return np.inf
                continue
            rows.append(value / weight)
            goals.append(1.0 + wish)
        else:
            seen = ~np.isnan(value) & (base > 0)
            if len(set(value[seen])) < 2:
                if wish:
                    return np.inf
                continue
            mean = np.average(value[seen], weights=base[seen])
            spread = np.sqrt(base[seen] @ (value[seen] - mean) ** 2)
            rows.append(np.where(seen, value - mean, 0.0) / spread)
            goals.append(wish)
    if upper.sum() < 1 - 1e-9:
        return None
    n, k = len(base), len(rows)
    if not k:
        return 0.0
    row, goal = np.array(rows), np.array(goals)
    ones = np.ones((k, 1))
    found = linprog(
        np.r_[np.zeros(n), 1.0],
        A_ub=np.block([[row, -ones], [-row, -ones]]),
        b_ub=np.r_[goal, -goal],
        A_eq=np.r_[np.ones(n), 0.0].reshape(1, -1),
        b_eq=[1.0],
        bounds=[*zip(np.zeros(n), upper, strict=True), (0, None)],
        method="highs",
    )
    assert found.status == 0, found.message
    return found.fun


def is_possible(width):
    return width is not None and width <= LANDING


def borderline(width):
    return width is not None and abs(width - LANDING) < 2e-6


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), names=st.integers(4, 80), asks_max=st.integers(1, 9))
def test_what_lands_keeps_every_promise_and_what_is_refused_is_impossible(seed, names, asks_max):
    rng = np.random.default_rng(seed)
    base, dials = market(rng, names)
    ask, excluded, cap = wishes(rng, 6, names, asks_max)

    done = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)

    for a in range(len(ask)):
        width = slack(base, dials, ask[a], excluded[a], cap[a])
        if borderline(width):
            continue
        assert (done.outcome[a] == Outcome.LANDED) == is_possible(width), (a, width)
        if done.outcome[a] != Outcome.LANDED:
            assert np.isnan(done.weight[a]).all()
            assert refusal(done, dials, ask, a)
            continue
        x = done.weight[a]
        assert x.sum() == pytest.approx(1.0, abs=1e-8)
        assert (x >= 0).all()
        assert (x <= cap[a] / 1e6 + 1e-9).all()
        assert (x[excluded[a] | (base == 0)] == 0).all()
        out = (ask[a] == -1_000_000) & (dials.kind == Dial.SHARE)
        assert (x[(dials.value[out] > 0).any(axis=0)] == 0).all()
        asked = (ask[a] != NOT_ASKED) & ~np.isnan(done.reached[a])
        assert np.abs(done.reached[a] - ask[a] / 1e6)[asked].max(initial=0) <= LANDING


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), names=st.integers(4, 40))
def test_a_conflict_is_real_and_ends_when_any_one_of_its_asks_is_dropped(seed, names):
    rng = np.random.default_rng(seed)
    base, dials = market(rng, names)
    ask, excluded, cap = wishes(rng, 12, names, 9)

    done = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)

    for a in np.flatnonzero(done.outcome == Outcome.CONFLICT):
        alone = np.where(done.conflict[a], ask[a], NOT_ASKED)
        width = slack(base, dials, alone, excluded[a], cap[a])
        assert borderline(width) or not is_possible(width)
        for row in np.flatnonzero(done.conflict[a]):
            fewer = alone.copy()
            fewer[row] = NOT_ASKED
            width = slack(base, dials, fewer, excluded[a], cap[a])
            assert borderline(width) or is_possible(width)
    for a in np.flatnonzero(done.outcome == Outcome.NO_ROOM):
        nothing = np.full_like(ask[a], NOT_ASKED)
        assert slack(base, dials, nothing, excluded[a], cap[a]) is None


def test_the_rare_way_out_by_linear_programming_decides_as_newton_does(monkeypatch):
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(8):
        base, dials = market(rng, 60)
        ask, excluded, cap = wishes(rng, 12, 60, 10)
        usual = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)
        with monkeypatch.context() as patched:
            patched.setattr(tilts, "nearest", settle)
            rare = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)

        assert (rare.outcome == usual.outcome).all()
        assert (rare.conflict == usual.conflict).all()
        refused += (rare.outcome != Outcome.LANDED).sum()
        for a in np.flatnonzero(rare.outcome == Outcome.LANDED):
            x = rare.weight[a]
            asked = (ask[a] != NOT_ASKED) & ~np.isnan(rare.reached[a])
            assert x.sum() == pytest.approx(1.0, abs=1e-8)
            assert ((x >= 0) & (x <= cap[a] / 1e6 + 1e-7)).all()
            assert (x[excluded[a] | (base == 0)] == 0).all()
            assert np.abs(rare.reached[a] - ask[a] / 1e6)[asked].max(initial=0) <= LANDING
    assert refused > 5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_names_and_dials_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    base, dials = market(rng, 50)
    ask, excluded, cap = wishes(rng, 5, 50, 4)
    names, rows = rng.permutation(50), rng.permutation(len(dials.name))
    turned = Dials(
        tuple(dials.name[row] for row in rows), dials.kind[rows], dials.value[rows][:, names]
    )

    first = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)
    second = tilt(
        base[names], turned, ask[:, rows], excluded=excluded[:, names], upper_ppm=cap[:, names]
    )

    assert (first.outcome == second.outcome).all()
    landed = first.outcome == Outcome.LANDED
    assert second.weight[landed] == pytest.approx(first.weight[landed][:, names], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_account_gets_the_same_bytes_alone_and_in_any_batch(seed):
    rng = np.random.default_rng(seed)
    base, dials = market(rng, 60)
    ask, excluded, cap = wishes(rng, 7, 60, 6)
    bases = rng.permuted(np.tile(base, (7, 1)), axis=1)

    for index in (base, bases):
        together = tilt(index, dials, ask, excluded=excluded, upper_ppm=cap)
        for a in range(7):
            own = np.atleast_2d(index)[a % len(np.atleast_2d(index))]
            alone = tilt(own, dials, ask[a], excluded=excluded[a], upper_ppm=cap[a])
            assert alone.weight[0].tobytes() == together.weight[a].tobytes()
            assert (alone.conflict[0] == together.conflict[a]).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_other_weights_that_meet_the_asks_are_closer_to_the_index(seed):
    rng = np.random.default_rng(seed)
    base, dials = market(rng, 30)
    base = (base + 1e-3) / (base + 1e-3).sum()
    ask, excluded, cap = wishes(rng, 4, 30, 3)
    done = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)

    def distance(x):
        held = x > 0
        return (x[held] * np.log(x[held] / base[held])).sum()

    for a in np.flatnonzero(done.outcome == Outcome.LANDED):
        x = done.weight[a]
        asked = ask[a] != NOT_ASKED
        scores = dials.value[asked & (dials.kind == Dial.EXPOSURE)]
        rows = [np.ones((1, 30)), np.nan_to_num(dials.value[asked]), ~np.isnan(scores)]
        free = (x > 1e-9) & (x < cap[a] / 1e6 - 1e-9)
        constraint = np.concatenate(rows)[:, free]
        # Steps that leave every ask where it is: the null space of the rows over the free names.
        _, size, across = np.linalg.svd(constraint)
        space = across[(size > 1e-10).sum() :]
        for _ in range(5):
            if not len(space):
                break
            way = np.zeros(30)
            way[free] = rng.normal(size=len(space)) @ space
            step = 0.3 * (np.minimum(x, cap[a] / 1e6 - x)[free] / np.abs(way[free]).max()).min()
            for sign in (1, -1):
                assert distance(x + sign * step * way) >= distance(x) - 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), names=st.integers(2, 60))
def test_what_a_dial_can_reach_is_what_a_linear_programme_says(seed, names):
    rng = np.random.default_rng(seed)
    base, dials = market(rng, names)
    excluded = rng.random(names) < 0.2
    cap = np.full(names, rng.choice([1_000_000, 100_000]))

    low, high = reach(base, dials, excluded=excluded, upper_ppm=cap)

    upper = np.where(excluded | (base == 0), 0.0, cap / 1e6)
    if upper.sum() < 1:
        assert np.isnan(low).all()
        return
    for row in range(SHARES):
        if base @ dials.value[row] == 0:
            assert np.isnan(high[0, row])
            continue
        ends = [
            linprog(
                sign * dials.value[row] / (base @ dials.value[row]),
                A_eq=np.ones((1, names)),
                b_eq=[1.0],
                bounds=[*zip(np.zeros(names), upper, strict=True)],
            ).fun
            for sign in (1, -1)
        ]
        assert low[0, row] == pytest.approx(ends[0] - 1, abs=1e-7)
        assert high[0, row] == pytest.approx(-ends[1] - 1, abs=1e-7)


@given(
    st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=600).filter(
        lambda parts: sum(parts) > 1e-3
    )
)
def test_parts_shown_sum_to_the_whole_and_stay_within_one_of_the_weight(parts):
    weight = np.array(parts) / sum(parts)

    shown = shown_ppm(weight)

    assert shown.sum() == 1_000_000
    assert (shown >= 0).all()
    assert np.abs(shown - weight * 1e6).max() < 1 + 1e-6
    assert (shown[weight == 0] == 0).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_exclusions_conserve_the_whole_and_within_sectors_the_sectors(seed):
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.full(40, 0.7))
    sector = rng.integers(0, 6, size=40)
    excluded = rng.random((9, 40)) < rng.uniform(0, 1, size=(9, 1))

    plain, has = without(base, excluded)
    kept, _ = without(base, excluded, sector=sector)

    for a in range(9):
        alone, _ = without(base, excluded[a], sector=sector)
        assert alone[0].tobytes() == kept[a].tobytes()
        assert has[a] == (~excluded[a]).any()
        for weight in (plain[a], kept[a]):
            assert (weight[excluded[a]] == 0).all()
            assert weight.sum() == pytest.approx(float(has[a]))
        if not has[a]:
            continue
        left = ~excluded[a]
        assert np.ptp(plain[a][left] / base[left]) <= 1e-9 * (plain[a][left] / base[left]).max()
        alive = [s for s in range(6) if (left & (sector == s)).any()]
        whole = sum(base[sector == s].sum() for s in alive)
        for s in alive:
            assert kept[a][sector == s].sum() == pytest.approx(base[sector == s].sum() / whole)


def test_a_thousand_accounts_with_a_dozen_asks_never_end_without_an_answer():
    rng = np.random.default_rng(20261122)
    base, dials = market(rng, 500)
    ask, excluded, cap = wishes(rng, 1000, 500, 12)

    done = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)

    assert (done.outcome != Outcome.UNSETTLED).all()
    assert (done.outcome == Outcome.LANDED).mean() > 0.5
    assert (done.outcome == Outcome.CONFLICT).any()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_forty_thousand_wishes_are_answered_as_a_linear_programme_would():
    rng = np.random.default_rng(7)
    count = dict.fromkeys(Outcome, 0)
    spent, between = 0.0, 0
    for _ in range(400):
        names = int(rng.integers(20, 200))
        base, dials = market(rng, names)
        ask, excluded, cap = wishes(rng, 100, names, int(rng.integers(1, 14)))
        start = time.process_time()
        done = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)
        spent += time.process_time() - start
        for a in range(100):
            width = slack(base, dials, ask[a], excluded[a], cap[a])
            between += borderline(width)
            count[Outcome(done.outcome[a])] += 1
            landed = done.outcome[a] == Outcome.LANDED
            assert borderline(width) or landed == is_possible(width), (names, a, width)

    print(f"{count}, {between} borderline, {spent / 40_000 * 1e6:.0f} us of CPU an account")
    assert count[Outcome.UNSETTLED] == 0


@pytest.mark.soak
def test_the_time_of_a_thousand_accounts_on_five_hundred_names():
    rng = np.random.default_rng(11)
    base, dials = market(rng, 500)
    for asks in (1, 3, 5, 10):
        ask, excluded, cap = wishes(rng, 1000, 500, asks)
        start = time.process_time()
        done = tilt(base, dials, ask, excluded=excluded, upper_ppm=cap)
        spent = time.process_time() - start
        print(f"up to {asks} asks: {spent:.3f} s, {(done.outcome == 0).sum()} landed")
        assert spent < 10
