"""The served API under load: reads and deposits by the clock, beside a constant, beside a night.

Really served (`robo web`: gunicorn, two workers of four threads) over a real database of accounts
that own ten names each; the load comes from another process on the same machine by the clock, so a
stall is felt by all who came meanwhile. The peer is the same server answering a constant. At the
end every deposit that was confirmed must be there, and the books must be clean.
"""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench import seeding
from bench.load import Outcome, Task
from bench.report import Figure
from robo import config
from robo.runtime import SystemClock, load_keyring, market_calendar, open_database
from robo.services.verifying import verify

_RATE: Final = 200.0
_MIX: Final = {"read": 90, "deposit": 10}
_WORDS: Final = {
    "constant": "constant",
    "read": "portfolio read",
    "deposit": "deposit",
    "preview": "preview",
}
_BUSY: Final = ("constant", "read", "deposit")
_LINES: Final = 32
"""Kept-alive connections of the load by the clock."""
_BUSY_LINES: Final = 16
"""The same for the load as fast as answers come: two for each thread of the server."""
_READY_SECONDS: Final = 60.0
_NIGHT_SECONDS: Final = 1_800.0
"""No night may take longer; the load beside it ends with it."""
_SHIELD: Final = "10000000"
"""Requests a minute: the shield counts as always, but one address is our whole public."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    accounts: int
    mix_seconds: float
    constant_seconds: float
    busy_seconds: float
    night_accounts: int
    """How many of the accounts have something to invest in the night beside the load."""
    night_seconds: float
    """Nights follow each other until this time is over; each runs to its end."""


def run(*, quick: bool) -> list[Figure]:
    """Return latencies and rates over 10^5 accounts (2,000 with `quick`)."""
    size = Size(2_000, 10, 4, 2, 2_000, 5) if quick else Size(100_000, 60, 20, 10, 20_000, 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        seeding.seed(folder, size.accounts, last_session(SystemClock().now()))
        return [
            Figure("accounts, ten names each", size.accounts, "accounts"),
            Figure("seeding by the real pipeline", time.perf_counter() - began, "s"),
            *measure(folder, size),
        ]


def last_session(now: datetime) -> datetime:
    """Return ten in the morning, New York's winter, of the last session before today."""
    day = market_calendar().shift(now.date() - timedelta(days=1), 0)
    return datetime(day.year, day.month, day.day, 15, tzinfo=UTC)


