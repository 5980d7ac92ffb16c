"""Our own index: who is in it on a day, what each weighs, and why names came and went.

The rulebook is `docs/index-rulebook.md`. Membership is a fold: the founding picks the largest
companies; every review keeps, adds and drops by the buffer, from what was known at its reference
date and from the members before it. Nothing here knows a price: `index_level` carries levels.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cache, cached_property
from typing import Literal

from baskets.basket import canonical
from baskets.errors import BuildError
from baskets.index_companies import BASES, Basis, Company, companies_of
from baskets.index_dates import Review, reviews
from baskets.index_rules import LARGE_CAP, Rulebook, load_rulebook
from baskets.index_weights import capped, shares_ppm
from baskets.securities import Universe
from baskets.universe import load_universe
from baskets.values import WHOLE_PPM, percent

Kind = Literal["rulebook", "file", "filter"]


@dataclass(frozen=True, slots=True)
class Member:
    """A company in an index."""

    security_id: int
    symbol: str
    name: str
    cik: str
    sector: str
    group: str
    country: str | None
    basis: Basis
    """On what its size rests."""
    size_cents: int
    """The whole company's size."""
    index_cents: int
    """The size that counts: less than `size_cents` where the cap cuts it, or a tilt changes it."""
    rank: int
    """1 for the largest company of the universe on the reference date."""
    entered_on: date
    weight_ppm: int
    """By the sizes of the reference date; later weights follow prices."""


@dataclass(frozen=True, slots=True)
class Change:
    """A company that came or went; `code` is stable."""

    cik: str
    symbol: str
    added: bool
    code: str
    rank: int | None


@dataclass(frozen=True)
class Index:
    """An index after the close of one day; the artefact is the same bytes on every machine."""

    id: str
    name: str
    kind: Kind
    version: int
    """Of the rulebook or file."""
    effective_on: date
    reference_on: date
    announced_on: date | None
    """None for a founding and for custom indexes."""
    universe_source: str
    universe_as_of: date
    issuer_ppm_max: int
    screen: str
    note: str
    """On what the weights rest; shown with every weight."""
    members: tuple[Member, ...]
    """By weight, largest first; ties by permanent id."""
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        """Refuse an index that breaks its own promises."""
        weights = [row.weight_ppm for row in self.members]
        if sum(weights) != WHOLE_PPM:
            message = f"{self.id}: weights sum to {sum(weights)}"
            raise BuildError(message, code="bad_weights")
        if min(weights) <= 0:
            message = f"{self.id}: {self.members[-1].symbol} weighs less than a millionth"
            raise BuildError(message, code="weight_too_small")
        if len({row.security_id for row in self.members}) < len(weights):
            message = f"{self.id}: a name is in twice"
            raise BuildError(message, code="name_repeats")

    @property
    def weights_ppm(self) -> dict[int, int]:
        """Return permanent id -> weight; sums to 1_000_000."""
        return {row.security_id: row.weight_ppm for row in self.members}

    @property
    def basis_ppm(self) -> dict[Basis, int]:
        """Return how much of the weight rests on which kind of size."""
        return {
            basis: sum(row.weight_ppm for row in self.members if row.basis == basis)
            for basis in BASES
        }

    @property
    def sector_ppm(self) -> dict[str, int]:
        """Return sector -> its weight, largest first."""
        found: dict[str, int] = {}
        for row in self.members:
            found[row.sector] = found.get(row.sector, 0) + row.weight_ppm
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    @cached_property
    def artefact(self) -> bytes:
        """Return the canonical JSON of everything above: sorted keys, no blanks, UTF-8."""
        return canonical(asdict(self))

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the artefact: changes when anything does."""
        return hashlib.sha256(self.artefact).hexdigest()

    def without(self, departed: Collection[int]) -> "Index":
        """Return the index without names that left it; the others share their weight pro rata.

        Raises:
            BuildError: If nobody is left (code `index_empty`).
        """
        staying = [row for row in self.members if row.security_id not in departed]
        if not staying:
            message = f"{self.id}: nobody is left"
            raise BuildError(message, code="index_empty")
        if len(staying) == len(self.members):
            return self
        return replace(self, members=weighed(staying), note=note_of(staying))


@dataclass(frozen=True, slots=True)
class Departure:
    """A name that leaves between reviews, at a day's close: a merger, a delisting."""

    on: date
    security_id: int
    reason: str


