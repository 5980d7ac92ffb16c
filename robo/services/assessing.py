"""The tax side of a plan: rates, budgets, masks and bases of many accounts, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.ids import AccountId, LotId
from robo.core.policy import Policy
from robo.portfolio.problem import BoolArray, IntArray, Taxes, TaxMode
from robo.services.asking import EPOCH, NO_LIMIT, Aim, TaxSide
from robo.services.taxing import standings
from robo.services.taxing.standings import Standing
from robo.services.washing.windows import Window
from robo.store import effects
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk
from robo.tax.arrays import MaskArrays
from robo.tax.wash_events import AccountKind
from robo.tax.year_target import mode_towards

_CARRY_PPM: Final = 700_000
"""Present value of a dollar of tax saved by a loss that waits for later years; used by netting."""


def tax_side(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    names: IntArray,
    account_ids: Sequence[AccountId],
    lots: LotChunk,
    on: date,
) -> tuple[LotChunk, TaxSide]:
    """Return what taxes say of accounts on a day; lots are those of the accounts, in their order.

    Where wash sales left the parts of a lot unlike, each is a lot of its own in what is returned,
    with its own basis and holding period. Sales take the first part first, so the others are on
    hold until the next session; and it is no replacement for its own rest.

    Names are the columns of the masks, security ids rising: those of a model, or any others.

    An IRA pays no tax and counts no gain, but its purchases are masked like everybody's.
    """
    window, found = standings.of_accounts(session, keyring, policy, account_ids, on)
    planned = effects.open_gains(session, [one.customer_id for one in found.values()])
    taxed = np.array([window.kinds[one] is AccountKind.TAXABLE for one in account_ids])
    no_buy, masks = _masks(window, names, account_ids, lots)
    basis, held = _bases(window, lots)
    mine = [found[one] for one in account_ids]
    aim = _aim(session, mine, taxed.astype(np.bool_), planned)
    side = TaxSide(
        taxes=_taxes(mine, taxed.astype(np.bool_), planned, aim),
        basis_cents=basis,
        held_day=held,
        no_loss=masks.no_loss,
        whole_only=masks.whole_only,
        is_fresh=masks.is_fresh,
        closes=masks.closes,
        no_buy=no_buy,
        aim=aim,
        undecided=tuple(window.undecided(one) for one in account_ids),
    )
    return _parted(window, lots, side, (on - EPOCH).days)


def _aim(
    session: Session, found: Sequence[Standing], taxed: BoolArray, planned: Mapping[str, int]
) -> Aim:
    """Return what each account's owner still wants to realise, open sales counted as planned."""
    has = taxed & np.array([one.to_target_cents is not None for one in found], dtype=np.bool_)
    if not has.any():
        return Aim.none(len(found))
    owners = [one.customer_id for one, aims in zip(found, has.tolist(), strict=True) if aims]
    coming = effects.open_nets(session, owners)
    wanted = [(one.to_target_cents or 0) - coming.get(one.customer_id, 0) for one in found]
    bracket = np.array([one.choice.target == "zero_bracket" for one in found], dtype=np.bool_)
    room = [_left(one.allowed_cents, planned.get(one.customer_id, 0)) for one in found]
    allowed = np.array([NO_LIMIT if one < 0 else one for one in room], dtype=np.int64)
    return Aim(has, np.where(has, np.array(wanted, dtype=np.int64), 0), has & bracket, allowed)


def _taxes(
    found: Sequence[Standing], taxed: BoolArray, planned: Mapping[str, int], aim: Aim
) -> Taxes:
    """Return rates, modes and budgets; open sales count in the mode that a target leads to."""

    def each(values: Sequence[int], none: int = 0) -> IntArray:
        return np.where(taxed, np.array(values, dtype=np.int64), none).astype(np.int64)

    zero = np.zeros(len(found), dtype=np.int64)
    modes = [
        mode_towards(cents) if has else one.mode
        for one, has, cents in zip(found, aim.has.tolist(), aim.wanted_cents.tolist(), strict=True)
    ]
    return Taxes(
        short_rate_ppm=each([one.rates.short_ppm for one in found]),
        long_rate_ppm=each([one.rates.long_ppm for one in found]),
        ordinary_rate_ppm=each([one.rates.ordinary_ppm for one in found]),
        mode=each([int(one) for one in modes], int(TaxMode.NEUTRAL)),
        # The budget is handed over as what is left of it, so the year counts as nothing here.
        year_short_cents=zero,
        year_long_cents=zero,
        ordinary_limit_cents=zero,
        carry_ppm=np.full(len(found), _CARRY_PPM, dtype=np.int64),
        gain_budget_cents=each(
            [_left(one.budget_left_cents, planned.get(one.customer_id, 0)) for one in found], -1
        ),
        recapture_ppm=each([one.recapture_ppm for one in found]),
        netting=np.zeros(len(found), dtype=np.bool_),
    )


