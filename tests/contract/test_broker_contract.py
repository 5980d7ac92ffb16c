"""What every broker adapter must do, in numbered cases; a new adapter adds one rig below."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from broker_adapters import paper
from robo.core.clock import FixedClock, business_date
from robo.core.errors import InvalidInputError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import NANOS_PER_SHARE, nanos_for_cents, notional_cents
from robo.ports.broker import (
    Activity,
    Broker,
    BrokerOrderState,
    Execution,
    OrderTicket,
    Side,
    SubmitStatus,
)
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import ActionKind, CorporateAction, Quote

OMNIBUS = "omnibus"
APPLE, BANK, COAL, CHILD = SecurityId(1), SecurityId(2), SecurityId(3), SecurityId(900)
SYMBOLS = {APPLE: "AAA", BANK: "BBB", COAL: "CCC"}
MONDAY = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
TUESDAY, WEDNESDAY = date(2026, 3, 3), date(2026, 3, 4)
SHARE = NANOS_PER_SHARE


@dataclass
class ScriptedPrices:
    """A hand-written feed: one price a name, changed by the test; halts and actions on demand."""

    micros: dict[SecurityId, int] = field(
        default_factory=lambda: {APPLE: 100_000_000, BANK: 50_000_000, COAL: 10_000_000}
    )
    halted: set[SecurityId] = field(default_factory=set)
    by_day: dict[date, list[CorporateAction]] = field(default_factory=dict)
    name: str = "SIM-script"
    simulated: bool = True

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        return {
            i: Quote(i, p, p - 10_000, p + 10_000, at, halted=i in self.halted)
            for i in security_ids
            if (p := self.micros.get(i))
        }

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        raise NotImplementedError(on)

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        raise NotImplementedError(security_ids, last, count)

    def actions(self, on: date) -> Sequence[CorporateAction]:
        return self.by_day.get(on, [])

    def plan(self, action: CorporateAction) -> None:
        self.by_day.setdefault(action.ex_on, []).append(action)


@dataclass
class Rig:
    """A broker under test with everything that the test moves."""

    make: Callable[[], Broker]
    clock: FixedClock
    prices: ScriptedPrices
    broker: Broker

    def restart(self) -> None:
        """Forget the process, keep what is on disk."""
        self.broker = self.make()

    def all_executions(self) -> list[Execution]:
        return list(self.broker.executions("", 100_000).executions)

    def all_activities(self) -> list[Activity]:
        return list(self.broker.activities("", 100_000).activities)

    def wait(self, **delta: float) -> None:
        self.clock.advance(timedelta(**delta))

    def held(self, security_id: SecurityId) -> int:
        return {p.security_id: p.nanos for p in self.broker.positions(OMNIBUS)}.get(security_id, 0)

    def buy_shares(self, client_id: str, security_id: SecurityId, shares: int) -> None:
        result = self.broker.submit(by_shares(client_id, security_id, shares * SHARE))
        assert result.status is SubmitStatus.ACCEPTED, result
        self.wait(minutes=1)
        assert self.held(security_id) >= shares * SHARE


def by_value(
    client_id: str, security_id: SecurityId, cents: int, side: Side = Side.BUY
) -> OrderTicket:
    symbol = SYMBOLS.get(security_id, "ZZZ")
    return OrderTicket(client_id, OMNIBUS, security_id, symbol, side, cents, None)


def by_shares(
    client_id: str, security_id: SecurityId, nanos: int, side: Side = Side.BUY
) -> OrderTicket:
    symbol = SYMBOLS.get(security_id, "ZZZ")
    return OrderTicket(client_id, OMNIBUS, security_id, symbol, side, None, nanos)


def paper_rig(
    state_dir: Path, calendar: MarketCalendar, settings: Mapping[str, str]
) -> Iterator[Rig]:
    clock, prices = FixedClock(MONDAY), ScriptedPrices()
    context = PluginContext(
        settings=settings,
        clock=clock,
        state_dir=state_dir,
        calendar=calendar,
        securities=[ListedSecurity(i, s, "technology", 10**13) for i, s in SYMBOLS.items()],
        prices=prices,
    )
    made: list[paper.PaperBroker] = []

    def make() -> Broker:
        made.append(paper.PaperBroker(context))
        return made[-1]

    yield Rig(make, clock, prices, make())
    for broker in made:
        broker.close()


RIGS = {"paper": paper_rig}


@pytest.fixture(params=sorted(RIGS))
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rig(adapter: str, tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Rig]:
    """A broker that fills at once."""
    yield from RIGS[adapter](tmp_path, short_calendar, {"ROBO_PAPER_PARTIAL_PPM": "0"})


@pytest.fixture
def slow_rig(adapter: str, tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Rig]:
    """A broker that cuts every order into two to four fills, seconds apart."""
    settings = {"ROBO_PAPER_PARTIAL_PPM": "1000000", "ROBO_PAPER_PARTIAL_SECONDS": "20"}
    yield from RIGS[adapter](tmp_path, short_calendar, settings)


def fold(executions: Sequence[Execution], activities: Sequence[Activity]) -> Counter[SecurityId]:
    """Recompute positions from what happened, sharing nothing with the adapter."""
    out: Counter[SecurityId] = Counter()
    for execution in executions:
        sign = 1 if execution.side is Side.BUY else -1
        out[execution.security_id] += sign * execution.nanos
    for activity in activities:
        out[activity.security_id] += activity.nanos_delta
        if activity.new_security_id is not None:
            out[activity.new_security_id] += activity.new_nanos
    return Counter({i: nanos for i, nanos in out.items() if nanos})


def net_cents(executions: Sequence[Execution], activities: Sequence[Activity]) -> int:
    trading = sum(-e.cents if e.side is Side.BUY else e.cents - e.fee_cents for e in executions)
    return trading + sum(a.cents for a in activities)


def assert_books_agree(rig: Rig) -> None:
    executions, activities = rig.all_executions(), rig.all_activities()
    held = {p.security_id: p.nanos for p in rig.broker.positions(OMNIBUS)}
    assert held == dict(fold(executions, activities))
    assert rig.broker.cash(OMNIBUS).total_cents == net_cents(executions, activities)


# 1-5: orders and ids


def test_01_a_notional_buy_fills_to_exactly_its_cents(rig: Rig):
    result = rig.broker.submit(by_value("c1", APPLE, 1_000))

    order = rig.broker.find("c1")
    assert result.status is SubmitStatus.ACCEPTED
    assert order is not None
    assert (order.state, order.filled_cents) == (BrokerOrderState.FILLED, 1_000)
    (execution,) = rig.all_executions()
    assert execution.nanos == nanos_for_cents(1_000, execution.price_micros)
    assert notional_cents(execution.nanos, execution.price_micros) == 1_000


def test_02_the_same_ticket_again_is_a_duplicate_with_the_same_broker_order(rig: Rig):
    first = rig.broker.submit(by_value("c1", APPLE, 1_000))

    again = rig.broker.submit(by_value("c1", APPLE, 1_000))

    assert again.status is SubmitStatus.DUPLICATE
    assert again.broker_order_id == first.broker_order_id
    assert len(rig.all_executions()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"notional_cents": 1_001},
        {"security_id": BANK},
        {"side": Side.SELL},
        {"broker_account": "another"},
        {"notional_cents": None, "nanos": SHARE},
    ],
)
def test_03_the_same_id_with_another_ticket_is_refused_and_changes_nothing(rig: Rig, change):
    ticket = by_value("c1", APPLE, 1_000)
    rig.broker.submit(ticket)

    result = rig.broker.submit(replace(ticket, **change))

    assert (result.status, result.code) == (SubmitStatus.REJECTED, "client_id_mismatch")
    assert len(rig.all_executions()) == 1
    assert_books_agree(rig)


def test_04_an_order_that_was_never_sent_is_not_found(rig: Rig):
    assert rig.broker.find("never") is None


def test_05_a_client_id_of_the_longest_length_works_and_a_longer_one_is_refused(rig: Rig):
    longest = rig.broker.capabilities.client_id_length_max

    assert rig.broker.submit(by_value("x" * longest, APPLE, 500)).status is SubmitStatus.ACCEPTED
    assert rig.broker.submit(by_value("x" * (longest + 1), APPLE, 500)).code == "client_id_length"
    assert rig.broker.find("x" * (longest + 1)) is None


# 6-10: rejects


def test_06_a_rejected_order_stays_rejected_when_it_is_sent_again(rig: Rig):
    first = rig.broker.submit(by_value("c1", SecurityId(77), 1_000))
    again = rig.broker.submit(by_value("c1", SecurityId(77), 1_000))

    assert (first.status, first.code) == (SubmitStatus.REJECTED, "unknown_security")
    assert again == first
    order = rig.broker.find("c1")
    assert order is not None
    assert (order.state, order.code) == (BrokerOrderState.REJECTED, "unknown_security")


def test_07_a_buy_below_the_minimum_is_rejected_and_one_at_it_is_not(rig: Rig):
    least = rig.broker.capabilities.buy_notional_cents_min

    assert rig.broker.submit(by_value("c1", APPLE, least - 1)).code == "below_minimum"
    assert rig.broker.submit(by_value("c2", APPLE, least)).status is SubmitStatus.ACCEPTED


def test_08_selling_more_than_is_held_is_rejected(rig: Rig):
    rig.buy_shares("b1", APPLE, 1)

    result = rig.broker.submit(by_shares("s1", APPLE, SHARE + 1, Side.SELL))

    assert (result.status, result.code) == (SubmitStatus.REJECTED, "insufficient_position")
    assert rig.held(APPLE) == SHARE


def test_09_two_open_sells_cannot_promise_the_same_shares(slow_rig: Rig):
    slow_rig.buy_shares("b1", APPLE, 10)

    first = slow_rig.broker.submit(by_shares("s1", APPLE, 8 * SHARE, Side.SELL))
    second = slow_rig.broker.submit(by_shares("s2", APPLE, 3 * SHARE, Side.SELL))

    assert first.status is SubmitStatus.ACCEPTED
    assert second.code == "insufficient_position"
    slow_rig.wait(minutes=5)
    assert slow_rig.held(APPLE) == 2 * SHARE


def test_10_a_security_without_a_price_is_rejected_as_such(rig: Rig):
    del rig.prices.micros[COAL]

    assert rig.broker.submit(by_value("c1", COAL, 1_000)).code == "no_price"


# 11-15: fills


def test_11_partial_fills_add_up_to_exactly_the_notional(slow_rig: Rig):
    for index in range(40):
        slow_rig.broker.submit(by_value(f"c{index}", APPLE, 100 + 37 * index))
    slow_rig.wait(minutes=5)

    sums: Counter[str] = Counter()
    for execution in slow_rig.all_executions():
        sums[execution.client_id] += execution.cents
    assert sums == {f"c{index}": 100 + 37 * index for index in range(40)}
    assert len(slow_rig.all_executions()) >= 80
    assert_books_agree(slow_rig)


def test_12_partial_fills_of_shares_add_up_to_exactly_the_shares(slow_rig: Rig):
    nanos = 7 * SHARE + 123_456_789

    slow_rig.broker.submit(by_shares("c1", APPLE, nanos))
    slow_rig.wait(minutes=5)

    assert sum(e.nanos for e in slow_rig.all_executions()) == nanos
    order = slow_rig.broker.find("c1")
    assert order is not None
    assert (order.state, order.filled_nanos) == (BrokerOrderState.FILLED, nanos)


def test_13_an_order_is_open_between_its_fills_and_never_overfilled(slow_rig: Rig):
    slow_rig.broker.submit(by_value("c1", APPLE, 10_000))
    filled = []

    while (order := slow_rig.broker.find("c1")) is not None and not order.state.final:
        filled.append(order.filled_cents)
        slow_rig.wait(seconds=1)

    assert filled == sorted(filled)
    assert 0 < filled[0] < 10_000
    assert order is not None
    assert order.filled_cents == 10_000


def test_14_cancelling_stops_what_is_left_and_keeps_what_has_filled(slow_rig: Rig):
    slow_rig.broker.submit(by_value("c1", APPLE, 10_000))
    before = slow_rig.broker.find("c1")

    result = slow_rig.broker.cancel("c1")
    slow_rig.wait(hours=1)

    after = slow_rig.broker.find("c1")
    assert before is not None
    assert after is not None
    assert result.status is SubmitStatus.ACCEPTED
    assert after.state is BrokerOrderState.CANCELED
    assert after.filled_cents == before.filled_cents > 0
    assert slow_rig.broker.cancel("c1").code == "not_cancelable"
    assert slow_rig.broker.cancel("never").code == "unknown_order"
    assert_books_agree(slow_rig)


def test_15_buys_pay_more_than_the_middle_and_sells_get_less(rig: Rig):
    rig.buy_shares("b1", APPLE, 2)
    rig.broker.submit(by_shares("s1", APPLE, SHARE, Side.SELL))

    buy, sell = rig.all_executions()
    assert sell.price_micros < 100_000_000 < buy.price_micros
    assert buy.price_micros - sell.price_micros < 100_000_000 // 100


# 16-19: cursors, money, settlement


def test_16_executions_are_replayed_from_any_cursor_in_the_same_order(slow_rig: Rig):
    for index in range(20):
        slow_rig.broker.submit(by_value(f"c{index}", APPLE, 5_000))
    slow_rig.wait(minutes=5)
    everything = slow_rig.all_executions()

    paged, cursor = [], ""
    while (page := slow_rig.broker.executions(cursor, 7)).executions:
        assert len(page.executions) <= 7
        paged += page.executions
        cursor = page.cursor

    assert paged == everything
    assert len({e.id for e in everything}) == len(everything)
    assert slow_rig.broker.executions(cursor, 7).cursor == cursor
    with pytest.raises(InvalidInputError):
        slow_rig.broker.executions("not a cursor")


def test_17_cash_and_positions_are_the_fold_of_what_happened(slow_rig: Rig):
    for index, security in enumerate([APPLE, BANK, COAL] * 5):
        slow_rig.broker.submit(by_value(f"b{index}", security, 3_333 + index))
    slow_rig.wait(minutes=5)
    for index, security in enumerate([APPLE, BANK, COAL]):
        slow_rig.broker.submit(by_shares(f"s{index}", security, 20_000_000, Side.SELL))
        slow_rig.broker.submit(by_value(f"v{index}", security, 777, Side.SELL))
    slow_rig.wait(minutes=5)

    assert_books_agree(slow_rig)
    assert all(
        o is not None and o.state is BrokerOrderState.FILLED
        for o in (slow_rig.broker.find(f"v{i}") for i in range(3))
    )


def test_18_a_trade_settles_on_the_next_session(rig: Rig):
    rig.broker.submit(by_value("c1", APPLE, 1_000))

    (execution,) = rig.all_executions()
    assert business_date(execution.executed_at) == date(2026, 3, 2)
    assert execution.settles_on == TUESDAY
    assert rig.broker.cash(OMNIBUS).settled_cents == 0
    rig.wait(days=1)
    assert rig.broker.cash(OMNIBUS).settled_cents == -1_000


def test_19_a_sale_pays_regulatory_fees_rounded_up_and_a_buy_pays_none(rig: Rig):
    rig.clock.set(datetime(2026, 5, 4, 15, 0, tzinfo=UTC))
    rig.broker.submit(by_shares("b1", APPLE, 100 * SHARE))
    rig.broker.submit(by_shares("s1", APPLE, 100 * SHARE, Side.SELL))

    buy, sell = rig.all_executions()
    assert buy.fee_cents == 0
    # $20.60 a million on about $10,000 is 20.6 cents, up to 21; 100 x $0.000195 is 1.95, up to 2.
    assert 990_000 < sell.cents < 1_000_000
    assert sell.fee_cents == 21 + 2
    assert rig.broker.cash(OMNIBUS).total_cents == sell.cents - sell.fee_cents - buy.cents


# 20-22: restarts


def test_20_a_restart_in_the_middle_loses_nothing_and_repeats_nothing(slow_rig: Rig):
    for index in range(10):
        slow_rig.broker.submit(by_value(f"c{index}", APPLE, 5_000))
        if index % 3 == 0:
            slow_rig.restart()
    before = slow_rig.all_executions()
    slow_rig.restart()
    slow_rig.wait(minutes=5)
    slow_rig.restart()

    after = slow_rig.all_executions()
    assert after[: len(before)] == before
    assert sum(e.cents for e in after) == 50_000
    assert slow_rig.broker.submit(by_value("c3", APPLE, 5_000)).status is SubmitStatus.DUPLICATE
    assert_books_agree(slow_rig)


def test_21_what_happens_does_not_depend_on_how_often_anybody_asks(
    adapter: str, tmp_path: Path, short_calendar: MarketCalendar
):
    settings = {"ROBO_PAPER_PARTIAL_PPM": "700000", "ROBO_PAPER_PARTIAL_SECONDS": "30"}
    stories = []
    for name, step in (("often", 1), ("rarely", 120)):
        rig = next(RIGS[adapter](tmp_path / name, short_calendar, settings))
        for index in range(12):
            rig.broker.submit(by_value(f"c{index}", APPLE, 2_000 + index))
        for _ in range(120 // step):
            rig.wait(seconds=step)
            rig.broker.positions(OMNIBUS)
        stories.append(rig.all_executions())

    assert stories[0] == stories[1]


_CHILD_PROCESS = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_broker_contract as contract
from robo.core.market_calendar import MarketCalendar
from datetime import date
days = tuple(date(2026, 3, d) for d in (2, 3, 4, 5, 6, 9, 10))
settings = {"ROBO_PAPER_PARTIAL_PPM": "500000", "ROBO_PAPER_PARTIAL_SECONDS": "2"}
rig = next(contract.RIGS[sys.argv[3]](Path(sys.argv[2]), MarketCalendar(days), settings))
for index in range(100_000):
    rig.broker.submit(contract.by_value(f"c{index}", contract.APPLE, 2_000))
    rig.wait(seconds=1)
    os.write(1, f"{index}\\n".encode())
"""


