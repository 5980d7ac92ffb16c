"""What brokers do after the fact: fills after the end, trades taken back, trades corrected."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from desk import Desk, broker_equals_books, desk_from, write_template
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.core.ids import AccountId, FirmId
from robo.core.reasons import Reason
from robo.ledger import chart
from robo.ports.broker import BrokerOrderState, ExecutionKind
from robo.services import resolving
from robo.services.resolving import ExecutionVerdict, Word
from robo.store import inventory, ledger
from robo.store.database import bulk

SHARE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("late") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def funded(desk: Desk, count: int, cents: int = 100_00) -> list[AccountId]:
    accounts = desk.open("firm_a", count)
    desk.fund(dict.fromkeys(accounts, cents))
    return accounts


def own(desk: Desk) -> tuple[dict[int, int], int]:
    with desk.db.read() as session:
        book = chart.inventory(FirmId("firm_a"))
        return inventory.held(session, "firm_a"), ledger.balance(session, book)


def states(desk: Desk) -> list[object]:
    return desk.column("SELECT state FROM orders ORDER BY planned_at, id")


def right(desk: Desk) -> None:
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []
    street = -desk.scalar(
        "SELECT sum(amount) FROM balance WHERE book IN ('street/market', 'street/fees') "
        "AND asset = 'USD/2'"
    )
    assert desk.broker.cash("omnibus/firm_a").total_cents == street


def test_a_late_fill_whose_cash_is_spent_is_the_firms_and_nobody_goes_below_nothing(
    desk: Desk,
) -> None:
    spent, saved = funded(desk, 2, 10_00)
    block = desk.buy({spent: 10_00, saved: 10_00})
    desk.broker.end(block, BrokerOrderState.EXPIRED)
    desk.collect()
    again = desk.buy({spent: 10_00}, security=2)  # the remainder is planned again
    desk.broker.fill(block, 2 * SHARE, 20_00)

    desk.collect()
    desk.broker.fill_at(again, 10_000_000)
    desk.collect()

    assert desk.held(spent).holdings_nanos == {2: SHARE}
    assert desk.held(saved).holdings_nanos == {1: SHARE}
    assert own(desk) == ({1: SHARE}, -10_00)
    right(desk)


@pytest.mark.parametrize("day", [0, 2], ids=["executed before the loss", "executed after it"])
def test_a_late_purchase_of_what_was_sold_at_a_loss_since_is_the_firms(
    desk: Desk, day: int
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    desk.clock.advance(timedelta(days=60))
    first = desk.clock.now()
    block = desk.buy({account: 10_00}, cause="late")
    desk.broker.end(block, BrokerOrderState.CANCELED)
    desk.collect()
    desk.clock.advance(timedelta(days=1))
    desk.broker.at = desk.clock.now()
    desk.broker.fill_at(desk.sell({account: 5 * SHARE}), 8_000_000)
    desk.collect()
    desk.clock.advance(timedelta(days=1))
    desk.broker.at = first + timedelta(days=day)

    desk.broker.fill_at(block, 8_000_000)
    desk.collect()

    assert desk.held(account).holdings_nanos == {}
    assert own(desk) == ({1: SHARE * 5 // 4}, -10_00)
    right(desk)


@pytest.mark.parametrize(
    ("why", "bought_day", "price", "apart", "firms"),
    [
        (Reason.SELL_HARVEST, 0, 8, False, True),
        (Reason.SELL_HARVEST, 0, 8, True, False),
        (Reason.SELL_WITHDRAWAL, 2, 8, False, True),
        (Reason.SELL_WITHDRAWAL, 0, 8, False, False),
        (Reason.SELL_HARVEST, 2, 12, False, False),
    ],
)
def test_a_late_sale_at_a_loss_beside_fresh_shares_is_the_firms_unless_it_was_asked_for_before(
    desk: Desk, why: Reason, bought_day: int, price: int, *, apart: bool, firms: bool
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    desk.clock.advance(timedelta(days=60))
    for day in range(4):
        desk.broker.at = desk.clock.now()
        if day == bought_day:
            desk.broker.fill_at(desk.buy({account: 10_00}, cause="fresh"), 10_000_000)
            desk.collect()
        if day == 1:
            block = desk.sell({account: 5 * SHARE}, cause="late", why=why)
            desk.broker.end(block, BrokerOrderState.CANCELED)
            desk.collect()
        desk.clock.advance(timedelta(days=1))
    desk.broker.at = desk.clock.now() - timedelta(days=3)
    if apart:  # the broker keeps an account for each customer: the shares have left it
        with desk.db.write() as session:
            bulk(session, "UPDATE block SET broker_account = 'apart' WHERE id = ?", [(block,)])

    desk.broker.fill_at(block, price * 1_000_000)
    desk.collect()

    assert desk.held(account).holdings_nanos == {1: 6 * SHARE if firms else SHARE}
    assert own(desk) == (({1: -5 * SHARE}, price * 5_00) if firms else ({}, 0))
    right(desk)


def test_a_late_sale_at_a_loss_told_beside_a_late_purchase_of_the_name_is_the_firms(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    desk.clock.advance(timedelta(days=60))
    desk.broker.at = desk.clock.now()
    blocks = [
        desk.sell({account: 5 * SHARE}, cause="late sale"),
        desk.buy({account: 8_00}, cause="late purchase"),
    ]
    for block in blocks:
        desk.broker.end(block, BrokerOrderState.CANCELED)
    desk.collect()

    for block in blocks:
        desk.broker.fill_at(block, 8_000_000)
    desk.collect()

    assert desk.held(account).holdings_nanos == {1: 6 * SHARE}
    assert own(desk) == ({1: -5 * SHARE}, 40_00)
    right(desk)


def test_a_late_fill_in_parts_is_split_the_same_whether_or_not_the_firm_took_a_part(
    desk: Desk,
) -> None:
    spent, saved = funded(desk, 2, 10_00)
    block = desk.buy({spent: 10_00, saved: 10_00})
    desk.broker.end(block, BrokerOrderState.CANCELED)
    desk.collect()
    desk.buy({spent: 10_00}, security=2)
    for cents in (3_00, 7_00, 10_00):
        desk.broker.fill(block, cents * 10**6, cents)
        desk.collect()

    held, cash = own(desk)

    assert desk.held(saved).holdings_nanos == {1: 10_00 * 10**6}
    assert (held, cash) == ({1: 10_00 * 10**6}, -10_00)
    right(desk)


def test_a_late_sale_of_shares_promised_to_another_sale_is_the_firms(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    first = desk.sell({account: 5 * SHARE}, cause="first")
    desk.broker.end(first, BrokerOrderState.CANCELED)
    desk.collect()
    second = desk.sell({account: 5 * SHARE}, cause="second")
    desk.broker.fill_at(first, 10_000_000)
    desk.collect()
    desk.broker.fill_at(second, 10_000_000)

    desk.collect()

    assert desk.held(account).holdings_nanos == {}
    assert own(desk) == ({1: -5 * SHARE}, 50_00)
    right(desk)


def test_a_purchase_that_did_not_happen_gives_the_cash_back(desk: Desk) -> None:
    accounts = funded(desk, 3)
    told = desk.broker.fill_at(desk.buy(dict.fromkeys(accounts, 10_00)), 7_000_000)
    desk.collect()
    desk.broker.bust(told)

    desk.collect()
    desk.collect()

    assert [desk.held(a).cash_cents for a in accounts] == [100_00] * 3
    assert [desk.held(a).holdings_nanos for a in accounts] == [{}] * 3
    assert states(desk) == ["canceled"] * 3
    right(desk)


@pytest.mark.parametrize("sold_first", [True, False], ids=["filled by then", "fills later"])
def test_a_purchase_taken_back_while_its_shares_are_being_sold_stops_no_booking(
    desk: Desk,
    sold_first: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    (account,) = funded(desk, 1)
    told = desk.broker.fill_at(desk.buy({account: 10_00}), 5_000_000)
    desk.collect()
    sale = desk.sell({account: 2 * SHARE})
    if sold_first:
        desk.broker.fill_at(sale, 5_000_000)
    desk.broker.bust(told)
    desk.collect()
    if not sold_first:
        desk.broker.fill_at(sale, 5_000_000)

    desk.collect()
    desk.collect()

    assert desk.held(account).holdings_nanos == {}
    assert desk.held(account).unsettled_cents == 10_00
    assert own(desk) == ({1: -2 * SHARE}, 10_00)
    assert states(desk) == ["filled"] * 2
    assert desk.column("SELECT count(*) FROM job_failure") == [0]
    right(desk)


def test_a_correction_is_booked_at_its_new_price(desk: Desk) -> None:
    accounts = funded(desk, 2)
    block = desk.buy(dict.fromkeys(accounts, 10_00))
    told = desk.broker.fill(block, 2 * SHARE, 20_00)
    desk.collect()
    desk.broker.bust(told)
    desk.broker.fill(block, 4 * SHARE, 20_00, price_micros=5_000_000, name="corrected")

    desk.collect()
    desk.collect()

    assert [desk.held(a).holdings_nanos for a in accounts] == [{1: 2 * SHARE}] * 2
    assert states(desk) == ["filled"] * 2
    right(desk)


@pytest.mark.parametrize("booked_between", [True, False])
def test_a_price_corrected_upwards_is_booked_and_the_firm_has_what_goes_beyond(
    desk: Desk,
    booked_between: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    accounts = funded(desk, 2)
    block = desk.buy(dict.fromkeys(accounts, 10_00))
    told = desk.broker.fill(block, 2 * SHARE, 20_00)
    if booked_between:
        desk.collect()
    desk.broker.bust(told)
    desk.broker.fill(block, 2 * SHARE, 20_01, price_micros=10_005_000, name="corrected")

    desk.collect()
    desk.collect()

    excess = 2 * SHARE - 2 * SHARE * 20_00 // 20_01
    assert sum(desk.held(a).holdings_nanos[1] for a in accounts) == 2 * SHARE - excess
    assert [desk.held(a).cash_cents for a in accounts] == [90_00] * 2
    assert own(desk) == ({1: excess}, -1)
    assert states(desk) == ["filled"] * 2
    right(desk)


def test_a_bust_of_a_little_lets_its_order_grow_by_no_more_than_a_little(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    block = desk.buy({account: 10_00})
    little = desk.broker.fill(block, SHARE // 1000, 1)
    desk.broker.fill(block, SHARE - SHARE // 1000, 9_99)
    desk.broker.bust(little)
    desk.broker.fill(block, SHARE // 1000, 2, name="corrected")
    desk.broker.fill(block, SHARE, 9_00, name="far too much")

    desk.collect()

    assert desk.column("SELECT id FROM stray") == ["far too much"]
    assert desk.scalar("SELECT executed_cents FROM block") == 10_01


def test_a_sale_corrected_to_more_shares_is_booked_and_the_firm_owes_what_goes_beyond(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    block = desk.sell({account: 2 * SHARE})
    told = desk.broker.fill_at(block, 10_000_000)
    desk.collect()
    desk.broker.bust(told)
    desk.broker.fill(block, 3 * SHARE, 30_00, name="corrected")

    desk.collect()
    desk.collect()

    assert desk.held(account).holdings_nanos == {1: 3 * SHARE}
    assert own(desk) == ({1: -SHARE}, 10_00)
    right(desk)


def test_what_a_customer_kept_of_a_corrected_trade_is_not_bought_for_him_twice(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    block = desk.buy({account: 10_00})
    told = desk.broker.fill_at(block, 10_000_000)
    desk.collect()
    desk.broker.fill_at(desk.sell({account: SHARE // 2}), 11_000_000)
    desk.collect()
    desk.broker.bust(told)
    desk.broker.fill(block, SHARE, 10_05, price_micros=10_050_000, name="corrected")

    desk.collect()
    desk.collect()

    assert desk.held(account).holdings_nanos == {1: SHARE // 2}
    assert own(desk) == ({}, -5)
    right(desk)


def test_a_late_fill_that_the_firm_took_is_corrected_on_the_firms_book(desk: Desk) -> None:
    (account,) = funded(desk, 1, 10_00)
    block = desk.buy({account: 10_00})
    desk.broker.end(block, BrokerOrderState.EXPIRED)
    desk.collect()
    desk.buy({account: 10_00}, security=2)
    told = desk.broker.fill(block, SHARE, 10_00)
    desk.collect()
    desk.broker.bust(told)
    desk.broker.fill(block, SHARE, 10_03, price_micros=10_030_000, name="corrected")

    desk.collect()
    desk.collect()

    assert own(desk) == ({1: SHARE}, -10_03)
    right(desk)


def test_a_part_that_is_taken_back_while_the_order_works_is_reserved_again(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    block = desk.buy({account: 10_00})
    told = desk.broker.fill(block, SHARE // 2, 5_00)
    desk.collect()
    desk.broker.bust(told)
    desk.collect()
    reserved = desk.held(account).reserved_cents
    desk.broker.fill_at(block, 10_000_000)

    desk.collect()

    assert reserved == 10_00
    assert states(desk) == ["filled"]
    right(desk)


def test_a_sale_that_did_not_happen_brings_shares_lots_and_fees_back(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    for cents in (20_00, 30_00):
        desk.broker.fill_at(desk.buy({account: cents}), 10_000_000)
        desk.collect()
    lots = desk.rows("SELECT id, nanos, basis_cents FROM lot ORDER BY id")
    told = desk.broker.fill_at(desk.sell({account: 4 * SHARE}), 12_000_000, 3)
    desk.collect()
    desk.broker.bust(told)

    desk.collect()

    assert desk.held(account).holdings_nanos == {1: 5 * SHARE}
    assert desk.held(account).unsettled_cents == 0
    assert desk.rows("SELECT id, nanos, basis_cents FROM lot ORDER BY id") == lots
    right(desk)


def test_shares_that_were_sold_meanwhile_stay_sold_and_the_firm_owes_them(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    told = desk.broker.fill_at(desk.buy({account: 10_00}), 10_000_000)
    desk.collect()
    desk.broker.fill_at(desk.sell({account: SHARE}), 11_000_000)
    desk.collect()
    desk.broker.bust(told)

    desk.collect()

    assert desk.held(account).unsettled_cents == 11_00
    assert own(desk) == ({1: -SHARE}, 10_00)
    right(desk)


def test_a_bust_of_nothing_of_ours_twice_or_of_another_amount_is_told_not_booked(
    desk: Desk,
) -> None:
    from dataclasses import replace

    (account,) = funded(desk, 1)
    told = desk.broker.fill_at(desk.buy({account: 10_00}), 10_000_000)
    bust = desk.broker.bust(told)
    desk.collect()
    desk.broker.done += [
        replace(bust, id="again"),
        replace(bust, id="other", busts="never-told"),
    ]

    desk.collect()

    why = desk.column("SELECT payload FROM event WHERE kind = 'break.execution' ORDER BY seq")
    assert [str(one).split('"why": ')[1] for one in why] == [
        '"busted_twice"}',
        '"busts_nothing_of_ours"}',
    ]
    assert desk.findings() == []


def test_what_was_told_under_longer_ids_is_booked_once_by_an_adapter_that_forgot_that(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1, 30_00)
    block = desk.buy({account: 30_00})
    first = desk.broker.fill(block, SHARE, 10_00, name="20260302100000000::one")
    gone = desk.broker.bust(desk.broker.fill(block, SHARE, 10_00, name="20260302100000000::two"))
    desk.collect()
    # The adapter has lost its file, and tells everything once more as it tells it now.
    short = [replace(one, id=one.id.rpartition("::")[2]) for one in (first, gone)]
    desk.broker.done += [replace(one, busts=one.busts.rpartition("::")[2]) for one in short]
    desk.collect()
    twice = desk.held(account).holdings_nanos, desk.scalar("SELECT count(*) FROM stray")

    desk.broker.done.append(replace(first, id="late", kind=ExecutionKind.BUST, busts="one"))
    desk.collect()

    assert twice == ({1: SHARE}, 0)
    assert desk.held(account).holdings_nanos == {}
    assert desk.scalar("SELECT count(*) FROM stray") == 0
    assert desk.findings() == []


@pytest.mark.parametrize("first", ["one", "20260302100000000::one"])
def test_a_stray_that_was_told_under_two_ids_is_booked_once_whichever_is_adopted_first(
    desk: Desk, first: str
) -> None:
    (account,) = funded(desk, 1)
    block = desk.buy({account: 10_00})
    desk.broker.fill(block, SHARE, 10_00)
    far = desk.broker.fill(block, SHARE // 4, 2_50, name="20260302100000000::one")
    desk.collect()
    desk.broker.done.append(replace(far, id="one"))
    desk.collect()
    kept = sorted(map(str, desk.column("SELECT id FROM stray")), key=lambda one: one != first)

    for stray in kept:
        resolving.execution(
            desk.db, desk.keyring, desk.clock, stray, ExecutionVerdict.ADOPT, Word("seen", "op")
        )
    desk.collect()

    assert kept == [first, *{"one", "20260302100000000::one"} - {first}]
    assert set(desk.column("SELECT state FROM stray")) == {"adopted"}
    assert desk.scalar("SELECT count(*) FROM execution") == 2
    gone = replace(far, id="gone", kind=ExecutionKind.BUST, busts="20260302100000000::one")
    desk.broker.done.append(gone)
    desk.collect()
    assert desk.held(account).holdings_nanos[1] + own(desk)[0].get(1, 0) == SHARE
    assert (desk.scalar("SELECT count(*) FROM stray"), desk.findings()) == (2, [])


@settings(max_examples=12)
@given(st.data())
def test_whatever_comes_late_or_is_taken_back_books_and_broker_agree(
    template: Path, data: st.DataObject
) -> None:
    with desk_from(template, template.parent) as desk:
        accounts = funded(desk, 3, 50_00)
        for number in range(4):
            buyers = [a for a in accounts if desk.held(a).cash_cents >= 10_00]
            if buyers:
                desk.buy(dict.fromkeys(buyers, 10_00), security=1 + number % 2)
            for block in list(desk.broker.orders):
                one = desk.broker.orders[block]
                left = (one.notional_cents or 0) - one.filled_cents
                if left and data.draw(st.booleans()):
                    cents = data.draw(st.integers(1, left))
                    desk.broker.fill(block, cents * 10**6 + 1, cents)
                if not desk.broker.orders[block].state.final and data.draw(st.booleans()):
                    desk.broker.end(block, BrokerOrderState.CANCELED)
            gone = {one.busts for one in desk.broker.done}
            alive = [e for e in desk.broker.done if not e.busts and e.id not in gone]
            if alive and data.draw(st.booleans()):
                desk.broker.bust(data.draw(st.sampled_from(alive)))
            if data.draw(st.booleans()):
                desk.collect()
        desk.collect()
        desk.collect()

        right(desk)
