"""SIGKILL at every statement, commit, broker call and bank call of the main job, then a restart."""

from collections.abc import Callable
from typing import Any

import pytest

SHARDS = 6
Laboratory = Callable[..., dict[str, Any]]
Record = Callable[[str, object], None]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_wherever_the_process_is_killed_the_restarted_job_ends_as_if_nothing_had_been(
    laboratory: Laboratory, record_property: Record, shard: int
) -> None:
    report = laboratory("points", shard, SHARDS)

    record_property("crash points", report["kinds"])
    assert report["faults"] == []
    assert report["deaths"] == sum(report["kinds"].values())
    assert report["deaths"] > 200
    assert {"database statement", "before commit", "after commit"} <= report["kinds"].keys()


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_deaths_during_recovery_change_nothing_either(laboratory: Laboratory, first: int) -> None:
    report = laboratory("kills", first, 20)

    assert report["faults"] == []
    assert report["deaths"] >= 30


def test_a_machine_that_stays_off_for_minutes_loses_nothing(laboratory: Laboratory) -> None:
    report = laboratory("outages", 0, 4)

    assert report["faults"] == []
    assert report["deaths"] >= 4


@pytest.mark.soak
@pytest.mark.parametrize("first", range(40, 1090, 50))
def test_deaths_during_recovery_change_nothing_either_a_thousand_times(
    laboratory: Laboratory, first: int
) -> None:
    report = laboratory("kills", first, 50)

    assert report["faults"] == []


@pytest.mark.soak
@pytest.mark.parametrize("first", range(100, 500, 20))
def test_machines_that_stay_off_for_minutes_lose_nothing(
    laboratory: Laboratory, first: int
) -> None:
    report = laboratory("outages", first, 20)

    assert report["faults"] == []