def test_22_sigkill_at_any_point_keeps_every_answered_order(
    adapter: str, tmp_path: Path, short_calendar: MarketCalendar
):
    settings = {"ROBO_PAPER_PARTIAL_PPM": "500000", "ROBO_PAPER_PARTIAL_SECONDS": "2"}
    answered_in_all = 0
    for attempt, lines in enumerate((1, 7, 40)):
        state = tmp_path / str(attempt)
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD_PROCESS, str(Path(__file__).parent), str(state), adapter],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        answered = lines + len(child.stdout.read().split())
        child.wait()
        child.stdout.close()
        rig = next(RIGS[adapter](state, short_calendar, settings))
        rig.wait(hours=30)

        orders = [rig.broker.find(f"c{index}") for index in range(answered)]
        assert all(o is not None and o.filled_cents == 2_000 for o in orders)
        assert_books_agree(rig)
        answered_in_all += answered
    print(f"orders answered before three kills: {answered_in_all}")


# 23-30: what the market does


def test_23_a_halted_security_waits_and_fills_when_trading_resumes(rig: Rig):
    rig.prices.halted.add(APPLE)
    rig.broker.submit(by_value("c1", APPLE, 1_000))
    rig.wait(minutes=10)
    waiting = rig.broker.find("c1")
    rig.prices.halted.clear()
    rig.wait(minutes=2)

    order = rig.broker.find("c1")
    assert waiting is not None
    assert order is not None
    assert (waiting.state, waiting.filled_nanos) == (BrokerOrderState.OPEN, 0)
    assert order.state is BrokerOrderState.FILLED


