"""Withdrawals beside money that has not settled: sold once, paid from settled cash only."""

from collections.abc import Iterator
from pathlib import Path

import funds
import pytest
from world import World, make_world

from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import BankEventKind
from robo.services import withdrawing
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
        withdrawing.pay(world.db, r.keyring, r.bank, world.clock)

    sold = world.scalar("SELECT sum(filled_cents) FROM orders WHERE side = 'sell'")
    assert world.scalar("SELECT count(DISTINCT batch_id) FROM orders WHERE side = 'sell'") == 1
    assert 50_00 <= sold <= 51_00
    assert world.scalar("SELECT promised_cents FROM withdrawal") == 50_00


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
