"""Whether a broker could take an order at all, told before it is sent; pure.

What is refused here was never sent: its outcome is known, and it costs no request. Anything that
only the broker knows (funds, positions, halts) is left to it.
"""

from typing import Final

from robo.core.money import NANOS_PER_SHARE
from robo.ports.broker import Capabilities, OrderTicket, Refusal, Side, SubmitResult, SubmitStatus

_CENT_DIGITS: Final = 2
_CODES: Final = {
    "client_id_length": (Refusal.CLIENT_ID, "A client id is too long or empty for this broker."),
    "client_id_alphabet": (Refusal.CLIENT_ID, "A client id is plain printable text."),
    "no_notional": (Refusal.UNSUPPORTED, "This broker takes no orders in dollars."),
    "notional_decimals": (
        Refusal.UNSUPPORTED,
        "This broker takes no parts of a dollar that small.",
    ),
    "whole_shares_only": (Refusal.NOT_FRACTIONABLE, "This broker takes whole shares only."),
    "share_decimals": (Refusal.UNSUPPORTED, "This broker takes no part of a share that small."),
    "below_minimum": (Refusal.MINIMUM, "The order is worth less than the broker takes."),
    "order_type": (Refusal.UNSUPPORTED, "This broker takes no such order for such a size."),
    "in_force": (Refusal.UNSUPPORTED, "An order of such a size may not live that long here."),
}
"""Code -> (kind, sentence)."""


def check(ticket: OrderTicket, capabilities: Capabilities) -> str | None:
    """Return why a broker of these capabilities cannot take a ticket; None if it can.

    Returns:
        A stable code of this module: `client_id_length`, `no_notional`, `whole_shares_only` …
    """
    return (
        _id_fault(ticket, capabilities)
        or _size_fault(ticket, capabilities)
        or _terms_fault(ticket, capabilities)
    )


def refused(code: str) -> SubmitResult:
    """Return the result for a ticket that `check` had a reason against: rejected, never sent."""
    refusal, detail = _CODES[code]
    return SubmitResult(SubmitStatus.REJECTED, None, code, detail, refusal)


def is_whole(ticket: OrderTicket) -> bool:
    """Return whether a ticket is sized in whole shares."""
    return ticket.nanos is not None and ticket.nanos % NANOS_PER_SHARE == 0


def _id_fault(ticket: OrderTicket, capabilities: Capabilities) -> str | None:
    if not 0 < len(ticket.client_id) <= capabilities.client_id_length_max:
        return "client_id_length"
    if not (ticket.client_id.isascii() and ticket.client_id.isprintable()):
        return "client_id_alphabet"
    return None


def _size_fault(ticket: OrderTicket, capabilities: Capabilities) -> str | None:
    if ticket.notional_cents is None:
        assert ticket.nanos is not None
        if is_whole(ticket):
            return None
        if not capabilities.fractional:
            return "whole_shares_only"
        return "share_decimals" if ticket.nanos % capabilities.step_nanos else None
    if not capabilities.notional:
        return "no_notional"
    step = 10 ** max(0, _CENT_DIGITS - capabilities.notional_decimals)
    if ticket.notional_cents % step:
        return "notional_decimals"
    buying = ticket.side is Side.BUY
    least = capabilities.buy_notional_cents_min if buying else capabilities.sell_notional_cents_min
    return "below_minimum" if ticket.notional_cents < least else None


def _terms_fault(ticket: OrderTicket, capabilities: Capabilities) -> str | None:
    whole = is_whole(ticket)
    if ticket.type not in (capabilities.types_whole if whole else capabilities.types_fractional):
        return "order_type"
    lives = capabilities.in_force_whole if whole else capabilities.in_force_fractional
    return None if ticket.in_force in lives else "in_force"
