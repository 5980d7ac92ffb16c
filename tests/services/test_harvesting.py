"""Losses of baskets: taken where they are worth it, replaced by an understudy, never washed."""

from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Any

import pytest
from world import FIRM, World, make_world

from baskets.catalog import catalog
from robo.core.clock import NEW_YORK, business_date
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import adjusting, harvesting
from robo.services.washing.bans import purchase_bans
from robo.services.washing.folding import books_of
from robo.store import accounts, households, orders, people, tax_profiles
from robo.store.database import bulk
from robo.store.orders import NewOrder
from robo.store.tax_profiles import Choice

BASKET = "theme-water"
TEN = catalog().get(BASKET).weights_ppm.keys()


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    settings = {"ROBO_SIM_EVENTS_PPM": "0"}
    with make_world(tmp_path / "state", short_calendar, settings=settings) as made:
        yield made


def test_losses_are_taken_and_understudies_take_the_names_places(world: World) -> None:
    account = investor(world)
    choose(world, account, Choice(mode="harvest", number=1))
    world.announce_split(account, min(TEN))
    before_the_split_is_booked = harvest(world)
    world.book_splits(account)

    planned = harvest(world)
    gone = sold(world)
    world.trade()
    world.next_session()
    world.trade()

    assert (before_the_split_is_booked, planned) == (0, 1)
    assert gone <= TEN
    held = set(world.balances(account).holdings_nanos)
    assert not held & gone
    assert len(held - TEN) == len(gone)
    assert held == targeted(world, account)
    assert realised(world) < 0
    assert washed(world, account) == 0
    assert world.findings() == []


def test_the_names_come_back_when_they_may_be_bought_again_to_who_harvests_no_more(
    world: World,
) -> None:
    account = investor(world)
    choose(world, account, Choice(mode="harvest", number=1))
    harvest(world)
    gone = sold(world)
    world.trade()
    choose(world, account, Choice(mode="neutral", number=2))

    later(world, 14)
    harvest(world)
    early = targeted(world, account) & gone
    later(world, 10)
    harvest(world)
    world.pay_in(account, 5_000_00, "later")
    world.trade()

    assert early == set()
    assert targeted(world, account) == TEN
    assert gone & set(world.balances(account).holdings_nanos)
    assert washed(world, account) == 0
    assert sold(world) == gone


@pytest.mark.parametrize("choice", [Choice(mode="neutral", number=1), None])
def test_who_does_not_harvest_keeps_the_losses(world: World, choice: Choice | None) -> None:
    account = investor(world)
    if choice is not None:
        choose(world, account, choice)

    assert harvest(world) == 0
    assert targeted(world, account) == TEN


def test_losses_that_save_less_than_a_dollar_are_left_alone(world: World) -> None:
    account = investor(world, cents=20_00)
    choose(world, account, Choice(mode="harvest", number=1))

    assert harvest(world) == 0


def test_what_was_bought_within_thirty_days_is_not_sold_at_a_loss(world: World) -> None:
    account = investor(world)
    choose(world, account, Choice(mode="harvest", number=1))
    world.pay_in(account, 4_000_00, "fresh")
    world.trade()
    fresh = bought_since(world, account, world.clock.now().date().isoformat())
    world.next_session()

    harvest(world)
    world.trade()

    assert fresh
    assert not sold(world) & fresh
    assert washed(world, account) == 0


def test_what_was_bought_of_late_goes_with_all_of_its_name_once_it_has_lost_too(
    world: World,
) -> None:
    account = investor(world)
    choose(world, account, Choice(mode="neutral", number=1))
    world.pay_in(account, 10_000_00, "fresh")
    world.trade()
    day = world.clock.now().date().isoformat()
    fresh = bought_since(world, account, day)
    choose(world, account, Choice(mode="harvest", number=2))

    for _ in range(12):
        world.next_session()
        harvest(world)
        world.trade()

    both = world.scalar(
        "SELECT count(DISTINCT n.order_id) FROM order_lot n JOIN lot l ON l.id = n.lot_id"
        f" WHERE l.acquired_on = '{day}' AND n.place = 0"
    )
    assert sold(world) & fresh
    assert both
    assert washed(world, account) == 0
    assert world.findings() == []


def test_money_that_comes_between_the_first_harvest_and_its_sales_buys_none_of_its_names(
    world: World,
) -> None:
    account = investor(world)
    choose(world, account, Choice(mode="harvest", number=1))
    with world.db.read() as session:
        wanted = accounts.sleeves(session, [account])[account].target_id
    harvest(world)
    gone = sold(world)
    # Whose older shares stay has the name in the target still, not an understudy.
    with world.db.write() as session:
        session.connection().exec_driver_sql(f"UPDATE sleeve SET target_id = '{wanted}'")
    world.pay_in(account, 4_000_00, "meanwhile")
    day = world.clock.now().date().isoformat()

    world.trade()

    fresh = bought_since(world, account, day)
    assert gone
    assert gone < TEN
    assert fresh
    assert not gone & fresh
    assert washed(world, account) == 0


