"""The ladder for every balance and every life: whole steps, exact points, no cliff, no fall."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.portfolio.ladder import (
    BALANCE_MAX,
    FADED_AT,
    NO_LIMIT,
    Carried,
    book,
    book_of,
    ladder_of,
    limited,
    review,
    theme_ppm,
)

STANDARD = book().ladders["standard"]
DENSE = book().ladders["dense"]
LADDERS = [STANDARD, DENSE, STANDARD.with_all_at(50_000_000_00)]
POINTS = [(25_000, 10), (500_000, 30), (1_000_000, 40), (2_000_000, 80), (20_000_000, 500)]
CENTS = st.integers(0, 3_000_000_000_00)


@pytest.mark.parametrize(("dollars", "names"), POINTS)
def test_the_ladder_is_exact_at_its_points_and_a_cent_below(dollars, names):
    at = dollars * 100

    assert STANDARD.count(at) == names
    assert STANDARD.count(at - 1) == max(names - 1, 10)


@pytest.mark.parametrize("ladder", LADDERS, ids=["standard", "dense", "all at 50 million"])
def test_every_cent_of_balance_adds_at_most_one_name(ladder):
    reach = ladder.reach_cents
    around = np.unique(np.concatenate([reach - 1, reach, reach + 1, [0, BALANCE_MAX]]))

    counts = ladder.count(around)

    assert (np.diff(counts) >= 0).all()
    assert np.diff(reach).min() > 1
    assert (ladder.count(reach) - ladder.count(reach - 1) == 1).all()
    assert (counts[0], counts[-1]) == (10, 500)


def test_the_steps_are_linear_in_the_logarithm_of_the_balance():
    for (low, fewer), (high, more) in itertools.pairwise(POINTS):
        for names in range(fewer + 1, more):
            part = (names - fewer) / (more - fewer)
            exact = 100 * low * (high / low) ** part
            reached = int(STANDARD.reach_cents[names - 11])
            assert exact - 1 <= reached <= exact + 1.001


def test_the_last_balance_can_be_configured_and_nothing_below_the_step_before_changes():
    later = STANDARD.with_all_at(100_000_000_00)

    assert later.count(100_000_000_00) == 500
    assert later.count(20_000_000_00) < 500
    assert (later.reach_cents[:70] == STANDARD.reach_cents[:70]).all()


@given(st.lists(st.integers(1, 3_000_000_000), min_size=2, max_size=60))
def test_a_market_that_only_moves_never_takes_a_name_away(dollars):
    state = _start()
    counts = []

    for balance in dollars:
        state = _step(state, balance)
        counts.append(int(state.count[0]))

    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(counts))
    assert counts[-1] <= STANDARD.count(max(dollars))


@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(1, 600)),
        min_size=1,
        max_size=40,
    )
)
def test_only_a_withdrawal_or_the_customers_limit_lowers_the_count(life):
    state, limit_before = _start(), NO_LIMIT

    for balance, withdrawn, limit in life:
        after = _step(state, balance, withdrawn, limit)
        if withdrawn == 0 and limit >= limit_before:
            assert after.count[0] >= min(state.count[0], limit)
        assert after.count[0] <= state.count[0] + 1
        assert after.balance_cents[0] >= balance
        state, limit_before = after, limit


@given(CENTS.filter(bool), st.integers(1, 99))
def test_a_withdrawal_lowers_what_the_count_rests_on_by_its_part(balance, percent):
    state = Carried(STANDARD.count([balance]), np.array([balance]))
    withdrawn = balance * percent // 100

    after = _step(state, (balance - withdrawn) // 2, withdrawn)

    exact = balance * (1 - withdrawn / max((balance - withdrawn) // 2 + withdrawn, 1))
    assert exact - 2.001 <= after.balance_cents[0] <= max(exact, (balance - withdrawn) // 2) + 1
    assert after.uncounted_cents[0] == 0


def test_a_new_account_starts_where_its_balance_is_and_others_climb_by_one():
    state = Carried(np.array([10, 10]), np.array([0, 0]))

    after = review(
        STANDARD,
        state,
        np.array([100_000_000, 100_000_000]),
        np.array([0, 0]),
        np.array([NO_LIMIT, NO_LIMIT]),
        np.array([True, False]),
    )

    assert after.count.tolist() == [40, 11]


@given(st.integers(1, 600), st.integers(0, 1_000_000))
def test_a_theme_fades_with_every_name_or_stays_at_its_share(count, share):
    fades, stays = int(theme_ppm(count, 0)), int(theme_ppm(count, share))

    assert stays == max(fades, share)
    assert theme_ppm(count + 1, share) <= stays
    assert (fades == 1_000_000) == (count <= 10)
    assert (fades == 0) == (count >= FADED_AT)


def test_segments_begin_where_they_should_and_never_lose_what_smaller_ones_use():
    starts = {one.id: one.from_cents // 100 for one in book().segments}

    assert starts == {
        "emerging": 0,
        "mass_affluent": 250_000,
        "high": 1_000_000,
        "ultra_high": 5_000_000,
    }
    assert book().segment(249_999_99).id == "emerging"
    assert book().segment(250_000_00).id == "mass_affluent"
    assert "exclusions" in book().segments[0].may_use


def test_a_smaller_index_ends_the_ladder_early_and_changes_nothing_below():
    short = limited(STANDARD, 60)

    assert short.count(20_000_000_00) == 60
    assert short.count(1_000_000_00) == 40
    assert limited(STANDARD, 500) is STANDARD


@pytest.mark.parametrize(
    "steps",
    [
        [(100, 1)],
        [(100, 2), (100, 3)],
        [(100, 3), (200, 3)],
        [(0, 1), (5, 2)],
        [(100, 1), (102, 9)],
    ],
    ids=["one point", "same balance", "same count", "from nothing", "closer than a cent"],
)
def test_a_staircase_that_does_not_rise_is_refused(steps):
    with pytest.raises(ValueError, match="steps"):
        ladder_of("x", "", steps)


def test_a_point_with_positions_below_the_least_is_refused():
    with pytest.raises(ValueError, match="smaller than the least"):
        ladder_of("x", "", [(1_000_00, 10), (2_000_00, 30)], 100_00)


@pytest.mark.parametrize(
    "text", ["not = [toml", "version = 1", "version = 1\nladder = {}\nsegment = []"]
)
def test_a_broken_table_is_refused(text):
    with pytest.raises(ValueError, match=r"ladder|segment"):
        book_of(text)


@pytest.mark.parametrize("balance", [-1, BALANCE_MAX + 1])
def test_a_balance_out_of_bounds_is_refused(balance):
    with pytest.raises(ValueError, match="balance_cents"):
        STANDARD.count(balance)


def test_the_dense_ladder_keeps_the_average_position_at_a_hundred_dollars_or_more():
    names = np.arange(11, 501)

    assert (DENSE.reach_cents >= 100_00 * names).all()
    assert DENSE.count([cents for cents, _ in DENSE.steps]).tolist() == [10, 30, 80, 250, 500]
    assert math.isclose(DENSE.steps[-1][0] / 500, 200_00)


def test_a_firm_moves_the_balance_of_the_whole_index_and_nothing_else():
    moved = book(50_000_000_00)

    assert moved.ladders["standard"].count(49_999_999_99) == 499
    assert moved.ladders["standard"].count(50_000_000_00) == 500
    assert moved.ladders["dense"] is DENSE
    assert moved.segments == book().segments
    with pytest.raises(ValueError, match="steps"):
        book(2_000_000_00)


def _start():
    return Carried(np.array([10]), np.array([0]))


def _step(state, balance, withdrawn=0, limit=NO_LIMIT, stairs=STANDARD):
    ones = (np.array([balance]), np.array([withdrawn]), np.array([limit]), np.array([False]))
    return review(stairs, state, *ones)


def test_a_feature_begins_where_the_first_segment_has_it():
    assert book().begins_cents("tilts") == 250_000_00
    assert book().begins_cents("gain_budget") == 0
    assert book().begins_cents("time travel") is None


OWN = book_of(
    """
