"""Losses of basket sleeves: a lot is sold where its loss is worth more than it costs.

The name makes room for the basket's understudy until it may be bought again; then the basket's own
name is what is bought, and the understudy stays until money is withdrawn. Direct sleeves harvest
inside their nightly plan.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import BoolArray, FloatArray, IntArray, TaxMode
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import (
    assessing,
    gathering,
    inquiring,
    offering,
    ordering,
    readying,
    targeting,
    weighing,
)
from robo.services.asking import EPOCH, TaxSide
from robo.services.isolating import Blame
from robo.services.ordering import Plan, Trade
from robo.services.queueing import waves
from robo.services.quoting import Board, board
from robo.services.targeting import Followed
from robo.services.turns import Turns
from robo.store import accounts, chunks, lot_chunks, universe
from robo.store.accounts import Sleeve
from robo.store.database import Database
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk
from robo.store.tax_profiles import harvesters
from robo.tax import arrays as tax_arrays
from robo.tax.arrays import RateArrays
from robo.tax.year_target import LAST_SESSIONS

_JOB: Final = "harvest"
_PAGE: Final = 500
_MADE_MAX: Final = 2_000
"""Baskets with understudies that a night remembers: many accounts have the same."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What a night does to one basket sleeve: a plan, and another target where it needs one."""

    sleeve: Sleeve
    plan: Plan | None
    target: Followed | None


def plan(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    slot: str,
) -> int:
    """Plan the losses worth taking in basket sleeves whose customers harvest; return how many.

    Sleeves of who harvests no more are looked at too while an understudy is in their target: the
    basket's own name comes back when it may be bought again. In the year's last sessions, what
    customers with a target sell is said elsewhere.

    The same slot plans an account once.
    """
    now = clock.now()
    on = business_date(now)
    with db.read() as session:
        owned = accounts.of_customers(session, harvesters(session))
        owned += sorted(set(accounts.noted(session, f"{targeting.WAITS}.")) - set(owned))
        turns = waves(session, owned, on)
    planned = 0

    def write(session: Session, part: Sequence[_Made]) -> None:
        nonlocal planned
        at = to_micros(clock.now())
        made = ordering.unwritten(session, [one.plan for one in part if one.plan is not None])
        ordering.write(session, keyring, made, at)
        planned += len(made)
        moved = [
            (one.sleeve.id, one.target.put(session, at)) for one in part if one.target is not None
        ]
        accounts.retarget(session, moved, at)

    lands = calendar.sessions_left_in_year(on) < LAST_SESSIONS
    night = _Night(db, keyring, broker, prices, clock, policy, on, f"harvest/{slot}", lands=lands)
    for wave in turns:
        for start in range(0, len(wave), _PAGE):
            made: list[_Made] = []

            def look(part: Sequence[AccountId], made: list[_Made] = made) -> None:
                made.extend(night.look(part))

            Blame[AccountId](db, clock, _JOB, str).together(wave[start : start + _PAGE], look)
            changed = [one for one in made if one.plan is not None or one.target is not None]
            Turns(db, policy).each(
                changed, write, Blame(db, clock, _JOB, lambda one: one.sleeve.account_id)
            )
    return planned


