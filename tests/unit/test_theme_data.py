"""The hand-written data of the baskets: taxonomy, involvement, fallback list and theme recipes.

Read here straight from the files and the data package, not through `baskets`, so that a fault in a
loader cannot hide a fault in the data.
"""

import csv
import datetime as dt
import re
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "baskets" / "data"
RECIPES = sorted((DATA / "recipes").glob("theme-*.toml"))
SECTORS = {
    "communication",
    "consumer_discretionary",
    "consumer_staples",
    "energy",
    "financials",
    "health_care",
    "industrials",
    "technology",
    "materials",
    "real_estate",
    "utilities",
}
KINDS = {"production", "retail", "distribution", "support", "transport", "generation", "any"}
TAGS = {
    "environment",
    "climate",
    "health",
    "equality",
    "faith",
    "animals",
    "peace",
    "education",
    "technology",
    "energy",
    "infrastructure",
    "consumer",
    "finance",
    "space",
    "food",
    "housing",
    "entertainment",
    "security",
    "mobility",
}
CAP_NAMES = 4
"""At 10 % each, four names fill a sector's 40 %."""


def _toml(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _universe():
    spec = find_spec("pitindex")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    members = {}
    for name in ("sp500_current.csv", "sp400_current.csv", "sp600_current.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as lines:
            members.update((row["ticker"], row) for row in csv.DictReader(lines))
    return members


UNIVERSE = _universe()
TAXONOMY = _toml(DATA / "taxonomy.toml")
INVOLVEMENT = _toml(DATA / "involvement.toml")
THEMES = {path.stem: _toml(path) for path in RECIPES}


def _sector(symbol):
    label = UNIVERSE[symbol]["gics_sub_industry"]
    return TAXONOMY["groups"][TAXONOMY["labels"][label]]["sector"]


def test_the_universe_is_the_one_the_data_was_written_for():
    assert len(UNIVERSE) == 1505


def test_every_label_of_the_universe_leads_to_a_group_and_no_other_label_does():
    labels = {row["gics_sub_industry"] for row in UNIVERSE.values()}

    assert len(labels) == 155
    assert set(TAXONOMY["labels"]) == labels
    assert set(TAXONOMY["labels"].values()) == set(TAXONOMY["groups"])


def test_there_are_eleven_sectors_and_each_has_groups():
    assert set(TAXONOMY["sectors"]) == SECTORS
    assert {group["sector"] for group in TAXONOMY["groups"].values()} == SECTORS


def test_every_group_has_its_own_name_and_an_emission_class():
    names = [group["name"] for group in TAXONOMY["groups"].values()]

    assert len(set(names)) == len(names)
    assert {group["emission_class"] for group in TAXONOMY["groups"].values()} == {1, 2, 3, 4, 5}


def test_our_sector_names_are_not_the_sources():
    theirs = {row["gics_sector"] for row in UNIVERSE.values()}
    ours = {sector["name"] for sector in TAXONOMY["sectors"].values()}

    assert len(ours) == len(SECTORS)
    assert len(ours & theirs) == 0


def test_every_activity_says_how_it_is_covered():
    activities = INVOLVEMENT["activities"]

    assert {row["coverage"] for row in activities.values()} == {"rule", "overrides_only"}
    for key, row in activities.items():
        rules = [rule for rule in INVOLVEMENT["rule"] if rule["activity"] == key]
        assert bool(rules) == (row["coverage"] == "rule"), key


@pytest.mark.parametrize("table", ["rule", "override"])
def test_every_involvement_row_is_an_ordered_range_or_says_that_it_is_unknown(table):
    for row in INVOLVEMENT[table]:
        assert row["activity"] in INVOLVEMENT["activities"], row
        assert row["kind"] in KINDS, row
        if row.get("unknown"):
            assert not {"low", "central", "high"} & set(row), row
        else:
            assert 0 <= row["low"] <= row["central"] <= row["high"] <= 100, row


def test_every_rule_names_labels_that_exist_and_says_why():
    for rule in INVOLVEMENT["rule"]:
        assert bool(rule.get("labels")) != bool(rule.get("groups")), rule
        assert set(rule.get("labels", ())) <= set(TAXONOMY["labels"]), rule
        assert set(rule.get("groups", ())) <= set(TAXONOMY["groups"]), rule
        assert rule["basis"] in {"certain", "typical", "ambiguous"}, rule
        assert rule["quality"] in {3, 4, 5}, rule
        assert rule["note"].endswith("."), rule


def test_no_label_is_ruled_twice_for_the_same_activity_and_kind():
    seen = Counter(
        (rule["activity"], rule["kind"], label)
        for rule in INVOLVEMENT["rule"]
        for label in rule.get("labels", ())
    )

    assert [key for key, count in seen.items() if count > 1] == []


def test_every_override_names_a_member_and_the_filing_it_rests_on():
    for row in INVOLVEMENT["override"]:
        assert row["symbol"] in UNIVERSE, row
        assert row["basis"] == "override", row
        assert row["quality"] in {3, 4, 5}, f"no range was copied from a filing: {row}"
        assert row["reason"].startswith("Form 10"), row
        assert row["reason"].endswith("."), row
        assert 40 <= len(row["reason"]) <= 220, row


def test_no_company_is_overridden_twice_for_the_same_activity_and_kind():
    seen = Counter((row["symbol"], row["activity"], row["kind"]) for row in INVOLVEMENT["override"])

    assert [key for key, count in seen.items() if count > 1] == []


@pytest.mark.parametrize(
    ("symbol", "activity", "kind"),
    [
        ("VICI", "gambling", "support"),
        ("GLPI", "gambling", "support"),
        ("OLN", "civilian_firearms", "production"),
        ("AXON", "civilian_firearms", "production"),
        ("HON", "weapons", "support"),
        ("J", "weapons", "support"),
        ("CAT", "weapons", "support"),
        ("HWM", "weapons", "production"),
        ("TDG", "weapons", "production"),
        ("CSX", "thermal_coal", "transport"),
        ("NSC", "thermal_coal", "transport"),
        ("UNP", "thermal_coal", "transport"),
        ("TPL", "oil_gas", "production"),
        ("DAL", "oil_gas", "production"),
        ("BRK.B", "oil_gas", "distribution"),
    ],
)
def test_the_known_misses_of_the_rules_are_overridden(symbol, activity, kind):
    rows = [
        row
        for row in INVOLVEMENT["override"]
        if (row["symbol"], row["activity"], row["kind"]) == (symbol, activity, kind)
    ]

    assert len(rows) == 1


def test_every_aerospace_and_defence_company_has_its_own_weapons_row():
    members = {
        symbol
        for symbol, row in UNIVERSE.items()
        if row["gics_sub_industry"] == "Aerospace & Defense"
    }

    covered = {row["symbol"] for row in INVOLVEMENT["override"] if row["activity"] == "weapons"}

    assert members - covered == set()


def test_the_fallback_universe_agrees_with_the_package_and_spans_all_sectors():
    with (DATA / "universe_min.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))

    assert list(rows[0]) == ["symbol", "name", "cik", "source_label", "country"]
    assert len({row["symbol"] for row in rows}) == len(rows) >= 150
    for row in rows:
        known = UNIVERSE[row["symbol"]]
        assert (row["name"], row["cik"]) == (known["name"], known["cik"]), row
        assert row["source_label"] == known["gics_sub_industry"], row
        assert re.fullmatch(r"[A-Z]{2}", row["country"]), row
    assert min(Counter(_sector(row["symbol"]) for row in rows).values()) >= 6
    assert {_sector(row["symbol"]) for row in rows} == SECTORS


def test_at_least_twelve_themes_are_offered():
    assert len(THEMES) >= 12


@pytest.mark.parametrize("slug", THEMES)
def test_a_theme_says_what_it_is(slug):
    theme = THEMES[slug]

    assert theme["id"] == slug
    assert theme["family"] == "theme"
    assert theme["version"] == 1
    assert theme["as_of"] == dt.date(2026, 7, 13)
    assert theme["sentence"].startswith("Ten companies ")
    assert 60 <= len(theme["sentence"]) <= 220
    assert theme["values"]
    assert set(theme["values"]) <= TAGS
    assert theme["selection"]["kind"] == "list"
    assert theme["weights"]["method"] in {"equal", "size", "sqrt_size"}


@pytest.mark.parametrize("slug", THEMES)
def test_a_theme_has_at_least_fifteen_candidates_of_the_universe_each_once(slug):
    symbols = [candidate["symbol"] for candidate in THEMES[slug]["candidate"]]

    assert len(symbols) >= 15
    assert len(set(symbols)) == len(symbols)
    assert set(symbols) <= set(UNIVERSE)


@pytest.mark.parametrize("slug", THEMES)
def test_every_candidate_has_one_checkable_sentence_and_its_source(slug):
    for candidate in THEMES[slug]["candidate"]:
        sentence = candidate["sentence"]
        assert 40 <= len(sentence) <= 220, candidate
        assert sentence.endswith("."), candidate
        assert re.match(r"[A-Z]\w+s\b", sentence), f"starts with what it does: {candidate}"
        assert not re.search(r"\b(leading|best|largest in the world|world-class)\b", sentence)
        assert not re.search(r"\d+ ?(%|percent|million|billion)", sentence), "figures age"
        assert candidate["source"].startswith("Form 10-K"), candidate


@pytest.mark.parametrize("slug", THEMES)
def test_no_two_candidates_of_a_theme_are_the_same_company(slug):
    ciks = [UNIVERSE[candidate["symbol"]]["cik"] for candidate in THEMES[slug]["candidate"]]

    assert len(set(ciks)) == len(ciks)


@pytest.mark.parametrize("slug", THEMES)
def test_a_theme_can_fill_ten_places_within_its_sector_cap_or_says_why_not(slug):
    theme = THEMES[slug]
    counts = Counter(_sector(candidate["symbol"]) for candidate in theme["candidate"])
    places = sum(min(CAP_NAMES, count) for count in counts.values())

    waived = "sectors_note" in theme

    assert waived == ("sector_ppm_max" in theme)
    assert waived == (theme["risk_hint"] == "focused")
    assert waived == (places < 10), (places, counts)


def test_the_page_about_themes_lists_every_theme_with_its_number_of_candidates():
    page = (ROOT / "docs" / "themes.md").read_text(encoding="utf-8")

    for theme in THEMES.values():
        cap = "waived" if "sectors_note" in theme else "40 %"
        row = f"| {theme['name']} | `{theme['id']}` | {len(theme['candidate'])} | {cap} |"
        assert row in page
