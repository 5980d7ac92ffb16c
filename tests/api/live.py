"""A real server for tests: `robo web` under gunicorn in two processes, spoken to over sockets."""

import contextlib
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from story import BANK_NUMBER, BASKET, PASSWORD, ROUTING, example

from robo.config import environment

_PORTS = (20_000, 30_000)
"""Below the range that the system gives to outgoing connections."""
_START_SECONDS = 240
_KEYS = count(1)


@dataclass
class Reply:
    """What came back over a socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Investor:
    """Somebody who may deposit."""

    email: str
    token: str
    customer_id: str
    account_id: str
    link_id: str


@dataclass
class Live:
    """A running server."""

    port: int
    log: Path
    state: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self, method: str, path: str, body: Any = None, *, token: str = "", key: str = ""
    ) -> Reply:
        """Send a well-formed request on a connection of its own."""
        headers = {"Idempotency-Key": key or f"live-key-{next(_KEYS):08d}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        raw = None
        if body is not None:
            headers["Content-Type"], raw = "application/json", json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, raw, headers)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())

    def must(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        reply = self.send(method, path, body, token=token)
        assert 200 <= reply.status < 300, (method, path, reply)
        return reply.json() if reply.body else None

    def log_in(self, email: str) -> Any:
        return self.must("POST", "/v1/sessions", {"email": email, "password": PASSWORD})

    def investor(self, email: str) -> "Investor":
        """Sign up, enrol, open an account and link a bank."""
        self.must("POST", "/v1/customers", {"email": email, "password": PASSWORD})
        session = self.log_in(email)
        token, customer = session["access_token"], session["customer_id"]

        def must(method: str, path: str, body: Any = None) -> Any:
            return self.must(method, path, body, token=token)

        mine = f"/v1/customers/{customer}"
        must("GET", f"{mine}/agreements/form_crs")
        must("PUT", f"{mine}/profile", example("profile"))
        must("POST", f"{mine}/answers", {"answers": example("answers")})
        documents = must("GET", f"{mine}/agreements")["items"]
        for one in documents:
            must("GET", f"{mine}/agreements/{one['id']}")
        signed = [
            {"agreement_id": one["id"], "version": one["version"], "sha256": one["sha256"]}
            for one in documents
            if one["action"] == "accept"
        ]
        must("POST", f"{mine}/acceptances", {"acceptances": signed})
        opening = {"customer_id": customer, "kind": "individual", "basket_id": BASKET}
        account = must("POST", "/v1/accounts", opening)["id"]
        numbers = {"routing_number": ROUTING, "account_number": BANK_NUMBER}
        link = must("POST", f"{mine}/bank-links", numbers)["id"]
        return Investor(email, token, customer, account, link)

    def raw(self, *parts: bytes, seconds: float = 60, shut: bool = True) -> bytes:
        """Send bytes as they are, and return everything that comes back until it is over.

        Args:
            parts: Sent one after another, with a breath between them.
            seconds: How long to wait for bytes before giving up.
            shut: Whether to say that nothing more will be sent.
        """
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as wire:
            with contextlib.suppress(OSError):  # it may hang up in the middle
                for number, part in enumerate(parts):
                    time.sleep(0.02 if number else 0)
                    wire.sendall(part)
                if shut:
                    wire.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while part := wire.recv(65_536):
                    got += part
        return got

    def told(self) -> str:
        """Return what the server has logged so far."""
        return self.log.read_text("utf-8", "replace")


@contextlib.contextmanager
def serving(folder: Path, **more: str) -> Iterator[Live]:
    """Yield a server with two worker processes, without rate limits, on a fresh database."""
    settings = {
        "ROBO_STATE_DIR": str(folder / "state"),
        "ROBO_WORKERS": "2",
        "ROBO_THREADS": "4",
        "ROBO_REQUESTS_PER_MINUTE": "10000000",
        "ROBO_SIGNUPS_PER_HOUR": "10000000",
        "ROBO_LOGINS_PER_MINUTE": "10000000",
        "ROBO_PORT": str(_free_port()),
        **more,
    }
    clean = {name: value for name, value in environment().items() if not name.startswith("ROBO_")}
    merged = {**clean, **settings}
    robo = (sys.executable, "-m", "robo")
    subprocess.run((*robo, "migrate"), env=merged, check=True, capture_output=True, timeout=240)
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen((*robo, "web"), env=merged, stdout=sink, stderr=sink)
        try:
            live = Live(int(settings["ROBO_PORT"]), log, folder / "state")
            _wait_for(live, process)
            yield live
        finally:
            process.send_signal(signal.SIGQUIT)  # gunicorn's quick stop
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(live: Live, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, live.told()
        with contextlib.suppress(OSError):
            if live.send("GET", "/health/ready").status == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(live.told())


def _free_port() -> int:
    """Return a port that nobody listens on."""
    for port in random.sample(range(*_PORTS), 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    message = "no port is free"
    raise OSError(message)
