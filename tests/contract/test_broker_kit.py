"""Every numbered case of the broker kit, against every adapter that we have."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import broker_pages
import pytest
from broker_table import BROKERS

from broker_adapters.kit import template
from broker_adapters.kit.bench import Tempo
from broker_adapters.kit.case import Case
from broker_adapters.kit.catalog import cases, run
from broker_adapters.kit.loading import bench_of
from robo.ports.broker import Capabilities

# Whole shares change sizes, not what is heard: the rest of the cases on the same code is `soak`.
# So is one that waits for a real minute of the broker's rate limit to pass.
A_MINUTE_LONG = {("K-041", "alpaca_broker")}
SIZES = {"capabilities", "fills", "books", "refusals", "decimals"}


def pairs() -> list[object]:
    def rare(case: Case, broker: str) -> bool:
        area = case.play.__module__.rpartition("cases_")[2]
        long = (case.id, broker) in A_MINUTE_LONG
        return long or (broker == "drivewealth_whole" and area not in SIZES)

    return [
        pytest.param(
            case,
            broker,
            id=f"{case.id}-{broker}",
            marks=[pytest.mark.soak] if rare(case, broker) else [],
        )
        for case in cases()
        for broker in BROKERS
    ]


@cache
def known(broker: str) -> Capabilities:
    """Return what a broker can do; K-001 is that it never says anything else."""
    with TemporaryDirectory() as folder:
        bench = bench_of(*BROKERS[broker], Path(folder))
        able = bench.open(Tempo.PROMPT).capabilities
        bench.close()
    return able


@pytest.mark.parametrize(("case", "broker"), pairs())
def test_adapter_passes(
    case: Case,
    broker: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    record_property("kit_case", case.id)
    bench = bench_of(*BROKERS[broker], tmp_path)

    # What cannot be tried is known without a server and its accounts.
    missing = case.missing(known(broker), bench) or run(case, bench)

    if missing:
        pytest.skip(missing)


def test_the_page_about_brokers_says_what_the_kit_says():
    page = broker_pages.PAGE.read_text(encoding="utf-8")

    assert page == broker_pages.rewritten(page), "python tests/contract/broker_pages.py"


def test_there_are_at_least_eighty_cases_with_a_sentence_each():
    sentences = [case.sentence for case in cases()]

    assert len(sentences) >= 80
    assert len(set(sentences)) == len(sentences)
    assert all(one.endswith(".") and len(one) < 110 for one in sentences)


def test_the_template_can_be_read_in_one_sitting():
    lines = Path(template.__file__).read_text(encoding="utf-8").splitlines()

    assert len(lines) < 300
