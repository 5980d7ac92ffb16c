"""Withdrawals, deposits and spouses through the real services: no wash sale that nobody meant."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from funds import link_of
from world import FIRM, World, make_world

from robo.core.clock import business_date
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.money import notional_cents
from robo.core.reasons import Reason
from robo.services import unwinding, withdrawing
from robo.services.taxing import choosing
from robo.services.taxing.profiles import Told
from robo.services.washing import books_of
from robo.services.washing.counting import WashKind, counts
from robo.store import households, lots, owners
from robo.store.database import bulk, insert_many
from robo.tax.rate_tables import FilingStatus
from robo.tax.selection import LotMethod


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def owner_of(world: World, account: AccountId) -> str:
    with world.db.read() as session:
        return households.owners_of(session, [account])[account].customer_id


def tell_taxes(world: World, account: AccountId, method: LotMethod = LotMethod.LOWEST_TAX) -> None:
    r, customer_id = world.runtime, owner_of(world, account)
    with world.db.write() as session:
        key = r.keyring.new_data_key(customer_id)
        bulk(session, "UPDATE customer SET data_key = ? WHERE id = ?", [(key, customer_id)])
        customer = owners.find_customer(session, customer_id)
    assert customer is not None
    told = Told(FilingStatus.SINGLE, 60_000_00, 75_000_00, lot_method=method)
    choosing.tell(world.db, r.keyring, r.clock, customer, 2026, told, actor="test")


def withdraw(world: World, account: AccountId, cents: int) -> None:
    r = world.runtime
    made, link = child_id("wdr", account, cents), link_of(world, account)
    withdrawing.request(world.db, r.keyring, r.prices, r.clock, account, made, link, cents)
    world.trade()
    world.next_session()
    withdrawing.pay(world.db, r.keyring, r.bank, r.clock, r.policy)
    # The bank is not told in these tests: the account may be invested again.
    with world.db.write() as session:
        bulk(session, "UPDATE withdrawal SET state = 'paid' WHERE account_id = ?", [(account,)])


def losses(world: World, account: AccountId) -> set[int]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT security_id FROM lot_event WHERE account_id = ? AND kind = 'close' "
            "AND proceeds_cents < -basis_delta_cents",
            (account,),
        )
        return set(rows.scalars())


def bought_since(world: World, account: AccountId, first: date) -> set[int]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT security_id FROM lot WHERE account_id = ? AND acquired_on >= ?",
            (account, first.isoformat()),
        )
        return set(rows.scalars())


def days(world: World, count: int) -> None:
    for _ in range(count):
        world.next_session()


def grown(world: World) -> AccountId:
    """An account with two lots a name, some of them under water."""
    (account,) = world.add_accounts(1)
    world.pay_in(account, 500_000, "first")
    world.trade()
    days(world, 6)
    world.pay_in(account, 500_000, "second")
    world.trade()
    days(world, 22)  # more than 30 days
    return account


@pytest.mark.parametrize("told", [True, False], ids=["profile", "assumed"])
def test_a_withdrawal_sells_the_lots_that_cost_least(world: World, told: bool) -> None:  # noqa: FBT001 - a case
    account = grown(world)
    if told:
        tell_taxes(world, account)
    with world.db.read() as session:
        before = lots.open_lots(session, [account])[account]

    withdraw(world, account, 300_000)

    with world.db.read() as session:
        left = {lot.id: lot.nanos for lot in lots.open_lots(session, [account])[account]}
    compared = 0
    for security_id in {lot.security_id for lot in before}:
        mine = [lot for lot in before if lot.security_id == security_id and lot.nanos]
        sold = [lot for lot in mine if left.get(lot.id, 0) < lot.nanos]
        untouched = [lot for lot in mine if left.get(lot.id, 0) == lot.nanos]
        for one in sold:
            for other in untouched:
                # All are short-term: the dearest shares cost the least tax.
                assert one.basis_cents * other.nanos >= other.basis_cents * one.nanos
                compared += 1
    assert compared >= 2


def test_a_withdrawal_sells_the_oldest_lots_of_who_asked_for_that(world: World) -> None:
    account = grown(world)
    tell_taxes(world, account, LotMethod.FIFO)
    with world.db.read() as session:
        before = lots.open_lots(session, [account])[account]

    withdraw(world, account, 300_000)

    with world.db.read() as session:
        left = {lot.id: lot.nanos for lot in lots.open_lots(session, [account])[account]}
    sold = [lot for lot in before if left.get(lot.id, 0) < lot.nanos]
    untouched = [lot for lot in before if left.get(lot.id, 0) == lot.nanos]
    pairs = [(a, b) for a in sold for b in untouched if a.security_id == b.security_id]
    assert len(pairs) >= 2
    assert all(one.acquired_on <= other.acquired_on for one, other in pairs)
    assert any(a.basis_cents * b.nanos < b.basis_cents * a.nanos for a, b in pairs)


def test_money_that_comes_after_a_loss_buys_other_names(world: World) -> None:
    account = grown(world)
    tell_taxes(world, account)
    withdraw(world, account, 700_000)
    sold = losses(world, account)
    today = business_date(world.clock.now())

    world.pay_in(account, 400_000, "third")
    world.trade()
    bought = bought_since(world, account, today)
    with world.db.read() as session:
        skipped = (
            session.connection()
            .exec_driver_sql(
                "SELECT DISTINCT security_id FROM skip WHERE account_id = ? AND reason = ?",
                (account, Reason.SKIP_WASH_BUY.value),
            )
            .scalars()
            .all()
        )

    assert sold, "the withdrawal took losses"
    assert bought, "the money was put to work"
    assert not sold & bought
    assert set(skipped) <= sold
    with world.db.read() as session:
        found = counts(session, [owner_of(world, account)], business_date(world.clock.now()))
    assert found.unintended == 0


def test_a_spouse_buys_other_names_too(world: World) -> None:
    account = grown(world)
    (theirs,) = world.add_accounts(1)
    tell_taxes(world, account)
    people = [owner_of(world, account), owner_of(world, theirs)]
    with world.db.write() as session:
        households.form(session, child_id("hh", account), FIRM, people, "2026-01-01", 1)
    withdraw(world, account, 700_000)
    sold = losses(world, account)
    today = business_date(world.clock.now())

    world.pay_in(theirs, 400_000, "spouse")
    world.trade()

    bought = bought_since(world, theirs, today)
    assert sold
    assert bought
    assert not sold & bought
    with world.db.read() as session:
        found = counts(session, people, today)
        folded = books_of(session, people, today)
    assert found.unintended == 0
    assert folded[people[0]] is folded[people[1]]


def test_a_withdrawal_soon_after_a_deposit_is_an_intended_wash_sale(world: World) -> None:
    (account,) = world.add_accounts(1)
    tell_taxes(world, account)
    world.pay_in(account, 500_000, "first")
    world.trade()
    days(world, 12)
    world.pay_in(account, 100_000, "second")
    world.trade()
    days(world, 2)

    withdraw(world, account, 350_000)

    with world.db.read() as session:
        on = business_date(world.clock.now())
        found = counts(session, [owner_of(world, account)], on)
        books = books_of(session, [owner_of(world, account)], on)[owner_of(world, account)]
        held = lots.open_lots(session, [account])[account]
    assert found.unintended == 0
    assert found.by_kind[WashKind.WITHDRAWAL] > 0
    assert found.deferred_cents == sum(m.cents for m in books.matches) > 0
    # What the books of wash sales hold is what the account holds, to the share and cent.
    kept = {(lot.id, lot.nanos, lot.basis_cents) for lot in books.shelf}
    assert kept == {(lot.id, lot.nanos, lot.basis_cents) for lot in held}


def test_restricted_shares_wait_while_a_spouses_are_fresh(world: World) -> None:
    mine, theirs = world.add_accounts(2)
    people = [owner_of(world, mine), owner_of(world, theirs)]
    with world.db.write() as session:
        households.form(session, child_id("hh", mine), FIRM, people, "2026-01-01", 1)
    world.pay_in(mine, 500_000, "mine")
    world.pay_in(theirs, 500_000, "theirs")
    world.trade()
    losers: set[int] = set()
    for _ in range(12):
        days(world, 1)
        held = open_lots(world, mine)
        gained = {lot.security_id for lot in held if worth(world, lot) >= lot.basis_cents}
        losers = {lot.security_id for lot in held} - gained
        if losers:
            break
    with world.db.write() as session:
        columns = ("id", "customer_id", "security_id", "verb", "source", "reason", "held_choice")
        insert_many(
            session,
            "restriction",
            (*columns, "created_at"),
            [
                (child_id("rst", name), people[0], name, "never_own", "own", "x", "sell", 1)
                for name in losers
            ],
        )  # fmt: skip

    early = sold_restricted(world, mine)
    days(world, 22)  # more than 30 days after the spouse's purchase
    late = sold_restricted(world, mine)

    assert losers
    assert early == set()
    assert late == losers
    with world.db.read() as session:
        found = counts(session, people, business_date(world.clock.now()))
    assert found.unintended == 0


def open_lots(world: World, account: AccountId) -> list[lots.OpenLot]:
    with world.db.read() as session:
        return lots.open_lots(session, [account])[account]


def worth(world: World, lot: lots.OpenLot) -> int:
    name = SecurityId(lot.security_id)
    quote = world.runtime.prices.quotes([name], world.clock.now())[name]
    return notional_cents(lot.nanos, quote.price_micros)


def sold_restricted(world: World, account: AccountId) -> set[int]:
    """Sell what was asked for and return which names were sold at a loss or gain so far."""
    r = world.runtime
    unwinding.plan(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy)
    world.trade()
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT DISTINCT security_id FROM lot_event WHERE account_id = ? AND kind = 'close'",
            (account,),
        )
        return set(rows.scalars())
