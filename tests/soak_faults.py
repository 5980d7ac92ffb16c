"""Faults for the soaks: every kind that the Alpaca-shaped server deals, over all its calls."""

import random
from dataclasses import dataclass, replace
from typing import Final

from broker_adapters.alpaca_server.faults import Fault, FaultKind

_TOO_LONG_BY_SECONDS: Final = 0.2
_WASH: Final = (
    '{"code": 40310000, "message": "potential wash trade detected. use complex orders", '
    '"reject_reason": "opposite side market/stop order exists"}'
)
_POOR: Final = '{"code": 40310000, "message": "insufficient buying power"}'
_NONE: Final = '{"code": 40410000, "message": "order not found"}'
_NO: Final = '{"code": 40010000, "message": "no"}'
_LIST: Final = "/(v2|v1/trading/accounts/[^/]+)"
ORDERS: Final = f"{_LIST}/orders"
_BY_ID: Final = f"{_LIST}/orders:by_client_order_id"
_ACTIVITIES: Final = "(/v2/account/activities|/v1/accounts/activities)"
_BOOKS: Final = f"{_LIST}/(positions|account|orders)"
_TRANSFERS: Final = "/v1/accounts/[^/]+/transfers"
_ACCOUNTS: Final = "/v1/accounts"
_TOLD: Final = "/v2beta1/events/activities"
_STREAMS: Final = "/v(1|2|2beta1)/events/.*"
_MONEY_CALLS: Final = 12
_FEW: Final = 2
_LAGS: Final = (2, 8, 30)
"""So often in a row a list that lags has no order: more often than orders are told again by."""


@dataclass(frozen=True, slots=True)
class Calls:
    """How many calls of each sort a round makes, roughly: faults hit one of them; and patience."""

    orders: int
    patience_seconds: float
    """So long our process waits for an answer."""
    reads: int = 6

    @property
    def too_long_seconds(self) -> float:
        return self.patience_seconds + _TOO_LONG_BY_SECONDS


def of_orders(dice: random.Random, count: int, calls: Calls) -> list[Fault]:
    """Return faults of orders and of readings, of every kind, as many as asked for."""
    lost = {"status": "brand_new_word", "submitted_at": None}
    post = (
        Fault(FaultKind.REFUSE, status=429, headers={"X-Ratelimit-Reset": "soon"}),
        Fault(
            FaultKind.REFUSE,
            status=429,
            headers={"X-Ratelimit-Limit": "-1", "X-Ratelimit-Reset": "99999999999999"},
        ),
        Fault(FaultKind.REFUSE, status=503),
        Fault(FaultKind.REFUSE, status=422, body=_NO),
        Fault(FaultKind.REFUSE, status=403, body=_WASH),
        Fault(FaultKind.REFUSE, status=403, body=_POOR),
        Fault(FaultKind.FAIL_AFTER, status=504, body="<html>gateway</html>"),
        Fault(FaultKind.FAIL_AFTER, status=500),
        Fault(FaultKind.FAIL_AFTER, status=200, body="not json"),
        Fault(FaultKind.FAIL_AFTER, status=200, body="{}"),
        Fault(FaultKind.DROP),
        Fault(FaultKind.DROP_AFTER),
        Fault(FaultKind.TRUNCATE),
        Fault(FaultKind.EDIT, edit=lost),
        Fault(FaultKind.DELAY, seconds=0.05),
        Fault(FaultKind.DELAY, seconds=calls.too_long_seconds),
        Fault(FaultKind.DELAY_AFTER, seconds=0.05),
        Fault(FaultKind.DELAY_AFTER, seconds=calls.too_long_seconds),
        Fault(FaultKind.REJECT_LATER),
    )
    get = (
        Fault(FaultKind.REFUSE, path=_BY_ID, status=404, body=_NONE, times=dice.choice(_LAGS)),
        Fault(FaultKind.REFUSE, path=_BY_ID, status=500),
        Fault(FaultKind.EDIT, path=_BY_ID, edit=lost),
        Fault(FaultKind.DROP, path=_BY_ID),
        Fault(FaultKind.REFUSE, path=_BOOKS, status=500),
        Fault(FaultKind.TRUNCATE, path=_BOOKS),
        Fault(FaultKind.EDIT, path=ORDERS, edit={"status": "brand_new_word"}),
        Fault(FaultKind.REFUSE, path=_ACTIVITIES, status=500),
        Fault(FaultKind.TRUNCATE, path=_ACTIVITIES),
        Fault(FaultKind.REPEAT, path=_ACTIVITIES),
        Fault(FaultKind.MISSING, path=_ACTIVITIES),
        Fault(FaultKind.DROP_AFTER, path=_ACTIVITIES),
    )
    told = [replace(one, path=ORDERS) for one in post]
    read = [replace(one, method="GET") for one in get]
    return [_placed(dice, dice.choice((*told, *read)), calls) for _ in range(count)]


