"""Commands about what is offered and how it is spoken to: baskets, index, openapi."""

import argparse
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from baskets import cli_text, index_text
from baskets.errors import BasketsError, IndexFileError
from baskets.index import Index, large_cap_history
from baskets.index_custom import BYTES_MAX
from baskets.index_rules import load_rulebook
from baskets.universe import load_universe
from robo.config import Settings
from robo.core.errors import InvalidInputError


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    baskets = commands.add_parser("baskets", help="list, show, rebuild or explain baskets")
    verbs = baskets.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="every basket on offer").set_defaults(
        do=_printed(lambda _: cli_text.list_lines())
    )
    for name, words, lines in (
        ("show", "one basket", lambda args: cli_text.show_lines(args.basket)),
        ("build", "build again from its recipe", lambda args: cli_text.build_lines(args.basket)),
    ):
        verb = verbs.add_parser(name, help=words)
        verb.add_argument("basket")
        verb.set_defaults(do=_printed(lines))
    explain = verbs.add_parser("explain", help="why a company is in a basket, or not")
    explain.add_argument("basket")
    explain.add_argument("symbol")
    explain.set_defaults(do=_printed(lambda args: cli_text.explain_lines(args.basket, args.symbol)))
    _add_index(commands)
    commands.add_parser("openapi", help="print the API's description").set_defaults(do=_openapi)


def _add_index(commands: Any) -> None:
    index = commands.add_parser("index", help="show, list or rebuild our index, or a custom one")
    verbs = index.add_subparsers(required=True, metavar="VERB")
    for name, words, lines in (
        ("show", "its rules, weights and next review", _index_page),
        ("members", "every member as CSV", lambda args: index_text.member_lines(_index(args))),
        ("build", "build it twice, compare the bytes", _index_built),
    ):
        verb = verbs.add_parser(name, help=words)
        verb.add_argument("--as-of", type=date.fromisoformat, help="default: its founding")
        what = verb.add_mutually_exclusive_group()
        what.add_argument("--file", type=Path, help="a custom index: CSV or TOML")
        what.add_argument("--filter", help="a custom index: all that pass this screen, by size")
        verb.set_defaults(do=_printed(lines))


def _index(args: argparse.Namespace) -> Index:
    """Return the index the arguments mean."""
    as_of: date = args.as_of or load_universe().as_of
    if args.file is not None:
        try:
            with args.file.open("rb") as file:
                content = file.read(BYTES_MAX + 1)
        except OSError as error:
            message = f"{args.file} cannot be read: {error.strerror}"
            raise InvalidInputError(message, code="file_unreadable") from error
        return index_text.custom(content, args.file.name, as_of)
    if args.filter is not None:
        return index_text.filtered(args.filter, as_of)
    return large_cap_history(_sessions(), as_of).members(as_of)


def _index_page(args: argparse.Namespace) -> Iterator[str]:
    index = _index(args)
    rules = load_rulebook() if index.kind == "rulebook" else None
    return index_text.show_lines(index, rules, _sessions())


def _index_built(args: argparse.Namespace) -> Iterator[str]:
    return index_text.build_lines(lambda: _index(args))


def _sessions() -> Any:
    from robo.runtime import market_calendar  # noqa: PLC0415 - pandas takes a second to import

    return market_calendar().sessions


def _printed(lines: Any) -> Any:
    def do(_settings: Settings, args: argparse.Namespace) -> int:
        try:
            found: Iterator[str] = lines(args)
            for line in found:
                print(line)
        except BasketsError as error:
            print(f"robo: {error.detail}", file=sys.stderr)
            for fault in error.faults[1:] if isinstance(error, IndexFileError) else ():
                place = f"line {fault.line}: " if fault.line else ""
                print(f"{place}{fault.detail} ({fault.code})", file=sys.stderr)
            return 2
        return 0

    return do


def _openapi(settings: Settings, _args: argparse.Namespace) -> int:
    from robo.api.openapi import openapi_json  # noqa: PLC0415 - the web floor, only where needed
    from robo.app import create_app  # noqa: PLC0415 - the same
    from robo.runtime import boot  # noqa: PLC0415 - the same

    runtime = boot(settings)
    try:
        sys.stdout.write(openapi_json(create_app(runtime)))
    finally:
        runtime.close()
    return 0
