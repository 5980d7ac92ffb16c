"""The shared account at Alpaca, over real sockets: nothing lost, nothing twice, nothing guessed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alpaca_ground import (
    APPLE,
    BANK,
    COAL,
    OMNIBUS,
    OPENING_CENTS,
    SHARE,
    Ground,
    by_shares,
    by_value,
    ground_at,
    net_cents,
    patience,
)

from broker_adapters import alpaca_trading
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_trading import AlpacaTrading
from robo import config
from robo.core.errors import BrokerUnavailableError, ConfigError, InvalidInputError
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import BrokerOrderState, Refusal, Side, SubmitStatus


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar) as made:
        yield made


@pytest.fixture
def slow_ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    """Every order fills in two to four parts, up to twenty seconds apart."""
    settings = {"ROBO_PAPER_PARTIAL_PPM": "1000000", "ROBO_PAPER_PARTIAL_SECONDS": "20"}
    with ground_at(tmp_path, short_calendar, **settings) as made:
        yield made


@pytest.fixture
def broker(ground: Ground) -> AlpacaTrading:
    return ground.trading()


def test_an_order_is_accepted_filled_found_and_paid_to_the_cent(broker: AlpacaTrading):
    result = broker.submit(by_value("c1", APPLE, 1_000))

    order = broker.find("c1")
    (execution,) = broker.executions("").executions
    (position,) = broker.positions(OMNIBUS)
    assert result.status is SubmitStatus.ACCEPTED
    assert order is not None
    assert (order.state, order.filled_cents) == (BrokerOrderState.FILLED, 1_000)
    assert (execution.client_id, execution.cents) == ("c1", 1_000)
    assert (position.security_id, position.nanos) == (APPLE, execution.nanos)
    cash = broker.cash(OMNIBUS)
    assert (cash.total_cents, cash.spendable_cents) == (-1_000, OPENING_CENTS - 1_000)


def test_partial_fills_add_up_and_every_cursor_replays_the_same(slow_ground: Ground):
    broker = slow_ground.trading()
    for index in range(60):
        broker.submit(by_value(f"c{index}", (APPLE, BANK, COAL)[index % 3], 5_003 + index))
    slow_ground.wait(minutes=5)

    everything = list(broker.executions("", 100_000).executions)
    paged, cursor = [], ""
    while (page := broker.executions(cursor, 7)).executions:
        paged += page.executions
        cursor = page.cursor

    assert len(everything) > 120  # more than a page of Alpaca's
    assert paged == everything
    assert len({one.id for one in everything}) == len(everything)
    assert broker.cash(OMNIBUS).total_cents == net_cents(everything)
    assert sum(one.cents for one in everything) == sum(5_003 + i for i in range(60))
    orders = [broker.find(f"c{index}") for index in range(60)]
    assert all(o is not None and o.filled_cents == 5_003 + i for i, o in enumerate(orders))


def test_executions_of_one_instant_are_all_heard_however_they_are_sorted(ground: Ground):
    broker = ground.trading()
    heard = 0
    for index in range(12):
        broker.submit(by_value(f"c{index}", APPLE, 1_000))
        heard += len(broker.executions("", 1_000).executions) == index + 1

    assert heard == 12


def test_what_has_been_heard_is_not_read_again_for_ever(ground: Ground):
    broker = ground.trading()
    for index in range(5):
        broker.submit(by_value(f"c{index}", APPLE, 1_000))
        ground.wait(seconds=3)
    broker.executions("")
    asked: list[dict[str, str]] = []
    get = broker._http.get

    def listening(path: str, query: dict[str, str], *rest: Any) -> Any:
        reply = get(path, query, *rest)
        asked.append({**query, "rows": str(len(reply.body))})
        return reply

    broker._http.get = listening  # type: ignore[method-assign] # listens only
    broker.executions("")

    assert [one["rows"] for one in asked] == ["1"]


def test_a_journal_that_was_lost_is_read_again_and_old_cursors_start_over(slow_ground: Ground):
    broker = slow_ground.trading()
    for index in range(10):
        broker.submit(by_value(f"c{index}", APPLE, 3_000))
    slow_ground.wait(minutes=5)
    page = broker.executions("", 9)
    first = {one.id for one in broker.executions("", 1_000).executions}
    broker.close()
    for path in (slow_ground.folder / "adapter" / "alpaca").iterdir():
        path.unlink()

    again = slow_ground.trading()

    assert {one.id for one in again.executions("", 1_000).executions} == first
    later = again.executions(page.cursor, 1_000).executions
    assert {one.id for one in later} | {one.id for one in page.executions} == first
    with pytest.raises(InvalidInputError):
        again.executions("not a cursor")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.DROP_AFTER),
        Fault(FaultKind.FAIL_AFTER, status=504, body='{"message": "gateway timeout"}'),
        Fault(FaultKind.FAIL_AFTER, status=500, body="<html>"),
        Fault(FaultKind.FAIL_AFTER, status=200, body="not json"),
        Fault(FaultKind.TRUNCATE),
        Fault(FaultKind.DELAY_AFTER, seconds=0.8),
        Fault(FaultKind.EDIT, edit={"id": None}),
        Fault(FaultKind.EDIT, edit={"qty": "7"}),
        Fault(FaultKind.DROP),
        Fault(FaultKind.REFUSE, status=503),
        Fault(FaultKind.REFUSE, status=302),
    ],
)
def test_an_outcome_that_was_not_seen_is_unknown_and_asking_again_makes_one_order(
    ground: Ground, fault: Fault
):
    broker = ground.trading()
    ground.server.faults.plan(fault)

    with patience(broker, 0.5 if fault.kind is FaultKind.DELAY_AFTER else 10.0):
        first = broker.submit(by_value("c1", APPLE, 1_000))
    again = broker.submit(by_value("c1", APPLE, 1_000))

    assert first.status is SubmitStatus.UNKNOWN
    assert again.status in {SubmitStatus.ACCEPTED, SubmitStatus.DUPLICATE}
    assert len(broker.executions("").executions) == 1


def test_a_duplicate_is_compared_field_by_field(broker: AlpacaTrading):
    ticket = by_value("c1", APPLE, 1_000)
    first = broker.submit(ticket)

    same = broker.submit(ticket)
    other = broker.submit(replace(ticket, notional_cents=1_001))

    assert (same.status, same.broker_order_id) == (SubmitStatus.DUPLICATE, first.broker_order_id)
    assert (other.status, other.code) == (SubmitStatus.REJECTED, "client_id_mismatch")
    assert len(broker.executions("").executions) == 1


def test_what_alpaca_could_never_take_is_refused_without_a_request(ground: Ground):
    broker = ground.trading()
    ground.server.faults.plan(Fault(FaultKind.REFUSE, times=1_000_000))

    short = broker.submit(by_value("c1", APPLE, 99))
    long_id = broker.submit(by_value("x" * 129, APPLE, 1_000))

    assert (short.code, short.refusal) == ("below_minimum", Refusal.MINIMUM)
    assert (long_id.code, long_id.refusal) == ("client_id_length", Refusal.CLIENT_ID)


def test_a_second_firm_cannot_use_the_same_account(broker: AlpacaTrading):
    broker.submit(by_value("c1", APPLE, 1_000))

    result = broker.submit(replace(by_value("c2", APPLE, 1_000), broker_account="omnibus/firm_2"))

    assert (result.status, result.code) == (SubmitStatus.REJECTED, "unknown_account")
    assert list(broker.positions("omnibus/firm_2")) == []
    assert broker.cash("omnibus/firm_2").total_cents == 0


def test_an_order_never_waits_for_a_new_minute_nor_for_a_long_reading(broker: AlpacaTrading):
    slept: list[float] = []
    broker._http._pace = Pace(200, sleep=slept.append)
    with ThreadPoolExecutor(1) as sender, broker._lock:  # as held over the pages of a reading
        first = sender.submit(broker.submit, by_value("c1", APPLE, 1_000)).result(timeout=60)
    broker._http._pace.hear(429, {})  # nothing is left of this minute

    second = broker.submit(by_value("c2", APPLE, 1_000))

    assert first.status is SubmitStatus.ACCEPTED
    assert (second.status, second.refusal) == (SubmitStatus.THROTTLED, Refusal.RATE)
    assert slept == []


def test_not_even_the_first_order_waits_to_learn_whose_the_account_is(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
):
    broker, slept = ground.trading(), list[float]()
    broker._http._pace = Pace(200, sleep=slept.append)
    broker._http._pace.hear(429, {})  # nothing is left of this minute
    used_up = broker.submit(by_value("c1", APPLE, 1_000))
    broker._http._pace = Pace(200, sleep=slept.append)
    with monkeypatch.context() as slow:
        slow.setattr(alpaca_trading, "monotonic", count(step=2).__next__)
        looked_long = broker.submit(by_value("c1", APPLE, 1_000))

    assert [used_up.status, looked_long.status] == [SubmitStatus.THROTTLED] * 2
    assert slept == []
    assert broker.find("c1") is None
    assert broker.submit(by_value("c1", APPLE, 1_000)).status is SubmitStatus.ACCEPTED


def test_whose_a_used_account_is_must_be_said_once_our_file_has_forgotten_it(ground: Ground):
    broker = ground.trading()
    broker.submit(by_value("c1", APPLE, 1_000))
    broker.close()
    for path in (ground.folder / "adapter" / "alpaca").iterdir():
        path.unlink()
    stranger = replace(by_value("c2", APPLE, 1_000), broker_account="omnibus/firm_2")

    again = ground.trading()
    refused = again.submit(stranger)
    for ask in (again.positions, again.cash, again.mass_status):
        with pytest.raises(BrokerUnavailableError) as unknown:
            ask("omnibus/firm_2")
        assert unknown.value.code == "owner_unknown"
    again.executions("")
    with pytest.raises(BrokerUnavailableError):
        again.activities("")
    again.close()
    told = ground.trading(ROBO_ALPACA_OWNER=OMNIBUS)

    assert (refused.status, refused.code) == (SubmitStatus.THROTTLED, "owner_unknown")
    assert refused.refusal is Refusal.ACCOUNT
    assert told.submit(stranger).code == "unknown_account"
    assert told.submit(by_value("c3", APPLE, 1_000)).status is SubmitStatus.ACCEPTED
    assert told.find("c2") is None
    assert list(told.positions("omnibus/firm_2")) == []
    assert len(told.positions(OMNIBUS)) == 1


def test_refusals_are_classified_and_nothing_was_taken(broker: AlpacaTrading):
    result = broker.submit(by_shares("s1", APPLE, SHARE, Side.SELL))

    assert (result.status, result.refusal) == (SubmitStatus.REJECTED, Refusal.POSITION)
    assert broker.find("s1") is None


def test_an_error_is_never_an_empty_answer(ground: Ground):
    broker = ground.trading()
    broker.submit(by_value("c1", APPLE, 1_000))
    stream = "/v2beta1/events/activities"
    for path in ("/v2/positions", "/v2/account(/activities)?", "/v2/orders.*", stream):
        ground.server.faults.plan(Fault(FaultKind.REFUSE, "GET", path, status=500, times=9))

    for ask in (
        lambda: broker.positions(OMNIBUS),
        lambda: broker.cash(OMNIBUS),
        lambda: broker.executions(""),
        lambda: broker.find("c1"),
        lambda: broker.mass_status(OMNIBUS),
        lambda: broker.activities(""),
    ):
        with pytest.raises(BrokerUnavailableError):
            ask()


def test_mass_status_is_all_open_orders_positions_and_cash(slow_ground: Ground):
    broker = slow_ground.trading()
    broker.submit(by_value("c1", APPLE, 90_000))
    broker.submit(by_value("c2", BANK, 90_000))

    status = broker.mass_status(OMNIBUS)

    assert {one.client_id for one in status.open_orders} == {"c1", "c2"}
    filled = sum(one.filled_cents for one in status.open_orders)
    assert 0 < filled < 180_000
    assert status.cash.total_cents == -filled
    assert {one.security_id for one in status.positions} == {APPLE, BANK}
    slow_ground.wait(minutes=5)
    assert broker.mass_status(OMNIBUS).open_orders == []


def test_a_cancel_leaves_what_has_filled_and_is_final(slow_ground: Ground):
    broker = slow_ground.trading()
    broker.submit(by_value("c1", APPLE, 10_000))

    result = broker.cancel("c1")
    slow_ground.wait(hours=1)

    order = broker.find("c1")
    assert result.status is SubmitStatus.ACCEPTED
    assert order is not None
    assert (order.state, order.code) == (BrokerOrderState.CANCELED, "canceled")
    assert 0 < order.filled_cents < 10_000
    assert broker.cancel("c1").code == "not_cancelable"
    assert broker.cancel("never").code == "unknown_order"


def test_an_order_that_a_corporate_action_replaced_lives_on_in_the_one_that_took_its_place(
    ground: Ground,
):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 4 * SHARE))
    before = broker.find("b1")
    assert before is not None
    body = {"symbol": "AAA", "qty": "6", "side": "buy", "type": "market", "time_in_force": "day"}
    theirs = {**body, "client_order_id": "made-by-alpaca"}
    other = broker._http.post("/orders", theirs, Lane.ORDERS).body["id"]
    old = {"status": "replaced", "replaced_by": other, "qty": "10"}
    new = {"replaces": before.broker_order_id}

    def tell(status: dict[str, str]) -> None:
        server = ground.server.faults
        server.clear()
        by_client, by_id = "/v2/orders:by_client_order_id", f"/v2/orders/{other}"
        server.plan(Fault(FaultKind.EDIT, "GET", by_client, times=99, edit=old))
        server.plan(Fault(FaultKind.EDIT, "GET", by_id, times=99, edit={**new, **status}))

    tell({"status": "new"})
    heard = broker.executions("").executions  # before anybody asked for the order
    living = broker.find("b1")
    tell({})
    ended = broker.find("b1")

    assert [one.client_id for one in heard] == ["b1", "b1"]
    assert living is not None
    assert ended is not None
    assert (living.state, ended.state) == (BrokerOrderState.OPEN, BrokerOrderState.FILLED)
    assert (ended.client_id, ended.nanos) == ("b1", 10 * SHARE)
    assert (ended.filled_nanos, ended.filled_cents) == (10 * SHARE, sum(x.cents for x in heard))


@pytest.mark.parametrize(
    ("word", "ends"), [("done_for_day", True), ("replaced", True), ("new", False)]
)
def test_an_order_of_the_day_that_alpaca_never_ends_is_over_once_its_day_is_long_gone(
    ground: Ground, word: str, *, ends: bool
):
    broker = ground.trading()
    ground.feed.halted.add(APPLE)
    broker.submit(by_shares("b1", APPLE, 4 * SHARE))
    told = {"status": word, "replaced_by": "gone" if word == "replaced" else None}
    ground.server.faults.plan(
        Fault(FaultKind.EDIT, "GET", "/v2/orders:by_client_order_id", times=99, edit=told)
    )
    ground.wait(days=5)
    before = None
    if word != "replaced":  # what took its place is unknown: so is everything
        before = broker.find("b1")
    ground.wait(days=2)

    after = broker.find("b1")

    assert before is None or before.state is BrokerOrderState.OPEN
    assert after is not None
    assert after.state is (BrokerOrderState.EXPIRED if ends else BrokerOrderState.OPEN)
    assert after.code == (word if ends else "")


def test_assets_say_what_can_be_traded_and_how_finely(
    tmp_path: Path, short_calendar: MarketCalendar
):
    with ground_at(tmp_path, short_calendar, ROBO_PAPER_WHOLE_ONLY="BBB") as ground:
        broker = ground.trading()

        few = broker.assets([APPLE, BANK])
        many = broker.assets([APPLE, BANK, COAL, SHARE])

    assert [(one.tradable, one.fractionable) for one in few] == [(True, True), (True, False)]
    assert [(one.tradable, one.fractionable) for one in many] == [
        (True, True),
        (True, False),
        (True, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, '{"message": "invalid symbol"}', True),
        (422, "<html>", False),
        (500, '{"message": "internal error"}', False),
    ],
)
def test_what_alpaca_says_of_one_symbol_is_of_that_symbol(
    tmp_path: Path, short_calendar: MarketCalendar, status: int, body: str, *, said: bool
):
    with ground_at(tmp_path, short_calendar) as ground:
        broker = ground.trading()
        path = "/v2/assets/BBB"
        refuse = Fault(FaultKind.REFUSE, "GET", path, status=status, body=body, times=9)
        ground.server.faults.plan(refuse)
        if not said:
            with pytest.raises(BrokerUnavailableError):
                broker.assets([APPLE, BANK])
            return
        found = broker.assets([APPLE, BANK])

    assert [one.tradable for one in found] == [True, False]


# Settings


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"ROBO_ALPACA_KEY": ""}, "ROBO_ALPACA_KEY"),
        ({"ROBO_ALPACA_SECRET_FILE": "/nowhere"}, "either"),
        ({"ROBO_ALPACA_SECRET": "", "ROBO_ALPACA_SECRET_FILE": "/nowhere"}, "cannot be read"),
        ({"ROBO_ALPACA_SECRET": "a\nb"}, "no key"),
        ({"ROBO_ALPACA_URL": "http://paper-api.alpaca.markets"}, "https"),
        ({"ROBO_ALPACA_URL": "https://u:p@paper-api.alpaca.markets"}, "https"),
        ({"ROBO_ALPACA_URL": "https://api.alpaca.markets"}, "ROBO_ALPACA_LIVE"),
        ({"ROBO_ALPACA_LIVE": "maybe"}, "one of"),
        ({"ROBO_ALPACA_LIVE": "yes"}, "broker of record"),
        (
            {
                "ROBO_ALPACA_LIVE": "yes",
                "ROBO_ALPACA_BROKER_OF_RECORD": "declared",
                "ROBO_ALPACA_URL": "https://paper-api.alpaca.markets",
            },
            "play money",
        ),
    ],
)
def test_a_wrong_setting_stops_the_start_and_names_itself(
    ground: Ground, change: dict[str, str], word: str
):
    settings = {**ground.adapter_settings(), **change}

    with pytest.raises(ConfigError, match=word) as caught:
        alpaca_trading.create(ground.context("adapter", **settings))

    assert "very-secret-9" not in str(caught.value)


def test_real_money_needs_the_declaration_and_then_starts(ground: Ground, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("very-secret-9\n")
    given = {
        "ROBO_ALPACA_KEY": "a",
        "ROBO_ALPACA_SECRET_FILE": str(secret),
        "ROBO_ALPACA_LIVE": "yes",
        "ROBO_ALPACA_BROKER_OF_RECORD": "declared",
    }

    broker = alpaca_trading.create(ground.context("live", **given))

    assert not broker.capabilities.simulated
    assert "very-secret-9" not in repr(vars(broker))
    broker.close()  # type: ignore[attr-defined] # the port leaves closing to the process


def test_keys_are_in_no_text_of_settings_or_contexts(ground: Ground):
    given = ground.adapter_settings()
    context = ground.context("adapter", **given)
    settings = config.read({"ROBO_BROKER": "alpaca_trading", **given})

    said = repr(context) + repr(settings) + str(vars(ground.trading()))

    assert settings.plugins["ROBO_ALPACA_SECRET"] == "very-secret-9"
    assert "very-secret-9" not in said
