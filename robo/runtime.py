"""The only place that builds things: database, keys, clock, market, plug-ins."""

import gc
import json
import secrets
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from robo.config import Settings
from robo.core.clock import Clock, from_micros
from robo.core.errors import ConfigError
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.plugins import load
from robo.ports.broker import Broker
from robo.ports.funding import Bank
from robo.ports.mail import Mailer
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import PriceSource
from robo.store import jobs, universe
from robo.store.database import Database, connect, sqlite_is_safe
from robo.store.keyring import KEY_BYTES, Keyring
from robo.store.schema import require_current

KERNEL_MODULES: Final = (
    "robo.portfolio.kernels",
    "robo.portfolio.dual_kernels",
    "robo.portfolio.landing_kernel",
    "robo.portfolio.sampling_kernels",
    "robo.portfolio.sampling_bounds",
    "robo.tax.arrays",
)
"""Where compiled code is."""
_FIRST_SESSION: Final = "2014-01-02"
_YEARS_AHEAD: Final = 80
"""A life of the time-lapse must end inside the calendar."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock


class DatabaseClock:
    """A simulated clock: a row that only the time-lapse moves."""

    def __init__(self, db: Database) -> None:
        """Read the row of this database."""
        self._db = db

    def now(self) -> datetime:
        """Return the simulated instant."""
        with self._db.read() as session:
            return from_micros(jobs.sim_instant(session))


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the processes share; made once a process, after any fork."""

    settings: Settings
    policy: Policy
    db: Database
    keyring: Keyring
    clock: Clock
    calendar: MarketCalendar
    prices: PriceSource
    broker: Broker
    bank: Bank
    mailer: Mailer

    def close(self) -> None:
        """Give back what is held open."""
        self.db.close()


def build(
    settings: Settings,
    securities: Iterable[ListedSecurity],
    *,
    policy: Policy | None = None,
    clock: Clock | None = None,
) -> Runtime:
    """Build everything that the settings name.

    Args:
        settings: What the process was told.
        securities: From `store.universe`; what plug-ins may know of the universe.
        policy: Another policy than the default.
        clock: The time-lapse's own, in step with the database's; else what the settings say.

    Raises:
        ConfigError: If a plug-in, a key or the schema is not what it should be.
    """
    db = open_database(settings)
    require_current(db)
    keyring = load_keyring(settings)
    if clock is None:
        clock = DatabaseClock(db) if settings.clock == "sim" else SystemClock()
    context = PluginContext(
        settings=settings.plugins,
        clock=clock,
        state_dir=settings.state_path,
        calendar=market_calendar(),
        securities=tuple(securities),
    )
    prices = load("robo.prices", settings.prices)(context)
    context = replace(context, prices=prices)
    broker: Broker = load("robo.brokers", settings.broker)(context)
    if settings.clock == "sim" and not (prices.simulated and broker.capabilities.simulated):
        message = "ROBO_CLOCK=sim needs simulated prices and a simulated broker"
        raise ConfigError(message)
    return Runtime(
        settings=settings,
        policy=with_ladders(settings, policy or Policy.default()),
        db=db,
        keyring=keyring,
        clock=clock,
        calendar=context.calendar,
        prices=prices,
        broker=broker,
        bank=load("robo.banks", settings.bank)(context),
        mailer=load("robo.mailers", settings.mailer)(context),
    )


def with_ladders(settings: Settings, policy: Policy) -> Policy:
    """Return a policy with the firm's own table of ladders, where the settings name one.

    Raises:
        ConfigError: If that file cannot be read, or is not such a table.
    """
    if not settings.ladders:
        return policy
    from robo.portfolio import ladder  # noqa: PLC0415 - it loads a compiler that few commands need

    try:
        own = replace(policy, ladders=Path(settings.ladders).read_text(encoding="utf-8"))
        ladder.book_of(own.ladders)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"ROBO_LADDERS is no table of ladders and segments: {error}"
        raise ConfigError(message) from error
    return own


def boot(
    settings: Settings, *, policy: Policy | None = None, clock: Clock | None = None
) -> Runtime:
    """Build everything for a database that is migrated and knows its universe.

    Raises:
        ConfigError: As `build`, or if `robo migrate` has not run.
    """
    securities = _listed(settings)
    if not securities:
        message = "the database knows no securities: run `robo migrate`"
        raise ConfigError(message)
    return build(settings, securities, policy=policy, clock=clock)


