"""The kit catches what sloppy adapters do: each fault is switched on, and each is found."""

from pathlib import Path

import pytest
from broker_mutants import MUTANTS

from broker_adapters.kit.catalog import one, run

REQUIRED = {
    "stock_retries_on",
    "FloatQuantities",
    "NoClientId",
    "NewIdPerRetry",
    "CatchAllFailed",
    "PositionsEmptyOnError",
    "PageSizeIgnored",
    "CumulativeAsIncremental",
    "CursorMovedByReading",
    "NewWordIsRejected",
    "TransfersRetried",
}
CAUGHT: dict[str, str] = {}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_sloppy_adapter_is_caught(name: str, tmp_path: Path):
    mutant = MUTANTS[name]

    with pytest.raises(AssertionError):
        run(one(mutant.case_id), mutant.bench(mutant.create, tmp_path))

    print(f"{mutant.case_id} caught: {mutant.fault}")


@pytest.mark.parametrize("case_id", sorted({mutant.case_id for mutant in MUTANTS.values()}))
def test_the_case_that_catches_it_passes_without_the_fault(case_id: str, tmp_path: Path):
    mutant = next(one for one in MUTANTS.values() if one.case_id == case_id)
    honest = {
        "PracticeBench": "broker_adapters.kit.template:create",
        "AlpacaTradingBench": "broker_adapters.alpaca_trading:create",
        "DriveWealthBench": "drivewealth_adapter:create",
    }[mutant.bench.__name__]
    module, _, attribute = honest.partition(":")
    import importlib

    create = getattr(importlib.import_module(module), attribute)

    assert run(one(case_id), mutant.bench(create, tmp_path)) == ""


def test_every_fault_that_was_asked_for_is_on_the_list():
    assert MUTANTS.keys() >= REQUIRED
    assert len(MUTANTS) >= 30
