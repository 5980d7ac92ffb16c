"""Involvement and the rule-based grade: parts add up, unknown stays unknown, points explained."""

import pytest

from baskets.errors import DataFileError
from baskets.involvement import Kind, involvement_from, load_involvement
from baskets.scores import GRADED_ACTIVITIES, RULE_LABEL, exposure_grade
from baskets.taxonomy import load_taxonomy
from baskets.universe import load_universe
from baskets.values import Band, Origin

UNIVERSE = load_universe()
INVOLVEMENT = load_involvement()


def share(symbol, activity, kind=Kind.ANY, involvement=INVOLVEMENT):
    return involvement.share(UNIVERSE.by_symbol[symbol], activity, kind)


def test_cigarette_makers_are_found_by_rule_and_software_is_clean_by_rule():
    assert share("MO", "tobacco", Kind.PRODUCTION).low >= 800_000
    assert (share("MSFT", "tobacco").high, share("MSFT", "tobacco").origin.source) == (0, "RULE")


def test_a_utility_s_share_of_fossil_power_is_not_known():
    assert share("SO", "fossil_power") is None


def test_an_activity_that_rules_cannot_see_is_unknown_without_an_override():
    assert not INVOLVEMENT.activities["palm_oil"].by_rule
    assert share("NVDA", "palm_oil") is None


def test_any_is_the_sum_of_the_parts():
    parts = [share("WMT", "tobacco", kind) for kind in Kind if kind is not Kind.ANY]

    whole = share("WMT", "tobacco")

    assert whole.high == sum(part.high for part in parts)
    assert whole.central == sum(part.central for part in parts)


def test_an_imported_row_beats_override_and_rule():
    mo = UNIVERSE.by_symbol["MO"]
    band = Band.exactly(123, Origin("vendor", "reported", 1))

    grown = INVOLVEMENT.with_imported({(mo.id, "tobacco", Kind.PRODUCTION): band})

    assert share("MO", "tobacco", Kind.PRODUCTION, grown) is band
    assert share("MO", "tobacco", Kind.ANY, grown).high == 123
    assert share("PM", "tobacco", Kind.ANY, grown) == share("PM", "tobacco")


BAND = {"activity": "tobacco", "kind": "any", "low": 1, "central": 1, "high": 1, "quality": 3}
OVERRIDE = {**BAND, "symbol": "A", "reason": "x"}


@pytest.mark.parametrize(
    "rows",
    [
        {"rule": [{"activity": "nothing", "kind": "any"}]},
        {"rule": [{"activity": "tobacco", "kind": "eating"}]},
        {"rule": [{**BAND, "low": 5, "central": 3, "high": 9}]},
        {"override": [OVERRIDE, OVERRIDE]},
    ],
)
def test_a_broken_involvement_file_is_refused(rows):
    activities = {"tobacco": {"name": "Tobacco", "coverage": "rule"}}

    with pytest.raises(DataFileError):
        involvement_from({"activities": activities, **rows})


def test_every_graded_activity_exists_and_is_seen_by_rules():
    assert all(INVOLVEMENT.activities[key].by_rule for key in GRADED_ACTIVITIES)


def test_the_grade_is_five_minus_its_explained_points():
    taxonomy = load_taxonomy()

    for row in UNIVERSE.securities:
        grade = exposure_grade(row, INVOLVEMENT, taxonomy)
        points = sum(int(reason.split()[0]) for reason in grade.reasons)
        assert grade.grade == max(1, 5 + points)
        assert grade.value().origin.source == "RULE"


def test_oil_is_graded_worst_and_software_best():
    taxonomy = load_taxonomy()

    assert exposure_grade(UNIVERSE.by_symbol["XOM"], INVOLVEMENT, taxonomy).grade == 1
    assert exposure_grade(UNIVERSE.by_symbol["ADBE"], INVOLVEMENT, taxonomy).grade == 5
    assert "not a rating by any vendor" in RULE_LABEL
