"""The conditions under which two answers do not fit together, each under its stable code.

The words that a customer sees are in `data/suitability.toml`. A condition looks at answers, age and
date only, so it can be read aloud beside its question.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from onboarding.questionnaire import Answers

BOLD = frozenset({"high", "very_high"})
TIMID = frozenset({"very_low", "low"})
OUT_OF_WORK = frozenset({"student", "retired", "not_working"})
MUCH_WITHDRAWN = frozenset({"most", "all"})

LONG_HORIZON_YEARS = 5
"""From here on shares have had time to recover from most falls."""
SMALL_LOSS_PERCENT = 5
"""A normal month of ten shares loses this much; below it "high risk" has no meaning."""
MONTHS = 12
DAYS_PER_YEAR = 365

THEME_AGAINST_VALUE: Mapping[str, frozenset[str]] = {
    "mobility": frozenset({"climate", "fossil_free"}),  # airlines and cruise lines burn oil
    "food": frozenset({"nature"}),  # farming and meat
    "health": frozenset({"nature"}),  # medicines are tested on animals
}
THEME_AGAINST_ACTIVITY: Mapping[str, frozenset[str]] = {
    "energy": frozenset({"gas_distribution", "fossil_power", "nuclear_power"}),
    "food": frozenset({"pork", "palm_oil", "alcohol"}),
    "mobility": frozenset({"alcohol", "gambling"}),  # hotels and cruise ships
    "health": frozenset({"animal_testing"}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One customer as the rules see one: answers, age and today's date."""

    answers: Answers
    age_years: int
    on: date

    def number(self, question_id: str) -> int:
        """The number given."""
        return self.answers.number(question_id)

    def choice(self, question_id: str) -> str:
        """The key chosen."""
        return self.answers.choice(question_id)

    def several(self, question_id: str) -> tuple[str, ...]:
        """The keys or texts given."""
        return self.answers.several(question_id)

    @property
    def debt_cents(self) -> int:
        """All debts together."""
        return self.number("high_interest_debt_cents") + self.number("other_debt_cents")

    @property
    def owns_nothing_that_falls(self) -> bool:
        """Whether the customer says to have owned none of the products listed."""
        return self.several("experience_products") == ("none",)


Condition = Callable[[Case], bool]


def _target_date_differs(case: Case) -> bool:
    """Whether a future target date lies more than two years from the horizon."""
    target = case.answers.day("target_date")
    if target is None or target <= case.on:
        return False
    years = (target - case.on).days // DAYS_PER_YEAR
    return abs(years - case.number("horizon_years")) > 2  # noqa: PLR2004  # two years, as the question says


def _target_date_past(case: Case) -> bool:
    """Whether the target date has come already."""
    target = case.answers.day("target_date")
    return target is not None and target <= case.on


def _theme_meets(case: Case, pairs: Mapping[str, frozenset[str]], field: str) -> bool:
    """Whether a chosen theme stands against something else the customer chose."""
    chosen = set(case.several(field))
    return any(pairs.get(theme, frozenset()) & chosen for theme in case.several("themes"))


_GOAL: dict[str, Condition] = {
    "retirement_before_50": lambda c: (
        c.choice("goal") == "retirement" and c.age_years + c.number("horizon_years") < 50  # noqa: PLR2004  # in the code's name
    ),
    "horizon_beyond_lifetime": lambda c: c.age_years + c.number("horizon_years") > 105,  # noqa: PLR2004  # in the question
    "target_date_past": _target_date_past,
    "target_date_differs_from_horizon": _target_date_differs,
    "long_horizon_but_money_soon": lambda c: (
        c.number("horizon_years") >= LONG_HORIZON_YEARS
        and c.choice("early_withdrawal") in MUCH_WITHDRAWN
    ),
    "reserve_with_long_horizon": lambda c: (
        c.choice("goal") == "emergency_reserve" and c.number("horizon_years") >= LONG_HORIZON_YEARS
    ),
    "preserve_but_bold": lambda c: (
        c.choice("goal") == "preserve" and c.choice("self_described_risk") in BOLD
    ),
    "purchase_very_far": lambda c: (
        c.choice("goal") in {"home", "major_purchase"} and c.number("horizon_years") > 25  # noqa: PLR2004  # in the question
    ),
    "education_for_nobody": lambda c: (
        c.choice("goal") == "education" and c.number("dependants") == 0
    ),
    "short_horizon_but_very_bold": lambda c: (
        c.number("horizon_years") < LONG_HORIZON_YEARS
        and c.choice("self_described_risk") == "very_high"
    ),
}

