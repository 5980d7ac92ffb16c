"""A small world for tests: real database, market, paper broker and bank; no web."""

import atexit
import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from databases import migrate

from baskets.catalog import catalog
from broker_adapters.market_cache import sessions_digest
from robo.config import Settings
from robo.core.clock import NEW_YORK, FixedClock, business_date, to_micros
from robo.core.ids import AccountId, FirmId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.plugins import load
from robo.ports.plugins import PluginContext
from robo.runtime import Runtime, load_keyring
from robo.services import adjusting, finishing, investing, marking, targeting, trading, withdrawing
from robo.services.listing import sync_universe
from robo.services.verifying import verify
from robo.store import ledger, lots, prices, universe
from robo.store.database import Database, connect, insert_many

FIRM = FirmId("firm_house")
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""Monday 2 March 2026, 10:00 in New York."""


plugin = functools.cache(load)
"""Finds a plug-in once a process: all that is installed is looked through for each."""


@dataclass
class World:
    """A runtime with a clock that tests move, and short ways to do what jobs do."""

    runtime: Runtime
    clock: FixedClock
    windows: int = 0
    accounts: list[AccountId] = field(default_factory=list)

    @property
    def db(self) -> Database:
        return self.runtime.db

    def add_accounts(self, count: int, basket_id: str = "theme-water") -> list[AccountId]:
        """Open accounts that follow a basket, each of its own customer."""
        first = len(self.accounts)
        ids = [AccountId(child_id("acc", first + i)) for i in range(count)]
        now = to_micros(self.clock.now())
        token = self.runtime.bank.link("lnk_all", "021000021", "123456789").token
        with self.db.write() as session:
            customers = [child_id("cus", account) for account in ids]
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
                [(c, FIRM, c.encode(), "active", now, "accepted", "", "paper") for c in customers],
            )
            insert_many(
                session,
                "account",
                ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
                [
                    (a, FIRM, c, "individual", "open", now)
                    for a, c in zip(ids, customers, strict=True)
                ],
            )
            target = targeting.resolve(session, customers[0], catalog().get(basket_id), now)
            insert_many(
                session,
                "sleeve",
                ("id", "account_id", "kind", "basket_id", "target_id", "changed_at"),
                [(child_id("slv", a), a, "basket", basket_id, target, now) for a in ids],
            )
            insert_many(
                session,
                "bank_link",
                ("id", "customer_id", "token", "bank_name", "mask", "state", "created_at"),
                [(child_id("lnk", c), c, token, "Bank", "1234", "active", now) for c in customers],
            )
        self.accounts += ids
        return ids

    def pay_in(self, account_id: AccountId, cents: int, cause: str = "") -> None:
        """Put settled cash into an account, as if a deposit had long settled."""
        cause = cause or f"test/{to_micros(self.clock.now())}"
        with self.db.write() as session:
            ledger.post(
                session,
                self.runtime.keyring.chain,
                recipes.deposit(account_id, cents, f"{cause}/{account_id}"),
                FIRM,
                to_micros(self.clock.now()),
            )

    def trade(self, minutes: int = 90) -> None:
        """Plan, send and collect until nothing is left to do, then let time pass."""
        r = self.runtime
        self.windows += 1
        slot = f"{business_date(self.clock.now()).isoformat()}/{self.windows}"
        withdrawing.plan(self.db, r.keyring, r.broker, r.prices, r.clock, r.policy, slot)
        investing.plan(self.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)
        trading.send(self.db, r.broker, r.clock, r.policy, slot)
        for _ in range(20):
            finishing.collect(self.db, r.keyring, r.broker, r.clock, r.policy)
            with self.db.read() as session:
                busy = (
                    session.connection()
                    .exec_driver_sql("SELECT count(*) FROM block WHERE closed_at IS NULL")
                    .scalar()
                )
            if not busy:
                return
            self.clock.advance(timedelta(minutes=minutes / 10))

    def announce_split(self, account: AccountId, security_id: int) -> None:
        """Entitle an account to a split that goes ex today and that nobody has booked."""
        on = business_date(self.clock.now()).isoformat()
        row = (f"split/{on}", "split", security_id, on, on, '{"ratio_num":1,"ratio_den":1}')
        with self.db.write() as session:
            prices.publish(session, [row])
            lots.entitle(session, [(f"split/{on}", account, security_id, 1)])

    def book_splits(self, account: AccountId) -> None:
        """Say that an account has got its splits."""
        with self.db.write() as session:
            for (split,) in session.connection().exec_driver_sql("SELECT id FROM action").all():
                lots.fulfil(session, split, [account])

    def next_session(self) -> date:
        """Settle and mark the day, move to ten o'clock of the next session, apply its actions."""
        r = self.runtime
        today = business_date(self.clock.now())
        self.clock.set(r.calendar.closes_at(today) + timedelta(minutes=5))
        finishing.collect(self.db, r.keyring, r.broker, r.clock, r.policy)
        marking.mark_day(self.db, r.prices, today)
        following = r.calendar.shift(today, 1)
        self.clock.set(datetime.combine(following, time(10), tzinfo=NEW_YORK))
        adjusting.apply_day(self.db, r.keyring, r.broker, r.prices, r.clock, r.policy, following)
        self.settle(following)
        return following

    def settle(self, on: date) -> None:
        """Settle proceeds that are due."""
        from robo.services.funding import settling

        settling.settle_proceeds(self.db, self.runtime.keyring, self.clock, self.runtime.policy, on)

    def balances(self, account_id: AccountId) -> ledger.AccountBalances:
        with self.db.read() as session:
            return ledger.account_balances(session, account_id)

    def scalar(self, sql: str) -> int:
        with self.db.read() as session:
            return int(session.connection().exec_driver_sql(sql).scalar() or 0)

    def findings(self) -> Sequence[object]:
        """Return what `robo verify` finds; empty for clean books."""
        return verify(self.db, self.runtime.keyring, self.runtime.settings.anchors_path)


