"""Orders a second through sending and booking: blocks against an order each; after downtime.

All of it is the real pipeline on SQLite with the paper broker: guards, intents, telling, fills,
splits, ledger, lots, chains. What differs is only whether the broker keeps one account for all, so
that a window becomes one order a name, or one account for each customer, so that it becomes an
order for each name of each of them. Downtime is: every order was told and no answer came back, all
have traded since; what is measured is until each is found, booked and ended.
"""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from bench import seeding
from bench.report import Figure
from broker_adapters import alpaca_trading
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.clock import FixedClock
from robo.core.errors import BrokerUnavailableError
from robo.core.policy import Policy
from robo.ports.broker import AccountModel, Capabilities, OrderTicket, SubmitResult
from robo.ports.plugins import PluginContext
from robo.runtime import Runtime
from robo.services import finishing, guarding, investing, trading
from robo.store import controls, universe

_AT: Final = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
_MINUTES_MAX: Final = 60
_POLICY: Final = Policy.default()


class Apart:
    """A broker with an account for each customer; answers may get lost on the way back."""

    def __init__(self, broker: Any, *, lose: bool = False, place: str = "") -> None:
        """Wrap a broker; `place` is the one account that all orders go to, if it has only one."""
        self._broker, self.lose, self._place = broker, lose, place

    def __getattr__(self, name: str) -> Any:
        """Return what the broker has."""
        return getattr(self._broker, name)

    @property
    def capabilities(self) -> Capabilities:
        """Return the broker's, with accounts apart."""
        mine: Capabilities = self._broker.capabilities
        return replace(mine, account_model=AccountModel.SEGREGATED)

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Tell the broker, and perhaps lose what it answers."""
        placed = replace(ticket, broker_account=self._place or ticket.broker_account)
        answer: SubmitResult = self._broker.submit(placed)
        if self.lose:
            message = "the line is down"
            raise BrokerUnavailableError(message)
        return answer


def run(*, quick: bool = False) -> list[Figure]:
    """Return orders a second in blocks and one by one, broker orders a window, seconds to heal."""
    many, some = (500, 50) if quick else (10_000, 1_000)
    blocks = _blocks(many)
    single = _single(some)
    wire = _over_http(some)
    rate, peer = blocks["orders"] / blocks["seconds"], single["orders"] / single["seconds"]
    apart = f"one order each, {some} customers"
    return [
        Figure(f"blocks, {many} customers x 10 names", rate, "orders/s", apart, rate / peer),
        Figure(f"one order each, {some} customers x 10 names", peer, "orders/s"),
        Figure(f"broker orders of a window, {many} customers", blocks["told"], "orders"),
        Figure(f"guards alone, {many} customers", blocks["orders"] / blocks["guards"], "orders/s"),
        *_downtime(single, ""),
        Figure("told over HTTP, one at a time", wire["orders"] / wire["tell"], "orders/s"),
        *_downtime(wire, " over HTTP"),
    ]


def _downtime(found: dict[str, float], how: str) -> list[Figure]:
    heal, book = found["heal"], found["book"]
    return [
        Figure(f"after downtime, {int(found['orders'])} open orders{how}", heal + book, "s"),
        Figure("  of which: found by their ids", heal, "s"),
        Figure("  of which: read, booked, ended", book, "s"),
    ]


@contextmanager
def _firm(count: int) -> Iterator[Runtime]:
    """Yield a firm whose customers' first hundred dollars are planned and not sent."""
    with tempfile.TemporaryDirectory() as folder:
        seeding.found(Path(folder), _AT)
        with seeding.running(Path(folder), _AT) as runtime:
            everybody = seeding.open_accounts(runtime, count)
            seeding.agree(runtime, everybody)
            seeding.pay_in(runtime, everybody, "bench", _POLICY)
            r = runtime
            investing.plan(
                r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, _POLICY, "bench"
            )
            at = 1
            with r.db.write() as session:
                for one in everybody:
                    controls.link_account(session, one.account_id, "paper", one.id, at)
            yield runtime


def _orders(runtime: Runtime) -> int:
    return seeding.scalar(runtime.db, "SELECT count(*) FROM orders")


