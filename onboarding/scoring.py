"""Turns answers into a risk score from 0 to 100 whose every point is explained.

Willingness W is what the customer wants to bear, capacity C what the situation can bear; both are
sums of points from 0 to 100. The score is min(W, C, every ceiling): capacity caps willingness, and
a short horizon, thin cash or costly debt caps both. Since each point table and each ceiling moves
one way only (checked when the table is loaded), so does the score. All numbers are integers and
lie, with their sentences, in `data/scoring.toml`.
"""

import hashlib
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from onboarding.questionnaire import Answers, load_questionnaire

SCORE_MAX = 100

_RATIO_MAX_PPM = 1_000_000_000
"""A thousand years of income: stands for debt without any income."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one fact adds to the score, or takes from it, and why."""

    key: str
    points: int
    sentence: str


@dataclass(frozen=True, slots=True)
class RiskScore:
    """How much risk suits a customer; `points` sum exactly to `score`.

    The willingness points come first, then what capacity and ceilings take away. `capacity_points`
    sum exactly to `capacity` and explain the cap.
    """

    score: int
    band: str
    band_sentence: str
    points: tuple[Point, ...]
    willingness: int
    capacity: int
    capacity_points: tuple[Point, ...]
    table_hash: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """Points by the steps of a number: step i holds from `floors[i]` up to the next floor."""

    measure: str
    floors: tuple[int, ...]
    steps: tuple[Point, ...]
    rises: bool

    def at(self, measures: Mapping[str, int | str]) -> Point:
        """The points of the step that the number stands on."""
        place = bisect_right(self.floors, measures[self.measure])
        return self.steps[max(place - 1, 0)]


@dataclass(frozen=True, slots=True)
class Choices:
    """Points by the answer of a choice."""

    measure: str
    steps: Mapping[str, Point]

    def at(self, measures: Mapping[str, int | str]) -> Point:
        """The points of the answer given."""
        return self.steps[str(measures[self.measure])]


@dataclass(frozen=True, slots=True)
class Band:
    """A range of scores with a name; it ends where the next begins."""

    key: str
    floor: int
    sentence: str


@dataclass(frozen=True, slots=True)
class ScoringTable:
    """All factors, ceilings and bands."""

    version: str
    table_hash: str
    willingness: tuple[Ladder | Choices, ...]
    capacity: tuple[Ladder | Choices, ...]
    ceilings: tuple[Ladder | Choices, ...]
    bands: tuple[Band, ...]


def score_answers(answers: Answers, age_years: int) -> RiskScore:
    """The risk score of one customer, with every point explained.

    Args:
        answers: Complete, checked answers.
        age_years: From the birth date, which is kept apart from the answers.
    """
    table = load_scoring_table()
    measures = measures_of(answers, age_years)
    wanted = tuple(factor.at(measures) for factor in table.willingness)
    carried = tuple(factor.at(measures) for factor in table.capacity)
    willingness = sum(point.points for point in wanted)
    capacity = sum(point.points for point in carried)
    cuts = _cuts(willingness, capacity, [c.at(measures) for c in table.ceilings])
    score = willingness + sum(cut.points for cut in cuts)
    band = band_of(score, table.bands)
    return RiskScore(
        score=score,
        band=band.key,
        band_sentence=band.sentence,
        points=wanted + cuts,
        willingness=willingness,
        capacity=capacity,
        capacity_points=carried,
        table_hash=table.table_hash,
    )


def measures_of(answers: Answers, age_years: int) -> dict[str, int | str]:
    """Everything the table may look at: answers by id, the age, and two ratios in ppm."""
    high = answers.number("high_interest_debt_cents")
    income = answers.number("income_cents")
    measures: dict[str, int | str] = {key: answers.number(key) for key in _NUMBERS}
    for key in _CHOICES:
        measures[key] = answers.choice(key)
    measures["loses_sleep"] = "yes" if answers.yes("loses_sleep") else "no"
    measures["age_years"] = age_years
    measures["high_interest_debt_to_income_ppm"] = _ratio_ppm(high, income)
    measures["debt_to_income_ppm"] = _ratio_ppm(high + answers.number("other_debt_cents"), income)
    return measures


def band_of(score: int, bands: Sequence[Band]) -> Band:
    """The band that a score lies in; bands are in rising order and start at zero."""
    return [band for band in bands if band.floor <= score][-1]


_NUMBERS = (
    "acceptable_loss_percent",
    "horizon_years",
    "emergency_fund_months",
    "income_cents",
    "net_worth_cents",
    "liquid_assets_cents",
    "dependants",
    "experience_years",
)
_CHOICES = (
    "drop_reaction",
    "gamble",
    "self_described_risk",
    "employment_stability",
    "early_withdrawal",
    "goal",
)


