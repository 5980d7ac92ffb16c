"""How many names an account holds as it grows: whole steps, one name at a time, never a cliff.

A ladder is a list of balances, one for each name after the first few: who has reached the k-th
holds k names more. Between two points of the table the count is linear in the logarithm of the
balance. What an account carries rests on a balance that follows the market up and never down;
withdrawals lower it in proportion. So a fall of the market never takes a name away, and where
the count does fall nothing is sold: what leaves is not replaced.

A accounts; cents, whole names. `tables/ladders.toml` holds the ladders and the segments.
"""

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from robo.core.money import CENTS_PER_DOLLAR, PPM
from robo.core.policy import Policy
from robo.portfolio.checks import ints, require
from robo.portfolio.problem import BoolArray, IntArray

BALANCE_MAX: Final = 10**12
"""Ten billion dollars in cents: products with parts per million stay inside int64."""
NO_LIMIT: Final = 2**31 - 1
"""`names_max` of a customer who chose none."""
BASKET_NAMES: Final = 10
"""Every basket has so many: whose ladder carries more follows the index too."""
SEGMENTS_OWN: Final = "standard"
"""What is kept of who chose no ladder: the segment's holds."""
DENSE: Final = "dense"
"""The ladder that customers may choose, where their segment may use it."""
FADED_AT: Final = 80
"""A theme that fades has gone where so many names are held."""
_FIELDS: Final = ("id", "from", "ladder", "may_use")
_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class Ladder:
    """A monotone staircase from balances to counts."""

    name: str
    sentence: str
    steps: tuple[tuple[int, int], ...]
    """(cents, names), both rising; the count at the first holds for every smaller balance."""
    reach_cents: IntArray
    """The balance at which each further name is carried, strictly rising; shape (last - first,)."""
    position_cents_min: int = 0
    """No further name is carried before an average position has this size; 0 for any."""
    parts: tuple[tuple[int, "Ladder"], ...] = ()
    """Where it is joined of several: the balances from which each holds. Else empty."""

    def count(self, balance_cents: ArrayLike) -> IntArray:
        """Return how many names balances carry, any shape.

        Raises:
            ValueError: If a balance is negative or above `BALANCE_MAX`.
        """
        balance = _amounts("balance_cents", balance_cents)
        passed = np.searchsorted(self.reach_cents, balance, side="right")
        return np.asarray(self.steps[0][1] + passed, dtype=np.int64)

    def steps_down_cents(self) -> IntArray:
        """Return the balances below each of which it carries a name less, rising, (S,).

        Of each segment its own ladder's: that another one holds below takes no name.
        """
        if not self.parts:
            return self.reach_cents
        ends = [*(start for start, _ in self.parts[1:]), BALANCE_MAX + 1]
        mine = [
            part.reach_cents[(part.reach_cents >= start) & (part.reach_cents < end)]
            for (start, part), end in zip(self.parts, ends, strict=True)
        ]
        return np.concatenate(mine)

    def with_all_at(self, cents: int) -> "Ladder":
        """Return the ladder whose last count is reached at another balance.

        Raises:
            ValueError: If that is not above the balance of the step before.
        """
        steps = [*self.steps[:-1], (cents, self.steps[-1][1])]
        return ladder_of(self.name, self.sentence, steps, self.position_cents_min)


@dataclass(frozen=True, slots=True)
class Segment:
    """Customers of one size, and what they may use."""

    id: str
    from_cents: int
    ladder: str
    may_use: frozenset[str]


@dataclass(frozen=True, slots=True)
class Book:
    """All ladders and segments."""

    version: int
    ladders: dict[str, Ladder]
    segments: tuple[Segment, ...]
    default: Ladder
    """Of who chose none: each segment's own, joined so that a larger one never carries less."""

    def stairs(self, chosen: str) -> Ladder:
        """Return the ladder of who chose one, or none; one that has gone is none."""
        return self.default if chosen == SEGMENTS_OWN else self.ladders.get(chosen, self.default)

    def segment(self, balance_cents: int) -> Segment:
        """Return the segment of a balance."""
        return [one for one in self.segments if one.from_cents <= max(balance_cents, 0)][-1]

    def begins_cents(self, feature: str) -> int | None:
        """Return the balance from which a feature may be used; None where no segment has it."""
        starts = [one.from_cents for one in self.segments if feature in one.may_use]
        return min(starts) if starts else None


