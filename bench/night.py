"""A night of a mixed firm: ladder, direct sleeves by lot, losses of baskets, then their orders.

Nine accounts in ten hold a basket, nine in a hundred 30 to 80 names, one in a hundred 250 and more.
All were bought through the real pipeline, in two deposits a week of sessions apart, so that every
account has lots. Then seven weeks pass, every customer harvests, and one night is measured: read
from and written back to the database, sent, executed and booked.
"""

import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import perf_counter
from typing import Final

from sqlmodel import Session

from bench import seeding
from bench.report import Figure
from bench.seeding import Customer
from robo.core.clock import NEW_YORK, FixedClock, business_date, to_micros
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.portfolio.jit import load_all
from robo.runtime import Runtime
from robo.services import adjusting, graduating, harvesting, indexing, marking, rescoring
from robo.services.funding import settle_proceeds
from robo.services.turns import Turns
from robo.store import ledger, tax_profiles
from robo.store.tax_profiles import Choice

_START: Final = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
_SMALL, _MIDDLE, _LARGE = 1_000_00, (300_000_00, 1_900_000_00), 9_000_000_00
_ALONE: Final = replace(Policy.default(), write_lock_ms_max=5_000)


def run(*, quick: bool) -> list[Figure]:
    """Return accounts a second of a night over 10^5 accounts (1,000 with `quick`)."""
    count = 1_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeding.found(folder, _START)
        with seeding.running(folder, _START) as runtime:
            everybody = seeding.open_accounts(runtime, count)
            load_all()
            _buy(runtime, everybody, 1, "first")
            _pass(runtime, 5)
            _buy(runtime, everybody, 4, "second")
            _pass(runtime, 35)
            _harvest_all(runtime, everybody)
            return _measured(runtime, count)


def _measured(runtime: Runtime, count: int) -> list[Figure]:
    r, policy = runtime, Policy.default()
    on = business_date(r.clock.now())
    slot = on.isoformat()
    before = seeding.scalar(r.db, "SELECT count(*) FROM orders")
    lots = seeding.scalar(r.db, "SELECT count(*) FROM lot WHERE nanos > 0")
    stages: dict[str, Callable[[], object]] = {
        "rescore": lambda: rescoring.apply(r.db, r.keyring, r.prices, r.clock, policy, on),
        "graduate": lambda: graduating.review(r.db, r.prices, r.clock, r.calendar, policy, on),
        "index": lambda: indexing.plan(
            r.db, r.keyring, r.prices, r.clock, r.calendar, policy, slot
        ),
        "harvest": lambda: harvesting.plan(r.db, r.keyring, r.prices, r.clock, policy, slot),
    }
    took = {name: _seconds(work) for name, work in stages.items()}
    planned = seeding.scalar(r.db, "SELECT count(*) FROM orders") - before
    took |= {name: s for name, s in seeding.invest(r, f"{slot}/night", policy).items() if s}
    whole = sum(took.values())
    large = seeding.scalar(r.db, "SELECT count(*) FROM direct_sleeve WHERE names >= 250")
    direct = seeding.scalar(r.db, "SELECT count(*) FROM sleeve WHERE kind = 'direct_index'")
    return [
        Figure("accounts", count, "accounts"),
        Figure("of these direct sleeves", direct, "accounts"),
        Figure("of these with 250 names or more", large, "accounts"),
        Figure("open lots", lots, "lots"),
        Figure("orders planned by the night", planned, "orders"),
        *(Figure(name, seconds, "s") for name, seconds in took.items()),
        Figure("index, of direct sleeves", direct / took["index"], "accounts/s"),
        Figure("whole night", whole, "s"),
        Figure("whole night", count / whole, "accounts/s"),
        Figure("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB"),
    ]


def _seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def _cents(place: int) -> int:
    """Return what the place-th customer brings in all: small, middle or large."""
    if place % 100 == 0:
        return _LARGE
    low, high = _MIDDLE
    return low + place % 97 * (high - low) // 97 if place % 100 < 10 else _SMALL


def _buy(runtime: Runtime, everybody: Sequence[Customer], parts: int, name: str) -> None:
    """Pay in a part of what everybody brings, and invest it."""
    r = runtime
    at = to_micros(r.clock.now())
    paid = [
        transfer
        for place, c in enumerate(everybody)
        for transfer in recipes.deposit(c.account_id, _cents(place) // parts, f"{name}/{c.id}")
    ]
    for start in range(0, len(paid), 5_000):
        with r.db.write() as session:
            part = paid[start : start + 5_000]
            ledger.post(session, r.keyring.chain, part, seeding.FIRM, at)
    graduating.admit(r.db, r.prices, r.clock, _ALONE, r.calendar)
    indexing.invest(r.db, r.keyring, r.prices, r.clock, r.calendar, _ALONE, name)
    seeding.invest(r, name, _ALONE)


def _pass(runtime: Runtime, sessions: int) -> None:
    """Let sessions pass: corporate actions, settlement, and the marks of the last day."""
    r, clock = runtime, runtime.clock
    assert isinstance(clock, FixedClock)
    for _ in range(sessions):
        on = r.calendar.shift(business_date(clock.now()), 1)
        clock.set(datetime.combine(on, time(10), tzinfo=NEW_YORK))
        adjusting.apply_day(r.db, r.keyring, r.broker, r.prices, clock, _ALONE, on)
    settle_proceeds(r.db, r.keyring, clock, _ALONE, on)
    marking.mark_day(r.db, r.prices, r.calendar.shift(on, -1))
    clock.advance(timedelta(minutes=1))


def _harvest_all(runtime: Runtime, everybody: Sequence[Customer]) -> None:
    def write(session: Session, part: Sequence[Customer]) -> None:
        for c in part:
            tax_profiles.choose(session, c.id, Choice(mode="harvest", number=1))

    Turns(runtime.db, _ALONE).each(everybody, write)
