"""A basket's recipe: a TOML file that says what may be in, in what order, and how weighed."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, cast, get_args

from baskets.basket import SECTOR_PPM_MAX, Family, Method
from baskets.errors import RecipeError
from baskets.securities import normal_symbol
from baskets.values import WHOLE_PPM

RISK_HINTS = frozenset({"diversified", "focused"})
RANKINGS = frozenset({"size", "small_first"})
SCORE_RANKING = "score:"
"""`score:rule` ranks by our exposure grade, best first, then by size; any score field works."""

_KEYS = frozenset(
    [
        "id",
        "name",
        "family",
        "version",
        "as_of",
        "sentence",
        "values",
        "risk_hint",
        "selection",
        "weights",
        "candidate",
        "sectors_note",
        "sector_ppm_max",
        "data_note",
    ]
)
_SELECTION_KEYS = frozenset(["kind", "filter", "rank_by", "group_names_max", "sector_names_max"])
_REQUIRED = frozenset(
    [
        "id",
        "name",
        "family",
        "version",
        "as_of",
        "sentence",
        "values",
        "risk_hint",
        "selection",
        "weights",
    ]
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A company a person put on a theme's list, with a sentence that can be checked."""

    symbol: str
    sentence: str
    source: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a recipe file says."""

    id: str
    name: str
    family: Family
    version: int
    as_of: date
    sentence: str
    values: tuple[str, ...]
    risk_hint: str
    kind: Literal["list", "rule"]
    filter: str
    rank_by: str
    group_names_max: int | None
    """At most so many names of one group, if given."""
    sector_names_max: int | None
    method: Method
    sector_ppm_max: int
    sectors_note: str
    data_note: str
    candidates: tuple[Listed, ...]


def recipe_from(text: str, file_name: str) -> Recipe:
    """Return the recipe a TOML text describes.

    Raises:
        RecipeError: If it is not TOML, a key is missing or unknown, or a value is out of bounds.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{file_name}: {error}"
        raise RecipeError(message, code="recipe_syntax") from error
    try:
        recipe = _recipe(document)
    except (KeyError, TypeError, ValueError) as error:
        message = f"{file_name}: {error}"
        raise RecipeError(message, code="recipe_malformed") from error
    problem = _problem(document, recipe, file_name)
    if problem:
        message = f"{file_name}: {problem}"
        raise RecipeError(message, code="recipe_malformed")
    return recipe


def _recipe(document: Mapping[str, Any]) -> Recipe:
    missing = _REQUIRED - document.keys()
    if missing:
        message = f"missing {', '.join(sorted(missing))}"
        raise ValueError(message)
    selection: Mapping[str, Any] = document["selection"]
    note = str(document.get("sectors_note", ""))
    return Recipe(
        id=str(document["id"]),
        name=str(document["name"]),
        family=cast("Family", document["family"]),
        version=int(document["version"]),
        as_of=_date(document["as_of"]),
        sentence=str(document["sentence"]),
        values=tuple(str(value) for value in document["values"]),
        risk_hint=str(document["risk_hint"]),
        kind=selection["kind"],
        filter=str(selection.get("filter", "")),
        rank_by=str(selection.get("rank_by", "size")),
        group_names_max=_count(selection.get("group_names_max")),
        sector_names_max=_count(selection.get("sector_names_max")),
        method=document["weights"]["method"],
        sector_ppm_max=int(document.get("sector_ppm_max", WHOLE_PPM if note else SECTOR_PPM_MAX)),
        sectors_note=note,
        data_note=str(document.get("data_note", "")),
        candidates=tuple(
            Listed(normal_symbol(row["symbol"]), str(row["sentence"]), str(row["source"]))
            for row in document.get("candidate", ())
        ),
    )


def _problem(document: Mapping[str, Any], recipe: Recipe, file_name: str) -> str:
    """Return what is wrong with a recipe's values, or an empty text."""
    unknown = (document.keys() - _KEYS) | (document["selection"].keys() - _SELECTION_KEYS)
    symbols = [row.symbol for row in recipe.candidates]
    ranked = recipe.rank_by in RANKINGS or recipe.rank_by.startswith(SCORE_RANKING)
    checks = {
        f"unknown keys {sorted(unknown)}": bool(unknown),
        f"the id {recipe.id} is not the file's name": f"{recipe.id}.toml" != file_name,
        "the id must start with the family": not recipe.id.startswith(f"{recipe.family}-"),
        f"family {recipe.family}": recipe.family not in get_args(Family),
        f"kind {recipe.kind}": recipe.kind not in {"list", "rule"},
        f"method {recipe.method}": recipe.method not in get_args(Method),
        f"risk_hint {recipe.risk_hint}": recipe.risk_hint not in RISK_HINTS,
        f"rank_by {recipe.rank_by}": not ranked,
        "a list needs candidates and a rule has none": (recipe.kind == "list") != bool(symbols),
        "a candidate repeats": len(set(symbols)) < len(symbols),
        "a candidate lacks its sentence or source": any(
            not row.sentence.strip() or not row.source.strip() for row in recipe.candidates
        ),
        "more than 40 % in a sector needs a sectors_note": not recipe.sectors_note
        and recipe.sector_ppm_max > SECTOR_PPM_MAX,
        "sector_ppm_max is not a share": not 0 < recipe.sector_ppm_max <= WHOLE_PPM,
        "the sentence is empty": not recipe.sentence.strip(),
    }
    return next((problem for problem, wrong in checks.items() if wrong), "")


def _date(value: object) -> date:
    if not isinstance(value, date):
        message = f"as_of {value!r} is not a date"
        raise TypeError(message)
    return value


def _count(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or value < 1:
        message = f"{value!r} is not a count of names"
        raise ValueError(message)
    return value