@dataclass(frozen=True, slots=True)
class Carried:
    """What accounts stand on; arrays of shape (A,)."""

    count: IntArray
    """Names that are bought; more may be held."""
    balance_cents: IntArray
    """What the count rests on: the highest balance, less withdrawals in proportion."""
    uncounted_cents: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Taken out, and less than the next name's part: to be given to the next review again."""


def ladder_of(
    name: str, sentence: str, steps: Sequence[tuple[int, int]], position_cents_min: int = 0
) -> Ladder:
    """Return the ladder through points (cents, names).

    Between points the logarithm rises faster at first than a straight line, so a name may have to
    wait until the positions are large enough on average.

    Raises:
        ValueError: If balances or counts do not rise, names follow closer than a cent, or a point
            itself has smaller positions than the least.
    """
    require("steps", len(steps) > 1, "must be at least two")
    rises = all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(steps))
    fits = steps[0][0] > 0 and steps[0][1] > 0 and steps[-1][0] <= BALANCE_MAX
    require("steps", rises and fits, "must rise, from a cent and a name on")
    large = all(cents >= names * position_cents_min for cents, names in steps)
    require("steps", large, "have positions smaller than the least")
    reach: list[int] = []
    with localcontext() as context:
        context.prec = _DIGITS
        for (low, fewer), (high, more) in itertools.pairwise(steps):
            ratio = (Decimal(high) / Decimal(low)).ln() / (more - fewer)
            inner = ((fewer + k, Decimal(low) * (ratio * k).exp()) for k in range(1, more - fewer))
            reach += [
                max(int(one.to_integral_value(ROUND_CEILING)), names * position_cents_min)
                for names, one in inner
            ]
            reach.append(high)
    reached = np.array(reach, dtype=np.int64)
    require("steps", bool((np.diff(reached) > 0).all()), "leave less than a cent between names")
    return Ladder(name, sentence, tuple(steps), reached, position_cents_min)


def joined(segments: Sequence[Segment], ladders: Mapping[str, Ladder]) -> Ladder:
    """Return the ladder of balances that pass from segment to segment.

    Where a segment's own ladder carries more than the one before, the names it has more are all
    reached where it begins (and come one a review); where it carries fewer, none is added until it
    carries more.
    """
    first = ladders[segments[0].ladder]
    if all(one.ladder == segments[0].ladder for one in segments):
        return first
    start, reach = first.steps[0][1], list[int]()
    ends = [*(one.from_cents for one in segments[1:]), BALANCE_MAX + 1]
    for segment, end in zip(segments, ends, strict=True):
        own = ladders[segment.ladder]
        more = int(own.count(segment.from_cents)) - start - len(reach)
        reach += [max(segment.from_cents, 1)] * more
        rest = own.reach_cents[start + len(reach) - own.steps[0][1] :]
        reach += rest[rest < end].tolist()
    begins = min(first.steps[0][0], reach[0]), start
    steps = (begins, (reach[-1], start + len(reach)))
    parts = tuple((one.from_cents, ladders[one.ladder]) for one in segments)
    reached = np.array(reach, dtype=np.int64)
    return Ladder(SEGMENTS_OWN, first.sentence, steps, reached, parts=parts)


