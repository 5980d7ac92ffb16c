"""What the demo needs to speak to a real server: a process, a client of HTTP, a list of checks."""

import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, Final

from robo import config

CENT: Final = Decimal("0.01")
_START_SECONDS: Final = 300.0
"""The first start after an install compiles the numerical kernels."""
_REQUEST_SECONDS: Final = 30
_TOKEN: Final = re.compile(r"ra_mt_[A-Za-z0-9_-]{43}")


class DemoError(Exception):
    """The demo cannot go on."""


@dataclass(slots=True)
class Checks:
    """Counts what was checked; a failed check is printed and fails the demo at its end."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)

    def that(self, truth: bool, sentence: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Check something and say so."""
        print(f"    {'ok  ' if truth else 'FAIL'} {sentence}")
        if truth:
            self.passed += 1
        else:
            self.failed.append(sentence)


@dataclass(slots=True)
class Client:
    """A caller of the API who remembers how often it wrote."""

    base_url: str
    token: str = ""
    writes: int = 0

    def get(self, path: str) -> Any:
        """Return the reply to a read."""
        return self._send("GET", path, None)

    def write(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Return the reply to a write; each has an idempotency key of its own."""
        self.writes += 1
        return self._send(method, path, body)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if method != "GET":
            headers |= {
                "Content-Type": "application/json",
                "Idempotency-Key": f"demo-{secrets.token_hex(16)}",
            }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.base_url + path, data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as reply:  # noqa: S310 - the same
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            message = f"{method} {path} answered {error.code}: {error.read().decode()[:500]}"
            raise DemoError(message) from error


@contextmanager
def server(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Yield the address of a real `robo serve`; it is stopped at the end, whatever happens."""
    base_url = f"http://127.0.0.1:{environment['ROBO_PORT']}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "robo", "serve"],
            env={**config.environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            _wait(process, base_url, log)
            yield base_url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            Client(base_url).get("/health/ready")
        except (OSError, DemoError):
            time.sleep(0.1)
        else:
            return
    tail = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
    message = f"the server did not start:\n{tail}"
    raise DemoError(message)


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def mailed_token(outbox: Path, to: str, subject: str) -> str:
    """Return the token of the last message to somebody with that subject."""
    found = ""
    for path in sorted(outbox.glob("*.eml"), key=lambda one: one.stat().st_mtime_ns):
        message = message_from_bytes(path.read_bytes(), policy=default)
        body = message.get_body()
        if body is None or message["To"] != to or subject not in message["Subject"]:
            continue
        token = _TOKEN.search(body.get_content())
        found = token[0] if token else found
    if not found:
        wanted = f"no message {subject!r} to the customer is in the outbox"
        raise DemoError(wanted)
    return found


def dollars(shares: str, price: str) -> Decimal:
    """Return shares times price in dollars, rounded half up to the cent."""
    return (Decimal(shares) * Decimal(price)).quantize(CENT, ROUND_HALF_UP)
