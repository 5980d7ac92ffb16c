"""Everything a screen may ask about a security, brought together for one date."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache

from baskets.involvement import Involvement, Kind, load_involvement
from baskets.scores import ScoreRow, ScoreTable, exposure_grade
from baskets.securities import Security, Universe
from baskets.taxonomy import Taxonomy, load_taxonomy
from baskets.universe import load_universe
from baskets.values import PERCENT_PPM, Band, FieldKind, Origin, Value

UNIT_KINDS = {
    "pct_revenue": FieldKind.SHARE,
    "pct": FieldKind.SHARE,
    "usd": FieldKind.MONEY,
    "score": FieldKind.SCORE,
    "tonnes": FieldKind.SCORE,
    "tonnes_per_musd": FieldKind.SCORE,
    "flag": FieldKind.FLAG,
    "rating": FieldKind.GRADE,
}
"""Unit of an imported row -> kind of the field it fills."""

RISK_RATING_BOUNDS_PPM = (
    15 * PERCENT_PPM,
    22 * PERCENT_PPM,
    30 * PERCENT_PPM,
    40 * PERCENT_PPM,
)
"""Annual volatility below which a name is rated 1, 2, 3, 4; above the last it is 5."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of many securities: its kind, and what is known of whom."""

    kind: FieldKind
    values: Mapping[int, Value]
    scale: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Delivered:
    """A vendor whose rows are in force, with the version and date of the newest of them."""

    vendor: str
    version: str
    as_of: date

    def words(self) -> str:
        """Return vendor, version and date as a customer reads them."""
        version = f"version {self.version}, " if self.version else ""
        return f"{self.vendor} ({version}as of {self.as_of.isoformat()})"