version = 2

[ladder.plain]
sentence = "Few names."
position_min = 0
steps = [[25_000, 10], [1_000_000, 20], [10_000_000, 60]]

[ladder.wide]
sentence = "Many names."
position_min = 0
steps = [[100_000, 10], [1_000_000, 100], [5_000_000, 200]]

[ladder.narrow]
sentence = "Fewer again."
position_min = 0
steps = [[25_000, 10], [5_000_000, 100], [20_000_000, 250]]

[[segment]]
id = "small"
from = 0
ladder = "plain"
may_use = []

[[segment]]
id = "large"
from = 1_000_000
ladder = "wide"
may_use = ["tilts"]

[[segment]]
id = "largest"
from = 5_000_000
ladder = "narrow"
may_use = ["tilts"]
"""
)
"""A firm's own: at $1 million its ladder leaps from 20 to 100 names, at $5 million it falls."""


def test_the_segment_decides_the_ladder_of_who_chose_none():
    small, large = OWN.ladders["plain"], OWN.ladders["wide"]

    assert OWN.default.count([999_999_99, 1_000_000_00]).tolist() == [19, 100]
    assert OWN.default.count(50_000_00) == small.count(50_000_00)
    assert OWN.default.count(3_000_000_00) == large.count(3_000_000_00)
    assert OWN.ladders["narrow"].count(5_000_000_00) < 200
    assert OWN.default.count([5_000_000_00, 20_000_000_00]).tolist() == [199, 250]
    assert (np.diff(OWN.default.reach_cents) >= 0).all()
    assert OWN.stairs("standard") is OWN.stairs("gone") is OWN.default
    assert book().stairs("standard") is STANDARD
    assert book().stairs("dense") is DENSE


