"""Commands about what is offered and how it is spoken to: baskets, openapi."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from baskets import cli_text
from baskets.errors import BasketsError
from robo.config import Settings


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
    commands.add_parser("openapi", help="print the API's description").set_defaults(do=_openapi)


def _printed(lines: Any) -> Any:
    def do(_settings: Settings, args: argparse.Namespace) -> int:
        found: Iterator[str] = lines(args)
        try:
            for line in found:
                print(line)
        except BasketsError as error:
            print(f"robo: {error.detail}", file=sys.stderr)
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
