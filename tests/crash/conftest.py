"""A laboratory for each test process, started at the first crash test; see crash_lab.py."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Laboratory:
    """Asks a laboratory process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, command: str, *given: Any) -> dict[str, Any]:
        """Return what a command of `crash_server` answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *given]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the laboratory is gone; its last words are above"
        answer: dict[str, Any] = json.loads(line)
        assert "failed" not in answer, answer["failed"]
        return answer


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    server = Path(__file__).parent / "crash_server.py"
    with subprocess.Popen(
        [sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Laboratory(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)
