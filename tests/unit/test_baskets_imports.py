"""Vendors' files: samples written from the vendors' own shapes, and everything that is refused."""

import csv
import io
from datetime import date
from pathlib import Path

import pytest

from baskets.errors import DataFileError, ImportFileError
from baskets.facts import Facts, load_facts
from baskets.import_cells import Cells
from baskets.imports import PROBLEMS_MAX, import_rows
from baskets.involvement import Kind
from baskets.scores import ScoreTable
from baskets.screens import Outcome, screen_of
from baskets.values import Band, Word
from baskets.vendor_files import long_csv, mapping_from, mappings, wide_csv

SAMPLES = Path(__file__).parents[1] / "samples" / "vendors"
FACTS = load_facts()
UNIVERSE = FACTS.universe
TODAY = date(2026, 7, 13)
GOOD = {
    "vendor": "ethos_like",
    "as_of": "2026-06-30",
    "id_type": "ticker",
    "id": "WMT",
    "metric": "fair_pay",
    "value_num": "6.5",
    "unit": "score",
    "scale": "0..10",
    "basis": "estimated",
    "quality": "3",
}


def sample(name):
    return (SAMPLES / name).read_text(encoding="utf-8")


def wide(name, vendor, **more):
    mapping = mappings()[vendor]
    rows = wide_csv(sample(name), mapping)
    return import_rows(rows, UNIVERSE, label_bands=mapping.label_bands, **more)


def of(symbol):
    return UNIVERSE.by_symbol[symbol]


def value(report, symbol, metric, part=""):
    found = [
        row.value
        for row in report.rows
        if (row.key.security_id, row.key.metric, row.key.part) == (of(symbol).id, metric, part)
    ]
    assert len(found) == 1, (symbol, metric, part, found)
    return found[0]


def ends(band):
    assert isinstance(band, Band)
    return band.low, band.central, band.high


def problem(**changes):
    report = import_rows([Cells(2, {**GOOD, **changes})], UNIVERSE)
    assert not report.rows
    (found,) = report.problems
    return found


def with_report(report):
    return FACTS.with_scores(ScoreTable().append(report.rows), TODAY)


def test_msci_like_maximum_revenue_is_the_upper_end_of_a_range():
    report = wide("msci_like.csv", "msci")

    assert report.clean
    assert ends(value(report, "PM", "tobacco", "any")) == (0, 460_000, 920_000)
    assert ends(value(report, "BRK.B", "alcohol", "distribution")) == (0, 2_000, 4_000)
    assert value(report, "AAPL", "iva") == Word("AA", value(report, "AAPL", "iva").origin)
    assert value(report, "BA", "controversial_weapons_tie").text == "yes"
    assert ends(value(report, "AAPL", "emissions"))[1] == 15_300_000_000
    assert ends(value(report, "BA", "intensity"))[1] == 31_400


def test_msci_like_rows_about_others_and_empty_cells_are_no_data():
    report = wide("msci_like.csv", "msci")

    assert report.outside_universe > 0
    assert not [
        row
        for row in report.rows
        if (row.key.security_id, row.key.metric) == (of("MSFT").id, "iva")
    ]
    coverage = {(row.vendor, row.metric): row.securities for row in report.coverage}
    assert coverage["msci", "iva"] == 4
    assert coverage["msci", "ungc"] == 5


def test_sustainalytics_like_bands_become_low_and_high_and_zero_is_in_the_first():
    report = wide("sustainalytics_like.csv", "sustainalytics")

    assert report.clean
    assert ends(value(report, "WMT", "tobacco", "retail")) == (0, 24_500, 49_000)
    assert ends(value(report, "XOM", "oil_gas", "production")) == (500_000, 750_000, 1_000_000)
    assert ends(value(report, "MGM", "gambling", "production")) == (500_000, 750_000, 1_000_000)
    assert ends(value(report, "AAPL", "tobacco", "production")) == (0, 0, 0)
    assert ends(value(report, "XOM", "risk"))[1] == 41_600


