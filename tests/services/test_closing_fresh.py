"""Shares bought of late that go with the rest of their name, over fills that stop early.

What was bought of late goes first, so a fill that stops once it has gone makes no wash sale. One
that stops before defers the loss of at most the shares that stay, and the next sale brings it back.
Counted twice: by the books, and by the engine of the tests that counts single shares.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template
from property.tax_unit_shares import UnitShares

from robo.core.clock import business_date
from robo.core.ids import AccountId, LotId, SecurityId
from robo.core.reasons import Reason
from robo.ports.broker import BrokerOrderState
from robo.services import ordering
from robo.services.washing.folding import books_of
from robo.store import lots
from robo.tax.wash_events import Event, Purchase, Sale

SHARE = 10**9
OLD, FRESH = 5, 4
PRICE = {"old": 100_00, "fresh": 50_00, "now": 25_00}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("closing") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


@pytest.mark.parametrize("order", ["fresh first", "old first"])
def test_a_fill_that_stops_once_the_fresh_shares_have_gone_washes_nothing(
    desk: Desk, order: str
) -> None:
    accounts = desk.open("firm_a", OLD + FRESH)
    named, days = {}, []
    for name, shares, wait in (("old", OLD, 60), ("fresh", FRESH, 10)):
        days.append(bought(desk, accounts, name, shares))
        desk.clock.advance(timedelta(days=wait))
    for account in accounts:
        old, fresh = lots_of(desk, account)
        pair = ((fresh, FRESH * SHARE), (old, OLD * SHARE))
        named[account] = pair if order == "fresh first" else pair[::-1]

    sold_on = business_date(desk.clock.now())
    for filled, account in enumerate(accounts, 1):
        sell(desk, account, named[account], filled, f"sale {filled}")

    washed = [disallowed(desk, account) for account in accounts]
    engine = [by_units(days, sold_on, filled, order) for filled in range(1, OLD + FRESH + 1)]
    assert washed == engine
    if order == "fresh first":
        # 25.00 of loss a share: of those that stay, no more than were sold.
        assert washed == [
            min(filled, max(FRESH - filled, 0)) * 25_00 for filled in range(1, OLD + FRESH + 1)
        ]
    else:
        assert all(washed[:-1])
    assert washed[-1] == 0
    assert desk.findings() == []


def test_what_a_fill_that_stopped_early_deferred_comes_back_with_the_rest(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    for name, shares, wait in (("old", OLD, 60), ("fresh", FRESH, 10)):
        bought(desk, [account], name, shares)
        desk.clock.advance(timedelta(days=wait))
    old, fresh = lots_of(desk, account)
    sell(desk, account, ((fresh, FRESH * SHARE), (old, OLD * SHARE)), 2, "first")
    desk.next_day()
    rest = ((fresh, (FRESH - 2) * SHARE), (old, OLD * SHARE))

    sell(desk, account, rest, OLD + FRESH - 2, "second")

    lost = OLD * 75_00 + FRESH * 25_00
    assert disallowed(desk, account) == 2 * 25_00
    with desk.db.read() as session:
        customer = str(desk.column("SELECT customer_id FROM account")[0])
        books = books_of(session, [customer], desk.today())[customer]
    assert sum(one.recognised_cents for one in books.disposals) == -lost


def bought(desk: Desk, accounts: list[AccountId], name: str, shares: int) -> date:
    desk.fund(dict.fromkeys(accounts, shares * PRICE[name]), name)
    block = desk.buy(dict.fromkeys(accounts, shares * PRICE[name]))
    desk.broker.at = desk.clock.now()
    desk.broker.fill_at(block, PRICE[name] * 10_000)
    desk.collect()
    return desk.today()


def lots_of(desk: Desk, account: AccountId) -> tuple[str, str]:
    with desk.db.read() as session:
        old, fresh = lots.open_lots(session, [account])[account]
    return old.id, fresh.id


def sell(
    desk: Desk, account: AccountId, named: tuple[tuple[str, int], ...], filled: int, cause: str
) -> None:
    """Sell named lots, of which so many shares are filled before the session closes."""
    sale = ordering.Trade(
        1, Reason.SELL_HARVEST, sell_nanos=sum(nanos for _, nanos in named), lots=named
    )
    desk.plan({account: [sale]}, cause, "")
    desk.broker.at = desk.clock.now()
    desk.send()
    block = str(desk.column("SELECT id FROM block WHERE closed_at IS NULL AND side = 'sell'")[0])
    price = PRICE["now"]
    desk.broker.fill(block, filled * SHARE, filled * price, price_micros=price * 10_000)
    if filled * SHARE < sale.sell_nanos:
        desk.broker.end(block, BrokerOrderState.EXPIRED)
    desk.collect()


def disallowed(desk: Desk, account: AccountId) -> int:
    with desk.db.read() as session:
        (customer,) = (
            session.connection()
            .exec_driver_sql(f"SELECT customer_id FROM account WHERE id = '{account}'")
            .scalars()
        )
        books = books_of(session, [customer], desk.today())[customer]
    return sum(one.disallowed_cents for one in books.disposals)


def by_units(days: list[date], sold_on: date, filled: int, order: str) -> int:
    """Return what single shares, counted one by one, say was disallowed."""
    engine = UnitShares()
    for on, name, shares in zip(days, ("old", "fresh"), (OLD, FRESH), strict=True):
        lot = LotId(name)
        engine.day(
            on, [Purchase(AccountId("me"), SecurityId(1), lot, shares, shares * PRICE[name])]
        )
    sales: list[Event] = []
    left = filled
    for name in ("fresh", "old") if order == "fresh first" else ("old", "fresh"):
        some = min(left, FRESH if name == "fresh" else OLD)
        left -= some
        if some:
            sales.append(Sale(name, LotId(name), some, some * PRICE[name], some * PRICE["now"]))
    engine.day(sold_on, sales)
    return sum(row["deferred"] + row["lost"] for row in engine.rows)
