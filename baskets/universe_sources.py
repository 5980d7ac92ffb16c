"""Two sources of securities: the data packages, and a short list written by hand."""

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Any

from baskets import figures, places, security_ids
from baskets.data_files import read_text
from baskets.errors import DataFileError
from baskets.figures import Figure
from baskets.securities import (
    TIERS,
    Security,
    SizeTier,
    Universe,
    UniverseSource,
    normal_symbol,
    universe_of,
)
from baskets.taxonomy import Taxonomy, load_taxonomy

PACKAGED_AS_OF = date(2026, 7, 13)
"""The day the pinned package's lists were built."""

_FILES: dict[SizeTier, str] = {
    "large": "sp500_current.csv",
    "mid": "sp400_current.csv",
    "small": "sp600_current.csv",
}
_COLUMNS = frozenset({"ticker", "name", "cik", "gics_sub_industry"})
_US_INDICES = ("S&P 500", "S&P 600", "S&P 100", "NASDAQ 100", "DOW JONES")
_CIK_DIGITS = 10
_ISIN_LENGTH = 12
_FALLBACK_SIZE_CENTS: dict[SizeTier, int] = {
    "large": 4_000_000_000_000,
    "mid": 700_000_000_000,
    "small": 200_000_000_000,
}
"""$40bn, $7bn, $2bn: typical of a tier of which too few figures are known."""

_TIER_KNOWN_MIN = 30
"""A tier's own median is used from this many known sizes on."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """One row of a list of members."""

    symbol: str
    name: str
    cik: str
    label: str
    tier: SizeTier
    country: str | None = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the second package adds about a company."""

    isin: str | None = None
    country: str | None = None
    net_income: Figure | None = None
    revenue: Figure | None = None


class PackagedUniverse:
    """All 1,505 names of the pinned data packages."""

    name = "pitindex 0.2.1 + pytickersymbols 1.17.10"

    def load(self) -> Universe:
        """Read the lists without importing their package, which would warn about their age."""
        folder = _package_folder("pitindex") / "data"
        listed = [
            row
            for tier in TIERS
            for row in _members((folder / _FILES[tier]).read_text("utf-8"), tier)
        ]
        return _assembled(listed, _company_facts(), self.name, PACKAGED_AS_OF)


class MinimalUniverse:
    """Large companies written by hand; needs no package, and takes facts where one is there."""

    name = "hand-written minimal universe"

    def load(self) -> Universe:
        """Read `universe_min.csv`, whose names are all large."""
        rows = csv.DictReader(io.StringIO(read_text("universe_min.csv")))
        listed = [
            _Listed(
                normal_symbol(row["symbol"]),
                row["name"],
                row["cik"].zfill(_CIK_DIGITS),
                row["source_label"],
                "large",
                row["country"] or None,
            )
            for row in rows
        ]
        return _assembled(listed, _company_facts(), self.name, PACKAGED_AS_OF)


def first_available(
    sources: Sequence[UniverseSource] = (PackagedUniverse(), MinimalUniverse()),
) -> Universe:
    """Return the first universe that can be loaded."""
    problem: DataFileError | None = None
    for source in sources:
        try:
            return source.load()
        except DataFileError as error:
            problem = error
    raise problem or DataFileError("no source of securities was given")


def _package_folder(package: str) -> Traversable:
    """Return an installed package's folder without importing it."""
    spec = find_spec(package)
    reader = getattr(spec.loader, "get_resource_reader", None) if spec is not None else None
    resources = reader(package) if reader is not None else None
    if resources is None:
        message = f"the package {package} is not installed"
        raise DataFileError(message, code="package_missing")
    folder: Traversable = resources.files()
    return folder


def _members(text: str, tier: SizeTier) -> Iterator[_Listed]:
    """Yield the rows of one list of members.

    Raises:
        DataFileError: If a column is missing or a CIK is not ten digits.
    """
    reader = csv.DictReader(io.StringIO(text))
    if not _COLUMNS.issubset(reader.fieldnames or ()):
        message = f"the {tier} list lacks a column of {sorted(_COLUMNS)}"
        raise DataFileError(message)
    for row in reader:
        cik = (row["cik"] or "").strip()
        if len(cik) != _CIK_DIGITS or not cik.isdigit():
            message = f"the {tier} list, line {reader.line_num}: CIK {cik!r}"
            raise DataFileError(message)
        label = " ".join(row["gics_sub_industry"].split())
        yield _Listed(normal_symbol(row["ticker"]), row["name"].strip(), cik, label, tier)


def _company_facts() -> dict[str, _Facts]:
    """Return symbol -> facts of the second package; empty if it is not installed."""
    try:
        indices: Mapping[str, Any] = import_module("pytickersymbols.indices_data").INDICES
    except (ImportError, AttributeError):
        return {}
    found: dict[str, _Facts] = {}
    for index in _US_INDICES:
        for company in indices.get(index, {}).get("companies", ()):
            symbol = company.get("symbol")
            if isinstance(symbol, str):
                found.setdefault(normal_symbol(symbol), _facts_of(company))
    return found