def _blocks(count: int) -> dict[str, float]:
    with _firm(count) as r:
        orders = _orders(r)
        desk = guarding.Desk(r.keyring, r.prices, r.calendar)
        began = perf_counter()
        guarding.judge(r.db, r.broker, r.clock, _POLICY, desk)
        guards = perf_counter() - began
        began = perf_counter()
        told = trading.send(r.db, r.broker, r.clock, _POLICY, "window", desk)
        _collect(r, r.broker)
        seconds = perf_counter() - began
    return {"orders": orders, "seconds": seconds, "told": told, "guards": guards}


def _single(count: int) -> dict[str, float]:
    with _firm(count) as r:
        orders = _orders(r)
        desk = guarding.Desk(r.keyring, r.prices, r.calendar)
        broker = Apart(r.broker)
        began = perf_counter()
        trading.send(r.db, broker, r.clock, _POLICY, "window", desk)
        _collect(r, broker)
        seconds = perf_counter() - began
    with _firm(count) as r:
        desk = guarding.Desk(r.keyring, r.prices, r.calendar)
        broker = Apart(r.broker, lose=True)
        trading.send(r.db, broker, r.clock, _POLICY, "window", desk)
        began = perf_counter()
        healed = trading.heal(r.db, broker, r.clock, _POLICY)
        heal = perf_counter() - began
        assert healed == orders
        began = perf_counter()
        _collect(r, broker)
        book = perf_counter() - began
    return {"orders": orders, "seconds": seconds, "heal": heal, "book": book}


def _over_http(count: int) -> dict[str, float]:
    """Tell orders of which no answer comes back, then ask for each by its id, over a socket."""
    with _firm(count) as r, _alpaca(r) as alpaca:
        orders = _orders(r)
        desk = guarding.Desk(r.keyring, r.prices, r.calendar)
        broker = Apart(alpaca, lose=True, place="omnibus")
        began = perf_counter()
        trading.send(r.db, broker, r.clock, _POLICY, "window", desk)
        tell = perf_counter() - began
        began = perf_counter()
        healed = trading.heal(r.db, broker, r.clock, _POLICY)
        heal = perf_counter() - began
        assert healed == orders
        began = perf_counter()
        _collect(r, broker)
        book = perf_counter() - began
    return {"orders": orders, "tell": tell, "heal": heal, "book": book}


@contextmanager
def _alpaca(runtime: Runtime) -> Iterator[Any]:
    """Yield the Trading API's adapter, and a server of the same market in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        with runtime.db.read() as session:
            listed = universe.listed(session)
        context = PluginContext(
            # Its clock is a copy that stands still: what would fill in parts would never end.
            {"ROBO_PAPER_START_CENTS": str(10**12), "ROBO_PAPER_PARTIAL_PPM": "0"},
            runtime.clock,
            Path(folder),
            runtime.calendar,
            listed,
            runtime.prices,
        )
        receiving, sending = Pipe(duplex=False)
        serving = get_context("fork").Process(target=_serve, args=(context, sending), daemon=True)
        serving.start()
        url: str = receiving.recv()
        settings = {
            "ROBO_ALPACA_KEY": "key",
            "ROBO_ALPACA_SECRET": "secret",
            "ROBO_ALPACA_URL": url,
            "ROBO_ALPACA_PER_MINUTE": str(10**6),
        }
        broker: Any = alpaca_trading.create(replace(context, settings=settings))
        try:
            yield broker
        finally:
            broker.close()
            serving.terminate()
            serving.join()


def _serve(context: PluginContext, sending: Connection) -> None:
    server = AlpacaServer(context, per_minute=10**7)
    sending.send(server.url)
    signal.pause()


def _collect(runtime: Runtime, broker: Any) -> None:
    """Book until every block has ended; orders that fill in parts need time to pass."""
    clock = runtime.clock
    assert isinstance(clock, FixedClock)
    for _ in range(_MINUTES_MAX):
        finishing.collect(runtime.db, runtime.keyring, broker, clock, _POLICY)
        if not seeding.scalar(runtime.db, "SELECT count(*) FROM block WHERE closed_at IS NULL"):
            return
        clock.advance(timedelta(minutes=1))
    message = "blocks do not end"
    raise AssertionError(message)