@dataclass(frozen=True)
class IndexHistory:
    """Every membership from the founding on."""

    indexes: tuple[Index, ...]
    """The founding and each review, in order of `effective_on`."""
    departures: tuple[Departure, ...]
    until: date
    """Nothing is known of later days."""

    def members(self, as_of: date) -> Index:
        """Return the index as it stands after the close of a day, and of no later knowledge.

        Raises:
            BuildError: If the day is before the founding (code `index_before_founding`) or after
                `until` (code `index_beyond_history`).
        """
        place = bisect_right([index.effective_on for index in self.indexes], as_of)
        if not place:
            message = f"the index was founded on {self.indexes[0].effective_on}, after {as_of}"
            raise BuildError(message, code="index_before_founding")
        if as_of > self.until:
            message = f"the history ends on {self.until}, before {as_of}"
            raise BuildError(message, code="index_beyond_history")
        index = self.indexes[place - 1]
        gone = {row.security_id for row in self.departures if index.effective_on < row.on <= as_of}
        return index.without(gone)


def found(rules: Rulebook, universe: Universe) -> Index:
    """Return the founding membership: the largest companies, no buffer."""
    return _composed(rules, universe, Review(rules.base_on, rules.base_on, rules.base_on), None)


def reviewed(rules: Rulebook, universe: Universe, review: Review, before: Index) -> Index:
    """Return the membership after a review.

    Args:
        rules: The rulebook.
        universe: What was known at the review's reference date.
        review: Its dates.
        before: The membership it starts from.
    """
    return _composed(rules, universe, review, before)


def index_history(
    rules: Rulebook,
    universes: Mapping[date, Universe],
    sessions: Sequence[date],
    until: date,
    departures: Iterable[Departure] = (),
) -> IndexHistory:
    """Return every membership from the founding to a day.

    Args:
        rules: The rulebook.
        universes: The day from which it is known -> a universe. A review uses the latest one known
            at its reference date; a universe on or before the founding must be there.
        sessions: The market's sessions, rising, beyond `until` by a week.
        until: The last day.
        departures: Names that left between reviews. One that left stays out until a universe of
            a later day has it again.

    Raises:
        BuildError: If no universe is known at the founding (code `index_no_universe`), or the
            sessions do not cover the time (code `sessions_too_short`).
    """
    gone = tuple(sorted(departures, key=lambda row: (row.on, row.security_id)))
    known = sorted(universes)
    built = [found(rules, universes[_latest(known, rules.base_on)])]
    for review in reviews(rules, sessions, rules.base_on, until):
        known_on = _latest(known, review.reference_on)
        universe = _still_there(universes[known_on], gone, known_on, review.effective_on)
        left = {row.security_id for row in gone if row.on <= review.effective_on}
        built.append(reviewed(rules, universe, review, built[-1].without(left)))
    return IndexHistory(tuple(built), gone, until)


@cache
def large_cap() -> Index:
    """Return the founding membership of US Large Cap 500 on the data that ships with us."""
    return found(load_rulebook(LARGE_CAP), load_universe())


def member_of(company: Company, index_cents: int, entered_on: date) -> Member:
    """Return a company as a member whose weight is still to be worked out."""
    line = company.line
    return Member(
        security_id=line.id,
        symbol=line.symbol,
        name=line.name,
        cik=line.cik,
        sector=line.sector,
        group=line.group,
        country=line.country,
        basis=company.basis,
        size_cents=company.size_cents,
        index_cents=index_cents,
        rank=company.rank,
        entered_on=entered_on,
        weight_ppm=0,
    )


def large_cap_history(sessions: Sequence[date], until: date) -> IndexHistory:
    """Return the memberships of US Large Cap 500 on the data that ships with us, until a day.

    Args:
        sessions: The market's sessions, rising, beyond `until` by a week.
        until: The last day.
    """
    universe = load_universe()
    return index_history(load_rulebook(LARGE_CAP), {universe.as_of: universe}, sessions, until)


