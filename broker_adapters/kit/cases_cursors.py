"""Pages and cursors of executions."""

from contextlib import suppress

from broker_adapters.kit.bench import Ability, Call, Tempo, Trouble
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE, BANK
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.ports.broker import Execution

_ORDERS = 9
_SHORT = 4


def _trade(desk: Desk, count: int = _ORDERS) -> None:
    desk.filled(*[desk.order(f"c{index}", (APPLE, BANK)[index % 2]) for index in range(count)])


@case(91, tempo=Tempo.PARTS)
def every_page_size_walks_the_same_list(desk: Desk) -> None:
    """Read in pages of one, of four or of a thousand, executions are the same in the same order."""
    _trade(desk)
    everything = desk.executions()

    assert len(everything) > _ORDERS
    assert desk.executions(limit=1) == everything
    assert desk.executions(limit=4) == everything


@case(92)
def a_page_keeps_to_its_limit(desk: Desk) -> None:
    """A page is never longer than asked for, and full while there is more."""
    _trade(desk)

    lengths = []
    cursor = ""
    while page := desk.broker.executions(cursor, _SHORT).executions:
        lengths.append(len(page))
        cursor = desk.broker.executions(cursor, _SHORT).cursor

    assert max(lengths) <= _SHORT
    assert sum(lengths) == len(desk.executions_after(""))


@case(93)
def the_end_stays_the_end(desk: Desk) -> None:
    """At the end a page is empty and its cursor is the one it was asked with."""
    _trade(desk)
    cursor = ""
    while (page := desk.broker.executions(cursor, _SHORT)).executions:
        cursor = page.cursor

    for _ in range(2):
        last = desk.broker.executions(cursor, _SHORT)
        assert (list(last.executions), last.cursor) == ([], cursor)


@case(94)
def an_account_without_trades_has_no_executions(desk: Desk) -> None:
    """Before the first trade there is nothing to read, and that is an answer."""
    assert desk.executions() == []
    assert desk.activities() == []


@case(95)
def ids_of_executions_are_unique(desk: Desk) -> None:
    """No two executions share an id, and none is empty."""
    _trade(desk)
    ids = [one.id for one in desk.executions()]

    assert len(set(ids)) == len(ids) >= _ORDERS
    assert all(ids)


@case(96)
def a_cursor_continues_after_what_it_has_told(desk: Desk) -> None:
    """What trades after a cursor was given comes after it; nothing comes twice."""
    _trade(desk)
    first = desk.executions()
    cursor = desk.broker.executions(_walk(desk), 1_000).cursor

    desk.filled(desk.order("late"))

    late = desk.executions_after(cursor)
    assert {one.client_id for one in late} == {"late"}
    assert desk.executions() == first + late


@case(97, Ability.REOPEN)
def a_cursor_outlives_the_process(desk: Desk) -> None:
    """A cursor that was stored goes on in another process."""
    _trade(desk)
    page = desk.broker.executions("", _SHORT)
    rest = desk.executions_after(page.cursor)
    desk.restart()

    assert desk.executions_after(page.cursor) == rest
    assert list(desk.broker.executions("", _SHORT).executions) == list(page.executions)


@case(98)
def the_same_page_asked_twice_is_the_same_page(desk: Desk) -> None:
    """A page whose booking crashed is asked again and says the same: reading moves no cursor."""
    _trade(desk)
    page = desk.broker.executions("", _SHORT)

    again = desk.broker.executions("", _SHORT)

    assert list(again.executions) == list(page.executions)
    assert again.cursor == page.cursor


@case(99)
def a_foreign_cursor_is_refused(desk: Desk) -> None:
    """A cursor that is not the broker's is refused, never read as "from the start"."""
    _trade(desk)
    for cursor in ("not a cursor", "-1", "9" * 400, "' OR 1=1 --", "../../x", "\x00"):
        for read in (desk.broker.executions, desk.broker.activities):
            try:
                page = read(cursor, 10)
            except (InvalidInputError, BrokerUnavailableError):
                continue
            message = f"{cursor!r} was taken for a cursor: {page!r}"
            raise AssertionError(message)


@case(100, Ability.PAGES)
def more_than_one_page_of_the_brokers(desk: Desk) -> None:
    """More executions than one page of the broker's own are all there, in one read and in many."""
    count = desk.bench.page + 5
    desk.accepted(*[desk.order(f"c{index:04d}") for index in range(count)])
    desk.wait()

    everything = desk.executions()

    assert len({one.client_id for one in everything}) == count
    assert desk.executions(limit=7) == everything
    assert list(desk.broker.executions("", 10 * count).executions)
    desk.books_agree()


@case(101, Trouble.REPEATED)
def rows_that_come_again_come_as_themselves(desk: Desk) -> None:
    """A row that the broker repeats has the same id and content: it is known as a repetition."""
    _trade(desk)
    desk.trouble(Trouble.REPEATED, Call.EXECUTIONS, times=3)

    told = desk.executions(limit=3)
    desk.bench.calm()

    unique = {one.id: one for one in told}
    assert set(told) == set(unique.values())
    assert unique == {one.id: one for one in desk.executions()}


@case(102, Trouble.BUSY)
def trouble_between_two_pages_loses_nothing(desk: Desk) -> None:
    """A page that fails is asked again with the old cursor, and nothing is missing."""
    _trade(desk)
    everything = desk.executions_after("")
    page = desk.broker.executions("", _SHORT)
    desk.trouble(Trouble.BUSY, Call.EXECUTIONS, times=100)
    with suppress(BrokerUnavailableError):  # what it has kept it may tell
        again = desk.broker.executions(page.cursor, _SHORT).executions
        assert list(again) == everything[_SHORT : 2 * _SHORT]
    desk.bench.calm()

    assert [*page.executions, *desk.executions_after(page.cursor)] == everything


@case(103, tempo=Tempo.PARTS)
def pages_read_while_trading_miss_nothing(desk: Desk) -> None:
    """Read page by page while the market goes on, everything comes, once."""
    tickets = [desk.shares(f"c{index}", 2 * SHARE) for index in range(_ORDERS)]
    cursor, told = "", list[Execution]()
    for ticket in tickets:
        desk.accepted(ticket)
        desk.wait(1.0)
        page = desk.broker.executions(cursor, 2)
        told += page.executions
        cursor = page.cursor
    for ticket in tickets:
        desk.ended(ticket)
    told += desk.executions_after(cursor)

    assert len({one.id for one in told}) == len(told)
    assert sum(one.nanos for one in told) == _ORDERS * 2 * SHARE
    desk.books_agree()


def _walk(desk: Desk) -> str:
    cursor = ""
    while (page := desk.broker.executions(cursor, 1_000)).executions:
        cursor = page.cursor
    return cursor
