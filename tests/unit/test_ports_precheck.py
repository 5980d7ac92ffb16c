"""What a broker could never take is known before it is told."""

from dataclasses import replace

import pytest
from desk import USUAL

from robo.core.ids import SecurityId
from robo.ports import precheck
from robo.ports.broker import (
    OrderTicket,
    Refusal,
    Side,
    SubmitStatus,
)
from robo.ports.precheck import check, refused
from robo.ports.terms import OrderType, TimeInForce

SHARE = 10**9
BROKER = replace(
    USUAL,
    share_decimals=4,
    buy_notional_cents_min=100,
    client_id_length_max=10,
    in_force_whole=frozenset({TimeInForce.DAY, TimeInForce.GTC}),
)
BUY = OrderTicket("c1", "omnibus", SecurityId(1), "AAA", Side.BUY, 1_000, None)
SHARES = replace(BUY, notional_cents=None, nanos=3 * SHARE)


@pytest.mark.parametrize(
    ("ticket", "broker", "why"),
    [
        (BUY, {}, None),
        (SHARES, {}, None),
        (replace(BUY, client_id="x" * 10), {}, None),
        (replace(BUY, client_id="x" * 11), {}, "client_id_length"),
        (replace(BUY, client_id=""), {}, "client_id_length"),
        (replace(BUY, client_id="c\n1"), {}, "client_id_alphabet"),
        (replace(BUY, client_id="é"), {}, "client_id_alphabet"),
        (BUY, {"notional": False}, "no_notional"),
        (SHARES, {"notional": False, "fractional": False}, None),
        (replace(BUY, notional_cents=1_001), {"notional_decimals": 1}, "notional_decimals"),
        (replace(BUY, notional_cents=1_010), {"notional_decimals": 1}, None),
        (replace(SHARES, nanos=SHARE // 2), {"fractional": False}, "whole_shares_only"),
        (replace(SHARES, nanos=SHARE + 100_000), {}, None),
        (replace(SHARES, nanos=SHARE + 10_000), {}, "share_decimals"),
        (replace(BUY, notional_cents=99), {}, "below_minimum"),
        (replace(BUY, notional_cents=99, side=Side.SELL), {}, None),
        (replace(BUY, type=OrderType.LIMIT), {}, "order_type"),
        (replace(SHARES, in_force=TimeInForce.GTC), {}, None),
        (replace(BUY, in_force=TimeInForce.GTC), {}, "in_force"),
    ],
)
def test_a_ticket_is_held_against_what_the_broker_can_do(
    ticket: OrderTicket, broker: dict[str, object], why: str | None
):
    assert check(ticket, replace(BROKER, **broker)) == why


def test_every_reason_is_a_refusal_of_a_known_kind_that_was_never_sent():
    for code in precheck._CODES:
        result = refused(code)

        assert (result.status, result.code) == (SubmitStatus.REJECTED, code)
        assert result.refusal not in {Refusal.NONE, Refusal.OTHER}
        assert result.broker_order_id is None