def _ratio_ppm(debt_cents: int, income_cents: int) -> int:
    """Debt as a share of yearly income, rounded down, but never to nothing: any debt counts."""
    if debt_cents == 0:
        return 0
    if income_cents == 0:
        return _RATIO_MAX_PPM
    return min(max(debt_cents * 1_000_000 // income_cents, 1), _RATIO_MAX_PPM)


def _cuts(willingness: int, capacity: int, ceilings: Sequence[Point]) -> tuple[Point, ...]:
    """What capacity and each ceiling in turn take away; only those that take something."""
    cuts: list[Point] = []
    left = willingness
    if capacity < left:
        sentence = f"Your situation can bear {capacity} of 100, less than you are willing to."
        cuts.append(Point("capacity_cap", capacity - left, sentence))
        left = capacity
    for ceiling in ceilings:
        if ceiling.points < left:
            cuts.append(Point(ceiling.key, ceiling.points - left, ceiling.sentence))
            left = ceiling.points
    return tuple(cuts)


@cache
def load_scoring_table() -> ScoringTable:
    """The table of `data/scoring.toml`, checked against itself and the questionnaire; read once."""
    blob = files("onboarding").joinpath("data/scoring.toml").read_bytes()
    return read_scoring_table(blob)


def read_scoring_table(blob: bytes) -> ScoringTable:
    """The scoring table in these bytes.

    Raises:
        ValueError: If a ladder does not move one way, a side's best does not sum to 100, a choice
            forgets an answer, or the bands do not start at zero in rising order.
    """
    raw = tomllib.loads(blob.decode())
    sides: dict[str, list[Ladder | Choices]] = {"willingness": [], "capacity": []}
    for entry in raw["factor"]:
        sides[entry["side"]].append(_rule(entry, "points"))
    for side, factors in sides.items():
        best = sum(max(step.points for step in _steps(factor)) for factor in factors)
        _demand(best == SCORE_MAX, f"the best of all {side} factors is {best}, not {SCORE_MAX}")
    bands = tuple(Band(b["key"], b["from"], b["sentence"]) for b in raw["band"])
    floors = [band.floor for band in bands]
    _demand(floors[0] == 0 and floors == sorted(set(floors)), "bands must rise from zero")
    return ScoringTable(
        version=raw["version"],
        table_hash=hashlib.sha256(blob).hexdigest(),
        willingness=tuple(sides["willingness"]),
        capacity=tuple(sides["capacity"]),
        ceilings=tuple(_rule(entry, "most") for entry in raw["ceiling"]),
        bands=bands,
    )


def _rule(entry: dict[str, Any], amount: str) -> Ladder | Choices:
    """One factor or ceiling; `amount` names the field that holds its points."""
    steps = [(s, Point(entry["key"], s[amount], s["sentence"])) for s in entry["step"]]
    _demand(all(0 <= point.points <= SCORE_MAX for _, point in steps), f"{entry['key']}: bounds")
    if "rises" not in entry:
        return _choices(entry, {key: point for step, point in steps for key in step["is"]})
    floors = tuple(step["from"] for step, _ in steps)
    _demand(list(floors) == sorted(set(floors)), f"{entry['key']}: steps are not in order")
    amounts = [point.points for _, point in steps]
    _demand(amounts == sorted(amounts, reverse=not entry["rises"]), f"{entry['key']}: not one way")
    known = {*_NUMBERS, "age_years", "high_interest_debt_to_income_ppm", "debt_to_income_ppm"}
    _demand(
        entry["measure"] in known, f"{entry['key']}: {entry['measure']} is not a number we have"
    )
    return Ladder(entry["measure"], floors, tuple(point for _, point in steps), entry["rises"])


def _choices(entry: dict[str, Any], steps: dict[str, Point]) -> Choices:
    """A factor over a choice; every answer of the question must have its points."""
    question = load_questionnaire().question(entry["measure"])
    keys = {"yes", "no"} if question.kind == "bool" else set(question.keys)
    _demand(keys == set(steps), f"{entry['key']}: answers without points, or points without answer")
    return Choices(entry["measure"], steps)


def _steps(rule: Ladder | Choices) -> Sequence[Point]:
    """All steps of a factor."""
    return rule.steps if isinstance(rule, Ladder) else tuple(rule.steps.values())


def _demand(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as a sentence where it is used
    """Refuse a table that breaks one of its own rules."""
    if not holds:
        message = f"scoring.toml: {otherwise}"
        raise ValueError(message)
