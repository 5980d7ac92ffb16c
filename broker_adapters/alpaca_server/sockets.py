"""One connection of the server: reads a request, answers it, and spoils the answer if asked to."""

import base64
import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from broker_adapters.alpaca_server.exchange import Answer
from broker_adapters.alpaca_server.faults import Fault, FaultKind, Faults
from broker_adapters.alpaca_server.router import Request

_BODY_MAX: Final = 20_000_000
_LATER: Final = frozenset({FaultKind.CANCEL_LATER, FaultKind.REJECT_LATER, FaultKind.DELAY})


class Owner(Protocol):
    """What a connection asks of its server."""

    faults: Faults
    secret: str

    def answer(self, request: Request) -> Answer:
        """Act on a request."""
        ...

    def stream(self, request: Request) -> Iterator[bytes] | None:
        """Return the text of a stream."""
        ...

    def quota(self) -> tuple[bool, dict[str, str]]:
        """Count a request."""
        ...


class Handler(BaseHTTPRequestHandler):
    """Answers in HTTP/1.1; one packet an answer."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # a second packet would wait for the first one's receipt

    def handle_one_request(self) -> None:
        """Handle a request; a caller that went away is no error of ours."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        """Send what waits to be sent; a caller that went away is no error of ours here either."""
        with contextlib.suppress(OSError):
            super().finish()

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
        """Answer a change."""
        self._work()

    def do_PUT(self) -> None:
        """Answer a replacement."""
        self._work()

    def log_message(self, *_: Any) -> None:
        """Say nothing: a request's headers carry keys."""

    @property
    def _owner(self) -> Owner:
        owner: Owner = self.server.owner  # type: ignore[attr-defined] # our server has one
        return owner

    def _work(self) -> None:
        length = self.headers.get("Content-Length", "0")
        content = self.rfile.read(min(int(length), _BODY_MAX) if length.isdigit() else 0)
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        allowed, headers = self._owner.quota()
        local = path.startswith("/_local/")
        fault = None if local else self._owner.faults.meet(self.command, path)
        if self._owner.secret and not self._knows(self._owner.secret):
            self._say(401, {"message": "unauthorized."}, headers)
        elif not allowed and not local:
            self._say(429, {"message": "too many requests."}, headers)
        elif fault is not None and fault.kind is FaultKind.DROP:
            self.close_connection = True
        elif fault is not None and fault.kind is FaultKind.REFUSE:
            self._send(fault.status, fault.body.encode(), {**headers, **fault.headers})
        else:
            query = dict(parse_qsl(parts.query))
            partner = self.headers.get("Authorization", "").startswith("Basic ")
            asked = Request(self.command, path, query, None, fault, partner=partner)
            self._read(asked, content, headers)

    def _knows(self, secret: str) -> bool:
        """Return whether the caller shows the secret: in its own header, or as a password."""
        shown = self.headers.get("APCA-API-SECRET-KEY", "")
        kind, _, code = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            try:
                shown = base64.b64decode(code, validate=True).decode("ascii").partition(":")[2]
            except (ValueError, UnicodeDecodeError):
                shown = ""
        return shown == secret

    def _read(self, asked: Request, content: bytes, headers: dict[str, str]) -> None:
        told = self._owner.stream(asked)
        if told is not None:
            self._stream(told, asked.fault)
            return
        try:
            body = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict | list):
            self._say(400, {"code": 40010000, "message": "request body format is invalid"}, headers)
            return
        key = self.headers.get("Idempotency-Key", "")
        self._act(Request(asked.method, asked.path, asked.query, body, asked.fault, key), headers)

    def _act(self, asked: Request, headers: dict[str, str]) -> None:
        fault = asked.fault
        if fault is not None and fault.kind is FaultKind.DELAY:
            time.sleep(fault.seconds)
        status, answer = self._owner.answer(asked)
        kind = None if fault is None else fault.kind
        if fault is None or kind in _LATER:
            self._say(status, answer, headers)
        elif kind is FaultKind.FAIL_AFTER:
            self._send(fault.status, fault.body.encode(), {**headers, **fault.headers})
        elif kind is FaultKind.DROP_AFTER:
            self.close_connection = True
        elif kind is FaultKind.TRUNCATE:
            whole = json.dumps(answer).encode()
            self._send(status, whole[: len(whole) // 2], headers, claimed=len(whole))
            self.close_connection = True
        elif kind is FaultKind.DELAY_AFTER:
            time.sleep(fault.seconds)
            self._say(status, answer, headers)
        else:
            self._say(status, spoilt(answer, fault), headers)

    def _stream(self, told: Iterator[bytes], fault: Fault | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for text in told:
            if fault is not None and fault.kind is FaultKind.TRUNCATE and b"data:" in text:
                text = text[: len(text) // 2]  # noqa: PLW2901 - the rest is never sent
                self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
                self.close_connection = True
                return
            self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _say(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        if isinstance(body, bytes):
            self._send(status, body, {**headers, "Content-Type": "application/pdf"})
            return
        if status in {301, 302} and isinstance(body, dict):
            # Whole, as Alpaca's: its documents lie with another host.
            where = f"http://{self.headers.get('Host', '')}{body['Location']}"
            self._send(status, b"", {**headers, "Location": where})
            return
        self._send(status, b"" if body is None else json.dumps(body).encode(), headers)

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str], claimed: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        self.end_headers()
        self.wfile.write(content)


def spoilt(answer: Any, fault: Fault) -> Any:
    """Return an answer with a fault of its content: keys changed, rows said twice or left out."""
    if fault.kind is FaultKind.EDIT:
        if isinstance(answer, list):
            return [spoilt(row, fault) for row in answer]
        return {**answer, **fault.edit} if isinstance(answer, dict) else answer
    if not isinstance(answer, list):
        return answer
    if fault.kind is FaultKind.REPEAT:
        return [row for row in answer for _ in range(2)]
    return answer[:-1] if fault.kind is FaultKind.MISSING else answer
