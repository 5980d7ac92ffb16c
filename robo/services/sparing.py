"""Which lots a plan leaves alone: on hold, beyond the budget, washed, not deep enough yet.

A lot whose loss would be washed may still go if everything of its name that was bought of late goes
the same day, because shares sold are not their own replacement. Masks judge each lot alone and
cannot say so, and neither can the optimizer. So it is asked twice: first as if such lots were free,
then with those kept where something fresh would have stayed. I lots take part, H holdings.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from robo.core.ids import LotId
from robo.core.money import PPM, round_ratio
from robo.core.policy import Policy
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import (
    BoolArray,
    FloatArray,
    IntArray,
    Problem,
    Taxes,
    TaxMode,
)
from robo.services.asking import Ask, fallen, gain_room
from robo.tax.year_target import Offer, land

PASSES: Final = 8
"""Questions after the first; from the middle on all such lots of an account that disagrees stay."""


@dataclass(slots=True, eq=False)
class Spared:
    """What stands in the way of lots; arrays of shape (I,)."""

    owner: IntArray
    key: IntArray
    """Of the lot's holding: lots of one account and name share it."""
    nanos: IntArray
    blocked: BoolArray
    """May not be sold; `disagreeing` adds to it."""
    masked: BoolArray
    """A loss that would be washed unless all that is fresh goes too."""
    is_fresh: BoolArray
    loses: BoolArray
    """Worth less than the basis."""
    shy_cents: IntArray
    """Basis as planned with: lower by what a price may rise before it trades."""

    def losses(self, sold: IntArray, shape: tuple[int, int]) -> BoolArray:
        """Return the names of which something is sold at a loss, (A, N)."""
        mask = np.zeros(shape, dtype=np.bool_)
        goes = self.key[self.loses & (sold > 0)]
        mask[goes // shape[1], goes % shape[1]] = True
        return mask

    def disagreeing(self, sold: IntArray, *, stern: bool) -> IntArray:
        """Return the accounts that would sell a masked lot and keep something fresh of its name.

        The masked lots of these names are blocked from now on, and if `stern` all of the account.

        Args:
            sold: Nanoshares of each lot, (I,).
            stern: See above.
        """
        goes = self.key[self.masked & (sold > 0)]
        stays = self.key[self.is_fresh & (sold < self.nanos)]
        washed = np.intersect1d(goes, stays)
        rows = np.unique(self.owner[np.isin(self.key, washed)])
        again = np.isin(self.owner, rows) if stern else np.isin(self.key, washed)
        self.blocked = self.blocked | (self.masked & again)
        return rows


def spared(
    ask: Ask,
    taxes: Taxes,
    inside: IntArray,
    key: IntArray,
    worth: IntArray,
    month: FloatArray,
    policy: Policy,
    today: int,
) -> Spared:
    """Return what stands in the way of lots before the first question.

    Args:
        ask: What is asked.
        taxes: Of the accounts, with the budget that holds for this plan.
        inside: Places of the lots that take part, (I,).
        key: Of their holdings, (I,).
        worth: In cents, (I,).
        month: Monthly standard deviation of their names' returns, (I,).
        policy: Margins.
        today: Days since 1970-01-01.
    """
    lots, tax = ask.lots, ask.tax
    owner, basis = lots.account[inside], tax.basis_cents[inside]
    shy = _shy_basis(taxes, owner, basis, worth, policy)
    rests = ask.tax.aim.has & ask.lands
    blocked = (lots.hold_day[inside] > today) | (not ask.sells) | rests[owner]
    closed = (gain_room(taxes) <= 0) & (taxes.gain_budget_cents >= 0)
    blocked |= closed[owner] & (worth >= shy)
    if ask.sheds is not None:
        blocked |= (ask.frozen & ask.sheds).reshape(-1)[key] & (worth >= shy)
    if ask.need_cents is None:
        blocked |= _shallow(taxes, owner, key, basis, worth, month, policy)
        blocked |= _unwanted(ask, owner) & (worth < basis)
    margin = policy.wash_margin_ppm if ask.need_cents is None else policy.price_margin_ppm
    lowest = fallen(worth, margin)
    masked = (tax.no_loss | tax.whole_only)[inside] & (lowest < basis)
    is_fresh = tax.is_fresh[inside]
    # Who cuts losses to what is wanted may cut what had to go with others.
    free = tax.closes[inside] & ~ask.tax.aim.has[owner] & (ask.need_cents is None)
    stays = np.isin(key, key[is_fresh & (blocked | (worth >= basis))])
    blocked |= masked & (~free | stays)
    return Spared(
        owner=owner,
        key=key,
        nanos=lots.nanos[inside],
        blocked=blocked,
        masked=masked,
        is_fresh=is_fresh,
        loses=worth < basis,
        shy_cents=shy,
    )


def _shy_basis(
    taxes: Taxes, owner: IntArray, basis: IntArray, worth: IntArray, policy: Policy
) -> IntArray:
    """Return the lots' basis as planned with: lower by what a price may rise before it trades.

    So a plan that stays within a gain budget stays within it after a rise of that size, and a loss
    is taken only where it is still one. Who seeks gains, or has no budget, plans with the basis.
    """
    margin = worth * policy.price_margin_ppm // PPM
    shy = (taxes.gain_budget_cents >= 0) & (taxes.mode != TaxMode.REALISE)
    return np.where(shy[owner], np.maximum(basis - margin, 0), basis)


def _shallow(
    taxes: Taxes,
    owner: IntArray,
    key: IntArray,
    basis: IntArray,
    worth: IntArray,
    month: FloatArray,
    policy: Policy,
) -> BoolArray:
    """Return the lots of names none of whose losses is worth the month without another, (I,)."""
    patience = policy.harvest_patience_ppm / PPM
    deep = (basis - worth) > patience * month * basis
    seeks = taxes.mode[owner] == TaxMode.HARVEST
    return np.asarray(seeks & (worth < basis) & ~np.isin(key, key[deep]), dtype=np.bool_)


def _unwanted(ask: Ask, owner: IntArray) -> BoolArray:
    """Return the lots whose owner's target is reached, open sales counted: (I,).

    Each further loss would go beyond it, or away from the gains that are still wanted; whoever
    sold gains to come back would have traded twice for nothing.
    """
    aim = ask.tax.aim
    return np.asarray((aim.has & (aim.wanted_cents >= 0))[owner], dtype=np.bool_)


def some(problem: Problem, rows: IntArray, blocked: BoolArray) -> tuple[Problem, IntArray]:
    """Return the question of some accounts alone, and the places of its lots in the whole one.

    Args:
        problem: Of all accounts.
        rows: Some of them, rising.
        blocked: Lots that may not be sold, of all accounts.
    """
    accounts, taxes, wants = problem.accounts, problem.taxes, problem.wants
    holdings = _ranges(accounts.holding_indptr, rows)
    lots = _ranges(accounts.lot_indptr, holdings)
    by_lot = ("lot_nanos", "lot_basis_cents", "lot_acquired_day", "lot_is_long", "lot_wait")
    part = replace(
        accounts,
        cash_cents=accounts.cash_cents[rows],
        holding_indptr=_indptr(np.diff(accounts.holding_indptr)[rows]),
        holding_name=accounts.holding_name[holdings],
        lot_indptr=_indptr(np.diff(accounts.lot_indptr)[holdings]),
        lot_is_blocked=blocked[lots],
        rule=accounts.rule[rows],
        **{name: getattr(accounts, name)[lots] for name in by_lot},
    )
    mine = replace(taxes, **{name: getattr(taxes, name)[rows] for name in Taxes.__slots__})
    by_account = ("benchmark", "risk_aversion", "cash_ppm", "cash_price_ppm", "active_max_ppm")
    want = replace(wants, **{name: getattr(wants, name)[rows] for name in by_account})
    return Problem(problem.market, part, mine, want), lots


def _ranges(indptr: IntArray, rows: IntArray) -> IntArray:
    """Return the places between the pointers of some rows, in order."""
    sizes = np.diff(indptr)[rows]
    starts = np.cumsum(sizes) - sizes
    found: IntArray = np.arange(int(sizes.sum())) + np.repeat(indptr[rows] - starts, sizes)
    return found


def _indptr(sizes: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def within_aim(
    problem: Problem, ask: Ask, inside: IntArray, sold: IntArray, least_cents: int
) -> IntArray:
    """Return sales whose losses do not go beyond what a year's target wants: they stay taken.

    Args:
        problem: The optimizer's question.
        ask: What was asked.
        inside: Places of the problem's lots among those asked about, (I,).
        sold: Nanoshares of each of the problem's lots, (I,).
        least_cents: What is left of a lot's sale below this is not worth an order.
    """
    aim, owner = ask.tax.aim, ask.lots.account[inside]
    rows = aim.has & (aim.wanted_cents < 0) & (ask.need_cents is None)
    chosen = np.flatnonzero(rows[owner] & (sold > 0))
    if not chosen.size:
        return sold
    accounts = problem.accounts
    holding = np.repeat(np.arange(accounts.holding_name.size), np.diff(accounts.lot_indptr))
    price = problem.market.price_micros[accounts.holding_name[holding]]
    worth = notional_cents(sold, price)
    cut = sold.copy()
    for row in np.unique(owner[chosen]).tolist():
        offers = [
            Offer(
                LotId(str(lot)),
                int(sold[lot]),
                round_ratio(
                    int(ask.tax.basis_cents[inside[lot]]) * int(sold[lot]),
                    int(accounts.lot_nanos[lot]),
                ),
                int(worth[lot]),
            )
            for lot in chosen[owner[chosen] == row].tolist()
        ]
        losing = [one for one in offers if one.gain_cents < 0]
        wanted = int(aim.wanted_cents[row])
        if sum(one.gain_cents for one in losing) < wanted:
            cut[[int(one.lot_id) for one in losing]] = 0
            for trim in land(losing, wanted).trims:
                cut[int(trim.lot_id)] = trim.nanos if trim.worth_cents >= least_cents else 0
    return cut


def within_room(
    problem: Problem, ask: Ask, spared: Spared, sold: IntArray, least_cents: int
) -> IntArray:
    """Return sales whose gains alone stay within the year's budget, whatever losses are planned.

    The optimizer nets a plan; but the sale of a loss may be halted, rejected or filled in part
    when that of a gain is not. So losses make room once they have been taken. Gains that cost
    least for a dollar go first; each counts with what its price may still rise.

    Args:
        problem: The optimizer's question.
        ask: What was asked.
        spared: What stood in the way of lots.
        sold: Nanoshares of each of the problem's lots, (I,).
        least_cents: What is left of a lot's sale below this is not worth an order.
    """
    accounts, owner = problem.accounts, spared.owner
    limited = (problem.taxes.gain_budget_cents >= 0) & (ask.need_cents is None)
    if not (limited[owner] & (sold > 0)).any():
        return sold
    holding = np.repeat(np.arange(accounts.holding_name.size), np.diff(accounts.lot_indptr))
    worth = notional_cents(sold, problem.market.price_micros[accounts.holding_name[holding]])
    basis = accounts.lot_basis_cents * (sold / np.maximum(spared.nanos, 1))
    gain = np.where(limited[owner] & (sold > 0), np.maximum(worth - basis, 0.0), 0.0)
    room = gain_room(problem.taxes)
    over = limited & (np.bincount(owner, gain, room.size) > room)
    rows = np.flatnonzero(over[owner] & (gain > 0))
    if not rows.size:
        return sold
    rows = rows[np.lexsort((rows, gain[rows] / np.maximum(worth[rows], 1), owner[rows]))]
    cut, left = sold.copy(), room.astype(np.float64)
    for lot in rows.tolist():
        part = min(1.0, max(0.0, left[owner[lot]]) / gain[lot])
        cut[lot] = int(sold[lot] * part) if worth[lot] * part >= least_cents else 0
        left[owner[lot]] -= gain[lot] * part
    # What is fresh and was kept here must not stand beside a loss of its name.
    washed = np.isin(spared.key, spared.key[spared.is_fresh & (cut < spared.nanos)])
    cut[washed & spared.masked & over[owner]] = 0
    return cut
