"""Recommendation: at most three, the first the default, each with reasons that add up."""

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from baskets.catalog import catalog
from baskets.universe import load_universe
from onboarding.questionnaire import parse_answers
from onboarding.recommendation import FITS, Recommendation, recommend
from onboarding.restrictions import build_restrictions
from onboarding.scoring import load_scoring_table, score_answers
from onboarding.suitability import assess

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs/examples/answers.json").read_text())
TODAY = date(2026, 6, 1)


@dataclass(frozen=True)
class Holding:
    security_id: int
    weight_ppm: int = 100_000


@dataclass(frozen=True)
class Stock:
    id: int
    symbol: str
    name: str
    cik: str
    sector: str = "technology"
    group: str = "software"
    country: str | None = "US"


@dataclass(frozen=True)
class Shelf:
    """A basket as the recommendation sees one."""

    id: str
    family: str = "esg"
    values: tuple[str, ...] = ()
    risk_hint: str = "diversified"
    data_note: str = "from a list"
    sentence: str = "Ten companies."
    name: str = "Basket"
    constituents: tuple[Holding, ...] = field(
        default_factory=lambda: tuple(Holding(i) for i in range(1, 11))
    )


STOCKS = tuple(Stock(i, f"S{i}", f"Company number{i}", f"{i:010}") for i in range(1, 31))


def advise(*shelves: Any, age: int = 24, stocks: Any = STOCKS, **changes: Any) -> Recommendation:
    answers = parse_answers({**EXAMPLE, **changes})
    score = score_answers(answers, age)
    return recommend(
        answers,
        score,
        assess(answers, score, age, TODAY),
        build_restrictions(answers, stocks),
        shelves,
    )


def ids(recommendation: Recommendation) -> list[str]:
    return [entry.basket_id for entry in recommendation.baskets]


def test_at_most_three_are_recommended_and_the_first_is_the_default():
    found = advise(*(Shelf(letter) for letter in "edcba"))

    assert ids(found) == ["a", "b", "c"]
    assert found.default is not None
    assert found.default.basket_id == "a"
    assert [entry.rank for entry in found.baskets] == [1, 2, 3]


def test_values_themes_and_family_move_a_basket_up_by_points_that_add_up():
    found = advise(
        Shelf("none"),
        Shelf("one", values=("climate",)),
        Shelf("both", values=("climate", "equality")),
        Shelf("theme", family="theme", values=("technology",)),
        themes=["technology"],
    )

    # both: family 30 + values 2 x 10 + spread 5; one: 30 + 10 + 5; none: 30 + 5; theme: 15 + 5
    assert [(e.basket_id, e.points) for e in found.baskets] == [
        ("both", 55),
        ("one", 45),
        ("none", 35),
    ]
    for entry in found.baskets:
        assert entry.points == sum(reason.points for reason in entry.reasons)
        assert all(reason.sentence in entry.sentence for reason in entry.reasons)


def test_values_that_come_first_count_twice_and_those_that_do_not_matter_not_at_all():
    shelf = Shelf("a", values=("climate",))

    decisive = advise(shelf, values_importance="decisive").baskets[0]
    some = advise(shelf).baskets[0]

    assert decisive.points - some.points == 10


def test_the_sentence_says_what_the_basket_is_why_it_is_here_and_how_it_fits():
    entry = advise(Shelf("a", values=("climate",))).baskets[0]

    assert entry.sentence.startswith("Ten companies. You asked for a basket that follows")
    assert "a stable climate" in entry.sentence
    assert entry.sentence.endswith("It suits your risk score of 68 of 100.")


@pytest.mark.parametrize(
    ("loss", "reaction", "band", "focused"),
    [(10, "sell_some", "balanced", False), (25, "hold", "growth", True)],
)
def test_low_bands_are_offered_diversified_baskets_only(loss, reaction, band, focused):
    shelves = (Shelf("wide"), Shelf("narrow", risk_hint="focused", values=("climate",)))

    found = advise(*shelves, acceptable_loss_percent=loss, drop_reaction=reaction)

    assert ids(found) == (["narrow", "wide"] if focused else ["wide"])
    answers = parse_answers({**EXAMPLE, "acceptable_loss_percent": loss, "drop_reaction": reaction})
    assert score_answers(answers, 24).band == band


def test_every_band_has_a_rule_and_the_lowest_is_offered_nothing():
    assert set(FITS) == {band.key for band in load_scoring_table().bands}
    assert FITS["very_cautious"] == frozenset()


def test_nothing_is_recommended_while_a_stop_or_a_question_is_open():
    stopped = advise(Shelf("a"), emergency_fund_months=0)
    asked = advise(Shelf("a"), expected_return_percent=25)

    assert (stopped.baskets, stopped.none_because) == ((), ("no_emergency_fund",))
    assert "emergency fund" in stopped.sentence
    assert (asked.baskets, asked.none_because) == ((), ("return_beyond_markets",))
    assert stopped.default is None


def test_restricted_names_are_replaced_and_cost_a_basket_its_place():
    clean = Shelf("z", constituents=tuple(Holding(i) for i in range(11, 21)))

    found = advise(Shelf("a"), clean, companies_never_own=["S1", "S2"])

    assert ids(found) == ["z", "a"]
    assert found.baskets[1].replaced == (1, 2)
    assert "2 of its companies are replaced" in found.baskets[1].sentence


def test_a_basket_that_loses_more_names_than_it_has_understudies_is_left_out():
    five = advise(Shelf("a"), companies_never_own=[f"S{i}" for i in range(1, 6)])
    six = advise(Shelf("a"), companies_never_own=[f"S{i}" for i in range(1, 7)])

    assert ids(five) == ["a"]
    assert (six.baskets, six.none_because) == ((), ("no_basket_within_restrictions",))


def test_no_basket_for_the_band_is_said_so():
    found = advise(
        Shelf("narrow", risk_hint="focused"), acceptable_loss_percent=10, drop_reaction="sell_some"
    )

    assert found.none_because == ("no_basket_for_band",)


def test_the_real_catalogue_gives_the_example_a_basket_that_serves_its_values():
    shelves = catalog().all()

    found = advise(*shelves, stocks=load_universe().securities)

    assert found.default is not None
    chosen = catalog().get(found.default.basket_id)
    assert chosen.family == "esg"
    assert set(chosen.values) & {"climate", "equality"}
