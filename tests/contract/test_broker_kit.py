"""Every numbered case of the broker kit, against every adapter that we have."""

from collections.abc import Callable
from pathlib import Path

import broker_pages
import pytest
from broker_table import BROKERS

from broker_adapters.kit.case import Case
from broker_adapters.kit.catalog import cases, run
from broker_adapters.kit.loading import bench_of


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


def test_the_page_about_brokers_says_what_the_kit_says():
    page = broker_pages.PAGE.read_text(encoding="utf-8")

    assert page == broker_pages.rewritten(page), "python tests/contract/broker_pages.py"


def test_there_are_at_least_eighty_cases_with_a_sentence_each():
    sentences = [case.sentence for case in cases()]

    assert len(sentences) >= 80
    assert len(set(sentences)) == len(sentences)
    assert all(one.endswith(".") and len(one) < 110 for one in sentences)
