"""Deposits: asked for once, told until the bank knows, applied exactly once, limited."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from funds import (
    ScriptedBank,
    accept_agreements,
    answer,
    ask,
    book,
    collect,
    customer_of,
    investor,
    kinds,
    later,
    link_of,
    stored,
)
from world import FIRM, World, make_world

from robo.core.clock import to_micros
from robo.core.errors import (
    BelowMinimumError,
    ConflictError,
    IdempotencyMismatchError,
    NotFoundError,
    OutOfOrderError,
    RefusedError,
)
from robo.core.market_calendar import MarketCalendar
from robo.services import funding


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.fixture
def bank() -> ScriptedBank:
    return ScriptedBank()


def test_a_deposit_is_lent_while_pending_repaid_when_available_and_final_when_settled(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    funding.tell_bank(world.db, bank, world.clock)

    bank.say(world, deposit.id, "pending")
    collect(world, bank)
    lent = (world.balances(account).cash_cents, book(world, f"firm/{FIRM}/advance"))
    bank.say(world, deposit.id, "available")
    collect(world, bank)
    available = (world.balances(account).cash_cents, book(world, f"firm/{FIRM}/advance"))
    bank.say(world, deposit.id, "settled")
    collect(world, bank)

    assert lent == (100_00, -100_00)
    assert available == (100_00, 0)
    assert stored(world, deposit).state == "settled"
    assert book(world, "street/bank") == -100_00
    assert [k for k in kinds(world) if k.startswith("deposit")] == [
        "deposit.requested",
        "deposit.pending",
        "deposit.available",
        "deposit.settled",
    ]
    assert world.findings() == []


def test_no_more_is_lent_than_the_policy_allows_over_all_pending_deposits(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    first, second = ask(world, account, 700_00, "1"), ask(world, account, 700_00, "2")

    bank.say(world, first.id, "pending")
    bank.say(world, second.id, "pending")
    collect(world, bank)

    assert stored(world, first).advanced_cents == 700_00
    assert stored(world, second).advanced_cents == 300_00
    assert world.balances(account).cash_cents == 1_000_00
    assert world.findings() == []


def test_without_an_advance_nothing_arrives_before_the_bank_confirms(
    tmp_path: Path, short_calendar: MarketCalendar, bank: ScriptedBank
) -> None:
    from robo.core.policy import Policy

    cautious = replace(Policy.default(), advance_cents_max=0)
    with make_world(tmp_path / "state", short_calendar, policy=cautious) as world:
        account = investor(world)
        deposit = ask(world, account, 100_00)

        bank.say(world, deposit.id, "pending")
        collect(world, bank)

        assert stored(world, deposit).state == "pending"
        assert world.balances(account).cash_cents == 0


def test_news_that_comes_twice_or_out_of_order_changes_nothing(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 55_00)

    bank.say(world, deposit.id, "settled", "pending", "available", "settled", "pending")
    count = collect(world, bank)
    again = collect(world, bank)

    assert (count, again) == (5, 0)
    assert stored(world, deposit).state == "settled"
    assert world.balances(account).cash_cents == 55_00
    assert book(world, f"firm/{FIRM}/advance") == 0
    assert world.findings() == []


def test_news_about_a_transfer_that_nobody_knows_is_put_before_the_operator(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 20_00)

    bank.say(world, "dep_stranger", "settled")
    bank.say(world, deposit.id, "settled")
    collect(world, bank)

    assert kinds(world).count("bank.event_parked") == 1
    assert stored(world, deposit).state == "settled"


def test_the_bank_is_told_again_until_it_answers(world: World, bank: ScriptedBank) -> None:
    deposit = ask(world, investor(world), 20_00)
    bank.away = True

    silent = funding.tell_bank(world.db, bank, world.clock)
    bank.away = False
    told = funding.tell_bank(world.db, bank, world.clock)

    assert (silent, told) == (0, 1)
    assert [(t.id, t.cents) for t in bank.asked] == [(deposit.id, 20_00)]
    assert stored(world, deposit).state == "requested"


def test_a_clear_no_of_the_bank_ends_the_deposit(world: World, bank: ScriptedBank) -> None:
    deposit = ask(world, investor(world), 20_00)
    bank.refuses = True

    funding.tell_bank(world.db, bank, world.clock)

    assert stored(world, deposit).state == "failed"
    assert stored(world, deposit).return_code == "bank_refused"
    assert kinds(world)[-1] == "deposit.failed"


def test_the_same_id_is_the_same_deposit_and_another_amount_is_refused(world: World) -> None:
    account = investor(world)
    first = ask(world, account, 20_00)

    second = ask(world, account, 20_00)
    with pytest.raises(IdempotencyMismatchError):
        ask(world, account, 21_00)

    assert first == second
    assert world.scalar("SELECT count(*) FROM deposit") == 1


def test_amounts_outside_the_limits_are_refused(world: World) -> None:
    account = investor(world)

    with pytest.raises(BelowMinimumError, match=r"1\.00"):
        ask(world, account, 99)
    with pytest.raises(RefusedError) as large:
        ask(world, account, 250_000_01)

    assert large.value.code == "deposit_too_large"
    assert world.scalar("SELECT count(*) FROM deposit") == 0


def test_a_day_has_a_limit_and_the_next_day_in_new_york_starts_anew(world: World) -> None:
    account = investor(world)
    ask(world, account, 250_000_00, "1")
    ask(world, account, 249_999_00, "2")

    with pytest.raises(RefusedError) as refused:
        ask(world, account, 1_01, "3")
    ask(world, account, 1_00, "4")
    later(world, hours=13, minutes=59)  # 10:00 + 13:59 = 23:59 in New York
    with pytest.raises(RefusedError):
        ask(world, account, 1_00, "5")
    later(world, minutes=1)
    ask(world, account, 1_00, "6")

    assert refused.value.code == "deposit_daily_limit"


def test_fifty_deposits_at_once_cannot_exceed_the_limit_of_the_day(world: World) -> None:
    account = investor(world)
    codes: list[str] = []

    def one(number: int) -> None:
        try:
            ask(world, account, 20_000_00, str(number))
            codes.append("ok")
        except RefusedError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # $500,000 a day / $20,000 = 25 deposits
    assert codes.count("ok") == 25
    assert codes.count("deposit_daily_limit") == 25
    assert world.scalar("SELECT sum(cents) FROM deposit") == 500_000_00


def test_two_processes_that_collect_at_once_apply_each_event_once(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    for number in range(30):
        deposit = ask(world, account, 10_00, str(number))
        bank.say(world, deposit.id, "pending", "available", "settled")
    counts: list[int] = []

    threads = [
        threading.Thread(target=lambda: counts.append(collect(world, bank))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collect(world, bank)

    assert sum(counts) <= 90
    assert world.balances(account).cash_cents == 300_00
    assert world.scalar("SELECT count(*) FROM deposit WHERE state = 'settled'") == 30
    assert world.findings() == []


def test_identity_agreements_and_an_open_account_come_first(world: World) -> None:
    (account,) = world.add_accounts(1)

    with pytest.raises(OutOfOrderError) as unsigned:
        ask(world, account, 20_00)
    accept_agreements(world, account)
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE customer SET identity_state = 'review'")
    with pytest.raises(OutOfOrderError) as unknown:
        ask(world, account, 20_00)
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE customer SET identity_state = 'accepted'")
        session.connection().exec_driver_sql("UPDATE account SET state = 'closing'")
    with pytest.raises(ConflictError):
        ask(world, account, 20_00)

    assert unsigned.value.reasons == ("suitability", "agreements")
    assert unknown.value.reasons == ("identity",)


def test_another_customers_bank_link_does_not_exist(world: World) -> None:
    mine, other = investor(world), investor(world)

    with pytest.raises(NotFoundError):
        funding.request_deposit(
            world.db,
            world.runtime.keyring,
            world.clock,
            world.runtime.policy,
            "dep_1",
            mine,
            link_of(world, other),
            20_00,
        )


def test_a_link_in_use_by_plans_is_removed_and_pauses_them(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    with world.db.read() as session:
        customer = session.connection().exec_driver_sql("SELECT id FROM customer").scalar_one()
    link = funding.link_bank(
        world.db, bank, world.clock, world.runtime.policy, customer, "lnk_2", "021000021", "9876"
    )
    plan = funding.create_plan(
        world.db, world.clock, world.runtime.policy, "pln_1", account, link.id, 25_00, "weekly", 5
    )

    removed, paused = funding.remove_link(world.db, world.clock, customer, link.id)

    assert (removed.state, removed.mask) == ("removed", "9876")
    assert [(p.id, p.state) for p in paused] == [(plan.id, "paused")]
    with pytest.raises(NotFoundError):
        funding.change_plan(
            world.db,
            world.clock,
            world.runtime.policy,
            account,
            plan.id,
            funding.PlanChange(state="active"),
        )
    raw = b"".join(
        path.read_bytes() for path in Path(world.runtime.settings.state_dir).glob("robo.db*")
    )
    assert b"021000021" not in raw


def test_money_is_held_until_it_is_final_and_late_money_holds_longer(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available")
    collect(world, bank)
    world.trade()
    expected = world.runtime.calendar.shift(world.clock.now().date(), 5).isoformat()
    with world.db.read() as session:
        hold = funding.hold_until(session, [account])[account]
        withdrawable = funding.withdrawable_cents(session, account)

    for _ in range(6):
        world.next_session()
        collect(world, bank)
    late = set(_holds(world))
    bank.say(world, deposit.id, "settled")
    collect(world, bank)

    assert hold == expected
    assert withdrawable == 0
    tomorrow = world.runtime.calendar.shift(world.clock.now().date(), 1).isoformat()
    assert late == {tomorrow}
    assert set(_holds(world)) == {world.clock.now().date().isoformat()}
    assert world.findings() == []


def _holds(world: World) -> list[str]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql("SELECT hold_until FROM lot")
        return [row[0] for row in rows]


def test_answers_that_no_longer_proceed_hold_back_new_money(world: World) -> None:
    account = investor(world)
    ask(world, account, 20_00, "before")
    with world.db.write() as session:
        at = to_micros(world.clock.now() + timedelta(minutes=1))
        answer(session, customer_of(session, account), "not_yet", at)

    with pytest.raises(OutOfOrderError) as unsuitable:
        ask(world, account, 20_00, "after")

    assert unsuitable.value.reasons == ("suitability",)
