"""Lots as the year's last sessions see them: what may be sold for a target, and why others stay."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock
from robo.core.ids import AccountId, LotId
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import BoolArray, IntArray
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import assessing, inquiring
from robo.services.asking import EPOCH, TaxSide, fallen
from robo.services.quoting import Board, board
from robo.store import chunks, lot_chunks
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk
from robo.tax import arrays as tax_arrays
from robo.tax.year_target import Closing, Offer

_STAYS: Final[tuple[Reason | None, ...]] = (
    None,
    Reason.SKIP_UNSETTLED,
    Reason.SKIP_RESTRICTED,
    Reason.SKIP_NO_PRICE,
    Reason.SKIP_HALTED,
    Reason.SKIP_WASH_LOSS,
    Reason.SKIP_NOT_TRADABLE,
)
_FREE, _UNSETTLED, _RESTRICTED, _NO_PRICE, _HALTED, _WASH, _UNTRADED = range(7)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """The lots of some accounts as the last sessions see them; arrays of shape (L,)."""

    raw: chunks.RawChunk
    lots: LotChunk
    tax: TaxSide
    worth_cents: IntArray
    """After the cost of selling."""
    stays: IntArray
    """Place in `_STAYS` of why a lot cannot go, whatever is wanted."""
    masked: BoolArray
    """At a loss today, or after a fall before the fill, it would be washed."""
    long: BoolArray
    seen: Board

    @property
    def gain_cents(self) -> IntArray:
        """Return what selling each lot realises, (L,)."""
        return self.worth_cents - self.tax.basis_cents


def read(
    session: Session,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    account_ids: Sequence[AccountId],
    on: date,
) -> Shelf:
    """Return the lots of some accounts on a day."""
    raw = chunks.read(session, account_ids)
    ids = list(raw.account_ids)
    lots = lot_chunks.read(session, ids)
    names = np.unique(lots.security_id)
    lots, tax = assessing.tax_side(session, keyring, policy, names, ids, lots, on)
    limits = inquiring.limits(session, broker, clock.now())
    seen = limits.on(board(prices, names.tolist(), clock.now()))
    price = np.array([seen.price_micros.get(s, 0) for s in lots.security_id.tolist()], np.int64)
    worth = notional_cents(lots.nanos, price)
    worth -= -(-worth * policy.trade_cost_ppm // PPM)
    lowest = fallen(worth, policy.wash_margin_ppm)
    today = (on - EPOCH).days
    return Shelf(
        raw=raw,
        lots=lots,
        tax=tax,
        worth_cents=worth,
        stays=_stays(raw, lots, seen, price, today),
        masked=(tax.no_loss | tax.whole_only) & (lowest < tax.basis_cents),
        long=tax_arrays.is_long(tax.held_day, today),
        seen=seen,
    )


def _stays(
    raw: chunks.RawChunk, lots: LotChunk, seen: Board, price: IntArray, today: int
) -> IntArray:
    """Return why lots cannot go, as places in `_STAYS`, (L,)."""
    busy = {(order.account_id, order.security_id) for order in raw.open_orders}
    pairs = list(zip(lots.account.tolist(), lots.security_id.tolist(), strict=True))
    waits = [(raw.account_ids[place], security) in busy for place, security in pairs]
    barred = [s in raw.restricted.get(raw.sleeves[place].account_id, {}) for place, s in pairs]
    halted = [seen.stopped.get(security) is Reason.SKIP_HALTED for _, security in pairs]
    gone = [seen.stopped.get(security) is Reason.SKIP_NOT_TRADABLE for _, security in pairs]
    return np.select(
        [
            np.array(barred, dtype=np.bool_),
            np.array(halted, dtype=np.bool_),
            price <= 0,
            np.array(gone, dtype=np.bool_),
            np.array(waits, dtype=np.bool_) | (lots.hold_day > today),
        ],
        [_RESTRICTED, _HALTED, _NO_PRICE, _UNTRADED, _UNSETTLED],
        _FREE,
    ).astype(np.int64)


def offered(
    shelf: Shelf, mine: IntArray, wanted: int
) -> tuple[list[Offer], list[Closing], dict[tuple[int, int], Reason]]:
    """Return what may be sold for a wanted gain or loss, and why other lots that fit stay.

    Args:
        shelf: The lots.
        mine: Places of the customer's, (M,).
        wanted: Cents, not 0.
    """
    tax, lots, gain = shelf.tax, shelf.lots, shelf.gain_cents
    stays = shelf.stays.copy()
    fits = gain < 0 if wanted < 0 else gain > 0
    if wanted > 0:
        fits &= shelf.long | ~tax.aim.long_only[lots.account]
    key = lots.account << 32 | lots.security_id
    stuck = key[tax.is_fresh & (stays != _FREE)]
    together = tax.closes & ~np.isin(key, stuck) & (wanted < 0)
    stays[(stays == _FREE) & shelf.masked & ~together] = _WASH
    free = stays == _FREE
    alone = mine[(fits & free & ~(shelf.masked & together))[mine]]
    offers = [_offer(shelf, lot) for lot in alone.tolist()]
    fresh: dict[int, list[int]] = {}
    rest: dict[int, list[int]] = {}
    for lot in mine[(together & free)[mine]].tolist():
        if tax.is_fresh[lot]:
            fresh.setdefault(int(key[lot]), []).append(lot)
        elif shelf.masked[lot] and fits[lot]:
            rest.setdefault(int(key[lot]), []).append(lot)
    closings = [
        Closing(_offers(shelf, some), _offers(shelf, rest.get(name, ())))
        for name, some in sorted(fresh.items())
    ]
    kept = {
        (int(lots.account[lot]), int(lots.security_id[lot])): why
        for lot in mine[(fits & ~free)[mine]].tolist()
        if (why := _STAYS[int(stays[lot])]) is not None
    }
    return offers, closings, kept


def _offers(shelf: Shelf, lots: Iterable[int]) -> tuple[Offer, ...]:
    return tuple(_offer(shelf, lot) for lot in lots)


def _offer(shelf: Shelf, lot: int) -> Offer:
    return Offer(
        LotId(str(lot)),
        int(shelf.lots.nanos[lot]),
        int(shelf.tax.basis_cents[lot]),
        int(shelf.worth_cents[lot]),
    )
