"""Prices for plans: fresh quotes as integers, and the reason why a name cannot be traded now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from robo.core.ids import SecurityId
from robo.core.reasons import Reason
from robo.ports.prices import PriceSource


@dataclass(frozen=True, slots=True)
class Board:
    """Prices at an instant (dollars per share in 1e-6), and names that may not be traded."""

    price_micros: dict[int, int]
    stopped: dict[int, Reason]


def board(prices: PriceSource, security_ids: Sequence[int], at: datetime) -> Board:
    """Return what the names cost; names without a price or halted are stopped with the reason."""
    quotes = prices.quotes([SecurityId(security_id) for security_id in security_ids], at)
    price_micros: dict[int, int] = {}
    stopped: dict[int, Reason] = {}
    for security_id in security_ids:
        quote = quotes.get(SecurityId(security_id))
        if quote is None or quote.price_micros <= 0:
            stopped[security_id] = Reason.SKIP_NO_PRICE
            continue
        price_micros[security_id] = quote.price_micros
        if quote.halted:
            stopped[security_id] = Reason.SKIP_HALTED
    return Board(price_micros, stopped)
