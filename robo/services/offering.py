"""What a firm offers: the baskets of its recipes on the scores that it has put to use.

Scores belong to the firm that bought them; nobody else's baskets, filters or recommendations see
them. A process builds a firm's shelf when it first needs it and again when other deliveries are in
use; it asks the database each time, so that no restart is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from threading import Lock
from typing import Final

from sqlmodel import Session

from baskets.building import excluded
from baskets.catalog import Catalog, catalog, catalog_of, recipes
from baskets.facts import Facts, load_facts
from baskets.recipe import Recipe
from baskets.scores import RowKey, ScoreRow, ScoreTable
from baskets.values import Band, Origin, Value, Word
from robo.services import licensing
from robo.store import owners, scores
from robo.store.scores import StoredScore

_KEPT: Final = 8
"""Shelves of so many firms stay in memory."""
_BETTER: Final = {1: True, 0: False, -1: None}


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is known of every security, and the baskets that follow from it."""

    facts: Facts
    catalog: Catalog
    _excluded: dict[str, frozenset[int]] = field(default_factory=dict, repr=False, compare=False)

    def excluded(self, basket_id: str) -> frozenset[int]:
        """Return the names that a basket's filter excludes, offered or not; worked out once."""
        if basket_id not in self._excluded:
            recipe = recipes_by_id().get(basket_id)
            found = excluded(recipe, self.facts) if recipe else frozenset()
            self._excluded[basket_id] = found
        return self._excluded[basket_id]

    @property
    def vendors(self) -> frozenset[str]:
        """Return whose rows are in it."""
        return frozenset(each.vendor for found in self.facts.delivered.values() for each in found)


class _Shelves:
    """Shelves by the deliveries they were built on, whose ids are hashes of what is in them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Shelf] = {}
        self._lock = Lock()

    def get(self, session: Session, firm_id: str, active: tuple[str, ...]) -> Shelf:
        """Return the shelf of these deliveries of one firm, built once."""
        with self._lock:
            found = self._known.get(active)
            if found is None:
                found = built_on(
                    row_of(vendor, version, as_of, row)
                    for vendor, version, as_of, row in scores.newest(session, firm_id, active)
                )
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[active] = found
            return found


_SHELVES: Final = _Shelves()


def of_firm(session: Session, firm_id: str) -> Shelf:
    """Return what a firm offers now."""
    return of_deliveries(session, firm_id, scores.active_ids(session, firm_id) if firm_id else ())


def of_deliveries(session: Session, firm_id: str, delivery_ids: Sequence[str]) -> Shelf:
    """Return what a firm would offer, or once offered, on these of its deliveries."""
    if not delivery_ids:
        return _unscored()
    return _SHELVES.get(session, firm_id, tuple(delivery_ids))


@cache
def _unscored() -> Shelf:
    """Return the shelf of who has put no scores to use."""
    return Shelf(load_facts(), catalog())


@cache
def recipes_by_id() -> Mapping[str, Recipe]:
    """Return every recipe that ships, by id."""
    return {recipe.id: recipe for recipe in recipes()}


def of_house(session: Session) -> Shelf:
    """Return what the house firm offers: the shop window for those who have not signed in."""
    return of_firm(session, licensing.house(session) or "")


def of_customer(session: Session, customer_id: str) -> Shelf:
    """Return what a customer's firm offers."""
    customer = owners.find_customer(session, customer_id)
    return of_firm(session, customer.firm_id if customer else "")


def built_on(rows: Iterable[ScoreRow]) -> Shelf:
    """Return the shelf that follows from imported rows, all of them in force.

    Raises:
        ImportFileError: If two rows contradict each other.
    """
    facts = load_facts().with_scores(ScoreTable().append(rows), date.max)
    return Shelf(facts, catalog_of(recipes(), facts))


def row_of(vendor: str, version: str, as_of: str, stored: StoredScore) -> ScoreRow:
    """Return a stored datum as the baskets read it."""
    day = date.fromisoformat(as_of)
    origin = Origin(vendor, stored.basis, stored.quality, stored.note, day)
    value: Value = (
        Word(stored.word, origin)
        if stored.word
        else Band(stored.low, stored.central, stored.high, origin)
    )
    return ScoreRow(
        RowKey(stored.security_id, vendor, stored.metric, stored.part, day),
        stored.unit,
        value,
        stored.scale,
        _BETTER[stored.better],
        version,
        date.fromisoformat(stored.effective_from) if stored.effective_from else None,
    )


def stored_of(row: ScoreRow) -> StoredScore:
    """Return a datum as it is stored; `row_of` gives it back."""
    value = row.value
    word, ends = (
        (value.text, (0, 0, 0))
        if isinstance(value, Word)
        else ("", (value.low, value.central, value.high))
    )
    return StoredScore(
        row.key.security_id,
        row.key.metric,
        row.key.part,
        row.unit,
        word,
        *ends,
        row.scale,
        -1 if row.higher_is_better is None else int(row.higher_is_better),
        row.effective_from.isoformat() if row.effective_from else "",
        value.origin.basis,
        value.origin.quality,
        value.origin.note,
    )
