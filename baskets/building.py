"""From recipe and facts to a basket; from a basket and a never-buy list to a customer's."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from baskets.basket import (
    CANDIDATES_MIN,
    NAME_PPM_MAX,
    NAMES,
    UNDERSTUDIES,
    Basket,
    Candidate,
    Constituent,
    Reject,
)
from baskets.errors import BuildError, ScreenError
from baskets.facts import Facts
from baskets.notes import basket_note
from baskets.recipe import SCORE_RANKING, Listed, Recipe
from baskets.screen_fields import SCORE_PREFIX, fields_of
from baskets.screens import Outcome, Verdict, exclusions_of, screen_of
from baskets.securities import Security
from baskets.values import SCORE_MILLI, WHOLE_PPM, Band
from baskets.weighing import weights_ppm

BENCH_MAX = 25
"""How many names after the understudies an artefact keeps for replacements."""

BENCH_SECTOR_MIN = 5
"""And at least so many of each sector: in a full sector only its own names can stand in."""


def build(recipe: Recipe, facts: Facts) -> Basket:
    """Return the basket a recipe gives on these facts; the same inputs give the same bytes.

    Raises:
        ScreenError: If the recipe's filter is wrong or needs data that is not there.
        BuildError: If fewer than fifteen candidates survive, or the caps leave fewer than ten.
    """
    considered, rejects = _considered(recipe, facts)
    survivors, screened = _screened(recipe, facts, considered)
    rejects += screened
    if len(survivors) < CANDIDATES_MIN:
        message = f"{recipe.id}: {len(survivors)} candidates survive, {CANDIDATES_MIN} are needed"
        raise BuildError(message, code="too_few_candidates")
    ranked = sorted(survivors, key=_ranking(recipe, facts))
    ranked, doubled = _one_per_company(ranked)
    rejects += doubled
    chosen = _chosen(ranked, recipe)
    rest = [row for row in ranked if row not in chosen]
    rejects += _outranked(rest[UNDERSTUDIES:], recipe)
    weights = weights_ppm(chosen, recipe.method, NAME_PPM_MAX, recipe.sector_ppm_max)
    note = basket_note(recipe, screen_of(recipe.filter, facts).fields, facts)
    return Basket(
        id=recipe.id,
        name=recipe.name,
        family=recipe.family,
        recipe_version=recipe.version,
        as_of=recipe.as_of,
        sentence=recipe.sentence,
        values=recipe.values,
        risk_hint=recipe.risk_hint,
        method=recipe.method,
        sector_ppm_max=recipe.sector_ppm_max,
        sectors_note=recipe.sectors_note,
        data_note=note,
        universe_source=facts.universe.source,
        universe_as_of=facts.universe.as_of,
        screen=recipe.filter,
        constituents=tuple(map(Constituent, chosen, weights)),
        understudies=tuple(rest[:UNDERSTUDIES]),
        bench=_bench(rest[UNDERSTUDIES:]),
        survivors=len(survivors),
        rejects=tuple(sorted(rejects, key=lambda row: (row.symbol, row.code))),
    )


def passing(recipe: Recipe, facts: Facts) -> frozenset[int]:
    """Return the permanent ids of everybody who passes a recipe's filter, however they rank.

    Raises:
        ScreenError: If the recipe's filter is wrong or needs data that is not there.
    """
    considered, _ = _considered(recipe, facts)
    survivors, _ = _screened(recipe, facts, considered)
    return frozenset(row.security_id for row in survivors)


def excluded(recipe: Recipe, facts: Facts) -> frozenset[int]:
    """Return the permanent ids of everybody whom a recipe's filter excludes, in its list or not.

    Whoever only fails what the filter requires, or ranks low, is not among them.

    Raises:
        ScreenError: If the recipe's filter does not fit the grammar.
    """
    screen = exclusions_of(recipe.filter, facts)
    if not screen.statements:
        return frozenset()
    judged = ((one.id, screen.judge(one).outcome) for one in facts.universe.securities)
    return frozenset(number for number, outcome in judged if outcome is not Outcome.PASS)


def _considered(
    recipe: Recipe, facts: Facts
) -> tuple[list[tuple[Security, Listed | None]], list[Reject]]:
    """Return who is considered at all, and listed symbols that the universe does not know."""
    if recipe.kind == "rule":
        return [(security, None) for security in facts.universe.securities], []
    found: list[tuple[Security, Listed | None]] = []
    rejects: list[Reject] = []
    for listed in recipe.candidates:
        security = facts.universe.by_symbol.get(listed.symbol)
        if security is None:
            reason = "not in the universe of securities we follow"
            rejects.append(Reject(None, listed.symbol, "", "not_in_universe", reason))
        else:
            found.append((security, listed))
    return found, rejects


def _screened(
    recipe: Recipe, facts: Facts, considered: Iterable[tuple[Security, Listed | None]]
) -> tuple[list[Candidate], list[Reject]]:
    """Return who passes the recipe's filter, and why the others do not."""
    screen = screen_of(recipe.filter, facts)
    survivors: list[Candidate] = []
    rejects: list[Reject] = []
    for security, listed in considered:
        verdict = screen.judge(security)
        if verdict.outcome is Outcome.PASS:
            survivors.append(_candidate(verdict, listed, facts))
            continue
        rejects += [
            Reject(security.id, security.symbol, security.name, finding.code, finding.sentence())
            for finding in verdict.findings
        ]
    return survivors, rejects


