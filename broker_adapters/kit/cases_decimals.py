"""Decimals on the wire."""

from broker_adapters.kit.bench import Ability
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE, COAL
from robo.ports import precheck
from robo.ports.broker import Refusal, Side


def _finest(desk: Desk) -> int:
    """Return the smallest part of a share that this broker knows, in billionths."""
    step: int = 10 ** (9 - desk.capabilities.share_decimals)
    return step


@case(141, Need.FRACTIONS)
def the_finest_part_arrives(desk: Desk) -> None:
    """A share count that uses the last decimal arrives and fills to the last decimal."""
    nanos = 3 * SHARE + 123_456_789 // _finest(desk) * _finest(desk)
    ticket = desk.shares("c1", nanos)

    (order,) = desk.filled(ticket)

    assert order.filled_nanos == desk.held() == nanos
    desk.exactly_one(ticket)


@case(142, Need.FRACTIONS)
def large_and_fine_at_once(desk: Desk) -> None:
    """A large share count with all its decimals is not what a binary float would make of it."""
    step = _finest(desk)
    nanos = 123_456_789_123_456_789 // step * step
    ticket = desk.shares("c1", nanos, COAL)

    (order,) = desk.filled(ticket)

    assert order.filled_nanos == desk.held(COAL) == nanos
    desk.exactly_one(ticket)


@case(143, Need.DOLLARS)
def cents_arrive_as_cents(desk: Desk) -> None:
    """Amounts that no binary float can hold arrive to the cent."""
    amounts = (101, 110, 229, 1_005, 1_999, 16_777, 57_903, 100_01)
    tickets = [desk.dollars(f"c{index}", cents) for index, cents in enumerate(amounts)]
    usual = [one for one in tickets if precheck.check(one, desk.capabilities) is None]

    orders = desk.filled(*usual)

    assert [order.filled_cents for order in orders] == [one.notional_cents for one in usual]
    assert [order.notional_cents for order in orders] == [one.notional_cents for one in usual]


@case(144, Need.DOLLARS, Ability.LEDGER)
def dollars_stay_dollars(desk: Desk) -> None:
    """An order in dollars is told in dollars, not in shares at some price of ours."""
    ticket = desk.dollars("c1", 12_345)
    desk.accepted(ticket)

    (seen,) = desk.sightings(ticket)

    assert (seen.notional_cents, seen.nanos) == (12_345, None)


@case(145, Need.COARSE)
def finer_than_the_broker_is_refused(desk: Desk) -> None:
    """A share count finer than the broker's decimals is refused, never rounded."""
    result = desk.refused(desk.shares("c1", SHARE + _finest(desk) // 10))

    assert result.refusal is Refusal.UNSUPPORTED
    desk.nothing_arrived()


@case(146, Need.FRACTIONS)
def the_last_part_can_be_sold(desk: Desk) -> None:
    """A position is sold to its very last unit by its own number of shares."""
    desk.filled(desk.shares("b1", SHARE + 3 * _finest(desk)))
    desk.filled(desk.shares("s1", SHARE, APPLE, Side.SELL))
    left = desk.held()

    desk.filled(desk.shares("s2", left, APPLE, Side.SELL))

    assert left == 3 * _finest(desk)
    assert APPLE not in desk.positions()
    desk.books_agree()


@case(147)
def whole_shares_are_whole(desk: Desk) -> None:
    """Whole shares stay whole through orders, executions and positions."""
    (order,) = desk.filled(desk.shares("c1", 7 * SHARE, COAL))

    assert order.nanos == order.filled_nanos == 7 * SHARE
    assert sum(one.nanos for one in desk.executions()) == desk.held(COAL) == 7 * SHARE


@case(148, Need.FRACTIONS)
def many_small_parts_lose_nothing(desk: Desk) -> None:
    """Twenty small buys are their exact sum: no unit is lost or made."""
    step = _finest(desk)
    sizes = [(SHARE // 10 + 7_777_777 * index) // step * step for index in range(20)]
    desk.filled(*[desk.shares(f"c{index}", nanos) for index, nanos in enumerate(sizes)])

    assert desk.held() == sum(sizes)
    desk.books_agree()
