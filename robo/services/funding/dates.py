"""The nominal dates of recurring plans: always counted from the first one, so they never drift.

A nominal date is what the customer chose ("every Friday", "the 31st"); the money moves on the
first session on or after it. A month without the chosen day uses its last one, and the month after
it goes back to the chosen day.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

WEEKDAY_MAX: Final = 5
MONTHDAY_MAX: Final = 31
_WEEKS: Final = {"weekly": 1, "biweekly": 2}
_MONTHS: Final = 12


def first_date(cadence: str, day: int, start: date) -> date:
    """Return the first nominal date on or after a day.

    Args:
        cadence: `weekly`, `biweekly` or `monthly`.
        day: 1 (Monday) to 5 for weeks, 1 to 31 for months.
        start: The earliest date.
    """
    if cadence in _WEEKS:
        return start + timedelta(days=(day - start.isoweekday()) % 7)
    month = _month_index(start)
    this = _in_month(month, day)
    return this if this >= start else _in_month(month + 1, day)


def nominal_date(cadence: str, day: int, anchor: date, count: int) -> date:
    """Return the nominal date that comes `count` steps after the first one."""
    if cadence in _WEEKS:
        return anchor + timedelta(weeks=_WEEKS[cadence] * count)
    return _in_month(_month_index(anchor) + count, day)


def next_date(cadence: str, day: int, anchor: date, after: date) -> date:
    """Return the first nominal date after a day."""
    if after < anchor:
        return anchor
    if cadence in _WEEKS:
        step = 7 * _WEEKS[cadence]
        return anchor + timedelta(days=step * ((after - anchor).days // step + 1))
    month = _month_index(after)
    this = _in_month(month, day)
    return this if this > after else _in_month(month + 1, day)


def dates_until(cadence: str, day: int, anchor: date, first: date, last: date) -> Iterator[date]:
    """Yield the nominal dates from one of them up to a day, inclusive."""
    nominal = first
    while nominal <= last:
        yield nominal
        nominal = next_date(cadence, day, anchor, nominal)


def _month_index(day: date) -> int:
    return day.year * _MONTHS + day.month - 1


def _in_month(index: int, day: int) -> date:
    year, month = divmod(index, _MONTHS)
    return date(year, month + 1, min(day, monthrange(year, month + 1)[1]))
