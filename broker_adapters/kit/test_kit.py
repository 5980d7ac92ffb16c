"""Every case of the kit against the adapter of `--broker`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from broker_adapters.kit.bench import Bench
from broker_adapters.kit.case import Case
from broker_adapters.kit.catalog import cases, run
from broker_adapters.kit.loading import bench_of


@pytest.fixture
def make_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Bench]:
    """Return what makes a fresh bench of the adapter under test."""
    name = request.config.getoption("--broker")
    if not name:
        pytest.fail("no adapter: add --broker my.module:create", pytrace=False)
    return lambda: bench_of(name, request.config.getoption("--bench"), tmp_path)


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.id}-{case.play.__name__}")
def test_case(
    case: Case,
    make_bench: Callable[[], Bench],
    record_property: Callable[[str, object], None],
) -> None:
    """Play one case; skip it with the reason if it says nothing about this broker."""
    record_property("kit_case", case.id)

    missing = run(case, make_bench())

    if missing:
        pytest.skip(missing)
