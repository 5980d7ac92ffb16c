"""Plan dates: no drift, no gap, nothing twice, around month ends, holidays and clock changes."""

from calendar import monthrange
from datetime import date, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from robo.core.market_calendar import MarketCalendar
from robo.services.funding.dates import dates_until, first_date, next_date, nominal_date

starts = st.dates(date(2015, 2, 1), date(2025, 12, 31))
weekly = st.tuples(st.sampled_from(["weekly", "biweekly"]), st.integers(1, 5))
monthly = st.tuples(st.just("monthly"), st.integers(1, 31))
choices = st.one_of(weekly, monthly)


@settings(deadline=None)
@given(choices, starts)
def test_the_first_date_is_the_earliest_chosen_day_from_the_start_on(
    choice: tuple[str, int], start: date
) -> None:
    cadence, day = choice

    first = first_date(cadence, day, start)

    fits = [
        start + timedelta(days=n)
        for n in range(62)
        if _is_chosen(cadence, day, start + timedelta(days=n))
    ]
    assert first == fits[0]


@settings(deadline=None)
@given(choices, starts, st.integers(0, 300))
def test_the_nth_date_is_counted_from_the_first_and_walking_there_is_the_same(
    choice: tuple[str, int], start: date, count: int
) -> None:
    cadence, day = choice
    anchor = first_date(cadence, day, start)

    walked = anchor
    for _ in range(count):
        walked = next_date(cadence, day, anchor, walked)

    assert walked == nominal_date(cadence, day, anchor, count)


@settings(deadline=None)
@given(choices, starts, st.integers(0, 2000))
def test_the_next_date_is_the_first_of_all_dates_that_is_later(
    choice: tuple[str, int], start: date, gap: int
) -> None:
    cadence, day = choice
    anchor = first_date(cadence, day, start)
    after = start + timedelta(days=gap)

    found = next_date(cadence, day, anchor, after)

    count = 0
    while nominal_date(cadence, day, anchor, count) <= after:
        count += 1
    assert found == nominal_date(cadence, day, anchor, count)


@settings(deadline=None)
@given(st.integers(1, 31), starts)
def test_a_monthly_plan_has_one_date_in_every_month_and_clamps_to_its_last_day(
    day: int, start: date
) -> None:
    anchor = first_date("monthly", day, start)

    dates = [nominal_date("monthly", day, anchor, n) for n in range(48)]

    months = [d.year * 12 + d.month for d in dates]
    assert months == list(range(months[0], months[0] + 48))
    assert all(d.day == min(day, monthrange(d.year, d.month)[1]) for d in dates)


@settings(max_examples=60, deadline=None)
@given(choices, starts, st.integers(1, 400))
def test_days_run_one_by_one_or_all_at_once_ask_for_the_same_dates(
    calendar: MarketCalendar, choice: tuple[str, int], start: date, length: int
) -> None:
    cadence, day = choice
    anchor = first_date(cadence, day, start)
    last = start + timedelta(days=length)
    assume(anchor <= last)

    asked: list[date] = []
    upcoming = anchor
    for n in range(length + 1):
        today = start + timedelta(days=n)
        due = [
            d
            for d in dates_until(cadence, day, anchor, upcoming, today)
            if calendar.on_or_after(d) <= today
        ]
        if due:
            asked += due
            upcoming = next_date(cadence, day, anchor, due[-1])
            # Money moves on sessions only, and on the very first one from the nominal date on.
            assert calendar.is_session(today)
            assert all(calendar.on_or_after(d) == today for d in due)

    everything = dates_until(cadence, day, anchor, anchor, last)
    assert asked == [d for d in everything if calendar.on_or_after(d) <= last]


def _is_chosen(cadence: str, day: int, on: date) -> bool:
    if cadence == "monthly":
        return on.day == min(day, monthrange(on.year, on.month)[1])
    return on.isoweekday() == day
