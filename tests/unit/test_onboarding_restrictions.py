"""Restrictions: whom a text means, what must not happen to which security, and why."""

import json
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from baskets.involvement import load_involvement
from baskets.universe import load_universe
from onboarding.companies import aliases, company_index, plain_name
from onboarding.questionnaire import load_questionnaire, parse_answers
from onboarding.restrictions import (
    HeldChoice,
    Restrictions,
    Verb,
    build_restrictions,
    share_of_universe,
)

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs/examples/answers.json").read_text())


@dataclass(frozen=True)
class Stock:
    id: int
    symbol: str
    name: str
    cik: str
    sector: str = "technology"
    group: str = "software"
    country: str | None = "US"


STOCKS = (
    Stock(1, "ORCH", "Orchard Inc.", "001"),
    Stock(2, "ALFA.A", "Alfalfa Holdings (Class A)", "002"),
    Stock(3, "ALFA.B", "Alfalfa Holdings (Class B)", "002"),
    Stock(4, "BLUE", "Blue River Water Corporation", "003", "utilities", "water", "IE"),
    Stock(5, "BLUB", "Blue River Bank", "004", "financials", "banks", None),
    Stock(6, "CAR", "Carmaker & Co.", "005", "consumer_discretionary", "cars"),
    Stock(7, "ORCHARD", "Sunny Fields plc", "006"),
)


@dataclass(frozen=True)
class Share:
    high: int


def build(**changes: Any) -> Restrictions:
    options = {
        key: changes.pop(key)
        for key in ("choices", "share_of", "employer_name", "control_companies")
        if key in changes
    }
    return build_restrictions(parse_answers({**EXAMPLE, **changes}), STOCKS, **options)


def test_nothing_is_restricted_without_a_reason():
    restrictions = build()

    assert restrictions.entries == ()
    assert restrictions.never_buy == frozenset()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("The Coca-Cola Company", "coca cola"), ("AT&T Inc.", "at and t"),
     ("Tiffany & Co.", "tiffany"),
     ("Nestlé S.A.", "nestle s"), ("McDonald's Corp", "mcdonalds"), ("Inc.", "inc"), ("!", "")],
)  # fmt: skip
def test_names_are_compared_without_legal_forms(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize("text", ["CAR", "car", "Carmaker", "carmaker and co", "CARMAKER & CO."])
def test_a_symbol_or_a_whole_name_is_enough(text):
    match = company_index(STOCKS).find(text)

    assert match.sure
    assert match.security_ids == (6,)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("JP Morgan", "JPM"),
        ("J.P. Morgan", "JPM"),
        ("JP Morgan Chase & Co.", "JPM"),
        ("AWS", "AMZN"),
        ("Amazon Web Services, Inc.", "AMZN"),
        ("GitHub", "MSFT"),
        ("Git-Hub", "MSFT"),
        ("Wal-Mart", "WMT"),
        ("Fed Ex", "FDX"),
    ],
)
def test_employers_are_known_however_their_name_is_spaced(text, symbol):
    match = company_index(load_universe().securities).find(text)

    assert match.sure
    assert symbol in match.companies[0].symbols


def test_every_alias_means_a_company_that_we_know():
    index = company_index(load_universe().securities)

    assert set(aliases().values()) <= set(index.by_symbol)


def test_a_company_is_all_its_share_classes():
    for text in ("alfa/b", "ALFA-A", "Alfalfa"):
        assert company_index(STOCKS).find(text).security_ids == (2, 3)


def test_the_beginning_of_a_name_is_asked_back_and_meanwhile_not_bought():
    restrictions = build(companies_never_own=["Blue River"])

    (question,) = restrictions.questions
    assert question.field == "companies_never_own"
    assert [c.name for c in question.candidates] == [
        "Blue River Water Corporation",
        "Blue River Bank",
    ]
    assert restrictions.never_buy == {4, 5}
    assert restrictions.never_own == frozenset()
    assert {entry.code for entry in restrictions.entries} == {"company_unclear"}


def test_a_symbol_of_one_company_and_the_name_of_another_is_asked_back():
    match = company_index(STOCKS).find("Orchard")

    assert not match.sure
    assert set(match.security_ids) == {1, 7}


def test_saying_that_none_is_meant_settles_the_question():
    restrictions = build(companies_never_own=["Blue River"], companies_not_listed=["blue river"])

    assert restrictions.questions == ()
    assert restrictions.outside_universe == ("Blue River",)
    assert restrictions.never_buy == frozenset()


def test_naming_the_symbol_settles_the_question():
    restrictions = build(companies_never_own=["BLUB"])

    assert restrictions.questions == ()
    assert restrictions.never_own == {5}


def test_a_company_that_is_none_of_ours_is_recorded():
    assert build(companies_never_own=["Zeppelin Works"]).outside_universe == ("Zeppelin Works",)


def test_an_employer_is_never_bought_and_what_is_held_is_not_touched():
    restrictions = build(employers=["Orchard Inc"])

    # With "Inc" it is no symbol, so only the name counts and the answer is sure.
    assert restrictions.never_buy == restrictions.never_trade == {1}
    assert restrictions.never_own == frozenset()
    assert restrictions.awaiting_choice == {1}
    assert {entry.code for entry in restrictions.reasons_for(1)} == {"employer"}
    assert "Orchard" in restrictions.entries[0].sentence


