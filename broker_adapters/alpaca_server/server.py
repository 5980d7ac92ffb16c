"""The server itself: real sockets, Alpaca's paths and headers, and faults on request."""

import calendar
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from broker_adapters.alpaca_server.book import Answer, Book
from broker_adapters.alpaca_server.faults import Fault, FaultKind, Faults
from robo.core.clock import NEW_YORK, business_date
from robo.ports.plugins import PluginContext

_BODY_MAX: Final = 1_000_000
_WINDOW_SECONDS: Final = 60
_ORDERS: Final = "/v2/orders"


class AlpacaServer:
    """Serves one account until it is closed; `url` is what a client is pointed at."""

    def __init__(
        self, context: PluginContext, port: int = 0, *, per_minute: int = 200, secret: str = ""
    ) -> None:
        """Bind the socket and serve from a thread of its own.

        Args:
            context: The market: prices, sessions, clock, securities, and where state is kept.
            port: 0 for any that is free.
            per_minute: Requests a minute before it answers 429.
            secret: The secret key that callers must show; empty for any.

        Raises:
            OSError: If the port is taken.
        """
        self.faults = Faults()
        self._book = Book(context)
        self._http = _Server(self, context)
        self._quota = _Quota(per_minute)
        self.secret = secret
        try:
            self._http.listen(port)
        except OSError:
            self._book.close()
            raise
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and give the files back."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._book.close()

    def answer(self, method: str, target: str, body: Any, fault: Fault | None) -> Answer:
        """Act on a request and return what it is answered."""
        parts = urlsplit(target)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query))
        later = fault is not None and fault.kind is FaultKind.CANCEL_LATER
        doomed = fault is not None and fault.kind is FaultKind.REJECT_LATER
        book = self._book
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/v2/account"): book.account,
            ("GET", "/v2/account/activities"): lambda: book.activities(query),
            ("GET", "/v2/account/activities/FILL"): lambda: book.activities(query),
            ("GET", "/v2/assets"): book.assets,
            ("GET", "/v2/positions"): book.positions,
            ("GET", "/v2/clock"): self._http.clock,
            ("GET", "/v2/calendar"): lambda: self._http.calendar(query),
            ("GET", _ORDERS): lambda: book.orders(query),
            ("POST", _ORDERS): lambda: book.submit(body, doomed=doomed),
            ("GET", "/v2/orders:by_client_order_id"): lambda: book.order_by_client_id(
                query.get("client_order_id", "")
            ),
        }
        if (method, path) in routes:
            return routes[method, path]()
        room, _, name = path.rpartition("/")
        seconds = fault.seconds if later and fault is not None else 0.0
        named: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/v2/assets"): lambda: book.assets(name),
            ("GET", "/v2/positions"): lambda: book.position(name),
            ("GET", _ORDERS): lambda: book.order(name),
            ("DELETE", _ORDERS): lambda: book.cancel(name, after_seconds=seconds),
        }
        if name and (method, room) in named:
            return named[method, room]()
        return 501, {"code": 50110000, "message": f"{method} {path} is not simulated"}

    def quota(self) -> tuple[bool, dict[str, str]]:
        """Count a request; return whether there was one left, and the headers that say so."""
        return self._quota.take()


