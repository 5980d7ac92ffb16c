"""The filter language: what it says about bands and unknowns, and where its errors point."""

from datetime import date

import pytest

from baskets.errors import Place, ScreenError
from baskets.facts import Facts, Measure, volatility_measures
from baskets.involvement import involvement_from
from baskets.screen_fields import fields_of
from baskets.screen_parser import DEPTH_MAX, LIST_LENGTH_MAX, STATEMENTS_MAX
from baskets.screens import Outcome, exclusions_of, screen_of
from baskets.taxonomy import taxonomy_from
from baskets.universe import Security, universe_of
from baskets.values import Band, FieldKind, Origin, Word

AS_OF = date(2026, 7, 13)
TAXONOMY = taxonomy_from(
    {
        "sectors": {"shops": {"name": "Shops"}, "makers": {"name": "Makers"}},
        "groups": {
            "grocers": {"name": "Grocers", "sector": "shops", "emission_class": 2},
            "smoke": {"name": "Cigarettes", "sector": "makers", "emission_class": 4},
            "power": {"name": "Power", "sector": "makers", "emission_class": 5},
        },
        "labels": {"Grocer": "grocers", "Smoke": "smoke", "Power": "power"},
    }
)


def rule(activity, kind, label, low=0, central=0, high=0, **more):
    return {
        "activity": activity,
        "kind": kind,
        "labels": [label],
        "low": low,
        "central": central,
        "high": high,
        "basis": "typical",
        "quality": 4,
        **more,
    }


INVOLVEMENT = involvement_from(
    {
        "activities": {
            "tobacco": {"name": "Tobacco", "coverage": "rule"},
            "fossil_power": {"name": "Fossil power", "coverage": "rule"},
            "palm_oil": {"name": "Palm oil", "coverage": "overrides_only"},
        },
        "rule": [
            rule("tobacco", "production", "Smoke", 80, 95, 100),
            rule("tobacco", "retail", "Grocer", 0, 2, 8),
            rule("fossil_power", "generation", "Power", unknown=True),
        ],
        "override": [
            {
                "symbol": "BB",
                "activity": "palm_oil",
                "kind": "production",
                "low": 30,
                "central": 40,
                "high": 50,
                "quality": 2,
                "reason": "Form 10-K, Item 1: plantations.",
            }
        ],
    }
)


def security(number, symbol, label, **changes):
    group = TAXONOMY.group_of(label)
    values = {
        "id": number,
        "symbol": symbol,
        "name": f"{symbol} Company",
        "cik": f"{number:010}",
        "isin": None,
        "sector": group.sector,
        "group": group.key,
        "source_label": label,
        "country": "US",
        "size_tier": "large",
        "size_cents": number * 10**12,
        "size_basis": "estimate",
        "seed_size_cents": number * 10**12,
        "profitable": True,
        "fiscal_year": 2025,
        "source": "test",
        "as_of": AS_OF,
    }
    return Security(**{**values, **changes})


GROCER = security(1, "AA", "Grocer")
SMOKE = security(2, "BB", "Smoke")
POWER = security(3, "CC.A", "Power", country=None, profitable=None, size_cents=None)
FACTS = Facts(universe_of([GROCER, SMOKE, POWER], "test", AS_OF), TAXONOMY, INVOLVEMENT)
REPORTED = Origin("rater", "reported", 1)


def judged(text, who, facts=FACTS):
    return screen_of(text, facts).judge(who)


def outcome(text, who, facts=FACTS):
    return judged(text, who, facts).outcome


