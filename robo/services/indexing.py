"""The night of direct sleeves: lots, target and taxes become orders, each with reason and effect.

`plan` looks at every direct sleeve once a session. `invest` puts free cash to work during the
day, by the same step with nothing sold.
"""

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import (
    drafting,
    gathering,
    inquiring,
    modelling,
    ordering,
    readying,
    recalling,
    solving,
)
from robo.services.isolating import Blame
from robo.services.modelling import Model
from robo.services.ordering import Plan
from robo.services.queueing import waves
from robo.services.quoting import board
from robo.services.turns import Turns
from robo.store import accounts, direct
from robo.store.accounts import DIRECT
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.tax.year_target import LAST_SESSIONS

_PAGE: Final = 256
_CASH_PAGE: Final = 2_000


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
    """Plan every direct sleeve for the next window; return how many accounts got orders.

    Accounts with orders still open wait until these have ended, except for sales of names that have
    to go: the plan leaves these names alone. The same slot plans an account once, whatever happened
    in between.
    """
    with db.read() as session:
        if not accounts.of_kind(session, DIRECT, "", 1):
            return 0  # a firm of small accounts needs no risk model every night
    model = modelling.ensure(db, prices, clock, calendar, policy)
    if model is None:
        return 0
    night = _Night(db, keyring, broker, prices, clock, calendar, policy, model, f"index/{slot}")
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
    broker: Broker,
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
    night = _Night(db, keyring, broker, prices, clock, calendar, policy, model, f"cash/{slot}")
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
        broker: Broker,
        prices: PriceSource,
        clock: Clock,
        calendar: MarketCalendar,
        policy: Policy,
        model: Model,
        cause: str,
    ) -> None:
        self._db, self._keyring, self._broker = db, keyring, broker
        self._prices, self._clock = prices, clock
        self._calendar, self._policy, self._model, self._cause = calendar, policy, model, cause
        self._turns = Turns(db, policy)
        self._waiting: list[Plan] = []
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
            self._waiting.clear()
            Blame[AccountId](self._db, self._clock, job, str).together(part, look)
            with self._db.read() as session:
                waiting = ordering.untold(session, self._waiting)
            self._turns.each(waiting, self._tell, blame)
            if sells:
                with self._db.read() as session:
                    said = recalling.news(session, made)
            else:
                # Cash that finds nothing to buy asks every few seconds; the night tells why.
                said = [one for one in made if one.trades]
            self._turns.each(said, self._write, blame)

    def _plans(self, account_ids: Sequence[AccountId], *, sells: bool) -> list[Plan]:
        now = self._clock.now()
        on = business_date(now)
        with self._db.read() as session:
            self._waiting += readying.reasons(session, account_ids, on, self._policy)
            raw = gathering.plannable(session, account_ids, on, self._policy)
            if not raw.sleeves:
                return []
            rows = direct.of_accounts(session, raw.account_ids)
            loaded = gathering.load(
                session,
                self._keyring,
                self._policy,
                self._model,
                raw,
                rows,
                on,
                sells=sells,
                lands=self._calendar.sessions_left_in_year(on) < LAST_SESSIONS,
            )
            limits = inquiring.limits(session, self._broker, now)
        seen = limits.on(board(self._prices, self._model.security_ids.tolist(), now))
        solved = solving.solve(self._model, seen, loaded.ask, self._policy, on)
        settles = self._calendar.shift(on, self._policy.deposit_settle_sessions).isoformat()
        return drafting.plans(loaded, self._model, solved, self._cause, seen, settles)

    def _write(self, session: Session, part: Sequence[Plan]) -> None:
        on = business_date(self._clock.now())
        ids = [one.sleeve.account_id for one in part]
        ready = readying.ready(session, ids, on, self._policy)
        fresh = ordering.unwritten(session, [p for p in part if p.sleeve.account_id in ready])
        told = recalling.tell(session, fresh)
        ordering.write(session, self._keyring, told, to_micros(self._clock.now()))
        self.planned += sum(1 for one in fresh if one.trades)

    def _tell(self, session: Session, part: Sequence[Plan]) -> None:
        """Write why accounts wait; it takes no reason away that their last plan gave."""
        ordering.write(session, self._keyring, part, to_micros(self._clock.now()))