_WILLINGNESS: dict[str, Condition] = {
    "bold_words_but_sells": lambda c: (
        c.choice("self_described_risk") in BOLD and c.choice("drop_reaction") == "sell_all"
    ),
    "timid_words_but_buys": lambda c: (
        c.choice("self_described_risk") in TIMID and c.choice("drop_reaction") == "buy_more"
    ),
    "bold_words_but_no_loss": lambda c: (
        c.choice("self_described_risk") in BOLD
        and c.number("acceptable_loss_percent") < SMALL_LOSS_PERCENT
    ),
    "big_gamble_but_no_loss": lambda c: (
        c.choice("gamble") == "very_bold"
        and c.number("acceptable_loss_percent") < SMALL_LOSS_PERCENT
    ),
    "sells_all_but_large_loss": lambda c: (
        c.choice("drop_reaction") == "sell_all" and c.number("acceptable_loss_percent") >= 30  # noqa: PLR2004  # in the question
    ),
    "return_without_loss": lambda c: (
        c.number("expected_return_percent") >= 10 and c.number("acceptable_loss_percent") < 10  # noqa: PLR2004  # in the question
    ),
    "return_beyond_markets": lambda c: c.number("expected_return_percent") > 20,  # noqa: PLR2004  # in the question
    "sleepless_but_bold": lambda c: (
        c.answers.yes("loses_sleep") and c.choice("self_described_risk") in BOLD
    ),
    "sleepless_but_buys": lambda c: (
        c.answers.yes("loses_sleep") and c.choice("drop_reaction") == "buy_more"
    ),
    "sold_before_but_buys": lambda c: (
        c.choice("past_behaviour") == "sold_all" and c.choice("drop_reaction") == "buy_more"
    ),
    "certain_gamble_but_very_bold": lambda c: (
        c.choice("gamble") == "certain" and c.choice("self_described_risk") == "very_high"
    ),
}

_EXPERIENCE: dict[str, Condition] = {
    "years_without_products": lambda c: (
        c.owns_nothing_that_falls and c.number("experience_years") > 0
    ),
    "fall_without_products": lambda c: (
        c.owns_nothing_that_falls
        and c.number("experience_years") == 0
        and c.choice("past_behaviour") != "never_invested"
    ),
    "years_without_a_fall": lambda c: (
        c.choice("past_behaviour") == "never_invested"
        and c.number("experience_years") >= 5  # noqa: PLR2004  # in the question
        and not c.owns_nothing_that_falls
    ),
    "experience_since_childhood": lambda c: c.number("experience_years") > max(c.age_years - 10, 0),
    "options_without_years": lambda c: (
        "options" in c.several("experience_products") and c.number("experience_years") == 0
    ),
}

_MONEY: dict[str, Condition] = {
    "deposits_above_half_of_income": lambda c: (
        2 * MONTHS * c.number("monthly_deposit_cents") > c.number("income_cents")
    ),
    "deposit_above_liquid_assets": lambda c: (
        c.number("first_deposit_cents") > c.number("liquid_assets_cents")
    ),
    "deposit_most_of_liquid_assets": lambda c: (
        c.number("first_deposit_cents")
        <= c.number("liquid_assets_cents")
        < 2 * c.number("first_deposit_cents")
    ),
    "liquid_assets_above_all_assets": lambda c: (
        c.number("liquid_assets_cents") > c.number("net_worth_cents") + c.debt_cents >= 0
    ),
    "net_worth_below_debts": lambda c: c.number("net_worth_cents") + c.debt_cents < 0,
    "reserve_above_liquid_assets": lambda c: (
        c.number("emergency_fund_months") * c.number("monthly_spending_cents")
        > c.number("liquid_assets_cents")
    ),
    "spends_more_than_earns": lambda c: (
        MONTHS * c.number("monthly_spending_cents") > c.number("income_cents")
        and c.number("monthly_deposit_cents") > 0
        and c.choice("employment_stability") not in OUT_OF_WORK
    ),
    "card_balance_without_debt": lambda c: (
        c.choice("card_habit") == "carries_balance" and c.number("high_interest_debt_cents") == 0
    ),
    "debt_without_card_balance": lambda c: (
        c.choice("card_habit") in {"no_cards", "pays_in_full"}
        and c.number("high_interest_debt_cents") > 0
    ),
}

_LIFE: dict[str, Condition] = {
    "income_without_work": lambda c: (
        c.choice("employment_stability") == "not_working" and c.number("income_cents") > 5_000_000  # noqa: PLR2004  # in the question
    ),
    "work_without_income": lambda c: (
        c.choice("employment_stability") in {"secure", "steady"} and c.number("income_cents") == 0
    ),
    "retired_before_45": lambda c: (
        c.choice("employment_stability") == "retired" and c.age_years < 45  # noqa: PLR2004  # in the code's name
    ),
    "student_with_high_income": lambda c: (
        c.choice("employment_stability") == "student" and c.number("income_cents") > 15_000_000  # noqa: PLR2004  # in the question
    ),
    "employer_without_work": lambda c: (
        bool(c.several("employers"))
        and c.choice("employment_stability") in {"retired", "not_working"}
    ),
}

_VALUES: dict[str, Condition] = {
    "decisive_without_values": lambda c: (
        c.choice("values_importance") == "decisive" and not c.several("values")
    ),
    "values_without_importance": lambda c: (
        c.choice("values_importance") == "none" and bool(c.several("values"))
    ),
    "theme_against_values": lambda c: _theme_meets(c, THEME_AGAINST_VALUE, "values"),
    "theme_against_exclusion": lambda c: _theme_meets(
        c, THEME_AGAINST_ACTIVITY, "activities_excluded"
    ),
    "theme_basket_without_theme": lambda c: (
        c.choice("basket_family") == "theme" and not c.several("themes")
    ),
}

CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {**_GOAL, **_WILLINGNESS, **_EXPERIENCE, **_MONEY, **_LIFE, **_VALUES}
)
"""Code -> when the answers contradict each other."""
