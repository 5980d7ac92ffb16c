"""Forced sales, unintended wash sales and gains over budget, counted from what was executed.

This module shares nothing with the planners: the standard library, and rows of the books
(`life_moves`), with wash sales worked out by brute force (`life_wash`). It takes no order's word
for why it was made; it looks at what a sale did, when, and what the customer had asked for.
"""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Final

from scheduler.life_moves import ASKED, BUY, CAME, MONEY, SELL, WITHDRAWN, Moved, Stream, Wish
from scheduler.life_wash import WINDOW_DAYS, Sold, adjust

AGAIN_DAYS: Final = 7
"""Within which what a harvest brought is bought again: settlement on the next session, which a
holiday may put four days later, and the session after that."""
IDLE_PERCENT: Final = 5
"""Of an account at cost: so much may wait for a price, a ban or the broker's smallest order, but
never more than half of what a name is worth on average: no position may end as cash."""
FEWER_NAMES: Final = 5
"""So many names, or a quarter of them if that is more, may be held fewer after a harvest, but
never more than half of them: the stand-ins of a basket are five, and do for its ten."""
_NOBODY: Final = Wish(date.min, harvests=False, budget_cents=0)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found; a sale is what one order's fill took of one lot.

    Attributes:
        forced: Sales that nothing allowed explains. Explained are: sales that the customer asked
            for (a withdrawal, a closure, a name ruled out in person of which the shares were to
            be sold), corporate actions, harvests, and gains inside the budget. A harvest is a
            sale at a loss for somebody who wants losses realised, after which the money goes on
            being invested: the customer holds about as many names as before, and what the sale
            brought has been bought again. A gain is inside the budget while the year's
            gains so far, less the losses that were harvests, are not above it.
        washed: Sales with a loss that does not count, where we chose the sale or the purchase.
        washed_meant: Such sales where the customer withdrew money or accepted deferral.
        deferred_cents: Losses that did not count, of both kinds.
        over_budget: Years in which we sold at a gain on a day whose budget was below the year's net
            gain so far of sales we chose, losses that do not count left out and what they added to
            other shares' basis put in.
        over_budget_cents: By how much at most, all years together.
        harvested_short_cents: Losses that count, of shares held up to a year; not negative.
        sales: How many we chose.
        apart: How many the customer or a corporate action chose.
        apart_cents: Net gain of those.
        young: Sales at a loss so near the end that nobody can say whether they were harvests.
    """

    forced: int
    washed: int
    washed_meant: int
    deferred_cents: int
    over_budget: int
    over_budget_cents: int
    harvested_short_cents: int
    harvested_long_cents: int
    gains_short_cents: int
    gains_long_cents: int
    sales: int
    apart: int
    apart_cents: int
    young: int


def count(
    stream: Stream,
    *,
    again_days: int = AGAIN_DAYS,
    soon_days: int | None = None,
    until: date | None = None,
    sold: Sequence[Sold] | None = None,
) -> Counts:
    """Return what an account's life came to.

    Args:
        stream: All that happened, and what the customer chose about taxes.
        again_days: Within how many days what a harvest brought has to be bought again.
        soon_days: Within how many, fewer, all of it but `IDLE_PERCENT` of the account; None where
            the others are few enough.
        until: Losses taken later are not judged for that: the life ends before one could see.
        sold: The sales as `life_wash.adjust` returns them, if they are at hand.
    """
    sold = adjust(stream.moved, stream.heirs) if sold is None else sold
    ours = [one for one in sold if one.moved.kind == SELL]
    apart = [one for one in sold if one.moved.kind != SELL]
    invested = _days_invested(stream, again_days, soon_days or again_days)
    over = _over(ours, stream.wishes)
    washed, meant = _washed(sold, stream.wishes)
    parts: dict[tuple[str, bool], int] = defaultdict(int)
    for one in ours:
        term = "long" if is_long(one.since, one.moved.on) else "short"
        parts[term, one.counted_cents < 0] += abs(one.counted_cents)
    forced, young = _forced(ours, stream.wishes, invested, until)
    return Counts(
        forced=forced,
        washed=washed,
        washed_meant=meant,
        deferred_cents=sum(one.washed_cents for one in sold),
        over_budget=len(over),
        over_budget_cents=sum(over),
        harvested_short_cents=parts["short", True],
        harvested_long_cents=parts["long", True],
        gains_short_cents=parts["short", False],
        gains_long_cents=parts["long", False],
        sales=len(_rows(ours)),
        apart=len(_rows(apart)),
        apart_cents=sum(one.counted_cents for one in apart),
        young=young,
    )


def is_long(since: date, sold: date) -> bool:
    """Return whether more than a year passed, by the calendar, counted from the day after."""
    first = since + timedelta(days=1)
    leap_day = (first.month, first.day) == (2, 29)
    over = date(first.year + 1, 3, 1) if leap_day else first.replace(year=first.year + 1)
    return sold >= over


def _rows(sold: Iterable[Sold]) -> list[list[Sold]]:
    """Return the parts of each sale together: those that stood alike were told apart."""
    return [list(parts) for _, parts in groupby(sold, key=lambda one: id(one.moved))]


def _wish(wishes: Sequence[Wish], on: date) -> Wish:
    """Return what the customer had chosen on a day."""
    spot = bisect_right(wishes, on, key=lambda one: one.on)
    return wishes[spot - 1] if spot else _NOBODY


def _forced(
    ours: Sequence[Sold],
    wishes: Sequence[Wish],
    invested: Collection[date],
    until: date | None,
) -> tuple[int, int]:
    """Return how many sales nothing explains, and how many cannot be judged yet."""
    net: dict[int, int] = defaultdict(int)
    forced = young = 0
    for on, todays in groupby(_rows(ours), key=lambda parts: parts[0].moved.on):
        wish, gains = _wish(wishes, on), 0
        for parts in todays:
            gain = sum(one.gain_cents for one in parts)
            counted = sum(one.counted_cents for one in parts)
            if gain >= 0:
                gains += 1
            elif wish.harvests and until is not None and on > until:
                young += 1
            elif not wish.harvests or on not in invested:
                forced += 1
                counted = 0  # what is no harvest makes no room
            net[on.year] += counted
        if wish.budget_cents is not None and net[on.year] > wish.budget_cents:
            forced += gains
    return forced, young


def _over(ours: Iterable[Sold], wishes: Sequence[Wish]) -> list[int]:
    """Return by how much each year's net gain was most above the budget of a day with gains."""
    net: dict[int, int] = defaultdict(int)
    over: dict[int, int] = defaultdict(int)
    for on, todays in groupby(ours, key=lambda one: one.moved.on):
        counted = [one.counted_cents for one in todays]
        net[on.year] += sum(counted)
        budget = _wish(wishes, on).budget_cents
        if budget is not None and max(counted) > 0:
            over[on.year] = max(over[on.year], net[on.year] - budget)
    return [cents for cents in over.values() if cents > 0]


