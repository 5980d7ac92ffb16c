"""Vendors' files: CSV in the long form, and wide files that a mapping file turns into it.

A mapping is an example of how a vendor's columns may look, not a contract; copy and change it.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from baskets.data_files import names_in, read_toml
from baskets.errors import DataFileError, ImportFileError
from baskets.import_cells import CELL_LENGTH_MAX, Cells
from baskets.imports import COLUMNS, REQUIRED_COLUMNS
from baskets.values import SCORE_MILLI

FOLDER = "vendors"
FILE_LENGTH_MAX = 200 * 2**20
COLUMNS_MAX = 2_000
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """What one column of a wide file means in the long form."""

    column: str
    fixed: Mapping[str, str]
    """Long-form column -> text, the same in every row."""
    bands: Mapping[str, tuple[str, str]]
    """The vendor's word for a range -> its ends; empty if the column holds values."""
    text: bool
    """Whether the column holds words (ratings, flags) rather than numbers."""
    label_column: str
    """A column with the vendor's label for the same score, checked against it."""


@dataclass(frozen=True, slots=True)
class WideMapping:
    """How a vendor's wide file is read."""

    vendor: str
    version: str
    note: str
    as_of_column: str
    identifiers: tuple[tuple[str, str], ...]
    """(column, id_type), the first that is filled in counts."""
    missing: frozenset[str]
    columns: tuple[MappedColumn, ...]
    label_bands: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]]
    """(vendor, metric) -> label in lower case -> its scores in thousandths, [low, high)."""


def long_csv(text: str) -> Iterator[Cells]:
    """Yield the rows of a long-form CSV.

    Raises:
        ImportFileError: If it is not CSV, its columns are wrong, or a row is ragged.
    """
    header, rows = _table(text)
    unknown = set(header) - set(COLUMNS)
    absent = REQUIRED_COLUMNS - set(header)
    if unknown or absent:
        message = f"unknown columns {sorted(unknown)[:5]}, missing columns {sorted(absent)}"
        raise ImportFileError(message, code="bad_header")
    for line, cells in rows:
        yield Cells(line, dict(zip(header, cells, strict=True)))


def wide_csv(text: str, mapping: WideMapping, as_of: date | None = None) -> Iterator[Cells]:
    """Yield the long rows of a vendor's wide file; an empty cell gives none.

    Args:
        text: The file.
        mapping: How its columns are read.
        as_of: The date of the delivery, if the file has no column for it.

    Raises:
        ImportFileError: If a mapped column is missing, or a row is ragged.
    """
    header, rows = _table(text)
    needed = {column.column for column in mapping.columns} | {
        column.label_column for column in mapping.columns if column.label_column
    }
    if as_of is None:
        needed.add(mapping.as_of_column)
    absent = needed - set(header)
    if absent:
        message = f"the file of {mapping.vendor} lacks the columns {sorted(absent)[:10]}"
        raise ImportFileError(message, code="bad_header")
    for line, cells in rows:
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        on = as_of.isoformat() if as_of else row[mapping.as_of_column]
        yield from _long_rows(line, row, mapping, on)


def _long_rows(
    line: int, row: Mapping[str, str], mapping: WideMapping, as_of: str
) -> Iterator[Cells]:
    id_type, identifier = next(
        (
            (id_type, row[column])
            for column, id_type in mapping.identifiers
            if row.get(column, "") not in mapping.missing
        ),
        (mapping.identifiers[0][1], ""),
    )
    common = {
        "vendor": mapping.vendor,
        "vendor_version": mapping.version,
        "as_of": as_of,
        "id_type": id_type,
        "id": identifier,
    }
    for column in mapping.columns:
        cell = row[column.column]
        if cell in mapping.missing:
            continue
        found = _found(column, cell)
        label = row.get(column.label_column, "")
        if label not in mapping.missing:
            found["value_text"] = label
        yield Cells(line, {**common, **column.fixed, **found}, column.column)


