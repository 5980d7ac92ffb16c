"""What an account's next trades would do and cost, by the planner that would make them.

A direct sleeve is planned by the optimizer. A basket is not: its free cash goes to what is most
underweight and nothing is sold, so that its trades realise nothing.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
from sqlmodel import Session

from robo.core.clock import business_date
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import FloatArray, IntArray, TaxMode
from robo.ports.broker import Broker
from robo.services import allocating, inquiring, solving, weighing
from robo.services.asking import EPOCH
from robo.services.gathering import Loaded
from robo.services.modelling import Model
from robo.services.quoting import Board
from robo.services.washing.bans import purchase_bans
from robo.store.lot_chunks import LotChunk
from robo.tax import arrays as tax_arrays


@dataclass(frozen=True, slots=True)
class Night:
    """What the next trades of one account do; the tracking error after them is annual, in ppm."""

    following_ppm: int
    tax_cents: int
    cost_cents: int
    short_gain_cents: int
    long_gain_cents: int
    trades: int


def direct(
    session: Session,
    broker: Broker,
    policy: Policy,
    model: Model,
    seen: Board,
    loaded: Loaded,
    now: datetime,
) -> Night:
    """Return what the optimizer would do with an account."""
    board = inquiring.limits(session, broker, now).on(seen)
    solved = solving.solve(model, board, loaded.ask, policy, business_date(now))
    return Night(
        following_ppm=int(solved.after_ppm[0]),
        tax_cents=int(solved.tax_cents[0]),
        cost_cents=int(solved.cost_cents[0]),
        short_gain_cents=int(solved.short_gain_cents[0]),
        long_gain_cents=int(solved.long_gain_cents[0]),
        trades=solved.account.size,
    )


def basket(
    session: Session,
    broker: Broker,
    policy: Policy,
    model: Model,
    seen: Board,
    loaded: Loaded,
    benchmark: FloatArray,
    now: datetime,
) -> Night:
    """Return what the allocator would buy for an account, and how far it then is from (N,)."""
    raw = loaded.raw
    account_id = raw.account_ids[0]
    minimum = max(policy.order_notional_cents_min, broker.capabilities.buy_notional_cents_min)
    selling = {one.account_id for one in raw.open_orders if one.side == "sell"}
    bans = purchase_bans(session, [account_id], business_date(now), selling)
    board = inquiring.limits(session, broker, now).on(seen)
    found = allocating.allocate(raw, board, minimum, bans)
    buys = {name: cents for _, names in found for name, cents, _, _ in names if cents}
    column = model.columns(list(buys))
    cents = np.array(list(buys.values()), dtype=np.int64)
    known = column >= 0
    more = np.bincount(column[known], cents[known], model.security_ids.size)
    after = held(model, seen, loaded) + more / _value(seen, loaded)
    return Night(
        following_ppm=risk(model, after - benchmark),
        tax_cents=0,
        cost_cents=weighing.cost_cents(sum(buys.values()), policy),
        short_gain_cents=0,
        long_gain_cents=0,
        trades=len(buys),
    )


def held(model: Model, seen: Board, loaded: Loaded) -> FloatArray:
    """Return what an account holds as fractions of it, (N,); unknown names are left out."""
    lots = loaded.ask.lots
    column = model.columns(lots.security_id.tolist())
    known = column >= 0
    found = np.bincount(column[known], _worth(seen, lots)[known], model.security_ids.size)
    return np.asarray(found / _value(seen, loaded), dtype=np.float64)


def _value(seen: Board, loaded: Loaded) -> int:
    return max(1, int(_worth(seen, loaded.ask.lots).sum()) + int(loaded.ask.cash_cents[0]))


def _worth(seen: Board, lots: LotChunk) -> IntArray:
    """Return what lots are worth in cents, (L,); nothing where there is no price."""
    price = [seen.price_micros.get(one, 0) for one in lots.security_id.tolist()]
    return notional_cents(lots.nanos, price)


def tax_of(loaded: Loaded, seen: Board, leaving: Collection[int], on: date) -> int:
    """Return the tax of selling all that is held of some names today; losses save it."""
    lots, tax = loaded.ask.lots, loaded.ask.tax
    goes = np.isin(lots.security_id, sorted(leaving))
    gain = (_worth(seen, lots) - tax.basis_cents)[goes]
    long = tax_arrays.is_long(tax.held_day[goes], (on - EPOCH).days)
    rate = np.where(long, tax.taxes.long_rate_ppm[0], tax.taxes.short_rate_ppm[0])
    return int((gain * rate // PPM).sum())


def risk(model: Model, active: FloatArray) -> int:
    """Return the annual tracking error of active weights, (N,), in ppm."""
    common = float(((active @ model.exposure) ** 2).sum())
    own = float((active * active) @ model.specific_variance)
    return round(math.sqrt(common + own) * PPM)


def in_mode(loaded: Loaded, mode: TaxMode) -> Loaded:
    """Return what is asked with another tax mode."""
    tax = loaded.ask.tax
    taxes = replace(tax.taxes, mode=np.full_like(tax.taxes.mode, int(mode)))
    return replace(loaded, ask=replace(loaded.ask, tax=replace(tax, taxes=taxes)))