def _left(allowed_cents: int | None, planned_cents: int) -> int:
    """Return what is left of a gain budget after open sales; -1 where there is no limit."""
    if allowed_cents is None:
        return -1
    return max(0, allowed_cents - planned_cents)


def _masks(
    window: Window, columns: IntArray, account_ids: Sequence[AccountId], lots: LotChunk
) -> tuple[BoolArray, MaskArrays]:
    """Return names not to be bought, (A, N), and what the day says of lots."""
    names = np.union1d(columns, lots.security_id)
    column = np.searchsorted(names, lots.security_id)
    keys = lots.account * names.size + column
    first = np.flatnonzero(np.diff(keys, prepend=-1) != 0)
    masks = window.arrays(
        account_ids,
        names.tolist(),
        lots.account[first],
        column[first],
        np.append(first, keys.size).astype(np.int64),
        lots.lot_ids,
    )
    mine = np.searchsorted(names, columns)
    return (masks.rule[:, mine] & 1) > 0, masks


def _bases(window: Window, lots: LotChunk) -> tuple[IntArray, IntArray]:
    """Return basis in cents and held-from day of lots, with what wash sales did to them."""
    basis, held = lots.basis_cents.copy(), lots.acquired_day.copy()
    if window.adjusted:
        spot: Mapping[str, int] = {lot: place for place, lot in enumerate(lots.lot_ids)}
        for lot_id, found in window.adjusted.items():
            if lot_id in spot:
                basis[spot[lot_id]] += found.added_cents
                held[spot[lot_id]] = (found.held_from - EPOCH).days
    return basis, held


def _parted(window: Window, lots: LotChunk, side: TaxSide, today: int) -> tuple[LotChunk, TaxSide]:
    """Return lots and what taxes say of them with unlike parts of a lot apart."""
    unlike = {
        place: window.adjusted[LotId(lot)].parts
        for place, lot in enumerate(lots.lot_ids if window.adjusted else ())
        if lot in window.adjusted and window.adjusted[LotId(lot)].parts
    }
    if not unlike:
        return lots, side
    count = np.ones(len(lots.lot_ids), dtype=np.int64)
    count[list(unlike)] = [len(parts) for parts in unlike.values()]
    row = np.repeat(np.arange(count.size), count)
    start = np.cumsum(count) - count
    nanos, paid, hold = lots.nanos[row], lots.basis_cents[row], lots.hold_day[row]
    basis, held = side.basis_cents[row], side.held_day[row]
    for place, parts in unlike.items():
        mine = slice(int(start[place]), int(start[place]) + len(parts))
        nanos[mine] = [one.nanos for one in parts]
        paid[mine] = [one.basis_cents for one in parts]
        basis[mine] = [one.basis_cents + one.added_cents for one in parts]
        held[mine] = [(one.held_from - EPOCH).days for one in parts]
        hold[mine][1:] = np.maximum(hold[mine][1:], today + 1)
    found = LotChunk(
        tuple(lots.lot_ids[one] for one in row.tolist()),
        lots.account[row],
        lots.security_id[row],
        lots.acquired_day[row],
        nanos,
        paid,
        hold,
    )
    return found, replace(
        side,
        basis_cents=basis,
        held_day=held,
        no_loss=side.no_loss[row] | (side.whole_only[row] & (count > 1)[row]),
        whole_only=side.whole_only[row],
        is_fresh=side.is_fresh[row],
        closes=side.closes[row],
    )
