"""Money in and out (group `funding`)."""

from typing import cast

from broker_adapters.kit.bench import Call, Trouble
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import Desk
from robo.ports.brokerage import CashRequest, Funding, Outcome
from robo.ports.funding import TransferDirection

_CENTS = 50_00


def _funding(desk: Desk) -> Funding:
    return cast("Funding", desk.broker)


def _request(desk: Desk, name: str, cents: int = _CENTS) -> CashRequest:
    linked = _funding(desk).link_bank(desk.account, desk.bench.bank())
    assert linked.outcome is Outcome.TAKEN, linked
    assert linked.relationship is not None
    return CashRequest(name, desk.account, linked.relationship.id, TransferDirection.PULL, cents)


@case(201, Need.FUNDING)
def a_bank_is_linked_once(desk: Desk) -> None:
    """A bank account that is linked twice is one link."""
    first, second = _request(desk, "t1"), _request(desk, "t2")

    assert first.relationship_id == second.relationship_id
    assert len(_funding(desk).relationships(desk.account)) == 1


@case(202, Need.FUNDING)
def a_transfer_is_made_once(desk: Desk) -> None:
    """The same transfer asked for three times moves money once."""
    request = _request(desk, "t1")

    outcomes = [_funding(desk).transfer(request).outcome for _ in range(3)]

    assert outcomes == [Outcome.TAKEN] * 3
    assert desk.bench.money_moved() == [_CENTS]


@case(203, Need.FUNDING)
def two_equal_transfers_are_two(desk: Desk) -> None:
    """Two transfers of one amount with two ids are two, when both answers were heard."""
    first, second = _request(desk, "t1"), _request(desk, "t2")

    outcomes = {_funding(desk).transfer(one).outcome for one in (first, second)}

    assert outcomes == {Outcome.TAKEN}
    assert desk.bench.money_moved() == [_CENTS, _CENTS]


@case(204, Need.FUNDING, Trouble.LOST_AFTER)
def a_transfer_whose_answer_is_lost_is_made_once(desk: Desk) -> None:
    """A transfer whose answer is lost is never made again, however often it is asked for."""
    request = _request(desk, "t1")
    for trouble in (Trouble.LOST_AFTER, Trouble.ERROR_AFTER, Trouble.GATEWAY_AFTER):
        desk.trouble(trouble, Call.TRANSFER)
        assert _funding(desk).transfer(request).outcome is not Outcome.REFUSED
        desk.bench.calm()

    assert _funding(desk).transfer(request).outcome is not Outcome.REFUSED
    assert desk.bench.money_moved() == [_CENTS]


@case(205, Need.FUNDING, Trouble.LOST_BEFORE)
def a_transfer_that_never_arrived_is_made_at_most_once(desk: Desk) -> None:
    """A transfer that never arrived is made later or put before a person, never twice."""
    request = _request(desk, "t1")
    desk.trouble(Trouble.LOST_BEFORE, Call.TRANSFER)
    first = _funding(desk).transfer(request).outcome
    desk.bench.calm()

    second = _funding(desk).transfer(request).outcome

    assert first in {Outcome.UNKNOWN, Outcome.AMBIGUOUS}
    assert second in {Outcome.TAKEN, Outcome.UNKNOWN, Outcome.AMBIGUOUS}
    moved = desk.bench.money_moved()
    assert moved == ([_CENTS] if second is Outcome.TAKEN else [])


@case(206, Need.FUNDING, Trouble.BUSY)
def transfers_that_cannot_be_listed(desk: Desk) -> None:
    """Transfers that cannot be listed are unavailable, never none."""
    request = _request(desk, "t1")
    before = [one.cents for one in _funding(desk).transfers(desk.account)]
    _funding(desk).transfer(request)

    desk.unreadable(Trouble.BUSY, Call.TRANSFER, lambda: _funding(desk).transfers(desk.account))

    assert [one.cents for one in _funding(desk).transfers(desk.account)] == [*before, _CENTS]


@case(207, Need.FUNDING)
def an_id_keeps_its_amount(desk: Desk) -> None:
    """The same transfer id with another amount moves nothing more."""
    request = _request(desk, "t1")
    _funding(desk).transfer(request)

    other = _request(desk, "t1", 2 * _CENTS)
    assert _funding(desk).transfer(other).outcome is not Outcome.TAKEN

    assert desk.bench.money_moved() == [_CENTS]
