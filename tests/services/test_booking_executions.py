"""Executions become fills, money, shares and lots, whatever order, size and price they come in."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, broker_equals_books, desk_from, in_parts, write_template
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.money import nanos_for_cents, notional_cents
from robo.ports.broker import BrokerOrderState, ExecutionPage, Side
from robo.services.turns import Turns


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("booking") / "template.db"
    return write_template(path, "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def funded(desk: Desk, count: int, cents: int = 1_000_00, firm: str = "firm_a") -> list[AccountId]:
    accounts = desk.open(firm, count)
    desk.fund(dict.fromkeys(accounts, cents))
    return accounts


def events(desk: Desk, kind: str) -> list[dict[str, str]]:
    rows = desk.column(f"SELECT payload FROM event WHERE kind = '{kind}' ORDER BY seq")
    return [json.loads(str(row)) for row in rows]


def states(desk: Desk) -> dict[str, int]:
    rows = desk.rows("SELECT state, count(*) FROM orders GROUP BY state")
    return {str(state): int(str(count)) for state, count in rows}


sizes = st.lists(st.integers(1, 300_00) | st.integers(1, 3), min_size=1, max_size=8)
cuts = st.lists(st.integers(0, 10**12), max_size=5)
prices = st.sampled_from([100, 9_999, 1_000_000, 123_456_789, 10**12])


@settings(max_examples=30)
@given(st.data())
def test_blocks_split_over_partial_fills_in_any_order_close_every_order(
    template: Path, data: st.DataObject
) -> None:
    with desk_from(template, template.parent) as desk:
        split_buys(desk, data)


def split_buys(desk: Desk, data: st.DataObject) -> None:
    firms = {"firm_a": data.draw(sizes), "firm_b": data.draw(sizes)}
    amounts: dict[AccountId, int] = {}
    for firm, some in firms.items():
        accounts = desk.open(firm, len(some))
        amounts |= dict(zip(accounts, some, strict=True))
    desk.fund(amounts)
    price = data.draw(prices)
    for firm in firms:
        desk.buy({a: c for a, c in amounts.items() if owner(desk, a) == firm}, cause=firm)
    told = [
        (ticket.client_id, part)
        for ticket in desk.broker.told
        for part in in_parts(ticket.notional_cents or 0, data.draw(cuts))
    ]
    for client_id, cents in data.draw(st.permutations(told)):
        desk.broker.fill(client_id, nanos_for_cents(cents, price) + 1, cents, price_micros=price)
        if data.draw(st.booleans()):
            desk.collect()
    desk.collect()
    desk.collect()

    assert states(desk) == {"filled": len(amounts)}
    assert set(desk.column("SELECT state FROM block")) == {"filled"}
    for firm in firms:
        broker_equals_books(desk, firm)
    assert all(desk.held(a).reserved_cents == desk.held(a).cash_cents == 0 for a in amounts)
    assert desk.findings() == []


def owner(desk: Desk, account: AccountId) -> str:
    return str(desk.column(f"SELECT firm_id FROM account WHERE id = '{account}'")[0])


@settings(max_examples=30)
@given(st.data())
def test_sells_split_over_partial_fills_conserve_nanos_cents_fees_and_basis(
    template: Path, data: st.DataObject
) -> None:
    with desk_from(template, template.parent) as desk:
        split_sells(desk, data)


def split_sells(desk: Desk, data: st.DataObject) -> None:
    some = data.draw(st.lists(st.integers(1, 500_00), min_size=1, max_size=6))
    accounts = desk.open("firm_a", len(some))
    desk.fund(dict(zip(accounts, some, strict=True)))
    desk.broker.fill_at(desk.buy(dict(zip(accounts, some, strict=True))), 3_333_333)
    desk.collect()
    held = {a: desk.held(a).holdings_nanos.get(1, 0) for a in accounts}
    held = {a: n for a, n in held.items() if n}
    wanted = {a: data.draw(st.integers(1, n)) for a, n in held.items()}
    price = data.draw(prices)

    block = desk.sell(wanted)
    gross = fees = 0
    for nanos in in_parts(sum(wanted.values()), data.draw(cuts)):
        cents = notional_cents(nanos, price)
        fee = data.draw(st.integers(0, 3))  # may be more than a crumb brings
        gross, fees = gross + cents, fees + fee
        desk.broker.fill(block, nanos, cents, fee, price_micros=price)
    desk.collect()

    broker_equals_books(desk, "firm_a")
    absorbed = -desk.scalar("SELECT sum(amount) FROM balance WHERE book = 'firm/firm_a/rounding'")
    unsettled = sum(desk.held(a).unsettled_cents for a in accounts)
    assert unsettled == gross - fees + absorbed
    assert absorbed >= 0
    assert desk.scalar("SELECT sum(cents) FROM proceed") == unsettled
    closed = "SELECT sum(proceeds_cents) FROM lot_event WHERE kind = 'close'"
    assert desk.scalar(closed) == unsettled
    basis = desk.scalar("SELECT sum(basis_cents) FROM lot")
    given_up = -desk.scalar("SELECT sum(basis_delta_cents) FROM lot_event WHERE kind = 'close'")
    assert basis + given_up == sum(some)
    assert desk.findings() == []


def test_everyone_in_a_block_pays_the_same_price(desk: Desk) -> None:
    accounts = desk.open("firm_a", 3)
    amounts = dict(zip(accounts, (100_00, 200_00, 700_00), strict=True))
    desk.fund(amounts)
    block = desk.buy(amounts)
    desk.broker.fill(block, 4_000_000_000, 400_00, price_micros=100_000_000)
    desk.broker.fill(block, 4_800_000_000, 600_00, price_micros=125_000_000)

    desk.collect()

    # 8.8 shares for $1,000.00: $113.636 a share, whoever asks.
    got = {a: desk.held(a).holdings_nanos[1] for a in accounts}
    assert sum(got.values()) == 8_800_000_000
    for account, cents in amounts.items():
        assert abs(got[account] - Fraction(8_800_000_000 * cents, 1_000_00)) < 2


@pytest.mark.parametrize(
    ("price", "nanos"),
    [
        (10**12, 100),  # a million dollars a share: $0.10 buys a ten-millionth, a dollar 10^-6
        (100, 10**13),  # a hundredth of a cent a share: a dollar buys ten thousand
    ],
)
def test_extreme_prices_are_booked_to_the_nanoshare(desk: Desk, price: int, nanos: int) -> None:
    accounts = funded(desk, 3, 10_00)
    block = desk.buy(dict.fromkeys(accounts, 1_00))

    desk.broker.fill_at(block, price)
    desk.collect()

    total = sum(desk.held(a).holdings_nanos.get(1, 0) for a in accounts)
    assert total == nanos_for_cents(3_00, price)
    assert abs(total - 3 * nanos * (10 if price == 10**12 else 1)) < 3
    assert desk.findings() == []


def test_a_fill_of_one_nanoshare_goes_to_one_order_and_costs_nothing(desk: Desk) -> None:
    accounts = funded(desk, 4)
    block = desk.buy(dict.fromkeys(accounts, 1_00))
    for _ in range(5):
        desk.broker.fill(block, 1, 0)
    desk.collect()
    desk.broker.fill(block, 40_000_000, 4_00)
    desk.collect()

    assert sum(desk.held(a).holdings_nanos[1] for a in accounts) == 40_000_005
    assert states(desk) == {"filled": 4}
    assert desk.scalar("SELECT sum(basis_cents) FROM lot") == 4_00
    assert desk.findings() == []


def test_shares_that_come_after_the_last_cent_follow_the_orders_sizes(desk: Desk) -> None:
    accounts = funded(desk, 2)
    block = desk.buy({accounts[0]: 1_00, accounts[1]: 3_00})
    desk.broker.fill(block, 400, 4_00)  # every order is filled by now
    desk.broker.fill(block, 40, 0)

    desk.collect()
    desk.collect()

    assert [desk.held(a).holdings_nanos[1] for a in accounts] == [110, 330]
    assert desk.column("SELECT state FROM block") == ["filled"]
    assert desk.findings() == []


def test_a_fee_above_the_proceeds_is_the_firms(desk: Desk) -> None:
    accounts = funded(desk, 3)
    desk.broker.fill_at(desk.buy(dict.fromkeys(accounts, 1_00)), 10_000_000)
    desk.collect()

    block = desk.sell(dict.fromkeys(accounts, 1))
    desk.broker.fill(block, 3, 0, 1)
    desk.collect()

    assert [desk.held(a).unsettled_cents for a in accounts] == [0, 0, 0]
    assert desk.rows(
        "SELECT book, amount FROM balance WHERE book IN ('firm/firm_a/rounding', 'street/fees')"
    ) == [("firm/firm_a/rounding", -1), ("street/fees", 1)]
    assert desk.findings() == []


def test_the_same_executions_told_again_change_nothing(desk: Desk) -> None:
    accounts = funded(desk, 3)
    block = desk.buy(dict.fromkeys(accounts, 1_00))
    told = desk.broker.fill(block, 10, 1_00)
    desk.broker.done.append(told)  # twice in one page
    desk.collect()
    desk.broker.done.append(replace(told, cents=99))  # once more, with another content
    desk.broker.rewind = 2
    desk.broker.fill(block, 20, 2_00)

    assert desk.collect() == 1
    assert desk.collect() == 0

    assert desk.scalar("SELECT count(*) FROM execution") == 2
    assert sum(desk.held(a).holdings_nanos[1] for a in accounts) == 30
    assert desk.findings() == []


def test_a_broker_that_stands_on_the_spot_does_not_keep_us_for_ever(desk: Desk) -> None:
    accounts = funded(desk, 1)
    block = desk.buy({accounts[0]: 1_00})
    desk.broker.fill(block, 10, 1_00)
    real = desk.broker.executions
    stuck = real("")

    desk.broker.executions = lambda after, limit=1000: replace(stuck, cursor=after or "1")  # type: ignore[method-assign,assignment] # noqa: ARG005

    assert desk.collect() == 1
    assert desk.findings() == []


def test_small_pages_bring_the_same_as_one(desk: Desk) -> None:
    accounts = funded(desk, 2)
    block = desk.buy(dict.fromkeys(accounts, 5_00))
    for _ in range(10):
        desk.broker.fill(block, 7, 1_00)
    desk.broker.limit = 3

    assert desk.collect() == 10

    assert states(desk) == {"filled": 2}
    assert desk.findings() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_id": "somebody-elses"}, "unknown_order"),
        ({"security_id": SecurityId(2)}, "another_security_or_side"),
        ({"side": Side.SELL}, "another_security_or_side"),
        ({"nanos": 0}, "impossible_size"),
        ({"nanos": -5}, "impossible_size"),
        ({"cents": -1}, "impossible_size"),
        ({"fee_cents": -1}, "impossible_size"),
        ({"cents": 3_01}, "more_than_ordered"),
    ],
)
def test_an_execution_that_no_order_explains_is_reported_and_holds_up_nobody(
    desk: Desk, changes: dict[str, object], why: str
) -> None:
    accounts = funded(desk, 3)
    block = desk.buy(dict.fromkeys(accounts, 1_00))
    good = desk.broker.execution(block, 10, 1_00, name="good")
    bad = replace(good, id="bad", **changes)  # type: ignore[arg-type]
    desk.broker.done += [bad, good]

    assert desk.collect() == 1
    assert desk.collect() == 0

    kind = "broker.unknown_execution" if why == "unknown_order" else "break.execution"
    assert [event["why"] for event in events(desk, kind)] == [why]
    assert desk.column("SELECT id FROM execution") == ["good"]
    assert sum(desk.held(a).reserved_cents for a in accounts) == 2_00
    assert desk.findings() == []


def test_a_block_cannot_be_overfilled_by_two_executions_that_each_would_fit(desk: Desk) -> None:
    accounts = funded(desk, 2)
    block = desk.buy(dict.fromkeys(accounts, 1_00))
    for name in ("first", "second", "third"):
        desk.broker.done.append(desk.broker.execution(block, 10, 1_50, name=name))
    desk.broker.done.append(desk.broker.execution(block, 10, 50, name="fits"))

    assert desk.collect() == 2

    assert desk.column("SELECT id FROM execution ORDER BY id") == ["first", "fits"]
    assert len(events(desk, "break.execution")) == 2
    assert desk.findings() == []


def test_a_sell_block_cannot_sell_more_than_was_ordered(desk: Desk) -> None:
    accounts = funded(desk, 2)
    desk.broker.fill_at(desk.buy(dict.fromkeys(accounts, 1_00)), 10_000_000)
    desk.collect()
    block = desk.sell(dict.fromkeys(accounts, 1_000))
    desk.broker.done.append(desk.broker.execution(block, 2_001, 0))

    desk.collect()

    assert [e["why"] for e in events(desk, "break.execution")] == ["more_than_ordered"]
    assert desk.findings() == []


def test_a_fill_that_comes_after_the_orders_end_is_the_customers_while_the_cash_is_there(
    desk: Desk,
) -> None:
    accounts = funded(desk, 2)
    block = desk.buy(dict.fromkeys(accounts, 1_00))
    desk.broker.end(block, BrokerOrderState.CANCELED, "changed my mind")
    desk.collect()
    ended = states(desk)
    desk.broker.fill(block, 10, 1_00)

    desk.collect()
    desk.collect()

    assert (ended, states(desk)) == ({"canceled": 2}, {"partial": 2})
    assert [desk.held(a).cash_cents for a in accounts] == [999_50] * 2
    assert desk.column("SELECT state FROM block") == ["partial"]
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


@pytest.mark.parametrize(
    ("ending", "left"),
    [
        (BrokerOrderState.CANCELED, "canceled"),
        (BrokerOrderState.EXPIRED, "canceled"),
        (BrokerOrderState.REJECTED, "rejected"),
    ],
)
def test_what_is_left_when_an_order_ends_is_given_back(
    desk: Desk, ending: BrokerOrderState, left: str
) -> None:
    accounts = funded(desk, 3, 10_00)
    block = desk.buy(dict(zip(accounts, (1_00, 5_00, 9_00), strict=True)))
    desk.broker.fill(block, 2, 2)  # at most two orders get any
    desk.broker.end(block, ending, 'the "reason"\\')

    desk.collect()
    desk.collect()

    found = states(desk)
    assert found["partial"] in {1, 2}
    assert found == {"partial": found["partial"], left: 3 - found["partial"]}
    assert desk.column("SELECT state FROM block") == ["partial"]
    assert sum(desk.held(a).cash_cents for a in accounts) == 29_98
    assert {e["code"] for e in events(desk, f"order.{left}")} == {'the "reason"\\'}
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_an_order_is_not_ended_before_its_last_executions_have_come(desk: Desk) -> None:
    accounts = funded(desk, 1)
    block = desk.buy({accounts[0]: 2_00})
    desk.broker.fill(block, 10, 1_00)
    desk.broker.end(block, BrokerOrderState.CANCELED)
    late = desk.broker.done.pop()

    desk.collect()
    waiting = desk.column("SELECT state FROM block")
    desk.broker.done.append(late)
    desk.collect()

    assert waiting == ["open"]
    assert desk.column("SELECT state FROM block") == ["partial"]
    assert desk.held(accounts[0]).cash_cents == 999_00
    assert desk.findings() == []


def test_free_lots_are_sold_before_held_ones_and_older_before_younger(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    for hold in ("2026-12-31", "", ""):
        desk.broker.fill(desk.buy({account: 1_00}, hold=hold), 1_000, 1_00)
        desk.collect()
        desk.next_day()

    desk.broker.fill(desk.sell({account: 2_500}), 2_500, 2_50)
    desk.collect()

    rows = desk.rows("SELECT acquired_on, nanos, basis_cents FROM lot ORDER BY acquired_on")
    assert rows == [("2026-03-02", 500, 50), ("2026-03-03", 0, 0), ("2026-03-04", 0, 0)]
    assert desk.findings() == []


def test_a_block_of_ten_thousand_orders_is_booked_exactly_in_short_turns(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 10_000
    accounts = desk.open("firm_a", count)
    amounts = {a: 1_00 + n % 997 for n, a in enumerate(accounts)}
    desk.fund(amounts)
    block = desk.buy(amounts)
    total = sum(amounts.values())
    desk.broker.fill(block, 123_456_789_012, total)
    sizes: list[int] = []
    write_one = Turns._one

    def counted(turns: Turns, part: Any, write: Any) -> None:
        sizes.append(len(part))
        write_one(turns, part, write)

    monkeypatch.setattr(Turns, "_one", counted)
    desk.db.longest_write_ms = 0.0
    desk.collect()

    with capsys.disabled():
        longest = desk.db.longest_write_ms
        print(f"\n{count} fills in turns of {sizes}, longest {longest:.1f} ms")
    assert sum(sizes) == count
    assert len(sizes) > 3
    assert states(desk) == {"filled": count}
    held = desk.scalar("SELECT sum(amount) FROM balance WHERE book LIKE 'customer/%/holdings'")
    assert held == 123_456_789_012
    assert desk.scalar("SELECT sum(amount) FROM balance WHERE book LIKE '%/reserved'") == 0
    assert desk.findings() == []


def test_the_id_of_a_fill_follows_from_execution_and_order(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    told = desk.broker.fill(desk.buy({account: 1_00}), 10, 1_00)

    desk.collect()

    (order,) = desk.column("SELECT id FROM orders")
    assert desk.column("SELECT id FROM fill") == [child_id("fil", str(order), told.id)]
    assert desk.column("SELECT opened_by FROM lot") == desk.column("SELECT id FROM fill")


def test_what_was_told_before_the_broker_fell_silent_is_booked(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    block = desk.buy({account: 90_00})
    desk.broker.fill(block, 9 * 10**9, 90_00)
    desk.broker.limit = 1
    really = desk.broker.executions

    def silent(after: str, limit: int = 1000) -> ExecutionPage:
        if after == "1":
            message = "one source of two did not answer"
            raise BrokerUnavailableError(message)
        return really(after, limit)

    desk.broker.executions = silent  # type: ignore[method-assign] # the page after the last

    with pytest.raises(BrokerUnavailableError):
        desk.collect()

    assert desk.held(account).holdings_nanos == {1: 9 * 10**9}
    assert states(desk) == {"filled": 1}


@pytest.mark.parametrize("absurd", [{"nanos": 2**70}, {"cents": 2**70}, {"price_micros": 2**70}])
def test_an_amount_that_fits_in_no_column_waits_for_a_person_and_holds_nobody_up(
    desk: Desk, absurd: dict[str, int]
) -> None:
    (account,) = funded(desk, 1)
    block, other = desk.buy({account: 3_00}), desk.buy({account: 3_00}, security=2)
    for _ in range(2):  # two together are more than a database can add
        told = desk.broker.execution(block, 10**8, 3_00)
        desk.broker.done.append(replace(told, **absurd))  # type: ignore[arg-type] # only numbers
    desk.broker.fill_at(other, 10_000_000)

    desk.collect()
    desk.collect()

    assert desk.held(account).holdings_nanos == {2: 3 * 10**8}
    assert desk.column("SELECT DISTINCT why FROM stray") == ["impossible_size"]
    assert desk.column("SELECT DISTINCT blocks FROM recon_break") == [1]