class _Quota:
    """So many requests a minute."""

    def __init__(self, per_minute: int) -> None:
        self._limit = per_minute
        self._lock = Lock()
        self._used = 0
        self._until = 0

    def take(self) -> tuple[bool, dict[str, str]]:
        now = calendar.timegm(time.gmtime())  # as the Date header: the network's time, not ours
        with self._lock:
            if now >= self._until:
                self._used, self._until = 0, now + _WINDOW_SECONDS
            self._used += 1
            left = self._limit - self._used
            return left >= 0, {
                "X-Ratelimit-Limit": str(self._limit),
                "X-Ratelimit-Remaining": str(max(0, left)),
                "X-Ratelimit-Reset": str(self._until),
            }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: AlpacaServer, context: PluginContext) -> None:
        self.owner = owner
        self._context = context
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)

    def listen(self, port: int) -> None:
        self.server_address = ("127.0.0.1", port)
        try:
            self.server_bind()
            self.server_activate()
        except OSError:
            self.server_close()
            raise

    def clock(self) -> Answer:
        sessions, now = self._context.calendar, self._context.clock.now()
        day = sessions.on_or_after(business_date(now))
        later = day if now < sessions.opens_at(day) else sessions.shift(day, 1)
        closing = day if now < sessions.closes_at(day) else later
        return 200, {
            "timestamp": now.astimezone(NEW_YORK).isoformat(),
            "is_open": sessions.is_open(now),
            "next_open": sessions.opens_at(later).astimezone(NEW_YORK).isoformat(),
            "next_close": sessions.closes_at(closing).astimezone(NEW_YORK).isoformat(),
        }

    def calendar(self, query: dict[str, str]) -> Answer:
        sessions = self._context.calendar
        start, end = query.get("start", ""), query.get("end", "9999")
        return 200, [
            {
                "date": day.isoformat(),
                "open": f"{sessions.opens_at(day).astimezone(NEW_YORK):%H:%M}",
                "close": f"{sessions.closes_at(day).astimezone(NEW_YORK):%H:%M}",
                "session_open": "0400",
                "session_close": "2000",
            }
            for day in sessions.sessions
            if start <= day.isoformat() <= end
        ]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # one packet an answer: a second one would wait for the first one's receipt

    def handle_one_request(self) -> None:
        """Handle a request; a caller that went away is no error of ours."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        """Answer a read."""
        self._work()

    def do_POST(self) -> None:
        """Answer a write."""
        self._work()

    def do_DELETE(self) -> None:
        """Answer a cancel."""
        self._work()

    def do_PATCH(self) -> None:
        """Answer that nothing can be changed."""
        self._work()

    def log_message(self, *_: Any) -> None:
        """Say nothing: a request's headers carry keys."""

    def _work(self) -> None:
        length = self.headers.get("Content-Length", "0")
        content = self.rfile.read(min(int(length), _BODY_MAX) if length.isdigit() else 0)
        owner = self.server.owner
        allowed, headers = owner.quota()
        path = unquote(urlsplit(self.path).path)
        fault = owner.faults.meet(self.command, path)
        if owner.secret and self.headers.get("APCA-API-SECRET-KEY") != owner.secret:
            self._say(401, {"message": "unauthorized."}, headers)
        elif not allowed:
            self._say(429, {"message": "too many requests."}, headers)
        elif fault is not None and fault.kind is FaultKind.DROP:
            self.close_connection = True
        elif fault is not None and fault.kind is FaultKind.REFUSE:
            self._send(fault.status, fault.body.encode(), {**headers, **fault.headers})
        else:
            self._act(content, headers, fault)

    def _act(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        try:
            body = json.loads(content or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._say(400, {"code": 40010000, "message": "request body format is invalid"}, headers)
            return
        status, answer = self.server.owner.answer(self.command, self.path, body, fault)
        kind = None if fault is None else fault.kind
        if fault is None or kind in {FaultKind.CANCEL_LATER, FaultKind.REJECT_LATER}:
            self._say(status, answer, headers)
        elif kind is FaultKind.FAIL_AFTER:
            self._send(fault.status, fault.body.encode(), {**headers, **fault.headers})
        elif kind is FaultKind.DROP_AFTER:
            self.close_connection = True
        elif kind is FaultKind.TRUNCATE:
            whole = json.dumps(answer).encode()
            self._send(status, whole[: len(whole) // 2], headers, claimed=len(whole))
            self.close_connection = True
        elif kind is FaultKind.EDIT and isinstance(answer, dict):
            self._say(status, {**answer, **fault.edit}, headers)
        else:
            time.sleep(fault.seconds)
            self._say(status, answer, headers)

    def _say(self, status: int, body: Any, headers: dict[str, str]) -> None:
        self._send(status, b"" if body is None else json.dumps(body).encode(), headers)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], claimed: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        self.end_headers()
        self.wfile.write(content)
