"""Our process in a soak: one round of the runner's jobs, killed where it is told.

A day begins as in production: executions are collected, then the day's corporate actions applied;
before that nothing is planned or sent.

Run as a program it is a nursery: everything is loaded once, then every line on its input is a round
that a forked child lives. The child's exit code is answered; a killed child's is negative.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

import soak_books
import soak_people
from alpaca_world import open_world
from nyse import nyse
from sqlmodel import Session
from world import World

from broker_adapters import alpaca_broker, alpaca_trading
from broker_adapters.alpaca_broker import AlpacaBroker
from broker_adapters.alpaca_http import CONNECT_SECONDS, AlpacaHttp, Reply
from broker_adapters.alpaca_trading import AlpacaTrading
from robo.core.clock import FixedClock, business_date, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.ports.plugins import PluginContext
from robo.services import adjusting, finishing, funding, guarding, ordering, reconciling, trading
from robo.store import accounts, ledger, universe
from robo.store.database import Database

STEPS: Final = ("asking", "answered", "writing", "written")
"""Where a process is killed: before and after a request, before and after a commit."""
SILENCE_SECONDS: Final = 0.4
_TRIES: Final = 10
KEPT: Final = 5
"""Of so many names one is never sold: of those the broker takes executions back."""
SPLIT: Final = SecurityId(2)
"""The name that the simulated market splits on 9 March 2026; everybody holds it by then."""
_MAKE: Final[dict[str, Callable[[PluginContext], Any]]] = {
    "alpaca_trading": alpaca_trading.create,
    "alpaca_broker": alpaca_broker.create,
}


@dataclass(frozen=True, slots=True)
class Life:
    """What a process is told: where it lives, what it plans, and where it is killed."""

    folder: str
    url: str
    adapter: str
    patience_seconds: float
    instant: str
    number: int
    names: int
    step: str
    nth: int
    """The process is killed at the nth such step; 0 = never."""


class Sand:
    """A clock whose waiting takes no time: after a 429 a process waits for a minute."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def wait(self, seconds: float) -> None:
        self._ahead += seconds


def make(adapter: str, patience_seconds: float) -> Callable[[PluginContext], Any]:
    """Return what makes an adapter whose patience is short."""

    def created(context: PluginContext) -> AlpacaTrading | AlpacaBroker:
        broker: AlpacaTrading | AlpacaBroker = _MAKE[adapter](context)
        pace, sand = broker._http._pace, Sand()
        pace._monotonic, pace._sleep = sand.now, sand.wait
        session = broker._http._client._session
        session.adapters["http://"]._timeouts = (CONNECT_SECONDS, patience_seconds)
        if isinstance(broker, AlpacaBroker):
            broker._events._silence = SILENCE_SECONDS
        return broker

    return created


def work(world: World, folder: Path, number: int, names: int) -> None:
    """Do one round of our own: accounts and money, then plan in many names, send, collect."""
    r = world.runtime
    people = soak_people.read(folder)
    if people:
        if names:
            soak_people.ask(world, people, number)
        soak_people.jobs(world, hear=number % 2 == 0)
    # The runner tries a job again whose broker did not answer, every two seconds.
    if not any(_day_began(world, folder) for _ in range(_TRIES)):
        return
    plan(world, folder, number, names)
    desk = guarding.Desk(r.keyring, r.prices, r.calendar)
    for again in range(_TRIES):
        with contextlib.suppress(BrokerUnavailableError):
            trading.send(r.db, r.broker, r.clock, r.policy, f"round-{number:05d}/{again}", desk)
        if not world.scalar("SELECT count(*) FROM block WHERE state = 'intended'"):
            break
    booked = 0
    for _ in range(_TRIES):
        with contextlib.suppress(BrokerUnavailableError):
            finishing.collect(r.db, r.keyring, r.broker, r.clock, r.policy)
            booked += 1
        if booked == 2:
            break


