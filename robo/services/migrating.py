"""A portfolio on its way to what it follows, simulated with the planner in use: flat prices.

The same step that plans a night (`solving`) plans each day looked at, for several gain budgets at
once: rows of one batch that start alike. What it sells lies in cash for a session and is invested
the next day, as it would. Nothing is forecast: prices stand still, so only time (lots turn
long-term, years begin, masks end), budgets and deposits change anything. It reads and writes
nothing, and the same question has the same answer.

B budgets, S days, L lots at the start, N names of the model.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np

from robo.core.policy import Policy
from robo.portfolio.problem import BoolArray, IntArray
from robo.services import solving
from robo.services.asking import EPOCH, Aim, Ask, TaxSide
from robo.services.modelling import Model
from robo.services.quoting import Board
from robo.services.solving import Solved
from robo.store.lot_chunks import LotChunk

WASH_DAYS: Final = 31
"""From a loss, or a purchase, to the first day on which neither counts for the other."""
_LONG_AGO: Final = -(10**6)


@dataclass(frozen=True, slots=True, eq=False)
class Journey:
    """What is simulated: one account, several budgets for gains a year."""

    model: Model
    board: Board
    policy: Policy
    ask: Ask
    """Of the one account, as it stands; its budget is replaced."""
    budget_cents: tuple[int, ...]
    """Net gain a year, each; -1 for no limit."""
    chosen_cents: int
    """Net gain of sales that we chose in the first day's year so far."""
    days: tuple[tuple[date, date], ...]
    """(Session planned on, the session after it), rising."""
    deposit_cents: tuple[int, ...]
    """What has come in before each of the days, since the one before."""
    tolerance_ppm: int


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """Where the budgets lead."""

    best_ppm: int
    """Tracking error of a new account with the same money: nothing to sell, all to buy."""
    start_ppm: int
    tracking_error_ppm: IntArray
    """After each day, (B, S); what was reached stays."""
    reached: IntArray
    """Place of the first day within the tolerance of the best, (B,); -1 for none."""
    gains_cents: dict[int, IntArray]
    """Year -> net short and long gains of the sales, (B, 2)."""


@dataclass(slots=True)
class _State:
    """What the rows hold on a day."""

    left: IntArray
    """Nanoshares of the lots at the start, (B, L)."""
    bought: IntArray
    """Nanoshares bought on the way, (B, N)."""
    paid: IntArray
    """What was paid for them, cents (B, N)."""
    cash: IntArray
    """(B,)."""
    last_loss: IntArray
    """Day of the last loss taken in a name, (B, N)."""
    last_buy: IntArray


def travel(journey: Journey) -> Road:
    """Return where each budget leads, day by day."""
    count, names = len(journey.budget_cents), journey.model.security_ids.size
    ask = journey.ask
    state = _State(
        left=np.tile(ask.lots.nanos, (count, 1)),
        bought=np.zeros((count, names), dtype=np.int64),
        paid=np.zeros((count, names), dtype=np.int64),
        cash=np.full(count, int(ask.cash_cents[0]), dtype=np.int64),
        last_loss=np.full((count, names), _LONG_AGO, dtype=np.int64),
        last_buy=np.full((count, names), _LONG_AGO, dtype=np.int64),
    )
    best = _best(journey)
    error = np.zeros((count, len(journey.days)), dtype=np.int64)
    reached = np.full(count, -1, dtype=np.int64)
    gains: dict[int, IntArray] = {}
    start = 0
    for place, (on, after) in enumerate(journey.days):
        state.cash += journey.deposit_cents[place]
        year = gains.setdefault(on.year, np.zeros((count, 2), dtype=np.int64))
        used = year.sum(axis=1) + (journey.chosen_cents if on.year == _first_year(journey) else 0)
        rows = np.flatnonzero(reached < 0)
        if not rows.size:
            error[:, place] = error[:, place - 1]
            continue
        sold = _plan(journey, state, rows, used, on, sells=True)
        year[rows, 0] += sold.short_gain_cents
        year[rows, 1] += sold.long_gain_cents
        if place == 0:
            start = int(sold.before_ppm[0])
        done = _plan(journey, state, rows, used, after, sells=False)
        error[:, place] = error[:, place - 1] if place else 0
        error[rows, place] = done.after_ppm
        near = done.after_ppm <= best + journey.tolerance_ppm
        reached[rows[near]] = place
    return Road(best, start, error, reached, gains)


