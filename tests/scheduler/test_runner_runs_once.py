"""The runner: one run a slot across processes, takeover, isolation, catch-up, order."""

import multiprocessing
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robo.core.clock import FixedClock
from robo.core.errors import BrokenInvariantError, RefusedError
from robo.core.market_calendar import MarketCalendar
from robo.store import jobs as runs
from robo.store.database import Database, connect
from scheduler.runner import LEASE, Job, Runner
from scheduler.when import AtClose, AtOpen, CatchUp, Every, Slot

FRIDAY_EVENING = datetime(2026, 3, 6, 22, 0, tzinfo=UTC)
Do = Callable[[Any, Slot], int]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(FRIDAY_EVENING)


@pytest.fixture
def runner_of(
    any_database: Database, clock: FixedClock, calendar: MarketCalendar
) -> Callable[..., Runner]:
    def make(*timetable: Job) -> Runner:
        runtime: Any = SimpleNamespace(db=any_database, clock=clock, calendar=calendar)
        return Runner(runtime, timetable)

    return make


def noting(seen: list[str]) -> Do:
    def do(_runtime: Any, slot: Slot) -> int:
        seen.append(slot.text)
        return 1

    return do


def test_a_daily_job_runs_once_a_session_whoever_asks(runner_of: Callable[..., Runner]) -> None:
    seen: list[str] = []
    job = Job("mark", AtClose(15), noting(seen), CatchUp.EACH)

    for runner in (runner_of(job), runner_of(job)):
        runner.tick()
        runner.tick()

    assert seen == ["2026-03-06"]


def test_missed_sessions_run_oldest_first(
    runner_of: Callable[..., Runner], clock: FixedClock
) -> None:
    seen: list[str] = []
    runner_of(Job("mark", AtClose(15), noting(seen), CatchUp.EACH)).tick()

    clock.advance(timedelta(days=5))
    runner_of(Job("mark", AtClose(15), noting(seen), CatchUp.EACH)).tick()

    assert seen == ["2026-03-06", "2026-03-09", "2026-03-10", "2026-03-11"]


def test_an_interval_runs_once_and_a_clock_that_goes_back_repeats_nothing(
    runner_of: Callable[..., Runner], clock: FixedClock
) -> None:
    seen: list[str] = []
    runner = runner_of(Job("bank", Every(2), noting(seen)))

    for second in (0, 1, 2, 3, -100, -99, 3, 4):
        clock.set(FRIDAY_EVENING + timedelta(seconds=second))
        runner.tick()

    assert [text[17:19] for text in seen] == ["00", "02", "04"]


def test_a_job_waits_for_what_must_come_before(
    runner_of: Callable[..., Runner], clock: FixedClock
) -> None:
    seen: list[str] = []
    ready = False

    def adjust(_runtime: Any, slot: Slot) -> int:
        if not ready:
            message = "not yet"
            raise RefusedError(message)
        return noting(seen)(_runtime, Slot("adjust " + slot.text, slot.on, slot.at))

    runner = runner_of(
        Job("mark", AtClose(15), noting(seen), CatchUp.EACH, after=("adjust",)),
        Job("adjust", AtOpen(-90), adjust, CatchUp.EACH),
    )
    runner.tick()
    assert seen == []

    ready = True
    for _ in range(3):
        clock.advance(timedelta(minutes=2))
        runner.tick()

    assert seen == ["adjust 2026-03-06", "2026-03-06"]


def test_a_failing_job_is_recorded_retried_and_stops_nobody(
    runner_of: Callable[..., Runner], clock: FixedClock, any_database: Database
) -> None:
    seen: list[str] = []

    def broken(_runtime: Any, _slot: Slot) -> int:
        seen.append("broken")
        message = "a secret text that must not be stored"
        raise ValueError(message)

    runner = runner_of(Job("bad", AtClose(15), broken), Job("good", AtClose(15), noting(seen)))
    runner.tick()
    runner.tick()
    clock.advance(timedelta(minutes=2))
    runner.tick()

    with any_database.read() as session:
        (failure,) = runs.failures(session, 10)
    assert seen == ["broken", "2026-03-06", "broken"]
    assert (failure.job, failure.subject, failure.code) == ("bad", "bad", "unexpected")
    assert failure.detail == "ValueError"


