"""What the books of wash sales keep of a lot, to the share and cent: pieces, claims, the shelf."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Self

from robo.core.ids import AccountId, LotId, SecurityId
from robo.core.money import round_ratio, split_cents


@dataclass(slots=True)
class Piece:
    """Shares of a lot that stand alike: part of a run of `run` shares that carries `cents`."""

    nanos: int
    held_from: date
    spare: bool
    cents: int = 0
    run: int = 0
    gone: int = 0
    """Shares of the run before these."""
    broker_cents: int = 0
    """The part of `cents` that the account's broker knows of; the rest came from elsewhere."""

    def added(self, nanos: int) -> int:
        """Return what the first shares carry; all of them carry all, even where none are left."""
        if self.run == 0:
            return self.cents if nanos == self.nanos else 0
        return part_of(self.cents, self.gone, nanos, self.run)

    def known(self, nanos: int) -> int:
        """Return the part of `added` that the account's broker knows of."""
        if self.run == 0:
            return self.broker_cents if nanos == self.nanos else 0
        return known_of(self.broker_cents, self.cents, (self.gone, nanos, self.run))


@dataclass(slots=True)
class Lot:
    """Shares bought together: a row of pieces, of which sales take the first."""

    id: LotId
    account_id: AccountId
    security_id: SecurityId
    bought_on: date
    place: int
    nanos: int
    basis_cents: int
    pieces: list[Piece]


@dataclass(slots=True)
class Claim:
    """Shares sold at a loss that nothing has replaced yet, and their loss."""

    order: tuple[date, date, int, int]
    """Earliest sale first, then earliest bought: the day sold, the lot's day and place, the row."""
    security_id: SecurityId
    left: int
    cents: int
    run: int
    broker_cents: int
    """The part of the loss that the broker of the account sees: it lacks basis from elsewhere."""
    gone: int = 0

    @property
    def sold_on(self) -> date:
        """Return when the shares were sold."""
        return self.order[0]

    @property
    def disposal(self) -> int:
        """Return the position of the sale among the disposals."""
        return self.order[3]


@dataclass(slots=True)
class Shelf:
    """The open lots, found by id and by name."""

    by_id: dict[LotId, Lot] = field(default_factory=dict)
    by_name: dict[SecurityId, dict[LotId, Lot]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Lot]:
        return iter(self.by_id.values())

    def get(self, lot_id: LotId) -> Lot:
        """Return a lot.

        Raises:
            ValueError: If it is not held.
        """
        require(lot_id in self.by_id, f"lot {lot_id} is not held")
        return self.by_id[lot_id]

    def put(self, lot: Lot) -> None:
        """Hold a lot.

        Raises:
            ValueError: If there is one of this id already.
        """
        require(lot.id not in self.by_id, f"lot {lot.id} is there already")
        self.by_id[lot.id] = lot
        self.by_name.setdefault(lot.security_id, {})[lot.id] = lot

    def drop(self, lot: Lot) -> None:
        """Hold a lot no more."""
        del self.by_id[lot.id]
        del self.by_name[lot.security_id][lot.id]

    def bought_since(self, name: SecurityId, day: date) -> list[Lot]:
        """Return the lots of a name bought on a day or later, earliest purchase first."""
        found = [lot for lot in self.by_name.get(name, {}).values() if lot.bought_on >= day]
        found.sort(key=lambda lot: (lot.bought_on, lot.place))
        return found

    def copy(self) -> Self:
        """Return a shelf whose lots can change without changing these."""
        made = type(self)()
        for lot in self:
            made.put(replace(lot, pieces=[replace(piece) for piece in lot.pieces]))
        return made


def take(lot: Lot, nanos: int) -> list[tuple[Piece, int, int]]:
    """Take the first shares of a lot: pieces as sold, and what wash sales had added to them.

    Returns:
        Pieces, each with the cents added and the part of them that the broker knows of.
    """
    taken: list[tuple[Piece, int, int]] = []
    while lot.pieces:
        piece = lot.pieces[0]
        if nanos == 0 and piece.nanos:
            break
        part = min(piece.nanos, nanos)
        taken.append((replace(piece, nanos=part), piece.added(part), piece.known(part)))
        nanos -= part
        if part == piece.nanos:
            lot.pieces.pop(0)
        else:
            piece.nanos -= part
            piece.gone += part if piece.run else 0
    return taken


def rescale(lot: Lot, nanos: int) -> None:
    """Let a lot hold another number of shares; what its pieces carry stays.

    Raises:
        ValueError: If there are shares after, but none before.
    """
    require(nanos >= 0, f"lot {lot.id} becomes negative")
    after = spread(nanos, [piece.nanos for piece in lot.pieces])
    require(nanos == 0 or lot.nanos > 0, f"lot {lot.id} has no shares to split")
    for piece, left in zip(lot.pieces, after, strict=True):
        settle(piece, left, piece.added(piece.nanos), piece.known(piece.nanos))
    lot.nanos = nanos


def settle(piece: Piece, nanos: int, cents: int, broker_cents: int) -> None:
    """Let a piece begin again with so many shares that carry so much."""
    piece.nanos, piece.cents, piece.run, piece.gone = nanos, cents, nanos if cents else 0, 0
    piece.broker_cents = broker_cents


def part_of(cents: int, gone: int, nanos: int, run: int) -> int:
    """Return what `nanos` shares after the first `gone` carry, of `cents` on `run` shares."""
    return round_ratio(cents * (gone + nanos), run) - round_ratio(cents * gone, run)


def known_of(broker_cents: int, cents: int, spot: tuple[int, int, int]) -> int:
    """Return how much of what shares carry is of the part that a broker knows of.

    It follows the cents, not the shares, so that it is never negative nor more than they carry.

    Args:
        broker_cents: Of the whole run, at most `cents`.
        cents: On the whole run.
        spot: Shares of the run before these, these, and all of the run.
    """
    gone, nanos, run = spot
    before, after = round_ratio(cents * gone, run), round_ratio(cents * (gone + nanos), run)
    return ratio_of(broker_cents, after, cents) - ratio_of(broker_cents, before, cents)


def ratio_of(cents: int, moved: int, whole: int) -> int:
    """Return the part of an amount that goes along when `moved` of a `whole` does."""
    return round_ratio(cents * moved, whole) if whole else 0


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """Split by largest remainder; where nobody has a share, the first gets all."""
    if len(weights) == 1:
        return [total]
    if any(weights):
        return split_cents(total, weights)
    return [total, *[0] * (len(weights) - 1)]


def require(holds: bool, message: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Refuse what does not fit the books.

    Raises:
        ValueError: If the condition does not hold.
    """
    if not holds:
        raise ValueError(message)
