"""The step that weighs trades which no optimizer made: what they do to risk, and what they cost.

Risk is the distance to what an account follows, its target or a direct sleeve's benchmark, by the
newest model there is. Where there is none, or it does not know a name, nothing is said of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.portfolio import tracking
from robo.portfolio.chunk import AccountChunk, Slots, notional_cents
from robo.portfolio.problem import BoolArray, FloatArray, IntArray
from robo.ports.prices import PriceSource
from robo.services import following, modelling
from robo.services.modelling import Model
from robo.services.ordering import Plan
from robo.services.quoting import Board, board
from robo.store import chunks, direct, universe
from robo.store.accounts import DIRECT

Ppm = int | None
"""Parts per million of an account's value a year; None where nobody can say."""


def cost_cents(worth_cents: int, policy: Policy) -> int:
    """Return what trading so much is expected to cost, rounded up."""
    return -(-worth_cents * policy.trade_cost_ppm // PPM)


def of_purchases(
    model: Model | None, chunk: AccountChunk, slots: Slots, rows: IntArray, buy_cents: IntArray
) -> list[list[Ppm]]:
    """Return what purchases add to the tracking error of basket sleeves: the plan's, less without.

    Args:
        model: The newest; None where there is none.
        chunk: The accounts.
        slots: Of the chunk, (A, S).
        rows: The accounts that buy, (B,).
        buy_cents: What they buy, (B, S).
    """
    if model is None:
        return [[None] * buy_cents.shape[1] for _ in range(len(buy_cents))]
    width = int((slots.security[rows] >= 0).any(axis=0).sum())  # others have more names
    security, nanos, value, weight = (
        getattr(slots, name)[rows, :width] for name in Slots.__dataclass_fields__
    )
    part = Slots(security, nanos, value, weight)
    made = _of_baskets(model, chunk, part, chunk.nav_cents()[rows]).shift(buy_cents[:, :width])
    padding: list[Ppm] = [None] * (buy_cents.shape[1] - width)
    return [_ppm(row) + padding for row in made.each]


def weighed(
    session: Session,
    prices: PriceSource,
    at: datetime,
    raw: chunks.RawChunk,
    plans: Sequence[Plan],
) -> list[Plan]:
    """Return plans with what they and their trades do to risk; those that trade nothing as is.

    Args:
        session: Of the snapshot that the plans were made in.
        prices: Of the day.
        at: Now.
        raw: The accounts of the plans at least.
        plans: Of any kind of sleeve, one an account at most.
    """
    made = {plan.sleeve.account_id: plan for plan in plans if plan.trades}
    model = modelling.current(session, prices, at) if made else None
    if model is None:
        return list(plans)
    for is_direct in (False, True):
        part = _part(raw, made, is_direct=is_direct)
        if part.sleeves:
            seen = board(prices, part.security_ids(), at)
            mine = [made[account] for account in part.account_ids]
            told = _told(session, model, part, seen, mine, is_direct=is_direct)
            made.update((one.sleeve.account_id, one) for one in told)
    return [made[plan.sleeve.account_id] if plan.trades else plan for plan in plans]


def _part(raw: chunks.RawChunk, made: dict[AccountId, Plan], *, is_direct: bool) -> chunks.RawChunk:
    """Return what the tables say of those accounts of one kind that trade."""
    sleeves = tuple(
        one for one in raw.sleeves if one.account_id in made and (one.kind == DIRECT) == is_direct
    )
    ids = {one.account_id for one in sleeves}
    followed = {one.target_id for one in sleeves}
    return replace(
        raw,
        sleeves=sleeves,
        balances={account: mine for account, mine in raw.balances.items() if account in ids},
        targets={one: names for one, names in raw.targets.items() if one in followed},
        open_orders=[one for one in raw.open_orders if one.account_id in ids],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Accounts as the risk step sees them: arrays of shape (A, S), but `unit`."""

    model: Model
    column: IntArray
    held: FloatArray
    aim: FloatArray
    unit: FloatArray
    """What fractions are of: the value in cents, (A,); NaN where there is none."""

    def shift(self, trade_cents: IntArray) -> tracking.Shift:
        """Return what trades of so many cents do, (A, S)."""
        return tracking.shift(
            self.model.exposure,
            self.model.specific_variance,
            self.column,
            self.held,
            self.aim,
            trade_cents / self.unit[:, None],
        )


def _of_baskets(model: Model, chunk: AccountChunk, slots: Slots, nav_cents: IntArray) -> _Table:
    """Return basket sleeves, slot by slot."""
    known = np.append(model.columns(np.array(chunk.security_ids, dtype=np.int64)), -1)
    unit = np.where(nav_cents > 0, nav_cents, np.nan)
    column, held = known[slots.security], slots.value_cents / unit[:, None]
    price = np.append(chunk.price_micros, 0)[slots.security]
    column, held = _unpriced(column, held, slots.holding_nanos, price)
    return _Table(model, column, held, slots.weight_ppm / PPM, unit)


def _of_sleeves(
    session: Session, model: Model, raw: chunks.RawChunk, chunk: AccountChunk
) -> _Table:
    """Return direct sleeves: a slot for each of the model's names, and one for all others."""
    names = model.security_ids.size
    rows = direct.of_accounts(session, raw.account_ids)
    gone = frozenset(universe.gone(session))
    aim = np.zeros((len(raw.sleeves), names + 1))
    aim[:, :names] = following.weights(session, model, raw, rows, gone)
    nav = chunk.nav_cents()
    unit = np.where(nav > 0, nav, np.nan)
    column = np.broadcast_to(np.append(np.arange(names), -1), aim.shape)
    owner = np.repeat(np.arange(len(nav)), np.diff(chunk.holding_indptr))
    spot = model.columns(np.array(chunk.security_ids, dtype=np.int64))[chunk.holding_security]
    spot = np.where(spot < 0, names, spot)
    worth, nanos = np.zeros(aim.shape), np.zeros(aim.shape, dtype=np.int64)
    np.add.at(worth, (owner, spot), chunk.value_cents())
    np.add.at(nanos, (owner, spot), np.abs(chunk.holding_nanos))
    price = np.ones(aim.shape, dtype=np.int64)
    price[owner, spot] = chunk.price_micros[chunk.holding_security]
    column, held = _unpriced(column, worth / unit[:, None], nanos, price)
    return _Table(model, column, held, aim, unit)


def _unpriced(
    column: IntArray, held: FloatArray, nanos: IntArray, price: IntArray
) -> tuple[IntArray, FloatArray]:
    """Return slots of which shares are held that nobody knows the worth of as unknown to all."""
    lost: BoolArray = (nanos != 0) & ((price <= 0) | (column < 0))
    return np.where(lost, -1, column), np.where(lost, 1.0, held)


def _told(
    session: Session,
    model: Model,
    raw: chunks.RawChunk,
    seen: Board,
    plans: Sequence[Plan],
    *,
    is_direct: bool,
) -> list[Plan]:
    """Return plans, one for each account in its place, with what they do to risk."""
    chunk = chunks.build(raw, seen.price_micros)
    if is_direct:
        table = _of_sleeves(session, model, raw, chunk)
        width = table.column.shape[1] - 1
        spots = [[model.place.get(t.security_id, width) for t in plan.trades] for plan in plans]
    else:
        slots = chunk.slots()
        table = _of_baskets(model, chunk, slots, chunk.nav_cents())
        names = np.append(np.array(chunk.security_ids, dtype=np.int64), -1)[slots.security].tolist()
        spots = [
            [row.index(trade.security_id) for trade in plan.trades]
            for plan, row in zip(plans, names, strict=True)
        ]
    trade = np.zeros(table.column.shape, dtype=np.int64)
    place = np.repeat(np.arange(len(plans)), [len(some) for some in spots])
    spot = np.array([one for some in spots for one in some], dtype=np.int64)
    np.add.at(trade, (place, spot), _cents(plans, seen))
    made = table.shift(trade)
    risks = _ppm(made.each[place, spot])
    ends = np.cumsum([len(some) for some in spots]).tolist()
    states = zip(plans, ends, _ppm(made.before), _ppm(made.after), strict=True)
    return [
        _with_risk(plan, risks[end - len(plan.trades) : end], before, after, model)
        for plan, end, before, after in states
    ]


def _with_risk(plan: Plan, risks: Sequence[Ppm], before: Ppm, after: Ppm, model: Model) -> Plan:
    """Return a plan with what is known of its risk."""
    trades = tuple(
        trade
        if trade.effect is None
        else replace(trade, effect=replace(trade.effect, tracking_error_ppm=risk))
        for trade, risk in zip(plan.trades, risks, strict=True)
    )
    if plan.effect is None:
        return replace(plan, trades=trades)
    by = "" if after is None else model.id
    effect = replace(plan.effect, before_ppm=before, after_ppm=after, model_id=by)
    return replace(plan, trades=trades, effect=effect)


def _cents(plans: Sequence[Plan], seen: Board) -> IntArray:
    """Return what the trades of plans buy, less what they sell, trade by trade."""
    trades = [trade for plan in plans for trade in plan.trades]
    nanos = np.array([one.sell_nanos for one in trades], dtype=np.int64)
    price = [seen.price_micros.get(one.security_id, 0) for one in trades]
    bought = np.array([one.buy_cents for one in trades], dtype=np.int64)
    return bought - notional_cents(nanos, np.array(price, dtype=np.int64))


def _ppm(values: FloatArray) -> list[Ppm]:
    """Return fractions in whole ppm, (n,); None for what is NaN."""
    return [None if one != one else round(one) for one in (values * PPM).tolist()]  # noqa: PLR0124
