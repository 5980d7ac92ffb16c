"""What an answer of Alpaca's that is no order means, told from status, code and message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from robo.ports.broker import Refusal, SubmitResult, SubmitStatus


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer that is no order means for the ticket, with our own stable code."""

    status: SubmitStatus
    code: str
    refusal: Refusal = Refusal.OTHER

    def result(self, detail: str = "") -> SubmitResult:
        """Return it as the port's result."""
        return SubmitResult(self.status, None, self.code, detail, self.refusal)


_NO: Final = SubmitStatus.REJECTED
_LATER: Final = SubmitStatus.THROTTLED
_REFUSALS: Final = tuple(
    (re.compile(pattern), Verdict(status, code, refusal))
    for pattern, status, code, refusal in (
        (r"^(forbidden|unauthorized)\.?$", _LATER, "forbidden", Refusal.CREDENTIALS),
        (
            r"client_order_id must be unique",
            SubmitStatus.DUPLICATE,
            "duplicate",
            Refusal.CLIENT_ID_TAKEN,
        ),
        (r"client_order_id", _NO, "client_id_length", Refusal.CLIENT_ID),
        (r"wash trade", _LATER, "wash_trade", Refusal.OPPOSITE_ORDER),
        (r"while having open closing", _LATER, "opposite_order_open", Refusal.OPPOSITE_ORDER),
        (r"rejected by user request", _LATER, "account_stopped", Refusal.ACCOUNT),
        (r"cost basis must be >=", _NO, "below_minimum", Refusal.MINIMUM),
        (r"insufficient (buying power|balance)", _NO, "insufficient_funds", Refusal.FUNDS),
        (r"insufficient qty", _NO, "insufficient_position", Refusal.POSITION),
        (r"(allowed to|be sold) short", _NO, "insufficient_position", Refusal.POSITION),
        (r"not fractionable", _NO, "not_fractionable", Refusal.NOT_FRACTIONABLE),
        (r"not (tradable|active)", _NO, "not_tradable", Refusal.NOT_TRADABLE),
        (r"asset .*not found", _NO, "unknown_security", Refusal.UNKNOWN_SECURITY),
        (r"order not found", _NO, "unknown_order", Refusal.ORDER_STATE),
        (r"not cancelable|already (filled|canceled)", _NO, "not_cancelable", Refusal.ORDER_STATE),
    )
)
"""What Alpaca's sentences mean. One code covers many meanings, so the words decide.

A refusal that passes by itself (an opposite order that is still open, a stopped account) is
"throttled": nothing was taken, and the same ticket may be told again.
"""
_HTTP: Final = {
    401: Verdict(_LATER, "unauthorized", Refusal.CREDENTIALS),
    429: Verdict(_LATER, "rate_limit", Refusal.RATE),
}
_ANSWERS: Final = frozenset({400, 403, 404, 409, 422})
"""Statuses by which Alpaca itself says no; a gateway's 408, 3xx or 5xx may hide a live order."""


def classify(status: int, body: Any) -> Verdict:
    """Return what an error answer to a request means, from status, code and message.

    Only Alpaca's own refusal (an object with a message, or a bare sentence) is a refusal. A page
    of some gateway is UNKNOWN, and so is every status that does not say that nothing was done.
    """
    if status in _HTTP:
        return _HTTP[status]
    message = body.get("message") if isinstance(body, Mapping) else body
    if status not in _ANSWERS or not isinstance(message, str) or not message:
        return Verdict(SubmitStatus.UNKNOWN, f"http_{status}", Refusal.NONE)
    for pattern, verdict in _REFUSALS:
        if pattern.search(message.lower()):
            return verdict
    code = body.get("code") if isinstance(body, Mapping) else None
    number = code if isinstance(code, int) and not isinstance(code, bool) else status
    return Verdict(_NO, f"refused_{number}")
