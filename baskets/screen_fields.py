"""The fields a screen may name: their kinds, where values come from, and whether there are any."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from baskets.facts import STANDARD_METRICS, Facts, Measure
from baskets.involvement import Activity, Kind
from baskets.securities import TIERS, Security
from baskets.values import RULE_SOURCE, SCALES, Band, FieldKind, Origin, Scale, Value, Word

SCORE_PREFIX = "score."
RULE_FIELD = f"{SCORE_PREFIX}rule"
YES, NO = "yes", "no"

_STANDARD_KINDS = {
    "dividend_yield": FieldKind.SHARE,
    "credit_rating": FieldKind.GRADE,
    "risk_rating": FieldKind.COUNT,
    "volatility": FieldKind.SHARE,
}
_STANDARD_MEANING = {
    "dividend_yield": "dividends of a year over the price; only from an import",
    "credit_rating": "issuer credit rating AAA to D; only from an import",
    "risk_rating": "1 (calm) to 5 (rough) from volatility; only from an import",
    "volatility": "predicted annual volatility; only from an import",
}


@dataclass(frozen=True)
class Field:
    """A thing that is known, or not, of a security."""

    name: str
    kind: FieldKind
    meaning: str
    read: Callable[[Security], Value | None]
    vocabulary: frozenset[str] | None = None
    """All words it can hold, lower case, where the list is closed."""
    scale: Scale | None = None
    missing: str = ""
    """Why no screen may use it now; empty if it may."""


def fields_of(facts: Facts) -> dict[str, Field]:
    """Return every field by name, those without data included."""
    fields = [*_identity(facts), *_size(facts), *_company(facts), *_involvement(facts)]
    fields += [_measured(name, measure) for name, measure in facts.measures.items()]
    table = {field.name: field for field in fields}
    for name in sorted(STANDARD_METRICS - table.keys()):
        table[name] = _without_data(name)
    return table


def closest(name: str, names: Mapping[str, Field]) -> str:
    """Return a hint at the fields a mistyped name may have meant."""
    near = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(f'`{text}`' for text in near)}?" if near else ""


def _origin(security: Security, basis: str = "listed", quality: int = 2) -> Origin:
    return Origin(security.source, basis, quality, "", security.as_of)


def _word(security: Security, text: str | None) -> Word | None:
    return None if text is None else Word(text, _origin(security))


def _identity(facts: Facts) -> list[Field]:
    taxonomy = facts.taxonomy
    return [
        Field("symbol", FieldKind.WORD, "ticker symbol", lambda row: _word(row, row.symbol)),
        Field("name", FieldKind.WORD, "company name", lambda row: _word(row, row.name)),
        Field("cik", FieldKind.WORD, "SEC number of the company", lambda row: _word(row, row.cik)),
        Field(
            "sector",
            FieldKind.WORD,
            "one of our eleven sectors",
            lambda row: _word(row, row.sector),
            frozenset(taxonomy.sectors),
        ),
        Field(
            "group",
            FieldKind.WORD,
            "one of our groups of businesses",
            lambda row: _word(row, row.group),
            frozenset(taxonomy.groups),
        ),
        Field(
            "country",
            FieldKind.WORD,
            "two-letter country of the head office",
            lambda row: _word(row, row.country),
        ),
    ]


def _size(facts: Facts) -> list[Field]:
    ranks = facts.universe.size_rank

    def size(row: Security) -> Band | None:
        if row.size_cents is None:
            return None
        quality = 1 if row.size_basis == "imported" else 4
        return Band.exactly(row.size_cents, _origin(row, row.size_basis, quality))

    def rank(row: Security) -> Band | None:
        place = ranks.get(row.id)
        return None if place is None else Band.exactly(place, _origin(row, row.size_basis, 4))

    return [
        Field(
            "size",
            FieldKind.MONEY,
            "estimate from reported earnings and revenue, not a market capitalisation; or imported",
            size,
        ),
        Field("size_rank", FieldKind.COUNT, "1 for the largest known size", rank),
        Field(
            "size_tier",
            FieldKind.WORD,
            "large, mid or small, by the list that names the company",
            lambda row: _word(row, row.size_tier),
            frozenset(TIERS),
        ),
        Field(
            "size_basis",
            FieldKind.WORD,
            "how size is known: estimate, imported or unknown",
            lambda row: _word(row, row.size_basis),
            frozenset({"estimate", "imported", "unknown"}),
        ),
    ]


def _company(facts: Facts) -> list[Field]:
    groups = facts.taxonomy.groups

    def profitable(row: Security) -> Word | None:
        if row.profitable is None:
            return None
        note = f"fiscal {row.fiscal_year}, last reported, from an encyclopaedia"
        origin = Origin(row.source, "reported", 3, note, row.as_of)
        return Word(YES if row.profitable else NO, origin)

    def year(row: Security) -> Band | None:
        known = row.fiscal_year
        return None if known is None else Band.exactly(known, _origin(row, "reported", 3))

    def emission(row: Security) -> Band:
        origin = Origin(RULE_SOURCE, "rule", 4, groups[row.group].name)
        return Band.exactly(groups[row.group].emission_class, origin)

    return [
        Field("profitable", FieldKind.FLAG, "whether net income was positive", profitable),
        Field("fiscal_year", FieldKind.COUNT, "the year `profitable` is from", year),
        Field(
            "emission_class",
            FieldKind.COUNT,
            "1 (least) to 5: typical emissions per dollar of sales of the group",
            emission,
        ),
        Field(
            RULE_FIELD,
            FieldKind.SCORE,
            "our rule-based exposure grade, 1 worst to 5 best; no vendor's opinion",
            facts.grade,
        ),
    ]


def _involvement(facts: Facts) -> list[Field]:
    def share_of(activity: Activity, kind: Kind) -> Field:
        how = "" if kind is Kind.ANY else f" ({kind})"
        return Field(
            f"{activity.key}.{kind}",
            FieldKind.SHARE,
            f"share of revenue from {activity.name}{how}",
            facts.share_of(activity.key, kind),
        )

    return [
        share_of(activity, kind)
        for activity in facts.involvement.activities.values()
        for kind in Kind
    ]


def _measured(name: str, measure: Measure) -> Field:
    return Field(
        name,
        measure.kind,
        _STANDARD_MEANING.get(name, "imported"),
        lambda row: measure.values.get(row.id),
        scale=SCALES.get(measure.scale),
        missing="" if measure.values else f"no values of `{name}` have been imported",
    )


def _without_data(name: str) -> Field:
    return Field(
        name,
        _STANDARD_KINDS[name],
        _STANDARD_MEANING[name],
        lambda _row: None,
        scale=SCALES["credit"] if name == "credit_rating" else None,
        missing=f"`{name}` has no data until a file with it is imported",
    )
