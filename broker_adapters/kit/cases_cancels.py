"""Cancels and what still fills after them."""

from broker_adapters.kit.bench import Ability, Call, Tempo, Trouble
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE
from robo.core.errors import BrokerUnavailableError
from robo.ports.broker import BrokerOrderState, Refusal, SubmitResult, SubmitStatus

_WHOLE = 8


def _cancel(desk: Desk, client_id: str) -> SubmitResult:
    try:
        return desk.broker.cancel(client_id)
    except BrokerUnavailableError as error:
        return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)


@case(81, tempo=Tempo.PARTS)
def a_cancel_keeps_what_has_filled(desk: Desk) -> None:
    """A cancel stops what is left of an order and keeps what has filled."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    desk.accepted(ticket)
    before = desk.found(ticket)

    result = desk.broker.cancel("c1")

    after = desk.ended(ticket)
    desk.wait(3_600.0)
    assert result.status is SubmitStatus.ACCEPTED
    assert after.state is BrokerOrderState.CANCELED
    assert desk.found(ticket) == after
    assert 0 < before.filled_nanos <= after.filled_nanos < _WHOLE * SHARE
    assert desk.held() == after.filled_nanos
    desk.books_agree()


@case(82, Ability.HALTS)
def a_cancel_of_nothing_filled(desk: Desk) -> None:
    """An order that is cancelled before it filled moves nothing."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)

    assert desk.broker.cancel("c1").status is SubmitStatus.ACCEPTED

    order = desk.ended(ticket)
    assert (order.state, order.filled_nanos) == (BrokerOrderState.CANCELED, 0)
    desk.bench.resume(APPLE)
    desk.wait()
    assert desk.executions() == []
    desk.books_agree()


@case(83)
def a_filled_order_cannot_be_cancelled(desk: Desk) -> None:
    """A filled order cannot be cancelled, and stays filled."""
    ticket = desk.order("c1")
    desk.filled(ticket)

    result = desk.broker.cancel("c1")

    assert (result.status, result.refusal) == (SubmitStatus.REJECTED, Refusal.ORDER_STATE)
    assert desk.found(ticket).state is BrokerOrderState.FILLED


@case(84)
def an_unknown_order_cannot_be_cancelled(desk: Desk) -> None:
    """An order that does not exist cannot be cancelled, and that is a value."""
    result = desk.broker.cancel("never")

    assert (result.status, result.refusal) == (SubmitStatus.REJECTED, Refusal.ORDER_STATE)


@case(85, Ability.HALTS)
def cancelling_twice_does_no_harm(desk: Desk) -> None:
    """Cancelling twice ends the order once."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)
    desk.broker.cancel("c1")
    _cancel(desk, "c1")

    assert desk.ended(ticket).state is BrokerOrderState.CANCELED
    desk.books_agree()


@case(86, Trouble.CANCEL_LATER, tempo=Tempo.PARTS)
def late_fills_after_a_cancel(desk: Desk) -> None:
    """What still fills after a cancel was taken is told; the order is open until it is over."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    desk.accepted(ticket)
    before = desk.found(ticket)
    desk.trouble(Trouble.CANCEL_LATER, Call.CANCEL)

    assert desk.broker.cancel("c1").status is SubmitStatus.ACCEPTED

    assert not desk.found(ticket).state.final
    after = desk.ended(ticket)
    assert after.filled_nanos > before.filled_nanos
    assert sum(one.nanos for one in desk.of(ticket)) == after.filled_nanos == desk.held()
    desk.books_agree()


@case(87, Trouble.LOST_AFTER, Ability.HALTS)
def a_cancel_whose_answer_is_lost(desk: Desk) -> None:
    """A cancel whose answer is lost is unknown, not refused; the order says what happened."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)
    desk.trouble(Trouble.LOST_AFTER, Call.CANCEL)

    assert _cancel(desk, "c1").status in {SubmitStatus.UNKNOWN, SubmitStatus.ACCEPTED}
    assert desk.ended(ticket).state is BrokerOrderState.CANCELED


@case(88, Trouble.BUSY, Ability.HALTS)
def a_cancel_while_the_broker_is_busy(desk: Desk) -> None:
    """A cancel that did not get through leaves the order open, and is not called done."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)
    desk.trouble(Trouble.BUSY, Call.CANCEL)

    result = _cancel(desk, "c1")

    assert result.status in {SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED}
    desk.bench.calm()
    assert desk.found(ticket).state is BrokerOrderState.OPEN


@case(89, Ability.HALTS, Ability.ACCOUNTS)
def a_cancel_ends_its_own_order_only(desk: Desk) -> None:
    """A cancel ends its own order and no other of the same name."""
    mine, other = desk.order("c1"), desk.order("c2", account=desk.bench.accounts[1])
    neighbour = desk.order("c3")
    desk.bench.halt(APPLE)
    desk.accepted(mine, other, neighbour)

    desk.broker.cancel("c1")
    desk.ended(mine)

    assert desk.found(other).state is BrokerOrderState.OPEN
    assert desk.found(neighbour).state is BrokerOrderState.OPEN
