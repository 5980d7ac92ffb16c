"""The step that sells names which an account should hold no longer, as far as its taxes allow.

Losses go first and gains as far as the year's budget reaches, lot by lot, cheapest tax first; what
stays has a reason. Shares that may not be sold at all are left alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import BoolArray, IntArray
from robo.services import assessing
from robo.services.asking import EPOCH, TaxSide, gain_room
from robo.services.ordering import Plan, Trade
from robo.services.quoting import Board
from robo.store import chunks, lot_chunks
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk
from robo.tax import arrays as tax_arrays

_CODES: Final = (
    None,
    Reason.SKIP_RESTRICTED,
    Reason.SKIP_UNSETTLED,
    Reason.SKIP_WASH_LOSS,
    Reason.SKIP_GAIN_LIMIT,
    Reason.SKIP_NO_PRICE,
    Reason.SKIP_HALTED,
)
_FREE, _RESTRICTED, _UNSETTLED, _WASH, _GAIN, _NO_PRICE, _HALTED = range(7)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Lots that should go, (P,) each, and what stands against it."""

    lot: IntArray
    """Position among the lots read."""
    worth_cents: IntArray
    gain_cents: IntArray
    code: IntArray
    """Place in `_CODES`; 0 for what is sold."""


def plans(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    leaving: Mapping[AccountId, Collection[int]],
    board: Board,
    on: date,
    cause: str,
) -> list[Plan]:
    """Return what accounts sell of the names that leave them, and why they keep what they keep.

    Args:
        session: Of one snapshot.
        keyring: Opens what customers told us of their taxes.
        policy: Margins and minimums.
        leaving: Account -> securities it should hold no longer.
        board: Prices of these securities at least.
        on: The day of the trade.
        cause: Names the batch: the same cause sells once.
    """
    raw = chunks.read(session, sorted(leaving))
    ids = list(raw.account_ids)
    lots = lot_chunks.read(session, ids)
    names = np.unique(lots.security_id)
    tax = assessing.tax_side(session, keyring, policy, names, ids, lots, on)
    part = _part(raw, lots, tax, leaving, board, policy, on)
    return _plans(raw, lots, tax, part, policy, on, cause)


def _part(
    raw: chunks.RawChunk,
    lots: LotChunk,
    tax: TaxSide,
    leaving: Mapping[AccountId, Collection[int]],
    board: Board,
    policy: Policy,
    on: date,
) -> _Part:
    """Return the lots that should go, and which of them do."""
    today = (on - EPOCH).days
    keys = {(place, one) for place, a in enumerate(raw.account_ids) for one in leaving[a]}
    busy = {(o.account_id, o.security_id) for o in raw.open_orders}
    pairs = list(zip(lots.account.tolist(), lots.security_id.tolist(), strict=True))
    goes = np.array(
        [pair in keys and (raw.account_ids[pair[0]], pair[1]) not in busy for pair in pairs],
        dtype=np.bool_,
    )
    lot = np.flatnonzero(goes)
    security = lots.security_id[lot].tolist()
    price = np.array([board.price_micros.get(one, 0) for one in security], dtype=np.int64)
    worth = notional_cents(lots.nanos[lot], price)
    basis = tax.basis_cents[lot]
    code = np.zeros(lot.size, dtype=np.int64)
    # A small gain at the plan's price may be a loss at the fill's, and that loss would be washed.
    lowest = worth - worth * policy.wash_margin_ppm // PPM
    code[tax.no_loss[lot] & (lowest < basis)] = _WASH
    code[lots.hold_day[lot] > today] = _UNSETTLED
    code[_sell_blocked(raw, lots, lot)] = _RESTRICTED
    code[[board.stopped.get(one) is Reason.SKIP_HALTED for one in security]] = _HALTED
    code[price <= 0] = _NO_PRICE
    shy = worth * policy.price_margin_ppm // PPM
    made = _Part(lot, worth, worth - basis, code)
    return _within_budget(lots, tax, made, shy)


def _sell_blocked(raw: chunks.RawChunk, lots: LotChunk, lot: IntArray) -> BoolArray:
    """Return which lots the customer said to leave alone, (P,)."""
    blocked = {
        (place, security)
        for place, sleeve in enumerate(raw.sleeves)
        for security, rule in raw.restricted.get(sleeve.account_id, {}).items()
        if rule.sell_blocked
    }
    pairs = zip(lots.account[lot].tolist(), lots.security_id[lot].tolist(), strict=True)
    return np.array([pair in blocked for pair in pairs], dtype=np.bool_)


