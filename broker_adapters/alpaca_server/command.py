"""`robo paper-server`: the Alpaca-shaped server as a process of its own."""

import argparse
import signal
import sys
from threading import Event
from typing import Any, Final

from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.errors import ConfigError
from robo.ports.plugins import PluginContext

_PORT: Final = 8100
_PER_MINUTE: Final = 200


def add(commands: Any) -> None:
    """Add `robo paper-server`, for the entry-point group `robo.commands`."""
    parser = commands.add_parser(
        "paper-server", help="answer like Alpaca, over the simulated market, on this machine"
    )
    parser.add_argument("--port", type=int, default=_PORT, help=f"default {_PORT}; 0 for any")
    parser.add_argument(
        "--per-minute", type=int, default=_PER_MINUTE, help="requests before it answers 429"
    )
    parser.set_defaults(do=serve, context=None)


def serve(_settings: Any, args: argparse.Namespace) -> int:
    """Serve until the process is told to stop; `args.context` is the market.

    Raises:
        ConfigError: If the port is taken.
    """
    context: PluginContext = args.context
    secret = context.settings.get("ROBO_PAPER_SECRET", "")
    try:
        server = AlpacaServer(context, args.port, per_minute=args.per_minute, secret=secret)
    except OSError as error:
        message = f"port {args.port} is taken"
        raise ConfigError(message, code="port_taken") from error
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print(f"Alpaca-shaped server on {server.url}; play money only", flush=True)  # noqa: T201 - what a command says
    ended.wait()
    server.close()
    print("stopped", file=sys.stderr)  # noqa: T201 - what a command says
    return 0
