"""A clock that leaps: one wrong reading costs nothing, a leap that lasts is believed."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from robo.core.clock import FixedClock
from robo.core.market_calendar import MarketCalendar
from robo.store.database import Database
from scheduler.runner import Job, Runner
from scheduler.when import AtOpen, CatchUp, Every, Slot

FRIDAY_EVENING = datetime(2026, 3, 6, 22, 0, tzinfo=UTC)


class Machine:
    """A runner whose wall clock and whose stopwatch a test moves apart."""

    def __init__(self, db: Database, calendar: MarketCalendar) -> None:
        self.seen: list[str] = []
        self.clock = FixedClock(FRIDAY_EVENING)
        self.passed = 1_000.0
        runtime: Any = SimpleNamespace(db=db, clock=self.clock, calendar=calendar)
        jobs = (
            Job("adjust", AtOpen(-570), self._note, CatchUp.EACH),
            Job("money", Every(2), self._note),
        )
        self.runner = Runner(runtime, jobs, elapsed=lambda: self.passed)

    def _note(self, _runtime: Any, slot: Slot) -> int:
        self.seen.append(slot.text)
        return 1

    def wake(self, seconds: int) -> list[str]:
        """Let time pass and wake once a second; return what ran."""
        self.seen.clear()
        for _ in range(seconds):
            self.passed += 1
            self.clock.advance(timedelta(seconds=1))
            self.runner.tick()
        return list(self.seen)


@pytest.fixture
def machine(any_database: Database, calendar: MarketCalendar) -> Machine:
    made = Machine(any_database, calendar)
    made.wake(2)
    return made


def test_a_wrong_reading_a_year_ahead_uses_up_nothing(machine: Machine) -> None:
    machine.clock.advance(timedelta(days=365))
    wrong = machine.wake(3)

    machine.clock.set(FRIDAY_EVENING + timedelta(seconds=10))
    right = machine.wake(4)
    assert (wrong, len(right)) == ([], 3)

    machine.clock.set(datetime(2026, 3, 9, 12, 0, tzinfo=UTC))
    assert "2026-03-09" in machine.wake(70)


def test_a_machine_that_slept_for_days_makes_up_for_them_a_minute_after(machine: Machine) -> None:
    machine.clock.advance(timedelta(days=5))

    assert machine.wake(59) == []
    assert machine.wake(5)[:3] == ["2026-03-09", "2026-03-10", "2026-03-11"]


def test_readings_that_contradict_each_other_are_not_believed_together(machine: Machine) -> None:
    for _ in range(4):
        machine.clock.advance(timedelta(days=30))
        assert machine.wake(40) == []


def test_an_ordinary_step_of_the_clock_is_followed_at_once(machine: Machine) -> None:
    machine.clock.advance(timedelta(hours=23))

    assert len(machine.wake(1)) == 1


def test_a_clock_that_was_believed_and_is_put_right_stops_no_job_of_a_few_seconds(
    machine: Machine,
) -> None:
    machine.clock.advance(timedelta(days=365))
    assert machine.wake(70)

    machine.clock.set(FRIDAY_EVENING + timedelta(minutes=2))

    assert len(machine.wake(4)) == 3
