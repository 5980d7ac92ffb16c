"""Refusals and their kinds."""

import re

from broker_adapters.kit.bench import Ability
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE, COAL, UNLISTED
from robo.ports.broker import Refusal, Side, SubmitStatus

_CODE = re.compile(r"[a-z][a-z0-9_]{1,59}")


@case(121)
def an_unknown_security_is_refused(desk: Desk) -> None:
    """A security that the broker does not have is refused as such, and again when told again."""
    ticket = desk.order("c1", UNLISTED)

    first = desk.refused(ticket)
    again = desk.refused(ticket)

    assert first.refusal in {Refusal.UNKNOWN_SECURITY, Refusal.NOT_TRADABLE}
    assert again.refusal is first.refusal
    desk.nothing_arrived()


@case(122, Need.MINIMUM)
def the_minimum_is_the_minimum(desk: Desk) -> None:
    """A buy one cent below the smallest is refused as such, and one at it is accepted."""
    least = desk.capabilities.buy_notional_cents_min

    below = desk.refused(desk.dollars("c1", least - 1))

    assert below.refusal is Refusal.MINIMUM
    desk.filled(desk.dollars("c2", least))


@case(123)
def more_than_is_held_cannot_be_sold(desk: Desk) -> None:
    """Selling more than is held is refused as such; nothing is ever sold short."""
    desk.hold(APPLE, 1)

    result = desk.refused(desk.shares("s1", 2 * SHARE, APPLE, Side.SELL))

    assert result.refusal is Refusal.POSITION
    assert desk.held() == SHARE
    desk.books_agree()


@case(124, Ability.HALTS)
def the_same_shares_cannot_be_promised_twice(desk: Desk) -> None:
    """Two open sales cannot promise the same shares."""
    desk.hold(APPLE, 10)
    desk.bench.halt(APPLE)
    first = desk.shares("s1", 8 * SHARE, APPLE, Side.SELL)
    desk.accepted(first)

    result = desk.send(desk.shares("s2", 3 * SHARE, APPLE, Side.SELL))

    assert result.status in {SubmitStatus.REJECTED, SubmitStatus.THROTTLED}
    desk.bench.resume(APPLE)
    desk.ended(first)
    desk.wait()
    assert desk.held() == 2 * SHARE


@case(125, Ability.PRICES)
def a_name_without_a_price_is_refused(desk: Desk) -> None:
    """A listed name that has no price is refused, not taken at any price."""
    desk.bench.prices.micros.pop(COAL)

    assert desk.refused(desk.order("c1", COAL)).refusal is Refusal.NOT_TRADABLE


@case(126)
def a_refusal_has_a_kind_and_a_code(desk: Desk) -> None:
    """Every refusal says its kind, and a code that a program can keep."""
    for result in (
        desk.refused(desk.order("c1", UNLISTED)),
        desk.refused(desk.shares("s1", SHARE, APPLE, Side.SELL)),
        desk.refused(desk.order("x" * 500)),
    ):
        assert result.refusal is not Refusal.NONE
        assert _CODE.fullmatch(result.code), result


@case(127)
def a_refusal_keeps_nobody_else_up(desk: Desk) -> None:
    """An order after a refused one is taken as if nothing had been."""
    desk.refused(desk.order("c1", UNLISTED))

    desk.filled(desk.order("c2"))

    desk.books_agree()


@case(128)
def far_too_large_is_refused(desk: Desk) -> None:
    """An order of a size beyond all money is refused as a value; no number overflows."""
    huge = desk.shares("c1", 2 * 10**18)

    assert desk.send(huge).status is SubmitStatus.REJECTED
    desk.wait()
    assert desk.held() == 0


@case(129, Need.WHOLE_ONLY)
def parts_of_a_share_are_refused_where_there_are_none(desk: Desk) -> None:
    """A broker of whole shares refuses parts of one as such, and never rounds."""
    result = desk.refused(desk.shares("c1", SHARE + SHARE // 2))

    assert result.refusal is Refusal.NOT_FRACTIONABLE
    desk.nothing_arrived()


@case(130, Need.NO_DOLLARS)
def dollars_are_refused_where_there_are_none(desk: Desk) -> None:
    """A broker without orders in dollars refuses them as such, and never guesses shares."""
    result = desk.refused(desk.dollars("c1", 10_000))

    assert result.refusal is Refusal.UNSUPPORTED
    desk.nothing_arrived()


@case(131, Ability.HALTS)
def a_sale_may_use_what_another_left(desk: Desk) -> None:
    """When a sale has been cancelled, what it did not sell can be sold again."""
    desk.hold(APPLE, 8)
    desk.bench.halt(APPLE)
    first = desk.shares("s1", 8 * SHARE, APPLE, Side.SELL)
    desk.accepted(first)
    desk.broker.cancel("s1")
    desk.ended(first)
    desk.bench.resume(APPLE)

    desk.filled(desk.shares("s2", 8 * SHARE, APPLE, Side.SELL))

    assert desk.held() == 0
    desk.books_agree()
