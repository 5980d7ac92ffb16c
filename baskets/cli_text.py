"""What `robo baskets list|show|build|explain` prints, as lines of text."""

from collections.abc import Iterator

from baskets.basket import Basket
from baskets.building import build
from baskets.catalog import Catalog, catalog, recipes
from baskets.errors import BasketsError
from baskets.facts import Facts, load_facts
from baskets.scores import RULE_LABEL
from baskets.securities import normal_symbol
from baskets.values import percent


def list_lines(found: Catalog | None = None) -> Iterator[str]:
    """Yield one line for each basket on offer, and why the others are not."""
    shelf = found or catalog()
    for basket in shelf.all():
        symbols = " ".join(row.symbol for row in basket.constituents)
        yield f"{basket.id:26} {basket.name:36} {symbols}"
    for missing in shelf.unoffered:
        yield f"{missing.recipe.id:26} not offered ({missing.code}): {missing.why}"
    yield f"{len(shelf.baskets)} baskets on offer, catalog {shelf.version[:12]}"


def show_lines(basket_id: str, found: Catalog | None = None) -> Iterator[str]:
    """Yield a basket's page.

    Raises:
        BasketsError: If it is not on offer (code `no_such_basket`).
    """
    basket = (found or catalog()).get(basket_id)
    yield f"{basket.name} ({basket.id}, recipe {basket.recipe_version}, as of {basket.as_of})"
    yield basket.sentence
    yield f"Note: {basket.data_note}"
    if basket.sectors_note:
        yield f"Concentration: {basket.sectors_note}"
    yield ""
    for row in basket.constituents:
        who = row.candidate
        yield f"{percent(row.weight_ppm):>9}  {who.symbol:6} {who.name} - {who.sentence}"
        yield from (f"{'':17} not known of it: {field}" for field in who.allowed_unknown)
    yield "Understudies: " + ", ".join(row.symbol for row in basket.understudies)
    sectors = sorted(basket.sector_ppm.items(), key=lambda pair: (-pair[1], pair[0]))
    yield "Sectors: " + ", ".join(f"{sector} {percent(ppm)}" for sector, ppm in sectors)
    yield f"{basket.survivors} companies passed, {len(basket.rejects)} reasons for the others"
    yield f"Version {basket.version}"


def build_lines(basket_id: str, facts: Facts | None = None) -> Iterator[str]:
    """Yield the outcome of building a basket again from its recipe, and whether it is the same.

    Raises:
        BasketsError: If there is no such recipe, or it gives no honest basket today.
    """
    recipe = next((one for one in recipes() if one.id == basket_id), None)
    if recipe is None:
        message = f"there is no recipe {basket_id[:80]!r}"
        raise BasketsError(message, code="no_such_basket")
    first, second = (build(recipe, facts or load_facts()) for _ in range(2))
    same = "the same bytes" if first.artefact == second.artefact else "DIFFERENT BYTES"
    yield f"{basket_id}: {len(first.artefact)} bytes, built twice: {same}"
    yield f"Version {first.version}"


def explain_lines(basket_id: str, symbol: str, found: Catalog | None = None) -> Iterator[str]:
    """Yield why a company is, or is not, in a basket.

    Raises:
        BasketsError: If the basket is not on offer (code `no_such_basket`).
    """
    basket, wanted = (found or catalog()).get(basket_id), normal_symbol(symbol)
    lines = [*_inside(basket, wanted), *_outside(basket, wanted)]
    yield from lines or [f"{wanted} was not considered for {basket_id}"]
    yield RULE_LABEL


def _inside(basket: Basket, symbol: str) -> Iterator[str]:
    for row in basket.constituents:
        if row.symbol == symbol:
            who = row.candidate
            yield f"{symbol} is in with {percent(row.weight_ppm)}: {who.sentence} ({who.source})"
            yield from [row.reason] if row.reason else []
    for place, who in enumerate(basket.understudies, start=1):
        if who.symbol == symbol:
            yield f"{symbol} is understudy {place}: {who.sentence} ({who.source})"


def _outside(basket: Basket, symbol: str) -> Iterator[str]:
    for row in basket.rejects:
        if row.symbol == symbol:
            yield f"{symbol} is not in ({row.code}): {row.reason}"
