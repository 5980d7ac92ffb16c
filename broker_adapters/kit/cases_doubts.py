"""Orders whose answer did not come, or made no sense."""

import time
from contextlib import suppress

from broker_adapters.kit.bench import Ability, Call, Trouble
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import Desk
from broker_adapters.kit.wire import LATE_SECONDS
from robo.core.errors import BrokerUnavailableError
from robo.ports.broker import BrokerOrderState, SubmitStatus

_NOT_A_NO = {SubmitStatus.UNKNOWN, SubmitStatus.ACCEPTED}
"""An adapter may look the order up by itself and say ACCEPTED; it may never say no."""


def _taken_but_not_heard(desk: Desk, trouble: Trouble) -> None:
    """Assert that an order that is live behind a bad answer stays one order and is found."""
    ticket = desk.order("c1")
    desk.trouble(trouble, Call.SUBMIT)
    before = desk.bench.asked(Call.SUBMIT)

    started = time.monotonic()
    result = desk.send(ticket)

    assert time.monotonic() - started < LATE_SECONDS, "the adapter waited for the answer"
    assert desk.bench.asked(Call.SUBMIT) == before + 1, "an order was told again blindly"
    assert result.status in _NOT_A_NO, result
    order = desk.found(ticket)
    again = desk.send(ticket)
    assert again.status is SubmitStatus.DUPLICATE, again
    assert again.broker_order_id in {None, "", order.broker_order_id}
    desk.exactly_one(ticket)
    desk.ended(ticket)
    desk.books_agree()


def _not_taken(desk: Desk, trouble: Trouble, expected: set[SubmitStatus]) -> None:
    """Assert that an order that never arrived can be told again under its id."""
    ticket = desk.order("c1")
    desk.trouble(trouble, Call.SUBMIT)
    before = desk.bench.asked(Call.SUBMIT)

    result = desk.send(ticket)

    assert desk.bench.asked(Call.SUBMIT) == before + 1, "an order was told again blindly"
    assert result.status in expected, result
    assert desk.broker.find("c1") is None
    assert desk.bench.seen() == []
    desk.filled(ticket)
    desk.exactly_one(ticket)
    desk.books_agree()


_WIRE = (Ability.COUNTS, Ability.LEDGER)


@case(31, Trouble.LOST_AFTER, *_WIRE)
def the_connection_closes_after_the_order(desk: Desk) -> None:
    """The connection closes after the order was taken: unknown, found by id, never doubled."""
    _taken_but_not_heard(desk, Trouble.LOST_AFTER)


@case(32, Trouble.ERROR_AFTER, *_WIRE)
def an_error_comes_after_the_order(desk: Desk) -> None:
    """A 500 after the order was taken is unknown, not failed."""
    _taken_but_not_heard(desk, Trouble.ERROR_AFTER)


@case(33, Trouble.GATEWAY_AFTER, *_WIRE)
def a_gateway_gives_up_after_the_order(desk: Desk) -> None:
    """A 504 after the order was taken is unknown, and one request went out: nothing is retried."""
    _taken_but_not_heard(desk, Trouble.GATEWAY_AFTER)


@case(34, Trouble.LATE_AFTER, *_WIRE)
def the_answer_comes_too_late(desk: Desk) -> None:
    """An answer that does not come in time is unknown; the adapter has a patience of its own."""
    _taken_but_not_heard(desk, Trouble.LATE_AFTER)


@case(35, Trouble.HALF_AFTER, *_WIRE)
def half_an_answer_comes(desk: Desk) -> None:
    """Half an answer is no answer: unknown."""
    _taken_but_not_heard(desk, Trouble.HALF_AFTER)


@case(36, Trouble.PAGE_AFTER, *_WIRE)
def a_page_of_html_comes(desk: Desk) -> None:
    """A 200 that carries a web page is unknown."""
    _taken_but_not_heard(desk, Trouble.PAGE_AFTER)


@case(37, Trouble.EMPTY_AFTER, *_WIRE)
def an_empty_answer_comes(desk: Desk) -> None:
    """A 200 with an empty body is unknown."""
    _taken_but_not_heard(desk, Trouble.EMPTY_AFTER)


@case(38, Trouble.SHAPE_AFTER, *_WIRE)
def another_shape_comes(desk: Desk) -> None:
    """A 200 with JSON of another shape is unknown."""
    _taken_but_not_heard(desk, Trouble.SHAPE_AFTER)


