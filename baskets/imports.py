"""The long form: one datum a row, from any vendor, checked before it is believed.

The columns are `COLUMNS`. A row that breaks a rule is reported with its line and column and is
never taken; nothing is active until somebody has seen the coverage. Percentages say whether they
are `percent` or `fraction`; nobody guesses.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation

from baskets.involvement import Kind
from baskets.scores import RowKey, ScoreRow
from baskets.universe import Universe, normal_symbol
from baskets.values import (
    PERCENT_PPM,
    QUALITIES,
    SCALES,
    SCORE_MILLI,
    WHOLE_PPM,
    Band,
    Origin,
    Value,
    Word,
)

COLUMNS = [
    "vendor",
    "vendor_version",
    "as_of",
    "effective_from",
    "id_type",
    "id",
    "metric",
    "sub_metric",
    "value_num",
    "value_text",
    "unit",
    "scale",
    "higher_is_better",
    "low",
    "high",
    "basis",
    "quality",
    "source_ref",
]
REQUIRED_COLUMNS = frozenset({"vendor", "as_of", "id_type", "id", "metric", "unit"})
ID_TYPES = frozenset(["ticker", "isin", "cusip", "sedol", "figi", "cik", "lei", "ric", "vendor"])
UNITS = frozenset(
    ["pct_revenue", "pct", "usd", "score", "flag", "rating", "tonnes", "tonnes_per_musd"]
)
BASES = frozenset(["reported", "estimated", "max_estimate", "range", "rule"])
PROBLEMS_MAX = 200
"""After so many problems the file is hopeless and the rest is not looked at."""

CELL_LENGTH_MAX = 500
_NAME_LENGTH_MAX = 40
_DIGITS_MAX = 18
_CIK_DIGITS = 10
_FLAGS = {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}
_PERCENT_SCALES = {"percent": PERCENT_PPM, "fraction": WHOLE_PPM}


@dataclass(frozen=True, slots=True)
class Cells:
    """One row as text, by column, and the line it stands on."""

    line: int
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row is not taken; `code` is stable."""

    line: int
    column: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the universe a file speaks about, per vendor and metric."""

    vendor: str
    metric: str
    securities: int
    universe: int


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What a file would change, before anything is activated."""

    rows: tuple[ScoreRow, ...]
    problems: tuple[RowProblem, ...]
    outside_universe: int
    """Rows about companies that we do not follow; no fault of theirs."""
    coverage: tuple[Coverage, ...]

    @property
    def clean(self) -> bool:
        """Return whether every row could be taken."""
        return not self.problems


@dataclass(frozen=True)
class Identities:
    """Finds the security that an identifier means; an identifier we cannot read means nobody."""

    by_identifier: Mapping[tuple[str, str], int]

    @classmethod
    def of(
        cls, universe: Universe, crosswalk: Mapping[tuple[str, str], int] | None = None
    ) -> "Identities":
        """Return the identities of a universe, and a file's own (id_type, id) -> security id."""
        found: dict[tuple[str, str], int] = {}
        companies: dict[str, list[int]] = {}
        for row in universe.securities:
            found["ticker", row.symbol] = row.id
            if row.isin:
                found["isin", row.isin] = row.id
            companies.setdefault(row.cik, []).append(row.id)
        found |= {("cik", cik): ids[0] for cik, ids in companies.items() if len(ids) == 1}
        return cls({**found, **(crosswalk or {})})

    def find(self, id_type: str, text: str) -> int | None:
        """Return a permanent id, or None if nobody we follow is meant."""
        if id_type == "ticker":
            text = normal_symbol(text)
        if id_type == "cik":
            text = text.zfill(_CIK_DIGITS)
        return self.by_identifier.get((id_type, text))


class _RowError(Exception):
    """A row breaks a rule."""

    def __init__(self, column: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.column, self.code, self.detail = column, code, detail


@dataclass
class _Reading:
    """What has been read so far."""

    identities: Identities
    label_bands: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]]
    rows: dict[RowKey, ScoreRow] = field(default_factory=dict)
    problems: list[RowProblem] = field(default_factory=list)
    outside: int = 0

    def take(self, cells: Cells) -> None:
        """Read one row, or note why not."""
        try:
            row = _row(cells, self.identities, self.label_bands)
        except _RowError as error:
            self.problems.append(RowProblem(cells.line, error.column, error.code, error.detail))
            return
        if row is None:
            self.outside += 1
        elif row.key in self.rows:
            twice = "the same datum stands in the file twice"
            self.problems.append(RowProblem(cells.line, "id", "duplicate_row", twice))
        else:
            self.rows[row.key] = row


