"""The house's own rules, run as tests: sizes, emptiness, locks, and contracts that really bite."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from robo.config import environment

ROOT = Path(__file__).parents[2]
ROOMS = ("robo", "baskets", "onboarding", "broker_adapters", "scheduler")
LINES_MAX = 400
LONG = {
    "robo/portfolio/kernels.py": "numerical kernels, compiled together and read together",
    "robo/portfolio/dual_kernels.py": "the optimizer's kernel, one cached compilation unit",
    "robo/portfolio/sampling_kernels.py": "the search's kernel, one cached compilation unit",
    "robo/store/migrations/versions/0001_initial.py": "generated from the tables",
}
"""Modules that may be long, at most five, each with its reason."""

BREAKS = {
    "Rooms import one way": [("baskets/basket.py", "broker_adapters.fees")],
    "Onboarding sees baskets only; baskets see nobody": [
        ("baskets/values.py", "onboarding.errors")
    ],
    "Onboarding does not look up": [("onboarding/errors.py", "robo.core.ids")],
    "Adapters see only ports and core": [("broker_adapters/fees.py", "robo.store.jobs")],
    "Pure code imports no framework, no database, no clock": [("robo/ledger/chart.py", "flask")],
    "Core is the standard library only": [("robo/core/ids.py", "numpy")],
    "Floors of robo": [("robo/store/lots.py", "robo.services.listing")],
    "Use cases never call each other; they share steps": [
        ("robo/services/marking.py", "robo.services.trading")
    ],
    "Rooms have no cycles": [
        ("robo/core/clock.py", "robo.core.reasons"),
        ("robo/core/reasons.py", "robo.core.clock"),
    ],
}
"""Contract -> imports that break it. A new contract needs its own."""


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def test_modules_stay_short_with_few_named_exceptions() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in modules()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }

    assert long.keys() - LONG.keys() == set(), long
    assert len(LONG) <= 5
    assert LONG.keys() - long.keys() == set(), "an exception that is not needed any more"


def test_no_module_is_empty() -> None:
    empty = []
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py":
            assert ast.get_docstring(tree), f"{path} says nothing"
        elif len(tree.body) < 2:
            empty.append(path)

    assert empty == []


def test_names_that_say_nothing_are_not_used() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common)(_|$)")

    assert [path for path in modules() if vague.search(path.stem)] == []


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "requirements-bench.lock"]
)
def test_every_locked_dependency_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

    assert len(lines) > 20
    for line in lines:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+", line), line
        assert "--hash=sha256:" in line, line
        assert "://" not in line
        assert "--index" not in line
        assert " @ " not in line


def contracts() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


def test_each_import_contract_bites_when_it_is_broken(tmp_path: Path) -> None:
    assert set(contracts()) == BREAKS.keys()
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for planted in BREAKS.values():
        for file, module in planted:
            path = tmp_path / file
            path.write_text(path.read_text(encoding="utf-8") + f"\nimport {module}\n")

    program = (
        "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "--config", "pyproject.toml", "--no-cache"],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert ended.returncode == 1, ended.stdout + ended.stderr
    heads = "|".join(rf"(?<=\n){re.escape(name)}(?=\n-)" for name in BREAKS)
    pieces = re.split(f"({heads})", ended.stdout)
    reports = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    for name, planted in BREAKS.items():
        assert re.search(rf"{re.escape(name)}[^\n]*BROKEN", ended.stdout), name
        told = [_told(reports[name], file, module) for file, module in planted]
        assert any(told), f"{name}: none of {planted} is told\n{reports[name]}"


def _told(report: str, file: str, module: str) -> bool:
    """Return whether a contract's report names an import, in full or below a room."""
    importer = file.removesuffix(".py").replace("/", ".")
    short = f".{importer.rpartition('.')[2]} -> .{module.rpartition('.')[2]}"
    return f"{importer} -> {module}" in report or short in report
