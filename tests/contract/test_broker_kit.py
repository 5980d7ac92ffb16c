"""Every numbered case of the broker kit, against every adapter that we have."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from broker_adapters.kit.case import Case
from broker_adapters.kit.catalog import cases, run
from broker_adapters.kit.loading import bench_of

BROKERS = MappingProxyType(
    {
        "paper": ("paper", ""),
        "template": ("broker_adapters.kit.template:create", ""),
        "alpaca_trading": ("alpaca_trading", "alpaca_benches:AlpacaTradingBench"),
        "drivewealth": ("drivewealth_adapter:create", ""),
        "drivewealth_whole": ("drivewealth_adapter:create", "drivewealth_server:WholeShareBench"),
    }
)
"""Name -> (factory, bench)."""
RUN_AT_LEAST = {
    "paper": 112,
    "template": 145,
    "alpaca_trading": 140,
    "drivewealth": 153,
    "drivewealth_whole": 143,
}
"""How many cases say something about each; fewer would mean that a bench has stopped provoking."""


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_adapter_passes(
    case: Case,
    broker: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    record_property("kit_case", case.id)

    missing = run(case, bench_of(*BROKERS[broker], tmp_path))

    if missing:
        pytest.skip(missing)


@pytest.mark.parametrize("broker", BROKERS)
def test_most_cases_can_be_tried(broker: str, tmp_path: Path):
    bench = bench_of(*BROKERS[broker], tmp_path)
    from broker_adapters.kit.bench import Tempo

    capabilities = bench.open(Tempo.PROMPT).capabilities
    tried = [case.id for case in cases() if not case.missing(capabilities, bench)]
    bench.close()

    assert len(tried) >= RUN_AT_LEAST[broker], len(tried)


def test_there_are_at_least_eighty_cases_with_a_sentence_each():
    sentences = [case.sentence for case in cases()]

    assert len(sentences) >= 80
    assert len(set(sentences)) == len(sentences)
    assert all(one.endswith(".") and len(one) < 110 for one in sentences)