def test_24_a_split_multiplies_the_position_and_cancels_open_orders(slow_rig: Rig):
    slow_rig.buy_shares("b1", APPLE, 3)
    slow_rig.prices.plan(_action(ActionKind.SPLIT, ratio_num=3, ratio_den=2))
    slow_rig.clock.set(datetime(2026, 3, 3, 4, 59, 59, tzinfo=UTC))
    slow_rig.broker.submit(by_shares("s1", APPLE, SHARE, Side.SELL))
    sold = slow_rig.broker.find("s1")
    slow_rig.wait(hours=12)

    order = slow_rig.broker.find("s1")
    (activity,) = slow_rig.all_activities()
    assert sold is not None
    assert order is not None
    left = 3 * SHARE - sold.filled_nanos
    assert (order.state, order.code) == (BrokerOrderState.CANCELED, "corporate_action")
    assert slow_rig.held(APPLE) == left * 3 // 2
    assert (activity.nanos_before, activity.nanos_delta) == (left, left * 3 // 2 - left)
    assert_books_agree(slow_rig)


def test_25_a_dividend_is_owed_to_the_holder_at_the_ex_date_and_paid_on_the_pay_date(rig: Rig):
    rig.buy_shares("b1", APPLE, 10)
    rig.prices.plan(_action(ActionKind.CASH_DIVIDEND, cash_micros=333_000, pay_on=date(2026, 3, 6)))
    rig.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))
    rig.buy_shares("b2", APPLE, 5)
    assert rig.all_activities() == []
    rig.clock.set(datetime(2026, 3, 6, 15, 0, tzinfo=UTC))

    (activity,) = rig.all_activities()
    # 10 shares held at the start of the ex-date x $0.333; the five bought that day get nothing.
    assert (activity.cents, activity.nanos_before) == (333, 10 * SHARE)
    assert (activity.on, activity.action_id) == (date(2026, 3, 6), "act-cash_dividend")
    assert_books_agree(rig)


