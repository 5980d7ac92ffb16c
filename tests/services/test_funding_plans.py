"""Recurring plans: on their dates, once each, moved by holidays, made up for within limits."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from funds import answer, customer_of, investor, kinds, link_of
from world import World, make_world

from robo.core.clock import NEW_YORK, to_micros
from robo.core.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OutOfOrderError,
    RefusedError,
)
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import funding
from robo.services.funding import PlanChange
from robo.store.plans import Plan


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def make(
    world: World, account: AccountId, cadence: str, day: int, start: date | None = None
) -> Plan:
    return funding.create_plan(
        world.db,
        world.clock,
        world.runtime.policy,
        f"pln_{cadence}_{day}",
        account,
        link_of(world, account),
        25_00,
        cadence,
        day,
        start,
    )


def run(world: World, on: date) -> int:
    world.clock.set(datetime.combine(on, time(9), tzinfo=NEW_YORK))
    r = world.runtime
    return funding.run_plans(world.db, r.keyring, world.clock, r.calendar, r.policy, on)


def change(world: World, plan: Plan, wanted: PlanChange) -> Plan:
    return funding.change_plan(
        world.db, world.clock, world.runtime.policy, plan.account_id, plan.id, wanted
    )


def test_a_weekly_plan_asks_on_its_day_once_however_often_the_day_is_run(world: World) -> None:
    plan = make(world, investor(world), "weekly", 5)

    counts = [run(world, date(2026, 3, day)) for day in (5, 6, 6, 9, 13)]

    assert plan.next_on == "2026-03-06"
    assert counts == [0, 1, 0, 0, 1]
    assert world.scalar("SELECT count(*) FROM deposit WHERE cents = 2500") == 2


def test_a_holiday_moves_the_money_to_the_next_session_and_not_the_dates_after_it(
    world: World,
) -> None:
    make(world, investor(world), "weekly", 5, date(2026, 4, 1))

    # Friday 3 April 2026 is Good Friday: no session.
    counts = [run(world, date(2026, 4, day)) for day in (3, 6, 10)]

    assert counts == [0, 1, 1]


def test_missed_dates_are_made_up_for_once_and_only_the_newest_three(world: World) -> None:
    make(world, investor(world), "weekly", 5)

    first = run(world, date(2026, 4, 20))
    again = run(world, date(2026, 4, 20))

    # Fridays 6, 13, 20, 27 March, 3, 10, 17 April: seven missed, the newest three are asked for.
    assert (first, again) == (3, 0)
    with world.db.read() as session:
        row = session.connection().exec_driver_sql(
            "SELECT payload FROM event WHERE kind = 'plan.skipped'"
        )
        assert json.loads(row.scalar_one()) == {
            "dates": "4",
            "last_on": "2026-03-27",
            "reason": "missed",
        }


def test_a_paused_plan_skips_its_dates_and_resumes_with_the_next_one(world: World) -> None:
    plan = make(world, investor(world), "biweekly", 3)  # 4 and 18 March, 1 April

    change(world, plan, PlanChange(state="paused"))
    while_paused = run(world, date(2026, 3, 20))
    resumed = change(world, plan, PlanChange(state="active"))

    assert while_paused == 0
    assert resumed.next_on == "2026-04-01"
    assert run(world, date(2026, 4, 1)) == 1


def test_a_change_of_day_starts_a_new_count_and_a_change_of_amount_does_not(
    world: World,
) -> None:
    plan = make(world, investor(world), "monthly", 31)

    richer = change(world, plan, PlanChange(cents=50_00))
    moved = change(world, plan, PlanChange(cadence="weekly", day=2))

    assert (plan.next_on, richer.next_on, richer.cents) == ("2026-03-31", "2026-03-31", 50_00)
    assert (moved.anchor_on, moved.next_on) == ("2026-03-03", "2026-03-03")


def test_a_refused_deposit_is_reported_and_the_plan_goes_on(world: World) -> None:
    account = investor(world)
    make(world, account, "weekly", 5)
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE customer SET identity_state = 'review'")

    refused = run(world, date(2026, 3, 6))
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE customer SET identity_state = 'accepted'")
    fine = run(world, date(2026, 3, 13))

    assert (refused, fine) == (0, 1)
    assert kinds(world).count("plan.skipped") == 1


def test_a_plan_skips_its_dates_while_the_answers_do_not_proceed(world: World) -> None:
    account = investor(world)
    make(world, account, "weekly", 5)

    def say(decision: str) -> None:
        with world.db.write() as session:
            at = to_micros(world.clock.now())
            answer(session, customer_of(session, account), decision, at)

    world.clock.advance(timedelta(minutes=1))
    say("not_yet")
    with pytest.raises(OutOfOrderError) as refused:
        make(world, account, "monthly", 1)
    skipped = run(world, date(2026, 3, 6))
    say("proceed")
    fine = run(world, date(2026, 3, 13))

    assert refused.value.reasons == ("suitability",)
    assert (skipped, fine) == (0, 1)
    assert kinds(world).count("plan.skipped") == 1


def test_a_plan_is_not_raised_or_resumed_while_the_answers_do_not_proceed_but_is_paused(
    world: World,
) -> None:
    account = investor(world)
    plan = make(world, account, "weekly", 5)
    world.clock.advance(timedelta(minutes=1))
    with world.db.write() as session:
        at = to_micros(world.clock.now())
        answer(session, customer_of(session, account), "not_yet", at)

    for wanted in (PlanChange(cents=plan.cents * 2), PlanChange(state="active"), PlanChange(day=1)):
        with pytest.raises(OutOfOrderError) as refused:
            change(world, plan, wanted)
        assert refused.value.reasons == ("suitability",)
    paused = change(world, plan, PlanChange(state="paused"))

    assert (paused.state, paused.cents) == ("paused", plan.cents)


def test_an_ended_plan_stays_ended(world: World) -> None:
    plan = make(world, investor(world), "weekly", 5)

    ended = funding.end_plan(world.db, world.clock, plan.account_id, plan.id)

    assert ended.state == "ended"
    assert run(world, date(2026, 3, 6)) == 0
    with pytest.raises(ConflictError):
        change(world, plan, PlanChange(state="active"))
    with pytest.raises(NotFoundError):
        funding.end_plan(world.db, world.clock, "acc_other", plan.id)


def test_what_does_not_fit_is_refused(world: World) -> None:
    account = investor(world)

    with pytest.raises(InvalidInputError):
        make(world, account, "weekly", 6)
    with pytest.raises(InvalidInputError):
        make(world, account, "monthly", 32)
    with pytest.raises(InvalidInputError):
        make(world, account, "weekly", 5, date(2026, 3, 1))
    for day in range(1, 11):
        make(world, account, "monthly", day)
    with pytest.raises(RefusedError) as full:
        make(world, account, "monthly", 11)

    assert full.value.code == "too_many_plans"


def test_a_clock_change_does_not_move_a_date(world: World) -> None:
    """Clocks go forward on 8 March 2026; a plan on Mondays still runs on New York's Monday."""
    make(world, investor(world), "weekly", 1, date(2026, 3, 9))

    world.clock.set(datetime(2026, 3, 9, 4, 30, tzinfo=UTC))  # 00:30 in New York, summer time
    r = world.runtime
    on = world.clock.now().astimezone(NEW_YORK).date()

    assert on == date(2026, 3, 9)
    assert funding.run_plans(world.db, r.keyring, world.clock, r.calendar, r.policy, on) == 1
