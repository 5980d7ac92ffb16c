"""`robo …`: exit statuses, first run, books from the outside."""

import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from robo import cli
from robo.config import read
from robo.runtime import open_database


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give back what the command line sets for its whole process."""
    root, mask = logging.getLogger(), os.umask(0o022)
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    os.umask(mask)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBO_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ROBO_UNIVERSE", "minimal")
    return tmp_path / "state"


@pytest.fixture
def migrated(state: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert cli.main(["migrate"]) == 0
    capsys.readouterr()
    return state


def test_a_first_run_makes_a_house_a_universe_and_a_private_key(
    migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["migrate"]) == 0, "twice changes nothing"
    capsys.readouterr()
    assert cli.main(["firms", "list"]) == 0

    (house,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    key = migrated / "operator.key"
    assert house["house"] == 1
    assert key.read_text().startswith("ra_pk_")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for path in (migrated / "keys").glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((migrated / "robo.db").stat().st_mode) == 0o600


@pytest.mark.usefixtures("migrated")
def test_scores_are_put_to_use_after_coverage_and_a_yes_and_out_of_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.csv"
    file.write_text(
        "vendor,vendor_version,as_of,id_type,id,metric,value_num,unit,scale,basis,quality\n"
        "rater,w1,2026-01-02,ticker,AAPL,oil_gas,77,pct_revenue,percent,reported,2\n"
    )

    unasked = cli.main(["scores", "activate", str(file)])
    told = capsys.readouterr().out
    assert cli.main(["scores", "list"]) == 0
    empty = capsys.readouterr().out
    assert cli.main(["scores", "activate", str(file), "--yes"]) == 0
    assert cli.main(["scores", "list"]) == 0
    used = capsys.readouterr().out
    file.write_text(file.read_text().replace(",77,", ",7,"))
    rewritten = cli.main(["scores", "activate", str(file), "--yes"])
    assert cli.main(["scores", "deactivate", "rater"]) == 0
    assert cli.main(["scores", "list"]) == 0
    unused = capsys.readouterr()

    assert unasked == 1, "nobody at a terminal said yes"
    assert "rater" in told
    assert "1 of" in told
    assert "Nothing is traded" in told
    assert empty == ""
    assert used.endswith("rater version w1 as of 2026-01-02, 1 rows, in use\n")
    assert rewritten == 2
    assert "send a new date" in unused.err
    assert unused.out.endswith("rater version w1 as of 2026-01-02, 1 rows, not in use\n")
    assert cli.main(["scores", "deactivate", "rater"]) == 2
    assert cli.main(["scores", "list", "--firm", "nobody"]) == 2
    assert cli.main(["verify"]) == 0


def test_verify_ends_with_one_where_it_finds_something(
    migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["anchor"]) == 0
    assert cli.main(["verify"]) == 0
    db = open_database(read({"ROBO_STATE_DIR": str(migrated)}))
    with db.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER audit_no_update")
        session.connection().exec_driver_sql("UPDATE audit SET actor = 'nobody'")
    db.close()
    capsys.readouterr()

    assert cli.main(["verify", "--json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert not found["clean"]
    assert {one["code"] for one in found["findings"]} == {"trigger_missing", "row_changed"}


def test_firms_and_keys_are_made_listed_and_revoked(
    migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrated.exists()
    assert cli.main(["firms", "create", "Example Brokerage"]) == 0
    firm = capsys.readouterr().out.strip()
    assert cli.main(["keys", "create", firm, "their app", "--scope", "accounts:read"]) == 0
    secret = capsys.readouterr().out.strip()
    assert cli.main(["keys", "list", firm]) == 0
    (key,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert cli.main(["keys", "revoke", key["id"]]) == 0
    assert cli.main(["keys", "revoke", key["id"]]) == 2

    assert secret.startswith("ra_pk_")
    assert secret not in json.dumps(key)
    assert (key["scopes"], key["revoked_at"]) == ("accounts:read", None)


def test_backup_and_restore_from_the_command_line(
    migrated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = tmp_path / "all.tar.gz"
    assert migrated.exists()
    assert cli.main(["anchor"]) == 0
    assert cli.main(["backup", str(archive), "--with-keys"]) == 0
    assert cli.main(["backup", str(archive)]) == 2, "a backup replaces nothing"
    assert cli.main(["restore", str(archive)]) == 2, "nor does a restore"

    monkeypatch.setenv("ROBO_STATE_DIR", str(tmp_path / "other"))
    capsys.readouterr()

    assert cli.main(["restore", str(archive)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "clean"


def test_a_wrong_setting_is_told_and_ends_with_two(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROBO_PRTO", "1")

    assert cli.main(["verify"]) == 2

    assert "ROBO_PRTO is not a setting" in capsys.readouterr().err
    assert not state.exists()


def test_a_database_that_was_never_migrated_is_told(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify"]) == 2

    assert "robo migrate" in capsys.readouterr().err
    assert state.exists()


def test_the_timetable_is_listed_and_extra_commands_come_by_entry_point(
    migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrated.exists()
    assert cli.main(["jobs", "list"]) == 0

    assert "mark-day" in capsys.readouterr().out


def test_baskets_are_shown_and_an_unknown_one_is_told(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not state.exists()
    assert cli.main(["baskets", "explain", "theme-water", "AWK"]) == 0
    assert "AWK is in" in capsys.readouterr().out
    assert cli.main(["baskets", "show", "nothing"]) == 2