def test_26_a_cash_merger_takes_the_shares_and_pays_for_them(rig: Rig):
    rig.buy_shares("b1", APPLE, 4)
    rig.prices.plan(
        _action(ActionKind.CASH_MERGER, cash_micros=125_000_000, pay_on=date(2026, 3, 5))
    )
    rig.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))

    (activity,) = rig.all_activities()
    assert (activity.cents, activity.nanos_delta) == (50_000, -4 * SHARE)
    assert rig.held(APPLE) == 0
    paid_before = rig.broker.cash(OMNIBUS)
    rig.clock.set(datetime(2026, 3, 5, 15, 0, tzinfo=UTC))
    assert rig.broker.cash(OMNIBUS).settled_cents == paid_before.settled_cents + 50_000
    assert_books_agree(rig)


def test_27_a_delisting_pays_the_last_price_and_cancels_open_orders(rig: Rig):
    rig.buy_shares("b1", APPLE, 1)
    rig.prices.halted.add(APPLE)
    rig.broker.submit(by_value("c1", APPLE, 1_000))
    rig.prices.plan(_action(ActionKind.DELISTING, cash_micros=2_500_000))
    rig.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))

    order = rig.broker.find("c1")
    (activity,) = rig.all_activities()
    assert order is not None
    assert (order.state, order.code) == (BrokerOrderState.CANCELED, "corporate_action")
    assert (activity.cents, rig.held(APPLE)) == (250, 0)
    assert_books_agree(rig)


