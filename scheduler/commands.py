"""What can be typed: `robo jobs …` and `python -m scheduler …` are the same commands."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from robo import config, logs
from robo.config import Settings
from robo.core.clock import business_date, iso_instant, to_micros
from robo.core.errors import InvalidInputError, NotFoundError, RoboError
from robo.runtime import Runtime, boot, open_database
from robo.store import jobs as runs
from scheduler import timelapse
from scheduler.jobs import TIMETABLE, find
from scheduler.runner import Job, Runner
from scheduler.when import AtOpen, Every, Slot, interval_slot, session_slot

_SHOWN: Final = 20
_FAILED: Final = 1
_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m scheduler`; without a command it runs the jobs until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m scheduler", description="When work runs.")
    parser.set_defaults(do=_daemon)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_jobs(commands)
    _add_time(commands)
    try:
        args = parser.parse_args(arguments)
        settings = config.read()
        logs.configure(settings.log_level)
        do: Callable[[Settings, argparse.Namespace], int] = args.do
        return do(settings, args)
    except RoboError as error:
        print(f"scheduler: {error.detail}", file=sys.stderr)
        return _USAGE


def add(commands: Any) -> None:
    """Add `robo jobs`, for the entry-point group `robo.commands`."""
    jobs = commands.add_parser("jobs", help="list the timetable, run or skip a job by hand")
    _add_jobs(jobs.add_subparsers(required=True, metavar="VERB"))


def _add_jobs(commands: Any) -> None:
    commands.add_parser("list", help="the timetable, the last runs and failures").set_defaults(
        do=_list
    )
    run = commands.add_parser("run", help="run a job now, for a date")
    run.add_argument("name", choices=[job.name for job in TIMETABLE])
    run.add_argument("--date", type=date.fromisoformat, help="business date (default: today)")
    run.add_argument("--again", action="store_true", help="even if it ended already")
    run.set_defaults(do=_run)
    skip = commands.add_parser("skip", help="mark a job's date as skipped")
    skip.add_argument("name", choices=[j.name for j in TIMETABLE if not isinstance(j.when, Every)])
    skip.add_argument("--date", type=date.fromisoformat, required=True)
    skip.set_defaults(do=_skip)


def _add_time(commands: Any) -> None:
    passing = commands.add_parser("timelapse", help="let simulated time pass, session by session")
    how = passing.add_mutually_exclusive_group(required=True)
    how.add_argument("--until", type=date.fromisoformat, help="last business date")
    how.add_argument("--days", type=int, help="count of sessions")
    passing.set_defaults(do=_timelapse)
    clock = commands.add_parser("clock", help="show the simulated clock, or set it forwards")
    clock.add_argument("--set", type=_instant, help="RFC 3339, for example 2026-03-02T08:00:00Z")
    clock.set_defaults(do=_clock)
    demo = commands.add_parser("demo", help="do the main job over HTTP and print it")
    demo.set_defaults(do=_demo)
    life = commands.add_parser("life", help="live a life from $100 on several market seeds")
    life.add_argument("--seeds", type=_seeds, help="whole numbers, with commas between")
    life.add_argument("--until-age", type=float, help="years of age, with a part of one")
    life.add_argument("--out", type=Path, help="where pictures and tables go")
    life.set_defaults(do=_life)


def _seeds(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


@contextmanager
def _booted(settings: Settings) -> Iterator[Runtime]:
    runtime = boot(settings)
    try:
        yield runtime
    finally:
        runtime.close()


def _daemon(settings: Settings, _args: argparse.Namespace) -> int:
    from scheduler.daemon import run  # noqa: PLC0415 - APScheduler only where it is needed

    return run(settings)


def _list(settings: Settings, _args: argparse.Namespace) -> int:
    for job in TIMETABLE:
        print(f"{job.name:20} {_said(job):34} {job.catch_up:7} {' '.join(job.after)}")
    db = open_database(settings)
    try:
        with db.read() as session:
            recent, failed = runs.recent(session, _SHOWN), runs.failures(session, _SHOWN)
    finally:
        db.close()
    for row in recent:
        slot = f"every: {row.detail}" if row.slot == runs.EVERY else row.slot
        print(f"{iso_instant(row.claimed_at)} {row.job:20} {slot:35} {row.state} x{row.attempts}")
    for row in failed:
        print(f"{iso_instant(row.at)} {row.job:20} {row.subject}: {row.code} {row.detail}")
    return 0


def _said(job: Job) -> str:
    if isinstance(job.when, Every):
        return f"every {job.when.seconds} s"
    what = "open" if isinstance(job.when, AtOpen) else "close"
    side = "before" if job.when.minutes < 0 else "after"
    return f"{abs(job.when.minutes)} minutes {side} the {what}"


def _run(settings: Settings, args: argparse.Namespace) -> int:
    job = find(args.name)
    assert job is not None
    with _booted(settings) as runtime:
        slot = _slot(runtime, job, args.date)
        runner = Runner(runtime, TIMETABLE)
        with runner.beating():
            ended = runner.run(job, slot, again=args.again)
        if isinstance(job.when, Every):
            print(f"{job.name}: " + ("done" if ended else "not run now: see `list`"))
            return 0 if ended else _FAILED
        with runtime.db.read() as session:
            state = runs.states(session, job.name, [slot.text]).get(slot.text)
    print(f"{job.name} {slot.text}: {state}" + ("" if ended else " (not run now: see `list`)"))
    return 0 if state == "done" else _FAILED


def _slot(runtime: Runtime, job: Job, on: date | None) -> Slot:
    now = runtime.clock.now()
    day = on or business_date(now)
    if isinstance(job.when, Every):
        return interval_slot(job.when, now)
    if not runtime.calendar.is_session(day):
        message = f"the market is closed on {day}: daily jobs run for sessions"
        raise NotFoundError(message, code="no_session")
    slot = session_slot(job.when, day, runtime.calendar)
    if slot.at > now:
        message = f"{job.name} is not due for {day} before {iso_instant(to_micros(slot.at))}"
        raise InvalidInputError(message, code="not_due")
    return slot


def _skip(settings: Settings, args: argparse.Namespace) -> int:
    job = find(args.name)
    assert job is not None
    with _booted(settings) as runtime:
        skipped = Runner(runtime, TIMETABLE).skip(job, _slot(runtime, job, args.date))
    print(f"{args.name} {args.date}: " + ("skipped" if skipped else "running: see `list`"))
    return 0 if skipped else _FAILED


def _timelapse(settings: Settings, args: argparse.Namespace) -> int:
    with timelapse.opened(settings) as lapse:
        if args.until is not None:
            passed = lapse.pass_until(args.until)
        else:
            passed = lapse.pass_sessions(max(1, args.days))
    print(f"{passed.sessions} sessions passed; it is {iso_instant(to_micros(passed.until))}")
    return 0


def _clock(settings: Settings, args: argparse.Namespace) -> int:
    if args.set is not None:
        timelapse.set_clock(settings, args.set)
    db = open_database(settings)
    try:
        with db.read() as session:
            print(iso_instant(runs.sim_instant(session)))
    finally:
        db.close()
    return 0


def _demo(_settings: Settings, _args: argparse.Namespace) -> int:
    from scheduler.demo import main as demo  # noqa: PLC0415 - only where it is needed

    return demo()


def _life(_settings: Settings, args: argparse.Namespace) -> int:
    from scheduler.life import SEEDS, UNTIL_AGE, main  # noqa: PLC0415 - only where it is needed

    return main(args.seeds or SEEDS, args.until_age or UNTIL_AGE, args.out or Path(".state/life"))