def _within_budget(lots: LotChunk, tax: TaxSide, part: _Part, shy: IntArray) -> _Part:
    """Return the part with the lots marked whose gain the year's budget does not reach.

    Lots are taken by rising gain per dollar; each counts with what its price may still rise, and a
    loss that outlives that counts as nothing: it makes room when it has been taken, because its
    sale may not fill when that of a gain does.
    """
    owner = lots.account[part.lot]
    free = part.code == _FREE
    ratio = part.gain_cents / np.maximum(part.worth_cents, 1)
    order = np.lexsort((part.lot, ratio, ~free, owner))
    counted = np.where(free, np.maximum(part.gain_cents + shy, 0), 0)[order]
    running = np.cumsum(counted)
    first = np.flatnonzero(np.diff(owner[order], prepend=-1) != 0)
    sizes = np.diff(np.append(first, order.size))
    before = np.repeat(running[first] - counted[first], sizes) if order.size else running
    limited = tax.taxes.gain_budget_cents[owner[order]] >= 0
    over = limited & (running - before > gain_room(tax.taxes)[owner[order]])
    code = part.code.copy()
    late = free[order] & over & (counted > 0)
    code[order[late]] = _GAIN
    return _Part(part.lot, part.worth_cents, part.gain_cents, code)


def _plans(
    raw: chunks.RawChunk,
    lots: LotChunk,
    tax: TaxSide,
    part: _Part,
    policy: Policy,
    on: date,
    cause: str,
) -> list[Plan]:
    today = (on - EPOCH).days
    long = tax_arrays.is_long(tax.held_day[part.lot], today)
    owner = lots.account[part.lot]
    rate = np.where(long, tax.taxes.long_rate_ppm[owner], tax.taxes.short_rate_ppm[owner])
    taxed = np.rint(part.gain_cents * rate / PPM).astype(np.int64)
    sold: dict[int, dict[int, list[int]]] = {}
    kept: dict[int, dict[int, Reason]] = {}
    for row, lot in enumerate(part.lot.tolist()):
        place, security = int(lots.account[lot]), int(lots.security_id[lot])
        why = _CODES[int(part.code[row])]
        if why is None:
            sold.setdefault(place, {}).setdefault(security, []).append(row)
        else:
            kept.setdefault(place, {}).setdefault(security, why)
    return [
        Plan(
            raw.sleeves[place],
            cause,
            tuple(
                _trade(lots, part, taxed, security, rows, policy)
                for security, rows in sold.get(place, {}).items()
            ),
            {
                security: why
                for security, why in kept.get(place, {}).items()
                if security not in sold.get(place, {})
            },
            effect=_effect(part, taxed, long, sold.get(place, {}), policy),
        )
        for place in sorted(sold.keys() | kept.keys())
    ]


def _effect(
    part: _Part,
    taxed: IntArray,
    long: BoolArray,
    sold: Mapping[int, Sequence[int]],
    policy: Policy,
) -> PlanEffect | None:
    """Return what the sales of one account do; None where it sells nothing."""
    rows = [one for some in sold.values() for one in some]
    if not rows:
        return None
    gain, worth = part.gain_cents[rows], int(part.worth_cents[rows].sum())
    return PlanEffect(
        before_ppm=0,
        after_ppm=0,
        tax_cents=int(taxed[rows].sum()),
        cost_cents=-(-worth * policy.trade_cost_ppm // PPM),
        short_gain_cents=int(gain[~long[rows]].sum()),
        long_gain_cents=int(gain[long[rows]].sum()),
        model_id="",
    )


def _trade(
    lots: LotChunk,
    part: _Part,
    taxed: IntArray,
    security_id: int,
    rows: Sequence[int],
    policy: Policy,
) -> Trade:
    named = tuple(
        (lots.lot_ids[int(part.lot[one])], int(lots.nanos[part.lot[one]])) for one in rows
    )
    worth = int(part.worth_cents[list(rows)].sum())
    return Trade(
        security_id=security_id,
        reason=Reason.SELL_LEFT_OUT,
        sell_nanos=sum(nanos for _, nanos in named),
        lots=named,
        gains=tuple(part.gain_cents[list(rows)].tolist()),
        effect=TradeEffect(
            int(taxed[list(rows)].sum()), -(-worth * policy.trade_cost_ppm // PPM), 0
        ),
    )