def test_28_a_spin_off_brings_shares_of_a_new_company_that_can_be_sold(rig: Rig):
    rig.buy_shares("b1", APPLE, 10)
    rig.prices.plan(
        _action(
            ActionKind.SPIN_OFF, ratio_num=1, ratio_den=4, new_security_id=CHILD, basis_ppm=150_000
        )
    )
    rig.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))
    rig.prices.micros[CHILD] = 20_000_000

    (activity,) = rig.all_activities()
    assert (activity.new_security_id, activity.new_nanos) == (CHILD, 10 * SHARE // 4)
    assert (rig.held(APPLE), rig.held(CHILD)) == (10 * SHARE, 10 * SHARE // 4)
    sale = rig.broker.submit(by_shares("s1", CHILD, 10 * SHARE // 4, Side.SELL))
    assert sale.status is SubmitStatus.ACCEPTED
    assert rig.held(CHILD) == 0
    assert_books_agree(rig)


def test_29_a_stock_merger_exchanges_shares(rig: Rig):
    rig.buy_shares("b1", APPLE, 3)
    rig.prices.plan(
        _action(
            ActionKind.STOCK_MERGER,
            ratio_num=2,
            ratio_den=3,
            new_security_id=BANK,
            cash_micros=1_000_000,
        )
    )
    rig.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))

    assert (rig.held(APPLE), rig.held(BANK)) == (0, 2 * SHARE)
    assert rig.all_activities()[0].cents == 300
    assert_books_agree(rig)


def test_30_a_change_of_symbol_moves_nothing_but_is_reported(rig: Rig):
    rig.buy_shares("b1", APPLE, 3)
    rig.prices.plan(_action(ActionKind.SYMBOL_CHANGE, new_symbol="NEW"))
    rig.clock.set(datetime(2026, 3, 3, 15, 0, tzinfo=UTC))

    (activity,) = rig.all_activities()
    assert (activity.nanos_delta, activity.new_nanos, activity.cents) == (0, 0, 0)
    assert rig.held(APPLE) == 3 * SHARE


def test_31_actions_that_passed_while_nobody_asked_are_applied_in_order(rig: Rig):
    rig.buy_shares("b1", APPLE, 1)
    rig.prices.plan(_action(ActionKind.SPLIT, ratio_num=2))
    rig.prices.plan(
        _action(ActionKind.CASH_DIVIDEND, ex_on=WEDNESDAY, pay_on=WEDNESDAY, cash_micros=500_000)
    )
    rig.clock.set(datetime(2026, 6, 1, 15, 0, tzinfo=UTC))
    rig.restart()

    split, dividend = rig.all_activities()
    assert split.kind is ActionKind.SPLIT
    # Two shares after the split, half a dollar each.
    assert (dividend.nanos_before, dividend.cents) == (2 * SHARE, 100)
    assert rig.broker.activities("", 1).cursor != rig.broker.activities("", 2).cursor
    assert_books_agree(rig)


def _action(kind: ActionKind, **changes) -> CorporateAction:
    base = CorporateAction(
        id=f"act-{kind.value}", kind=kind, security_id=APPLE, ex_on=TUESDAY, pay_on=TUESDAY
    )
    return replace(base, **changes)
