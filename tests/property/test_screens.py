"""Screens, weights and imports for all inputs: nothing crashes, strict is safe, caps hold."""

import random
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from baskets.basket import Candidate
from baskets.errors import BuildError, ScreenError
from baskets.facts import Facts, Measure, load_facts
from baskets.import_cells import Cells
from baskets.imports import COLUMNS, import_rows
from baskets.screens import Outcome, screen_of
from baskets.universe import universe_of
from baskets.values import Band, FieldKind, Origin
from baskets.weighing import weights_ppm

FACTS = load_facts()
ONE = FACTS.universe.by_symbol["AAPL"]
SMALL = Facts(universe_of([ONE], "test", date(2026, 7, 13)), FACTS.taxonomy, FACTS.involvement)
ORIGIN = Origin("test", "range", 3)
WORDS = (
    "exclude require tilt by and or not in is known unknown strict lenient allow ask ( ) , ; = !="
    " < <= > >= 5% +20% $5bn 7 2.5 BBB+ yes no technology US sector size tobacco.any score.rule"
    ' symbol "a # \n \x00 \u00e9 10e400 0x1 %'
)
PIECES = st.sampled_from(WORDS.split(" "))


def error_of(text):
    try:
        screen_of(text, SMALL).judge(ONE)
    except ScreenError as error:
        return error
    return None


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_text_is_a_screen_or_an_error_with_a_place_inside_it(text):
    error = error_of(text)

    if error is not None:
        lines = text.split("\n")
        assert 1 <= error.place.line <= len(lines)
        assert 1 <= error.place.column <= len(lines[error.place.line - 1]) + 1


def with_band(low, central, high):
    measure = Measure(FieldKind.SHARE, {ONE.id: Band(low, central, high, ORIGIN)})
    return SMALL.with_measures({"dividend_yield": measure})


bands = st.lists(st.integers(0, 100), min_size=3, max_size=3).map(
    lambda ends: tuple(end * 10_000 for end in sorted(ends))
)
signs = st.sampled_from([">=", ">", "<", "<=", "=", "!="])


def expressions(limits):
    leaf = st.builds(lambda sign, limit: f"dividend_yield {sign} {limit}% @", signs, limits)
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            inner.map(lambda one: f"not ({one})"),
            st.builds(
                lambda a, word, b: f"({a} {word} {b})", inner, st.sampled_from(["and", "or"]), inner
            ),
        ),
        max_leaves=5,
    )


@settings(max_examples=600, deadline=None)
@given(bands, expressions(st.integers(0, 100)), st.sampled_from(["exclude", "require"]), st.data())
def test_what_passes_strictly_passes_wherever_in_the_band_the_truth_lies(
    band, expression, action, data
):
    text = f"{action} {expression}".replace("@", "strict")
    truth = data.draw(st.integers(band[0], band[2]))

    strict = screen_of(text, with_band(*band)).judge(ONE).outcome
    exact = screen_of(text, with_band(truth, truth, truth)).judge(ONE).outcome

    if strict is Outcome.PASS:
        assert exact is Outcome.PASS


@settings(max_examples=300, deadline=None)
@given(bands, expressions(st.integers(0, 100)), st.sampled_from(["exclude", "require"]))
def test_lenient_is_strict_at_the_centre(band, expression, action):
    text = f"{action} {expression}"

    lenient = screen_of(text.replace("@", "lenient"), with_band(*band)).judge(ONE).outcome
    centre = screen_of(text.replace("@", ""), with_band(*[band[1]] * 3)).judge(ONE).outcome

    assert lenient is centre


@settings(max_examples=300, deadline=None)
@given(expressions(st.integers(0, 100)), st.sampled_from(["exclude", "require"]))
def test_unknown_rejects_by_default_passes_if_allowed_and_asks_if_asked(expression, action):
    known_of_others = Measure(FieldKind.SHARE, {-1: Band.exactly(0, ORIGIN)})
    facts = SMALL.with_measures({"dividend_yield": known_of_others})
    text = f"{action} {expression}"

    outcomes = [
        screen_of(text.replace("@", f"unknown {policy}"), facts).judge(ONE).outcome
        for policy in ("exclude", "allow", "ask")
    ]

    assert outcomes == [Outcome.REJECT, Outcome.PASS, Outcome.ASK]


