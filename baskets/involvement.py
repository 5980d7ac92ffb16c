"""Which activities a company earns money with: low, central and high share, basis and quality.

Three sources, the best wins: imported rows, overrides written by hand from filings, rules over
groups. Not known is a third state (None): an absent source never reads as clean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import Any

from baskets.data_files import read_toml
from baskets.errors import DataFileError
from baskets.securities import Security
from baskets.values import PERCENT_PPM, RULE_SOURCE, WHOLE_PPM, Band, Origin


class Kind(StrEnum):
    """How a company takes part in an activity."""

    PRODUCTION = "production"
    RETAIL = "retail"
    DISTRIBUTION = "distribution"
    SUPPORT = "support"
    TRANSPORT = "transport"
    GENERATION = "generation"
    OWNERSHIP = "ownership"
    ANY = "any"


PARTS = tuple(kind for kind in Kind if kind is not Kind.ANY)
"""The kinds that `any` adds up."""

NONE_BY_RULE = Band.exactly(
    0, Origin(RULE_SOURCE, "rule", 4, "the company's group has no part in this activity")
)
"""What a rule-covered activity is for a known group that no rule names."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Something a customer may not want to earn from."""

    key: str
    name: str
    by_rule: bool
    """Whether rules over groups can see it; otherwise it is unknown without an override."""


@dataclass(frozen=True, slots=True)
class Rule:
    """All companies of these groups or labels take part so far; no band: the share is unknown."""

    activity: str
    kind: Kind
    groups: frozenset[str]
    labels: frozenset[str]
    band: Band | None

    def covers(self, security: Security) -> bool:
        """Return whether the rule speaks about this security."""
        return security.group in self.groups or security.source_label in self.labels


@dataclass(frozen=True)
class Involvement:
    """Answers how far any security takes part in any activity."""

    activities: Mapping[str, Activity]
    rules: Mapping[tuple[str, Kind], tuple[Rule, ...]]
    overrides: Mapping[tuple[str, str, Kind], Band]
    """(symbol, activity, kind) -> what a filing says."""
    imported: Mapping[tuple[int, str, Kind], Band]
    """(security id, activity, kind) -> what a vendor's active rows say."""
    _ruled: dict[tuple[str, str, str, Kind], Band | None] = field(
        default_factory=dict, repr=False, compare=False
    )
    """(group, label, activity, kind) -> the share of whom only rules speak; worked out once."""

    @cached_property
    def _named(self) -> frozenset[tuple[int | str, str]]:
        """Return (security id or symbol, activity) of whom rows or overrides speak."""
        imported = {(number, activity) for number, activity, _ in self.imported}
        return frozenset({*imported, *((name, activity) for name, activity, _ in self.overrides)})

    def share(self, security: Security, activity: str, kind: Kind) -> Band | None:
        """Return the share of revenue in ppm, or None if it is not known.

        Raises:
            KeyError: If there is no such activity.
        """
        if (security.id, activity) in self._named or (security.symbol, activity) in self._named:
            return self._share(security, activity, kind)
        key = (security.group, security.source_label, activity, kind)
        if key not in self._ruled:
            self._ruled[key] = self._share(security, activity, kind)
        return self._ruled[key]

    def _share(self, security: Security, activity: str, kind: Kind) -> Band | None:
        known = self.activities[activity]
        stated = self._stated(security, activity, kind)
        if stated is not None or kind is not Kind.ANY:
            return stated or self._by_rule(security, known, kind)
        return self._any(security, known)

    def with_imported(self, rows: Mapping[tuple[int, str, Kind], Band]) -> "Involvement":
        """Return the same answers with a vendor's rows in front of rules and overrides."""
        imported = {**self.imported, **dict(rows)}
        return Involvement(self.activities, self.rules, self.overrides, imported, self._ruled)

    def _stated(self, security: Security, activity: str, kind: Kind) -> Band | None:
        """Return what a vendor's row or, failing that, an override says of this very part."""
        return self.imported.get((security.id, activity, kind)) or self.overrides.get(
            (security.symbol, activity, kind)
        )

    def _by_rule(self, security: Security, activity: Activity, kind: Kind) -> Band | None:
        """Return what the rules say; None where they cannot see the activity or the company."""
        if not activity.by_rule or not security.source_label:
            return None
        for rule in self.rules.get((activity.key, kind), ()):
            if rule.covers(security):
                return rule.band
        return NONE_BY_RULE

    def _any(self, security: Security, activity: Activity) -> Band | None:
        """Return the sum of all parts; a part that is not known leaves the upper end open."""
        whole = self._by_rule(security, activity, Kind.ANY)
        parts = [
            self._stated(security, activity.key, kind) or self._by_rule(security, activity, kind)
            for kind in PARTS
        ]
        if activity.by_rule:
            parts.append(whole)
        known = [part for part in parts if part is not None]
        return _sum(known, open_end=activity.by_rule and len(known) < len(parts))


