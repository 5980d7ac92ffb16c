"""The paper broker on the simulated market, under random orders through two eventful years."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_adapters.paper import PaperBroker
from broker_adapters.simulated_market import SimulatedMarket
from robo.core.clock import FixedClock
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import OrderTicket, Side
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import ActionKind

NAMES = [ListedSecurity(SecurityId(i), f"T{i}", "technology", 10**12) for i in range(1, 61)]
SETTINGS = {
    "ROBO_SIM_EVENTS_PPM": "30000000",
    "ROBO_SIM_SEED": "27",
    "ROBO_PAPER_PARTIAL_PPM": "500000",
    "ROBO_PAPER_PARTIAL_SECONDS": "3600",
}

WAITS = (1, 90, 24 * 60, 30 * 24 * 60, 90 * 24 * 60)
"""Minutes."""

_security = st.sampled_from([s.id for s in NAMES])
_step = st.one_of(
    st.tuples(st.just("buy cents"), _security, st.integers(1, 10**7)),
    st.tuples(st.just("buy nanos"), _security, st.integers(1, 10**11)),
    st.tuples(st.just("sell cents"), _security, st.integers(1, 10**6)),
    st.tuples(st.just("sell nanos"), _security, st.integers(1, 10**11)),
    st.tuples(st.just("sell all"), _security, st.just(1)),
    st.tuples(st.just("cancel"), _security, st.integers(0, 60)),
    st.tuples(st.just("wait"), _security, st.sampled_from(WAITS)),
    st.tuples(st.just("restart"), _security, st.just(1)),
)
TOO_SLOW = HealthCheck.too_slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulated years are kept between examples."""
    return tmp_path_factory.mktemp("market")


def test_positions_and_cash_are_always_the_fold_of_executions_and_activities(
    cache: Path, short_calendar: MarketCalendar
):
    seen: Counter[ActionKind] = Counter()

    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[TOO_SLOW])
    @given(steps=st.lists(_step, min_size=20, max_size=40))
    def live(steps: list[tuple[str, SecurityId, int]]) -> None:
        seen.update(_live(steps, cache, short_calendar))

    live()

    print("activities met:", dict(seen))
    assert set(seen) >= set(ActionKind) - {ActionKind.STOCK_MERGER}


def _live(
    steps: list[tuple[str, SecurityId, int]], cache: Path, calendar: MarketCalendar
) -> Counter[ActionKind]:
    clock = FixedClock(datetime(2027, 1, 4, 15, 0, tzinfo=UTC))
    market = SimulatedMarket(PluginContext(SETTINGS, clock, cache, calendar, NAMES))
    with TemporaryDirectory() as directory:
        context = PluginContext(SETTINGS, clock, Path(directory), calendar, NAMES, market)
        broker = PaperBroker(context)
        for name in NAMES:
            broker.submit(_ticket(f"first-{name.id}", name.id, Side.BUY, cents=10**6))
        for number, (what, security_id, size) in enumerate(steps):
            broker = _do(broker, context, clock, f"o{number}", what, security_id, size)
            _check(broker)
        broker = _do(broker, context, clock, "", "wait", NAMES[0].id, 366 * 24 * 60)
        _check(broker)
        kinds = Counter(a.kind for a in broker.activities("", 10_000).activities)
        broker.close()
    return kinds


def _do(broker, context, clock, client_id, what, security_id, size) -> PaperBroker:
    if what == "wait":
        last = datetime(2027, 12, 20, tzinfo=UTC)
        clock.set(min(clock.now() + timedelta(minutes=size), last))
    elif what == "restart":
        broker.close()
        return PaperBroker(context)
    elif what == "cancel":
        broker.cancel(f"o{size}")
    elif what == "sell all":
        held = {p.security_id: p.nanos for p in broker.positions("omni")}
        if security_id in held:
            broker.submit(_ticket(client_id, security_id, Side.SELL, nanos=held[security_id]))
    else:
        side = Side.BUY if what.startswith("buy") else Side.SELL
        unit = what.split()[1]
        broker.submit(_ticket(client_id, security_id, side, **{unit: size}))
    return broker


def _ticket(client_id, security_id, side, cents=None, nanos=None) -> OrderTicket:
    return OrderTicket(client_id, "omni", security_id, f"T{security_id}", side, cents, nanos)


def _check(broker: PaperBroker) -> None:
    executions = broker.executions("", 10_000).executions
    activities = broker.activities("", 10_000).activities
    held: Counter[int] = Counter()
    cash = sum(a.cents for a in activities)
    for e in executions:
        sign = 1 if e.side is Side.BUY else -1
        held[e.security_id] += sign * e.nanos
        cash -= sign * e.cents + e.fee_cents
        assert e.nanos > 0
        assert 0 <= e.fee_cents <= e.cents
    for a in activities:
        held[a.security_id] += a.nanos_delta
        if a.new_security_id is not None:
            held[a.new_security_id] += a.new_nanos
    assert all(nanos >= 0 for nanos in held.values())
    assert {p.security_id: p.nanos for p in broker.positions("omni")} == {
        i: nanos for i, nanos in held.items() if nanos
    }
    assert broker.cash("omni").total_cents == cash
    assert len({e.id for e in executions}) == len(executions)
    for client_id, cents in _sums(executions).items():
        order = broker.find(client_id)
        assert order is not None
        assert order.filled_cents == cents
        assert order.notional_cents is None or cents <= order.notional_cents
        assert order.nanos is None or order.filled_nanos <= order.nanos


def _sums(executions) -> Counter[str]:
    out: Counter[str] = Counter()
    for e in executions:
        out[e.client_id] += e.cents
    return out
