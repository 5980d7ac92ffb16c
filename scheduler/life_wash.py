"""Wash sales by brute force: what every sale realised once losses that do not count are taken out.

Shares nothing with `robo.tax`: the standard library and rows of the books. It reads the law as the
docs do (docs/taxes.md): days count; shares bought in the 30 days before a loss and still held when
the day ends replace first, then those bought in the 30 days after; the earliest purchase first; a
share replaces once; shares sold are not their own replacement. What a replacement takes on is
added to its basis, and the days that the sold shares were held to its holding period. A split
scales what waits, and a merger's successor is the same name. Cents are split rounding down, the
rest staying behind: a part may differ from the tax report's by a cent, a sum does not.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import groupby
from typing import Final

from scheduler.life_moves import BUY, CAME, LEFT, SALES, SPLIT, Heir, Moved

WINDOW_DAYS: Final = 30
_WINDOW: Final = timedelta(days=WINDOW_DAYS)


@dataclass(frozen=True, slots=True)
class Wash:
    """A loss, or part of one, that does not count because of a purchase."""

    cents: int
    bought_first: bool
    """Whether the shares had been bought before those at a loss were sold."""


@dataclass(slots=True)
class Sold:
    """Shares of one lot that were sold and stood alike."""

    moved: Moved
    nanos: int
    since: date
    """Since when they count as held."""
    proceeds_cents: int
    basis_cents: int
    """With what wash sales had added."""
    washes: list[Wash] = field(default_factory=list)

    @property
    def gain_cents(self) -> int:
        """Return gain or loss before it is asked whether a loss counts."""
        return self.proceeds_cents - self.basis_cents

    @property
    def washed_cents(self) -> int:
        """Return the part of the loss that does not count now, not negative."""
        return sum(one.cents for one in self.washes)

    @property
    def counted_cents(self) -> int:
        """Return the gain or loss that counts."""
        return self.gain_cents + self.washed_cents


@dataclass(slots=True)
class _Part:
    nanos: int
    since: date
    added_cents: int = 0
    used: bool = False


@dataclass(slots=True)
class _Lot:
    security_id: int
    bought_on: date
    row: int
    basis_cents: int
    parts: list[_Part]
    leaving: bool = False


@dataclass(slots=True)
class _Loss:
    sold: Sold
    row: int
    security_id: int
    nanos: int
    cents: int
    turn: tuple[date, int, int]


def adjust(moved: Sequence[Moved], heirs: Sequence[Heir] = ()) -> list[Sold]:
    """Return the sales of an account with wash sales taken into account, in the order of time.

    Args:
        moved: Days rising; what a corporate action did comes before the trades of its day.
        heirs: Of all names, days rising.

    Raises:
        ValueError: If more is sold of a lot than it holds.
    """
    books = _Books()
    coming = list(heirs)
    rows = enumerate(moved)
    for on, todays in groupby(rows, key=lambda pair: pair[1].on):
        while coming and coming[0].on <= on:
            books.succeed(coming.pop(0))
        books.live(on, list(todays))
    return books.sold


class _Books:
    def __init__(self) -> None:
        self.sold: list[Sold] = []
        self._lots: dict[str, _Lot] = {}
        self._young: dict[int, list[_Lot]] = defaultdict(list)
        self._waiting: dict[int, list[_Loss]] = defaultdict(list)

    def live(self, on: date, rows: Sequence[tuple[int, Moved]]) -> None:
        losses: list[_Loss] = []
        for row, one in rows:
            if one.kind == BUY:
                self._buy(row, one)
            elif one.kind in SALES:
                losses += self._sell(row, one)
            elif one.kind == SPLIT:
                self._split(one)
            elif one.kind == LEFT:
                self._leave(one)
            elif one.kind == CAME:
                self._come(row, one)
        for loss in sorted(losses, key=lambda one: one.turn):
            for lot in self._bought_since(loss.security_id, on - _WINDOW):
                _match(loss, lot)
            if loss.nanos:
                self._waiting[loss.security_id].append(loss)

    def succeed(self, heir: Heir) -> None:
        """Let what was sold at a loss be equal to other shares from now on."""
        losses = self._waiting.pop(heir.old, [])
        for loss in losses:
            loss.security_id = heir.new
            exact, rest = divmod(loss.nanos * heir.ratio_num, heir.ratio_den)
            loss.nanos = max(1, exact + (2 * rest >= heir.ratio_den))
        joined = [*self._waiting[heir.new], *losses]
        self._waiting[heir.new] = sorted(joined, key=lambda one: (one.sold.moved.on, one.turn))

    def _bought_since(self, security_id: int, day: date) -> list[_Lot]:
        young = [lot for lot in self._young[security_id] if lot.bought_on >= day]
        self._young[security_id] = young
        return sorted(young, key=lambda lot: (lot.bought_on, lot.row))

    def _buy(self, row: int, one: Moved) -> None:
        lot = _Lot(one.security_id, one.on, row, one.basis_cents, [_Part(one.nanos, one.on)])
        self._lots[one.lot_id] = lot
        self._young[one.security_id].append(lot)
        # Losses of earlier days; those of today look for it when the day ends.
        waiting = self._waiting[one.security_id]
        for loss in waiting:
            if loss.sold.moved.on + _WINDOW >= one.on:
                _match(loss, lot)
        self._waiting[one.security_id] = [
            loss for loss in waiting if loss.nanos and loss.sold.moved.on + _WINDOW >= one.on
        ]

    def _sell(self, row: int, one: Moved) -> Iterator[_Loss]:
        lot = self._lots[one.lot_id]
        taken = _take(lot, -one.nanos)
        lot.basis_cents -= one.basis_cents
        sizes = [part.nanos for part in taken]
        basis, money = _dealt(one.basis_cents, sizes), _dealt(one.proceeds_cents, sizes)
        for part, paid, got in zip(taken, basis, money, strict=True):
            sold = Sold(one, part.nanos, part.since, got, paid + part.added_cents)
            self.sold.append(sold)
            if sold.gain_cents < 0 and part.nanos:
                turn = lot.bought_on, lot.row, len(self.sold)
                yield _Loss(sold, row, lot.security_id, part.nanos, -sold.gain_cents, turn)

    def _split(self, one: Moved) -> None:
        parts = self._lots[one.lot_id].parts
        sizes = [part.nanos for part in parts]
        after = _dealt(sum(sizes) + one.nanos, sizes)
        for part, nanos in zip(parts, after, strict=True):
            part.nanos = nanos

    def _leave(self, one: Moved) -> None:
        lot = self._lots[one.lot_id]
        lot.basis_cents -= one.basis_cents
        lot.leaving = one.nanos < 0 or not any(part.nanos for part in lot.parts)

    def _come(self, row: int, one: Moved) -> None:
        """Open the lot that a merger or a spin-off gives for another one."""
        parent = self._lots.get(one.of_lot)
        if parent is None:  # spun off without any basis: new shares, as old as those they came from
            since = one.since or one.on
            parts = [_Part(one.nanos, since, used=True)]
            self._lots[one.lot_id] = _Lot(one.security_id, since, row, one.basis_cents, parts)
            return
        sizes = _dealt(one.nanos, [part.nanos for part in parent.parts])
        whole = parent.basis_cents + one.basis_cents
        parts = []
        for part, nanos in zip(parent.parts, sizes, strict=True):
            moved = part.added_cents
            if not parent.leaving:
                moved = moved * one.basis_cents // whole if whole else 0
            part.added_cents -= moved
            # A spun-off share was never bought: it replaces nothing.
            parts.append(_Part(nanos, part.since, moved, part.used or not parent.leaving))
        lot = _Lot(one.security_id, parent.bought_on, parent.row, one.basis_cents, parts)
        self._lots[one.lot_id] = lot
        if parent.leaving:
            parent.parts = []
            self._young[one.security_id].append(lot)


def _match(loss: _Loss, lot: _Lot) -> None:
    """Let shares of a lot replace shares sold at a loss, as far as both go."""
    sold, parts = loss.sold, []
    for part in lot.parts:
        nanos = 0 if part.used else min(part.nanos, loss.nanos)
        if nanos == 0:
            parts.append(part)
            continue
        cents = loss.cents * nanos // loss.nanos
        loss.nanos -= nanos
        loss.cents -= cents
        since = lot.bought_on - (sold.moved.on - sold.since)
        parts.append(_Part(nanos, since, cents, used=True))
        part.nanos -= nanos
        if part.nanos:
            parts.append(part)
        sold.washes.append(Wash(cents, bought_first=lot.row < loss.row))
    lot.parts = parts


def _take(lot: _Lot, nanos: int) -> list[_Part]:
    """Take the first shares out of a lot; of an empty one what is left of its basis.

    Raises:
        ValueError: If it does not hold so many.
    """
    taken: list[_Part] = []
    while lot.parts and (nanos or not lot.parts[0].nanos):
        part = lot.parts[0]
        some = min(part.nanos, nanos)
        if some == part.nanos:
            taken.append(lot.parts.pop(0))
        else:
            added = part.added_cents * some // part.nanos
            taken.append(replace(part, nanos=some, added_cents=added))
            part.nanos -= some
            part.added_cents -= added
        nanos -= some
    if nanos:
        message = f"{nanos} nanoshares more are sold of a lot than it holds"
        raise ValueError(message)
    return taken


def _dealt(total: int, weights: Sequence[int]) -> list[int]:
    """Split by weights, rounding down; the last gets the rest."""
    whole, left, parts = sum(weights), total, []
    for weight in weights:
        part = left * weight // whole if whole else 0
        parts.append(part)
        left -= part
        whole -= weight
    if parts:
        parts[-1] += left
    return parts
