"""Capabilities as data."""

import re
from typing import cast

from broker_adapters.kit.bench import Ability, Call, Trouble
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE, UNLISTED
from robo.core.errors import BrokerUnavailableError
from robo.ports import precheck
from robo.ports.broker import Activity, Execution, SubmitStatus
from robo.ports.brokerage import Assets
from robo.ports.terms import OrderType, TimeInForce

_DIGITS_MAX = 9
_SETTLEMENT_DAYS_MAX = 5
_OUR_IDS = 34
"""Letters of an id that `robo` makes: a prefix of three, an underscore and thirty digits."""


@case(1)
def capabilities_do_not_change(desk: Desk) -> None:
    """What the broker can do is a value: equal each time, before and after an order."""
    before = desk.capabilities
    desk.accepted(desk.order("c1"))

    assert desk.capabilities == before


@case(2)
def the_name_is_a_name(desk: Desk) -> None:
    """The adapter has a name that can stand in a setting and in a log."""
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,39}", desk.capabilities.name)


@case(3)
def decimals_and_fractions_agree(desk: Desk) -> None:
    """A share has between no and nine decimals, and none if fractions are refused."""
    caps = desk.capabilities

    assert 0 <= caps.share_decimals <= _DIGITS_MAX
    assert caps.fractional == (caps.share_decimals > 0)


@case(4)
def limits_make_sense(desk: Desk) -> None:
    """Minimums, settlement and pace are numbers that can be true."""
    caps = desk.capabilities

    assert caps.buy_notional_cents_min >= 0
    assert caps.sell_notional_cents_min >= 0
    assert 0 <= caps.settlement_days <= _SETTLEMENT_DAYS_MAX
    assert caps.orders_per_second_max > 0
    assert caps.requests_per_minute_max >= 0


@case(5)
def our_ids_fit(desk: Desk) -> None:
    """The ids that we make fit into the broker's client ids."""
    assert desk.capabilities.client_id_length_max >= _OUR_IDS


@case(6)
def market_orders_of_the_day_work(desk: Desk) -> None:
    """Market orders of the day are among what it takes, for whole shares and for parts."""
    caps = desk.capabilities

    assert OrderType.MARKET in caps.types_whole
    assert TimeInForce.DAY in caps.in_force_whole
    if caps.fractional:
        assert OrderType.MARKET in caps.types_fractional
        assert TimeInForce.DAY in caps.in_force_fractional


@case(7, Trouble.BUSY)
def capabilities_need_no_broker(desk: Desk) -> None:
    """What it can do is known while the broker is down, also to a process that starts then."""
    for call in Call:
        desk.trouble(Trouble.BUSY, call, times=1_000)

    assert desk.bench.open(desk.tempo).capabilities == desk.capabilities


@case(8, Ability.LEDGER)
def what_the_check_refuses_is_refused(desk: Desk) -> None:
    """A ticket that its own capabilities rule out is refused as a value and never sent."""
    caps = desk.capabilities
    tickets = [
        desk.order("x" * (caps.client_id_length_max + 1)),
        desk.dollars("c1", max(1, caps.buy_notional_cents_min - 1)),
        desk.shares("c2", SHARE + 1),
        desk.dollars("c3", caps.buy_notional_cents_min + 1_001),
    ]
    ruled_out = [ticket for ticket in tickets if precheck.check(ticket, caps) is not None]

    for ticket in ruled_out:
        assert desk.refused(ticket).code
    assert ruled_out
    assert desk.bench.seen() == []


@case(9, Need.ASSETS)
def assets_say_what_can_be_traded(desk: Desk) -> None:
    """A name that is listed can be traded, and one that is unknown cannot."""
    assets = cast("Assets", desk.broker)

    listed, unknown = assets.assets([APPLE, UNLISTED])

    assert (listed.security_id, listed.tradable) == (APPLE, True)
    assert listed.fractionable == desk.capabilities.fractional
    assert (unknown.security_id, unknown.tradable) == (UNLISTED, False)


@case(10, Trouble.BUSY)
def an_order_while_the_broker_is_down_is_no_refusal(desk: Desk) -> None:
    """While the broker is down every call says so, and none says "nothing" or "no"."""
    ticket = desk.order("c1")
    for call in Call:
        desk.trouble(Trouble.BUSY, call, times=1_000)

    assert desk.send(ticket).status in {SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED}
    for ask in (
        lambda: desk.broker.find("c1"),
        lambda: desk.broker.positions(desk.account),
        lambda: desk.broker.cash(desk.account),
        # What it has kept of the past it may tell; an empty page would say that there is none.
        lambda: desk.broker.executions("").executions,
        lambda: desk.broker.activities("").activities,
        lambda: desk.broker.mass_status(desk.account),
    ):
        try:
            answer = ask()
        except BrokerUnavailableError:
            continue
        past = isinstance(answer, list) and answer and isinstance(answer[0], Execution | Activity)
        assert past, f"the broker is down, and the adapter says {answer!r}"