def of_doubts(dice: random.Random) -> list[Fault]:
    """Return a list that lags for long, and refusals of what is told again over it.

    What was lost before is asked for, and told again, before anything new is told.
    """
    lag = Fault(FaultKind.REFUSE, "GET", _BY_ID, status=404, body=_NONE, times=dice.choice(_LAGS))
    poor = Fault(FaultKind.REFUSE, "POST", ORDERS, status=403, body=_POOR, times=_FEW)
    return [lag, poor]


def of_streams(dice: random.Random, count: int) -> list[Fault]:
    """Return faults of the one stream that the account of all customers has."""
    kinds = [replace(one, method="GET", path=_TOLD) for one in _OF_STREAMS]
    return [replace(dice.choice(kinds), nth=dice.randint(1, _FEW)) for _ in range(count)]


_OF_STREAMS: Final = (
    Fault(FaultKind.EVENT_TWICE),
    Fault(FaultKind.EVENT_SWAP),
    Fault(FaultKind.EVENT_SILENT, seconds=0.3),
    Fault(FaultKind.EVENT_DROPPED),
    Fault(FaultKind.TRUNCATE),
    Fault(FaultKind.REFUSE, status=500),
    Fault(FaultKind.DROP),
)


def of_money(dice: random.Random, count: int, calls: Calls) -> list[Fault]:
    """Return faults of transfers, of accounts and of the streams of events."""
    asked = (
        Fault(FaultKind.REFUSE, status=503),
        Fault(FaultKind.REFUSE, status=429),
        Fault(FaultKind.FAIL_AFTER, status=504),
        Fault(FaultKind.FAIL_AFTER, status=200, body="{}"),
        Fault(FaultKind.DROP),
        Fault(FaultKind.DROP_AFTER),
        Fault(FaultKind.TRUNCATE),
        Fault(FaultKind.DELAY_AFTER, seconds=calls.too_long_seconds),
    )
    kinds = [replace(one, method="GET", path=_STREAMS, times=1) for one in _OF_STREAMS]
    kinds += [replace(one, path=_TRANSFERS) for one in asked]
    kinds += [replace(one, path=_ACCOUNTS) for one in asked]
    kinds += [
        Fault(FaultKind.REFUSE, "GET", _TRANSFERS, status=500),
        Fault(FaultKind.REPEAT, "GET", _TRANSFERS),
        Fault(FaultKind.REFUSE, "GET", f"{_ACCOUNTS}/[^/]+", status=500),
        Fault(FaultKind.DROP, "GET", _ACCOUNTS),
    ]
    found = []
    for one in (dice.choice(kinds) for _ in range(count)):
        most = _FEW if one.path in {_STREAMS, _ACCOUNTS} else _MONEY_CALLS
        found.append(replace(one, nth=dice.randint(1, most)))
    return found


def _placed(dice: random.Random, fault: Fault, calls: Calls) -> Fault:
    most = calls.orders if fault.path in {ORDERS, _BY_ID} and fault.method == "POST" else 0
    times = dice.choice((1, 1, 2)) if fault.times == 1 else fault.times
    return replace(fault, nth=dice.randint(1, most or calls.reads), times=times)
