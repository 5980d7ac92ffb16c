"""Plug-ins by name: entry points, or `module:create` for one's own."""

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from robo.core.errors import ConfigError


def load(group: str, name: str) -> Callable[..., Any]:
    """Return the factory that a name stands for.

    Args:
        group: An entry-point group such as `robo.brokers`.
        name: A registered name, or `package.module:attribute`.

    Raises:
        ConfigError: If nothing of that name can be loaded; lists the names there are.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            message = f"{group}: {name} cannot be loaded: {error}"
            raise ConfigError(message) from error
        return _callable(factory, name)
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        message = f"{group}: there is no {name!r}; there are {', '.join(sorted(found)) or 'none'}"
        raise ConfigError(message)
    return _callable(found[name].load(), name)


def _callable(factory: Any, name: str) -> Callable[..., Any]:
    if not callable(factory):
        message = f"{name} is not a factory"
        raise ConfigError(message)
    made: Callable[..., Any] = factory
    return made