def test_sustainalytics_like_label_that_contradicts_its_score_is_rejected():
    text = sample("sustainalytics_like.csv").replace("41.6,Severe", "41.6,Low")
    mapping = mappings()["sustainalytics"]

    report = import_rows(wide_csv(text, mapping), UNIVERSE, label_bands=mapping.label_bands)

    (found,) = report.problems
    assert (found.line, found.column, found.code) == (
        4,
        "ESG Risk Score",
        "label_contradicts_score",
    )


def test_lseg_like_identifiers_need_a_crosswalk_where_only_the_ric_is_there():
    without = wide("lseg_like.csv", "lseg")
    with_it = wide("lseg_like.csv", "lseg", crosswalk={("ric", "MMM.N"): of("MMM").id})

    assert without.clean
    assert without.outside_universe == 6
    assert ends(value(with_it, "MMM", "esg"))[1] == 70_700
    assert value(with_it, "AAPL", "esg_grade").text == "A-"


def test_the_long_form_declares_percent_and_fraction_and_both_mean_the_same_unit():
    report = import_rows(long_csv(sample("long_form.csv")), UNIVERSE)

    assert report.clean
    assert ends(value(report, "AAPL", "dividend_yield"))[1] == 4_000
    assert ends(value(report, "T", "dividend_yield"))[1] == 47_000
    assert ends(value(report, "AAPL", "market_cap"))[1] == 350_000_000_000_000


def test_imported_rows_fill_the_fields_of_a_screen():
    facts = with_report(import_rows(long_csv(sample("long_form.csv")), UNIVERSE))

    screen = screen_of("require credit_rating >= A- and dividend_yield < 1%", facts)
    assert screen.judge(of("AAPL")).outcome is Outcome.PASS
    assert screen.judge(of("T")).outcome is Outcome.REJECT
    assert screen.judge(of("MSFT")).outcome is Outcome.REJECT  # not known
    pay = screen_of("require score.ethos_like.fair_pay >= 6.5", facts)
    assert pay.judge(of("WMT")).outcome is Outcome.PASS
    assert facts.universe.by_symbol["AAPL"].size_basis == "imported"


def test_imported_involvement_stands_before_rules_and_the_highest_end_wins():
    facts = with_report(wide("msci_like.csv", "msci"))
    both = FACTS.with_scores(
        ScoreTable()
        .append(wide("msci_like.csv", "msci").rows)
        .append(import_rows(long_csv(sample("long_form.csv")), UNIVERSE).rows),
        TODAY,
    )

    pm = facts.universe.by_symbol["PM"]
    assert facts.share(pm, "tobacco", Kind.ANY).high == 920_000
    assert facts.share(pm, "tobacco", Kind.ANY).origin.source == "msci"
    wmt = both.universe.by_symbol["WMT"]
    assert both.share(wmt, "tobacco", Kind.RETAIL).high == 49_000
    assert FACTS.share(pm, "tobacco", Kind.ANY).origin.source == "RULE"


def test_a_row_is_not_in_force_before_its_effective_date():
    table = ScoreTable().append(import_rows(long_csv(sample("long_form.csv")), UNIVERSE).rows)

    assert "credit_rating" not in FACTS.with_scores(table, date(2026, 6, 28)).measures
    assert "credit_rating" in FACTS.with_scores(table, date(2026, 6, 29)).measures