def weighed(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return members with weights from their counting sizes, in the order an index keeps them."""
    order = sorted(members, key=lambda row: (-row.index_cents, row.security_id))
    weights = shares_ppm([row.index_cents for row in order])
    return tuple(
        replace(row, weight_ppm=weight) for row, weight in zip(order, weights, strict=True)
    )


def note_of(members: Sequence[Member]) -> str:
    """Return in a sentence on what the sizes rest; never silent about an estimate."""
    whole = sum(row.index_cents for row in members)
    held = {basis: sum(row.index_cents for row in members if row.basis == basis) for basis in BASES}
    parts = [
        f"{percent((2_000 * held[basis] + whole) // (2 * whole) * 1_000)} on {words}"
        for basis, words in BASES.items()
        if held[basis]
    ]
    return f"Weights rest: {'; '.join(parts)}."


def _latest(known: Sequence[date], on: date) -> date:
    place = bisect_right(known, on)
    if not place:
        message = f"no universe is known on {on}"
        raise BuildError(message, code="index_no_universe")
    return known[place - 1]


def _still_there(
    universe: Universe, gone: Iterable[Departure], known_on: date, until: date
) -> Universe:
    """Return the universe without lines that left after it was drawn up."""
    left = {row.security_id for row in gone if known_on < row.on <= until}
    rows = tuple(row for row in universe.securities if row.id not in left)
    return Universe(rows, universe.source, universe.as_of) if left else universe


def _composed(rules: Rulebook, universe: Universe, review: Review, before: Index | None) -> Index:
    """Return the membership that the universe and the members before give."""
    incumbents = {row.cik: row for row in before.members} if before else {}
    ranked = companies_of(universe, {row.security_id for row in incumbents.values()})
    if len(ranked) < rules.names:
        message = f"{rules.id}: {len(ranked)} companies, {rules.names} are needed"
        raise BuildError(message, code="too_few_companies")
    chosen = _chosen(rules, ranked, incumbents.keys() if before else None)
    cut = capped([row.size_cents for row in chosen], rules.issuer_ppm_max)
    members = weighed(
        member_of(
            row,
            size,
            incumbents[row.cik].entered_on if row.cik in incumbents else review.effective_on,
        )
        for row, size in zip(chosen, cut, strict=True)
    )
    return Index(
        id=rules.id,
        name=rules.name,
        kind="rulebook",
        version=rules.version,
        effective_on=review.effective_on,
        reference_on=review.reference_on,
        announced_on=review.announced_on if before else None,
        universe_source=universe.source,
        universe_as_of=universe.as_of,
        issuer_ppm_max=rules.issuer_ppm_max,
        screen="",
        note=note_of(members),
        members=members,
        changes=_changes(rules, ranked, chosen, incumbents) if before else (),
    )


def _chosen(
    rules: Rulebook, ranked: Sequence[Company], incumbents: Collection[str] | None
) -> list[Company]:
    """Return who is in: the top by `enter_rank`, members down to `stay_rank`, then by rank."""
    if incumbents is None:
        return list(ranked[: rules.names])
    chosen = list(ranked[: rules.enter_rank])
    buffer = ranked[rules.enter_rank : rules.stay_rank]
    staying = [row for row in buffer if row.cik in incumbents]
    chosen += staying[: rules.names - len(chosen)]
    joining = [row for row in ranked[rules.enter_rank :] if row.cik not in incumbents]
    return chosen + joining[: rules.names - len(chosen)]


def _changes(
    rules: Rulebook,
    ranked: Sequence[Company],
    chosen: Sequence[Company],
    incumbents: Mapping[str, Member],
) -> tuple[Change, ...]:
    """Return who came and who went, with the rule that decided."""
    inside = {row.cik for row in chosen}
    rank_of = {row.cik: row.rank for row in ranked}
    came = [
        Change(row.cik, row.line.symbol, True, code, row.rank)  # noqa: FBT003 - the field is a flag
        for row in chosen
        if row.cik not in incumbents
        for code in ["ranked_in" if row.rank <= rules.enter_rank else "filled_place"]
    ]
    went = []
    for cik, row in incumbents.items():
        rank = rank_of.get(cik)
        if cik not in inside:
            code = "no_room" if rank and rank <= rules.stay_rank else "ranked_out"
            code = code if rank else "not_in_universe"
            went.append(Change(cik, row.symbol, False, code, rank))  # noqa: FBT003 - as above
    return tuple(sorted(came + went, key=lambda row: (row.added, row.symbol, row.cik)))