def failure(text, facts=FACTS):
    with pytest.raises(ScreenError) as caught:
        screen_of(text, facts)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "exclude tobacco.any >= 5%",
        "EXCLUDE tobacco.production > 0%",
        "require tobacco.any < 5%",
        "exclude symbol = BB",
        'exclude symbol in ("bb", zz)',
        "require symbol not in (BB)",
        "exclude name = 'x' or sector = makers".replace("'", '"'),
        "exclude group in (smoke, power) and country = us",
        "require size <= $10bn  # cents behind it",
        "require size < $20000m",
        "exclude size_rank = 1",
        "exclude emission_class >= 4",
        "require score.rule >= 4",
        "exclude not (emission_class < 4 or country = IE)",
        "require palm_oil.any < 10%",
        "exclude profitable = yes and fiscal_year in (2024, 2025) and sector != shops",
        "require tobacco.any is unknown",
        "exclude size_tier = large; require sector = shops",
    ],
)
def test_these_reject_the_cigarette_maker(text):
    assert outcome(text, SMOKE) is Outcome.REJECT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment",
        ";;\n\n;",
        "exclude tobacco.any < 5%",
        "require tobacco.production >= 50%",
        "exclude sector = shops\nrequire profitable = yes",
        "require size >= $20bn and size <= $20bn",
        "require symbol is known",
        "require (emission_class = 4\n   and country = US)",
        "exclude not profitable = yes",
    ],
)
def test_these_let_the_cigarette_maker_pass(text):
    assert outcome(text, SMOKE) is Outcome.PASS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The grocer sells 0 to 8 % tobacco, most likely 2 %.
        ("exclude tobacco.any >= 5%", Outcome.REJECT),
        ("exclude tobacco.any >= 5% strict", Outcome.REJECT),
        ("exclude tobacco.any >= 5% lenient", Outcome.PASS),
        ("exclude tobacco.any >= 2% lenient", Outcome.REJECT),
        ("exclude tobacco.any > 8%", Outcome.PASS),
        ("exclude tobacco.any >= 8%", Outcome.REJECT),
        ("require tobacco.any < 5%", Outcome.REJECT),
        ("require tobacco.any < 5% lenient", Outcome.PASS),
        ("require tobacco.any <= 8%", Outcome.PASS),
        ("require not tobacco.any >= 5%", Outcome.REJECT),
        ("exclude not tobacco.any < 5%", Outcome.REJECT),
        ("exclude not tobacco.any <= 8%", Outcome.PASS),
        ("exclude tobacco.any = 3%", Outcome.REJECT),
        ("exclude tobacco.any = 9%", Outcome.PASS),
        ("exclude tobacco.any >= 5% and emission_class > 2", Outcome.PASS),
        ("exclude tobacco.any >= 5% or emission_class <= 2", Outcome.REJECT),
    ],
)
def test_strict_tests_the_end_of_the_band_that_hurts_and_lenient_its_centre(text, expected):
    assert outcome(text, GROCER) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exclude fossil_power.any >= 50%", Outcome.REJECT),
        ("exclude fossil_power.any >= 50% unknown exclude", Outcome.REJECT),
        ("exclude fossil_power.any >= 50% unknown allow", Outcome.PASS),
        ("exclude fossil_power.any >= 50% unknown ask", Outcome.ASK),
        ("exclude not fossil_power.any < 50% unknown allow", Outcome.PASS),
        ("require fossil_power.any < 50% unknown allow", Outcome.PASS),
        ("require not fossil_power.any >= 50% unknown allow", Outcome.PASS),
        ("require not fossil_power.any >= 50%", Outcome.REJECT),
        ("require country = US", Outcome.REJECT),
        ("require country = US unknown ask", Outcome.ASK),
        ("require country = US unknown ask; exclude sector = makers", Outcome.REJECT),
        ("require profitable = yes", Outcome.REJECT),
        ("exclude profitable = no", Outcome.REJECT),
        ("exclude size < $1bn", Outcome.REJECT),
        ("require size is unknown", Outcome.PASS),
        ("exclude palm_oil.any >= 1% lenient unknown allow", Outcome.PASS),
        ("exclude palm_oil.any >= 1%", Outcome.REJECT),
        ("exclude country = US or sector = makers", Outcome.REJECT),
        ("exclude country = US and sector = shops", Outcome.PASS),
    ],
)
def test_what_is_not_known_never_passes_unless_the_screen_says_so(text, expected):
    assert outcome(text, POWER) is expected


