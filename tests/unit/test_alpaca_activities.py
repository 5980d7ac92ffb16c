"""Corporate actions, fees, busts and late rows, as Alpaca tells them and as our books want them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from alpaca_ground import (
    APPLE,
    BANK,
    CHILD,
    OMNIBUS,
    SHARE,
    TUESDAY,
    Ground,
    by_shares,
    by_value,
    ground_at,
    net_cents,
)

from broker_adapters.alpaca_activities import ActivityReader
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import CashKind, ExecutionKind, Side
from robo.ports.prices import ActionKind, CorporateAction

ACTION = CorporateAction("act-1", ActionKind.SPLIT, APPLE, TUESDAY, TUESDAY)
SAMPLES = Path(__file__).parents[3] / "shared" / "facts" / "alpaca_sse_samples.json"


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar) as made:
        yield made


def local(ground: Ground, path: str, body: Any, method: str = "POST") -> Any:
    asked = Request(f"{ground.server.url}/_local/{path}", json.dumps(body).encode(), method=method)
    with urlopen(asked) as answer:
        return json.loads(answer.read() or b"null")


def tomorrow(ground: Ground, hour: int = 15) -> None:
    ground.clock.set(datetime(2026, 3, 3, hour, 0, tzinfo=UTC))


def test_a_split_is_one_activity_once_both_of_its_rows_are_told(
    tmp_path: Path, short_calendar: MarketCalendar
):
    settings = {"ROBO_PAPER_SPLIT_GAP_SECONDS": "300"}
    with ground_at(tmp_path, short_calendar, **settings) as ground:
        broker = ground.trading()
        broker.submit(by_shares("b1", APPLE, 3 * SHARE))
        broker.submit(by_shares("b2", BANK, SHARE))
        ground.feed.plan(replace(ACTION, ratio_num=3, ratio_den=2))
        tomorrow(ground)

        between = broker.mass_status(OMNIBUS)
        nothing = broker.activities("").activities
        ground.wait(minutes=6)
        after = broker.mass_status(OMNIBUS)
        (split,) = broker.activities("").activities

    assert between.moving == {APPLE}
    assert [one.security_id for one in between.positions] == [BANK]
    assert list(nothing) == []
    assert after.moving == frozenset()
    assert {one.security_id: one.nanos for one in after.positions}[APPLE] == 9 * SHARE // 2
    assert (split.kind, split.action_id, split.broker_account) == (
        ActionKind.SPLIT,
        "act-1",
        OMNIBUS,
    )
    assert (split.nanos_before, split.nanos_delta) == (3 * SHARE, 3 * SHARE // 2)


def test_a_dividend_a_merger_and_a_child_are_told_with_our_own_ids(ground: Ground):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 10 * SHARE))
    broker.submit(by_shares("b2", BANK, 4 * SHARE))
    dividend = replace(
        ACTION,
        id="div",
        kind=ActionKind.CASH_DIVIDEND,
        cash_micros=333_000,
        pay_on=date(2026, 3, 6),
    )
    ground.feed.plan(dividend)
    ground.feed.plan(
        replace(
            ACTION, id="mrg", kind=ActionKind.CASH_MERGER, security_id=BANK, cash_micros=125_000_000
        )
    )
    ground.feed.plan(
        replace(
            ACTION, id="spn", kind=ActionKind.SPIN_OFF, ratio_den=4, new_security_id=CHILD,
            basis_ppm=150_000,
        )
    )  # fmt: skip
    ground.clock.set(datetime(2026, 3, 6, 15, 0, tzinfo=UTC))
    ground.feed.micros[CHILD] = 20_000_000

    told = {one.action_id: one for one in broker.activities("").activities}
    held = {one.security_id: one.nanos for one in broker.positions(OMNIBUS)}

    assert (told["div"].cents, told["div"].nanos_before) == (333, 10 * SHARE)
    assert (told["mrg"].cents, told["mrg"].nanos_delta) == (50_000, -4 * SHARE)
    assert (told["spn"].new_security_id, told["spn"].new_nanos) == (CHILD, 10 * SHARE // 4)
    assert told["spn"].security_id == APPLE
    assert held == {APPLE: 10 * SHARE, CHILD: 10 * SHARE // 4}
    cash = broker.cash(OMNIBUS).total_cents
    assert cash == net_cents(broker.executions("").executions) + 333 + 50_000


LISTED = {
    "NC": ("SNC", "Name Change from APL to BNK"),
    "MA": ("SMA", "Stock Merger 0.5 BNK for 1 APL"),
    "SPLIT": ("FSPLIT", "2 for 1"),
}


def half(kind: str, symbol: str, shares: str, source: str, net: str = "0") -> dict[str, str]:
    """Return a row of an event: the list says it in words, the stream in a number."""
    sub, text = LISTED[kind]
    told = {"description": text} if source == "list" else {"group_id": source}
    row = {"activity_type": kind, "activity_sub_type": sub, "date": "2026-03-03", "qty": shares}
    return {**row, **told, "symbol": symbol, "net_amount": net}


def read(
    *rows: dict[str, str],
) -> tuple[list[tuple[ActionKind | CashKind, int, int, int]], set[int]]:
    numbers = {"APL": APPLE, "BNK": BANK, "CHL": CHILD}
    reader = ActivityReader(lambda symbol: numbers[symbol], lambda _: ())
    told = reader.read([(n, f"row-{n}", row) for n, row in enumerate(rows, 1)], "acc-1")
    found = [
        (one.kind, one.nanos_before, one.nanos_delta, one.new_nanos)
        for _, _, one in told.activities
    ]
    return found, set(told.moving)


@pytest.mark.parametrize(("first", "second"), [("list", "g1"), ("g1", "list")])
@pytest.mark.parametrize(
    ("kind", "came", "made"),
    [
        ("NC", "4", (ActionKind.SYMBOL_CHANGE, 4 * SHARE, 0, 0)),
        ("MA", "2", (ActionKind.STOCK_MERGER, 4 * SHARE, -4 * SHARE, 2 * SHARE)),
    ],
)
def test_a_merger_or_change_of_name_may_come_half_from_the_list_and_half_from_the_stream(
    kind: str, came: str, made: tuple[ActionKind, int, int, int], first: str, second: str
):
    assert read(half(kind, "APL", "-4", first), half(kind, "BNK", came, second)) == ([made], set())


@pytest.mark.parametrize(
    "rows",
    [
        [half("NC", "APL", "-4", "list"), half("NC", "BNK", "3", "g1")],
        [half("NC", "APL", "-4", "list"), half("NC", "CHL", "4", "g1")],
        [half("NC", "APL", "-4", "g1"), half("NC", "BNK", "4", "g2")],
        [half("MA", "APL", "-4", "list"), half("MA", "BNK", "4", "g1")],
        [
            half("MA", "BNK", "2", "g1"),
            half("MA", "BNK", "2", "g2"),
            half("MA", "APL", "-4", "list"),
        ],
    ],
    ids=["fewer", "another_name", "both_of_the_stream", "another_ratio", "two_would_do"],
)
def test_halves_that_need_not_belong_together_wait_for_a_person(rows: list[dict[str, str]]):
    made, moving = read(*rows)

    assert made == []
    assert APPLE in moving


@pytest.mark.parametrize(("other", "count"), [("acc-1", 1), ("acc-2", 0)])
def test_halves_of_two_customers_are_never_put_together(other: str, count: int):
    reader = ActivityReader(lambda symbol: {"APL": APPLE, "BNK": BANK}[symbol], lambda _: ())
    listed = {**half("MA", "APL", "-4", "list"), "account_id": "acc-1"}
    streamed = {**half("MA", "BNK", "2", "g1"), "account_id": other}

    told = reader.read([(1, "row-1", listed), (2, "row-2", streamed)], "")

    assert len(told.activities) == count
    assert told.moving == (set() if count else {APPLE, BANK})


def test_what_is_announced_after_its_day_was_looked_at_is_found_and_nothing_is_asked_for_ever():
    announced = [replace(ACTION, id="div", kind=ActionKind.CASH_DIVIDEND)]
    asked: list[date] = []

    def actions(day: date) -> list[CorporateAction]:
        asked.append(day)
        return [one for one in announced if one.ex_on == day]

    reader = ActivityReader(lambda _: APPLE, actions)
    dividend = {"activity_type": "DIV", "date": "2026-03-03", "net_amount": "5", "symbol": "APL"}
    early = [(1, "row-1", dividend)]
    split = half("SPLIT", "APL", "-4", "g1"), half("SPLIT", "APL", "8", "g1")

    reader.read(early, "acc-1")
    announced.append(ACTION)
    rows = [*early, *((n, f"row-{n}", row) for n, row in enumerate(split, 2))]
    told = [one.action_id for _, _, one in reader.read(rows, "acc-1").activities]
    by_then = len(asked)
    reader.read(rows, "acc-1")

    assert told == ["div", "act-1"]
    assert len(asked) == by_then


def test_pages_of_activities_continue_and_repeat_like_those_of_executions(ground: Ground):
    broker = ground.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    for cents in ("-0.01", "-0.02", "-0.03"):
        local(ground, "activities", {"activity_type": "FEE", "net_amount": cents})

    everything = list(broker.activities("").activities)
    first = broker.activities("", 2)
    rest = broker.activities(first.cursor, 2)

    assert sorted(one.cents for one in everything) == [-3, -2, -1]
    assert [*first.activities, *rest.activities] == everything
    assert broker.activities(rest.cursor).cursor == rest.cursor


def test_a_fee_and_interest_are_trading_and_a_deposit_is_not(ground: Ground):
    broker = ground.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    for kind, cents in (("FEE", "-0.05"), ("INT", "0.20"), ("CSD", "500.00"), ("NEWKIND", "0.01")):
        local(ground, "activities", {"activity_type": kind, "net_amount": cents})

    told = {one.kind: one for one in broker.activities("").activities}

    assert told[CashKind.FEE].cents == -5
    assert told[CashKind.INTEREST].cents == 20
    assert told[CashKind.DEPOSIT].cents == 50_000
    assert (told[CashKind.OTHER].cents, told[CashKind.OTHER].detail) == (1, "NEWKIND")
    assert broker.cash(OMNIBUS).total_cents == -1_000 - 5 + 20 + 1


def test_a_bust_takes_back_what_it_names_and_a_correction_puts_another_in_its_place(
    ground: Ground,
):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 2 * SHARE))
    broker.submit(by_shares("b2", APPLE, 3 * SHARE))
    told = {one.client_id: one for one in broker.executions("").executions}
    first, second = told["b1"], told["b2"]
    cursor = broker.executions("").cursor
    ground.wait(minutes=1)

    local(ground, "amendments", {"execution_id": first.id.rpartition("::")[2]})
    ground.wait(minutes=1)
    correction = {"execution_id": second.id.rpartition("::")[2], "price": "90.00"}
    local(ground, "amendments", correction)

    bust, back, instead = broker.executions(cursor).executions
    (position,) = broker.positions(OMNIBUS)
    assert (bust.kind, bust.busts, bust.cents) == (ExecutionKind.BUST, first.id, first.cents)
    assert (back.kind, back.busts, back.cents) == (ExecutionKind.BUST, second.id, second.cents)
    assert (instead.kind, instead.nanos) == (ExecutionKind.TRADE, 3 * SHARE)
    assert instead.cents == 27_000
    assert position.nanos == 3 * SHARE
    assert broker.cash(OMNIBUS).total_cents == -27_000
    assert len(broker.executions("").executions) == 5


def test_the_server_remembers_what_was_done_by_hand(ground: Ground):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 2 * SHARE))
    (first,) = broker.executions("").executions
    local(ground, "activities", {"activity_type": "FEE", "net_amount": "-0.07"})
    local(ground, "amendments", {"execution_id": first.id.rpartition("::")[2], "qty": "1"})
    before = broker.cash(OMNIBUS)
    ground.server.close()
    ground.opened.remove(ground.server)

    ground.__post_init__()
    again = ground.trading(ROBO_ALPACA_URL=ground.server.url, ROBO_ALPACA_OWNER=OMNIBUS)

    assert again.cash(OMNIBUS) == before
    assert [one.nanos for one in again.positions(OMNIBUS)] == [SHARE]


def test_a_sale_of_a_renamed_company_and_of_a_child_is_told_of_the_same_security(ground: Ground):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 3 * SHARE))
    ground.feed.plan(replace(ACTION, id="sym", kind=ActionKind.SYMBOL_CHANGE, new_symbol="NEWA"))
    tomorrow(ground)
    assert [one.security_id for one in broker.positions(OMNIBUS)] == [APPLE]

    ticket = replace(by_shares("s1", APPLE, SHARE, Side.SELL), symbol="NEWA")
    broker.submit(ticket)

    assert broker.executions("").executions[-1].security_id == APPLE


def test_a_row_that_is_told_again_as_corrected_is_not_booked_twice():
    row = {"activity_type": "DIV", "date": "2026-03-03", "net_amount": "5.00", "symbol": "AAA"}
    rows = [(1, "a", row), (2, "a#correct", {**row, "net_amount": "4.00", "status": "correct"})]

    reading = ActivityReader(lambda _: APPLE, lambda _: ()).read(rows, OMNIBUS)
    alone = ActivityReader(lambda _: APPLE, lambda _: ()).read(rows[1:], OMNIBUS)

    told = [(one.kind, one.cents) for _, _, one in reading.activities]
    assert told == [(ActionKind.CASH_DIVIDEND, 500), (CashKind.OTHER, -100)]
    assert [(one.kind, one.cents) for _, _, one in alone.activities] == [
        (ActionKind.CASH_DIVIDEND, 400)
    ]


def test_a_row_that_nobody_can_read_holds_nothing_up(ground: Ground):
    broker = ground.trading()
    local(ground, "activities", {"activity_type": "FEE", "net_amount": "0", "qty": "NaN"})
    broker.submit(by_value("b1", APPLE, 1_000))

    (strange,) = broker.activities("").activities

    assert len(broker.executions("").executions) == 1
    assert (strange.kind, strange.cents) == (CashKind.OTHER, 0)
    assert strange.detail == "unreadable FEE"


def test_a_foolish_fault_is_refused_by_the_server(ground: Ground):
    import urllib.error

    for body in ({}, {"kind": "none"}, {"kind": "drop", "path": "("}, {"kind": "drop", "nth": 0}):
        with pytest.raises(urllib.error.HTTPError):
            local(ground, "faults", body)
    assert local(ground, "faults", {"kind": "drop", "path": "/v2/orders", "times": 2}) == {
        "planned": 1
    }


# What Alpaca publishes as samples


def sample_rows() -> list[tuple[int, str, Any]]:
    bodies = json.loads(SAMPLES.read_text(encoding="utf-8"), parse_float=Decimal)
    rows = [one for one in bodies if "entry_type" in one and "net_amount" in one]
    return [(place, f"id-{place}", row) for place, row in enumerate(rows)]


@pytest.mark.shared_data
@pytest.mark.skipif(not SAMPLES.exists(), reason="the recorded bodies are not here")
def test_published_samples_are_read_to_the_cent_and_the_nanoshare():
    names: dict[str, SecurityId] = {}

    def security(symbol: str) -> SecurityId:
        return names.setdefault(symbol, SecurityId(len(names) + 1))

    rows = sample_rows()
    reading = ActivityReader(security, lambda _: ()).read(rows, OMNIBUS)
    told = [one for _, _, one in reading.activities]
    by_name = {(one.kind, one.security_id): one for one in told}

    dividend = by_name[ActionKind.CASH_DIVIDEND, names["MMS"]]
    assert (dividend.cents, dividend.nanos_before) == (78, 2_607_144_585)
    withheld = by_name[CashKind.WITHHOLDING, names["ALE"]]
    assert withheld.cents == -30
    reverse = by_name[ActionKind.SPLIT, names["FTCI"]]
    assert (reverse.nanos_before, reverse.nanos_delta) == (291_942_390, -262_748_151)
    forward = by_name[ActionKind.SPLIT, names["ANET"]]
    assert (forward.nanos_before, forward.nanos_delta) == (807_009, 2_421_027)
    cash = by_name[ActionKind.CASH_MERGER, names["HIE"]]
    assert (cash.cents, cash.nanos_before, cash.nanos_delta) == (2_527, 2 * SHARE, -2 * SHARE)
    stock = by_name[ActionKind.STOCK_MERGER, names["MRO"]]
    assert (stock.new_security_id, stock.new_nanos) == (names["COP"], 182_793_322)
    both = by_name[ActionKind.STOCK_MERGER, names["PSTX"]]
    assert (both.cents, both.nanos_delta) == (5_870, -6_522_449_746)
    child = by_name[ActionKind.SPIN_OFF, names["SEM"]]
    assert (child.new_security_id, child.new_nanos) == (names["CON"], 54_339_042)
    renamed = by_name[ActionKind.SYMBOL_CHANGE, names["YTEN"]]
    assert (renamed.nanos_delta, renamed.nanos_before) == (0, 1_250_000_000)
    assert sum(one.cents for one in told) == sum(int(row["net_amount"] * 100) for _, _, row in rows)


def test_a_dividend_in_shares_is_the_split_that_was_announced_weeks_before_it_is_paid():
    ex_on, pay_on = date(2026, 3, 4), date(2026, 3, 26)
    told = CorporateAction(
        "d-1", ActionKind.SPLIT, APPLE, ex_on, pay_on, ratio_num=21, ratio_den=20
    )
    cash = replace(told, id="d-2", kind=ActionKind.CASH_DIVIDEND)
    reader = ActivityReader(lambda _: APPLE, lambda day: (cash, told) if day == ex_on else ())
    row = {"activity_type": "DIV", "date": "2026-03-26", "symbol": "AAPL", "net_amount": "0"}
    shares = row | {"activity_sub_type": "SDIV", "qty": "0.5", "description": "Pos QTY: 10"}
    money = row | {"activity_sub_type": "CDIV", "net_amount": "2.5"}

    made = reader.read([(1, "x", shares), (2, "y", money)], OMNIBUS).activities

    assert [(one.action_id, one.kind) for _, _, one in made] == [
        ("d-1", ActionKind.SPLIT),
        ("d-2", ActionKind.CASH_DIVIDEND),
    ]


def spun(place: int, shares: str, net: str, on: str = "2026-03-03") -> tuple[int, str, Any]:
    """Return a row of a spin-off of BNK from APL."""
    text = "Spinoff Initiating Symbol: APL"
    row = {"activity_type": "SPIN", "date": on, "symbol": "BNK", "description": text}
    return place, f"row-{place}", {**row, "qty": shares, "net_amount": net}


@pytest.mark.parametrize(
    ("rows", "told", "moving"),
    [
        ([spun(1, "0", "3.10")], [], {BANK}),
        ([spun(1, "0", "3.10"), spun(2, "2", "0")], [("spin_off", 310, 2)], set()),
        (
            [spun(1, "2", "0"), spun(2, "0", "3.10", "2026-03-09")],
            [("spin_off", 0, 2), ("other", 310, 0)],
            set(),
        ),
    ],
    ids=["cash alone", "cash, then shares", "shares, then cash"],
)
def test_cash_of_a_spin_off_waits_for_its_shares_unless_they_were_told(
    rows: list[tuple[int, str, Any]], told: list[tuple[str, int, int]], moving: set[SecurityId]
):
    names = {"APL": APPLE, "BNK": BANK}

    reading = ActivityReader(names.__getitem__, lambda _: ()).read(rows, OMNIBUS)

    made = [one for _, _, one in reading.activities]
    assert [(one.kind.value, one.cents, one.new_nanos // SHARE) for one in made] == told
    assert reading.moving == moving


def test_cash_of_a_spin_off_that_no_share_follows_is_told_as_such_after_a_long_weekend(
    ground: Ground,
):
    broker = ground.trading()
    _, _, row = spun(1, "0", "3.10", "2026-03-02")
    local(ground, "activities", {**row, "symbol": "BBB", "description": "Initiating Symbol: AAA"})
    ground.wait(minutes=1)
    at_once, moving = broker.activities(""), broker.mass_status(OMNIBUS).moving

    ground.wait(hours=5 * 24)
    later = broker.activities(at_once.cursor)
    again = broker.activities(later.cursor)

    assert (list(at_once.activities), moving) == ([], {BANK})
    (told,) = later.activities
    assert (told.kind, told.security_id, told.cents) == (ActionKind.SPIN_OFF, APPLE, 310)
    assert (told.new_security_id, told.new_nanos) == (BANK, 0)
    assert list(again.activities) == []
    assert broker.mass_status(OMNIBUS).moving == frozenset()
    assert ground.trading().activities(at_once.cursor).activities == later.activities
