"""The kit catches what sloppy adapters do: each fault is switched on, and each is found."""

from pathlib import Path

import pytest
from group_mutants import MUTANTS

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
    "transfers_retried_at_alpaca",
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_sloppy_adapter_is_caught(name: str, tmp_path: Path):
    mutant = MUTANTS[name]

    with pytest.raises(AssertionError):
        run(one(mutant.case_id), mutant.bench(mutant.create, tmp_path))

    print(f"{mutant.case_id} caught: {mutant.fault}")


def test_every_fault_that_was_asked_for_is_on_the_list():
    # That the cases pass without the faults is what test_broker_kit.py shows.
    assert MUTANTS.keys() >= REQUIRED
    assert len(MUTANTS) >= 30
