"""Every trade of a basket says what it does to risk and tax, whoever planned it."""

from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pytest
from world import World, make_world

from onboarding.restrictions import HeldChoice
from robo.core.clock import NEW_YORK, business_date, to_micros
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM
from robo.services import adjusting, harvesting, modelling, reporting, unwinding, withdrawing
from robo.services.enrolling import restricting
from robo.services.leaving import Leaving
from robo.services.modelling import Model
from robo.services.targeting import lessened
from robo.services.turns import Turns
from robo.store import accounts, leavers, tax_profiles
from robo.store.leavers import Leaver
from robo.store.tax_profiles import Choice

Row = tuple[str, str, int | None, int, int, int | None]
"""Reason, order, cents bought, security, tax and what the order adds to tracking error."""

LAST = "SELECT after_ppm > before_ppm FROM plan_effect ORDER BY at DESC"


@pytest.fixture
def world(tmp_path: Path, seasons: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path, seasons, settings={"ROBO_SIM_EVENTS_PPM": "0"}) as made:
        yield made


def test_every_trade_of_a_basket_says_what_it_does_to_risk_and_tax(world: World) -> None:
    r = world.runtime
    model = modelling.ensure(world.db, r.prices, r.clock, r.calendar, r.policy)
    assert model is not None
    (account,) = world.add_accounts(1)
    customer = owner(world, account)
    with world.db.write() as session:
        tax_profiles.choose(session, customer, Choice("harvest", gain_budget_cents=None, number=1))
    world.pay_in(account, 20_000_00)
    world.trade()
    buys = effects(world)
    assert {(reason, tax) for reason, _, _, _, tax, _ in buys} == {("buy_new_name", 0)}
    assert [risk for *_, risk in buys] == expected_of_first(world, model, account, buys)

    later(world, date(2026, 5, 15))
    slot = business_date(world.clock.now()).isoformat()
    harvesting.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)
    world.trade()
    world.next_session()
    withdraw(world, account, 8_000_00)
    world.next_session()
    withdrawing.pay(world.db, r.keyring, r.bank, r.clock, r.policy)
    kept = {row[3] for row in buys} & world.balances(account).holdings_nanos.keys()
    unwanted, leaving = sorted(kept)[:2]
    restricting.add(world.db, r.clock, customer, unwanted, "never_buy")
    restricting.choose(world.db, r.clock, customer, unwanted, HeldChoice.SELL)
    unwinding.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.policy)
    leave(world, account, leaving)
    world.trade()
    world.next_session()
    withdraw(world, account, None)

    made = effects(world)
    sales = [row for row in made if row[0].startswith("sell_")]
    assert {row[0] for row in sales} == {
        "sell_harvest",
        "sell_withdrawal",
        "sell_restriction_choice",
        "sell_left_out",
        "sell_close_out",
    }
    assert all(risk is not None for *_, risk in made)
    assert all(risk for *_, risk in sales)
    assert all(tax for *_, tax, _ in sales)
    assert all(tax < 0 for reason, *_, tax, _ in sales if reason == "sell_harvest")
    told = "SELECT count(*) FROM plan_effect WHERE after_ppm > 0 AND model_id <> ''"
    assert world.scalar(told) == 5
    # Of a closing nothing is left but cash: as far from the target as can be.
    assert world.scalar(f"{LAST} LIMIT 1") == 1
    shown(world, account, made)


def test_without_a_risk_model_nothing_is_said_of_risk(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 20_000_00)
    world.trade()
    withdraw(world, account, 500_00)

    made = effects(world)

    assert {row[0] for row in made} == {"buy_new_name", "sell_withdrawal"}
    assert {row[-1] for row in made} == {None}
    assert world.scalar("SELECT count(*) FROM plan_effect WHERE after_ppm IS NULL") == 1


def expected_of_first(world: World, model: Model, account: AccountId, buys: list[Row]) -> list[int]:
    """Return what the first purchases add, from the whole covariance: all was cash before."""
    with world.db.read() as session:
        target_id = accounts.sleeves(session, [account])[account].target_id
        names = accounts.targets(session, [target_id])[target_id]
    column = model.columns([one.security_id for one in names])
    loads, own = model.exposure[column], model.specific_variance[column]
    covariance = loads @ loads.T + np.diag(own)
    aim = np.array([one.weight_ppm / PPM for one in names])
    bought = {security: cents or 0 for _, _, cents, security, _, _ in buys}
    held = np.array([bought.get(one.security_id, 0) / 20_000_00 for one in names])

    def distance(weights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.sqrt((weights - aim) @ covariance @ (weights - aim)))

    place = {one.security_id: spot for spot, one in enumerate(names)}
    found = []
    for _, _, _, security, _, _ in buys:
        without = held.copy()
        without[place[security]] = 0.0
        found.append(round((distance(held) - distance(without)) * PPM))
    return found


def shown(world: World, account: AccountId, made: list[Row]) -> None:
    """Check that what customers see of their orders is what was written."""
    with world.db.read() as session:
        lines, _ = reporting.order_lines(session, account, None, 200)
    effects = {line.order.id: line.effect for line in lines if line.order is not None}
    assert {
        order: (one.tax_cents, one.tracking_error_ppm) for order, one in effects.items() if one
    } == {order: (tax, risk) for _, order, _, _, tax, risk in made}


def effects(world: World) -> list[Row]:
    sql = (
        "SELECT reason, id, notional_cents, security_id, tax_cents, tracking_error_ppm "
        "FROM orders LEFT JOIN trade_effect ON order_id = id ORDER BY planned_at, id"
    )
    with world.db.read() as session:
        return [tuple(row) for row in session.connection().exec_driver_sql(sql)]


def owner(world: World, account: AccountId) -> str:
    with world.db.read() as session:
        return accounts.sleeves(session, [account])[account].customer_id


def later(world: World, on: date) -> None:
    r = world.runtime
    world.clock.set(datetime.combine(on, time(10), tzinfo=NEW_YORK))
    adjusting.apply_day(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, on)
    world.settle(on)


def withdraw(world: World, account: AccountId, cents: int | None) -> None:
    r = world.runtime
    link = child_id("lnk", owner(world, account))
    cause = child_id("wdr", account, cents or 0)
    withdrawing.request(world.db, r.keyring, r.prices, r.clock, account, cause, link, cents)
    world.trade()


def leave(world: World, account: AccountId, name: int) -> None:
    """Take a name from the target, as scores do, and plan its sale."""
    r, on = world.runtime, business_date(world.clock.now())
    with world.db.write() as session:
        sleeve = accounts.sleeves(session, [account])[account]
        weights = lessened(accounts.targets(session, [sleeve.target_id])[sleeve.target_id], [name])
        assert weights is not None
        at = to_micros(world.clock.now())
        target = accounts.put_target(session, sleeve.basket_id, "without", weights, at)
        accounts.retarget(session, [(sleeve.id, target)], at)
        leavers.add(session, [Leaver(account, name, "screen", on.isoformat())])
    turns = Turns(world.db, r.policy)
    Leaving(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, turns, on).part()
