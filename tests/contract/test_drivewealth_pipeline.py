"""The whole pipeline through a broker that is nothing like Alpaca: accounts apart, other units."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import KEYRING, Desk, desk_from, write_template
from drivewealth_adapter import create
from drivewealth_server import DriveWealthBench, WholeShareBench

from broker_adapters.kit.bench import Call, Tempo, Trouble
from broker_adapters.kit.market import sessions_of_2026
from robo.core.ids import AccountId, SecurityId
from robo.core.reasons import Reason
from robo.ports.plugins import ListedSecurity
from robo.services import guarding, reconciling, trading
from robo.services.ordering import Trade
from robo.store import controls

SHARE = 10**9
SYMBOLS = tuple(ListedSecurity(SecurityId(n), f"SYM{n}", "technology", 10**13) for n in (1, 2, 3))
BUY, SELL = Reason.BUY_UNDERWEIGHT, Reason.SELL_WITHDRAWAL


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("dw") / "template.db", "firm_a")


Opened = Callable[[type], Desk]


@pytest.fixture
def opened(template: Path, tmp_path: Path) -> Iterator[Opened]:
    """Return a function that gives a desk whose broker is the double, and keeps its bench."""
    benches = []
    with desk_from(template, tmp_path) as desk:

        def make(kind):
            bench = kind(create, tmp_path / "dw")
            bench.securities, bench.clock, bench.prices = SYMBOLS, desk.clock, desk.prices
            desk.broker = bench.open(Tempo.PARTS)
            benches.append(bench)
            desk.bench = bench
            return desk

        yield make
        for bench in benches:
            bench.close()


def accounts_of(desk: Desk, count: int) -> list[AccountId]:
    """Open accounts with money, each with its own account at the broker."""
    accounts = desk.open("firm_a", count)
    desk.fund(dict.fromkeys(accounts, 1_000_00))
    with desk.db.write() as session:
        for number, account in enumerate(accounts, start=1):
            controls.link_account(session, account, "drivewealth", f"DWRF{number:06d}", desk.now)
    return accounts


def send(desk: Desk) -> int:
    desk.windows += 1
    tools = guarding.Desk(KEYRING, desk.prices, sessions_of_2026())
    return trading.send(
        desk.db, desk.broker, desk.clock, desk.policy, f"w{desk.windows}", desk=tools
    )


def settle(desk: Desk) -> None:
    """Let the market fill everything, and book it as it comes."""
    for _ in range(12):
        desk.bench.wait(10.0)
        desk.collect()


def books_equal_broker(desk: Desk, accounts: list[AccountId]) -> None:
    for number, account in enumerate(accounts, start=1):
        theirs = {one.security_id: one.nanos for one in desk.broker.positions(f"DWRF{number:06d}")}
        assert desk.held(account).holdings_nanos == theirs
    report = reconciling.reconcile(
        desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    )
    assert (report.places, report.unheard, report.found) == (len(accounts), (), ())
    assert desk.findings() == []


def test_customers_trade_in_their_own_accounts_through_lost_answers(opened: Opened):
    desk = opened(DriveWealthBench)
    accounts = accounts_of(desk, 3)
    desk.plan({one: [Trade(1, BUY, buy_cents=25_37)] for one in accounts}, "buys")
    desk.bench.trouble(Trouble.LOST_AFTER, Call.SUBMIT, nth=2)
    desk.bench.trouble(Trouble.LOST_BEFORE, Call.SUBMIT, nth=3)

    send(desk)
    unseen = desk.column("SELECT state FROM block ORDER BY state")
    for _ in range(5):
        desk.bench.wait(60.0)
        send(desk)
    settle(desk)
    desk.plan({accounts[0]: [Trade(1, SELL, sell_nanos=SHARE)]}, "sell")
    send(desk)
    settle(desk)

    assert unseen == ["open", "unknown", "unknown"]
    assert len(desk.bench.seen()) == 4  # three buys and a sell: none twice
    assert {one.broker_account for one in desk.bench.seen()} == {
        "DWRF000001",
        "DWRF000002",
        "DWRF000003",
    }
    assert set(desk.column("SELECT state FROM orders")) == {"filled"}
    books_equal_broker(desk, accounts)


def test_where_only_whole_shares_trade_the_rest_of_the_money_is_free_again(opened: Opened):
    desk = opened(WholeShareBench)
    accounts = accounts_of(desk, 2)
    desk.plan({one: [Trade(2, BUY, buy_cents=35_00)] for one in accounts}, "buys")

    send(desk)
    settle(desk)

    # $35 less the margin for a rising price is three shares of about ten dollars.
    assert [one.nanos for one in desk.bench.seen()] == [3 * SHARE] * 2
    assert [desk.held(one).holdings_nanos for one in accounts] == [{2: 3 * SHARE}] * 2
    assert [desk.held(one).reserved_cents for one in accounts] == [0, 0]
    books_equal_broker(desk, accounts)
