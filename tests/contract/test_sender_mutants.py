"""What a sloppy sender would do to orders is caught, each by a numbered check."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template
from sender_mutants import CHECKS, MUTANTS
from sqlalchemy.exc import IntegrityError

REQUIRED = {"buys_before_sells", "cursor_before_commit"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("sender") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


@pytest.mark.parametrize("number", CHECKS)
def test_our_sender_passes(number: str, desk: Desk):
    CHECKS[number](desk)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_sloppy_sender_is_caught(name: str, desk: Desk, monkeypatch: pytest.MonkeyPatch):
    fault, number, switch_on = MUTANTS[name]
    switch_on(monkeypatch)

    with pytest.raises((AssertionError, IntegrityError)):  # the database catches some itself
        CHECKS[number](desk)

    print(f"{number} caught: {fault}")


def test_every_check_catches_something_and_what_was_asked_for_is_there():
    assert {number for _, number, _ in MUTANTS.values()} == CHECKS.keys()
    assert MUTANTS.keys() >= REQUIRED
