"""Recurring deposits after a downtime: the policy's few latest dates, not every one."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import funds
import pytest
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.services import funding
from scheduler.jobs import find
from scheduler.runner import Runner


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def test_ten_weeks_of_downtime_ask_the_bank_for_the_policys_few_latest_dates(world: World) -> None:
    job = find("run-plans")
    assert job is not None
    runtime = world.runtime
    account = funds.investor(world)
    link = funds.link_of(world, account)
    funding.create_plan(
        world.db, world.clock, runtime.policy, "pln_1", account, link, 2_500, "weekly", 5
    )
    Runner(runtime, [job]).tick()

    world.clock.advance(timedelta(weeks=10))
    for _ in range(2):
        Runner(runtime, [job]).tick()

    with world.db.read() as session:
        asked = session.connection().exec_driver_sql("SELECT count(*) FROM deposit").scalar_one()
    assert asked == runtime.policy.plan_catch_up_max
    assert funds.kinds(world).count("plan.skipped") == 1