@st.composite
def ten_candidates(draw):
    sizes = draw(st.lists(st.integers(1, 10**15), min_size=10, max_size=10))
    tilts = draw(st.lists(st.integers(100_000, 4_000_000), min_size=10, max_size=10))
    sectors = draw(st.lists(st.sampled_from("abcdef"), min_size=10, max_size=10))
    assume(max(map(sectors.count, sectors)) <= 4)
    empty = Candidate(0, "", "", "", "", "", None, 0, 0, "", "")
    rows = zip(sizes, tilts, sectors, strict=True)
    return [
        replace(empty, security_id=n, sector=sector, size_cents=size, tilt_ppm=tilt)
        for n, (size, tilt, sector) in enumerate(rows)
    ]


@settings(max_examples=500, deadline=None)
@given(ten_candidates(), st.sampled_from(["equal", "size", "sqrt_size"]))
def test_weights_keep_every_cap_and_sum_to_the_whole(candidates, method):
    weights = weights_ppm(candidates, method, 150_000, 400_000)

    assert sum(weights) == 1_000_000
    assert 0 <= min(weights) <= max(weights) <= 150_000
    for sector in "abcdef":
        held = [w for w, row in zip(weights, candidates, strict=True) if row.sector == sector]
        assert sum(held) <= 400_000


@settings(max_examples=200, deadline=None)
@given(ten_candidates(), st.sampled_from(["equal", "size", "sqrt_size"]), st.randoms())
def test_weights_do_not_depend_on_the_order_of_the_names(candidates, method, rng):
    shuffled = list(candidates)
    rng.shuffle(shuffled)

    one = dict(zip(candidates, weights_ppm(candidates, method, 150_000, 400_000), strict=True))
    other = dict(zip(shuffled, weights_ppm(shuffled, method, 150_000, 400_000), strict=True))

    assert one == other


@settings(max_examples=200, deadline=None)
@given(ten_candidates())
def test_a_stronger_name_of_a_sector_never_weighs_less(candidates):
    weights = weights_ppm(candidates, "size", 150_000, 400_000)

    power = {row.security_id: row.size_cents * row.tilt_ppm for row in candidates}
    for one, weight in zip(candidates, weights, strict=True):
        for other, lighter in zip(candidates, weights, strict=True):
            if one.sector == other.sector and power[one.security_id] > power[other.security_id]:
                assert weight >= lighter - 1  # a part per million of rounding


def test_caps_that_cannot_hold_the_whole_are_refused():
    empty = Candidate(0, "", "", "", "a", "", None, 1, 1_000_000, "", "")
    six = [replace(empty, security_id=n) for n in range(6)]

    with pytest.raises(BuildError):
        weights_ppm(six, "equal", 150_000, 1_000_000)


CELLS = (
    "AAPL msci 2026-06-30 ticker score 0..100 percent pct_revenue 5 -1 tobacco any range reported"
)
CELL = st.sampled_from(["", "3", "yes", "NaN", "1e400", "\x00", "\ud800", "9" * 40, *CELLS.split()])


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(COLUMNS), CELL | st.text(max_size=20), max_size=18))
def test_any_row_is_taken_or_reported_and_never_raises(texts):
    report = import_rows([Cells(2, texts)], SMALL.universe)

    assert len(report.rows) + len(report.problems) + report.outside_universe == 1


def test_a_thousand_random_good_rows_are_all_taken():
    rng = random.Random(7)
    base = {
        "vendor": "v",
        "as_of": "2026-06-30",
        "id_type": "ticker",
        "metric": "m",
        "unit": "score",
    }
    base |= {"scale": "0..100", "basis": "estimated", "quality": "2"}
    symbols = rng.sample(sorted(FACTS.universe.by_symbol), 1_000)

    report = import_rows(
        (
            Cells(n, {**base, "id": symbol, "value_num": f"{rng.uniform(0, 100):.3f}"})
            for n, symbol in enumerate(symbols)
        ),
        FACTS.universe,
    )

    assert report.clean
    assert report.coverage[0].securities == 1_000
