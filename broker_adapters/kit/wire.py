"""A server on a real socket whose answers go wrong on request; what it serves is given to it.

It knows nothing of any broker: a `Service` says which call a request is and answers it, and the
server counts, delays, cuts and breaks. Adapters that speak HTTP are tested against it.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from broker_adapters.kit.bench import Call, Trouble

_BODY_MAX: Final = 1_000_000
LATE_SECONDS: Final = 7.0
"""How long an answer takes that comes too late."""
_PAGE: Final = "<html><body>Please wait</body></html>"
_BEFORE: Final[Mapping[Trouble, tuple[int, str]]] = {
    Trouble.BUSY: (503, '{"error":"busy"}'),
    Trouble.LIMIT: (429, '{"error":"too many requests"}'),
    Trouble.LOCKED: (401, '{"error":"unauthorized"}'),
    Trouble.MOVED: (302, ""),
}
_AFTER: Final[Mapping[Trouble, tuple[int, str]]] = {
    Trouble.ERROR_AFTER: (500, '{"error":"internal"}'),
    Trouble.GATEWAY_AFTER: (504, _PAGE),
    Trouble.PAGE_AFTER: (200, _PAGE),
    Trouble.EMPTY_AFTER: (200, ""),
    Trouble.SHAPE_AFTER: (200, '{"maintenance":true,"items":"none"}'),
}
WIRE_TROUBLES: Final = frozenset(
    {*_BEFORE, *_AFTER}
    | {Trouble.LOST_BEFORE, Trouble.LOST_AFTER, Trouble.LATE_AFTER, Trouble.HALF_AFTER}
)
"""What the server does by itself, whatever is served."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; a body that is no JSON object is None."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and what is sent as JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """What is served."""

    def call_of(self, request: Request) -> Call | None:
        """Return which call of an adapter a request belongs to."""
        ...

    def answer(self, request: Request, trouble: Trouble | None) -> Reply:
        """Act, and answer; `trouble` is one that the service itself must play."""
        ...


class WireServer:
    """Serves on 127.0.0.1 until it is closed."""

    def __init__(self, service: Service) -> None:
        """Bind any free port and serve from a thread of its own."""
        self._service = service
        self._lock = Lock()
        self._planned: list[list[Any]] = []
        self._asked: dict[Call, int] = {}
        self._http = _Http(self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def plan(self, trouble: Trouble, call: Call, nth: int, times: int) -> None:
        """Break the nth call of a kind from now on, and `times - 1` after it."""
        with self._lock:
            self._planned.append([trouble, call, nth, nth + times, 0])

    def calm(self) -> None:
        """Forget what was planned."""
        with self._lock:
            self._planned.clear()

    def asked(self, call: Call) -> int:
        """Return how many requests of a kind have come."""
        with self._lock:
            return self._asked.get(call, 0)

    def meet(self, call: Call | None) -> Trouble | None:
        """Count a request, and return the trouble that it meets."""
        hit = None
        with self._lock:
            if call is not None:
                self._asked[call] = self._asked.get(call, 0) + 1
            for planned in self._planned:
                if planned[1] is call:
                    planned[4] += 1
                    if hit is None and planned[2] <= planned[4] < planned[3]:
                        hit = planned[0]
        return hit

    def serve(self, handler: "_Handler") -> None:
        """Answer one request, well or badly."""
        request = handler.request_as_it_came()
        trouble = self.meet(self._service.call_of(request))
        if trouble is Trouble.LOST_BEFORE:
            handler.close_connection = True
            return
        if trouble is not None and trouble in _BEFORE:
            status, body = _BEFORE[trouble]
            moved = {"Location": "/login"} if trouble is Trouble.MOVED else {}
            handler.say(status, body.encode(), moved)
            return
        own = trouble if trouble not in WIRE_TROUBLES else None
        reply = self._service.answer(request, own)
        content = b"" if reply.body is None else _json(reply.body).encode()
        if trouble is not None and trouble in _AFTER:
            status, body = _AFTER[trouble]
            handler.say(status, body.encode(), {})
        elif trouble is Trouble.LOST_AFTER:
            handler.close_connection = True
        elif trouble is Trouble.HALF_AFTER:
            handler.say(reply.status, content[: len(content) // 2], {}, claimed=len(content) + 9)
            handler.close_connection = True
        else:
            if trouble is Trouble.LATE_AFTER:
                time.sleep(LATE_SECONDS)
            handler.say(reply.status, content, reply.headers)


def _json(body: Any) -> str:
    """Return JSON in which a Decimal is a number with exactly its digits."""
    text = json.dumps(body, default=lambda value: f"@@{value}@@")
    return text.replace('"@@', "").replace('@@"', "")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, owner: WireServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536

    def handle_one_request(self) -> None:
        """Handle a request; a caller that went away is no error of ours."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        """Answer a reading."""
        self.server.owner.serve(self)

    def do_POST(self) -> None:
        """Answer a request to act."""
        self.server.owner.serve(self)

    def do_PUT(self) -> None:
        """Answer a change."""
        self.server.owner.serve(self)

    def do_DELETE(self) -> None:
        """Answer a cancel."""
        self.server.owner.serve(self)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a request's headers carry keys."""

    def request_as_it_came(self) -> Request:
        """Return the request, its body read to the end."""
        length = self.headers.get("Content-Length", "0")
        content = self.rfile.read(min(int(length), _BODY_MAX) if length.isdigit() else 0)
        try:
            body = json.loads(content or b"{}", parse_float=Decimal)
        except ValueError:
            body = None
        parts = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body if isinstance(body, dict) else None,
        )

    def say(
        self, status: int, content: bytes, headers: Mapping[str, str], claimed: int | None = None
    ) -> None:
        """Send an answer; `claimed` is a length that is not the content's."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        self.end_headers()
        self.wfile.write(content)
