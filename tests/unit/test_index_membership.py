"""Who is in the index, when, and with what weight: dates, buffer, one line each, caps, bytes."""

import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import pytest

from baskets import index_text
from baskets.data_files import read_text
from baskets.errors import BuildError, RecipeError
from baskets.index import Departure, found, index_history, large_cap, large_cap_history
from baskets.index_companies import carried, companies_of
from baskets.index_dates import review_of, reviews, third_friday
from baskets.index_rules import FOLDER, LARGE_CAP, load_rulebook, rulebook_from
from baskets.index_weights import capped, shares_ppm
from baskets.securities import Security, Universe
from baskets.universe import load_universe

RULES = load_rulebook()
TEXT = read_text(FOLDER, f"{LARGE_CAP}.toml")
HOLIDAYS = {date(2026, 6, 19), date(2026, 11, 26), date(2026, 12, 25), date(2027, 1, 1)}
SESSIONS = [
    day
    for number in range(1000)
    if (day := date(2026, 1, 1) + timedelta(number)).weekday() < 5 and day not in HOLIDAYS
]
SMALL = replace(RULES, id="small", names=6, enter_rank=4, stay_rank=8, issuer_ppm_max=1_000_000)


def company(number, size, *, basis="estimate", cik=None, tier="large"):
    return Security(
        id=number,
        symbol=f"S{number}",
        name=f"Company {number}",
        cik=cik or f"{number:010d}",
        isin=None,
        sector="technology",
        group="software",
        source_label="",
        country="US",
        size_tier=tier,
        size_cents=size if basis != "unknown" else None,
        size_basis=basis,
        seed_size_cents=size,
        profitable=None,
        fiscal_year=None,
        source="test",
        as_of=date(2026, 7, 13),
    )


def universe(*sizes):
    """Return companies 1, 2, ... of these sizes; 0 leaves one out."""
    rows = (company(number, size) for number, size in enumerate(sizes, start=1) if size)
    return Universe(tuple(rows), "test", date(2026, 7, 13))


def ids(index):
    return {row.security_id for row in index.members}


def after_review(before, after):
    """Return the index founded on some sizes and reviewed in September on others."""
    known = {SMALL.base_on: universe(*before), date(2026, 8, 20): universe(*after)}
    return index_history(SMALL, known, SESSIONS, date(2026, 10, 1)).members(date(2026, 10, 1))


def test_the_index_has_five_hundred_companies_one_line_each_and_weights_of_a_million():
    index = large_cap()

    assert len(index.members) == 500
    assert len({row.cik for row in index.members}) == 500
    assert sum(index.weights_ppm.values()) == 1_000_000
    assert max(index.weights_ppm.values()) <= RULES.issuer_ppm_max
    assert [row.weight_ppm for row in index.members] == sorted(
        index.weights_ppm.values(), reverse=True
    )


def test_nobody_outside_is_larger_than_anybody_inside_at_the_founding():
    inside = {row.cik for row in large_cap().members}
    companies = companies_of(load_universe())

    assert {row.cik for row in companies[:500]} == inside


def test_two_share_classes_weigh_as_one_company_of_their_sum():
    lines = [row for row in load_universe().securities if row.symbol in {"GOOG", "GOOGL"}]
    member = next(row for row in large_cap().members if row.cik == lines[0].cik)

    assert len(lines) == 2
    assert member.symbol == "GOOG"
    assert member.size_cents == sum(row.size_cents for row in lines)


def test_every_weight_says_on_what_it_rests_and_the_note_adds_up():
    index = large_cap()

    assert {row.basis for row in index.members} == {"estimate", "tier"}
    assert sum(index.basis_ppm.values()) == 1_000_000
    assert "not market capitalisations" in index.note
    assert "nothing is known" in index.note


def test_imported_capitalisations_take_over_and_are_labelled():
    apple = load_universe().by_symbol["AAPL"]
    real = load_universe().with_sizes({apple.id: 10**12})

    index = found(RULES, real)

    member = next((row for row in index.members if row.security_id == apple.id), None)
    assert member is not None
    assert member.basis == "imported"
    assert index.basis_ppm["imported"] == member.weight_ppm
    assert "imported market capitalisations" in index.note


