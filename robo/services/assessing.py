"""The tax side of a plan: rates, budgets, masks and bases of many accounts, as arrays."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.portfolio.problem import IntArray, Taxes, TaxMode
from robo.services.modelling import Model
from robo.services.solving import EPOCH, TaxSide
from robo.services.taxing import standings
from robo.services.taxing.standings import Standing
from robo.services.washing.windows import Window
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk
from robo.tax.wash_events import AccountKind

_CARRY_PPM: Final = 700_000
"""Present value of a dollar of tax saved by a loss that waits for later years; used by netting."""


def tax_side(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    model: Model,
    account_ids: Sequence[AccountId],
    lots: LotChunk,
    on: date,
) -> TaxSide:
    """Return what taxes say of accounts on a day; lots are those of the accounts, in their order.

    An IRA pays no tax and counts no gain, but its purchases are masked like everybody's.
    """
    window, found = standings.of_accounts(session, keyring, policy, account_ids, on)
    taxed = np.array([window.kinds[one] is AccountKind.TAXABLE for one in account_ids])
    no_buy, no_loss = _masks(window, model, account_ids, lots)
    basis, held = _bases(window, lots)
    return TaxSide(
        taxes=_taxes([found[one] for one in account_ids], taxed.astype(np.bool_)),
        basis_cents=basis,
        held_day=held,
        no_loss=no_loss,
        no_buy=no_buy,
    )


def _taxes(found: Sequence[Standing], taxed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Taxes:
    def each(values: Sequence[int], none: int = 0) -> IntArray:
        return np.where(taxed, np.array(values, dtype=np.int64), none).astype(np.int64)

    zero = np.zeros(len(found), dtype=np.int64)
    return Taxes(
        short_rate_ppm=each([one.rates.short_ppm for one in found]),
        long_rate_ppm=each([one.rates.long_ppm for one in found]),
        ordinary_rate_ppm=each([one.rates.ordinary_ppm for one in found]),
        mode=each([int(one.mode) for one in found], int(TaxMode.NEUTRAL)),
        # The budget is handed over as what is left of it, so the year counts as nothing here.
        year_short_cents=zero,
        year_long_cents=zero,
        ordinary_limit_cents=zero,
        carry_ppm=np.full(len(found), _CARRY_PPM, dtype=np.int64),
        gain_budget_cents=each([_limit(one) for one in found], -1),
        recapture_ppm=each([one.recapture_ppm for one in found]),
        netting=np.zeros(len(found), dtype=np.bool_),
    )


def _limit(standing: Standing) -> int:
    """Return what is left of a gain budget; -1 where the customer wants no limit."""
    return -1 if standing.budget_left_cents is None else standing.budget_left_cents


def _masks(
    window: Window, model: Model, account_ids: Sequence[AccountId], lots: LotChunk
) -> tuple[
    np.ndarray[tuple[int, int], np.dtype[np.bool_]], np.ndarray[tuple[int], np.dtype[np.bool_]]
]:
    """Return names that may not be bought (A, N), and lots not to be sold at a loss (L,)."""
    names = np.union1d(model.security_ids, lots.security_id)
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
    mine = np.searchsorted(names, model.security_ids)
    # A fresh lot may be sold at a loss whole only; a plan cannot promise that, so it waits.
    return (masks.rule[:, mine] & 1) > 0, masks.no_loss | masks.whole_only


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
