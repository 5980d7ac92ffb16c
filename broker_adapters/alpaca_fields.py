"""One field of Alpaca's bodies at a time: exact where a number is, or unreadable."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from robo.core.errors import BrokerUnavailableError
from robo.core.money import AMOUNT_CENTS_MAX, NANOS_PER_SHARE, round_ratio
from robo.core.shares import SHARES_MAX

_PLAIN: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_EXPONENT_MAX: Final = 18
_CENTS: Final = 100
_NANOS_MAX: Final = SHARES_MAX * NANOS_PER_SHARE


class UnreadableError(BrokerUnavailableError):
    """The broker answered something that we cannot read: what happened is unknown."""

    code = "unreadable_reply"


def object_of(body: Any) -> Mapping[str, Any]:
    """Return a body that is an object.

    Raises:
        UnreadableError: If it is anything else.
    """
    if not isinstance(body, Mapping):
        message = "Alpaca should have answered an object"
        raise UnreadableError(message)
    return body


def rows_of(body: Any) -> list[Any]:
    """Return a list body.

    Raises:
        UnreadableError: If it is anything else: an error must never look like "nothing".
    """
    if not isinstance(body, list):
        message = "Alpaca should have answered a list"
        raise UnreadableError(message)
    return body


def required_text(row: Mapping[str, Any], name: str) -> str:
    """Return a text that is not empty.

    Raises:
        UnreadableError: If something else stands there.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise unreadable(name)
    return value


def optional_text(row: Mapping[str, Any], name: str) -> str:
    """Return a text; empty if the field is null or not there."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def required_decimal(row: Mapping[str, Any], name: str) -> Decimal:
    """Return a number: plain decimal text, an integer, or a JSON number read as Decimal.

    Raises:
        UnreadableError: If something else stands there.
    """
    value = row.get(name)
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and abs(exponent) <= _EXPONENT_MAX:
            value = format(value, "f")
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise unreadable(name)
    return Decimal(value)


def optional_decimal(row: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a plain number; None if the field is null, empty or not there.

    Raises:
        UnreadableError: If something else stands there.
    """
    return None if row.get(name) in {None, ""} else required_decimal(row, name)


def nanos_of(row: Mapping[str, Any], name: str) -> int:
    """Return shares in nanoshares; a tenth decimal, or more than there can be, is unreadable.

    Raises:
        UnreadableError: If it is no such number.
    """
    exact = Fraction(required_decimal(row, name)) * NANOS_PER_SHARE
    if exact.denominator != 1 or abs(exact) > _NANOS_MAX:
        raise unreadable(name)
    return exact.numerator


def whole_cents_of(row: Mapping[str, Any], name: str) -> int:
    """Return dollars in whole cents; parts of a cent are dropped.

    Raises:
        UnreadableError: If it is no number, or beyond all sense.
    """
    exact = Fraction(required_decimal(row, name)) * _CENTS
    if abs(exact) > AMOUNT_CENTS_MAX:
        raise unreadable(name)
    return round_ratio(exact.numerator, exact.denominator, "down")


def parse_instant(row: Mapping[str, Any], name: str) -> datetime:
    """Return an instant to the microsecond, in UTC.

    Raises:
        UnreadableError: If it is no RFC 3339 text with a zone.
    """
    found = _INSTANT.fullmatch(required_text(row, name))
    if found is None:
        raise unreadable(name)
    seconds, fraction, zone = found.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    try:
        return datetime.fromisoformat(f"{seconds}.{micros}{zone}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise unreadable(name) from error


def unreadable(name: str) -> UnreadableError:
    """Return the error of a field that cannot be read."""
    return UnreadableError(f"the field {name} of Alpaca's answer cannot be read")
