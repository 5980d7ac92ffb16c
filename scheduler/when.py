"""When a job is due: every few seconds, or once a session at an offset from open or close.

A slot names one run. Daily slots are business dates; the instants of a job that runs every few
seconds are multiples of its period since 1970, in UTC, so that daylight saving changes neither.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from robo.core.clock import business_date, from_micros, iso_instant, to_micros
from robo.core.market_calendar import MarketCalendar

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Every:
    """Every so many seconds."""

    seconds: int


@dataclass(frozen=True, slots=True)
class AtOpen:
    """Once a session, so many minutes after the opening (negative: before)."""

    minutes: int


@dataclass(frozen=True, slots=True)
class AtClose:
    """Once a session, so many minutes after the close, early or not."""

    minutes: int


class CatchUp(StrEnum):
    """What happens to the sessions that passed while nothing ran."""

    EACH = "each"
    """Every one of them runs, oldest first."""
    LATEST = "latest"
    """Only the last one runs."""
    SKIP = "skip"
    """None runs later than its session's own day."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What one run is for."""

    text: str
    """The date, or the instant of an interval: what makes the run's effects happen once."""
    on: date
    """The business date."""
    at: datetime
    """When it was due."""


def due_at(when: AtOpen | AtClose, session: date, calendar: MarketCalendar) -> datetime:
    """Return the instant at which a session's run is due, UTC."""
    start = calendar.opens_at if isinstance(when, AtOpen) else calendar.closes_at
    return start(session) + timedelta(minutes=when.minutes)


def interval_slot(when: Every, now: datetime) -> Slot:
    """Return the slot of the interval that an instant lies in."""
    period = when.seconds * _MICROS
    start = to_micros(now) // period * period
    return Slot(iso_instant(start), business_date(now), from_micros(start))


def session_slot(when: AtOpen | AtClose, session: date, calendar: MarketCalendar) -> Slot:
    """Return the slot of a session."""
    return Slot(session.isoformat(), session, due_at(when, session, calendar))


def due_slots(
    when: AtOpen | AtClose,
    catch_up: CatchUp,
    last: str | None,
    now: datetime,
    calendar: MarketCalendar,
) -> list[Slot]:
    """Return the sessions that are due and come after the last one that ran, oldest first.

    Args:
        when: The offset.
        catch_up: What to do with those that were missed.
        last: The last slot that ran or was skipped; None starts with the latest due session.
        now: The present instant.
        calendar: The market's sessions.
    """
    latest = calendar.on_or_before(business_date(now) + timedelta(days=1))
    while due_at(when, latest, calendar) > now:
        latest = calendar.shift(latest, -1)
    if last is not None and latest.isoformat() <= last:
        return []
    found = [latest]
    if catch_up is CatchUp.EACH and last is not None:
        while (earlier := calendar.shift(found[-1], -1)).isoformat() > last:
            found.append(earlier)
    if catch_up is CatchUp.SKIP and latest != business_date(now):
        return []
    return [session_slot(when, session, calendar) for session in reversed(found)]


def next_due(when: AtOpen | AtClose, now: datetime, calendar: MarketCalendar) -> datetime:
    """Return the first instant after now at which a session's run is due."""
    session = calendar.shift(calendar.on_or_before(business_date(now)), -1)
    while due_at(when, session, calendar) <= now:
        session = calendar.shift(session, 1)
    return due_at(when, session, calendar)
