"""One simulated year: closes, what companies did, and the state the next year starts from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np

from broker_adapters.market_actions import (
    KINDS,
    Event,
    Life,
    YearPlan,
    pay_day,
    plan_year,
)
from broker_adapters.market_model import (
    FloatArray,
    IntArray,
    NameParameters,
    SessionReturns,
    first_variance,
    hashed_uniform,
    session_returns,
)
from robo.ports.prices import ActionKind

MICROS: Final = 1_000_000
_CENT: Final = 10_000
_SPLIT_PRICE_MIN: Final = 45.0
_SPLIT_PRICE_FORCED: Final = 2_000.0
_REVERSE_PRICE: Final = 1.5
_REVERSE_RATIO: Final = 10
_MERGER_PREMIUM: Final = 1.25
_MERGER_DISCOUNT_A_SESSION: Final = 0.0003
_FAILURE_DROP: Final = 0.35
_DIVIDEND_MICROS_MIN: Final = 1_000
_WHOLE_CENTS_FROM: Final = 0.1


@dataclass(frozen=True, slots=True)
class MarketState:
    """Where a year ends and the next one starts; arrays of shape (N,)."""

    price: FloatArray
    """Not rounded; 0 before a company exists and after it left."""
    close: IntArray
    """Last published close, micros; 0 where there is none."""
    variance: float


@dataclass(frozen=True, slots=True)
class MarketYear:
    """Everything published in one year."""

    sessions: Sequence[date]
    close: IntArray
    """Shape (D, N) micros; 0 where a name does not trade."""
    variance: FloatArray
    """The market's conditional variance, shape (D,)."""
    halts: IntArray
    before: IntArray
    """Closes before the first session, shape (N,)."""
    changes: FloatArray
    """Shape (C, 4): row, column, reference price in micros, total return of that session.

    The reference is the last close in today's terms: after splits, dividends and spin-offs.
    """
    actions: IntArray
    """Shape (X, 9): row, kind, column, pay ordinal, cash micros, new, old, other column, basis."""
    after: MarketState


@dataclass(slots=True)
class _Session:
    """A session in the making."""

    row: int
    on: date
    ref: FloatArray
    actions: list[tuple[int, ...]]
    changed: set[int] = field(default_factory=set)
    cash: dict[int, int] = field(default_factory=dict)
    """Column -> micro-dollars that a share of yesterday received."""
    ratio: dict[int, tuple[int, int]] = field(default_factory=dict)


def first_state(names: NameParameters, listed: int) -> MarketState:
    """Return the state before the first session: listed names have a price, others do not."""
    price = np.where(np.arange(len(names.ids)) < listed, names.first_price, 0.0)
    return MarketState(price, to_micros(price), first_variance())


def to_micros(price: FloatArray) -> IntArray:
    """Return published prices: whole cents, below a dollar hundredths of a cent."""
    cents = np.rint(price * 100.0) * _CENT
    fine = np.maximum(np.rint(price * 10_000.0) * 100.0, 100.0)
    return np.where(price <= 0.0, 0.0, np.where(price >= 1.0, cents, fine)).astype(np.int64)


def simulate_year(
    seed: int,
    sessions: Sequence[date],
    names: NameParameters,
    lives: Sequence[Life],
    children: Sequence[int],
    state: MarketState,
) -> MarketYear:
    """Return one calendar year.

    Args:
        seed: The market's seed.
        sessions: The year's sessions, as far as the calendar knows them.
        names: N names, the listed ones first.
        lives: The rare events of the listed names.
        children: Per name the column of the company it spins off, -1 for none.
        state: How the year before ended.
    """
    drawn = session_returns(seed, sessions, names, state.variance)
    plan = plan_year(seed, sessions, names, lives)
    maker = _YearMaker(seed, sessions, names, children, state)
    return maker.make(drawn, plan)


