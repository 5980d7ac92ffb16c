"""Adapters and their benches by name."""

import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from broker_adapters.kit.bench import Bench
from robo.core.errors import ConfigError

_GROUP: Final = "robo.brokers"
BENCH_ATTRIBUTE: Final = "KIT_BENCH"
"""An adapter's module may name its bench: `KIT_BENCH = "my.bench:MyBench"`."""
_OURS: Final = {"broker_adapters.paper": "broker_adapters.kit.benches:PaperBench"}


def bench_of(broker: str, bench: str, folder: Path) -> Bench:
    """Return a fresh bench around an adapter's factory.

    Args:
        broker: `module:create`, or a name of the entry-point group `robo.brokers`.
        bench: `module:Class`; empty for what the factory's module names, else the plain bench.
        folder: Where the adapter keeps its state.

    Raises:
        ConfigError: If a name cannot be loaded.
    """
    if ":" not in broker:
        found = {point.name: point.value for point in entry_points(group=_GROUP)}
        if broker not in found:
            message = f"there is no broker {broker!r}; there are {', '.join(sorted(found))}"
            raise ConfigError(message)
        broker = found[broker]
    module = broker.partition(":")[0]
    create = _attribute(broker)
    name = bench or getattr(importlib.import_module(module), BENCH_ATTRIBUTE, "")
    made: type[Bench] = (
        _attribute(name or _OURS.get(module, "")) if name or module in _OURS else Bench
    )
    return made(create, folder)


def _attribute(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        message = f"{name} cannot be loaded: {error}"
        raise ConfigError(message) from error
