"""Orders through the Alpaca-shaped server with random faults and kills: once each, to the digit."""

import secrets
from pathlib import Path

import pytest
from broker_soak import Soak, many

from broker_adapters.alpaca_server.faults import FaultKind
from robo.core.market_calendar import MarketCalendar


@pytest.mark.parametrize(("adapter", "seed"), [("alpaca_trading", 5), ("alpaca_broker", 12)])
def test_two_rounds_of_faults_and_kills_leave_books_and_broker_equal(
    tmp_path: Path, short_calendar: MarketCalendar, adapter: str, seed: int
) -> None:
    soak = Soak(
        tmp_path, short_calendar, seed, 2, 10, adapter, faults_a_round=10, customers=2, late=1
    )
    soak.patience_seconds = 4.0  # a late answer would spare the process that was to be killed

    found = soak.run()

    assert found["orders"] > 5  # a throttle that is dealt lets fewer through on a slow machine
    assert found["killed"] >= 1
    assert found["faults"] >= 3


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_a_hundred_thousand_orders_with_faults_and_kills() -> None:
    seed = secrets.randbelow(2**31)
    print(f"\nbroker soak: seed {seed}")

    found = many(seed, 100_000, rounds=10, names=400, faults_a_round=40)

    print(dict(found))
    assert found["orders"] >= 100_000
    assert found["killed"] >= 40
    dealt = {kind for kind in FaultKind if found[f"fault {kind}"]}
    assert dealt == set(FaultKind)
    assert found["declined"] >= 1
