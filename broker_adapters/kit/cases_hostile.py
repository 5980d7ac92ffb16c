"""Hostile input."""

import logging
from dataclasses import replace

from broker_adapters.kit.bench import Ability, Call, Trouble
from broker_adapters.kit.case import case
from broker_adapters.kit.desk import Desk, overheard, same
from robo.core.errors import RoboError
from robo.ports import precheck
from robo.ports.broker import SubmitStatus

_IDS = (
    "a b",
    "a/b",
    "../c1",
    "a?b=c&client_order_id=c1",
    "a#b",
    "a%2Fb",
    "a;b",
    "'; DROP TABLE orders; --",
    '"quoted"',
    "<b>",
    "{id}",
    "%00",
    "c1 ",
)
"""Printable text, so it is an id like any other: it arrives as it is, or is refused."""
_UNPRINTABLE = ("", "a\nb", "a\x00b", "a\r\nX-Header: 1", "é", "\u202e1c", "\ud800")


@case(191)
def ids_arrive_as_they_are(desk: Desk) -> None:
    """An id with letters that mean something in an address arrives as it is, or is refused."""
    desk.accepted(desk.order("c1"))
    for name in _IDS:
        ticket = desk.order(name, times=2)
        result = desk.send(ticket)
        assert result.status in {SubmitStatus.ACCEPTED, SubmitStatus.REJECTED}, (name, result)
        if result.status is SubmitStatus.ACCEPTED:
            same(ticket, desk.found(ticket))
    same(desk.order("c1"), desk.found(desk.order("c1")))


@case(192)
def what_is_no_text_is_refused(desk: Desk) -> None:
    """An id that is empty or unprintable is refused as a value, and nothing is sent."""
    for name in _UNPRINTABLE:
        assert desk.refused(desk.order(name)).code
    desk.nothing_arrived()


@case(193)
def a_lookup_of_nonsense_finds_nothing(desk: Desk) -> None:
    """Looking up or cancelling an id that no order can have finds nothing and breaks nothing."""
    ticket = desk.order("c1")
    desk.accepted(ticket)
    for name in (*_IDS, "a\nb", "x" * 5_000):
        assert desk.broker.find(name) is None, name
        assert desk.broker.cancel(name).status is SubmitStatus.REJECTED, name
    desk.exactly_one(ticket)


@case(194)
def a_symbol_is_not_an_address(desk: Desk) -> None:
    """A ticket with a symbol that is no symbol is refused, and touches nothing else."""
    for index, symbol in enumerate(("../../account", "AAA?x=1", "A A", "AAA/BBB", "")):
        ticket = replace(desk.order(f"c{index}", security_id=desk.order("x").security_id))
        result = desk.send(replace(ticket, symbol=symbol))
        # A broker that goes by our own id of the security may take it: then it is that security.
        if result.status is SubmitStatus.ACCEPTED:
            assert desk.found(ticket).security_id == ticket.security_id
        else:
            assert result.status is SubmitStatus.REJECTED, (symbol, result)
    desk.positions()


@case(195)
def an_unknown_account_has_nothing_of_ours(desk: Desk) -> None:
    """An account that does not exist has no shares of anybody's, or is refused by name."""
    desk.filled(desk.order("c1"))
    for account in ("no-such-account", "../" + desk.account, desk.account + "?x=1"):
        try:
            held = [one.nanos for one in desk.broker.positions(account) if one.nanos]
        except RoboError:
            continue
        assert held == [], account


@case(196, Ability.COUNTS)
def secrets_are_not_shown(desk: Desk) -> None:
    """Keys appear neither in what the adapter prints of itself, nor in logs, nor in errors."""
    shown = [repr(desk.broker), str(vars(desk.broker))]
    with overheard(logging.DEBUG) as stream:
        desk.accepted(desk.order("c1"))
        for trouble in (Trouble.LOST_BEFORE, Trouble.LOCKED, Trouble.BUSY):
            if trouble in desk.bench.troubles:
                desk.trouble(trouble, Call.POSITIONS, times=100)
                try:
                    desk.broker.positions(desk.account)
                except RoboError as error:
                    shown += [str(error), repr(error), repr(error.__cause__)]
                desk.bench.calm()
    shown.append(stream.getvalue())

    assert desk.bench.secrets, "a bench with a wire has keys"
    for secret in desk.bench.secrets:
        assert all(secret not in text for text in shown)


@case(197)
def the_check_and_the_broker_agree_on_ids(desk: Desk) -> None:
    """No id that the adapter accepts is one that the common check would have refused."""
    caps = desk.capabilities
    for name in (*_UNPRINTABLE, "x" * (caps.client_id_length_max + 1)):
        ticket = desk.order(name)
        assert precheck.check(ticket, caps) is not None, name
        assert desk.send(ticket).status is SubmitStatus.REJECTED, name
