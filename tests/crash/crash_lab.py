"""Kills a process at every point of the play, restarts it, and looks for any difference.

The laboratory is a process of its own that has imported everything and connected to nothing when it
forks. It plays the whole piece once, undisturbed, and keeps the state before each scene and all
rows after it. Then, scene by scene:

* an *explorer* plays the scene. At each boundary (nothing open: no transaction, no connection) it
  forks one child for every point up to the next boundary. The child goes on with the job, connects,
  and dies at its point by SIGKILL. What it left is kept apart, the files are put back, the next
  child dies one point later. So every point costs its own piece of the way, not the whole of it.
* what a child left is handed to the laboratory, which forks a *heir*: a fresh process that plays
  the scene from its beginning, as a restart does. Then every row of our database, of the broker's
  and of the bank's must equal the undisturbed run's, and `verify` must find nothing.

Children that left the same rows behind share one heir: what a heir does follows from the rows, the
clock and the prices alone. Many-kill episodes (`crash_episodes`) share nothing.
"""

import filecmp
import gc
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import crash_oracle as oracle
from crash_mutants import Mutant
from crash_points import POINTS, watch_files, watch_transactions
from crash_stage import Scene, Stage, build, make_stage, scenes, take_short_turns
from world import years_of

from robo.core.market_calendar import MarketCalendar

ALIVE: Final = 77
"""Exit status of a child that came to the next boundary without passing its point."""


def parts(folder: Path) -> list[Path]:
    """Return, relative, the files that a crash may leave half-done; not SQLite's shared memory.

    That file (`-shm`) is rebuilt by the first process that opens a database after a crash.
    """
    found = [*folder.glob("robo.db*"), *folder.glob("paper/*"), *folder.glob("bank/*")]
    found += folder.glob("anchors/*.txt")
    return sorted(path.relative_to(folder) for path in found if not path.name.endswith("-shm"))


