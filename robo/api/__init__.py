"""The HTTP API: one module a resource, `BLUEPRINT` in each; order is the order in the docs."""

from typing import Final

MODULES: Final[tuple[str, ...]] = ()
"""Modules whose `BLUEPRINT` the app registers."""
