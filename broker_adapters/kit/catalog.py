"""Every case of the kit: importing this module is what fills the list."""

import importlib
from collections.abc import Sequence
from typing import Final

from broker_adapters.kit.bench import Bench, Trouble
from broker_adapters.kit.case import Case, noted
from broker_adapters.kit.desk import Desk

_SHORT_SECONDS: Final = 2.0
AREAS: Final = (
    "capabilities",
    "orders",
    "doubts",
    "readings",
    "fills",
    "cancels",
    "cursors",
    "books",
    "refusals",
    "decimals",
    "restarts",
    "actions",
    "senders",
    "hostile",
    "funding",
    "onboarding",
    "journals",
    "documents",
    "events",
)
"""Modules `cases_…`, in the order in which the list is printed."""


def cases() -> Sequence[Case]:
    """Return every case, by number."""
    for area in AREAS:
        importlib.import_module(f"broker_adapters.kit.cases_{area}")
    return noted()


def one(case_id: str) -> Case:
    """Return the case of an id such as `K-014`."""
    return next(case for case in cases() if case.id == case_id)


def run(case: Case, bench: Bench) -> str:
    """Play a case on a fresh bench and close it; return why it was skipped, or nothing.

    Raises:
        AssertionError: If the adapter does not do what the case asks for.
    """
    if Trouble.LATE_AFTER in case.needs:
        bench.patience_seconds = _SHORT_SECONDS
    try:
        desk = Desk(bench, case.tempo)
        missing = case.missing(desk.capabilities, bench)
        if not missing:
            desk.start()
            case.play(desk)
    finally:
        bench.close()
    return missing