def _day_began(world: World, folder: Path) -> bool:
    """Begin the day if it has not begun; return whether it has."""
    r = world.runtime
    today = business_date(r.clock.now())
    done = folder / f"began-{today.isoformat()}"
    if done.exists():
        return True
    try:
        finishing.collect(r.db, r.keyring, r.broker, r.clock, r.policy)
        adjusting.apply_day(r.db, r.keyring, r.broker, r.prices, r.clock, r.policy, today)
    except BrokerUnavailableError:
        return False
    funding.settle_proceeds(r.db, r.keyring, r.clock, r.policy, today)
    reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy)
    done.touch()
    return True


def plan(world: World, folder: Path, number: int, names: int) -> None:
    """Plan buys of as many names for every account, and every other round sells of some."""
    if names == 0:
        return
    dice = random.Random(number)
    with world.db.read() as session:
        listed = [one.id for one in universe.listed(session) if one.id != SPLIT]
        owners = world.accounts or everybody(world)
        sleeves = accounts.sleeves(session, owners)
        balances = ledger.many_account_balances(session, owners)
        busy = "SELECT account_id, security_id FROM orders WHERE state IN ('planned', 'sending')"
        waiting = {tuple(row) for row in session.connection().exec_driver_sql(busy)}
    plans = []
    for account, sleeve in sorted(sleeves.items()):
        mine = balances[account]
        cents = 1_00 + dice.randrange(50)
        buys = [
            ordering.Trade(i, Reason.BUY_UNDERWEIGHT, buy_cents=cents)
            for i in (SPLIT, *dice.sample(listed, names - 1))
        ][: mine.cash_cents // cents]
        sells = [
            ordering.Trade(i, Reason.SELL_WITHDRAWAL, sell_nanos=1 + nanos // 3)
            for i, nanos in sorted(mine.holdings_nanos.items())
            if number % 2 and i % KEPT and (account, i) not in waiting and dice.random() < 0.2
        ]
        plans.append(ordering.Plan(sleeve, f"buys-{number}", tuple(buys), {}))
        plans.append(ordering.Plan(sleeve, f"sells-{number}", tuple(sells), {}))
    intents = [
        (plan.sleeve.account_id, "buy" if one.buy_cents else "sell", int(one.security_id), size)
        for plan in plans
        for one in plan.trades
        if (size := one.buy_cents or one.sell_nanos or 0)
    ]
    soak_books.intend(folder, number, intents)
    with world.db.write() as session:
        fresh = ordering.unwritten(session, [one for one in plans if one.trades])
        ordering.write(session, world.runtime.keyring, fresh, to_micros(world.clock.now()))


def everybody(world: World) -> list[AccountId]:
    """Return all accounts of a database."""
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql("SELECT id FROM account ORDER BY id")
        return [AccountId(row[0]) for row in rows]


@contextmanager
def _watched(life: Life) -> Iterator[None]:
    """Count steps, and end the process with SIGKILL at the one that it was told."""
    left = [life.nth]
    ask, write = AlpacaHttp._ask, Database.write

    def step(name: str) -> None:
        if name == life.step:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def asked(self: AlpacaHttp, *given: Any, **named: Any) -> Reply:
        step("asking")
        try:
            return ask(self, *given, **named)
        finally:
            step("answered")

    @contextmanager
    def written(self: Database) -> Iterator[Session]:
        with write(self) as session:
            yield session
            step("writing")
        step("written")

    with (
        mock.patch.object(AlpacaHttp, "_ask", asked),
        mock.patch.object(Database, "write", written),
    ):
        yield


def live(life: Life, calendar: MarketCalendar) -> None:
    """Live one round."""
    folder, clock = Path(life.folder), FixedClock(datetime.fromisoformat(life.instant))
    opened = open_world(
        folder, calendar, life.url, clock, make=make(life.adapter, life.patience_seconds)
    )
    with opened as world, _watched(life):
        work(world, folder, life.number, life.names)


def told(life: Life) -> str:
    """Return the line that tells a nursery of a life."""
    return json.dumps(asdict(life))


def main() -> None:
    calendar = nyse()
    for line in sys.stdin:
        life = Life(**json.loads(line))
        child = os.fork()
        if child == 0:
            try:
                live(life, calendar)
            except Exception:  # noqa: BLE001 - whatever it is, the harness shows it
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
