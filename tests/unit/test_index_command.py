"""`robo index`: our index on a day, its members, custom ones from files and filters."""

from pathlib import Path

import pytest

from robo import cli
from robo.core.errors import InvalidInputError


def run(*words: str) -> int:
    args = cli._parser().parse_args(["index", *words])
    return int(args.do(None, args))


def test_the_page_of_a_day_names_the_review_before_and_the_one_after(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run("show", "--as-of", "2027-07-01")

    # The third Friday of June 2027 is the 18th, when Juneteenth (a Saturday) is observed.
    out = capsys.readouterr().out
    assert code == 0
    assert "version 1, from 2027-06-17" in out
    assert "effective at the close of 2027-09-17" in out
    assert "not market capitalisations" in out


def test_members_are_five_hundred_rows_of_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("members") == 0

    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 501
    place = rows[0].index("weight_ppm")
    assert sum(int(row[place]) for row in rows[1:]) == 1_000_000


def test_a_day_before_the_founding_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("members", "--as-of", "2020-01-02") == 2

    assert "founded on 2026-07-13" in capsys.readouterr().err


def test_a_filter_is_built_twice_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("build", "--filter", "require sector = energy") == 0

    assert "Built twice: the same bytes" in capsys.readouterr().out


def test_a_file_with_faults_is_refused_with_all_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("symbol,weight_percent\nNOPE,50\nAAPL,x\n")

    assert run("show", "--file", str(file)) == 2

    told = capsys.readouterr().err
    assert "line 2: NOPE is not in the universe" in told
    assert "line 3: the weight of AAPL" in told
    assert "index_weight_malformed" in told


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        run("show", "--file", str(tmp_path / "none.csv"))
