"""One life: the real services under a simulated clock, four weeks at a time, from $100 at 19.

The customer acts through the API; all jobs run on the first session of every fourth week, and
make up for what was due between: the weekly deposits, the corporate actions of every session.
"""

import json
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from robo import config
from robo.app import create_app
from robo.cli import prepare
from robo.config import Settings
from robo.core.clock import business_date
from robo.core.ids import AccountId, SecurityId
from robo.core.policy import Policy
from robo.runtime import Runtime, open_database
from robo.services import reporting
from robo.services.verifying import verify
from robo.store import ledger, orders, universe
from robo.store.schema import upgrade
from scheduler import life_decisions, timelapse
from scheduler.life_client import LocalClient, Person
from scheduler.life_market import HeldDividends
from scheduler.timelapse import Timelapse

START: Final = datetime(2027, 1, 4, 14, 50, tzinfo=UTC)
BORN: Final = date(2008, 1, 2)
FIRST_CENTS: Final = 100_00
SAVING: Final = ((19, 25_00), (23, 100_00), (27, 300_00), (32, 600_00))
"""From an age on, dollars a week."""
STEP_WEEKS: Final = 4
"""Weeks that pass at once; weekly plans make up for the dates between."""
Turn = Callable[[], AbstractContextManager[object]]
EMPLOYER_AGE, SCANDAL_AGE = 27, 35
_YEAR_DAYS: Final = 365.25
_POLICY: Final = replace(Policy.default(), model_sessions=60, idle_model_sessions=250)
"""Risk is fitted once a quarter: at every look of thirty-six years it is half of the work."""
_LAST_EFFECT: Final = text(
    "SELECT after_ppm FROM plan_effect WHERE account_id = :account AND after_ppm IS NOT NULL "
    "ORDER BY at DESC LIMIT 1"
)
_TROUBLES: Final = text(
    "SELECT 'job', job, code, detail, 'since', min(slot), 'times', count(*) FROM job_failure "
    "GROUP BY job, code, detail UNION ALL "
    "SELECT 'break', subject, category, security_id, 'ours', ours, 'theirs', theirs "
    "FROM recon_break WHERE state = 'open' AND NOT (subject = 'activity' AND blocks = 0)"
)
"""A dividend paid for other shares than were entitled is the customer's all the same; in thinned
time there are some. Operators see it, and nothing stands still for it."""
_EXAMPLES: Final = Path(__file__).parent.parent / "docs" / "examples"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - state that is thrown away needs no disk

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Week:
    """The account after a session."""

    on: str
    nav_cents: int
    paid_in_cents: int
    names: int
    predicted_ppm: int
    """Ex-ante tracking error of the last plan, 0 where none was told."""


@dataclass(slots=True)
class Life:
    """What a life leaves to be checked and drawn."""

    seed: int
    account_id: str = ""
    weeks: list[Week] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    growth: list[FloatArray] = field(default_factory=list)
    """Total return of every listed name from the week before, 0 where there is none, (names,)."""
    acts: list[tuple[str, str]] = field(default_factory=list)
    """What the customer did: date, sentence."""
    findings: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """Jobs that failed, and differences to the broker that nobody explained."""
    seconds: float = 0.0