def _sum(parts: Sequence[Band], *, open_end: bool) -> Band | None:
    """Return the parts added up, at most the whole; None if nothing is known of any."""
    speaking = [part for part in parts if part.high > 0]
    if not speaking:
        return None if open_end or not parts else parts[0]
    if len(speaking) == 1 and not open_end:
        return speaking[0]
    high = WHOLE_PPM if open_end else sum(part.high for part in speaking)
    worst = max(speaking, key=lambda part: part.origin.quality).origin
    note = "; ".join(dict.fromkeys(part.origin.note for part in speaking if part.origin.note))
    return Band(
        min(WHOLE_PPM, sum(part.low for part in speaking)),
        min(WHOLE_PPM, sum(part.central for part in speaking)),
        min(WHOLE_PPM, high),
        Origin(worst.source, worst.basis, worst.quality, note),
    )


def involvement_from(document: Mapping[str, Any]) -> Involvement:
    """Return the involvement that a parsed `involvement.toml` describes.

    Raises:
        DataFileError: If a row names an unknown activity or kind, or its band is not a band.
    """
    activities = {
        str(key): Activity(str(key), str(row["name"]), row["coverage"] == "rule")
        for key, row in document["activities"].items()
    }
    rules: dict[tuple[str, Kind], tuple[Rule, ...]] = {}
    for row in document.get("rule", ()):
        key = _activity_and_kind(row, activities)
        rule = Rule(
            *key,
            frozenset(row.get("groups", ())),
            frozenset(row.get("labels", ())),
            None if row.get("unknown") else _band(row, str(row.get("note", ""))),
        )
        rules[key] = (*rules.get(key, ()), rule)
    overrides: dict[tuple[str, str, Kind], Band] = {}
    for row in document.get("override", ()):
        activity, kind = _activity_and_kind(row, activities)
        full = (str(row["symbol"]), activity, kind)
        if full in overrides:
            message = f"involvement.toml: two overrides for {full}"
            raise DataFileError(message)
        overrides[full] = _band(row, str(row["reason"]))
    return Involvement(activities, rules, overrides, {})


def _activity_and_kind(
    row: Mapping[str, Any], activities: Mapping[str, Activity]
) -> tuple[str, Kind]:
    activity = str(row.get("activity"))
    if activity not in activities:
        message = f"involvement.toml: unknown activity {activity!r}"
        raise DataFileError(message)
    try:
        return activity, Kind(row["kind"])
    except (KeyError, ValueError) as error:
        message = f"involvement.toml: {activity}: unknown kind {error}"
        raise DataFileError(message) from error


def _band(row: Mapping[str, Any], note: str) -> Band:
    """Return a row's percentages as a band in ppm."""
    low, central, high = (round(row[key] * PERCENT_PPM) for key in ("low", "central", "high"))
    basis = str(row.get("basis", "override"))
    try:
        return Band(low, central, high, Origin(RULE_SOURCE, basis, int(row["quality"]), note))
    except ValueError as error:
        message = f"involvement.toml: {row.get('activity')}: {error}"
        raise DataFileError(message) from error


@cache
def load_involvement() -> Involvement:
    """Return the involvement that ships with us, read once."""
    return involvement_from(read_toml("involvement.toml"))
