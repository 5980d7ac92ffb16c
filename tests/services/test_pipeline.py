"""From free cash to holdings and back, through the real paper broker."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import fresh_postgres
from world import World, make_world

from robo.core.errors import ConflictError, InsufficientFundsError, RefusedError, RestrictedError
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import unwinding, withdrawing
from robo.store.database import insert_many
from robo.store.withdrawals import Withdrawal


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def test_a_hundred_dollars_become_ten_companies_to_the_cent(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 100_00)

    world.trade()

    balances = world.balances(account)
    spent = world.scalar("SELECT sum(filled_cents) FROM orders")
    assert len(balances.holdings_nanos) == 10
    assert balances.cash_cents + spent == 100_00
    assert balances.reserved_cents == 0
    assert balances.cash_cents < 1_00
    assert world.findings() == []


@pytest.mark.postgres
def test_the_same_story_on_postgresql(
    tmp_path: Path, short_calendar: MarketCalendar, postgres_url: str
) -> None:
    with (
        fresh_postgres(postgres_url) as url,
        make_world(tmp_path / "state", short_calendar, url=url) as world,
    ):
        accounts = world.add_accounts(3)
        for account in accounts:
            world.pay_in(account, 250_00)
        world.trade()
        world.next_session()
        ask(world, accounts[0], 100_00)
        ask(world, accounts[1], None)
        for _ in range(4):
            world.trade()
            world.next_session()
            withdrawing.pay(
                world.db,
                world.runtime.keyring,
                world.runtime.bank,
                world.clock,
                world.runtime.policy,
            )

        assert world.balances(accounts[0]).outgoing_cents == 100_00
        assert world.balances(accounts[1]).holdings_nanos == {}
        assert world.findings() == []
        broker_equals_books(world)


def broker_equals_books(world: World) -> None:
    """Compare our sums with the broker's, to the last nanoshare and cent."""
    broker = world.runtime.broker
    positions = {p.security_id: p.nanos for p in broker.positions("omnibus/firm_house")}
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT asset, sum(amount) FROM balance WHERE asset <> 'USD/2' "
            "AND book <> 'street/market' GROUP BY asset HAVING sum(amount) > 0"
        )
        ours = {int(asset[1:-2]): int(nanos) for asset, nanos in rows}
        street = session.connection().exec_driver_sql(
            "SELECT coalesce(sum(amount), 0) FROM balance "
            "WHERE book IN ('street/market', 'street/fees') AND asset = 'USD/2'"
        )
        cash = -int(street.scalar_one())
    assert ours == positions
    assert cash == broker.cash("omnibus/firm_house").total_cents


def test_small_deposits_are_carried_until_they_reach_the_minimum(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 99, "first")
    world.trade()
    idle = world.balances(account)

    world.pay_in(account, 1, "second")
    world.trade()

    assert (idle.cash_cents, idle.holdings_nanos) == (99, {})
    assert world.balances(account).cash_cents == 0
    assert len(world.balances(account).holdings_nanos) == 1
    assert world.findings() == []


def test_a_withdrawal_sells_settles_and_pays_exactly_what_was_asked(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 500_00)
    world.trade()
    world.next_session()

    ask(world, account, 120_00)
    world.trade()
    for _ in range(4):
        world.next_session()
        withdrawing.pay(
            world.db, world.runtime.keyring, world.runtime.bank, world.clock, world.runtime.policy
        )
    world.trade()

    assert world.scalar("SELECT promised_cents FROM withdrawal") == 120_00
    assert world.scalar("SELECT count(*) FROM withdrawal WHERE state = 'sent'") == 1
    assert world.balances(account).outgoing_cents == 120_00
    assert world.balances(account).cash_cents < 1_00
    assert world.findings() == []
    broker_equals_books(world)


def ask(world: World, account: AccountId, cents: int | None) -> Withdrawal:
    with world.db.read() as session:
        link = session.connection().exec_driver_sql(
            "SELECT bank_link.id FROM bank_link JOIN account "
            f"ON account.customer_id = bank_link.customer_id WHERE account.id = '{account}'"
        )
        link_id = link.scalar_one()
    number = world.scalar("SELECT count(*) FROM withdrawal")
    r = world.runtime
    return withdrawing.request(
        world.db, r.keyring, r.prices, r.clock, account, f"wdr_{number}", link_id, cents
    )