def _candidate(verdict: Verdict, listed: Listed | None, facts: Facts) -> Candidate:
    security = verdict.security
    group = facts.taxonomy.groups[security.group].name
    grade = facts.grade(security).central // SCORE_MILLI
    return Candidate(
        security_id=security.id,
        symbol=security.symbol,
        name=security.name,
        cik=security.cik,
        sector=security.sector,
        group=security.group,
        country=security.country,
        size_cents=security.seed_size_cents,
        tilt_ppm=verdict.tilt_ppm,
        sentence=listed.sentence
        if listed
        else f"{group}; passes every screen; rule-based exposure grade {grade} of 5.",
        source=listed.source if listed else "our published rules (source RULE)",
        allowed_unknown=verdict.allowed_unknown,
    )


def _ranking(recipe: Recipe, facts: Facts) -> Callable[[Candidate], tuple[int, int, int]]:
    """Return the sorting key of a recipe; ties go to the larger, then to the lower id."""
    direction = 1 if recipe.rank_by == "small_first" else -1

    def by_size(row: Candidate) -> tuple[int, int, int]:
        return (0, direction * row.size_cents, row.security_id)

    if not recipe.rank_by.startswith(SCORE_RANKING):
        return by_size
    name = SCORE_PREFIX + recipe.rank_by.removeprefix(SCORE_RANKING)
    field = fields_of(facts).get(name)
    if field is None or field.missing:
        message = f"{recipe.id}: no rows for `{name}` have been imported"
        raise BuildError(message, code="screen_field_without_data")

    def by_score(row: Candidate) -> tuple[int, int, int]:
        value = field.read(facts.universe.by_id[row.security_id])
        score = value.central if isinstance(value, Band) else -1
        return (-score, -row.size_cents, row.security_id)

    return by_score


def _one_per_company(ranked: Sequence[Candidate]) -> tuple[list[Candidate], list[Reject]]:
    """Return the first share class of each company, and the others as rejects."""
    first: dict[str, Candidate] = {}
    rejects: list[Reject] = []
    for row in ranked:
        kept = first.setdefault(row.cik, row)
        if kept is not row:
            reason = f"another share class of the same company, {kept.symbol}, ranks higher"
            rejects.append(_reject(row, "same_company", reason))
    return list(first.values()), rejects


