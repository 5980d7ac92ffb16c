"""What `robo index show|members|build` prints, as lines of text."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date

from baskets.errors import BuildError
from baskets.facts import Facts, load_facts
from baskets.index import Index
from baskets.index_custom import Title, index_from_csv, index_from_filter, index_from_toml
from baskets.index_dates import review_of
from baskets.index_rules import Rulebook
from baskets.values import percent

_TOP = 10


def show_lines(index: Index, rules: Rulebook | None, sessions: Sequence[date]) -> Iterator[str]:
    """Yield an index's page: rules, weights, what they rest on, the next review.

    Args:
        index: The index on a day.
        rules: Its rulebook; None for a custom index.
        sessions: The market's sessions.
    """
    yield f"{index.name} ({index.id}, version {index.version}, from {index.effective_on})"
    yield f"{len(index.members)} companies of {index.universe_source}, as of {index.universe_as_of}"
    yield index.note
    if rules is not None:
        yield (
            f"In from rank {rules.enter_rank}, out behind rank {rules.stay_rank};"
            f" at most {percent(rules.issuer_ppm_max)} a company"
        )
        yield from _next_review(rules, sessions, index.effective_on)
    yield ""
    for row in index.members[:_TOP]:
        yield f"{percent(row.weight_ppm):>9}  {row.symbol:6} {row.name}"
    sectors = ", ".join(f"{sector} {percent(ppm)}" for sector, ppm in index.sector_ppm.items())
    yield f"Sectors: {sectors}"
    for change in index.changes:
        place = "" if change.rank is None else f", rank {change.rank}"
        yield f"{'in' if change.added else 'out'}: {change.symbol} ({change.code}{place})"
    yield f"SHA-256 {index.sha256}"


def member_lines(index: Index) -> Iterator[str]:
    """Yield every member as CSV, largest first."""
    yield "security_id,symbol,cik,sector,group,country,weight_ppm,size_cents,basis,rank,entered_on"
    for row in index.members:
        cells = (
            *(row.security_id, row.symbol, row.cik, row.sector, row.group, row.country or ""),
            *(row.weight_ppm, row.size_cents, row.basis, row.rank, row.entered_on),
        )
        yield ",".join(map(str, cells))


def build_lines(make: Callable[[], Index]) -> Iterator[str]:
    """Yield the outcome of building an index twice, and whether it is the same."""
    first, second = make(), make()
    same = "the same bytes" if first.artefact == second.artefact else "DIFFERENT BYTES"
    yield f"{first.id}: {len(first.members)} companies, {len(first.artefact)} bytes"
    yield f"Built twice: {same}"
    yield first.note
    yield f"SHA-256 {first.sha256}"


def custom(content: bytes, file_name: str, as_of: date, facts: Facts | None = None) -> Index:
    """Return the index of a file, by its ending.

    Raises:
        BasketsError: If it is refused.
    """
    known = facts or load_facts()
    if file_name.lower().endswith(".toml"):
        return index_from_toml(content, known)
    return index_from_csv(content, Title("custom", "Custom index", 1, as_of), known.universe)


def filtered(text: str, as_of: date, facts: Facts | None = None) -> Index:
    """Return the index of all that pass a filter, by size.

    Raises:
        BasketsError: If the filter is wrong or nobody passes.
    """
    return index_from_filter(Title("custom", "Custom index", 1, as_of), facts or load_facts(), text)


def _next_review(rules: Rulebook, sessions: Sequence[date], after: date) -> Iterator[str]:
    months = [(after.year + turn, month) for turn in range(2) for month in rules.review_months]
    for year, month in months:
        try:
            review = review_of(rules, sessions, year, month)
        except BuildError:
            continue
        if review.effective_on > after:
            yield (
                f"Next review: sizes of {review.reference_on}, announced {review.announced_on},"
                f" effective at the close of {review.effective_on}"
            )
            return