def keep(state: Path, to: Path) -> None:
    """Copy what a crash may have left half-done."""
    shutil.rmtree(to, ignore_errors=True)
    for part in parts(state):
        (to / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(state / part, to / part)


def put_back(kept: Path, state: Path) -> None:
    """Make the state directory what it was when it was kept."""
    for folder in ("", "paper", "bank", "anchors"):
        for path in (state / folder).glob("*.db*" if folder != "anchors" else "*"):
            path.unlink()
    for part in parts(kept):
        (state / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept / part, state / part)


def untouched(state: Path, kept: Path) -> bool:
    """Return whether files hold byte for byte what was kept, beside journals without a frame."""
    here = {part for part in parts(state) if (state / part).stat().st_size}
    return here == set(parts(kept)) and all(
        filecmp.cmp(state / part, kept / part, shallow=False) for part in here
    )


def fork(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run work in a child; return its wait status and what it answered, None if it died."""
    mine, theirs = Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            theirs.send(work())
            status = 0
        except BaseException:  # noqa: BLE001 - a child must never run on into the test
            theirs.send(traceback.format_exc())
        finally:
            os._exit(status)
    theirs.close()
    try:
        answer = mine.recv()
    except EOFError:
        answer = None
    mine.close()
    return os.waitpid(pid, 0)[1], answer


def killed(status: int) -> bool:
    """Return whether a wait status is death by SIGKILL."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@dataclass
class Report:
    """What was found out; `faults` must be empty."""

    kinds: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    heirs: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Lab:
    """The play, its undisturbed run, and a place for what children leave."""

    stage: Stage
    folder: Path
    play: Sequence[Scene]
    before: list[Path] = field(default_factory=list)
    after: list[oracle.Dump] = field(default_factory=list)
    points: list[list[tuple[str, str]]] = field(default_factory=list)
    boundaries: list[list[int]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """Return the live state directory."""
        return self.folder / "state"

    def save(self, number: int) -> None:
        """Remember the present files as those before a scene."""
        self.before.append(self.folder / f"before-{number}")
        keep(self.state, self.before[-1])

    def restore(self, number: int) -> None:
        """Make everything what it was before a scene."""
        put_back(self.before[number], self.state)

    def dump(self) -> oracle.Dump:
        """Return every row there is."""
        return oracle.dump(self.state)

    def wrongs(self) -> list[str]:
        """Return what is wrong where nothing is on its way."""
        return oracle.wrongs_of(self.state)

    def rehearse(self) -> None:
        """Play everything once, undisturbed; afterwards nothing is connected."""
        for number, scene in enumerate(self.play):
            self.stage.close()
            self.stage.forget()
            self.save(number)
            with POINTS.counting():
                self.stage.play(scene)
            self.points.append(POINTS.seen)
            self.boundaries.append(POINTS.boundaries)
            self.stage.close()
            self.after.append(self.dump())
            if scene.quiet:
                wrong = self.wrongs()
                assert not wrong, (scene, wrong)
        assert not self.stage.world.findings()
        self.stage.close()
        self.stage.forget()
        self.require_unconnected()
        gc.collect()
        gc.freeze()
        gc.disable()  # a child lives for milliseconds, and a search touches pages all share

    def require_unconnected(self) -> None:
        """Refuse to fork with a database file open."""
        for handle in Path("/proc/self/fd").glob("*"):  # empty where there is no /proc
            with suppress(FileNotFoundError):
                name = str(handle.readlink())
                assert ".db" not in name, name

    def heir(self, number: int) -> list[str]:
        """Restart: play a scene from its beginning on the present files; return what is wrong."""

        def work() -> list[str]:
            self.stage.play(self.play[number])
            self.stage.close()
            return self.judge(number)

        status, answer = fork(work)
        return answer if status == 0 else [f"the heir failed: {answer}"]

    def judge(self, number: int) -> list[str]:
        """Return how the files differ from the undisturbed run after a scene, and what is wrong."""
        wrong = oracle.differences(self.dump(), self.after[number])
        if self.play[number].quiet:
            wrong += self.wrongs()
        wrong += [str(finding) for finding in self.stage.world.findings()]
        self.stage.close()
        return wrong

    def die_at(self, number: int, point: int) -> None:
        """Play a scene from its beginning in a child that dies at a point of it."""

        def work() -> int:
            with POINTS.counting(point):
                self.stage.play(self.play[number])
            return POINTS.count

        status, answer = fork(work)
        assert killed(status), (self.play[number], point, answer)

    def show(self, mutant: Mutant, tries_max: int) -> tuple[int, list[str]]:
        """Return at how many points a mutated job was killed, and the first wrongs that showed.

        Undisturbed the mutant must do no wrong, or it would prove nothing about crashes. Points
        that follow a commit of the mutant's own are tried first.
        """
        places = [(scene.name, scene.at.day) for scene in self.play]
        number = places.index((mutant.scene, mutant.day))
        seen, wrong = self._live_wrongly(mutant, number, -1)
        assert not wrong, (mutant.name, wrong)
        order = random.Random(0).sample(range(len(seen)), len(seen))
        order.sort(key=lambda point: point == 0 or seen[point - 1] != "COMMIT")
        for tries, point in enumerate(order[:tries_max], 1):
            status, _ = self._live_wrongly(mutant, number, point)
            assert status is None, (mutant.name, point)
            _, wrong = self._live_wrongly(mutant, number, -1, again=True)
            if wrong:
                return tries, wrong
        return min(len(order), tries_max), []

    def _live_wrongly(
        self, mutant: Mutant, number: int, point: int, *, again: bool = False
    ) -> tuple[Any, list[str]]:
        """Play a scene with a mutant; if it survives, play on until all is quiet, and judge."""
        last = next(n for n in range(number, len(self.play)) if self.play[n].quiet)

        def work() -> tuple[list[str], list[str]]:
            mutant.apply(self.stage)
            with POINTS.counting(point):
                self.stage.play(self.play[number])
            seen = [label for _, label in POINTS.seen]
            for scene in self.play[number + 1 : last + 1]:
                self.stage.play(scene)
            self.stage.close()
            found = [str(finding) for finding in self.stage.world.findings()]
            self.stage.close()
            return seen, self.wrongs() + found

        if not again:
            self.restore(number)
        status, answer = fork(work)
        if killed(status):
            return None, []
        return answer if status == 0 else (0, [f"it could not go on: {answer[-200:]}"])

    def explore(self, number: int, report: Report) -> None:
        """Kill a child at every point of a scene; see that each heir ends as if nothing was."""
        self.restore(number)
        mine, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                mine.close()
                Explorer(self, number, theirs).run()
                status = 0
            except BaseException:  # noqa: BLE001 - told to the parent, which must not run twice
                theirs.send(("failed", traceback.format_exc()))
            finally:
                os._exit(status)
        theirs.close()
        known: dict[str, list[str]] = {}
        counted = 0
        while True:
            what, told = mine.recv()
            if what != "died":
                break
            kind, label, left = told
            report.kinds[kind] += 1
            report.deaths += 1
            counted += 1
            fresh = left not in known
            if fresh:
                known[left] = self.heir(number)
                report.heirs += 1
            for wrong in known[left]:
                where = f"{self.play[number].name} at {self.play[number].at:%d %H:%M}"
                report.faults.append(f"{where}, {kind} {label[:60]}: {wrong}")
            mine.send(fresh)
        os.waitpid(pid, 0)
        if what != "done":
            report.faults.append(f"{self.play[number]}: {told}")
        if counted != len(self.points[number]):
            report.faults.append(
                f"{self.play[number]}: {counted} deaths at {len(self.points[number])} points"
            )


class Explorer:
    """Plays one scene and lets children die in its place at every point."""

    def __init__(self, lab: Lab, number: int, pipe: Connection) -> None:
        self._lab, self._number, self._pipe = lab, number, pipe
        self._here = lab.folder / "here"
        self._probe = lab.folder / "probe"
        self._done = 0

    def run(self) -> None:
        """Play the scene; at its end every point has been died at."""
        POINTS.at_boundary = self._boundary
        with POINTS.counting():
            self._lab.stage.play(self._lab.play[self._number])
        if POINTS.kill_at >= 0:
            os._exit(ALIVE)  # a child that should have died
        self._pipe.send(("done", ""))

    def _boundary(self) -> None:
        """Let a child die at every point up to the next boundary; a child returns, to go on."""
        self._lab.stage.close()
        self._lab.require_unconnected()
        keep(self._lab.state, self._here)
        heading = self._lab.points[self._number]
        nothing = oracle.digest(self._here)
        for point in range(self._done, self._next(POINTS.count)):
            pid = os.fork()
            if pid == 0:
                POINTS.kill_at, POINTS.at_boundary = point, self._beyond
                return
            status = os.waitpid(pid, 0)[1]
            assert killed(status), (heading[point], status)
            self._done = point + 1
            left = nothing
            if not untouched(self._lab.state, self._here):
                keep(self._lab.state, self._probe)
                left = oracle.digest(self._probe)
            self._pipe.send(("died", (*heading[point], left)))
            if self._pipe.recv() or left != nothing:
                put_back(self._here, self._lab.state)

    @staticmethod
    def _beyond() -> None:
        if POINTS.count > POINTS.kill_at:
            os._exit(ALIVE)

    def _next(self, count: int) -> int:
        later = [b for b in self._lab.boundaries[self._number] if b > count]
        return min(later, default=len(self._lab.points[self._number]))


def sessions() -> MarketCalendar:
    """Return every weekday of the first half of 2026: the play needs no holidays."""
    days = (date(2026, 1, 2) + timedelta(days=n) for n in range(180))
    return MarketCalendar(tuple(day for day in days if day.isoweekday() < 6))


@contextmanager
def open_lab(url: str = "", kind: Callable[[Stage, Path, list[Scene]], Lab] = Lab) -> Iterator[Lab]:
    """Yield a laboratory that has rehearsed, in memory where the system has such a directory.

    SIGKILL takes nothing from the page cache, so where the files lie changes the time only.
    """
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(prefix="robo-crash-", dir=where) as name:
        folder = Path(name)
        state = folder / "state"
        years_of(sessions())  # of this process: a child's would never be tidied away
        status, props = fork(lambda: build(state, sessions(), url))
        assert status == 0, props
        watch_files()
        watch_transactions()
        take_short_turns()
        with make_stage(state, sessions(), props, url) as stage:
            lab = kind(stage, folder, scenes())
            lab.rehearse()
            yield lab


def share(lab: Lab, shard: int, shards: int) -> list[int]:
    """Return this shard's scenes: the longest first, each to the shard with the least points."""
    loads = [0] * shards
    mine = []
    for number in sorted(range(len(lab.play)), key=lambda n: (-len(lab.points[n]), n)):
        least = loads.index(min(loads))
        loads[least] += len(lab.points[number])
        if least == shard:
            mine.append(number)
    return mine
