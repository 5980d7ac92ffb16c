"""A purchase that waited to be sent is looked at again once a loss of the name was booked."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template

from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.services import guarding, ordering
from robo.store import accounts, households

SHARE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("overtaken") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def test_what_was_planned_before_a_loss_of_the_household_is_not_sent_after_it(
    desk: Desk, calendar: MarketCalendar
) -> None:
    mine, theirs, stranger = desk.open("firm_a", 3)
    with desk.db.write() as session:
        found = accounts.sleeves(session, [mine, theirs])
        people = [found[one].customer_id for one in (mine, theirs)]
        households.form(session, "hh_1", "firm_a", people, "2026-01-01", 1)
    desk.fund(dict.fromkeys((mine, theirs, stranger), 500_00))
    desk.broker.fill_at(desk.buy({mine: 100_00}, 1), 10_000_000)
    desk.broker.fill_at(desk.buy({mine: 100_00}, 2), 10_000_000)
    desk.collect()
    desk.clock.advance(timedelta(days=60))
    desk.broker.at = desk.clock.now()
    # The sales go first; the purchases wait, as behind the kill switch.
    sales = {
        name: desk.sell({mine: 10 * SHARE}, security=name, cause=f"s{name}") for name in (1, 2)
    }
    why = Reason.BUY_UNDERWEIGHT
    trades = [ordering.Trade(name, why, buy_cents=50_00) for name in (1, 2)]
    desk.plan({theirs: trades, stranger: trades}, "waits")
    desk.broker.fill_at(sales[1], 8_000_000)
    desk.broker.fill_at(sales[2], 12_000_000)
    desk.collect()

    guards = guarding.Desk(desk.keyring, desk.prices, calendar)
    guarding.review(desk.db, desk.broker, desk.clock, desk.policy, guards)

    ended = desk.rows("SELECT account_id, security_id, code FROM orders WHERE state = 'canceled'")
    assert ended == [(theirs, 1, "skip_wash_buy")]
    assert desk.held(theirs).cash_cents == 500_00 - 50_00
    assert desk.scalar("SELECT count(*) FROM orders WHERE state = 'planned'") == 3
