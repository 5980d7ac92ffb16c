"""The cache of samples: found by value, bounded, and never holding a failure."""

from datetime import date

import numpy as np
import pytest

from robo.portfolio.sampling_cache import SampleCache, SampleKey, digest

DAY = date(2026, 3, 2)
WEIGHTS = np.array([0.5, 0.3, 0.2])


def key(**change) -> SampleKey:
    ask = {"index": "large-500", "size": 2, "on": DAY, "benchmark": WEIGHTS}
    return SampleKey.of(**(ask | change))


def test_equal_questions_have_equal_keys_wherever_their_arrays_lie() -> None:
    wide = np.zeros((3, 2))
    wide[:, 0] = WEIGHTS

    assert key(benchmark=wide[:, 0]) == key()
    assert hash(key(benchmark=WEIGHTS.copy())) == hash(key())


@pytest.mark.parametrize(
    "change",
    [
        {"index": "other"},
        {"size": 3},
        {"on": date(2026, 3, 3)},
        {"benchmark": WEIGHTS[::-1]},
        {"excluded": np.array([True, False, False])},
        {"required": np.array([True, False, False])},
        {"upper": np.array([0.9, 0.9, 0.9])},
    ],
)
def test_anything_that_matters_changes_the_key(change) -> None:
    assert key(**change) != key()


def test_a_mask_means_something_else_as_excluded_than_as_required() -> None:
    mask = np.array([True, False, False])

    assert key(excluded=mask) != key(required=mask)


def test_shape_and_type_are_part_of_a_digest() -> None:
    assert digest(np.zeros((2, 3))) != digest(np.zeros((3, 2)))
    assert digest(np.zeros(2)) != digest(np.zeros(2, dtype=np.int64))


def test_a_value_is_made_once_and_the_longest_unused_leaves_first() -> None:
    made: list[int] = []
    cache: SampleCache[int] = SampleCache(2)

    def make(size: int) -> int:
        return cache.get(key(size=size), lambda: made.append(size) or size)

    assert [make(size) for size in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
    assert len(cache) == 2


def test_a_failure_is_not_held() -> None:
    cache: SampleCache[int] = SampleCache(1)

    with pytest.raises(ZeroDivisionError):
        cache.get(key(), lambda: 1 // 0)

    assert cache.get(key(), lambda: 7) == 7


def test_a_cache_that_can_hold_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="most"):
        SampleCache(0)
