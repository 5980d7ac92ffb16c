"""The universe: permanent ids, figures written by people, sizes, and life without packages."""

import hashlib
import subprocess
import sys
from datetime import date

import pytest

from baskets import figures, security_ids
from baskets.data_files import read_text
from baskets.errors import DataFileError
from baskets.places import country_of
from baskets.taxonomy import load_taxonomy
from baskets.universe import load_universe, normal_symbol
from baskets.universe_sources import MinimalUniverse, PackagedUniverse, first_available

FIRST_IDS = 1_505
FIRST_IDS_SHA256 = "5bf4a57d72bdaec1fd5a0f359ebf172f573e3176d065df8e3eb80bae6411b757"
"""Of the header and the first 1,505 rows; if this fails, ids moved: restore the file."""


class Missing:
    name = "a source that is not installed"

    def load(self):
        message = "not there"
        raise DataFileError(message, code="package_missing")


@pytest.mark.parametrize(
    ("text", "cents", "year"),
    [
        ("US$112 billion (2025)", 11_200_000_000_000, 2025),
        ("US$ \u2212536 million (2024)", -53_600_000_000, 2024),
        ("\u2212US$1.43 billion (2024)", -143_000_000_000, 2024),
        ("US$ (240) million (2024)", -24_000_000_000, 2024),
        ("US$ (47 million) (2024)", -4_700_000_000, 2024),
        ("- US$ 1.1 billion (2025)", -110_000_000_000, 2025),
        ("22,726,418,000 United States dollar (2022)", 2_272_641_800_000, 2022),
        ("US$ 103,996,000 (2023)", 10_399_600_000, 2023),
        ("US$12.4 billion (FY25)", 1_240_000_000_000, 2025),
        ("US$ 216.4M ( FY 2024 )", 21_640_000_000, 2024),
        ("US$11.0 billion : 20 (2025)", 1_100_000_000_000, 2025),
        ("$432 million (FY 2025)", 43_200_000_000, 2025),
        ("$3.5 billion (2023) $2.9 billion (2022)", 350_000_000_000, 2023),
    ],
)
def test_a_published_figure_is_read_with_sign_scale_and_year(text, cents, year):
    assert figures.parse_figure(text) == figures.Figure(cents, year)


@pytest.mark.parametrize(
    "text",
    [
        "US$188.89 million",  # no year
        "US$ 102.7 million (FY19)",  # too old
        "US$ 55.5 M ( Q4 2025 )",  # a quarter
        "€1.996 billion (2024)",
        "8.861 billion Euros (2024)",
        "¥3,000 billion (2024)",
        "US$ 0 30.0 million (2024)",
        "62 (2024)",  # less than a million without saying so
        "",
        "about a billion",
        None,
        17,
        ["US$1 billion (2024)"],
    ],
)
def test_a_figure_that_is_not_certain_is_not_known(text):
    assert figures.parse_figure(text) is None


def test_a_typing_error_of_a_thousand_is_not_plausible():
    income, revenue = (
        figures.Figure(-61_220_000_000_000, 2025),
        figures.Figure(90_000_000_000, 2025),
    )

    assert not figures.plausible(income, revenue)
    assert figures.plausible(figures.Figure(-2_000_000, 2025), figures.Figure(1_000_000, 2025))


def test_size_follows_the_published_formula():
    income, revenue = figures.Figure(10**11, 2024), figures.Figure(10**12, 2024)  # $1bn, $10bn

    size = figures.size_estimate_cents("industrials", income, revenue)

    # exp(0.6 ln(22e9) + 0.4 ln(19e9)) = 20.75e9
    assert size in {2070000000000, 2080000000000}


def test_head_offices_lead_to_countries_and_never_guess():
    assert country_of("Cupertino, California") == "US"
    assert country_of("Columbus, Georgia;Dublin, Ireland") == "US"
    assert country_of("Dublin, Ireland") == "IE"
    assert country_of("Atlantis, Lost City") is None
    assert country_of(None) is None


