"""The market's sessions as a value; `runtime` fills it from exchange_calendars."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from robo.core.clock import NEW_YORK
from robo.core.errors import InvalidInputError

_OPEN = time(9, 30)
_CLOSE = time(16, 0)
_HALF_DAY_CLOSE = time(13, 0)


@dataclass(frozen=True, slots=True)
class MarketCalendar:
    """Trading sessions in order, and which of them close early.

    Every method raises InvalidInputError for a date outside the calendar, because a guess about
    a session would be a guess about settlement.
    """

    sessions: Sequence[date]
    half_days: frozenset[date] = field(default_factory=frozenset)

    def is_session(self, day: date) -> bool:
        """Return whether the market trades on that day."""
        index = bisect_left(self.sessions, self._inside(day))
        return index < len(self.sessions) and self.sessions[index] == day

    def on_or_after(self, day: date) -> date:
        """Return the first session on or after a day."""
        return self._at(bisect_left(self.sessions, self._inside(day)))

    def on_or_before(self, day: date) -> date:
        """Return the last session on or before a day."""
        return self._at(bisect_right(self.sessions, self._inside(day)) - 1)

    def shift(self, day: date, count: int) -> date:
        """Return the session `count` sessions after (before, if negative) a day.

        A day without a session counts as standing just before the next one, so that
        shift(Saturday, 1) is Monday when moving forwards, and shift(Saturday, -1) is Friday.
        """
        inside = self._inside(day)
        if count >= 0:
            start = bisect_right(self.sessions, inside) - 1
            return self._at(start + count)
        return self._at(bisect_left(self.sessions, inside) + count)

    def sessions_left_in_year(self, day: date) -> int:
        """Return how many sessions of a day's year come after it; at least 366 if it cannot know.

        It cannot where the calendar ends within the year.
        """
        after = bisect_right(self.sessions, self._inside(day))
        if self.sessions[-1].year == day.year:
            return 366
        return bisect_left(self.sessions, date(day.year + 1, 1, 1)) - after

    def settles_on(self, trade_day: date, days: int = 1) -> date:
        """Return the settlement date of a trade; T+1 since 28 May 2024 (SEC Rule 15c6-1)."""
        return self.shift(trade_day, days)

    def opens_at(self, day: date) -> datetime:
        """Return the opening instant of a session, in UTC."""
        return datetime.combine(day, _OPEN, tzinfo=NEW_YORK).astimezone(UTC)

    def closes_at(self, day: date) -> datetime:
        """Return the closing instant of a session, in UTC."""
        closing = _HALF_DAY_CLOSE if day in self.half_days else _CLOSE
        return datetime.combine(day, closing, tzinfo=NEW_YORK).astimezone(UTC)

    def last_close(self, instant: datetime) -> datetime:
        """Return the last closing instant at or before an instant, in UTC."""
        day = self.on_or_before(instant.astimezone(NEW_YORK).date())
        closes = self.closes_at(day)
        return closes if closes <= instant else self.closes_at(self.shift(day, -1))

    def is_open(self, instant: datetime) -> bool:
        """Return whether the market is in its regular session at that instant."""
        day = instant.astimezone(NEW_YORK).date()
        return self.is_session(day) and self.opens_at(day) <= instant < self.closes_at(day)

    def _inside(self, day: date) -> date:
        if not self.sessions or not self.sessions[0] <= day <= self.sessions[-1]:
            message = f"{day.isoformat()} is outside the market calendar"
            raise InvalidInputError(message, code="date_outside_calendar")
        return day

    def _at(self, index: int) -> date:
        if not 0 <= index < len(self.sessions):
            message = "the date lies outside the market calendar"
            raise InvalidInputError(message, code="date_outside_calendar")
        return self.sessions[index]
