"""Our whole pipeline against the Alpaca-shaped server; run as a program, it can be killed midway.

`python alpaca_world.py FOLDER URL KILL` trades what is in the folder's database and kills itself
with SIGKILL at the KILLth order: after telling the server, before anything is written of it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from applicants import ANN
from nyse import nyse
from world import START, World

from broker_adapters import alpaca_trading
from robo.config import Settings
from robo.core.clock import Clock, FixedClock
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.plugins import load
from robo.ports.broker import Broker, OrderTicket, SubmitResult
from robo.ports.brokerage import BankDetails, CashRequest
from robo.ports.funding import TransferDirection
from robo.ports.plugins import PluginContext
from robo.ports.prices import CorporateAction, PriceSource
from robo.runtime import Runtime, load_keyring
from robo.store import universe
from robo.store.database import connect

OPENING_CENTS = 1_000_000_00


class Killer:
    """A broker that kills its process when an order has been told and not been written down."""

    def __init__(self, broker: Broker, at: int) -> None:
        self._broker, self._at = broker, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        result = self._broker.submit(ticket)
        self._at -= 1
        if self._at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class Announcing:
    """Prices of a source that announces some corporate actions beside its own."""

    def __init__(self, prices: PriceSource, more: Sequence[CorporateAction]) -> None:
        self._prices, self._more = prices, more

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prices, name)

    def actions(self, on: date) -> Sequence[CorporateAction]:
        return [*self._prices.actions(on), *(one for one in self._more if one.ex_on == on)]


def market(folder: Path, calendar: MarketCalendar, clock: Clock, **settings: str) -> PluginContext:
    """Return the context of a market over the universe of a world's database."""
    config = Settings(state_dir=str(folder))
    db = connect(config.url)
    with db.read() as session:
        listed = universe.listed(session)
    db.close()
    context = PluginContext(settings, clock, folder, calendar, listed)
    return replace(context, prices=load("robo.prices", "simulated")(context))


def alpaca_settings(url: str) -> dict[str, str]:
    return {
        "ROBO_ALPACA_KEY": "key",
        "ROBO_ALPACA_SECRET": "secret",
        "ROBO_ALPACA_URL": url,
        "ROBO_ALPACA_BROKER_URL": url,
        "ROBO_ALPACA_PER_MINUTE": "1000000",
        "ROBO_ALPACA_OPENING_CENTS": str(OPENING_CENTS),
    }


@contextmanager
def open_world(
    folder: Path,
    calendar: MarketCalendar,
    url: str,
    clock: FixedClock,
    kill_at: int = 0,
    make: Callable[[PluginContext], Any] = alpaca_trading.create,
    announced: Sequence[CorporateAction] = (),
) -> Iterator[World]:
    """Yield a world that exists already, with Alpaca as its broker; `announced` may still grow."""
    config = Settings(state_dir=str(folder), broker="alpaca_trading")
    context = market(folder, calendar, clock, **alpaca_settings(url))
    assert context.prices is not None
    prices: Any = Announcing(context.prices, announced)
    context = replace(context, prices=prices)
    broker = make(context)
    runtime = Runtime(
        settings=config,
        policy=Policy.default(),
        db=connect(config.url),
        keyring=load_keyring(config),
        clock=clock,
        calendar=calendar,
        prices=prices,
        broker=Killer(broker, kill_at) if kill_at else broker,
        bank=load("robo.banks", "simulated")(context),
        mailer=load("robo.mailers", "file")(context),
    )
    try:
        yield World(runtime, clock)
    finally:
        broker.close()
        runtime.close()


def funded(world: World, name: str, cents: int) -> tuple[str, str]:
    """Open an account at Alpaca, link a bank and pay in; return its id there and the link's."""
    broker: Any = world.runtime.broker
    application = replace(
        ANN,
        reference=name,
        email=f"{name}@example.com",
        given_name=name,
        agreed_at=world.clock.now(),
    )
    place: str = broker.open_account(application).account.broker_account
    world.clock.advance(timedelta(seconds=3))
    details = BankDetails(name, name, "021000021", "123456789")
    link: str = broker.link_bank(place, details).relationship.id
    world.clock.advance(timedelta(seconds=2))
    broker.transfer(CashRequest(f"dep_{name}", place, link, TransferDirection.PULL, cents))
    world.clock.advance(timedelta(seconds=3))
    return place, link


def main() -> None:
    folder, url, kill = sys.argv[1:]
    with open_world(Path(folder), nyse(), url, FixedClock(START), int(kill)) as world:
        world.trade()


if __name__ == "__main__":
    main()
