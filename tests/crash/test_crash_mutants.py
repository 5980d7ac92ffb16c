"""The crash tests can fail: protocols that are wrong by one line are caught, right ones are not."""

from collections.abc import Callable
from typing import Any

import pytest

Laboratory = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "mutant",
    [
        "cash reserved before its orders are written",
        "a resend without a question",
        "the broker told before the block is written",
        "an execution that comes again taken for a new one",
        "a fill before its order's progress",
        "shares before their lots",
        "the bank's news read before it is applied",
        "a withdrawal before its promise",
        "an action applied before it is marked",
    ],
)
def test_a_crash_shows_what_is_wrong_with(laboratory: Laboratory, mutant: str) -> None:
    report = laboratory("mutant", mutant, 60)

    assert report["faults"] != []


def test_a_question_before_telling_again_makes_a_forgetful_broker_harmless(
    laboratory: Laboratory,
) -> None:
    report = laboratory("mutant", "a forgetful broker, asked before it is told again", 25)

    assert report["faults"] == []
    assert report["tries"] == 25


@pytest.mark.soak
def test_a_question_before_telling_again_makes_a_forgetful_broker_harmless_everywhere(
    laboratory: Laboratory,
) -> None:
    report = laboratory("mutant", "a forgetful broker, asked before it is told again", 10_000)

    assert report["faults"] == []