def test_history_is_append_only_and_a_new_date_is_a_diff():
    first = import_rows([Cells(2, GOOD), Cells(3, {**GOOD, "id": "T"})], UNIVERSE).rows
    later = import_rows(
        [
            Cells(2, {**GOOD, "as_of": "2026-07-07", "value_num": "6.0"}),
            Cells(3, {**GOOD, "as_of": "2026-07-07", "id": "T"}),
            Cells(4, {**GOOD, "as_of": "2026-07-07", "id": "AAPL"}),
        ],
        UNIVERSE,
    ).rows
    rewritten = import_rows([Cells(2, {**GOOD, "value_num": "9"})], UNIVERSE).rows

    table = ScoreTable().append(first).append(first).append(later)
    changes = table.changes("ethos_like", date(2026, 6, 30), date(2026, 7, 7))

    assert table.dates("ethos_like") == (date(2026, 6, 30), date(2026, 7, 7))
    seen = {
        (row.security_id, row.before and row.before.central, row.after.central) for row in changes
    }
    assert seen == {(of("WMT").id, 6_500, 6_000), (of("AAPL").id, None, 6_500)}
    assert len(table.latest(TODAY)) == 3
    with pytest.raises(ImportFileError) as caught:
        table.append(rewritten)
    assert caught.value.code == "row_rewrites_history"


def test_a_duplicated_datum_is_rejected_with_its_line():
    report = import_rows([Cells(2, GOOD), Cells(7, {**GOOD, "id": "wmt"})], UNIVERSE)

    assert [(row.line, row.code) for row in report.problems] == [(7, "duplicate_row")]
    assert len(report.rows) == 1


@pytest.mark.parametrize(
    ("changes", "column", "code"),
    [
        ({"vendor": ""}, "vendor", "bad_name"),
        ({"vendor": "rule"}, "vendor", "reserved_vendor"),
        ({"vendor": "a b"}, "vendor", "bad_name"),
        ({"vendor": "é"}, "vendor", "bad_name"),
        ({"metric": "x" * 41}, "metric", "bad_name"),
        ({"metric": "1st"}, "metric", "bad_name"),
        ({"id": ""}, "id", "missing_value"),
        ({"id": "W\x00MT"}, "id", "bad_text"),
        ({"id": "\ud800"}, "id", "bad_text"),
        ({"id": "W" * 501}, "id", "bad_text"),
        ({"id_type": "name"}, "id_type", "bad_choice"),
        ({"as_of": "30.06.2026"}, "as_of", "bad_date"),
        ({"as_of": "2026-02-30"}, "as_of", "bad_date"),
        ({"effective_from": "soon"}, "effective_from", "bad_date"),
        ({"unit": "stars"}, "unit", "bad_choice"),
        ({"sub_metric": "eating"}, "sub_metric", "bad_choice"),
        ({"basis": "guess"}, "basis", "bad_choice"),
        ({"quality": "6"}, "quality", "bad_choice"),
        ({"quality": ""}, "quality", "bad_choice"),
        ({"higher_is_better": "maybe"}, "higher_is_better", "bad_choice"),
        ({"value_num": ""}, "value_num", "missing_value"),
        ({"value_num": "6,5"}, "value_num", "bad_number"),
        ({"value_num": "NaN"}, "value_num", "bad_number"),
        ({"value_num": "1e400"}, "value_num", "bad_number"),
        ({"value_num": "Infinity"}, "value_num", "bad_number"),
        ({"value_num": "1_0"}, "value_num", "bad_number"),
        ({"value_num": "٦"}, "value_num", "bad_number"),
        ({"value_num": "9" * 400}, "value_num", "bad_number"),
        ({"value_num": "10.1"}, "value_num", "out_of_scale"),
        ({"value_num": "\u22121"}, "value_num", "out_of_scale"),
        ({"scale": ""}, "scale", "undeclared_scale"),
        ({"scale": "0.."}, "scale", "undeclared_scale"),
        ({"scale": "a..b"}, "scale", "bad_number"),
        ({"value_text": "Good"}, "value_text", "label_without_bands"),
        ({"low": "1"}, "low", "half_a_band"),
        ({"basis": "range"}, "low", "half_a_band"),
        ({"low": "7", "high": "9"}, "low", "band_not_in_order"),
        ({"low": "9", "high": "2", "value_num": ""}, "low", "band_not_in_order"),
        ({"unit": "pct_revenue", "scale": ""}, "scale", "undeclared_scale"),
        ({"unit": "pct_revenue", "scale": "fraction"}, "value_num", "out_of_scale"),
        ({"unit": "pct", "scale": "percent", "value_num": "100.1"}, "value_num", "out_of_scale"),
        ({"unit": "rating", "scale": "stars"}, "scale", "undeclared_scale"),
        ({"unit": "rating", "scale": "credit", "value_text": "ZZ"}, "value_text", "bad_choice"),
        ({"unit": "flag", "value_text": "perhaps"}, "value_text", "bad_choice"),
        ({"unit": "usd", "value_num": "-1"}, "value_num", "out_of_scale"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named_by_line_column_and_code(changes, column, code):
    found = problem(**changes)

    assert (found.line, found.column, found.code) == (2, column, code)


def test_a_hopeless_file_is_not_read_to_its_end():
    rows = (Cells(line, {**GOOD, "unit": "x"}) for line in range(2, 10**9))

    assert len(import_rows(rows, UNIVERSE).problems) == PROBLEMS_MAX


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_header"),
        ("vendor,vendor\n", "bad_header"),
        ("vendor,as_of\n", "bad_header"),
        ("vendor,as_of,id_type,id,metric,unit,secret\n", "bad_header"),
        ("vendor,as_of,id_type,id,metric,unit\na,b\n", "ragged_row"),
        ("vendor,as_of,id_type,id,metric,unit\n\x00\n", "not_text"),
        ('vendor,as_of,id_type,id,metric,unit\n"a\n', "not_csv"),
        ('vendor,as_of,id_type,id,metric,unit\n"a"b,1,1,1,1,1\n', "not_csv"),
        ("vendor,as_of,id_type,id,metric,unit\n" + "x" * 501 + ",1,1,1,1,1\n", "not_text"),
        ("\n".join(["vendor,as_of,id_type,id,metric,unit", '"' + "x" * 200_000]), "not_csv"),
    ],
)
def test_a_file_that_is_not_the_long_form_is_refused_whole(text, code):
    with pytest.raises(ImportFileError) as caught:
        list(long_csv(text))

    assert caught.value.code == code


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(GOOD), lineterminator="\r\n")
    writer.writeheader()
    writer.writerow(GOOD)

    report = import_rows(long_csv("\ufeff" + lines.getvalue()), UNIVERSE)

    assert report.clean
    assert len(report.rows) == 1