def test_the_packaged_universe_has_all_names_known_labels_and_unique_ids():
    universe = load_universe()

    assert len(universe.securities) == 1_505
    assert len(universe.by_id) == len(universe.by_symbol) == 1_505
    assert {row.sector for row in universe.securities} == set(load_taxonomy().sectors)
    assert universe.by_symbol["BRK.B"].cik == "0001067983"
    assert sum(row.profitable is None for row in universe.securities) > 0
    assert all(row.size_basis == "unknown" for row in universe.securities if row.size_cents is None)
    assert all(row.seed_size_cents > 0 for row in universe.securities)


def test_share_classes_of_one_company_split_its_size():
    universe = load_universe()

    assert universe.by_symbol["GOOG"].size_cents == universe.by_symbol["GOOGL"].size_cents


def test_loss_makers_and_thin_margins_do_not_become_giants():
    universe = load_universe()

    assert universe.size_rank[universe.by_symbol["CNC"].id] > 100
    assert universe.size_rank[universe.by_symbol["AAPL"].id] <= 3


def test_companies_led_from_abroad_are_not_called_american():
    universe = load_universe()

    assert universe.by_symbol["ACN"].country == "IE"
    assert universe.by_symbol["AAPL"].country == "US"


def test_reading_the_lists_imports_neither_their_package_nor_pandas():
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from baskets.universe import load_universe; load_universe()\n"
        "print(sorted({'pitindex', 'pandas', 'requests', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_without_packages_the_hand_written_universe_is_used():
    universe = first_available((Missing(), MinimalUniverse()))

    assert universe.source == MinimalUniverse.name
    assert 140 <= len(universe.securities) <= 300
    for row in universe.securities:
        assert load_universe().by_id[row.id].symbol == row.symbol


def test_without_any_source_the_last_problem_is_raised():
    with pytest.raises(DataFileError, match="not there"):
        first_available((Missing(),))


def test_imported_capitalisations_replace_estimates_and_say_so():
    universe = load_universe()
    apple = universe.by_symbol["AAPL"]

    grown = universe.with_sizes({apple.id: 10**15})

    assert grown.by_id[apple.id].size_cents == 10**15
    assert grown.by_id[apple.id].size_basis == "imported"
    assert grown.size_rank[apple.id] == 1
    assert grown.by_symbol["MSFT"].size_basis == "estimate"


def test_symbols_are_written_one_way():
    assert {normal_symbol(text) for text in ("BRK.B", "brk/b", " BRK-B ")} == {"BRK.B"}


def test_permanent_ids_never_change_order_or_owner():
    lines = read_text("security_ids.csv").splitlines(keepends=True)

    digest = hashlib.sha256("".join(lines[: FIRST_IDS + 1]).encode()).hexdigest()

    assert digest == FIRST_IDS_SHA256


def test_new_names_get_new_ids_behind_the_old_rows():
    rows = security_ids.load()

    grown = security_ids.append_missing(rows, [("9999999999", "NEWCO")], date(2027, 1, 4))

    assert grown[: len(rows)] == rows
    assert grown[-1].security_id == max(row.security_id for row in rows) + 1
    assert security_ids.parse(security_ids.as_text(grown)) == grown
    assert security_ids.append_missing(grown, [("9999999999", "NEWCO")], date(2028, 1, 3)) == grown


def test_a_renamed_company_keeps_its_id():
    rows = security_ids.load()
    meta = next(row for row in rows if row.symbol == "META")

    grown = security_ids.append_missing(
        rows, [(meta.cik, "FB")], date(2027, 1, 4), renamed_from={"FB": "META"}
    )

    assert grown[-1].security_id == meta.security_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "symbol\nA\n",
        "security_id,symbol,cik,first_seen\n1,A\n",
        "security_id,symbol,cik,first_seen\n1,A,1,2026-01-01\n2,A,1,2026-01-01\n",
    ],
)
def test_a_broken_id_file_is_refused(text):
    with pytest.raises(DataFileError):
        security_ids.parse(text)


def test_the_committed_ids_cover_the_packaged_universe():
    known = security_ids.by_key(security_ids.load())

    assert all((row.cik, row.symbol) in known for row in PackagedUniverse().load().securities)