def _first_year(journey: Journey) -> int:
    return journey.days[0][0].year


def followed(road: Road) -> IntArray:
    """Return whose road each budget takes, (B,): its own, or a smaller one's that is quicker.

    Budgets rise along the rows. A budget is a limit, so that whoever has more can do what less
    would; a plan weighs each night's tax against tracking and need not find that by itself.
    """
    never = road.tracking_error_ppm.shape[1]
    when = np.where(road.reached < 0, never, road.reached)
    own = np.arange(when.size)
    for row in range(1, when.size):
        before = own[row - 1]
        if when[before] < when[row]:
            own[row] = before
    return own


def _best(journey: Journey) -> int:
    """Return the tracking error of an account that has nothing but the same value in cash."""
    ask, model = journey.ask, journey.model
    value = int(ask.cash_cents[0]) + int(_worth(journey, ask.lots).sum())
    none = np.zeros(0, dtype=np.int64)
    empty = LotChunk((), none, none, none, none, none, none)
    tax = _tax(journey, empty, 1, np.array([-1], dtype=np.int64))
    alone = replace(
        ask,
        cash_cents=np.array([max(value, 1)], dtype=np.int64),
        lots=empty,
        tax=replace(tax, no_buy=np.zeros((1, model.security_ids.size), dtype=np.bool_)),
        sells=False,
    )
    on = journey.days[0][0]
    return int(solving.solve(model, journey.board, alone, journey.policy, on).after_ppm[0])


def _worth(journey: Journey, lots: LotChunk) -> IntArray:
    """Return what lots are worth that the model knows, in cents, (L,)."""
    price = journey.board.price_micros
    known = journey.model.columns(lots.security_id.tolist()) >= 0
    cents = [
        nanos * price.get(security, 0) // 10**13
        for security, nanos in zip(lots.security_id.tolist(), lots.nanos.tolist(), strict=True)
    ]
    return np.where(known, np.array(cents, dtype=np.int64), 0)


def _plan(
    journey: Journey, state: _State, rows: IntArray, used: IntArray, on: date, *, sells: bool
) -> Solved:
    """Plan some rows on a day and let the trades happen, at the plan's prices and costs."""
    model, today = journey.model, (on - EPOCH).days
    lots, origin = _lots(journey, state, rows)
    budget = np.array(journey.budget_cents, dtype=np.int64)[rows]
    room = np.where(budget < 0, -1, np.maximum(budget - used[rows], 0))
    tax = _masked(journey, _tax(journey, lots, rows.size, room, origin), state, rows, lots, today)
    ask = replace(
        journey.ask,
        cash_cents=np.maximum(state.cash[rows], 0),
        lots=lots,
        tax=tax,
        benchmark=np.repeat(journey.ask.benchmark, rows.size, axis=0),
        buyable=_rows_of(journey.ask.buyable, rows.size),
        frozen=_rows_of(journey.ask.frozen, rows.size),
        sells=sells,
        lands=False,
        need_cents=None,
    )
    solved = solving.solve(model, journey.board, ask, journey.policy, on)
    _trade(journey, state, rows, solved, lots, origin, today)
    return solved


def _lots(journey: Journey, state: _State, rows: IntArray) -> tuple[LotChunk, IntArray]:
    """Return the lots of some rows, and which lot of the start each is, -1 for bought ones."""
    first, ids = journey.ask.lots, journey.model.security_ids
    row, lot = np.nonzero(state.left[rows])
    fresh, name = np.nonzero(state.bought[rows])
    owner = np.concatenate([row, fresh])
    security = np.concatenate([first.security_id[lot], ids[name]])
    origin = np.concatenate([lot, np.full(fresh.size, -1, dtype=np.int64)])
    nanos = np.concatenate([state.left[rows][row, lot], state.bought[rows][fresh, name]])
    part = state.left[rows][row, lot] / first.nanos[lot]
    basis = np.rint(first.basis_cents[lot] * part).astype(np.int64)
    order = np.lexsort((np.arange(owner.size), security, owner))
    return LotChunk(
        lot_ids=tuple(str(one) for one in order.tolist()),
        account=owner[order],
        security_id=security[order],
        acquired_day=_pick(first.acquired_day[lot], state.last_buy[rows][fresh, name], order),
        nanos=nanos[order],
        basis_cents=_pick(basis, state.paid[rows][fresh, name], order),
        hold_day=_pick(first.hold_day[lot], np.full(fresh.size, _LONG_AGO), order),
    ), origin[order]


