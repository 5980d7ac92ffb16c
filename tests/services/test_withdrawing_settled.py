"""Withdrawals beside money that has not settled: sold once, paid from settled cash only."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import funds
import pytest
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import BankEventKind
from robo.services import reporting, withdrawing
from robo.store import withdrawals


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def test_a_fresh_deposit_does_not_make_a_withdrawal_sell_twice(world: World) -> None:
    account = funds.investor(world)
    bank = funds.ScriptedBank()
    world.pay_in(account, 1_000_00)
    world.trade()
    world.next_session()
    deposit = funds.ask(world, account, 100_00, "d1")
    bank.say(world, deposit.id, BankEventKind.PENDING)
    bank.say(world, deposit.id, BankEventKind.AVAILABLE)
    funds.collect(world, bank)
    world.trade()

    r = world.runtime
    link = funds.link_of(world, account)
    withdrawing.request(world.db, r.keyring, r.prices, world.clock, account, "wdr_1", link, 50_00)
    for _ in range(4):
        world.trade()
        world.next_session()
        withdrawing.pay(world.db, r.keyring, r.bank, world.clock, r.policy)

    sold = world.scalar("SELECT sum(filled_cents) FROM orders WHERE side = 'sell'")
    assert world.scalar("SELECT count(DISTINCT batch_id) FROM orders WHERE side = 'sell'") == 1
    assert 50_00 <= sold <= 51_00
    assert world.scalar("SELECT promised_cents FROM withdrawal") == 50_00


def test_the_report_promises_what_a_withdrawal_would_pay_at_once(world: World) -> None:
    account = funds.investor(world)
    bank = funds.ScriptedBank()
    deposit = funds.ask(world, account, 100_00, "d1")
    bank.say(world, deposit.id, BankEventKind.AVAILABLE)
    funds.collect(world, bank)
    world.trade()
    world.pay_in(account, 30_00)  # final money that came after the other was spent

    r = world.runtime
    with world.db.read() as session:
        view = reporting.portfolio(session, r.prices, world.clock, r.calendar, account)
    link = funds.link_of(world, account)
    asked = withdrawing.request(
        world.db, r.keyring, r.prices, world.clock, account, "wdr_1", link, view.withdrawable_cents
    )

    # Cash less unsettled deposits would be 30 - 100 dollars, so nothing.
    assert view.flows.unsettled_cents == 100_00 > view.cash.free_cents
    assert view.withdrawable_cents == view.cash.free_cents >= 30_00
    assert (asked.state, asked.promised_cents) == ("settling", view.withdrawable_cents)


def test_the_bank_is_told_once_and_again_only_after_a_silence(world: World) -> None:
    account = funds.investor(world)
    world.pay_in(account, 30_00)
    r, bank = world.runtime, funds.ScriptedBank()
    link = funds.link_of(world, account)
    withdrawing.request(world.db, r.keyring, r.prices, world.clock, account, "wdr_1", link, 20_00)

    def pay(minutes: int) -> int:
        world.clock.advance(timedelta(minutes=minutes))
        withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
        return len(bank.asked)

    bank.away = True
    told = [pay(0)]
    bank.away = False
    told += [pay(1), pay(1), pay(r.policy.bank_retell_minutes - 2), pay(1), pay(1)]

    assert told == [0, 1, 1, 1, 2, 2]
    assert {each.id for each in bank.asked} == {"wdr_1"}


def test_an_uninvested_deposit_counts_as_unsettled_until_the_bank_says_so(world: World) -> None:
    account = funds.investor(world)
    bank = funds.ScriptedBank()
    world.pay_in(account, 30_00)
    deposit = funds.ask(world, account, 100_00, "d1")
    bank.say(world, deposit.id, BankEventKind.AVAILABLE)
    funds.collect(world, bank)

    def settled() -> int:
        with world.db.read() as session:
            return withdrawals.settled_cash(session, [account])[account]

    before = settled()
    bank.say(world, deposit.id, BankEventKind.SETTLED)
    funds.collect(world, bank)

    assert (before, settled()) == (30_00, 130_00)
