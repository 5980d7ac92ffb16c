"""A new score file reaches exactly the accounts whose screens it crosses, by the next window."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from newcomer import cheap_app, investor_to_be
from world import FIRM, World, make_world

from baskets.catalog import catalog
from baskets.import_cells import Cells
from baskets.imports import import_rows
from baskets.universe import load_universe
from robo.core.clock import business_date
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import importing, rescoring
from robo.services.rescoring import Reached
from robo.store import accounts, ledger, tax_profiles
from robo.store.database import Database
from robo.store.tax_profiles import Choice

CLEAN = "esg-low-carbon"
LEADER, SECOND = catalog().get(CLEAN).constituents[:2]
OTHER = "theme-water"


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.mark.parametrize(
    "count", [40, pytest.param(10_000, marks=pytest.mark.soak)], ids=["forty", "ten thousand"]
)
def test_every_affected_account_is_reached_and_no_other(world: World, count: int) -> None:
    affected = invested(world, count, CLEAN)
    others = invested(world, 5, OTHER)
    before = {account: target_of(world.db, account) for account in others}

    scandal(world)
    done = rescore(world)

    assert done.accounts == count
    for account in affected:
        assert LEADER.security_id not in target_of(world.db, account)
    assert reached(world) == set(affected)
    assert {account: target_of(world.db, account) for account in others} == before
    assert world.findings() == []


def test_a_second_run_finds_nothing_left_to_do(world: World) -> None:
    invested(world, 3, CLEAN)
    scandal(world)
    rescore(world)
    orders = world.scalar("SELECT count(*) FROM orders")

    again = rescore(world)

    assert again == Reached(0, 0, 0)
    assert world.scalar("SELECT count(*) FROM orders") == orders


def test_what_is_held_goes_only_as_far_as_the_customers_budget_reaches(world: World) -> None:
    frugal, generous = invested(world, 2, CLEAN)
    choose(world, generous, Choice(gain_budget_cents=1_000_000_00, number=1))
    make_a_gain(world)

    scandal(world)
    rescore(world)

    sold = column(world, "SELECT account_id FROM orders WHERE side = 'sell'")
    kept = column(world, "SELECT account_id FROM skip WHERE reason = 'skip_gain_limit'")
    assert sold == [generous]
    assert kept == [frugal]


def test_a_loss_makes_no_room_for_a_gain_that_leaves_beside_it(world: World) -> None:
    (account,) = invested(world, 1, CLEAN)
    make_a_loss(world)
    make_a_loss(world)
    make_a_gain(world, SECOND.security_id)

    scandal(world)
    scandal(world, SECOND.symbol)
    rescore(world)

    # The loss may be halted when the gain fills, and the budget is 0.
    assert column(world, "SELECT security_id FROM orders WHERE side = 'sell'") == [
        LEADER.security_id
    ]
    assert column(world, "SELECT security_id FROM skip WHERE reason = 'skip_gain_limit'") == [
        SECOND.security_id
    ]
    assert account in reached(world, SECOND.security_id)


def test_a_loss_is_sold_and_another_name_takes_its_place(world: World) -> None:
    (account,) = invested(world, 1, CLEAN)
    make_a_loss(world)

    scandal(world)
    rescore(world)
    world.trade()
    world.next_session()
    world.trade()

    held = world.balances(account).holdings_nanos
    assert LEADER.security_id not in held
    assert held.keys() == target_of(world.db, account).keys()
    assert column(world, "SELECT reason FROM orders WHERE side = 'sell'") == ["sell_left_out"]


def test_a_customers_own_exclusion_follows_the_new_figures(world: World) -> None:
    app = cheap_app(world)
    person, basket = investor_to_be(app)
    person.answer(activities_excluded=["oil_gas"], activity_threshold_percent=5)
    account = AccountId(person.open(basket).get_json()["id"])
    world.pay_in(account, 1_000_00)
    world.trade()
    name = next(iter(target_of(world.db, account)))
    assert name not in barred(world, person.id)

    scandal(world, symbol_of(name))
    done = rescore(world)

    assert done.customers == 1
    assert name in barred(world, person.id)
    assert name not in target_of(world.db, account)
    assert account in reached(world, name)


def scandal(world: World, symbol: str = LEADER.symbol) -> None:
    """Put a file to use that says 77 % of a company's revenue is oil and gas."""
    row = {
        "vendor": "rater",
        "vendor_version": "w9",
        "as_of": "2026-02-27",
        "id_type": "ticker",
        "id": symbol,
        "metric": "oil_gas",
        "value_num": "77",
        "unit": "pct_revenue",
        "scale": "percent",
        "basis": "reported",
        "quality": "2",
    }
    report = import_rows([Cells(2, row)], load_universe())
    assert report.clean
    importing.activate(world.db, world.runtime.keyring, world.clock, FIRM, report.rows)


def rescore(world: World) -> Reached:
    r = world.runtime
    on = business_date(world.clock.now())
    return rescoring.apply(world.db, r.keyring, r.prices, r.clock, r.policy, on)


def invested(world: World, count: int, basket_id: str) -> list[AccountId]:
    found = world.add_accounts(count, basket_id)
    for account in found:
        world.pay_in(account, 500_00)
    world.trade()
    return found


def choose(world: World, account: AccountId, choice: Choice) -> None:
    with world.db.write() as session:
        owner = accounts.sleeves(session, [account])[account].customer_id
        tax_profiles.choose(session, owner, choice)


def make_a_gain(world: World, security_id: int = LEADER.security_id) -> None:
    """Let the shares have cost nearly nothing, long ago."""
    _rewrite(world, "basis_cents = 1, acquired_on = '2025-11-03'", security_id)


def make_a_loss(world: World) -> None:
    _rewrite(world, "acquired_on = '2025-11-03'")
    with world.db.write() as session:
        session.connection().exec_driver_sql(
            f"UPDATE lot SET basis_cents = basis_cents * 2 WHERE security_id = {LEADER.security_id}"
        )


def _rewrite(world: World, change: str, security_id: int = LEADER.security_id) -> None:
    with world.db.write() as session:
        session.connection().exec_driver_sql(
            f"UPDATE lot SET {change} WHERE security_id = {security_id}"
        )


def target_of(db: Database, account: AccountId) -> dict[int, int]:
    with db.read() as session:
        target_id = accounts.sleeves(session, [account])[account].target_id
        return {
            one.security_id: one.weight_ppm
            for one in accounts.targets(session, [target_id])[target_id]
        }


def reached(world: World, security_id: int = LEADER.security_id) -> set[AccountId]:
    """Return the accounts with an order or a reasoned skip for what they hold of the name."""
    told = (
        f"SELECT account_id FROM orders WHERE side = 'sell' AND security_id = {security_id} "
        f"UNION SELECT account_id FROM skip WHERE security_id = {security_id} AND reason <> ''"
    )
    with world.db.read() as session:
        holders = {account for account, _ in ledger.holders(session, security_id)}
    return {AccountId(one) for one in column(world, told)} & holders


def barred(world: World, customer_id: str) -> set[int]:
    found = column(
        world, f"SELECT security_id FROM restriction WHERE customer_id = '{customer_id}'"
    )
    return {int(one) for one in found}


def symbol_of(security_id: int) -> str:
    return load_universe().by_id[security_id].symbol


def column(world: World, sql: str) -> list[Any]:
    with world.db.read() as session:
        return [row[0] for row in session.connection().exec_driver_sql(sql)]
