"""The night of direct sleeves: lots, target and taxes become orders, each with reason and effect.

`plan` looks at every direct sleeve once a session. `invest` puts free cash to work during the
day, by the same step with nothing sold.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio.problem import BoolArray, IntArray
from robo.ports.prices import PriceSource
from robo.services import gathering, modelling, ordering, solving
from robo.services.gathering import Loaded
from robo.services.isolating import Blame
from robo.services.modelling import Model
from robo.services.ordering import Plan, Trade
from robo.services.queueing import waves
from robo.services.quoting import Board, board
from robo.services.solving import Solved
from robo.services.turns import Turns
from robo.store import accounts, direct
from robo.store.database import Database
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk

_PAGE: Final = 256
_CASH_PAGE: Final = 2_000
DIRECT: Final = "direct_index"


def plan(
    db: Database,
    keyring: Keyring,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    slot: str,
) -> int:
    """Plan every direct sleeve for the next window; return how many accounts got orders.

    Accounts with orders still open wait until these have ended. The same slot plans an account
    once, whatever happened in between.
    """
    with db.read() as session:
        if not accounts.of_kind(session, DIRECT, "", 1):
            return 0  # a firm of small accounts needs no risk model every night
    model = modelling.ensure(db, prices, clock, calendar, policy)
    if model is None:
        return 0
    night = _Night(db, keyring, prices, clock, calendar, policy, model, f"index/{slot}")
    after = ""
    while True:
        with db.read() as session:
            page = accounts.of_kind(session, DIRECT, after, _CASH_PAGE)
        if not page:
            return night.planned
        after = page[-1]
        for start in range(0, len(page), _PAGE):
            night.take(page[start : start + _PAGE], sells=True)


def invest(
    db: Database,
    keyring: Keyring,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    slot: str,
) -> int:
    """Put the free cash of direct sleeves to work, selling nothing; return how many got orders."""
    with db.read() as session:
        model = modelling.current(session, prices, clock.now())
    if model is None:
        return 0
    night = _Night(db, keyring, prices, clock, calendar, policy, model, f"cash/{slot}")
    after: AccountId | str = ""
    while True:
        with db.read() as session:
            page = accounts.investable(session, after, _CASH_PAGE)
            kinds = accounts.sleeves(session, page)
        if not page:
            return night.planned
        after = page[-1]
        mine = [one for one in page if one in kinds and kinds[one].kind == DIRECT]
        for start in range(0, len(mine), _PAGE):
            night.take(mine[start : start + _PAGE], sells=False)


class _Night:
    """One run over direct sleeves: what it needs, and how many it planned."""

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        prices: PriceSource,
        clock: Clock,
        calendar: MarketCalendar,
        policy: Policy,
        model: Model,
        cause: str,
    ) -> None:
        self._db, self._keyring, self._prices, self._clock = db, keyring, prices, clock
        self._calendar, self._policy, self._model, self._cause = calendar, policy, model, cause
        self._turns = Turns(db, policy)
        self.planned = 0

    def take(self, account_ids: Sequence[AccountId], *, sells: bool) -> None:
        """Plan some accounts and write their orders, those of one household one by one."""
        job = "index" if sells else "invest-cash"
        made: list[Plan] = []

        def look(part: Sequence[AccountId]) -> None:
            made.extend(self._plans(part, sells=sells))

        with self._db.read() as session:
            turns = waves(session, account_ids, business_date(self._clock.now()))
        blame = Blame[Plan](self._db, self._clock, job, lambda one: one.sleeve.account_id)
        for part in turns:
            made.clear()
            Blame[AccountId](self._db, self._clock, job, str).together(part, look)
            self._turns.each([one for one in made if one.trades], self._write, blame)

    def _plans(self, account_ids: Sequence[AccountId], *, sells: bool) -> list[Plan]:
        now = self._clock.now()
        on = business_date(now)
        with self._db.read() as session:
            raw = gathering.plannable(session, account_ids)
            rows = direct.of_accounts(session, raw.account_ids)
            loaded = gathering.load(
                session, self._keyring, self._policy, self._model, raw, rows, on, sells=sells
            )
        if not loaded.raw.sleeves:
            return []
        seen = board(self._prices, self._model.security_ids.tolist(), now)
        solved = solving.solve(self._model, seen, loaded.ask, self._policy, on)
        settles = self._calendar.shift(on, self._policy.deposit_settle_sessions).isoformat()
        return plans_of(loaded, self._model, solved, self._cause, seen, settles)

    def _write(self, session: Session, part: Sequence[Plan]) -> None:
        ready = accounts.eligible(session, [one.sleeve.account_id for one in part])
        fresh = ordering.unwritten(session, [p for p in part if p.sleeve.account_id in ready])
        ordering.write(session, self._keyring, fresh, to_micros(self._clock.now()))
        self.planned += sum(1 for one in fresh if one.trades)


def plans_of(
    loaded: Loaded, model: Model, solved: Solved, cause: str, seen: Board, settles: str
) -> list[Plan]:
    """Return the plans of accounts, for `ordering`."""
    names = model.security_ids
    named = _named_lots(loaded.ask.lots, solved.lot_sold_nanos)
    skips = _skips(loaded, model, solved, seen)
    starts = np.searchsorted(solved.account, np.arange(len(loaded.raw.sleeves) + 1))
    plans = []
    for place, sleeve in enumerate(loaded.raw.sleeves):
        mine = range(int(starts[place]), int(starts[place + 1]))
        trades = tuple(
            _trade(loaded, solved, one, int(names[solved.column[one]]), named) for one in mine
        )
        hold = loaded.raw.hold_until.get(sleeve.account_id, "")
        plans.append(
            Plan(
                sleeve=sleeve,
                cause=cause,
                trades=trades,
                skips=skips.get(place, {}) if trades else {},
                hold_until=settles if hold == "?" else hold,
                effect=_effect(solved, place, model) if trades else None,
            )
        )
    return plans


def _trade(
    loaded: Loaded,
    solved: Solved,
    one: int,
    security_id: int,
    named: Mapping[tuple[int, int], tuple[tuple[str, int], ...]],
) -> Trade:
    account, column = int(solved.account[one]), int(solved.column[one])
    reason = solved.reason[one]
    if reason is Reason.BUY_NEW_NAME and loaded.stand_ins[account, column]:
        reason = Reason.BUY_STAND_IN
    return Trade(
        security_id=security_id,
        reason=reason,
        buy_cents=int(solved.buy_cents[one]),
        sell_nanos=int(solved.sell_nanos[one]),
        lots=named.get((account, security_id), ()),
        effect=TradeEffect(
            int(solved.trade_tax_cents[one]),
            int(solved.trade_cost_cents[one]),
            int(solved.trade_risk_ppm[one]),
        ),
    )


def _named_lots(
    lots: LotChunk, sold: IntArray
) -> dict[tuple[int, int], tuple[tuple[str, int], ...]]:
    """Return (account, security) -> lots and nanoshares sold, those that go whole first."""
    found: dict[tuple[int, int], list[tuple[bool, str, int]]] = {}
    for lot in np.flatnonzero(sold).tolist():
        key = int(lots.account[lot]), int(lots.security_id[lot])
        nanos = int(sold[lot])
        found.setdefault(key, []).append((nanos < lots.nanos[lot], lots.lot_ids[lot], nanos))
    return {
        key: tuple((lot_id, nanos) for _, lot_id, nanos in sorted(some, key=lambda one: one[0]))
        for key, some in found.items()
    }


def _effect(solved: Solved, place: int, model: Model) -> PlanEffect:
    return PlanEffect(
        before_ppm=int(solved.before_ppm[place]),
        after_ppm=int(solved.after_ppm[place]),
        tax_cents=int(solved.tax_cents[place]),
        cost_cents=int(solved.cost_cents[place]),
        short_gain_cents=int(solved.short_gain_cents[place]),
        long_gain_cents=int(solved.long_gain_cents[place]),
        model_id=model.id,
    )


def _skips(
    loaded: Loaded, model: Model, solved: Solved, seen: Board
) -> dict[int, dict[int, Reason]]:
    """Return place -> security -> why a name of the target, or one that is held, was left alone."""
    ask = loaded.ask
    names = model.security_ids.tolist()
    concerned = ask.buyable | gathering.held(model, ask.lots, len(loaded.raw.sleeves))
    stopped = np.array([one in seen.stopped for one in names], dtype=np.bool_)
    traded = np.zeros(concerned.shape, dtype=np.bool_)
    traded[solved.account, solved.column] = True
    found: dict[int, dict[int, Reason]] = {}

    def note(mask: BoolArray, reason: Reason | None) -> None:
        for place, column in np.argwhere(mask & concerned & ~traded).tolist():
            why = reason or seen.stopped[names[column]]
            found.setdefault(place, {}).setdefault(names[column], why)

    note(np.broadcast_to(stopped, concerned.shape), None)
    note(ask.frozen, Reason.SKIP_RESTRICTED)
    note(ask.tax.no_buy, Reason.SKIP_WASH_BUY)
    failed = ~solving.is_solved(solved)
    note(np.broadcast_to(failed[:, None], concerned.shape), Reason.SKIP_NO_PLAN)
    return found
