"""The questions we ask, as data, and the answers, checked: the complete list of what is missing."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from importlib.resources import files
from types import MappingProxyType
from typing import cast

from onboarding import reading
from onboarding.errors import InvalidAnswersError
from onboarding.reading import Faults

AnswerValue = str | int | bool | date | tuple[str, ...] | None
"""A checked answer: a choice, number, yes/no, date, or several keys or texts; None = not given."""

KINDS = ("choice", "multi", "number", "date", "bool", "text_list")

_SLUG = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that a choice offers; an exclusive one stands alone."""

    key: str
    label: str
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Ask only if another question was answered with one of these keys."""

    question: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One question: what is asked, and exactly which answers are acceptable."""

    id: str
    section: str
    kind: str
    text: str
    help: str
    required: bool = True
    options: tuple[Option, ...] = ()
    unit: str = ""
    minimum: int = 0
    maximum: int = 0
    max_items: int = 0
    max_length: int = 0
    format: str = ""
    default: str | int | None = None
    when: Condition | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the options, in the order they are shown."""
        return tuple(option.key for option in self.options)


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """All questions in order; `version_hash` changes with any letter of the file."""

    version: str
    version_hash: str
    questions: tuple[Question, ...]

    def question(self, question_id: str) -> Question:
        """The question of that id.

        Raises:
            KeyError: If there is none.
        """
        for question in self.questions:
            if question.id == question_id:
                return question
        raise KeyError(question_id)


@dataclass(frozen=True, slots=True)
class Answers:
    """One complete, checked set of answers, and the hash of the questions it answers."""

    values: Mapping[str, AnswerValue]
    version_hash: str

    def number(self, question_id: str) -> int:
        """The number given; every number that the rules use is required or has a default."""
        return cast("int", self.values[question_id])

    def choice(self, question_id: str) -> str:
        """The key chosen."""
        return cast("str", self.values[question_id])

    def several(self, question_id: str) -> tuple[str, ...]:
        """The keys chosen or texts given, in order, without duplicates; empty if not answered."""
        return cast("tuple[str, ...]", self.values[question_id])

    def yes(self, question_id: str) -> bool:
        """The yes or no given."""
        return cast("bool", self.values[question_id])

    def day(self, question_id: str) -> date | None:
        """The date given, or None."""
        return cast("date | None", self.values[question_id])

    def to_raw(self) -> dict[str, object]:
        """Plain JSON values that `parse_answers` reads back to an equal value."""
        raw: dict[str, object] = {}
        for key, value in self.values.items():
            if isinstance(value, date):
                raw[key] = value.isoformat()
            elif isinstance(value, tuple):
                raw[key] = list(value)
            elif value is not None:
                raw[key] = value
        return raw


@cache
def load_questionnaire() -> Questionnaire:
    """The questionnaire of `data/questions.toml`, checked against itself; read once."""
    blob = files("onboarding").joinpath("data/questions.toml").read_bytes()
    raw = tomllib.loads(blob.decode())
    questions = tuple(_question(entry) for entry in raw["question"])
    ids = [question.id for question in questions]
    assert len(set(ids)) == len(ids), "two questions share an id"
    assert all(q.when is None or q.when.question in ids for q in questions)
    return Questionnaire(raw["version"], hashlib.sha256(blob).hexdigest(), questions)


def parse_answers(raw: Mapping[str, object], questionnaire: Questionnaire | None = None) -> Answers:
    """The checked answers; nothing is guessed, dropped or coerced.

    Args:
        raw: Question id -> answer, as decoded from JSON. May be hostile.
        questionnaire: Other questions than ours (a firm's own); ours by default.

    Raises:
        InvalidAnswersError: With every missing, malformed and unknown field at once; the
            messages never repeat what was sent.
    """
    asked = questionnaire or load_questionnaire()
    faults = Faults()
    document = reading.mapping(raw, "answers", faults)
    faults.unknown_keys(document, {question.id for question in asked.questions}, "")
    values = {q.id: _answer(q, document, faults) for q in asked.questions}
    faults.raise_if_any(InvalidAnswersError, "Some answers are missing or not acceptable.")
    return Answers(MappingProxyType(values), asked.version_hash)


def _answer(question: Question, raw: Mapping[object, object], faults: Faults) -> AnswerValue:
    """One answer, or its default; a fault is noted and an empty answer stands in."""
    empty = _empty(question)
    value = raw.get(question.id)
    if question.when is not None and raw.get(question.when.question) not in question.when.keys:
        if value is not None:
            faults.add(question.id, f"This is asked only after {question.when.question}.")
        return empty
    if value is not None:
        return faults.read(question.id, partial(_parse, question), value, empty)
    if question.required:
        faults.lack(question.id)
    return empty


def _empty(question: Question) -> AnswerValue:
    """What an unanswered question counts as."""
    return () if question.kind in {"multi", "text_list"} else question.default


def _parse(question: Question, value: object) -> AnswerValue:
    """The checked value of one answer.

    Raises:
        BadValueError: With a sentence for the customer.
    """
    match question.kind:
        case "choice":
            return reading.one_of(value, question.keys)
        case "multi":
            return _several(question, value)
        case "number":
            return reading.whole_number(value, question.minimum, question.maximum)
        case "date":
            return reading.iso_date(value)
        case "bool":
            return reading.yes_or_no(value)
        case _:
            return _texts(question, value)


def _several(question: Question, value: object) -> tuple[str, ...]:
    """Distinct keys of a multiple choice, in the order they are shown."""
    keys = question.keys
    chosen = {reading.one_of(item, keys) for item in reading.items(value, len(keys))}
    if question.required and not chosen:
        reading.refuse("Choose at least one.")
    alone = next((o.label for o in question.options if o.exclusive and o.key in chosen), None)
    if alone is not None and len(chosen) > 1:
        reading.refuse(f"“{alone}” cannot be combined with another choice.")
    return tuple(key for key in keys if key in chosen)


def _texts(question: Question, value: object) -> tuple[str, ...]:
    """Distinct texts (case aside), in the order given."""
    seen: dict[str, str] = {}
    for item in reading.items(value, question.max_items):
        clean = _text(question, item)
        seen.setdefault(clean.casefold(), clean)
    return tuple(seen.values())


def _text(question: Question, item: object) -> str:
    """One text in the form that the question asks for."""
    if question.format == "country_code":
        return reading.country_code(item)
    clean = reading.text(item, question.max_length)
    if question.format == "slug" and not _SLUG.fullmatch(clean):
        reading.refuse("Use the names from our list: small letters, digits and underscores.")
    return clean


def _question(entry: dict[str, object]) -> Question:
    """One question of the file; a misspelt key or kind stops the process at load."""
    fields = dict(entry)
    options = cast("list[dict[str, object]]", fields.pop("options", []))
    when = cast("dict[str, object] | None", fields.pop("when", None))
    assert fields["kind"] in KINDS, fields["id"]
    # The dataclass refuses unknown keys; the types are those of the committed file.
    return Question(
        **fields,  # type: ignore[arg-type]  # TOML is untyped; a test loads every question
        options=tuple(Option(**option) for option in options),  # type: ignore[arg-type]  # as above
        when=None
        if when is None
        else Condition(str(when["question"]), tuple(cast("list[str]", when["is"]))),
    )
