"""A market for the Alpaca tests: hand-written prices and actions, a clock, a server, adapters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from broker_adapters import alpaca_trading
from broker_adapters.alpaca_server import events
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.clock import FixedClock
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import Execution, OrderTicket, Side
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import CorporateAction, Quote

OMNIBUS = "omnibus/firm_1"
APPLE, BANK, COAL, CHILD = SecurityId(1), SecurityId(2), SecurityId(3), SecurityId(900)
SYMBOLS = {APPLE: "AAA", BANK: "BBB", COAL: "CCC"}
MONDAY = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
TUESDAY = date(2026, 3, 3)
SHARE = 10**9
OPENING_CENTS = 100_000_00


@dataclass
class Feed:
    """One price a name, changed by the test; actions on demand."""

    micros: dict[SecurityId, int] = field(
        default_factory=lambda: {APPLE: 100_000_000, BANK: 50_000_000, COAL: 10_000_000}
    )
    by_day: dict[date, list[CorporateAction]] = field(default_factory=dict)
    halted: set[SecurityId] = field(default_factory=set)
    name: str = "SIM-feed"
    simulated: bool = True

    def quotes(self, ids: Sequence[SecurityId], at: datetime) -> Mapping[SecurityId, Quote]:
        return {
            i: Quote(i, p, p - 10_000, p + 10_000, at, halted=i in self.halted)
            for i in ids
            if (p := self.micros.get(i))
        }

    def closes(self, _on: date) -> Mapping[SecurityId, int]:
        return dict(self.micros)

    def total_returns(self, ids: Any, last: date, count: int) -> Sequence[Sequence[float | None]]:
        raise NotImplementedError(ids, last, count)

    def actions(self, on: date) -> Sequence[CorporateAction]:
        return self.by_day.get(on, [])

    def plan(self, action: CorporateAction) -> None:
        self.by_day.setdefault(action.ex_on, []).append(action)


@dataclass
class Ground:
    """A server, and adapters that point at it."""

    folder: Path
    calendar: MarketCalendar
    settings: dict[str, str]
    clock: FixedClock = field(default_factory=lambda: FixedClock(MONDAY))
    feed: Feed = field(default_factory=Feed)
    per_minute: int = 1_000_000
    opened: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = AlpacaServer(self.context("server"), per_minute=self.per_minute)
        self.opened.append(self.server)

    def context(self, folder: str, **settings: str) -> PluginContext:
        return PluginContext(
            settings={"ROBO_PAPER_PARTIAL_PPM": "0", **self.settings, **settings},
            clock=self.clock,
            state_dir=self.folder / folder,
            calendar=self.calendar,
            securities=[ListedSecurity(i, s, "technology", 10**13) for i, s in SYMBOLS.items()],
            prices=self.feed,
        )

    def adapter_settings(self, **settings: str) -> dict[str, str]:
        return {
            "ROBO_ALPACA_KEY": "key-id-7",
            "ROBO_ALPACA_SECRET": "very-secret-9",
            "ROBO_ALPACA_URL": self.server.url,
            "ROBO_ALPACA_BROKER_URL": self.server.url,
            "ROBO_ALPACA_DATA_URL": self.server.url,
            "ROBO_ALPACA_PER_MINUTE": "1000000",
            "ROBO_ALPACA_OPENING_CENTS": str(OPENING_CENTS),
            **settings,
        }

    def trading(self, **settings: str) -> alpaca_trading.AlpacaTrading:
        context = self.context("adapter", **self.adapter_settings(**settings))
        made = alpaca_trading.create(context)
        assert isinstance(made, alpaca_trading.AlpacaTrading)
        self.opened.append(made)
        return made

    def wait(self, **delta: float) -> None:
        self.clock.advance(timedelta(**delta))

    def close(self) -> None:
        for one in reversed(self.opened):
            one.close()


@contextmanager
def ground_at(folder: Path, calendar: MarketCalendar, **settings: str) -> Iterator[Ground]:
    made = Ground(folder, calendar, settings)
    try:
        with quick_heartbeat():
            yield made
    finally:
        made.close()


def by_value(client_id: str, security_id: SecurityId, cents: int) -> OrderTicket:
    symbol = SYMBOLS[security_id]
    return OrderTicket(client_id, OMNIBUS, security_id, symbol, Side.BUY, cents, None)


def by_shares(
    client_id: str, security_id: SecurityId, nanos: int, side: Side = Side.BUY
) -> OrderTicket:
    symbol = SYMBOLS[security_id]
    return OrderTicket(client_id, OMNIBUS, security_id, symbol, side, None, nanos)


def net_cents(executions: Sequence[Execution]) -> int:
    return sum(-e.cents if e.side is Side.BUY else e.cents - e.fee_cents for e in executions)


@contextmanager
def quick_heartbeat() -> Iterator[None]:
    """Let a stream say soon that everything was told: who reads it need not wait for silence."""
    with patch.object(events, "_HEARTBEAT_SECONDS", 0.1):
        yield


@contextmanager
def patience(broker: alpaca_trading.AlpacaTrading, read_seconds: float) -> Iterator[None]:
    """Wait so long for an answer: short only where none comes in time, or a busy machine fails."""
    transport = broker._http._client._session.adapters["http://"]
    usual, transport._timeouts = transport._timeouts, (10.0, read_seconds)
    try:
        yield
    finally:
        transport._timeouts = usual