def review(
    ladder: Ladder,
    before: Carried,
    balance_cents: ArrayLike,
    withdrawn_cents: ArrayLike,
    names_max: ArrayLike,
    is_empty: ArrayLike,
    is_anew: ArrayLike | None = None,
) -> Carried:
    """Return what accounts carry now: at most one name more, fewer only by their own doing.

    A count may stand above the ladder, where a segment or a firm's table has changed under it. Then
    it stays, and withdrawals lower it by their part, or by a name for each whole step of the ladder
    that they pass without that. Many small ones take what one large one takes: what is less than
    the next name's part waits.

    Args:
        ladder: The staircase.
        before: At the last review; counts of new accounts are the ladder's first.
        balance_cents: NAV now, (A,).
        withdrawn_cents: Taken out since the last review, and what that left uncounted, (A,).
        names_max: The customer's own limit, (A,); `NO_LIMIT` for none.
        is_empty: Holds nothing yet, so that it starts where its balance is, (A,).
        is_anew: The customer has chosen another ladder since, so that its count holds, (A,); None
            for nobody.

    Raises:
        ValueError: If shapes differ or an amount lies outside its bounds.
    """
    balance = _amounts("balance_cents", balance_cents)
    withdrawn = _amounts("withdrawn_cents", withdrawn_cents)
    limit = ints("names_max", names_max)
    empty: BoolArray = np.asarray(is_empty, dtype=np.bool_)
    rested = _amounts("before.balance_cents", before.balance_cents)
    shapes = {array.shape for array in (balance, withdrawn, limit, empty, rested, before.count)}
    require("accounts", len(shapes) == 1, "must have one shape in every argument")
    require("names_max", not limit.size or int(limit.min()) > 0, "must be at least one name")
    whole = np.maximum(balance + withdrawn, 1)
    left = rested - _share(rested, withdrawn, whole)
    now = np.maximum(left, balance)
    carried = ladder.count(now)
    is_above = before.count > ladder.count(rested)
    stays, stands = _stripped(ladder.steps_down_cents(), before.count, rested, left, is_above)
    if is_anew is not None:
        stays = np.where(np.asarray(is_anew, dtype=np.bool_), 0, stays)
    count = np.maximum(np.minimum(carried, before.count + 1), stays)
    above = (stays > carried) & ~empty
    waits = withdrawn - np.minimum(_share(whole, rested - stands, np.maximum(rested, 1)), withdrawn)
    return Carried(
        np.minimum(np.where(empty, carried, count), limit),
        np.where(above, np.maximum(stands, balance), now),
        np.where(above, waits, 0),
    )


def _stripped(
    steps: IntArray, count: IntArray, rested: IntArray, left: IntArray, is_above: BoolArray
) -> tuple[IntArray, IntArray]:
    """Return the counts that withdrawals leave, and the balance at which each lost its last name.

    A name goes where the balance has fallen by its part, or by a whole step of the ladder within
    which none went; who stands on the ladder loses one with its next step. That depends on the way
    down alone and not on how many withdrawals it was.
    """
    names, stands = count.astype(np.int64), rested.astype(np.int64)
    falls = np.concatenate([[-1, -1], steps - 1])  # below the first step there is no further one
    while True:
        by_part = stands * (names - 1) // np.maximum(names, 1)
        place = np.searchsorted(steps, stands, side="right")
        begins = np.append(falls, BALANCE_MAX + 1)[place + 2] == stands
        begins |= ~is_above & (stands == rested)
        by_step = falls[np.where(begins, place + 1, place)]
        lower = np.maximum(by_part, by_step)
        goes = (lower >= left) & (lower < stands) & (names > 0)
        if not goes.any():
            return names, stands
        names, stands = names - goes, np.where(goes, lower, stands)


