"""Activity and orders: in plain words, complete, and the same whatever the size of a page."""

from collections.abc import Iterator

import pytest
from funds import ScriptedBank, ask, collect, investor, link_of
from world import World, make_world

from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import reporting, withdrawing
from robo.services.reporting import Activity, OrderLine


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[tuple[World, AccountId]]:
    """An account with deposits, buys, a withdrawal, sells and a return."""
    with make_world(tmp_path_factory.mktemp("w") / "state", short_calendar) as world:
        bank, r = ScriptedBank(), world.runtime
        account = investor(world)
        first = ask(world, account, 150_00, "1")
        bank.say(world, first.id, "pending", "available", "settled")
        collect(world, bank)
        world.trade()
        world.next_session()
        second = ask(world, account, 7_00, "2")
        bank.say(world, second.id, "available", "settled")
        collect(world, bank)
        world.trade()
        link = link_of(world, account)
        withdrawing.request(world.db, r.keyring, r.prices, r.clock, account, "wdr_1", link, 40_00)
        for _ in range(2):
            world.trade()
            world.next_session()
            withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
        bank.say(world, "wdr_1", "settled")
        collect(world, bank)
        bank.say(world, second.id, "returned", code="R10")
        collect(world, bank)
        yield world, account


def activities(world: World, account: AccountId, limit: int) -> list[Activity]:
    found: list[Activity] = []
    before: int | None = None
    while True:
        with world.db.read() as session:
            page, before = reporting.activity(session, account, before, limit)
        assert len(page) <= limit
        found += page
        if before is None:
            return found


def lines(world: World, account: AccountId, limit: int) -> list[OrderLine]:
    found: list[OrderLine] = []
    before: tuple[int, str] | None = None
    while True:
        with world.db.read() as session:
            page, before = reporting.order_lines(session, account, before, limit)
        assert len(page) <= limit
        found += page
        if before is None:
            return found


def test_every_kind_of_movement_has_a_sentence_and_the_amounts_add_up_to_the_cash(
    story: tuple[World, AccountId],
) -> None:
    world, account = story

    found = activities(world, account, 50)

    kinds = {item.kind for item in found}
    assert {"deposit", "advance", "buy", "sell", "settle", "withdraw", "paid", "returned"} <= kinds
    assert all(item.sentence.endswith(".") and "{" not in item.sentence for item in found)
    buy = next(item for item in found if item.kind == "buy")
    assert buy.sentence.startswith("Bought 0.")
    assert f" of {buy.symbol} for $" in buy.sentence
    assert buy.cents < 0 < buy.nanos
    inner = {"settle", "withdraw", "withdraw_undone"}
    balances = world.balances(account)
    total = balances.cash_cents + balances.unsettled_cents + balances.outgoing_cents
    assert sum(item.cents for item in found if item.kind not in inner) == total


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_of_any_size_show_the_same_activities(
    story: tuple[World, AccountId], limit: int
) -> None:
    world, account = story

    found = activities(world, account, limit)

    assert found == activities(world, account, 99)
    assert [item.seq for item in found] == sorted((item.seq for item in found), reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_of_any_size_show_the_same_orders_and_skips(
    story: tuple[World, AccountId], limit: int
) -> None:
    world, account = story

    found = lines(world, account, limit)

    assert found == lines(world, account, 99)
    assert len(found) == world.scalar("SELECT (SELECT count(*) FROM orders) + count(*) FROM skip")
    assert all(line.sentence for line in found)
    assert any(line.skip is not None for line in found)
    assert {line.order.side for line in found if line.order is not None} == {"buy", "sell"}