@given(
    st.integers(10_000_00, 8_000_000_00),
    st.lists(st.tuples(st.integers(-60, 200), st.integers(0, 30)), min_size=1, max_size=40),
)
def test_a_change_of_segment_takes_no_name_and_a_withdrawal_at_most_its_part(start, life):
    balance, state = start, Carried(OWN.default.count([start]), np.array([start]))

    for percent, out in life:
        withdrawn = balance * out // 100
        balance = min(max(1, (balance - withdrawn) * (100 + percent) // 100), 10_000_000_00)
        after = _step(state, balance, withdrawn, stairs=OWN.default)
        fell = int(state.count[0] - after.count[0])
        assert fell >= -1
        if not withdrawn:
            assert fell <= 0
        rests = state.balance_cents
        left = rests - rests * withdrawn // max(1, balance + withdrawn)
        segment = OWN.ladders[OWN.segment(int(rests[0])).ladder]
        by_ladder = int(segment.count(rests)[0] - segment.count(left)[0])
        by_part = int(state.count[0]) * withdrawn / (balance + withdrawn)
        assert fell <= max(by_ladder, by_part) + 2
        state = after


def test_a_dollar_a_week_strips_no_names_from_an_account_above_its_ladder():
    balance, state = 500_000_00, Carried(np.array([80]), np.array([500_000_00]))

    for _ in range(52):
        withdrawn = 1_00 + int(state.uncounted_cents.sum())
        balance -= 1_00
        state = _step(state, balance, withdrawn)

    assert (state.count[0], state.balance_cents[0]) == (80, 500_000_00)
    assert state.uncounted_cents[0] == 52_00


@given(
    st.sampled_from([STANDARD, DENSE]),
    st.integers(10_000_00, 30_000_000_00),
    st.integers(0, 150),
    st.integers(0, 40),
    st.lists(st.integers(1, 1_000), min_size=1, max_size=60),
    st.integers(1, 95),
)
def test_many_small_withdrawals_take_the_names_of_one_large_one(
    stairs, start, above, fallen, parts, percent
):
    count = stairs.count([start]) + above
    balance = start * (100 - fallen) // 100
    total = balance * percent // 100
    whole = _step(Carried(count, np.array([start])), balance - total, total, stairs=stairs)

    state, paid = Carried(count, np.array([start])), 0
    for n in range(1, len(parts) + 1):
        goes = total * sum(parts[:n]) // sum(parts) - paid
        paid += goes
        waits = int(state.uncounted_cents.sum())
        state = _step(state, balance - paid, goes + waits, stairs=stairs)

    assert abs(int(state.count[0] - whole.count[0])) <= 1


@given(st.integers(31, 300), st.integers(1, 95))
def test_a_withdrawal_from_far_above_the_ladder_takes_its_part_of_the_names(names, percent):
    state = Carried(np.array([names]), np.array([500_000_00]))

    after = _step(state, 5_000_00 * (100 - percent), 5_000_00 * percent)

    least = int(STANDARD.count(5_000_00 * (100 - percent)))
    by_part = names * (100 - percent) / 100
    assert max(least, by_part) <= after.count[0] <= max(least, by_part + 1)


def test_who_chose_another_ladder_has_its_count_and_nobody_else_loses_names_to_a_table():
    state = Carried(np.array([300, 300]), np.array([100_000_00, 100_000_00]))
    ones = (np.array([100_000_00] * 2), np.array([0, 0]), np.array([NO_LIMIT] * 2))

    after = review(STANDARD, state, *ones, np.array([False] * 2), np.array([True, False]))

    assert after.count.tolist() == [int(STANDARD.count(100_000_00)), 300]


def test_a_table_that_promises_a_ladder_it_lacks_is_refused():
    text = """
version = 1
ladder.plain = {sentence = "", position_min = 0, steps = [[1, 10], [2, 11]]}
segment = [{id = "all", from = 0, ladder = "plain", may_use = ["dense"]}]
"""
    with pytest.raises(ValueError, match="dense"):
        book_of(text)
    assert book_of(text.replace('"dense"', "")).default.count(3_00) == 11
