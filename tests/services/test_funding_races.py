"""Fifty at once want the same cash: it leaves once, and the books stay whole."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from funds import ScriptedBank, ask, collect, investor, link_of
from world import World, make_world

from robo.core.errors import RoboError
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.services import withdrawing


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def at_once(count: int, work: Callable[[int], object]) -> list[str]:
    """Run something in many threads; return the codes of what was refused, `ok` for the rest."""
    codes: list[str] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        start.wait()
        try:
            work(number)
            codes.append("ok")
        except RoboError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def test_fifty_withdrawals_of_the_same_cash_pay_it_once(world: World) -> None:
    account, r = investor(world), world.runtime
    world.pay_in(account, 100_00)
    link = link_of(world, account)

    codes = at_once(
        50,
        lambda n: withdrawing.request(
            world.db,
            r.keyring,
            r.prices,
            r.clock,
            account,
            child_id("wdr", n),
            link,
            60_00,
        ),
    )

    assert codes.count("ok") == 1
    assert len(codes) == 50
    assert world.balances(account).outgoing_cents == 60_00
    assert world.balances(account).cash_cents == 40_00
    assert world.findings() == []


def test_withdrawals_returns_settlements_and_trades_at_once_never_spend_a_cent_twice(
    world: World,
) -> None:
    bank, r = ScriptedBank(), world.runtime
    account = investor(world)
    first = ask(world, account, 100_00, "1")
    bank.say(world, first.id, "available", "settled")
    collect(world, bank)
    bank.say(world, first.id, "returned", code="R10")
    link = link_of(world, account)

    def work(number: int) -> None:
        match number % 4:
            case 0:
                withdrawing.request(
                    world.db,
                    r.keyring,
                    r.prices,
                    r.clock,
                    account,
                    child_id("wdr", number),
                    link,
                    100_00,
                )
            case 1:
                collect(world, bank)
            case 2:
                ask(world, account, 1_00, str(number))
            case _:
                withdrawing.pay(world.db, r.keyring, bank, r.clock, r.policy)

    at_once(24, work)
    collect(world, bank)

    balances = world.balances(account)
    sent = world.scalar("SELECT sum(promised_cents) FROM withdrawal WHERE state = 'sent'")
    owed = world.scalar("SELECT sum(owed_cents) FROM deposit")
    # The $100 went back to the bank, or to the customer; if to the customer, they are owed.
    assert (balances.outgoing_cents, owed) in {(0, 0), (100_00, 100_00)}
    assert balances.outgoing_cents == sent
    assert balances.cash_cents == 0
    assert world.findings() == []