def test_a_whole_capitalisation_stated_for_both_classes_counts_once_different_ones_add_up():
    both = [company(1, 900, basis="imported", cik="x"), company(2, 900, basis="imported", cik="x")]
    own = [company(1, 500, basis="imported", cik="x"), company(2, 400, basis="imported", cik="x")]
    one = [company(1, 900, basis="imported", cik="x"), company(2, 77, cik="x")]

    for rows in (both, own, one):
        companies = companies_of(Universe(tuple(rows), "test", SMALL.base_on))
        assert [(row.size_cents, row.basis) for row in companies] == [(900, "imported")]


def test_sizes_are_carried_by_prices_keep_their_labels_and_need_both_closes():
    rows = (company(1, 900), company(2, 800), company(3, 700, basis="unknown"), company(4, 600))
    now = carried(
        Universe(rows, "test", SMALL.base_on), {1: 10, 2: 10, 3: 10}, {1: 5, 2: 15, 3: 20}
    )

    assert [(row.size_cents, row.seed_size_cents) for row in now.securities] == [
        (450, 450),
        (1200, 1200),
        (None, 1400),
        (600, 600),
    ]
    assert [(row.line.id, row.basis) for row in companies_of(now)] == [
        (3, "tier"),
        (2, "estimate"),
        (4, "estimate"),
        (1, "estimate"),
    ]


def test_a_line_stays_while_it_trades_even_if_another_class_becomes_larger():
    rows = (company(1, 400, cik="x"), company(2, 500, cik="x"))

    new = companies_of(Universe(rows, "test", SMALL.base_on))
    incumbent = companies_of(Universe(rows, "test", SMALL.base_on), {1})

    assert new[0].line.id == 2
    assert incumbent[0].line.id == 1


def test_a_member_stays_down_to_the_buffers_end_and_a_newcomer_waits_for_its_top():
    # Founded: 1 to 6. Then 7 overtakes 6 and 5 (rank 5), 5 and 6 fall to ranks 6 and 7: within 8.
    index = after_review((90, 80, 70, 60, 50, 40, 30, 20, 10), (90, 80, 70, 60, 40, 35, 45, 20, 10))

    assert ids(index) == {1, 2, 3, 4, 5, 6}
    assert index.changes == ()


def test_a_newcomer_in_the_top_displaces_the_lowest_member_of_the_buffer():
    # 7 jumps to rank 4: in. 4, 5, 6 are at 5, 6, 7; two places are left: 6 goes.
    index = after_review((90, 80, 70, 60, 50, 40, 30, 20, 10), (90, 80, 70, 60, 50, 40, 65, 20, 10))

    assert ids(index) == {1, 2, 3, 4, 5, 7}
    assert [(row.symbol, row.added, row.code, row.rank) for row in index.changes] == [
        ("S6", False, "no_room", 7),
        ("S7", True, "ranked_in", 4),
    ]


def test_a_member_behind_the_buffer_goes_and_the_best_ranked_fills_its_place():
    # 6 falls to rank 9, behind 8; 7 has rank 6 and fills the place.
    index = after_review((90, 80, 70, 60, 50, 40, 30, 20, 10), (90, 80, 70, 60, 50, 5, 30, 20, 10))

    assert ids(index) == {1, 2, 3, 4, 5, 7}
    assert [(row.symbol, row.code) for row in index.changes] == [
        ("S6", "ranked_out"),
        ("S7", "filled_place"),
    ]


def test_a_member_gone_from_the_universe_is_replaced_and_keeps_its_founding_date_otherwise():
    index = after_review((90, 80, 70, 60, 50, 40, 30), (90, 0, 70, 60, 50, 40, 30))

    assert [(row.symbol, row.code) for row in index.changes] == [
        ("S2", "not_in_universe"),
        ("S7", "filled_place"),
    ]
    entered = {row.symbol: row.entered_on for row in index.members}
    assert entered["S1"] == SMALL.base_on
    assert entered["S7"] == date(2026, 9, 18)


def test_a_review_uses_what_was_known_at_its_reference_date_not_later():
    known = {SMALL.base_on: universe(*range(90, 0, -10)), date(2026, 9, 1): universe(*range(1, 10))}
    history = index_history(SMALL, known, SESSIONS, date(2026, 12, 31))

    # The turned ranks were known on 1 September, a day after the reference of the September review.
    assert ids(history.members(date(2026, 10, 1))) == {1, 2, 3, 4, 5, 6}
    assert ids(history.members(date(2026, 12, 18))) == {4, 5, 6, 7, 8, 9}
    assert history.members(date(2026, 12, 17)) == history.members(date(2026, 9, 18))