@dataclass(frozen=True)
class Facts:
    """What is known of every security of a universe on one date."""

    universe: Universe
    taxonomy: Taxonomy
    involvement: Involvement
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """Field name -> an imported or modelled metric."""
    delivered: Mapping[str, tuple[Delivered, ...]] = field(default_factory=dict)
    """Field name, activity or `size` -> whose rows fill it."""
    _grades: dict[int, Band] = field(default_factory=dict, repr=False, compare=False)
    _shares: dict[tuple[str, Kind], dict[int, Band | None]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def share_of(self, activity: str, kind: Kind) -> Callable[[Security], Band | None]:
        """Return who says a security's share of revenue, worked out once; None if not known."""
        known = self._shares.setdefault((activity, kind), {})

        def share(security: Security) -> Band | None:
            if security.id not in known:
                known[security.id] = self.involvement.share(security, activity, kind)
            return known[security.id]

        return share

    def share(self, security: Security, activity: str, kind: Kind) -> Band | None:
        """Return a share of revenue, worked out once; None if it is not known."""
        return self.share_of(activity, kind)(security)

    def grade(self, security: Security) -> Band:
        """Return our rule-based exposure grade, worked out once."""
        found = self._grades.get(security.id)
        if found is None:
            found = exposure_grade(security, self.involvement, self.taxonomy).value()
            self._grades[security.id] = found
        return found

    def with_measures(self, measures: Mapping[str, Measure]) -> "Facts":
        """Return these facts with more metrics."""
        return Facts(
            self.universe,
            self.taxonomy,
            self.involvement,
            {**self.measures, **dict(measures)},
            self.delivered,
        )

    def with_scores(self, table: ScoreTable, as_of: date) -> "Facts":
        """Return these facts with all rows in force on a date.

        A share of revenue in one of our activities replaces rule and override, and where vendors
        disagree the highest upper bound is taken. Capitalisations replace size estimates. The rest
        becomes fields: `dividend_yield` and the like under their own names, others as
        `score.<vendor>.<metric>`.
        """
        involved: dict[tuple[int, str, Kind], Band] = {}
        sizes: dict[int, int] = {}
        others: list[ScoreRow] = []
        newest: dict[tuple[str, str], ScoreRow] = {}
        for row in table.latest(as_of).values():
            key, value = row.key, row.value
            place_of = (_filled(row, self.involvement), key.vendor)
            if place_of not in newest or newest[place_of].key.as_of < key.as_of:
                newest[place_of] = row
            if row.unit == "pct_revenue" and key.metric in self.involvement.activities:
                assert isinstance(value, Band)
                place = (key.security_id, key.metric, Kind(key.part or Kind.ANY))
                there = involved.get(place)
                if there is None or there.high < value.high:
                    involved[place] = value
            elif key.metric == "market_cap" and isinstance(value, Band):
                sizes[key.security_id] = value.central
            else:
                others.append(row)
        return Facts(
            self.universe.with_sizes(sizes),
            self.taxonomy,
            self.involvement.with_imported(involved),
            {**self.measures, **_measures_of(others)},
            {**self.delivered, **_delivered_of(newest)},
        )


def _filled(row: ScoreRow, involvement: Involvement) -> str:
    """Return what a row fills: an activity, `size`, or a field of its own."""
    key = row.key
    if row.unit == "pct_revenue" and key.metric in involvement.activities:
        return key.metric
    if key.metric == "market_cap" and isinstance(row.value, Band):
        return "size"
    return field_name(key.vendor, key.metric, key.part)


def _delivered_of(
    newest: Mapping[tuple[str, str], ScoreRow],
) -> dict[str, tuple[Delivered, ...]]:
    """Return who fills what, from the newest row of each vendor."""
    found: dict[str, list[Delivered]] = {}
    for (name, vendor), row in sorted(newest.items(), key=lambda pair: pair[0]):
        found.setdefault(name, []).append(Delivered(vendor, row.vendor_version, row.key.as_of))
    return {name: tuple(vendors) for name, vendors in found.items()}


def _measures_of(rows: Iterable[ScoreRow]) -> dict[str, Measure]:
    """Return rows grouped into measures by the field they fill."""
    values: dict[str, dict[int, Value]] = {}
    about: dict[str, ScoreRow] = {}
    for row in rows:
        name = field_name(row.key.vendor, row.key.metric, row.key.part)
        values.setdefault(name, {})[row.key.security_id] = row.value
        about[name] = row
    return {
        name: Measure(UNIT_KINDS[about[name].unit], known, about[name].scale)
        for name, known in values.items()
    }


STANDARD_METRICS = frozenset({"dividend_yield", "credit_rating", "risk_rating", "volatility"})
"""Metrics that fill a field of their own name, whoever delivers them."""


def field_name(vendor: str, metric: str, part: str) -> str:
    """Return the field that a vendor's metric fills."""
    if metric in STANDARD_METRICS:
        return metric
    ending = f".{part}" if part and part != Kind.ANY else ""
    return f"score.{vendor}.{metric}{ending}"


def volatility_measures(
    volatility_ppm: Mapping[int, int], source: str, as_of: date
) -> dict[str, Measure]:
    """Return `volatility` and the `risk_rating` of 1 to 5 that follows from it.

    Args:
        volatility_ppm: Security id -> predicted annual volatility, ppm.
        source: What predicted it, for example `SIM one-factor model`.
        as_of: The last session it has seen.
    """
    origin = Origin(source, "estimated", 4, "predicted volatility", as_of)
    return {
        "volatility": Measure(
            FieldKind.SHARE,
            {number: Band.exactly(ppm, origin) for number, ppm in volatility_ppm.items()},
        ),
        "risk_rating": Measure(
            FieldKind.COUNT,
            {
                number: Band.exactly(
                    1 + sum(ppm >= bound for bound in RISK_RATING_BOUNDS_PPM), origin
                )
                for number, ppm in volatility_ppm.items()
            },
        ),
    }


@cache
def load_facts() -> Facts:
    """Return the facts that ship with us: universe, taxonomy and involvement by rule."""
    return Facts(load_universe(), load_taxonomy(), load_involvement())
