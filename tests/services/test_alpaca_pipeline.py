"""From deposits to holdings through Alpaca's shared account, over sockets, and after a kill."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from alpaca_world import OPENING_CENTS, funded, market, open_world
from world import START, World, make_world

from broker_adapters import alpaca_broker
from broker_adapters.alpaca_pace import Lane
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.clock import FixedClock, business_date, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.shares import format_nanos
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import adjusting, withdrawing
from robo.store import controls, universe
from robo.store.withdrawals import Withdrawal

OMNIBUS = "omnibus/firm_house"
LAG = timedelta(minutes=2)
"""So long "no such order" proves nothing."""


@dataclass
class Stage:
    """A database with accounts in it, and a server of the same market."""

    folder: Path
    calendar: MarketCalendar
    clock: FixedClock
    server: AlpacaServer
    accounts: list[AccountId]


@pytest.fixture
def stage(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Stage]:
    folder, clock = tmp_path / "state", FixedClock(START)
    with make_world(folder, short_calendar) as world:
        accounts = world.add_accounts(4)
        for place, account in enumerate(accounts):
            world.pay_in(account, 100_00 + 77_77 * place)
    settings = {"ROBO_PAPER_START_CENTS": str(OPENING_CENTS), "ROBO_PAPER_PARTIAL_PPM": "500000"}
    context = market(folder, short_calendar, clock, **settings)
    server = AlpacaServer(replace(context, state_dir=tmp_path / "server"), per_minute=1_000_000)
    yield Stage(folder, short_calendar, clock, server, accounts)
    server.close()


def broker_equals_books(world: World) -> None:
    """Compare our sums with the broker's, to the last nanoshare and cent."""
    status = world.runtime.broker.mass_status(OMNIBUS)
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT asset, sum(amount) FROM balance WHERE asset <> 'USD/2' "
            "AND book <> 'street/market' GROUP BY asset HAVING sum(amount) > 0"
        )
        ours = {int(asset[1:-2]): int(nanos) for asset, nanos in rows}
        street = session.connection().exec_driver_sql(
            "SELECT coalesce(sum(amount), 0) FROM balance "
            "WHERE book IN ('street/market', 'street/fees') AND asset = 'USD/2'"
        )
        cash = -int(street.scalar_one())
    assert ours == {one.security_id: one.nanos for one in status.positions}
    assert cash == status.cash.total_cents
    assert status.open_orders == []


def orders_at_the_broker(world: World) -> Counter[str]:
    http = world.runtime.broker._http
    rows = http.get("/orders", {"status": "all", "limit": "500"}, Lane.READS).body
    return Counter(row["client_order_id"] for row in rows)


def ask(world: World, account: AccountId, cents: int) -> Withdrawal:
    with world.db.read() as session:
        link = session.connection().exec_driver_sql(
            "SELECT bank_link.id FROM bank_link JOIN account "
            f"ON account.customer_id = bank_link.customer_id WHERE account.id = '{account}'"
        )
        link_id = link.scalar_one()
    r = world.runtime
    return withdrawing.request(
        world.db, r.keyring, r.prices, r.clock, account, "wdr_1", link_id, cents
    )


def test_a_hundred_dollars_become_ten_companies_through_alpaca(stage: Stage) -> None:
    with open_world(stage.folder, stage.calendar, stage.server.url, stage.clock) as world:
        world.trade()

        balances = world.balances(stage.accounts[0])
        assert len(balances.holdings_nanos) == 10
        assert balances.reserved_cents == 0
        assert balances.cash_cents < 1_00
        assert len(orders_at_the_broker(world)) == 10
        assert world.scalar("SELECT count(*) FROM execution") >= 10
        assert world.findings() == []
        broker_equals_books(world)


def test_a_withdrawal_sells_through_alpaca_and_the_books_agree(stage: Stage) -> None:
    with open_world(stage.folder, stage.calendar, stage.server.url, stage.clock) as world:
        world.trade()
        world.next_session()
        ask(world, stage.accounts[1], 50_00)
        world.trade()
        world.next_session()
        r = world.runtime
        withdrawing.pay(world.db, r.keyring, r.bank, world.clock, r.policy)

        assert world.balances(stage.accounts[1]).outgoing_cents == 50_00
        assert world.findings() == []
        broker_equals_books(world)


def test_every_answer_that_gets_lost_is_healed_and_no_order_is_doubled(stage: Stage) -> None:
    kinds = (
        Fault(FaultKind.DROP_AFTER, nth=2),
        Fault(FaultKind.FAIL_AFTER, status=504, nth=3),
        Fault(FaultKind.REFUSE, status=503, nth=4),
        Fault(FaultKind.TRUNCATE, nth=5),
        Fault(FaultKind.FAIL_AFTER, status=200, body="{}", nth=6),
        Fault(FaultKind.EDIT, edit={"status": "brand_new"}, nth=7),
        Fault(FaultKind.REFUSE, "GET", "/v2/account/activities", status=500, nth=2, times=3),
        Fault(FaultKind.REPEAT, "GET", "/v2/account/activities", nth=6, times=2),
    )
    stage.server.faults.plan(*kinds)
    with open_world(stage.folder, stage.calendar, stage.server.url, stage.clock) as world:
        for _ in range(5):
            with contextlib.suppress(BrokerUnavailableError):  # the runner tries the job again
                world.trade()
            world.clock.advance(LAG)

        assert set(orders_at_the_broker(world).values()) == {1}
        assert len(world.balances(stage.accounts[0]).holdings_nanos) == 10
        assert world.findings() == []
        broker_equals_books(world)