class _Night:
    """One run: what it needs."""

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        broker: Broker,
        prices: PriceSource,
        clock: Clock,
        policy: Policy,
        on: date,
        cause: str,
        *,
        lands: bool,
    ) -> None:
        self._db, self._keyring, self._broker = db, keyring, broker
        self._prices, self._lands = prices, lands
        self._clock, self._policy, self._on, self._cause = clock, policy, on, cause
        self._made: dict[tuple[object, ...], Followed | None] = {}

    def look(self, account_ids: Sequence[AccountId]) -> list[_Made]:
        """Return what changes for some accounts."""
        with self._db.read() as session:
            ready = readying.ready(session, account_ids, self._on, self._policy)
            raw = chunks.read(session, [one for one in account_ids if one in ready])
            busy = gathering.busy(raw)
            ids = [
                one.account_id
                for one in raw.sleeves
                if one.kind == "basket" and one.account_id not in busy
            ]
            raw = chunks.read(session, ids)
            lots = lot_chunks.read(session, ids)
            known = {*raw.security_ids(), *lots.security_id.tolist(), *_benches(session, raw)}
            names = np.array(sorted(known), dtype=np.int64)
            lots, tax = assessing.tax_side(
                session, self._keyring, self._policy, names, ids, lots, self._on
            )
            now = self._clock.now()
            limits = inquiring.limits(session, self._broker, now)
            seen = limits.on(board(self._prices, names.tolist(), now))
            sold = self._sold(raw, lots, tax, seen)
            gone = universe.gone(session)
            why = targeting.barred(session, raw)
            if len(self._made) > _MADE_MAX:
                self._made.clear()
            plans = self._plans(raw, lots, tax, seen, sold)
            weighed = weighing.weighed(session, self._prices, now, raw, list(plans.values()))
            plans = dict(zip(plans, weighed, strict=True))
            return [
                _Made(
                    sleeve,
                    plans.get(place),
                    self._followed(session, raw, lots, tax, names, place, sold, why, gone),
                )
                for place, sleeve in enumerate(raw.sleeves)
            ]

    def _sold(self, raw: chunks.RawChunk, lots: LotChunk, tax: TaxSide, seen: Board) -> BoolArray:
        """Return which lots are sold whole, (L,): their loss is worth more than its cost."""
        today = (self._on - EPOCH).days
        security = lots.security_id.tolist()
        price = np.array([seen.price_micros.get(one, 0) for one in security], dtype=np.int64)
        worth = notional_cents(lots.nanos, price)
        counted = np.maximum(worth, 1)
        # A price may rise before the sale: the loss must outlive that.
        gain = worth + worth * self._policy.price_margin_ppm // PPM - tax.basis_cents
        per_dollar = tax_arrays.tax_per_dollar(
            gain,
            counted,
            tax_arrays.is_long(tax.held_day, today),
            np.zeros(lots.nanos.size, dtype=np.bool_),
            lots.account,
            RateArrays(
                tax.taxes.short_rate_ppm,
                tax.taxes.long_rate_ppm,
                tax.taxes.recapture_ppm,
                tax.taxes.mode,
            ),
        )
        net = -per_dollar * counted - 2 * worth * self._policy.trade_cost_ppm / PPM
        stopped = np.array([one in seen.stopped for one in security], dtype=np.bool_)
        leaving = gathering.leaving(raw)
        barred = np.array(
            [
                one in raw.restricted.get(raw.sleeves[place].account_id, {})
                or (raw.sleeves[place].account_id, one) in leaving
                for place, one in zip(lots.account.tolist(), security, strict=True)
            ],
            dtype=np.bool_,
        )
        rests = tax.aim.has & self._lands
        seeks = (tax.taxes.mode == TaxMode.HARVEST) & ~rests
        free = seeks[lots.account] & (lots.hold_day <= today) & ~stopped & ~barred & (price > 0)
        good = self._chosen(lots, tax, free & (gain < 0), net, worth - tax.basis_cents)
        return self._of_a_share(lots, seen, good)

    @staticmethod
    def _of_a_share(lots: LotChunk, seen: Board, good: BoolArray) -> BoolArray:
        """Return the lots (L,) without those that would be too little to sell."""
        _, name = np.unique(lots.account << 32 | lots.security_id, return_inverse=True)
        nanos = np.zeros(int(name.max(initial=-1)) + 1, dtype=np.int64)
        np.add.at(nanos, name[good], lots.nanos[good])
        security, sold = lots.security_id.tolist(), nanos[name].tolist()
        little = [seen.is_too_little(*one) for one in zip(security, sold, strict=True)]
        return good & ~np.array(little, dtype=np.bool_)

    def _chosen(
        self, lots: LotChunk, tax: TaxSide, free: BoolArray, net: FloatArray, gain: IntArray
    ) -> BoolArray:
        """Return which of the lots that may go do go, (L,).

        A loss that would be washed goes only with all of its name that was bought of late, and
        those that aim at a target take no more than is wanted: neither goes by halves.
        """
        masked = tax.no_loss | tax.whole_only
        worth_it = free & (net >= self._policy.harvest_cents_min)
        good = worth_it & ~masked
        _, key = np.unique(lots.account << 32 | lots.security_id, return_inverse=True)
        closes = tax.closes & ~tax.aim.has[lots.account] & ~np.isin(key, key[tax.is_fresh & ~free])
        part = closes & (tax.is_fresh | worth_it)
        if part.any():
            saved = np.bincount(key[part], net[part], int(key.max()) + 1)
            good |= part & (saved >= self._policy.harvest_cents_min)[key]
        return self._within_aim(lots, tax, good, net, gain)

    @staticmethod
    def _within_aim(
        lots: LotChunk, tax: TaxSide, good: BoolArray, net: FloatArray, gain: IntArray
    ) -> BoolArray:
        """Return the lots whose losses together do not go beyond what a year's target wants."""
        kept = good.copy()
        aims = np.flatnonzero(good & tax.aim.has[lots.account])
        room = tax.aim.wanted_cents.copy()
        for lot in aims[np.argsort(-net[aims], kind="stable")].tolist():
            place = lots.account[lot]
            kept[lot] = gain[lot] >= room[place]
            room[place] -= gain[lot] if kept[lot] else 0
        return kept

    def _plans(
        self,
        raw: chunks.RawChunk,
        lots: LotChunk,
        tax: TaxSide,
        seen: Board,
        sold: BoolArray,
    ) -> dict[int, Plan]:
        """Return place -> plan of the accounts that sell something."""
        today = (self._on - EPOCH).days
        long = tax_arrays.is_long(tax.held_day, today)
        rate = np.where(
            long, tax.taxes.long_rate_ppm[lots.account], tax.taxes.short_rate_ppm[lots.account]
        )
        price = [seen.price_micros.get(one, 0) for one in lots.security_id.tolist()]
        worth = notional_cents(lots.nanos, price)
        gain = worth - tax.basis_cents
        rows: dict[int, dict[int, list[int]]] = {}
        for lot in np.flatnonzero(sold).tolist():
            mine = rows.setdefault(int(lots.account[lot]), {})
            mine.setdefault(int(lots.security_id[lot]), []).append(lot)
        # What was bought of late goes first: no fill that stops early then leaves it behind.
        for some in (some for mine in rows.values() for some in mine.values()):
            some.sort(key=lambda lot: not tax.is_fresh[lot])
        found = {}
        for place, names in rows.items():
            every = [lot for some in names.values() for lot in some]
            found[place] = Plan(
                raw.sleeves[place],
                self._cause,
                tuple(
                    self._trade(lots, security, some, gain, gain * rate, worth)
                    for security, some in names.items()
                ),
                {},
                effect=PlanEffect(
                    before_ppm=None,
                    after_ppm=None,
                    tax_cents=int((gain[every] * rate[every]).sum()) // PPM,
                    cost_cents=self._cost(int(worth[every].sum())),
                    short_gain_cents=int(gain[every][~long[every]].sum()),
                    long_gain_cents=int(gain[every][long[every]].sum()),
                    model_id="",
                ),
            )
        return found

    def _cost(self, worth_cents: int) -> int:
        return -(-worth_cents * self._policy.trade_cost_ppm // PPM)

    def _trade(
        self,
        lots: LotChunk,
        security_id: int,
        rows: Sequence[int],
        gain: IntArray,
        taxed: IntArray,
        worth: IntArray,
    ) -> Trade:
        named = tuple((lots.lot_ids[one], int(lots.nanos[one])) for one in rows)
        tax_cents = int(taxed[list(rows)].sum()) // PPM
        cost = self._cost(int(worth[list(rows)].sum()))
        return Trade(
            security_id=security_id,
            reason=Reason.SELL_HARVEST,
            sell_nanos=sum(nanos for _, nanos in named),
            lots=named,
            gains=tuple(gain[list(rows)].tolist()),
            effect=TradeEffect(tax_cents, cost, None),
        )

    def _followed(
        self,
        session: Session,
        raw: chunks.RawChunk,
        lots: LotChunk,
        tax: TaxSide,
        names: IntArray,
        place: int,
        sold: BoolArray,
        why: Mapping[AccountId, Mapping[int, str]],
        dead: Collection[int],
    ) -> Followed | None:
        """Return what a sleeve follows now: understudies for names that wait to be bought again."""
        sleeve = raw.sleeves[place]
        basket = offering.of_firm(session, sleeve.firm_id).catalog.baskets.get(sleeve.basket_id)
        if basket is None:
            return None
        mine = slice(*np.searchsorted(lots.account, [place, place + 1]).tolist())
        security, goes = lots.security_id[mine], sold[mine]
        kept = set(security[~goes].tolist())
        gone = set(security[goes].tolist()) - kept
        # Today's purchases wait for an open sale; what is followed changes once it was a loss.
        banned = set(names[tax.no_buy[place]].tolist()) - kept - tax.undecided[place]
        every = {
            **targeting.waits(gone | banned, kept),
            **why.get(sleeve.account_id, {}),
            **dict.fromkeys(dead, targeting.GONE),
        }
        key = (sleeve.firm_id, basket.id, tuple(sorted(every.items())))
        if key not in self._made:
            self._made[key] = targeting.followed(basket, every)
        made = self._made[key]
        if made is None or made.weights == raw.targets.get(sleeve.target_id):
            return None
        return made


def _benches(session: Session, raw: chunks.RawChunk) -> set[int]:
    """Return the names of the sleeves' baskets, and those that may stand in for them."""
    found: set[int] = set()
    for firm_id, basket_id in {(one.firm_id, one.basket_id) for one in raw.sleeves}:
        basket = offering.of_firm(session, firm_id).catalog.baskets.get(basket_id)
        if basket is not None:
            found.update(basket.weights_ppm)
            found.update(one.security_id for one in (*basket.understudies, *basket.bench))
    return found
