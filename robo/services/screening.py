"""What other scores change for one account: its target, and the names that it should part with.

Only what the scores change is changed. A basket is made anew twice, on the scores before and on
those after, both times without the names that wait to be bought again after a loss: where both come
out alike, the account is not touched, whatever else has passed since its target was written.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from baskets.basket import Basket
from baskets.building import passing
from baskets.errors import BuildError, ScreenError
from baskets.index import large_cap
from baskets.recipe import Recipe
from robo.core.money import PPM
from robo.services import targeting
from robo.services.offering import Shelf, recipes_by_id
from robo.services.targeting import Followed
from robo.store.accounts import Sleeve, TargetWeight

_LESSENED: Final = "lessened"
"""The version of a target that is a basket without names that nobody can stand in for."""


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """One account as its screens see it."""

    sleeve: Sleeve
    target: tuple[TargetWeight, ...]
    held: frozenset[int]
    """Names that it holds or has ordered."""
    waits: Mapping[int, str]
    """Names sold at a loss that an understudy stands in for: security -> why."""
    barred: Mapping[int, str]
    """Names that it may not buy, or that trade no more: security -> why."""
    own: AbstractSet[int]
    """Names of these about which only the customer decides whether they are sold."""
    altered: bool
    """Whether the scores changed what an owner's activities exclude."""
    theme_ppm: int = PPM
    """How much of what it follows is its basket; all of it but for direct sleeves."""
    screened: bool = True
    """Whether what its basket excludes stays out of the rest of what it follows."""
    index: AbstractSet[int] = field(default_factory=lambda: frozenset(large_cap().weights_ppm))
    """Names of the rest of what it follows: of our index, or of one of the customer's own."""


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for one account; `target` is None where it stays."""

    target: tuple[TargetWeight, ...] | None
    basket: Basket | None
    """What the target was made of; None where it is less than any basket."""
    leaving: frozenset[int]

    def version(self) -> tuple[str, str]:
        """Return the version and the score note that the target is written with."""
        return (self.basket.version, self.basket.data_note) if self.basket else (_LESSENED, "")


@dataclass(slots=True, eq=False)
class Screens:
    """Two shelves of a firm; what was worked out is kept."""

    before: Shelf | None
    """None where nobody knows any more what was offered before."""
    after: Shelf
    _made: dict[tuple[object, ...], Followed | None] = field(default_factory=dict)
    _passing: dict[tuple[bool, str], frozenset[int] | None] = field(default_factory=dict)

    def change(self, one: Holder) -> Change | None:
        """Return what the scores change for an account; None where they change nothing."""
        found = self._basket(one) if one.sleeve.kind == "basket" else self._direct(one)
        return found if found.target is not None or found.leaving else None

    def dropped(self, one: Holder) -> frozenset[int]:
        """Return the names of an account that its basket's filter let pass and no longer does."""
        basket_id = one.sleeve.basket_id
        passes = self._pass(basket_id, after=True)
        if passes is None:
            return frozenset()  # the filter asks for figures that nobody delivers: nothing is known
        in_target = {weight.security_id for weight in one.target}
        passed = self._pass(basket_id, after=False)
        known = in_target if passed is None else passed
        return frozenset(((in_target | one.held) & known) - passes)

    def let_in(self, one: Holder, leaving: AbstractSet[int]) -> frozenset[int]:
        """Return the names that a direct sleeve should part with and need not any more.

        What its basket let in again may be held on, though its target buys none of it before it is
        made anew. A basket's target says by itself what it holds again.

        Args:
            one: The account.
            leaving: Names that its screen would have it part with.
        """
        if one.sleeve.kind == "basket":
            return frozenset()
        return frozenset(
            name
            for name in leaving
            if self._fits(one, name, after=True) and not self._fits(one, name, after=False)
        )

    def _fits(self, one: Holder, name: int, *, after: bool) -> bool:
        """Return whether a direct sleeve may hold a name by one of the shelves; unknown is no."""
        shelf, basket_id = self.after if after else self.before, one.sleeve.basket_id
        if shelf is None or (one.screened and name in shelf.excluded(basket_id)):
            return False
        passes = self._pass(basket_id, after=after) or frozenset()
        return name in passes or (one.theme_ppm < PPM and name in one.index)

    def _basket(self, one: Holder) -> Change:
        now, then = self._followed(one, after=True), self._followed(one, after=False)
        in_target = {weight.security_id for weight in one.target}
        dropped = self.dropped(one)
        bad = dropped | one.barred.keys()
        left = set(dropped)
        same = now is not None and then is not None and now.weights == then.weights
        target, basket = None, None
        if not same or one.altered or bad & in_target:
            if now is not None:
                target, basket = now.weights, now.basket
                # By rank only the basket's own names leave. An understudy that passes stays,
                # whoever comes next now; and where nobody knows what the basket was, all stay.
                left |= self._own(one.sleeve.basket_id) & (in_target | one.held)
            else:
                target = targeting.lessened(one.target, bad & in_target)
        target = None if target == one.target else target
        names = in_target if target is None else {weight.security_id for weight in target}
        return Change(target, basket, frozenset(left - names - one.own))

    def _direct(self, one: Holder) -> Change:
        """Return what leaves a direct sleeve, which holds names of its theme and of the index.

        What its basket newly excludes leaves it, whatever it was held for. What only fails what the
        basket requires, or ranks lower, leaves unless the index holds it: then it is held for
        that, and its share is for the nightly plan to mend.
        """
        then = self.before.catalog.baskets.get(one.sleeve.basket_id) if self.before else None
        theme = set(then.weights_ppm) if then else {weight.security_id for weight in one.target}
        kept = one.index if one.theme_ppm < PPM else set()
        left = ((self.dropped(one) & theme) - kept) | self._excluded(one)
        in_target = {weight.security_id for weight in one.target}
        target, basket = None, None
        if left & in_target:
            target = targeting.lessened(one.target, left)
        if left >= in_target and (now := self._followed(one, after=True)) is not None:
            # Nothing is left to follow: the basket, around which the night samples the index anew.
            target, basket = now.weights, now.basket
        names = in_target if target is None else {weight.security_id for weight in target}
        return Change(target, basket, frozenset(left - names - one.own))

    def _excluded(self, one: Holder) -> frozenset[int]:
        """Return the names of an account that its basket excludes now and did not before."""
        if not one.screened:
            return frozenset()
        basket_id = one.sleeve.basket_id
        in_target = frozenset(weight.security_id for weight in one.target)
        after = self.after.excluded(basket_id)
        if self.before is None:
            return in_target & after  # what it held beside, it may have held all along
        return (in_target | one.held) & (after - self.before.excluded(basket_id))

    def _followed(self, one: Holder, *, after: bool) -> Followed | None:
        """Return what an account follows on one of the shelves; None if it cannot be filled."""
        shelf = self.after if after else self.before
        basket = shelf.catalog.baskets.get(one.sleeve.basket_id) if shelf else None
        if basket is None:
            return None
        near = {row.security_id for row in (*basket.understudies, *basket.bench)}
        near |= basket.weights_ppm.keys()
        for some in ({**one.waits, **one.barred}, one.barred):
            # Where too few are left for both, those that wait keep their place and are not bought.
            why = tuple(sorted((s, text) for s, text in some.items() if s in near))
            key = (after, basket.id, why)
            if key not in self._made:
                self._made[key] = targeting.followed(basket, dict(why))
            if self._made[key] is not None:
                return self._made[key]
        return None

    def _own(self, basket_id: str) -> frozenset[int]:
        """Return the names that a basket itself held before; none where that is not known."""
        basket = self.before.catalog.baskets.get(basket_id) if self.before else None
        return frozenset(basket.weights_ppm) if basket else frozenset()

    def _pass(self, basket_id: str, *, after: bool) -> frozenset[int] | None:
        shelf = self.after if after else self.before
        recipe = recipes_by_id().get(basket_id)
        if shelf is None or recipe is None:
            return None
        if (after, basket_id) not in self._passing:
            self._passing[after, basket_id] = _passing(recipe, shelf)
        return self._passing[after, basket_id]


def _passing(recipe: Recipe, shelf: Shelf) -> frozenset[int] | None:
    try:
        return passing(recipe, shelf.facts)
    except (BuildError, ScreenError):
        return None
