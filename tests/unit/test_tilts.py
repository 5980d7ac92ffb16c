"""Tilts by hand: what "+30 % technology" means, what refuses, and why."""

import re
from pathlib import Path

import numpy as np
import pytest

from robo.portfolio.dials import Dial, Dials, exposures_of, joined, sets_of
from robo.portfolio.projections import shown_ppm, without
from robo.portfolio.tilts import NOT_ASKED, Outcome, reach, refusal, tilt

BASE = np.array([0.30, 0.10, 0.20, 0.25, 0.15])
DIALS = Dials(
    ("technology", "energy", "abroad", "value"),
    np.array([Dial.SHARE, Dial.SHARE, Dial.SHARE, Dial.EXPOSURE]),
    np.array(
        [
            [1, 1, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 1, 0, 0, 1],
            [1.0, -1.0, 2.0, np.nan, 0.0],
        ]
    ),
)


def asks(**percent):
    return np.array(
        [percent[name] * 10_000 if name in percent else NOT_ASKED for name in DIALS.name]
    )


def test_thirty_per_cent_more_of_a_sector_of_forty_is_fifty_two_and_the_rest_shrinks_alike():
    done = tilt(BASE, DIALS, asks(technology=30))

    # 40 % x 1.3 = 52 %; the other 60 % share 48 %, so each is multiplied by 0.8.
    expected = np.array([0.39, 0.13, 0.16, 0.20, 0.12])
    assert done.weight[0] == pytest.approx(expected, abs=1e-7)
    assert done.reached[0, 0] == pytest.approx(0.30, abs=1e-6)
    assert done.reached[0, 1] == pytest.approx(-0.20, abs=1e-6)
    assert done.active_share[0] == pytest.approx(0.12, abs=1e-7)


def test_minus_one_hundred_per_cent_is_out_entirely_not_nearly():
    done = tilt(BASE, DIALS, asks(energy=-100))

    assert done.weight[0, 2] == 0.0
    assert done.weight[0, [0, 1, 3, 4]] == pytest.approx(BASE[[0, 1, 3, 4]] / 0.8, abs=1e-9)


def test_zero_per_cent_holds_a_set_where_it_is_while_another_moves():
    done = tilt(BASE, DIALS, asks(technology=50, energy=0))

    assert done.weight[0, 2] == pytest.approx(0.20, abs=1e-7)
    assert done.weight[0, :2].sum() == pytest.approx(0.60, abs=1e-7)


def test_sets_that_overlap_both_land():
    done = tilt(BASE, DIALS, asks(technology=20, abroad=40))

    assert done.weight[0, :2].sum() == pytest.approx(0.48, abs=1e-7)
    assert done.weight[0, [1, 4]].sum() == pytest.approx(0.35, abs=1e-7)


def test_an_exposure_moves_by_standard_deviations_of_the_index_and_unknown_counts_as_the_mean():
    known = BASE[[0, 1, 2, 4]]
    value = np.array([1.0, -1.0, 2.0, 0.0])
    mean = known @ value / known.sum()
    spread = np.sqrt(known @ (value - mean) ** 2)

    done = tilt(BASE, DIALS, asks(value=30))

    x = done.weight[0]
    moved = x[[0, 1, 2, 4]] @ (value - mean) / spread
    assert moved == pytest.approx(0.30, abs=1e-6)


def test_an_ask_is_measured_against_the_index_before_exclusions():
    done = tilt(BASE, DIALS, asks(technology=30), excluded=np.array([False, True] + [False] * 3))

    assert done.weight[0, 1] == 0.0
    assert done.weight[0, 0] == pytest.approx(0.52, abs=1e-7)


def test_a_cap_holds_and_the_others_of_the_set_take_over():
    done = tilt(BASE, DIALS, asks(technology=30), upper_ppm=320_000)

    assert done.weight[0, 0] == pytest.approx(0.32, abs=1e-9)
    assert done.weight[0, 1] == pytest.approx(0.20, abs=1e-7)


def test_more_than_everything_is_refused_and_says_how_far_it_goes():
    heavy = np.array([0.50, 0.20, 0.10, 0.10, 0.10])

    done = tilt(heavy, DIALS, asks(technology=60))
    _, most = reach(heavy, DIALS)

    assert done.outcome[0] == Outcome.CONFLICT
    assert np.isnan(done.weight[0]).all()
    assert refusal(done, DIALS, asks(technology=60)) == (
        "technology +60 % cannot be reached within the exclusions and caps"
    )
    assert most[0, 0] == pytest.approx(1.0 / 0.7 - 1.0)


def test_asks_that_exclude_each_other_are_named_and_the_innocent_is_not():
    wish = asks(technology=100, energy=25, value=10)

    done = tilt(BASE, DIALS, wish)

    # 40 % x 2 + 20 % x 1.25 = 105 %.
    assert done.conflict[0].tolist() == [True, True, False, False]
    assert refusal(done, DIALS, wish) == (
        "technology +100 % and energy +25 % cannot all be met; without any one of them"
        " the others can"
    )


def test_half_a_point_of_leeway_is_used_before_anything_is_refused():
    # 40 % x 2 + 20 % x 1.01 = 100.2 %: impossible exactly, possible within half a point each.
    done = tilt(BASE, DIALS, asks(technology=100, energy=1))

    assert done.outcome[0] == Outcome.LANDED
    assert np.abs(done.reached[0, :2] - [1.0, 0.01]).max() <= 0.005
    assert done.weight[0].sum() == pytest.approx(1.0, abs=1e-9)


