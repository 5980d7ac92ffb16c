"""The universe of securities: what one is, where they come from, and the one that ships with us."""

from functools import cache

from baskets.securities import (
    TIERS,
    Security,
    SizeBasis,
    SizeTier,
    Universe,
    UniverseSource,
    normal_symbol,
    universe_of,
)
from baskets.universe_sources import MinimalUniverse, PackagedUniverse, first_available

__all__ = [
    "TIERS",
    "MinimalUniverse",
    "PackagedUniverse",
    "Security",
    "SizeBasis",
    "SizeTier",
    "Universe",
    "UniverseSource",
    "first_available",
    "load_universe",
    "normal_symbol",
    "universe_of",
]


@cache
def load_universe() -> Universe:
    """Return the packaged universe, or where its packages are missing the small hand-written one.

    Read once per process; touches no network and writes nothing.
    """
    return first_available()
