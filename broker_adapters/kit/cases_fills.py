"""Fills."""

from collections import Counter
from datetime import UTC, timedelta

from broker_adapters.kit.bench import Ability, Tempo
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE, BANK, COAL, MICROS
from robo.core.clock import business_date
from robo.core.money import notional_cents
from robo.ports.broker import BrokerOrderState, Execution, Side

_ORDERS = 12
_CENTS = 1_000
_WHOLE = 8


@case(61, Need.DOLLARS)
def dollars_fill_to_their_dollars(desk: Desk) -> None:
    """A buy in dollars costs those dollars, to the cent."""
    (order,) = desk.filled(desk.dollars("c1", _CENTS))

    assert order.filled_cents == _CENTS
    assert order.filled_nanos > 0
    desk.books_agree()


@case(62)
def shares_fill_to_their_shares(desk: Desk) -> None:
    """A buy in shares brings exactly those shares."""
    (order,) = desk.filled(desk.shares("c1", 3 * SHARE))

    assert order.filled_nanos == desk.held() == 3 * SHARE
    desk.books_agree()


@case(63, Need.DOLLARS, tempo=Tempo.PARTS)
def parts_of_dollars_add_up(desk: Desk) -> None:
    """The parts of orders in dollars add up to each order's dollars."""
    tickets = [desk.dollars(f"c{index}", 500 + 37 * index) for index in range(_ORDERS)]
    desk.filled(*tickets)

    sums = Counter[str]()
    for execution in desk.executions():
        sums[execution.client_id] += execution.cents
    assert sums == {ticket.client_id: ticket.notional_cents for ticket in tickets}
    assert len(desk.executions()) >= 2 * _ORDERS
    desk.books_agree()


@case(64, tempo=Tempo.PARTS)
def parts_of_shares_add_up(desk: Desk) -> None:
    """The parts of an order in shares add up to its shares: parts are no running totals."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    (order,) = desk.filled(ticket)

    parts = desk.of(ticket)
    assert len(parts) > 1
    assert sum(part.nanos for part in parts) == order.filled_nanos == _WHOLE * SHARE
    assert sum(part.cents for part in parts) == order.filled_cents
    assert desk.held() == _WHOLE * SHARE
    desk.books_agree()


@case(65, tempo=Tempo.PARTS)
def an_order_is_open_between_its_parts(desk: Desk) -> None:
    """Between its parts an order is open; what has filled grows and never exceeds the order."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    desk.accepted(ticket)
    filled = []

    while not (order := desk.found(ticket)).state.final:
        filled.append(order.filled_nanos)
        desk.wait(1.0)

    assert filled, "it was never open"
    assert filled == sorted(filled)
    assert 0 < filled[0] < _WHOLE * SHARE
    assert order.filled_nanos == _WHOLE * SHARE


@case(66, tempo=Tempo.PARTS)
def an_order_and_its_executions_agree(desk: Desk) -> None:
    """At every moment what an order says it filled is the sum of executions told by then."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    desk.accepted(ticket)

    for _ in range(20):
        told = desk.of(ticket)
        order = desk.found(ticket)
        assert sum(one.nanos for one in told) <= order.filled_nanos
        desk.wait(1.0)
    desk.ended(ticket)
    assert sum(one.cents for one in desk.of(ticket)) == desk.found(ticket).filled_cents


@case(67)
def an_execution_says_whose_it_is(desk: Desk) -> None:
    """Every execution carries our id, the order's security and its side."""
    first, second = desk.order("c1", APPLE), desk.shares("c2", SHARE, BANK)
    desk.filled(first, second)
    desk.filled(desk.shares("c3", desk.held(BANK), BANK, Side.SELL))

    told = {one.client_id: (one.security_id, one.side) for one in desk.executions()}

    assert told == {
        "c1": (APPLE, Side.BUY),
        "c2": (BANK, Side.BUY),
        "c3": (BANK, Side.SELL),
    }


