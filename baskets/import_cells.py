"""Reads the cells of one long-form row: names, dates, numbers, bands, grades; any may be wrong."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from baskets.involvement import Kind
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

BASES = frozenset(["reported", "estimated", "max_estimate", "range", "rule"])
CELL_LENGTH_MAX = 500
_NAME_LENGTH_MAX = 40
_PLAIN_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,9})?", re.ASCII)
FLAGS = {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}
_PERCENT_SCALES = {"percent": PERCENT_PPM, "fraction": WHOLE_PPM}


@dataclass(frozen=True, slots=True)
class Cells:
    """One row as text, by column, and the line it stands on."""

    line: int
    texts: Mapping[str, str]
    column: str = ""
    """The vendor's own column, where a wide file was turned into long rows."""


class RowError(Exception):
    """A row breaks a rule."""

    def __init__(self, column: str, code: str, detail: str) -> None:
        """Keep the column at fault, a stable code and a sentence."""
        super().__init__(detail)
        self.column, self.code, self.detail = column, code, detail


def reader_of(cells: Cells) -> Callable[[str], str]:
    """Return a function that gives a column's text, trimmed; a missing column is empty."""

    def text(column: str) -> str:
        found = cells.texts.get(column, "")
        if len(found) > CELL_LENGTH_MAX or not all(map(str.isprintable, found)):
            raise RowError(column, "bad_text", "the cell is too long or holds control characters")
        return found.strip()

    return text


def name_of(text: str, column: str) -> str:
    """Return a vendor's or metric's name: lower-case letters, digits and underscores."""
    name = text.lower()
    plain = name.isascii() and name.replace("_", "a").isalnum() and name[:1].isalpha()
    if not plain or len(name) > _NAME_LENGTH_MAX:
        raise RowError(column, "bad_name", f"{column} must be letters, digits and underscores")
    return name


def choice_of(text: str, column: str, allowed: frozenset[str]) -> str:
    """Return a text that is one of those allowed, or raise."""
    if text not in allowed:
        detail = f"{text[:40]!r} is not one of {', '.join(sorted(allowed))}"
        raise RowError(column, "bad_choice", detail)
    return text


def part_of(text: str, unit: str) -> str:
    """Return how a company takes part; a share of revenue without a word means all of it."""
    if not text:
        return str(Kind.ANY) if unit == "pct_revenue" else ""
    return choice_of(text, "sub_metric", frozenset(Kind))


def date_of(text: str, column: str) -> date:
    """Return a date written YYYY-MM-DD, or raise."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RowError(column, "bad_date", f"{text[:40]!r} is not a date (YYYY-MM-DD)") from None


def origin_of(text: Callable[[str], str], vendor: str, as_of: date) -> Origin:
    """Return where a row's value comes from and how good it is, or raise."""
    quality = text("quality")
    if quality not in {str(number) for number in QUALITIES}:
        raise RowError(column="quality", code="bad_choice", detail="quality is 1, 2, 3, 4 or 5")
    basis = choice_of(text("basis"), "basis", BASES)
    return Origin(vendor, basis, int(quality), text("source_ref"), as_of)


def _number(text: str, column: str, factor: int) -> int:
    """Return a decimal in a unit `factor` times smaller, rounded half to even.

    Raises:
        RowError: If it is no plain decimal; NaN, infinities and thousands of digits are none.
    """
    plain = text.replace("\u2212", "-")
    if _PLAIN_NUMBER.fullmatch(plain) is None:
        raise RowError(column, "bad_number", f"{text[:40]!r} is not a plain number")
    number = Decimal(plain)
    return int((number * factor).to_integral_value())


def value_of(text: Callable[[str], str], unit: str, origin: Origin) -> Value:
    """Return a row's value in its unit.

    Raises:
        RowError: If it is missing, out of its scale, or its band is not in order.
    """
    if unit == "flag":
        return Word(
            FLAGS[choice_of(text("value_text").lower(), "value_text", frozenset(FLAGS))], origin
        )
    if unit == "rating":
        return _graded(text, origin)
    factor, least, most = _bounds(text("scale"), unit)
    ends = {name: text(name) for name in ("value_num", "low", "high")}
    found = {name: _number(end, name, factor) for name, end in ends.items() if end}
    for name, number in found.items():
        if (least is not None and number < least) or (most is not None and number > most):
            raise RowError(name, "out_of_scale", f"{ends[name]} is outside its declared scale")
    if ("low" in found) != ("high" in found) or (origin.basis == "range" and "low" not in found):
        raise RowError(
            column="low", code="half_a_band", detail="a range needs both `low` and `high`"
        )
    if not found:
        raise RowError(
            column="value_num", code="missing_value", detail="there is neither a value nor a range"
        )
    if origin.basis == "max_estimate" and "low" not in found:
        found["low"], found["high"] = 0, found.pop("value_num")
    low = found.get("low", found.get("value_num", 0))
    high = found.get("high", low)
    central = found.get("value_num", (low + high) // 2)
    if not low <= central <= high:
        raise RowError(
            column="low", code="band_not_in_order", detail="low <= value <= high does not hold"
        )
    return Band(low, central, high, origin)


def _graded(text: Callable[[str], str], origin: Origin) -> Word:
    scale = SCALES.get(text("scale"))
    if scale is None:
        known = ", ".join(sorted(SCALES))
        raise RowError(
            column="scale", code="undeclared_scale", detail=f"a rating declares its scale: {known}"
        )
    if scale.place(text("value_text")) is None:
        grades = ", ".join(scale.grades)
        raise RowError(
            column="value_text", code="bad_choice", detail=f"not a grade of {scale.name}: {grades}"
        )
    return Word(text("value_text"), origin)


def _bounds(scale: str, unit: str) -> tuple[int, int | None, int | None]:
    """Return a unit's factor and the least and most a value may be.

    Raises:
        RowError: If a percentage does not say percent or fraction, or a score not its ends.
    """
    if unit in {"pct_revenue", "pct"}:
        if scale not in _PERCENT_SCALES:
            raise RowError(
                column="scale", code="undeclared_scale", detail="say `percent` or `fraction`"
            )
        return _PERCENT_SCALES[scale], 0, WHOLE_PPM
    if unit == "usd":
        return 100, 0, None
    if unit != "score":
        return SCORE_MILLI, 0, None
    least, _, most = scale.partition("..")
    if not least or not most:
        raise RowError(
            column="scale",
            code="undeclared_scale",
            detail="a score declares its ends, such as `0..100`",
        )
    return (
        SCORE_MILLI,
        _number(least, "scale", SCORE_MILLI),
        _number(most, "scale", SCORE_MILLI),
    )


def check_label(
    text: Callable[[str], str], value: Value, bands: Mapping[str, tuple[int, int]] | None
) -> None:
    """Refuse a label that contradicts the score beside it.

    Raises:
        RowError: If the vendor's label is unknown or means another score.
    """
    label = text("value_text")
    if not label or not isinstance(value, Band):
        return
    if bands is None:
        raise RowError(
            column="value_text",
            code="label_without_bands",
            detail="nobody said what this label means",
        )
    band = bands.get(label.lower())
    if band is None or not band[0] <= value.central < band[1]:
        raise RowError(
            column="value_text",
            code="label_contradicts_score",
            detail=f"{label[:40]!r} does not fit the score beside it",
        )
