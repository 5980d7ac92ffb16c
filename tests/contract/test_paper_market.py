"""What the paper broker promises beyond the kit: its market, its fees, its file."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType

from broker_adapters.kit.bench import Bench, Tempo
from broker_adapters.kit.benches import PaperBench
from broker_adapters.kit.desk import SHARE, Desk, fold, net_cents
from broker_adapters.kit.market import APPLE, UNLISTED
from broker_adapters.paper import create
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import BrokerOrderState, Side
from robo.ports.prices import ActionKind, CorporateAction

TUESDAY = date(2026, 3, 3)


class CustomBench(PaperBench):
    """The paper broker with settings of the test's own."""

    given: Mapping[str, str] = MappingProxyType({})

    def settings(self, tempo: Tempo) -> dict[str, str]:
        return {**super().settings(tempo), **self.given}


def desk_at(folder: Path, tempo: Tempo = Tempo.PROMPT, **given: str) -> Desk:
    bench = CustomBench(create, folder)
    bench.given = given
    desk = Desk(bench, tempo)
    desk.start()
    return desk


def action(kind: ActionKind, **changes) -> CorporateAction:
    base = CorporateAction(f"act-{kind.value}", kind, APPLE, TUESDAY, TUESDAY)
    return replace(base, **changes)


def test_buys_pay_more_than_the_middle_and_sells_get_less(tmp_path: Path):
    desk = desk_at(tmp_path)
    desk.hold(APPLE, 2)

    desk.filled(desk.shares("s1", SHARE, APPLE, Side.SELL))

    buy, sell = desk.executions()
    assert sell.price_micros < 100_000_000 < buy.price_micros
    assert buy.price_micros - sell.price_micros < 100_000_000 // 100
    desk.bench.close()


def test_a_sale_pays_regulatory_fees_rounded_up_and_a_buy_pays_none(tmp_path: Path):
    desk = desk_at(tmp_path)
    desk.bench.clock.set(datetime(2026, 5, 4, 15, 0, tzinfo=UTC))
    desk.hold(APPLE, 100)

    desk.filled(desk.shares("s1", 100 * SHARE, APPLE, Side.SELL))

    buy, sell = desk.executions()
    assert buy.fee_cents == 0
    # $20.60 a million on about $10,000 is 20.6 cents, up to 21; 100 x $0.000195 is 1.95, up to 2.
    assert 990_000 < sell.cents < 1_000_000
    assert sell.fee_cents == 21 + 2
    assert desk.cents() == sell.cents - sell.fee_cents - buy.cents
    desk.bench.close()


def test_a_rejected_order_stays_rejected_and_is_found(tmp_path: Path):
    desk = desk_at(tmp_path)
    ticket = desk.order("c1", UNLISTED)

    first, again = desk.refused(ticket), desk.refused(ticket)

    assert again == first
    order = desk.found(ticket)
    assert (order.state, order.code) == (BrokerOrderState.REJECTED, "unknown_security")
    desk.bench.close()


def test_a_split_cancels_open_orders_and_multiplies_what_is_left(tmp_path: Path):
    desk = desk_at(tmp_path, Tempo.PARTS)
    desk.hold(APPLE, 3)
    desk.bench.prices.plan(action(ActionKind.SPLIT, ratio_num=3, ratio_den=2))
    desk.bench.clock.set(datetime(2026, 3, 3, 4, 59, 59, tzinfo=UTC))
    ticket = desk.shares("s1", SHARE, APPLE, Side.SELL)
    desk.accepted(ticket)
    sold = desk.found(ticket).filled_nanos
    desk.wait(12 * 3_600.0)

    order = desk.found(ticket)
    (split,) = desk.activities()
    left = 3 * SHARE - sold
    assert (order.state, order.code) == (BrokerOrderState.CANCELED, "corporate_action")
    assert desk.held() == left * 3 // 2
    assert (split.nanos_before, split.nanos_delta) == (left, left * 3 // 2 - left)
    desk.books_agree()
    desk.bench.close()


def test_a_delisting_cancels_open_orders(tmp_path: Path):
    desk = desk_at(tmp_path)
    desk.hold(APPLE, 1)
    desk.bench.halt(APPLE)
    ticket = desk.order("c1")
    desk.accepted(ticket)
    desk.bench.prices.plan(action(ActionKind.DELISTING, cash_micros=2_500_000))
    desk.bench.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))

    order = desk.found(ticket)
    assert (order.state, order.code) == (BrokerOrderState.CANCELED, "corporate_action")
    desk.bench.close()


def test_what_happens_does_not_depend_on_how_often_anybody_asks(tmp_path: Path):
    stories = []
    for name, step in (("often", 1), ("rarely", 120)):
        desk = desk_at(
            tmp_path / name, ROBO_PAPER_PARTIAL_PPM="700000", ROBO_PAPER_PARTIAL_SECONDS="30"
        )
        for index in range(12):
            desk.accepted(desk.dollars(f"c{index}", 2_000 + index))
        for _ in range(120 // step):
            desk.wait(step)
            desk.positions()
        stories.append(desk.executions())
        desk.bench.close()

    assert stories[0] == stories[1]


_CHILD_PROCESS = """
import os, sys
from pathlib import Path
from types import MappingProxyType
sys.path.insert(0, sys.argv[1])
import test_paper_market as paper
desk = paper.desk_at(
    Path(sys.argv[2]), ROBO_PAPER_PARTIAL_PPM="500000", ROBO_PAPER_PARTIAL_SECONDS="2"
)
for index in range(100_000):
    desk.accepted(desk.dollars(f"c{index}", 2_000))
    desk.wait(1.0)
    os.write(1, f"{index}\\n".encode())
"""


def test_sigkill_at_any_point_keeps_every_answered_order(tmp_path: Path):
    answered_in_all = 0
    for attempt, lines in enumerate((1, 7, 40)):
        state = tmp_path / str(attempt)
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD_PROCESS, str(Path(__file__).parent), str(state)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        answered = lines + len(child.stdout.read().split())
        child.wait()
        child.stdout.close()
        bench: Bench = PaperBench(create, state)
        bench.wait(30 * 3_600)
        broker = bench.open(Tempo.PROMPT)

        orders = [broker.find(f"c{index}") for index in range(answered)]
        assert all(order is not None and order.filled_cents == 2_000 for order in orders)
        executions = broker.executions("", 100_000).executions
        held = {one.security_id: one.nanos for one in broker.positions("kit-1")}
        assert held == dict(fold(executions, []))
        assert broker.cash("kit-1").total_cents == net_cents(executions, [])
        answered_in_all += answered
        bench.close()
    print(f"orders answered before three kills: {answered_in_all}")


def test_the_calendar_of_the_kit_is_the_exchanges(short_calendar: MarketCalendar):
    from broker_adapters.kit.market import sessions_of_2026

    ours = [day for day in short_calendar.sessions if day.year == 2026]

    assert list(sessions_of_2026().sessions) == ours
