"""A gunicorn worker that answers what is no request at all with a problem, like everything else.

Such bytes never reach the application: gunicorn itself refuses them, and would do so with a page
of HTML that repeats what was sent.
"""

import contextlib
import json
import secrets
import socket
from http import HTTPStatus
from typing import Any, Final

from gunicorn.http import errors as parsing
from gunicorn.workers.gthread import ThreadWorker

from robo import logs

_LOG: Final = logs.get("web")
_STATUS: Final[tuple[tuple[type[Exception], HTTPStatus, str], ...]] = (
    (parsing.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long"),
    (parsing.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
    (parsing.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED, "transfer_coding_unknown"),
    (parsing.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "expectation_failed"),
    (parsing.ParseException, HTTPStatus.BAD_REQUEST, "malformed_request"),
)
"""The first class that fits decides; what is not listed is our own fault."""


class ProblemWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is untyped
    """Threads as in gunicorn's own worker; only the answer to bad bytes differs."""

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Answer with an RFC 9457 problem and hang up; the log says what, not the bytes."""
        status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal"
        for kind, its_status, its_code in _STATUS:
            if isinstance(exc, kind):
                status, code = its_status, its_code
                break
        request_id = secrets.token_hex(8)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.failure(_LOG, "request.failed", exc, request_id=request_id)
        else:
            logs.event(_LOG, "request.malformed", code=code, request_id=request_id)
        with contextlib.suppress(OSError):  # whoever sent this may be gone
            client.sendall(_reply(status, code, request_id))


def _reply(status: HTTPStatus, code: str, request_id: str) -> bytes:
    body = json.dumps(
        {
            "type": f"/problems/{code}",
            "title": status.phrase,
            "status": int(status),
            "code": code,
            "detail": f"{status.phrase}.",
            "request_id": request_id,
        },
        separators=(",", ":"),
    ).encode()
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/problem+json\r\n"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
