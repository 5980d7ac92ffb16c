"""Orders through the Alpaca-shaped server with random faults and kills: once each, to the digit."""

import secrets
from pathlib import Path

import pytest
from broker_soak import Soak

from robo.core.market_calendar import MarketCalendar


def test_a_few_rounds_of_faults_and_kills_leave_books_and_broker_equal(
    tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    found = Soak(tmp_path, short_calendar, seed=5, rounds=1, names=30, faults_a_round=8).run()

    assert found["orders"] > 25
    assert found["killed"] >= 1


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_a_hundred_thousand_orders_with_faults_and_kills(
    tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    seed = secrets.randbelow(2**31)
    print(f"\nbroker soak: seed {seed}")

    found = Soak(tmp_path, short_calendar, seed, rounds=90, names=1_300, faults_a_round=40).run()

    print(found)
    assert found["orders"] >= 100_000
