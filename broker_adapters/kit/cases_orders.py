"""Orders and their ids."""

from dataclasses import replace

from broker_adapters.kit.bench import Ability
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk, changed, same
from broker_adapters.kit.market import APPLE, BANK
from robo.ports.broker import BrokerOrderState, OrderTicket, Refusal, Side, SubmitStatus

_BANK = "BBB"


@case(11)
def an_order_is_accepted_and_found(desk: Desk) -> None:
    """An order is accepted with the broker's own id, and found by ours as it was sent."""
    ticket = desk.order("c1")

    result = desk.send(ticket)

    assert result.status is SubmitStatus.ACCEPTED
    assert result.broker_order_id
    assert desk.found(ticket).broker_order_id == result.broker_order_id
    desk.exactly_one(ticket)


@case(12)
def the_same_ticket_again_is_a_duplicate(desk: Desk) -> None:
    """The same ticket told again is a duplicate of the same broker order, and one order."""
    ticket = desk.order("c1")
    first = desk.send(ticket)

    again = desk.send(ticket)

    assert again.status is SubmitStatus.DUPLICATE
    assert again.broker_order_id in {None, "", first.broker_order_id}
    desk.exactly_one(ticket)
    desk.ended(ticket)
    desk.books_agree()


def _another_under_the_same_id(desk: Desk, ticket: OrderTicket, other: OrderTicket) -> None:
    """Assert that a second meaning of an id never becomes an order, and that it is said why.

    A plain rejection would free the money to be planned under a new id, beside the live order.
    """
    desk.accepted(ticket)

    result = desk.send(other)

    taken = result.refusal is Refusal.CLIENT_ID_TAKEN and result.status is SubmitStatus.REJECTED
    assert taken or result.status is SubmitStatus.DUPLICATE, result
    same(ticket, desk.found(ticket))
    if Ability.LEDGER in desk.bench.abilities:
        assert len(desk.bench.seen()) == 1
    desk.ended(ticket)
    desk.books_agree()


@case(13)
def an_id_keeps_its_size(desk: Desk) -> None:
    """The same id with another size is no second order, and the first stays as it was."""
    _another_under_the_same_id(desk, desk.order("c1"), desk.order("c1", times=2))


@case(14)
def an_id_keeps_its_name(desk: Desk) -> None:
    """The same id with another security is no second order."""
    ticket = desk.order("c1")
    _another_under_the_same_id(desk, ticket, changed(ticket, BANK, _BANK))


@case(15)
def an_id_keeps_its_side(desk: Desk) -> None:
    """The same id with the other side is no second order."""
    ticket = desk.shares("c1", SHARE)
    _another_under_the_same_id(desk, ticket, replace(ticket, side=Side.SELL))


@case(16, Need.DOLLARS)
def an_id_keeps_its_unit(desk: Desk) -> None:
    """The same id in shares instead of dollars is no second order."""
    _another_under_the_same_id(desk, desk.dollars("c1", 1_000), desk.shares("c1", SHARE))


@case(17, Ability.ACCOUNTS)
def an_id_keeps_its_account(desk: Desk) -> None:
    """The same id for another account is no second order."""
    ticket = desk.order("c1")
    other = replace(ticket, broker_account=desk.bench.accounts[1])
    _another_under_the_same_id(desk, ticket, other)


@case(18)
def an_order_that_was_never_sent_is_not_found(desk: Desk) -> None:
    """An id that was never sent is not found, and that is an answer and no error."""
    desk.accepted(desk.order("c1"))

    assert desk.broker.find("never") is None


@case(19)
def the_longest_id_works(desk: Desk) -> None:
    """An id of the greatest length works from end to end."""
    ticket = desk.order("x" * desk.capabilities.client_id_length_max)

    desk.filled(ticket)

    desk.exactly_one(ticket)
    assert {one.client_id for one in desk.executions()} == {ticket.client_id}


@case(20)
def a_longer_id_is_refused(desk: Desk) -> None:
    """An id that is one letter too long is refused, never cut."""
    longest = "x" * desk.capabilities.client_id_length_max

    desk.refused(desk.order(longest + "x"))

    assert desk.broker.find(longest) is None
    desk.nothing_arrived()


@case(21)
def ids_differ_by_every_letter(desk: Desk) -> None:
    """Ids that differ in case, in punctuation or in their last letter are different orders."""
    tickets = [desk.order(name) for name in ("blk_a1", "BLK_A1", "blk-a1", "blk_a2", "blk_a")]

    results = [desk.send(ticket) for ticket in tickets]

    assert {result.status for result in results} == {SubmitStatus.ACCEPTED}
    assert len({result.broker_order_id for result in results}) == len(tickets)
    for ticket in tickets:
        same(ticket, desk.found(ticket))


@case(22)
def two_ids_are_two_orders(desk: Desk) -> None:
    """Two equal tickets with two ids are two orders: the id alone makes them one."""
    first, second = desk.order("c1"), desk.order("c2")

    one, two = desk.filled(first, second)

    assert one.broker_order_id != two.broker_order_id
    assert desk.held() == one.filled_nanos + two.filled_nanos


@case(23)
def an_ended_order_is_still_found(desk: Desk) -> None:
    """A filled order is found days later, with what it filled."""
    ticket = desk.order("c1")
    (filled,) = desk.filled(ticket)
    if Ability.TIME in desk.bench.abilities:
        desk.wait(3 * 86_400.0)

    assert desk.found(ticket) == filled


@case(24, Ability.HALTS)
def a_cancelled_orders_id_stays_taken(desk: Desk) -> None:
    """The id of a cancelled order is taken for ever: telling it again makes no second order."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)
    assert desk.broker.cancel("c1").status is SubmitStatus.ACCEPTED
    desk.ended(ticket)
    desk.bench.resume(APPLE)

    result = desk.send(ticket)

    assert result.status in {SubmitStatus.DUPLICATE, SubmitStatus.REJECTED}
    desk.wait()
    assert desk.found(ticket).state is BrokerOrderState.CANCELED
    assert desk.executions() == []


@case(25, Ability.ACCOUNTS)
def accounts_are_apart(desk: Desk) -> None:
    """What one account buys stands in no other."""
    first, second = desk.bench.accounts[:2]
    ticket = desk.order("c1", account=first)

    (order,) = desk.filled(ticket)

    assert desk.held(APPLE, first) == order.filled_nanos
    assert desk.positions(second) == {}
    assert desk.cents(second) == 0
    desk.books_agree()


@case(26)
def reading_changes_nothing(desk: Desk) -> None:
    """Reading as often as one likes changes nothing and says the same."""
    ticket = desk.order("c1")
    desk.filled(ticket)

    def picture() -> object:
        told = desk.broker
        account = desk.account
        return (
            told.find("c1"),
            list(told.positions(account)),
            told.cash(account),
            desk.executions(),
            desk.activities(),
        )

    assert [picture() for _ in range(3)] == [picture()] * 3
    desk.exactly_one(ticket)


@case(27)
def a_days_tickets_told_again_change_nothing(desk: Desk) -> None:
    """All tickets of a day told again are duplicates, and nothing moves."""
    tickets = [desk.order(f"c{index}", name) for index, name in enumerate((APPLE, BANK, APPLE))]
    desk.filled(*tickets)
    before = desk.executions(), desk.positions(), desk.cents()

    answers = {desk.send(ticket).status for ticket in tickets}
    desk.wait()

    assert answers == {SubmitStatus.DUPLICATE}
    assert (desk.executions(), desk.positions(), desk.cents()) == before
