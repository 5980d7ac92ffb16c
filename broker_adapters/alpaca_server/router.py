"""Requests, and which of them go where."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker_adapters.alpaca_server.exchange import Answer
from broker_adapters.alpaca_server.faults import Fault


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None
    fault: Fault | None = None
    key: str = field(default="", repr=False)
    """The Idempotency-Key of the request, empty if it had none."""
    partner: bool = False
    """Whether the caller shows a partner's keys, as the Broker API's client does."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the body as an object; empty if it is none."""
        return self.body if isinstance(self.body, Mapping) else {}


Handler = Callable[..., Answer]


class Router:
    """A table of (method, path) and what answers it; `{}` stands for one part of a path."""

    def __init__(self) -> None:
        """Begin empty."""
        self._fixed: dict[tuple[str, str], Handler] = {}
        self._named: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Let a handler answer a path; it is called with the request and the path's parts."""
        if "{}" in path:
            pattern = re.escape(path).replace(r"\{\}", "([^/]+)")
            self._named.append((method, re.compile(pattern), handler))
        else:
            self._fixed[method, path] = handler

    def answer(self, request: Request) -> Answer:
        """Return the answer; 501 by name for what is not simulated."""
        handler = self._fixed.get((request.method, request.path))
        if handler is not None:
            return handler(request)
        for method, pattern, named in self._named:
            found = pattern.fullmatch(request.path)
            if found is not None and method == request.method:
                return named(request, *found.groups())
        message = f"{request.method} {request.path} is not simulated"
        return 501, {"code": 50110000, "message": message}