def _listed(settings: Settings) -> tuple[ListedSecurity, ...]:
    """Return the securities of a database that is migrated.

    Raises:
        ConfigError: If `robo migrate` has not run.
    """
    db = open_database(settings)
    try:
        require_current(db)
        with db.read() as session:
            return universe.listed(session)
    finally:
        db.close()


def broker_context(settings: Settings) -> PluginContext:
    """Return what a broker plug-in is given, prices included; for commands that serve a market.

    Raises:
        ConfigError: As `boot`.
    """
    securities = _listed(settings)
    clock = DatabaseClock(open_database(settings)) if settings.clock == "sim" else SystemClock()
    context = PluginContext(
        settings=settings.plugins,
        clock=clock,
        state_dir=settings.state_path,
        calendar=market_calendar(),
        securities=tuple(securities),
    )
    return replace(context, prices=load("robo.prices", settings.prices)(context))


def open_database(settings: Settings) -> Database:
    """Return the database; makes the state directory, connects at the first use."""
    settings.state_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = connect(settings.url, flush=settings.clock != "sim")
    if settings.env == "production" and db.is_sqlite and not sqlite_is_safe():
        message = "this SQLite is older than 3.51.3, which production refuses: install pysqlite3"
        raise ConfigError(message)
    return db


def load_keyring(settings: Settings) -> Keyring:
    """Return the keys; development makes them on first use, production refuses to.

    Raises:
        ConfigError: If a key is missing in production, or has a wrong length.
    """
    return Keyring(
        chain=_key(settings, "chain"), wrap=_key(settings, "wrap"), index=_key(settings, "index")
    )


def make_keys(settings: Settings) -> list[Path]:
    """Write the keys that are missing, readable by their owner only; return where they are."""
    paths = [settings.keys_path / f"{name}.key" for name in ("chain", "wrap", "index")]
    for path in paths:
        write_secret(path, secrets.token_bytes(KEY_BYTES))
    return paths


def _key(settings: Settings, name: str) -> bytes:
    path = settings.keys_path / f"{name}.key"
    if not path.exists():
        if settings.env == "production":
            message = (
                f"key {path} is missing; production makes none by itself: `robo keys init` does"
            )
            raise ConfigError(message)
        write_secret(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        message = f"key {path} must be {KEY_BYTES} bytes"
        raise ConfigError(message)
    return key


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; never replaces one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


@lru_cache(maxsize=1)
def market_calendar() -> MarketCalendar:
    """Return the New York Stock Exchange's sessions from 2014 on, past and computed."""
    import exchange_calendars  # noqa: PLC0415 - it takes a second; only servers and jobs need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the next pandas; its sessions are tested
        exchange: Any = exchange_calendars.get_calendar(
            "XNYS",
            start=_FIRST_SESSION,
            end=f"{datetime.now(UTC).year + _YEARS_AHEAD}-12-31",  # noqa: TID251 - a bound
        )
    days: list[date] = [stamp.date() for stamp in exchange.sessions]
    early = frozenset(stamp.date() for stamp in exchange.early_closes)
    return MarketCalendar(tuple(days), early)


def warm_kernels() -> int:
    """Compile every numerical kernel, or load it from the cache; return how many there are.

    For a process's start, so that no request and no job waits for the compiler. Modules with
    kernels are imported here and not above: most commands need none.
    """
    for name in KERNEL_MODULES:
        import_module(name)
    loaders = (import_module(name) for name in ("robo.portfolio.kernels", "robo.tax.arrays"))
    return sum(int(module.warm()) for module in loaders)


def keep_heap() -> None:
    """Tell the search for garbage that what is in memory now stays; for a process's start.

    Catalogue and code are 430,000 objects it would look through again and again: a quarter of a
    second each time (measured), in the middle of a request.
    """
    gc.collect()
    gc.freeze()


def describe(runtime: Runtime) -> str:
    """Return one JSON line of what was built, without secrets."""
    return json.dumps(
        {
            "broker": runtime.broker.capabilities.name,
            "prices": runtime.prices.name,
            "database": "sqlite" if runtime.db.is_sqlite else "postgresql",
            "clock": runtime.settings.clock,
        }
    )
