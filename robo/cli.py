"""The command line: `robo serve` and everything an operator types. `robo --help` lists it.

Other packages add commands through the entry-point group `robo.commands`: the value is a function
that takes argparse's sub-parsers and sets `do`, a function of settings and arguments that returns
the exit status. A command that sets a default `context` gets there what a broker plug-in is given.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from robo import (
    cli_actions,
    cli_books,
    cli_catalog,
    cli_firms,
    cli_scores,
    cli_trading,
    config,
    logs,
    serving,
)
from robo.config import Settings
from robo.core.clock import to_micros
from robo.core.errors import RoboError
from robo.ports.plugins import PluginContext
from robo.runtime import (
    SystemClock,
    broker_context,
    load_keyring,
    open_database,
    warm_kernels,
)
from robo.services import licensing
from robo.services.listing import sync_universe
from robo.store import jobs
from robo.store.database import Database
from robo.store.schema import upgrade

Command = Callable[[Settings, argparse.Namespace], int]
EXIT_USAGE: Final = 2
_PRIVATE: Final = 0o077
"""What we write is for this user only, wherever the state directory lies."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (1 = it found something, 2 = it could not start)."""
    try:
        parser = _parser()
        args = parser.parse_args(arguments)
        do: Command = args.do
        settings = config.read()
        os.umask(_PRIVATE)
        logs.configure(settings.log_level)
        if "context" in args:
            args.context = _context(settings)
        return do(settings, args)
    except RoboError as error:
        print(f"robo: {error.detail}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_USAGE


def prepare(settings: Settings, db: Database) -> None:
    """Bring schema and universe up to date, and make what a first run needs."""
    upgrade(db)
    sync_universe(db, settings.universe)
    clock = SystemClock()
    licensing.ensure_house(db, load_keyring(settings), clock, settings.state_path)
    if settings.clock == "sim":
        with db.write() as session:
            jobs.start_sim_clock(session, to_micros(clock.now()))


def _context(settings: Settings) -> PluginContext:
    db = open_database(settings)
    try:
        prepare(settings, db)
    finally:
        db.close()
    return broker_context(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="robo", description="A robo-advisor backend.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="migrate, then serve API, docs and jobs")
    serve.set_defaults(do=_serve)
    for name, do, words in (
        ("web", _web, "serve only the API, in this process"),
        ("runner", _runner, "run only the jobs, in this process"),
    ):
        child = commands.add_parser(name, help=words)
        child.add_argument(
            serving.SUPERVISED, action="store_true", help="stop when standard input closes"
        )
        child.set_defaults(do=do)
    commands.add_parser("migrate", help="bring schema and universe up to date").set_defaults(
        do=_migrate
    )
    cli_firms.add(commands)
    cli_books.add(commands)
    cli_trading.add(commands)
    cli_actions.add(commands)
    cli_catalog.add(commands)
    cli_scores.add(commands)
    for point in sorted(entry_points(group="robo.commands"), key=lambda one: one.name):
        add: Callable[[Any], None] = point.load()
        add(commands)
    return parser


def _serve(settings: Settings, _args: argparse.Namespace) -> int:
    serving.require_free(settings.host, settings.port)
    db = open_database(settings)
    try:
        prepare(settings, db)
    finally:
        db.close()
    # The first time takes over a minute; here once, instead of in every child at the same moment.
    warm_kernels()
    print(f"robo serves {settings.base_url}/ (docs: {settings.base_url}/docs)")
    print(f"operator key: {settings.state_path / licensing.OPERATOR_FILE}", flush=True)
    serving.serve(settings)
    return 0


def _web(settings: Settings, args: argparse.Namespace) -> int:
    if args.supervised:
        serving.stop_with_parent()
    serving.web(settings)
    return 0


def _runner(settings: Settings, args: argparse.Namespace) -> int:
    if args.supervised:
        serving.stop_with_parent()
    return serving.runner(settings)


def _migrate(settings: Settings, _args: argparse.Namespace) -> int:
    db = open_database(settings)
    try:
        prepare(settings, db)
    finally:
        db.close()
    print("schema and universe are up to date")
    return 0
