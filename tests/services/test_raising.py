"""Money out of a direct sleeve: by the optimizer, least tax, nothing bought, never washed."""

from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

import pytest
from world import World, make_world

from robo.core.clock import NEW_YORK, business_date
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.services import adjusting, graduating, indexing, withdrawing
from robo.services.washing.counting import counts
from robo.store import accounts, tax_profiles
from robo.store.tax_profiles import Choice


@pytest.fixture
def world(tmp_path: Path, seasons: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path, seasons, settings={"ROBO_SIM_EVENTS_PPM": "0"}) as made:
        yield made


def test_a_withdrawal_sells_what_costs_least_and_no_more_than_it_needs(world: World) -> None:
    account = invested(world, 300_000_00)
    later(world, date(2026, 6, 1))
    held = set(world.balances(account).holdings_nanos)

    withdraw(world, account, 40_000_00)

    assert reasons(world) == ["sell_withdrawal"]
    assert 40_000_00 <= proceeds(world) <= 40_800_00
    assert world.scalar("SELECT count(*) FROM orders WHERE side = 'buy' AND planned_at > 0") == len(
        held
    )
    assert unnamed(world) == 0
    effects = "SELECT count(*) FROM trade_effect JOIN orders ON orders.id = order_id"
    assert world.scalar(f"{effects} WHERE side = 'sell'") == len(sales(world))
    # Shares with losses and small gains go first: far less gain than the account has on average.
    assert gain(world) < proceeds(world) * gains_of(world, account) / 2
    assert world.scalar("SELECT max(after_ppm - before_ppm) FROM plan_effect") < 10_000
    assert world.findings() == []


@pytest.mark.soak
def test_a_withdrawal_leaves_alone_what_would_be_washed(world: World) -> None:
    account = invested(world, 300_000_00)
    choose(world, account, Choice(mode="harvest", number=1))
    later(world, date(2026, 4, 20))
    world.pay_in(account, 20_000_00, "late money")
    invest(world, "late")
    world.next_session()

    withdraw(world, account, 20_000_00)

    with world.db.read() as session:
        customer = accounts.sleeves(session, [account])[account].customer_id
        found = counts(session, [customer], business_date(world.clock.now()))
    assert reasons(world) == ["sell_withdrawal"]
    assert proceeds(world) >= 20_000_00
    assert sum(found.by_kind.values()) == 0


@pytest.mark.soak
def test_what_cannot_be_raised_like_this_is_sold_as_for_small_accounts(world: World) -> None:
    account = invested(world, 300_000_00)
    later(world, date(2026, 3, 20))

    withdraw(world, account, 290_000_00)

    assert reasons(world) == ["sell_withdrawal"]
    assert proceeds(world) >= 285_000_00


def invested(world: World, cents: int) -> AccountId:
    (account,) = world.add_accounts(1)
    world.pay_in(account, cents)
    r = world.runtime
    graduating.admit(world.db, r.prices, r.clock, r.policy, r.calendar)
    invest(world, "first")
    return account


def invest(world: World, slot: str) -> None:
    r = world.runtime
    indexing.invest(world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)
    world.trade()


def later(world: World, on: date) -> None:
    r = world.runtime
    world.clock.set(datetime.combine(on, time(10), tzinfo=NEW_YORK))
    adjusting.apply_day(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, on)
    world.settle(on)


def withdraw(world: World, account: AccountId, cents: int) -> None:
    r = world.runtime
    with world.db.read() as session:
        customer = accounts.sleeves(session, [account])[account].customer_id
    link = child_id("lnk", customer)
    made = withdrawing.request(
        world.db, r.keyring, r.prices, r.clock, account, child_id("wdr", account), link, cents
    )
    assert made.state == "requested"
    world.trade()


def choose(world: World, account: AccountId, choice: Choice) -> None:
    with world.db.write() as session:
        customer = accounts.sleeves(session, [account])[account].customer_id
        tax_profiles.choose(session, customer, choice)


def sales(world: World) -> list[str]:
    return texts(world, "SELECT id FROM orders WHERE side = 'sell'")


def reasons(world: World) -> list[str]:
    return texts(world, "SELECT DISTINCT reason FROM orders WHERE side = 'sell'")


def texts(world: World, sql: str) -> list[str]:
    with world.db.read() as session:
        return [str(one) for one in session.connection().exec_driver_sql(sql).scalars()]


def proceeds(world: World) -> int:
    return world.scalar("SELECT sum(proceeds_cents) FROM lot_event WHERE kind = 'close'")


def gain(world: World) -> int:
    return world.scalar(
        "SELECT sum(proceeds_cents + basis_delta_cents) FROM lot_event WHERE kind = 'close'"
    )


def gains_of(world: World, account: AccountId) -> float:
    """Return the gain of a dollar of the account on average: of what it held before."""
    paid = world.scalar("SELECT sum(basis_delta_cents) FROM lot_event WHERE kind = 'open'")
    held = world.balances(account).holdings_nanos
    quotes = world.runtime.prices.quotes(list(held), world.clock.now())  # type: ignore[arg-type] # ids
    worth = sum(n * quotes[s].price_micros // 10**13 for s, n in held.items())  # type: ignore[index] # ids
    return max(0.02, (worth + proceeds(world) - paid) / (worth + proceeds(world)))


def unnamed(world: World) -> int:
    return world.scalar(
        "SELECT count(*) FROM orders o WHERE side = 'sell' AND NOT EXISTS"
        " (SELECT 1 FROM order_lot l WHERE l.order_id = o.id)"
    )
