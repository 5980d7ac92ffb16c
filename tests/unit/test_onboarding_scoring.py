"""The score: every point explained, the sum exact, the table one-way."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from onboarding.questionnaire import parse_answers
from onboarding.scoring import RiskScore, load_scoring_table, read_scoring_table, score_answers

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs/examples/answers.json").read_text())
TABLE = files("onboarding").joinpath("data/scoring.toml").read_text(encoding="utf-8")


def score(age: int = 24, **changes: Any) -> RiskScore:
    return score_answers(parse_answers({**EXAMPLE, **changes}), age)


def test_the_example_adds_up_by_hand():
    result = score()

    # hold 22 + loss of 25 % 19 + bold 14 + medium 8 + sleeps 5 = 68
    assert result.willingness == 68
    # 20 years 30 + 4 months 10 + no costly debt 10 + debt below half an income 6 + $48,000 3
    # + net worth $15,000 3 + $12,000 at hand 2 + steady 6 + no dependants 4 + 1 year 1
    # + age 24 4 = 79
    assert result.capacity == 79
    assert result.score == 68
    assert result.band == "growth"


def test_capacity_caps_willingness_and_says_so():
    result = score(
        drop_reaction="buy_more",
        acceptable_loss_percent=60,
        gamble="very_bold",
        self_described_risk="very_high",
    )

    assert result.willingness == 100
    assert result.score == result.capacity == 79
    assert result.points[-1].key == "capacity_cap"
    assert result.points[-1].points == -21


def test_ceilings_take_away_in_turn_and_the_points_still_sum():
    result = score(horizon_years=6, emergency_fund_months=1, early_withdrawal="some")

    # willingness 68; capacity 79 - 15 (horizon) - 6 (reserve) = 58; the horizon's ceiling is 59
    assert result.capacity == 58
    assert result.score == 58 == sum(point.points for point in result.points)
    assert [point.key for point in result.points[5:]] == ["capacity_cap"]


def test_a_short_horizon_is_a_ceiling_of_its_own():
    result = score(horizon_years=1)

    assert result.score == 10
    assert [point.key for point in result.points[-2:]] == ["capacity_cap", "ceiling_horizon"]
    assert result.band == "very_cautious"


@pytest.mark.parametrize(
    ("wanted", "band"),
    [(0, "very_cautious"), (19, "very_cautious"), (20, "cautious"), (39, "cautious"),
     (40, "balanced"), (59, "balanced"), (60, "growth"), (79, "growth"), (80, "adventurous"),
     (100, "adventurous")],
)  # fmt: skip
def test_bands_begin_where_the_table_says(wanted, band):
    from onboarding.scoring import band_of

    assert band_of(wanted, load_scoring_table().bands).key == band


def test_every_step_has_a_sentence():
    table = load_scoring_table()

    for rule in (*table.willingness, *table.capacity, *table.ceilings):
        steps = rule.steps.values() if isinstance(rule.steps, dict) else rule.steps
        assert all(len(step.sentence) > 15 and step.sentence.endswith(".") for step in steps)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("from = 3, points = 9", "from = 3, points = 3", "not one way"),
        ("from = 20, points = 30", "from = 20, points = 29", "not 100"),
        ('is = ["secure"], points = 7', 'is = ["safe"], points = 7', "without"),
        ("from = 10, points = 12", "from = 60, points = 12", "not in order"),
        ('key = "cautious"\nfrom = 20', 'key = "cautious"\nfrom = 0', "rise from zero"),
        ('measure = "dependants"', 'measure = "cousins"', "not a number we have"),
        ('most = 10, sentence = "You may', 'most = 110, sentence = "You may', "bounds"),
    ],
)  # fmt: skip
def test_a_table_that_breaks_its_own_rules_is_refused(before, after, complaint):
    assert TABLE.count(before) >= 1

    with pytest.raises(ValueError, match=complaint):
        read_scoring_table(TABLE.replace(before, after, 1).encode())
