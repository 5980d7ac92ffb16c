"""The page about onboarding says what the data says."""

from pathlib import Path

import pytest

from onboarding.identity_check import IdentityReason
from onboarding.progress import Step
from onboarding.scoring import Ladder, load_scoring_table
from onboarding.suitability import load_rules

PAGE = (Path(__file__).parents[2] / "docs/onboarding.md").read_text(encoding="utf-8")
TABLE = load_scoring_table()


@pytest.mark.parametrize("rule", [*TABLE.willingness, *TABLE.capacity, *TABLE.ceilings])
def test_every_step_of_the_score_is_on_the_page(rule):
    if isinstance(rule, Ladder):
        key = rule.steps[0].key
        pairs = zip(rule.floors, rule.steps, strict=True)
        steps = " · ".join(f"≥ {floor:,}: {step.points}" for floor, step in pairs)
    else:
        key = next(iter(rule.steps.values())).key
        steps = " · ".join(f"`{answer}`: {step.points}" for answer, step in rule.steps.items())

    assert f"| `{key}` | `{rule.measure}` | {steps} |" in PAGE


def test_every_rule_band_reason_and_step_is_on_the_page():
    rules = load_rules()

    for contradiction in rules.contradictions:
        word = "yes" if contradiction.confirmable else "no"
        assert f"| `{contradiction.code}` | {word} | {contradiction.question} |" in PAGE
    for stop in rules.stops:
        assert f"| `{stop.code}` | {stop.sentence} |" in PAGE
    for band in TABLE.bands:
        assert f"| `{band.key}` | {band.floor} | {band.sentence} |" in PAGE
    for name in (*IdentityReason, *Step):
        assert f"| `{name.value}` |" in PAGE
