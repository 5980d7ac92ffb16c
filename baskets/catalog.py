"""The baskets on offer: every recipe that ships, built once, and why some are not offered."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from baskets.basket import Basket
from baskets.building import build
from baskets.data_files import names_in, read_text
from baskets.errors import BasketsError, BuildError, ScreenError
from baskets.facts import Facts, load_facts
from baskets.recipe import Recipe, recipe_from

FOLDER = "recipes"


@dataclass(frozen=True, slots=True)
class Unoffered:
    """A recipe that gives no honest basket today, and why; `code` is stable."""

    recipe: Recipe
    code: str
    why: str


@dataclass(frozen=True)
class Catalog:
    """All baskets of one set of facts, in order of id."""

    baskets: Mapping[str, Basket]
    unoffered: tuple[Unoffered, ...]

    def get(self, basket_id: str) -> Basket:
        """Return one basket.

        Raises:
            BasketsError: If it does not exist or is not offered (code `no_such_basket`).
        """
        found = self.baskets.get(basket_id)
        if found is None:
            message = f"there is no basket {basket_id[:80]!r} on offer"
            raise BasketsError(message, code="no_such_basket")
        return found

    def all(self) -> tuple[Basket, ...]:
        """Return every basket on offer."""
        return tuple(self.baskets.values())

    def serving(self, value: str) -> tuple[Basket, ...]:
        """Return the baskets tagged with one of the questionnaire's values or themes."""
        return tuple(basket for basket in self.baskets.values() if value in basket.values)

    @cached_property
    def version(self) -> str:
        """Return one hash over all baskets: it changes when any of them does."""
        lines = [f"{basket.id} {basket.version}\n" for basket in self.all()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def recipes() -> Iterator[Recipe]:
    """Yield every recipe that ships with us, in order of id."""
    for name in names_in(FOLDER, ".toml"):
        yield recipe_from(read_text(FOLDER, name), name)


def catalog_of(found: Iterable[Recipe], facts: Facts) -> Catalog:
    """Return the catalog these recipes give on these facts; used again after an import."""
    baskets: dict[str, Basket] = {}
    unoffered: list[Unoffered] = []
    for recipe in found:
        try:
            baskets[recipe.id] = build(recipe, facts)
        except (BuildError, ScreenError) as error:
            unoffered.append(Unoffered(recipe, error.code, error.detail))
    return Catalog(baskets, tuple(unoffered))


@cache
def catalog() -> Catalog:
    """Return the catalog that ships with us, built once per process."""
    return catalog_of(recipes(), load_facts())


def versions_text(found: Catalog) -> str:
    """Return the text of `data/versions.csv`: what every basket was when it was last committed."""
    rows = [f"{basket.id},{basket.recipe_version},{basket.version}" for basket in found.all()]
    return "\n".join(["id,recipe_version,sha256", *rows]) + "\n"