@contextmanager
def lived(seed: int, until_age: float, turn: Turn = nullcontext) -> Iterator[tuple[Life, Runtime]]:
    """Yield a life that has been lived, while its database is still open.

    Args:
        seed: Of the market.
        until_age: How long.
        turn: Waits for the right to compute, which each look needs, and gives it back.
    """
    place = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(
        prefix="robo-life-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        settings = _settings(Path(folder), seed)
        with timelapse.opened(settings, _POLICY) as lapse:
            life = Life(seed)
            _live(lapse, life, day_of(until_age), turn)
            found = verify(lapse.runtime.db, lapse.runtime.keyring, settings.anchors_path)
            life.findings = [f"{one.code} {one.subject}: {one.detail}" for one in found]
            with lapse.runtime.db.read() as session:
                told = session.connection().execute(_TROUBLES)
                life.troubles = [" ".join(map(str, row)) for row in told]
            yield life, lapse.runtime


def day_of(age: float) -> date:
    """Return the day on which somebody born on `BORN` is so old; a birthday for whole years."""
    whole = int(age)
    return BORN.replace(year=BORN.year + whole) + timedelta(days=round((age - whole) * _YEAR_DAYS))


def age_on(day: date) -> int:
    """Return how old somebody born on `BORN` is."""
    return day.year - BORN.year - ((day.month, day.day) < (BORN.month, BORN.day))


def _settings(folder: Path, seed: int) -> Settings:
    environment = {
        "ROBO_STATE_DIR": str(folder / "state"),
        "ROBO_CLOCK": "sim",
        "ROBO_RUNNER": "none",
        "ROBO_LOG_LEVEL": "error",
        "ROBO_SIM_SEED": str(seed),
    }
    settings = replace(config.read(environment), prices="scheduler.life_market:create")
    db = open_database(settings)
    upgrade(db)
    life_decisions.watch(db)
    db.close()
    timelapse.set_clock(settings, START)
    db = open_database(settings)
    prepare(settings, db)
    db.close()
    return settings


def _live(lapse: Timelapse, life: Life, until: date, turn: Turn) -> None:
    me = _begin(lapse, life)
    rt, employed, scandal = lapse.runtime, False, False
    saving = SAVING[0][1]
    with rt.db.read() as session:
        life.ids = sorted(one.id for one in universe.everything(session))
    day = lapse.runtime.calendar.on_or_after(business_date(lapse.clock.now()))
    while day < until:
        age = age_on(day)
        wanted = max(pair for pair in SAVING if pair[0] <= age)[1]
        if wanted != saving:
            saving = wanted
            me.save_weekly(saving)
            life.acts.append((day.isoformat(), f"saves ${saving // 100} a week"))
        if age >= EMPLOYER_AGE and not employed:
            employed = True
            _change_employer(rt, me, life, day)
        if age >= SCANDAL_AGE and not scandal:
            scandal = True
            _leave_after_scandal(rt, me, life, day)
        before = day
        monday = day + timedelta(weeks=STEP_WEEKS, days=-day.weekday())
        day = rt.calendar.on_or_after(monday)
        with turn():
            lapse.live_session(day)
            _remember(rt, life, day, before)


def _begin(lapse: Timelapse, life: Life) -> Person:
    """Sign up, choose to harvest with no net gains, and pay in the first money."""
    rt = lapse.runtime
    client = LocalClient("", app=create_app(rt).test_client())
    me = Person(client, "life@example.com", f"a long walk home {secrets.token_hex(4)}")
    profile = _example("profile") | {"birth_date": BORN.isoformat()}
    me.sign_up(profile, _example("answers"))
    me.choose_taxes({"mode": "harvest", "gain_budget": "0.00", "elsewhere": "none"})
    account = life.account_id = me.account_id
    assert isinstance(rt.prices, HeldDividends)
    rt.prices.held = lambda: _concerns(rt, account)
    me.deposit(FIRST_CENTS)
    lapse.pass_moments(2)
    me.save_weekly(SAVING[0][1])
    life.acts.append((START.date().isoformat(), "pays in $100 and saves $25 a week"))
    return me


def _change_employer(rt: Runtime, me: Person, life: Life, day: date) -> None:
    """Work for the company most of is held of: its stock may not be bought any more."""
    symbol = _held(rt, life)[0]
    me.leave_out(symbol, "never_buy", "keep")
    life.acts.append((day.isoformat(), f"works for {symbol} now: its stock is restricted"))


def _leave_after_scandal(rt: Runtime, me: Person, life: Life, day: date) -> None:
    """Want a held company out after a scandal."""
    symbol = _held(rt, life)[2]
    me.leave_out(symbol, "never_own", "sell")
    life.acts.append((day.isoformat(), f"wants {symbol} out after a scandal: sold by choice"))


def _held(rt: Runtime, life: Life) -> list[str]:
    """Return the symbols held, the largest holding first."""
    with rt.db.read() as session:
        view = reporting.portfolio(session, rt.prices, rt.clock, rt.calendar, life.account_id)
    held = [one for one in view.holdings if one.nanos]
    held.sort(key=lambda one: (-one.value_cents, one.security_id))
    return [one.symbol for one in held]


def _concerns(rt: Runtime, account_id: str) -> Collection[int]:
    """Return the securities of which the account holds shares now, or is buying some."""
    mine = AccountId(account_id)
    with rt.db.read() as session:
        held = ledger.account_balances(session, mine).holdings_nanos
        bought = orders.open_orders(session, [mine])
    return {*held, *(one.security_id for one in bought)}


def _remember(rt: Runtime, life: Life, day: date, before: date) -> None:
    """Keep what the account is worth after a week, and what every name returned in it."""
    with rt.db.read() as session:
        view = reporting.portfolio(session, rt.prices, rt.clock, rt.calendar, life.account_id)
        told = session.connection().execute(_LAST_EFFECT, {"account": life.account_id})
        predicted = int(told.scalar() or 0)
    held = sum(1 for one in view.holdings if one.nanos)
    paid = view.flows.deposited_cents
    life.weeks.append(Week(day.isoformat(), view.nav_cents, paid, held, predicted))
    last, count = rt.calendar.shift(day, -1), 1
    while rt.calendar.shift(last, -count) >= before:
        count += 1
    rows = rt.prices.total_returns([SecurityId(one) for one in life.ids], last, count)
    table = np.array(rows, dtype=np.float64)
    life.growth.append(np.prod(1.0 + np.nan_to_num(table), axis=0) - 1.0)


def _example(name: str) -> Any:
    return json.loads((_EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
