"""The portfolio adds up to the cent whatever happened, and says what it was valued with."""

import contextlib
import random
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path

import pytest
from funds import ScriptedBank, ask, collect, investor, link_of
from world import World, make_world

from robo.core.clock import NEW_YORK, business_date
from robo.core.errors import ConflictError, NotFoundError, RefusedError
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM, notional_cents
from robo.services import reporting, withdrawing
from robo.services.reporting import PortfolioView


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.fixture
def bank() -> ScriptedBank:
    return ScriptedBank()


def look(world: World, account: AccountId) -> PortfolioView:
    r = world.runtime
    with world.db.read() as session:
        return reporting.portfolio(session, r.prices, r.clock, r.calendar, account)


def deposit(world: World, bank: ScriptedBank, account: AccountId, cents: int, name: str) -> None:
    made = ask(world, account, cents, name)
    bank.say(world, made.id, "available", "settled")
    collect(world, bank)


def adds_up(world: World, account: AccountId, view: PortfolioView) -> None:
    """Check every sum of a portfolio against ledger, lots and prices."""
    balances, r = world.balances(account), world.runtime
    assert view.nav_cents == view.cash.total_cents + sum(h.value_cents for h in view.holdings)
    assert view.cash.total_cents == (
        balances.cash_cents
        + balances.reserved_cents
        + balances.unsettled_cents
        + balances.outgoing_cents
    )
    assert {h.security_id: h.nanos for h in view.holdings if h.nanos} == balances.holdings_nanos
    weights = [h.weight_ppm for h in view.holdings] + [view.cash_ppm]
    assert sum(weights) == (PPM if view.nav_cents else 0)
    assert sum(h.target_ppm for h in view.holdings) == PPM
    assert all(h.drift_ppm == h.weight_ppm - h.target_ppm for h in view.holdings)
    quotes = r.prices.quotes([SecurityId(h.security_id) for h in view.holdings], world.clock.now())
    for h in view.holdings:
        if h.security_id in quotes:
            assert h.price_micros == quotes[SecurityId(h.security_id)].price_micros
            assert h.value_cents == notional_cents(h.nanos, h.price_micros)
        assert h.gain_cents == h.value_cents - h.basis_cents
    paid_in = view.flows.deposited_cents - view.flows.withdrawn_cents
    assert view.total_gain_cents == view.nav_cents - view.flows.owed_cents - paid_in


def test_before_any_deposit_it_shows_the_targets_and_nothing_else(world: World) -> None:
    account = investor(world)

    view = look(world, account)

    assert (view.nav_cents, len(view.holdings), view.day_change_cents) == (0, 10, 0)
    assert view.prices.source.startswith("SIM")
    assert view.prices.simulated
    assert view.score_note
    assert view.account.basket_id == "theme-water"
    adds_up(world, account, view)


def test_a_hundred_dollars_are_shown_to_the_cent(world: World, bank: ScriptedBank) -> None:
    account = investor(world)
    deposit(world, bank, account, 100_00, "1")
    world.trade()

    view = look(world, account)

    assert view.flows.deposited_cents == 100_00
    assert view.invested_cents == sum(h.value_cents for h in view.holdings)
    assert view.basis_cents == world.scalar("SELECT sum(basis_cents) FROM lot")
    assert view.total_gain_cents == view.nav_cents - 100_00
    assert view.total_gain_ppm == round(view.total_gain_cents * 100)  # of 10,000 cents
    assert all(abs(h.drift_ppm) < 40_000 for h in view.holdings)
    adds_up(world, account, view)