def _share(amount: IntArray, part: IntArray, whole: IntArray) -> IntArray:
    """Return `amount * part / whole`, rounded up, at most two cents too much.

    In two digits of parts per million, as the product of two balances is too large for int64.
    """
    high, rest = np.divmod(part * PPM, whole)
    low = -(-rest * PPM // whole)
    return np.asarray(-(-(amount * high - (-amount * low // PPM)) // PPM), dtype=np.int64)


def theme_ppm(count: ArrayLike, stays_ppm: ArrayLike) -> IntArray:
    """Return how much of the benchmark is the customer's theme, the rest is the index.

    All of it at ten names, then less with every name, none from `FADED_AT` on. A theme that stays
    never falls below its share.

    Args:
        count: Names carried, any shape.
        stays_ppm: The least share, 0 for a theme that fades; broadcast against the counts.

    Raises:
        ValueError: If a share lies outside 0 to 1_000_000.
    """
    names, least = np.broadcast_arrays(ints("count", count), ints("stays_ppm", stays_ppm))
    inside = not least.size or (int(least.min()) >= 0 and int(least.max()) <= PPM)
    require("stays_ppm", inside, "must be 0 to 1_000_000")
    fading = (FADED_AT - names) * PPM // (FADED_AT - BASKET_NAMES)
    return np.asarray(np.maximum(np.clip(fading, 0, PPM), least), dtype=np.int64)


@cache
def book(all_at_cents: int | None = None, table: str = "") -> Book:
    """Return the ladders and segments of a firm's table, or those that ship with us.

    Args:
        all_at_cents: Where our standard ladder reaches all names, in place of its own balance; a
            firm's table says that itself.
        table: The text of a firm's table.

    Raises:
        ValueError: If that is not above the balance of the step before, or the table is none.
    """
    if table:
        return book_of(table)
    if all_at_cents is not None:
        made = book()
        moved = {**made.ladders, "standard": made.ladders["standard"].with_all_at(all_at_cents)}
        return replace(made, ladders=moved, default=joined(made.segments, moved))
    place = files("robo.portfolio") / "tables" / "ladders.toml"
    return book_of(place.read_text(encoding="utf-8"))


def of_policy(policy: Policy) -> Book:
    """Return the ladders and segments that hold where a policy does."""
    return book(policy.ladder_all_cents, policy.ladders)


def book_of(text: str) -> Book:
    """Return the ladders and segments of a file's text; nothing is guessed.

    Raises:
        ValueError: If it is not TOML, or a field is missing, unknown or out of order.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"the ladders are not TOML: {error}"
        raise ValueError(message) from error
    require("ladders", set(found) == {"version", "ladder", "segment"}, "lack or add a part")
    ladders = {name: _ladder(name, one) for name, one in found["ladder"].items()}
    segments = tuple(_segment(one, ladders) for one in found["segment"])
    starts = [one.from_cents for one in segments]
    rising = bool(starts) and starts[0] == 0 and all(a < b for a, b in itertools.pairwise(starts))
    require("segment", rising, "must begin at 0 and rise")
    nested = all(a.may_use <= b.may_use for a, b in itertools.pairwise(segments))
    require("segment", nested, "must not take away what a smaller one may use")
    promised = DENSE in ladders or not any(DENSE in one.may_use for one in segments)
    require("ladder", promised, f"{DENSE!r} is missing though a segment may use it")
    return Book(int(found["version"]), ladders, segments, joined(segments, ladders))


def _ladder(name: str, row: dict[str, Any]) -> Ladder:
    known = {"sentence", "position_min", "steps"}
    require(f"ladder.{name}", set(row) == known, "lacks or adds a field")
    steps = [(int(dollars) * CENTS_PER_DOLLAR, int(count)) for dollars, count in row["steps"]]
    least = int(row["position_min"]) * CENTS_PER_DOLLAR
    return ladder_of(name, str(row["sentence"]), steps, least)


def _segment(row: dict[str, Any], ladders: dict[str, Ladder]) -> Segment:
    require("segment", set(row) == set(_FIELDS), "lacks or adds a field")
    require("segment", row["ladder"] in ladders, "names a ladder that does not exist")
    starts = int(row["from"]) * CENTS_PER_DOLLAR
    return Segment(str(row["id"]), starts, str(row["ladder"]), frozenset(row["may_use"]))


def limited(ladder: Ladder, names: int) -> Ladder:
    """Return the ladder that ends at the names an index has, exact at the same balances below."""
    if ladder.steps[-1][1] <= names:
        return ladder
    first = ladder.steps[0][1]
    require("names", names >= first, f"must be at least {first}")
    return replace(ladder, reach_cents=ladder.reach_cents[: names - first])


def _amounts(name: str, values: ArrayLike) -> IntArray:
    amounts = ints(name, values)
    inside = not amounts.size or (int(amounts.min()) >= 0 and int(amounts.max()) <= BALANCE_MAX)
    require(name, inside, f"must be from 0 to {BALANCE_MAX}")
    return amounts
