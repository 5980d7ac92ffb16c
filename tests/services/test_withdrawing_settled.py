"""Withdrawals beside money that has not settled: sold once, paid from settled cash only."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import funds
import pytest
from world import World, make_world

from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import BankEventKind
from robo.ports.prices import PriceSource, Quote
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


def test_what_has_settled_of_a_closing_does_not_wait_for_a_name_that_is_halted(
    world: World,
) -> None:
    account, halted, bank = closing_with_one_halted(world)

    sent = [(each.id, each.cents) for each in bank.asked]
    (part,) = sent
    bank.say(world, part[0], BankEventKind.SETTLED)
    funds.collect(world, bank)
    state = texts(world, "SELECT state FROM account")
    left = world.balances(account)
    halted.clear()
    pass_a_day(world, bank)
    bank.say(world, "wdr_1", BankEventKind.SETTLED)
    funds.collect(world, bank)

    # Nine names of ten had settled.
    assert part[1] > 850_00
    assert state == ["closing"]
    assert len(left.holdings_nanos) == 1
    assert (left.cash_cents, left.outgoing_cents) == (0, 0)
    assert [each.id for each in bank.asked] == [part[0], "wdr_1"]
    assert texts(world, "SELECT state FROM account") == ["closed"]
    after = world.balances(account)
    assert (after.cash_cents, after.outgoing_cents, after.holdings_nanos) == (0, 0, {})
    assert world.findings() == []


def test_a_part_of_a_closing_that_comes_back_stops_the_rest(world: World) -> None:
    account, _, bank = closing_with_one_halted(world)
    (part,) = bank.asked

    bank.say(world, part.id, BankEventKind.RETURNED, code="R02")
    funds.collect(world, bank)
    pass_a_day(world, bank)

    assert texts(world, "SELECT state FROM account") == ["blocked"]
    assert texts(world, "SELECT state FROM withdrawal ORDER BY closing, id") == [
        "canceled" if one == "wdr_1" else "failed"
        for one in texts(world, "SELECT id FROM withdrawal ORDER BY closing, id")
    ]
    assert world.balances(account).cash_cents == part.cents
    assert len(bank.asked) == 1
    assert world.findings() == []


def test_a_part_that_the_bank_refuses_leaves_the_closing_alone_and_cents_wait_for_more(
    world: World,
) -> None:
    account, halted, bank = closing_with_one_halted(world)
    (part,) = bank.asked
    bank.say(world, part.id, BankEventKind.SETTLED)
    funds.collect(world, bank)
    bank.refuses = True
    world.pay_in(account, 3, "a dividend")
    for _ in range(3):
        pass_a_day(world, bank)
    cents_wait = refused(world)
    world.pay_in(account, 2_00, "another")
    for _ in range(2):
        pass_a_day(world, bank)
    once = refused(world)
    state = texts(world, "SELECT state FROM account")

    halted.clear()
    bank.refuses = False
    pass_a_day(world, bank)
    bank.say(world, "wdr_1", BankEventKind.SETTLED)
    funds.collect(world, bank)

    assert cents_wait == []
    assert once == ["2.03"]
    assert state == ["closing"]
    assert texts(world, "SELECT state FROM account") == ["closed"]
    assert [each.id for each in bank.asked] == [part.id, "wdr_1"]
    assert bank.asked[1].cents > 2_03
    assert world.balances(account).cash_cents == 0
    assert world.findings() == []


@pytest.mark.parametrize("answer", ["refused", "returned"])
def test_last_cents_that_no_bank_takes_stay_the_customers_and_block_nothing(
    world: World, answer: str
) -> None:
    account, bank = funds.investor(world), funds.ScriptedBank()
    r, link = world.runtime, funds.link_of(world, account)

    def close(name: str) -> None:
        prices = r.prices
        withdrawing.request(world.db, r.keyring, prices, world.clock, account, name, link, None)
        pay()

    def pay() -> None:
        withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
        if bank.asked and answer == "returned":
            bank.say(world, bank.asked[-1].id, BankEventKind.RETURNED, code="R17")
        funds.collect(world, bank)
        world.clock.advance(timedelta(hours=1))

    world.pay_in(account, 37)
    bank.refuses = answer == "refused"
    close("wdr_1")
    pay()
    after = texts(world, "SELECT state FROM account"), world.balances(account).cash_cents
    told = texts(world, "SELECT payload FROM event WHERE kind = 'withdrawal.cents_kept'")
    close("wdr_2")
    tries = texts(world, "SELECT state FROM withdrawal")
    bank.refuses, answer = False, ""
    world.pay_in(account, 63, "late dividend")
    pay()
    bank.say(world, bank.asked[-1].id, BankEventKind.SETTLED)
    pay()

    assert after == (["closed"], 37)
    assert [json.loads(one)["amount"] for one in told] == ["0.37"]
    assert tries == ["failed", "failed"]
    assert bank.asked[-1].cents == 1_00
    assert texts(world, "SELECT state FROM account") == ["closed"]
    assert world.balances(account).cash_cents == 0
    assert world.findings() == []


@pytest.mark.parametrize("late_is", ["returned", "refused"])
def test_last_cents_that_come_back_after_the_rest_do_not_close_the_account_that_waits(
    world: World, late_is: str
) -> None:
    account, bank = funds.investor(world), funds.ScriptedBank()
    r, link = world.runtime, funds.link_of(world, account)

    def pay() -> None:
        for _ in range(2):
            withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
            funds.collect(world, bank)
            world.clock.advance(timedelta(hours=1))

    world.pay_in(account, 10_000_00)
    withdrawing.request(world.db, r.keyring, r.prices, world.clock, account, "wdr_1", link, None)
    pay()
    bank.say(world, bank.asked[-1].id, BankEventKind.SETTLED)
    pay()
    world.pay_in(account, 50, "late dividend")
    bank.away = (
        late_is == "refused"
    )  # then the late cents are not even told before the rest is back
    pay()
    bank.say(world, bank.asked[0].id, BankEventKind.RETURNED, code="R02")
    pay()
    bank.away, bank.refuses = False, late_is == "refused"
    for late in {one.id for one in bank.asked} - {bank.asked[0].id}:
        bank.say(world, late, BankEventKind.RETURNED, code="R02")
    world.clock.advance(timedelta(days=1))
    pay()
    bank.refuses = False
    pay()

    assert texts(world, "SELECT state FROM account") == ["blocked"]
    assert texts(world, "SELECT state FROM withdrawal") == ["failed", "failed"]
    assert world.balances(account).cash_cents == 10_000_50
    assert {one.cents for one in bank.asked} <= {10_000_00, 50}
    assert texts(world, "SELECT payload FROM event WHERE kind = 'withdrawal.cents_kept'") == []
    assert world.findings() == []


def refused(world: World) -> list[str]:
    """Return the amounts of the parts of which a person was told."""
    told = texts(world, "SELECT payload FROM event WHERE kind = 'withdrawal.part_refused'")
    return [json.loads(one)["amount"] for one in told]


def closing_with_one_halted(world: World) -> tuple[AccountId, set[int], funds.ScriptedBank]:
    """An account that asked to be closed on Monday, on Thursday: one name has not traded since."""
    account, bank = funds.investor(world), funds.ScriptedBank()
    world.pay_in(account, 1_000_00)
    world.trade()
    world.next_session()
    halted = {min(world.balances(account).holdings_nanos)}
    world.runtime = replace(world.runtime, prices=Halting(world.runtime.prices, halted))
    r = world.runtime
    link = funds.link_of(world, account)
    withdrawing.request(world.db, r.keyring, r.prices, world.clock, account, "wdr_1", link, None)
    for _ in range(3):
        assert not bank.asked
        pass_a_day(world, bank)
    return account, halted, bank


def pass_a_day(world: World, bank: funds.ScriptedBank) -> None:
    r = world.runtime
    world.trade()
    world.next_session()
    withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)


class Halting:
    """Prices of a market that halts some names."""

    def __init__(self, prices: PriceSource, halted: set[int]) -> None:
        self._prices, self._halted = prices, halted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prices, name)

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        found = self._prices.quotes(security_ids, at)
        return {one: replace(it, halted=one in self._halted) for one, it in found.items()}


def texts(world: World, sql: str) -> list[str]:
    with world.db.read() as session:
        return [str(one) for one in session.connection().exec_driver_sql(sql).scalars()]
