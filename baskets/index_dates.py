"""When an index changes: quarterly, at the close of the third Friday, announced before.

The market's sessions are handed in as a rising sequence of dates; where a third Friday is a
holiday the change moves to the session before it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from baskets.errors import BuildError
from baskets.index_rules import Rulebook

_FRIDAY = 4
_DAYS = 7


@dataclass(frozen=True, slots=True, order=True)
class Review:
    """The three dates of one review."""

    effective_on: date
    """At this session's close the old members make room for the new."""
    announced_on: date
    """After this session's close the change is public."""
    reference_on: date
    """Ranks and weights use what was known at this session's close, nothing later."""


def third_friday(year: int, month: int) -> date:
    """Return a month's third Friday, whether or not the market trades."""
    first = date(year, month, 1)
    return first + timedelta(days=(_FRIDAY - first.weekday()) % _DAYS + 2 * _DAYS)


def review_of(rules: Rulebook, sessions: Sequence[date], year: int, month: int) -> Review:
    """Return the dates of a month's review.

    Raises:
        BuildError: If the sessions do not reach so far (code `sessions_too_short`).
    """
    effective = _last_until(sessions, third_friday(year, month))
    reference = _last_until(sessions, date(year, month, 1) - timedelta(days=1))
    announced = bisect_left(sessions, effective) - rules.announce_sessions
    if announced < 0:
        raise _too_short(effective)
    return Review(effective, sessions[announced], reference)


def reviews(
    rules: Rulebook, sessions: Sequence[date], after: date, until: date
) -> Iterator[Review]:
    """Yield the reviews that take effect after one day and not after another, in order.

    Raises:
        BuildError: If the sessions do not cover the time between (code `sessions_too_short`).
    """
    for year in range(after.year, until.year + 1):
        for month in rules.review_months:
            friday = third_friday(year, month)
            # A holiday can only move a change back, and never out of its week.
            if after < friday and friday - timedelta(days=_DAYS) < until:
                review = review_of(rules, sessions, year, month)
                if after < review.effective_on <= until:
                    yield review


def _last_until(sessions: Sequence[date], day: date) -> date:
    """Return the last session not after a day that the sessions cover."""
    place = bisect_right(sessions, day)
    if not place or sessions[-1] < day:
        raise _too_short(day)
    return sessions[place - 1]


def _too_short(day: date) -> BuildError:
    return BuildError(f"the sessions do not cover {day}", code="sessions_too_short")
