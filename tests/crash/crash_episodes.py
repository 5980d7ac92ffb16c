"""Episodes: a process that dies several times, also while it recovers; and machines that stay off.

`many_kills` keeps the instant of the play, so that the end must equal the undisturbed run's to the
last bit. `outage` lets the real runner play the real timetable with claims and leases while time
goes on between death and restart: the histories differ then, and the oracle judges.
"""

import mmap
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

import crash_oracle as oracle
from crash_lab import Lab, fork, killed
from crash_points import POINTS
from crash_stage import BAD_LINK, Stage

from robo.core.clock import NEW_YORK, from_micros, to_micros
from scheduler.jobs import TIMETABLE
from scheduler.runner import LEASE, Runner

_EARLY: Final = 60
"""A second death this few points after a restart strikes the recovery itself."""


class Diary:
    """Numbers that outlive a child: shared memory, written before it goes on."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    def write(self, step: int, micros: int = 0) -> None:
        self._memory[:16] = struct.pack("qq", step, micros)

    def read(self) -> tuple[int, int]:
        step, micros = struct.unpack("qq", self._memory[:16])
        return int(step), int(micros)


def many_kills(lab: Lab, seed: int) -> tuple[int, list[str]]:
    """Play from a quiet moment to a later one with some deaths; return deaths and wrongs."""
    dice = random.Random(seed)
    quiet = [n for n, scene in enumerate(lab.play) if scene.quiet]
    start = dice.choice([0, *(n + 1 for n in quiet[:-1])])
    end = next(n for n in quiet if n >= start)
    lab.restore(start)
    diary, deaths = Diary(), 0
    diary.write(start)
    for _ in range(dice.randint(2, 3)):
        first, _unused = diary.read()
        left = sum(len(lab.points[n]) for n in range(first, end + 1))
        early = deaths > 0 and dice.random() < 0.5
        point = dice.randrange(min(left, _EARLY) if early else left)
        status, answer = fork(_playing(lab, diary, end, point))
        deaths += killed(status)
        if status == 0:
            break  # it had less to do than it would have had without the deaths before
        if not killed(status):
            return deaths, [f"seed {seed}: {answer}"]
    first, _unused = diary.read()

    def finish() -> list[str]:
        for number in range(first, end + 1):
            lab.stage.play(lab.play[number])
        lab.stage.close()
        return lab.judge(end)

    status, answer = fork(finish)
    wrongs = answer if status == 0 else [str(answer)]
    return deaths, [f"seed {seed}: {wrong}" for wrong in wrongs]


def _playing(lab: Lab, diary: Diary, end: int, point: int) -> Callable[[], None]:
    def work() -> None:
        first, _unused = diary.read()
        with POINTS.counting(point):
            for number in range(first, end + 1):
                diary.write(number)
                lab.stage.play(lab.play[number])
        diary.write(end)

    return work


@dataclass(frozen=True)
class Step:
    """What happens in the world at an instant, and how often the runner wakes up afterwards."""

    at: datetime
    ticks: int
    ask: Callable[[Stage], None] | None = None


def _at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(date(2026, 3, day), time(hour, minute), tzinfo=NEW_YORK)


def _asking(stage: Stage) -> None:
    stage.deposit(0, 3_00, "first")
    stage.deposit(1, 100_00, "first")
    stage.deposit(2, 250_00, "bad", BAD_LINK)


STEPS: Final = (
    Step(_at(2, 10), 3, _asking),
    Step(_at(2, 16, 16), 1),
    Step(_at(3, 8, 20), 1),
    Step(_at(3, 10), 3, lambda stage: stage.deposit(2, 252_00, "good")),
    Step(_at(4, 10), 4, lambda stage: stage.withdraw(1, 30_00)),
    Step(_at(5, 10), 2),
    Step(_at(6, 10), 4, lambda stage: stage.withdraw(0, None)),
    Step(_at(9, 10), 3),
    Step(_at(10, 10), 3),
    Step(_at(11, 10), 3),
    Step(_at(12, 10), 2),
)


def outage(lab: Lab, seed: int) -> tuple[int, list[str]]:
    """Play the days with the runner and up to three deaths; return deaths and wrongs."""
    dice = random.Random(seed)
    lab.restore(0)
    diary, deaths = Diary(), 0
    diary.write(0)
    for kill_at in [*(dice.randrange(100, 6_000) for _ in range(dice.randint(1, 3))), -1]:
        status, answer = fork(_living(lab, diary, kill_at))
        if not killed(status):
            wrongs = answer if status == 0 else [str(answer)]
            return deaths, [f"seed {seed}: {wrong}" for wrong in wrongs]
        deaths += 1
        step, micros = diary.read()
        off = LEASE + timedelta(seconds=dice.randint(1, 900))
        diary.write(step, micros + off // timedelta(microseconds=1))
    return deaths, [f"seed {seed}: the last life did not end"]


def _living(lab: Lab, diary: Diary, kill_at: int) -> Callable[[], list[str]]:
    def work() -> list[str]:
        first, micros = diary.read()
        runner = Runner(lab.stage.world.runtime, TIMETABLE)
        with POINTS.counting(kill_at):
            for number in range(first, len(STEPS)):
                _live(lab.stage, runner, diary, number, micros)
        lab.stage.close()
        return _judge(lab)

    return work


def _live(stage: Stage, runner: Runner, diary: Diary, number: int, not_before: int) -> None:
    """Live through one step: ask until there is an answer, then let the runner wake up."""
    step, clock = STEPS[number], stage.world.clock
    clock.set(max(step.at, from_micros(not_before)))
    diary.write(number, to_micros(clock.now()))
    if step.ask is not None:
        step.ask(stage)
    for _ in range(step.ticks):
        runner.tick()
        clock.advance(timedelta(seconds=61))
        diary.write(number, to_micros(clock.now()))


def _judge(lab: Lab) -> list[str]:
    """Return what is wrong at the end of the days, whatever their history was."""
    wrong = oracle.wrongs_of(lab.state)
    wrong += [str(finding) for finding in lab.stage.world.findings()]
    with oracle.asking(lab.state / "robo.db") as books:
        return [*wrong, *_unfinished(books)]


def _unfinished(books: oracle.Ask) -> Iterator[str]:
    """Yield what the people asked for and did not get."""
    yield from (f"job failed {row}" for row in books("SELECT job, code FROM job_failure"))
    states = sorted(books("SELECT state, closing, cents FROM withdrawal"))
    if [row[:2] for row in states] != [("paid", 0), ("paid", 1)] or states[0][2] != 30_00:
        yield f"withdrawals ended as {states}"
    accounts = sorted(row[0] for row in books("SELECT state FROM account"))
    if accounts != ["closed", "open", "open"]:
        yield f"accounts ended as {accounts}"
    owed = books("SELECT id FROM deposit WHERE owed_cents > 0 OR state = 'requested'")
    yield from (f"deposit unfinished {row}" for row in owed)
