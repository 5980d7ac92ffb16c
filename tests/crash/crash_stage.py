"""The main job as a play: nine days of three accounts, cut into scenes of one job at one instant.

Deposits of three kinds (one comes back after its orders were sent), a weekly plan, orders with
partial fills and rejects, a withdrawal, a dividend, a split, a merger, a close-out, anchors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final

import funds
from crash_points import BANK_CALLS, BROKER_CALLS, Probe, watch_database
from world import START, World, make_world

from baskets.catalog import catalog
from robo.config import Settings
from robo.core.clock import NEW_YORK, FixedClock
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.plugins import load
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import ActionKind, CorporateAction, PriceSource, Quote
from robo.runtime import Runtime, load_keyring
from robo.services import funding, withdrawing
from robo.services.turns import Turns
from robo.store import universe
from robo.store.database import connect, insert_many
from scheduler.jobs import find
from scheduler.when import Every, Slot, interval_slot

PARTIAL: Final = {"ROBO_PAPER_PARTIAL_PPM": "300000"}
BAD_LINK: Final = "lnk_bad"
"""Its transfers are returned with R01 a second after they were available."""


class PlayPrices:
    """The simulated market with a few more corporate actions; remembers every answer."""

    def __init__(self, inner: PriceSource, scripted: Sequence[CorporateAction]) -> None:
        self._inner, self._scripted = inner, scripted
        self._quotes: dict[tuple[tuple[SecurityId, ...], datetime], Mapping[SecurityId, Quote]] = {}
        self._closes: dict[date, Mapping[SecurityId, int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        key = (tuple(security_ids), at)
        if key not in self._quotes:
            self._quotes[key] = self._inner.quotes(security_ids, at)
        return self._quotes[key]

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        if on not in self._closes:
            self._closes[on] = self._inner.closes(on)
        return self._closes[on]

    def actions(self, on: date) -> Sequence[CorporateAction]:
        return [*self._inner.actions(on), *(a for a in self._scripted if a.ex_on == on)]


@dataclass(frozen=True)
class Scene:
    """One piece of work at one instant; `quiet` = nothing is on its way anywhere afterwards."""

    name: str
    at: datetime
    do: Callable[["Stage"], object]
    quiet: bool = False


@dataclass
class Stage:
    """A world whose outside is watched, and the people in it."""

    world: World
    accounts: list[AccountId]

    def play(self, scene: Scene) -> None:
        """Do the work of a scene at its instant."""
        self.world.clock.set(scene.at)
        scene.do(self)

    def job(self, name: str) -> None:
        """Run a job of the timetable for the present instant."""
        found = find(name)
        assert found is not None
        found.do(self.world.runtime, self._slot(found.when))

    def _slot(self, when: object) -> Slot:
        now = self.world.clock.now()
        if isinstance(when, Every):
            return interval_slot(when, now)
        day = now.astimezone(NEW_YORK).date()
        return Slot(day.isoformat(), day, now)

    def deposit(self, who: int, cents: int, name: str, link_id: str = "") -> None:
        """Ask for a deposit as a customer does who asks again until he is answered."""
        account = self.accounts[who]
        funding.request_deposit(
            self.world.db,
            self.world.runtime.keyring,
            self.world.clock,
            self.world.runtime.policy,
            child_id("dep", account, name),
            account,
            link_id or link_of(account),
            cents,
        )

    def withdraw(self, who: int, cents: int | None) -> None:
        """Ask for money, or for everything."""
        r = self.world.runtime
        account = self.accounts[who]
        withdrawing.request(
            r.db,
            r.keyring,
            r.prices,
            r.clock,
            account,
            child_id("wdr", account, str(cents)),
            link_of(account),
            cents,
        )

    def close(self) -> None:
        """Give back every connection, so that nothing is open across a fork."""
        self.world.runtime.db.close()
        self.world.runtime.broker.inner.close()  # type: ignore[attr-defined]
        self.world.runtime.bank.inner.close()  # type: ignore[attr-defined]

    def forget(self) -> None:
        """Keep no more of the database than a process that has just started."""
        self.world.runtime.db._kept.clear()


def take_short_turns() -> None:
    """Let every batch take three turns, as if a night were busy, and always the same three."""

    whole = Turns.each

    def each(self: Turns, items: Sequence[Any], *given: Any, **named: Any) -> list[Any]:
        left, size = [], max(1, len(items) // 3)
        for start in range(0, len(items), size):
            self.size = size
            left += whole(self, items[start : start + size], *given, **named)
        return left

    Turns.each = each  # type: ignore[method-assign]


@dataclass(frozen=True)
class Props:
    """What the stage is built with."""

    settings: Mapping[str, str]
    listed: tuple[ListedSecurity, ...]
    accounts: list[AccountId]
    actions: list[CorporateAction]


def build(folder: Path, calendar: MarketCalendar, url: str = "") -> Props:
    """Write the state before the first scene; a child does it, so that its memory is not kept."""
    with make_world(folder, calendar, url=url) as world:
        listed = _few(world)
        accounts = world.add_accounts(3)
        _furnish(world, accounts)
        names = _names(world)
        symbol = {one.id: one.symbol for one in listed}[names[-1]]
        # Its buys are rejected: the broker trades it in whole shares only.
        settings = {**PARTIAL, "ROBO_PAPER_WHOLE_ONLY": symbol}
        return Props(settings, listed, accounts, _actions(names))


@contextmanager
def make_stage(
    folder: Path, calendar: MarketCalendar, props: Props, url: str = ""
) -> Iterator[Stage]:
    """Yield the stage on a state that `build` wrote; nothing is connected yet."""
    config = Settings(state_dir=str(folder), plugins=props.settings)
    clock = FixedClock(START)
    context = PluginContext(props.settings, clock, folder, calendar, props.listed)
    prices = PlayPrices(load("robo.prices", "simulated")(context), props.actions)
    context = replace(context, prices=prices)
    db = connect(url or config.url)
    watch_database(db.engine)
    runtime = Runtime(
        settings=config,
        policy=Policy.default(),
        db=db,
        keyring=load_keyring(config),
        clock=clock,
        calendar=calendar,
        prices=prices,
        broker=Probe(load("robo.brokers", "paper")(context), "broker", BROKER_CALLS),
        bank=Probe(load("robo.banks", "simulated")(context), "bank", BANK_CALLS),
        mailer=load("robo.mailers", "file")(context),
    )
    yield Stage(World(runtime, clock), props.accounts)


def _few(world: World) -> tuple[ListedSecurity, ...]:
    """Keep only the names of one basket and its understudies: small files are copied fast."""
    basket = catalog().get("theme-water")
    kept = {one.security_id for one in (*basket.constituents, *basket.understudies)}
    with world.db.write() as session:
        names = ", ".join(str(name) for name in sorted(kept))
        session.connection().exec_driver_sql(f"DELETE FROM security WHERE id NOT IN ({names})")
        listed = universe.listed(session)
    if world.db.is_sqlite:
        with world.db.engine.connect() as connection:
            connection.connection.driver_connection.execute("VACUUM").close()
    return listed


def _furnish(world: World, accounts: Sequence[AccountId]) -> None:
    """Let everybody accept the agreements; a bad bank link for one, a weekly plan for another."""
    r = world.runtime
    funds.accept_agreements(world, *accounts)
    token = r.bank.link(BAD_LINK, "021000021", "900000002").token
    customer = child_id("cus", accounts[2])
    with r.db.write() as session:
        insert_many(
            session,
            "bank_link",
            ("id", "customer_id", "token", "bank_name", "mask", "state", "created_at"),
            [(BAD_LINK, customer, token, "Bank", "0002", "active", 1)],
        )
    tuesday, link = date(2026, 3, 3), link_of(accounts[1])
    funding.create_plan(
        r.db, r.clock, r.policy, "pln_b", accounts[1], link, 2500, "weekly", 2, tuesday
    )


def link_of(account: AccountId) -> str:
    """Return the good bank link of an account's customer."""
    return child_id("lnk", child_id("cus", account))