def test_more_of_what_the_index_does_not_hold_is_refused_and_less_is_met():
    dials = Dials(("nobody",), np.array([Dial.SHARE]), np.zeros((1, 5)))

    more = tilt(BASE, dials, np.array([100_000]))
    less = tilt(BASE, dials, np.array([-1_000_000]))

    assert more.outcome[0] == Outcome.CONFLICT
    assert more.conflict[0, 0]
    assert less.weight[0] == pytest.approx(BASE)


def test_exclusions_that_leave_nobody_are_told_apart_from_asks_that_conflict():
    done = tilt(BASE, DIALS, asks(technology=10), excluded=np.ones(5, dtype=bool))

    assert done.outcome[0] == Outcome.NO_ROOM
    assert not done.conflict.any()
    assert "exclusions and caps alone" in refusal(done, DIALS, asks(technology=10))


def test_caps_that_hold_less_than_everything_leave_no_room():
    assert tilt(BASE, DIALS, asks(), upper_ppm=199_999).outcome[0] == Outcome.NO_ROOM
    assert tilt(BASE, DIALS, asks(), upper_ppm=200_000).weight[0] == pytest.approx(np.full(5, 0.2))


def test_accounts_may_have_an_index_each_and_any_number_of_them():
    other = np.array([0.10, 0.40, 0.10, 0.20, 0.20])
    bases = np.array([BASE, other] * 300)

    both = tilt(bases, DIALS, asks(technology=30, value=-20), upper_ppm=700_000)

    for place, base in enumerate((BASE, other)):
        alone = tilt(base, DIALS, asks(technology=30, value=-20), upper_ppm=700_000)
        assert (both.weight[place::2] == alone.weight[0]).all()
        assert both.weight[place, :2].sum() == pytest.approx(1.3 * base[:2].sum(), abs=1e-6)


def test_who_asks_nothing_gets_the_index():
    done = tilt(BASE, DIALS, asks())

    assert done.weight[0] == pytest.approx(BASE, abs=1e-12)
    assert refusal(done, DIALS, asks()) == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"base": BASE * 2}, "base"),
        ({"base": np.array([1.2, -0.2, 0, 0, 0])}, "base"),
        ({"base": np.array([np.nan, 1, 0, 0, 0])}, "base"),
        ({"ask_ppm": np.array([1_000_001] + [NOT_ASKED] * 3)}, "ask_ppm"),
        ({"ask_ppm": np.array([0.3] * 4)}, "ask_ppm"),
        ({"ask_ppm": np.array([0, 0])}, "ask_ppm"),
        ({"excluded": np.array([1, 0, 0, 0, 0])}, "excluded"),
        ({"excluded": np.zeros((2, 5), bool), "upper_ppm": np.ones((3, 5), int)}, "base"),
        ({"upper_ppm": np.array([-1] * 5)}, "upper_ppm"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(change, named):
    given = {"base": BASE, "ask_ppm": asks(), **change}

    with pytest.raises(ValueError, match=f"^{named} "):
        tilt(given.pop("base"), DIALS, given.pop("ask_ppm"), **given)


def test_dials_are_made_of_labels_and_numbers():
    dials = joined(
        sets_of("sector", ["technology", "energy", None, "energy"]),
        exposures_of(["value"], [[1.0, np.nan, 2.0, 3.0]]),
    )

    assert dials.name == ("sector energy", "sector technology", "value")
    assert dials.kind.tolist() == [Dial.SHARE, Dial.SHARE, Dial.EXPOSURE]
    assert dials.value[:2].tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("value", [np.full((1, 5), 2.0), np.full((1, 4, 1), 0.5)])
def test_dials_that_are_no_sets_are_refused(value):
    with pytest.raises(ValueError, match="value"):
        Dials(("x",), np.array([Dial.SHARE]), value)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e101, -1e200])
def test_numbers_whose_squares_would_overflow_are_refused(value):
    with pytest.raises(ValueError, match="value"):
        exposures_of(["x"], [[1.0, value, np.nan]])


def test_exclusions_spread_over_everybody_or_within_the_sector():
    out = np.array([False, True, False, False, False])

    everybody, has = without(BASE, out)
    inside, _ = without(BASE, out, sector=np.array([0, 0, 1, 1, 1]))

    assert has.all()
    assert everybody[0] == pytest.approx(np.array([0.30, 0, 0.20, 0.25, 0.15]) / 0.9)
    assert inside[0] == pytest.approx([0.40, 0, 0.20, 0.25, 0.15])


def test_a_sector_of_which_nobody_is_left_is_spread_and_nobody_at_all_is_said():
    out = np.array([[True, True, False, False, False], [True] * 5])

    weight, has = without(BASE, out, sector=np.array([0, 0, 1, 1, 1]))

    assert weight[0] == pytest.approx(np.array([0, 0, 0.20, 0.25, 0.15]) / 0.6)
    assert has.tolist() == [True, False]
    assert (weight[1] == 0).all()


def test_shown_parts_go_by_largest_remainder_and_ties_to_the_earlier():
    assert shown_ppm([1 / 3, 1 / 3, 1 / 3]).tolist() == [333_334, 333_333, 333_333]
    assert shown_ppm([[0.0000006, 0.0, 0.9999994]]).tolist() == [[1, 0, 999_999]]


def test_parts_of_something_else_than_a_whole_are_refused():
    with pytest.raises(ValueError, match="weight"):
        shown_ppm([0.5, 0.4])


def test_the_example_of_the_page_gives_what_the_page_says():
    page = (Path(__file__).parents[2] / "docs" / "tilts.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    names: dict[str, object] = {}

    exec(example[1], names)

    said = re.search(r"# (\[\[.*\]\])", example[1])
    assert said is not None
    numbers = [float(number) for number in re.findall(r"[\d.]+", said[1])]
    assert names["done"].weight.round(4).ravel().tolist() == numbers
