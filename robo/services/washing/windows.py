"""What a day forbids some accounts because of wash sales, and what earlier ones did to their lots.

Names and dates only: it says neither who in a household sold or bought, nor how much.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import count, groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from robo.core.ids import AccountId, LotId, SecurityId
from robo.core.reasons import Reason
from robo.services.washing import histories
from robo.services.washing.histories import History
from robo.store import households, orders, tax_profiles
from robo.store.lots import OpenLot
from robo.tax import arrays
from robo.tax.harvest import Masks
from robo.tax.wash_events import AccountKind
from robo.tax.wash_lots import Lot, spread
from robo.tax.wash_sales import WINDOW, Books

IntArray = NDArray[np.int64]
_EPOCH: Final = date(1970, 1, 1)
_AFTER: Final = WINDOW + timedelta(days=1)
_NONE: Final = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What wash sales did to an open lot: cents on its basis, and since when it counts as held.

    Where parts of a lot differ, the date is that of the part which is sold first.
    """

    added_cents: int
    held_from: date
    parts: tuple["Part", ...] = ()
    """The parts that differ, in the order in which they are sold; none where all is alike."""


@dataclass(frozen=True, slots=True)
class Part:
    """Shares of a lot that stand alike: what was paid for them, what was added, held since when."""

    nanos: int
    basis_cents: int
    added_cents: int
    held_from: date


@dataclass(frozen=True, slots=True)
class Fresh:
    """A lot, or a planned purchase, that would replace shares sold at a loss."""

    lot_id: LotId | None
    """None for a purchase that is planned for the day."""
    bought_on: date
    in_ira: bool

    def forbids(self, *, accepts: bool) -> bool:
        """Return whether it forbids a sale at a loss to who accepts deferral, or does not.

        Deferral is into shares bought before: an open purchase may still fill after the sale.
        """
        return self.in_ira or self.lot_id is None or not accepts


@dataclass(slots=True)
class _Unit:
    """People who count together."""

    number: int
    bans: dict[int, date] = field(default_factory=dict)
    open_sales: dict[int, date] = field(default_factory=dict)
    """Bans by open sales of which nobody knows yet whether they end at a loss."""
    fresh: dict[int, list[Fresh]] = field(default_factory=dict)

    def ban(self, security_id: int, until: date) -> None:
        self.bans[security_id] = max(until, self.bans.get(security_id, until))

    def all_bans(self) -> dict[int, date]:
        """Return every ban there is, open sales taken for losses; the later day of two."""
        later = {
            name: max(until, self.bans.get(name, until)) for name, until in self.open_sales.items()
        }
        return self.bans | later

    def freshen(self, security_id: int, one: Fresh) -> None:
        self.fresh.setdefault(security_id, []).append(one)


