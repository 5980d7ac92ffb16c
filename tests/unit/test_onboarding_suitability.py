"""Suitability: each rule has a profile that trips only it; stops cannot be confirmed away."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from onboarding.contradictions import CONDITIONS
from onboarding.errors import UnknownRuleError
from onboarding.questionnaire import parse_answers
from onboarding.scoring import score_answers
from onboarding.suitability import Assessment, Decision, assess, load_rules

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs/examples/answers.json").read_text())
TODAY = date(2026, 6, 1)
AGE = 30


def judge(age: int = AGE, confirmations: tuple[str, ...] = (), **changes: Any) -> Assessment:
    answers = parse_answers({**EXAMPLE, **changes})
    return assess(answers, score_answers(answers, age), age, TODAY, confirmations)


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "retirement_before_50": {"goal": "retirement", "horizon_years": 15},
    "horizon_beyond_lifetime": {"age": 70, "horizon_years": 36},
    "target_date_past": {"target_date": "2026-06-01"},
    "target_date_differs_from_horizon": {"target_date": "2030-06-01"},
    "long_horizon_but_money_soon": {"early_withdrawal": "most"},
    "reserve_with_long_horizon": {"goal": "emergency_reserve"},
    "preserve_but_bold": {"goal": "preserve", "self_described_risk": "high"},
    "purchase_very_far": {"goal": "home", "horizon_years": 26},
    "education_for_nobody": {"goal": "education"},
    "short_horizon_but_very_bold": {"horizon_years": 4, "self_described_risk": "very_high"},
    "bold_words_but_sells": {"self_described_risk": "high", "drop_reaction": "sell_all"},
    "timid_words_but_buys": {"self_described_risk": "low", "drop_reaction": "buy_more"},
    "bold_words_but_no_loss": {"self_described_risk": "high", "acceptable_loss_percent": 4},
    "big_gamble_but_no_loss": {"gamble": "very_bold", "acceptable_loss_percent": 4},
    "sells_all_but_large_loss": {"drop_reaction": "sell_all", "acceptable_loss_percent": 30},
    "return_without_loss": {"expected_return_percent": 10, "acceptable_loss_percent": 9},
    "return_beyond_markets": {"expected_return_percent": 21},
    "sleepless_but_bold": {"loses_sleep": True, "self_described_risk": "high"},
    "sleepless_but_buys": {"loses_sleep": True, "drop_reaction": "buy_more"},
    "sold_before_but_buys": {"past_behaviour": "sold_all", "drop_reaction": "buy_more"},
    "certain_gamble_but_very_bold": {"gamble": "certain", "self_described_risk": "very_high"},
    "years_without_products": {"experience_products": ["none"]},
    "fall_without_products": {
        "experience_products": ["none"],
        "experience_years": 0,
        "past_behaviour": "held",
    },
    "years_without_a_fall": {"experience_years": 5},
    "experience_since_childhood": {"experience_years": 21, "past_behaviour": "held"},
    "options_without_years": {"experience_products": ["options"], "experience_years": 0},
    # 200,001 x 12 = 2,400,012 > 4,800,000 / 2; spending is lowered so that it fits the income.
    "deposits_above_half_of_income": {"monthly_deposit_cents": 200_001},
    "deposit_above_liquid_assets": {"first_deposit_cents": 1_200_001},
    "deposit_most_of_liquid_assets": {"first_deposit_cents": 600_001},
    # net worth 15,000 + debts 8,000 = 23,000 dollars of assets
    "liquid_assets_above_all_assets": {"liquid_assets_cents": 2_300_001},
    "net_worth_below_debts": {"net_worth_cents": -800_001},
    # 4 months x 3,000.01 dollars = 12,000.04 > 12,000; 12 x 3,000.01 = 36,000.12 < 48,000
    "reserve_above_liquid_assets": {"monthly_spending_cents": 300_001},
    # 12 x 4,000.01 = 48,000.12 > 48,000; 2 months of it are 8,000.02 < 12,000
    "spends_more_than_earns": {"monthly_spending_cents": 400_001, "emergency_fund_months": 2},
    "income_without_work": {"employment_stability": "not_working", "income_cents": 5_000_001},
    "work_without_income": {"income_cents": 0, "monthly_deposit_cents": 0},
    "retired_before_45": {"employment_stability": "retired", "age": 44},
    "student_with_high_income": {"employment_stability": "student", "income_cents": 15_000_001},
    "card_balance_without_debt": {"card_habit": "carries_balance"},
    "debt_without_card_balance": {"high_interest_debt_cents": 10_000},
    "decisive_without_values": {"values": [], "values_importance": "decisive"},
    "values_without_importance": {"values_importance": "none"},
    "theme_against_values": {"themes": ["food"], "values": ["nature"]},
    "theme_against_exclusion": {"themes": ["energy"], "activities_excluded": ["nuclear_power"]},
    "theme_basket_without_theme": {"basket_family": "theme"},
    "employer_without_work": {
        "employers": ["Acme"],
        "employment_stability": "retired",
        "age": 60,
    },
}

STOPS: dict[str, dict[str, Any]] = {
    "no_emergency_fund": {"emergency_fund_months": 0},
    # 96,000 / 4,800,000 = exactly 2 % of a year's income
    "high_interest_debt": {"high_interest_debt_cents": 96_000, "card_habit": "carries_balance"},
    "behind_on_payments": {"card_habit": "behind"},
    "horizon_too_short": {"horizon_years": 2},
    "money_needed_soon": {"horizon_years": 4, "early_withdrawal": "most"},
    "goal_is_reserve": {"horizon_years": 4, "goal": "emergency_reserve"},
    "borrowed_money": {"funding_source": "borrowed"},
    "no_loss_acceptable": {"acceptable_loss_percent": 0},
    # 10 + 6 + 0 + 0 + 0 = 16 points of willingness
    "risk_too_low": {
        "drop_reaction": "sell_some",
        "acceptable_loss_percent": 5,
        "gamble": "certain",
        "self_described_risk": "very_low",
        "loses_sleep": True,
    },
}


def test_the_example_proceeds():
    assessment = judge()

    assert assessment.decision is Decision.PROCEED
    assert assessment.reasons == ()


def test_there_are_at_least_25_contradictions_and_each_has_a_profile_here():
    codes = [rule.code for rule in load_rules().contradictions]

    assert len(codes) >= 25
    assert set(codes) == set(CONDITIONS) == set(CONTRADICTIONS)
    assert set(STOPS) == {rule.code for rule in load_rules().stops}


@pytest.mark.parametrize("code", CONTRADICTIONS)
def test_a_contradiction_is_tripped_alone_and_asked_back_in_plain_words(code):
    assessment = judge(**CONTRADICTIONS[code])

    assert assessment.reasons == (code,)
    assert assessment.decision is Decision.CLARIFY
    assert assessment.contradictions[0].question.endswith("?")


@pytest.mark.parametrize("code", CONTRADICTIONS)
def test_a_contradiction_is_settled_by_confirming_only_where_its_rule_allows_it(code):
    rule = next(rule for rule in load_rules().contradictions if rule.code == code)

    assessment = judge(**CONTRADICTIONS[code], confirmations=(code,))

    if rule.confirmable:
        assert assessment.decision is Decision.PROCEED
        assert assessment.confirmed == (code,)
    else:
        assert assessment.decision is Decision.CLARIFY
        assert assessment.confirmed == ()


@pytest.mark.parametrize("code", CONTRADICTIONS)
def test_the_fields_that_a_rule_names_are_those_that_settle_it(code):
    rule = next(rule for rule in load_rules().contradictions if rule.code == code)
    changed = set(CONTRADICTIONS[code]) - {"age"}

    # Some profiles change one more answer, to keep another rule quiet; one is always named.
    assert changed & set(rule.fields)


@pytest.mark.parametrize("code", STOPS)
def test_a_hard_stop_is_tripped_alone_and_says_what_to_do(code):
    assessment = judge(**STOPS[code])

    assert assessment.reasons == (code,)
    assert assessment.decision is Decision.NOT_YET
    assert len(assessment.stops[0].sentence) > 40


def test_a_stop_weighs_more_than_a_contradiction_and_both_are_shown():
    assessment = judge(emergency_fund_months=0, expected_return_percent=21)

    assert assessment.decision is Decision.NOT_YET
    assert assessment.reasons == ("no_emergency_fund", "return_beyond_markets")


def test_a_stop_cannot_be_confirmed_away():
    with pytest.raises(UnknownRuleError) as refusal:
        judge(emergency_fund_months=0, confirmations=("no_emergency_fund",))

    assert refusal.value.code == "unknown_rule"


def test_confirming_what_does_not_hold_changes_nothing():
    assert judge(confirmations=("return_beyond_markets",)) == judge()


@pytest.mark.parametrize(
    ("changes", "tripped"),
    [
        ({"high_interest_debt_cents": 95_999, "card_habit": "carries_balance"}, False),
        ({"high_interest_debt_cents": 96_000, "card_habit": "carries_balance"}, True),
        ({"horizon_years": 3}, False),
        ({"emergency_fund_months": 1}, False),
        ({"acceptable_loss_percent": 1}, False),
    ],
)
def test_stops_begin_exactly_where_they_say(changes, tripped):
    assert bool(judge(**changes).stops) is tripped
