"""Scores: a vendor's rows in one long form, our own rule-based exposure grade, and what changed.

Rows are append-only, keyed by (security, vendor, metric, part, date): a weekly re-score is a new
date. The rule-based grade is **not** an opinion on a company; it is a function of its group and
involvement.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from baskets.errors import ImportFileError
from baskets.involvement import Involvement, Kind
from baskets.securities import Security
from baskets.taxonomy import Taxonomy
from baskets.values import PERCENT_PPM, RULE_SOURCE, SCORE_MILLI, Band, Origin, Value, Word

RULE_VERSION = "exposure-1"
RULE_LABEL = (
    "Rule-based exposure grade (1 worst to 5 best) from a company's line of business and published"
    " involvement rules. It is not a rating by any vendor and not an opinion on the company."
)
"""Shown wherever the default grade is."""

GRADED_ACTIVITIES = (
    "tobacco",
    "alcohol",
    "gambling",
    "civilian_firearms",
    "weapons",
    "thermal_coal",
    "oil_gas",
    "gas_distribution",
    "fossil_power",
)
"""What the grade looks at; activities that rules cannot see would only add noise."""

_MATERIAL_PPM = 5 * PERCENT_PPM
_DOMINANT_PPM = 50 * PERCENT_PPM
_HIGH_EMISSION, _HIGHEST_EMISSION = 4, 5
_GRADE_BEST, _GRADE_WORST = 5, 1


@dataclass(frozen=True, slots=True)
class RowKey:
    """What one row is about; a second row with the same key must say the same."""

    security_id: int
    vendor: str
    metric: str
    part: str
    as_of: date


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One datum a vendor delivered."""

    key: RowKey
    unit: str
    value: Value
    """A band in the unit's integers, or a word; graded words carry their scale's name."""
    scale: str = ""
    higher_is_better: bool | None = None
    vendor_version: str = ""
    effective_from: date | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What one security's metric was on the earlier date and is on the later one."""

    security_id: int
    vendor: str
    metric: str
    part: str
    before: Value | None
    after: Value | None


@dataclass(frozen=True)
class ScoreTable:
    """All rows ever imported, unchanged."""

    rows: Mapping[RowKey, ScoreRow] = field(default_factory=dict)

    def append(self, rows: Iterable[ScoreRow]) -> "ScoreTable":
        """Return the table with these rows added; a row that is already there changes nothing.

        Raises:
            ImportFileError: If a row contradicts one that is there (code `row_rewrites_history`).
        """
        grown = dict(self.rows)
        for row in rows:
            there = grown.setdefault(row.key, row)
            if not _same(there, row):
                message = (
                    f"{row.key.vendor} {row.key.metric} of security {row.key.security_id} on"
                    f" {row.key.as_of} is already known with another value; send a new date"
                )
                raise ImportFileError(
                    message,
                    code="row_rewrites_history",
                )
        return ScoreTable(grown)

    def dates(self, vendor: str) -> tuple[date, ...]:
        """Return the dates a vendor delivered for, oldest first."""
        return tuple(sorted({key.as_of for key in self.rows if key.vendor == vendor}))

    def latest(self, as_of: date) -> dict[tuple[int, str, str, str], ScoreRow]:
        """Return (security id, vendor, metric, part) -> its newest row in force on a date."""
        found: dict[tuple[int, str, str, str], ScoreRow] = {}
        for key, row in self.rows.items():
            if (row.effective_from or key.as_of) > as_of or key.as_of > as_of:
                continue
            short = (key.security_id, key.vendor, key.metric, key.part)
            there = found.get(short)
            if there is None or there.key.as_of < key.as_of:
                found[short] = row
        return found

    def changes(self, vendor: str, earlier: date, later: date) -> tuple[Change, ...]:
        """Return what a vendor's later delivery changed, in order of security, metric and part."""
        before = self._delivered(vendor, earlier)
        after = self._delivered(vendor, later)
        changed = []
        for short in sorted(before.keys() | after.keys()):
            old, new = before.get(short), after.get(short)
            if old is None or new is None or not _same(old, new):
                security_id, metric, part = short
                changed.append(
                    Change(
                        security_id,
                        vendor,
                        metric,
                        part,
                        None if old is None else old.value,
                        None if new is None else new.value,
                    )
                )
        return tuple(changed)

    def _delivered(self, vendor: str, on: date) -> dict[tuple[int, str, str], ScoreRow]:
        return {
            (key.security_id, key.metric, key.part): row
            for key, row in self.rows.items()
            if key.vendor == vendor and key.as_of == on
        }


def _same(one: ScoreRow, other: ScoreRow) -> bool:
    """Return whether two rows say the same, whatever their notes."""
    return (_content(one.value), one.unit, one.scale) == (
        _content(other.value),
        other.unit,
        other.scale,
    )


def _content(value: Value) -> tuple[object, ...]:
    """Return a value without its origin."""
    if isinstance(value, Word):
        return (value.text,)
    return (value.low, value.central, value.high)


@dataclass(frozen=True, slots=True)
class ExposureGrade:
    """Our rule-based grade of one company and every point that led to it."""

    grade: int
    """5 (no exposure that rules can see) to 1."""
    reasons: tuple[str, ...]

    def value(self) -> Band:
        """Return the grade as a field's value."""
        note = "; ".join(self.reasons) or "no exposure that the rules can see"
        return Band.exactly(self.grade * SCORE_MILLI, Origin(RULE_SOURCE, "rule", 4, note))


def exposure_grade(
    security: Security, involvement: Involvement, taxonomy: Taxonomy
) -> ExposureGrade:
    """Return 5 minus a point per exposure, at least 1.

    Everybody in a group gets the same unless overridden. Points: emission class 4 one, class 5
    two; each activity of `GRADED_ACTIVITIES` with a central share of 5 % or more one, of 50 % or
    more two; a share that is not known one.
    """
    points = 0
    reasons: list[str] = []

    def count(number: int, why: str) -> None:
        nonlocal points
        points += number
        reasons.append(f"-{number} {why}")

    emission = taxonomy.groups[security.group].emission_class
    if emission >= _HIGH_EMISSION:
        count(2 if emission == _HIGHEST_EMISSION else 1, f"emission class {emission} of 5")
    for key in GRADED_ACTIVITIES:
        activity = involvement.activities.get(key)
        if activity is None or not activity.by_rule:
            continue
        share = involvement.share(security, key, Kind.ANY)
        if share is None:
            count(1, f"{activity.name}: share not known")
        elif share.central >= _MATERIAL_PPM:
            dominant = share.central >= _DOMINANT_PPM
            count(2 if dominant else 1, f"{activity.name}: {'50' if dominant else '5'} % or more")
    return ExposureGrade(max(_GRADE_WORST, _GRADE_BEST - points), tuple(reasons))