def test_what_was_bought_today_gained_since_it_was_bought_and_the_rest_since_the_close(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit(world, bank, account, 200_00, "1")
    world.trade()
    first_day = look(world, account)
    world.next_session()
    shares = {h.security_id: h.nanos for h in look(world, account).holdings}
    deposit(world, bank, account, 50_00, "2")
    world.trade()

    view = look(world, account)

    # Everything was bought on the first day, so its change is the whole unrealised gain.
    assert first_day.day_change_cents == first_day.gain_cents
    yesterday = world.runtime.calendar.shift(business_date(world.clock.now()), -1)
    closes = world.runtime.prices.closes(yesterday)
    bought = world.scalar("SELECT sum(basis_cents) FROM lot WHERE acquired_on = '2026-03-03'")
    before = sum(
        notional_cents(nanos, closes[SecurityId(security)]) for security, nanos in shares.items()
    )
    assert view.day_change_cents == view.invested_cents - before - bought
    adds_up(world, account, view)


def test_outside_the_session_the_day_shown_is_the_last_one(
    world: World, bank: ScriptedBank
) -> None:
    account = investor(world)
    deposit(world, bank, account, 200_00, "1")
    world.trade()
    for _ in range(4):
        world.next_session()
    friday = world.clock.now().date()
    world.clock.set(datetime.combine(friday, time(16, 30), tzinfo=NEW_YORK))
    evening = look(world, account)
    world.clock.set(datetime(2026, 3, 8, 12, 0, tzinfo=NEW_YORK))

    sunday = look(world, account)

    assert friday.isoweekday() == 5
    assert sunday.prices.session == friday
    assert sunday.prices.as_of == world.runtime.calendar.closes_at(friday)
    assert sunday.day_change_cents == evening.day_change_cents != 0


def test_money_on_its_way_is_told_apart(world: World, bank: ScriptedBank) -> None:
    account = investor(world)
    first = ask(world, account, 1_200_00, "1")
    ask(world, account, 30_00, "2")
    bank.say(world, first.id, "pending")
    collect(world, bank)

    view = look(world, account)

    # $1,000 of the first are lent; $200 of it and all of the second are still to come.
    assert view.flows.unsettled_cents == 1_000_00
    assert view.flows.pending_cents == 230_00
    assert view.withdrawable_cents == 0
    assert view.nav_cents == 1_000_00
    assert view.total_gain_cents == 0
    adds_up(world, account, view)


def test_a_returned_deposit_is_neither_gain_nor_loss(world: World, bank: ScriptedBank) -> None:
    account = investor(world)
    made = ask(world, account, 100_00, "1")
    bank.say(world, made.id, "available")
    collect(world, bank)
    world.trade()
    before = look(world, account).total_gain_cents

    bank.say(world, made.id, "returned", code="R01")
    collect(world, bank)
    view = look(world, account)

    assert view.total_gain_cents == before
    assert view.flows.owed_cents > 99_00
    assert view.total_gain_ppm is None
    adds_up(world, account, view)


def test_an_account_that_does_not_exist_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError):
        look(world, AccountId("acc_nobody"))


def test_a_month_of_anything_adds_up_every_day(world: World, bank: ScriptedBank) -> None:
    dice = random.Random(3)
    account, r = investor(world), world.runtime
    changes = 0
    for week in range(14):
        deposit(world, bank, account, dice.randint(1_00, 400_00), str(week))
        if dice.random() < 0.4:
            link, cents = link_of(world, account), dice.randint(1, 200_00)
            with contextlib.suppress(RefusedError, ConflictError):
                withdrawing.request(
                    world.db, r.keyring, r.prices, r.clock, account, f"wdr_{week}", link, cents
                )
        world.trade()
        adds_up(world, account, look(world, account))
        for _ in range(2):
            world.next_session()
            withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
            for sent in [t.id for t in bank.asked]:
                bank.say(world, sent, "settled")
            collect(world, bank)
            view = look(world, account)
            changes += view.day_change_cents is not None
            adds_up(world, account, view)

    assert changes == 28
    assert view.flows.withdrawn_cents > 0
    realised = world.scalar(
        "SELECT sum(proceeds_cents + basis_delta_cents) FROM lot_event WHERE kind = 'close'"
    )
    dividends = world.scalar("SELECT sum(amount) FROM transfer WHERE kind = 'dividend'")
    # Gain told two ways: from money in and out, and from lots and dividends.
    assert view.total_gain_cents == view.gain_cents + realised + dividends
    assert world.findings() == []
