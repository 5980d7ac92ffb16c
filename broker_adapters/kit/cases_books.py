"""Positions and cash."""

from broker_adapters.kit.bench import Ability, Tempo
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk, worth_cents
from broker_adapters.kit.market import APPLE, BANK, COAL
from robo.ports.broker import Side

_DAY = 86_400.0


@case(111, tempo=Tempo.PARTS)
def books_are_the_fold_of_executions(desk: Desk) -> None:
    """Positions and cash are the sum of what was executed, through buys and sells in parts."""
    names = (APPLE, BANK, COAL)
    desk.filled(*[desk.shares(f"b{index}", 3 * SHARE, names[index % 3]) for index in range(6)])
    desk.filled(
        *[desk.shares(f"s{index}", 2 * SHARE, name, Side.SELL) for index, name in enumerate(names)]
    )

    assert {desk.held(name) for name in names} == {4 * SHARE}
    desk.books_agree()


@case(112)
def a_name_that_is_sold_is_gone(desk: Desk) -> None:
    """A position that is sold to the last unit is not listed any more."""
    desk.hold(APPLE, 2)
    desk.filled(desk.shares("s1", 2 * SHARE, APPLE, Side.SELL))

    assert APPLE not in desk.positions()
    desk.books_agree()


@case(113)
def cash_falls_by_what_was_bought(desk: Desk) -> None:
    """A buy takes its cents from the cash, not its dollars and not its thousandths."""
    (order,) = desk.filled(desk.shares("c1", 2 * SHARE))

    spent = -desk.cents()
    assert spent == order.filled_cents + sum(one.fee_cents for one in desk.executions())
    assert abs(spent - worth_cents(2 * SHARE)) * 10 < spent


@case(114, Need.SETTLES, Ability.TIME)
def a_sales_cash_settles_later(desk: Desk) -> None:
    """What a sale brought is not settled on its day, and is settled when the calendar says so."""
    desk.hold(APPLE, 2)
    desk.wait(3 * _DAY)
    ready = desk.broker.cash(desk.account)
    ticket = desk.shares("s1", 2 * SHARE, APPLE, Side.SELL)
    desk.filled(ticket)
    net = sum(one.cents - one.fee_cents for one in desk.of(ticket))

    today = desk.broker.cash(desk.account)
    desk.wait(4 * _DAY)
    later = desk.broker.cash(desk.account)

    assert today.total_cents == ready.total_cents + net
    assert today.settled_cents == ready.settled_cents
    assert later.settled_cents == ready.settled_cents + net
    assert later.total_cents == today.total_cents


@case(115)
def an_open_order_moves_nothing(desk: Desk) -> None:
    """An order that is refused moves neither shares nor cash."""
    desk.refused(desk.shares("s1", SHARE, APPLE, Side.SELL))

    assert (desk.held(), desk.cents()) == (0, 0)
    desk.books_agree()


@case(116, Ability.HALTS)
def a_waiting_order_moves_no_shares(desk: Desk) -> None:
    """An order that waits moves no shares and no cash; at most it takes from what can be spent."""
    desk.bench.halt(APPLE)
    desk.accepted(desk.order("c1"))

    assert (desk.held(), desk.cents()) == (0, 0)
    assert desk.executions() == []


@case(117)
def positions_have_our_ids(desk: Desk) -> None:
    """Positions carry our permanent ids of securities, whatever the broker calls them."""
    desk.filled(desk.order("c1", APPLE), desk.order("c2", COAL))

    assert set(desk.positions()) >= {APPLE, COAL}
    assert desk.held(APPLE) > 0
    assert desk.held(COAL) > 0


@case(118, Ability.ACCOUNTS)
def two_accounts_add_up_apart(desk: Desk) -> None:
    """Two accounts that trade the same names keep their own books."""
    first, second = desk.bench.accounts[:2]
    desk.filled(
        desk.shares("a1", 3 * SHARE, APPLE, account=first),
        desk.shares("a2", 2 * SHARE, APPLE, account=second),
    )
    desk.filled(desk.shares("a3", SHARE, APPLE, Side.SELL, account=first))

    assert desk.held(APPLE, first) == 2 * SHARE
    assert desk.held(APPLE, second) == 2 * SHARE
    desk.books_agree()


@case(119)
def numbers_are_whole(desk: Desk) -> None:
    """Money and shares come as whole numbers of cents and of billionths, never as floats."""
    desk.filled(desk.order("c1"))

    cash = desk.broker.cash(desk.account)
    values = [cash.total_cents, cash.settled_cents]
    values += [one.nanos for one in desk.broker.positions(desk.account)]
    for one in desk.executions():
        values += [one.nanos, one.price_micros, one.cents, one.fee_cents]
    assert {type(value) for value in values} == {int}
