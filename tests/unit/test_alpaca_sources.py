"""Two sources of activities, the list and the stream: each row once, late ones too, none stuck."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
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
)

from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.rows import row_id
from broker_adapters.alpaca_server.server import ACCOUNT
from robo.core.errors import BrokerUnavailableError
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import Activity, CashKind, ExecutionKind
from robo.ports.prices import ActionKind, CorporateAction

ACTION = CorporateAction("act-1", ActionKind.SPLIT, APPLE, TUESDAY, TUESDAY)


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar) as made:
        yield made


def local(ground: Ground, path: str, body: Any) -> Any:
    asked = Request(f"{ground.server.url}/_local/{path}", json.dumps(body).encode(), method="POST")
    with urlopen(asked) as answer:
        return json.loads(answer.read() or b"null")


def tomorrow(ground: Ground) -> None:
    ground.clock.set(datetime(2026, 3, 3, 15, tzinfo=UTC))


@pytest.fixture
def list_only(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar, ROBO_PAPER_ACTIVITY_STREAM="no") as made:
        yield made


@pytest.fixture
def stream_only(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar, ROBO_PAPER_LIST_UNTIL="2026-02-11") as made:
        yield made


def test_what_only_the_stream_tells_is_booked_and_amended(stream_only: Ground):
    ground, broker = stream_only, stream_only.trading()
    broker.submit(by_shares("b1", APPLE, 10 * SHARE))
    (first,) = broker.executions("").executions
    local(ground, "amendments", {"execution_id": first.id, "price": "90.00"})
    local(ground, "activities", {"activity_type": "FEE", "net_amount": "-0.01"})
    ground.feed.plan(replace(ACTION, ratio_num=3, ratio_den=2))
    tomorrow(ground)

    _, bust, instead = broker.executions("").executions
    (fee, split) = broker.activities("").activities
    listed = broker._http.get("/account/activities", {}, Lane.READS).body

    assert listed == []
    assert (bust.busts, instead.cents) == (first.id, 90_000)
    assert (fee.kind, fee.cents) == (CashKind.FEE, -1)
    assert (split.kind, split.nanos_before) == (ActionKind.SPLIT, 10 * SHARE)
    assert (split.nanos_delta, split.action_id) == (5 * SHARE, "act-1")
    assert broker.mass_status(OMNIBUS).cash.total_cents == -90_000 - 1


def test_the_stream_tells_corporate_actions_as_the_list_does(ground: Ground):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 10 * SHARE))
    broker.submit(by_shares("b2", BANK, 4 * SHARE))
    pay = {"cash_micros": 333_000, "pay_on": TUESDAY}
    for action in (
        replace(ACTION, id="div", kind=ActionKind.CASH_DIVIDEND, **pay),
        replace(
            ACTION, id="mrg", kind=ActionKind.CASH_MERGER, security_id=BANK, cash_micros=125_000_000
        ),
        replace(
            ACTION, id="spn", kind=ActionKind.SPIN_OFF, ratio_den=4, new_security_id=CHILD,
            basis_ppm=150_000,
        ),
    ):  # fmt: skip
        ground.feed.plan(action)
    ground.feed.micros[CHILD] = 20_000_000
    tomorrow(ground)
    ground.server.faults.plan(
        Fault(FaultKind.REFUSE, "GET", "/v2/account/activities", times=9, status=410)
    )

    streamed = list(broker.activities("").activities)
    executed = {one.id for one in broker.executions("").executions}
    broker.close()
    for path in (ground.folder / "adapter" / "alpaca").iterdir():
        path.unlink()
    ground.server.faults.clear()
    ground.server.faults.plan(
        Fault(FaultKind.REFUSE, "GET", "/v2beta1/events/activities", times=9, status=404)
    )
    again = ground.trading(ROBO_ALPACA_OWNER=OMNIBUS)
    listed = list(again.activities("").activities)
    relisted = {one.id for one in again.executions("").executions}

    def told(activities: Sequence[Activity]) -> set[Activity]:
        # Which row completed an event, and whose account it is before anybody traded, may differ.
        return {replace(one, id="", broker_account="") for one in activities}

    assert {one.action_id for one in streamed} == {"div", "mrg", "spn"}
    assert told(streamed) == told(listed)
    assert executed == relisted


def test_an_execution_that_both_tell_is_one_whatever_it_is_called(ground: Ground):
    broker = ground.trading()
    edit = Fault(
        FaultKind.EDIT, "GET", "/v2/account/activities", times=9, edit={"id": "20260302100::other"}
    )
    ground.server.faults.plan(edit)
    broker.submit(by_shares("b1", APPLE, 2 * SHARE))

    told = broker.executions("").executions
    more = broker.executions("").executions

    assert len(told) == len(more) == 1


@pytest.mark.parametrize("path", ["/v2/account/activities", "/v2beta1/events/activities"])
def test_one_source_that_fails_holds_no_execution_up_and_a_person_hears_of_it(
    ground: Ground, path: str
):
    broker = ground.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    ground.server.faults.plan(Fault(FaultKind.REFUSE, "GET", path, times=99, status=500))

    (first,) = broker.executions("").executions
    cursor = broker.executions("").cursor
    nothing_more = broker.executions(cursor).executions
    with pytest.raises(BrokerUnavailableError):
        broker.mass_status(OMNIBUS)  # what may not have been heard yet is compared with nothing
    ground.wait(minutes=61)
    status = broker.mass_status(OMNIBUS)
    (told,) = broker.activities("").activities

    assert list(nothing_more) == []
    assert status.cash.total_cents == -first.cents
    assert (told.kind, told.cents) == (CashKind.OTHER, 0)
    assert told.detail.startswith("silent ")


def test_an_amendment_that_is_said_twice_is_taken_back_once_and_nothing_is_unreadable(
    ground: Ground,
):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 10 * SHARE))
    (first,) = broker.executions("").executions
    ground.server.faults.plan(
        Fault(FaultKind.REPEAT, "GET", "/v2/account/activities", times=9),
        Fault(FaultKind.EVENT_TWICE, "GET", "/v2beta1/events/activities", times=9),
    )
    local(ground, "amendments", {"execution_id": first.id, "price": "90.00"})
    ground.wait(minutes=1)

    _, back, instead = broker.executions("").executions

    assert (back.busts, instead.cents) == (first.id, 90_000)
    assert broker.activities("").activities == []


def test_a_part_that_is_busted_leaves_the_rest(ground: Ground):
    broker = ground.trading()
    broker.submit(by_shares("b1", APPLE, 10 * SHARE))
    (first,) = broker.executions("").executions
    cursor = broker.executions("").cursor

    row = local(ground, "amendments", {"execution_id": first.id, "bust": "2"})
    back, rest = broker.executions(cursor).executions
    later = broker.executions(cursor).cursor
    local(ground, "amendments", {"execution_id": row["execution_id"], "bust": "3"})
    again, left = broker.executions(later).executions
    too_much = Fault(
        FaultKind.EDIT, "GET", "/v2/account/activities", times=9, edit={"qty": "-99", "id": "x"}
    )
    ground.server.faults.plan(too_much)
    ground.wait(minutes=1)

    assert (back.kind, back.busts, back.nanos) == (ExecutionKind.BUST, first.id, 10 * SHARE)
    assert (rest.kind, rest.nanos, rest.cents) == (
        ExecutionKind.TRADE,
        8 * SHARE,
        first.cents * 8 // 10,
    )
    assert (again.busts, left.nanos) == (rest.id, 5 * SHARE)
    assert broker.positions(OMNIBUS)[0].nanos == 5 * SHARE
    assert broker.cash(OMNIBUS).total_cents == -left.cents
    assert [one.detail for one in broker.activities("").activities] == ["unreadable FILL"]


def test_a_sweep_goes_on_where_the_rate_limit_stopped_it(list_only: Ground):
    ground, broker = list_only, list_only.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    ground.wait(seconds=10)
    broker.submit(by_value("b2", APPLE, 1_000))
    broker.executions("")
    ground.wait(minutes=14)
    book, at = ground.server._books[ACCOUNT], ground.clock.now()
    for place in range(1_200):
        row = {"activity_type": "FEE", "net_amount": "-0.01", "date": "2026-03-02"}
        book.tell({**row, "id": row_id(at.date(), str(place))}, at, at)
    now = [0.0]
    broker._http._pace = Pace(10, monotonic=lambda: now[0], sleep=lambda _: None)
    broker._http._pace.hear = lambda *_: None  # type: ignore[method-assign] # the server has no limit
    ground.wait(minutes=2)
    asked = 0
    get = broker._http.get

    def counting(*args: Any) -> Any:
        nonlocal asked
        reply = get(*args)
        asked += 1
        return reply

    broker._http.get = counting  # type: ignore[method-assign] # counts only
    minutes = 0
    told = 0
    while told < 1_200 and minutes < 10:
        told = len(broker.activities("", 2_000).activities)
        minutes += 1
        now[0] += 61

    assert told == 1_200
    assert minutes <= 4
    assert asked <= 10 * minutes


def test_a_row_of_a_day_when_nobody_listened_is_found_after_a_long_while(list_only: Ground):
    ground, broker = list_only, list_only.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    broker.executions("")
    local(ground, "activities", {"activity_type": "FEE", "net_amount": "-0.01"})
    broker.close()
    ground.wait(days=8)

    again = ground.trading()

    assert [one.cents for one in again.activities("").activities] == [-1]


def test_a_row_that_was_pending_for_weeks_is_told_once_it_is_not(list_only: Ground):
    ground, broker = list_only, list_only.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    broker.executions("")
    made = local(
        ground, "activities", {"activity_type": "INT", "net_amount": "0.20", "status": "pending"}
    )
    ground.wait(minutes=16)
    before = list(broker.activities("").activities)
    for _ in range(3):
        ground.wait(days=7)
        broker.activities("")
    row = next(one for one in ground.server._books[ACCOUNT].rows._rows if one.id == made["id"])
    body = {**row.build(), "status": "executed"}
    place = ground.server._books[ACCOUNT].rows._rows.index(row)
    ground.server._books[ACCOUNT].rows._rows[place] = replace(row, build=lambda: body)
    ground.wait(minutes=16)

    assert before == []
    assert [one.cents for one in broker.activities("").activities] == [20]


def test_a_row_that_sorts_before_what_was_seen_is_found_by_the_sweep(list_only: Ground):
    ground, broker = list_only, list_only.trading()
    broker.submit(by_value("b1", APPLE, 1_000))
    ground.wait(seconds=10)
    broker.submit(by_value("b2", APPLE, 1_000))
    assert len(broker.executions("").executions) == 2
    # Its id begins with midnight, so it stands before the fill that was the last row seen.
    local(ground, "activities", {"activity_type": "FEE", "net_amount": "-0.01"})

    at_once = list(broker.activities("").activities)
    ground.wait(minutes=16)
    later = list(broker.activities("").activities)

    assert at_once == []
    assert [one.cents for one in later] == [-1]


ODD: tuple[dict[str, Any], ...] = (
    {"qty": "9300000000", "cum_qty": "9300000000"},
    {"price": "99999999999999999"},
    {"transaction_time": "9999-12-31T23:59:59Z"},
    {"id": None},
)


@pytest.mark.parametrize("edit", ODD)
def test_a_row_that_no_book_can_hold_is_a_persons_and_holds_nothing_up(
    list_only: Ground, edit: dict[str, Any]
):
    ground, broker = list_only, list_only.trading()
    broker.submit(by_shares("b1", APPLE, 10 * SHARE))
    path = "/v2/account/activities"
    ground.server.faults.plan(Fault(FaultKind.EDIT, "GET", path, edit=edit))

    before = list(broker.executions("").executions)
    ground.wait(seconds=10)
    broker.submit(by_shares("b2", APPLE, SHARE))
    after = [one.client_id for one in broker.executions("").executions]
    (told,) = broker.activities("").activities

    assert before == []
    assert "b2" in after
    assert told.detail == "unreadable FILL"
