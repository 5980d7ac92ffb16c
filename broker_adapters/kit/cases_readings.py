"""Readings: what could not be read is never nothing."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from broker_adapters.kit.bench import Ability, Call, Trouble
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import ALWAYS, SHARE, Desk
from broker_adapters.kit.market import APPLE
from robo.core.errors import BrokerUnavailableError
from robo.ports.broker import Execution

_UGLY: Final = (
    Trouble.BUSY,
    Trouble.LOST_BEFORE,
    Trouble.LOCKED,
    Trouble.MOVED,
    Trouble.HALF_AFTER,
    Trouble.PAGE_AFTER,
    Trouble.EMPTY_AFTER,
    Trouble.SHAPE_AFTER,
    Trouble.ERROR_AFTER,
)


def _unreadable(
    desk: Desk,
    call: Call,
    read: Callable[[], object],
    *also: Trouble,
    kept: bool = False,
) -> None:
    """Assert that every kind of trouble is raised as "unavailable", and that it passes.

    What never changes may be `kept` by the adapter: then it may also give the right answer.
    """
    good = read()
    for trouble in (*_UGLY, *also):
        if trouble not in desk.bench.troubles:
            continue
        desk.trouble(trouble, call, times=ALWAYS)
        try:
            answer = read()
        except BrokerUnavailableError:
            pass
        else:
            assert kept, f"{trouble.value}: the adapter says {answer!r}"
            assert answer == good, trouble
        finally:
            desk.bench.calm()
    assert read() == good


@case(51, Trouble.BUSY)
def positions_that_cannot_be_read(desk: Desk) -> None:
    """Positions that cannot be read are unavailable, never an empty account."""
    desk.hold(APPLE, 1)
    _unreadable(
        desk, Call.POSITIONS, lambda: list(desk.broker.positions(desk.account)), Trouble.NOT_NUMBERS
    )


@case(52, Trouble.BUSY)
def cash_that_cannot_be_read(desk: Desk) -> None:
    """Cash that cannot be read is unavailable, never zero."""
    desk.hold(APPLE, 1)
    _unreadable(
        desk,
        Call.CASH,
        lambda: desk.broker.cash(desk.account),
        Trouble.NOT_NUMBERS,
        Trouble.NO_AMOUNTS,
    )


@case(53, Trouble.BUSY)
def executions_that_cannot_be_read(desk: Desk) -> None:
    """Executions that cannot be read are unavailable, never an empty page."""
    desk.hold(APPLE, 1)
    also = (Trouble.NOT_NUMBERS, Trouble.NO_AMOUNTS)
    _unreadable(desk, Call.EXECUTIONS, desk.executions, *also, kept=True)


@case(54, Trouble.BUSY)
def an_order_that_cannot_be_read(desk: Desk) -> None:
    """An order that cannot be looked up is unavailable, never absent."""
    ticket = desk.order("c1")
    desk.filled(ticket)
    _unreadable(desk, Call.FIND, lambda: desk.broker.find("c1"), Trouble.NO_AMOUNTS)


@case(55, Trouble.BUSY)
def activities_that_cannot_be_read(desk: Desk) -> None:
    """Activities that cannot be read are unavailable, never an empty page."""
    _unreadable(desk, Call.ACTIVITIES, desk.activities, kept=True)


@case(56, Trouble.BUSY)
def half_a_mass_status_is_none(desk: Desk) -> None:
    """If any part of a mass status cannot be read, there is no mass status."""
    desk.hold(APPLE, 1)
    for call in (Call.POSITIONS, Call.CASH):
        desk.unreadable(Trouble.BUSY, call, lambda: desk.broker.mass_status(desk.account))


@case(57, Ability.HALTS)
def a_mass_status_says_what_the_parts_say(desk: Desk) -> None:
    """The mass status has every open order, every position and the cash, as the single calls do."""
    desk.hold(APPLE, 2)
    desk.bench.halt(APPLE)
    waiting = [desk.order(f"c{index}") for index in range(3)]
    desk.accepted(*waiting)

    status = desk.broker.mass_status(desk.account)

    assert status.broker_account == desk.account
    assert {one.client_id for one in status.open_orders} == {one.client_id for one in waiting}
    assert list(status.open_orders) == [
        desk.broker.find(one.client_id) for one in status.open_orders
    ]
    assert sorted(status.positions, key=lambda one: one.security_id) == sorted(
        desk.broker.positions(desk.account), key=lambda one: one.security_id
    )
    assert status.cash == desk.broker.cash(desk.account)


@case(58, Ability.ACCOUNTS, Ability.HALTS)
def a_mass_status_is_of_one_account(desk: Desk) -> None:
    """The mass status of an account has nothing of another."""
    desk.bench.halt(APPLE)
    first, second = desk.bench.accounts[:2]
    desk.accepted(desk.order("c1", account=first), desk.order("c2", account=second))

    status = desk.broker.mass_status(second)

    assert [one.client_id for one in status.open_orders] == ["c2"]
    assert list(status.positions) == []


@case(59, Trouble.BUSY)
def nothing_is_remembered_from_before(desk: Desk) -> None:
    """A reading that fails is not answered from memory: what was true before may be no more."""
    desk.hold(APPLE, 1)
    desk.positions()
    desk.cents()
    for call, read in (
        (Call.POSITIONS, lambda: desk.broker.positions(desk.account)),
        (Call.CASH, lambda: desk.broker.cash(desk.account)),
    ):
        desk.trouble(Trouble.BUSY, call, times=ALWAYS)
        try:
            read()
        except BrokerUnavailableError:
            continue
        message = f"{call.value} was answered while the broker could not be asked"
        raise AssertionError(message)


@case(60, Trouble.NO_AMOUNTS, Ability.TIME)
def an_execution_that_cannot_be_read_is_not_lost(desk: Desk) -> None:
    """An execution that comes without its amounts is not booked as nothing, and comes later."""
    ticket = desk.shares("c1", 2 * SHARE)
    desk.filled(ticket)
    desk.trouble(Trouble.NO_AMOUNTS, Call.EXECUTIONS, times=ALWAYS)
    cursor, told = "", list[Execution]()
    with suppress(BrokerUnavailableError):
        page = desk.broker.executions("")
        assert all(one.nanos > 0 for one in page.executions)
        cursor, told = page.cursor, list(page.executions)
    desk.bench.calm()
    desk.wait(3_600.0)

    told += desk.executions_after(cursor)
    assert sum(one.nanos for one in told) == 2 * SHARE
    desk.books_agree()
