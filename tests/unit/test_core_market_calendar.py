"""Sessions, holidays, half days: shifting there and back, and when a trade settles."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.core.errors import InvalidInputError
from robo.core.market_calendar import MarketCalendar

WEEK = MarketCalendar(
    sessions=tuple(date(2026, 1, 1) + timedelta(days=n) for n in (1, 4, 5, 6, 7, 8, 11, 12, 13)),
    half_days=frozenset({date(2026, 1, 7)}),
)


@pytest.mark.parametrize(
    ("day", "open_then"),
    [
        (date(2026, 1, 1), False),  # New Year
        (date(2026, 1, 19), False),  # Martin Luther King, Jr.
        (date(2026, 4, 3), False),  # Good Friday: a holiday of the exchange, not of the banks
        (date(2026, 6, 19), False),  # Juneteenth
        (date(2026, 7, 3), False),  # Independence Day falls on a Saturday
        (date(2026, 10, 12), True),  # Columbus Day: banks close, the exchange does not
        (date(2026, 11, 11), True),  # Veterans Day: the same
        (date(2026, 11, 26), False),  # Thanksgiving
        (date(2026, 12, 25), False),
        (date(2026, 3, 7), False),  # a Saturday
        (date(2018, 12, 5), False),  # the day of mourning for a president
        (date(2026, 3, 2), True),
    ],
)
def test_holidays_are_the_exchanges(calendar: MarketCalendar, day: date, open_then: bool) -> None:  # noqa: FBT001 - the expected value
    assert calendar.is_session(day) is open_then


@pytest.mark.parametrize("day", [date(2026, 11, 27), date(2026, 12, 24), date(2024, 7, 3)])
def test_half_days_close_at_one(calendar: MarketCalendar, day: date) -> None:
    opens, closes = calendar.opens_at(day), calendar.closes_at(day)

    assert closes - opens == timedelta(hours=3, minutes=30)
    assert calendar.is_open(closes - timedelta(microseconds=1))
    assert not calendar.is_open(closes)


def test_opening_hours_follow_the_clocks_of_new_york(calendar: MarketCalendar) -> None:
    # Friday before the clocks change, Monday after: half past nine is 14:30, then 13:30 in UTC.
    assert calendar.opens_at(date(2026, 3, 6)) == datetime(2026, 3, 6, 14, 30, tzinfo=UTC)
    assert calendar.opens_at(date(2026, 3, 9)) == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    assert calendar.closes_at(date(2026, 11, 2)) == datetime(2026, 11, 2, 21, 0, tzinfo=UTC)
    assert calendar.is_open(datetime(2026, 3, 9, 13, 30, tzinfo=UTC))
    assert not calendar.is_open(datetime(2026, 3, 9, 13, 29, 59, 999_999, tzinfo=UTC))
    assert not calendar.is_open(datetime(2026, 3, 8, 15, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("traded", "settles"),
    [
        (date(2026, 3, 2), date(2026, 3, 3)),
        (date(2026, 3, 6), date(2026, 3, 9)),  # over a week-end
        (date(2026, 4, 2), date(2026, 4, 6)),  # over Good Friday and a week-end
        (date(2026, 12, 24), date(2026, 12, 28)),
        (date(2026, 12, 31), date(2027, 1, 4)),  # over the end of the year
        (date(2026, 3, 7), date(2026, 3, 9)),  # a Saturday trades with Monday's book
    ],
)
def test_a_trade_settles_a_session_later(
    calendar: MarketCalendar, traded: date, settles: date
) -> None:
    assert calendar.settles_on(traded) == settles


days = st.dates(date(2015, 6, 1), date(2027, 6, 1))
counts = st.integers(0, 60)


@given(days, counts)
def test_shifting_there_and_back_is_staying(calendar: MarketCalendar, day: date, n: int) -> None:
    session = calendar.on_or_after(day)

    assert calendar.shift(calendar.shift(session, n), -n) == session
    assert calendar.shift(calendar.shift(session, -n), n) == session


@given(days, counts, counts)
def test_shifts_add_up(calendar: MarketCalendar, day: date, one: int, other: int) -> None:
    session = calendar.on_or_before(day)

    assert calendar.shift(calendar.shift(session, one), other) == calendar.shift(
        session, one + other
    )


@given(days, st.integers(1, 60))
def test_a_shift_counts_the_sessions_in_between(
    calendar: MarketCalendar, day: date, n: int
) -> None:
    later, earlier = calendar.shift(day, n), calendar.shift(day, -n)

    assert sum(day < s <= later for s in calendar.sessions) == n
    assert sum(earlier <= s < day for s in calendar.sessions) == n


@given(days)
def test_the_nearest_sessions_are_nearest(calendar: MarketCalendar, day: date) -> None:
    before, after = calendar.on_or_before(day), calendar.on_or_after(day)

    assert before <= day <= after
    assert (before == day) == (after == day) == calendar.is_session(day)
    assert not any(before < s < after for s in calendar.sessions)


@given(st.datetimes(datetime(2015, 6, 1), datetime(2027, 6, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_the_market_is_open_only_inside_its_session(
    calendar: MarketCalendar, instant: datetime
) -> None:
    open_now = calendar.is_open(instant)

    day = instant.date()  # a session lies inside one UTC day, too
    inside = calendar.is_session(day) and (
        calendar.opens_at(day) <= instant < calendar.closes_at(day)
    )
    assert open_now == inside


@pytest.mark.parametrize("day", [date(2026, 1, 1), date(2026, 1, 15), date.min, date.max])
def test_a_date_outside_the_calendar_is_refused_not_guessed(day: date) -> None:
    for ask in (WEEK.is_session, WEEK.on_or_after, WEEK.on_or_before, WEEK.settles_on):
        with pytest.raises(InvalidInputError) as refused:
            ask(day)
        assert refused.value.code == "date_outside_calendar"


@pytest.mark.parametrize(("day", "count"), [(date(2026, 1, 13), 3), (date(2026, 1, 5), -3)])
def test_a_shift_beyond_the_calendar_is_refused(day: date, count: int) -> None:
    with pytest.raises(InvalidInputError):
        WEEK.shift(day, count)


def test_an_empty_calendar_knows_no_day() -> None:
    with pytest.raises(InvalidInputError):
        MarketCalendar(sessions=()).is_session(date(2026, 1, 2))