class _YearMaker:
    """Walks through a year; holds the prices on the way."""

    def __init__(
        self,
        seed: int,
        sessions: Sequence[date],
        names: NameParameters,
        children: Sequence[int],
        state: MarketState,
    ) -> None:
        self._seed = seed
        self._sessions = sessions
        self._names = names
        self._children = children
        self._before = state.close
        self._price = state.price.copy()
        self._close = state.close
        self._offers: dict[int, int] = {}
        self._pinned: dict[int, int] = {}
        """Column -> sessions since a merger was announced."""

    def make(self, drawn: SessionReturns, plan: YearPlan) -> MarketYear:
        closes = np.zeros((len(self._sessions), len(self._names.ids)), dtype=np.int64)
        changes: list[tuple[float, ...]] = []
        actions: list[tuple[int, ...]] = []
        for row, day in enumerate(self._sessions):
            session = _Session(row, day, self._price.copy(), actions)
            news = self._open(session, plan)
            self._price = session.ref * (1.0 + drawn.returns[row])
            self._apply_news(news)
            last, self._close = self._close, to_micros(self._price)
            closes[row] = self._close
            changes += self._changes(session, last)
        return MarketYear(
            sessions=tuple(self._sessions),
            close=closes,
            variance=drawn.variance,
            halts=plan.halts,
            before=self._before,
            changes=np.array(changes, dtype=np.float64).reshape(len(changes), 4),
            actions=np.array(actions, dtype=np.int64).reshape(len(actions), 9),
            after=MarketState(self._price, self._close, drawn.variance_after),
        )

    def _open(self, session: _Session, plan: YearPlan) -> list[tuple[Event, int]]:
        """Apply what takes effect before the opening; return the news that moves prices today."""
        news: list[tuple[Event, int]] = []
        for event, column in plan.events[session.row]:
            if session.ref[column] <= 0.0 or column in session.changed:
                continue
            if event in {Event.MERGER_NEWS, Event.FAILURE_NEWS}:
                news.append((event, column))
            else:
                self._take_effect(session, event, column, plan)
        cheap = (session.ref > 0.0) & (session.ref < _REVERSE_PRICE)
        for place in np.nonzero(cheap)[0]:
            self._split(session, int(place), 1, _REVERSE_RATIO)
        for place in np.nonzero(session.ref > _SPLIT_PRICE_FORCED)[0]:
            self._split(session, int(place), 10, 1)
        self._dividends(session, plan.dividends[session.row])
        return news

    def _take_effect(self, session: _Session, event: Event, column: int, plan: YearPlan) -> None:
        match event:
            case Event.SPLIT if session.ref[column] >= _SPLIT_PRICE_MIN:
                new, old = plan.split_ratio[column]
                self._split(session, column, int(new), int(old))
            case Event.SPIN_OFF:
                self._spin_off(session, column)
            case Event.SYMBOL_CHANGE:
                self._record(session, ActionKind.SYMBOL_CHANGE, column)
            case Event.MERGER if column in self._offers:
                self._leave(session, ActionKind.CASH_MERGER, column, self._offers[column])
            case Event.DELISTING:
                self._leave(session, ActionKind.DELISTING, column, int(self._close[column]))
            case _:
                pass

    def _split(self, session: _Session, column: int, new: int, old: int) -> None:
        if column in session.changed or column in self._offers:
            return
        session.ref[column] *= old / new
        session.changed.add(column)
        session.ratio[column] = (new, old)
        self._record(session, ActionKind.SPLIT, column, new=new, old=old)

    def _spin_off(self, session: _Session, column: int) -> None:
        """Give one share of the new company for four; it takes 10 to 25 % of the value along."""
        child = self._children[column]
        share = 0.10 + 0.15 * hashed_uniform(self._seed, "spin-share", int(self._names.ids[column]))
        ppm = round(share * MICROS)
        value = session.ref[column] * ppm / MICROS
        session.ref[column] -= value
        session.ref[child] = 4.0 * value
        session.changed |= {column, child}
        session.cash[column] = int(self._close[column]) * ppm // MICROS
        self._record(session, ActionKind.SPIN_OFF, column, old=4, other=child, basis=ppm)

    def _leave(self, session: _Session, kind: ActionKind, column: int, cash: int) -> None:
        session.ref[column] = 0.0
        session.changed.add(column)
        self._offers.pop(column, None)
        self._pinned.pop(column, None)
        self._record(session, kind, column, cash=cash)

    def _dividends(self, session: _Session, columns: IntArray) -> None:
        """Pay a year's yield over the payments, in cents (below ten cents in 1e-4 dollars)."""
        skip = session.changed | set(self._offers)
        columns = np.array([c for c in columns if c not in skip], dtype=np.int64)
        names = self._names
        due = session.ref[columns] * names.dividend_yield[columns]
        due /= np.maximum(names.payments[columns], 1)
        micros = np.where(
            due >= _WHOLE_CENTS_FROM, np.rint(due * 100.0) * _CENT, np.rint(due * 1e4) * 100.0
        )
        pay = pay_day(session.on).toordinal()
        for column, cash in zip(columns.tolist(), micros.astype(np.int64).tolist(), strict=True):
            if cash >= _DIVIDEND_MICROS_MIN:
                session.ref[column] -= cash / MICROS
                session.changed.add(column)
                session.cash[column] = cash
                self._record(session, ActionKind.CASH_DIVIDEND, column, cash=cash, pay=pay)

    def _record(
        self,
        session: _Session,
        kind: ActionKind,
        column: int,
        *,
        cash: int = 0,
        new: int = 1,
        old: int = 1,
        other: int = -1,
        basis: int = 0,
        pay: int | None = None,
    ) -> None:
        pay = session.on.toordinal() if pay is None else pay
        line = (session.row, KINDS.index(kind), column, pay, cash, new, old, other, basis)
        session.actions.append(line)

    def _apply_news(self, news: Sequence[tuple[Event, int]]) -> None:
        for column in self._offers:
            self._pinned[column] = max(0, self._pinned[column] - 1)
            offer = self._offers[column] / MICROS
            self._price[column] = offer * (1 - _MERGER_DISCOUNT_A_SESSION * self._pinned[column])
        for event, column in news:
            if event is Event.MERGER_NEWS:
                self._offers[column] = round(self._price[column] * _MERGER_PREMIUM * 100.0) * _CENT
                self._pinned[column] = 42
                self._price[column] = self._offers[column] / MICROS * 0.98
            else:
                self._price[column] *= _FAILURE_DROP

    def _changes(self, session: _Session, last: IntArray) -> list[tuple[float, ...]]:
        ref = to_micros(session.ref)
        out: list[tuple[float, ...]] = []
        for column in sorted(session.changed):
            new, old = session.ratio.get(column, (1, 1))
            worth = int(self._close[column]) * new / old + session.cash.get(column, 0)
            traded = last[column] > 0 and self._close[column] > 0
            gain = worth / int(last[column]) - 1.0 if traded else math.nan
            out.append((session.row, column, float(ref[column]), gain))
        return out
