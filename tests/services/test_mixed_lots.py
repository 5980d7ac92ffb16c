"""A lot of which some shares replaced others sold at a loss is planned by its unlike parts."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from desk import Desk, desk_from, write_template

from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import assessing, landing
from robo.services.taxing import standings
from robo.services.washing.counting import counts
from robo.store import accounts, lot_chunks, tax_profiles
from robo.store.tax_profiles import Choice

SHARE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("mixed") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def test_a_lot_is_seen_as_the_parts_that_wash_sales_left_unlike(desk: Desk) -> None:
    account = mixed(desk)
    go(desk, date(2026, 12, 31))

    with desk.db.read() as session:
        held = lot_chunks.read(session, [account])
        names = np.array([1], dtype=np.int64)
        lots, tax = assessing.tax_side(
            session, desk.keyring, desk.policy, names, [account], held, desk.today()
        )

    # 100 shares at 90.00; ten of them took on 50.00 a share and the 17 months of those sold.
    assert len(held.lot_ids) == 1
    assert lots.lot_ids == held.lot_ids * 2
    assert (lots.nanos // SHARE).tolist() == [10, 90]
    assert tax.basis_cents.tolist() == [900_00 + 500_00, 8_100_00]
    bought = (date(2026, 11, 10) - date(1970, 1, 1)).days
    assert [bought - one for one in tax.held_day.tolist()] == [536, 0]
    # Sales take the first part first: the other waits for another session.
    today = (desk.today() - date(1970, 1, 1)).days
    assert (lots.hold_day > today).tolist() == [False, True]


def test_a_years_target_is_reached_from_the_part_that_is_sold_first(
    desk: Desk, calendar: MarketCalendar
) -> None:
    account = mixed(desk)
    with desk.db.write() as session:
        aim = Choice(target="amount", target_cents=60_00, gain_budget_cents=None, number=1)
        tax_profiles.choose(session, owner(desk, account), aim)
    go(desk, date(2026, 12, 31))
    desk.prices.price_micros = 150_000_000

    landing.plan(
        desk.db, desk.keyring, desk.broker, desk.prices, desk.clock, calendar, desk.policy, "last"
    )
    desk.send()
    block = str(desk.column("SELECT id FROM block WHERE closed_at IS NULL")[0])
    desk.broker.fill_at(block, 150_000_000)
    desk.collect()

    # 10.00 a share above 140.00: six shares, long-term by what they replaced.
    found = standing(desk, account).realised
    assert found.short_cents == 0
    assert abs(found.long_cents - 60_00) <= 1_00
    assert desk.findings() == []


def mixed(desk: Desk) -> AccountId:
    """An account with one lot of 100 shares, of which ten replaced others sold at a loss."""
    (account,) = desk.open("firm_a", 1)
    go(desk, date(2025, 6, 2))
    buy(desk, account, 10, 150)
    go(desk, date(2026, 11, 10))
    buy(desk, account, 100, 90)
    go(desk, date(2026, 11, 20))
    block = desk.sell({account: 10 * SHARE})
    desk.broker.fill_at(block, 100_000_000)
    desk.collect()
    with desk.db.read() as session:
        assert counts(session, [owner(desk, account)], desk.today()).deferred_cents == 500_00
    return account


def buy(desk: Desk, account: AccountId, shares: int, dollars: int) -> None:
    desk.fund({account: shares * dollars * 100}, f"{shares}")
    block = desk.buy({account: shares * dollars * 100})
    desk.broker.fill_at(block, dollars * 1_000_000)
    desk.collect()


def go(desk: Desk, on: date) -> None:
    desk.clock.set(datetime(on.year, on.month, on.day, 15, tzinfo=UTC))
    desk.broker.at = desk.clock.now()


def owner(desk: Desk, account: AccountId) -> str:
    with desk.db.read() as session:
        return accounts.sleeves(session, [account])[account].customer_id


def standing(desk: Desk, account: AccountId) -> standings.Standing:
    customer = owner(desk, account)
    with desk.db.read() as session:
        args = session, desk.keyring, desk.policy
        return standings.standings(*args, [customer], desk.today())[customer]
