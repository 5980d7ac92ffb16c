"""When jobs are due: sessions, half days, daylight saving, catching up."""

from datetime import UTC, date, datetime, timedelta

import pytest

from robo.core.market_calendar import MarketCalendar
from scheduler.when import (
    AtClose,
    AtOpen,
    CatchUp,
    Every,
    due_at,
    due_slots,
    interval_slot,
    next_due,
)

CLOSE = AtClose(15)
FRIDAY, MONDAY = date(2026, 3, 6), date(2026, 3, 9)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_close_moves_with_daylight_saving(calendar: MarketCalendar) -> None:
    # Clocks go forward on Sunday 8 March 2026: 16:15 in New York is 21:15 UTC, then 20:15.
    assert due_at(CLOSE, FRIDAY, calendar) == at("2026-03-06T21:15")
    assert due_at(CLOSE, MONDAY, calendar) == at("2026-03-09T20:15")


def test_a_half_day_is_due_earlier(calendar: MarketCalendar) -> None:
    # 27 November 2026, the day after Thanksgiving, closes at 13:00 in New York.
    assert due_at(CLOSE, date(2026, 11, 27), calendar) == at("2026-11-27T18:15")


def test_nothing_is_due_before_its_instant(calendar: MarketCalendar) -> None:
    before = due_slots(CLOSE, CatchUp.EACH, "2026-03-05", at("2026-03-06T21:14"), calendar)
    after = due_slots(CLOSE, CatchUp.EACH, "2026-03-05", at("2026-03-06T21:15"), calendar)

    assert before == []
    assert [slot.on for slot in after] == [FRIDAY]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (CatchUp.EACH, ["2026-03-04", "2026-03-05", "2026-03-06"]),
        (CatchUp.LATEST, ["2026-03-06"]),
        (CatchUp.SKIP, []),
    ],
)
def test_missed_sessions_are_caught_up_by_rule(
    calendar: MarketCalendar, rule: CatchUp, expected: list[str]
) -> None:
    saturday = at("2026-03-07T12:00")

    found = due_slots(CLOSE, rule, "2026-03-03", saturday, calendar)

    assert [slot.text for slot in found] == expected


def test_a_first_start_takes_the_latest_session_only(calendar: MarketCalendar) -> None:
    found = due_slots(CLOSE, CatchUp.EACH, None, at("2026-03-07T12:00"), calendar)

    assert [slot.on for slot in found] == [FRIDAY]


def test_a_slot_that_ran_is_not_due_when_the_clock_went_back(calendar: MarketCalendar) -> None:
    assert due_slots(CLOSE, CatchUp.EACH, "2026-03-06", at("2026-03-05T22:00"), calendar) == []


def test_every_session_of_a_year_is_due_once(calendar: MarketCalendar) -> None:
    last: str | None = "2025-12-31"
    seen: list[date] = []
    now = at("2026-01-01T00:00")

    while now < at("2027-01-01T00:00"):
        for slot in due_slots(AtOpen(-90), CatchUp.EACH, last, now, calendar):
            seen.append(slot.on)
            last = slot.text
        now += timedelta(hours=7)

    assert seen == [day for day in calendar.sessions if day.year == 2026]


def test_the_next_due_instant_is_the_first_one_after_now(calendar: MarketCalendar) -> None:
    now = at("2026-03-06T21:15")

    assert next_due(CLOSE, now, calendar) == at("2026-03-09T20:15")
    assert next_due(CLOSE, now - timedelta(seconds=1), calendar) == now


def test_intervals_pass_through_a_change_of_daylight_saving_without_gap_or_repeat() -> None:
    # New York's clocks go back on 1 November 2026 at 06:00 UTC; 20 minutes around it.
    start = at("2026-11-01T05:50")

    slots = [interval_slot(Every(2), start + timedelta(seconds=n)).text for n in range(1_200)]

    assert len(set(slots)) == 600
    assert slots == sorted(slots)
