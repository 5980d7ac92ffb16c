"""The time-lapse: sessions in order, nothing skipped, nothing twice, alone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import funds
import pytest
from databases import migrate
from world import World, make_world

from robo.config import Settings
from robo.core.clock import from_micros, iso_instant, to_micros
from robo.core.errors import ConfigError, ConflictError, InvalidInputError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.prices import ActionKind, CorporateAction
from robo.runtime import SystemClock
from robo.services import funding, investing
from robo.store import blocks, jobs
from scheduler import timelapse
from scheduler.jobs import TIMETABLE
from scheduler.timelapse import Timelapse
from scheduler.when import Every

MONDAY_EARLY = datetime(2026, 3, 2, 13, 0, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        made.clock.set(MONDAY_EARLY)
        yield made


@pytest.fixture
def lapse(world: World) -> Timelapse:
    return Timelapse(world.runtime, world.clock)


def slots(world: World, job: str) -> list[str]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            f"SELECT slot FROM job_run WHERE job = '{job}' AND state = 'done' ORDER BY slot"
        )
        return [slot for (slot,) in rows]


def test_money_in_the_morning_is_ten_companies_at_noon(world: World, lapse: Timelapse) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 100_00)

    lapse.pass_moments(3)

    assert len(world.balances(account).holdings_nanos) == 10
    assert world.clock.now() < datetime(2026, 3, 2, 15, 5, tzinfo=UTC)
    assert world.findings() == []


def test_what_was_planned_after_the_window_is_sent_the_same_morning(
    world: World, lapse: Timelapse
) -> None:
    (account,) = world.add_accounts(1)
    lapse.pass_moments(2)
    world.pay_in(account, 100_00)
    r = world.runtime
    investing.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "late")

    lapse.pass_moments(1)

    assert world.clock.now() < datetime(2026, 3, 2, 15, 5, tzinfo=UTC)
    assert world.scalar("SELECT count(*) FROM orders WHERE state = 'planned'") == 0


def test_a_week_is_five_sessions_each_with_every_daily_job(world: World, lapse: Timelapse) -> None:
    passed = lapse.pass_until(date(2026, 3, 8))

    assert passed.sessions == 5
    week = [f"2026-03-0{day}" for day in range(2, 7)]
    daily = [job.name for job in TIMETABLE if not isinstance(job.when, Every)]
    assert daily
    for name in daily:
        assert slots(world, name)[-5:] == week
    with world.db.read() as session:
        assert from_micros(jobs.sim_instant(session)) == world.clock.now()


def test_sessions_that_a_jump_of_the_clock_skipped_are_caught_up(
    world: World, lapse: Timelapse
) -> None:
    lapse.pass_sessions(1)

    world.clock.set(datetime(2026, 3, 6, 13, 0, tzinfo=UTC))
    lapse.pass_sessions(1)

    assert slots(world, "mark-day")[-5:] == [f"2026-03-0{day}" for day in range(2, 7)]


def test_the_last_parts_of_a_looks_orders_are_entitled_to_a_dividend_before_the_next_look(
    tmp_path: Path, short_calendar: MarketCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"ROBO_PAPER_PARTIAL_PPM": "1000000", "ROBO_PAPER_PARTIAL_SECONDS": "60"}
    with make_world(tmp_path / "parts", short_calendar, settings=parts) as world:
        world.clock.set(MONDAY_EARLY)
        lapse = Timelapse(world.runtime, world.clock)
        (account,) = world.add_accounts(1)
        lapse.pass_moments(2)
        world.pay_in(account, 100_00)
        lapse.pass_moments(2)
        assert world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL")
        with world.db.read() as session:
            bought = sorted(one.security_id for one in blocks.in_states(session, "open"))
        monkeypatch.setattr(
            type(world.runtime.prices), "actions", lambda _, day: dividends(bought, day)
        )

        lapse.live_session(date(2026, 3, 16))

        entitled = world.scalar("SELECT sum(nanos) FROM entitlement")
        assert entitled == sum(world.balances(account).holdings_nanos.values())
        assert world.scalar("SELECT count(*) FROM entitlement WHERE state = 'done'") == 10
        assert world.scalar("SELECT count(*) FROM recon_break") == 0
        assert world.findings() == []


def dividends(security_ids: list[int], on: date) -> list[CorporateAction]:
    """Return a dividend of ten cents a share of each name, all on Tuesday."""
    if on != date(2026, 3, 3):
        return []
    kind, micros = ActionKind.CASH_DIVIDEND, 100_000
    return [
        CorporateAction(f"dividend/{one}", kind, SecurityId(one), on, on, micros)
        for one in security_ids
    ]


def test_a_job_that_fails_ends_it_and_the_next_one_goes_on_from_there(
    world: World, lapse: Timelapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 100_00)
    lapse.pass_moments(1)

    def broken(*_: object) -> int:
        message = "power"
        raise OSError(message)

    with monkeypatch.context() as patch:
        whole = timelapse.TIMETABLE
        failing = [replace(job, do=broken) if job.name == "book-fills" else job for job in whole]
        patch.setattr(timelapse, "TIMETABLE", failing)
        with pytest.raises(OSError, match="power"):
            lapse.pass_moments(1)
    again = Timelapse(world.runtime, world.clock)
    again.pass_until(date(2026, 3, 3))

    assert len(world.balances(account).holdings_nanos) == 10
    assert slots(world, "mark-day")[-2:] == ["2026-03-02", "2026-03-03"]
    assert world.findings() == []


def test_a_week_of_a_recurring_plan_is_one_deposit_and_the_same_week_again_is_nothing(
    world: World, lapse: Timelapse
) -> None:
    account = funds.investor(world)
    link = funds.link_of(world, account)
    policy = world.runtime.policy
    funding.create_plan(world.db, world.clock, policy, "pln_1", account, link, 25_00, "weekly", 2)

    passed = lapse.pass_until(date(2026, 3, 8))
    after = rows(world)
    again = Timelapse(world.runtime, world.clock).pass_until(date(2026, 3, 8))

    assert (passed.sessions, again.sessions) == (5, 0)
    assert after["deposit"] == 1
    assert after["orders"] >= 10
    assert rows(world) == after
    assert world.findings() == []


def rows(world: World) -> dict[str, int]:
    tables = ("deposit", "transfer", "orders", "fill", "lot", "event", "job_run")
    with world.db.read() as session:
        connection = session.connection()
        return {
            table: int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
            for table in tables
        }


def test_two_processes_cannot_move_the_clock_at_once(world: World, lapse: Timelapse) -> None:
    now = SystemClock().now()
    with world.db.write() as session:
        lease = jobs.Lease("another", to_micros(now), 0, 0)
        assert jobs.claim_every(session, "timelapse", iso_instant(to_micros(now)), lease)

    with pytest.raises(ConflictError):
        lapse.pass_sessions(1)

    assert world.clock.now() == MONDAY_EARLY


def test_the_clock_goes_forwards_only_and_only_where_it_is_simulated(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path), clock="sim", plugins={})
    migrate(settings.url)
    timelapse.set_clock(settings, MONDAY_EARLY)

    with pytest.raises(InvalidInputError):
        timelapse.set_clock(settings, MONDAY_EARLY - timedelta(seconds=1))
    with pytest.raises(ConfigError):
        timelapse.set_clock(replace(settings, clock="real"), MONDAY_EARLY)
    with pytest.raises(ConfigError), timelapse.opened(replace(settings, clock="real")):
        pass
