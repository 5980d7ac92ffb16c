"""Risk never rises with a shorter horizon, thinner cash or more debt; proved on random profiles."""

import random
from datetime import date
from typing import Any

import pytest

from onboarding.questionnaire import Answers, Question, load_questionnaire
from onboarding.scoring import load_scoring_table, score_answers
from onboarding.suitability import Decision, assess

PROFILES = 105_000
TODAY = date(2026, 6, 1)

# What makes a customer's situation worse: question -> +1 if more is worse, -1 if less is worse.
WORSE = {
    "horizon_years": -1,
    "emergency_fund_months": -1,
    "liquid_assets_cents": -1,
    "net_worth_cents": -1,
    "income_cents": -1,
    "experience_years": -1,
    "high_interest_debt_cents": +1,
    "other_debt_cents": +1,
    "dependants": +1,
    "acceptable_loss_percent": -1,
}
# Answers of a choice from best to worst.
WORSE_CHOICES = {
    "early_withdrawal": ["none", "some", "most", "all"],
    "drop_reaction": ["buy_more", "hold", "sell_some", "sell_all"],
    "gamble": ["very_bold", "bold", "modest", "certain"],
    "self_described_risk": ["very_high", "high", "medium", "low", "very_low"],
    "employment_stability": ["secure", "steady", "variable", "temporary", "not_working"],
}
# Realistic magnitudes: uniform draws over the bounds would almost never meet a step of the table.
MAGNITUDE = {"years": 40, "months": 14, "percent": 70, "people": 6}


def draw_number(question: Question, rng: random.Random) -> int:
    if question.unit != "cents":
        return rng.randint(0, MAGNITUDE[question.unit])
    if rng.random() < 0.2:
        return 0
    amount = int(10 ** rng.uniform(2, 9))
    return -amount if question.minimum < 0 and rng.random() < 0.3 else amount


def draw(question: Question, rng: random.Random) -> Any:
    match question.kind:
        case "choice":
            return rng.choice(question.keys)
        case "multi":
            return tuple(key for key in question.keys if rng.random() < 0.2)
        case "bool":
            return rng.random() < 0.5
        case "number":
            return draw_number(question, rng)
        case _:
            return () if question.kind == "text_list" else None


def profile(rng: random.Random) -> dict[str, Any]:
    values = {question.id: draw(question, rng) for question in load_questionnaire().questions}
    if rng.random() < 0.5:
        # Half of the profiles are comfortable, so that high scores and their steps are met too.
        values.update(
            horizon_years=rng.randint(8, 40),
            emergency_fund_months=rng.randint(3, 14),
            high_interest_debt_cents=0,
            early_withdrawal="none",
            goal="grow_wealth",
        )
    return values


def worsen(values: dict[str, Any], rng: random.Random) -> tuple[str, dict[str, Any]]:
    worse = dict(values)
    if rng.random() < 0.25:
        field = rng.choice(list(WORSE_CHOICES))
        order = WORSE_CHOICES[field]
        if values[field] in order:
            worse[field] = rng.choice(order[order.index(values[field]) :])
        return field, worse
    field, direction = rng.choice(list(WORSE.items()))
    question = load_questionnaire().question(field)
    size = 10 ** rng.randint(0, 8) if question.unit == "cents" else 10
    moved = values[field] + direction * rng.randint(1, size)
    worse[field] = min(max(moved, question.minimum), question.maximum)
    return field, worse


def test_risk_never_rises_when_the_situation_gets_worse_and_every_point_is_explained():
    rng = random.Random(20260601)
    bands = {band.key: place for place, band in enumerate(load_scoring_table().bands)}
    fell: dict[str, int] = {}
    seen: set[int] = set()

    for _ in range(PROFILES):
        values = profile(rng)
        field, worse = worsen(values, rng)
        age = rng.randint(18, 90)
        before = score_answers(Answers(values, ""), age)
        after = score_answers(Answers(worse, ""), age)

        assert after.score <= before.score, (field, values, worse)
        assert bands[after.band] <= bands[before.band]
        assert sum(point.points for point in before.points) == before.score
        assert sum(point.points for point in before.capacity_points) == before.capacity
        assert 0 <= before.score <= min(before.willingness, before.capacity) <= 100
        seen.add(before.score)
        fell[field] = fell.get(field, 0) + (after.score < before.score)

    # The property means something only if every worsening does lower some scores.
    assert all(fell[field] > 20 for field in (*WORSE, *WORSE_CHOICES)), fell
    assert len(seen) > 80


def test_several_worsenings_at_once_never_raise_the_risk_either():
    rng = random.Random(7)

    for _ in range(5_000):
        values = profile(rng)
        worse, age = values, rng.randint(18, 90)
        for _ in range(4):
            _, worse = worsen(worse, rng)

        before = score_answers(Answers(values, ""), age).score
        after = score_answers(Answers(worse, ""), age + rng.randint(0, 10)).score

        assert after <= before


def test_nobody_proceeds_with_a_score_below_shares():
    rng = random.Random(11)
    decisions = dict.fromkeys(Decision, 0)

    for _ in range(6_000):
        answers, age = Answers(profile(rng), ""), rng.randint(18, 90)
        score = score_answers(answers, age)
        assessment = assess(answers, score, age, TODAY)
        decisions[assessment.decision] += 1

        assert assessment.decision is not Decision.PROCEED or score.score >= 20
        if score.score < 20:
            assert assessment.reasons, "a low score must name its cause"

    assert decisions[Decision.NOT_YET] > 0
    assert decisions[Decision.CLARIFY] > 0


@pytest.mark.parametrize("field", ["horizon_years", "emergency_fund_months", "dependants"])
def test_the_whole_range_of_a_small_number_is_walked_one_by_one(field):
    rng = random.Random(3)
    question = load_questionnaire().question(field)

    for _ in range(20):
        values = profile(rng)
        walk = [
            score_answers(Answers({**values, field: number}, ""), 35).score
            for number in range(question.minimum, min(question.maximum, 60) + 1)
        ]

        assert walk == sorted(walk, reverse=field == "dependants")