def test_exclusions_are_the_statements_that_exclude_and_can_be_judged():
    text = (
        "require size_tier = small; exclude tobacco.any >= 5%\n"
        "tilt size_tier = large by +5%; exclude score.nobody >= 3; require score.nobody >= 3"
    )

    screen = exclusions_of(text, FACTS)

    assert [one.text for one in screen.statements] == ["exclude tobacco.any >= 5%"]
    assert [screen.judge(one).outcome for one in (GROCER, SMOKE, POWER)] == [
        Outcome.REJECT,
        Outcome.REJECT,
        Outcome.PASS,
    ]


def test_what_was_let_through_unknown_is_listed():
    verdict = judged("exclude palm_oil.any >= 1% unknown allow", GROCER)

    assert verdict.outcome is Outcome.PASS
    assert verdict.allowed_unknown == ("palm_oil.any",)


@pytest.mark.parametrize(
    ("text", "who", "code"),
    [
        ("exclude tobacco.any >= 5%", SMOKE, "excluded"),
        ("exclude tobacco.any >= 5%", GROCER, "excluded_uncertain"),
        ("exclude fossil_power.any >= 5%", POWER, "excluded_unknown"),
        ("require sector = shops", SMOKE, "required_not_met"),
        ("require tobacco.any < 5%", GROCER, "required_uncertain"),
        ("require country = US", POWER, "required_unknown"),
        ("require country = US unknown ask", POWER, "needs_answer"),
    ],
)
def test_every_reject_has_a_stable_code(text, who, code):
    assert [finding.code for finding in judged(text, who).findings] == [code]


def test_a_reject_shows_statement_value_basis_and_quality():
    verdict = judged("# tobacco\n\nexclude sector = shops and tobacco.any >= 5%", GROCER)

    (finding,) = verdict.findings
    assert finding.line == 3
    assert finding.sentence() == (
        "`exclude sector = shops and tobacco.any >= 5%` - sector is shops (test, listed, quality"
        " 2); tobacco.any is 0 % to 8 % (most likely 2 %) (RULE, typical, quality 4)"
    )


def test_a_reject_shows_only_the_comparisons_that_led_to_it():
    verdict = judged("exclude tobacco.any >= 5% or emission_class >= 5", SMOKE)

    assert [piece.field for piece in verdict.findings[0].evidence] == ["tobacco.any"]


def test_tilts_multiply_and_stay_out_of_what_is_not_certain():
    text = "tilt sector = makers by +20%\ntilt emission_class >= 4 by -50%"

    assert judged(text, SMOKE).tilt_ppm == 600_000  # 1.2 x 0.5
    assert judged(text, GROCER).tilt_ppm == 1_000_000
    assert judged("tilt tobacco.any < 5% by +10%", GROCER).tilt_ppm == 1_000_000
    assert judged("tilt country = US by +10%", POWER).tilt_ppm == 1_000_000


@pytest.mark.parametrize(
    ("text", "line", "column", "found"),
    [
        ("exclud tobacco.any >= 5%", 1, 1, "exclud"),
        ("exclude", 1, 8, ""),
        ("exclude tobacco.any", 1, 20, ""),
        ("exclude tobacco.any 5%", 1, 21, "5%"),
        ("exclude tobacco.any >=", 1, 23, ""),
        ("require sector = shops\nexclude and x = 1", 2, 9, "and"),
        ("exclude (sector = shops", 1, 24, ""),
        ("exclude sector in shops", 1, 19, "shops"),
        ("exclude sector in ()", 1, 20, ")"),
        ("exclude sector = shops sector = makers", 1, 24, "sector"),
        ("exclude sector is shops", 1, 19, "shops"),
        ("exclude sector = shops unknown maybe", 1, 32, "maybe"),
        ("exclude sector = shops strict strict", 1, 31, "strict"),
        ("tilt sector = shops", 1, 20, ""),
        ("exclude sector = \x00", 1, 18, "U+0000"),
        ("exclude sector ~ shops", 1, 16, "~"),
        ('exclude name = "open', 1, 16, '"'),
    ],
)
def test_a_syntax_error_points_at_its_place(text, line, column, found):
    error = failure(text)

    assert error.code == "screen_syntax"
    assert (error.place, error.found) == (Place(line, column), found)
    assert error.expected


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("exclude tobacco.any >= 5", 24),
        ("exclude tobacco.any >= 101%", 24),
        ("exclude tobacco.any >= $5", 24),
        ("exclude tobacco.any >= high", 24),
        ("exclude tobacco.any >= 0.00001%", 24),
        ("require size >= 5bn", 17),
        ("require size >= $5%", 17),
        ("require size_rank <= 50%", 22),
        ("require size_rank <= 2.5", 22),
        ("require score.rule >= $3", 23),
        ("require profitable = maybe", 22),
        ("require sector = shopz", 18),
        ("require sector > shops", 18),
        ("require size in ($5bn)", 18),
        ("tilt sector = shops by +500%", 24),
        ("tilt sector = shops by +20", 24),
        ("tilt sector = shops by lots", 24),
        ("exclude size >= $99999999999999999bn", 17),
    ],
)
def test_a_threshold_of_the_wrong_type_points_at_itself(text, column):
    error = failure(text)

    assert error.code in {"screen_wrong_value", "screen_syntax"}
    assert error.place == Place(1, column)