def test_the_same_night_twice_sells_once(world: World) -> None:
    account = investor(world)
    choose(world, account, Choice(mode="harvest", number=1))

    first, again = harvest(world), harvest(world)

    assert (first, again) == (1, 0)


def test_a_partners_open_sale_changes_no_target_unless_it_is_sure_to_be_a_loss(
    world: World,
) -> None:
    account, theirs = world.add_accounts(2, BASKET)
    world.pay_in(theirs, 5_000_00)
    world.trade()
    name = min(TEN)
    with world.db.write() as session:
        pair = [owner(session, account), owner(session, theirs)]
        households.form(session, "hh_1", FIRM, pair, "2026-01-01", 1)
        sleeve = accounts.sleeves(session, [theirs])[theirs].id
        sale = NewOrder(
            "ord_1", FIRM, theirs, sleeve, "by_hand", name, "sell", None, 1, "sell_tracking"
        )
        orders.write(session, [sale], [], 1)
    choose(world, account, Choice(mode="harvest", number=1))

    harvest(world)
    open_sale = targeted(world, account)
    with world.db.read() as session:
        today = business_date(world.clock.now())
        barred = set(purchase_bans(session, [account], today, [])[account])
    with world.db.write() as session:
        bulk(session, "UPDATE orders SET reason = 'sell_harvest'", [()])
    harvest(world)

    assert open_sale == TEN
    assert barred == {name}
    assert TEN - targeted(world, account) == {name}


def test_what_only_a_joint_owner_may_not_trade_is_harvested_in_ones_own_account(
    world: World,
) -> None:
    account = investor(world)
    shared, theirs = world.add_accounts(2, BASKET)
    with world.db.write() as session:
        mine, partner = owner(session, account), owner(session, theirs)
        bulk(session, "UPDATE account SET customer_id = ? WHERE id = ?", [(mine, shared)])
        households.own_jointly(session, shared, partner, 1)
        rows = [
            people.StoredRestriction(f"rst_{name}", name, "never_own", "employer", "x", "none", 1)
            for name in TEN
        ]
        people.put_restrictions(session, partner, rows)
    choose(world, account, Choice(mode="harvest", number=1))

    planned = harvest(world)

    assert planned == 1
    assert sold(world) <= TEN
    assert targeted(world, account) & TEN
    assert world.scalar("SELECT count(*) FROM skip WHERE reason = 'skip_restricted'") == 0


def investor(world: World, cents: int = 20_000_00) -> AccountId:
    """Return an account that bought its basket about ten weeks ago."""
    (account,) = world.add_accounts(1, BASKET)
    world.pay_in(account, cents)
    world.trade()
    later(world, 48)
    return account


def later(world: World, sessions: int) -> None:
    """Let sessions pass in which nothing but corporate actions happens."""
    r = world.runtime
    for _ in range(sessions):
        on = r.calendar.shift(business_date(world.clock.now()), 1)
        world.clock.set(datetime.combine(on, time(10), tzinfo=NEW_YORK))
        adjusting.apply_day(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, on)
    world.settle(on)


def sold(world: World) -> set[int]:
    sql = "SELECT DISTINCT security_id FROM orders WHERE reason = 'sell_harvest'"
    with world.db.read() as session:
        return set(session.connection().exec_driver_sql(sql).scalars())


def bought_since(world: World, account: AccountId, day: str) -> set[int]:
    sql = f"SELECT security_id FROM lot WHERE account_id = '{account}' AND acquired_on >= '{day}'"
    with world.db.read() as session:
        return set(session.connection().exec_driver_sql(sql).scalars())


def realised(world: World) -> int:
    return world.scalar(
        "SELECT sum(proceeds_cents + basis_delta_cents) FROM lot_event WHERE kind = 'close'"
    )


def harvest(world: World) -> int:
    r = world.runtime
    slot = business_date(world.clock.now()).isoformat()
    return harvesting.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)


def choose(world: World, account: AccountId, choice: Choice) -> None:
    with world.db.write() as session:
        tax_profiles.choose(session, owner(session, account), choice)


def owner(session: Any, account: AccountId) -> str:
    return accounts.sleeves(session, [account])[account].customer_id


def targeted(world: World, account: AccountId) -> set[int]:
    with world.db.read() as session:
        target_id = accounts.sleeves(session, [account])[account].target_id
        return {one.security_id for one in accounts.targets(session, [target_id])[target_id]}


def washed(world: World, account: AccountId) -> int:
    """Return the cents of loss that wash sales have disallowed so far."""
    with world.db.read() as session:
        customer = owner(session, account)
        books = books_of(session, [customer], business_date(world.clock.now()))[customer]
    return sum(one.disallowed_cents for one in books.disposals)
