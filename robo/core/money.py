"""Money in whole cents, prices in micro-dollars per share, and the one place they meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from robo.core.errors import InvalidInputError

CENTS_PER_DOLLAR: Final = 100
MICROS_PER_CENT: Final = 10_000
NANOS_PER_SHARE: Final = 1_000_000_000
NOTIONAL_SCALE: Final = NANOS_PER_SHARE * MICROS_PER_CENT
"""nanoshares x micro-dollars per cent: divide a raw product by this to get cents."""
PPM: Final = 1_000_000
INT64_MAX: Final = 2**63 - 1
AMOUNT_CENTS_MAX: Final = 10**15
"""Ten trillion dollars: no single amount on the wire may exceed it."""

Rounding = Literal["half_away", "down", "up"]


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """A signed amount of US dollars, in whole cents."""

    cents: int

    def __str__(self) -> str:
        """Return the amount as dollars with two decimals, for example `-12.05`."""
        return format_cents(self.cents)


def format_cents(cents: int) -> str:
    """Return cents as a decimal string of dollars with exactly two decimals."""
    sign = "-" if cents < 0 else ""
    dollars, rest = divmod(abs(cents), CENTS_PER_DOLLAR)
    return f"{sign}{dollars}.{rest:02d}"


def parse_cents(text: str, *, cents_max: int = AMOUNT_CENTS_MAX) -> int:
    """Return the cents of a plain decimal string such as `25`, `25.5` or `25.50`.

    Args:
        text: ASCII digits with at most two decimals; an optional leading minus. No exponent,
            no thousands separator, no surrounding space.
        cents_max: The largest magnitude accepted.

    Raises:
        InvalidInputError: If the text is anything else.
    """
    return _parse_decimal(text, decimals=2, largest=cents_max, what="an amount of dollars")


def parse_micros(text: str, *, micros_max: int = 10**12) -> int:
    """Return micro-dollars of a plain decimal string with at most six decimals.

    Raises:
        InvalidInputError: If the text is anything else.
    """
    return _parse_decimal(text, decimals=6, largest=micros_max, what="a price")


def format_micros(micros: int) -> str:
    """Return micro-dollars as a decimal string with at least two and at most six decimals."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), 1_000_000)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def round_ratio(numerator: int, denominator: int, rounding: Rounding = "half_away") -> int:
    """Return numerator / denominator as an integer, rounded as told (`half_away` from zero)."""
    assert denominator > 0
    sign = -1 if numerator < 0 else 1
    quotient, rest = divmod(abs(numerator), denominator)
    match rounding:
        case "down":
            pass
        case "up":
            quotient += rest > 0
        case "half_away":
            quotient += 2 * rest >= denominator
    return sign * quotient


def notional_cents(nanos: int, price_micros: int, rounding: Rounding = "half_away") -> int:
    """Return the cents that a number of nanoshares costs at a price; exact in Python integers.

    Args:
        nanos: Shares in 1e-9.
        price_micros: Dollars per share in 1e-6.
        rounding: Half away from zero unless told otherwise.
    """
    return round_ratio(nanos * price_micros, NOTIONAL_SCALE, rounding)


def nanos_for_cents(cents: int, price_micros: int) -> int:
    """Return the most nanoshares whose exact cost does not exceed the cents (rounded down)."""
    assert price_micros > 0
    return cents * NOTIONAL_SCALE // price_micros


def split_cents(total: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights without losing a unit: Hamilton's method, ties to the earlier.

    Args:
        total: Any units (cents, nanoshares), not negative.
        weights: Not negative, at least one positive.

    Raises:
        ValueError: If the total or a weight is negative, or all weights are zero.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        message = "totals and weights must not be negative"
        raise ValueError(message)
    scale = sum(weights)
    if scale == 0:
        message = "at least one weight must be positive"
        raise ValueError(message)
    shares = [total * weight // scale for weight in weights]
    rests = [total * weight % scale for weight in weights]
    left = total - sum(shares)
    for index in sorted(range(len(weights)), key=lambda i: (-rests[i], i))[:left]:
        shares[index] += 1
    return shares


def _parse_decimal(text: str, *, decimals: int, largest: int, what: str) -> int:
    body = text.removeprefix("-")
    whole, dot, rest = body.partition(".")
    digits_max = len(str(largest))
    fine = (
        text.isascii()
        and whole.isdigit()
        and len(whole) <= digits_max
        and len(rest) <= decimals
        and (rest.isdigit() if dot else True)
    )
    if not fine:
        message = f"{what} is digits with at most {decimals} decimals, like 25.00"
        raise InvalidInputError(message, code="bad_decimal")
    scale: int = 10**decimals
    value = int(whole) * scale + int(rest.ljust(decimals, "0") or 0)
    if value > largest:
        message = f"{what} is too large"
        raise InvalidInputError(message, code="amount_too_large")
    return -value if text.startswith("-") else value