def _chosen(ranked: Sequence[Candidate], recipe: Recipe) -> list[Candidate]:
    """Return the ten best that keep the recipe's spread, in order of rank.

    Raises:
        BuildError: If there are not ten.
    """
    sector_max = min(recipe.sector_names_max or NAMES, recipe.sector_ppm_max * NAMES // WHOLE_PPM)
    chosen: list[Candidate] = []
    sectors: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for row in ranked:
        crowded = groups[row.group] >= (recipe.group_names_max or NAMES)
        if len(chosen) == NAMES or sectors[row.sector] >= sector_max or crowded:
            continue
        chosen.append(row)
        sectors[row.sector] += 1
        groups[row.group] += 1
    if len(chosen) < NAMES:
        message = f"{recipe.id}: only {len(chosen)} names keep the spread over sectors and groups"
        raise BuildError(message, code="too_few_names")
    return chosen


def _bench(rest: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return who may stand in after the understudies, in order of rank."""
    seen: Counter[str] = Counter()
    bench: list[Candidate] = []
    for place, row in enumerate(rest):
        if place < BENCH_MAX or seen[row.sector] < BENCH_SECTOR_MIN:
            bench.append(row)
            seen[row.sector] += 1
    return tuple(bench)


def _outranked(rest: Sequence[Candidate], recipe: Recipe) -> list[Reject]:
    """Return everybody behind the understudies as rejects by rank."""
    by = "size estimate" if recipe.rank_by == "size" else recipe.rank_by.replace("_", " ")
    reason = f"passes, but ranks behind the ten and their understudies by {by}"
    return [_reject(row, "ranked_lower", reason) for row in rest]


def _reject(row: Candidate, code: str, reason: str) -> Reject:
    return Reject(row.security_id, row.symbol, row.name, code, reason)


def replace_names(
    basket: Basket, never_buy: Collection[int], reasons: Mapping[int, str] | None = None
) -> Basket:
    """Return the basket without the names a customer may never buy.

    Each is replaced by the first understudy, then the first of the bench, that is allowed and
    keeps the caps; the weights are worked out again. A basket without any of them stays as it is.

    Args:
        basket: What is offered to everybody.
        never_buy: Permanent ids.
        reasons: Id -> why, in a sentence; shown with the replacement.

    Raises:
        BuildError: If no name is left that keeps the caps (code `no_replacement`).
    """
    leaving = [row for row in basket.constituents if row.security_id in never_buy]
    if not leaving:
        return basket
    waiting = [
        row for row in (*basket.understudies, *basket.bench) if row.security_id not in never_buy
    ]
    rows = list(basket.constituents)
    staying = [row.candidate for row in rows if row not in leaving]
    for row in leaving:
        stand_in = next((new for new in waiting if _fits(basket, staying, new)), None)
        if stand_in is None:
            message = f"{basket.id}: nobody can stand in for {row.symbol} within the caps"
            raise BuildError(message, code="no_replacement")
        waiting.remove(stand_in)
        staying.append(stand_in)
        why = (reasons or {}).get(row.security_id, "you asked us never to buy it")
        reason = f"Stands in for {row.symbol}: {why}."
        rows[rows.index(row)] = Constituent(stand_in, row.weight_ppm, row.symbol, reason)
    weights = weights_ppm(
        [row.candidate for row in rows], basket.method, NAME_PPM_MAX, basket.sector_ppm_max
    )
    gone = [
        Reject(row.security_id, row.symbol, row.candidate.name, "never_buy", "restricted for you")
        for row in leaving
    ]
    return replace(
        basket,
        constituents=tuple(
            replace(row, weight_ppm=weight) for row, weight in zip(rows, weights, strict=True)
        ),
        understudies=tuple(waiting[:UNDERSTUDIES]),
        bench=tuple(waiting[UNDERSTUDIES:]),
        rejects=(*basket.rejects, *gone),
    )


def _fits(basket: Basket, staying: Sequence[Candidate], new: Candidate) -> bool:
    """Return whether a name may join these: another company, and room in its sector.

    A tenth of the weight a name is always within the caps then, so that weights exist.
    """
    if any(row.cik == new.cik for row in staying):
        return False
    held = 1 + sum(row.sector == new.sector for row in staying)
    return held * WHOLE_PPM <= basket.sector_ppm_max * NAMES


def problem_of(recipe: Recipe, facts: Facts) -> str:
    """Return why a recipe cannot be offered on these facts, or an empty text."""
    try:
        build(recipe, facts)
    except (BuildError, ScreenError) as error:
        return error.detail
    return ""