def test_a_broken_invariant_stops_the_runner(
    runner_of: Callable[..., Runner], any_database: Database
) -> None:
    seen: list[str] = []

    def wrong(_runtime: Any, _slot: Slot) -> int:
        message = "the books are wrong"
        raise BrokenInvariantError(message)

    runner = runner_of(Job("books", Every(2), wrong), Job("good", Every(2), noting(seen)))
    with pytest.raises(BrokenInvariantError):
        runner.tick()

    with any_database.read() as session:
        assert runs.states(session, "books", [runs.EVERY]) == {runs.EVERY: "failed"}
    assert seen == []


def test_a_dead_owner_is_taken_over_and_a_living_one_is_not(
    runner_of: Callable[..., Runner], clock: FixedClock, any_database: Database
) -> None:
    seen: list[str] = []
    job = Job("mark", AtClose(15), noting(seen))
    dead = runner_of(job)
    with any_database.write() as session:
        lease = dead._lease(clock.now())
        assert runs.claim(session, "mark", "2026-03-06", lease)

    clock.advance(LEASE / 2)
    runner_of(job).tick()
    with any_database.write() as session:
        runs.beat(session, dead.owner, dead._lease(clock.now()).at)
    clock.advance(LEASE - timedelta(seconds=1))
    runner_of(job).tick()
    assert seen == []

    clock.advance(timedelta(seconds=2))
    runner_of(job).tick()
    assert seen == ["2026-03-06"]
    with any_database.write() as session:
        assert not runs.finish(session, "mark", "2026-03-06", lease, "done"), "it lost the run"


def test_a_skipped_slot_lets_what_waits_go_on(
    runner_of: Callable[..., Runner],
) -> None:
    seen: list[str] = []
    adjust = Job("adjust", AtOpen(-90), noting([]), CatchUp.EACH)
    runner = runner_of(
        Job("mark", AtClose(15), noting(seen), after=("adjust",)),
    )
    runner.tick()
    assert seen == []

    runner.skip(adjust, Slot("2026-03-06", FRIDAY_EVENING.date(), FRIDAY_EVENING))
    runner._quiet_until.clear()
    runner.tick()

    assert seen == ["2026-03-06"]


def test_running_again_by_hand_is_possible_and_explicit(
    runner_of: Callable[..., Runner],
) -> None:
    seen: list[str] = []
    job = Job("mark", AtClose(15), noting(seen))
    runner = runner_of(job)
    slot = Slot("2026-03-06", FRIDAY_EVENING.date(), FRIDAY_EVENING)

    assert runner.run(job, slot)
    assert not runner.run(job, slot)
    assert runner.run(job, slot, again=True)

    assert seen == ["2026-03-06", "2026-03-06"]


SECONDS = 12


def _process(url: str, log: Path, calendar: MarketCalendar, together: Barrier) -> None:
    """Wake up in the same instants as all others, each of which lasts until all have."""

    def note(name: str) -> Do:
        def do(_runtime: Any, slot: Slot) -> int:
            with log.open("a", encoding="utf-8") as out:
                out.write(f"{name} {slot.text}\n")
            return 1

        return do

    clock = FixedClock(FRIDAY_EVENING)
    runtime: Any = SimpleNamespace(db=connect(url), clock=clock, calendar=calendar)
    timetable = (
        Job("fast", Every(1), note("fast")),
        Job("daily", AtClose(15), note("daily"), CatchUp.EACH),
    )
    runner = Runner(runtime, timetable)
    for _ in range(SECONDS):
        together.wait(240)
        runner.tick()
        runner.tick()
        together.wait(240)
        clock.advance(timedelta(seconds=1))


def test_four_processes_fire_each_slot_exactly_once(
    migrated_url: str, tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    db = connect(migrated_url)
    log = tmp_path / "fired.txt"
    log.touch()
    context = multiprocessing.get_context("spawn")
    given = (migrated_url, log, short_calendar, context.Barrier(4))
    processes = [context.Process(target=_process, args=given) for _ in range(4)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(280)

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    fired = Counter(log.read_text(encoding="utf-8").splitlines())
    assert set(fired.values()) == {1}, fired
    seconds = [line.split()[1] for line in fired if line.startswith("fast")]
    due = {FRIDAY_EVENING + timedelta(seconds=n) for n in range(SECONDS)}
    assert {datetime.fromisoformat(second) for second in seconds} == due, "no slot is lost"
    assert sum(line.startswith("daily") for line in fired) == 1
    with db.read() as session:
        assert runs.last_slot(session, "daily") is not None
    db.close()