@pytest.mark.parametrize("field", ["employers", "household_employers"])
def test_the_customer_decides_about_an_employers_shares(field):
    sell = build(**{field: ["CAR"]}, choices={6: HeldChoice.SELL})
    within = build(**{field: ["CAR"]}, choices={6: HeldChoice.SELL_WITHIN_BUDGET})
    keep = build(**{field: ["CAR"]}, choices={6: HeldChoice.KEEP})

    assert (sell.never_own, sell.never_trade) == ({6}, frozenset())
    assert (within.never_own, within.never_trade) == (frozenset(), frozenset())
    assert within.sell_within_budget == {6}
    assert (keep.never_own, keep.never_trade) == (frozenset(), {6})
    for decided in (sell, within, keep):
        assert decided.never_buy == {6}
        assert decided.awaiting_choice == frozenset()


def test_the_employer_of_the_profile_counts_as_well():
    assert build(employer_name="Carmaker").never_trade == {6}


def test_a_controlled_company_is_never_traded_whatever_is_chosen():
    restrictions = build(control_companies=["CAR"], employers=["CAR"], choices={6: HeldChoice.SELL})

    assert restrictions.never_trade == {6}
    assert restrictions.never_own == frozenset()
    assert restrictions.awaiting_choice == frozenset()


def test_never_trade_wins_over_never_own():
    restrictions = build(employers=["CAR"], companies_never_own=["CAR"])

    assert restrictions.never_trade == {6}
    assert restrictions.never_own == frozenset()
    assert len(restrictions.reasons_for(6)) == 3


def test_never_buy_keeps_what_is_held():
    restrictions = build(companies_never_buy=["CAR"])

    assert restrictions.never_buy == {6}
    assert restrictions.never_own == restrictions.never_trade == frozenset()


def test_countries_and_industries_are_left_out_and_unknown_ones_recorded():
    restrictions = build(
        countries_excluded=["IE", "CH"], industries_excluded=["cars", "financials", "unicorns"]
    )

    assert restrictions.never_own == {4, 5, 6}
    assert {e.code for e in restrictions.reasons_for(4)} == {"country"}
    assert restrictions.unknown_industries == ("unicorns",)


@pytest.mark.parametrize(
    ("threshold", "high", "excluded"),
    [(5, 50_000, True), (5, 49_999, False), (0, 1, True), (0, 0, False), (100, 1_000_000, True)],
)
def test_an_activity_counts_from_the_threshold_on_at_its_upper_end(threshold, high, excluded):
    restrictions = build(
        activities_excluded=["tobacco"],
        activity_threshold_percent=threshold,
        share_of=lambda security_id, _: Share(high if security_id == 1 else 0),
    )

    assert (1 in restrictions.never_own) is excluded
    assert restrictions.unknown_shares == ()


def test_an_unknown_share_is_neither_clean_nor_dirty_but_as_the_customer_says():
    def share_of(security_id: int, _: str) -> Share | None:
        return None if security_id == 1 else Share(0)

    allow = build(activities_excluded=["pork"], share_of=share_of)
    exclude = build(activities_excluded=["pork"], activity_unknown="exclude", share_of=share_of)

    assert allow.never_own == frozenset()
    assert allow.unknown_shares == (("pork", 1),)
    assert exclude.never_own == {1}
    assert exclude.entries[0].code == "activity_unknown"
    assert exclude.unknown_shares == ()


def test_every_entry_carries_a_code_and_a_sentence_and_the_sets_fit_together():
    restrictions = build(
        employers=["CAR"],
        companies_never_own=["Alfalfa", "Blue River"],
        companies_never_buy=["ORCH"],
        countries_excluded=["US"],
    )

    assert all(entry.sentence.endswith(".") and entry.code for entry in restrictions.entries)
    assert restrictions.never_own | restrictions.never_trade <= restrictions.never_buy
    assert not restrictions.never_own & restrictions.never_trade
    assert {entry.verb for entry in restrictions.entries} == set(Verb)


def test_the_activities_and_interests_we_ask_for_are_those_that_baskets_know():
    recipes = files("baskets").joinpath("data/recipes").iterdir()
    tags = {
        tag
        for recipe in recipes
        if recipe.name.endswith(".toml")
        for tag in tomllib.loads(recipe.read_text(encoding="utf-8"))["values"]
    }
    asked = load_questionnaire().question
    activities = set(load_involvement().activities)

    assert set(asked("activities_excluded").keys) == activities
    assert tags == set(asked("values").keys) | set(asked("themes").keys)


def test_the_real_universe_is_understood():
    universe = load_universe()
    answers = parse_answers(
        {
            **EXAMPLE,
            "employers": ["Google"],
            "companies_never_own": ["brk/b", "The Coca-Cola Company", "McDonalds"],
            "activities_excluded": ["tobacco"],
        }
    )

    restrictions = build_restrictions(
        answers,
        universe.securities,
        share_of=share_of_universe(universe, load_involvement()),
    )

    def symbols(ids: frozenset[int]) -> set[str]:
        return {universe.by_id[i].symbol for i in ids}

    assert {"GOOG", "GOOGL"} <= symbols(restrictions.never_trade)
    assert {"BRK.B", "KO", "MCD", "PM", "MO"} <= symbols(restrictions.never_own)
    assert "AAPL" not in symbols(restrictions.never_buy)
    assert restrictions.questions == ()
