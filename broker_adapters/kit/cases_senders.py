"""Several senders at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from broker_adapters.kit.bench import Ability
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import SHARE, Desk
from robo.ports.broker import OrderTicket, SubmitStatus

_Answer = TypeVar("_Answer")
_SENDERS = 4
_EACH = 4


def _together(jobs: Sequence[Callable[[], _Answer]]) -> list[_Answer]:
    """Run jobs at the same time, and return their answers."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [one.result() for one in [pool.submit(job) for job in jobs]]


def _once(desk: Desk, ticket: OrderTicket, statuses: Sequence[SubmitStatus]) -> None:
    """Assert that of several answers to one id at most one says that it is new."""
    allowed = {SubmitStatus.ACCEPTED, SubmitStatus.DUPLICATE, SubmitStatus.UNKNOWN}
    assert set(statuses) <= allowed
    assert statuses.count(SubmitStatus.ACCEPTED) <= 1
    desk.exactly_one(ticket)
    desk.ended(ticket)
    desk.books_agree()


@case(181)
def one_id_from_two_threads(desk: Desk) -> None:
    """Two threads that send one id make one order."""
    ticket = desk.order("c1")

    results = _together([lambda: desk.send(ticket)] * 2)

    _once(desk, ticket, [result.status for result in results])


@case(182, Ability.REOPEN)
def one_id_from_two_processes(desk: Desk) -> None:
    """Two adapters over the same state that send one id make one order."""
    other = desk.bench.open(desk.tempo)
    ticket = desk.order("c1")

    results = _together([lambda: desk.send(ticket), lambda: other.submit(ticket)])

    _once(desk, ticket, [result.status for result in results])


@case(183)
def many_ids_from_many_threads(desk: Desk) -> None:
    """Four threads that send four orders each make sixteen orders."""
    tickets = [desk.shares(f"c{index}", SHARE) for index in range(_SENDERS * _EACH)]

    _together([partial(desk.accepted, *tickets[i::_SENDERS]) for i in range(_SENDERS)])

    for ticket in tickets:
        desk.ended(ticket)
    assert desk.held() == len(tickets) * SHARE
    assert len({one.client_id for one in desk.executions()}) == len(tickets)
    desk.books_agree()


@case(184)
def reading_while_sending(desk: Desk) -> None:
    """Executions read while orders are being sent come once each, and all in the end."""
    tickets = [desk.shares(f"c{index}", SHARE) for index in range(_SENDERS * 2)]

    def send() -> tuple[str, list[str]]:
        desk.accepted(*tickets)
        return "", []

    def read() -> tuple[str, list[str]]:
        cursor, ids = "", list[str]()
        for _ in range(10):
            page = desk.broker.executions(cursor, 3)
            ids += [one.id for one in page.executions]
            cursor = page.cursor
        return cursor, ids

    _, (cursor, early) = _together([send, read])
    for ticket in tickets:
        desk.ended(ticket)
    ids = early + [one.id for one in desk.executions_after(cursor)]

    assert len(set(ids)) == len(ids)
    assert set(ids) == {one.id for one in desk.executions_after("")}
    desk.books_agree()


@case(185, Ability.HALTS)
def a_cancel_and_a_repetition_at_once(desk: Desk) -> None:
    """A cancel and the same ticket told again at the same time leave one order that has ended."""
    ticket = desk.order("c1")
    desk.bench.halt(desk.order("x").security_id)
    desk.accepted(ticket)

    _together([lambda: desk.broker.cancel("c1"), lambda: desk.send(ticket)])

    desk.exactly_one(ticket)
    desk.ended(ticket)
    assert desk.executions() == []