def measure(folder: Path, size: Size) -> list[Figure]:
    """Return the figures of a firm that was seeded in this folder, and check its books."""
    callers = folder / "callers"
    db = open_database(seeding.settings_of(folder))
    seeding.sign_in(db, seeding.customers(size.accounts), SystemClock().now(), callers)
    asked_before = _asked(folder)
    with served(folder) as port:

        def load(kinds: dict[str, int], seconds: float, rate: float = 0.0) -> Outcome:
            lines = _LINES if rate else _BUSY_LINES
            return finish(start(Task(port, kinds, seconds, str(callers), rate, lines)))

        warm = load({"read": 80, "deposit": 10, "constant": 10}, 2)
        constant = load({"constant": 100}, size.constant_seconds, _RATE)
        mixed = load(_MIX, size.mix_seconds, _RATE)
        busy = {kind: load({kind: 100}, size.busy_seconds) for kind in _BUSY}
        night, told = beside_night(
            folder, Task(port, _MIX, _NIGHT_SECONDS, str(callers), _RATE, _LINES), size
        )
    everything = [warm, mixed, busy["deposit"], night]
    confirmed = sum(outcome.counts.get("deposit", 0) for outcome in everything)
    written = _asked(folder) - asked_before
    failed = sum(sum(outcome.errors.values()) for outcome in everything)
    assert confirmed <= written <= confirmed + failed, (confirmed, written, failed)
    findings = verify(db, load_keyring(seeding.settings_of(folder)), folder / "anchors")
    assert not findings, findings[:3]
    db.close()
    return [
        *latencies("at 200/s: ", constant, None),
        *latencies("at 200/s: ", mixed, constant),
        *_rates(busy),
        *latencies("beside a night: ", night, constant),
        Figure("accounts planned, traded, booked beside it", told["accounts"], "accounts"),
        Figure("seconds it took", told["seconds"], "s"),
        Figure("its longest write transaction", told["longest_ms"], "ms"),
        Figure("deposits written, none lost, books clean", written, "deposits"),
        Figure("fsync, median", seeding.fsync_ms(folder), "ms"),
    ]


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """Yield the port of a server over a folder: the web child of `robo serve`, without a runner."""
    port = _free_port()
    told = {
        "ROBO_STATE_DIR": str(folder),
        "ROBO_PORT": str(port),
        "ROBO_REQUESTS_PER_MINUTE": _SHIELD,
        "ROBO_LOG_LEVEL": "error",
    }
    rest = {k: v for k, v in config.environment().items() if not k.startswith(config.PREFIX)}
    command = [sys.executable, "-m", "robo", "web", "--supervised"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=rest | told, stdin=subprocess.PIPE, stderr=log)
    try:
        _wait_until_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def start(task: Task) -> subprocess.Popen[str]:
    """Start a load generator."""
    command = [sys.executable, "-m", "bench.load"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(task)) + "\n")
    process.stdin.flush()
    return process


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a load generator and return what came of it."""
    told, _ = process.communicate(timeout=_NIGHT_SECONDS + _READY_SECONDS)
    assert process.returncode == 0, told
    return Outcome(**json.loads(told))


def beside_night(folder: Path, task: Task, size: Size) -> tuple[Outcome, dict[str, float]]:
    """Return what came of a load that lasted exactly as long as a batch wrote beside it."""
    command = [sys.executable, "-m", "bench.seeding", str(folder)]
    command += [str(size.night_accounts), str(size.night_seconds)]
    batch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert batch.stdin is not None
    assert batch.stdout is not None
    try:
        assert batch.stdout.readline().strip() == "ready"
        batch.stdin.write("go\n")
        batch.stdin.flush()
        load = start(task)
        told = json.loads(batch.stdout.readline())
        load.send_signal(signal.SIGTERM)
        return finish(load), told
    finally:
        batch.kill()
        batch.wait()


def latencies(when: str, outcome: Outcome, constant: Outcome | None) -> list[Figure]:
    """Return median, 99th percentile and errors of each kind of request."""
    figures = []
    for kind, ms in outcome.ms.items():
        for portion, name in (("50", "p50"), ("99", "p99"), ("100", "worst")):
            if portion not in ms:
                continue
            peer = constant.ms["constant"][portion] if constant is not None else None
            figures.append(
                Figure(
                    f"{when}{_WORDS[kind]} {name}",
                    ms[portion],
                    "ms",
                    f"a constant: {peer:.3g} ms" if peer else "",
                    ms[portion] / peer if peer else None,
                )
            )
    asked = sum(outcome.counts.values())
    wrong = sum(outcome.errors.values())
    what = "; ".join(f"{count} {name}" for name, count in sorted(outcome.errors.items()))
    return [*figures, Figure(f"{when}errors of {asked + wrong:,}", wrong, "errors", what)]


def _rates(busy: dict[str, Outcome]) -> list[Figure]:
    """Return how much the server answers at most."""
    rate = {kind: outcome.counts[kind] / outcome.seconds for kind, outcome in busy.items()}
    share = busy["constant"].cpu_seconds / busy["constant"].seconds
    return [
        Figure(
            f"at most: {_WORDS[kind]}",
            rate[kind],
            "1/s",
            f"the generator took {share:.0%} of a core" if kind == "constant" else "a constant",
            None if kind == "constant" else rate[kind] / rate["constant"],
        )
        for kind in busy
    ] + [
        Figure(f"at most: {_WORDS[kind]}, errors", sum(outcome.errors.values()), "errors")
        for kind, outcome in busy.items()
        if outcome.errors
    ]


def _asked(folder: Path) -> int:
    """Return how many deposits came through the API: nothing moves them on without a runner."""
    db = open_database(seeding.settings_of(folder))
    try:
        return seeding.scalar(db, "SELECT count(*) FROM deposit WHERE state = 'requested'")
    finally:
        db.close()


def _free_port() -> int:
    """Return a free port below those that outgoing connections take."""
    for port in range(18_000, 19_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    message = "no free port"
    raise OSError(message)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    message = "the server did not start"
    raise TimeoutError(message)
