"""The least of some closes, in the terms of the last split: what a wrong price is held against."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from robo.core.errors import BrokerUnavailableError, NotFoundError
from robo.core.ids import SecurityId
from robo.services.quoting import least_closes

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


class Told:
    """A source that knows the closes of some days; the others it has not, or does not answer."""

    def __init__(self, closes: Mapping[date, int | Exception]) -> None:
        self._closes = closes

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        found = self._closes[on]
        if isinstance(found, Exception):
            raise found
        return {SecurityId(1): found}


def split(on: date, new: int, old: int) -> tuple[str, int, str, str]:
    return on.isoformat(), 1, "split", f'{{"ratio_num":{new},"ratio_den":{old}}}'


@pytest.mark.parametrize(
    ("tuesday", "wednesday", "actions", "least"),
    [
        (90, 300, [], 90),
        (30, 40, [split(TUESDAY, 3, 1)], 30),
        (800, 790, [split(TUESDAY, 1, 10)], 790),
        (30, 300, [split(TUESDAY, 3, 1), split(WEDNESDAY, 1, 10)], 300),
    ],
)
def test_closes_before_a_split_count_in_the_terms_after_it(
    tuesday: int, wednesday: int, actions: list[tuple[str, int, str, str]], least: int
) -> None:
    told = Told({MONDAY: 100, TUESDAY: tuesday, WEDNESDAY: wednesday})

    assert least_closes(told, [WEDNESDAY, TUESDAY, MONDAY], actions) == {1: least}


def test_a_day_that_the_source_does_not_tell_is_left_out_unless_it_tells_none() -> None:
    away = BrokerUnavailableError("no answer")
    some = Told({MONDAY: 100, TUESDAY: NotFoundError("no session"), WEDNESDAY: away})
    none = Told({MONDAY: away, TUESDAY: away, WEDNESDAY: away})

    assert least_closes(some, [WEDNESDAY, TUESDAY, MONDAY], []) == {1: 100}
    with pytest.raises(BrokerUnavailableError):
        least_closes(none, [WEDNESDAY, TUESDAY, MONDAY], [])