@pytest.mark.parametrize("kill_at", [6])
def test_a_process_killed_between_telling_and_writing_goes_on_where_it_was(
    stage: Stage, kill_at: int
) -> None:
    program = Path(__file__).parents[1] / "alpaca_world.py"
    child = subprocess.run(
        [sys.executable, str(program), str(stage.folder), stage.server.url, str(kill_at)],
        env={**os.environ, "PYTHONPATH": str(program.parent)},  # noqa: TID251 - a child's own
        capture_output=True,
        check=False,
        timeout=280,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr

    with open_world(stage.folder, stage.calendar, stage.server.url, stage.clock) as world:
        assert orders_at_the_broker(world).total() == kill_at
        for _ in range(3):
            world.trade()
            world.clock.advance(LAG)

        assert set(orders_at_the_broker(world).values()) == {1}
        assert len(world.balances(stage.accounts[0]).holdings_nanos) == 10
        assert world.findings() == []
        broker_equals_books(world)


def symbol_of(world: World, security_id: int) -> str:
    with world.db.read() as session:
        return universe.by_id(session, [security_id])[SecurityId(security_id)].symbol


def test_a_dividend_in_shares_comes_weeks_after_its_ex_date_to_what_was_held_on_it(
    stage: Stage,
) -> None:
    announced: list[CorporateAction] = []
    with open_world(
        stage.folder, stage.calendar, stage.server.url, stage.clock, announced=announced
    ) as world:
        world.trade()
        mine, last = stage.accounts[0], stage.accounts[-1]
        name = min(world.balances(mine).holdings_nanos)
        ex_on = stage.calendar.shift(business_date(stage.clock.now()), 1)
        pay_on = stage.calendar.shift(ex_on, 10)
        kind = ActionKind.SPLIT
        announced.append(
            CorporateAction(
                "sd-1", kind, SecurityId(name), ex_on, pay_on, ratio_num=21, ratio_den=20
            )
        )
        world.next_session()
        before = {one: world.balances(one).holdings_nanos[name] for one in stage.accounts}
        while business_date(stage.clock.now()) <= ex_on + timedelta(
            world.runtime.policy.action_days_max
        ):
            world.next_session()
        world.pay_in(last, 300_00)
        world.trade()  # between the ex-date and the payment; before, nothing is planned
        bought = world.balances(last).holdings_nanos[name] - before[last]
        held = sum(before.values())
        row = {
            "activity_type": "DIV",
            "activity_sub_type": "SDIV",
            "symbol": symbol_of(world, name),
            "date": pay_on.isoformat(),
            "qty": format_nanos(held // 20),
        }
        request = Request(f"{stage.server.url}/_local/activities", json.dumps(row).encode())
        request.add_header("Content-Type", "application/json")

        while business_date(stage.clock.now()) < pay_on:
            world.next_session()
        waiting = "FROM entitlement WHERE state = 'waiting' AND action_id = 'sd-1'"
        waited = world.scalar(f"SELECT count(*) {waiting}")
        with urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        r = world.runtime
        for _ in range(2):
            adjusting.bring(world.db, r.keyring, r.broker, r.clock, r.policy, pay_on)

        after = {one: world.balances(one).holdings_nanos[name] for one in stage.accounts}
        assert (waited, bought > 0) == (4, True)
        assert sum(after.values()) == held + held // 20 + bought
        for one, nanos in before.items():
            fresh = bought if one == last else 0
            assert abs((after[one] - fresh) * 20 - nanos * 21) <= 20
        lots = world.scalar(
            f"SELECT sum(nanos) FROM lot WHERE account_id = '{last}' AND security_id = {name} "
            f"AND acquired_on >= '{ex_on}'"
        )
        assert lots == bought
        assert world.scalar(f"SELECT count(*) {waiting}") == 0
        assert world.scalar("SELECT count(*) FROM event WHERE kind LIKE 'break.%'") == 0
        assert world.findings() == []
        broker_equals_books(world)


def test_each_customer_trades_in_an_account_of_his_own(stage: Stage) -> None:
    opened = open_world(
        stage.folder, stage.calendar, stage.server.url, stage.clock, make=alpaca_broker.create
    )
    with opened as world:
        broker = world.runtime.broker
        places = [funded(world, name, 500_00)[0] for name in ("ann", "bob")]
        mine = stage.accounts[:2]
        now = to_micros(world.clock.now())
        with world.db.write() as session:
            for account, place in zip(mine, places, strict=True):
                controls.link_account(session, account, "alpaca_broker", place, now)

        world.trade()

        for account, place in zip(mine, places, strict=True):
            held = world.balances(account).holdings_nanos
            status = broker.mass_status(place)
            assert len(held) == 10
            assert held == {one.security_id: one.nanos for one in status.positions}
            spent = world.scalar(
                f"SELECT sum(filled_cents) FROM orders WHERE account_id = '{account}'"
            )
            assert status.cash.total_cents == -spent
        assert world.balances(stage.accounts[2]).holdings_nanos == {}
        assert world.findings() == []
