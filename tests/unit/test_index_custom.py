"""Custom indexes: what a file or a filter gives, and how hostile files are refused."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baskets import index_text
from baskets.errors import BuildError, IndexFileError, ScreenError
from baskets.facts import load_facts
from baskets.index_custom import (
    BYTES_MAX,
    FAULTS_MAX,
    Title,
    index_from_csv,
    index_from_filter,
    index_from_toml,
)

FACTS = load_facts()
TITLE = Title("mine", "Mine", 1, date(2026, 11, 20))
HEAD = 'id = "mine"\nname = "Mine"\nversion = 1\nas_of = 2026-11-20\n'


def from_csv(text):
    content = text if isinstance(text, bytes) else text.encode()
    return index_from_csv(content, TITLE, FACTS.universe)


def from_toml(text):
    return index_from_toml(text.encode(), FACTS)


def weights(index):
    return {row.symbol: row.weight_ppm for row in index.members}


def refused(make, given):
    with pytest.raises(IndexFileError) as caught:
        make(given)
    return caught.value


def test_percentages_that_were_rounded_are_taken_as_the_whole():
    index = from_csv("symbol,weight_percent\nAAPL,50.1\nMSFT,49.7\n")

    # 50.1 / 99.8 and 49.7 / 99.8.
    assert weights(index) == {"AAPL": 502_004, "MSFT": 497_996}
    assert index.note == "Weights rest: 100 % on weights given in a file."
    assert index.basis_ppm["given"] == 1_000_000


def test_relative_weights_need_no_sum_and_share_classes_are_written_in_any_way():
    index = from_csv("\ufeffweight_relative,symbol\r\n3,brk-b\r\n1,BF/B\r\n".encode())

    assert weights(index) == {"BRK.B": 750_000, "BF.B": 250_000}


def test_parts_per_million_are_kept_as_they_are():
    assert weights(from_csv("symbol,weight_ppm\nAAPL,999999\nMSFT,1\n"))["MSFT"] == 1


def test_a_toml_of_weights_is_the_same_index_as_the_csv():
    toml = from_toml(HEAD + '[weights]\nunit = "percent"\nAAPL = 50.1\nMSFT = 49.7\n')

    assert toml.artefact == from_csv("symbol,weight_percent\nAAPL,50.1\nMSFT,49.7\n").artefact


def test_a_filter_takes_who_passes_by_size_and_its_tilts_multiply():
    plain = index_from_filter(TITLE, FACTS, "require sector = energy")
    tilted = index_from_filter(TITLE, FACTS, "require sector = energy\ntilt symbol = XOM by +100%")

    sectors = {row.sector for row in plain.members}
    before, after = weights(plain), weights(tilted)
    assert sectors == {"energy"}
    assert list(before.values()) == sorted(before.values(), reverse=True)
    odds = Fraction(after["XOM"], after["CVX"]) / Fraction(before["XOM"], before["CVX"])
    assert abs(odds - 2) < Fraction(1, 10_000)


def test_a_filter_in_a_toml_keeps_its_count_its_weighing_and_its_cap():
    text = (
        HEAD
        + "issuer_ppm_max = 300000\n[selection]\nfilter = 'require sector = energy'\n"
        + 'names_max = 4\nweights = "equal"\n'
    )

    index = from_toml(text)

    assert set(weights(index).values()) == {250_000}
    assert index.screen == "require sector = energy"
    assert index.kind == "filter"


def test_the_root_of_size_lies_between_equal_and_size():
    by_size, by_root = (
        index_from_filter(TITLE, FACTS, "require sector = energy", weights=kind)
        for kind in ("size", "sqrt_size")
    )

    first = by_size.members[0]
    assert 1_000_000 / len(by_root.members) < weights(by_root)[first.symbol] < first.weight_ppm


def test_two_classes_of_a_company_pass_a_filter_as_one():
    index = index_from_filter(TITLE, FACTS, "require group = online_platforms")

    assert len({row.cik for row in index.members}) == len(index.members)
    assert len({"GOOG", "GOOGL"} & weights(index).keys()) == 1


def test_an_excluded_class_does_not_speak_for_its_company():
    index = index_from_filter(
        TITLE, FACTS, "require group = online_platforms\nexclude symbol = GOOG"
    )

    assert "GOOGL" in weights(index)
    assert "GOOG" not in weights(index)


def test_a_filter_that_nobody_passes_or_that_is_wrong_is_refused():
    with pytest.raises(BuildError) as nobody:
        index_from_filter(TITLE, FACTS, "require symbol = NOPE")
    with pytest.raises(ScreenError):
        index_from_filter(TITLE, FACTS, "require nonsense = 1")

    assert nobody.value.code == "index_empty"


@pytest.mark.parametrize("cap", [0, -5, 1_000_001])
def test_a_cap_that_is_no_share_is_refused(cap):
    with pytest.raises(IndexFileError) as caught:
        index_from_filter(TITLE, FACTS, "require sector = energy", issuer_ppm_max=cap)

    assert [fault.code for fault in caught.value.faults] == ["index_key_malformed"]


def test_an_index_cannot_count_from_before_its_universe_was_known():
    known = FACTS.universe.as_of
    first = index_from_filter(Title("mine", "Mine", 1, known), FACTS, "require sector = energy")

    before = Title("mine", "Mine", 1, known - timedelta(days=1))
    with pytest.raises(BuildError) as caught:
        index_from_filter(before, FACTS, "require sector = energy")

    assert first.effective_on == known
    assert caught.value.code == "index_before_universe"


def test_tilts_that_leave_nothing_of_a_company_say_whom_to_exclude():
    text = "require sector = energy\n" + "tilt symbol = XOM by -90%\n" * 20

    with pytest.raises(BuildError, match="leave nothing of XOM; exclude it") as caught:
        index_from_filter(TITLE, FACTS, text)

    assert caught.value.code == "weight_too_small"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "index_file_header"),
        ("AAPL,50\nMSFT,50\n", "index_file_header"),
        ("symbol,weight\nAAPL,100\n", "index_file_header"),
        ("symbol,weight_percent,weight_ppm\nAAPL,100,1\n", "index_file_header"),
        ("symbol,symbol\nAAPL,AAPL\n", "index_file_header"),
        ("symbol,weight_percent\n", "index_empty"),
        ("symbol,weight_percent\nAAPL\n", "index_file_cells"),
        ("symbol,weight_percent\nAAPL,50,50\n", "index_file_cells"),
        ("symbol,weight_percent\nAAPL,100\nAAPL,0.1\n", "index_symbol_repeats"),
        ("symbol,weight_percent\nBRK.B,50\nBRK-B,50\n", "index_symbol_repeats"),
        ("symbol,weight_percent\nNOPE,100\n", "index_symbol_unknown"),
        ("symbol,weight_percent\n=cmd|' /C calc'!A0,100\n", "index_symbol_malformed"),
        ("symbol,weight_percent\n../../etc/passwd,100\n", "index_symbol_malformed"),
        ("symbol,weight_percent\nAAPL,0\n", "index_weight_not_positive"),
        ("symbol,weight_percent\nAAPL,0.000\n", "index_weight_not_positive"),
        ("symbol,weight_percent\nAAPL,-100\n", "index_weight_malformed"),
        ("symbol,weight_percent\nAAPL,1e2\n", "index_weight_malformed"),
        ("symbol,weight_percent\nAAPL,nan\n", "index_weight_malformed"),
        ("symbol,weight_percent\nAAPL,inf\n", "index_weight_malformed"),
        ("symbol,weight_percent\nAAPL,100%\n", "index_weight_malformed"),
        ('symbol,weight_percent\nAAPL,"1,00"\n', "index_weight_malformed"),
        ("symbol,weight_percent\nAAPL,\u0661\u0660\u0660\n", "index_weight_malformed"),
        (f"symbol,weight_percent\nAAPL,{'9' * 5000}\n", "index_weight_malformed"),
        ("symbol,weight_percent\nAAPL,99.4\n", "index_weight_sum"),
        ("symbol,weight_percent\nAAPL,100.6\n", "index_weight_sum"),
        ("symbol,weight_ppm\nAAPL,999999\n", "index_weight_sum"),
        ("symbol,weight_relative\nAAPL,100000000\nMSFT,1\n", "weight_too_small"),
        ('symbol,weight_percent\nAAPL,"100\n', "index_file_syntax"),
        ('symbol,weight_percent\n"AA"PL,100\n', "index_file_syntax"),
        (b"symbol,weight_percent\nAAPL\xff,100\n", "index_file_encoding"),
        (b"symbol,weight_percent\nAAPL\x00,100\n", "index_file_encoding"),
        ("symbol,weight_percent\nAAPL\u202e,100\n", "index_file_encoding"),
        (b"x" * (BYTES_MAX + 1), "index_file_too_large"),
    ],
)
def test_a_hostile_csv_is_refused_with_a_stable_code(text, code):
    assert refused(from_csv, text).code == code


def test_every_fault_is_told_with_its_line_and_not_more_than_fifty():
    error = refused(from_csv, "symbol,weight_percent\nNOPE,1\nAAPL,x\nAAPL\n")
    many = refused(from_csv, "symbol,weight_percent\n" + "?,1\n" * 1000)

    assert [(row.line, row.code) for row in error.faults] == [
        (2, "index_symbol_unknown"),
        (3, "index_weight_malformed"),
        (4, "index_file_cells"),
    ]
    assert "and 2 more" in error.detail
    assert len(many.faults) == FAULTS_MAX


def test_too_many_names_are_refused():
    lines = "".join(f"A{number},1\n" for number in range(5001))

    codes = {row.code for row in refused(from_csv, "symbol,weight_relative\n" + lines).faults}

    assert codes == {"index_too_many_names"} or "index_symbol_unknown" in codes


WEIGHTS = HEAD + '[weights]\nunit = "percent"\n'
SELECTION = HEAD + "[selection]\nfilter = 'require sector = energy'\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("= 1", "index_file_syntax"),
        ("a = " + "[" * 5000, "index_file_syntax"),
        ("a = " + "9" * 5000, "index_file_syntax"),
        ("a = 1e99999999999999999999", "index_file_syntax"),
        (HEAD, "index_key_malformed"),
        (SELECTION + "[weights]\nunit = 'ppm'\n", "index_key_malformed"),
        (WEIGHTS + "AAPL = inf\n", "index_weight_malformed"),
        (WEIGHTS + "AAPL = nan\n", "index_weight_malformed"),
        (WEIGHTS + "AAPL = 1e999999999\n", "index_weight_malformed"),
        (WEIGHTS + "AAPL = true\n", "index_weight_malformed"),
        (WEIGHTS + "AAPL = -100\n", "index_weight_malformed"),
        (WEIGHTS + "BRK.B = 100\n", "index_weight_malformed"),
        (WEIGHTS.replace("percent", "guess") + "AAPL = 100\n", "index_key_malformed"),
        (WEIGHTS.replace('unit = "percent"\n', "") + "AAPL = 100\n", "index_key_malformed"),
        (WEIGHTS.replace('id = "mine"', 'id = "../mine"') + "AAPL = 100\n", "index_key_malformed"),
        (WEIGHTS.replace('name = "Mine"', 'name = ""') + "AAPL = 100\n", "index_key_malformed"),
        (WEIGHTS.replace("version = 1", "version = true") + "AAPL = 100\n", "index_key_malformed"),
        (WEIGHTS.replace("2026-11-20", '"today"') + "AAPL = 100\n", "index_key_malformed"),
        ("issuer_ppm_max = 100000\n" + WEIGHTS + "AAPL = 100\n", "index_key_malformed"),
        ("surprise = 1\n" + SELECTION, "index_key_unknown"),
        (SELECTION + "surprise = 1\n", "index_key_unknown"),
        (SELECTION + "names_max = 0\n", "index_key_malformed"),
        (SELECTION + "names_max = true\n", "index_key_malformed"),
        (SELECTION + 'weights = "luck"\n', "index_key_malformed"),
        ("issuer_ppm_max = 0\n" + SELECTION, "index_key_malformed"),
    ],
)
def test_a_hostile_toml_is_refused_with_a_stable_code(text, code):
    assert refused(from_toml, text).code == code


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text(alphabet="symbol,weight_prcnt\n\"0.5AAPLMSFT;[]='", max_size=200).map(str.encode),
    )
)
def test_no_bytes_whatever_end_otherwise_than_in_an_index_or_a_stable_code(content):
    for make in (
        lambda: index_from_csv(content, TITLE, FACTS.universe),
        lambda: index_from_csv(b"symbol,weight_percent\n" + content, TITLE, FACTS.universe),
        lambda: index_from_toml(content, FACTS),
        lambda: index_from_toml(WEIGHTS.encode() + content, FACTS),
    ):
        try:
            index = make()
        except (IndexFileError, BuildError, ScreenError):
            continue
        assert sum(index.weights_ppm.values()) == 1_000_000


def test_the_command_line_chooses_the_reader_by_the_ending():
    day = date(2026, 11, 20)

    csv = index_text.custom(b"symbol,weight_percent\nAAPL,100\n", "x.csv", day, FACTS)
    toml = index_text.custom((WEIGHTS + "AAPL = 100\n").encode(), "X.TOML", day, FACTS)
    page = "\n".join(index_text.show_lines(csv, None, []))

    assert csv.effective_on == toml.effective_on == day
    assert "100 %  AAPL" in page
    assert "Next review" not in page
