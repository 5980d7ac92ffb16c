"""Custom indexes: a file of symbols and weights, or the filter language over our universe.

A file is somebody else's text. It is read with a limit on everything, every fault is collected
with its line and a stable code, and one fault refuses the file: half an index is none.
"""

import csv
import io
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, get_args

from baskets.errors import BuildError, IndexFault, IndexFileError
from baskets.facts import Facts
from baskets.index import Index, Kind, Member, member_of, note_of, weighed
from baskets.index_companies import Company, companies_of
from baskets.index_weights import capped, shares_ppm
from baskets.screens import Outcome, screen_of
from baskets.securities import Universe, normal_symbol
from baskets.values import WHOLE_PPM

BYTES_MAX: Final = 1_000_000
NAMES_MAX: Final = 5_000
FAULTS_MAX: Final = 50
PERCENT_SUM_ERROR_MAX: Final = Fraction(1, 2)
"""Published weights are rounded: 99.5 % to 100.5 % are taken as the whole."""
CENTS_PER_PPM: Final = 10**8
"""A file's index counts as a trillion dollars, so that levels work like everybody else's."""

Unit = Literal["percent", "ppm", "relative"]
Weighing = Literal["size", "sqrt_size", "equal"]

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_ID_LENGTH_MAX: Final = 60
_NAME_LENGTH_MAX: Final = 80
_SYMBOL = re.compile(r"[A-Z0-9]{1,8}(\.[A-Z0-9]{1,4})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,12})?", re.ASCII)
_UNIT_OF_COLUMN: Final[dict[str, Unit]] = {f"weight_{unit}": unit for unit in get_args(Unit)}


@dataclass(frozen=True, slots=True)
class Title:
    """What a custom index is called and from when it counts."""

    id: str
    name: str
    version: int
    as_of: date


@dataclass(frozen=True, slots=True)
class _Given:
    """A symbol and its weight as a file states them."""

    line: int
    symbol: str
    weight: Fraction


