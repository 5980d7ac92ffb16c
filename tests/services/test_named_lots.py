"""A sale closes the lots it was planned with, over partial fills, and keeps what was expected."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from desk import Desk, desk_from, write_template

from robo.core.ids import AccountId
from robo.core.reasons import Reason
from robo.portfolio.problem import TaxMode
from robo.services import assessing, ordering
from robo.services.washing import folding
from robo.store import accounts, effects, lot_chunks, lots, tax_profiles
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.tax_profiles import Choice

SHARE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("named") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def test_a_sale_closes_the_lots_it_means_and_only_then_the_oldest(desk: Desk) -> None:
    account, (oldest, middle, newest) = three_lots(desk)
    sale = ordering.Trade(
        1,
        Reason.SELL_HARVEST,
        sell_nanos=15 * SHARE,
        lots=((newest, 10 * SHARE), (middle, 5 * SHARE)),
    )

    sell_in_parts(desk, account, sale, [4, 8, 3])

    assert left(desk, account) == {oldest: 10 * SHARE, middle: 5 * SHARE}
    assert desk.findings() == []


def test_of_two_lots_that_are_sold_in_part_no_more_goes_than_was_meant(desk: Desk) -> None:
    account, (oldest, middle, newest) = three_lots(desk)
    named = ((newest, 3 * SHARE), (middle, 4 * SHARE))
    sale = ordering.Trade(1, Reason.SELL_HARVEST, sell_nanos=7 * SHARE, lots=named)

    sell_in_parts(desk, account, sale, [2, 2, 3])

    assert left(desk, account) == {oldest: 10 * SHARE, middle: 6 * SHARE, newest: 7 * SHARE}
    assert desk.findings() == []


def test_a_lot_closed_by_one_of_two_fills_booked_together_is_not_closed_again(desk: Desk) -> None:
    account, (oldest, middle, newest) = three_lots(desk)
    sale = ordering.Trade(1, Reason.SELL_HARVEST, sell_nanos=20 * SHARE)
    desk.plan({account: [sale]}, "sale", "")
    desk.send()
    block = str(desk.column("SELECT id FROM block WHERE side = 'sell'")[0])

    for some in (10, 10):
        desk.broker.fill(block, some * SHARE, some * 2_500, price_micros=25_000_000)
    desk.collect()

    closed = desk.rows("SELECT lot_id, -nanos_delta FROM lot_event WHERE kind = 'close'")
    assert sorted(closed) == sorted([(oldest, 10 * SHARE), (middle, 10 * SHARE)])
    assert left(desk, account) == {newest: 10 * SHARE}
    with desk.db.read() as session:
        customer = str(desk.column("SELECT customer_id FROM account")[0])
        books = folding.books_of(session, [customer], desk.today())[customer]
    assert [one.lot_id for one in books.positions()] == [newest]


def test_a_sale_that_means_no_lots_goes_first_in_first_out(desk: Desk) -> None:
    account, (_, middle, newest) = three_lots(desk)
    sale = ordering.Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=12 * SHARE)

    sell_in_parts(desk, account, sale, [12])

    assert left(desk, account) == {middle: 8 * SHARE, newest: 10 * SHARE}


def test_what_a_trade_and_its_plan_were_expected_to_do_is_kept(desk: Desk) -> None:
    account, (oldest, _, _) = three_lots(desk)
    trade = TradeEffect(tax_cents=-1_234, cost_cents=5, tracking_error_ppm=-300)
    plan = PlanEffect(9_000, 8_700, -1_234, 5, -4_000, 0, "mdl_1")
    sale = ordering.Trade(
        1, Reason.SELL_HARVEST, sell_nanos=SHARE, lots=((oldest, SHARE),), effect=trade
    )

    desk.plan({account: [sale]}, "why", "")

    batch = str(desk.column("SELECT batch_id FROM orders WHERE side = 'sell'")[0])
    order = str(desk.column("SELECT id FROM orders WHERE side = 'sell'")[0])
    with desk.db.write() as session:
        effects.write(session, [], [(batch, account, plan)], 1)
    with desk.db.read() as session:
        assert effects.of_orders(session, [order]) == {order: trade}
        assert effects.of_batches(session, [batch]) == {batch: plan}
        assert effects.named_lots(session, [order]) == {order: [(oldest, SHARE)]}


def test_what_an_open_sale_has_sold_already_does_not_count_towards_a_years_target_again(
    desk: Desk,
) -> None:
    account, lot_ids = three_lots(desk)
    desk.clock.advance(timedelta(days=60))
    desk.broker.at = desk.clock.now()
    with desk.db.read() as session:
        customer = accounts.sleeves(session, [account])[account].customer_id
    with desk.db.write() as session:
        aim = Choice(target="amount", target_cents=-200_00, number=1)
        tax_profiles.choose(session, customer, aim)
    before = wanted(desk, account)
    # Bought at $30 and $20, ten shares each, and sold at $15.
    named = tuple((lot_id, 10 * SHARE) for lot_id in lot_ids[::-1][:2])
    gains = (-150_00, -50_00)
    sale = ordering.Trade(
        1, Reason.SELL_YEAR_TARGET, sell_nanos=20 * SHARE, lots=named, gains=gains
    )
    desk.plan({account: [sale]}, "land", "")
    planned = wanted(desk, account)
    desk.send()
    block = str(desk.column("SELECT id FROM block WHERE side = 'sell'")[0])

    after = []
    for some in (4, 6, 5):
        desk.broker.fill(block, some * SHARE, some * 1_500, price_micros=15_000_000)
        desk.collect()
        after.append(wanted(desk, account))

    assert before == (-200_00, TaxMode.HARVEST)
    assert planned == (0, TaxMode.NEUTRAL)
    assert after == [planned] * 3
    with desk.db.read() as session:
        assert effects.open_nets(session, [customer]) == {customer: -25_00}
        assert effects.open_gains(session, [customer]) == {customer: 0}


def wanted(desk: Desk, account: AccountId) -> tuple[int, int]:
    """Return what the year's target still wants, open sales counted, and the mode towards it."""
    with desk.db.read() as session:
        held = lot_chunks.read(session, [account])
        names = np.array([1], dtype=np.int64)
        _, found = assessing.tax_side(
            session, desk.keyring, desk.policy, names, [account], held, desk.today()
        )
    return int(found.aim.wanted_cents[0]), int(found.taxes.mode[0])


def three_lots(desk: Desk) -> tuple[AccountId, tuple[str, str, str]]:
    """Return an account with three lots of ten shares, bought at $10, $20 and $30."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 600_00})
    for dollars in (10, 20, 30):
        block = desk.buy({account: dollars * 1_000})
        desk.broker.fill_at(block, dollars * 1_000_000)
        desk.collect()
        desk.next_day()
    with desk.db.read() as session:
        oldest, middle, newest = (lot.id for lot in lots.open_lots(session, [account])[account])
    return account, (oldest, middle, newest)


def sell_in_parts(desk: Desk, account: AccountId, sale: ordering.Trade, shares: list[int]) -> None:
    desk.plan({account: [sale]}, "sale", "")
    desk.send()
    block = str(desk.column("SELECT id FROM block WHERE side = 'sell'")[0])
    for some in shares:
        desk.broker.fill(block, some * SHARE, some * 2_500, price_micros=25_000_000)
        desk.collect()


def left(desk: Desk, account: AccountId) -> dict[str, int]:
    with desk.db.read() as session:
        return {lot.id: lot.nanos for lot in lots.open_lots(session, [account])[account]}