def _names(world: World) -> list[SecurityId]:
    """Return the names that the accounts follow, by id."""
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql("SELECT security_id FROM target_weight")
        return sorted({SecurityId(row[0]) for row in rows})


def _actions(names: Sequence[SecurityId]) -> list[CorporateAction]:
    """Return a dividend, a split and a merger of names that somebody holds."""
    tuesday, wednesday, thursday = date(2026, 3, 3), date(2026, 3, 4), date(2026, 3, 5)
    kind = ActionKind
    return [
        CorporateAction("PLAY-dividend", kind.CASH_DIVIDEND, names[0], tuesday, wednesday, 730_000),
        CorporateAction(
            "PLAY-split", kind.SPLIT, names[1], tuesday, tuesday, ratio_num=3, ratio_den=2
        ),
        CorporateAction("PLAY-merger", kind.CASH_MERGER, names[2], wednesday, thursday, 41_230_000),
    ]


def _at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime.combine(date(2026, 3, day), time(hour, minute, second), tzinfo=NEW_YORK)


def _jobs(at: datetime, *names: str, quiet: bool = False) -> list[Scene]:
    """Return a scene for each job; only the last may be quiet."""

    def scene(name: str) -> Callable[[Stage], object]:
        return lambda stage: stage.job(name)

    last = len(names) - 1
    return [Scene(n, at, scene(n), quiet and i == last) for i, n in enumerate(names)]