def test_an_unknown_field_is_named_with_what_it_may_have_meant():
    error = failure("exclude tobaco.any >= 5%")

    assert error.code == "screen_unknown_field"
    assert "`tobacco.any`" in error.detail


@pytest.mark.parametrize(
    "text",
    [
        "require credit_rating >= BBB+",
        "require dividend_yield >= 2%",
        "require risk_rating <= 3",
        "exclude volatility > 30%",
        "require score.msci.iva >= AA",
    ],
)
def test_a_field_without_data_is_refused_not_passed(text):
    error = failure(text)

    assert error.code == "screen_field_without_data"
    assert error.place == Place(1, 9)


def test_a_field_works_once_its_data_is_there():
    ratings = Measure(
        FieldKind.GRADE, {1: Word("AA-", REPORTED), 2: Word("BBB", REPORTED)}, "credit"
    )
    yields = Measure(FieldKind.SHARE, {1: Band.exactly(25_000, REPORTED)})
    facts = FACTS.with_measures({"credit_rating": ratings, "dividend_yield": yields})

    assert outcome("require credit_rating >= A", GROCER, facts) is Outcome.PASS
    assert outcome("require credit_rating >= BBB+", SMOKE, facts) is Outcome.REJECT
    assert outcome("require credit_rating in (BBB, A)", SMOKE, facts) is Outcome.PASS
    assert outcome("require credit_rating >= A", POWER, facts) is Outcome.REJECT
    assert outcome("require dividend_yield >= 2.5%", GROCER, facts) is Outcome.PASS
    assert failure("require credit_rating >= GOOD", facts).code == "screen_wrong_value"


def test_risk_ratings_follow_predicted_volatility():
    measures = volatility_measures({1: 149_999, 2: 150_000, 3: 400_000}, "SIM", AS_OF)

    assert [measures["risk_rating"].values[n].central for n in (1, 2, 3)] == [1, 2, 5]
    facts = FACTS.with_measures(measures)
    assert outcome("require risk_rating <= 2", SMOKE, facts) is Outcome.PASS
    assert outcome("exclude volatility >= 40%", POWER, facts) is Outcome.REJECT


@pytest.mark.parametrize(
    "text",
    [
        "exclude sector = shops\n" * (STATEMENTS_MAX + 1),
        "exclude " + "(" * (DEPTH_MAX + 1) + "sector = shops" + ")" * (DEPTH_MAX + 1),
        "exclude " + "not " * (DEPTH_MAX + 1) + "sector = shops",
        "exclude symbol in (" + "A," * LIST_LENGTH_MAX + "B)",
        "#" * 20_001,
        f'exclude name = "{"x" * 200}"',
    ],
)
def test_limits_stop_texts_that_are_too_long_or_too_deep(text):
    assert failure(text).code == "screen_too_long"


def test_there_are_at_least_twenty_fields_each_with_a_meaning():
    fields = fields_of(FACTS)

    assert len(fields) >= 20
    assert all(field.meaning for field in fields.values())
