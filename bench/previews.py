"""Price tags under load: an account of 500 names is asked what other choices would do.

Really served (`robo web`: gunicorn, two workers of four threads) over a real database: customers
whose direct sleeves hold 500 names in lots that the real pipeline bought, sessions apart. Another
process on the same machine asks by the clock, each time for something else: companies left out,
sectors tilted, another tax mode. Nothing of an answer can be kept for the next one.
"""

import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import _mixed_firm, api, seeding
from bench.load import Outcome, Task
from bench.report import Figure
from robo.core.clock import business_date
from robo.portfolio.jit import load_all
from robo.runtime import SystemClock, market_calendar
from robo.services import benchmarking, modelling
from robo.services.modelling import Model
from robo.services.personalising import MODES
from robo.store import universe
from robo.store.database import Database

_RATE: Final = 20.0
_LINES: Final = 16
_FIRST_CENTS: Final = 22_000_000_00
"""Carries all names of the index at once."""
_NEXT_CENTS: Final = 3_000_000_00
_DEPOSITS: Final = 3
_APART: Final = 15
"""Sessions from one deposit to the next."""
_LEFT_OUT_MAX: Final = 15
_TILTS_PPM: Final = (-200_000, -100_000, 100_000, 200_000)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    accounts: int
    seconds: float


def run(*, quick: bool) -> list[Figure]:
    """Return latencies of previews at 20 requests a second, beside a constant's."""
    size = Size(2, 10) if quick else Size(4, 60)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        figures = seeded(folder, size)
        figures.append(Figure("seeding", time.perf_counter() - began, "s"))
        return [*figures, *measured(folder, size)]


def seeded(folder: Path, size: Size) -> list[Figure]:
    """Make a firm of large accounts with lots, and what shall be asked; return what there is."""
    calendar = market_calendar()
    last = api.last_session(SystemClock().now())
    first = calendar.shift(last.date(), -_APART * _DEPOSITS)
    start = last.replace(year=first.year, month=first.month, day=first.day)
    seeding.found(folder, start)
    with seeding.running(folder, start) as runtime:
        everybody = seeding.open_accounts(runtime, size.accounts)
        load_all()
        for number in range(_DEPOSITS):
            cents = _NEXT_CENTS if number else _FIRST_CENTS
            _mixed_firm.buy(runtime, [(c, cents) for c in everybody], f"deposit {number}")
            _mixed_firm.let_pass(runtime, _APART)
        _mixed_firm.harvest_all(runtime, everybody)
        seeding.sign_in(runtime.db, everybody, SystemClock().now(), folder / "callers")
        with runtime.db.read() as session:
            model = modelling.current(session, runtime.prices, SystemClock().now())
        assert model is not None
        _write_bodies(runtime.db, model, folder / "bodies", round(_RATE * size.seconds) + 200)
        assert business_date(runtime.clock.now()) <= business_date(SystemClock().now())
        return [
            Figure("accounts", size.accounts, "accounts"),
            Figure("names held, each", _count(runtime.db, "DISTINCT security_id", size), "names"),
            Figure("open lots, each", _count(runtime.db, "*", size), "lots"),
        ]


def measured(folder: Path, size: Size) -> list[Figure]:
    """Return the figures of a firm that was seeded in this folder."""
    with api.served(folder) as port:

        def load(kind: str, seconds: float) -> Outcome:
            task = Task(
                port,
                {kind: 100},
                seconds,
                str(folder / "callers"),
                rate=_RATE,
                connections=_LINES,
                bodies=str(folder / "bodies"),
            )
            return api.finish(api.start(task))

        load("preview", 3)  # each worker reads the day's model and prices once
        constant = load("constant", 3)
        return api.latencies("at 20/s: ", load("preview", size.seconds), constant)


def _count(db: Database, what: str, size: Size) -> float:
    sql = f"SELECT sum(n) FROM (SELECT count({what}) AS n FROM lot WHERE nanos > 0 GROUP BY account_id)"  # noqa: E501 - words of our own
    return seeding.scalar(db, sql) / size.accounts


def _write_bodies(db: Database, model: Model, path: Path, count: int) -> None:
    """Write what is asked for, a line each, no two alike."""
    with db.read() as session:
        listed = universe.by_id(session, model.security_ids.tolist())
    symbols = sorted(one.symbol for one in listed.values() if one.state == "active")
    dials = benchmarking.dials_of(model).name
    rng = random.Random(4)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            file.write(json.dumps(_wish(rng, symbols, dials)) + "\n")


def _wish(rng: random.Random, symbols: list[str], dials: tuple[str, ...]) -> dict[str, Any]:
    wish: dict[str, Any] = {
        "leave_out": rng.sample(symbols, rng.randint(1, _LEFT_OUT_MAX)),
        "tax_mode": rng.choice(sorted(MODES)),
    }
    if rng.random() < 0.5:
        wish["tilts"] = {rng.choice(dials): rng.choice(_TILTS_PPM)}
    if rng.random() < 0.25:
        wish |= {"theme": "stays", "stays_ppm": rng.randrange(10_000, 100_000)}
    return wish
