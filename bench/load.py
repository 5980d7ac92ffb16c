"""A load generator in a process of its own: requests at fixed times, or as fast as answers come.

`python -m bench.load` reads a `Task` as JSON from standard input and writes an `Outcome` as JSON to
standard output. The open loop sends by the clock, whatever the server does: a request that has to
wait for a free connection has begun to wait when it was due, so that a stall of the server is seen
by everybody who would have come meanwhile (no co-ordinated omission). SIGTERM ends it early.
"""

import asyncio
import json
import random
import re
import secrets
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_PATIENCE_SECONDS = 15.0
_PORTIONS = (50, 90, 99, 99.9, 100)
_AWAY = "no connection"


@dataclass(frozen=True, slots=True)
class Task:
    """What to ask for."""

    port: int
    kinds: dict[str, int]
    """Kind of request (`constant`, `read`, `deposit`, `preview`) -> its share in percent."""
    seconds: float
    callers: str
    """File with lines of JSON: [account id, bearer token, bank link id]."""
    rate: float = 0.0
    """Requests a second by the clock; 0 = each connection asks again as soon as it was answered."""
    connections: int = 32
    seed: int = 1
    bodies: str = ""
    """File with lines of JSON: what each `preview` asks for, one after the other."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the generator itself."""
    counts: dict[str, int] = field(default_factory=dict)
    """Good answers by kind of request."""
    errors: dict[str, int] = field(default_factory=dict)
    """What else came, by kind and status."""
    ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """Kind of request -> percentile -> milliseconds, good answers only."""


@dataclass(slots=True)
class Request:
    """One request on its way; `due` is when its customer pressed the button."""

    kind: str
    due: float
    raw: bytes


class Connection(asyncio.Protocol):
    """A kept-alive connection with at most one request on it."""

    def __init__(self, done: Callable[["Connection", str], None]) -> None:
        """Report every answer, or `no connection`, to a function."""
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self.request: Request | None = None

    @property
    def alive(self) -> bool:
        """Return whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: Request) -> None:
        """Send a request."""
        assert self._transport is not None
        self.request = request
        self._transport.write(request.raw)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; at its end say so."""
        self._got += data
        head = self._got.find(_END_OF_HEAD)
        if head < 0:
            return
        length = _LENGTH.search(self._got, 0, head)
        assert length is not None, "the server always says how long a body is"
        if len(self._got) < head + len(_END_OF_HEAD) + int(length[1]):
            return
        status = self._got[9:12].decode()
        self._got = b""
        self._done(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the request that will not be answered."""
        del exc
        self._transport = None
        if self.request is not None:
            self._done(self, _AWAY)


class Generator:
    """Runs one task."""

    def __init__(self, task: Task) -> None:
        """Read the callers."""
        self._task = task
        self._times: dict[str, list[float]] = {kind: [] for kind in task.kinds}
        self._outcome = Outcome()
        self._idle: deque[Connection] = deque()
        self._waiting: deque[Request] = deque()
        self._left = 0
        self._last = False
        self._stopped = asyncio.Event()
        self._answered_all = asyncio.Event()
        with Path(task.callers).open(encoding="utf-8") as lines:
            callers = [json.loads(line) for line in lines]
        self._requests = self._draw(callers)

    async def run(self) -> Outcome:
        """Run until the time is over or somebody says stop, then wait for what is on its way."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        for _ in range(self._task.connections):
            await self._connect()
        began, cpu = perf_counter(), process_time()
        await (self._open(began) if self._task.rate else self._closed())
        self._outcome.seconds = perf_counter() - began
        self._outcome.cpu_seconds = process_time() - cpu
        self._last = True
        if self._left and not await _within(_PATIENCE_SECONDS, self._answered_all):
            self._outcome.errors["not answered in time"] = self._left
        for kind, times in self._times.items():
            self._outcome.counts[kind] = len(times)
            self._outcome.ms[kind] = percentiles(times)
        for connection in self._idle:
            connection.close()
        return self._outcome

    async def _open(self, began: float) -> None:
        """Send by the clock."""
        number = 0
        while not self._stopped.is_set():
            due = began + number / self._task.rate
            if due - began > self._task.seconds:
                return
            if (pause := due - perf_counter()) > 0:
                await asyncio.sleep(pause)
            self._ask(due)
            number += 1

    async def _closed(self) -> None:
        """Keep every connection busy."""
        for _ in range(self._task.connections):
            self._ask(perf_counter())
        await _within(self._task.seconds, self._stopped)
        self._stopped.set()

    def _ask(self, due: float) -> None:
        kind, raw = next(self._requests)
        self._left += 1
        self._waiting.append(Request(kind, due, raw))
        self._match()

    def _match(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.popleft()
            if connection.alive:
                connection.send(self._waiting.popleft())
            else:
                asyncio.get_running_loop().create_task(self._connect())

    def _answered(self, connection: Connection, status: str) -> None:
        request = connection.request
        assert request is not None
        connection.request = None
        self._left -= 1
        if status.startswith("2"):
            self._times[request.kind].append((perf_counter() - request.due) * 1000)
        else:
            name = f"{request.kind} {status}"
            self._outcome.errors[name] = self._outcome.errors.get(name, 0) + 1
        self._idle.append(connection)
        if not self._task.rate and not self._stopped.is_set():
            self._ask(perf_counter())
            return
        self._match()
        if self._last and not self._left:
            self._answered_all.set()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._answered), "127.0.0.1", self._task.port
        )
        self._idle.append(connection)
        self._match()

    def _draw(self, callers: list[tuple[str, str, str]]) -> Iterator[tuple[str, bytes]]:
        """Yield requests of accounts drawn at random, in the shares that were asked for."""
        rng = random.Random(self._task.seed)
        kinds, shares = list(self._task.kinds), list(self._task.kinds.values())
        bodies = cycle(_lines(self._task.bodies))
        while True:
            (kind,) = rng.choices(kinds, shares)
            caller = rng.choice(callers)
            if kind == "preview":
                account, token, _ = caller
                yield kind, _post(f"/v1/accounts/{account}/choices/previews", token, next(bodies))
            else:
                yield kind, _request(kind, *caller)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if path else []


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Return whether an event came within a time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def percentiles(times: list[float]) -> dict[str, float]:
    """Return percentile -> value; each is a time that was really measured (nearest rank)."""
    ordered = sorted(times)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {f"{p:g}": ordered[min(last, int(p / 100 * len(ordered)))] for p in _PORTIONS}


def _request(kind: str, account: str, token: str, link: str) -> bytes:
    if kind == "constant":
        return b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    if kind == "read":
        head = f"GET /v1/accounts/{account}/portfolio HTTP/1.1\r\n{_allowed(token)}\r\n"
        return head.encode()
    body = json.dumps({"bank_link_id": link, "amount": "25.00"})
    return _post(f"/v1/accounts/{account}/deposits", token, body)


def _post(path: str, token: str, body: str) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\n{_allowed(token)}"
        f"Idempotency-Key: {secrets.token_hex(16)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _allowed(token: str) -> str:
    return f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"


def main() -> int:
    """Run the task on standard input."""
    task = Task(**json.loads(sys.stdin.readline()))

    async def run() -> Outcome:
        return await Generator(task).run()

    print(json.dumps(asdict(asyncio.run(run()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
