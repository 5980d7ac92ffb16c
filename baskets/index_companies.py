"""Companies by size: one line each, however many share classes trade."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from baskets.securities import Security, Universe

Basis = Literal["given", "imported", "estimate", "tier"]

BASES: Final[dict[Basis, str]] = {
    "given": "weights given in a file",
    "imported": "imported market capitalisations",
    "estimate": "size estimates from reported earnings and revenue, not market capitalisations",
    "tier": "the typical size of a size tier, because nothing is known of the company",
}
"""On what a weight can rest, best first, in words."""


@dataclass(frozen=True, slots=True)
class Company:
    """All share classes of one company, and the line that stands for it."""

    line: Security
    size_cents: int
    basis: Basis
    rank: int
    """1 for the largest."""

    @property
    def cik(self) -> str:
        """Return the company's number."""
        return self.line.cik


def companies_of(universe: Universe, preferred: Collection[int] = ()) -> tuple[Company, ...]:
    """Return every company, largest first; ties go to the lower permanent id.

    Args:
        universe: The lines and their sizes.
        preferred: Permanent ids that stand for their company while they trade, so that two
            classes of nearly the same size do not change places. Without one the largest class.
    """
    classes: dict[str, list[Security]] = {}
    for row in universe.securities:
        classes.setdefault(row.cik, []).append(row)
    sized = [(_line(rows, preferred), *_size(rows)) for rows in classes.values()]
    sized.sort(key=lambda row: (-row[1], row[0].id))
    return tuple(
        Company(line, size, basis, rank) for rank, (line, size, basis) in enumerate(sized, start=1)
    )


def carried(universe: Universe, then: Mapping[int, int], now: Mapping[int, int]) -> Universe:
    """Return the universe with sizes moved by prices since they were measured; labels stay.

    Args:
        universe: Lines and their sizes.
        then: Permanent id -> close of the day the sizes are of.
        now: Permanent id -> close of a later day, on the same share basis: splits between are
            taken out of one of the two. A line that lacks either close keeps its size.
    """
    rows = []
    for row in universe.securities:
        old, new = then.get(row.id, 0), now.get(row.id, 0)
        if old <= 0 or new <= 0:
            rows.append(row)
            continue
        size = None if row.size_cents is None else max(1, row.size_cents * new // old)
        seed = max(1, row.seed_size_cents * new // old)
        rows.append(replace(row, size_cents=size, seed_size_cents=seed))
    return Universe(tuple(rows), universe.source, universe.as_of)


def _line(classes: Iterable[Security], preferred: Collection[int]) -> Security:
    return min(classes, key=lambda row: (row.id not in preferred, -row.seed_size_cents, row.id))


def _size(classes: Collection[Security]) -> tuple[int, Basis]:
    """Return a company's size and on what it rests.

    Imported sizes of classes add up; two that agree to the cent are the whole company stated
    twice, as many vendors do, and count once. An estimate is already divided by the classes.
    """
    imported = {row.size_cents for row in classes if row.size_basis == "imported"}
    if imported:
        return sum(size or 0 for size in imported), "imported"
    basis: Basis = "estimate" if all(row.size_cents for row in classes) else "tier"
    if basis == "tier":
        return max(row.seed_size_cents for row in classes), basis
    return sum(row.seed_size_cents for row in classes), basis
