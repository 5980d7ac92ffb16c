"""Restarts."""

from broker_adapters.kit.bench import Ability, Tempo
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE
from robo.ports.broker import SubmitStatus

_WHOLE = 8


@case(151, Ability.REOPEN)
def a_restart_keeps_orders(desk: Desk) -> None:
    """An order is found after a restart, and its id is still taken."""
    ticket = desk.order("c1")
    desk.accepted(ticket)
    desk.restart()

    assert desk.found(ticket).client_id == "c1"
    assert desk.send(ticket).status is SubmitStatus.DUPLICATE
    desk.exactly_one(ticket)


@case(152, Ability.REOPEN, tempo=Tempo.PARTS)
def a_restart_between_parts_loses_nothing(desk: Desk) -> None:
    """A restart in the middle of an order's parts loses none and repeats none."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    desk.accepted(ticket)
    before = desk.executions()
    desk.restart()
    desk.ended(ticket)
    desk.restart()

    after = desk.executions()
    assert after[: len(before)] == before
    assert sum(one.nanos for one in after) == desk.held() == _WHOLE * SHARE
    desk.books_agree()


@case(153, Ability.REOPEN)
def a_restart_changes_no_reading(desk: Desk) -> None:
    """Positions, cash, orders and executions read the same in a new process."""
    ticket = desk.order("c1")
    desk.filled(ticket)

    def picture() -> object:
        return desk.positions(), desk.cents(), desk.found(ticket), desk.executions()

    before = picture()
    desk.restart()
    assert picture() == before


@case(154, Ability.REOPEN, tempo=Tempo.PARTS)
def many_restarts_in_a_day(desk: Desk) -> None:
    """Orders sent through ten processes, one after the other, are each filled once."""
    tickets = [desk.shares(f"c{index}", 2 * SHARE) for index in range(10)]
    for ticket in tickets:
        desk.accepted(ticket)
        desk.restart()
    for ticket in tickets:
        desk.ended(ticket)

    assert desk.held() == 20 * SHARE
    desk.books_agree()


@case(155, Ability.REOPEN, Ability.HALTS)
def an_open_order_outlives_the_process(desk: Desk) -> None:
    """An order that is open when the process ends can be cancelled by the next."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)
    desk.restart()

    assert desk.broker.cancel("c1").status is SubmitStatus.ACCEPTED
    desk.ended(ticket)
    assert desk.executions() == []


@case(156, Ability.REOPEN)
def two_processes_see_the_same(desk: Desk) -> None:
    """What one process sent, another finds, and cannot send again."""
    other = desk.bench.open(desk.tempo)
    ticket = desk.order("c1")
    desk.accepted(ticket)

    assert other.find("c1") is not None
    assert other.submit(ticket).status is SubmitStatus.DUPLICATE
    desk.ended(ticket)
    assert list(other.executions("", 100).executions) == desk.executions_after("")
