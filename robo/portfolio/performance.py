"""What an account earned: gain in cents, time-weighted and money-weighted returns.

Money goes in as integer cents; returns come out as dimensionless floats (0.05 is 5 %). Flows
are seen from the account: deposits positive, withdrawals negative.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from robo.core.errors import InvalidInputError

DAYS_A_YEAR: Final = 365
_LOG_RATE_MAX: Final = 50.0
"""Annual growth beyond e^50 either way has no meaning to anybody."""
_STEPS: Final = 80
"""Halving a bracket of fifty down to the last bit of a float."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change in cents and as a fraction of the money at work, None if there was none."""

    cents: int
    ratio: float | None


def simple_gain(value_cents: int, flow_cents: Sequence[int]) -> Change:
    """Return what the account is worth beyond what was put in and not taken out.

    The ratio is to all deposits, so that a withdrawal does not inflate it.
    """
    deposited = sum(flow for flow in flow_cents if flow > 0)
    gain = value_cents - sum(flow_cents)
    return Change(gain, gain / deposited if deposited > 0 else None)


def day_change(value_cents: int, previous_cents: int, flow_cents: int = 0) -> Change:
    """Return what the markets did to the account since the previous close, flows apart."""
    gain = value_cents - previous_cents - flow_cents
    base = previous_cents + max(flow_cents, 0)
    return Change(gain, gain / base if base > 0 else None)


def twr(value_cents: Sequence[int], flow_cents: Sequence[int]) -> float:
    """Return the time-weighted return over all sessions, not annualised.

    A session's deposit works from its start and a withdrawal leaves at its end, so that
    r_t = (V_t - out_t) / (V_(t-1) + in_t) - 1 with out_t <= 0. Sessions without money count 0.

    Args:
        value_cents: NAV at each close, T + 1 of them, the first before all flows given.
        flow_cents: Net flow of each of the T sessions.

    Raises:
        InvalidInputError: If the lengths do not fit, or a session ends with money that it did
            not start with (`twr_undefined`).
    """
    if len(value_cents) != len(flow_cents) + 1:
        message = "a time-weighted return needs one value more than flows"
        raise InvalidInputError(message, code="twr_undefined")
    growth = 1.0
    for before, after, flow in zip(value_cents[:-1], value_cents[1:], flow_cents, strict=True):
        base, end = before + max(flow, 0), after - min(flow, 0)
        if base > 0 and end >= 0:
            growth *= end / base
        elif base != 0 or end != 0:
            message = "a session ends with money that it did not start with"
            raise InvalidInputError(message, code="twr_undefined")
    return growth - 1.0


def irr(days: Sequence[date], flow_cents: Sequence[int], value_cents: int, on: date) -> float:
    """Return the money-weighted return a year: the rate at which all flows grow to the value.

    Where several rates fit (money in and out in turn), the one nearest to zero is returned.

    Args:
        days: The date of each flow, in any order, none after `on`.
        flow_cents: Deposits positive, withdrawals negative.
        value_cents: What the account is worth on the day, not negative.
        on: The day.

    Raises:
        InvalidInputError: If no single rate explains the flows: no time passed, nothing was
            put in, or what is there never equals what went in at any rate (`irr_undefined`).
    """
    if len(days) != len(flow_cents) or any(day > on for day in days) or value_cents < 0:
        message = "flows need a date each, none after the valuation, and a value not below zero"
        raise InvalidInputError(message, code="irr_undefined")
    years = [(on - day).days / DAYS_A_YEAR for day in days]
    scale = sum(abs(flow) for flow in flow_cents)
    if scale == 0 or max(years) == 0:
        message = "a money-weighted return needs a flow and a day of time"
        raise InvalidInputError(message, code="irr_undefined")

    def missing(log_rate: float) -> float:
        """Return by how much the flows, grown, exceed the value; scaled not to overflow."""
        top = max(0.0, *(log_rate * year for year in years))
        grown = math.fsum(
            flow / scale * math.exp(log_rate * year - top)
            for flow, year in zip(flow_cents, years, strict=True)
        )
        return grown - value_cents / scale * math.exp(-top)

    low, high = _bracket(missing)
    return math.expm1(_bisect(missing, low, high))


def period_return(annual: float, days: int) -> float:
    """Return an annual rate over a number of days; what to show for less than a year."""
    return math.expm1(math.log1p(annual) * days / DAYS_A_YEAR)


def _bracket(missing: Callable[[float], float]) -> tuple[float, float]:
    """Return two log rates with a change of sign between them, as near to zero as there is one."""
    inner, width = {1: 0.0, -1: 0.0}, 0.05
    at = {0.0: missing(0.0)}
    while width <= _LOG_RATE_MAX:
        for sign, start in inner.items():
            end = sign * width
            at[end] = missing(end)
            if at[start] == 0.0 or (at[start] < 0.0) != (at[end] < 0.0):
                return min(start, end), max(start, end)
            inner[sign] = end
        width *= 1.25
    message = "no rate explains these flows"
    raise InvalidInputError(message, code="irr_undefined")


def _bisect(missing: Callable[[float], float], low: float, high: float) -> float:
    """Return the root between two points of opposite sign; halving cannot run away."""
    below = missing(low)
    if below == 0.0:
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if (missing(middle) < 0.0) == (below < 0.0):
            low = middle
        else:
            high = middle
    return (low + high) / 2