def test_a_later_end_of_history_never_changes_an_earlier_membership():
    known = {SMALL.base_on: universe(*range(90, 0, -10)), date(2026, 9, 1): universe(*range(1, 10))}
    short = index_history(SMALL, known, SESSIONS, date(2026, 10, 1))
    long = index_history(SMALL, known, SESSIONS, date(2027, 6, 30))

    for number in range((date(2026, 10, 1) - SMALL.base_on).days):
        day = SMALL.base_on + timedelta(number)
        assert short.members(day).artefact == long.members(day).artefact


def test_a_departure_between_reviews_leaves_at_once_and_its_place_is_filled_at_the_next():
    known = {SMALL.base_on: universe(*range(90, 0, -10))}
    gone = Departure(date(2026, 10, 5), 2, "cash merger")
    history = index_history(SMALL, known, SESSIONS, date(2026, 12, 31), [gone])

    assert 2 in ids(history.members(date(2026, 10, 4)))
    between = history.members(date(2026, 10, 5))
    assert ids(between) == {1, 3, 4, 5, 6}
    # 90 + 70 + 60 + 50 + 40 = 310 shared by size.
    assert between.weights_ppm[1] == round(90 / 310 * 1_000_000)
    # The universe of July still lists it; that it left is known, so it does not come back.
    assert ids(history.members(date(2026, 12, 31))) == {1, 3, 4, 5, 6, 7}


def test_a_company_listed_again_in_a_later_universe_may_come_back():
    known = {
        SMALL.base_on: universe(*range(90, 0, -10)),
        date(2026, 11, 20): universe(*range(90, 0, -10)),
    }
    gone = Departure(date(2026, 10, 5), 2, "delisting")

    history = index_history(SMALL, known, SESSIONS, date(2026, 12, 31), [gone])

    assert 2 in ids(history.members(date(2026, 12, 31)))


@pytest.mark.parametrize(
    ("day", "code"),
    [(date(2026, 7, 12), "index_before_founding"), (date(2027, 1, 1), "index_beyond_history")],
)
def test_a_day_of_which_nothing_is_known_is_refused(day, code):
    history = index_history(
        SMALL, {SMALL.base_on: universe(*range(90, 0, -10))}, SESSIONS, date(2026, 12, 31)
    )

    with pytest.raises(BuildError) as refused:
        history.members(day)

    assert refused.value.code == code


def test_a_history_without_a_universe_or_with_too_few_companies_is_refused():
    for known, code in (
        ({date(2027, 1, 1): universe(*range(90, 0, -10))}, "index_no_universe"),
        ({SMALL.base_on: universe(3, 2, 1)}, "too_few_companies"),
    ):
        with pytest.raises(BuildError) as refused:
            index_history(SMALL, known, SESSIONS, date(2026, 12, 31))
        assert refused.value.code == code


def test_third_fridays_and_what_a_holiday_does_to_them():
    june = review_of(RULES, SESSIONS, 2026, 6)

    # 19 June 2026 is Juneteenth: the change moves to Thursday, the announcement with it.
    assert third_friday(2026, 6) == date(2026, 6, 19)
    assert june.effective_on == date(2026, 6, 18)
    assert june.announced_on == date(2026, 6, 11)
    assert june.reference_on == date(2026, 5, 29)


def test_four_reviews_a_year_none_on_the_founding_none_after_the_end():
    days = [
        row.effective_on for row in reviews(RULES, SESSIONS, date(2026, 3, 20), date(2027, 3, 19))
    ]

    assert days == [date(2026, 6, 18), date(2026, 9, 18), date(2026, 12, 18), date(2027, 3, 19)]
    assert not list(reviews(RULES, SESSIONS, date(2026, 6, 18), date(2026, 9, 17)))
    assert list(reviews(RULES, SESSIONS, date(2026, 6, 17), date(2026, 6, 18)))


