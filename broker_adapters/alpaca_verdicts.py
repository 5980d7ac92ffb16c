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
_ID: Final = r"client[_ ]?order[_ ]?id"
_REFUSALS: Final = tuple(
    (re.compile(pattern), Verdict(status, code, refusal))
    for pattern, status, code, refusal in (
        (r"^(forbidden|unauthorized)\.?$", _LATER, "forbidden", Refusal.CREDENTIALS),
        (_ID + r".*(characters|too long|length)", _NO, "client_id_length", Refusal.CLIENT_ID),
        # However Alpaca puts it: what it says of our id is looked up before anything ends.
        (_ID, SubmitStatus.DUPLICATE, "duplicate", Refusal.CLIENT_ID_TAKEN),
        (r"wash trade", _LATER, "wash_trade", Refusal.OPPOSITE_ORDER),
        (r"while having open closing", _LATER, "opposite_order_open", Refusal.OPPOSITE_ORDER),
        (r"rejected by user request", _LATER, "account_stopped", Refusal.ACCOUNT),
        (r"cost basis must be >=", _NO, "below_minimum", Refusal.MINIMUM),
        (r"insufficient (buying power|balance)", _NO, "insufficient_funds", Refusal.FUNDS),
        (r"insufficient qty", _NO, "insufficient_position", Refusal.POSITION),
        (r"(allowed to|be sold) short", _NO, "insufficient_position", Refusal.POSITION),
        (r"not fractionable", _NO, "not_fractionable", Refusal.NOT_FRACTIONABLE),
        # What is said of one account is no word on the name: that would stop it for everybody.
        (r"pattern day trading", _NO, "account_refused", Refusal.ACCOUNT),
        (r"not allowed for account", _NO, "account_refused", Refusal.ACCOUNT),
        (r"\baccount\b.*\bnot (active|tradable)", _NO, "account_refused", Refusal.ACCOUNT),
        (r"not (active|tradable)\b.*\baccount\b", _NO, "account_refused", Refusal.ACCOUNT),
        (r"\basset\b.*\bnot (active|tradable)", _NO, "not_tradable", Refusal.NOT_TRADABLE),
        (r"asset .*not found", _NO, "unknown_security", Refusal.UNKNOWN_SECURITY),
        (r"order not found", _NO, "unknown_order", Refusal.ORDER_STATE),
        (r"not cancelable|already (filled|canceled)", _NO, "not_cancelable", Refusal.ORDER_STATE),
    )
)
"""What Alpaca's sentences mean: one code covers many meanings, and one meaning has had several.

A refusal that passes by itself (an opposite order that is still open, a stopped account) is
"throttled": nothing was taken, and the same ticket may be told again.
"""
_KINDS: Final = {
    401: Verdict(_LATER, "unauthorized", Refusal.CREDENTIALS),
    429: Verdict(_LATER, "rate_limit", Refusal.RATE),
}
"""What a status means whatever is said with it; the first three digits of a code are a status."""
_ANSWERS: Final = frozenset({400, 403, 404, 409, 422})
"""Statuses by which Alpaca itself says no; a gateway's 408, 3xx or 5xx may hide a live order."""
_OF_THE_ID: Final = 40010001
"""The code of a client id that is taken (and of requests that cannot be read)."""
_MALFORMED: Final = re.compile(r"\bis required\b|not allowed for account|" + _ID)
"""The sentences of that code that are known; another one may be the old thing in new words."""
_KIND: Final = 100_000


def classify(status: int, body: Any, *, of_order: bool = True) -> Verdict:
    """Return what an error answer to a request means, from status, code and message.

    Only Alpaca's own refusal (an object with a message, or a bare sentence) is a refusal. A page
    of some gateway is UNKNOWN, and so is every status, and every code, that does not say that
    nothing was done: a 422 whose code is a 500's, or (of an order) is that of a taken id in words
    that nobody has heard before.

    Args:
        status: HTTP's.
        body: As JSON.
        of_order: Whether the request was about an order; what else there is has no client id.
    """
    if status in _KINDS:
        return _KINDS[status]
    message = body.get("message") if isinstance(body, Mapping) else body
    code = _number(body.get("code")) if isinstance(body, Mapping) else None
    if status not in _ANSWERS or not isinstance(message, str) or not message:
        return Verdict(SubmitStatus.UNKNOWN, f"http_{status}", Refusal.NONE)
    kind = status if code is None else code // _KIND or code
    if kind in _KINDS:
        return _KINDS[kind]
    words = message.lower()
    veiled = of_order and code == _OF_THE_ID and not _MALFORMED.search(words)
    if kind not in _ANSWERS or veiled:
        return Verdict(SubmitStatus.UNKNOWN, f"unclear_{code}", Refusal.NONE)
    for pattern, verdict in _REFUSALS:
        if pattern.search(words):
            return verdict
    return Verdict(_NO, f"refused_{status if code is None else code}")


def _number(code: Any) -> int | None:
    """Return a body's code, a number or its text; None if it has none."""
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:_DIGITS_MAX])
    return code if isinstance(code, int) and not isinstance(code, bool) else None


_DIGITS_MAX: Final = 12