def import_rows(
    rows: Iterable[Cells],
    universe: Universe,
    *,
    crosswalk: Mapping[tuple[str, str], int] | None = None,
    label_bands: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]] | None = None,
) -> ImportReport:
    """Return what a file of long rows would change.

    Args:
        rows: From `long_csv`, a vendor's wide file, or any other reader, a Parquet file's say.
        universe: Whom the rows may be about.
        crosswalk: (id_type, id) -> security id, for identifiers that the universe does not know.
        label_bands: (vendor, metric) -> label -> thousandths of the score it stands for, low
            inclusive, high exclusive; a label outside its score is rejected.
    """
    reading = _Reading(Identities.of(universe, crosswalk), label_bands or {})
    for cells in rows:
        reading.take(cells)
        if len(reading.problems) >= PROBLEMS_MAX:
            break
    return ImportReport(
        tuple(reading.rows.values()),
        tuple(reading.problems),
        reading.outside,
        _coverage(reading.rows, len(universe.securities)),
    )


def _coverage(rows: Iterable[RowKey], universe: int) -> tuple[Coverage, ...]:
    covered: dict[tuple[str, str], set[int]] = {}
    for key in rows:
        covered.setdefault((key.vendor, key.metric), set()).add(key.security_id)
    return tuple(
        Coverage(vendor, metric, len(ids), universe)
        for (vendor, metric), ids in sorted(covered.items())
    )


def _row(
    cells: Cells,
    identities: Identities,
    label_bands: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]],
) -> ScoreRow | None:
    """Return one row, or None if it is about nobody we follow.

    Raises:
        _RowError: If it breaks a rule.
    """
    text = _reader(cells)
    vendor, metric = _name(text("vendor"), "vendor"), _name(text("metric"), "metric")
    if vendor == "rule":
        msg = "vendor"
        raise _RowError(msg, "reserved_vendor", "`rule` is the name of our own grade")
    id_type = _choice(text("id_type"), "id_type", ID_TYPES)
    unit = _choice(text("unit"), "unit", UNITS)
    part = _part(text("sub_metric"), unit)
    as_of = _date(text("as_of"), "as_of")
    value = _value(text, unit, _origin(text, vendor, as_of))
    _check_label(text, value, label_bands.get((vendor, metric)))
    if not text("id"):
        msg = "id"
        raise _RowError(msg, "missing_value", "the identifier is missing")
    number = identities.find(id_type, text("id"))
    if number is None:
        return None
    better = text("higher_is_better").lower()
    effective = text("effective_from")
    return ScoreRow(
        RowKey(number, vendor, metric, part, as_of),
        unit,
        value,
        text("scale") if unit == "rating" else "",
        _FLAGS[_choice(better, "higher_is_better", frozenset(_FLAGS))] == "yes" if better else None,
        text("vendor_version"),
        _date(effective, "effective_from") if effective else None,
    )


def _reader(cells: Cells) -> Callable[[str], str]:
    """Return a function that gives a column's text, trimmed; a missing column is empty."""

    def text(column: str) -> str:
        found = cells.texts.get(column, "")
        if len(found) > CELL_LENGTH_MAX or not all(map(str.isprintable, found)):
            raise _RowError(column, "bad_text", "the cell is too long or holds control characters")
        return found.strip()

    return text


def _name(text: str, column: str) -> str:
    """Return a vendor's or metric's name: lower-case letters, digits and underscores."""
    name = text.lower()
    plain = name.isascii() and name.replace("_", "a").isalnum() and name[:1].isalpha()
    if not plain or len(name) > _NAME_LENGTH_MAX:
        raise _RowError(column, "bad_name", f"{column} must be letters, digits and underscores")
    return name


def _choice(text: str, column: str, allowed: frozenset[str]) -> str:
    if text not in allowed:
        detail = f"{text[:40]!r} is not one of {', '.join(sorted(allowed))}"
        raise _RowError(column, "bad_choice", detail)
    return text


def _part(text: str, unit: str) -> str:
    if not text:
        return str(Kind.ANY) if unit == "pct_revenue" else ""
    return _choice(text, "sub_metric", frozenset(Kind))


