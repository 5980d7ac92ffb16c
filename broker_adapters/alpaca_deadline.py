"""An answer has to be whole within so many seconds, however steadily its bytes drip.

A read timeout counts between two bytes: a line that brings one byte now and then is never cut off
by it. Here the whole answer, from its first header to its last byte, has a deadline.
"""

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

ANSWER_SECONDS: Final = 60.0
"""For a whole answer, or for what is read of a stream at once."""
_SECONDS: Final[ContextVar[float]] = ContextVar("answer_seconds", default=ANSWER_SECONDS)


@contextmanager
def whole_within(seconds: float) -> Iterator[None]:
    """Let the answers of this block have so many seconds."""
    token = _SECONDS.set(seconds)
    try:
        yield
    finally:
        _SECONDS.reset(token)


class TimelyAdapter(HTTPAdapter):
    """Gives every request a timeout and its answer a deadline, and repeats nothing."""

    def __init__(self, timeouts: tuple[float, float]) -> None:
        """Remember (connect, between bytes) in seconds."""
        super().__init__(max_retries=0)
        self._timeouts = timeouts

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        """Let connections make answers that have a deadline."""
        super().init_poolmanager(*given, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override] # requests calls it by keywords
        """Send with our timeouts, unless the request brings its own."""
        timeout = options.get("timeout") or self._timeouts
        return super().send(request, **{**options, "timeout": timeout})


class _Timely(io.RawIOBase):
    """The bytes of one answer; reading after the deadline is a timeout."""

    def __init__(self, line: io.RawIOBase, sock: socket.socket, ends_at: float) -> None:
        self._line, self._sock, self._ends_at = line, sock, ends_at
        self._usual = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            message = "the answer was not whole in time"
            raise TimeoutError(message)
        if self._sock.fileno() >= 0:  # the connection may have let go of it; the line has not
            self._sock.settimeout(left if self._usual is None else min(self._usual, left))
        return self._line.readinto(buffer)

    def close(self) -> None:
        self._line.close()
        super().close()


class _TimelyResponse(HTTPResponse):
    """An answer with a deadline, which begins when the request has been sent."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        line: Any = self.fp.detach()
        ends_at = time.monotonic() + _SECONDS.get()
        self.fp = io.BufferedReader(_Timely(line, sock, ends_at))


class _Connection(HTTPConnection):
    response_class = _TimelyResponse


class _SecureConnection(HTTPSConnection):
    response_class = _TimelyResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