def _found(column: MappedColumn, cell: str) -> dict[str, str]:
    """Return what one cell says in long-form columns."""
    if column.bands:
        ends = column.bands.get(cell)
        if ends is None:
            # Left as a number that is none, so that the row is rejected with its line.
            return {"value_num": cell, "basis": "range"}
        return {"low": ends[0], "high": ends[1], "basis": "range"}
    return {"value_text": cell} if column.text else {"value_num": cell}


def _table(text: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return a CSV's header and its rows with their line numbers.

    Raises:
        ImportFileError: If there is no sound header.
    """
    if len(text) > FILE_LENGTH_MAX or "\0" in text:
        message = "the file is too large or is not text"
        raise ImportFileError(message, code="not_text")
    reader = csv.reader(io.StringIO(text.removeprefix(BYTE_ORDER_MARK)), strict=True)
    header = [cell.strip() for cell in next(_rows(reader), (0, []))[1]]
    if not header or len(header) > COLUMNS_MAX or len(set(header)) < len(header):
        message = "the first line must name every column once"
        raise ImportFileError(message, code="bad_header")
    return header, _even(header, _rows(reader))


def _rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield a reader's rows that are not empty.

    Raises:
        ImportFileError: Where the text stops being CSV.
    """
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            message = f"line {reader.line_num}: {error}"
            raise ImportFileError(message, code="not_csv") from error
        if row is None:
            return
        if row:
            yield reader.line_num, row


def _even(
    header: Sequence[str], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if len(row) != len(header):
            message = f"line {line} has {len(row)} cells, the header {len(header)}"
            raise ImportFileError(message, code="ragged_row")
        if max(map(len, row)) > CELL_LENGTH_MAX:
            column = next(
                name for name, cell in zip(header, row, strict=True) if len(cell) > CELL_LENGTH_MAX
            )
            message = f"line {line}, column {column[:40]}: the cell is too long"
            raise ImportFileError(message, code="not_text")
        yield line, row


def mapping_from(document: Mapping[str, Any]) -> WideMapping:
    """Return the mapping that a parsed TOML file describes.

    Raises:
        DataFileError: If something is missing or of the wrong kind.
    """
    try:
        vendor = str(document["vendor"])
        columns = tuple(_column(row) for row in document["field"])
        labels = {
            (vendor, str(metric)): {
                str(label).lower(): (round(ends[0] * SCORE_MILLI), round(ends[1] * SCORE_MILLI))
                for label, ends in bands.items()
            }
            for metric, bands in document.get("labels", {}).items()
        }
        return WideMapping(
            vendor,
            str(document["version"]),
            str(document.get("note", "")),
            str(document.get("as_of_column", "")),
            tuple((str(row["column"]), str(row["id_type"])) for row in document["identifier"]),
            frozenset(map(str, document.get("missing", ("",)))) | {""},
            columns,
            labels,
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"a vendor mapping is malformed: {error!r}"
        raise DataFileError(message, code="bad_mapping") from error


def _column(row: Mapping[str, Any]) -> MappedColumn:
    own = {"column", "bands", "label_column"}
    unknown = row.keys() - own - set(COLUMNS)
    if unknown:
        message = f"unknown keys {sorted(unknown)}"
        raise ValueError(message)
    fixed = {str(key): _plain(value) for key, value in row.items() if key not in own}
    return MappedColumn(
        str(row["column"]),
        fixed,
        {str(label): (str(ends[0]), str(ends[1])) for label, ends in row.get("bands", {}).items()},
        fixed["unit"] in {"rating", "flag"},
        str(row.get("label_column", "")),
    )


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


@cache
def mappings() -> Mapping[str, WideMapping]:
    """Return the mappings that ship with us, by vendor."""
    found = (mapping_from(read_toml(FOLDER, name)) for name in names_in(FOLDER, ".toml"))
    return {mapping.vendor: mapping for mapping in found}
