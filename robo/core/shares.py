"""Share counts in nanoshares (1e-9 of a share)."""

from typing import Final

from robo.core.errors import InvalidInputError
from robo.core.money import NANOS_PER_SHARE

SHARES_MAX: Final = 10**9
"""No holding is larger than a billion shares; it keeps every count inside int64."""
_DECIMALS: Final = 9


def format_nanos(nanos: int) -> str:
    """Return nanoshares as a decimal string of shares, without trailing zeros (`0.043459365`)."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_SHARE)
    decimals = f"{rest:09d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def parse_nanos(text: str) -> int:
    """Return the nanoshares of a plain, non-negative decimal string with at most nine decimals.

    Raises:
        InvalidInputError: If the text is anything else, or exceeds a billion shares.
    """
    whole, dot, rest = text.partition(".")
    fine = (
        text.isascii()
        and whole.isdigit()
        and len(whole) <= len(str(SHARES_MAX))
        and len(rest) <= _DECIMALS
        and (rest.isdigit() if dot else True)
    )
    if not fine:
        message = "a share count is digits with at most nine decimals, like 0.5"
        raise InvalidInputError(message, code="bad_decimal")
    nanos = int(whole) * NANOS_PER_SHARE + int(rest.ljust(_DECIMALS, "0") or 0)
    if nanos > SHARES_MAX * NANOS_PER_SHARE:
        message = "a share count may not exceed a billion shares"
        raise InvalidInputError(message, code="amount_too_large")
    return nanos