def index_from_csv(content: bytes, title: Title, universe: Universe) -> Index:
    """Return the index of a CSV of `symbol` and one of `weight_percent|_ppm|_relative`.

    Raises:
        IndexFileError: With every fault; codes in docs/index-rulebook.md.
    """
    _check_title(title)
    reader = csv.reader(io.StringIO(_text(content)), strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise _refused(reader.line_num, "index_file_syntax", str(error)) from error
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    units = [_UNIT_OF_COLUMN[cell] for cell in header if cell in _UNIT_OF_COLUMN]
    if len(header) != len(("symbol", "weight")) or "symbol" not in header or len(units) != 1:
        detail = f"the header must be symbol and one of {', '.join(_UNIT_OF_COLUMN)}"
        raise _refused(1, "index_file_header", detail)
    which = header.index("symbol")
    faults: list[IndexFault] = []
    given: list[_Given] = []
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            detail = f"{len(cells)} cells, {len(header)} are needed"
            faults.append(IndexFault(line, "index_file_cells", detail))
            continue
        _take(given, faults, line, cells[which], cells[1 - which].strip())
    return _of_given(title, universe, given, units[0], faults)


def index_from_toml(content: bytes, facts: Facts) -> Index:
    """Return the index that a TOML file describes by weights or by a filter.

    Raises:
        IndexFileError: With every fault; codes in docs/index-rulebook.md.
        ScreenError: If its filter is wrong.
        BuildError: If its filter and cap leave no index.
    """
    document = _parsed(content)
    both = {"weights", "selection"} & document.keys()
    title = _title(document, {*both, "issuer_ppm_max"})
    cap = document.get("issuer_ppm_max", WHOLE_PPM)
    if type(cap) is not int or not 0 < cap <= WHOLE_PPM:
        raise _refused(0, "index_key_malformed", "issuer_ppm_max must be 1 to 1000000")
    if both == {"selection"}:
        chosen = _section(document, "selection", {"filter", "names_max", "weights"})
        return index_from_filter(
            title,
            facts,
            _typed(chosen, "filter", str, ""),
            weights=_typed(chosen, "weights", str, "size"),
            names_max=_typed(chosen, "names_max", int, NAMES_MAX),
            issuer_ppm_max=cap,
        )
    if both != {"weights"} or cap != WHOLE_PPM:
        detail = "one of [weights], without issuer_ppm_max, and [selection] must be there"
        raise _refused(0, "index_key_malformed", detail)
    weights = dict(_section(document, "weights", None))
    unit = weights.pop("unit", None)
    if unit not in get_args(Unit):
        raise _refused(0, "index_key_malformed", f"unit must be one of {', '.join(get_args(Unit))}")
    faults: list[IndexFault] = []
    given: list[_Given] = []
    for symbol, weight in weights.items():
        plain = isinstance(weight, int | Decimal) and not isinstance(weight, bool)
        # `str` keeps an exponent as it is, which is then no plain number: 1e9999999 stays small.
        _take(given, faults, 0, symbol, str(weight) if plain else "")
    return _of_given(title, facts.universe, given, unit, faults)


def index_from_filter(
    title: Title,
    facts: Facts,
    text: str,
    *,
    weights: str = "size",
    names_max: int = NAMES_MAX,
    issuer_ppm_max: int = WHOLE_PPM,
) -> Index:
    """Return the index of all companies that pass a screen, weighed by size, its root, or equally.

    Args:
        title: Its name.
        facts: The universe and what is known of it.
        text: The filter, see docs/screens.md; its tilts multiply weights.
        weights: `size`, `sqrt_size` or `equal`.
        names_max: So many of the largest.
        issuer_ppm_max: No company weighs more.

    Raises:
        IndexFileError: If an argument is out of bounds (code `index_key_malformed`).
        ScreenError: If the filter is wrong.
        BuildError: If nobody passes (code `index_empty`), the cap cannot be kept, tilts leave
            nothing of a company (`weight_too_small`), or the index would count from before the
            universe was drawn up (`index_before_universe`).
    """
    _check_title(title)
    bounded = 1 <= names_max <= NAMES_MAX and 1 <= issuer_ppm_max <= WHOLE_PPM
    if weights not in get_args(Weighing) or not bounded:
        detail = "weights, names_max or issuer_ppm_max is out of bounds"
        raise _refused(0, "index_key_malformed", detail)
    if title.as_of < facts.universe.as_of:
        message = f"{title.id}: what was known on {title.as_of} is not known here any more"
        raise BuildError(message, code="index_before_universe")
    screen = screen_of(text, facts)
    tilts: dict[int, int] = {}
    for row in facts.universe.securities:
        verdict = screen.judge(row)
        if verdict.outcome is Outcome.PASS:
            tilts[row.id] = verdict.tilt_ppm
    passing = [row for row in companies_of(facts.universe, tilts) if row.line.id in tilts]
    chosen = passing[:names_max]
    if not chosen:
        message = f"{title.id}: no company passes the filter"
        raise BuildError(message, code="index_empty")
    strength = _STRENGTHS[weights]
    sizes = [strength(row.size_cents) * tilts[row.line.id] // WHOLE_PPM for row in chosen]
    if not min(sizes):
        gone = chosen[sizes.index(0)].line.symbol
        message = f"{title.id}: tilts leave nothing of {gone}; exclude it instead"
        raise BuildError(message, code="weight_too_small")
    return _index(title, facts.universe, "filter", chosen, sizes, issuer_ppm_max, text)


_STRENGTHS: Mapping[str, Callable[[int], int]] = {
    "size": lambda cents: cents,
    "sqrt_size": lambda cents: math.isqrt(cents * WHOLE_PPM**2),
    "equal": lambda _: WHOLE_PPM**2,
}


def _of_given(
    title: Title,
    universe: Universe,
    given: Sequence[_Given],
    unit: Unit,
    faults: list[IndexFault],
) -> Index:
    """Return the index of stated weights, or refuse it with every fault."""
    seen: set[str] = set()
    for row in given:
        if row.symbol in seen:
            faults.append(IndexFault(row.line, "index_symbol_repeats", f"{row.symbol} repeats"))
        elif row.symbol not in universe.by_symbol:
            detail = f"{row.symbol} is not in the universe we follow"
            faults.append(IndexFault(row.line, "index_symbol_unknown", detail))
        seen.add(row.symbol)
    total = sum((row.weight for row in given), Fraction(0))
    if not given and not faults:
        faults.append(IndexFault(0, "index_empty", "there is no symbol"))
    elif len(given) > NAMES_MAX:
        faults.append(IndexFault(0, "index_too_many_names", f"more than {NAMES_MAX} symbols"))
    wrong = {
        "percent": abs(total - 100) > PERCENT_SUM_ERROR_MAX,
        "ppm": total != WHOLE_PPM,
        "relative": False,
    }[unit]
    if not faults and wrong:
        detail = f"the weights sum to {float(total):.6g} {unit}, not to the whole"
        faults.append(IndexFault(0, "index_weight_sum", detail))
    if faults:
        raise IndexFileError(tuple(sorted(faults, key=lambda row: row.line)[:FAULTS_MAX]))
    order = sorted(given, key=lambda row: (-row.weight, universe.by_symbol[row.symbol].id))
    parts = shares_ppm([row.weight for row in order])
    if not min(parts):
        detail = f"{order[-1].symbol} weighs less than a millionth of the whole"
        raise _refused(order[-1].line, "weight_too_small", detail)
    by_cik = {row.cik: row for row in companies_of(universe)}
    companies = []
    for row in order:
        line = universe.by_symbol[row.symbol]
        whole = by_cik[line.cik]
        companies.append(Company(line, whole.size_cents, "given", whole.rank))
    sizes = [part * CENTS_PER_PPM for part in parts]
    return _index(title, universe, "file", companies, sizes, WHOLE_PPM, "")


def _index(
    title: Title,
    universe: Universe,
    kind: Kind,
    companies: Iterable[Company],
    sizes: Sequence[int],
    issuer_ppm_max: int,
    screen: str,
) -> Index:
    cut = capped(sizes, issuer_ppm_max)
    members: tuple[Member, ...] = weighed(
        member_of(row, size, title.as_of) for row, size in zip(companies, cut, strict=True)
    )
    return Index(
        id=title.id,
        name=title.name,
        kind=kind,
        version=title.version,
        effective_on=title.as_of,
        reference_on=title.as_of,
        announced_on=None,
        universe_source=universe.source,
        universe_as_of=universe.as_of,
        issuer_ppm_max=issuer_ppm_max,
        screen=screen,
        note=note_of(members),
        members=members,
        changes=(),
    )


def _take(
    given: list[_Given], faults: list[IndexFault], line: int, symbol: str, weight: str
) -> None:
    """Read one symbol and weight, into the rows or the faults."""
    plain = normal_symbol(symbol)
    if not _SYMBOL.fullmatch(plain):
        detail = f"{symbol[:20]!r} is no symbol"
        faults.append(IndexFault(line, "index_symbol_malformed", detail))
    elif not _NUMBER.fullmatch(weight):
        detail = f"the weight of {plain} is no plain number of at most 15 digits and 12 decimals"
        faults.append(IndexFault(line, "index_weight_malformed", detail))
    elif not Fraction(weight):
        faults.append(IndexFault(line, "index_weight_not_positive", f"{plain} weighs nothing"))
    else:
        given.append(_Given(line, plain, Fraction(weight)))


def _text(content: bytes) -> str:
    if len(content) > BYTES_MAX:
        raise _refused(0, "index_file_too_large", f"more than {BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(0, "index_file_encoding", "the file is not UTF-8") from error
    if not all(sign.isprintable() or sign in "\r\n\t" for sign in text):
        raise _refused(0, "index_file_encoding", "the file holds control characters")
    return text


def _parsed(content: bytes) -> dict[str, Any]:
    text = _text(content)
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise _refused(0, "index_file_syntax", str(error)[:200] or "too deeply nested") from error


def _title(document: Mapping[str, Any], others: set[str]) -> Title:
    unknown = document.keys() - {"id", "name", "version", "as_of"} - others
    if unknown:
        raise _refused(0, "index_key_unknown", f"unknown keys {sorted(unknown)[:5]}")
    title = Title(
        _typed(document, "id", str),
        _typed(document, "name", str),
        _typed(document, "version", int),
        _typed(document, "as_of", date),
    )
    _check_title(title)
    return title


def _check_title(title: Title) -> None:
    if not _ID.fullmatch(title.id) or len(title.id) > _ID_LENGTH_MAX:
        raise _refused(0, "index_key_malformed", "id must be small letters, digits and hyphens")
    named = title.name.strip() and title.name.isprintable()
    if not named or len(title.name) > _NAME_LENGTH_MAX or title.version < 1:
        detail = f"name must be 1 to {_NAME_LENGTH_MAX} characters, version positive"
        raise _refused(0, "index_key_malformed", detail)


def _section(document: Mapping[str, Any], key: str, allowed: set[str] | None) -> dict[str, Any]:
    section = _typed(document, key, dict)
    unknown = section.keys() - allowed if allowed is not None else set()
    if unknown:
        raise _refused(0, "index_key_unknown", f"unknown keys {sorted(unknown)[:5]} in [{key}]")
    return {str(name): value for name, value in section.items()}


def _typed(document: Mapping[str, Any], key: str, kind: type, default: object = None) -> Any:
    value = document.get(key, default)
    if type(value) is not kind:
        raise _refused(0, "index_key_malformed", f"{key} must be of the type {kind.__name__}")
    return value


def _refused(line: int, code: str, detail: str) -> IndexFileError:
    return IndexFileError((IndexFault(line, code, detail),))
