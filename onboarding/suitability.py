"""Decides whether a customer may invest now: proceed, clarify first, or not yet.

A contradiction is settled by changing an answer or, where the rule allows it, by confirming its
code. A hard stop is settled by changing the situation, and the answer with it; nothing else.
"""

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from onboarding.contradictions import (
    CONDITIONS,
    LONG_HORIZON_YEARS,
    MUCH_WITHDRAWN,
    Case,
    Condition,
)
from onboarding.errors import UnknownRuleError
from onboarding.questionnaire import Answers, load_questionnaire
from onboarding.scoring import RiskScore, measures_of

EMERGENCY_FUND_MONTHS_MIN = 1
"""A customer who cannot pay one month of bills from savings sells at the first surprise."""
HORIZON_YEARS_MIN = 3
"""Shares have often needed longer than this to recover; money due sooner belongs in savings."""
HIGH_INTEREST_DEBT_PPM_MAX = 20_000
"""About one week of pay at more than 10 % interest is where paying it off comes first."""
SHARES_SCORE_MIN = 20
"""Everything we offer is shares: the band below this is told so and offered nothing."""


class Decision(StrEnum):
    """What the answers allow."""

    PROCEED = "proceed"
    CLARIFY = "clarify"
    NOT_YET = "not_yet"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Answers that do not fit together, as a question back to the customer."""

    code: str
    question: str
    fields: tuple[str, ...]
    confirmable: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """A reason not to invest now, and what to do first."""

    code: str
    sentence: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The words of every rule, in the order they are shown."""

    version: str
    contradictions: tuple[Contradiction, ...]
    stops: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The decision and everything behind it; stops and open contradictions are listed together."""

    decision: Decision
    contradictions: tuple[Contradiction, ...]
    """Still open: to be answered differently or, where `confirmable`, confirmed by code."""
    confirmed: tuple[str, ...]
    """Codes of contradictions that hold and that the customer confirmed."""
    stops: tuple[Stop, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Codes of everything that stands in the way."""
        return tuple(s.code for s in self.stops) + tuple(c.code for c in self.contradictions)


def assess(
    answers: Answers,
    score: RiskScore,
    age_years: int,
    on: date,
    confirmations: Collection[str] = (),
) -> Assessment:
    """The suitability decision for one complete set of answers.

    Args:
        answers: Complete, checked answers.
        score: The score of these answers.
        age_years: Of the customer on that day.
        on: Today's business date, against which target dates are read.
        confirmations: Codes of contradictions that the customer confirms for exactly these
            answers; keep none from earlier answers.

    Raises:
        UnknownRuleError: If a confirmation names no rule of ours.
    """
    rules = load_rules()
    _refuse_unknown(confirmations, rules.contradictions)
    case = Case(answers, age_years, on)
    found = [rule for rule in rules.contradictions if CONDITIONS[rule.code](case)]
    settled = {rule.code for rule in found if rule.confirmable and rule.code in confirmations}
    still_open = tuple(rule for rule in found if rule.code not in settled)
    stops = tuple(rule for rule in rules.stops if _stop_holds(rule.code, case, score))
    return Assessment(
        decision=_decide(stops, still_open),
        contradictions=still_open,
        confirmed=tuple(rule.code for rule in found if rule.code in settled),
        stops=stops,
    )


def _decide(stops: Collection[Stop], still_open: Collection[Contradiction]) -> Decision:
    """A stop weighs more than a question: nobody should confirm ten answers to hear "not yet"."""
    if stops:
        return Decision.NOT_YET
    return Decision.CLARIFY if still_open else Decision.PROCEED


def _stop_holds(code: str, case: Case, score: RiskScore) -> bool:
    """Whether a hard stop applies: one looks at the score, the others at the answers."""
    if code == "risk_too_low":
        # Ceilings are left out: each that can push below the minimum has a stop or a question of
        # its own, and naming the cause helps more than naming the sum.
        return min(score.willingness, score.capacity) < SHARES_SCORE_MIN
    return STOP_CONDITIONS[code](case)


def _too_much_high_interest_debt(case: Case) -> bool:
    """Whether debt at high interest is more than a small share of a year's income."""
    ratio = measures_of(case.answers, case.age_years)["high_interest_debt_to_income_ppm"]
    return int(ratio) >= HIGH_INTEREST_DEBT_PPM_MAX


STOP_CONDITIONS: dict[str, Condition] = {
    "no_emergency_fund": lambda c: c.number("emergency_fund_months") < EMERGENCY_FUND_MONTHS_MIN,
    "high_interest_debt": _too_much_high_interest_debt,
    "behind_on_payments": lambda c: c.choice("card_habit") == "behind",
    "horizon_too_short": lambda c: c.number("horizon_years") < HORIZON_YEARS_MIN,
    # From five years on the same answer contradicts the horizon, and one of the two must change.
    "money_needed_soon": lambda c: (
        c.choice("early_withdrawal") in MUCH_WITHDRAWN
        and c.number("horizon_years") < LONG_HORIZON_YEARS
    ),
    "goal_is_reserve": lambda c: (
        c.choice("goal") == "emergency_reserve" and c.number("horizon_years") < LONG_HORIZON_YEARS
    ),
    "borrowed_money": lambda c: c.choice("funding_source") == "borrowed",
    "no_loss_acceptable": lambda c: c.number("acceptable_loss_percent") == 0,
}


def _refuse_unknown(confirmations: Iterable[str], rules: Iterable[Contradiction]) -> None:
    """Refuse a confirmation of something we did not ask; its text is not repeated."""
    known = {rule.code for rule in rules}
    strangers = [code for code in confirmations if code not in known]
    if strangers:
        detail = "A confirmation names a rule that we do not have."
        raise UnknownRuleError(detail, fields={"confirmations": [detail]})


@cache
def load_rules() -> Rules:
    """The words of `data/suitability.toml`, checked against the conditions; read once."""
    blob = files("onboarding").joinpath("data/suitability.toml").read_bytes()
    raw = tomllib.loads(blob.decode())
    contradictions = tuple(_contradiction(entry) for entry in raw["contradiction"])
    stops = tuple(Stop(e["code"], e["sentence"], tuple(e["fields"])) for e in raw["stop"])
    assert {rule.code for rule in contradictions} == set(CONDITIONS)
    assert {rule.code for rule in stops} == {*STOP_CONDITIONS, "risk_too_low"}
    asked = {question.id for question in load_questionnaire().questions}
    assert all(set(rule.fields) <= asked for rule in contradictions)
    assert all(set(stop.fields) <= asked for stop in stops)
    return Rules(raw["version"], contradictions, stops)


def _contradiction(entry: dict[str, Any]) -> Contradiction:
    """One contradiction of the file."""
    return Contradiction(
        entry["code"], entry["question"], tuple(entry["fields"]), entry["confirmable"]
    )
