"""A basket: ten names with exact weights, five understudies, every reject with its reason."""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

from baskets.errors import BuildError
from baskets.values import WHOLE_PPM

NAMES = 10
UNDERSTUDIES = 5
CANDIDATES_MIN = 15
"""Fewer honest survivors than this and the basket is not offered."""

NAME_PPM_MAX = 150_000
"""15 % in one company."""

SECTOR_PPM_MAX = 400_000
"""40 % in one sector, unless the recipe says why."""

Method = Literal["equal", "size", "sqrt_size"]
Family = Literal["esg", "theme"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A company that survived the recipe, with what is needed to weigh and explain it."""

    security_id: int
    symbol: str
    name: str
    cik: str
    sector: str
    group: str
    country: str | None
    size_cents: int
    """Size estimate, or its tier's typical size; weights and ranks use it."""
    tilt_ppm: int
    sentence: str
    """Why it is here, checkable."""
    source: str
    allowed_unknown: tuple[str, ...] = ()
    """Screened fields that are not known of it and were let through because the recipe says so."""


@dataclass(frozen=True, slots=True)
class Constituent:
    """A company in the basket and its weight."""

    candidate: Candidate
    weight_ppm: int
    replaces: str = ""
    """The symbol it stands in for, after `replace_names`."""
    reason: str = ""
    """Why it stands in."""

    @property
    def security_id(self) -> int:
        """Return the permanent id."""
        return self.candidate.security_id

    @property
    def symbol(self) -> str:
        """Return the ticker symbol."""
        return self.candidate.symbol


@dataclass(frozen=True, slots=True)
class Reject:
    """A company that was considered and is not in; `code` is stable."""

    security_id: int | None
    symbol: str
    name: str
    code: str
    reason: str


@dataclass(frozen=True)
class Basket:
    """What a recipe gives on one date; the artefact is the same bytes on every machine."""

    id: str
    name: str
    family: Family
    recipe_version: int
    as_of: date
    sentence: str
    values: tuple[str, ...]
    risk_hint: str
    method: Method
    sector_ppm_max: int
    sectors_note: str
    """Why more than 40 % may be in one sector; empty if it may not."""
    data_note: str
    """On what opinions the basket rests; shown with it."""
    universe_source: str
    universe_as_of: date
    screen: str
    constituents: tuple[Constituent, ...]
    understudies: tuple[Candidate, ...]
    bench: tuple[Candidate, ...]
    """Who comes after the understudies, in order; not all of them."""
    survivors: int
    """How many candidates passed every screen."""
    rejects: tuple[Reject, ...]

    def __post_init__(self) -> None:
        """Refuse a basket that breaks its own promises."""
        weights = [row.weight_ppm for row in self.constituents]
        if sum(weights) != WHOLE_PPM or min(weights) <= 0:
            message = f"{self.id}: weights sum to {sum(weights)}"
            raise BuildError(message, code="bad_weights")
        if max(weights) > NAME_PPM_MAX:
            message = f"{self.id}: a name weighs {max(weights)} ppm"
            raise BuildError(message, code="name_cap")
        for sector, ppm in self.sector_ppm.items():
            if ppm > self.sector_ppm_max:
                message = f"{self.id}: {sector} weighs {ppm} ppm"
                raise BuildError(message, code="sector_cap")

    @property
    def sector_ppm(self) -> dict[str, int]:
        """Return sector -> its weight."""
        found: dict[str, int] = {}
        for row in self.constituents:
            sector = row.candidate.sector
            found[sector] = found.get(sector, 0) + row.weight_ppm
        return found

    @property
    def weights_ppm(self) -> dict[int, int]:
        """Return permanent id -> weight; sums to 1_000_000."""
        return {row.security_id: row.weight_ppm for row in self.constituents}

    @cached_property
    def artefact(self) -> bytes:
        """Return the canonical JSON of everything above: sorted keys, no blanks, UTF-8."""
        return self._written()

    @cached_property
    def version(self) -> str:
        """Return the SHA-256 of the artefact, which is not kept: a night makes thousands."""
        return hashlib.sha256(self._written()).hexdigest()

    def _written(self) -> bytes:
        return canonical({one.name: getattr(self, one.name) for one in fields(self)})


def canonical(document: dict[str, Any]) -> bytes:
    """Return a document as the one JSON text it can have."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )
    return (text + "\n").encode()


def _plain(value: object) -> str | dict[str, object]:
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value):
        # Not `asdict`, which copies what it finds, down to the last letter.
        return {one.name: getattr(value, one.name) for one in fields(value)}
    message = f"{type(value).__name__} has no place in an artefact"
    raise TypeError(message)
