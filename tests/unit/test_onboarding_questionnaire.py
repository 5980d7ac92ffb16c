"""The questionnaire: everything wrong is found at once, nothing hostile gets through."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding.errors import InvalidAnswersError
from onboarding.questionnaire import (
    Condition,
    Option,
    Question,
    Questionnaire,
    load_questionnaire,
    parse_answers,
)

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs/examples/answers.json").read_text())


def answers_with(**changes: Any) -> dict[str, Any]:
    return {**EXAMPLE, **changes}


def faults_of(raw: Any, questionnaire: Questionnaire | None = None) -> InvalidAnswersError:
    with pytest.raises(InvalidAnswersError) as refusal:
        parse_answers(raw, questionnaire)
    return refusal.value


def test_the_example_of_the_documentation_is_complete():
    answers = parse_answers(EXAMPLE)

    assert answers.number("first_deposit_cents") == 10_000
    assert answers.choice("goal") == "grow_wealth"
    assert answers.several("values") == ("climate", "equality")
    assert answers.yes("loses_sleep") is False
    assert answers.day("target_date") is None
    assert answers.version_hash == load_questionnaire().version_hash


def test_every_question_has_words_and_something_to_answer():
    for question in load_questionnaire().questions:
        assert question.text.endswith("?"), question.id
        assert bool(question.options) == (question.kind in {"choice", "multi"}), question.id
        assert len(set(question.keys)) == len(question.keys), question.id
        assert (question.minimum < question.maximum) == (question.kind == "number"), question.id
        assert (question.max_items > 0) == (question.kind == "text_list"), question.id


def test_an_empty_form_lists_every_required_question_as_missing():
    refusal = faults_of({})

    required = [q.id for q in load_questionnaire().questions if q.required]
    assert list(refusal.missing) == required
    assert set(refusal.fields) == set(required)
    assert refusal.code == "invalid_answers"


def test_all_faults_are_reported_together():
    raw = answers_with(goal="moon", horizon_years=71, loses_sleep="no", surprise=1)
    del raw["gamble"]

    refusal = faults_of(raw)

    assert set(refusal.fields) == {"goal", "horizon_years", "loses_sleep", "surprise", "gamble"}
    assert refusal.missing == ("gamble",)


def test_a_number_may_come_as_its_digits_but_not_as_a_float_or_a_truth_value():
    assert parse_answers(answers_with(income_cents="4800000")).number("income_cents") == 4_800_000

    for bad in (
        4800000.0,
        True,
        "4.8e6",
        "٣",
        "1_000",
        " 1",
        "",
        float("nan"),
        float("inf"),
        [],
        {},
    ):
        assert set(faults_of(answers_with(income_cents=bad)).fields) == {"income_cents"}


def test_numbers_are_bounded_on_both_sides():
    for question in load_questionnaire().questions:
        if question.kind != "number":
            continue
        for bad in (question.minimum - 1, question.maximum + 1, 10**30, -(10**5000), 10**5000):
            assert question.id in faults_of(answers_with(**{question.id: bad})).fields


def test_a_choice_that_stands_alone_cannot_be_combined():
    refusal = faults_of(answers_with(experience_products=["none", "stocks"]))

    assert "None of these" in refusal.fields["experience_products"][0]


def test_a_required_multiple_choice_needs_at_least_one():
    assert "experience_products" in faults_of(answers_with(experience_products=[])).fields


def test_multiple_choices_are_kept_once_in_the_order_shown():
    answers = parse_answers(answers_with(values=["equality", "climate", "equality"]))

    assert answers.several("values") == ("climate", "equality")


@pytest.mark.parametrize(
    "bad",
    ["2030-02-30", "2030-2-3", "20300203", "0000-00-00", "\uff12030-01-01", 20300101, [], None],
)
def test_only_real_iso_dates_are_dates(bad):
    raw = answers_with(target_date=bad)

    if bad is None:
        assert parse_answers(raw).day("target_date") is None
    else:
        assert set(faults_of(raw).fields) == {"target_date"}


def test_texts_are_cleaned_and_kept_once():
    answers = parse_answers(answers_with(companies_never_own=["  Big   Oil ", "big oil", "XYZ"]))

    assert answers.several("companies_never_own") == ("Big Oil", "XYZ")


@pytest.mark.parametrize(
    "bad",
    [
        "\x00",
        "a\x00b",
        "\ud800",
        "a\u202eb",
        "\u200b",
        "",
        "   ",
        "x" * 101,
        "a\nb",
        1,
        None,
        ["a"],
    ],
)
def test_text_that_cannot_be_printed_is_refused_without_repeating_it(bad):
    refusal = faults_of(answers_with(employers=["Acme", bad]))

    assert set(refusal.fields) == {"employers"}
    assert not isinstance(bad, str) or not bad.strip() or bad not in str(refusal.fields)


def test_lists_are_bounded():
    assert "employers" in faults_of(answers_with(employers=[f"c{n}" for n in range(11)])).fields
    assert "values" in faults_of(answers_with(values=["climate"] * 1000)).fields


def test_countries_are_iso_codes_and_industries_are_slugs():
    answers = parse_answers(answers_with(countries_excluded=["ie", "CH"]))
    assert answers.several("countries_excluded") == ("IE", "CH")

    assert "countries_excluded" in faults_of(answers_with(countries_excluded=["XX"])).fields
    assert "industries_excluded" in faults_of(answers_with(industries_excluded=["A b"])).fields


@pytest.mark.parametrize("bad", [None, [], "x", 1, [["goal", "learn"]]])
def test_a_document_that_is_no_object_is_refused(bad):
    assert "answers" in faults_of(bad).fields


def test_unknown_keys_are_refused_but_not_repeated_when_they_cannot_be_printed():
    strangers = {f"k{n}": 1 for n in range(1000)} | {"a\ud800\x00": 1, 7: 1}

    refusal = faults_of({**strangers, **EXAMPLE})

    assert len(refusal.fields) <= 20
    json.dumps({key: list(value) for key, value in refusal.fields.items()}).encode()


def test_a_conditional_question_is_asked_only_when_its_condition_holds():
    asked = Questionnaire(
        "t",
        "h",
        (
            Question("a", "s", "choice", "?", "", options=(Option("x", "X"), Option("y", "Y"))),
            Question("b", "s", "bool", "?", "", when=Condition("a", ("y",))),
        ),
    )

    assert parse_answers({"a": "x"}, asked).values["b"] is None
    assert parse_answers({"a": "y", "b": True}, asked).yes("b")
    assert set(faults_of({"a": "x", "b": True}, asked).fields) == {"b"}
    assert faults_of({"a": "y"}, asked).missing == ("b",)


def test_answers_survive_storage():
    answers = parse_answers(
        answers_with(target_date="2040-01-31", employers=["Acme"], countries_excluded=["IE"])
    )

    assert parse_answers(json.loads(json.dumps(answers.to_raw()))) == answers
    assert answers.day("target_date") == date(2040, 1, 31)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*EXAMPLE, "target_date", "companies_never_buy"]), JSON))
def test_whatever_is_sent_either_parses_or_is_refused_by_field(changes):
    raw = answers_with(**changes)
    refused: set[str] = set()
    try:
        assert parse_answers(parse_answers(raw).to_raw()) == parse_answers(raw)
    except InvalidAnswersError as refusal:
        refused = set(refusal.fields)

    assert refused <= set(changes)