def test_a_wide_file_without_a_mapped_column_is_refused():
    with pytest.raises(ImportFileError) as caught:
        list(wide_csv("ISSUER_TICKER\nAAPL\n", mappings()["msci"]))

    assert caught.value.code == "bad_header"
    assert "GAM_MAX_REV_PCT" in caught.value.detail


def test_a_band_that_the_mapping_does_not_know_is_rejected_not_guessed():
    text = sample("sustainalytics_like.csv").replace("50-100,0,0,0\n", "50+,0,0,0\n")
    mapping = mappings()["sustainalytics"]

    report = import_rows(wide_csv(text, mapping), UNIVERSE, label_bands=mapping.label_bands)

    assert [(row.line, row.column) for row in report.problems] == [(4, "Oil & Gas Production")]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"vendor": "x", "version": "1", "identifier": [], "field": [{"column": "A"}]},
        {
            "vendor": "x",
            "version": "1",
            "identifier": [],
            "field": [{"column": "A", "uint": "pct"}],
        },
    ],
)
def test_a_broken_mapping_is_refused(document):
    with pytest.raises(DataFileError):
        mapping_from(document)


def test_facts_are_values_and_an_import_changes_none_in_use():
    before = FACTS.universe.by_symbol["AAPL"].size_cents

    with_report(import_rows(long_csv(sample("long_form.csv")), UNIVERSE))

    assert FACTS.universe.by_symbol["AAPL"].size_cents == before
    assert isinstance(FACTS, Facts)
