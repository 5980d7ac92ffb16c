"""Which shares of an account's lots a sale closes: those it means, then the oldest."""

from dataclasses import replace
from datetime import date

from robo.core.ids import LotId, SecurityId
from robo.store.lots import OpenLot
from robo.tax import lots as tax_lots


def close(
    held: list[OpenLot], first: list[tuple[str, int]], nanos: int, net_cents: int, on: date
) -> list[tax_lots.Closing]:
    """Close the shares that a sale means, then first in first out, those on hold last.

    Keeps both lists true: what is held, and what the order still means.

    Args:
        held: The account's open lots of the name.
        first: Lots and nanoshares of each that the order means.
        nanos: What was sold; nothing closes nothing.
        net_cents: What it brought after fees.
        on: The day of the sale.

    Raises:
        ValueError: If the lots hold less.
    """
    if nanos == 0:
        return []
    # A lot that another sale of this very booking closed has nothing left to be closed again.
    held[:] = [lot for lot in held if lot.nanos or lot.basis_cents]
    today = on.isoformat()
    held.sort(key=lambda lot: (lot.hold_until > today, lot.acquired_on, lot.id))
    pure = [
        tax_lots.Lot(
            LotId(lot.id),
            SecurityId(lot.security_id),
            date.fromisoformat(lot.acquired_on),
            lot.nanos,
            lot.basis_cents,
        )
        for lot in held
    ]
    closings = tax_lots.close(pure, nanos, net_cents, first)
    sold: dict[str, int] = {closing.lot_id: closing.nanos for closing in closings}
    first[:] = [(lot_id, max(0, most - sold.get(lot_id, 0))) for lot_id, most in first]
    left = {closing.lot_id: closing for closing in closings}
    for place, lot in enumerate(held):
        if LotId(lot.id) in left:
            closing = left[LotId(lot.id)]
            held[place] = replace(
                lot,
                nanos=lot.nanos - closing.nanos,
                basis_cents=lot.basis_cents - closing.basis_cents,
            )
    return closings