def test_sessions_that_do_not_reach_so_far_are_refused():
    for sessions in (SESSIONS[:40], SESSIONS[110:], []):
        with pytest.raises(BuildError) as refused:
            review_of(RULES, sessions, 2026, 6)
        assert refused.value.code == "sessions_too_short"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("names = 500", "names = 0"),
        ("names = 500", "names = true"),
        ("names = 500", 'names = "500"'),
        ("enter_rank = 450", "enter_rank = 501"),
        ("stay_rank = 550", "stay_rank = 499"),
        ("[3, 6, 9, 12]", "[3, 3]"),
        ("[3, 6, 9, 12]", "[13]"),
        ("[3, 6, 9, 12]", "[]"),
        ("[3, 6, 9, 12]", "[1.5]"),
        ("announce_sessions = 5", "announce_sessions = -1"),
        ("issuer_ppm_max = 80000", "issuer_ppm_max = 1999"),
        ("issuer_ppm_max = 80000", ""),
        ("version = 1", "version = 1\nsurprise = 1"),
        ("base_on = 2026-07-13", "base_on = 2026-07-13T00:00:00"),
        ('id = "us-large-cap-500"', 'id = "other"'),
    ],
)
def test_a_malformed_rulebook_is_refused(old, new):
    assert old in TEXT
    with pytest.raises(RecipeError) as refused:
        rulebook_from(TEXT.replace(old, new), f"{LARGE_CAP}.toml")

    assert refused.value.code == "index_rules_malformed"


def test_a_rulebook_that_is_no_toml_is_refused():
    with pytest.raises(RecipeError) as refused:
        rulebook_from("names = = 3", "x.toml")

    assert refused.value.code == "index_rules_syntax"


def test_the_cap_cuts_the_largest_and_gives_it_to_the_others_by_size():
    # 60 + 20 + 10 + 10 at a cap of 40 %: 40 stay, so the first counts as 40 / 0.6 x 0.4 = 26.67.
    sizes = capped((60_000, 20_000, 10_000, 10_000), 400_000)

    assert sizes == (26_666, 20_000, 10_000, 10_000)
    assert shares_ppm(sizes) == (399_994, 300_003, 150_002, 150_001)


def test_cutting_one_can_make_the_next_exceed_the_cap_too():
    sizes = capped((70, 26, 2, 2), 450_000)

    # Of 100, 26 keep the cap; of 30 + 45 % they do not: both are cut to 45 % of 40.
    assert sizes == (18, 18, 2, 2)


def test_caps_that_hold_exactly_the_whole_make_all_equal_and_fewer_are_refused():
    assert capped((5, 1, 1, 1), 250_000) == (1, 1, 1, 1)
    for sizes, ppm, code in (
        ((5, 1, 1), 333_333, "caps_infeasible"),
        ((5, 0), 1_000_000, "size_not_positive"),
        ((), 1_000_000, "size_not_positive"),
    ):
        with pytest.raises(BuildError) as refused:
            capped(sizes, ppm)
        assert refused.value.code == code


def test_a_capped_index_weighs_the_cap_and_the_rest_by_size():
    rules = replace(SMALL, issuer_ppm_max=300_000)
    index = found(rules, universe(900, 100, 50, 50, 50, 50, 10))

    weights = index.weights_ppm
    assert weights[1] <= 300_000
    assert weights[1] >= 299_000
    assert abs(Fraction(weights[2], weights[3]) - 2) < Fraction(1, 10_000)


def test_the_artefact_is_the_same_bytes_in_another_process_and_as_committed():
    code = (
        "from baskets.index import large_cap;"
        "import sys; sys.stdout.buffer.write(large_cap().artefact)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    index = large_cap()
    assert done.stdout == index.artefact
    rows = read_text(FOLDER, "versions.csv").splitlines()
    assert rows[0] == "id,rulebook_version,effective_on,sha256"
    assert f"{index.id},{index.version},{index.effective_on},{index.sha256}" in rows


def test_baskets_needs_no_numpy_to_build_its_indexes():
    code = (
        "import sys, pkgutil, importlib;"
        "sys.modules['numpy'] = None;"
        "import baskets;"
        "names = [one.name for one in pkgutil.iter_modules(baskets.__path__)];"
        "[importlib.import_module(f'baskets.{name}') for name in names];"
        "from baskets.index import large_cap;"
        "print(len(large_cap().members))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "500", done.stderr


def test_the_pages_say_what_is_in_since_when_and_what_comes_next():
    history = large_cap_history(SESSIONS, date(2026, 11, 20))
    index = history.members(date(2026, 11, 20))

    page = "\n".join(index_text.show_lines(index, RULES, SESSIONS))
    rows = list(index_text.member_lines(index))
    built = "\n".join(index_text.build_lines(lambda: history.members(date(2026, 9, 18))))

    assert "effective at the close of 2026-12-18" in page
    assert "not market capitalisations" in page
    assert len(rows) == 501
    assert rows[1].startswith("7,AAPL,0000320193,technology,")
    assert "the same bytes" in built
