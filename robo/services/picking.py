"""Which lots a sale means, where nobody has planned them: as its customer's tax profile says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from robo.core.ids import AccountId, LotId, SecurityId
from robo.core.money import notional_cents
from robo.services.taxing.standings import Standing
from robo.services.washing.windows import Window
from robo.store.lots import OpenLot
from robo.tax import lots as tax_lots
from robo.tax import selection
from robo.tax.rates import Rates
from robo.tax.selection import LotMethod
from robo.tax.wash_events import AccountKind

Picks = tuple[tuple[str, int], ...]
"""Lots and nanoshares of each, in the order in which they go; empty: first in, first out."""
Picker = Callable[[Sequence[OpenLot], int, int], Picks]
"""Says which of some lots of one name a sale means, from nanoshares and price in micro-dollars."""


def oldest_first(held: Sequence[OpenLot], nanos: int, price_micros: int) -> Picks:
    """Name no lots: the oldest go first."""
    del held, nanos, price_micros
    return ()


def as_told(window: Window, standing: Standing, account_id: AccountId) -> Picker:
    """Return a picker of lots by the method that an account's owner told us; else of least tax.

    It holds for all shares alike: losses that the method takes may be disallowed, which is meant
    where a customer takes money out. An IRA, where it makes no difference, sells the oldest first.
    """
    if window.kinds[account_id] is AccountKind.IRA:
        return oldest_first
    method = standing.told.lot_method
    if method is LotMethod.FIFO:
        return _oldest
    return _dearest(window) if method is LotMethod.HIFO else least_tax(window, standing, account_id)


def least_tax(window: Window, standing: Standing, account_id: AccountId) -> Picker:
    """Return a picker of the lots whose sale costs an account's owner the least.

    Bases and holding periods are those after wash sales, and a loss that would be disallowed counts
    as none. For who has told us nothing of their taxes it is the rates that we assume, at which
    their losses are taken too.
    """
    rates = _ordered(standing.rates)

    def pick(held: Sequence[OpenLot], nanos: int, price_micros: int) -> Picks:
        masks = window.masks(account_id, held)
        pure = [adjusted(window, lot) for lot in held if lot.nanos]
        found = selection.lowest_tax(
            pure,
            nanos,
            notional_cents(nanos, price_micros, "down"),
            window.on,
            rates,
            deferred={*masks.no_loss, *masks.whole_only},
        )
        return _in_order(pure, found)

    return pick


def _oldest(held: Sequence[OpenLot], nanos: int, price_micros: int) -> Picks:
    """Name the shares bought first: days that a wash sale adds to a holding period are no purchase.

    Named one by one, because what may not be sold yet is not among them.
    """
    del price_micros
    pure = [_bought(lot) for lot in held if lot.nanos]
    return _in_order(pure, selection.first_in(pure, nanos))


def _dearest(window: Window) -> Picker:
    """Return a picker of the shares with the highest basis, after wash sales."""

    def pick(held: Sequence[OpenLot], nanos: int, price_micros: int) -> Picks:
        del price_micros
        pure = [adjusted(window, lot) for lot in held if lot.nanos]
        return _in_order(pure, selection.highest_basis(pure, nanos))

    return pick


def _in_order(pure: Sequence[tax_lots.Lot], found: Sequence[selection.Pick]) -> Picks:
    """Return picks as booking takes them, whole lots first: the one that is split must be last."""
    size = {lot.id: lot.nanos for lot in pure}
    ordered = sorted(found, key=lambda one: one.nanos < size[one.lot_id])
    return tuple((one.lot_id, one.nanos) for one in ordered)


def _bought(lot: OpenLot) -> tax_lots.Lot:
    bought_on = date.fromisoformat(lot.acquired_on)
    return tax_lots.Lot(
        LotId(lot.id), SecurityId(lot.security_id), bought_on, lot.nanos, lot.basis_cents
    )


def adjusted(window: Window, lot: OpenLot) -> tax_lots.Lot:
    """Return a lot with the basis and the holding period that wash sales have left it."""
    made = _bought(lot)
    found = window.adjusted.get(made.id)
    if found is None:
        return made
    basis = lot.basis_cents + found.added_cents
    return replace(made, basis_cents=basis, acquired_on=found.held_from)


def _ordered(rates: Rates) -> Rates:
    """Return rates of which the short one is not below the long one: some states tax so."""
    return replace(rates, short_ppm=max(rates.short_ppm, rates.long_ppm))