@case(39, Trouble.BUSY, *_WIRE)
def the_broker_is_busy(desk: Desk) -> None:
    """A 503 is not a no: the same ticket is told again later and becomes one order."""
    _not_taken(desk, Trouble.BUSY, {SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED})


@case(40, Trouble.LOST_BEFORE, *_WIRE)
def the_connection_closes_before_the_order(desk: Desk) -> None:
    """The connection closes before the order arrived: unknown, not found, told again once."""
    _not_taken(desk, Trouble.LOST_BEFORE, {SubmitStatus.UNKNOWN})


@case(41, Trouble.LIMIT, *_WIRE)
def too_many_requests(desk: Desk) -> None:
    """A 429 is "later", said at once: no retry hides inside, and nothing was taken."""
    _not_taken(desk, Trouble.LIMIT, {SubmitStatus.THROTTLED})


@case(42, Trouble.LOCKED, *_WIRE)
def the_keys_are_refused(desk: Desk) -> None:
    """Keys that are refused are our fault, not the order's: it is not rejected."""
    _not_taken(desk, Trouble.LOCKED, {SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED})


@case(43, Trouble.MOVED, *_WIRE)
def a_redirect_is_not_followed(desk: Desk) -> None:
    """A redirect is neither followed nor believed."""
    _not_taken(desk, Trouble.MOVED, {SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED})


@case(44, Trouble.NEW_WORD)
def a_new_word_is_an_open_order(desk: Desk) -> None:
    """A state that nobody has heard of is an open order, never a rejected one."""
    ticket = desk.order("c1")
    desk.trouble(Trouble.NEW_WORD, Call.SUBMIT)
    assert desk.send(ticket).status in _NOT_A_NO
    desk.trouble(Trouble.NEW_WORD, Call.FIND)

    try:
        state = desk.found(ticket).state
    except BrokerUnavailableError:
        state = BrokerOrderState.OPEN

    assert state is BrokerOrderState.OPEN
    desk.bench.calm()
    assert desk.ended(ticket).state is BrokerOrderState.FILLED


@case(45, Trouble.UNSEEN)
def one_lookup_that_finds_nothing_is_no_proof(desk: Desk) -> None:
    """Told again after a lookup that came too early, an order that is there stays one order."""
    ticket = desk.order("c1")
    desk.accepted(ticket)
    desk.trouble(Trouble.UNSEEN, Call.FIND)
    with suppress(BrokerUnavailableError):
        desk.broker.find("c1")

    again = desk.send(ticket)

    assert again.status in {SubmitStatus.DUPLICATE, SubmitStatus.UNKNOWN}
    desk.bench.calm()
    desk.exactly_one(ticket)


@case(46, Trouble.LOST_AFTER, Ability.REOPEN, *_WIRE)
def a_doubt_outlives_the_process(desk: Desk) -> None:
    """After a lost answer and a restart the order is found, and telling it again is harmless."""
    ticket = desk.order("c1")
    desk.trouble(Trouble.LOST_AFTER, Call.SUBMIT)
    desk.send(ticket)
    desk.restart()

    assert desk.found(ticket).client_id == "c1"
    assert desk.send(ticket).status is SubmitStatus.DUPLICATE
    desk.exactly_one(ticket)


@case(47, Trouble.LOST_AFTER, Trouble.BUSY, Ability.LEDGER)
def doubts_in_a_row_make_one_order(desk: Desk) -> None:
    """Told five times through five failures, one order exists and is found in the end."""
    ticket = desk.order("c1")
    for trouble in (Trouble.BUSY, Trouble.LOST_AFTER, Trouble.LOST_AFTER, Trouble.BUSY):
        desk.trouble(trouble, Call.SUBMIT)
        assert desk.send(ticket).status is not SubmitStatus.REJECTED
        desk.bench.calm()

    assert desk.send(ticket).status is SubmitStatus.DUPLICATE
    desk.exactly_one(ticket)
    desk.ended(ticket)
    desk.books_agree()


@case(48, Trouble.REJECT_LATER)
def refused_after_it_was_taken(desk: Desk) -> None:
    """An order that is taken and refused a moment later ends as rejected, and nothing moved."""
    ticket = desk.order("c1")
    desk.trouble(Trouble.REJECT_LATER, Call.SUBMIT)
    desk.accepted(ticket)

    order = desk.ended(ticket)

    assert order.state is BrokerOrderState.REJECTED
    assert (order.filled_nanos, order.filled_cents) == (0, 0)
    assert desk.of(ticket) == []
    desk.books_agree()
