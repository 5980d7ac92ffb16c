"""`robo scores`: vendors' files are read as customers would hand them over."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from robo import cli

SAMPLES = Path(__file__).parent.parent / "samples" / "vendors"


def run(*words: str) -> int:
    parser = cli._parser()
    args = parser.parse_args(["scores", *words])
    return int(args.do(None, args))


def test_a_clean_file_is_reported_with_its_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("check", str(SAMPLES / "msci_like.csv"), "--vendor", "msci")

    out = capsys.readouterr().out
    assert code == 0
    assert "88 rows, 0 faults, 18 about companies outside the universe" in out


def test_a_file_with_faults_names_line_column_and_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (SAMPLES / "long_form.csv").read_text()
    broken = tmp_path / "broken.csv"
    broken.write_text(text.replace("pct_revenue", "percentish", 1))

    code = run("check", str(broken))

    assert code == 1
    out = capsys.readouterr().out
    place = 1 + next(n for n, line in enumerate(text.splitlines()) if "pct_revenue" in line)
    assert f"line {place} unit: " in out
    assert "6 rows, 1 faults" in out


def test_the_same_rows_from_parquet_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SAMPLES / "long_form.csv"
    names = source.read_text().splitlines()[0].split(",")
    options = pc.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    pq.write_table(pc.read_csv(source, convert_options=options), tmp_path / "long.parquet")
    run("check", str(source))
    from_csv = capsys.readouterr().out

    run("check", str(tmp_path / "long.parquet"))

    assert capsys.readouterr().out == from_csv


def test_baskets_are_built_on_a_files_facts(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("baskets", str(SAMPLES / "long_form.csv"))

    assert code == 0
    assert "baskets on offer" in capsys.readouterr().out
