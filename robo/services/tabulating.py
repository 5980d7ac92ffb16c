"""CSV files from outside: bounded in every direction, whole or not at all, no cell repeated.

Who reads a kind of file says how a row becomes a value or what is wrong with it; here is what all
kinds share, and how days, dollars, shares and symbols are spelt.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Generic, TypeVar

from robo.core.errors import InvalidInputError, RoboError
from robo.core.money import parse_cents
from robo.core.shares import parse_nanos

T = TypeVar("T")
FIRST_DAY: Final = date(1970, 1, 1)
"""Nothing older is believed."""
SYMBOL: Final = re.compile(r"[A-Z][A-Z0-9.\-]{0,11}")
_ERRORS_MAX: Final = 50
_US: Final = "%m/%d/%Y"
_SHARES: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_AMOUNT: Final = re.compile(r"\$?([0-9]{1,3}(,[0-9]{3}){0,4}|[0-9]{1,13})(\.[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Sheet(Generic[T]):
    """A kind of file: its columns, how many rows it may have, and how a row is read."""

    columns: Sequence[str]
    optional: Sequence[str]
    rows_max: int
    read: Callable[[Mapping[str, str]], tuple[T | None, list[str]]]
    """Returns a row's value, or None and what is wrong with it; cells come stripped."""


def rows(text: str, sheet: Sheet[T]) -> dict[int, T]:
    """Return the rows of a file by their line, counted from the header as 1.

    Raises:
        InvalidInputError: Naming every wrong row, up to a bound; no cell is repeated.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    wrong: dict[str, list[str]] = {}
    found: dict[int, T] = {}
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _require_header(header, sheet)
        for place, cells in enumerate(reader, start=2):
            if place > sheet.rows_max + 1:
                wrong["csv"] = [f"A file has at most {sheet.rows_max} rows."]
                break
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                value, errors = None, [f"It has {len(cells)} cells, the header {len(header)}."]
            else:
                stripped = (cell.strip() for cell in cells)
                value, errors = sheet.read(dict(zip(header, stripped, strict=True)))
            if value is not None:
                found[place] = value
            elif len(wrong) < _ERRORS_MAX:
                wrong[f"row_{place}"] = errors
    except csv.Error:
        wrong[f"row_{reader.line_num}"] = ["This line is not CSV."]
    if not found and not wrong:
        wrong["csv"] = ["There are no rows."]
    if wrong:
        raise refusal(wrong)
    return found


def refusal(wrong: Mapping[str, Sequence[str]]) -> InvalidInputError:
    """Return the error that names what is wrong with a file."""
    message = "The file was not taken: some rows are not acceptable."
    return InvalidInputError(message, code="csv_rows", fields=wrong)


def _require_header(header: list[str], sheet: Sheet[T]) -> None:
    missing = [name for name in sheet.columns if name not in header]
    unknown = [name for name in header if name not in (*sheet.columns, *sheet.optional)]
    if missing or unknown or len(set(header)) != len(header):
        may = " and ".join(sheet.optional)
        message = f"The header must name {', '.join(sheet.columns)}, and may name {may}."
        raise InvalidInputError(message, code="csv_header", fields={"row_1": [message]})


def day(text: str) -> date | None:
    """Return the day of YYYY-MM-DD or MM/DD/YYYY, None for anything else."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
        if re.fullmatch(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}", text):
            return datetime.strptime(text, _US).date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
    return None


def nanos(text: str) -> int:
    """Return the nanoshares of a positive number, zero for anything else."""
    try:
        return parse_nanos(text) if _SHARES.fullmatch(text) else 0
    except RoboError:
        return 0


def cents(text: str) -> int | None:
    """Return the cents of dollars like 1234.5 or $1,234.50, None for anything else."""
    if not _AMOUNT.fullmatch(text):
        return None
    try:
        return parse_cents(text.removeprefix("$").replace(",", ""))
    except RoboError:
        return None
