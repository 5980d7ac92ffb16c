"""A night of a mixed firm: ladder, direct sleeves by lot, losses of baskets, then their orders.

Nine accounts in ten hold a basket, nine in a hundred 30 to 80 names, one in a hundred 250 and more.
All were bought through the real pipeline, direct sleeves in two deposits a week of sessions apart.
Then seven weeks pass, every customer harvests, and one night is measured: read from and written
back to the database, sent, executed and booked.

`python -m bench.night FOLDER ACCOUNTS` keeps the firm: it is made if the folder is new, and the
night is measured on a copy beside it, so that the same night can be measured again.
"""

import json
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

from bench import _mixed_firm, seeding
from bench.report import Figure, table
from robo.core.clock import business_date
from robo.core.policy import Policy
from robo.portfolio.jit import load_all
from robo.runtime import Runtime, keep_heap, open_database
from robo.services import graduating, harvesting, indexing, rescoring
from robo.store.schema import upgrade

_START: Final = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
_SMALL, _MIDDLE, _LARGE = 1_000_00, (300_000_00, 1_900_000_00), 9_000_000_00
_KEPT: Final = "night.json"
"""Written last: what a folder that is seeded holds, and the instant of its night."""


def run(*, quick: bool) -> list[Figure]:
    """Return accounts a second of a night over 10^5 accounts (1,000 with `quick`)."""
    count = 1_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as name:
        return [*seed(Path(name), count), *measured(Path(name))]


def seed(folder: Path, count: int) -> list[Figure]:
    """Make a firm whose night is due."""
    began = perf_counter()
    seeding.found(folder, _START)
    with seeding.running(folder, _START) as runtime:
        everybody = seeding.open_accounts(runtime, count)
        brought = [(c, _cents(place)) for place, c in enumerate(everybody)]
        load_all()
        _mixed_firm.buy(runtime, brought, "first")
        _mixed_firm.let_pass(runtime, 5)
        more = [(c, cents // 4) for c, cents in brought if cents > _SMALL]
        _mixed_firm.buy(runtime, more, "second")
        _mixed_firm.let_pass(runtime, 35)
        _mixed_firm.harvest_all(runtime, everybody)
        kept = {"accounts": count, "at": runtime.clock.now().isoformat()}
    (folder / _KEPT).write_text(json.dumps(kept), encoding="utf-8")
    return [Figure("seeding", perf_counter() - began, "s")]


def measured(folder: Path) -> list[Figure]:
    """Return the figures of the night that is due in a folder, and do it as a runner would."""
    db = open_database(seeding.settings_of(folder))
    upgrade(db)  # a firm that was kept may be older than the code
    db.close()
    kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
    with seeding.running(folder, datetime.fromisoformat(kept["at"])) as runtime:
        load_all()
        keep_heap()
        return _measured(runtime, kept["accounts"])


def _measured(runtime: Runtime, count: int) -> list[Figure]:
    r, policy = runtime, Policy.default()
    on = business_date(r.clock.now())
    slot = on.isoformat()
    before = seeding.scalar(r.db, "SELECT count(*) FROM orders")
    lots = seeding.scalar(r.db, "SELECT count(*) FROM lot WHERE nanos > 0")
    stages: dict[str, Callable[[], object]] = {
        "rescore": lambda: rescoring.apply(
            r.db, r.keyring, r.broker, r.prices, r.clock, policy, on
        ),
        "graduate": lambda: graduating.review(r.db, r.prices, r.clock, r.calendar, policy, on),
        "index": lambda: indexing.plan(
            r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, policy, slot
        ),
        "harvest": lambda: harvesting.plan(
            r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, policy, slot
        ),
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
        *(Figure(name, count / seconds, "accounts/s") for name, seconds in took.items()),
        Figure("index, of direct sleeves", direct / took["index"], "accounts/s"),
        Figure("longest write transaction", r.db.longest_write_ms, "ms"),
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


def main() -> int:
    """Measure a night on a copy of a firm that is kept: FOLDER ACCOUNTS."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    figures = []
    if not (folder / _KEPT).exists():
        folder.mkdir(parents=True)
        figures += seed(folder, count)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        copy = Path(name) / "firm"
        shutil.copytree(folder, copy)
        figures += measured(copy)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
