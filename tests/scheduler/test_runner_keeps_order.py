"""The order within a wake-up: what a session is due first, and nothing planned before `adjust`."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from world import World, make_world

from baskets.catalog import catalog
from robo.core.clock import NEW_YORK
from robo.core.errors import RefusedError
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.ports.prices import ActionKind, CorporateAction
from scheduler.jobs import TIMETABLE
from scheduler.runner import Job, Runner
from scheduler.when import Every, Slot

TUESDAY_BEGINS = datetime(2026, 3, 3, 5, 0, 0, 500_000, tzinfo=UTC)
WAITING = {
    "plan-withdrawals",
    "receive-positions",
    "sell-restricted",
    "invest-cash",
    "trade-window",
}
DAILY = [job.name for job in TIMETABLE if not isinstance(job.when, Every)]


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


class Diary:
    """The real timetable with jobs that only write down that they ran, or fail."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failing: set[str] = set()

    def timetable(self) -> list[Job]:
        return [replace(job, do=self._noting(job.name)) for job in TIMETABLE]

    def _noting(self, name: str) -> Any:
        def do(_runtime: Any, _slot: Slot) -> int:
            if name in self.failing:
                message = "not now"
                raise RefusedError(message)
            self.seen.append(name)
            return 1

        return do


def test_what_a_session_is_due_runs_before_what_runs_every_few_seconds(world: World) -> None:
    diary = Diary()
    runner = Runner(world.runtime, diary.timetable())
    runner.tick()
    diary.seen.clear()

    world.clock.set(TUESDAY_BEGINS + timedelta(days=10))
    runner.tick()

    often = [job.name for job in TIMETABLE if isinstance(job.when, Every)]
    first = ["collect-fills", "book-positions", "bring-actions"]
    often = [name for name in often if name not in first]
    assert diary.seen[:3] == first, "yesterday's executions and arrivals are of yesterday's shares"
    assert diary.seen[3] == "adjust"
    assert list(dict.fromkeys(diary.seen[3:])) == [*DAILY, *often]


def test_nothing_is_planned_or_sent_while_a_due_adjust_is_not_done(world: World) -> None:
    diary = Diary()
    runner = Runner(world.runtime, diary.timetable())
    runner.tick()
    diary.seen.clear()
    diary.failing = {"adjust"}

    world.clock.set(TUESDAY_BEGINS)
    for _ in range(40):
        runner.tick()
        world.clock.advance(timedelta(seconds=2))
    assert {"collect-bank", "collect-fills", "book-fills", "book-positions"} <= set(diary.seen)
    assert not WAITING & set(diary.seen)

    diary.failing.clear()
    world.clock.advance(timedelta(minutes=2))
    runner.tick()

    assert set(diary.seen) >= {"adjust", *WAITING}


def test_a_runner_just_started_asks_the_database_whether_adjust_is_done(world: World) -> None:
    diary = Diary()
    Runner(world.runtime, diary.timetable()).tick()
    diary.seen.clear()
    diary.failing = {"collect-fills"}

    world.clock.set(TUESDAY_BEGINS)
    Runner(world.runtime, diary.timetable()).tick()
    assert "adjust" not in diary.seen, "it waits for the executions"
    assert not WAITING & set(diary.seen)


def test_a_job_that_takes_us_past_midnight_does_not_let_plans_run_before_adjust(
    world: World,
) -> None:
    diary = Diary()
    timetable = diary.timetable()
    runner = Runner(world.runtime, timetable)
    runner.tick()
    diary.seen.clear()

    def slow(_runtime: Any, _slot: Slot) -> int:
        world.clock.set(TUESDAY_BEGINS)
        return 1

    index = [job.name for job in timetable].index("collect-bank")
    timetable[index] = replace(timetable[index], do=slow)
    world.clock.set(TUESDAY_BEGINS - timedelta(seconds=3))
    runner.tick()

    assert "collect-fills" in diary.seen
    assert not WAITING & set(diary.seen)


def first_split(world: World) -> tuple[CorporateAction, str]:
    baskets = {part.security_id: one.id for one in catalog().all() for part in one.constituents}
    world.clock.set(datetime(2027, 6, 1, 15, 0, tzinfo=UTC))
    return next(
        (action, baskets[action.security_id])
        for session in world.runtime.calendar.sessions[45:]
        for action in world.runtime.prices.actions(session)
        if action.kind is ActionKind.SPLIT and action.security_id in baskets
    )


def test_a_deposit_waiting_at_midnight_buys_shares_that_the_split_does_not_touch(
    world: World,
) -> None:
    split, basket = first_split(world)
    ex_on, security = split.ex_on, split.security_id
    calendar = world.runtime.calendar

    def wake(on: int, at: time, times: int) -> None:
        day = calendar.shift(ex_on, on)
        world.clock.set(datetime.combine(day, at, tzinfo=NEW_YORK).astimezone(UTC))
        for _ in range(times):
            runner.tick()
            world.clock.advance(timedelta(seconds=30))

    runner = Runner(world.runtime, TIMETABLE)
    world.clock.set(datetime.combine(calendar.shift(ex_on, -2), time(10), tzinfo=NEW_YORK))
    buying, resting = world.add_accounts(2, basket)
    world.pay_in(buying, 100_000)
    world.pay_in(resting, 100_000)
    world.trade()
    before = held(world, resting, security)
    wake(-1, time(20), 2)

    world.pay_in(buying, 50_000, "late")
    wake(0, time(0, 0, 0, 100_000), 6)
    wake(0, time(12), 6)
    wake(0, time(17), 3)

    bought = held(world, buying, security) - held(world, resting, security)
    assert held(world, resting, security) == before * split.ratio_num // split.ratio_den
    assert 0 < bought < 2 * before
    assert world.findings() == []
    assert broker_nanos(world, security) == sum(
        held(world, one, security) for one in (buying, resting)
    )


def held(world: World, account: AccountId, security: int) -> int:
    return dict(world.balances(account).holdings_nanos)[security]


def broker_nanos(world: World, security: int) -> int:
    positions = world.runtime.broker.positions("omnibus/firm_house")
    return next(one.nanos for one in positions if one.security_id == security)