def _asking(stage: Stage) -> None:
    stage.deposit(0, 3_00, "first")
    stage.deposit(1, 100_00, "first")
    stage.deposit(2, 250_00, "bad", BAD_LINK)


def scenes() -> list[Scene]:
    """Return the play in order."""
    trade = ("invest-cash", "trade-window", "book-fills")
    return [
        Scene("ask for deposits", _at(2, 10), _asking),
        *_jobs(_at(2, 10), "tell-bank", "collect-bank", *trade),
        *_jobs(_at(2, 10, 1), "collect-bank", "collect-fills", quiet=True),
        *_jobs(_at(2, 16, 15), "mark-day", "anchor", quiet=True),
        *_jobs(_at(3, 8), "adjust", "settle-proceeds", "run-plans"),
        Scene("ask again", _at(3, 10), lambda stage: stage.deposit(2, 252_00, "good")),
        *_jobs(_at(3, 10), "tell-bank", "collect-bank", quiet=True),
        *_jobs(_at(4, 8), "adjust", quiet=True),
        Scene("ask to withdraw", _at(4, 10), lambda stage: stage.withdraw(1, 30_00)),
        *_jobs(_at(4, 10), "collect-bank", "plan-withdrawals", *trade, "pay-withdrawals"),
        *_jobs(_at(4, 10, 1), "collect-fills", quiet=True),
        *_jobs(_at(5, 8), "adjust", "settle-proceeds"),
        *_jobs(_at(5, 10), "pay-withdrawals", "collect-bank"),
        *_jobs(_at(6, 10), "collect-bank", quiet=True),
        Scene("ask to close", _at(6, 10, 5), lambda stage: stage.withdraw(0, None)),
        *_jobs(_at(6, 10, 5), "plan-withdrawals", "trade-window", "book-fills", "pay-withdrawals"),
        *_jobs(_at(6, 10, 6), "collect-fills", quiet=True),
        *_jobs(_at(9, 8), "settle-proceeds"),
        *_jobs(_at(9, 10), "pay-withdrawals", "collect-bank"),
        *_jobs(_at(10, 10), "collect-bank", quiet=True),
        *_jobs(_at(10, 16, 15), "mark-day", "anchor", quiet=True),
    ]
