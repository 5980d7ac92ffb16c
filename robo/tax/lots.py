"""Tax lots: which shares a sale takes, with basis and proceeds conserved to the cent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from robo.core.ids import LotId, SecurityId
from robo.core.money import round_ratio, split_cents


@dataclass(frozen=True, slots=True)
class Lot:
    """Shares bought together and still open.

    Attributes:
        nanos: What is open of it; may be zero with a basis left by rounding, see `close`.
        hold_until: Not to be sold before this date, None for no hold.
    """

    id: LotId
    security_id: SecurityId
    acquired_on: date
    nanos: int
    basis_cents: int
    hold_until: date | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """The part of a lot that a sale takes, with its basis and its share of the net proceeds."""

    lot_id: LotId
    nanos: int
    basis_cents: int
    proceeds_cents: int

    @property
    def gain_cents(self) -> int:
        """Return proceeds minus basis; negative for a loss."""
        return self.proceeds_cents - self.basis_cents


def free(lots: Iterable[Lot], on: date) -> list[Lot]:
    """Return the lots that may be sold on a day: not bought with money that settles later."""
    return [lot for lot in lots if lot.hold_until is None or lot.hold_until <= on]


def fifo(lots: Iterable[Lot]) -> list[Lot]:
    """Return the lots in the order of first in, first out; ties by id."""
    return sorted(lots, key=lambda lot: (lot.acquired_on, lot.id))


def close(
    ordered: Sequence[Lot],
    nanos: int,
    proceeds_cents: int,
    named: Sequence[tuple[str, int]] = (),
) -> list[Closing]:
    """Take shares from lots in the order given, those that were named before all others.

    A lot taken whole gives its whole basis; a part gives its exact share, rounded half away from
    zero, and the rest stays. Empty lots met on the way, or right after the last one taken, give up
    what rounding left in them: selling everything leaves no basis behind.
    Proceeds follow the nanoshares by largest remainder.

    Args:
        ordered: Lots of one security, for example from `fifo`.
        nanos: Nanoshares to take, positive.
        proceeds_cents: Net proceeds of all of it, not negative.
        named: Lots and nanoshares of each that go first, in this order; a lot that is not there
            or has less gives what it has.

    Raises:
        ValueError: If the lots hold less than is asked for.
    """
    held = {str(lot.id): lot for lot in ordered}
    parts: dict[str, int] = {}
    left = nanos
    for lot_id, most in named:
        part = min(held[lot_id].nanos, most, left) if lot_id in held else 0
        if part:
            parts[lot_id] = part
            left -= part
    for lot in ordered:
        before = parts.get(lot.id, 0)
        if left == 0 and lot.nanos > before:
            break
        part = min(lot.nanos - before, left)
        parts[lot.id] = before + part
        left -= part
    taken = [(held[lot_id], part) for lot_id, part in parts.items()]
    if left or nanos <= 0:
        message = "the lots hold less than is sold"
        raise ValueError(message)
    proceeds = split_cents(proceeds_cents, [part for _, part in taken])
    return [
        Closing(lot.id, part, _basis_of(lot, part), cents)
        for (lot, part), cents in zip(taken, proceeds, strict=True)
    ]


def rescale(lots: Sequence[Lot], nanos_after: int) -> list[int]:
    """Return the nanoshares of each lot after a split; they sum to the total, the basis stays.

    Raises:
        ValueError: If there are shares after, but none before.
    """
    if not lots:
        if nanos_after:
            message = "shares appeared where there were none"
            raise ValueError(message)
        return []
    return split_cents(nanos_after, [lot.nanos for lot in lots])


def _basis_of(lot: Lot, part: int) -> int:
    if part == lot.nanos:
        return lot.basis_cents
    return round_ratio(lot.basis_cents * part, lot.nanos)