@dataclass(frozen=True, slots=True)
class Window:
    """What the day forbids each of some accounts; made by `window`."""

    on: date
    history: History
    kinds: Mapping[AccountId, AccountKind]
    accepts: Mapping[AccountId, bool]
    """Whether losses may be deferred into shares bought before."""
    adjusted: Mapping[LotId, Adjusted]
    """Open lots on which wash sales have left something; all others are as they were bought."""
    units: Mapping[AccountId, _Unit]

    def no_purchase(self, account_id: AccountId) -> dict[SecurityId, date]:
        """Return the names that may not be bought, and the first day on which they may."""
        bans = self.units[account_id].all_bans()
        return {SecurityId(name): until for name, until in sorted(bans.items())}

    def undecided(self, account_id: AccountId) -> frozenset[int]:
        """Return the names that only an open sale forbids to buy, which may end at a gain."""
        unit = self.units[account_id]
        return frozenset(unit.open_sales.keys() - unit.bans.keys())

    def masks(self, account_id: AccountId, lots: Sequence[OpenLot]) -> Masks:
        """Return what one account may not do; see `harvest.masks`."""
        unit = self.units[account_id]
        no_loss: dict[LotId, date] = {}
        whole_only: dict[LotId, date] = {}
        taxed, accepts = self.kinds[account_id] is AccountKind.TAXABLE, self.accepts[account_id]
        for lot in lots if taxed else ():
            beside = unit.fresh.get(lot.security_id, ())
            found = [one for one in beside if one.forbids(accepts=accepts)]
            others = [one.bought_on for one in found if one.lot_id != lot.id]
            if others:
                no_loss[LotId(lot.id)] = max(others) + _AFTER
            elif found:
                whole_only[LotId(lot.id)] = found[0].bought_on + _AFTER
        return Masks(self.no_purchase(account_id), no_loss, whole_only)

    def fresh_beside(
        self, account_id: AccountId, security_id: int, lot_ids: Collection[str]
    ) -> bool:
        """Return whether selling lots of a name whole and together, at a loss, would be washed.

        It would where anything else of the name is fresh: shares sold do not replace themselves.
        """
        if self.kinds[account_id] is AccountKind.IRA:
            return False
        found = self.units[account_id].fresh.get(security_id, ())
        accepts = self.accepts[account_id]
        return any(one.lot_id not in lot_ids and one.forbids(accepts=accepts) for one in found)

    def arrays(
        self,
        account_ids: Sequence[AccountId],
        security_ids: Sequence[int],
        holding_account: IntArray,
        holding_name: IntArray,
        lot_indptr: IntArray,
        lot_ids: Sequence[str],
    ) -> arrays.MaskArrays:
        """Return the same as arrays, for planners.

        Args:
            account_ids: (A,), of this window.
            security_ids: (N,), the columns.
            holding_account: Row of each holding's account, (H,).
            holding_name: Column of each holding's name, (H,).
            lot_indptr: (H + 1,).
            lot_ids: (L,), holding by holding.
        """
        column = {name: place for place, name in enumerate(security_ids)}
        spot = {lot: place for place, lot in enumerate(lot_ids)}
        units = {unit.number: unit for unit in (self.units[one] for one in account_ids)}
        bans = [
            (unit.number, column[name], _day(until))
            for unit in units.values()
            for name, until in unit.all_bans().items()
            if name in column
        ]
        fresh = [
            (unit.number, column[name], _day(one.bought_on), spot.get(one.lot_id or "", -1), *no)
            for unit in units.values()
            for name, found in unit.fresh.items()
            if name in column
            for one in found
            for no in ((int(one.in_ira), int(one.lot_id is None)),)
        ]
        owners = arrays.Owners(
            household=_ints([self.units[one].number for one in account_ids]),
            is_ira=np.array([self.kinds[one] is AccountKind.IRA for one in account_ids], np.bool_),
            buy_buy_sell=np.array([self.accepts[one] for one in account_ids], np.bool_),
            holding_account=holding_account,
            holding_name=holding_name,
            lot_indptr=lot_indptr,
        )
        ban_rows = [_ints(column) for column in zip(*bans, strict=True)] or [_NONE] * 3
        # Column by column: an array of tuples is five times as slow, and there are thousands.
        rows = [_ints(column) for column in zip(*fresh, strict=True)] or [_NONE] * 6
        return arrays.masks(
            owners,
            arrays.Bans(*ban_rows),
            arrays.FreshLots(
                household=rows[0],
                name=rows[1],
                bought_day=rows[2],
                lot=rows[3],
                in_ira=rows[4].astype(np.bool_),
                is_open=rows[5].astype(np.bool_),
            ),
            len(security_ids),
            _day(self.on),
        )


def window(
    session: Session, account_ids: Sequence[AccountId], on: date, *, planned: bool = True
) -> Window:
    """Return what a day forbids some accounts: their households' history, and orders still open.

    Args:
        session: Of one snapshot.
        account_ids: Any accounts of ours; thousands cost a few queries.
        on: The day of the trade; what was booked on it so far counts.
        planned: Whether open orders count, as they must for plans; what they forbid is over when
            they end otherwise, and tells of them.
    """
    owned = households.owners_of(session, list(account_ids))
    customers = sorted({one.customer_id for one in owned.values()})
    history = histories.read(session, customers, on)
    return of_history(session, history, account_ids, planned=planned)


def of_history(
    session: Session, history: History, account_ids: Sequence[AccountId], *, planned: bool = True
) -> Window:
    """Return the window of accounts whose people's history was read."""
    known, on = history.known, history.on
    units: dict[str, _Unit] = {}
    numbers = count()
    for account_id in account_ids:
        customer = history.owner[account_id]
        if customer not in units:
            made = _Unit(next(numbers))
            units |= dict.fromkeys(known.together(customer, on), made)
    adjusted: dict[LotId, Adjusted] = {}
    _recent(history, units)
    _folded(history, units, adjusted)
    if planned:
        _planned(session, history, units)
    kinds = {one: known.accounts[history.owner[one]][one] for one in account_ids}
    choices = tax_profiles.choices(session, sorted({history.owner[one] for one in account_ids}))
    none = tax_profiles.Choice()
    accepts = {one: bool(choices.get(history.owner[one], none).buy_buy_sell) for one in account_ids}
    by_account = {one: units[history.owner[one]] for one in account_ids}
    return Window(on, history, kinds, accepts, adjusted, by_account)


