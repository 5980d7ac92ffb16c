"""The baskets on offer: ten names, exact weights, caps, understudies, rejects, the same bytes."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import pytest

from baskets import cli_text
from baskets.basket import NAME_PPM_MAX, NAMES, SECTOR_PPM_MAX, UNDERSTUDIES
from baskets.building import build, excluded, passing, replace_names
from baskets.catalog import catalog, catalog_of, recipes, versions_text
from baskets.data_files import read_text
from baskets.errors import BasketsError, BuildError, RecipeError
from baskets.facts import load_facts
from baskets.index import large_cap
from baskets.presets import agreement, presets
from baskets.recipe import recipe_from
from baskets.screens import Outcome, screen_of

CATALOG = catalog()
FACTS = load_facts()
BASKETS = CATALOG.all()
RECIPES = {recipe.id: recipe for recipe in recipes()}
EACH = pytest.mark.parametrize("basket", BASKETS, ids=lambda basket: basket.id)

RECIPE = """
id = "esg-test"
name = "Test"
family = "esg"
version = 1
as_of = 2026-07-13
sentence = "A test."
values = []
risk_hint = "diversified"
[selection]
kind = "rule"
filter = "require size_tier = large"
[weights]
method = "equal"
"""


def altered(old, new):
    assert old in RECIPE
    return recipe_from(RECIPE.replace(old, new), "esg-test.toml")


def test_there_are_at_least_twelve_baskets_of_each_family_and_all_recipes_are_offered():
    families = [basket.family for basket in BASKETS]

    assert families.count("esg") >= 12
    assert families.count("theme") >= 12
    assert not CATALOG.unoffered


@EACH
def test_what_a_basket_excludes_is_none_of_its_names_and_leaves_most_of_the_index(basket):
    out = excluded(RECIPES[basket.id], FACTS)
    index = large_cap().weights_ppm

    listed = (*basket.constituents, *basket.understudies, *basket.bench)
    assert not {row.security_id for row in listed} & out
    assert sum(ppm for name, ppm in index.items() if name not in out) > 600_000
    if "exclude" not in RECIPES[basket.id].filter:
        assert not out


def test_oil_is_excluded_and_what_only_ranks_low_or_lacks_what_is_required_is_not():
    out = excluded(RECIPES["esg-low-carbon"], FACTS)
    known = FACTS.universe.by_symbol

    assert {known["XOM"].id, known["CVX"].id} <= out
    assert known["HD"].id not in out
    assert known["HD"].id not in passing(RECIPES["esg-low-carbon"], FACTS)


@EACH
def test_a_basket_has_ten_companies_whose_weights_sum_to_the_whole(basket):
    assert len({row.candidate.cik for row in basket.constituents}) == NAMES
    assert sum(basket.weights_ppm.values()) == 1_000_000
    assert len(basket.understudies) == UNDERSTUDIES
    held = {row.symbol for row in (*basket.constituents, *basket.understudies, *basket.bench)}
    assert len(held) == NAMES + UNDERSTUDIES + len(basket.bench)


@EACH
def test_a_basket_keeps_the_caps_or_says_why_not(basket):
    assert max(basket.weights_ppm.values()) <= NAME_PPM_MAX
    if max(basket.sector_ppm.values()) > SECTOR_PPM_MAX:
        assert len(basket.sectors_note) > 30


@EACH
def test_everybody_considered_is_in_waiting_or_rejected_with_a_reason(basket):
    recipe = RECIPES[basket.id]
    considered = (
        {row.symbol for row in recipe.candidates}
        if recipe.kind == "list"
        else {row.symbol for row in FACTS.universe.securities}
    )
    kept = {row.symbol for row in (*basket.constituents, *basket.understudies)}
    rejected = {row.symbol for row in basket.rejects}

    assert kept | rejected == considered
    assert not kept & rejected
    assert all(row.code and len(row.reason) > 10 for row in basket.rejects)


@EACH
def test_every_name_in_a_basket_passes_the_basket_s_own_screen(basket):
    screen = screen_of(basket.screen, FACTS)

    for row in (*basket.constituents, *basket.understudies, *basket.bench):
        verdict = screen.judge(FACTS.universe.by_id[row.security_id])
        assert verdict.outcome is Outcome.PASS


@EACH
def test_a_basket_says_on_what_opinions_it_rests(basket):
    assert "not a market capitalisation" in basket.data_note or "RULE" in basket.data_note
    if basket.family == "esg":
        assert "RULE" in basket.data_note


@EACH
def test_a_basket_rebuilt_is_the_same_bytes_and_plain_json(basket):
    again = build(RECIPES[basket.id], FACTS)

    assert again.artefact == basket.artefact
    assert json.loads(basket.artefact)["constituents"][0]["weight_ppm"] > 0
    assert basket.artefact.decode().isprintable() or basket.artefact.endswith(b"\n")


def test_the_committed_versions_are_what_the_recipes_give_in_another_process():
    code = "from baskets import catalog as c; print(c.versions_text(c.catalog()), end='')"

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "12345"},
    )

    # After a deliberate change of data or recipes, baskets/data/versions.csv holds what is printed.
    assert done.stdout == read_text("versions.csv")
    assert versions_text(CATALOG) == done.stdout


def test_no_two_esg_baskets_share_more_than_seven_names():
    esg = [basket for basket in BASKETS if basket.family == "esg"]

    for one, other in combinations(esg, 2):
        assert len(one.weights_ppm.keys() & other.weights_ppm.keys()) <= 7, (one.id, other.id)


@EACH
def test_never_bought_names_are_replaced_within_the_caps_with_a_reason(basket):
    first, second = basket.constituents[0], basket.constituents[4]
    barred = {first.security_id, second.security_id, basket.understudies[0].security_id}

    personal = replace_names(basket, barred, {first.security_id: "your employer"})

    held = personal.weights_ppm
    assert len(held) == NAMES
    assert sum(held.values()) == 1_000_000
    assert not held.keys() & barred
    assert max(held.values()) <= NAME_PPM_MAX
    assert max(personal.sector_ppm.values()) <= basket.sector_ppm_max
    stand_ins = {row.replaces: row.reason for row in personal.constituents if row.replaces}
    assert stand_ins.keys() == {first.symbol, second.symbol}
    assert stand_ins[first.symbol] == f"Stands in for {first.symbol}: your employer."
    assert personal.version != basket.version


@EACH
def test_replacing_names_that_are_not_held_changes_nothing(basket):
    assert replace_names(basket, {-1, basket.understudies[0].security_id}) is basket


def test_a_basket_that_cannot_be_filled_is_refused_not_shrunk():
    basket = CATALOG.get("theme-water")
    everybody = {row.id for row in FACTS.universe.securities}

    with pytest.raises(BuildError) as caught:
        replace_names(basket, everybody)

    assert caught.value.code == "no_replacement"


def test_employers_in_baskets_can_be_replaced_one_by_one_in_every_basket():
    for basket in BASKETS:
        for row in basket.constituents:
            assert row.security_id not in replace_names(basket, {row.security_id}).weights_ppm


def test_an_unknown_basket_is_refused_by_code():
    with pytest.raises(BasketsError) as caught:
        CATALOG.get("theme-unicorns")

    assert caught.value.code == "no_such_basket"


def test_a_theme_with_fewer_than_fifteen_honest_candidates_is_not_offered():
    recipe = RECIPES["theme-water"]
    short = replace(recipe, candidates=recipe.candidates[:14])

    found = catalog_of([short], FACTS)

    assert not found.baskets
    assert found.unoffered[0].code == "too_few_candidates"
    assert "theme-water: 14 candidates" in found.unoffered[0].why


def test_a_listed_company_outside_the_universe_is_a_reject_with_a_reason():
    recipe = RECIPES["theme-water"]
    stranger = replace(recipe.candidates[0], symbol="ZZZZQ")

    basket = build(replace(recipe, candidates=(*recipe.candidates, stranger)), FACTS)

    assert ("ZZZZQ", "not_in_universe") in {(row.symbol, row.code) for row in basket.rejects}


def test_a_recipe_whose_filter_lacks_data_is_not_offered_and_says_where():
    recipe = replace(RECIPES["esg-peace"], filter="require credit_rating >= A")

    (missing,) = catalog_of([recipe], FACTS).unoffered

    assert missing.code == "screen_field_without_data"
    assert "line 1, column 9" in missing.why


def test_one_share_class_a_company():
    basket = build(
        altered("size_tier = large", "symbol in (GOOG, GOOGL, FOX, FOXA) or size_rank < 40"), FACTS
    )

    assert ("GOOGL", "same_company") in {(row.symbol, row.code) for row in basket.rejects}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('id = "esg-test"', 'id = "other"'),
        ('family = "esg"', 'family = "theme"'),
        ('family = "esg"', 'family = "cult"'),
        ("version = 1", "version = 'one'"),
        ("as_of = 2026-07-13", "as_of = 'today'"),
        ('sentence = "A test."', 'sentence = " "'),
        ('risk_hint = "diversified"', 'risk_hint = "wild"'),
        ('kind = "rule"', 'kind = "whim"'),
        ('kind = "rule"', 'kind = "list"'),
        ('kind = "rule"', 'kind = "rule"\ngroup_names_max = 0'),
        ('kind = "rule"', 'kind = "rule"\nrank_by = "beauty"'),
        ('kind = "rule"', 'kind = "rule"\nsurprise = 1'),
        ('method = "equal"', 'method = "guess"'),
        ("values = []", "values = []\nsector_ppm_max = 500000"),
        ("values = []", "values = []\nsector_ppm_max = 0"),
        ("values = []", "values = []\nextra = 1"),
        ("values = []", ""),
        ("[selection]", "[selection"),
    ],
)
def test_a_malformed_recipe_is_refused(old, new):
    with pytest.raises(RecipeError):
        altered(old, new)


def test_a_recipe_ranks_by_our_grade_or_by_small_size_when_it_says_so():
    by_grade = build(altered('kind = "rule"', 'kind = "rule"\nrank_by = "score:rule"'), FACTS)
    by_small = build(altered('kind = "rule"', 'kind = "rule"\nrank_by = "small_first"'), FACTS)

    grades = [FACTS.grade(FACTS.universe.by_id[number]).central for number in by_grade.weights_ppm]
    assert set(grades) == {5_000}
    sizes = [row.candidate.size_cents for row in by_small.constituents]
    assert sizes == sorted(sizes)


def test_the_published_presets_work_and_find_what_they_must():
    for preset in presets().values():
        found = agreement(preset.screen, FACTS, {"MO", "PM", "XOM", "CVX", "BTU", "LMT"})
        assert not found.missed, preset.id
        assert found.recall_ppm == 1_000_000
        assert preset.source


def test_the_command_line_lists_shows_builds_and_explains():
    assert len(list(cli_text.list_lines())) == len(BASKETS) + 1
    page = "\n".join(cli_text.show_lines("theme-water"))
    assert all(row.symbol in page for row in CATALOG.get("theme-water").constituents)
    assert "the same bytes" in "\n".join(cli_text.build_lines("theme-water"))
    assert "is not in" in "\n".join(cli_text.explain_lines("esg-fossil-free", "xom"))
    inside = CATALOG.get("esg-fossil-free").constituents[0].symbol
    assert "is in with" in "\n".join(cli_text.explain_lines("esg-fossil-free", inside))
    assert "was not considered" in next(cli_text.explain_lines("theme-water", "AAPL"))
    with pytest.raises(BasketsError):
        list(cli_text.build_lines("theme-unicorns"))
