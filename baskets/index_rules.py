"""The rulebook of an index as data: how many names, which buffer, which months, which cap."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from baskets.data_files import read_text
from baskets.errors import RecipeError
from baskets.values import WHOLE_PPM

FOLDER = "indexes"
LARGE_CAP = "us-large-cap-500"
NAMES_MAX = 10_000
_MONTHS = range(1, 13)
_ANNOUNCE_MAX = 20


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Everything an index's file says."""

    id: str
    name: str
    version: int
    base_on: date
    """The founding: the first membership, chosen without a buffer, stands at this day's close."""
    base_level: int
    """Points at the founding's close."""
    names: int
    enter_rank: int
    """A company ranked at least this well is in."""
    stay_rank: int
    """A member ranked at least this well stays while there is room."""
    review_months: tuple[int, ...]
    announce_sessions: int
    """So many sessions before the change its names are announced."""
    issuer_ppm_max: int
    """No company weighs more on the day of a review; 1_000_000 for no cap."""


def rulebook_from(text: str, file_name: str) -> Rulebook:
    """Return the rulebook a TOML text describes.

    Raises:
        RecipeError: If it is not TOML (code `index_rules_syntax`), or a key is missing, unknown,
            of the wrong type or out of bounds (code `index_rules_malformed`).
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{file_name}: {error}"
        raise RecipeError(message, code="index_rules_syntax") from error
    problem = _shape_problem(document)
    if not problem:
        months = tuple(document["review_months"])
        rules = Rulebook(**{**document, "review_months": months})
        problem = _problem(rules, file_name)
    if problem:
        message = f"{file_name}: {problem}"
        raise RecipeError(message, code="index_rules_malformed")
    return rules


def load_rulebook(index_id: str = LARGE_CAP) -> Rulebook:
    """Return a rulebook that ships with us."""
    name = f"{index_id}.toml"
    return rulebook_from(read_text(FOLDER, name), name)


def _shape_problem(document: Mapping[str, Any]) -> str:
    """Return which key is missing, unknown or of the wrong type, or an empty text."""
    expected = {each.name for each in fields(Rulebook)}
    if document.keys() != expected:
        return f"missing or unknown keys {sorted(document.keys() ^ expected)}"
    kinds: dict[str, type] = {"id": str, "name": str, "base_on": date, "review_months": list}
    for key in sorted(expected):
        # `type` and not isinstance: True is an int and a date with a time is a date.
        if type(document[key]) is not kinds.get(key, int):
            return f"{key} is not of the type {kinds.get(key, int).__name__}"
    if not all(type(month) is int for month in document["review_months"]):
        return "review_months must be whole numbers"
    return ""


def _problem(rules: Rulebook, file_name: str) -> str:
    """Return what is wrong with the values, or an empty text."""
    months = rules.review_months
    checks = {
        f"the id {rules.id} is not the file's name": f"{rules.id}.toml" != file_name,
        "the name is empty": not rules.name.strip(),
        "version and base_level must be positive": min(rules.version, rules.base_level) < 1,
        f"names must be 1 to {NAMES_MAX}": not 1 <= rules.names <= NAMES_MAX,
        "ranks must be 1 <= enter_rank <= names <= stay_rank": not (
            1 <= rules.enter_rank <= rules.names <= rules.stay_rank
        ),
        "review_months must be months in order, each once": not months
        or list(months) != sorted(set(months))
        or not set(months) <= set(_MONTHS),
        f"announce_sessions must be 0 to {_ANNOUNCE_MAX}": not (
            0 <= rules.announce_sessions <= _ANNOUNCE_MAX
        ),
        "issuer_ppm_max is no share that so many names can keep": not (
            rules.issuer_ppm_max * rules.names >= WHOLE_PPM
            and 0 < rules.issuer_ppm_max <= WHOLE_PPM
        ),
    }
    return next((problem for problem, wrong in checks.items() if wrong), "")
