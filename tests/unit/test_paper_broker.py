"""What the paper broker adds to the contract: hours, faults by seed, fees, costs, durability."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from broker_adapters import paper
from broker_adapters.fees import schedule
from broker_adapters.paper import PaperBroker
from broker_adapters.slippage import fill_price_micros, impact_ppm, slice_count, slice_size
from robo.core.clock import FixedClock
from robo.core.errors import BrokerUnavailableError, ConfigError
from robo.core.ids import SecurityId
from robo.core.money import NANOS_PER_SHARE
from robo.ports.broker import BrokerOrderState, OrderTicket, Side, SubmitStatus
from robo.ports.plugins import ListedSecurity
from robo.ports.prices import CorporateAction, Quote

APPLE = SecurityId(1)
SECURITIES = [ListedSecurity(APPLE, "AAA", "technology", 10**13)]
ALL_AT_ONCE = {"ROBO_PAPER_PARTIAL_PPM": "0"}


@dataclass
class FlatPrices:
    """One name at $100, a cent wide each way."""

    halted: bool = False
    price: int = 100_000_000
    name: str = "SIM-flat"
    simulated: bool = True
    asked_at: list[datetime] = field(default_factory=list)

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        self.asked_at.append(at)
        p = self.price
        return {
            i: Quote(i, p, p - 10_000, p + 10_000, at, halted=self.halted)
            for i in security_ids
            if i == APPLE
        }

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        raise NotImplementedError(on)

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        raise NotImplementedError(security_ids, last, count)

    def actions(self, on: date) -> Sequence[CorporateAction]:
        assert on
        return []


def buy(client_id: str, cents: int = 1_000) -> OrderTicket:
    return OrderTicket(client_id, "omni", APPLE, "AAA", Side.BUY, cents, None)


def buy_shares(client_id: str, nanos: int) -> OrderTicket:
    return OrderTicket(client_id, "omni", APPLE, "AAA", Side.BUY, None, nanos)


def sell(client_id: str, nanos: int) -> OrderTicket:
    return OrderTicket(client_id, "omni", APPLE, "AAA", Side.SELL, None, nanos)


@pytest.fixture
def make(plugin_context) -> Callable[..., PaperBroker]:
    def factory(settings: Mapping[str, str] | None = None, **kwargs) -> PaperBroker:
        prices = kwargs.pop("prices", None) or FlatPrices()
        return PaperBroker(plugin_context(settings or {}, SECURITIES, prices, **kwargs))

    return factory


# Market hours


def test_outside_hours_an_order_waits_for_the_opening(make, fixed_clock: FixedClock):
    fixed_clock.set(datetime(2026, 3, 7, 12, 0, tzinfo=UTC))  # a Saturday
    broker = make({"ROBO_PAPER_HOURS": "session", **ALL_AT_ONCE})
    broker.submit(buy("c1"))
    fixed_clock.set(datetime(2026, 3, 9, 13, 29, 59, tzinfo=UTC))
    waiting = broker.find("c1")
    fixed_clock.set(datetime(2026, 3, 9, 20, 0, tzinfo=UTC))

    order = broker.find("c1")
    assert waiting is not None
    assert waiting.state is BrokerOrderState.OPEN
    assert order is not None
    assert order.state is BrokerOrderState.FILLED
    (execution,) = broker.executions("").executions
    # 9 March is the first Monday of summer time: the market opens at 13:30 UTC.
    assert execution.executed_at == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    assert not broker.capabilities.always_open


def test_what_is_open_at_the_close_expires_and_keeps_its_fills(make, fixed_clock: FixedClock):
    prices = FlatPrices()
    broker = make({"ROBO_PAPER_HOURS": "session", **ALL_AT_ONCE}, prices=prices)
    prices.halted = True
    broker.submit(buy("c1"))

    fixed_clock.advance(timedelta(days=1))

    order = broker.find("c1")
    assert order is not None
    assert (order.state, order.code) == (BrokerOrderState.EXPIRED, "expired")
    assert order.filled_cents == 0


def test_by_default_the_paper_market_never_closes(make, fixed_clock: FixedClock):
    fixed_clock.set(datetime(2026, 3, 8, 3, 0, tzinfo=UTC))
    broker = make(ALL_AT_ONCE)

    broker.submit(buy("c1"))

    order = broker.find("c1")
    assert order is not None
    assert order.state is BrokerOrderState.FILLED
    assert broker.capabilities.always_open


# Faults by seed


def test_the_same_seed_and_ids_make_the_same_story_bit_for_bit(make, tmp_path: Path):
    stories = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        clock = FixedClock(datetime(2026, 3, 2, 15, 0, tzinfo=UTC))
        settings = {
            "ROBO_PAPER_SEED": seed,
            "ROBO_PAPER_PARTIAL_PPM": "500000",
            "ROBO_PAPER_REJECT_PPM": "100000",
        }
        broker = make(settings, clock=clock, state_dir=tmp_path / name)
        answers = [broker.submit(buy(f"c{i}", 5_000 + i)) for i in range(60)]
        clock.advance(timedelta(minutes=1))
        stories.append((answers, broker.executions("", 1_000)))

    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


def test_random_rejects_come_as_often_as_configured_and_stay(make):
    broker = make({"ROBO_PAPER_REJECT_PPM": "250000"})

    answers = [broker.submit(buy(f"c{i}")) for i in range(400)]
    again = [broker.submit(buy(f"c{i}")) for i in range(400)]

    rejected = [a for a in answers if a.code == "random_reject"]
    assert 70 <= len(rejected) <= 130
    assert [a for a in again if a.code == "random_reject"] == rejected


def test_a_tenth_of_the_orders_comes_back_in_parts_by_default(make):
    broker = make()
    for index in range(500):
        broker.submit(buy(f"c{index}"))

    partial = sum(
        order is not None and order.state is BrokerOrderState.OPEN
        for order in (broker.find(f"c{i}") for i in range(500))
    )
    assert 30 <= partial <= 75


def test_whole_share_names_refuse_fractions_and_dollars(make):
    broker = make({"ROBO_PAPER_WHOLE_ONLY": "ZZZ, AAA"})

    assert broker.submit(buy("c1")).code == "not_fractionable"
    assert broker.submit(buy_shares("c2", NANOS_PER_SHARE + 1)).code == "not_fractionable"
    assert broker.submit(buy_shares("c3", NANOS_PER_SHARE)).status is SubmitStatus.ACCEPTED


def test_orders_that_the_broker_cannot_express_are_refused(make):
    broker = make()

    assert broker.submit(buy("c1", 10**15 + 1)).code == "order_too_large"
    assert broker.submit(buy_shares("c2", 10**18 + 1)).code == "order_too_large"
    assert broker.submit(buy("c3", 10**11)).status is SubmitStatus.ACCEPTED


@pytest.mark.parametrize(
    "setting",
    [
        {"ROBO_PAPER_HOURS": "sometimes"},
        {"ROBO_PAPER_PARTIAL_PPM": "1000001"},
        {"ROBO_PAPER_PARTIAL_SECONDS": "-1"},
        {"ROBO_PAPER_REJECT_PPM": "1e3"},
        {"ROBO_PAPER_SPREAD_BPS": "9999"},
        {"ROBO_PAPER_SEED": "\u0661"},
    ],
)
def test_a_wrong_setting_names_itself(make, setting: dict[str, str]):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        make(setting)


def test_a_broker_without_prices_does_not_start(plugin_context):
    with pytest.raises(ConfigError, match="price source"):
        paper.create(plugin_context())


# Costs


def test_the_configured_spread_replaces_the_quotes_own(make):
    broker = make({"ROBO_PAPER_SPREAD_BPS": "100", **ALL_AT_ONCE})
    broker.submit(buy_shares("c1", NANOS_PER_SHARE))
    broker.submit(sell("c2", NANOS_PER_SHARE))

    bought, sold = broker.executions("").executions
    # 100 bps full width: $100.50 and $99.50, and a $100 order's impact of a few ppm on top.
    assert 100_500_000 <= bought.price_micros <= 100_510_000
    assert 99_490_000 <= sold.price_micros <= 99_500_000


def test_impact_grows_with_the_square_root_of_the_order():
    small, large = impact_ppm(10**6, 10**13), impact_ppm(4 * 10**6, 10**13)

    # $10,000 of a $100bn company that trades 0.4 % a day: 1.6 % x sqrt(1e6 / 4e10) = 80 ppm.
    assert small == 80
    assert large == 160
    assert impact_ppm(10**6, 0) == impact_ppm(10**6, 2 * 10**11)
    assert impact_ppm(10**15, 10**10) == 50_000


def test_fill_prices_are_whole_hundredths_of_a_cent_against_the_order():
    quote = Quote(APPLE, 3_333_333, 3_330_001, 3_336_667, datetime(2026, 3, 2, tzinfo=UTC))

    bought = fill_price_micros(Side.BUY, quote, 10_000, 10**12, None)
    sold = fill_price_micros(Side.SELL, quote, 10_000, 10**12, None)

    assert bought % 100 == 0
    assert sold % 100 == 0
    assert sold <= quote.bid_micros < quote.ask_micros <= bought


def test_slices_always_add_up_and_none_is_nothing():
    for left in (1, 2, 3, 5, 100, 10**12):
        for slices in (1, 2, 3, 4):
            parts, rest = [], left
            for index in range(slices):
                if rest:
                    parts.append(slice_size(1, f"x{left}", index, rest, slices - index))
                    rest -= parts[-1]
            assert sum(parts) == left
            assert min(parts) > 0
    assert {slice_count(1, f"c{i}", 1_000_000) for i in range(100)} == {2, 3, 4}
    assert {slice_count(1, f"c{i}", 0) for i in range(100)} == {1}


# Fees


@pytest.mark.parametrize(
    ("on", "cents", "shares", "fee"),
    [
        # 2023: $8.00 a million on $10,000 = 8 cents; 200 x $0.000145 = 2.9 -> 3 cents.
        (date(2023, 6, 1), 1_000_000, 200, 8 + 3),
        # 2024-05-21 still $8.00, from the 22nd $27.80 = 27.8 -> 28; 200 x $0.000166 = 3.32 -> 4.
        (date(2024, 5, 21), 1_000_000, 200, 8 + 4),
        (date(2024, 5, 22), 1_000_000, 200, 28 + 4),
        # No Section 31 fee from 14 May 2025; 200 x $0.000195 = 3.9 -> 4 in 2026.
        (date(2025, 5, 14), 1_000_000, 200, 4),
        (date(2026, 4, 3), 1_000_000, 200, 4),
        (date(2026, 4, 4), 1_000_000, 200, 21 + 4),
        # The last quarter of 2026 has no activity fee.
        (date(2026, 10, 1), 1_000_000, 200, 21),
        # A million shares: the activity fee stops at $11.61 in 2027.
        (date(2027, 1, 4), 100, 1_000_000, 100),
        (date(2027, 1, 4), 10**8, 1_000_000, 2_060 + 1_161),
        # A cent's worth cannot cost two cents; nothing costs nothing.
        (date(2026, 5, 1), 1, 1, 1),
        (date(2026, 5, 1), 0, 0, 0),
    ],
)
def test_fees_follow_the_dated_table(on: date, cents: int, shares: int, fee: int):
    assert schedule().sale_fee_cents(on, cents, shares * NANOS_PER_SHARE) == fee


def test_an_order_sold_in_parts_pays_the_fee_of_the_whole_order(make, fixed_clock: FixedClock):
    fixed_clock.set(datetime(2026, 5, 4, 15, 0, tzinfo=UTC))
    broker = make({"ROBO_PAPER_PARTIAL_PPM": "1000000"})
    broker.submit(buy_shares("b1", 100 * NANOS_PER_SHARE))
    fixed_clock.advance(timedelta(minutes=1))
    broker.submit(sell("s1", 100 * NANOS_PER_SHARE))
    fixed_clock.advance(timedelta(minutes=1))

    fills = [e for e in broker.executions("").executions if e.side is Side.SELL]
    cents = sum(e.cents for e in fills)
    assert len(fills) >= 2
    assert sum(e.fee_cents for e in fills) == schedule().sale_fee_cents(
        date(2026, 5, 4), cents, 100 * NANOS_PER_SHARE
    )
    assert all(0 <= e.fee_cents <= e.cents for e in fills)


def test_dust_can_be_sold_to_the_last_nanoshare(make, fixed_clock: FixedClock):
    fixed_clock.set(datetime(2026, 5, 4, 15, 0, tzinfo=UTC))
    broker = make(ALL_AT_ONCE)
    broker.submit(buy("b1", 100))
    (position,) = broker.positions("omni")
    broker.submit(sell("s1", position.nanos - 1))

    last = broker.submit(sell("s2", 1))

    assert last.status is SubmitStatus.ACCEPTED
    assert broker.positions("omni") == []
    assert broker.executions("").executions[-1].cents == 0


# Durability and sharing


def test_many_orders_in_one_transaction_answer_like_one_by_one(make, tmp_path: Path):
    tickets = [buy(f"c{i}") for i in range(50)] + [buy("c3"), buy("c4", 999), buy("x" * 200)]

    together = make(state_dir=tmp_path / "a").submit_many(tickets)
    broker = make(state_dir=tmp_path / "b")
    alone = [broker.submit(ticket) for ticket in tickets]

    assert together == alone
    assert [r.status for r in together[50:51]] == [SubmitStatus.DUPLICATE]
    assert [r.code for r in together[51:]] == ["client_id_mismatch", "client_id_length"]


def test_two_brokers_on_one_file_see_one_truth(make, fixed_clock: FixedClock):
    first, second = make(), make()
    first.submit(buy("c1"))

    assert second.submit(buy("c1")).status is SubmitStatus.DUPLICATE
    second.submit(buy("c2"))
    fixed_clock.advance(timedelta(minutes=1))
    assert first.executions("", 100) == second.executions("", 100)


def test_threads_can_share_one_broker(make):
    broker = make(ALL_AT_ONCE)
    answers: Counter[SubmitStatus] = Counter()

    def work() -> None:
        for index in range(25):
            answers[broker.submit(buy(f"c{index}")).status] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {SubmitStatus.ACCEPTED: 25, SubmitStatus.DUPLICATE: 75}
    assert broker.cash("omni").total_cents == -25_000


def test_a_forked_child_opens_the_file_for_itself(make):
    broker = make(ALL_AT_ONCE)
    broker.submit(buy("c1"))
    inherited = broker._file._connection
    child = os.fork()
    if child == 0:
        fine = broker.submit(buy("c2")).status is SubmitStatus.ACCEPTED
        fine = fine and broker._file._connection is not inherited
        os._exit(0 if fine else 1)

    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert broker.find("c2") is not None


def test_a_damaged_file_is_unavailable_never_empty(make, tmp_path: Path):
    (tmp_path / "state" / "paper").mkdir(parents=True)
    (tmp_path / "state" / "paper" / "paper.db").write_bytes(b"this is no database" * 100)
    broker = make()

    for ask in (lambda: broker.find("c1"), lambda: broker.submit(buy("c1"))):
        with pytest.raises(BrokerUnavailableError):
            ask()


def test_every_execution_keeps_the_name_of_the_feed_that_priced_it(make):
    broker = make(ALL_AT_ONCE)
    broker.submit(buy("c1"))

    with broker._file.read() as connection:
        assert connection.execute("SELECT feed FROM executions").fetchall() == [("SIM-flat",)]


def test_a_late_poll_prices_each_fill_at_the_instant_it_was_due(make, fixed_clock: FixedClock):
    prices = FlatPrices()
    broker = make({"ROBO_PAPER_PARTIAL_PPM": "1000000"}, prices=prices)
    submitted = fixed_clock.now()
    broker.submit(buy("c1", 100_000))
    fixed_clock.advance(timedelta(hours=5))

    fills = broker.executions("").executions
    assert {e.executed_at for e in fills} <= set(prices.asked_at)
    assert all(e.executed_at - submitted < timedelta(seconds=10) for e in fills)
    assert len(fills) >= 2