def _founded(db: Database) -> None:
    """Write the packaged universe and the house firm."""
    sync_universe(db)
    with db.write() as session:
        insert_many(session, "firm", ("id", "name", "house", "created_at"), [(FIRM, "House", 1, 1)])


@functools.cache
def _kept() -> Path:
    """Return a directory of this process; it goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="robo-years-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def years_of(calendar: MarketCalendar) -> Path:
    """Return where a process keeps the simulated years of a calendar: each is computed once."""
    folder = _kept() / sessions_digest(calendar.sessions)
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def make_world(
    folder: Path,
    calendar: MarketCalendar,
    *,
    url: str = "",
    settings: dict[str, str] | None = None,
    policy: Policy | None = None,
) -> Iterator[World]:
    """Yield a migrated world with the minimal universe, on SQLite unless a URL is given."""
    config = Settings(state_dir=str(folder), universe="packaged", plugins=settings or {})
    folder.mkdir(parents=True, exist_ok=True)
    migrate(url or config.url, _founded)
    db = connect(url or config.url)
    clock = FixedClock(START)
    (folder / "simulated_market").symlink_to(years_of(calendar))
    with db.read() as session:
        listed = universe.listed(session)
    context = PluginContext(config.plugins, clock, folder, calendar, listed)
    prices = plugin("robo.prices", "simulated")(context)
    context = PluginContext(config.plugins, clock, folder, calendar, listed, prices)
    runtime = Runtime(
        settings=config,
        policy=policy or Policy.default(),
        db=db,
        keyring=load_keyring(config),
        clock=clock,
        calendar=calendar,
        prices=prices,
        broker=plugin("robo.brokers", "paper")(context),
        bank=plugin("robo.banks", "simulated")(context),
        mailer=plugin("robo.mailers", "file")(context),
    )
    try:
        yield World(runtime, clock)
    finally:
        runtime.close()
