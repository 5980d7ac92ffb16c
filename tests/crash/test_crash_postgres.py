"""The crash tests once more on PostgreSQL: a sample of all points, recovered and compared."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.postgres]
EVERY = 60
Laboratory = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def on_postgres(open_laboratory: Callable[..., Laboratory], postgres_url: str) -> Laboratory:
    return open_laboratory(postgres_url)


@pytest.mark.parametrize("first", range(0, EVERY, 20))
def test_killed_at_a_sample_of_points_the_restarted_job_ends_as_if_nothing_had_been(
    on_postgres: Laboratory, first: int
) -> None:
    report = on_postgres("sample", EVERY, first)

    assert report["faults"] == []
    assert report["deaths"] > report["points"] // EVERY - 2
