"""A third party installs the wheel, writes an adapter elsewhere, and runs the kit on it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from robo.config import environment

ROOT = Path(__file__).parents[2]
PACKAGES = ("robo", "baskets", "onboarding", "broker_adapters", "scheduler")
ADAPTER = """
from pathlib import Path
import broker_adapters.kit
from broker_adapters.kit.template import KIT_BENCH, TemplateBroker
from robo.core.errors import BrokerUnavailableError

Path("kit-came-from.txt").write_text(broker_adapters.kit.__file__)


def create(context):
    return TemplateBroker(context)


class Sloppy(TemplateBroker):
    def positions(self, broker_account):
        try:
            return super().positions(broker_account)
        except BrokerUnavailableError:
            return []
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources and unpack it, as installing does."""
    folder = tmp_path_factory.mktemp("third-party")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    shutil.rmtree(source)
    return folder / "site"


def kit(site: Path, folder: Path, broker: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "my_broker.py").write_text(ADAPTER, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--pyargs", "broker_adapters.kit", "-q"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:schemathesis", "--broker", broker, *more],
        cwd=folder,
        env={**environment(), "PYTHONPATH": os.pathsep.join([str(site), str(folder)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_the_kit_runs_from_the_wheel_in_another_directory(installed: Path, tmp_path: Path):
    done = kit(installed, tmp_path, "my_broker:create", "-k", "K-01 or K-05 or K-09 or K-201")

    assert done.returncode == 0, done.stdout
    assert "broker kit: 28 cases ran, 1 could not" in done.stdout
    assert "K-201  capabilities: only for a broker with group funding" in done.stdout
    assert (tmp_path / "kit-came-from.txt").read_text().startswith(str(installed))


@pytest.mark.soak  # test_broker_mutants.py does the same without a process of its own
def test_a_third_partys_sloppy_adapter_fails_the_case_by_its_number(
    installed: Path, tmp_path: Path
):
    done = kit(installed, tmp_path, "my_broker:Sloppy", "-k", "K-05")

    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stdout
    assert "K-051-positions_that_cannot_be_read" in done.stdout