def _pick(old: IntArray, new: IntArray, order: IntArray) -> IntArray:
    joined: IntArray = np.concatenate([old, new])[order]
    return joined


def _tax(
    journey: Journey,
    lots: LotChunk,
    count: int,
    room: IntArray,
    origin: IntArray | None = None,
) -> TaxSide:
    """Return the tax side of rows before the day's masks."""
    given = journey.ask.tax
    taxes = replace(
        given.taxes,
        **{
            name: np.repeat(getattr(given.taxes, name), count)
            for name in given.taxes.__dataclass_fields__
        },
    )
    no = np.zeros(lots.nanos.size, dtype=np.bool_)
    basis, held = lots.basis_cents, lots.acquired_day
    if origin is not None:
        old = origin >= 0
        part = lots.nanos / np.maximum(journey.ask.lots.nanos[origin], 1)
        adjusted = np.rint(given.basis_cents[origin] * part).astype(np.int64)
        basis = np.where(old, adjusted, basis) if journey.ask.lots.nanos.size else basis
        held = np.where(old, given.held_day[origin], held) if given.held_day.size else held
    return replace(
        given,
        taxes=replace(taxes, gain_budget_cents=room),
        basis_cents=basis,
        held_day=held,
        no_loss=no,
        whole_only=no,
        is_fresh=no,
        closes=no,
        no_buy=_rows_of(given.no_buy, count),
        aim=Aim.none(count),
    )


def _masked(
    journey: Journey, tax: TaxSide, state: _State, rows: IntArray, lots: LotChunk, today: int
) -> TaxSide:
    """Return the tax side with what wash sales forbid: the start's masks at first, then ours."""
    early = today < (journey.days[0][0] - EPOCH).days + WASH_DAYS
    given = journey.ask
    no_buy = today - state.last_loss[rows] < WASH_DAYS
    recent = today - state.last_buy[rows] < WASH_DAYS
    fresh = given.tax.is_fresh | given.tax.no_loss | given.tax.whole_only
    if early:
        no_buy = no_buy | given.tax.no_buy
        recent = recent | _named(journey.model, given.lots.security_id[fresh])
    column = journey.model.columns(lots.security_id.tolist())
    no_loss = (column >= 0) & recent[lots.account, np.maximum(column, 0)]
    return replace(tax, no_buy=no_buy, no_loss=no_loss, is_fresh=no_loss)


def _named(model: Model, security_ids: IntArray) -> BoolArray:
    mask = np.zeros(model.security_ids.size, dtype=np.bool_)
    columns = model.columns(security_ids.tolist())
    mask[columns[columns >= 0]] = True
    return mask


def _trade(
    journey: Journey,
    state: _State,
    rows: IntArray,
    solved: Solved,
    lots: LotChunk,
    origin: IntArray,
    today: int,
) -> None:
    """Let the trades of a plan happen."""
    price = np.array(
        [journey.board.price_micros.get(one, 0) for one in journey.model.security_ids.tolist()],
        dtype=np.float64,
    )
    sold, column = solved.lot_sold_nanos, journey.model.columns(lots.security_id.tolist())
    went = np.flatnonzero(sold)
    cents = np.rint(sold[went] * price[column[went]] * 1e-13).astype(np.int64)
    basis = np.rint(lots.basis_cents[went] * (sold[went] / lots.nanos[went])).astype(np.int64)
    owner = rows[lots.account[went]]
    np.add.at(state.cash, owner, cents)
    loss = cents < basis
    state.last_loss[owner[loss], column[went][loss]] = today
    old = origin[went] >= 0
    state.left[owner[old], origin[went][old]] -= sold[went][old]
    state.bought[owner[~old], column[went][~old]] -= sold[went][~old]
    state.paid[owner[~old], column[went][~old]] -= basis[~old]
    buys = np.flatnonzero(solved.buy_cents)
    who, what = rows[solved.account[buys]], solved.column[buys]
    spent = solved.buy_cents[buys]
    state.bought[who, what] += np.floor(spent / price[what] * 1e13).astype(np.int64)
    state.paid[who, what] += spent
    state.last_buy[who, what] = today
    np.add.at(state.cash, who, -spent)
    state.cash[rows] -= np.minimum(solved.cost_cents, np.maximum(state.cash[rows], 0))


def _rows_of(mask: BoolArray, count: int) -> BoolArray:
    repeated: BoolArray = np.repeat(mask, count, axis=0)
    return repeated
