"""The step that sells names which an account should hold no longer, as far as its taxes allow.

Losses go first and gains as far as the year's budget reaches, lot by lot, cheapest tax first. Who
seeks gains keeps the losses, which would eat them up; who has a target for the year parts with no
more gain or loss than is still wanted. What stays has a reason.
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
from robo.portfolio.problem import BoolArray, IntArray, TaxMode
from robo.services import assessing
from robo.services.asking import EPOCH, TaxSide, fallen, gain_room
from robo.services.ordering import Plan, Trade
from robo.services.quoting import Board
from robo.store import accounts, chunks, lot_chunks
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
    Reason.SKIP_GAINS_WANTED,
    Reason.SKIP_YEAR_TARGET,
    Reason.SKIP_ORDER_OPEN,
    Reason.SKIP_ACCOUNT_BUSY,
    Reason.SKIP_NOT_TRADABLE,
)
_FREE, _RESTRICTED, _UNSETTLED, _WASH, _GAIN, _NO_PRICE, _HALTED = range(7)
_WANTED, _TARGET, _ORDERED, _BUSY, _UNTRADED = range(7, 12)


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
) -> list[Plan]:
    """Return what accounts sell of the names that leave them, and why they keep what they keep.

    Each name that is held or ordered has a sale or a reason, or both. The caller names the cause,
    and weighs what they do to risk.

    Args:
        session: Of one snapshot.
        keyring: Opens what customers told us of their taxes.
        policy: Margins and minimums.
        leaving: Account -> securities it should hold no longer.
        board: Prices of these securities at least.
        on: The day of the trade.
    """
    raw = chunks.read(session, sorted(leaving))
    ids = list(raw.account_ids)
    lots = lot_chunks.read(session, ids)
    names = np.unique(lots.security_id)
    lots, tax = assessing.tax_side(session, keyring, policy, names, ids, lots, on)
    ready = accounts.eligible(session, ids)
    part = _part(raw, lots, tax, leaving, board, policy, on, ready)
    ordered = {
        (place, one.security_id): Reason.SKIP_ORDER_OPEN
        for one in raw.open_orders
        for place in [ids.index(one.account_id)]
        if one.security_id in leaving[one.account_id]
    }
    return _plans(raw, lots, tax, part, ordered, board, policy, on)


def _part(
    raw: chunks.RawChunk,
    lots: LotChunk,
    tax: TaxSide,
    leaving: Mapping[AccountId, Collection[int]],
    board: Board,
    policy: Policy,
    on: date,
    ready: Collection[AccountId],
) -> _Part:
    """Return the lots that should go, and which of them do."""
    today = (on - EPOCH).days
    ids = raw.account_ids
    keys = {(place, one) for place, account in enumerate(ids) for one in leaving[account]}
    pairs = list(zip(lots.account.tolist(), lots.security_id.tolist(), strict=True))
    lot = np.flatnonzero(np.array([pair in keys for pair in pairs], dtype=np.bool_))
    owner = lots.account[lot]
    ordered = {(o.account_id, o.security_id) for o in raw.open_orders}
    waits = [(ids[pairs[one][0]], pairs[one][1]) in ordered for one in lot.tolist()]
    busy = np.array([account not in ready for account in ids], dtype=np.bool_)
    security = lots.security_id[lot].tolist()
    price = np.array([board.price_micros.get(one, 0) for one in security], dtype=np.int64)
    worth = notional_cents(lots.nanos[lot], price)
    basis = tax.basis_cents[lot]
    code = np.zeros(lot.size, dtype=np.int64)
    lowest = fallen(worth, policy.wash_margin_ppm)
    code[tax.no_loss[lot] & (lowest < basis)] = _WASH
    code[lots.hold_day[lot] > today] = _UNSETTLED
    code[_sell_blocked(raw, lots, lot)] = _RESTRICTED
    code[[board.stopped.get(one) is Reason.SKIP_HALTED for one in security]] = _HALTED
    code[[board.stopped.get(one) is Reason.SKIP_NOT_TRADABLE for one in security]] = _UNTRADED
    code[price <= 0] = _NO_PRICE
    code[np.array(waits, dtype=np.bool_)] = _ORDERED
    code[busy[owner]] = _BUSY
    shy = worth * policy.price_margin_ppm // PPM
    long = tax_arrays.is_long(tax.held_day[lot], today)
    made = _wanted(lots, tax, _Part(lot, worth, worth - basis, code), long)
    return _within_budget(lots, tax, made, shy)


def _sell_blocked(raw: chunks.RawChunk, lots: LotChunk, lot: IntArray) -> BoolArray:
    """Return which lots the customer said to leave alone, (P,)."""
    blocked = {
        (place, security)
        for place, sleeve in enumerate(raw.sleeves)
        for security, rule in raw.restricted.get(sleeve.account_id, {}).items()
        if rule.sell_blocked or rule.keeps
    }
    pairs = zip(lots.account[lot].tolist(), lots.security_id[lot].tolist(), strict=True)
    return np.array([pair in blocked for pair in pairs], dtype=np.bool_)


def _wanted(lots: LotChunk, tax: TaxSide, part: _Part, long: BoolArray) -> _Part:
    """Return the part with the lots marked that the tax mode or the year's target keeps.

    Who seeks gains takes no loss. Who aims at a target takes losses, the deepest first, while the
    year still wants them, and gains only while it wants those.
    """
    owner, gain, aim = lots.account[part.lot], part.gain_cents, tax.aim
    has, wanted = aim.has[owner], aim.wanted_cents[owner]
    loses = gain < 0
    code, free = part.code.copy(), part.code == _FREE
    code[free & ~has & loses & (tax.taxes.mode[owner] == TaxMode.REALISE)] = _WANTED
    off = np.where(loses, wanted >= 0, wanted <= 0) | (~loses & aim.long_only[owner] & ~long)
    code[free & has & off] = _TARGET
    counted = np.where((code == _FREE) & has & loses, gain, 0)
    order = np.lexsort((part.lot, gain / np.maximum(part.worth_cents, 1), owner))
    beyond = _running(owner[order], counted[order]) < wanted[order]
    code[order[beyond & (counted[order] < 0)]] = _TARGET
    return _Part(part.lot, part.worth_cents, gain, code)


def _running(owner: IntArray, counted: IntArray) -> IntArray:
    """Return running sums that begin anew with each owner; rows lie owner by owner."""
    running = np.cumsum(counted)
    first = np.flatnonzero(np.diff(owner, prepend=-1) != 0)
    if not first.size:
        return running
    sizes = np.diff(np.append(first, owner.size))
    return np.asarray(running - np.repeat(running[first] - counted[first], sizes))


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
    aims = tax.aim.has[owner[order]]
    room = gain_room(tax.taxes)[owner[order]]
    room = np.where(aims, np.minimum(room, np.maximum(tax.aim.wanted_cents[owner[order]], 0)), room)
    limited = aims | (tax.taxes.gain_budget_cents[owner[order]] >= 0)
    over = limited & (_running(owner[order], counted) > room)
    code = part.code.copy()
    late = free[order] & over & (counted > 0)
    code[order[late]] = np.where(aims[late], _TARGET, _GAIN)
    return _Part(part.lot, part.worth_cents, part.gain_cents, code)


def _plans(
    raw: chunks.RawChunk,
    lots: LotChunk,
    tax: TaxSide,
    part: _Part,
    ordered: Mapping[tuple[int, int], Reason],
    board: Board,
    policy: Policy,
    on: date,
) -> list[Plan]:
    today = (on - EPOCH).days
    long = tax_arrays.is_long(tax.held_day[part.lot], today)
    owner = lots.account[part.lot]
    rate = np.where(long, tax.taxes.long_rate_ppm[owner], tax.taxes.short_rate_ppm[owner])
    taxed = np.rint(part.gain_cents * rate / PPM).astype(np.int64)
    sold: dict[int, dict[int, list[int]]] = {}
    kept: dict[int, dict[int, Reason]] = {}
    for (place, security), reason in ordered.items():
        kept.setdefault(place, {})[security] = reason
    for row, lot in enumerate(part.lot.tolist()):
        place, security = int(lots.account[lot]), int(lots.security_id[lot])
        why = _CODES[int(part.code[row])]
        if why is None:
            sold.setdefault(place, {}).setdefault(security, []).append(row)
        else:
            kept.setdefault(place, {}).setdefault(security, why)
    for place, names in sold.items():
        for security, rows in list(names.items()):
            if board.is_stuck(security, int(lots.nanos[part.lot[rows]].sum())):
                del names[security]
                kept.setdefault(place, {})[security] = Reason.SKIP_WHOLE_SHARES
    # What was bought of late goes first: no fill that stops early then leaves it behind.
    for some in (some for mine in sold.values() for some in mine.values()):
        some.sort(key=lambda row: not tax.is_fresh[part.lot[row]])
    return [
        Plan(
            raw.sleeves[place],
            "",
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
        before_ppm=None,
        after_ppm=None,
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
            int(taxed[list(rows)].sum()), -(-worth * policy.trade_cost_ppm // PPM), None
        ),
    )
