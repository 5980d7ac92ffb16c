"""A year ends on the target its customer set, through the real services, or says why not."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

import pytest
from world import World, make_world

from robo.core.clock import NEW_YORK, business_date
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import notional_cents
from robo.core.policy import Policy
from robo.services import adjusting, graduating, harvesting, indexing, landing
from robo.services.enrolling import restricting
from robo.services.taxing import standings
from robo.services.washing.counting import counts
from robo.store import accounts, lots, tax_profiles
from robo.store.tax_profiles import Choice

BOUGHT = date(2025, 11, 3)
FIRST, LAST = date(2026, 12, 28), date(2026, 12, 31)
NEAR_CENTS = 25_00
GROWN = (300_000_00,)
"""Sums that go into names of their own; others stay with their basket."""


@pytest.fixture
def world(tmp_path: Path, seasons: MarketCalendar) -> Iterator[World]:
    modest = Policy(assumed_income_cents=30_000_00)
    settings = {"ROBO_SIM_EVENTS_PPM": "0"}
    with make_world(tmp_path, seasons, settings=settings, policy=modest) as made:
        jump(made, BOUGHT)
        yield made


@pytest.mark.parametrize(
    ("cents", "choice"),
    [
        pytest.param(400_000_00, Choice(target="loss_limit", number=1), marks=pytest.mark.soak),
        pytest.param(
            20_000_00,
            Choice(target="amount", target_cents=2_000_00, gain_budget_cents=2_500_00, number=1),
            marks=pytest.mark.soak,
        ),
        (60_000_00, Choice(target="zero_bracket", gain_budget_cents=None, number=1)),
    ],
    ids=["minus three thousand", "two thousand", "zero bracket"],
)
def test_a_basket_ends_its_year_on_the_target(world: World, cents: int, choice: Choice) -> None:
    account = investor(world, cents)
    choose(world, account, choice)
    jump(world, FIRST)
    before = missing(world, account)

    year_end(world)

    assert abs(before) >= 2_000_00
    assert abs(missing(world, account)) <= NEAR_CENTS
    assert reasons(world) == {"sell_year_target"}
    assert unnamed(world) == 0
    assert told(world)[0]["not_allowed_by_lots"] == "0.00"
    assert washed(world, account) == 0
    assert world.findings() == []


def test_a_direct_sleeve_ends_its_year_on_the_target(world: World) -> None:
    account = investor(world, 300_000_00)
    choose(world, account, Choice(target="loss_limit", number=1))
    jump(world, FIRST)

    year_end(world)

    assert kind(world, account) == "direct_index"
    assert len(world.balances(account).holdings_nanos) > 20
    assert abs(missing(world, account)) <= NEAR_CENTS
    assert reasons(world) == {"sell_year_target"}
    risks = "FROM trade_effect JOIN orders ON id = order_id WHERE reason = 'sell_year_target'"
    assert world.scalar(f"SELECT count(*) {risks} AND tracking_error_ppm <> 0") > 0
    assert world.scalar(f"SELECT count(*) {risks} AND tracking_error_ppm IS NULL") == 0
    assert world.scalar("SELECT min(after_ppm) FROM plan_effect") > 0
    assert washed(world, account) == 0
    assert world.findings() == []


def test_a_target_that_changes_on_the_way_is_the_one_that_is_reached(world: World) -> None:
    account = investor(world, 400_000_00)
    choose(world, account, Choice(target="loss_limit", number=1))
    jump(world, date(2026, 12, 24))
    assert land(world) == 0
    jump(world, FIRST)
    assert land(world) == 1
    night(world)
    assert missing(world, account) > -500_00
    world.next_session()

    choose(world, account, Choice(target="zero", number=2))
    assert missing(world, account) > 2_500_00
    year_end(world)

    assert abs(missing(world, account)) <= NEAR_CENTS
    assert washed(world, account) == 0


def test_what_the_lots_do_not_allow_is_told_with_the_amount_and_each_name_that_stays(
    world: World,
) -> None:
    account = investor(world, 20_000_00)
    jump(world, FIRST)
    losing = losers(world, account)
    barred = losing[0]
    customer = owner(world, account)
    restricting.add(world.db, world.clock, customer, barred, "never_buy")
    choose(world, account, Choice(target="amount", target_cents=-9_000_00, number=1))

    night(world)

    (first,) = told(world)
    assert first["wanted"] == "-9000.00"
    assert -9_000_00 < cents(first["not_allowed_by_lots"]) < -5_000_00
    assert cents(first["planned"]) < 0
    assert abs(cents(first["planned"]) + cents(first["not_allowed_by_lots"]) + 9_000_00) < 1_000_00
    skipped = texts(world, f"SELECT reason FROM skip WHERE security_id = {barred}")
    assert skipped == ["skip_restricted"]
    assert barred not in sold(world)
    assert sold(world) <= set(losing)


def test_a_target_does_not_gain_more_than_the_budget_allows(world: World) -> None:
    account = investor(world, 20_000_00)
    jump(world, FIRST)
    aim = Choice(target="amount", target_cents=2_000_00, gain_budget_cents=300_00, number=1)
    choose(world, account, aim)

    night(world)
    world.next_session()
    night(world)

    gained = missing(world, account)
    assert 2_000_00 - 300_00 <= gained < 2_000_00 - 250_00
    assert reasons(world) == {"sell_year_target"}
    first, second = told(world)
    assert cents(first["not_allowed_by_budget"]) > 1_000_00
    assert cents(first["planned"]) < 300_00
    assert cents(second["planned"]) < 30_00
    assert "skip_gain_limit" in texts(world, "SELECT DISTINCT reason FROM skip")
    assert texts(world, "SELECT DISTINCT kind FROM event WHERE kind LIKE 'tax_target.%'") == [
        "tax_target.short"
    ]


@pytest.mark.soak
def test_accounts_of_one_customer_land_together_and_none_buys_what_another_sold(
    world: World,
) -> None:
    first, second = investor(world, 200_000_00), investor(world, 200_000_00)
    with world.db.write() as session:
        session.connection().exec_driver_sql(
            f"UPDATE account SET customer_id = '{owner(world, first)}' WHERE id = '{second}'"
        )
    choose(world, first, Choice(target="loss_limit", number=1))
    jump(world, FIRST)
    world.pay_in(second, 5_000_00, "late money")

    year_end(world)

    assert abs(missing(world, first)) <= NEAR_CENTS
    assert washed(world, first) == 0


def investor(world: World, cents: int) -> AccountId:
    """Return an account that bought its basket, or grew into names of its own, in November."""
    (account,) = world.add_accounts(1)
    world.pay_in(account, cents)
    r = world.runtime
    if cents in GROWN:
        graduating.admit(world.db, r.prices, r.clock, r.policy, r.calendar)
        indexing.invest(
            world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "first"
        )
    world.trade()
    return account


def jump(world: World, on: date) -> None:
    """Go to ten o'clock of a session; nothing but corporate actions happens before it."""
    r = world.runtime
    world.clock.set(datetime.combine(on, time(10), tzinfo=NEW_YORK))
    adjusting.apply_day(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, on)
    world.settle(on)


