"""Time as values: instants are UTC micro-seconds, business dates are New York dates."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

NEW_YORK: Final = ZoneInfo("America/New_York")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)


class Clock(Protocol):
    """Where the time comes from; the only way that our code learns it."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware, in UTC."""
        ...


class FixedClock:
    """A clock that stands still until it is moved; for tests and replays."""

    def __init__(self, instant: datetime) -> None:
        """Start at a timezone-aware instant."""
        assert instant.tzinfo is not None
        self._instant = instant.astimezone(UTC)

    def now(self) -> datetime:
        """Return the instant it was last set to."""
        return self._instant

    def set(self, instant: datetime) -> None:
        """Move to another instant, forwards or backwards."""
        assert instant.tzinfo is not None
        self._instant = instant.astimezone(UTC)

    def advance(self, delta: timedelta) -> None:
        """Move by a delta."""
        self._instant += delta


def to_micros(instant: datetime) -> int:
    """Return micro-seconds since 1970-01-01 UTC; how tables store instants."""
    assert instant.tzinfo is not None
    return (instant - _EPOCH) // _MICRO


def from_micros(micros: int) -> datetime:
    """Return the UTC instant of stored micro-seconds."""
    return _EPOCH + timedelta(microseconds=micros)


def business_date(instant: datetime) -> date:
    """Return today's date in New York at that instant."""
    return instant.astimezone(NEW_YORK).date()


def day_begins(day: date) -> int:
    """Return when a business day begins, midnight in New York, as tables store instants."""
    return to_micros(datetime.combine(day, time(), tzinfo=NEW_YORK))


def iso_instant(micros: int) -> str:
    """Return stored micro-seconds as RFC 3339 text in UTC."""
    return from_micros(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")
