"""What an order really pays: half the spread, its own impact, and how it is cut into fills.

Impact follows the square-root law: I = Y s sqrt(Q / V), with s the daily volatility, Q the order's
value, V the value traded in a day, and Y about one. Source: Toth et al., Phys. Rev. X 1, 021006
(2011); V is estimated from the company's size, because the price port carries no volumes.
"""

import hashlib
import math
from typing import Final

from robo.core.money import PPM
from robo.ports.broker import Side
from robo.ports.prices import Quote

_DAILY_VOLATILITY_PPM: Final = 16_000
"""1.6 % a day, the median of large US names."""
_TURNOVER_PPM: Final = 4_000
"""0.4 % of a company's value changes hands a day: about once a year."""
_UNKNOWN_SIZE_CENTS: Final = 2_000_000_000_00
_IMPACT_PPM_MAX: Final = 50_000
_TICK_MICROS: Final = 100
"""Fills are stated in hundredths of a cent, as price improvement is."""
_SLICES_MAX: Final = 4
_WORD: Final = 2**64


def draw(seed: int, client_id: str, what: str, below: int) -> int:
    """Return a number in [0, below) that hangs on nothing but the arguments."""
    digest = hashlib.sha256(f"{seed}:{client_id}:{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * below // _WORD


def impact_ppm(order_cents: int, size_cents: int) -> int:
    """Return how far an order of that value moves the price against itself."""
    traded = max(1, (size_cents or _UNKNOWN_SIZE_CENTS) * _TURNOVER_PPM // PPM)
    moved = int(_DAILY_VOLATILITY_PPM * math.sqrt(order_cents / traded))
    return min(moved, _IMPACT_PPM_MAX)


def fill_price_micros(
    side: Side, quote: Quote, order_cents: int, size_cents: int, spread_bps: int | None
) -> int:
    """Return the price of a fill: the far side of the spread, moved by the order's impact.

    Args:
        side: Buys pay the ask and more, sells get the bid and less.
        quote: The market when it fills.
        order_cents: The whole order's value, not only this fill's.
        size_cents: The company's size; 0 if unknown.
        spread_bps: Full width of the spread instead of the quote's own, None for the quote's.
    """
    buying = side is Side.BUY
    if spread_bps is None:
        touch = quote.ask_micros if buying else quote.bid_micros
    else:
        half = quote.price_micros * spread_bps // 20_000
        touch = quote.price_micros + (half if buying else -half)
    moved = touch * impact_ppm(order_cents, size_cents)
    if buying:
        exact = touch + -(-moved // PPM)
        return -(-exact // _TICK_MICROS) * _TICK_MICROS
    exact = touch - -(-moved // PPM)
    return max(_TICK_MICROS, exact // _TICK_MICROS * _TICK_MICROS)


def slice_count(seed: int, client_id: str, partial_ppm: int) -> int:
    """Return in how many fills an order comes back: one, or two to four with that chance."""
    if draw(seed, client_id, "partial", PPM) >= partial_ppm:
        return 1
    return 2 + draw(seed, client_id, "slices", _SLICES_MAX - 1)


def slice_size(seed: int, client_id: str, index: int, left: int, slices_left: int) -> int:
    """Return the next fill's part of what is left; the last takes all, none is nothing.

    Args:
        seed: The broker's seed.
        client_id: The order's id.
        index: Which fill this is.
        left: What is left, cents or nanoshares, positive.
        slices_left: Fills to come, this one included.
    """
    if slices_left <= 1 or left <= slices_left:
        return left
    part = 200_000 + draw(seed, client_id, f"slice-{index}", 600_000)
    return max(1, left * part // PPM)
