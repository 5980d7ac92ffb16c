"""On whose figures a basket or a filter rests, in the words that a customer reads beside it."""

from collections.abc import Collection, Iterable

from baskets.facts import Delivered, Facts
from baskets.recipe import SCORE_RANKING, Recipe
from baskets.scores import RULE_LABEL
from baskets.screen_fields import RULE_FIELD, SCORE_PREFIX

SIZE = "size"
_ESTIMATE = "Size is an estimate from reported earnings and revenue, not a market capitalisation."
RULE_NOTE = (
    "Built on our published rules about lines of business (source RULE), not on any vendor's"
    f" ESG rating. {_ESTIMATE}"
)
_BY_HAND = (
    "Chosen from a list kept by hand; each sentence can be checked against the filing named beside"
    " it."
)
LIST_NOTE = f"{_BY_HAND} {_ESTIMATE}"
SCREEN_NOTE = (
    "Judged on our published rules about lines of business (source RULE) and on listed facts, not"
    f" on any vendor's ESG rating. {_ESTIMATE}"
)


def basket_note(recipe: Recipe, screened: Collection[str], facts: Facts) -> str:
    """Return on whose figures a basket rests.

    Vendors are named, with version and date, where their rows fill a field that the recipe reads;
    without any the note is the same whatever else was imported.

    Args:
        recipe: What the basket is built by.
        screened: The fields that its filter reads.
        facts: What it is built on.
    """
    ranked = recipe.rank_by.startswith(SCORE_RANKING)
    read = {*screened}
    if ranked:
        read.add(SCORE_PREFIX + recipe.rank_by.removeprefix(SCORE_RANKING))
    vendors = _vendors(read, facts)
    if recipe.data_note:
        also = _vendors({*read, SIZE}, facts)
        more = f" Where they cover a company, its figures are those of {_named(also)}."
        return recipe.data_note + (more if also else "")
    if recipe.kind == "rule":
        if not vendors and not _vendors({SIZE}, facts):
            return RULE_NOTE
        return f"Built on {_else_rules(vendors)} {_size(facts)}"
    ends = f" Its screens rest on {_else_rules(vendors)}" if recipe.filter.strip() or ranked else ""
    return f"{_BY_HAND} {_size(facts)}{ends}"


def screen_note(read: Collection[str], facts: Facts) -> str:
    """Return on whose figures a filter's verdicts rest; `read` are the fields that it names."""
    vendors = _vendors(read, facts)
    grade = f" {RULE_LABEL}" if RULE_FIELD in read else ""
    if not vendors and not _vendors({SIZE}, facts):
        return SCREEN_NOTE + grade
    return f"Judged on {_else_rules(vendors)} {_size(facts)}{grade}"


def _else_rules(vendors: Collection[Delivered]) -> str:
    """Return vendors' names and what stands in where they say nothing, ending the sentence."""
    if not vendors:
        return "our published rules (source RULE)."
    return (
        f"the data of {_named(vendors)} where it covers a company; where it does not, on our"
        " published rules (source RULE)."
    )


def _size(facts: Facts) -> str:
    vendors = _vendors({SIZE}, facts)
    if not vendors:
        return _ESTIMATE
    return (
        f"Size is the market capitalisation delivered by {_named(vendors)}, and where it is not"
        " known an estimate from reported earnings and revenue."
    )


def _vendors(read: Iterable[str], facts: Facts) -> list[Delivered]:
    """Return whose rows fill these fields, in order of name."""
    found: set[Delivered] = set()
    for name in read:
        if name == RULE_FIELD:
            # The grade is a function of every involvement that rows may have replaced.
            found.update(*(facts.delivered.get(key, ()) for key in facts.involvement.activities))
        found |= {*facts.delivered.get(name, ()), *facts.delivered.get(name.split(".")[0], ())}
    return sorted(found)


def _named(vendors: Collection[Delivered]) -> str:
    return " and ".join(each.words() for each in vendors)
