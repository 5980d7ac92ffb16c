"""A night of a whole firm on SQLite: free cash planned, sent in blocks, executed, booked.

The peer is the same work written one account at a time, one transaction each, over a sample of the
same accounts: what a straightforward service would do. Real database with `synchronous=FULL`, real
paper broker, real simulated market; every chain, lot, fill and event is written.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from baskets.catalog import catalog
from bench.report import Figure
from robo.config import Settings
from robo.core.clock import FixedClock, to_micros
from robo.core.ids import AccountId, FirmId, child_id
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.plugins import load
from robo.ports.plugins import PluginContext
from robo.runtime import Runtime, load_keyring, market_calendar
from robo.services import investing, targeting, trading
from robo.services.listing import sync_universe
from robo.services.verifying import verify
from robo.store import ledger, universe
from robo.store.database import Database, connect, insert_many
from robo.store.schema import upgrade

_FIRM = FirmId("firm_bench")
_START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
_SEED_PART = 5_000
_SAMPLE = 50


def run(*, quick: bool) -> list[Figure]:
    """Return accounts a second of a night over 10^5 accounts (2,000 with `quick`)."""
    count = 2_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder, _firm(Path(folder)) as runtime:
        accounts = _seed(runtime, count)
        took, longest = _night(runtime, "night")
        figures = [
            Figure("accounts in the night", count, "accounts"),
            Figure("orders booked", _scalar(runtime.db, "SELECT count(*) FROM fill"), "fills"),
        ]
        total = sum(took.values())
        figures += [Figure(f"{stage}", seconds, "s") for stage, seconds in took.items()]
        figures.append(Figure("whole night", total, "s"))
        figures.append(Figure("longest write transaction", longest, "ms"))
        assert _scalar(runtime.db, "SELECT count(*) FROM orders WHERE state <> 'filled'") == 0
        slow = _one_by_one(runtime, accounts[:_SAMPLE])
        figures.append(
            Figure(
                "night, accounts a second",
                count / total,
                "1/s",
                "one account at a time",
                count / total / slow,
            )
        )
        began = time.perf_counter()
        findings = verify(runtime.db, runtime.keyring, runtime.settings.anchors_path)
        assert not findings, findings[:3]
        figures.append(Figure("verify everything", time.perf_counter() - began, "s"))
        figures.append(Figure("fsync, median", _fsync_ms(Path(folder)), "ms"))
        return figures


@contextmanager
def _firm(folder: Path) -> Iterator[Runtime]:
    settings = Settings(state_dir=str(folder), plugins={})
    db = connect(settings.url)
    upgrade(db)
    sync_universe(db)
    clock = FixedClock(_START)
    with db.write() as session:
        insert_many(
            session, "firm", ("id", "name", "house", "created_at"), [(_FIRM, "Bench", 1, 1)]
        )
    with db.read() as session:
        listed = universe.listed(session)
    calendar = market_calendar()
    context = PluginContext({}, clock, folder, calendar, listed)
    prices = load("robo.prices", "simulated")(context)
    context = PluginContext({}, clock, folder, calendar, listed, prices)
    yield Runtime(
        settings=settings,
        policy=Policy.default(),
        db=db,
        keyring=load_keyring(settings),
        clock=clock,
        calendar=calendar,
        prices=prices,
        broker=load("robo.brokers", "paper")(context),
        bank=load("robo.banks", "simulated")(context),
        mailer=load("robo.mailers", "file")(context),
    )
    db.close()


def _seed(runtime: Runtime, count: int) -> list[AccountId]:
    """Open accounts over all baskets in turn, each with a hundred dollars."""
    offered = catalog().all()
    ids = [AccountId(child_id("acc", number)) for number in range(count)]
    now = to_micros(_START)
    with runtime.db.write() as session:
        targets = [targeting.resolve(session, "none", basket, now) for basket in offered]
    for start in range(0, count, _SEED_PART):
        part = ids[start : start + _SEED_PART]
        with runtime.db.write() as session:
            insert_many(
                session,
                "customer",
                (
                    "id",
                    "firm_id",
                    "email_index",
                    "state",
                    "created_at",
                    "identity_state",
                    "identity_codes",
                    "delivery",
                ),
                [
                    (f"c{a}", _FIRM, a.encode(), "active", now, "accepted", "", "paper")
                    for a in part
                ],
            )
            insert_many(
                session,
                "account",
                ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
                [(a, _FIRM, f"c{a}", "individual", "open", now) for a in part],
            )
            insert_many(
                session,
                "sleeve",
                ("id", "account_id", "kind", "basket_id", "target_id", "changed_at"),
                [
                    (
                        f"s{a}",
                        a,
                        "basket",
                        offered[n % len(offered)].id,
                        targets[n % len(offered)],
                        now,
                    )
                    for n, a in enumerate(part)
                ],
            )
            paid = [t for a in part for t in recipes.deposit(a, 100_00, f"seed/{a}")]
            ledger.post(session, runtime.keyring.chain, paid, _FIRM, now)
    return ids


def _night(runtime: Runtime, slot: str) -> tuple[dict[str, float], float]:
    r, took = runtime, {}
    r.db.longest_write_ms = 0.0
    began = time.perf_counter()
    investing.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)
    took["invest-cash"] = time.perf_counter() - began
    began = time.perf_counter()
    trading.send(r.db, r.broker, r.clock, r.policy, slot)
    took["trade-window: send"] = time.perf_counter() - began
    began = time.perf_counter()
    while _scalar(r.db, "SELECT count(*) FROM block WHERE closed_at IS NULL"):
        trading.collect(r.db, r.keyring, r.broker, r.clock, r.policy)
        assert isinstance(r.clock, FixedClock)
        r.clock.advance(timedelta(minutes=1))  # orders the market fills in parts need time
    took["trade-window: book"] = time.perf_counter() - began
    return took, r.db.longest_write_ms


def _one_by_one(runtime: Runtime, accounts: list[AccountId]) -> float:
    """Return accounts a second when every account pays, plans, sends and books by itself."""
    began = time.perf_counter()
    for number, account in enumerate(accounts):
        with runtime.db.write() as session:
            paid = recipes.deposit(account, 100_00, f"slow/{account}")
            ledger.post(session, runtime.keyring.chain, paid, _FIRM, to_micros(_START))
        _night(runtime, f"slow{number}")
    return len(accounts) / (time.perf_counter() - began)


def _scalar(db: Database, sql: str) -> int:
    with db.read() as session:
        return int(session.connection().exec_driver_sql(sql).scalar_one())


def _fsync_ms(folder: Path) -> float:
    """Return the median of forty durable writes of one page."""
    path = folder / "fsync"
    times: list[float] = []
    with path.open("wb") as file:
        for _ in range(40):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[len(times) // 2]