def _recent(history: History, units: Mapping[str, _Unit]) -> None:
    """Say what follows from the last 30 days where nothing was ever disallowed."""
    first = (history.on - WINDOW).isoformat()
    for loss in history.losses:
        unit = units.get(history.owner[loss.account_id])
        if unit is None or loss.on_date < first:
            continue
        if not history.is_folded(loss.account_id, loss.security_id):
            unit.ban(loss.security_id, date.fromisoformat(loss.on_date) + _AFTER)
    for account_id, lots in groupby(history.fresh, key=lambda lot: lot.account_id):
        customer = history.owner[account_id]
        if customer not in units:
            continue
        unit, folded = units[customer], history.folded.get(customer, frozenset())
        in_ira = history.known.accounts[customer][account_id] is AccountKind.IRA
        for lot in lots:
            if lot.security_id not in folded:
                one = Fresh(LotId(lot.lot_id), _date(lot.acquired_on), in_ira)
                unit.freshen(lot.security_id, one)


def _folded(history: History, units: Mapping[str, _Unit], adjusted: dict[LotId, Adjusted]) -> None:
    """Say what the books say of the names that were folded."""
    seen: set[int] = set()
    for customer, unit in units.items():
        if unit.number in seen:
            continue
        seen.add(unit.number)
        for books in history.books.get(customer, ()):
            for name, until in books.bans(history.on).items():
                unit.ban(name, until)
            for one in books.fresh(history.on):
                unit.freshen(one.security_id, Fresh(one.lot_id, one.bought_on, one.in_ira))
            adjusted |= _adjusted(books)


def _adjusted(books: Books) -> dict[LotId, Adjusted]:
    """Return the lots on which wash sales have left something."""
    found: dict[LotId, Adjusted] = {}
    for lot in books.shelf:
        added = sum(piece.added(piece.nanos) for piece in lot.pieces)
        first = next((piece for piece in lot.pieces if piece.nanos), None)
        if first is not None and (added or first.held_from != lot.bought_on):
            found[lot.id] = Adjusted(added, first.held_from, _parts(lot))
    return found


def _parts(lot: Lot) -> tuple[Part, ...]:
    """Return the parts of a lot that differ; those of nothing added and one date are one."""
    paid = spread(lot.basis_cents, [piece.nanos for piece in lot.pieces])
    found: list[Part] = []
    for piece, cents in zip(lot.pieces, paid, strict=True):
        one = Part(piece.nanos, cents, piece.added(piece.nanos), piece.held_from)
        last = found[-1] if found else None
        plain = last is not None and not (last.added_cents or one.added_cents)
        if last is not None and plain and last.held_from == one.held_from:
            found[-1] = replace(
                last, nanos=last.nanos + one.nanos, basis_cents=last.basis_cents + cents
            )
        elif one.nanos:
            found.append(one)
    return tuple(found) if len(found) > 1 else ()


def _planned(session: Session, history: History, units: Mapping[str, _Unit]) -> None:
    """Count orders that have not ended: buys as fresh, sales as if all of them were at a loss.

    Only a harvest is sure to be one.
    """
    wanted = [account for account in history.known.ours if history.owner[account] in units]
    for order in orders.open_orders(session, wanted):
        customer = history.owner[order.account_id]
        kind = history.known.accounts[customer][order.account_id]
        if order.side == "buy":
            one = Fresh(None, history.on, kind is AccountKind.IRA)
            units[customer].freshen(order.security_id, one)
        elif kind is not AccountKind.TAXABLE:
            continue
        elif order.reason == Reason.SELL_HARVEST:
            units[customer].ban(order.security_id, history.on + _AFTER)
        else:
            units[customer].open_sales[order.security_id] = history.on + _AFTER


def _ints(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


@lru_cache(maxsize=1_024)
def _day(on: date) -> int:
    return (on - _EPOCH).days


@lru_cache(maxsize=1_024)
def _date(text: str) -> date:
    return date.fromisoformat(text)