def test_closing_leaves_neither_a_share_nor_a_cent(world: World) -> None:
    accounts = world.add_accounts(3)
    for account in accounts:
        world.pay_in(account, 321_07)
    world.trade()
    world.next_session()

    ask(world, accounts[1], None)
    for _ in range(5):
        world.trade()
        world.next_session()
        withdrawing.pay(
            world.db, world.runtime.keyring, world.runtime.bank, world.clock, world.runtime.policy
        )

    left = world.balances(accounts[1])
    assert left.holdings_nanos == {}
    assert (left.cash_cents, left.reserved_cents, left.unsettled_cents) == (0, 0, 0)
    assert world.scalar("SELECT count(*) FROM withdrawal WHERE state = 'sent'") == 1
    assert len(world.balances(accounts[0]).holdings_nanos) >= 10
    assert world.findings() == []
    broker_equals_books(world)


def test_more_than_an_account_is_worth_is_refused_and_changes_nothing(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 100_00)
    world.trade()

    with pytest.raises(InsufficientFundsError):
        ask(world, account, 250_00)

    assert world.scalar("SELECT count(*) FROM withdrawal") == 0


def test_lots_bought_with_unsettled_money_are_not_sold(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 200_00)
    world.trade()
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE lot SET hold_until = '2026-12-31'")

    ask(world, account, 50_00)
    world.trade()

    assert world.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    assert world.scalar("SELECT count(*) FROM skip WHERE reason = 'skip_unsettled'") >= 10
    assert world.findings() == []


def test_months_of_deposits_withdrawals_and_actions_keep_books_and_broker_equal(
    tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    faults = {"ROBO_PAPER_PARTIAL_PPM": "400000", "ROBO_PAPER_REJECT_PPM": "30000"}
    dice = random.Random(7)
    with make_world(tmp_path / "state", short_calendar, settings=faults) as world:
        accounts = world.add_accounts(4) + world.add_accounts(4, "theme-housing")
        for day in range(70):
            for account in accounts:
                if dice.random() < 0.3:
                    world.pay_in(account, dice.randint(1, 900_00), f"day{day}")
                if dice.random() < 0.05:
                    with contextlib.suppress(RefusedError, ConflictError):
                        ask(world, account, dice.randint(1, 300_00))
            world.trade()
            world.next_session()
            withdrawing.pay(
                world.db,
                world.runtime.keyring,
                world.runtime.bank,
                world.clock,
                world.runtime.policy,
            )
            if day % 10 == 9:
                assert world.findings() == []
                broker_equals_books(world)

        assert world.scalar("SELECT count(*) FROM orders WHERE state = 'filled'") > 200
        assert world.scalar("SELECT count(*) FROM orders WHERE state = 'rejected'") > 0
        assert world.scalar("SELECT count(*) FROM entitlement WHERE state = 'done'") > 0
        assert world.scalar("SELECT count(*) FROM event WHERE kind LIKE 'break.%'") == 0


def restrict(world: World, account: AccountId, security_id: int, choice: str) -> None:
    with world.db.write() as session:
        customer = session.connection().exec_driver_sql(
            f"SELECT customer_id FROM account WHERE id = '{account}'"
        )
        insert_many(
            session,
            "restriction",
            (
                "id",
                "customer_id",
                "security_id",
                "verb",
                "source",
                "reason",
                "held_choice",
                "created_at",
            ),
            [
                (
                    "rst_1",
                    customer.scalar_one(),
                    security_id,
                    "never_buy",
                    "employer",
                    "x",
                    choice,
                    1,
                )
            ],
        )


def unwind(world: World) -> None:
    r = world.runtime
    unwinding.plan(world.db, r.keyring, r.broker, r.prices, world.clock, r.policy)


def test_an_employers_shares_are_left_alone_until_the_customer_says_sell(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 500_00)
    world.trade()
    world.next_session()
    employer = next(iter(world.balances(account).holdings_nanos))
    held = world.balances(account).holdings_nanos[employer]
    restrict(world, account, employer, "none")

    world.pay_in(account, 300_00)
    ask(world, account, 400_00)
    unwind(world)
    world.trade()
    untouched = world.balances(account).holdings_nanos[employer]
    with world.db.write() as session:
        session.connection().exec_driver_sql("UPDATE restriction SET held_choice = 'sell'")
    unwind(world)
    unwind(world)
    world.trade()

    assert untouched == held
    assert employer not in world.balances(account).holdings_nanos
    assert world.findings() == []


def test_closing_an_account_with_untouchable_shares_is_refused(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 500_00)
    world.trade()
    restrict(world, account, next(iter(world.balances(account).holdings_nanos)), "keep")

    with pytest.raises(RestrictedError):
        ask(world, account, None)
