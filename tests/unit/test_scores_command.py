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


def test_a_label_that_contradicts_its_score_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = SAMPLES / "sustainalytics_like.csv"
    text = sample.read_text()
    assert "41.6,Severe" in text
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(text.replace("41.6,Severe", "41.6,Low"))

    fine = run("check", str(sample), "--vendor", "sustainalytics")
    capsys.readouterr()
    code = run("check", str(wrong), "--vendor", "sustainalytics")

    assert (fine, code) == (0, 1)
    assert "line 4 ESG Risk Score: label_contradicts_score" in capsys.readouterr().out


def test_the_long_form_may_hold_a_vendors_labels_and_they_are_checked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "vendor,as_of,id_type,id,metric,value_num,value_text,unit,scale,basis,quality"
    line = "sustainalytics,2026-06-29,ticker,XOM,risk,41.6,{},score,0..100,estimated,2"
    codes = []
    for label in ("Severe", "Low"):
        file = tmp_path / f"{label}.csv"
        file.write_text(f"{header}\n{line.format(label)}\n")
        codes.append(run("check", str(file)))

    assert codes == [0, 1]
    assert "label_contradicts_score" in capsys.readouterr().out


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