def _facts_of(company: Mapping[str, Any]) -> _Facts:
    """Return what one entry says, read defensively: every value is a string a person wrote."""
    metadata = company.get("metadata") or {}
    net_income = figures.parse_figure(metadata.get("net_income"))
    revenue = figures.parse_figure(metadata.get("revenue"))
    if not figures.plausible(net_income, revenue):
        net_income = None
    country = places.country_of(company.get("country"))
    return _Facts(_isin(company.get("isins"), country), country, net_income, revenue)


def _isin(values: object, country: str | None) -> str | None:
    """Return the one ISIN that fits the head office's country or the US, if it is unambiguous."""
    texts = [text for text in values if isinstance(text, str)] if isinstance(values, list) else []
    sound = [text for text in texts if len(text) == _ISIN_LENGTH and text.isalnum()]
    fitting = [text for text in sound if text[:2] in {country, "US"}]
    return fitting[0] if len(fitting) == 1 else None


def _assembled(
    listed: Sequence[_Listed], facts: Mapping[str, _Facts], source: str, as_of: date
) -> Universe:
    """Join lists, facts, taxonomy and permanent ids; a name we cannot identify is an error."""
    taxonomy, ids = load_taxonomy(), security_ids.by_key(security_ids.load())
    estimates = _sizes(listed, facts, taxonomy)
    typical = _typical_sizes(listed, estimates)
    securities = []
    for row in listed:
        group = taxonomy.group_of(row.label)
        number = ids.get((row.cik, row.symbol))
        if group is None or number is None:
            missing = f"the label {row.label!r} is unmapped" if number else "it has no permanent id"
            message = f"{row.symbol} cannot be used: {missing}"
            raise DataFileError(message, code="unknown_security")
        known = facts.get(row.symbol, _Facts())
        size = estimates.get(row.symbol)
        income = known.net_income
        securities.append(
            Security(
                id=number,
                symbol=row.symbol,
                name=row.name,
                cik=row.cik,
                isin=known.isin,
                sector=group.sector,
                group=group.key,
                source_label=row.label,
                country=row.country or known.country,
                size_tier=row.tier,
                size_cents=size,
                size_basis="unknown" if size is None else "estimate",
                seed_size_cents=size or typical[row.tier],
                profitable=None if income is None else income.cents > 0,
                fiscal_year=None if income is None else income.fiscal_year,
                source=source,
                as_of=as_of,
            )
        )
    return universe_of(securities, source, as_of)


def _sizes(
    listed: Sequence[_Listed], facts: Mapping[str, _Facts], taxonomy: Taxonomy
) -> dict[str, int]:
    """Return symbol -> size estimate per share class; only names with figures are there.

    A loss-maker's sales alone would make a thin-margin giant of it, so its estimate is held to the
    median of its tier's profitable names.
    """
    classes = Counter(row.cik for row in listed)
    raw: dict[str, int] = {}
    losing: set[str] = set()
    for row in listed:
        known, group = facts.get(row.symbol), taxonomy.group_of(row.label)
        if known is None or group is None:
            continue
        whole = figures.size_estimate_cents(group.sector, known.net_income, known.revenue)
        if whole:
            raw[row.symbol] = whole
        if known.net_income is None or known.net_income.cents <= 0:
            losing.add(row.symbol)
    tier_of = {row.symbol: row.tier for row in listed}
    ceiling = _medians(
        (tier_of[symbol], size) for symbol, size in raw.items() if symbol not in losing
    )
    held = {
        symbol: min(size, ceiling.get(tier_of[symbol], size)) if symbol in losing else size
        for symbol, size in raw.items()
    }
    return {
        row.symbol: held[row.symbol] // classes[row.cik] for row in listed if row.symbol in held
    }


def _typical_sizes(listed: Sequence[_Listed], sizes: Mapping[str, int]) -> dict[SizeTier, int]:
    """Return each tier's typical size: its median where enough is known, else a round figure."""
    counts = Counter(row.tier for row in listed if row.symbol in sizes)
    medians = _medians((row.tier, sizes[row.symbol]) for row in listed if row.symbol in sizes)
    return {
        tier: medians[tier] if counts[tier] >= _TIER_KNOWN_MIN else _FALLBACK_SIZE_CENTS[tier]
        for tier in TIERS
    }


def _medians(pairs: Iterable[tuple[SizeTier, int]]) -> dict[SizeTier, int]:
    """Return tier -> lower median of its sizes."""
    by_tier: dict[SizeTier, list[int]] = {}
    for tier, size in pairs:
        by_tier.setdefault(tier, []).append(size)
    return {tier: statistics.median_low(sizes) for tier, sizes in by_tier.items()}
