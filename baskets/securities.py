"""A security and a set of them: who they are, what they do, how big they roughly are.

Size is an **estimate from reported earnings and revenue, not a market capitalisation**, until real
capitalisations are imported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, Protocol

SizeBasis = Literal["estimate", "imported", "unknown"]
SizeTier = Literal["large", "mid", "small"]

TIERS: tuple[SizeTier, ...] = ("large", "mid", "small")


@dataclass(frozen=True, slots=True)
class Security:
    """One line that can be bought, under the id that never changes."""

    id: int
    symbol: str
    name: str
    cik: str
    """Ten digits. Share classes of one company have the same."""
    isin: str | None
    sector: str
    """Our own sector key."""
    group: str
    """Our own group key."""
    source_label: str
    """The source's label; internal, never shown."""
    country: str | None
    """Two letters; where the head office is."""
    size_tier: SizeTier
    size_cents: int | None
    """The whole company's size, divided by its share classes; None if nothing is known."""
    size_basis: SizeBasis
    seed_size_cents: int
    """`size_cents`, or where None the typical size of its tier; for ranking and simulation."""
    profitable: bool | None
    """Whether the last reported net income is positive; None if not known."""
    fiscal_year: int | None
    """The year `profitable` is from."""
    source: str
    as_of: date


@dataclass(frozen=True)
class Universe:
    """All securities of one source on one date."""

    securities: tuple[Security, ...]
    source: str
    as_of: date
    by_symbol: Mapping[str, Security] = field(init=False, repr=False, compare=False)
    by_id: Mapping[int, Security] = field(init=False, repr=False, compare=False)
    size_rank: Mapping[int, int] = field(init=False, repr=False, compare=False)
    """Security id -> 1 for the largest; only where the size is known."""

    def __post_init__(self) -> None:
        """Index the securities."""
        put = object.__setattr__
        put(self, "by_symbol", {row.symbol: row for row in self.securities})
        put(self, "by_id", {row.id: row for row in self.securities})
        known = [row for row in self.securities if row.size_cents is not None]
        known.sort(key=lambda row: (-(row.size_cents or 0), row.id))
        put(self, "size_rank", {row.id: rank for rank, row in enumerate(known, start=1)})

    def with_sizes(self, capitalisation_cents: Mapping[int, int]) -> "Universe":
        """Return the universe with real capitalisations (by security id) in place of estimates."""
        rows = tuple(
            replace(
                row,
                size_cents=capitalisation_cents[row.id],
                seed_size_cents=capitalisation_cents[row.id],
                size_basis="imported",
            )
            if row.id in capitalisation_cents
            else row
            for row in self.securities
        )
        return Universe(rows, self.source, self.as_of)


class UniverseSource(Protocol):
    """Where securities come from."""

    name: str

    def load(self) -> Universe:
        """Return all securities; raises `DataFileError` if the source is not there or malformed."""
        ...


def normal_symbol(text: str) -> str:
    """Return a symbol with its share class after a dot: BRK/B, BRK-B and brk b become BRK.B."""
    return text.strip().upper().replace("/", ".").replace("-", ".").replace(" ", ".")


def universe_of(securities: Iterable[Security], source: str, as_of: date) -> Universe:
    """Return a universe in order of permanent id."""
    return Universe(tuple(sorted(securities, key=lambda row: row.id)), source, as_of)
