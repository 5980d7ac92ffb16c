"""What is run or skipped by hand: never beside the runner, never past an earlier session."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from robo.core.clock import FixedClock
from robo.core.errors import ConflictError, InvalidInputError, RefusedError
from robo.core.market_calendar import MarketCalendar
from robo.store.database import Database
from scheduler import commands
from scheduler.jobs import find
from scheduler.runner import Job, Runner
from scheduler.when import AtOpen, CatchUp, Every, Slot, interval_slot, session_slot

FRIDAY_EVENING = datetime(2026, 3, 6, 22, 0, tzinfo=UTC)
ADJUST = AtOpen(-570)
MONEY = Every(2)
Make = Callable[..., Runner]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(FRIDAY_EVENING)


@pytest.fixture
def make(any_database: Database, clock: FixedClock, calendar: MarketCalendar) -> Make:
    def runner(*timetable: Job) -> Runner:
        runtime: Any = SimpleNamespace(db=any_database, clock=clock, calendar=calendar)
        return Runner(runtime, timetable)

    return runner


def noting(seen: list[str]) -> Callable[[Any, Slot], int]:
    def do(_runtime: Any, slot: Slot) -> int:
        seen.append(slot.text)
        return 1

    return do


@pytest.mark.parametrize("how", [Runner.run, Runner.skip])
def test_a_session_cannot_be_run_or_skipped_past_an_earlier_one_that_is_due(
    make: Make,
    clock: FixedClock,
    calendar: MarketCalendar,
    how: Callable[[Runner, Job, Slot], bool],
) -> None:
    seen: list[str] = []
    adjust = Job("adjust", ADJUST, noting(seen), CatchUp.EACH)
    make(adjust).tick()
    clock.advance(timedelta(days=6))

    with pytest.raises(ConflictError) as refused:
        how(make(adjust), adjust, session_slot(ADJUST, date(2026, 3, 12), calendar))
    assert refused.value.code == "earlier_session_due"

    assert how(make(adjust), adjust, session_slot(ADJUST, date(2026, 3, 9), calendar))
    make(adjust).tick()

    by_hand = ["2026-03-09"] if how is Runner.run else []
    assert seen == ["2026-03-06", *by_hand, "2026-03-10", "2026-03-11", "2026-03-12"]


def test_a_session_that_is_not_due_yet_can_be_neither_run_nor_skipped(
    make: Make, clock: FixedClock
) -> None:
    job = find("adjust")
    assert job is not None
    clock.set(FRIDAY_EVENING)

    with pytest.raises(InvalidInputError) as refused:
        commands._slot(make(job).runtime, job, date(2026, 12, 24))

    assert refused.value.code == "not_due"


def test_work_of_every_few_seconds_is_not_done_by_hand_beside_the_runner(
    make: Make, clock: FixedClock
) -> None:
    answers: list[bool] = []
    seen: list[str] = []

    def book(_runtime: Any, slot: Slot) -> int:
        seen.append(slot.text)
        if len(seen) == 1:
            answers.extend(make(collect, again).run(one, slot) for one in (collect, again))
        return 1

    collect, again = Job("collect-fills", MONEY, book), Job("book-fills", MONEY, book)
    runner = make(collect)
    runner.tick()
    assert answers == [False, False], "the runner holds it, by one of its two names"
    assert len(seen) == 1

    assert make(collect, again).run(again, interval_slot(MONEY, clock.now()))
    clock.advance(timedelta(seconds=2))
    runner.tick()
    assert len(seen) == 3


def test_work_that_a_hand_is_doing_is_left_to_it_by_the_runner(
    make: Make, clock: FixedClock
) -> None:
    seen: list[int] = []

    def book(_runtime: Any, _slot: Slot) -> int:
        seen.append(1)
        if len(seen) == 1:
            clock.advance(timedelta(seconds=10))
            make(*timetable).tick()
        return 1

    timetable = [Job("collect-fills", MONEY, book), Job("book-fills", MONEY, book)]
    assert make(*timetable).run(timetable[0], interval_slot(MONEY, clock.now()))

    assert len(seen) == 1


def test_nothing_is_planned_by_hand_while_adjust_is_due(make: Make, clock: FixedClock) -> None:
    seen: list[str] = []

    def broken(_runtime: Any, _slot: Slot) -> int:
        message = "not now"
        raise RefusedError(message)

    adjust = Job("adjust", ADJUST, broken, CatchUp.EACH)
    invest = Job("invest-cash", MONEY, noting(seen), after=("adjust",))
    slot = interval_slot(MONEY, clock.now())

    with pytest.raises(ConflictError) as refused:
        make(adjust, invest).run(invest, slot)
    assert refused.value.code == "job_must_wait"

    make(adjust).skip(adjust, Slot("2026-03-06", FRIDAY_EVENING.date(), FRIDAY_EVENING))
    assert make(adjust, invest).run(invest, slot)
    assert seen == [slot.text]
