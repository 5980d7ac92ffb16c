"""The long form: one datum a row, from any vendor, checked before it is believed.

The columns are `COLUMNS`. A row that breaks a rule is reported with its line and column and is
never taken; nothing is active until somebody has seen the coverage. Percentages say whether they
are `percent` or `fraction`; nobody guesses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from baskets.import_cells import (
    FLAGS,
    Cells,
    RowError,
    check_label,
    choice_of,
    date_of,
    name_of,
    origin_of,
    part_of,
    reader_of,
    value_of,
)
from baskets.scores import RowKey, ScoreRow
from baskets.securities import Universe, normal_symbol

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
PROBLEMS_MAX = 200
"""After so many problems the file is hopeless and the rest is not looked at."""
_CIK_DIGITS = 10


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
        except RowError as error:
            column = cells.column or error.column
            self.problems.append(RowProblem(cells.line, column, error.code, error.detail))
            return
        if row is None:
            self.outside += 1
        elif row.key in self.rows:
            twice = "the same datum stands in the file twice"
            column = cells.column or "id"
            self.problems.append(RowProblem(cells.line, column, "duplicate_row", twice))
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
        RowError: If it breaks a rule.
    """
    text = reader_of(cells)
    vendor, metric = name_of(text("vendor"), "vendor"), name_of(text("metric"), "metric")
    if vendor == "rule":
        raise RowError(
            column="vendor", code="reserved_vendor", detail="`rule` is the name of our own grade"
        )
    id_type = choice_of(text("id_type"), "id_type", ID_TYPES)
    unit = choice_of(text("unit"), "unit", UNITS)
    part = part_of(text("sub_metric"), unit)
    as_of = date_of(text("as_of"), "as_of")
    value = value_of(text, unit, origin_of(text, vendor, as_of))
    check_label(text, value, label_bands.get((vendor, metric)))
    if not text("id"):
        raise RowError(column="id", code="missing_value", detail="the identifier is missing")
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
        FLAGS[choice_of(better, "higher_is_better", frozenset(FLAGS))] == "yes" if better else None,
        text("vendor_version"),
        date_of(effective, "effective_from") if effective else None,
    )