def land(world: World) -> int:
    """Run the job alone."""
    r = world.runtime
    slot = business_date(world.clock.now()).isoformat()
    return landing.plan(
        world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot
    )


def night(world: World) -> None:
    """Plan as the jobs of a morning do, in their order, and trade."""
    r = world.runtime
    on = business_date(world.clock.now())
    slot = on.isoformat()
    graduating.review(world.db, r.prices, r.clock, r.calendar, r.policy, on)
    for service in (landing, indexing, harvesting):
        service.plan(world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)
    world.trade()


def year_end(world: World) -> None:
    """Live through the year's last sessions."""
    while True:
        night(world)
        if business_date(world.clock.now()) == LAST:
            return
        world.next_session()


def choose(world: World, account: AccountId, choice: Choice) -> None:
    with world.db.write() as session:
        tax_profiles.choose(
            session, accounts.sleeves(session, [account])[account].customer_id, choice
        )


def missing(world: World, account: AccountId) -> int:
    r = world.runtime
    with world.db.read() as session:
        customer = accounts.sleeves(session, [account])[account].customer_id
        on = business_date(world.clock.now())
        found = standings.standings(session, r.keyring, r.policy, [customer], on)
    wanted = found[customer].to_target_cents
    assert wanted is not None
    return wanted


def washed(world: World, account: AccountId) -> int:
    """Return how many wash sales nobody meant."""
    with world.db.read() as session:
        customer = accounts.sleeves(session, [account])[account].customer_id
        return counts(session, [customer], business_date(world.clock.now())).unintended


def reasons(world: World) -> set[str]:
    return set(texts(world, "SELECT DISTINCT reason FROM orders WHERE side = 'sell'"))


def texts(world: World, sql: str) -> list[str]:
    with world.db.read() as session:
        return [str(one) for one in session.connection().exec_driver_sql(sql).scalars()]


def unnamed(world: World) -> int:
    """Return how many sales do not say which lots they mean."""
    return world.scalar(
        "SELECT count(*) FROM orders o WHERE side = 'sell' AND NOT EXISTS"
        " (SELECT 1 FROM order_lot l WHERE l.order_id = o.id)"
    )


def kind(world: World, account: AccountId) -> str:
    with world.db.read() as session:
        return accounts.sleeves(session, [account])[account].kind


def owner(world: World, account: AccountId) -> str:
    with world.db.read() as session:
        return accounts.sleeves(session, [account])[account].customer_id


def losers(world: World, account: AccountId) -> list[int]:
    """Return the names worth less than was paid for them, those that lost most first."""
    with world.db.read() as session:
        mine = lots.open_lots(session, [account])[account]
    names = [SecurityId(one.security_id) for one in mine]
    seen = world.runtime.prices.quotes(names, world.clock.now())
    lost = {
        one.security_id: one.basis_cents - notional_cents(one.nanos, seen[name].price_micros)
        for name, one in zip(names, mine, strict=True)
    }
    return sorted((one for one, less in lost.items() if less > 0), key=lambda one: -lost[one])


def sold(world: World) -> set[int]:
    return {int(one) for one in texts(world, "SELECT security_id FROM orders WHERE side = 'sell'")}


def told(world: World) -> list[dict[str, str]]:
    """Return what customers were told of their targets."""
    found = texts(world, "SELECT payload FROM event WHERE kind LIKE 'tax_target.%' ORDER BY seq")
    return [json.loads(one) for one in found]


def cents(dollars: str) -> int:
    return round(float(dollars) * 100)
