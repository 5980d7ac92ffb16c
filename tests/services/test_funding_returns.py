"""Deposits that come back before, during and after their orders fill; and how they are cured."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from funds import ScriptedBank, ask, book, collect, investor, kinds, later, link_of, stored
from world import FIRM, World, make_world

from robo.core.errors import RefusedError
from robo.core.market_calendar import MarketCalendar
from robo.ledger import recipes
from robo.services import funding, investing, trading, withdrawing
from robo.store import ledger

OWED = f"firm/{FIRM}/receivable"


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.fixture
def bank() -> ScriptedBank:
    return ScriptedBank()


def plan(world: World, slot: str) -> None:
    r = world.runtime
    investing.plan(world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)


def test_a_deposit_returned_before_it_arrived_leaves_no_trace_of_money(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)

    bank.say(world, deposit.id, "returned", code="R03")
    collect(world, bank)

    assert stored(world, deposit).state == "returned"
    assert (world.balances(account).cash_cents, book(world, OWED)) == (0, 0)
    assert world.findings() == []


def test_returned_before_its_orders_are_sent_the_orders_are_cancelled_and_all_goes_back(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "pending")
    collect(world, bank)
    plan(world, "one")
    planned = world.scalar("SELECT count(*) FROM orders WHERE state = 'planned'")

    bank.say(world, deposit.id, "returned", code="R01")
    collect(world, bank)

    balances = world.balances(account)
    assert planned == 10
    assert world.scalar("SELECT count(*) FROM orders WHERE code = 'reject_unfunded'") == 10
    assert (balances.cash_cents, balances.reserved_cents) == (0, 0)
    assert (book(world, OWED), book(world, f"firm/{FIRM}/advance")) == (0, 0)
    assert stored(world, deposit).owed_cents == 0
    assert world.findings() == []


def test_returned_while_orders_are_at_the_broker_they_fill_and_the_firm_is_owed(
    world: World, bank: ScriptedBank
) -> None:
    account, r = investor(world), world.runtime
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available")
    collect(world, bank)
    plan(world, "one")
    trading.send(world.db, r.broker, r.clock, r.policy, "one")

    bank.say(world, deposit.id, "returned", code="R01")
    collect(world, bank)
    reserved = world.balances(account).reserved_cents
    world.trade()
    collect(world, bank)

    balances = world.balances(account)
    owed = stored(world, deposit).owed_cents
    assert reserved > 99_00
    assert len(balances.holdings_nanos) == 10
    assert owed == -book(world, OWED) > 99_00
    assert book(world, "street/bank") == 0
    assert world.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    assert world.findings() == []


def test_returned_after_its_orders_filled_nothing_is_sold_and_nothing_new_is_bought(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available", "settled")
    collect(world, bank)
    world.trade()
    shares = world.balances(account).holdings_nanos

    later(world, days=56)  # a Monday
    bank.say(world, deposit.id, "returned", code="R10")
    collect(world, bank)
    world.trade()
    for _ in range(12):
        world.next_session()
        collect(world, bank)

    found = stored(world, deposit)
    assert found.owed_cents > 99_00
    assert world.balances(account).holdings_nanos == shares
    assert world.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    assert kinds(world).count("deposit.cure_overdue") == 1
    with pytest.raises(RefusedError, match="brought back"):
        withdrawing.request(
            world.db,
            world.runtime.keyring,
            world.runtime.prices,
            world.clock,
            account,
            "wdr_1",
            link_of(world, account),
            1_00,
        )
    assert world.findings() == []


def test_the_cure_window_is_ten_days_from_the_return(world: World, bank: ScriptedBank) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available")
    collect(world, bank)
    world.trade()

    bank.say(world, deposit.id, "returned", code="R01")
    collect(world, bank)
    until = stored(world, deposit).cure_until
    later(world, days=10)
    collect(world, bank)
    within = kinds(world).count("deposit.cure_overdue")
    later(world, days=1)
    collect(world, bank)
    collect(world, bank)

    assert until == (date(2026, 3, 2) + timedelta(days=10)).isoformat()
    assert within == 0
    assert kinds(world).count("deposit.cure_overdue") == 1


def test_the_next_deposit_cures_first_and_only_the_rest_is_invested(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    first = ask(world, account, 100_00, "1")
    bank.say(world, first.id, "available")
    collect(world, bank)
    world.trade()
    bank.say(world, first.id, "returned", code="R01")
    collect(world, bank)
    owed = stored(world, first).owed_cents

    second = ask(world, account, 60_00, "2")
    bank.say(world, second.id, "pending", "available")
    collect(world, bank)
    partly = stored(world, first).owed_cents
    third = ask(world, account, 80_00, "3")
    bank.say(world, third.id, "available")
    collect(world, bank)

    assert stored(world, second).advanced_cents == 0  # nobody lends to who owes
    assert partly == owed - 60_00
    assert stored(world, first).owed_cents == 0
    assert world.balances(account).cash_cents == 140_00 - owed
    assert book(world, OWED) == 0
    assert kinds(world).count("deposit.cure_paid") == 1
    assert kinds(world).count("deposit.cured") == 1
    assert world.findings() == []


def test_a_dividend_of_an_account_that_owes_cures_it(world: World, bank: ScriptedBank) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available")
    collect(world, bank)
    world.trade()
    bank.say(world, deposit.id, "returned", code="R01")
    collect(world, bank)
    owed = stored(world, deposit).owed_cents
    with world.db.write() as session:
        paid = recipes.dividend(account, 42, "act_1")
        ledger.post(session, world.runtime.keyring.chain, paid, FIRM, 1)

    collect(world, bank)

    assert stored(world, deposit).owed_cents == owed - 42
    assert world.balances(account).cash_cents == 0
    assert world.findings() == []


def test_other_cash_of_the_account_goes_back_first(world: World, bank: ScriptedBank) -> None:
    account = investor(world)
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available")
    collect(world, bank)
    world.trade()
    world.pay_in(account, 30_00)
    cash = world.balances(account).cash_cents

    bank.say(world, deposit.id, "returned", code="R01")
    collect(world, bank)

    assert world.balances(account).cash_cents == 0
    assert stored(world, deposit).owed_cents == 100_00 - cash
    assert world.findings() == []


def test_a_withdrawal_that_was_not_sent_is_cancelled_before_the_firm_is_owed(
    world: World, bank: ScriptedBank
) -> None:
    account, r = investor(world), world.runtime
    deposit = ask(world, account, 100_00)
    bank.say(world, deposit.id, "available", "settled")
    collect(world, bank)
    withdrawing.request(
        world.db,
        r.keyring,
        r.prices,
        r.clock,
        account,
        "wdr_1",
        link_of(world, account),
        100_00,
    )

    bank.say(world, deposit.id, "returned", code="R07")
    collect(world, bank)

    assert world.scalar("SELECT count(*) FROM withdrawal WHERE state = 'canceled'") == 1
    assert world.balances(account).outgoing_cents == 0
    assert (stored(world, deposit).owed_cents, book(world, OWED)) == (0, 0)
    assert world.findings() == []


def test_a_withdrawal_is_paid_when_the_bank_says_so_and_comes_back_when_it_bounces(
    world: World, bank: ScriptedBank
) -> None:
    account, r = investor(world), world.runtime
    world.pay_in(account, 90_00)
    for name in ("wdr_1", "wdr_2"):
        withdrawing.request(
            world.db, r.keyring, r.prices, r.clock, account, name, link_of(world, account), 40_00
        )
        withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)

    bank.say(world, "wdr_1", "pending", "available", "settled")
    bank.say(world, "wdr_2", "returned", code="R03")
    collect(world, bank)

    assert world.balances(account).outgoing_cents == 0
    assert world.balances(account).cash_cents == 50_00
    assert book(world, "street/bank") == -50_00
    assert {"withdrawal.paid", "withdrawal.failed"} <= set(kinds(world))
    assert world.findings() == []


def test_a_close_out_ends_with_a_closed_account_once_the_bank_has_paid(
    world: World, bank: ScriptedBank
) -> None:
    account, r = investor(world), world.runtime
    deposit = ask(world, account, 123_45)
    bank.say(world, deposit.id, "available", "settled")
    collect(world, bank)
    world.trade()
    withdrawing.request(
        world.db, r.keyring, r.prices, r.clock, account, "wdr_1", link_of(world, account), None
    )
    for _ in range(3):
        world.trade()
        world.next_session()
        withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)

    bank.say(world, "wdr_1", "settled")
    collect(world, bank)

    left = world.balances(account)
    assert world.scalar("SELECT count(*) FROM account WHERE state = 'closed'") == 1
    assert (left.cash_cents, left.unsettled_cents, left.outgoing_cents) == (0, 0, 0)
    assert left.holdings_nanos == {}
    assert world.findings() == []


def test_any_mix_of_deposits_returns_trades_and_cures_keeps_the_books_whole(
    world: World, bank: ScriptedBank
) -> None:
    dice = random.Random(11)
    accounts = [investor(world) for _ in range(4)]
    alive: list[str] = []
    for step in range(36):
        account = dice.choice(accounts)
        try:
            deposit = ask(world, account, dice.randint(1_00, 600_00), str(step))
            alive.append(deposit.id)
            bank.say(world, deposit.id, *dice.sample(["pending", "available", "settled"], 2))
        except RefusedError:
            pass
        if dice.random() < 0.4:
            bank.say(world, dice.choice(alive), "returned", code="R01")
        collect(world, bank)
        if dice.random() < 0.5:
            world.trade()
        if dice.random() < 0.5:
            world.next_session()

    assert world.findings() == []
    owed = world.scalar("SELECT sum(owed_cents) FROM deposit")
    assert owed == -book(world, OWED) > 0
    lent = world.scalar("SELECT sum(advanced_cents) FROM deposit WHERE state = 'pending'")
    assert lent == -book(world, f"firm/{FIRM}/advance")
    assert world.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    for account in accounts:
        with world.db.read() as session:
            assert funding.withdrawable_cents(session, account) >= 0