def _washed(sold: Iterable[Sold], wishes: Sequence[Wish]) -> tuple[int, int]:
    """Return how many sales made wash sales that nobody meant, and that were meant.

    To buy after a loss is always our choice. A sale for a withdrawal is not; a sale of a name that
    the customer wants out is no excuse: we chose the day and what was bought before it.
    """
    unmeant = meant = 0
    for parts in _rows(sold):
        moved = parts[0].moved
        allowed = moved.kind == WITHDRAWN or (
            moved.kind in {SELL, ASKED} and _wish(wishes, moved.on).defers
        )
        washes = [wash for one in parts for wash in one.washes]
        unmeant += any(not (allowed and wash.bought_first) for wash in washes)
        meant += any(allowed and wash.bought_first for wash in washes)
    return unmeant, meant


def _days_invested(stream: Stream, again_days: int, soon_days: int) -> set[date]:
    """Return the days of our sales after which the money went on being invested."""
    account = _Account(again_days, soon_days)
    for on, rows in groupby(stream.moved, key=lambda one: one.on):
        account.judge(on.toordinal())
        account.live(on, list(rows))
    account.judge(None)
    return account.found


class _Account:
    """What is held at cost, and for how long what sales brought has been waiting.

    It is spent oldest first, by purchases alone, and only as far as the cash is not enough for
    them otherwise: buying with a deposit that came in between does not count. What the customer
    takes out before it was bought again was not.
    """

    def __init__(self, again_days: int, soon_days: int) -> None:
        self.found: set[date] = set()
        self._again_days, self._soon_days = again_days, soon_days
        self._late: set[date] = set()
        """Days of sales of which too much was waiting when the shorter time was over."""
        self._cash_cents = self._book_cents = 0
        self._nanos: dict[int, int] = defaultdict(int)
        self._idle: deque[tuple[int, int]] = deque()
        """Ordinal of the day of sales, cents that wait since."""
        self._taken: list[tuple[int, int]] = []
        """The same of what was taken out meanwhile."""
        self._names: deque[tuple[int, int]] = deque()
        """Ordinal of a day, names held when it ended."""
        self._judged: deque[tuple[date, int]] = deque()
        """Day of sales, the most names held in the month before."""
        self._soon: deque[date] = deque()
        """Days of sales whose shorter time runs."""

    def judge(self, before: int | None) -> None:
        """Look at the sales whose time was over before a day, as things stand; None for all."""
        while self._soon and (
            before is None or self._soon[0].toordinal() + self._soon_days < before
        ):
            on = self._soon.popleft()
            if self._waits(on) > self._whole() * IDLE_PERCENT / 100:
                self._late.add(on)
        while self._judged:
            on, had = self._judged[0]
            if before is not None and on.toordinal() + self._again_days >= before:
                return
            self._judged.popleft()
            idle = self._whole() * min(IDLE_PERCENT / 100, 1 / max(had, 1) / 2)
            fewer = min(had / 2, max(had / 4, FEWER_NAMES))
            if had - self._held() <= fewer and self._waits(on) <= idle and on not in self._late:
                self.found.add(on)
            self._taken = [one for one in self._taken if one[0] > on.toordinal()]

    def _waits(self, on: date) -> int:
        """Return the cents that sales up to a day brought and that were not bought again."""
        every = (*self._idle, *self._taken)
        return sum(cents for since, cents in every if since <= on.toordinal())

    def _whole(self) -> int:
        """Return what the account is worth at cost."""
        return self._book_cents + self._cash_cents

    def live(self, on: date, rows: Sequence[Moved]) -> None:
        today, brought, out = on.toordinal(), 0, 0
        while len(self._names) > 1 and self._names[0][0] < today - WINDOW_DAYS:
            self._names.popleft()
        had = max((many for _, many in self._names), default=0)
        for one in rows:
            self._nanos[one.security_id] += one.nanos
            comes = one.kind in {BUY, CAME}
            self._book_cents += one.basis_cents if comes else -one.basis_cents
            self._cash_cents += one.proceeds_cents - (one.basis_cents if one.kind == BUY else 0)
            brought += one.proceeds_cents if one.kind == SELL else 0
            out += max(0, -one.proceeds_cents) if one.kind == MONEY else 0
        if any(one.kind == SELL for one in rows):
            self._judged.append((on, had))
            self._soon.append(on)
            self._idle.append((today, brought))
        self._leave(self._cash_cents + out)
        self._taken += self._leave(self._cash_cents)
        self._names.append((today, self._held()))

    def _leave(self, cash_cents: int) -> list[tuple[int, int]]:
        """Return what waits no longer, oldest first, where cash is less than what waits."""
        gone = []
        more = sum(cents for _, cents in self._idle) - max(cash_cents, 0)
        while self._idle and more > 0:
            since, cents = self._idle.popleft()
            gone.append((since, min(cents, more)))
            if cents > more:
                self._idle.appendleft((since, cents - more))
            more -= cents
        return gone

    def _held(self) -> int:
        return sum(1 for nanos in self._nanos.values() if nanos > 0)
