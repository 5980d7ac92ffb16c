"""Instants and business dates, where the clocks change and where the year does."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.core.clock import (
    NEW_YORK,
    FixedClock,
    business_date,
    from_micros,
    iso_instant,
    to_micros,
)

instants = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - Hypothesis wants bounds without a zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - Hypothesis wants bounds without a zone
    timezones=st.sampled_from([UTC, NEW_YORK, timezone(timedelta(hours=14))]),
)


@given(instants)
def test_an_instant_survives_being_stored(instant: datetime) -> None:
    # In UTC, because Python holds an hour that comes twice to be equal to nothing elsewhere.
    assert from_micros(to_micros(instant)) == instant.astimezone(UTC)


@given(instants, instants)
def test_stored_instants_keep_their_order(one: datetime, other: datetime) -> None:
    assert (to_micros(one) < to_micros(other)) == (one.astimezone(UTC) < other.astimezone(UTC))


@given(instants)
def test_the_text_of_an_instant_is_utc_to_the_micro_second(instant: datetime) -> None:
    text = iso_instant(to_micros(instant))

    assert text.endswith("Z")
    assert len(text) == len("2026-03-02T15:00:00.000000Z")
    assert datetime.fromisoformat(text) == instant.astimezone(UTC)


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        # Winter: New York is five hours behind; midnight there is five o'clock here.
        (datetime(2026, 1, 1, 4, 59, 59, 999_999, tzinfo=UTC), date(2025, 12, 31)),
        (datetime(2026, 1, 1, 5, 0, tzinfo=UTC), date(2026, 1, 1)),
        # 8 March 2026, 02:00 becomes 03:00: the day is 23 hours long.
        (datetime(2026, 3, 8, 4, 59, 59, tzinfo=UTC), date(2026, 3, 7)),
        (datetime(2026, 3, 8, 5, 0, tzinfo=UTC), date(2026, 3, 8)),
        (datetime(2026, 3, 9, 3, 59, 59, tzinfo=UTC), date(2026, 3, 8)),
        (datetime(2026, 3, 9, 4, 0, tzinfo=UTC), date(2026, 3, 9)),
        # 1 November 2026, 02:00 becomes 01:00: the day is 25 hours long.
        (datetime(2026, 11, 1, 3, 59, 59, tzinfo=UTC), date(2026, 10, 31)),
        (datetime(2026, 11, 1, 4, 0, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 2, 4, 59, 59, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 2, 5, 0, tzinfo=UTC), date(2026, 11, 2)),
        # A leap day.
        (datetime(2028, 2, 29, 12, 0, tzinfo=UTC), date(2028, 2, 29)),
    ],
)
def test_the_business_date_turns_at_midnight_in_new_york(instant: datetime, day: date) -> None:
    assert business_date(instant) == day


def test_both_ends_of_the_repeated_hour_are_different_instants_of_one_day() -> None:
    first = datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK)
    second = first.replace(fold=1)

    assert to_micros(second.astimezone(UTC)) - to_micros(first.astimezone(UTC)) == 3_600_000_000
    assert business_date(first) == business_date(second) == date(2026, 11, 1)


def test_an_instant_without_a_zone_is_not_accepted() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the test

    with pytest.raises(AssertionError):
        to_micros(naive)
    with pytest.raises(AssertionError):
        FixedClock(naive)


def test_a_fixed_clock_stands_still_until_it_is_moved() -> None:
    clock = FixedClock(datetime(2026, 1, 1, 12, 0, tzinfo=NEW_YORK))
    before = clock.now()

    clock.advance(timedelta(days=-1, microseconds=1))

    assert before == datetime(2026, 1, 1, 17, 0, tzinfo=UTC)
    assert clock.now() - before == timedelta(days=-1, microseconds=1)
    assert clock.now().tzinfo is UTC
