"""Plans that run again for the same slot write nothing twice, and say so."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template
from sqlalchemy.exc import IntegrityError

from robo.core.clock import NEW_YORK
from robo.core.errors import InsufficientFundsError
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.ports.broker import BrokerOrderState
from robo.services import investing, marking, unwinding, withdrawing
from robo.services.ordering import Trade
from robo.store.database import insert_many

DAYS = MarketCalendar(
    tuple(
        day
        for n in range(120)
        if (day := date(2026, 2, 2) + timedelta(days=n)).weekday() < 5  # no week-ends
    )
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("slots") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def followers(desk: Desk, count: int, cents: int) -> list[AccountId]:
    accounts = desk.open("firm_a", count, follows=(1, 2))
    desk.fund(dict.fromkeys(accounts, cents))
    return accounts


def invest(desk: Desk, slot: str) -> int:
    args = desk.db, desk.keyring, desk.broker, desk.prices, desk.clock, DAYS, desk.policy
    return investing.plan(*args, slot)


def fill_all(desk: Desk) -> None:
    desk.send()
    for client_id, order in list(desk.broker.orders.items()):
        if not order.state.final:
            desk.broker.fill_at(client_id, 10_000_000)
    desk.collect()


def test_money_that_comes_between_two_runs_of_a_slot_waits_for_the_next(desk: Desk) -> None:
    accounts = followers(desk, 3, 50_00)

    first = invest(desk, "2026-03-02/1")
    desk.fund({accounts[0]: 30_00}, "more")
    again = invest(desk, "2026-03-02/1")
    held_back = desk.held(accounts[0])
    following = invest(desk, "2026-03-02/2")

    assert (first, again, following) == (3, 0, 1)
    assert (held_back.cash_cents, held_back.reserved_cents) == (30_00, 50_00)
    assert desk.held(accounts[0]).reserved_cents == 80_00
    assert desk.scalar("SELECT count(*) FROM orders") == 8
    assert desk.findings() == []


def test_orders_that_were_rejected_in_a_slot_are_not_written_again_in_it(desk: Desk) -> None:
    (account,) = followers(desk, 1, 50_00)
    invest(desk, "2026-03-02/1")
    desk.send()
    for client_id in desk.broker.orders:
        desk.broker.end(client_id, BrokerOrderState.REJECTED)
    desk.collect()

    again = invest(desk, "2026-03-02/1")
    following = invest(desk, "2026-03-02/2")

    assert (again, following) == (0, 1)
    assert desk.held(account).reserved_cents == 50_00
    assert desk.findings() == []


def test_a_cause_makes_its_orders_once_and_a_plan_without_money_makes_none(desk: Desk) -> None:
    accounts = followers(desk, 2, 10_00)
    trade = Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=6_00)
    desk.plan({accounts[0]: [trade]}, "cause")

    with pytest.raises((IntegrityError, InsufficientFundsError)):
        desk.plan({accounts[0]: [Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=1_00)]}, "cause")
    with pytest.raises(InsufficientFundsError):
        desk.plan({accounts[1]: [trade, Trade(2, Reason.BUY_NEW_NAME, buy_cents=5_00)]}, "cause")

    assert desk.scalar("SELECT count(*) FROM orders") == 1
    assert [desk.held(a).reserved_cents for a in accounts] == [6_00, 0]
    assert desk.findings() == []


def test_a_withdrawal_sells_once_a_slot_however_little_that_brought(desk: Desk) -> None:
    (account,) = followers(desk, 1, 100_00)
    invest(desk, "a")
    fill_all(desk)
    (link,) = desk.column("SELECT id FROM bank_link")
    d = desk
    withdrawing.request(d.db, d.keyring, d.prices, d.clock, account, "wdr_1", str(link), 40_00)
    planned = []
    for slot in ("s1", "s1", "s2"):
        args = d.db, d.keyring, d.broker, d.prices, d.clock, d.policy
        planned.append(withdrawing.plan(*args, slot))
        desk.send()
        for client_id, order in list(desk.broker.orders.items()):
            if not order.state.final:
                desk.broker.end(client_id, BrokerOrderState.REJECTED)
        desk.collect()
        withdrawing.pay(d.db, d.keyring, NoBank(), d.clock, d.policy)

    assert planned == [1, 0, 1]
    assert desk.findings() == []


class NoBank:
    """A bank that nobody should need here."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


def test_holds_are_counted_from_the_date_in_new_york(desk: Desk) -> None:
    # Friday, 20:30 in New York is Saturday in Greenwich: five sessions later is Friday, not Monday.
    desk.clock.set(datetime(2026, 3, 6, 20, 30, tzinfo=NEW_YORK))
    (account,) = followers(desk, 1, 50_00)
    (link,) = desk.column("SELECT id FROM bank_link")
    with desk.db.write() as session:
        insert_many(
            session,
            "deposit",
            (
                *("id", "account_id", "bank_link_id", "cents", "state", "requested_at"),
                *("advanced_cents", "owed_cents", "return_code"),
            ),
            [("dep_1", account, link, 50_00, "available", 1, 0, 0, "")],
        )

    invest(desk, "a")

    assert set(desk.column("SELECT hold_until FROM orders")) == {"2026-03-13"}


def test_halted_names_are_not_sold_because_of_a_restriction(desk: Desk) -> None:
    (account,) = followers(desk, 1, 50_00)
    invest(desk, "a")
    fill_all(desk)
    (customer,) = desk.column("SELECT customer_id FROM account")
    with desk.db.write() as session:
        insert_many(
            session,
            "restriction",
            (
                *("id", "customer_id", "security_id", "verb", "source", "reason"),
                *("held_choice", "created_at"),
            ),
            [(child_id("rst", 1), customer, 1, "never_buy", "employer", "x", "sell", 1)],
        )
    desk.prices.halted = {1}

    halted = unwinding.plan(
        desk.db, desk.keyring, desk.broker, desk.prices, desk.clock, desk.policy
    )
    desk.prices.halted = set()
    resumed = unwinding.plan(
        desk.db, desk.keyring, desk.broker, desk.prices, desk.clock, desk.policy
    )
    twice = unwinding.plan(desk.db, desk.keyring, desk.broker, desk.prices, desk.clock, desk.policy)
    fill_all(desk)

    assert (halted, resumed, twice) == (0, 1, 0)
    assert list(desk.held(account).holdings_nanos) == [2]
    assert desk.findings() == []


def test_closes_are_written_once_for_what_somebody_holds(desk: Desk) -> None:
    followers(desk, 1, 50_00)
    invest(desk, "a")
    fill_all(desk)
    day = desk.today()

    first = marking.mark_day(desk.db, desk.prices, day)
    desk.prices.price_micros = 1
    again = marking.mark_day(desk.db, desk.prices, day)

    assert (first, again) == (2, 0)
    rows = desk.rows("SELECT on_date, security_id, close_micros FROM price ORDER BY security_id")
    assert rows == [(day.isoformat(), 1, 10_000_000), (day.isoformat(), 2, 10_000_000)]
