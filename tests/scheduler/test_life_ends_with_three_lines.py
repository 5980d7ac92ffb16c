"""`make life` as a whole, on one seed and one look: what it prints last, writes, and exits with."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

import pytest

from scheduler import life
from scheduler.life import Outcome
from scheduler.life_story import age_on, day_of

UNTIL = 19.05
"""Years: two weeks after the first money, so that the only look is the one four weeks after it."""


class Here:
    """A pool that works in this process: another one would load everything again."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take what a real one is made with."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep nothing."""

    def map(self, do: Callable[..., Any], *rows: Iterable[Any]) -> Iterator[Any]:
        return map(do, *rows)


@dataclass
class Ended:
    code: int
    lines: list[str]
    out: Path
    outcome: Outcome


def lived_and_told(out: Path, live: Callable[..., Outcome]) -> Ended:
    made: list[Outcome] = []

    def kept(*args: Any) -> Outcome:
        made.append(live(*args))
        return made[-1]

    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told):
        patch.setattr(life, "ProcessPoolExecutor", Here)
        patch.setattr(life, "live", kept)
        code = life.main([1], UNTIL, out)
    return Ended(code, told.getvalue().splitlines(), out, made[0])


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return lived_and_told(tmp_path_factory.mktemp("life"), life.live)


def test_a_life_ends_with_three_lines_and_nothing_forced_washed_or_over_budget(
    ended: Ended,
) -> None:
    assert ended.lines[-3:] == [
        "forced sales: 0",
        "unintended wash sales: 0",
        "gains over budget: 0",
    ]
    assert ended.code == 0
    assert "robo verify: 0 findings; failed jobs and open breaks: 0" in ended.lines
    assert any(line.startswith("ours ") for line in ended.lines)


def test_a_life_leaves_a_page_of_four_pictures_its_decisions_and_its_weeks(ended: Ended) -> None:
    pictures = {"value.svg", "tracking.svg", "harvested.svg", "names.svg"}
    page = (ended.out / "index.html").read_text(encoding="utf-8")
    decisions, weeks = (
        list(csv.DictReader((ended.out / name).read_text(encoding="utf-8").splitlines()))
        for name in ("decisions-1.csv", "weeks-1.csv")
    )

    tables = {"decisions-1.csv", "weeks-1.csv"}
    assert {one.name for one in ended.out.iterdir()} == {"index.html", *pictures, *tables}
    assert all(f'<img src="{name}"' in page for name in pictures)
    assert [row["on"] for row in weeks] == ["2027-02-01"]
    assert int(weeks[0]["paid_in_cents"]) == 200_00
    assert 10_000 < int(weeks[0]["nav_cents"]) <= 20_000
    assert int(weeks[0]["names"]) == ended.outcome.names[-1] == 10
    assert len(decisions) >= 10
    assert all(row["reason"] for row in decisions)


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("forced", "forced sales: 2"),
        ("washed", "unintended wash sales: 2"),
        ("over_budget", "gains over budget: 2"),
    ],
)
def test_a_life_in_which_one_of_the_three_was_counted_says_how_many_and_fails(
    ended: Ended, tmp_path: Path, field: str, line: str
) -> None:
    ours = ended.outcome.told[0]
    bad = replace(ours, counts=replace(ours.counts, **{field: 2}))
    outcome = replace(ended.outcome, told=(bad, *ended.outcome.told[1:]))

    found = lived_and_told(tmp_path, lambda *_: outcome)

    assert (found.code, line in found.lines[-3:]) == (1, True)
    assert sum(": 0" in one for one in found.lines[-3:]) == 2


@pytest.mark.parametrize("field", ["findings", "troubles"])
def test_a_life_whose_books_are_not_clean_fails_whatever_the_three_lines_say(
    ended: Ended, tmp_path: Path, field: str
) -> None:
    wrong: dict[str, Any] = {field: ("something is wrong",)}
    outcome = replace(ended.outcome, **wrong)

    found = lived_and_told(tmp_path, lambda *_: outcome)

    assert found.code == 1
    assert "  seed 1: something is wrong" in found.lines
    assert found.lines[-3:] == ended.lines[-3:]


def test_a_life_to_a_whole_age_ends_on_the_birthday() -> None:
    birthday = day_of(55)

    assert (birthday, age_on(birthday)) == (date(2063, 1, 2), 55)
    assert age_on(date(2063, 1, 1)) == 54
    assert day_of(19.5) == date(2027, 7, 4)