@case(68)
def prices_are_dollars_a_share(desk: Desk) -> None:
    """The price of an execution is dollars a share in millionths, near the market's."""
    desk.filled(desk.shares("c1", 2 * SHARE), desk.shares("c2", 2 * SHARE, COAL))

    for one in desk.executions():
        assert abs(one.price_micros - MICROS[one.security_id]) * 10 < MICROS[one.security_id]


@case(69)
def cents_are_shares_times_price(desk: Desk) -> None:
    """The cents of an execution are its shares times its price, within a cent."""
    desk.filled(desk.order("c1"), desk.shares("c2", 3 * SHARE, BANK))

    for one in desk.executions():
        assert abs(one.cents - notional_cents(one.nanos, one.price_micros)) <= 1


@case(70)
def times_are_instants(desk: Desk) -> None:
    """An execution's time is an instant in UTC, not before its order and not after now."""
    sent_at = desk.bench.clock.now()
    desk.filled(desk.order("c1"))

    for one in desk.executions():
        assert one.executed_at.utcoffset() == UTC.utcoffset(None)
        slack = timedelta(seconds=1)
        assert sent_at - slack <= one.executed_at <= desk.bench.clock.now() + slack


@case(71, Need.SETTLES)
def settlement_follows_the_calendar(desk: Desk) -> None:
    """A trade settles so many sessions later as the capabilities say."""
    desk.filled(desk.order("c1"))

    calendar = desk.bench.context(desk.tempo).calendar
    for one in desk.executions():
        traded = business_date(one.executed_at)
        expected = calendar.settles_on(traded, desk.capabilities.settlement_days)
        assert one.settles_on == expected


@case(72)
def a_sale_brings_what_its_executions_say(desk: Desk) -> None:
    """A sale brings its executions' cents less their fees, and takes exactly its shares."""
    desk.hold(APPLE, 4)
    before = desk.cents()
    ticket = desk.shares("s1", 3 * SHARE, APPLE, Side.SELL)
    desk.filled(ticket)

    assert desk.held() == SHARE
    assert desk.cents() - before == sum(one.cents - one.fee_cents for one in desk.of(ticket))
    desk.books_agree()


@case(73)
def fees_are_never_negative(desk: Desk) -> None:
    """Fees are not negative, on either side."""
    desk.hold(APPLE, 2)
    desk.filled(desk.shares("s1", SHARE, APPLE, Side.SELL))

    assert all(one.fee_cents >= 0 for one in desk.executions())


@case(74, Ability.FEES)
def a_sale_pays_its_fees(desk: Desk) -> None:
    """A large sale pays the regulators' fees, and they are told with it."""
    desk.hold(APPLE, 100)
    if Ability.TIME in desk.bench.abilities:
        desk.wait(64 * 86_400.0)
    ticket = desk.shares("s1", 100 * SHARE, APPLE, Side.SELL)
    desk.filled(ticket)

    assert sum(one.fee_cents for one in desk.of(ticket)) > 0
    desk.books_agree()


@case(75, Ability.HALTS)
def a_halted_name_waits(desk: Desk) -> None:
    """An order in a halted name stays open, unfilled, and fills when trading resumes."""
    ticket = desk.order("c1")
    desk.bench.halt(APPLE)
    desk.accepted(ticket)
    desk.wait(600.0)
    waiting = desk.found(ticket)
    desk.bench.resume(APPLE)

    assert (waiting.state, waiting.filled_nanos) == (BrokerOrderState.OPEN, 0)
    assert desk.ended(ticket).state is BrokerOrderState.FILLED


@case(76, tempo=Tempo.PARTS)
def parts_are_different_executions(desk: Desk) -> None:
    """Each part is an execution of its own with an id of its own, and repeats under that id."""
    ticket = desk.shares("c1", _WHOLE * SHARE)
    desk.filled(ticket)

    def by_id() -> dict[str, Execution]:
        return {one.id: one for one in desk.of(ticket)}

    parts = by_id()
    assert len(parts) == len(desk.of(ticket)) > 1
    assert by_id() == parts