def _date(text: str, column: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _RowError(column, "bad_date", f"{text[:40]!r} is not a date (YYYY-MM-DD)") from None


def _origin(text: Callable[[str], str], vendor: str, as_of: date) -> Origin:
    quality = text("quality")
    if quality not in {str(number) for number in QUALITIES}:
        msg = "quality"
        raise _RowError(msg, "bad_choice", "quality is 1, 2, 3, 4 or 5")
    basis = _choice(text("basis"), "basis", BASES)
    return Origin(vendor, basis, int(quality), text("source_ref"), as_of)


def _number(text: str, column: str, factor: int) -> int:
    """Return a decimal in a unit `factor` times smaller, rounded half to even.

    Raises:
        _RowError: If it is no plain decimal; NaN, infinities and thousands of digits are none.
    """
    plain = text.replace("\u2212", "-")
    try:
        number = Decimal(plain)
    except InvalidOperation:
        raise _RowError(column, "bad_number", f"{text[:40]!r} is not a number") from None
    if (
        len(plain) > _DIGITS_MAX + 2
        or not number.is_finite()
        or abs(number.adjusted()) > _DIGITS_MAX
    ):
        raise _RowError(column, "bad_number", f"{text[:40]!r} is out of all bounds")
    return int((number * factor).to_integral_value())


def _value(text: Callable[[str], str], unit: str, origin: Origin) -> Value:
    """Return a row's value in its unit.

    Raises:
        _RowError: If it is missing, out of its scale, or its band is not in order.
    """
    if unit == "flag":
        return Word(
            _FLAGS[_choice(text("value_text").lower(), "value_text", frozenset(_FLAGS))], origin
        )
    if unit == "rating":
        return _graded(text, origin)
    factor, least, most = _bounds(text("scale"), unit)
    ends = {name: text(name) for name in ("value_num", "low", "high")}
    found = {name: _number(end, name, factor) for name, end in ends.items() if end}
    for name, number in found.items():
        if (least is not None and number < least) or (most is not None and number > most):
            raise _RowError(name, "out_of_scale", f"{ends[name]} is outside its declared scale")
    if ("low" in found) != ("high" in found) or (origin.basis == "range" and "low" not in found):
        msg = "low"
        raise _RowError(msg, "half_a_band", "a range needs both `low` and `high`")
    if not found:
        msg = "value_num"
        raise _RowError(msg, "missing_value", "there is neither a value nor a range")
    if origin.basis == "max_estimate" and "low" not in found:
        found["low"], found["high"] = 0, found.pop("value_num")
    low = found.get("low", found.get("value_num", 0))
    high = found.get("high", low)
    central = found.get("value_num", (low + high) // 2)
    if not low <= central <= high:
        msg = "low"
        raise _RowError(msg, "band_not_in_order", "low <= value <= high does not hold")
    return Band(low, central, high, origin)


def _graded(text: Callable[[str], str], origin: Origin) -> Word:
    scale = SCALES.get(text("scale"))
    if scale is None:
        known = ", ".join(sorted(SCALES))
        msg = "scale"
        raise _RowError(msg, "undeclared_scale", f"a rating declares its scale: {known}")
    if scale.place(text("value_text")) is None:
        grades = ", ".join(scale.grades)
        msg = "value_text"
        raise _RowError(msg, "bad_choice", f"not a grade of {scale.name}: {grades}")
    return Word(text("value_text"), origin)


def _bounds(scale: str, unit: str) -> tuple[int, int | None, int | None]:
    """Return a unit's factor and the least and most a value may be.

    Raises:
        _RowError: If a percentage does not say percent or fraction, or a score not its ends.
    """
    if unit in {"pct_revenue", "pct"}:
        if scale not in _PERCENT_SCALES:
            msg = "scale"
            raise _RowError(msg, "undeclared_scale", "say `percent` or `fraction`")
        return _PERCENT_SCALES[scale], 0, WHOLE_PPM
    if unit == "usd":
        return 100, 0, None
    if unit != "score":
        return SCORE_MILLI, 0, None
    least, _, most = scale.partition("..")
    if not least or not most:
        msg = "scale"
        raise _RowError(msg, "undeclared_scale", "a score declares its ends, such as `0..100`")
    return (
        SCORE_MILLI,
        _number(least, "scale", SCORE_MILLI),
        _number(most, "scale", SCORE_MILLI),
    )


def _check_label(
    text: Callable[[str], str], value: Value, bands: Mapping[str, tuple[int, int]] | None
) -> None:
    """Refuse a label that contradicts the score beside it.

    Raises:
        _RowError: If the vendor's label is unknown or means another score.
    """
    label = text("value_text")
    if not label or not isinstance(value, Band):
        return
    if bands is None:
        msg = "value_text"
        raise _RowError(msg, "label_without_bands", "nobody said what this label means")
    band = bands.get(label.lower())
    if band is None or not band[0] <= value.central < band[1]:
        msg = "value_text"
        raise _RowError(msg, "label_contradicts_score", f"{label[:40]!r} does not fit")
