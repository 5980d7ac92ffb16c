"""A night of a whole firm on SQLite: free cash planned, sent in blocks, executed, booked.

The peer is the same work written one account at a time, one transaction each, over a sample of the
same accounts: what a straightforward service would do. Real database with `synchronous=FULL`, real
paper broker, real simulated market; every chain, lot, fill and event is written.
"""

import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import seeding
from bench.report import Figure
from bench.seeding import Customer
from robo.core.policy import Policy
from robo.portfolio.jit import load_all
from robo.runtime import Runtime
from robo.services.verifying import verify

_START: Final = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
_SAMPLE: Final = 50


def run(*, quick: bool) -> list[Figure]:
    """Return accounts a second of a night over 10^5 accounts (2,000 with `quick`)."""
    count = 2_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeding.found(folder, _START)
        with seeding.running(folder, _START) as runtime:
            return [
                *_figures(runtime, count),
                Figure("fsync, median", seeding.fsync_ms(folder), "ms"),
            ]


def _figures(runtime: Runtime, count: int) -> list[Figure]:
    policy = Policy.default()
    everybody = seeding.open_accounts(runtime, count)
    seeding.pay_in(runtime, everybody, "night", policy)
    load_all()  # as a runner does when it starts: a night does not compile
    runtime.db.longest_write_ms = 0.0
    took = seeding.invest(runtime, "night", policy)
    total, longest = sum(took.values()), runtime.db.longest_write_ms
    fills = seeding.scalar(runtime.db, "SELECT count(*) FROM fill")
    assert seeding.scalar(runtime.db, "SELECT count(*) FROM orders WHERE state <> 'filled'") == 0
    slow = _one_by_one(runtime, everybody[:_SAMPLE], policy)
    began = time.perf_counter()
    findings = verify(runtime.db, runtime.keyring, runtime.settings.anchors_path)
    assert not findings, findings[:3]
    checked = time.perf_counter() - began
    peer, rate = "one account at a time", count / total
    return [
        Figure("accounts in the night", count, "accounts"),
        Figure("orders booked", fills, "fills"),
        *(Figure(stage, seconds, "s") for stage, seconds in took.items()),
        Figure("whole night", total, "s"),
        Figure("longest write transaction", longest, "ms"),
        Figure("night, accounts a second", rate, "1/s", peer, rate / slow),
        Figure("verify everything", checked, "s"),
    ]


def _one_by_one(runtime: Runtime, some: Sequence[Customer], policy: Policy) -> float:
    """Return accounts a second when every account pays, plans, sends and books by itself."""
    began = time.perf_counter()
    for number, customer in enumerate(some):
        seeding.pay_in(runtime, [customer], f"slow{number}", policy)
        seeding.invest(runtime, f"slow{number}", policy)
    return len(some) / (time.perf_counter() - began)
